"""OTel GenAI spans, field by field: what makes a row, and which of several names and shapes is believed."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from support.spans import SECOND, a_span, row_of
from tokentrail.backend import dialects
from tokentrail.backend.span import Attributes, Event


@pytest.mark.parametrize(
    ("name", "operation", "kind"),
    [
        ("chat", "chat", "llm"),
        ("text_completion", "text_completion", "llm"),
        ("generate_content", "generate_content", "llm"),
        ("embeddings", "embeddings", "embedding"),
        ("rerank", "rerank", "rerank"),
        ("moderation", "moderation", "moderation"),
        ("completion", "chat", "llm"),
        ("acompletion", "chat", "llm"),
        ("responses", "chat", "llm"),
        ("anthropic_messages", "chat", "llm"),
        ("embedding", "embeddings", "embedding"),
        ("image_generation", "generate_content", "llm"),
        ("speech", "generate_content", "llm"),
        ("transcription", "generate_content", "llm"),
        ("CHAT", "chat", "llm"),
    ],
)
def test_billable_operations_and_their_synonyms_make_rows(name: str, operation: str, kind: str) -> None:
    row = row_of({"gen_ai.operation.name": name})

    assert (row.operation, row.kind) == (operation, kind)


@pytest.mark.parametrize("model", ["gen_ai.request.model", "gen_ai.response.model"])
def test_a_model_alone_is_a_call_where_no_operation_is_named(model: str) -> None:
    row = row_of({"gen_ai.system": "openai", model: "gpt-4o", "gen_ai.usage.input_tokens": 5}, name="chat gpt-4o")

    assert (row.kind, row.operation) == ("llm", "chat")


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 5, "gen_ai.request.model": "m"},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"},
        {"gen_ai.operation.name": "invoke_workflow"},
        {"gen_ai.operation.name": "retrieval"},
        {"gen_ai.operation.name": "something_new"},
        {"gen_ai.tool.name": "t", "gen_ai.request.model": "m"},
        {"gen_ai.agent.name": "a"},
        {"http.request.method": "POST", "model": "m"},
        {},
        {"gen_ai.operation.name": "chat", "http.response.status_code": 307},
    ],
)
def test_spans_that_nobody_bills_make_no_row(attributes: Attributes) -> None:
    assert dialects.read(a_span(attributes)) is None


def test_a_span_that_stands_for_the_same_call_as_another_makes_no_row() -> None:
    call: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 4,
    }
    duplicate = {**call, "tokentrail.duplicate_of": f"{1:032x}-{2:016x}"}

    assert dialects.read(a_span(call)) is not None
    assert dialects.read(a_span(duplicate)) is None


@pytest.mark.parametrize(
    ("attributes", "provider"),
    [
        ({"gen_ai.provider.name": "openai", "server.address": "api.groq.com"}, "groq"),
        ({"gen_ai.provider.name": "openai", "server.address": "llm.internal"}, "openai"),
        ({"gen_ai.provider.name": "anthropic", "server.address": "ai-gateway.helicone.ai"}, "anthropic"),
        ({"gen_ai.provider.name": "openai", "server.address": "x.services.ai.azure.com"}, "azure.ai.inference"),
        ({"gen_ai.provider.name": "azure.ai.openai", "server.address": "x.services.ai.azure.com"}, "azure.ai.openai"),
        ({"gen_ai.system": "vertex_ai"}, "gcp.vertex_ai"),
        ({"gen_ai.system": "openai.chat"}, "openai"),
        ({"gen_ai.system": "NewVendor"}, "newvendor"),
        ({"gen_ai.system": "langchain", "gen_ai.request.model": "claude-3"}, "anthropic"),
        ({"gen_ai.system": "strands-agents", "gen_ai.request.model": "us.anthropic.claude-x-v1:0"}, "aws.bedrock"),
        ({"gen_ai.system": "litellm", "gen_ai.request.model": "xai/grok-4"}, "x_ai"),
        ({"gen_ai.system": "crewai", "server.address": "api.mistral.ai"}, "mistral_ai"),
        ({}, ""),
        ({"gen_ai.provider.name": "togetherai.chat"}, "together_ai"),
        ({"gen_ai.provider.name": "bedrock.anthropic.messages"}, "aws.bedrock"),
        ({"gen_ai.provider.name": "vertex.anthropic.messages"}, "gcp.vertex_ai"),
        ({"gen_ai.provider.name": "baseten.chat"}, "baseten"),
        ({"gen_ai.provider.name": "acme.internal"}, "acme.internal"),
        ({"gen_ai.provider.name": "oci_genai"}, "oracle_cloud.generative_ai"),
        ({"gen_ai.provider.name": "langchain", "gen_ai.system": "anthropic"}, "anthropic"),
    ],
)
def test_the_provider_is_named_by_host_then_name_then_model(attributes: Attributes, provider: str) -> None:
    assert row_of({"gen_ai.operation.name": "chat", **attributes}).provider == provider


@pytest.mark.parametrize(
    ("counts", "expected_input"),
    [
        ({"input_tokens": 7, "cache_read.input_tokens": 16399, "cache_creation.input_tokens": 2089}, 18495),
        ({"input_tokens": 100, "output_tokens": 1, "cache_read.input_tokens": 50, "total_tokens": 151}, 150),
        ({"input_tokens": 100, "output_tokens": 1, "cache_read.input_tokens": 50, "total_tokens": 101}, 100),
        ({"input_tokens": 100, "cache_read.input_tokens": 50}, 100),
        ({"input_tokens": 100, "output_tokens": 1, "cache_read.input_tokens": 500, "total_tokens": 101}, 600),
        ({"cache_read.input_tokens": 50}, None),
    ],
    ids=["cache above input", "total says apart", "total says inside", "conventions", "wrong total", "no input"],
)
def test_input_is_the_inclusive_total(counts: Mapping[str, int], expected_input: int | None) -> None:
    attributes = {f"gen_ai.usage.{name}": value for name, value in counts.items()}

    assert row_of({"gen_ai.operation.name": "chat", **attributes}).input_tokens == expected_input


def test_reasoning_above_the_output_was_counted_apart() -> None:
    row = row_of(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.output_tokens": 6,
            "gen_ai.usage.reasoning.output_tokens": 10,
        }
    )

    assert (row.output_tokens, row.reasoning_tokens) == (16, 10)


@pytest.mark.parametrize("value", [-1, 1.5, float("nan"), True, "x", "-3", (1,), 2**70, "1e400", b"1", None])
def test_what_is_no_count_is_absent(value: Any) -> None:
    row = row_of({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": value, "gen_ai.usage.prompt_tokens": 4})

    assert row.input_tokens == 4


@pytest.mark.parametrize(
    ("attributes", "ttft_ns"),
    [
        ({"gen_ai.response.time_to_first_chunk": 0.25}, SECOND // 4),
        ({"gen_ai.response.time_to_first_token": 0.25}, SECOND // 4),
        ({"gen_ai.server.time_to_first_token": 850}, 850_000_000),
        ({"gen_ai.server.time_to_first_token": 0.85}, 850_000_000),
        ({"gen_ai.response.time_to_first_chunk": -1.0}, None),
        ({"gen_ai.response.time_to_first_chunk": float("inf")}, None),
    ],
)
def test_time_to_first_token_is_read_in_its_unit_and_tells_a_stream(
    attributes: Attributes, ttft_ns: int | None
) -> None:
    row = row_of({"gen_ai.operation.name": "chat", **attributes})

    assert (row.ttft_ns, row.stream) == (ttft_ns, ttft_ns is not None)


@pytest.mark.parametrize(
    ("attributes", "fields", "error_type", "message"),
    [
        ({}, {"status_code": 1}, "", ""),
        ({}, {"status_code": 0, "status_message": "fine"}, "", ""),
        ({}, {"status_code": 2}, "_OTHER", ""),
        (
            {"error.type": "openai.RateLimitError"},
            {"status_code": 2, "status_message": "slow down"},
            "openai.RateLimitError",
            "slow down",
        ),
        ({"http.response.status_code": 503}, {"status_code": 2}, "503", ""),
        ({"http.response.status_code": 429}, {}, "429", ""),
        (
            {},
            {
                "status_code": 2,
                "events": (Event(1, "exception", {"exception.type": "E", "exception.message": "why"}),),
            },
            "E",
            "why",
        ),
    ],
)
def test_failures_are_named_by_the_best_that_is_known(
    attributes: Attributes, fields: dict[str, Any], error_type: str, message: str
) -> None:
    row = row_of({"gen_ai.operation.name": "chat", **attributes}, **fields)

    assert (row.error_type, row.error_message) == (error_type, message)


@pytest.mark.parametrize("absent", ["", "null", "<REDACTED>"])
def test_a_value_that_says_nothing_gives_way_to_the_next_name(absent: str) -> None:
    row = row_of({"gen_ai.operation.name": "chat", "user.id": absent, "enduser.id": "u2"})

    assert row.user_id == "u2"


def test_the_conversation_is_the_session_when_no_session_is_named() -> None:
    row = row_of({"gen_ai.operation.name": "chat", "gen_ai.conversation.id": "c"})

    assert (row.session_id, row.conversation_id) == ("c", "c")


@pytest.mark.parametrize("name", ["gen_ai.session.id", "conversation.id", "wandb.thread_id", "thread_id"])
def test_plain_names_of_a_thread_are_the_session_when_nothing_better_is_told(name: str) -> None:
    call = {"gen_ai.operation.name": "chat", name: "t1"}

    assert row_of(call).session_id == "t1"
    assert row_of({**call, "gen_ai.conversation.id": "c1"}).session_id == "c1"
    assert row_of({"gen_ai.operation.name": "chat", "mcp.session.id": "m1"}).session_id == ""


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"cost": 0.25}, "0.25"),
        ({"total_cost": "0.25"}, "0.25"),
        ({"cost": 0, "total_cost": 0.25}, "0.25"),
        ({"cost": 0.25, "total_cost": 0.5}, "0.25"),
        ({"cost.amount": 0.25, "cost.currency": "usd", "cost": 0.5}, "0.25"),
        ({"cost.amount": 0.25, "cost.currency": "EUR"}, None),
        ({"cost.amount": 0.25}, None),
        ({"cost": -1.0}, None),
    ],
)
def test_a_cost_in_usd_is_read_under_each_of_its_names(told: Mapping[str, Any], expected: str | None) -> None:
    usage = {f"gen_ai.usage.{name}": value for name, value in told.items()}

    row = row_of({"gen_ai.operation.name": "chat", **usage})

    assert row.cost_usd == (None if expected is None else Decimal(expected))
    assert row.cost_source == ("" if expected is None else "client")


@pytest.mark.parametrize(
    "told",
    [
        {"index": 0, "finish_reason": "tool_calls", "message": '{"content": "yo"}'},
        {"gen_ai.event.content": '{"index": 0, "finish_reason": "tool_calls", "message": {"content": "yo"}}'},
    ],
)
def test_a_choice_in_an_event_tells_why_it_ended(told: Attributes) -> None:
    row = row_of({"gen_ai.operation.name": "chat"}, events=(Event(1, "gen_ai.choice", told),))

    assert row.finish_reasons == ("tool_call",)


def test_an_old_environment_name_is_read() -> None:
    row = row_of({"gen_ai.operation.name": "chat"}, resource_attributes={"deployment.environment": "old"})

    assert (row.service, row.environment) == ("", "old")


def _text(content: str, role: str = "user") -> dict[str, object]:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            [{"role": "human", "content": "hi"}, {"role": "model", "content": "yo"}],
            [_text("hi"), _text("yo", "assistant")],
        ),
        ([{"role": "model", "parts": [{"text": "yo"}]}], [_text("yo", "assistant")]),
        ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], [_text("hi")]),
        ({"role": "user", "content": "hi"}, [_text("hi")]),
        (
            [{"role": "tool", "parts": [{"type": "tool_call_response", "id": "t", "result": "ok"}]}],
            [{"role": "tool", "parts": [{"type": "tool_call_response", "id": "t", "response": "ok"}]}],
        ),
        ([_text("hi")], [_text("hi")]),
    ],
    ids=["openai", "gemini", "blocks", "one message", "result", "conventions"],
)
def test_messages_in_any_shape_become_the_conventions(written: object, expected: list[object]) -> None:
    row = row_of({"gen_ai.operation.name": "chat", "gen_ai.input.messages": json.dumps(written)})

    assert json.loads(row.input_messages) == expected


@pytest.mark.parametrize("rest", ["", "ory [1]"])
def test_messages_that_a_limit_has_cut_are_kept_as_a_text(rest: str) -> None:
    cut = '[{"role": "user", "parts": [{"type": "text", "content": "tell me a st' + rest

    row = row_of({"gen_ai.operation.name": "chat", "gen_ai.input.messages": cut, "gen_ai.tool.definitions": '[{"ty'})

    assert json.loads(row.input_messages) == [_text(cut)]
    assert row.tools == ""


@pytest.mark.parametrize("written", ["Be brief", '["Be brief"]', '[{"type":"text","content":"Be brief"}]'])
def test_a_system_prompt_in_any_shape_becomes_parts(written: str) -> None:
    for scope in ("x", "pydantic-ai"):
        row = row_of({"gen_ai.operation.name": "chat", "gen_ai.system_instructions": written}, scope_name=scope)

        assert json.loads(row.system) == [{"type": "text", "content": "Be brief"}]


def test_definitions_of_tools_in_any_shape_become_the_conventions() -> None:
    openai = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    anthropic = [{"name": "f", "input_schema": {"type": "object"}}]
    conventions = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]

    for written in (openai, anthropic, conventions):
        row = row_of({"gen_ai.operation.name": "chat", "gen_ai.tool.definitions": json.dumps(written)})
        assert json.loads(row.tools) == conventions


def test_a_span_of_portkeys_gateway_is_a_call() -> None:
    # As its source has it (`otlp` of the gateway, read in November 2026): no operation, a URL for the address.
    row = row_of(
        {
            "gen_ai.request.model": "claude-sonnet-4-5",
            "gen_ai.response.model": "claude-sonnet-4-5",
            "gen_ai.provider.name": "vertex-ai",
            "server.address": "https://us-east5-aiplatform.googleapis.com/v1/projects/p",
            "server.port": 443,
            "gen_ai.response.finish_reasons": ("end_turn",),
            "gen_ai.response.input_tokens": 12,
            "gen_ai.response.output_tokens": 3,
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": "hi",
            "gen_ai.output.messages": ({"role": "assistant", "content": "yo"},),
        },
        name="chat",
        kind=2,
    )

    assert (row.kind, row.operation, row.provider) == ("llm", "chat", "gcp.vertex_ai")
    assert (row.input_tokens, row.output_tokens, row.finish_reasons) == (12, 3, ("stop",))
    assert row.server_address == "us-east5-aiplatform.googleapis.com"
    assert json.loads(row.input_messages) == [_text("hi")]
    assert json.loads(row.output_messages) == [_text("yo", "assistant")]
