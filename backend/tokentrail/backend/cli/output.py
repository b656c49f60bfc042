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

Row = Mapping[str, object]
"""An object of the API."""

PIPE_WIDTH: Final = 200
"""Columns where the output is no terminal: wide enough that nothing of a usual row is cut."""
WIDE: Final = 150
"""Below this many columns a table stacks what belongs together and draws no lines."""
NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    show: Callable[[Row], str]
    """The cell of a row."""
    justify: Literal["left", "right"] = "left"
    folds: bool = False
    """Goes on in the next line rather than being cut."""


def console() -> Console:
    """A console on standard output."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(width=width, highlight=False)


def print_requests(rows: Sequence[Row], console: Console) -> None:
    """A table of calls, in their order, and a line with how many there are, what they cost and what has no price."""
    if not rows:
        console.print("No calls found.", markup=False)
        return
    console.print(build_table(_REQUEST_COLUMNS if console.width >= WIDE else _STACKED_COLUMNS, rows, console))
    console.print(_summary(rows), markup=False, soft_wrap=True)


def print_totals(title: str, key: str, rows: Sequence[Row], console: Console) -> None:
    """A table of totals of `/api/totals?by=<key>` under a title, in their order."""
    first = Column(clean(key), lambda row: text_of(row, key), folds=True)
    columns = _TOTAL_COLUMNS if console.width >= WIDE else _NARROW_TOTAL_COLUMNS
    console.print(build_table((first, *columns), rows, console, title))


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


def build_table(
    columns: Sequence[Column], rows: Sequence[Row], console: Console, title: str = "", total: Row | None = None
) -> Table:
    """A table of `rows` in `columns` that fits `console`, with `total` set off at its end."""
    wide = console.width >= WIDE
    table = Table(title=Text(clean(title)) if title else None, title_justify="left", header_style="bold")
    if not wide:
        table.box, table.padding, table.pad_edge = None, (0, 1, 0, 0), False
    for column in columns:
        # Where there is no room, ids and names fold; a number that must be cut shows that it was.
        fit: Literal["fold", "ellipsis"] = "fold" if column.folds else "ellipsis"
        table.add_column(Text(column.title), justify=column.justify, no_wrap=not column.folds, overflow=fit)
    for row in rows:
        # Text, not markup: a user may be called "[bold]".
        table.add_row(*(Text(column.show(row)) for column in columns), style="red" if row.get("error_type") else "")
    if total is not None:
        table.add_section()
        table.add_row(*(Text(column.show(total)) for column in columns), style="bold")
    return table


def clean(text: str) -> str:
    """`text` without what would move the cursor or colour the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def text_of(row: Row, field: str) -> str:
    """The text of a field, or a dash."""
    return clean(str(row.get(field) or "")) or NOTHING


def _model(row: Row) -> str:
    return text_of(row, "request_model" if row.get("request_model") else "response_model")


def _status(row: Row) -> str:
    code, error = row.get("status_code"), row.get("error_type")
    if not error:
        return "ok"
    return clean(f"{code} {error}" if code is not None and str(code) != error else str(error))


def _summary(rows: Sequence[Row]) -> str:
    costs = [Decimal(str(row["cost_usd"])) for row in rows if row.get("cost_usd") is not None]
    errors = sum(bool(row.get("error_type")) for row in rows)
    parts = [plural(len(rows), "call"), plural(errors, "error"), format_cost(sum(costs) if costs else None)]
    reasons = Counter(str(row.get("pricing_status") or "unknown") for row in rows if row.get("cost_usd") is None)
    if reasons:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        parts.append(f"{sum(reasons.values())} without a price ({clean(why)})")
    return ", ".join(parts)


def plural(count: int, noun: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


_NUMBER_COLUMNS: Final = (
    Column("input", lambda row: format_count(row.get("input_tokens")), "right"),
    Column("output", lambda row: format_count(row.get("output_tokens")), "right"),
    Column("cost", lambda row: format_cost(row.get("cost_usd")), "right"),
    Column("latency", lambda row: format_duration(row.get("duration_ms")), "right"),
    Column("TTFT", lambda row: format_duration(row.get("ttft_ms")), "right"),
)
_REQUEST_COLUMNS: Final = (
    Column("time", lambda row: format_time(row["time"])),
    Column("operation", lambda row: text_of(row, "operation")),
    Column("provider", lambda row: text_of(row, "provider")),
    Column("model", _model, folds=True),
    *_NUMBER_COLUMNS,
    Column("user", lambda row: text_of(row, "user_id"), folds=True),
    Column("session path", lambda row: text_of(row, "session_path"), folds=True),
    Column("status", _status, folds=True),
)
_STACKED_COLUMNS: Final = (
    Column("time", lambda row: format_time(row["time"]).replace(" ", "\n")),
    Column(
        "operation provider\nmodel",
        lambda row: f"{text_of(row, 'operation')} {text_of(row, 'provider')}\n{_model(row)}",
        folds=True,
    ),
    *_NUMBER_COLUMNS,
    Column("user\nsession path", lambda row: f"{text_of(row, 'user_id')}\n{text_of(row, 'session_path')}", folds=True),
    Column("status", _status, folds=True),
)
"""The same in two lines a row."""

_COUNT_COLUMNS: Final = (
    Column("calls", lambda row: format_count(row.get("requests")), "right"),
    Column("errors", lambda row: format_count(row.get("errors")), "right"),
    Column("un-\npriced", lambda row: format_count(row.get("unpriced")), "right"),
    Column("input", lambda row: format_count(row.get("input_tokens")), "right"),
    Column("output", lambda row: format_count(row.get("output_tokens")), "right"),
)
_COST: Final = Column("cost", lambda row: format_cost(row.get("cost_usd")), "right")
_P95: Final = Column("p95\nlatency", lambda row: format_duration(row.get("p95_duration_ms")), "right")
_TTFT: Final = Column("avg\nTTFT", lambda row: format_duration(row.get("avg_ttft_ms")), "right")
_TOTAL_COLUMNS: Final = (
    *_COUNT_COLUMNS,
    Column("cached\ninput", lambda row: format_count(row.get("cache_read_tokens")), "right"),
    _COST,
    Column("avg\nlatency", lambda row: format_duration(row.get("avg_duration_ms")), "right"),
    _P95,
    _TTFT,
)
_NARROW_TOTAL_COLUMNS: Final = (*_COUNT_COLUMNS, _COST, _P95, _TTFT)
