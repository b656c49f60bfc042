"""Tables for people. Rows are objects of the API (`query/record.py`), numbers as int, float or Decimal."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

_Row = Mapping[str, object]

PIPE_WIDTH: Final = 200
"""Columns where the output is no terminal: wide enough that nothing of a usual row is cut."""
WIDE: Final = 150
"""Below this many columns a table stacks what belongs together and draws no lines."""
NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    show: Callable[[_Row], str]
    justify: Literal["left", "right"] = "left"
    folds: bool = False
    """Goes on in the next line rather than being cut."""


def console() -> Console:
    """A console on standard output."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(width=width, highlight=False)


def print_requests(rows: Sequence[_Row], console: Console) -> None:
    """A table of calls, in their order, and a line with how many there are, what they cost and what has no price."""
    if not rows:
        console.print("No calls found.", markup=False)
        return
    console.print(_table(_REQUEST_COLUMNS if console.width >= WIDE else _STACKED_COLUMNS, rows, console))
    console.print(_summary(rows), markup=False, soft_wrap=True)


def print_totals(title: str, key: str, rows: Sequence[_Row], console: Console) -> None:
    """A table of totals of `/api/totals?by=<key>` under a title, in their order."""
    first = _Column(_clean(key), lambda row: _text(row, key), folds=True)
    columns = _TOTAL_COLUMNS if console.width >= WIDE else _NARROW_TOTAL_COLUMNS
    console.print(_table((first, *columns), rows, console, title))


def format_cost(usd: object) -> str:
    """An amount in USD: four digits after the point, six below a dollar, more for less; 0 only for what is 0."""
    if usd is None:
        return NOTHING
    amount = usd if isinstance(usd, Decimal) else Decimal(str(usd))
    places = max(4 if abs(amount) >= 1 else 6, 2 - amount.adjusted()) if amount else 4
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(amount):,.{places}f}"


def format_count(count: object) -> str:
    """A number of things, with thousands set off."""
    return NOTHING if count is None else f"{int(str(count)):,}"


def format_duration(milliseconds: object) -> str:
    """A duration: `0.4 ms`, `412 ms`, `1.23 s`, `2 min 5 s`."""
    if milliseconds is None:
        return NOTHING
    value = float(str(milliseconds))
    if value < 10:
        return f"{value:.1f} ms"
    if value < 999.5:
        return f"{value:.0f} ms"
    if value < 99_995:
        return f"{value / 1000:.2f} s"
    minutes, seconds = divmod(round(value / 1000), 60)
    return f"{minutes} min {seconds} s"


def format_time(time: object) -> str:
    """A time of the API in the zone of this machine, to the second."""
    return f"{datetime.fromisoformat(str(time)).astimezone():%Y-%m-%d %H:%M:%S}"


def _table(columns: Sequence[_Column], rows: Sequence[_Row], console: Console, title: str = "") -> Table:
    wide = console.width >= WIDE
    table = Table(title=Text(_clean(title)) if title else None, title_justify="left", header_style="bold")
    if not wide:
        table.box, table.padding, table.pad_edge = None, (0, 1, 0, 0), False
    for column in columns:
        # Where there is no room, ids and names fold; a number that must be cut shows that it was.
        fit: Literal["fold", "ellipsis"] = "fold" if column.folds else "ellipsis"
        table.add_column(Text(column.title), justify=column.justify, no_wrap=not column.folds, overflow=fit)
    for row in rows:
        # Text, not markup: a user may be called "[bold]".
        table.add_row(*(Text(column.show(row)) for column in columns), style="red" if row.get("error_type") else "")
    return table


def _clean(text: str) -> str:
    """`text` without what would move the cursor or colour the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _text(row: _Row, field: str) -> str:
    return _clean(str(row.get(field) or "")) or NOTHING


def _model(row: _Row) -> str:
    return _text(row, "request_model" if row.get("request_model") else "response_model")


def _status(row: _Row) -> str:
    code, error = row.get("status_code"), row.get("error_type")
    if not error:
        return "ok"
    return _clean(f"{code} {error}" if code is not None and str(code) != error else str(error))


def _summary(rows: Sequence[_Row]) -> str:
    costs = [Decimal(str(row["cost_usd"])) for row in rows if row.get("cost_usd") is not None]
    errors = sum(bool(row.get("error_type")) for row in rows)
    parts = [_plural(len(rows), "call"), _plural(errors, "error"), format_cost(sum(costs) if costs else None)]
    reasons = Counter(str(row.get("pricing_status") or "unknown") for row in rows if row.get("cost_usd") is None)
    if reasons:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        parts.append(f"{sum(reasons.values())} without a price ({_clean(why)})")
    return ", ".join(parts)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


_NUMBER_COLUMNS: Final = (
    _Column("input", lambda row: format_count(row.get("input_tokens")), "right"),
    _Column("output", lambda row: format_count(row.get("output_tokens")), "right"),
    _Column("cost", lambda row: format_cost(row.get("cost_usd")), "right"),
    _Column("latency", lambda row: format_duration(row.get("duration_ms")), "right"),
    _Column("TTFT", lambda row: format_duration(row.get("ttft_ms")), "right"),
)
_REQUEST_COLUMNS: Final = (
    _Column("time", lambda row: format_time(row["time"])),
    _Column("operation", lambda row: _text(row, "operation")),
    _Column("provider", lambda row: _text(row, "provider")),
    _Column("model", _model, folds=True),
    *_NUMBER_COLUMNS,
    _Column("user", lambda row: _text(row, "user_id"), folds=True),
    _Column("session path", lambda row: _text(row, "session_path"), folds=True),
    _Column("status", _status, folds=True),
)
_STACKED_COLUMNS: Final = (
    _Column("time", lambda row: format_time(row["time"]).replace(" ", "\n")),
    _Column(
        "operation provider\nmodel",
        lambda row: f"{_text(row, 'operation')} {_text(row, 'provider')}\n{_model(row)}",
        folds=True,
    ),
    *_NUMBER_COLUMNS,
    _Column("user\nsession path", lambda row: f"{_text(row, 'user_id')}\n{_text(row, 'session_path')}", folds=True),
    _Column("status", _status, folds=True),
)
"""The same in two lines a row."""

_COUNT_COLUMNS: Final = (
    _Column("calls", lambda row: format_count(row.get("requests")), "right"),
    _Column("errors", lambda row: format_count(row.get("errors")), "right"),
    _Column("un-\npriced", lambda row: format_count(row.get("unpriced")), "right"),
    _Column("input", lambda row: format_count(row.get("input_tokens")), "right"),
    _Column("output", lambda row: format_count(row.get("output_tokens")), "right"),
)
_COST: Final = _Column("cost", lambda row: format_cost(row.get("cost_usd")), "right")
_P95: Final = _Column("p95\nlatency", lambda row: format_duration(row.get("p95_duration_ms")), "right")
_TTFT: Final = _Column("avg\nTTFT", lambda row: format_duration(row.get("avg_ttft_ms")), "right")
_TOTAL_COLUMNS: Final = (
    *_COUNT_COLUMNS,
    _Column("cached\ninput", lambda row: format_count(row.get("cache_read_tokens")), "right"),
    _COST,
    _Column("avg\nlatency", lambda row: format_duration(row.get("avg_duration_ms")), "right"),
    _P95,
    _TTFT,
)
_NARROW_TOTAL_COLUMNS: Final = (*_COUNT_COLUMNS, _COST, _P95, _TTFT)
