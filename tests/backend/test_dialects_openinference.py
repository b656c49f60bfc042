"""OpenInference, rule by rule; recorded spans are in `test_dialects_instrumentations.py`."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from support.spans import SECOND, START, a_span
from tokentrail.backend import dialects
from tokentrail.backend.dialects.merge import merge
from tokentrail.backend.dialects.openinference import OpenInference
from tokentrail.backend.dialects.otel_genai import OtelGenAI
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Event

LLM: Attributes = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"}


def read(attributes: Attributes, **fields: Any) -> Row:
    row = OpenInference().read(a_span(attributes, **fields))
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("keys", "matches"),
    [
        (("openinference.span.kind",), True),
        (("llm.input_messages.0.message.role",), True),
        (("llm.token_count.prompt",), True),
        (("gen_ai.operation.name", "tag.tags"), True),
        (("llm.request.type", "llm.usage.total_tokens"), False),
        (("gen_ai.operation.name", "session.id"), False),
        ((), False),
    ],
)
def test_it_is_known_by_its_attributes(keys: tuple[str, ...], matches: bool) -> None:
    assert OpenInference().matches(keys, "openinference.instrumentation.openai") is matches


@pytest.mark.parametrize(
    ("named", "kind", "operation"),
    [
        ("LLM", "llm", "chat"),
        ("llm", "llm", "chat"),
        ("DECISION", "llm", "chat"),
        ("EMBEDDING", "embedding", "embeddings"),
        ("RERANKER", "rerank", "rerank"),
        ("RETRIEVER", "retrieval", ""),
        ("TOOL", "tool", ""),
        ("AGENT", "agent", ""),
        ("CHAIN", "chain", ""),
        ("GUARDRAIL", "guardrail", ""),
        ("EVALUATOR", "evaluator", ""),
        ("PROMPT", "prompt", ""),
        ("SOMETHING_NEW", "span", ""),
    ],
)
def test_the_kind_is_the_one_that_the_span_says(named: str, kind: str, operation: str) -> None:
    row = read({"openinference.span.kind": named, "llm.token_count.prompt": 5})

    assert (row.kind, row.operation) == (kind, operation)


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"llm.token_count.prompt": 5}, "llm"),
        ({"llm.output_messages.0.message.role": "assistant"}, "llm"),
        ({"openinference.span.kind": "UNKNOWN", "llm.model_name": "m"}, "llm"),
        ({"embedding.model_name": "m", "llm.token_count.prompt": 5}, "embedding"),
        ({"reranker.model_name": "m", "llm.token_count.prompt": 5}, "rerank"),
        ({"openinference.span.kind": "UNKNOWN", "llm.prompt_template.version": "v3"}, ""),
        ({"openinference.span.kind": 7, "session.id": "s"}, "span"),
    ],
)
def test_without_a_kind_the_words_of_a_call_tell_one(attributes: Attributes, kind: str) -> None:
    assert read(attributes).kind == kind


def test_tags_on_a_span_of_the_conventions_are_its_tags_and_change_nothing_else() -> None:
    call: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 5}

    plain, tagged = (dialects.read(a_span(attributes)) for attributes in (call, {**call, "tag.tags": ("a", "b")}))

    assert plain is not None
    assert tagged == replace(plain, tags=("a", "b"))


def test_the_kind_decides_against_an_operation_of_the_conventions() -> None:
    span = a_span({"openinference.span.kind": "RETRIEVER", "gen_ai.operation.name": "embeddings"})
    rows = [row for each in (OpenInference(), OtelGenAI()) if (row := each.read(span)) is not None]

    assert (merge(rows).kind, merge(rows).operation) == ("retrieval", "")


def test_an_operation_of_the_same_kind_is_more_exact_than_the_kind() -> None:
    assert read({**LLM, "gen_ai.operation.name": "generate_content"}).operation == "generate_content"
    assert read({**LLM, "gen_ai.operation.name": "embeddings"}).operation == "chat"
    assert read({**LLM, "llm.prompts.0.prompt.text": "Say hello"}).operation == "text_completion"


@pytest.mark.parametrize(
    ("attributes", "provider"),
    [
        ({"llm.provider": "azure", "llm.system": "openai"}, "azure.ai.openai"),
        ({"llm.provider": "aws", "llm.system": "anthropic"}, "aws.bedrock"),
        ({"llm.provider": "google", "llm.system": "vertexai"}, "gcp.vertex_ai"),
        ({"llm.provider": "google"}, "gcp.gen_ai"),
        ({"llm.provider": "xai"}, "x_ai"),
        ({"llm.system": "mistralai"}, "mistral_ai"),
        ({"decision.provider": "typesafe", "decision.system": "openai"}, "typesafe"),
        ({"llm.provider": "langchain", "llm.model_name": "claude-3"}, "anthropic"),
        ({"gen_ai.provider.name": "groq", "llm.model_name": "gpt-4o"}, "groq"),
        ({"llm.provider": "openai", "server.address": "api.groq.com"}, "groq"),
        ({"llm.model_name": "gpt-4o"}, "openai"),
    ],
)
def test_the_provider_goes_before_the_system(attributes: Attributes, provider: str) -> None:
    assert read({"openinference.span.kind": "LLM", **attributes}).provider == provider


@pytest.mark.parametrize(
    ("attributes", "request_model", "response_model"),
    [
        ({"llm.model_name": "m"}, "m", "m"),
        ({"llm.model_name": "m", "llm.request.model_name": "asked"}, "asked", "m"),
        ({"llm.model_name": "m", "llm.invocation_parameters": '{"model":"asked"}'}, "asked", "m"),
        ({"llm.model_name": "m", "llm.invocation_parameters": '{"model":5}'}, "m", "m"),
        ({"llm.model_name": "m", "llm.invocation_parameters": "no json"}, "m", "m"),
        ({"llm.model_name": "m", "gen_ai.request.model": "asked"}, "asked", "m"),
        ({"llm.model_name": "m", "llm.response.model_name": "answered"}, "m", "answered"),
        ({"reranker.model_name": "r"}, "r", "r"),
        ({"decision.model_name": "d", "decision.request.model_name": "jev-latest"}, "jev-latest", "d"),
    ],
)
def test_models_are_the_one_asked_and_the_one_that_answered(
    attributes: Attributes, request_model: str, response_model: str
) -> None:
    row = read({"openinference.span.kind": "LLM", **attributes})

    assert (row.request_model, row.response_model) == (request_model, response_model)


def test_no_model_answered_a_call_that_failed() -> None:
    row = read(LLM, status_code=2)

    assert (row.request_model, row.response_model, row.error_type) == ("gpt-4o", "", "_OTHER")


def test_token_counts_are_totals_with_parts() -> None:
    row = read(
        {
            **LLM,
            "llm.token_count.prompt": "1200",
            "llm.token_count.completion": 80,
            "llm.token_count.total": 1280,
            "llm.token_count.prompt_details.cache_input": 1024,
            "llm.token_count.prompt_details.cache_write": 7,
            "llm.token_count.prompt_details.audio": 3,
            "llm.token_count.completion_details.reasoning": 16,
            "llm.token_count.completion_details.audio": 2,
        }
    )

    assert (row.input_tokens, row.output_tokens) == (1200, 80)
    assert (row.cache_read_tokens, row.cache_write_tokens, row.reasoning_tokens) == (1024, 7, 16)
    assert (row.audio_input_tokens, row.audio_output_tokens) == (3, 2)


def test_the_total_shows_that_an_older_version_left_the_cache_out() -> None:
    counts: Attributes = {
        "llm.token_count.prompt": 2000,
        "llm.token_count.completion": 80,
        "llm.token_count.prompt_details.cache_read": 1000,
    }

    assert read({**LLM, **counts, "llm.token_count.total": 3080}).input_tokens == 3000
    assert read({**LLM, **counts, "llm.token_count.total": 2080}).input_tokens == 2000
    assert read({**LLM, **counts, "llm.token_count.prompt": 200}).input_tokens == 1200


@pytest.mark.parametrize(("told", "expected"), [({}, 1500), ({"llm.token_count.total": 1010}, 1000)])
def test_bedrocks_instrumentation_for_node_leaves_the_cache_out_where_it_tells_no_total(
    told: Attributes, expected: int
) -> None:
    counts: Attributes = {
        "openinference.span.kind": "LLM",
        "llm.token_count.prompt": 1000,
        "llm.token_count.completion": 10,
        "llm.token_count.prompt_details.cache_read": 500,
    }

    row = read({**counts, **told}, scope_name="@arizeai/openinference-instrumentation-bedrock")

    assert row.input_tokens == expected
    assert read(counts, scope_name="openinference.instrumentation.bedrock").input_tokens == 1000


def test_the_newer_name_of_cache_reads_is_believed_and_never_added() -> None:
    names = ("cache_read", "cache_input")
    row = read({**LLM, "llm.token_count.prompt": 90, **{f"llm.token_count.prompt_details.{n}": 40 for n in names}})

    assert (row.input_tokens, row.cache_read_tokens) == (90, 40)


@pytest.mark.parametrize(
    ("attributes", "cost"),
    [
        ({"llm.cost.total": 0.0012}, Decimal("0.0012")),
        ({"llm.cost.total": "0.0012"}, Decimal("0.0012")),
        ({"llm.cost.prompt": 0.001, "llm.cost.completion": 0.0002}, Decimal("0.0012")),
        ({"llm.cost.total": 0}, None),
        ({"llm.cost.total": -1.0}, None),
        ({"llm.cost.total": float("nan")}, None),
        ({"llm.cost.total": "free"}, None),
        ({}, None),
    ],
)
def test_a_cost_is_the_senders_own_figure(attributes: Attributes, cost: Decimal | None) -> None:
    row = read({**LLM, **attributes})

    assert row.cost_usd == cost
    assert (row.cost_source, row.pricing_status) == (("", "") if cost is None else ("client", "priced"))


def test_the_first_token_of_a_stream_is_an_event() -> None:
    events = (Event(START + 250_000_000, "First Token Stream Event", {}), Event(START + SECOND, "other", {}))

    row = read(LLM, events=events)

    assert (row.stream, row.ttft_ns) == (True, 250_000_000)


@pytest.mark.parametrize(
    ("parameters", "stream"),
    [('{"stream": true}', True), ('{"stream": false}', False), ('{"stream": "true"}', False), ("[]", False)],
)
def test_a_stream_is_told_by_the_request(parameters: str, stream: bool) -> None:
    assert read({**LLM, "llm.invocation_parameters": parameters}).stream is stream


@pytest.mark.parametrize(
    ("response", "response_id", "tier"),
    [
        ('{"id":"chatcmpl-1","service_tier":"flex"}', "chatcmpl-1", "flex"),
        ('{"choices": [{"id": "call_1"}], "id": "chatcmpl-2"}', "chatcmpl-2", ""),
        ('{"id":"resp_9","output":[{"id":"msg_1"}]}', "resp_9", ""),
        ('{"content":"{\\"id\\":\\"chatcmpl-1\\",\\"service_tier\\":\\"flex\\"}"}', "", ""),
        ('{"id":"something-else"}', "", ""),
        ('the answer is "id":"chatcmpl-1"', "", ""),
        (7, "", ""),
    ],
)
def test_id_and_tier_stand_in_the_whole_response(response: str, response_id: str, tier: str) -> None:
    row = read({**LLM, "output.value": response, "output.mime_type": "application/json"})

    assert (row.response_id, row.service_tier) == (response_id, tier)


def test_only_a_call_has_the_id_of_a_response() -> None:
    row = read({"openinference.span.kind": "AGENT", "output.value": '{"id":"chatcmpl-1"}'})

    assert row.response_id == ""


@pytest.mark.parametrize(
    ("metadata", "properties"),
    [
        (
            '{"plan": "pro", "seats": 3, "beta": true, "list": [1]}',
            {"plan": "pro", "seats": "3", "beta": "true", "list": "[1]"},
        ),
        ({"plan": "pro"}, {"plan": "pro"}),
        ("[1]", {}),
        ("no json", {}),
        (5, {}),
        ("__REDACTED__", {}),
    ],
)
def test_metadata_are_properties(metadata: Any, properties: dict[str, str]) -> None:
    assert read({**LLM, "metadata": metadata}).properties == properties


@pytest.mark.parametrize("tags", [("a", "b"), '["a", "b"]'])
def test_tags_are_a_list_in_whatever_form(tags: Any) -> None:
    assert read({**LLM, "tag.tags": tags}).tags == ("a", "b")


def test_prompt_user_and_session_are_told() -> None:
    row = read(
        {**LLM, "prompt.id": "greet", "llm.prompt_template.version": "v3", "session.id": "s-1", "enduser.id": "u-1"}
    )

    assert (row.prompt_name, row.prompt_version, row.session_id, row.user_id) == ("greet", "v3", "s-1", "u-1")


def messages(row_text: str) -> Any:
    return json.loads(row_text)


def test_contents_of_every_type_are_parts() -> None:
    prefix = "llm.input_messages.0.message"
    content = f"{prefix}.contents"
    row = read(
        {
            **LLM,
            f"{prefix}.role": "user",
            f"{content}.0.message_content.type": "text",
            f"{content}.0.message_content.text": "look",
            f"{content}.1.message_content.type": "image",
            f"{content}.1.message_content.image.image.url": "https://x/y.png",
            f"{content}.2.message_content.type": "audio",
            f"{content}.2.message_content.audio.audio.url": "https://x/y.wav",
            f"{content}.2.message_content.audio.audio.mime_type": "audio/wav",
            f"{content}.3.message_content.type": "document",
            f"{content}.3.message_content.document.document.content": "page one",
            f"{content}.4.message_content.type": "reasoning",
            f"{content}.4.message_content.text": "hm",
            f"{content}.5.message_content.type": "text",
            f"{content}.5.message_content.text": "__REDACTED__",
        }
    )

    parts = messages(row.input_messages)[0]["parts"]
    assert [(part["type"], part.get("content", part.get("uri"))) for part in parts] == [
        ("text", "look"),
        ("uri", "https://x/y.png"),
        ("uri", "https://x/y.wav"),
        ("text", "page one"),
        ("reasoning", "hm"),
    ]
    assert [part["modality"] for part in parts if part["type"] == "uri"] == ["image", "audio"]


def test_an_image_within_the_span_is_kept_by_its_hash() -> None:
    prefix = "llm.input_messages.0.message.contents.0.message_content"
    url = "data:image/png;base64," + "QUJD" * 10_000

    row = read({**LLM, f"{prefix}.type": "image", f"{prefix}.image.image.url": url})

    assert "QUJDQUJD" not in row.input_messages
    (part,) = messages(row.input_messages)[0]["parts"]
    assert (part["type"], part["mime_type"], part["bytes"]) == ("blob", "image/png", 30_000)


def test_an_older_function_call_is_a_tool_call() -> None:
    prefix = "llm.output_messages.0.message"
    row = read(
        {
            **LLM,
            f"{prefix}.role": "assistant",
            f"{prefix}.function_call_name": "f",
            f"{prefix}.function_call_arguments_json": '{"a": 1}',
        }
    )

    assert messages(row.output_messages)[0]["parts"] == [
        {"type": "tool_call", "id": None, "name": "f", "arguments": {"a": 1}}
    ]


def test_vectors_of_embeddings_are_dropped() -> None:
    row = read(
        {
            "openinference.span.kind": "EMBEDDING",
            "embedding.model_name": "text-embedding-3-small",
            "embedding.embeddings.0.embedding.text": "Say hello",
            "embedding.embeddings.0.embedding.vector": (0.1, 0.2),
            "output.value": '{"data":[{"embedding":[0.1,0.2]}]}',
        }
    )

    assert messages(row.input_messages) == [{"role": "user", "parts": [{"type": "text", "content": "Say hello"}]}]
    assert row.output_messages == ""


def test_whole_request_and_response_are_read_where_there_is_nothing_else() -> None:
    row = read(
        {
            **LLM,
            "input.value": '{"messages": [{"role": "user", "content": "hi"}]}',
            "input.mime_type": "application/json",
            "output.value": "hello",
        }
    )

    assert messages(row.input_messages) == [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
    assert messages(row.output_messages) == [{"role": "assistant", "parts": [{"type": "text", "content": "hello"}]}]


def test_the_query_of_a_reranking_is_its_input() -> None:
    row = read({"openinference.span.kind": "RERANKER", "reranker.query": "best?", "reranker.model_name": "r"})

    assert messages(row.input_messages) == [{"role": "user", "parts": [{"type": "text", "content": "best?"}]}]


@pytest.mark.parametrize("name", ["weather", None])
def test_tools_are_read_in_either_form(name: str | None) -> None:
    told: Attributes = (
        {"llm.tools.0.tool.name": name, "llm.tools.0.tool.description": "d"}
        if name
        else {"llm.tools.0.tool.json_schema": '{"type":"function","function":{"name":"weather","description":"d"}}'}
    )

    tools = json.loads(read({**LLM, **told}).tools)

    assert tools == [{"type": "function", "name": "weather", "description": "d"}]


WRONG: tuple[Any, ...] = (None, True, -1, 1.5, float("nan"), "x", "-3", b"\xff", (), (1, "a"), {"a": (None,)}, 2**70)


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_wrong_values_raise_nothing(value: Any) -> None:
    names = (
        *("llm.model_name", "llm.provider", "llm.system", "llm.token_count.prompt", "llm.token_count.completion"),
        *("llm.token_count.total", "llm.token_count.prompt_details.cache_read", "llm.cost.total", "llm.finish_reason"),
        *("llm.invocation_parameters", "metadata", "tag.tags", "session.id", "user.id", "input.value", "output.value"),
        *("llm.input_messages.0.message.role", "llm.input_messages.0.message.content", "llm.input_messages.1"),
        *("llm.input_messages.0.message.contents", "llm.input_messages.2.message.contents.0.message_content.type"),
        *("llm.output_messages.0.message.tool_calls.0.tool_call", "llm.output_messages.0.message.tool_calls.1"),
        *("llm.tools.0.tool.json_schema", "openinference.span.kind", "embedding.embeddings.0.embedding.text"),
    )

    for name in names:
        read({**LLM, name: value})
    for kind in ("LLM", "EMBEDDING", "RERANKER"):
        read({**dict.fromkeys(names, value), "openinference.span.kind": kind})
