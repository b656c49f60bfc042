"""Counts and costs as fields of `Row`, to be unpacked into its constructor."""

from decimal import Decimal
from typing import TypedDict

from tokentrail.backend.dialects.reported_cost import CLIENT, usd
from tokentrail.semconv import cost
from tokentrail.semconv.usage import Usage


class Counts(TypedDict):
    """The counts of a row."""

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    audio_input_tokens: int | None
    audio_output_tokens: int | None
    audio_cache_read_tokens: int | None
    image_input_tokens: int | None
    image_output_tokens: int | None
    web_searches: int | None


class Cost(TypedDict):
    """The cost of a row that its sender tells, or nothing, which leaves the row to be priced."""

    cost_usd: Decimal | None
    cost_source: str
    pricing_status: str


def counts(usage: Usage) -> Counts:
    """The counts of `usage`."""
    return Counts(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        audio_input_tokens=usage.audio_input_tokens,
        audio_output_tokens=usage.audio_output_tokens,
        audio_cache_read_tokens=usage.audio_cache_read_tokens,
        image_input_tokens=usage.image_input_tokens,
        image_output_tokens=usage.image_output_tokens,
        web_searches=usage.web_searches,
    )


def told_usd(amount: float | None, source: str = CLIENT) -> Cost:
    """A total that the sender tells. Senders write 0 for a model they have no price of: only more says something."""
    total = usd(amount)
    if not total:
        return Cost(cost_usd=None, cost_source="", pricing_status="")
    return Cost(cost_usd=total, cost_source=source, pricing_status=cost.PRICED)
