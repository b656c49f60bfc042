import gc
import os
import warnings
import weakref
from collections.abc import Mapping
from typing import Any, cast

import pytest
import wrapt
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags

from tokentrail.instrumentation import owner as owner_module
from tokentrail.instrumentation.call_spans import Kind, attributes_of
from tokentrail.instrumentation.owner import before_end, claim_owner, find_owner, let_go


def _owner_of(attributes: Mapping[str, Any]) -> bool:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("someone")
    with tracer.start_as_current_span("call", attributes=dict(attributes)) as span:
        owner = find_owner()

    assert owner in (None, span)
    return owner is span


@pytest.mark.parametrize(
    "attributes",
    [
        *({"gen_ai.operation.name": name} for name in ("chat", "text_completion", "generate_content", "embeddings")),
        *({"openinference.span.kind": kind} for kind in ("LLM", "EMBEDDING", "RERANKER")),
        *({"llm.request.type": kind} for kind in ("chat", "completion", "embedding", "rerank")),
    ],
)
def test_a_current_span_that_is_a_model_call_owns_it(attributes: dict[str, str]) -> None:
    assert _owner_of(attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"http.request.method": "POST"},
        *({"gen_ai.operation.name": name} for name in ("invoke_agent", "execute_tool", "retrieval", "CHAT", "")),
        {"openinference.span.kind": "CHAIN"},
        {"llm.request.type": "unknown"},
        {"gen_ai.operation.name": ["chat"]},
        {"gen_ai.operation.name": 5},
    ],
)
def test_any_other_current_span_owns_nothing(attributes: dict[str, Any]) -> None:
    assert not _owner_of(attributes)


@pytest.mark.parametrize(
    "answer",
    [
        {"gen_ai.response.finish_reasons": ["stop"]},
        {"gen_ai.usage.output_tokens": 0},
        {"llm.token_count.completion": 4},
    ],
)
def test_a_span_that_has_its_response_already_owns_no_further_call(answer: dict[str, Any]) -> None:
    assert not _owner_of({"gen_ai.operation.name": "chat", "openinference.span.kind": "LLM", **answer})


class _Request:
    def __init__(self, *, gives_way: bool = False) -> None:
        self.gives_way = gives_way
        self.gave_way = False

    def give_way(self) -> None:
        self.gave_way = True


def test_an_owner_has_one_call() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("someone")
    first, second = _Request(), _Request()

    with tracer.start_as_current_span("call", attributes={"gen_ai.operation.name": "chat"}) as span:
        assert claim_owner(first) is span
        assert claim_owner(second) is None

    assert not first.gave_way


def test_a_failed_attempt_gives_way_to_the_next() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("someone")
    first, second = _Request(gives_way=True), _Request()

    with tracer.start_as_current_span("call", attributes={"gen_ai.operation.name": "chat"}) as span:
        assert claim_owner(first) is span
        assert claim_owner(second) is span
        assert claim_owner(_Request()) is None

    assert (first.gave_way, second.gave_way) == (True, False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_while_another_thread_claims_an_owner_does_not_hang_the_child() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("someone")
    with tracer.start_as_current_span("call", attributes={"gen_ai.operation.name": "chat"}) as span:
        with owner_module._claiming, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads of the tests run
            child = os.fork()
            if child == 0:
                is_free = owner_module._claiming.acquire(timeout=2)
                owner_module._claiming.release()
                os._exit(0 if is_free and claim_owner(_Request()) is span else 1)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0


def test_an_owner_and_its_call_are_forgotten_together() -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("someone").start_span("call")
    span.set_attribute("gen_ai.operation.name", "chat")
    request = _Request()
    with trace.use_span(span):
        claim_owner(request)
    left = weakref.ref(request)

    del span, request
    gc.collect()

    assert left() is None


def test_without_a_span_there_is_no_owner() -> None:
    assert find_owner() is None


def test_a_span_that_has_ended_or_is_not_recorded_owns_nothing() -> None:
    ended = (
        TracerProvider(shutdown_on_exit=False)
        .get_tracer("someone")
        .start_span("a", attributes={"gen_ai.operation.name": "chat"})
    )
    ended.end()
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("someone").start_span("b")
    remote = NonRecordingSpan(SpanContext(1, 1, True, TraceFlags(1)))

    for span in (ended, unsampled, remote):
        with trace.use_span(span):
            assert find_owner() is None


class _Opaque(NonRecordingSpan):
    """A recording span of another SDK, whose attributes are not what they are in ours."""

    attributes: object = None

    def is_recording(self) -> bool:
        return True


@pytest.mark.parametrize(
    "attributes", [None, "chat", [("gen_ai.operation.name", "chat")], {"gen_ai.operation.name": ["chat"]}]
)
def test_a_span_of_another_sdk_does_no_harm(attributes: object) -> None:
    span = _Opaque(SpanContext(1, 1, False))
    span.attributes = attributes

    with trace.use_span(span):
        assert find_owner() is None
    assert isinstance(attributes_of(span), Mapping)


def test_an_embedding_is_no_part_of_the_chat_around_it() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("someone")

    with tracer.start_as_current_span("call", attributes={"gen_ai.operation.name": "chat"}) as span:
        assert find_owner(Kind.EMBEDDING) is None
        assert find_owner(Kind.GENERATION) is span
        assert claim_owner(_Request(), "embeddings", "m") is None
        assert claim_owner(_Request(), "generate_content", "m") is span


def test_a_span_of_openlit_is_known_by_its_name_as_it_has_no_attributes_yet() -> None:
    provider = TracerProvider(shutdown_on_exit=False)

    with provider.get_tracer("openlit.instrumentation.anthropic").start_as_current_span(
        "chat claude-sonnet-4-6"
    ) as call:
        assert find_owner() is call
    with provider.get_tracer("openlit.instrumentation.anthropic").start_as_current_span("execute_tool weather"):
        assert find_owner() is None
    with provider.get_tracer("someone").start_as_current_span("chat claude-sonnet-4-6"):
        assert find_owner() is None


class _Proxy(wrapt.ObjectProxy[Any]):
    """What OpenInference puts around its spans: it does something of its own before they end."""

    def end(self, end_time: int | None = None) -> None:
        self.__wrapped__.set_attribute("own", "work")
        self.__wrapped__.end(end_time)


def test_a_proxy_around_an_owners_span_ends_it_once() -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("someone").start_span("call")
    span.set_attribute("gen_ai.operation.name", "chat")
    proxy, acts = _Proxy(span), list[str]()

    with trace.use_span(cast("Span", proxy)):
        owner = claim_owner(_Request())
    assert owner is span
    before_end(owner, lambda: acts.append("ended"))
    proxy.end()

    assert acts == ["ended"]
    assert not span.is_recording()
    assert attributes_of(span)["own"] == "work"


def _ready(span: Span) -> Span:
    span.set_attribute("gen_ai.usage.cost", 0.25)
    before_end(span, lambda: None)
    return span


def test_a_span_that_is_dropped_before_it_is_ended_is_told_of() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("someone")
    dropped = list[str]()
    span: Span | None = _ready(tracer.start_span("call"))
    assert span is not None
    let_go(span, lambda: dropped.append("dropped"))

    assert dropped == []
    span = None
    gc.collect()

    assert dropped == ["dropped"]


def test_a_span_that_is_ended_is_not_told_of_and_has_our_cost() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("someone")
    dropped = list[str]()
    span: Span | None = _ready(tracer.start_span("call"))
    assert span is not None
    let_go(span, lambda: dropped.append("dropped"))

    span.set_attribute("gen_ai.usage.cost", 0)
    span.end()
    found = attributes_of(span)["gen_ai.usage.cost"]
    span = None
    gc.collect()

    assert (dropped, found) == ([], 0.25)
