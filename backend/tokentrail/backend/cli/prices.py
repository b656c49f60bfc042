"""`tokentrail prices`: what a model costs and why, and whether a price file can be used.

    tokentrail prices show MODEL [--provider P] [--server HOST] [--at TIME] [--tier T] [--prices FILE] [--json]
    tokentrail prices check [FILE] [--json]

Asks no backend: prices are computed from the same data in every process.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tokentrail.backend.config import PRICES
from tokentrail.backend.query import moment
from tokentrail.backend.query.record import dump
from tokentrail.semconv import providers
from tokentrail.semconv.pricing import PriceFileError, RateCard, Source, look_up, use_price_file
from tokentrail.semconv.pricing.tables.price_file import MAX_BYTES, read_price_file
from tokentrail.semconv.pricing.tables.table import Entry

NAME: Final = "prices"
HELP: Final = "explain the price of a model, check a price file"

_SHOW: Final = "show"
_CHECK: Final = "check"
_MAX_SOURCE_CHARS: Final = 160
"""Of a line that is shown beside what is wrong with it."""


class _CommandError(Exception):
    """The question cannot be answered; the message says why and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `show` and `check` with their arguments."""
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="show | check")
    show = commands.add_parser(_SHOW, help="explain a price", description="Explain the price of a model.")
    show.add_argument("model", metavar="MODEL", help="the model, as calls name it")
    show.add_argument("--provider", metavar="NAME", help="who serves it (default: guessed from the model's name)")
    show.add_argument(
        "--server", metavar="HOST", default="", help="the host it is called at, which decides the provider"
    )
    show.add_argument("--at", metavar="TIME", help="when: 2026-11-20, 2026-11-20T18:00:00Z, 7d ago as 7d (default now)")
    show.add_argument("--tier", metavar="NAME", default="", help="the service tier, such as flex, batch or priority")
    show.add_argument("--region", metavar="NAME", default="", help="where the provider says that it served the call")
    show.add_argument("--prices", metavar="FILE", help=f"the price file (default: {PRICES})")
    show.add_argument("--json", action="store_true", help="print one JSON object, with every digit")
    check = commands.add_parser(
        _CHECK, help="check a price file", description="Check a price file; 1 when it has errors."
    )
    check.add_argument("file", metavar="FILE", nargs="?", help=f"the price file (default: {PRICES})")
    check.add_argument("--json", action="store_true", help="print a JSON object for each entry, or for each error")


def run(args: argparse.Namespace) -> int:
    """Answer; 0, or 1 where there is no price or the file has errors."""
    try:
        return _show(args) if args.subcommand == _SHOW else _check(args)
    except _CommandError as error:
        print(f"tokentrail prices: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _show(args: argparse.Namespace) -> int:
    from tokentrail.semconv.pricing import explain

    named = args.prices or os.environ.get(PRICES)
    if named:
        try:
            use_price_file(Path(named))
        except PriceFileError as error:
            raise _CommandError(f"{error}\n`tokentrail prices check {named}` shows the lines") from error
    provider = args.provider or providers.of_model(args.model)
    tier = f"{args.tier}@{args.region}" if args.region else args.tier
    lookup, answer = look_up(provider, args.server, (args.model,), tier, _moment(args.at))
    explanation, sellers = explain.explain(lookup), explain.sellers(lookup)
    from tokentrail.backend.cli import price_output

    is_guess = bool(provider) and not args.provider and not args.server
    if args.json:
        found = price_output.document(explanation, sellers, is_guess=is_guess)
        sys.stdout.write(dump(found) + "\n")
    else:
        from tokentrail.backend.cli import output  # rich is not needed for --json

        price_output.print_price(explanation, sellers, output.console(), is_guess=is_guess)
    return 0 if isinstance(answer, RateCard) else 1


def _moment(text: str | None) -> int:
    """Nanoseconds since the epoch."""
    now_ns = time.time_ns()
    if text is None:
        return now_ns
    try:
        return moment.parse(text, now_ns)
    except (ValueError, OverflowError):
        examples = ", ".join(moment.EXAMPLES)
        raise _CommandError(f"--at is {text!r}: expected a time, or a span of time before now: {examples}") from None


def _check(args: argparse.Namespace) -> int:
    named = args.file or os.environ.get(PRICES)
    if not named:
        raise _CommandError(f"there is no price file to check: name one, or set {PRICES}")
    path = Path(named)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _CommandError(f"{path} cannot be read: {error.strerror}") from error
    try:
        table = read_price_file(data, str(path), Source.USER)
    except PriceFileError as error:
        _print_problems(error, data, as_json=args.json)
        return 1
    if args.json:
        for entry in table.entries:
            sys.stdout.write(dump(_entry(entry)) + "\n")
        return 0
    from tokentrail.backend.cli import output, price_output

    price_output.print_entries(str(path), table.entries, output.console())
    return 0


def _print_problems(error: PriceFileError, data: bytes, *, as_json: bool) -> None:
    lines = data.decode("utf-8-sig", "replace").split("\n")
    for number, what in error.problems:
        source = _source(lines, number)
        if as_json:
            sys.stdout.write(json.dumps({"file": error.name, "line": number, "error": what, "source": source}) + "\n")
        else:
            place = f"{error.name}, line {number}" if number else error.name
            sys.stderr.write(f"{place}: {what}\n" + (f"  {number:>5} | {source}\n" if source else ""))
    if not as_json:
        many = f"{len(error.problems)} errors" if len(error.problems) > 1 else "1 error"
        sys.stderr.write(f"tokentrail prices: {many}; a backend or application goes on with the table it had before\n")


def _source(lines: Sequence[str], number: int) -> str:
    """The line that is meant, fit for a terminal; empty when none is."""
    if not 1 <= number <= len(lines):
        return ""
    text = lines[number - 1].expandtabs(4).rstrip()
    text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return text if len(text) <= _MAX_SOURCE_CHARS else f"{text[:_MAX_SOURCE_CHARS]}..."


def _entry(entry: Entry) -> dict[str, object]:
    """An entry as an object: its patterns (empty for everything), and what it does."""
    from tokentrail.backend.cli import price_output

    return {
        "line": entry.line,
        **{name: getattr(entry, name) for name in ("server", "provider", "model", "tier", "region")},
        "from": entry.start.isoformat() if entry.start else None,
        "until": entry.end.isoformat() if entry.end else None,
        **price_output.action(entry),
    }
