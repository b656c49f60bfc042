"""What is no model call, and what must not be looked at: it passes unseen, and unchanged."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

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
from tokentrail.instrumentation import TokentrailInstrumentor, exchange

pytestmark = pytest.mark.usefixtures("quiet")


def call(shell: Shell, server: SseServer, path: str = "/v1/chat/completions", method: str = "POST", **how: Any) -> Any:
    async def scenario() -> Any:
        async with shell.client() as client:
            return await shell.get(client.request(method, server.url + path, **how))

    return run(scenario())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models", CHAT_REQUEST),
        ("/v1/chat/completions/cancel", CHAT_REQUEST),
        ("/v1/chat/completions", {"query": "{ user }"}),
        ("/v1/chat/completions", ["not", "an", "object"]),
        ("/v1/messages", {"text": "to a chat room"}),
        ("/embeddings", {"rows": [1, 2]}),
    ],
)
def test_other_requests_have_no_span(shell: Shell, spans: Spans, server: SseServer, path: str, body: object) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    response = call(shell, server, path, json=body, headers={"Helicone-User-Id": "u"})

    assert response.json() == CHAT_RESPONSE
    assert spans.all() == []
    assert server.requests[0].header("helicone-user-id") == "u"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_other_methods_have_no_span(shell: Shell, spans: Spans, server: SseServer, method: str) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    call(shell, server, method=method)

    assert spans.all() == []


def test_a_body_that_is_not_json_has_no_span(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    call(shell, server, content=b'{"model": "gpt-4o", "messages": [')
    call(shell, server, content=b"\xff\xfe\x00")
    call(shell, server, content=b"")

    assert spans.all() == []


def test_an_upload_in_parts_is_sent_as_it_is(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    taken: list[bytes] = []

    def parts() -> Iterator[bytes]:
        for part in (b'{"model": "gpt-4o",', b' "messages": []}'):
            taken.append(part)
            yield part

    async def async_parts() -> Any:
        for part in parts():
            yield part

    call(shell, server, content=async_parts() if shell.asynchronous else parts())

    assert server.requests[0].body == b'{"model": "gpt-4o", "messages": []}'
    assert len(taken) == 2
    assert spans.all() == []


def test_a_multipart_upload_is_sent_as_it_is(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    call(shell, server, "/v1/files", files={"file": b"RIFF"}, data={"model": "whisper-1", "prompt": "x"})
    call(shell, server, files={"file": b"RIFF"})

    assert b"RIFF" in server.requests[0].body
    assert spans.all() == []


def test_an_upload_in_parts_to_a_known_host_is_a_call_without_a_model(shell: Shell, spans: Spans) -> None:
    def answer(request: Any) -> Any:
        return shell.library.Response(200, json=CHAT_RESPONSE)

    async def parts() -> Any:
        yield b"{}"

    async def scenario() -> None:
        async with shell.client(transport=shell.library.MockTransport(answer)) as client:
            content = parts() if shell.asynchronous else iter((b"{}",))
            await shell.post(client, "https://api.openai.com/v1/chat/completions", content=content)

    run(scenario())
    span = spans.one()

    assert span.name == "chat"
    assert "gen_ai.request.model" not in attributes(span)
    assert attributes(span)["gen_ai.usage.input_tokens"] == 9


def test_suppressed_instrumentation_is_suppressed(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    with suppress_instrumentation():
        call(shell, server, json=CHAT_REQUEST)

    assert spans.all() == []


def test_switched_off_is_off_and_on_again_is_on(
    shell: Shell, instrument: Callable[..., Spans], server: SseServer
) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    first = instrument()

    call(shell, server, json=CHAT_REQUEST)
    TokentrailInstrumentor().uninstrument()
    call(shell, server, json=CHAT_REQUEST)
    second = instrument()
    call(shell, server, json=CHAT_REQUEST)

    assert len(first.calls()) == 1
    assert len(second.calls()) == 1
    assert len(server.requests) == 3


def test_a_call_that_is_not_sampled_keeps_no_body(
    shell: Shell, instrument: Callable[..., Spans], server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = instrument(ALWAYS_OFF)
    server.script(sse_reply(*WHOLE_STREAM), json_reply(CHAT_RESPONSE))
    taken: list[bytes] = []
    read: list[object] = []
    monkeypatch.setattr(exchange.Exchange, "chunk", lambda self, data: taken.append(data))
    monkeypatch.setattr(exchange.Exchange, "_read_request", lambda self, outcome: read.append(outcome))

    streamed = call(shell, server, json=STREAM_REQUEST, headers={"Helicone-User-Id": "u"})
    plain = call(shell, server, json=CHAT_REQUEST)

    assert streamed.content == b"".join(WHOLE_STREAM)
    assert plain.json() == CHAT_RESPONSE
    assert spans.all() == []
    assert taken == []
    assert read == []
    observer = TokentrailInstrumentor()._observer
    assert observer is not None
    assert observer._open == set()
    assert "helicone-user-id" not in server.requests[0].names


def test_a_body_over_the_limit_is_not_read(shell: Shell, instrument: Callable[..., Spans], server: SseServer) -> None:
    spans = instrument(max_body_bytes=600)
    long = {**CHAT_REQUEST, "messages": [{"role": "user", "content": "x" * 600}]}
    server.script(json_reply({**CHAT_RESPONSE, "padding": "x" * 600}))

    call(shell, server, json=long)
    response = call(shell, server, json=CHAT_REQUEST)

    assert len(response.content) > 600
    assert attributes(spans.one())["tokentrail.body.status"] == "too_large"


def test_a_call_under_a_sampled_out_parent_is_no_owner_and_no_span(
    shell: Shell, instrument: Callable[..., Spans], server: SseServer
) -> None:
    from opentelemetry.sdk.trace.sampling import ParentBased

    spans = instrument(ParentBased(ALWAYS_OFF))
    server.script(json_reply(CHAT_RESPONSE))

    with spans.provider.get_tracer("t").start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}):
        call(shell, server, json=CHAT_REQUEST)

    assert spans.all() == []
