"""OpenLIT, rule by rule; recorded spans are in `test_dialects_instrumentations.py`."""

import json
from decimal import Decimal
from typing import Any

import pytest

from support.spans import a_span
from tokentrail.backend.dialects.merge import merge
from tokentrail.backend.dialects.openlit import OpenLIT
from tokentrail.backend.dialects.otel_genai import OtelGenAI
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes

CHAT: Attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.sdk.version": "2.54.0",
}


def merged(attributes: Attributes, scope: str = "openlit.instrumentation.openai", **fields: Any) -> Row:
    """With what the conventions read of the same span."""
    span = a_span(attributes, scope_name=scope, **fields)
    return merge([row for each in (OpenLIT(), OtelGenAI()) if (row := each.read(span)) is not None])


@pytest.mark.parametrize(
    ("keys", "scope", "matches"),
    [
        ((), "openlit.instrumentation.anthropic", True),
        ((), "openlit.otel.tracing", True),
        (("gen_ai.sdk.version",), "x", True),
        (("gen_ai.client.token.usage",), "x", True),
        (("gen_ai.application_name",), "x", True),
        (("openlit.agent.version_hash",), "x", True),
        (("gen_ai.usage.cost", "gen_ai.usage.input_tokens"), "tokentrail.instrumentation", False),
    ],
)
def test_it_is_known_by_scope_and_by_attributes(keys: tuple[str, ...], scope: str, matches: bool) -> None:
    assert OpenLIT().matches(keys, scope) is matches


COUNTS: Attributes = {
    "gen_ai.usage.input_tokens": 2000,
    "gen_ai.usage.output_tokens": 80,
    "gen_ai.usage.cache_read.input_tokens": 1000,
    "gen_ai.usage.cache_creation.input_tokens": 100,
    "gen_ai.client.token.usage": 2080,
}


@pytest.mark.parametrize(
    ("scope", "provider", "expected"),
    [
        ("openlit.instrumentation.anthropic", "anthropic", 3100),
        ("openlit.instrumentation.bedrock", "aws.bedrock", 3100),
        ("openlit.otel.tracing", "anthropic", 3100),
        ("openlit.otel.tracing", "openai", 2000),
        ("openlit.instrumentation.openai", "openai", 2000),
        ("openlit.instrumentation.langchain", "anthropic", 2000),
        ("openlit.instrumentation.claude_agent_sdk", "anthropic", 2000),
    ],
)
def test_only_what_comes_from_anthropic_itself_is_without_the_cache(scope: str, provider: str, expected: int) -> None:
    row = merged({**CHAT, **COUNTS, "gen_ai.provider.name": provider}, scope)

    assert (row.input_tokens, row.cache_read_tokens, row.cache_write_tokens) == (expected, 1000, 100)


def test_a_cache_above_the_input_is_apart_whoever_says_it() -> None:
    row = merged({**CHAT, **COUNTS, "gen_ai.usage.input_tokens": 200}, "openlit.instrumentation.langchain")

    assert row.input_tokens == 1300


def test_aliases_of_the_cache_are_not_added() -> None:
    names = ("cache_read.input_tokens", "cache_read_input_tokens", "prompt_tokens_details.cache_read")

    row = merged({**CHAT, "gen_ai.usage.input_tokens": 2000, **{f"gen_ai.usage.{name}": 1000 for name in names}})

    assert (row.input_tokens, row.cache_read_tokens) == (2000, 1000)


def test_the_tokens_of_a_metrics_name_are_no_source() -> None:
    row = merged({**CHAT, "gen_ai.client.token.usage": 280})

    assert (row.input_tokens, row.output_tokens) == (None, None)


@pytest.mark.parametrize(("told", "cost"), [(0.0024749999999999998, Decimal("0.002475")), (0.0, None), (-1.0, None)])
def test_its_cost_is_its_own_and_0_is_none(told: float, cost: Decimal | None) -> None:
    row = merged({**CHAT, "gen_ai.usage.cost": told})

    assert (row.cost_usd, row.cost_source) == (cost, "client" if cost else "")


@pytest.mark.parametrize(
    ("operation", "kind", "expected"),
    [
        ("chat", "llm", "chat"),
        ("image", "llm", "generate_content"),
        ("audio", "llm", "generate_content"),
        ("text_to_speech", "llm", "generate_content"),
        ("embeddings", "embedding", "embeddings"),
        ("rerank", "rerank", "rerank"),
        ("model_request", "llm", "chat"),
        ("vectordb", "retrieval", "vectordb"),
        ("agent", "agent", "agent"),
        ("execute_task", "chain", "execute_task"),
        ("memory_search", "memory", ""),
        ("mcp_tool_call", "tool", "mcp_tool_call"),
        ("fine_tuning", "span", "fine_tuning"),
    ],
)
def test_operations_of_its_own_have_a_kind(operation: str, kind: str, expected: str) -> None:
    row = merged({**CHAT, "gen_ai.operation.name": operation})

    assert (row.kind, row.operation) == (kind, expected)


def test_a_failed_call_without_attributes_is_told_by_name_and_scope() -> None:
    row = merged({}, "openlit.instrumentation.anthropic", name="chat claude-sonnet-4-5", status_code=2)

    assert (row.kind, row.operation, row.provider) == ("llm", "chat", "anthropic")
    assert (row.request_model, row.error_type) == ("claude-sonnet-4-5", "_OTHER")


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("GET /", "openlit.instrumentation.fastapi"),
        ("invoke_workflow x", "openlit.instrumentation.crewai"),
        ("", "openlit."),
    ],
)
def test_other_spans_without_attributes_are_no_calls(name: str, scope: str) -> None:
    assert merged({}, scope, name=name).kind not in ("llm", "embedding", "rerank", "moderation")


def test_the_time_to_the_first_token_of_a_call_that_is_no_stream_is_none() -> None:
    told: Attributes = {**CHAT, "gen_ai.server.time_to_first_token": 0.5}

    assert merged({**told, "gen_ai.request.stream": False}).ttft_ns is None
    assert merged({**told, "gen_ai.request.stream": True}).ttft_ns == 500_000_000


SYSTEM = '[{"type": "text", "content": "Be brief"}]'
SAID = '{"role": "user", "parts": [{"type": "text", "content": "Say hello"}]}'


@pytest.mark.parametrize(
    ("instructions", "messages", "roles"),
    [
        (SYSTEM, f'[{{"role": "system", "parts": {SYSTEM}}}, {SAID}]', ["user"]),
        (
            '[{"type": "text", "content": "x"}]',
            f'[{{"role": "system", "parts": {SYSTEM}}}, {SAID}]',
            ["system", "user"],
        ),
        ("", f'[{{"role": "system", "parts": {SYSTEM}}}, {SAID}]', ["system", "user"]),
        (SYSTEM, f"[{SAID}]", ["user"]),
    ],
    ids=["twice", "another", "not apart", "only apart"],
)
def test_a_system_prompt_is_kept_once(instructions: str, messages: str, roles: list[str]) -> None:
    row = merged({**CHAT, "gen_ai.system_instructions": instructions, "gen_ai.input.messages": messages})

    assert [message["role"] for message in json.loads(row.input_messages)] == roles


@pytest.mark.parametrize("told", ['[{"role": "system"', '[{"role": "system"}]', '[{"role":"system","parts":7}]'])
def test_messages_cut_off_raise_nothing(told: str) -> None:
    merged({**CHAT, "gen_ai.system_instructions": SYSTEM, "gen_ai.input.messages": told})


def test_messages_without_the_system_prompt_are_utf_8() -> None:
    said = '{"role": "user", "parts": [{"type": "text", "content": "\\ud800!"}]}'

    row = merged(
        {
            **CHAT,
            "gen_ai.system_instructions": SYSTEM,
            "gen_ai.input.messages": f'[{{"role": "system", "parts": {SYSTEM}}}, {said}]',
        }
    )

    assert row.input_messages.encode("utf-8") == b'[{"role":"user","parts":[{"type":"text","content":"?!"}]}]'


def test_an_older_version_names_application_environment_and_user_on_the_span() -> None:
    row = merged(
        {
            **CHAT,
            "gen_ai.application_name": "shop",
            "gen_ai.environment": "prod",
            "gen_ai.request.user": "u-1",
            "gen_ai.session.id": "s-1",
        },
        resource_attributes={},
    )

    assert (row.service, row.environment, row.user_id, row.session_id) == ("shop", "prod", "u-1", "s-1")


WRONG: tuple[Any, ...] = (None, True, -1, 1.5, float("nan"), "x", "-3", b"\xff", (), (1, "a"), {"a": (None,)}, 2**70)


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_wrong_values_raise_nothing(value: Any) -> None:
    names = (*CHAT, *COUNTS, "gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.usage.cost", "session.id")

    for name in names:
        merged({**CHAT, name: value})
    merged(dict.fromkeys(names, value))
