import gc
import weakref
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tokentrail.instrumentation.owner import attributes_of, claim_owner, find_owner


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
