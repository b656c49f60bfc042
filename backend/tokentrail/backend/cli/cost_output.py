"""Costs as tables for people. Rows are objects of `/api/totals` and `/api/unpriced`, money as Decimal."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from rich.console import Console

from tokentrail.backend.cli.output import (
    NOTHING,
    WIDE,
    Column,
    Row,
    build_table,
    clean,
    format_cost,
    format_count,
    format_time,
    plural,
    text_of,
)
from tokentrail.backend.query.record import dump

_COUNTS: Final = ("requests", "priced", "unpriced", "input_tokens", "output_tokens")
_SUMS: Final = ("cost_usd", "assumed_cost_usd")
_MAPS: Final = ("cost_components", "cost_sources", "cost_assumptions")
_SHARE: Final = "share"
_PARTS: Final = {
    "input": "input",
    "cache_read": "cache reads",
    "cache_write": "cache writes",
    "output": "output",
    "reasoning": "reasoning",
    "requests": "requests",
}
"""Components by the words for them."""
_SOURCES: Final = {
    "provider": "the providers' own figures",
    "client": "the senders' own figures, computed nobody knows how",
    "user": "your price file",
    "overlay": "corrections that come with Tokentrail",
    "genai-prices": "list prices",
}
"""Where a cost is from, in words, the least checkable first."""


def print_cost(by: str, rows: Sequence[Row], console: Console, total: Row | None = None) -> None:
    """A table of the totals by `by`, with their sum, and where the money went and was known from.

    `total` is what all groups come to where `rows` are not all of them.
    """
    if not rows:
        console.print("No calls found.", markup=False)
        return
    is_cut = total is not None
    total = _sum(rows) if total is None else total
    cost = _money(total.get("cost_usd"))
    shown = [{**row, _SHARE: _share(row, cost)} for row in rows]
    first = Column(clean(by), lambda row: text_of(row, by), folds=True)
    columns = _columns(total) if console.width >= WIDE else _NARROW
    table = build_table(
        (first, *columns), shown, console, total={**total, by: "total", _SHARE: _share(total, cost) if cost else None}
    )
    console.print(table)
    if is_cut:
        console.print(f"Only the {len(rows):,} dearest are shown, the total is that of all.", markup=False)
    for line in _remarks(total):
        console.print(line, markup=False, soft_wrap=True)


def print_unpriced(rows: Sequence[Row], console: Console) -> None:
    """A table of calls without a price, what to do about them, and a price file for them to be filled in."""
    if not rows:
        console.print("Every call has a price.", markup=False)
        return
    console.print(build_table(_UNPRICED if console.width >= WIDE else _STACKED_UNPRICED, rows, console))
    advice: dict[str, list[str]] = {}
    for row in rows:
        reasons = advice.setdefault(str(row["advice"]), [])
        if (reason := text_of(row, "reason")) not in reasons:
            reasons.append(reason)
    for text, reasons in advice.items():
        console.print(f"{', '.join(reasons)}: {text}.", markup=False, soft_wrap=True)
    if lines := _lines(rows):
        # Nothing may wrap in here: it is to be pasted.
        console.print("\nA price file for them, or the lines for yours; `tokentrail prices check FILE` reads it:\n")
        for line in ("schema = 1", "price = [", *(f"  {line}" for line in lines), "]"):
            console.print(line, markup=False, soft_wrap=True)


def _lines(rows: Iterable[Row]) -> list[str]:
    """The distinct lines; those for a server alone, which would hide others, at the end."""
    lines = dict.fromkeys(str(row["price_file_line"]) for row in rows if row.get("price_file_line"))
    wide = {str(row["price_file_line"]) for row in rows if not row.get("model")}
    return sorted(lines, key=lambda line: line in wide)


def _sum(rows: Sequence[Row]) -> dict[str, object]:
    total: dict[str, object] = {name: sum(int(str(row.get(name) or 0)) for row in rows) for name in _COUNTS}
    for name in _SUMS:
        known = [_money(row[name]) for row in rows if row.get(name) is not None]
        total[name] = sum(known, Decimal(0)) if known else None
    for name in _MAPS:
        parts: dict[str, Decimal] = {}
        for row in rows:
            for key, usd in _amounts(row, name).items():
                parts[key] = parts.get(key, Decimal(0)) + usd
        total[name] = parts
    return total


def _remarks(total: Row) -> Iterable[str]:
    """What there is to say about a total, in lines."""
    parts = [f"{words} ${dump(usd)}" for part, words in _PARTS.items() if (usd := _part(total, part))]
    if undivided := _undivided(total):
        parts.append(f"not divided ${dump(undivided)}")
    if parts:
        yield f"Exactly ${dump(_money(total['cost_usd']))}: {', '.join(parts)}."
    sources = _amounts(total, "cost_sources")
    if set(sources) - {"genai-prices"}:
        known = [source for source in _SOURCES if source in sources]
        others = sorted(set(sources) - set(known))
        told = [f"{format_cost(sources[each])} by {_SOURCES.get(each, clean(each))}" for each in known + others]
        yield f"Known from: {', '.join(told)}."
    if assumed := _money(total.get("assumed_cost_usd")):
        each = [
            f"{clean(name)} {format_cost(usd)}" for name, usd in sorted(_amounts(total, "cost_assumptions").items())
        ]
        yield f"With something assumed: {format_cost(assumed)} ({', '.join(each)})."
    if unpriced := int(str(total.get("unpriced") or 0)):
        has = "has" if unpriced == 1 else "have"
        yield f"{plural(unpriced, 'call')} {has} no price and no part in this: tokentrail cost --unpriced"


def _amounts(row: Row, field: str) -> Mapping[str, Decimal]:
    """USD by name."""
    value = row.get(field)
    return {str(name): _money(usd) for name, usd in value.items()} if isinstance(value, Mapping) else {}


def _money(usd: object) -> Decimal:
    return usd if isinstance(usd, Decimal) else Decimal(str(usd or 0))


def _part(row: Row, *names: str) -> Decimal | None:
    """The sum of components; `None` where there is nothing of them."""
    amounts = _amounts(row, "cost_components")
    return sum((amounts.get(name, Decimal(0)) for name in names), Decimal(0)) or None


def _undivided(row: Row) -> Decimal | None:
    """What was reported as a total only."""
    return _money(row.get("cost_usd")) - sum(_amounts(row, "cost_components").values(), Decimal(0)) or None


def _other(row: Row) -> Decimal | None:
    return (_part(row, "requests") or Decimal(0)) + (_undivided(row) or Decimal(0)) or None


def _share(row: Row, total: Decimal) -> Decimal | None:
    cost = row.get("cost_usd")
    return None if cost is None or not total else _money(cost) / total * 100


def _format_share(percent: object) -> str:
    return NOTHING if percent is None else f"{_money(percent):.1f} %"


def _average(row: Row) -> str:
    calls = int(str(row.get("priced") or 0))
    return format_cost(_rounded(_money(row["cost_usd"]) / calls)) if calls else NOTHING


def _rounded(usd: Decimal) -> Decimal:
    """An average to what a row can hold: more digits than that mean nothing."""
    return usd.quantize(Decimal("1e-12")) if usd else Decimal(0)


def _columns(total: Row) -> tuple[Column, ...]:
    """All columns; what is in no part has one where there is any of it."""
    other = (Column("other", lambda row: format_cost(_other(row)), "right"),) if _other(total) else ()
    return (*_CALLS, *_TOKENS, *_COST_PARTS, *other, *_COST)


_CALLS: Final = (
    Column("calls", lambda row: format_count(row.get("requests")), "right"),
    Column("un-\npriced", lambda row: format_count(row.get("unpriced")), "right"),
)
_TOKENS: Final = (
    Column("input\ntokens", lambda row: format_count(row.get("input_tokens")), "right"),
    Column("output\ntokens", lambda row: format_count(row.get("output_tokens")), "right"),
)
_COST_PARTS: Final = (
    Column("input", lambda row: format_cost(_part(row, "input")), "right"),
    Column("cache", lambda row: format_cost(_part(row, "cache_read", "cache_write")), "right"),
    Column("output", lambda row: format_cost(_part(row, "output")), "right"),
    Column("reasoning", lambda row: format_cost(_part(row, "reasoning")), "right"),
)
_COST: Final = (
    Column("cost", lambda row: format_cost(row.get("cost_usd")), "right"),
    Column("share", lambda row: _format_share(row.get(_SHARE)), "right"),
    Column("per\ncall", _average, "right"),
)
_NARROW: Final = (*_CALLS, *_TOKENS, *_COST)

_UNPRICED: Final = (
    Column("reason", lambda row: text_of(row, "reason")),
    Column("provider", lambda row: text_of(row, "provider"), folds=True),
    Column("model", lambda row: text_of(row, "model"), folds=True),
    Column("server", lambda row: text_of(row, "server_address"), folds=True),
    Column("calls", lambda row: format_count(row.get("requests")), "right"),
    Column("input\ntokens", lambda row: format_count(row.get("input_tokens")), "right"),
    Column("output\ntokens", lambda row: format_count(row.get("output_tokens")), "right"),
    Column("first", lambda row: format_time(row["first"])),
    Column("last", lambda row: format_time(row["last"])),
)
_STACKED_UNPRICED: Final = (
    Column("reason\nprovider", lambda row: f"{text_of(row, 'reason')}\n{text_of(row, 'provider')}", folds=True),
    Column("model\nserver", lambda row: f"{text_of(row, 'model')}\n{text_of(row, 'server_address')}", folds=True),
    Column("calls", lambda row: format_count(row.get("requests")), "right"),
    Column(
        "input\noutput",
        lambda row: f"{format_count(row.get('input_tokens'))}\n{format_count(row.get('output_tokens'))}",
        "right",
    ),
    Column("first\nlast", lambda row: f"{format_time(row['first'])}\n{format_time(row['last'])}"),
)
"""The same in two lines a row."""
