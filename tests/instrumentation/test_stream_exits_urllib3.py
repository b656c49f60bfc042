"""Every way in which reading a stream through urllib3, by itself or under requests, can end; and failures of ours."""

import gc
from contextvars import copy_context
from typing import Any, Final

import pytest
import requests
import urllib3
from opentelemetry.trace import StatusCode

from support.span_log import Spans, attributes, output_text
from support.sse_server import (
    CHAT_RESPONSE,
    STREAM_REQUEST,
    WHOLE_STREAM,
    Hang,
    Reset,
    SseServer,
    event,
    json_reply,
    sse_reply,
)
from support.urllib3_calls import CHAT, OPENING, STREAMS, answers, each_stream, open_urllib3
from tokentrail.instrumentation import guard

pytestmark = pytest.mark.usefixtures("quiet")

STREAM: Final = b"".join(WHOLE_STREAM)


def assert_exit(spans: Spans, stream_exit: str, text: str = "Hi") -> None:
    span = spans.one()
    assert attributes(span)["tokentrail.stream.exit"] == stream_exit
    assert output_text(span) == text


@each_stream
def test_the_end_of_the_body_is_the_end_of_a_stream(opened: Any, chunks: Any, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING))  # without the provider's closing event
    response = opened(server.chat_url, STREAM_REQUEST)

    read = b"".join(chunks(response))
    span = spans.one()  # while the application still has the response

    assert read == OPENING
    assert attributes(span)["tokentrail.stream.exit"] == "complete"
    del response


def test_chunks_that_are_none(spans: Spans) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    url = answers(head + b"%x\r\n%b\r\n" % (len(OPENING), OPENING) + b"no number\r\n")

    with pytest.raises(urllib3.exceptions.ProtocolError):
        list(open_urllib3(url, STREAM_REQUEST).stream())

    assert_exit(spans, "broken")
    assert attributes(spans.one())["error.type"] == "urllib3.exceptions.ProtocolError"


@each_stream
def test_closing_before_the_end(opened: Any, chunks: Any, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, Hang))

    response = opened(server.chat_url, STREAM_REQUEST)
    reading = chunks(response)
    assert next(reading) == OPENING
    response.close()

    assert_exit(spans, "closed")
    del reading


@each_stream
def test_leaving_the_context_manager_in_the_middle(opened: Any, chunks: Any, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, Hang))

    with opened(server.chat_url, STREAM_REQUEST) as response:
        for _ in chunks(response):
            break

    assert_exit(spans, "closed")


@each_stream
def test_an_exception_in_the_consumer(opened: Any, chunks: Any, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, Hang))
    error = RuntimeError("the application's own")

    def scenario() -> None:
        with opened(server.chat_url, STREAM_REQUEST) as response:
            for _ in chunks(response):
                raise error

    with pytest.raises(RuntimeError) as caught:
        scenario()

    assert caught.value is error
    assert_exit(spans, "closed")


@each_stream
def test_dropping_the_response_in_the_middle(opened: Any, chunks: Any, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, Hang))

    def scenario() -> None:
        for _ in chunks(opened(server.chat_url, STREAM_REQUEST)):
            break

    scenario()
    gc.collect()

    assert_exit(spans, "abandoned")


def test_a_response_nobody_looks_at_goes_at_once(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    gc.disable()
    try:
        open_urllib3(server.chat_url, CHAT)
        span = spans.one()  # no cycle keeps the response, as none does without the hook
    finally:
        gc.enable()

    assert attributes(span)["http.response.status_code"] == 200
    assert "gen_ai.usage.output_tokens" not in attributes(span)


@each_stream
def test_a_connection_that_is_reset(opened: Any, chunks: Any, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, 0.05, Reset))

    with pytest.raises((urllib3.exceptions.ProtocolError, requests.exceptions.ChunkedEncodingError)):
        list(chunks(opened(server.chat_url, STREAM_REQUEST)))
    span = spans.one()

    assert_exit(spans, "broken")
    assert attributes(span)["error.type"] == "urllib3.exceptions.ProtocolError"
    assert span.status.status_code is StatusCode.ERROR


@each_stream
def test_a_stream_that_stops_coming(opened: Any, chunks: Any, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, Hang))

    with pytest.raises((urllib3.exceptions.ReadTimeoutError, requests.exceptions.ConnectionError)):
        list(chunks(opened(server.chat_url, STREAM_REQUEST, timeout=0.2)))

    assert_exit(spans, "broken")
    assert attributes(spans.one())["error.type"] == "urllib3.exceptions.ReadTimeoutError"


def test_an_error_the_provider_sends_in_the_stream(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, event({"error": {"message": "overloaded", "code": "server_error"}})))

    list(open_urllib3(server.chat_url, STREAM_REQUEST).stream())

    assert_exit(spans, "broken")
    assert attributes(spans.one())["error.type"] == "server_error"


def test_a_body_shorter_than_announced_is_no_complete_one(spans: Spans) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(OPENING) + 100}\r\n\r\n"
    url = answers(head.encode() + OPENING)

    with pytest.raises(urllib3.exceptions.ProtocolError):
        open_urllib3(url, STREAM_REQUEST).read()

    assert attributes(spans.one())["tokentrail.stream.exit"] == "broken"


def test_a_short_body_is_no_complete_one_for_a_client_that_does_not_mind(spans: Spans) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(OPENING) + 100}\r\n\r\n"
    url = answers(head.encode() + OPENING)
    response = open_urllib3(url, STREAM_REQUEST, enforce_content_length=False)

    read = b"".join(iter(lambda: response.read(10_000), b""))

    assert read == OPENING
    assert_exit(spans, "broken")
    assert attributes(spans.one())["error.type"] == "http.client.IncompleteRead"


FAULTS: Final = (
    *("_target", "_body", "_without_metadata", "_follow", "_is_read", "_end", "_ResponseHeaders", "_Watch"),
    *("_RequestHeaders.raw", "Exchange.respond", "Exchange.chunk", "Exchange.finish", "Exchange.close"),
    *("Exchange.enter", "Exchange.leave", "Exchange.fail"),
)


@pytest.mark.parametrize(
    ("opened", "chunks"), [STREAMS["urllib3_read1"], STREAMS["requests"]], ids=["urllib3_read1", "requests"]
)
@pytest.mark.parametrize("place", FAULTS)
def test_a_failure_of_ours_is_felt_by_nobody(
    place: str,
    opened: Any,
    chunks: Any,
    spans: Spans,
    server: SseServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("ours")

    holder, _, name = f"tokentrail.instrumentation.patch.urllib3_client.{place}".rpartition(".")
    fault: object = property(fails) if name == "raw" else fails
    server.script(sse_reply(*WHOLE_STREAM), sse_reply(OPENING, 0.05, Reset), sse_reply(OPENING, Hang))
    monkeypatch.setattr(guard, "strict", False)

    def use() -> tuple[bytes, bytes]:
        read = b"".join(chunks(opened(server.chat_url, STREAM_REQUEST)))
        with pytest.raises((urllib3.exceptions.ProtocolError, requests.exceptions.ChunkedEncodingError)):
            list(chunks(opened(server.chat_url, STREAM_REQUEST)))
        with opened(server.chat_url, STREAM_REQUEST) as response:
            first = next(chunks(response))
        gc.collect()
        return read, first

    with monkeypatch.context() as faulty:
        faulty.setattr(f"{holder}.{name}", fault)
        # A context of its own: what cannot be left stays current in it.
        read, first = copy_context().run(use)

    assert (read, first) == (STREAM, OPENING)
    spans.all()
    caplog.clear()  # that it was logged is shown with httpx
