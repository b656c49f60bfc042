"""What a row costs: by the same code that prices on the application side, from the row alone.

All that a price depends on is in the row, so that it can be priced again when the price list is corrected.
"""

from tokentrail.backend.dialects.reported_cost import rounded, usd
from tokentrail.backend.row import Row
from tokentrail.semconv import cost
from tokentrail.semconv.usage import Usage


def call_of(row: Row) -> cost.Call:
    """What is to be priced of `row`."""
    return cost.Call(
        provider=row.provider,
        models=(row.pricing_model, row.response_model, row.request_model),
        usage=Usage(
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cache_read_tokens=row.cache_read_tokens,
            cache_write_tokens=row.cache_write_tokens,
            cache_write_1h_tokens=row.cache_write_1h_tokens,
            reasoning_tokens=row.reasoning_tokens,
            audio_input_tokens=row.audio_input_tokens,
            audio_output_tokens=row.audio_output_tokens,
            audio_cache_read_tokens=row.audio_cache_read_tokens,
            image_input_tokens=row.image_input_tokens,
            image_output_tokens=row.image_output_tokens,
            web_searches=row.web_searches,
        ),
        at_ns=row.time_ns,
        server_address=row.server_address,
        service_tier=row.service_tier,
    )


def priced(row: Row) -> Row:
    """`row` with its cost by the price lists of now, or with the reason why it has none; whatever it said before."""
    call = call_of(row)
    result = cost.price(call)
    if isinstance(result, cost.Unpriced):
        # A failed call without usage has used nothing: that it has no cost is no gap in the price list.
        failed = row.is_error and call.usage.is_empty
        return _unpriced(row, cost.Reason.FAILED if failed else result.reason)
    total = usd(result.total_usd)
    if total is None:
        return _unpriced(row, cost.Reason.INVALID_USAGE)
    # The total is finite and within bounds, hence its components are.
    components = {name: amount for name, exact in result.components.items() if (amount := rounded(exact))}
    if components:
        # Each is rounded to what a row can hold; the total is what the row's components add up to.
        total = usd(sum(components.values()))
    return row.with_cost(
        total,
        components,
        str(result.source),
        cost.PRICED,
        result.version,
        result.entry,
        result.tier,
        result.assumptions,
    )


def _unpriced(row: Row, reason: cost.Reason) -> Row:
    return row.with_cost(None, {}, "", str(reason))
