"""The command line: `tokentrail <command>`."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final, Protocol, cast

from tokentrail.backend.cli import COMMANDS, Command

MISSING_EXTRA: Final = 'This command needs the backend: pip install "tokentrail[backend]"'

_EXTRA: Final = frozenset(
    {"chdb", "google", "grpc", "httptools", "opentelemetry", "prometheus_client", "rich", "uvicorn", "uvloop"}
)
"""What the `backend` extra installs, by import name: when one of these is missing, the extra is."""


class _CommandModule(Protocol):
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: of the process) and return its exit code.

    2 for a wrong command line and for a missing extra, 130 after Ctrl-C; otherwise the command says.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(MISSING_EXTRA, file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader, `head` perhaps, has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: list[str]) -> int:
    chosen = next((each for each in COMMANDS if each.name in arguments[:1]), None)
    module = _load(chosen) if chosen else None
    args = _parser(chosen, module).parse_args(arguments)
    if module is None:  # argparse has refused everything else
        _parser(None, None).print_help()
        return 2
    code = module.run(args)
    sys.stdout.flush()  # here, where a closed pipe is expected
    return code


def _load(command: Command) -> _CommandModule:
    return cast(_CommandModule, importlib.import_module(command.module))


def _parser(chosen: Command | None, module: _CommandModule | None) -> argparse.ArgumentParser:
    """The parser; only the chosen command knows its arguments."""
    parser = argparse.ArgumentParser(
        prog="tokentrail", description="Observability for applications that call large language models."
    )
    parser.add_argument("--version", action="version", version=f"tokentrail {version('tokentrail')}")
    commands = parser.add_subparsers(title="commands", metavar="<command>")
    for command in COMMANDS:
        subparser = commands.add_parser(command.name, help=command.help, description=f"{command.help.capitalize()}.")
        if command is chosen and module is not None:
            module.add_arguments(subparser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
