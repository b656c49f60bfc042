"""The commands of `tokentrail`, one module each.

A command module has `NAME`, `HELP`, `add_arguments(parser)` and `run(args) -> int`, the exit code. It is imported when
its command is asked for, so that no command waits for the libraries of another; that is why the help is told here too.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Command:
    """A command before its module is loaded."""

    name: str
    help: str
    module: str


COMMANDS: Final = (
    Command("serve", "receive OTLP, store it and serve metrics and the API", "tokentrail.backend.cli.serve"),
    Command("demo", "run an example application and show what it did", "tokentrail.backend.cli.demo"),
    Command("requests", "list calls, the newest first", "tokentrail.backend.cli.requests"),
    Command("cost", "show what was spent, and what has no price", "tokentrail.backend.cli.cost"),
    Command("keys", "make, list and revoke the keys of a backend", "tokentrail.backend.cli.keys"),
    Command("alerts", "list, check, try and render alerts", "tokentrail.backend.cli.alerts"),
    Command("prices", "explain the price of a model, check a price file", "tokentrail.backend.cli.prices"),
)
"""In the order of `tokentrail --help`."""
