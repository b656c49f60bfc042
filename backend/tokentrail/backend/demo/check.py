"""Compares what there should be: the calls of a run, their totals, and the ledger of the local provider.

A figure is compared only between witnesses that know it: the ledger knows no cost, and the calls of a vendor that was
called for real are in no ledger.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final, TypeAlias

from tokentrail.semconv.genai import StreamExit

Record: TypeAlias = Mapping[str, object]

MAX_NAMED: Final = 5
"""Calls that are named when the figures differ."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is compared. `None` where a witness does not know it."""

    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    reasoning_tokens: int | None = None
    cost_usd: Decimal | None = None


def of_rows(rows: Iterable[Record]) -> Figures:
    """The sum over calls, in the field names of `/api/requests`."""
    rows = list(rows)
    return Figures(
        calls=len(rows),
        errors=sum(bool(row.get("error_type")) for row in rows),
        input_tokens=_sum(rows, "input_tokens"),
        output_tokens=_sum(rows, "output_tokens"),
        cache_read_tokens=_sum(rows, "cache_read_tokens"),
        reasoning_tokens=_sum(rows, "reasoning_tokens"),
        cost_usd=_money(rows),
    )


def of_totals(totals: Iterable[Record]) -> Figures:
    """The sum over totals, in the field names of `/api/totals`."""
    totals = list(totals)
    return Figures(
        calls=_sum(totals, "requests"),
        errors=_sum(totals, "errors"),
        input_tokens=_sum(totals, "input_tokens"),
        output_tokens=_sum(totals, "output_tokens"),
        cache_read_tokens=_sum(totals, "cache_read_tokens"),
        cost_usd=_money(totals),
    )


def of_ledger(entries: Iterable[Record]) -> Figures:
    """The sum over the provider's entries."""
    entries = list(entries)
    return Figures(
        calls=len(entries),
        errors=sum(entry.get("outcome") == "error" for entry in entries),
        input_tokens=_sum(entries, "input_tokens"),
        output_tokens=_sum(entries, "output_tokens"),
        cache_read_tokens=_sum(entries, "cached_tokens"),
        reasoning_tokens=_sum(entries, "reasoning_tokens"),
    )


def heard(entries: Iterable[Record], rows: Iterable[Record]) -> list[Record]:
    """`entries` as far as the application listened: of a stream that it left, nobody read the counts at the end."""
    left = {
        row.get("request_id")
        for row in rows
        if row.get("stream_exit") not in (None, "", StreamExit.COMPLETE) and row.get("input_tokens") is None
    }
    return [
        {name: value for name, value in entry.items() if entry.get("request_id") not in left or name not in _COUNTS}
        for entry in entries
    ]


def differences(first: str, one: Figures, second: str, other: Figures) -> list[str]:
    """What two witnesses say differently, as words for a person; empty when they agree."""
    found = []
    for field in fields(Figures):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if ours is not None and theirs is not None and ours != theirs:
            found.append(f"{field.name.replace('_', ' ')}: {ours} by {first}, {theirs} by {second}")
    return found


def suspects(rows: Sequence[Record], entries: Sequence[Record]) -> list[str]:
    """Requests that the ledger has differently from the calls, by the provider's request id; at most `MAX_NAMED`."""
    by_id = {row["request_id"]: row for row in rows if row.get("request_id")}
    found = []
    for entry in entries:
        row = by_id.get(entry.get("request_id"))
        name = f"request {entry.get('request_id')} ({entry.get('model')}, {entry.get('error') or 'no error'})"
        if row is None:
            found.append(f"{name} reached the provider, no call has it")
            continue
        found += [
            f"{name}: {ours.replace('_', ' ')} {row.get(ours)} in the call, {entry.get(theirs)} sent"
            for ours, theirs in _NAMES
            if (row.get(ours) or 0) != (entry.get(theirs) or 0)
        ]
    return found[:MAX_NAMED]


_NAMES: Final = (
    ("input_tokens", "input_tokens"),
    ("output_tokens", "output_tokens"),
    ("cache_read_tokens", "cached_tokens"),
    ("reasoning_tokens", "reasoning_tokens"),
)
"""Counts by their names in calls and in the ledger."""
_COUNTS: Final = frozenset(theirs for _, theirs in _NAMES)


def leaks(entries: Iterable[Record]) -> list[str]:
    """Metadata headers that reached the provider, which is told nothing of users and sessions; one line or none."""
    names = sorted({str(name) for entry in entries for name in _names(entry.get("tagged_headers"))})
    return [f"headers that should have stayed in the application reached the provider: {', '.join(names)}"] * bool(
        names
    )


def _names(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _sum(records: Iterable[Record], name: str) -> int:
    return sum(int(str(record.get(name) or 0)) for record in records)


def _money(records: Iterable[Record]) -> Decimal:
    return sum((Decimal(str(record.get("cost_usd") or 0)) for record in records), Decimal(0))
