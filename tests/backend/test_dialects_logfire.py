"""Pydantic AI's and Logfire's spans, rule by rule: kinds, streams told twice, usage, content of every format."""

import json
from decimal import Decimal
from typing import Any

import pytest

from support.spans import SECOND, START, a_span
from tokentrail.backend.dialects.logfire import Logfire
from tokentrail.backend.row import Row
from tokentrail.backend.span import StatusCode

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini"}


def row_of(told: dict[str, Any], **fields: Any) -> Row:
    row = Logfire().read(a_span(told, **{"scope_name": "pydantic-ai", **fields}))
    assert row is not None
    return row


def messages(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text) if text else []
    return found


@pytest.mark.parametrize(
    ("scope", "keys", "is_spoken"),
    [
        ("pydantic-ai", ["gen_ai.operation.name"], True),
        ("pydantic-ai", ["agent_name"], True),
        ("logfire.openai", ["request_data"], True),
        ("x", ["gen_ai.system", "model_request_parameters"], True),
        ("x", ["gen_ai.system", "logfire.msg"], True),
        ("x", ["gen_ai.system"], False),
        ("logfire", ["logfire.msg", "http.route"], False),
        ("opentelemetry.instrumentation.asgi", ["logfire.span_type", "http.route"], False),
    ],
)
def test_spans_of_logfire_that_have_nothing_to_do_with_models_are_left_alone(
    scope: str, keys: list[str], is_spoken: bool
) -> None:
    assert Logfire().matches(keys, scope) is is_spoken


@pytest.mark.parametrize(
    ("told", "kind", "operation"),
    [
        (CHAT, "llm", "chat"),
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 5}, "agent", ""),
        ({"gen_ai.operation.name": "execute_tool"}, "tool", ""),
        ({"agent_name": "a", "model_name": "m", "all_messages_events": "[]"}, "agent", ""),
        ({"gen_ai.tool.name": "t", "tool_arguments": "{}", "agent_name": "a"}, "tool", ""),
        ({"gen_ai.operation.name": "embeddings"}, "embedding", "embeddings"),
        ({**CHAT, "logfire.span_type": "pending_span"}, "span", ""),
        ({"logfire.msg_template": "Embedding Creation with {x}", "request_data": '{"model": "m"}'}, "embedding",
         "embeddings"),
        ({"logfire.msg_template": "Completion with {x}", "request_data": "{}"}, "llm", "text_completion"),
        ({"gen_ai.agent.name": "a"}, "", ""),
    ],
)  # fmt: skip
def test_the_kind_is_the_operations_or_that_of_older_names(told: dict[str, Any], kind: str, operation: str) -> None:
    row = row_of(told)

    assert (row.kind, row.operation) == (kind, operation)


BEGIN = {**CHAT, "request_data": '{"model": "gpt-4o-mini"}', "gen_ai.response.model": "gpt-4o-mini"}


def test_the_span_of_a_stream_is_left_out_unless_it_failed() -> None:
    scope = "logfire.openai"

    assert row_of(BEGIN, scope_name=scope).kind == "span"
    assert row_of(BEGIN, scope_name=scope, status_code=StatusCode.ERROR).kind == "llm"
    assert row_of({**BEGIN, "gen_ai.usage.input_tokens": 5}, scope_name=scope).kind == "llm"
    assert row_of({**BEGIN, "response_data": "{}"}, scope_name=scope).kind == "llm"
    assert row_of(BEGIN).kind == "llm"  # no span of these instrumentations


def test_the_log_of_a_stream_is_the_call_from_its_beginning() -> None:
    template = "streaming response from {request_data[model]!r} took {duration:.2f}s"
    told = {**BEGIN, "logfire.msg_template": template, "duration": 1.5, "gen_ai.usage.raw": '{"prompt_tokens": 7}'}

    row = row_of(told, scope_name="logfire.openai", end_ns=START)

    assert (row.time_ns, row.duration_ns) == (START - 3 * SECOND // 2, 3 * SECOND // 2)
    assert (row.stream, row.input_tokens, row.ttft_ns) == (True, 7, None)


@pytest.mark.parametrize("duration", [-1, float("nan"), "x", None])
def test_a_log_without_a_sensible_duration_stays_where_it_is(duration: Any) -> None:
    told = {**BEGIN, "logfire.msg_template": "streaming response from x", "duration": duration, "response_data": "{}"}

    assert row_of(told, scope_name="logfire.openai").time_ns == START


def test_the_providers_usage_goes_before_the_conventions_counts_and_details() -> None:
    raw = '{"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"input_tokens":200,"output_tokens":80}'

    row = row_of({**CHAT, "gen_ai.usage.input_tokens": 1300, "gen_ai.usage.output_tokens": 80, "gen_ai.usage.raw": raw})

    assert (row.input_tokens, row.output_tokens) == (1300, 80)
    assert (row.cache_read_tokens, row.cache_write_tokens) == (1000, 100)


def test_details_are_parts_of_the_counts() -> None:
    row = row_of(
        {
            **CHAT,
            "gen_ai.usage.input_tokens": 50,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.details.cache_read_tokens": 32,
            "gen_ai.usage.details.cache_write_tokens": 4,
            "gen_ai.usage.details.reasoning_tokens": 5,
            "gen_ai.usage.details.input_audio_tokens": 6,
            "gen_ai.usage.details.output_audio_tokens": 7,
            "gen_ai.usage.details.cache_audio_read_tokens": 3,
        }
    )

    assert (row.input_tokens, row.output_tokens) == (50, 20)
    assert (row.cache_read_tokens, row.cache_write_tokens, row.reasoning_tokens) == (32, 4, 5)
    assert (row.audio_input_tokens, row.audio_output_tokens, row.audio_cache_read_tokens) == (6, 7, 3)


def test_counts_of_one_message_of_claudes_agents_and_of_whole_agents_are_no_usage() -> None:
    row = row_of({**CHAT, "gen_ai.usage.partial.input_tokens": 5, "gen_ai.aggregated_usage.input_tokens": 9})

    assert (row.input_tokens, row.output_tokens) == (None, None)


@pytest.mark.parametrize(
    ("told", "cost"), [(0.0005, "0.0005"), ("0.25", "0.25"), (0, None), (-1, None), (float("inf"), None)]
)
def test_the_cost_is_the_operations(told: Any, cost: str | None) -> None:
    row = row_of({**CHAT, "operation.cost": told})

    assert row.cost_usd == (None if cost is None else Decimal(cost))
    assert (row.cost_source, row.pricing_status) == (("", "") if cost is None else ("client", "priced"))


def test_the_first_chunk_is_in_seconds_and_tells_a_stream() -> None:
    row = row_of({**CHAT, "gen_ai.client.operation.time_to_first_chunk": 0.25})

    assert (row.stream, row.ttft_ns, row.time_to_first_chunk_ns) == (True, SECOND // 4, SECOND // 4)


def test_events_of_format_1_are_split_at_the_choice() -> None:
    events = [
        {"event.name": "gen_ai.user.message", "role": "user", "content": "q", "gen_ai.message.index": 0},
        {
            "event.name": "gen_ai.choice",
            "index": 0,
            "message": {
                "role": "assistant",
                "content": [{"kind": "thinking", "text": "hm"}, {"kind": "text", "text": "a"}],
            },
        },
    ]

    row = row_of({**CHAT, "events": json.dumps(events)})

    assert messages(row.input_messages) == [{"role": "user", "parts": [{"type": "text", "content": "q"}]}]
    assert messages(row.output_messages) == [
        {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "a"}]}
    ]


def test_parts_of_pydantic_ais_own_are_written_as_the_conventions_have_them() -> None:
    told = [
        {
            "role": "user",
            "parts": [
                {"type": "image-url", "url": "https://x.test/a.png"},
                {"type": "document-url", "url": "https://x.test/a.pdf"},
                {"type": "binary", "media_type": "image/png", "content": "aGk="},
                {"type": "tool_call_response", "id": "c", "name": "f", "result": "21 C"},
            ],
        },
        {"role": "assistant", "parts": [{"type": "thinking", "content": "hm"}]},
    ]

    row = row_of({**CHAT, "gen_ai.input.messages": json.dumps(told)})

    [user, assistant] = messages(row.input_messages)
    assert [part["type"] for part in user["parts"]] == ["uri", "uri", "blob", "tool_call_response"]
    assert [part["modality"] for part in user["parts"][:3]] == ["image", "document", "image"]
    assert user["parts"][0]["uri"] == "https://x.test/a.png"
    assert user["parts"][3]["response"] == "21 C"
    assert assistant["parts"] == [{"type": "reasoning", "content": "hm"}]


def test_a_system_prompt_stands_in_one_place() -> None:
    told = [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in (("system", "Be brief"),
                                                                                           ("user", "hi"))]  # fmt: skip
    system = '[{"type": "text", "content": "Be brief"}]'

    row = row_of({**CHAT, "gen_ai.input.messages": json.dumps(told), "gen_ai.system_instructions": system})

    assert [message["role"] for message in messages(row.input_messages)] == ["user"]
    assert json.loads(row.system) == json.loads(system)


def test_tools_stand_in_the_parameters_of_the_request_where_they_are_nowhere_else() -> None:
    parameters = {"function_tools": [{"name": "f", "description": "d", "parameters_json_schema": {"type": "object"}}]}

    row = row_of({**CHAT, "model_request_parameters": json.dumps(parameters)})

    assert messages(row.tools) == [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
    ]


def test_a_tag_that_every_span_has_is_none() -> None:
    assert row_of({**CHAT, "logfire.tags": ("LLM", "mine")}).tags == ("mine",)
