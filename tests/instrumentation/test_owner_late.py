"""An owner that opens its span when the response is there, as OpenLLMetry does for the Responses API.

The real one is in the owner matrix; this one does the same under the name of its module.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import httpx2
import pytest
from opentelemetry.trace import Status, StatusCode

from support.span_log import Spans, attributes
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE, Hang, Reply, SseServer, json_reply
from tokentrail.instrumentation import late_owner, user

pytestmark = pytest.mark.usefixtures("quiet")

_SOURCE = """
def responses_get_or_create_wrapper(tracer, wrapped, opens):
    start_time = time.time_ns()
    error = None
    try:
        response = wrapped()
    except Exception as failure:
        error = failure
    if error is not None or opens:
        span = tracer.start_span("openai.response", start_time=start_time)
        span.set_attribute("gen_ai.operation.name", "chat")
        span.set_attribute("gen_ai.response.id", "the owner's own")
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, str(error)))
        span.end()
    if error is not None:
        raise error
    return response


async def async_responses_get_or_create_wrapper(tracer, wrapped, opens):
    start_time = time.time_ns()
    response = await wrapped()
    if opens:
        span = tracer.start_span("openai.response", start_time=start_time)
        span.set_attribute("gen_ai.operation.name", "chat")
        span.end()
    return response
"""


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch, spans: Spans) -> Callable[..., Any]:
    """Makes a call through the other instrumentation: `owner(call, opens=True)`."""
    name = "opentelemetry.instrumentation.openai.v1.responses_wrappers"
    module = ModuleType(name)
    module.__dict__.update(time=time, Status=Status, StatusCode=StatusCode)
    exec(_SOURCE, module.__dict__)  # its globals must be the module's
    monkeypatch.setitem(sys.modules, name, module)
    tracer = spans.provider.get_tracer("opentelemetry.instrumentation.openai.v1")

    def call(wrapped: Callable[[], Any], *, opens: bool = True, asynchronous: bool = False) -> Any:
        kind = "async_responses" if asynchronous else "responses"
        return module.__dict__[f"{kind}_get_or_create_wrapper"](tracer, wrapped, opens)

    return call


def post(server: SseServer, *replies: Reply) -> Callable[[], Any]:
    server.script(*(replies or (json_reply(CHAT_RESPONSE),)))

    def call() -> Any:
        with httpx2.Client() as client:
            for _ in replies or (None,):
                response = client.post(server.chat_url, json=CHAT_REQUEST)
            return response.raise_for_status()

    return call


def test_its_span_is_the_only_one_and_has_what_we_know(
    owner: Callable[..., Any], spans: Spans, server: SseServer
) -> None:
    with spans.provider.get_tracer("app").start_as_current_span("request") as around, user("u-1"):
        owner(post(server))

    (span,) = spans.billable()
    found = attributes(span)
    assert span.name == "openai.response"
    assert span.parent is not None
    assert span.parent.span_id == around.get_span_context().span_id
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (9, 4)
    assert (found["gen_ai.response.id"], found["user.id"]) == ("the owner's own", "u-1")
    assert found["tokentrail.pricing.status"] == "self_hosted"


def test_a_coroutine_is_the_same(owner: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with httpx2.AsyncClient() as client:
            await owner(lambda: client.post(server.chat_url, json=CHAT_REQUEST), asynchronous=True)

    asyncio.run(scenario())

    (span,) = spans.billable()
    assert (span.name, attributes(span)["gen_ai.usage.output_tokens"]) == ("openai.response", 4)


def test_what_the_client_sends_meanwhile_is_below_what_was_current(
    owner: Callable[..., Any], spans: Spans, server: SseServer
) -> None:
    tracer = spans.provider.get_tracer("http")
    call = post(server)

    def traced() -> Any:
        with tracer.start_as_current_span("POST"):
            return call()

    owner(traced)

    http = next(span for span in spans.all() if span.name == "POST")
    assert http.parent is None
    assert len(spans.billable()) == 1


def test_a_failed_attempt_has_a_span_of_its_own(owner: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    error = {"error": {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}}
    owner(post(server, json_reply(error, 429), json_reply(CHAT_RESPONSE)))

    failed = spans.one()
    (answered,) = (span for span in spans.billable() if span is not failed)
    assert attributes(failed)["http.response.status_code"] == 429
    assert (answered.name, attributes(answered)["http.response.status_code"]) == ("openai.response", 200)


def test_a_call_that_fails_is_the_owners(owner: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    error = {"error": {"message": "No such model", "type": "invalid_request_error", "code": "model_not_found"}}
    with pytest.raises(httpx2.HTTPStatusError):
        owner(post(server, json_reply(error, 404)))

    (span,) = spans.billable()
    assert spans.calls() == []
    assert attributes(span)["http.response.status_code"] == 404
    assert attributes(span)["tokentrail.pricing.status"] == "failed"


def test_a_call_it_has_no_span_for_has_one_of_ours_at_the_next_flush(
    owner: Callable[..., Any], spans: Spans, server: SseServer
) -> None:
    with spans.provider.get_tracer("app").start_as_current_span("request") as around:
        owner(post(server), opens=False)

    call = spans.one()
    assert call.parent is not None
    assert call.parent.span_id == around.get_span_context().span_id
    assert attributes(call)["gen_ai.usage.output_tokens"] == 4


def test_the_next_call_does_not_take_what_belongs_to_the_one_before(
    owner: Callable[..., Any], spans: Spans, server: SseServer
) -> None:
    owner(post(server, json_reply({**CHAT_RESPONSE, "id": "chatcmpl-7"})), opens=False)
    owner(post(server))

    (other,) = (span for span in spans.billable() if span.name == "openai.response")
    assert attributes(spans.one())["gen_ai.response.id"] == "chatcmpl-7"
    assert attributes(other)["gen_ai.usage.output_tokens"] == 4
    assert len(spans.billable()) == 2


def test_a_call_it_has_no_span_for_has_one_of_ours_soon(
    owner: Callable[..., Any], spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_owner, "_GRACE_S", 0.02)
    owner(post(server), opens=False)

    deadline = time.monotonic() + 5
    while late_owner._waiting and time.monotonic() < deadline:
        time.sleep(0.01)

    assert not late_owner._waiting
    monkeypatch.setattr("tokentrail.instrumentation.processor.give_up_waiting", lambda: None)
    assert attributes(spans.one())["gen_ai.usage.output_tokens"] == 4


def test_a_cancelled_call_has_a_span_of_ours(owner: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"{", Hang, b""), 200, {"content-type": "application/json"}))

    async def scenario() -> None:
        async with httpx2.AsyncClient() as client:
            call = owner(lambda: client.post(server.chat_url, json=CHAT_REQUEST), asynchronous=True)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, 0.3)

    asyncio.run(scenario())

    assert str(attributes(spans.one())["error.type"]).endswith("CancelledError")
    assert len(spans.billable()) == 1


def test_where_another_owns_the_call_its_span_is_marked(
    owner: Callable[..., Any], spans: Spans, server: SseServer
) -> None:
    tracer, marks = spans.provider.get_tracer("another"), {"gen_ai.operation.name": "chat"}
    call = post(server)

    def owned() -> Any:
        with tracer.start_as_current_span("inner", attributes=marks):
            return call()

    owner(owned)

    inner = next(span for span in spans.all() if span.name == "inner")
    late = next(span for span in spans.all() if span.name == "openai.response")
    assert attributes(inner)["gen_ai.usage.output_tokens"] == 4
    assert inner.context is not None
    assert attributes(late)["tokentrail.duplicate_of"] == f"{inner.context.trace_id:032x}-{inner.context.span_id:016x}"
    assert spans.calls() == []


def test_a_span_that_is_not_dated_back_is_not_taken_for_it(
    owner: Callable[..., Any], spans: Spans, server: SseServer
) -> None:
    tracer = spans.provider.get_tracer("app")
    call = post(server)

    def then_more() -> Any:
        response = call()
        tracer.start_span("something else").end()
        return response

    owner(then_more)

    other = next(span for span in spans.all() if span.name == "something else")
    assert dict(attributes(other)) == {}
    assert len(spans.billable()) == 1
