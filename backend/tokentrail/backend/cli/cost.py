"""`tokentrail cost`: what was spent; `--unpriced`: what has no price, and the lines that give it one.

tokentrail cost [filters] [--by KEY] [--json]
tokentrail cost --unpriced [--failed] [filters] [--json]
tokentrail cost reprice ...                               (cost_reprice.py)
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final, Protocol, cast

from tokentrail.backend.cli import ask, filters
from tokentrail.backend.query.sql import GROUPS, MAX_GROUPS

NAME: Final = "cost"
HELP: Final = "show what was spent, and what has no price"

_REPRICE: Final = "reprice"
_REPRICE_HELP: Final = "price stored calls again, after a price was corrected"
_REPRICE_MODULE: Final = "tokentrail.backend.cli.cost_reprice"
_DEFAULT_GROUP: Final = "model"


class _Subcommand(Protocol):
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> int: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the filters of `tokentrail requests`, what this command adds to them, and `reprice`."""
    filters.add_arguments(parser)
    parser.add_argument(
        "--by",
        metavar="KEY",
        help=f"a line for each of: {', '.join(GROUPS)} (default {_DEFAULT_GROUP})",
    )
    parser.add_argument("--unpriced", action="store_true", help="list calls without a price, and how to give them one")
    parser.add_argument("--failed", action="store_true", help="with --unpriced: calls that failed unused, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, with every digit")
    ask.add_arguments(parser)
    subcommands = parser.add_subparsers(
        dest="subcommand",
        metavar=f"[{_REPRICE}]",
        action=_Subcommands,
        parser_class=argparse.ArgumentParser,
    )
    subcommands.add_parser(_REPRICE, help=_REPRICE_HELP, description=f"{_REPRICE_HELP.capitalize()}.")


def run(args: argparse.Namespace) -> int:
    """Print the answer that `args` ask for; 0, or 1 with a message when there is none."""
    if args.subcommand == _REPRICE:
        return _reprice().run(args)
    try:
        if args.unpriced:
            _print(args, _ask_unpriced(args), _print_unpriced)
        else:
            by, answer = _ask_totals(args)
            _print(args, answer, lambda rows: _print_totals(args, by, rows))
    except ask.AskError as error:
        print(f"tokentrail cost: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


class _Subcommands(argparse._SubParsersAction):  # type: ignore[type-arg]  # noqa: SLF001  # the documented way in is `action=`, which needs a base
    """Loads the subcommand that was chosen, and no option of this command is lost on it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        name = str(values[0]) if isinstance(values, Sequence) else ""
        given = [each for each, value in vars(namespace).items() if each != self.dest and value]
        if given:
            # They would silently not hold for it.
            parser.error(f"options of {name} go behind it: tokentrail cost {name} --{given[0].replace('_', '-')} ...")
        if name == _REPRICE:
            _reprice().add_arguments(self.choices[_REPRICE])
        super().__call__(parser, namespace, values, option_string)


def _reprice() -> _Subcommand:
    return cast(_Subcommand, importlib.import_module(_REPRICE_MODULE))


def _ask_totals(args: argparse.Namespace) -> tuple[str, str]:
    if args.failed:
        raise ask.AskError("--failed goes with --unpriced")
    by = args.by or _DEFAULT_GROUP
    return by, ask.ask(_place(args), "/api/totals", {**filters.params(args), "by": by})


def _ask_unpriced(args: argparse.Namespace) -> str:
    if args.by:
        raise ask.AskError("--by does not go with --unpriced: that list is by reason, provider, model and server")
    params = filters.params(args)
    if args.failed:
        params["failed"] = "1"
    return ask.ask(_place(args), "/api/unpriced", params)


def _place(args: argparse.Namespace) -> ask.Place:
    return ask.place(args.endpoint, args.store)


def _print(args: argparse.Namespace, answer: str, show: Callable[[list[dict[str, object]]], None]) -> None:
    if args.json:
        sys.stdout.write(answer)
    else:
        show([json.loads(line, parse_float=Decimal) for line in answer.splitlines()])


def _print_totals(args: argparse.Namespace, by: str, rows: list[dict[str, object]]) -> None:
    from tokentrail.backend.cli import cost_output, output  # rich is not needed for --json

    total = None
    if len(rows) >= MAX_GROUPS:  # the cheapest groups are not among them
        answer = ask.ask(_place(args), "/api/totals", filters.params(args))
        total = json.loads(answer, parse_float=Decimal)
    cost_output.print_cost(by, rows, output.console(), total)


def _print_unpriced(rows: list[dict[str, object]]) -> None:
    from tokentrail.backend.cli import cost_output, output

    cost_output.print_unpriced(rows, output.console())
