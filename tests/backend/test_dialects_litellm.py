"""Spans of LiteLLM's callback, rule by rule: which are calls, where the cache is told, and what is not spread."""

import math
from decimal import Decimal
from typing import Any

import pytest

from support.spans import a_span
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.litellm import LiteLLM
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Value


def read(dialect: Dialect, attributes: Attributes, **fields: Any) -> Row:
    row = dialect.read(a_span(attributes, **fields))
    assert row is not None
    return row


def litellm(attributes: Attributes, **fields: Any) -> Row:
    return read(LiteLLM(), {"gen_ai.request.model": "gpt-4o", **attributes}, scope_name="litellm", **fields)


@pytest.mark.parametrize(
    ("call_type", "kind", "operation"),
    [
        ("completion", "llm", "chat"),
        ("acompletion", "llm", "chat"),
        ("aresponses", "llm", "chat"),
        ("anthropic_messages", "llm", "chat"),
        ("atext_completion", "llm", "text_completion"),
        ("agenerate_content_stream", "llm", "generate_content"),
        ("aembedding", "embedding", "embeddings"),
        ("arerank", "rerank", "rerank"),
        ("amoderation", "moderation", "moderation"),
        ("aimage_generation", "llm", "generate_content"),
        ("aspeech", "llm", "generate_content"),
        ("acreate_batch", "span", "acreate_batch"),
        ("atranscription", "llm", "generate_content"),
    ],
)
def test_litellm_tells_the_function_that_was_called(call_type: str, kind: str, operation: str) -> None:
    row = litellm({"llm.request.type": call_type, "gen_ai.operation.name": call_type})

    assert (row.kind, row.operation) == (kind, operation)


def test_a_span_in_the_provider_s_words_is_no_call() -> None:
    assert read(LiteLLM(), {"llm.openai.model": "gpt-4o"}, scope_name="litellm").kind == "span"


@pytest.mark.parametrize("attributes", [{"service": "redis", "call_type": "get"}, {"openinference.span.kind": "LLM"}])
def test_spans_that_litellm_does_not_describe_are_left_to_others(attributes: Attributes) -> None:
    assert read(LiteLLM(), attributes, scope_name="litellm").kind == ""


def test_a_span_of_others_that_litellm_only_says_something_of_keeps_its_kind() -> None:
    assert read(LiteLLM(), {"metadata.user_api_key_alias": "key"}, scope_name="asgi").kind == ""


@pytest.mark.parametrize("kind", ["completion", "acompletion"])
def test_litellm_may_write_its_call_to_the_span_of_another(kind: str) -> None:
    row = read(LiteLLM(), {"llm.request.type": kind, "hidden_params": "{}"}, scope_name="asgi")

    assert row.kind == "llm"


def test_the_cache_is_found_in_what_litellm_writes_as_python_does() -> None:
    usage = (
        "{'prompt_tokens': 1200, 'completion_tokens_details': {'reasoning_tokens': 16}, "
        "'prompt_tokens_details': {'audio_tokens': None, 'cached_tokens': 1024}, 'cache_creation_input_tokens': 7}"
    )

    row = litellm(
        {
            "gen_ai.usage.input_tokens": 1200,
            "gen_ai.usage.output_tokens": 80,
            "gen_ai.usage.total_tokens": 1280,
            "metadata.usage_object": usage,
        }
    )

    assert (row.input_tokens, row.cache_read_tokens, row.cache_write_tokens, row.reasoning_tokens) == (
        1200,
        1024,
        7,
        16,
    )


@pytest.mark.parametrize(
    "literal",
    ["{'cached_tokens': None}", "{'cached_tokens': -3}", "{'cached_tokens': 1e9}", "{'cached_tokens': 12", "()" * 9999],
)
def test_what_is_no_count_in_a_python_literal_is_not_read(literal: str) -> None:
    assert litellm({"metadata.usage_object": literal}).cache_read_tokens is None


def test_attributes_beat_the_python_literal() -> None:
    row = litellm({"gen_ai.usage.cache_read_input_tokens": 20, "metadata.usage_object": "{'cached_tokens': 30}"})

    assert row.cache_read_tokens == 20


@pytest.mark.parametrize(("told", "stream"), [("True", True), ("False", False), (True, True), ("", False), (1, False)])
def test_litellm_tells_a_stream_in_words(told: Value, stream: bool) -> None:
    assert litellm({"llm.is_streaming": told}).stream is stream


@pytest.mark.parametrize(
    ("cost", "usd"), [(0.0007, "0.0007"), ("0.0007", "0.0007"), (0, None), (-1, None), (math.nan, None), ("", None)]
)
def test_the_cost_of_litellm_is_its_own(cost: Value, usd: str | None) -> None:
    row = litellm({"gen_ai.cost.total_cost": cost})

    assert row.cost_usd == (None if usd is None else Decimal(usd))
    assert (row.cost_source, row.pricing_status) == (("", "") if usd is None else ("client", "priced"))


def test_the_host_that_litellm_calls_tells_the_provider() -> None:
    row = litellm({"gen_ai.system": "openai", "hidden_params": '{"api_base": "https://api.groq.com/openai/v1"}'})

    assert (row.provider, row.server_address) == ("groq", "api.groq.com")


@pytest.mark.parametrize("hidden", ["", "{", "[]", '{"api_base": 7}', '{"api_base": "http://[::1"}', "{'a': None}"])
def test_hidden_parameters_that_tell_no_host_are_nothing(hidden: str) -> None:
    assert litellm({"gen_ai.system": "azure", "hidden_params": hidden}).provider == "azure.ai.openai"


def test_metadata_of_litellm_is_told_without_what_recognises_a_key() -> None:
    row = litellm(
        {
            "metadata.user_api_key_alias": "shop",
            "metadata.user_api_key_team_id": "t1",
            "metadata.user_api_key_hash": "88dc28d0",
            "metadata.requester_ip_address": "10.0.0.1",
            "metadata.requester_custom_headers": "{'x-key': 'secret'}",
            "metadata.user_api_key_end_user_id": "eu1",
            "metadata.requester_metadata": "",
        }
    )

    assert row.properties == {"user_api_key_alias": "shop", "user_api_key_team_id": "t1"}
    assert row.user_id == "eu1"


def test_the_user_that_was_sent_goes_before_the_user_of_the_key() -> None:
    assert litellm({"llm.user": "u1", "metadata.user_api_key_end_user_id": "u2"}).user_id == "u1"


def test_calls_of_tools_that_the_messages_hold_already_are_not_told_twice() -> None:
    written = '[{"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "f", "arguments": {}}]}]'
    call: Attributes = {"gen_ai.completion.0.function_call.name": "f"}

    assert litellm({**call, "gen_ai.output.messages": written}).output_messages == ""


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"litellm.cost.total": 0.25}, Decimal("0.25")),
        ({"litellm.cost.total": 0.0, "litellm.cache_hit": False}, None),
        ({"litellm.cost.total": 0.0, "litellm.cache_hit": True}, Decimal(0)),
        ({"hidden_params": '{"cache_hit": true}'}, Decimal(0)),
        ({"hidden_params": '{"cache_hit": null}'}, None),
        ({"hidden_params": '{"cache_hit": true}', "gen_ai.cost.total_cost": 0.0007}, Decimal("0.0007")),
    ],
)
def test_an_answer_out_of_litellm_s_cache_is_free_and_0_is_unknown_else(
    told: Attributes, expected: Decimal | None
) -> None:
    row = litellm({"gen_ai.operation.name": "chat", **told})

    assert (row.cost_usd, row.pricing_status) == (expected, "" if expected is None else "priced")


def test_the_second_callback_s_own_names_are_read() -> None:
    row = litellm(
        {
            "gen_ai.operation.name": "chat",
            "litellm.call_type": "arerank",
            "litellm.request.streaming": True,
            "litellm.end_user.id": "u-1",
            "litellm.metadata.plan": "pro",
        }
    )

    assert (row.kind, row.operation, row.stream, row.user_id) == ("rerank", "rerank", True, "u-1")
    assert row.properties == {"plan": "pro"}
