"""Spans of Google's ADK, rule by rule: `call_llm` and what its JSON tells."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from support.spans import a_span
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.google_adk import GoogleADK
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Value
from tokentrail.semconv.usage import NOT_A_COUNT


def read(dialect: Dialect, attributes: Attributes, **fields: Any) -> Row:
    row = dialect.read(a_span(attributes, **fields))
    assert row is not None
    return row


RESPONSE: Final[Mapping[str, object]] = {
    "content": {"role": "model", "parts": [{"text": "hey"}]},
    "usage_metadata": {
        "prompt_token_count": 100,
        "tool_use_prompt_token_count": 7,
        "candidates_token_count": 6,
        "thoughts_token_count": 4,
        "cached_content_token_count": 64,
        "total_token_count": 117,
    },
    "finish_reason": "MAX_TOKENS",
}


def adk(attributes: Attributes, name: str = "call_llm") -> Row:
    return read(GoogleADK(), attributes, name=name, scope_name="gcp.vertex.agent")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("call_llm", "llm"),
        ("invocation", "workflow"),
        ("agent_run [clerk]", "agent"),
        ("execute_tool weather", "tool"),
        ("send_data", "span"),
    ],
)
def test_spans_of_adk_without_an_operation_are_known_by_their_names(name: str, kind: str) -> None:
    assert adk({}, name).kind == kind


def test_the_usage_of_earlier_versions_is_in_the_response() -> None:
    row = adk({"gen_ai.request.model": "gemini-2.5-flash", "gcp.vertex.agent.llm_response": json.dumps(RESPONSE)})

    assert (row.input_tokens, row.output_tokens, row.reasoning_tokens, row.cache_read_tokens) == (107, 10, 4, 64)
    assert row.finish_reasons == ("length",)
    assert row.provider == "gcp.gen_ai"


def test_the_response_beats_attributes_which_leave_the_thoughts_out_in_earlier_versions() -> None:
    told: Attributes = {
        "gen_ai.usage.input_tokens": 107,
        "gen_ai.usage.output_tokens": 6,
        "gcp.vertex.agent.llm_response": json.dumps(RESPONSE),
    }

    assert (adk(told).input_tokens, adk(told).output_tokens, adk(told).reasoning_tokens) == (107, 10, 4)


@pytest.mark.parametrize("response", ["{}", '{"content": {}}', '{"usage_metadata": {}}', '{"usage_metadata": null}'])
def test_attributes_are_believed_where_the_response_tells_no_usage(response: str) -> None:
    told: Attributes = {
        "gen_ai.usage.input_tokens": 107,
        "gen_ai.usage.output_tokens": 6,
        "gcp.vertex.agent.llm_response": response,
    }

    assert (adk(told).input_tokens, adk(told).output_tokens) == (107, 6)


@pytest.mark.parametrize("wrong", [-1, 1.5, "-1"])
def test_a_wrong_count_of_the_response_stays_wrong(wrong: object) -> None:
    usage = {"prompt_token_count": 100, "tool_use_prompt_token_count": wrong}

    row = adk({"gcp.vertex.agent.llm_response": json.dumps({"usage_metadata": usage})})

    assert row.input_tokens == NOT_A_COUNT


@pytest.mark.parametrize("nothing", ["{}", "", "<not serializable>", "[]", "null", "N/A", 7, ("a",)])
def test_content_that_is_off_is_nothing(nothing: Value) -> None:
    row = adk({"gcp.vertex.agent.llm_request": nothing, "gcp.vertex.agent.llm_response": nothing})

    assert (row.input_messages, row.output_messages, row.input_tokens) == ("", "", None)


def test_the_session_of_adk_is_the_sender_s() -> None:
    row = adk({"gcp.vertex.agent.session_id": "s8", "gcp.vertex.agent.invocation_id": "e1", "mcp.session.id": "m"})

    assert row.session_id == "s8"
