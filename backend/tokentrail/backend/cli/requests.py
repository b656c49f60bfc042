"""`tokentrail requests`: the calls, the newest first."""

import argparse
import json
import sys
from decimal import Decimal
from typing import Final

from tokentrail.backend.cli import ask, filters

NAME: Final = "requests"
HELP: Final = "list calls, the newest first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the filters of the API, by the same names."""
    group = filters.add_arguments(parser)
    group.add_argument("--limit", metavar="N", help="at most so many (default 100, at most 10000)")
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


def _params(args: argparse.Namespace) -> dict[str, str]:
    params = filters.params(args)
    if args.limit is not None:
        params["limit"] = args.limit
    if args.content:
        params["content"] = "1"
    return params
