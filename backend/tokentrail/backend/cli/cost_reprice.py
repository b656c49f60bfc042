"""`tokentrail cost reprice`: price stored calls again by the price lists of now.

Shows the difference first, window by window as the API cuts them, then asks, then has the backend change what was
shown. Only calls whose cost changes are rewritten; each change is on record in the table `cost_corrections`.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

from tokentrail.backend import config as settings
from tokentrail.backend.cli import ask, filters
from tokentrail.backend.query.record import dump
from tokentrail.backend.query.reprice import GROUP_KEYS
from tokentrail.semconv import pricing

_PATH: Final = "/api/reprice"
_SHOWN_GROUPS: Final = 40
"""Lines of the table; `--json` has them all."""
_KEPT: Final = {
    "reported": "whose cost the provider or the sender stated",
    "price_file": "priced by a price file that is not in force here (--all prices them by the lists)",
    "without_price": "that would have no price any more",
    "uncertain": "whose cost depended on more than is stored",
}
"""Why calls keep a cost that the lists of now do not give, by the API's word for it."""

_Group = dict[str, object]
_Progress = Callable[[int, int], None]
"""Told how many calls are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of the time asked for that one request takes, and what it is to do."""

    since: str
    until: str
    calls: int
    changes: int
    digest: str


@dataclass(slots=True)
class _Difference:
    """What would change, over all windows."""

    calls: int = 0
    changes: int = 0
    old_usd: Decimal = Decimal(0)
    new_usd: Decimal = Decimal(0)
    kept: Counter[str] = field(default_factory=Counter)
    groups: dict[tuple[object, ...], _Group] = field(default_factory=dict)
    windows: list[_Window] = field(default_factory=list)
    """Those with changes."""
    price_file_error: str = ""
    """What is wrong with the backend's price file, of which an older version is in force then."""

    @property
    def difference_usd(self) -> Decimal:
        """What the changes add up to."""
        return self.new_usd - self.old_usd

    def sorted_groups(self) -> list[_Group]:
        """The groups, the largest difference first."""
        return sorted(self.groups.values(), key=lambda group: -abs(_usd(group["difference_usd"])))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the filters of `tokentrail requests`, and how to go on."""
    filters.add_arguments(parser)
    parser.add_argument(
        "--all", action="store_true", help="replace prices of an application's price file, too, by those in force here"
    )
    parser.add_argument("--yes", action="store_true", help="change what is shown, without a question")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line: each change, then the total")
    ask.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Show what would change, and change it when that is wanted.

    0, also when nothing was to be changed; 1 with a message when there is no answer or not all could be changed.
    """
    try:
        with ask.Asked(ask.place(args.endpoint, args.store), _use_prices) as asked:
            return _run(args, asked)
    except ask.AskError as error:
        _say(f"tokentrail cost reprice: {error}")
        return 1


def _run(args: argparse.Namespace, asked: ask.Asked) -> int:
    params = _params(args)
    with _progress("Pricing calls again") as progress:
        difference = _preview(asked, params, progress)
    if args.json:
        _print_json(difference)
    else:
        _print_table(difference)
    if difference.price_file_error:
        _say(f"The price file has errors, and the prices of before are in force: {difference.price_file_error}")
    if not difference.changes:
        return 0
    if not args.yes and not _wants_it(args, difference):
        return 0
    with _progress("Changing stored costs") as progress:
        done, refused, why = _apply(asked, params, difference, progress)
    _say(f"Changed the cost of {_calls(done)}; the table cost_corrections has each with its old and its new cost.")
    if refused:
        _say(f"Left as they were: {_calls(refused)}. {why}. Run the command again to see what remains.")
        return 1
    return 0


def _params(args: argparse.Namespace) -> dict[str, str]:
    params = filters.params(args)
    if "since" not in params:
        raise ask.AskError("--since is missing: from when on calls are priced again, such as --since 2026-11-01 or 30d")
    return params | ({"all": "1"} if args.all else {})


def _use_prices() -> None:
    """Have the price file in force that a backend would have: without one, this process does the pricing."""
    path = os.environ.get(settings.PRICES)
    try:
        pricing.use_price_file(Path(path) if path else None)
    except pricing.PriceFileError as error:
        raise ask.AskError(f"the price file {path} has errors: {error}") from error


def _preview(asked: ask.Asked, params: Mapping[str, str], progress: _Progress) -> _Difference:
    """Go through all windows, and add up what they would change."""
    found = _Difference()
    wanted = dict(params)
    while True:
        window = _answer(asked.ask(_PATH, wanted))
        found.calls += _int(window["calls"])
        found.kept.update({str(reason): _int(count) for reason, count in _mapping(window["kept"]).items()})
        if changes := _int(window["changes"]):
            since, until, digest = (str(window[name]) for name in ("since", "until", "digest"))
            found.windows.append(_Window(since, until, _int(window["calls"]), changes, digest))
            found.changes += changes
            found.old_usd += _usd(window["old_usd"])
            found.new_usd += _usd(window["new_usd"])
            _add_groups(found.groups, window["groups"])
        found.price_file_error = str(window["price_file_error"])
        left = _int(window["calls_left"])
        progress(found.calls, found.calls + left)
        if window["until"] == window["end"]:
            return found
        # The first answer says what "30d" and "now" are, and all others keep to it.
        wanted |= {"since": str(window["until"]), "until": str(window["end"])}


def _add_groups(groups: dict[tuple[object, ...], _Group], more: object) -> None:
    for group in more if isinstance(more, list) else ():
        key = tuple(group[name] for name in GROUP_KEYS)
        known = groups.setdefault(key, {**group, "calls": 0, "old_usd": None, "new_usd": 0, "difference_usd": 0})
        known["calls"] = _int(known["calls"]) + _int(group["calls"])
        for name in ("new_usd", "difference_usd"):
            known[name] = _usd(known[name]) + _usd(group[name])
        if group["old_usd"] is not None:
            known["old_usd"] = _usd(known["old_usd"]) + _usd(group["old_usd"])


def _apply(
    asked: ask.Asked, params: Mapping[str, str], difference: _Difference, progress: _Progress
) -> tuple[int, int, str]:
    """Change what was shown; returns how many calls were changed, how many not, and why not."""
    done, refused, why = 0, 0, ""
    for window in difference.windows:
        wanted = {**params, "since": window.since, "until": window.until, "expect": window.digest}
        try:
            done += _int(_answer(asked.ask(_PATH, wanted, change=True))["changes"])
        except ask.NotAsItWasError as error:
            refused += window.changes
            why = f"{str(error)[:1].upper()}{str(error)[1:]}"
        progress(done + refused, difference.changes)
    return done, refused, why


def _wants_it(args: argparse.Namespace, difference: _Difference) -> bool:
    if args.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        _say("Nothing was changed: add --yes to change it.")
        return False
    sys.stderr.write(f"Change the cost of {_calls(difference.changes)}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    _say("Nothing was changed.")
    return False


def _print_json(difference: _Difference) -> None:
    for group in difference.sorted_groups():
        sys.stdout.write(f"{dump(group)}\n")
    total = {
        "calls": difference.calls,
        "changes": difference.changes,
        "old_usd": difference.old_usd,
        "new_usd": difference.new_usd,
        "difference_usd": difference.difference_usd,
        "kept": dict(sorted(difference.kept.items())),
    }
    sys.stdout.write(f"{dump(total)}\n")


def _print_table(difference: _Difference) -> None:
    from tokentrail.backend.cli import output  # rich is not needed for --json

    def price(row: output.Row, which: str) -> str:
        entry, version = output.text_of(row, f"{which}_entry"), output.text_of(row, f"{which}_version")
        return f"{entry}\n{version}" if row.get(f"{which}_entry") else output.text_of(row, f"{which}_status")

    columns = (
        output.Column("provider\nmodel", lambda row: f"{output.text_of(row, 'provider')}\n{row['model']}", folds=True),
        output.Column("calls", lambda row: output.format_count(row["calls"]), "right"),
        output.Column("price it has", lambda row: price(row, "old"), folds=True),
        output.Column("price of now", lambda row: price(row, "new"), folds=True),
        output.Column("cost", lambda row: output.format_cost(row["old_usd"]), "right"),
        output.Column("new cost", lambda row: output.format_cost(row["new_usd"]), "right"),
        output.Column("difference", lambda row: _signed(row["difference_usd"], output.format_cost), "right"),
    )
    console = output.console()
    groups = difference.sorted_groups()
    if groups:
        console.print(output.build_table(columns, groups[:_SHOWN_GROUPS], console))
    lines = []
    if more := len(groups) - _SHOWN_GROUPS:
        lines += [f"... and {more:,} more lines with smaller differences (--json has them)"] if more > 0 else []
    change = f"{difference.changes:,} of {_calls(difference.calls)} would cost something else"
    if difference.changes:
        old, new = output.format_cost(difference.old_usd), output.format_cost(difference.new_usd)
        change += f": {old} becomes {new} ({_signed(difference.difference_usd, output.format_cost)})"
    lines.append(change)
    lines += [f"kept: {_calls(count)} {_KEPT.get(why, why)}" for why, count in sorted(difference.kept.items())]
    for line in lines:
        console.print(output.clean(line), markup=False, soft_wrap=True)


def _signed(usd: object, show: Callable[[object], str]) -> str:
    return ("+" if _usd(usd) > 0 else "") + show(usd)


@contextmanager
def _progress(what: str) -> Iterator[_Progress]:
    """A bar on stderr, where that is a terminal; otherwise nothing."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


def _calls(count: int) -> str:
    return f"{count:,} call" + ("" if count == 1 else "s")


def _answer(text: str) -> dict[str, object]:
    """The object in an answer of the API. Raises `AskError` for anything else: then it is of another version."""
    answer = json.loads(text, parse_float=Decimal)
    if not isinstance(answer, dict) or "digest" not in answer:
        raise ask.AskError("the backend's answer is not understood: is it of another version?")
    return answer


def _mapping(value: object) -> Mapping[object, object]:
    return value if isinstance(value, dict) else {}


def _int(value: object) -> int:
    return int(str(value))


def _usd(value: object) -> Decimal:
    return Decimal(0) if value is None else Decimal(str(value))


def _say(message: str) -> None:
    print(message, file=sys.stderr)  # noqa: T201
