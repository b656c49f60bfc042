"""The span of one call: its name, times, every attribute with its type, its place in the trace."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, StatusCode, TraceState
from opentelemetry.util.types import Attributes

from support.http_shells import Shell, run
from support.span_log import Spans, attributes
from support.sse_server import (
    CHAT_REQUEST,
    CHAT_RESPONSE,
    STREAM_REQUEST,
    WHOLE_STREAM,
    SseServer,
    json_reply,
    sse_reply,
)
from tokentrail.instrumentation import properties, session, user

pytestmark = pytest.mark.usefixtures("quiet")


def test_a_plain_call_has_exactly_these_attributes(any_shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(
        json_reply(CHAT_RESPONSE, x_request_id="req_9", x_ratelimit_remaining_requests="41", openai_version="1")
    )
    before_ns = time.time_ns()

    async def scenario() -> None:
        async with any_shell.client() as client:
            body = {**CHAT_REQUEST, "temperature": 0.5, "max_tokens": 16, "user": "u-1"}
            response = await any_shell.post(client, server.chat_url, json=body)
            assert response.json() == CHAT_RESPONSE

    run(scenario())
    span = spans.one()

    assert span.name == "chat gpt-4o-mini"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert not span.events
    assert span.parent is None
    assert before_ns <= (span.start_time or 0) <= (span.end_time or 0) <= time.time_ns()
    found = {name: value for name, value in attributes(span).items() if not name.startswith("tokentrail.pricing.")}
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "self_hosted",
        "gen_ai.system": "self_hosted",
        "gen_ai.request.model": "gpt-4o-mini",
        "server.address": "127.0.0.1",
        "server.port": server.server_port,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 16,
        "openai.api.type": "chat_completions",
        "user.id": "u-1",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.finish_reasons": ("stop",),
        "http.response.status_code": 200,
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 4,
        "tokentrail.response.request_id": "req_9",
        "tokentrail.ratelimit.remaining_requests": 41,
        "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"Hello"}]}]',
        "gen_ai.output.messages": (
            '[{"role":"assistant","parts":[{"type":"text","content":"Hi there"}],"finish_reason":"stop"}]'
        ),
    }
    types = {name: type(value) for name, value in found.items()}
    assert types["gen_ai.request.temperature"] is float
    for name in ("server.port", "gen_ai.usage.input_tokens", "http.response.status_code", "gen_ai.request.max_tokens"):
        assert types[name] is int, name


def test_a_call_of_a_known_host_is_priced(shell: Shell, spans: Spans) -> None:
    def answer(request: Any) -> Any:
        return shell.library.Response(200, json=CHAT_RESPONSE)

    async def scenario() -> None:
        async with shell.client(transport=shell.library.MockTransport(answer)) as client:
            response = await shell.post(client, "https://api.openai.com/v1/chat/completions", json=CHAT_REQUEST)
            assert response.json() == CHAT_RESPONSE

    run(scenario())
    found = attributes(spans.one())

    # gpt-4o-mini: 0.15 USD a million input tokens, 0.60 output.
    assert found["gen_ai.usage.cost"] == pytest.approx(9 * 0.15e-6 + 4 * 0.60e-6)
    assert found["tokentrail.cost.input"] == pytest.approx(9 * 0.15e-6)
    assert found["tokentrail.cost.output"] == pytest.approx(4 * 0.60e-6)
    assert found["tokentrail.pricing.status"] == "priced"
    assert found["gen_ai.provider.name"] == "openai"
    assert (found["server.address"], found["server.port"]) == ("api.openai.com", 443)
    assert type(found["gen_ai.usage.cost"]) is float


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_a_mock_transport_that_streams_is_read_like_a_server(shell: Shell, spans: Spans, compressed: bool) -> None:
    import gzip

    body = b"".join(WHOLE_STREAM)
    sent = gzip.compress(body) if compressed else body

    class Body(shell.library.SyncByteStream, shell.library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Any:
            yield from (sent[:20], sent[20:])

        async def __aiter__(self) -> Any:
            for piece in (sent[:20], sent[20:]):
                yield piece

    def answer(request: Any) -> Any:
        headers = {"content-type": "text/event-stream", **({"content-encoding": "gzip"} if compressed else {})}
        return shell.library.Response(200, headers=headers, stream=Body())

    async def scenario() -> None:
        async with shell.client(transport=shell.library.MockTransport(answer)) as client:
            response = await shell.open(client, "https://api.openai.com/v1/chat/completions", json=STREAM_REQUEST)
            assert await shell.read(response) == body

    run(scenario())
    found = attributes(spans.one())

    assert found["tokentrail.stream.exit"] == "complete"
    assert found["gen_ai.usage.output_tokens"] == 4
    assert "Hi there you" in found["gen_ai.output.messages"]


def test_a_streamed_call_says_so(any_shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM))

    async def scenario() -> None:
        async with any_shell.client() as client:
            response = await any_shell.open(client, server.chat_url, json=STREAM_REQUEST)
            assert await any_shell.read(response) == b"".join(WHOLE_STREAM)

    run(scenario())
    found = attributes(spans.one())

    assert found["gen_ai.request.stream"] is True
    assert found["tokentrail.stream.exit"] == "complete"
    assert type(found["gen_ai.response.time_to_first_chunk"]) is float
    assert type(found["tokentrail.response.time_to_first_token"]) is float
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (9, 4)


class _Watching(Sampler):
    def __init__(self) -> None:
        self.seen: list[tuple[str, SpanKind | None, dict[str, Any]]] = []

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        self.seen.append((name, kind, dict(attributes or {})))
        return ALWAYS_ON.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        return "watching"


def test_a_sampler_sees_what_is_known_at_the_start(
    shell: Shell, instrument: Callable[..., Spans], server: SseServer
) -> None:
    sampler = _Watching()
    instrument(sampler)
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with shell.client() as client:
            with user("u-7"), session("s-1", path="/plan"):
                await shell.post(client, server.chat_url, json=CHAT_REQUEST)

    run(scenario())

    assert sampler.seen == [
        (
            "chat gpt-4o-mini",
            SpanKind.CLIENT,
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "self_hosted",
                "gen_ai.system": "self_hosted",
                "gen_ai.request.model": "gpt-4o-mini",
                "server.address": "127.0.0.1",
                "server.port": server.server_port,
                "user.id": "u-7",
                "session.id": "s-1",
                "tokentrail.session.path": "/plan",
            },
        )
    ]


def test_the_span_of_the_http_instrumentation_is_the_child(shell: Shell, spans: Spans, server: SseServer) -> None:
    from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor

    http = HTTPXClientInstrumentor() if shell.library is httpx else HTTPX2ClientInstrumentor()
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with shell.client() as client:
            await shell.post(client, server.chat_url, json=CHAT_REQUEST)

    http.instrument(tracer_provider=spans.provider)
    try:
        with spans.provider.get_tracer("application").start_as_current_span("handler"):
            run(scenario())
    finally:
        http.uninstrument()
    handler = next(span for span in spans.all() if span.name == "handler")
    call = spans.one()
    (child,) = [span for span in spans.all() if span not in (handler, call) and span.name == "POST"]

    assert call.parent is not None
    assert call.parent.span_id == handler.context.span_id
    assert child.parent is not None
    assert child.parent.span_id == call.context.span_id
    sent = server.requests[0].header("traceparent") or ""
    assert sent.startswith(f"00-{call.context.trace_id:032x}-{child.context.span_id:016x}-")


def test_the_call_is_current_while_the_request_is_sent_and_no_longer(shell: Shell, spans: Spans) -> None:
    seen: list[int] = []

    def answer(request: Any) -> Any:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return shell.library.Response(200, json=CHAT_RESPONSE)

    async def scenario() -> int:
        async with shell.client(transport=shell.library.MockTransport(answer)) as client:
            await shell.post(client, "http://localhost:1/v1/chat/completions", json=CHAT_REQUEST)
            return trace.get_current_span().get_span_context().span_id

    after = run(scenario())

    assert seen == [spans.one().context.span_id]
    assert after == trace.INVALID_SPAN_ID


def test_times_of_the_span_are_those_of_the_call(
    shell: Shell, spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    ticks = iter(range(0, 1_000_000_000, 1_000_000))

    class Clock:
        @staticmethod
        def time_ns() -> int:
            return 1_760_000_000_000_000_000

        @staticmethod
        def perf_counter_ns() -> int:
            return next(ticks)

    monkeypatch.setattr("tokentrail.instrumentation.exchange.time", Clock)

    async def scenario() -> None:
        async with shell.client() as client:
            await shell.post(client, server.chat_url, json=CHAT_REQUEST)

    run(scenario())
    span = spans.one()

    # One look at the clock at the start, one for the only piece of the body, one at the end: 2 ms.
    assert span.start_time == 1_760_000_000_000_000_000
    assert span.end_time == 1_760_000_000_002_000_000


def test_the_context_reaches_spans_of_others_too(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with shell.client() as client:
            tool = spans.provider.get_tracer("framework").start_as_current_span("tool")
            with user("u-7"), session("s-1", name="research", path="plan"), properties(Feature="chat"), tool:
                await shell.post(client, server.chat_url, json=CHAT_REQUEST)

    run(scenario())
    expected = {
        "user.id": "u-7",
        "session.id": "s-1",
        "tokentrail.session.name": "research",
        "tokentrail.session.path": "/plan",
        "tokentrail.property.Feature": "chat",
    }

    assert len(spans.all()) == 2
    for span in spans.all():
        assert expected.items() <= dict(attributes(span)).items(), span.name


def test_a_session_in_the_headers_is_not_mixed_with_the_session_around_the_call(
    shell: Shell, spans: Spans, server: SseServer
) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with shell.client() as client:
            with session("outer", name="research", path="/plan"), user("u-1"):
                headers = {"Helicone-Session-Id": "inner"}
                await shell.post(client, server.chat_url, json=CHAT_REQUEST, headers=headers)

    run(scenario())
    found = attributes(spans.one())

    assert found["session.id"] == "inner"
    assert "tokentrail.session.name" not in found
    assert found["user.id"] == "u-1"


def test_text_that_is_no_unicode_does_not_break_the_export(shell: Shell, spans: Spans, server: SseServer) -> None:
    error = b'{"error": {"message": "bad \\ud83d", "type": "invalid_request_error"}}'
    server.script(json_reply(None, 400))
    server._script[0] = type(server._script[0])((error,), 400, {"content-type": "application/json"})
    body = b'{"model": "m\\ud800", "messages": [{"role": "user", "content": "\\udfff"}]}'

    async def scenario() -> None:
        async with shell.client() as client:
            with user("u\udc80"):
                await shell.post(client, server.chat_url, content=body)

    run(scenario())
    span = spans.one()

    for text in (span.name, span.status.description or "", *attributes(span).values()):
        str(text).encode("utf-8")
    assert span.status.description == "bad ?"


def test_both_libraries_are_hooked_only_once() -> None:
    for library in (httpx, httpx2):
        for client in (library.Client, library.AsyncClient):
            hooked = client._send_single_request
            assert not hasattr(getattr(hooked, "__wrapped__", None), "__wrapped__")


def test_a_provider_without_processors_is_no_obstacle(shell: Shell, instrument: Callable[..., Spans]) -> None:
    """A tracer provider that is not the SDK's cannot be given a processor; calls pass all the same."""
    from opentelemetry.trace import NoOpTracerProvider

    from tokentrail.instrumentation import TokentrailInstrumentor

    TokentrailInstrumentor().instrument(tracer_provider=NoOpTracerProvider())

    async def scenario() -> int:
        transport = shell.library.MockTransport(lambda request: shell.library.Response(200, json=CHAT_RESPONSE))
        async with shell.client(transport=transport) as client:
            response = await shell.post(client, "https://api.openai.com/v1/chat/completions", json=CHAT_REQUEST)
            return int(response.status_code)

    assert run(scenario()) == 200
    assert not isinstance(trace.get_tracer_provider(), TracerProvider)
