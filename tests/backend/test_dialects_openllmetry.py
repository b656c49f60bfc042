"""OpenLLMetry, rule by rule; recorded spans are in `test_dialects_instrumentations.py`."""

import json
from typing import Any

import pytest

from support.spans import START, a_span
from tokentrail.backend.dialects.merge import merge
from tokentrail.backend.dialects.openllmetry import OpenLLMetry
from tokentrail.backend.dialects.otel_genai import OtelGenAI
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Event

CHAT: Attributes = {"llm.request.type": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o-mini"}


def read(attributes: Attributes, **fields: Any) -> Row:
    row = OpenLLMetry().read(a_span(attributes, **fields))
    assert row is not None
    return row


def merged(attributes: Attributes, **fields: Any) -> Row:
    """With what the conventions read of the same span."""
    span = a_span(attributes, **fields)
    return merge([row for each in (OpenLLMetry(), OtelGenAI()) if (row := each.read(span)) is not None])


@pytest.mark.parametrize(
    ("key", "matches"),
    [
        ("traceloop.workflow.name", True),
        ("llm.request.type", True),
        ("gen_ai.prompt.0.role", True),
        ("gen_ai.completion.0.content", True),
        ("llm.usage.total_tokens", True),
        ("gen_ai.is_streaming", True),
        ("gen_ai.openai.api_base", True),
        ("gen_ai.prompt.name", False),
        ("gen_ai.prompt", False),
        ("gen_ai.usage.input_tokens", False),
        ("llm.token_count.prompt", False),
    ],
)
def test_it_is_known_by_its_attributes_and_not_by_its_scope(key: str, matches: bool) -> None:
    assert OpenLLMetry().matches((key,), "opentelemetry.instrumentation.openai.v1") is matches


@pytest.mark.parametrize(
    ("attributes", "kind", "operation"),
    [
        ({"llm.request.type": "chat"}, "llm", "chat"),
        ({"llm.request.type": "completion"}, "llm", "chat"),
        ({"llm.request.type": "completion", "gen_ai.prompt.0.user": "hi"}, "llm", "text_completion"),
        ({"llm.request.type": "embedding"}, "embedding", "embeddings"),
        ({"llm.request.type": "rerank"}, "rerank", "rerank"),
        ({"gen_ai.request.model": "m", "llm.is_streaming": False}, "llm", "chat"),
        ({"gen_ai.operation.name": "text_completion", "traceloop.entity.path": "p"}, "llm", "text_completion"),
        ({"traceloop.span.kind": "workflow"}, "workflow", ""),
        ({"traceloop.span.kind": "task"}, "chain", ""),
        ({"traceloop.span.kind": "agent"}, "agent", ""),
        ({"traceloop.span.kind": "tool"}, "tool", ""),
        ({"traceloop.span.kind": "unknown"}, "", ""),
        ({"traceloop.span.kind": "tool", "gen_ai.operation.name": "chat"}, "llm", "chat"),
        ({"gen_ai.operation.name": "vector_db_retrieve"}, "retrieval", "vector_db_retrieve"),
        ({"gen_ai.operation.name": "execute_task"}, "chain", "execute_task"),
        ({"gen_ai.operation.name": "llm_request"}, "llm", "chat"),
        ({"traceloop.association.properties.user_id": "u", "http.request.method": "GET"}, "", ""),
    ],
)
def test_operation_type_and_decorator_tell_the_kind(attributes: Attributes, kind: str, operation: str) -> None:
    row = read(attributes, name="openai.chat")

    assert (row.kind, row.operation) == (kind, operation)


@pytest.mark.parametrize(
    ("attributes", "provider", "address"),
    [
        ({"gen_ai.system": "Anthropic"}, "anthropic", ""),
        (
            {"gen_ai.system": "OpenAI", "gen_ai.openai.api_base": "https://api.groq.com/openai/v1/"},
            "groq",
            "api.groq.com",
        ),
        (
            {"gen_ai.system": "OpenAI", "gen_ai.openai.api_base": "http://llm.internal:8000/v1"},
            "openai",
            "llm.internal",
        ),
        ({"gen_ai.system": "openai", "gen_ai.openai.api_base": "http://localhost:11434/v1"}, "ollama", "localhost"),
        ({"gen_ai.system": "OpenAI", "gen_ai.openai.api_base": "http://[bad"}, "openai", ""),
        ({"gen_ai.system": "OpenAI", "gen_ai.openai.api_base": "http://x:99999999/"}, "openai", ""),
        ({"gen_ai.system": "OpenAI", "gen_ai.openai.api_base": 7}, "openai", ""),
        ({"gen_ai.system": "Langchain", "gen_ai.request.model": "claude-3"}, "anthropic", ""),
        (
            {"server.address": "api.mistral.ai", "gen_ai.openai.api_base": "https://api.groq.com"},
            "mistral_ai",
            "api.mistral.ai",
        ),
    ],
)
def test_the_base_url_of_the_client_tells_the_provider(attributes: Attributes, provider: str, address: str) -> None:
    row = read({"llm.request.type": "chat", **attributes})

    assert (row.provider, row.server_address) == (provider, address)


@pytest.mark.parametrize(
    ("attributes", "counts"),
    [
        (
            {"gen_ai.usage.prompt_tokens": 9, "gen_ai.usage.completion_tokens": 2, "llm.usage.total_tokens": 11},
            (9, 2, None, None),
        ),
        (
            {"gen_ai.usage.input_tokens": 9, "gen_ai.usage.prompt_tokens": 9, "gen_ai.usage.output_tokens": 2},
            (9, 2, None, None),
        ),
        ({"llm.usage.prompt_tokens": 9, "llm.usage.completion_tokens": 2}, (9, 2, None, None)),
        ({"gen_ai.usage.input_tokens": 9, "llm.usage.prompt_tokens": 8}, (9, None, None, None)),
        ({"gen_ai.usage.output_tokens": 20, "llm.usage.reasoning_tokens": 16}, (None, 20, None, 16)),
        ({"gen_ai.usage.input_tokens": 1300, "gen_ai.usage.cache_read_input_tokens": 1000}, (1300, None, 1000, None)),
        ({"llm.usage.total_tokens": 11}, (None, None, None, None)),
    ],
)
def test_token_counts_of_every_version_are_the_same_totals(
    attributes: Attributes, counts: tuple[int | None, ...]
) -> None:
    row = merged({**CHAT, **attributes})

    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens, row.reasoning_tokens) == counts


@pytest.mark.parametrize("name", ["llm.content.completion.chunk", "gen_ai.content.completion.chunk"])
def test_the_first_chunk_of_a_stream_is_an_event(name: str) -> None:
    row = merged(CHAT, events=tuple(Event(START + n * 100_000_000, name, {}) for n in (3, 2, 5)))

    assert (row.stream, row.ttft_ns, row.time_to_first_chunk_ns) == (True, 200_000_000, 200_000_000)


@pytest.mark.parametrize("name", ["llm.is_streaming", "gen_ai.is_streaming"])
def test_a_stream_is_told_by_either_flag(name: str) -> None:
    assert merged({**CHAT, name: True}).stream is True
    assert merged({**CHAT, name: False}).stream is False


def test_association_properties_are_user_session_and_properties() -> None:
    associated = "traceloop.association.properties."
    row = merged(
        {
            **CHAT,
            f"{associated}user_id": "u7",
            f"{associated}session_id": "s7",
            f"{associated}plan": "free",
            f"{associated}customer_id": 12,
            "llm.user": "other",
        }
    )

    assert (row.user_id, row.session_id) == ("u7", "s7")
    assert row.properties == {"plan": "free", "customer_id": "12"}


@pytest.mark.parametrize(
    ("attributes", "session"),
    [
        ({"session.id": "a", "traceloop.association.properties.session_id": "b"}, "a"),
        ({"gen_ai.conversation.id": "a", "traceloop.association.properties.session_id": "b"}, "a"),
        ({"traceloop.association.properties.thread_id": "t"}, "t"),
        ({"traceloop.association.properties.conversation_id": "c"}, "c"),
    ],
)
def test_sessions_have_an_order(attributes: Attributes, session: str) -> None:
    assert merged({**CHAT, **attributes}).session_id == session


def test_workflow_and_path_are_the_sessions_name_and_path() -> None:
    row = read({**CHAT, "traceloop.workflow.name": "joke_flow", "traceloop.entity.path": "joke_flow.draft"})

    assert (row.session_name, row.session_path) == ("joke_flow", "/joke_flow/draft")


@pytest.mark.parametrize(
    ("attributes", "version"),
    [
        ({"traceloop.prompt.version": 3}, "3"),
        ({"traceloop.prompt.version": 3, "traceloop.prompt.version_name": "best"}, "best"),
    ],
)
def test_a_managed_prompt_has_name_and_version(attributes: Attributes, version: str) -> None:
    row = read({**CHAT, "traceloop.prompt.key": "greet", **attributes})

    assert (row.prompt_name, row.prompt_version) == ("greet", version)


@pytest.mark.parametrize(
    ("attributes", "reasons"),
    [
        (
            {"gen_ai.completion.0.finish_reason": "end_turn", "gen_ai.completion.1.finish_reason": "length"},
            ("stop", "length"),
        ),
        ({"llm.response.finish_reason": "tool_calls"}, ("tool_call",)),
        ({"gen_ai.response.finish_reason": "stop"}, ("stop",)),
        ({"llm.response.stop_reason": "end_turn"}, ("stop",)),
        ({"gen_ai.response.stop_reason": "max_tokens"}, ("length",)),
        ({"gen_ai.completion.0.finish_reason": ""}, ()),
    ],
)
def test_finish_reasons_are_the_choices(attributes: Attributes, reasons: tuple[str, ...]) -> None:
    assert merged({**CHAT, **attributes}).finish_reasons == reasons


def test_names_of_prompts_are_no_messages() -> None:
    row = merged({**CHAT, "gen_ai.prompt.name": "p", "gen_ai.prompt.version": "v2", "gen_ai.prompt.variable.x": "y"})

    assert (row.prompt_name, row.prompt_version, row.input_messages) == ("p", "v2", "")


def test_the_conventions_messages_go_with_its_own_words() -> None:
    told = '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]'

    assert merged({**CHAT, "gen_ai.input.messages": told}).input_messages == told


def test_a_call_told_in_blocks_and_beside_them_is_there_once() -> None:
    row = read(
        {
            **CHAT,
            "gen_ai.prompt.0.role": "assistant",
            "gen_ai.prompt.0.content": '[{"type":"tool_use","id":"t1","name":"f","input":{"a":1}}]',
            "gen_ai.prompt.0.tool_calls.0.id": "t1",
            "gen_ai.prompt.0.tool_calls.0.name": "f",
            "gen_ai.prompt.0.tool_calls.0.arguments": '{"a":1}',
        }
    )

    assert json.loads(row.input_messages) == [
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "t1", "name": "f", "arguments": {"a": 1}}]}
    ]


def test_headers_are_never_read() -> None:
    secret = "Bearer sk-1"

    row = merged({**CHAT, "llm.headers": secret, "gen_ai.headers": secret})

    assert secret not in repr(row)


WRONG: tuple[Any, ...] = (None, True, -1, 1.5, float("nan"), "x", "-3", b"\xff", (), (1, "a"), {"a": (None,)}, 2**70)


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_wrong_values_raise_nothing(value: Any) -> None:
    names = (
        *("llm.request.type", "gen_ai.system", "gen_ai.request.model", "llm.usage.prompt_tokens", "llm.is_streaming"),
        *("gen_ai.prompt.0.role", "gen_ai.prompt.0.content", "gen_ai.prompt.0.tool_calls", "gen_ai.prompt.1"),
        *("gen_ai.prompt.2.tool_calls.0.name", "gen_ai.completion.0.reasoning", "gen_ai.completion.0.finish_reason"),
        *("gen_ai.completion.0.role", "llm.request.functions.0.parameters", "llm.request.functions.0"),
        *("traceloop.span.kind", "traceloop.entity.path", "traceloop.workflow.name", "traceloop.prompt.version"),
        *("traceloop.association.properties.user_id", "gen_ai.openai.api_base", "gen_ai.operation.name"),
    )

    for name in names:
        read({**CHAT, name: value})
    read(dict.fromkeys(names, value))
