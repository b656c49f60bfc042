"""Langfuse's spans, rule by rule: kinds, buckets, costs, failures, metadata."""

import json
from decimal import Decimal
from typing import Any

import pytest

from support.spans import START, a_span
from tokentrail.backend.dialects.langfuse import Langfuse
from tokentrail.backend.row import Row
from tokentrail.backend.span import StatusCode
from tokentrail.semconv.usage import NOT_A_COUNT

OBSERVATION = "langfuse.observation."


def row_of(told: dict[str, Any], **fields: Any) -> Row:
    attributes = {key if "." in key else OBSERVATION + key: value for key, value in told.items()}
    row = Langfuse().read(a_span(attributes, scope_name="langfuse-sdk", **fields))
    assert row is not None
    return row


def generation(**told: Any) -> Row:
    written = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in told.items()}
    return row_of({"type": "generation", OBSERVATION + "model.name": "gpt-4o-mini", **written})


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"type": "generation"}, "llm"),
        ({"type": "GENERATION"}, "llm"),
        ({"type": "embedding"}, "embedding"),
        ({"type": "agent", "usage_details": '{"input": 5}'}, "agent"),
        ({"type": "retriever"}, "retrieval"),
        ({"type": "event"}, "span"),
        ({"type": "something new"}, "span"),
        ({"type": "span"}, "chain"),
        ({"type": "span", "usage_details": '{"input": 5}'}, "llm"),
        ({"type": "span", OBSERVATION + "model.name": "m"}, "llm"),
        ({"type": "span", OBSERVATION + "prompt.name": "p"}, "llm"),
        ({"type": "span", "gen_ai.operation.name": "invoke_agent"}, ""),
        ({"cost_details": '{"total": 1}'}, "llm"),
        ({"langfuse.trace.name": "t"}, ""),
    ],
)
def test_the_type_is_the_kind_but_a_span_with_the_marks_of_a_generation_is_one(told: dict[str, Any], kind: str) -> None:
    assert row_of(told).kind == kind


@pytest.mark.parametrize(
    ("details", "counts"),
    [
        ({"input": 10, "input_cached_tokens": 90, "output": 5}, (100, 5, 90, None, None)),
        (
            {"input": 200, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 100, "output": 80},
            (1300, 80, 1000, 100, None),
        ),
        ({"input": 10, "output": 4, "output_reasoning_tokens": 6, "total": 20}, (10, 10, None, None, 6)),
        ({"input": 1, "input_cache_read": 2, "input_cache_creation": 3, "output": 4}, (6, 4, 2, 3, None)),
        ({"input": 10, "output": 5, "input_priority": 10, "output_priority_reasoning": 5}, (10, 5, None, None, None)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "total_tokens": 105,
                "prompt_tokens_details": {"cached_tokens": 90},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            (100, 5, 90, None, 2),
        ),
        ({"input": -1, "output": 5}, (NOT_A_COUNT, 5, None, None, None)),
        ({"input": None, "output": [], "note": "x"}, (None, None, None, None, None)),
        ({"total": 7}, (None, None, None, None, None)),
    ],
    ids=["openai's names", "anthropic's names", "reasoning", "langchain's names", "tiers", "openai's own object",
         "negative", "no numbers", "a total alone"],
)  # fmt: skip
def test_buckets_are_disjoint_and_add_up(details: dict[str, Any], counts: tuple[int | None, ...]) -> None:
    row = generation(usage_details=details)

    assert (
        row.input_tokens,
        row.output_tokens,
        row.cache_read_tokens,
        row.cache_write_tokens,
        row.reasoning_tokens,
    ) == counts


@pytest.mark.parametrize(
    ("details", "cost"),
    [
        ({"input": 0.001, "output": 0.002, "total": 0.003}, "0.003"),
        ({"input": 0.001, "output": 0.002}, "0.003"),
        ({"total": "0.5"}, "0.5"),
        ({"input": 0, "output": 0, "total": 0}, None),
        ({"total": -1}, None),
        ({"total": float("nan")}, None),
        ({"total": True}, None),
        ({}, None),
    ],
)
def test_the_cost_is_the_total_or_the_sum_of_its_parts(details: dict[str, Any], cost: str | None) -> None:
    row = generation(cost_details=details)

    assert row.cost_usd == (None if cost is None else Decimal(cost))
    assert (row.cost_source, row.pricing_status) == (("", "") if cost is None else ("client", "priced"))


def test_a_cost_that_stands_in_the_providers_usage_is_the_providers() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.25}

    row = generation(usage_details=usage, cost_details={"total": 0.25})

    assert (row.cost_usd, row.cost_source) == (Decimal("0.25"), "provider")


@pytest.mark.parametrize(
    "moment",
    [
        '"2027-01-15T08:00:00.250000Z"',
        "2027-01-15T08:00:00.25+00:00",
        "2027-01-15T09:00:00.25+01:00",
        "2027-01-15T08:00:00.25",
        1_800_000_000_250,
        "1800000000250",
        1_800_000_000_250_000_000,
        1_800_000_000.25,
    ],
)
def test_the_first_token_is_a_point_in_time_however_written(moment: Any) -> None:
    row = generation(completion_start_time=moment)

    assert START == 1_800_000_000 * 10**9  # 2027-01-15T08:00:00Z
    assert (row.ttft_ns, row.stream) == (250_000_000, True)


@pytest.mark.parametrize("moment", ["", "soon", '"2027-01-15T07:59:59Z"', "NaN", -5, "2027-01-15T08:00:00Z" * 2])
def test_a_point_in_time_that_is_none_or_before_the_start_is_no_first_token(moment: Any) -> None:
    row = generation(completion_start_time=moment)

    assert (row.ttft_ns, row.stream) == (None, False)


def test_a_level_of_error_is_a_failure_whatever_the_status() -> None:
    failed = generation(level="ERROR", status_message="Error code: 429")
    warned = generation(level="WARNING", status_message="slow")
    raised = row_of({"type": "generation"}, status_code=StatusCode.ERROR, status_message="boom")

    assert (failed.error_type, failed.error_message) == ("_OTHER", "Error code: 429")
    assert (warned.error_type, warned.error_message) == ("", "")
    assert (raised.error_type, raised.error_message) == ("_OTHER", "boom")


def test_metadata_are_properties_with_their_json_opened_and_the_observations_own_first() -> None:
    row = generation(
        **{
            "langfuse.trace.metadata.plan": '"pro"',
            "langfuse.trace.metadata.step": "1",
            OBSERVATION + "metadata.step": "2",
            OBSERVATION + "metadata.deep": '{"a": [1]}',
            OBSERVATION + "metadata": '{"whole": true}',
            OBSERVATION + "metadata.quote": '"half',
        }
    )

    assert dict(row.properties) == {
        "plan": "pro",
        "step": "2",
        "deep": '{"a": [1]}',
        "whole": "true",
        "quote": '"half',
    }


def test_user_session_and_tags_may_be_in_the_metadata() -> None:
    row = generation(
        **{
            OBSERVATION + "metadata.langfuse_user_id": '"u-1"',
            OBSERVATION + "metadata.langfuse_session_id": "s-1",
            OBSERVATION + "metadata.langfuse_tags": '["a", "b"]',
        }
    )

    assert (row.user_id, row.session_id, row.tags, dict(row.properties)) == ("u-1", "s-1", ("a", "b"), {})


def test_what_is_langfuses_own_goes_before_what_is_everybodys() -> None:
    row = generation(
        **{
            "langfuse.user.id": "lf-u",
            "user.id": "u",
            "langfuse.session.id": "lf-s",
            "session.id": "s",
            "langfuse.environment": "staging",
        }
    )

    assert (row.user_id, row.session_id) == ("lf-u", "lf-s")
    assert row.environment == "prod"  # the resource's goes before a default of the SDK's


def test_the_environment_is_langfuses_where_the_resource_has_none() -> None:
    named = row_of({"type": "generation", "langfuse.environment": "staging"}, resource_attributes={})
    default = row_of({"type": "generation", "langfuse.environment": "default"}, resource_attributes={})

    assert (named.environment, default.environment) == ("staging", "")


def test_half_of_a_surrogate_pair_is_not_kept() -> None:
    row = generation(**{OBSERVATION + "metadata.k": r'"\ud800"', OBSERVATION + "metadata.face": r'"\uD83D\uDE00"'})

    assert dict(row.properties) == {"k": "?", "face": "\U0001f600"}
