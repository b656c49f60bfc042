"""The canonical row: one billable model call, whatever dialect its span spoke.

Field names are those of the JSON API, the command line and exports; ClickHouse columns are the same words in
CamelCase (`store/rows.py`). Text fields are empty when unknown; numbers are `None`.
"""

from collections.abc import Mapping
from dataclasses import field, fields
from decimal import Decimal
from operator import attrgetter
from typing import Final

from tokentrail.semconv.frozen import frozen

EVENT: Final = "event"
"""`Row.source` of a call that only a log record told."""


@frozen
class Row:
    """One model call. Token totals are inclusive: cache reads and writes in the input, reasoning in the output."""

    time_ns: int
    """Start of the call, nanoseconds since the epoch."""
    trace_id: str
    span_id: str
    parent_span_id: str
    service: str
    environment: str
    kind: str
    """`llm`, `embedding`, `rerank` or `moderation`; `agent`, `workflow`, `chain` or `tool` where it stands for calls
    that have no spans of their own."""
    operation: str
    provider: str
    request_model: str
    response_model: str
    server_address: str
    duration_ns: int
    response_id: str = ""
    request_id: str = ""
    """The provider's id of the HTTP request."""
    conversation_id: str = ""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    """The part of the cache writes that lives for an hour; this and the counts below are parts that have own prices."""
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    audio_cache_read_tokens: int | None = None
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    web_searches: int | None = None
    """Web searches that the provider ran for the call and bills beside its tokens."""

    service_tier: str = ""
    """The tier that served the call, in the provider's word."""
    pricing_model: str = ""
    """The model that the sender wants the call priced as."""

    cost_usd: Decimal | None = None
    """Total, exact to 1e-12 USD; `None` when unpriced, never 0 for unknown."""
    cost_components: Mapping[str, Decimal] = field(default_factory=dict)
    """USD by `cost.COMPONENTS` name; they add up to `cost_usd`. Empty when the sender gave only a total."""
    cost_source: str = ""
    """`provider`, `user`, `overlay`, `genai-prices`, or `client` for a total the sender computed in an unknown way."""
    pricing_status: str = ""
    """`priced`, or a `cost.Reason`; empty only on the way from a dialect to the price list."""
    price_version: str = ""
    price_entry: str = ""
    pricing_tier: str = ""
    pricing_assumptions: tuple[str, ...] = ()

    stream: bool = False
    ttft_ns: int | None = None
    """To the first token, or to the first chunk where the sender tells only that. Streams only."""
    time_to_first_chunk_ns: int | None = None
    stream_exit: str = ""

    status_code: int | None = None
    """HTTP status of the response."""
    error_type: str = ""
    """Empty on success."""
    error_message: str = ""
    retry_count: int | None = None
    finish_reasons: tuple[str, ...] = ()

    user_id: str = ""
    session_id: str = ""
    session_name: str = ""
    session_path: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    prompt_name: str = ""
    prompt_version: str = ""

    ratelimit_limit_requests: int | None = None
    ratelimit_remaining_requests: int | None = None
    ratelimit_limit_tokens: int | None = None
    ratelimit_remaining_tokens: int | None = None

    input_messages: str = ""
    """JSON in the conventions' message format, as are the three below; empty unless the sender captured content."""
    output_messages: str = ""
    system: str = ""
    tools: str = ""

    source: str = ""
    """`EVENT` where a log record told the call and no span did, else empty."""
    project: str = ""
    """Of the key it was sent with (`access.caller`), empty for the default one."""

    def with_cost(
        self,
        cost_usd: Decimal | None,
        cost_components: Mapping[str, Decimal],
        cost_source: str,
        pricing_status: str,
        price_version: str = "",
        price_entry: str = "",
        pricing_tier: str = "",
        pricing_assumptions: tuple[str, ...] = (),
    ) -> "Row":
        """This row with another cost; `dataclasses.replace` would take ten times as long."""
        values = _all_fields(self)
        cost = (cost_usd, cost_components, cost_source, pricing_status)
        price = (price_version, price_entry, pricing_tier, pricing_assumptions)
        after = values[_COST_FROM + len(cost) + len(price) :]
        return Row(*values[:_COST_FROM], *cost, *price, *after)  # type: ignore[call-arg]  # all fields, in their order

    @property
    def is_error(self) -> bool:
        """True for a failed call, whether it failed with an HTTP status or without one."""
        return bool(self.error_type)


_FIELDS: Final = tuple(each.name for each in fields(Row))
_COST_FROM: Final = _FIELDS.index("cost_usd")
_all_fields: Final = attrgetter(*_FIELDS)
