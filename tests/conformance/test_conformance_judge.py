"""The judge of rows and spans can fail: it notices each field that says something else than the recording."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from support import judge
from support.expected import Choice, Expected, ToolCall
from support.otlp_sink import SentSpan

EXPECTED: Final = Expected(
    operation="chat",
    provider="openai",
    host="api.openai.com",
    request_model="gpt-4o",
    stream=True,
    status=200,
    response_model="gpt-4o-2024-08-06",
    response_id="chatcmpl-1",
    input_tokens=12,
    output_tokens=7,
    cache_read_tokens=4,
    reasoning_tokens=2,
    finish_reasons=("stop", "tool_call"),
    choices=(
        Choice("Grüezi", reasoning="They said hello."),
        Choice(tool_calls=(ToolCall("call_1", "greet", {"n": 1}),)),
    ),
    user_text="hello",
    system_text="Be kind.",
    request_id="req_1",
    retry_count=0,
    ratelimit={"ratelimit_limit_requests": 500},
)

ROW: Final[dict[str, Any]] = {
    "operation": "chat",
    "provider": "openai",
    "server_address": "api.openai.com",
    "request_model": "gpt-4o",
    "response_model": "gpt-4o-2024-08-06",
    "response_id": "chatcmpl-1",
    "stream": True,
    "status_code": 200,
    "input_tokens": 12,
    "output_tokens": 7,
    "cache_read_tokens": 4,
    "cache_write_tokens": None,
    "reasoning_tokens": 2,
    "finish_reasons": ["stop", "tool_call"],
    "error_type": "",
    "error_message": "",
    "request_id": "req_1",
    "retry_count": 0,
    "ratelimit_limit_requests": 500,
    "ttft_ms": 3.0,
    "time_to_first_chunk_ms": 2.0,
    "system": '[{"type": "text", "content": "Be kind."}]',
    "input_messages": '[{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]',
    "output_messages": [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "They said hello."},
                {"type": "text", "content": "Grüezi"},
            ],
        },
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "call_1", "name": "greet", "arguments": '{"n": 1}'}],
        },
    ],
}

WRONG: Final[dict[str, object]] = {
    "operation": "text_completion",
    "provider": "groq",
    "server_address": "127.0.0.1",
    "request_model": "",
    "response_model": None,
    "response_id": "chatcmpl-2",
    "stream": False,
    "status_code": "200",
    "input_tokens": "12",
    "output_tokens": None,
    "cache_read_tokens": 0,
    "cache_write_tokens": 0,
    "reasoning_tokens": 3,
    "finish_reasons": ["tool_call", "stop"],
    "error_type": "timeout",
    "error_message": "late",
    "request_id": "",
    "retry_count": None,
    "ratelimit_limit_requests": None,
    "ttft_ms": None,
    "time_to_first_chunk_ms": -1.0,
    "system": "",
    "input_messages": [],
    "output_messages": ROW["output_messages"][:1],
}


def test_row_that_says_the_same_has_no_difference() -> None:
    assert judge.differences(EXPECTED, ROW) == []


@pytest.mark.parametrize("field", WRONG)
def test_wrong_field_is_noticed(field: str) -> None:
    found = judge.differences(EXPECTED, ROW | {field: WRONG[field]})

    assert len(found) == 1 or field == "output_messages"
    assert found


def test_every_field_of_a_row_is_tried_wrong() -> None:
    assert set(WRONG) == set(ROW)


@pytest.mark.parametrize(
    ("message", "accepted"),
    [
        ("Incorrect API key: [redacted]. See the page.", True),
        ("Incorrect API key: sk-abcdef12. See the page.", False),
        ("Incorrect API key: [redacted].", False),
        ("", False),
    ],
)
def test_quoted_key_must_be_replaced_and_the_rest_kept(message: str, accepted: bool) -> None:
    refused = Expected(
        operation="chat",
        provider="openai",
        host="h",
        request_model="m",
        stream=False,
        status=401,
        error_type="invalid_api_key",
        error_message="Incorrect API key: sk-abcdef12. See the page.",
    )

    found = judge.differences(
        refused,
        {
            "operation": "chat",
            "provider": "openai",
            "server_address": "h",
            "request_model": "m",
            "stream": False,
            "status_code": 401,
            "error_type": "invalid_api_key",
            "error_message": message,
        },
    )

    assert (found == []) is accepted


def test_span_attribute_of_a_wrong_type_is_noticed() -> None:
    row, wrong = judge.row_of(_span({"gen_ai.usage.input_tokens": 12.0, "gen_ai.request.stream": True}))

    assert row["stream"] is True
    assert wrong == ["gen_ai.usage.input_tokens is a float, not a int"]


def test_wrong_count_of_a_modality_is_noticed_on_a_span() -> None:
    reading = replace(EXPECTED, modalities={"image.input": 258})

    assert judge.modality_differences(reading, _span({"gen_ai.usage.image.input_tokens": 258})) == []
    assert len(judge.modality_differences(reading, _span({}))) == 1
    assert len(judge.modality_differences(EXPECTED, _span({"gen_ai.usage.audio.output_tokens": 3}))) == 1


@pytest.mark.parametrize("operation", ["chat", "text_completion", "generate_content"])
def test_content_is_compared_where_something_is_generated(operation: str) -> None:
    other = replace(EXPECTED, operation=operation, user_text="bye", choices=())

    found = judge.differences(other, ROW | {"operation": operation})

    assert [line.partition(":")[0] for line in found] == ["output messages", "user text"]


def test_failed_stream_has_no_first_chunk() -> None:
    failed = replace(EXPECTED, status=400, error_type="x", error_message="y")

    found = judge.differences(failed, ROW | {"status_code": 400, "error_type": "x", "error_message": "y"})

    assert [line.partition(":")[0] for line in found] == ["ttft_ms", "time_to_first_chunk_ms"]


@pytest.mark.parametrize(("status", "error"), [(2, None), (0, "500"), (1, None)])
def test_span_status_that_contradicts_the_error_type_is_noticed(status: int, error: str | None) -> None:
    _, wrong = judge.row_of(_span({"error.type": error} if error else {}, status))

    assert len(wrong) == 1


def _span(attributes: Mapping[str, object], status: int = 0) -> SentSpan:
    return SentSpan("0" * 32, "chat m", "scope", attributes, status, "")
