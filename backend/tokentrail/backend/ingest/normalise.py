"""Spans into canonical rows, priced where the sender did not. Pure but for the price list."""

from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter
from typing import Final

from tokentrail.backend import dialects
from tokentrail.backend.dialects.figures import Counts
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.ingest.price import priced
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.semconv import cost
from tokentrail.semconv.usage import MAX_SEARCHES, MAX_TOKENS

_COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cache_write_1h_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "audio_cache_read_tokens",
    "image_input_tokens",
    "image_output_tokens",
    "web_searches",
)
_LOOKED_UP_AGAIN: Final = frozenset(
    {cost.Reason.UNKNOWN_PROVIDER, cost.Reason.UNKNOWN_MODEL, cost.Reason.SELF_HOSTED, cost.Reason.INTERNAL}
)
"""What a sender had no price for may have one here: in a price file, or in a later list."""
_counts: Final = attrgetter(*_COUNTS)


Read = tuple[Span, Row | None]
"""A span and what it tells of model calls, of whatever kind; `None` for nothing."""


def describe(spans: Iterable[Span]) -> list[Read]:
    """Each of `spans` with its row: priced where it is a billable call, or tells the usage of those below it."""
    spans = list(spans)
    whole = dialects.whole_usages(spans)
    return [(span, _described(span, whole.get((span.trace_id, span.span_id)) if whole else None)) for span in spans]


def normalise(spans: Iterable[Span]) -> list[Row]:
    """One row per billable call among `spans`, in their order."""
    return [row for _, row in describe(spans) if row is not None and row.kind in BILLABLE]


def _described(span: Span, whole: Counts | None) -> Row | None:
    """The row of `span`, with the counts that are known to be the whole ones in place of its own."""
    if whole is None and dialects.counts_for_nothing(span):
        return None
    row = dialects.describe(span)
    if row is not None and whole is not None:
        row = replace(row, **whole)
    if row is None or not (row.kind in BILLABLE or row.input_tokens or row.output_tokens or row.cost_usd):
        return row
    return _complete(row)


def _complete(row: Row) -> Row:
    if not row.pricing_status:
        row = priced(row)
    elif row.pricing_status in _LOOKED_UP_AGAIN:
        row = _looked_up_again(row)
    return _without_absurd_counts(row)


def _looked_up_again(row: Row) -> Row:
    """`row`, for which its sender knew no price, with one of ours; what is self-hosted has only a user's own."""
    ours = priced(row)
    found = ours.pricing_status == cost.PRICED
    if row.pricing_status == cost.Reason.SELF_HOSTED:
        found = found and ours.cost_source == cost.Source.USER
    return ours if found else row


def _without_absurd_counts(row: Row) -> Row:
    """A count that no call can have would drown every sum it is in: it is dropped, the row stays."""
    counts = _counts(row)
    for count in counts:
        if count is not None and not 0 <= count <= MAX_TOKENS:
            break
    else:
        if (row.web_searches or 0) <= MAX_SEARCHES:
            return row
    absurd = {name: None for name, each in zip(_COUNTS, counts, strict=True) if not _is_sane(each)}
    if (row.web_searches or 0) > MAX_SEARCHES:
        absurd["web_searches"] = None
    return replace(row, **absurd)  # type: ignore[arg-type]  # the names are those of counts


def _is_sane(count: int | None) -> bool:
    return count is None or 0 <= count <= MAX_TOKENS
