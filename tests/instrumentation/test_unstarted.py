"""A span that is started late: nobody can tell, and who looks at it finds it started."""

import os
import weakref
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBasedTraceIdRatio, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from support.span_log import Spans, attributes
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE
from tokentrail.instrumentation import guard, session
from tokentrail.instrumentation.unstarted import UnstartedSpan

pytestmark = pytest.mark.usefixtures("quiet")

Act = Callable[[], object]
URL = "http://models.example/v1/chat/completions"


def call(act: Act = lambda: None) -> None:
    """A call of a model, with `act` done while its request is sent."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        act()
        return httpx2.Response(200, json=CHAT_RESPONSE)

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        assert client.post(URL, json=CHAT_REQUEST).json() == CHAT_RESPONSE


def current() -> UnstartedSpan:
    span = trace.get_current_span()
    assert isinstance(span, UnstartedSpan)
    return span


class _Starts(SpanProcessor):
    """Keeps what spans have as they start."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.seen.append(dict(span.attributes or {}))


def test_a_span_nobody_looks_at_is_started_when_its_call_is_over(spans: Spans) -> None:
    started: list[bool] = []

    call(lambda: started.append(current().is_started))

    assert started == [False]
    assert attributes(spans.one())["gen_ai.usage.output_tokens"] == 4


@pytest.mark.parametrize("sampler", [None, ALWAYS_ON], ids=["default", "always on"])
def test_its_identity_is_that_of_the_span_that_is_recorded(instrument: Callable[..., Spans], sampler: Any) -> None:
    spans = instrument(sampler)
    seen: list[SpanContext] = []

    with spans.provider.get_tracer("app").start_as_current_span("request") as around:
        call(lambda: seen.append(trace.get_current_span().get_span_context()))
    span = spans.one()

    assert seen == [span.context]
    assert span.parent == around.get_span_context()
    assert attributes(span)["gen_ai.request.model"] == "gpt-4o-mini"
    assert attributes(span)["gen_ai.usage.output_tokens"] == 4


def test_a_body_that_is_no_json_may_name_the_model(spans: Spans) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(400, json={"error": {"message": "no JSON"}}))

    with httpx2.Client(transport=transport) as client:
        client.post("http://api.openai.com/v1/chat/completions", content=b'{"model":"gpt-4o", "messages":[}')

    assert spans.one().name == "chat gpt-4o"
    assert attributes(spans.one())["gen_ai.request.model"] == "gpt-4o"


def test_what_is_put_on_it_while_the_request_is_sent_is_recorded(spans: Spans) -> None:
    def act() -> None:
        span = trace.get_current_span()
        assert span.is_recording()
        span.set_attribute("app.one", 1)
        span.set_attributes({"app.two": 2})
        span.add_event("noted")
        span.update_name("renamed")
        span.record_exception(ValueError("seen"))
        span.add_link(SpanContext(1, 1, is_remote=False))
        span.set_status(trace.StatusCode.OK)
        assert getattr(span, "attributes")["app.two"] == 2  # noqa: B009  not of the API

    call(act)
    span = spans.one()

    assert span.name == "renamed"
    assert attributes(span)["app.one"] == 1
    assert [event.name for event in span.events] == ["noted", "exception"]
    assert len(span.links) == 1
    assert span.status.status_code is trace.StatusCode.OK


def test_a_span_processor_that_looks_at_starts_sees_it_before_the_request_leaves(spans: Spans) -> None:
    starts, seen = _Starts(), []
    spans.provider.add_span_processor(starts)

    call(lambda: seen.append(len(starts.seen)))

    assert seen == [1]
    assert starts.seen[0]["gen_ai.request.model"] == "gpt-4o-mini"
    assert attributes(spans.one())["gen_ai.usage.output_tokens"] == 4


def test_a_span_processor_that_comes_later_is_noticed(spans: Spans) -> None:
    call()
    assert spans.one()
    starts = _Starts()
    spans.provider.add_span_processor(starts)

    call()

    assert len(spans.calls()) == 2
    assert len(starts.seen) == 1


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_ratio_decides_where_a_trace_begins_and_not_below(instrument: Callable[..., Spans], rate: float) -> None:
    spans = instrument(ParentBasedTraceIdRatio(rate))
    kept = NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    seen: list[object] = []

    call(lambda: seen.append(trace.get_current_span()))
    with trace.use_span(kept):
        call(lambda: seen.append(trace.get_current_span()))

    assert [isinstance(span, UnstartedSpan) for span in seen] == [False, True]
    assert len(spans.calls()) == 1 + rate


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, TraceIdRatioBased(0.5)], ids=["off", "ratio"])
def test_another_sampler_is_asked_at_once(instrument: Callable[..., Spans], sampler: Any) -> None:
    instrument(sampler)
    seen: list[object] = []

    call(lambda: seen.append(trace.get_current_span()))

    assert not isinstance(seen[0], UnstartedSpan)


def test_a_call_below_a_span_that_is_not_sampled_is_not_recorded(spans: Spans) -> None:
    seen: list[object] = []
    remote = NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(TraceFlags.DEFAULT)))

    with trace.use_span(remote):
        call(lambda: seen.append(trace.get_current_span()))

    assert spans.calls() == []
    assert not isinstance(seen[0], UnstartedSpan)


def test_a_span_that_cannot_be_started_is_an_invalid_one(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard.logger, "disabled", True)

    def start(_: object) -> trace.Span:
        raise RuntimeError("no span")

    span = UnstartedSpan(start)

    assert span.get_span_context() is trace.INVALID_SPAN_CONTEXT
    span.set_attribute("a", 1)
    span.end()
    assert span.is_started


def test_a_response_that_is_kept_keeps_no_span_of_the_application(spans: Spans) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, stream=httpx2.ByteStream(b"{}")))
    with httpx2.Client(transport=transport) as client:
        with spans.provider.get_tracer("app").start_as_current_span("request") as around:
            response = client.post(URL, json=CHAT_REQUEST)
        dropped, kept = weakref.ref(around), spans.one()
        del around

        assert kept.parent is not None
        assert dropped() is None
        assert response.status_code == 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_off_while_the_request_is_sent_has_the_same_one(spans: Spans) -> None:
    reading, writing = os.pipe()

    def act() -> None:
        if os.fork() == 0:
            os.write(writing, b"%x" % trace.get_current_span().get_span_context().span_id)
            os._exit(0)
        os.wait()

    call(act)

    with os.fdopen(reading, "rb", closefd=True) as pipe:
        os.close(writing)
        context = spans.one().context
        assert context is not None
        assert int(pipe.read(), 16) == context.span_id


def test_session_and_user_are_those_of_when_the_request_left(spans: Spans) -> None:
    with session("s-1"):
        call()

    assert attributes(spans.one())["session.id"] == "s-1"
