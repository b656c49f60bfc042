"""Spans of Vercel's AI SDK, field by field: what counts, what the input includes, and which name is believed."""

import json
import math
from decimal import Decimal
from typing import Any

import pytest

from support.spans import SECOND, a_span
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.dialects.vercel import Vercel
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes
from tokentrail.semconv.usage import NOT_A_COUNT

CALL: Attributes = {
    "operation.name": "ai.generateText.doGenerate greet",
    "ai.operationId": "ai.generateText.doGenerate",
    "ai.model.id": "gpt-4o-mini",
    "ai.model.provider": "openai.chat",
}


def row_of(attributes: Attributes, **fields: Any) -> Row:
    row = Vercel().read(a_span({**CALL, **attributes}, **fields))
    assert row is not None
    return row


def metadata(**providers: object) -> Attributes:
    return {"ai.response.providerMetadata": json.dumps(providers)}


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("ai.generateText.doGenerate", "llm"),
        ("ai.generateObject.doGenerate", "llm"),
        ("ai.streamText.doStream", "llm"),
        ("ai.streamObject.doStream", "llm"),
        ("ai.embed.doEmbed", "embedding"),
        ("ai.embedMany.doEmbed", "embedding"),
        ("ai.rerank.doRerank", "rerank"),
        ("ai.generateText", "agent"),
        ("ai.streamText", "agent"),
        ("ai.generateObject", "agent"),
        ("ai.embed", "chain"),
        ("ai.embedMany", "chain"),
        ("ai.rerank", "chain"),
        ("ai.toolCall", "tool"),
    ],
)
def test_only_the_inner_spans_are_calls(operation: str, kind: str) -> None:
    row = row_of({"ai.operationId": operation})

    assert row.kind == kind
    assert bool(row.operation) is (kind in BILLABLE)


def test_the_name_of_the_operation_is_told_with_the_function_where_there_is_no_id() -> None:
    assert row_of({"ai.operationId": "", "operation.name": "ai.streamText.doStream greet"}).kind == "llm"


def test_a_span_that_names_another_operation_has_no_kind_of_this_dialect() -> None:
    assert row_of({"ai.operationId": "", "operation.name": "GET /"}).kind == ""


@pytest.mark.parametrize(
    ("keys", "spoken"),
    [
        (["ai.operationId"], True),
        (["ai.usage.inputTokens"], True),
        (["ai.telemetry.metadata.plan"], True),
        (["gen_ai.client.operation.time_to_first_chunk"], True),
        (["ai.model_id", "ai.prompt_tokens.used", "ai.total_cost"], False),  # Sentry's
        (["gen_ai.operation.name"], False),
        ([], False),
    ],
)
def test_the_dialect_is_told_by_its_attributes(keys: list[str], spoken: bool) -> None:
    assert Vercel().matches(keys, "ai") is spoken


@pytest.mark.parametrize(
    "names",
    [
        ("ai.usage.inputTokens", "ai.usage.outputTokens"),
        ("ai.usage.promptTokens", "ai.usage.completionTokens"),
        ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    ],
)
def test_tokens_are_told_under_the_names_of_every_version(names: tuple[str, str]) -> None:
    row = row_of({names[0]: "31", names[1]: 9})

    assert (row.input_tokens, row.output_tokens) == (31, 9)


def test_names_of_several_versions_are_alternatives() -> None:
    row = row_of({"ai.usage.inputTokens": 10, "ai.usage.promptTokens": 10, "gen_ai.usage.input_tokens": 10})

    assert row.input_tokens == 10


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -3, 1.5, "-3"])
def test_a_wrong_count_is_not_the_same_as_none(wrong: float | str) -> None:
    assert row_of({"ai.usage.inputTokens": wrong}).input_tokens == NOT_A_COUNT


@pytest.mark.parametrize("wrong", [math.nan, -3])
def test_a_wrong_part_of_the_input_makes_the_input_wrong(wrong: float) -> None:
    parts: Attributes = {"ai.usage.inputTokens": 9, "ai.usage.inputTokenDetails.noCacheTokens": wrong}

    assert row_of(parts).input_tokens == NOT_A_COUNT


def test_the_details_of_version_6_add_up_to_the_input() -> None:
    row = row_of(
        {
            "ai.usage.inputTokens": 200,  # a provider that has not moved to version 6
            "ai.usage.inputTokenDetails.noCacheTokens": 200,
            "ai.usage.inputTokenDetails.cacheReadTokens": 150,
            "ai.usage.inputTokenDetails.cacheWriteTokens": 10,
            "ai.usage.outputTokens": 80,
            "ai.usage.outputTokenDetails.reasoningTokens": 16,
        }
    )

    assert (row.input_tokens, row.cache_read_tokens, row.cache_write_tokens) == (360, 150, 10)
    assert (row.output_tokens, row.reasoning_tokens) == (80, 16)


@pytest.mark.parametrize(
    "told",
    [
        {"anthropic": {"cacheReadInputTokens": 150, "cacheCreationInputTokens": 10}},
        {"anthropic": {"usage": {"cache_read_input_tokens": 150, "cache_creation_input_tokens": 10}}},
        {"bedrock": {"usage": {"cacheReadInputTokens": 150, "cacheWriteInputTokens": 10}}},
    ],
)
def test_until_version_5_the_input_of_anthropic_and_bedrock_leaves_the_cache_out(told: dict[str, object]) -> None:
    """Also where the cache is less than the rest, and the total seems to say otherwise."""
    usage: Attributes = {"ai.usage.inputTokens": 200, "ai.usage.outputTokens": 80, "ai.usage.totalTokens": 280}

    row = row_of({**usage, **metadata(**told)})

    assert (row.input_tokens, row.cache_read_tokens, row.cache_write_tokens) == (360, 150, 10)


def test_the_input_of_others_includes_the_cache() -> None:
    usage: Attributes = {"ai.usage.promptTokens": 200, "ai.usage.completionTokens": 80}

    row = row_of({**usage, **metadata(openai={"cachedPromptTokens": 150, "reasoningTokens": 16})})

    assert (row.input_tokens, row.cache_read_tokens, row.reasoning_tokens) == (200, 150, 16)


def test_writes_to_the_cache_for_an_hour_are_told_apart() -> None:
    written = {"cache_creation_input_tokens": 10, "cache_creation": {"ephemeral_1h_input_tokens": 4}}

    row = row_of({"ai.usage.inputTokens": 200, **metadata(anthropic={"usage": written})})

    assert (row.cache_write_tokens, row.cache_write_1h_tokens) == (10, 4)


def test_tokens_of_embeddings_are_input() -> None:
    row = row_of({"ai.operationId": "ai.embed.doEmbed", "ai.usage.tokens": 8})

    assert (row.kind, row.operation, row.input_tokens, row.output_tokens) == ("embedding", "embeddings", 8, None)


def test_what_the_gateway_charges_is_the_cost() -> None:
    row = row_of(metadata(gateway={"cost": "0.000265"}))

    assert (row.cost_usd, row.cost_source, row.pricing_status) == (Decimal("0.000265"), "provider", "priced")


@pytest.mark.parametrize("cost", ["0", 0, -1, "free", None, math.nan, True, {}])
def test_a_charge_of_nothing_leaves_the_call_to_be_priced(cost: object) -> None:
    row = row_of(metadata(gateway={"cost": cost}))

    assert (row.cost_usd, row.pricing_status) == (None, "")


def test_the_first_chunk_is_told_in_milliseconds_and_makes_a_stream() -> None:
    row = row_of({"ai.response.msToFirstChunk": 412.5})

    assert (row.ttft_ns, row.stream) == (412_500_000, True)


def test_version_7_tells_the_first_chunk_in_seconds() -> None:
    row = row_of({"ai.operationId": "", "operation.name": "", "gen_ai.client.operation.time_to_first_chunk": 0.25})

    assert (row.ttft_ns, row.stream, row.kind) == (SECOND // 4, True, "")


def test_a_stream_that_failed_before_its_first_chunk_is_one_all_the_same() -> None:
    assert row_of({"ai.operationId": "ai.streamText.doStream"}).stream


@pytest.mark.parametrize("prefix", ["ai.telemetry.metadata.", "ai.settings.context."])
def test_what_the_user_says_of_the_call_is_read(prefix: str) -> None:
    row = row_of(
        {
            prefix + "userId": "u3",
            prefix + "sessionId": "s3",
            prefix + "tags": '["x", "y"]',
            prefix + "plan": "pro",
            prefix + "seats": 3,
            prefix + "langfusePrompt": '{"name": "greet", "version": 7}',
            "ai.request.headers.authorization": "Bearer secret",
        }
    )

    assert (row.user_id, row.session_id, row.tags) == ("u3", "s3", ("x", "y"))
    assert row.properties == {"plan": "pro", "seats": "3"}


def test_the_prompt_that_a_call_was_made_with_is_read() -> None:
    row = row_of({"ai.telemetry.metadata.langfusePrompt": '{"name": "greet", "version": 7, "isFallback": false}'})

    assert (row.prompt_name, row.prompt_version) == ("greet", "7")


def test_user_and_session_of_the_conventions_go_first() -> None:
    row = row_of(
        {
            "user.id": "u1",
            "session.id": "s1",
            "ai.telemetry.metadata.userId": "u2",
            "ai.telemetry.metadata.sessionId": "s2",
        }
    )

    assert (row.user_id, row.session_id) == ("u1", "s1")


def test_an_answer_is_put_together_from_what_it_is_told_in() -> None:
    row = row_of(
        {
            "ai.response.reasoning": "They greet.",
            "ai.response.text": "Hello!",
            "ai.response.toolCalls": '[{"toolCallId": "c1", "toolName": "w", "args": {"q": "x"}}]',
            "ai.response.finishReason": "tool-calls",
        }
    )

    [message] = json.loads(row.output_messages)
    assert message["parts"] == [
        {"type": "reasoning", "content": "They greet."},
        {"type": "text", "content": "Hello!"},
        {"type": "tool_call", "id": "c1", "name": "w", "arguments": {"q": "x"}},
    ]
    assert row.finish_reasons == ("tool_call",)


def test_the_words_of_versions_before_4_are_read() -> None:
    row = row_of({"ai.result.text": "Hello!", "gen_ai.finishReason": "stop"})

    assert "Hello!" in row.output_messages
    assert row.finish_reasons == ("stop",)


def test_vectors_are_left_out() -> None:
    row = row_of({"ai.operationId": "ai.embedMany.doEmbed", "ai.values": ('"a"', '"b"'), "ai.embeddings": ("[0.1]",)})

    assert [message["parts"][0]["content"] for message in json.loads(row.input_messages)] == ["a", "b"]
    assert row.output_messages == ""


@pytest.mark.parametrize("broken", ["[{", "null", "7", "[[[", '"x"', "{}", "[1, null]"])
def test_broken_json_is_read_as_far_as_it_goes(broken: str) -> None:
    names = ("ai.prompt.messages", "ai.response.toolCalls", "ai.response.providerMetadata", "ai.prompt.tools")

    row = row_of({**dict.fromkeys(names, broken), "ai.telemetry.metadata.langfusePrompt": broken})

    assert row.kind == "llm"
