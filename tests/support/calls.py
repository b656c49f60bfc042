"""Rows and spans to test with: complete ones, changed where a test cares."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tokentrail.backend.row import Row
from tokentrail.backend.span import Event, Kind, Link, Span, StatusCode

NOON_NS = 1_767_268_800_123_456_789
"""2026-01-01T12:00:00.123456789Z."""

_ROW = Row(
    time_ns=NOON_NS,
    trace_id="0af7651916cd43dd8448eb211c80319c",
    span_id="b7ad6b7169203331",
    parent_span_id="00f067aa0ba902b7",
    service="shop",
    environment="prod",
    kind="llm",
    operation="chat",
    provider="openai",
    request_model="gpt-x",
    response_model="gpt-x-2026-01-01",
    server_address="api.openai.com",
    duration_ns=1_500_000_001,
    response_id="chatcmpl-1",
    request_id="req_1",
    conversation_id="conv_1",
    input_tokens=1000,
    output_tokens=50,
    cache_read_tokens=600,
    cache_write_tokens=100,
    reasoning_tokens=20,
    cost_usd=Decimal("0.000255000001"),
    cost_components={"input": Decimal("0.000075000001"), "output": Decimal("0.00018")},
    cost_source="genai-prices",
    pricing_status="priced",
    price_version="genai-prices 0.2.3",
    price_entry="openai/gpt-x",
    pricing_tier="default",
    pricing_assumptions=("one", "two"),
    stream=True,
    ttft_ns=340_000_000,
    time_to_first_chunk_ns=310_000_000,
    stream_exit="complete",
    status_code=200,
    retry_count=1,
    finish_reasons=("stop", "length"),
    user_id="user-1",
    session_id="session-1",
    session_name="summaries",
    session_path="/summarize/extract",
    properties={"Feature": "summary", "Plan": "pro"},
    prompt_name="greet",
    prompt_version="7",
    ratelimit_limit_requests=500,
    ratelimit_remaining_requests=499,
    ratelimit_limit_tokens=200_000,
    ratelimit_remaining_tokens=199_000,
    input_messages='[{"role":"user"}]',
    output_messages='[{"role":"assistant"}]',
    system='[{"type":"text"}]',
    tools='[{"name":"f"}]',
)

_SPAN = Span(
    trace_id="0af7651916cd43dd8448eb211c80319c",
    span_id="b7ad6b7169203331",
    parent_span_id="",
    trace_state="a=b",
    name="chat gpt-x",
    kind=Kind.CLIENT,
    start_ns=NOON_NS,
    end_ns=NOON_NS + 1_500_000_001,
    status_code=StatusCode.ERROR,
    status_message="slow down",
    attributes={"gen_ai.request.model": "gpt-x"},
    events=(Event(NOON_NS + 1, "exception", {"exception.type": "E"}),),
    links=(Link("1" * 32, "2" * 16, "x=y", {"n": 1}),),
    resource_attributes={"service.name": "shop", "process.pid": 7},
    scope_name="tokentrail",
    scope_version="0.1.0",
)


def call(**changes: Any) -> Row:
    """A row with every field set (it succeeded), but for `changes`."""
    return replace(_ROW, **changes)


def span(**changes: Any) -> Span:
    """A span with every field set, but for `changes`."""
    return replace(_SPAN, **changes)
