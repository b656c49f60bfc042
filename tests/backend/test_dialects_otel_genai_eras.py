"""A span of every era of the OTel GenAI conventions becomes its whole row, worked out by hand."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from support.spans import SECOND, START, row_of
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Event


@dataclass(frozen=True)
class Case:
    """A span of an era, and the fields of its row that are not the ones of every row here."""

    attributes: Attributes
    want: Mapping[str, object]
    fields: Mapping[str, Any] = field(default_factory=dict)


COMMON: Mapping[str, object] = {
    **asdict(
        Row(
            time_ns=START,
            trace_id="1" * 32,
            span_id="2" * 16,
            parent_span_id="",
            service="shop",
            environment="prod",
            kind="llm",
            operation="chat",
            provider="openai",
            request_model="",
            response_model="",
            server_address="",
            duration_ns=2 * SECOND,
        )
    )
}

ERAS = {
    "v1.26: prompt and completion tokens, no operation": Case(
        {
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4",
            "gen_ai.usage.prompt_tokens": 3,
            "gen_ai.usage.completion_tokens": 4,
        },
        {
            "request_model": "gpt-4",
            "input_tokens": 3,
            "output_tokens": 4,
            "input_messages": '[{"role":"user","parts":[{"type":"text","content":"ping"}]}]',
            "output_messages": '[{"role":"assistant","parts":[{"type":"text","content":"pong"}]}]',
        },
        {
            "name": "chat",
            "events": (
                Event(1, "gen_ai.content.prompt", {"gen_ai.prompt": '[{"role":"user","content":"ping"}]'}),
                Event(2, "gen_ai.content.completion", {"gen_ai.completion": '[{"content":"pong"}]'}),
            ),
        },
    ),
    "v1.30: gen_ai.system with an old value, messages as span events": Case(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "az.ai.openai",
            "gen_ai.request.model": "my-deployment",
            "gen_ai.response.model": "gpt-4-0613",
            "gen_ai.usage.input_tokens": 5,
            "gen_ai.usage.output_tokens": 6,
        },
        {
            "provider": "azure.ai.openai",
            "request_model": "my-deployment",
            "response_model": "gpt-4-0613",
            "input_tokens": 5,
            "output_tokens": 6,
            "input_messages": json.dumps(
                [
                    {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
                    {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
                ],
                separators=(",", ":"),
            ),
            "finish_reasons": ("tool_call",),
            "output_messages": json.dumps(
                [
                    {
                        "role": "assistant",
                        "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}],
                        "finish_reason": "tool_calls",
                    }
                ],
                separators=(",", ":"),
            ),
        },
        {
            "events": (
                Event(20, "gen_ai.user.message", {"gen_ai.system": "openai", "content": "hi"}),
                Event(10, "gen_ai.system.message", {"gen_ai.event.content": '{"content": "be brief"}'}),
                Event(
                    30,
                    "gen_ai.choice",
                    {
                        "index": 0,
                        "finish_reason": "tool_calls",
                        "message": {
                            "role": "assistant",
                            "tool_calls": (
                                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                            ),
                        },
                    },
                ),
            )
        },
    ),
    "v1.37 to v1.40: provider, message attributes, cache_creation": Case(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "ignored",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "claude-sonnet-4",
            "gen_ai.usage.input_tokens": 900,
            "gen_ai.usage.prompt_tokens": 900,
            "gen_ai.usage.output_tokens": 10,
            "gen_ai.usage.completion_tokens": 10,
            "gen_ai.usage.cache_creation.input_tokens": 200,
            "gen_ai.usage.cache_read.input_tokens": 100,
            "gen_ai.response.finish_reasons": ("end_turn",),
            "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]',
            "gen_ai.system_instructions": ({"type": "text", "content": "sys"},),
        },
        {
            "provider": "anthropic",
            "request_model": "claude-sonnet-4",
            "input_tokens": 900,
            "output_tokens": 10,
            "cache_write_tokens": 200,
            "cache_read_tokens": 100,
            "finish_reasons": ("stop",),
            "input_messages": '[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]',
            "system": '[{"type":"text","content":"sys"}]',
        },
    ),
    "after v1.41, by Tokentrail itself: everything": Case(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
            "gen_ai.response.id": "r1",
            "server.address": "api.openai.com",
            "server.port": 443,
            "http.response.status_code": 200,
            "gen_ai.request.stream": True,
            "gen_ai.response.time_to_first_chunk": 0.31,
            "tokentrail.response.time_to_first_token": 0.5,
            "gen_ai.response.finish_reasons": ("stop", "length"),
            "gen_ai.usage.input_tokens": 1000,
            "gen_ai.usage.cache_read.input_tokens": 600,
            "gen_ai.usage.cache_write.input_tokens": 100,
            "gen_ai.usage.cache_creation.input_tokens": 100,
            "gen_ai.usage.output_tokens": 50,
            "gen_ai.usage.reasoning.output_tokens": 20,
            "gen_ai.conversation.id": "c1",
            "session.id": "s1",
            "tokentrail.session.name": "Research",
            "tokentrail.session.path": "/a/b",
            "user.id": "u1",
            "gen_ai.prompt.name": "greet",
            "gen_ai.prompt.version": 7,
            "tokentrail.property.plan": "pro",
            "tokentrail.property.n": 3,
            "tokentrail.request.retry_count": 1,
            "tokentrail.response.request_id": "req_1",
            "tokentrail.stream.exit": "complete",
            "tokentrail.ratelimit.limit_requests": 100,
            "tokentrail.ratelimit.remaining_requests": 99,
            "tokentrail.ratelimit.limit_tokens": 10_000,
            "tokentrail.ratelimit.remaining_tokens": 9_000,
            "tokentrail.pricing.status": "priced",
            "tokentrail.pricing.source": "genai-prices",
            "tokentrail.pricing.version": "genai-prices 1",
            "tokentrail.pricing.entry": "openai/gpt-4o-mini",
            "tokentrail.pricing.tier": "standard",
            "tokentrail.pricing.assumptions": ("one",),
            "tokentrail.cost.input": 0.1,
            "tokentrail.cost.output": 0.2,
            "gen_ai.usage.cost": 0.30000000000000004,
            "gen_ai.output.messages": '[{"role":"assistant","parts":[]}]',
            "gen_ai.tool.definitions": '[{"type":"function","name":"f"}]',
        },
        {
            "request_model": "gpt-4o-mini",
            "response_model": "gpt-4o-mini-2024-07-18",
            "response_id": "r1",
            "server_address": "api.openai.com",
            "status_code": 200,
            "stream": True,
            "ttft_ns": SECOND // 2,
            "time_to_first_chunk_ns": 310_000_000,
            "stream_exit": "complete",
            "finish_reasons": ("stop", "length"),
            "input_tokens": 1000,
            "cache_read_tokens": 600,
            "cache_write_tokens": 100,
            "output_tokens": 50,
            "reasoning_tokens": 20,
            "conversation_id": "c1",
            "session_id": "s1",
            "session_name": "Research",
            "session_path": "/a/b",
            "user_id": "u1",
            "prompt_name": "greet",
            "prompt_version": "7",
            "properties": {"plan": "pro", "n": "3"},
            "retry_count": 1,
            "request_id": "req_1",
            "ratelimit_limit_requests": 100,
            "ratelimit_remaining_requests": 99,
            "ratelimit_limit_tokens": 10_000,
            "ratelimit_remaining_tokens": 9_000,
            "cost_usd": Decimal("0.300000000000"),
            "cost_components": {"input": Decimal("0.1"), "output": Decimal("0.2")},
            "cost_source": "genai-prices",
            "pricing_status": "priced",
            "price_version": "genai-prices 1",
            "price_entry": "openai/gpt-4o-mini",
            "pricing_tier": "standard",
            "pricing_assumptions": ("one",),
            "output_messages": '[{"role":"assistant","parts":[]}]',
            "tools": '[{"type":"function","name":"f"}]',
        },
    ),
    "embeddings": Case(
        {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "text-embedding-3-small",
            "gen_ai.usage.input_tokens": 12,
        },
        {
            "kind": "embedding",
            "operation": "embeddings",
            "request_model": "text-embedding-3-small",
            "input_tokens": 12,
        },
    ),
    "all values as strings (Micrometer)": Case(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": "31",
            "gen_ai.usage.output_tokens": "9",
            "gen_ai.usage.total_tokens": "40",
            "gen_ai.response.finish_reasons": '["STOP"]',
            "gen_ai.is_streaming": "True",
        },
        {
            "request_model": "gpt-4o",
            "input_tokens": 31,
            "output_tokens": 9,
            "finish_reasons": ("stop",),
            "stream": True,
        },
    ),
}


@pytest.mark.parametrize("era", ERAS)
def test_a_span_of_the_era_becomes_its_row(era: str) -> None:
    case = ERAS[era]

    row = asdict(row_of(case.attributes, **case.fields))

    assert row == {**COMMON, **case.want}
