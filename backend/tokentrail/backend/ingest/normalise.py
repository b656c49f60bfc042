"""Spans into canonical rows, priced where the sender did not. Pure but for the price list."""

from collections.abc import Iterable
from dataclasses import replace

from tokentrail.backend import dialects
from tokentrail.backend.dialects.reported_cost import usd
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.semconv import cost
from tokentrail.semconv.usage import MAX_TOKENS


def normalise(spans: Iterable[Span]) -> list[Row]:
    """One row per billable call among `spans`, in their order."""
    return [_priced(reading) for span in spans if (reading := dialects.read(span)) is not None]


def _priced(reading: dialects.Reading) -> Row:
    row = reading.row
    if reading.call is not None:
        row = _with_cost(row, reading.call)
    return _without_absurd_counts(row)


def _with_cost(row: Row, call: cost.Call) -> Row:
    result = cost.price(call)
    if isinstance(result, cost.Unpriced):
        # A failed call without usage has used nothing: that it has no cost is no gap in the price list.
        failed = row.is_error and call.usage.is_empty
        return replace(row, pricing_status=str(cost.Reason.FAILED if failed else result.reason))
    total = usd(result.total_usd)
    if total is None:
        return replace(row, pricing_status=str(cost.Reason.INVALID_USAGE))
    components = {name: amount for name, exact in result.components.items() if (amount := usd(exact))}
    if components:
        # Each is rounded to what a row can hold; the total is what the row's components add up to.
        total = usd(sum(components.values()))
    return replace(
        row,
        cost_usd=total,
        cost_components=components,
        cost_source=str(result.source),
        pricing_status=cost.PRICED,
        price_version=result.version,
        price_entry=result.entry,
        pricing_tier=result.tier,
        pricing_assumptions=result.assumptions,
    )


def _without_absurd_counts(row: Row) -> Row:
    """A count that no call can have would drown every sum it is in: it is dropped, the row stays."""
    counts = (row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cache_write_tokens, row.reasoning_tokens)
    if all(count is None or count <= MAX_TOKENS for count in counts):
        return row
    return replace(
        row,
        input_tokens=_sane(row.input_tokens),
        output_tokens=_sane(row.output_tokens),
        cache_read_tokens=_sane(row.cache_read_tokens),
        cache_write_tokens=_sane(row.cache_write_tokens),
        reasoning_tokens=_sane(row.reasoning_tokens),
    )


def _sane(count: int | None) -> int | None:
    return None if count is not None and count > MAX_TOKENS else count
