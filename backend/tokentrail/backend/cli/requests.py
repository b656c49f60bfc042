"""`tokentrail requests`: the calls, the newest first."""

import argparse
import json
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from tokentrail.backend.cli import ask
from tokentrail.backend.query.filter import PROPERTY, STATUSES

NAME: Final = "requests"
HELP: Final = "list calls, the newest first"

_FILTERS: Final = {
    "since": "from this time on: 15m, 2h, 7d, 2026-11-20, 2026-11-20T18:00:00Z",
    "until": "before this time",
    "user": "of this user",
    "session": "of this session",
    "session-path": "at this session path and below it",
    "model": "that asked for or were answered by this model",
    "provider": "of this provider",
    "operation": "of this operation, such as chat or embeddings",
    "service": "of this service",
    "environment": "of this environment",
    "trace-id": "of this trace",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the filters of the API, by the same names."""
    filters = parser.add_argument_group("which calls")
    for name, meaning in _FILTERS.items():
        filters.add_argument(f"--{name}", metavar=name.rpartition("-")[2].upper(), help=meaning)
    filters.add_argument("--status", choices=STATUSES, help="that succeeded, or that failed")
    filters.add_argument(
        "--property", metavar="KEY=VALUE", action="append", default=[], help="with this property; may be repeated"
    )
    filters.add_argument("--limit", metavar="N", help="at most so many (default 100, at most 10000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, with every field")
    parser.add_argument("--content", action="store_true", help="with --json: prompts and answers too")
    ask.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the calls that `args` ask for; 0, or 1 with a message when there is no answer."""
    try:
        answer = ask.ask(ask.place(args.endpoint, args.store), "/api/requests", _params(args))
    except ask.AskError as error:
        print(f"tokentrail requests: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if args.json:
        sys.stdout.write(answer)
        return 0
    from tokentrail.backend.cli import output  # rich is not needed for --json

    rows = [json.loads(line, parse_float=Decimal) for line in answer.splitlines()]
    output.print_requests(rows, output.console())
    return 0


def _params(args: argparse.Namespace) -> Mapping[str, str]:
    named = {name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name in (*_FILTERS, "status", "limit")}
    params = {name: value for name, value in named.items() if value is not None}
    for pair in args.property:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise ask.AskError(f"--property is {pair!r}: expected KEY=VALUE")
        params[f"{PROPERTY}{key}"] = value
    if args.content:
        params["content"] = "1"
    return params
