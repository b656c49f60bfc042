"""LangSmith's spans, rule by rule: kinds, what is of the project, usage in every spelling, failures."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.spans import START, a_span
from tokentrail.backend import dialects
from tokentrail.backend.dialects.langsmith import LangSmith
from tokentrail.backend.row import Row
from tokentrail.backend.span import Event, StatusCode

METADATA = "langsmith.metadata."
RAN_OK = StatusCode.OK


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the dialect read before the conventions, where it is not already."""
    others = tuple(each for each in dialects.DIALECTS if each.name != "langsmith")
    monkeypatch.setattr(dialects, "DIALECTS", (others[0], LangSmith(), *others[1:]))
    dialects._spoken.cache_clear()
    yield
    dialects._spoken.cache_clear()


def row_of(told: dict[str, Any], **fields: Any) -> Row:
    row = LangSmith().read(a_span(told, scope_name="langsmith", **{"status_code": RAN_OK, **fields}))
    assert row is not None
    return row


def llm(told: dict[str, Any] | None = None, **fields: Any) -> Row:
    return row_of({"langsmith.span.kind": "llm", "gen_ai.request.model": "gpt-4o-mini", **(told or {})}, **fields)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("llm", "llm"),
        ("LLM", "llm"),
        ("embedding", "embedding"),
        ("chain", "chain"),
        ("tool", "tool"),
        ("retriever", "retrieval"),
        ("prompt", "prompt"),
        ("parser", "prompt"),
        ("something new", "span"),
        ("", ""),
    ],
)
def test_the_kind_of_the_run_is_the_kind(told: str, kind: str) -> None:
    assert row_of({"langsmith.span.kind": told}).kind == kind


@pytest.mark.parametrize(
    ("kind", "operation"), [("prompt", "chat"), ("retriever", "embeddings"), ("parser", "parser"), ("chain", "chain")]
)
def test_a_run_that_is_no_call_makes_no_row_whatever_operation_it_names(
    kind: str, operation: str, registered: None
) -> None:
    named = {"langsmith.span.kind": kind, "gen_ai.operation.name": operation, "gen_ai.request.model": "m"}

    assert dialects.read(a_span(named)) is None
    assert dialects.read(a_span({**named, "langsmith.span.kind": "llm"})) is not None


def test_the_projects_name_is_no_session() -> None:
    project = {"langsmith.trace.session_id": "p", "langsmith.trace.session_name": "my-project"}

    assert llm(project).session_id == ""
    assert llm({**project, METADATA + "session_id": "s"}).session_id == "s"
    assert llm({**project, METADATA + "session_id": "s", METADATA + "thread_id": "t"}).session_id == "t"
    assert llm({**project, METADATA + "conversation_id": "c"}).session_id == "c"
    assert llm({METADATA + "thread_id": "t", "session.id": "s"}).session_id == "s"


@pytest.mark.parametrize(
    "details",
    ["{'audio': 0, 'cache_read': 10}", '{"audio":0,"cache_read":10}', "{'cache_read': 10, 'x': __import__('os')}"],
)
def test_details_are_read_as_json_or_as_python_spells_them(details: str) -> None:
    row = llm(
        {
            "gen_ai.usage.input_tokens": 25,
            "gen_ai.usage.output_tokens": 7,
            "gen_ai.usage.input_token_details": details,
            "gen_ai.usage.output_token_details": "{'reasoning': 3}",
        }
    )

    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens, row.reasoning_tokens) == (25, 7, 10, 3)


USAGE = {
    "input_tokens": 1300,
    "output_tokens": 80,
    "total_tokens": 1380,
    "input_token_details": {"cache_read": 1000, "cache_creation": 100},
}


@pytest.mark.parametrize(
    "told",
    [
        {METADATA + "usage_metadata": json.dumps(USAGE)},
        {"gen_ai.completion": json.dumps({"usage_metadata": USAGE})},
        {"gen_ai.completion": json.dumps({"generations": [[{"message": {"kwargs": {"usage_metadata": USAGE}}}]]})},
        {
            "gen_ai.completion": json.dumps(
                {
                    "usage": {
                        "input_tokens": 200,
                        "output_tokens": 80,
                        "cache_read_input_tokens": 1000,
                        "cache_creation_input_tokens": 100,
                    }
                }
            )
        },
    ],
    ids=["metadata", "outputs", "langchain", "the provider's"],
)
def test_the_usage_is_found_wherever_the_run_has_it(told: dict[str, str]) -> None:
    row = llm(told)

    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cache_write_tokens) == (1300, 80, 1000, 100)


def test_the_answers_of_langchain_tell_model_id_tier_reason_and_stream() -> None:
    generation = {
        "text": "Hello!",
        "type": "ChatGenerationChunk",
        "generation_info": {"finish_reason": "length", "service_tier": "flex"},
        "message": {
            "lc": 1,
            "id": ["langchain", "schema", "messages", "AIMessageChunk"],
            "kwargs": {"content": "Hello!", "response_metadata": {"model_name": "m-2", "id": "chatcmpl-1"}},
        },
    }

    row = llm({"gen_ai.completion": json.dumps({"generations": [[generation]]})})

    assert (row.response_model, row.response_id, row.service_tier) == ("m-2", "chatcmpl-1", "flex")
    assert (row.finish_reasons, row.stream) == (("length",), True)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (
            "RateLimitError('Error code: 429 - Slow down')\n\nTraceback (most recent call last):\n  File \"x.py\"",
            ("RateLimitError", "Error code: 429 - Slow down"),
        ),
        (
            'OpenAIRateLimitError("it\'s (really) slow")Traceback (most recent call last):\n\n\n  File',
            ("OpenAIRateLimitError", "it's (really) slow"),
        ),
        ("ValueError()", ("ValueError", "ValueError()")),
        ("openai.APIError('x')", ("openai.APIError", "x")),
        ("nothing of the kind", ("Exception", "nothing of the kind")),
        ("x" * 50_000, ("Exception", "x" * 50_000)),
    ],
    ids=["wrapper", "langchain", "empty", "dotted", "other", "long"],
)
def test_a_failure_stands_in_an_event_whatever_the_status(message: str, error: tuple[str, str]) -> None:
    event = Event(START, "exception", {"exception.type": "Exception", "exception.message": message})

    row = llm(events=(event,))

    assert (row.error_type, row.error_message) == error


def test_an_ok_is_no_failure() -> None:
    assert llm().error_type == ""


def test_metadata_of_the_application_are_properties_and_those_of_the_sdk_are_not() -> None:
    row = llm(
        {
            METADATA + "plan": "pro",
            METADATA + "seats": 3,
            METADATA + "ls_provider": "openai",
            METADATA + "lc_versions": "{}",
            METADATA + "model_name": "m",
            METADATA + "_type": "openai-chat",
            METADATA + "usage_metadata": "{}",
            METADATA + "user_id": "u-1",
        }
    )

    assert dict(row.properties) == {"plan": "pro", "seats": "3"}
    assert row.user_id == "u-1"


@pytest.mark.parametrize(
    "told", ["prod, green, prod, seq:step:2", '["prod", "green"]', ("prod", "green"), "prod,green,"]
)
def test_tags_are_told_once_and_steps_of_a_chain_are_none(told: Any) -> None:
    assert llm({"langsmith.span.tags": told}).tags == ("prod", "green")


@pytest.mark.parametrize(
    ("told", "provider"),
    [
        ({METADATA + "ls_provider": "azure", "gen_ai.system": "openai"}, "azure.ai.openai"),
        ({METADATA + "ls_provider": "amazon_bedrock", "gen_ai.system": "anthropic"}, "aws.bedrock"),
        ({"gen_ai.system": "langchain", "gen_ai.request.model": "claude-x"}, "anthropic"),
        ({"gen_ai.system": "langchain", "gen_ai.request.model": "mine"}, ""),
    ],
)
def test_the_provider_is_the_one_that_langchain_knows_before_the_guessed_one(
    told: dict[str, Any], provider: str
) -> None:
    assert llm(told).provider == provider


def test_a_model_of_texts_completes_texts() -> None:
    assert llm({METADATA + "ls_model_type": "llm", "gen_ai.operation.name": "chat"}).operation == "text_completion"
    assert llm({METADATA + "ls_model_type": "chat"}).operation == "chat"
