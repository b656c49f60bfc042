"""MLflow's spans, rule by rule: JSON in JSON, kinds, models, usage, costs, streams."""

import json
from decimal import Decimal
from typing import Any

import pytest

from support.spans import START, a_span
from tokentrail.backend.dialects.mlflow import MLflow
from tokentrail.backend.row import Row
from tokentrail.backend.span import Event


def row_of(told: dict[str, Any], **fields: Any) -> Row:
    row = MLflow().read(a_span(told, **{"scope_name": "mlflow.tracing.provider", **fields}))
    assert row is not None
    return row


def written(told: dict[str, Any]) -> dict[str, str]:
    """As MLflow has attributes: all of them JSON."""
    return {name if "." in name else f"mlflow.{name}": json.dumps(value) for name, value in told.items()}


def chat(**told: Any) -> Row:
    return row_of(written({"spanType": "CHAT_MODEL", **told}))


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("LLM", "llm"),
        ("CHAT_MODEL", "llm"),
        ("EMBEDDING", "embedding"),
        ("RERANKER", "rerank"),
        ("RETRIEVER", "retrieval"),
        ("TOOL", "tool"),
        ("AGENT", "agent"),
        ("WORKFLOW", "workflow"),
        ("TASK", "chain"),
        ("PARSER", "chain"),
        ("MEMORY", "memory"),
        ("of my own", "span"),
        ("UNKNOWN", ""),
        ("", ""),
    ],
)
def test_the_type_is_the_kind(told: str, kind: str) -> None:
    assert row_of(written({"spanType": told})).kind == kind
    assert row_of({"mlflow.spanType": told}).kind == kind  # not in quotes


def test_a_span_without_a_type_is_a_call_where_it_has_model_and_usage() -> None:
    told = {"spanType": "UNKNOWN", "chat.tokenUsage": {"input_tokens": 5}}

    assert row_of(written({f"mlflow.{key}": value for key, value in told.items()})).kind == ""
    assert row_of(written({f"mlflow.{key}": value for key, value in {**told, "llm.model": "m"}.items()})).kind == "llm"


def test_types_that_the_conventions_have_no_word_for_stay_as_operations() -> None:
    assert row_of({"gen_ai.operation.name": "RERANKER"}).kind == "rerank"
    assert row_of({"gen_ai.operation.name": "RERANKER", "mlflow.traceTag.a": "b"}, scope_name="x").kind == ""


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_json_in_json_is_opened_twice(rounds: int) -> None:
    told = {"mlflow.llm.model": "gpt-4o", "session.id": "s-1", "user.id": "u-1", "mlflow.llm.provider": "openai"}
    for _ in range(rounds):
        told = {key: json.dumps(value) for key, value in told.items()}

    row = row_of({"mlflow.spanType": "LLM", **told})

    assert (row.request_model, row.session_id, row.user_id, row.provider) == ("gpt-4o", "s-1", "u-1", "openai")


def test_ids_that_are_numbers_are_texts() -> None:
    assert row_of({"mlflow.spanType": "LLM", "user.id": "7", "session.id": "12"}).user_id == "7"


@pytest.mark.parametrize(
    ("told", "counts"),
    [
        (
            {"input_tokens": 40, "output_tokens": 8, "total_tokens": 48, "cache_read_input_tokens": 16},
            (40, 8, 16, None, None),
        ),
        (
            {
                "input_tokens": 1300,
                "output_tokens": 80,
                "total_tokens": 1380,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 100,
                "cache_creation_input_tokens_above_1hr": 40,
            },
            (1300, 80, 1000, 100, 40),
        ),
        (
            # of a version that passed Anthropic's input on: its total says nothing
            {"input_tokens": 200, "output_tokens": 80, "total_tokens": 280, "cache_read_input_tokens": 1000},
            (1200, 80, 1000, None, None),
        ),
        ({"total_tokens": 5}, (None, None, None, None, None)),
    ],
    ids=["openai", "anthropic", "anthropic before", "a total alone"],
)
def test_the_input_includes_the_cache(told: dict[str, int], counts: tuple[int | None, ...]) -> None:
    row = chat(**{"mlflow.chat.tokenUsage": told})

    assert (
        row.input_tokens,
        row.output_tokens,
        row.cache_read_tokens,
        row.cache_write_tokens,
        row.cache_write_1h_tokens,
    ) == counts


def test_the_providers_own_usage_goes_before_the_excerpt() -> None:
    usage = {
        "prompt_tokens": 1200,
        "completion_tokens": 80,
        "total_tokens": 1280,
        "prompt_tokens_details": {"cached_tokens": 1024},
        "completion_tokens_details": {"reasoning_tokens": 16},
    }

    row = chat(spanOutputs={"usage": usage}, **{"mlflow.chat.tokenUsage": {"input_tokens": 1200, "output_tokens": 80}})

    assert (row.input_tokens, row.cache_read_tokens, row.reasoning_tokens) == (1200, 1024, 16)


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        ({"input_cost": 0.0001, "output_cost": 0.0002, "total_cost": 0.0003}, "0.0003"),
        ({"input_cost": 0.0001, "output_cost": 0.0002}, "0.0003"),
        ({"total_cost": 0}, None),
        ({"total_cost": -1}, None),
        (None, None),
    ],
)
def test_the_cost_is_the_total_or_the_sum(told: dict[str, float] | None, cost: str | None) -> None:
    row = chat(**{"mlflow.llm.cost": told})

    assert row.cost_usd == (None if cost is None else Decimal(cost))
    assert row.cost_source == ("" if cost is None else "client")


def test_the_model_asked_is_the_inputs_and_the_one_that_answered_the_outputs() -> None:
    both = chat(spanInputs={"model": "gpt-4o"}, spanOutputs={"model": "gpt-4o-1"}, **{"mlflow.llm.model": "gpt-4o-1"})
    asked = chat(spanInputs={"model": "gpt-4o"}, **{"mlflow.llm.model": "gpt-4o"})
    told = chat(**{"mlflow.llm.model": "gpt-4o-1"})
    answered = chat(spanInputs={"model": "gpt-4o"}, **{"mlflow.llm.model": "gpt-4o-1"})

    assert (both.request_model, both.response_model) == ("gpt-4o", "gpt-4o-1")
    assert (asked.request_model, asked.response_model) == ("gpt-4o", "")
    assert (told.request_model, told.response_model) == ("gpt-4o-1", "")
    assert (answered.request_model, answered.response_model) == ("gpt-4o", "gpt-4o-1")


@pytest.mark.parametrize(
    ("told", "provider"),
    [
        ({"llm.provider": "azure", "llm.model": "gpt-4o"}, "azure.ai.openai"),
        ({"llm.model": "claude-x", "message.format": "openai"}, "anthropic"),
        ({"llm.model": "mine", "message.format": "gemini"}, "gcp.gemini"),
        ({"llm.model": "mine", "message.format": "langchain"}, ""),
        ({"llm.provider": "langchain", "llm.model": "mine"}, ""),
    ],
)
def test_the_provider_is_named_or_suggested_by_model_and_then_by_format(told: dict[str, str], provider: str) -> None:
    assert row_of(written({f"mlflow.{key}": value for key, value in {"spanType": "LLM", **told}.items()})).provider == (
        provider
    )


def test_the_first_chunk_of_a_stream_is_an_event() -> None:
    events = tuple(Event(START + ns, f"mlflow.chunk.item.{i}", {}) for i, ns in enumerate((5_000_000, 9_000_000)))
    told = written({"spanType": "CHAT_MODEL", "spanInputs": {"stream": True}})

    streamed, unread = row_of(told, events=events), row_of(told)

    assert (streamed.stream, streamed.ttft_ns, streamed.time_to_first_chunk_ns) == (True, 5_000_000, 5_000_000)
    assert (unread.stream, unread.ttft_ns) == (True, None)


@pytest.mark.parametrize(
    "output",
    ["<anthropic.Stream object at 0x7f1ba8cdecd0>", "<generator object f at 0x7f>", "", None],
)
def test_what_stands_for_an_answer_is_none(output: str | None) -> None:
    assert chat(spanOutputs=output).output_messages == ""


def test_an_answer_that_is_json_itself_is_a_text() -> None:
    row = chat(spanOutputs='{"city": "Rome"}')

    assert json.loads(row.output_messages) == [
        {"role": "assistant", "parts": [{"type": "text", "content": '{"city": "Rome"}'}]}
    ]


def test_prompts_and_tags() -> None:
    row = row_of(
        {
            "mlflow.spanType": '"LLM"',
            "mlflow.linkedPrompts": '[{"name": "p", "version": 2}, {"name": "q", "version": "1"}]',
            "mlflow.traceTag.plan": "pro",
        }
    )

    assert (row.prompt_name, row.prompt_version, dict(row.properties)) == ("p", "2", {"plan": "pro"})


def test_a_prompt_without_messages_is_completed() -> None:
    assert chat(spanInputs={"prompt": "Say"}).operation == "text_completion"
    assert chat(spanInputs={"prompt": "Say", "messages": []}).operation == "chat"
