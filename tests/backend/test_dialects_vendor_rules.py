"""Rules of vendors' vocabularies, one by one: whose value counts, in which unit, beside or inside, and what is none."""

import json
from decimal import Decimal
from typing import Any

import pytest

from support.recorded_spans import FOLDER, spans_of
from support.spans import START, a_span
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.agentops import AgentOps
from tokentrail.backend.dialects.braintrust import Braintrust
from tokentrail.backend.dialects.laminar import Laminar
from tokentrail.backend.dialects.langtrace import Langtrace
from tokentrail.backend.dialects.langwatch import LangWatch
from tokentrail.backend.dialects.livekit import LiveKit
from tokentrail.backend.dialects.openrouter import OpenRouter
from tokentrail.backend.dialects.otel_genai import OtelGenAI
from tokentrail.backend.dialects.sentry import Sentry
from tokentrail.backend.dialects.voltagent import VoltAgent
from tokentrail.backend.ingest.normalise import normalise
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span


def row(dialect: Dialect, attributes: dict[str, Any], **fields: Any) -> Row:
    found = dialect.read(a_span(attributes, **fields))
    assert found is not None, "no row"
    return found


# Laminar


@pytest.mark.parametrize(
    ("told", "kind"),
    [("LLM", "llm"), ("CACHED", "llm"), ("TOOL", "tool"), ("EXECUTOR", "agent"), ("HUMAN_EVALUATOR", "evaluator")],
)
def test_laminars_types_are_kinds(told: str, kind: str) -> None:
    assert row(Laminar(), {"lmnr.span.type": told}).kind == kind


def test_laminar_leaves_the_kind_of_a_span_that_it_only_passed_on_to_others() -> None:
    passed_on = {"lmnr.span.type": "DEFAULT", "lmnr.span.path": ("a",), "openinference.span.kind": "LLM"}

    assert row(Laminar(), passed_on).kind == ""
    assert row(Laminar(), {"lmnr.span.type": "DEFAULT", "gen_ai.operation.name": "chat"}).kind == ""


# LangWatch


def test_langwatch_wraps_values_in_types_and_sometimes_twice() -> None:
    inner = {"type": "chat_messages", "value": [{"role": "user", "content": "hi"}]}
    for told in (inner, {"type": "json", "value": inner}):
        found = row(LangWatch(), {"langwatch.span.type": "llm", "langwatch.input": json.dumps(told)})

        assert json.loads(found.input_messages) == [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]


def test_langwatchs_sdk_for_node_has_metrics_in_a_type_and_in_words_of_its_own() -> None:
    metrics = {"type": "json", "value": {"promptTokens": 12, "completionTokens": 3, "cost": 0.25}}

    found = row(LangWatch(), {"langwatch.span.type": "llm", "langwatch.metrics": json.dumps(metrics)})

    assert (found.input_tokens, found.output_tokens, found.cost_usd) == (12, 3, Decimal("0.25"))


@pytest.mark.parametrize("started", [{}, {"started_at": START // 10**6}])
def test_langwatchs_first_token_is_counted_from_the_start(started: dict[str, int]) -> None:
    timestamps = json.dumps({**started, "first_token_at": START // 10**6 + 500})

    found = row(LangWatch(), {"langwatch.span.type": "llm", "langwatch.timestamps": timestamps})

    assert (found.stream, found.ttft_ns) == (True, 500_000_000)


def test_langwatch_puts_the_vendor_before_the_model_and_others_models_have_slashes_too() -> None:
    llm = {"langwatch.span.type": "llm"}

    known = row(LangWatch(), {**llm, "gen_ai.request.model": "azure/gpt-4o"})
    unknown = row(LangWatch(), {**llm, "gen_ai.request.model": "meta-llama/llama-3"})

    assert (known.provider, known.request_model) == ("azure.ai.openai", "gpt-4o")
    assert unknown.request_model == "meta-llama/llama-3"


def test_langwatchs_own_ids_go_before_the_traces_metadata() -> None:
    metadata = json.dumps({"user_id": "old", "thread_id": "old"})
    told = {"langwatch.span.type": "span", "langwatch.user.id": "u", "langwatch.thread.id": "t", "metadata": metadata}

    found = row(LangWatch(), told)

    assert (found.user_id, found.session_id) == ("u", "t")


def test_langwatch_leaves_spans_of_others_to_them() -> None:
    assert row(LangWatch(), {"langwatch.span.type": "span", "openinference.span.kind": "LLM"}).kind == ""


# Braintrust


def test_braintrust_leaves_alone_what_its_processor_only_passed_on() -> None:
    passed_on = {"braintrust.parent": "project_name:shop", "gen_ai.operation.name": "chat"}

    assert Braintrust().matches(tuple(passed_on), "x")
    assert Braintrust().read(a_span(passed_on)) is None


def test_braintrusts_untyped_span_with_a_model_and_tokens_is_a_call() -> None:
    told = {
        "braintrust.metadata": json.dumps({"provider": "anthropic", "model": "claude-sonnet-4-5"}),
        "braintrust.metrics": json.dumps(
            {
                "prompt_tokens": 1300,
                "prompt_cached_tokens": 1000,
                "prompt_cache_creation_tokens": 100,
                "completion_tokens": 80,
            }
        ),
    }
    found = row(Braintrust(), told)

    assert (found.kind, found.provider, found.input_tokens) == ("llm", "anthropic", 1300)
    assert (found.cache_read_tokens, found.cache_write_tokens) == (1000, 100)


def test_braintrusts_first_token_of_a_call_that_is_no_stream_is_its_end() -> None:
    metrics = json.dumps({"prompt_tokens": 1, "completion_tokens": 1, "time_to_first_token": 1.5})
    plain = {"braintrust.metadata": json.dumps({"model": "gpt-4o"}), "braintrust.metrics": metrics}
    stream = {**plain, "braintrust.metadata": json.dumps({"model": "gpt-4o", "stream": True})}

    assert row(Braintrust(), plain).ttft_ns is None
    assert row(Braintrust(), stream).ttft_ns == 1_500_000_000


@pytest.mark.parametrize(
    ("told", "kind"), [("tool", "tool"), ("task", "chain"), ("score", "evaluator"), ("facet", "span"), ("llm", "llm")]
)
def test_braintrusts_types_are_kinds(told: str, kind: str) -> None:
    assert row(Braintrust(), {"braintrust.span_attributes": json.dumps({"type": told})}).kind == kind


# LiveKit


def test_livekits_attempts_and_speech_name_a_model_and_are_no_calls() -> None:
    model = {"gen_ai.request.model": "gpt-4o-mini", "gen_ai.provider.name": "openai"}

    assert row(LiveKit(), {**model, "lk.retry_count": 0}, name="llm_request_run").kind == "span"
    assert row(LiveKit(), {**model, "lk.tts.streaming": True}, name="tts_node").kind == "span"


def test_livekits_metrics_are_read_where_the_conventions_are_not_spoken() -> None:
    metrics = {
        "prompt_tokens": 1200, "prompt_cached_tokens": 1024, "completion_tokens": 80, "total_tokens": 1280,
        "ttft": 0.25, "metadata": {"model_name": "gpt-4o-mini", "model_provider": "api.openai.com"},
    }  # fmt: skip
    found = row(LiveKit(), {"lk.llm_metrics": json.dumps(metrics)}, name="llm_request")

    assert (found.kind, found.operation, found.provider, found.request_model) == (
        "llm",
        "chat",
        "openai",
        "gpt-4o-mini",
    )
    assert (found.input_tokens, found.cache_read_tokens, found.ttft_ns) == (1200, 1024, 250_000_000)


def test_livekits_first_token_that_never_came_is_none() -> None:
    metrics = json.dumps({"prompt_tokens": 1, "completion_tokens": 0, "ttft": -1})

    assert row(LiveKit(), {"lk.llm_metrics": metrics}).ttft_ns is None


# OpenRouter


def test_openrouters_charge_is_the_providers_own_figure_and_nothing_is_no_charge() -> None:
    usage = {"gen_ai.usage.input_tokens": 1, "gen_ai.usage.output_tokens": 1}

    charged = row(OpenRouter(), {**usage, "gen_ai.usage.total_cost": 0.5}, scope_name="openrouter")
    free = row(OpenRouter(), {**usage, "gen_ai.usage.total_cost": 0}, scope_name="openrouter")

    assert (charged.cost_usd, charged.cost_source, charged.pricing_status) == (Decimal("0.5"), "provider", "priced")
    assert (free.cost_usd, free.pricing_status) == (None, "")


def test_openrouters_own_details_are_no_properties() -> None:
    told = {
        "trace.metadata.plan": "pro",
        "trace.metadata.openrouter.api_key_name": "production key",
        "gen_ai.usage.input_tokens": 1,
    }

    assert row(OpenRouter(), told).properties == {"plan": "pro"}


# Sentry


def test_sentrys_counts_of_parts_are_no_totals() -> None:
    found = row(
        Sentry(),
        {
            "gen_ai.operation.type": "ai_client",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.cost.total_tokens": 0.001199,
        },
        scope_name="sentry",
    )

    assert (found.kind, found.provider, found.cost_usd, found.cost_source) == (
        "llm",
        "openai",
        Decimal("0.001199"),
        "client",
    )


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"gen_ai.operation.type": "agent"}, "agent"),
        ({"gen_ai.operation.type": "tool"}, "tool"),
        ({"gen_ai.operation.type": "handoff"}, "chain"),
        ({"gen_ai.operation.type": "ai_client", "gen_ai.operation.name": "embeddings"}, "embedding"),
        ({"gen_ai.operation.type": "ai_client", "gen_ai.operation.name": "request"}, "llm"),
    ],
)
def test_sentrys_operation_tells_more_than_its_type(told: dict[str, Any], kind: str) -> None:
    assert row(Sentry(), told).kind == kind


def test_sentrys_old_names_are_read() -> None:
    told = {"ai.model_id": "gpt-4o", "ai.prompt_tokens.used": 9, "ai.completion_tokens.used": 2, "ai.streaming": True}

    found = row(Sentry(), told)

    assert (found.kind, found.request_model, found.input_tokens, found.output_tokens) == ("llm", "gpt-4o", 9, 2)
    assert found.stream


def test_sentry_marks_spans_that_are_no_ai_and_these_are_left_alone() -> None:
    assert not Sentry().matches(("sentry.op", "sentry.origin", "http.request.method"), "@sentry/node")


# VoltAgent


def test_voltagents_span_type_goes_before_the_type_of_the_entity_around_it() -> None:
    around = {"entity.type": "agent", "voltagent.operation_id": "o"}

    assert row(VoltAgent(), {**around, "span.type": "memory"}).kind == "memory"
    assert row(VoltAgent(), {**around, "span.type": "llm"}).kind == "llm"
    assert row(VoltAgent(), around).kind == "agent"


def test_voltagents_cost_is_what_openrouter_charged() -> None:
    told = {"span.type": "llm", "llm.operation": "generateText", "usage.cost": 0.25, "llm.attempt": 3}

    found = row(VoltAgent(), told)

    assert (found.cost_usd, found.cost_source, found.retry_count) == (Decimal("0.25"), "provider", 2)


def of_voltagent(name: str, parent: str, kind: str, prefix: str, tokens: int | None) -> Span:
    """A span that tells so many tokens in, and half as many out."""
    counts = (("prompt_tokens", 1), ("completion_tokens", 2))
    told = {f"{prefix}.{count}": tokens // part for count, part in counts if tokens is not None}
    marks = {"entity.type": "agent", "llm.model": "gpt-4o-mini", "llm.provider": "openai"}
    typed = {"span.type": kind} if kind != "agent" else {}
    ids = {"span_id": name * 16, "parent_span_id": parent * 16}
    return a_span({**marks, **told, **typed}, scope_name="@voltagent/core", **ids)


def input_tokens(*spans: Span) -> dict[str, int | None]:
    """Of the calls, by the digit that is their id."""
    return {each.span_id[0]: each.input_tokens for each in normalise(spans)}


def test_a_voltagent_call_of_several_steps_has_the_tokens_that_its_agent_tells() -> None:
    spans = spans_of(FOLDER / "voltagent" / "voltagent-core-2.10.0_chat_tools.json", Encoding.PROTOBUF)

    (call,) = normalise(spans)

    # Of two requests with 1200 tokens in, 1024 of them cached, and 80 out, 16 of them of reasoning.
    assert (call.input_tokens, call.output_tokens) == (2400, 160)
    assert (call.cache_read_tokens, call.reasoning_tokens) == (2048, 32)
    # gpt-4o-mini: 0.15 and 0.60 USD a million, 0.075 where cached.
    assert call.cost_usd == Decimal("0.0003024")
    assert call.finish_reasons == ("stop",)


def test_a_voltagent_call_keeps_its_tokens_where_the_agents_are_not_more_or_not_its_own() -> None:
    agent, call = of_voltagent("a", "0", "agent", "usage", 300), of_voltagent("1", "a", "llm", "llm.usage", 100)

    assert input_tokens(call, agent) == {"1": 300}
    assert input_tokens(call) == {"1": 100}
    assert input_tokens(call, of_voltagent("a", "0", "agent", "usage", 90)) == {"1": 100}
    assert input_tokens(call, of_voltagent("a", "0", "agent", "usage", None)) == {"1": 100}
    assert input_tokens(call, of_voltagent("2", "a", "llm", "llm.usage", 120), agent) == {"1": 100, "2": 120}
    assert input_tokens(call, of_voltagent("2", "a", "llm", "llm.usage", None), agent) == {"1": 300, "2": None}
    assert input_tokens(call, of_voltagent("a", "0", "tool", "usage", 300)) == {"1": 100}


def test_an_agent_below_a_voltagent_agent_has_tokens_of_its_own() -> None:
    above, inner = of_voltagent("a", "0", "agent", "usage", 300), of_voltagent("b", "a", "agent", "usage", 70)
    calls = of_voltagent("1", "a", "llm", "llm.usage", 100), of_voltagent("2", "b", "llm", "llm.usage", 50)

    assert input_tokens(above, inner, *calls) == {"1": 300, "2": 70}


# Langtrace


def test_langtraces_cached_tokens_are_inside_the_input_however_many_they_are() -> None:
    told = {"langtrace.service.type": "llm", "gen_ai.usage.input_tokens": 10, "gen_ai.usage.cached_tokens": 30}

    found = row(Langtrace(), told)

    assert (found.input_tokens, found.cache_read_tokens) == (10, 30)


def test_cached_tokens_of_others_are_a_cache_read_of_the_conventions() -> None:
    told = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 100}

    found = row(OtelGenAI(), {**told, "gen_ai.usage.cached_tokens": 90})

    assert (found.input_tokens, found.cache_read_tokens) == (100, 90)


# AgentOps


@pytest.mark.parametrize("told", ["tool", "AgentOpsSpanKindValues.TOOL"])
def test_agentops_kinds_are_values_or_names_of_members(told: str) -> None:
    assert row(AgentOps(), {"agentops.span.kind": told, "tool.name": "weather"}).kind == "tool"


# Langtrace


@pytest.mark.parametrize(("told", "kind"), [("vectordb", "retrieval"), ("framework", "chain"), ("llm", "llm")])
def test_langtraces_services_are_kinds(told: str, kind: str) -> None:
    assert row(Langtrace(), {"langtrace.service.type": told, "gen_ai.operation.name": "chat"}).kind == kind


def test_langtraces_embed_is_an_embedding_without_output() -> None:
    counts = {"gen_ai.usage.input_tokens": 8, "gen_ai.usage.output_tokens": 0}

    found = row(Langtrace(), {"langtrace.service.type": "llm", "gen_ai.operation.name": "embed", **counts})

    assert (found.kind, found.operation, found.input_tokens, found.output_tokens) == (
        "embedding",
        "embeddings",
        8,
        None,
    )
