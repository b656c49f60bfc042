"""What a response of Anthropic's says about its price beside the counts, and counts whose 0 says something."""

import json

import httpx2
import pytest

from support.span_log import Spans
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire.anthropic_messages import AnthropicMessages
from tokentrail.semconv import genai

COUNTS = {"input_tokens": 11, "output_tokens": 7}


def tier_of(usage: dict[str, object]) -> str:
    reader = AnthropicMessages().reader(keep_content=False)
    reader.feed_body({"type": "message", "id": "msg_1", "model": "claude-opus-5-5", "content": [], "usage": usage})
    response = reader.result()
    assert response.attributes.get(genai.RESPONSE_SERVICE_TIER, "") == response.service_tier
    return response.service_tier


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ({}, ""),
        ({"service_tier": "standard", "inference_geo": "global"}, "standard"),
        ({"service_tier": "batch", "inference_geo": "not_available"}, "batch"),
        ({"service_tier": "standard", "speed": "standard"}, "standard"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"service_tier": "standard", "inference_geo": "us"}, "standard@us"),
        ({"service_tier": "standard", "speed": "fast", "inference_geo": "us"}, "fast@us"),
        ({"inference_geo": "us"}, "@us"),
        ({"service_tier": "standard", "speed": ["fast"], "inference_geo": 1}, "standard"),
    ],
)
def test_speed_and_place_count_as_parts_of_the_tier(told: dict[str, object], tier: str) -> None:
    assert tier_of({**COUNTS, **told}) == tier


def test_the_place_of_a_stream_is_told_at_its_start() -> None:
    reader = AnthropicMessages().reader(keep_content=False)
    start = {"message": {"id": "msg_1", "usage": {**COUNTS, "service_tier": "standard", "inference_geo": "us"}}}
    reader.feed_event(Event("message_start", json.dumps({"type": "message_start", **start}).encode()))
    reader.feed_event(Event("message_delta", b'{"type": "message_delta", "usage": {"output_tokens": 9}}'))

    assert reader.result().service_tier == "standard@us"


@pytest.mark.parametrize(
    ("lifetimes", "recorded"),
    [
        ({"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 0}, 0),
        ({"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}, 3),
        (None, None),
    ],
)
def test_that_nothing_was_written_for_an_hour_is_recorded_where_something_was_written(
    spans: Spans, lifetimes: dict[str, int] | None, recorded: int | None
) -> None:
    usage = {**COUNTS, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 0}
    if lifetimes is not None:
        usage["cache_creation"] = lifetimes  # type: ignore[assignment]  # a count is no mapping
    body = {"type": "message", "id": "msg_1", "model": "claude-opus-5-5", "content": [], "usage": usage}

    with httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json=body))) as client:
        client.post(
            "https://api.anthropic.com/v1/messages",
            json={"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
        )

    (span,) = spans.calls()
    assert dict(span.attributes or {}).get(genai.USAGE_CACHE_WRITE_1H_INPUT_TOKENS) == recorded
