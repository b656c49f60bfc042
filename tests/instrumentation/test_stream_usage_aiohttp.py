"""The usage of a stream is asked for over aiohttp too, and hidden in all ways of reading.

What an application must not notice is told by the same calls without the instrumentation, against the same server.
"""

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import aiohttp
import pytest

from support.aiohttp_calls import WAYS, Read
from support.http_shells import run
from support.span_log import Spans, attributes, output_text
from support.sse_server import (
    CHAT_REQUEST,
    CLAUDE_REQUEST,
    CLAUDE_STREAM,
    DONE,
    ROLE,
    STOP,
    STREAM_REQUEST,
    USAGE,
    WHOLE_STREAM,
    WORDS,
    Hang,
    Reply,
    Reset,
    SseServer,
    json_reply,
    sse_reply,
)
from tokentrail.instrumentation import TokentrailInstrumentor, guard
from tokentrail.instrumentation.stream_usage import UsageFilter

NOT_ASKING: Final[dict[str, Any]] = {**CHAT_REQUEST, "stream": True}
ASKED: Final = {**NOT_ASKING, "stream_options": {"include_usage": True}}
PIECES: Final = (ROLE, *WORDS, STOP, DONE)
WHAT_IS_SEEN: Final = b"".join(PIECES)
OPENING: Final = ROLE + WORDS[0]
PLAIN: Final = sse_reply(*PIECES)
STREAM: Final = b"".join(WHOLE_STREAM)
REFUSAL: Final = {"error": {"message": "Unrecognized request argument supplied: stream_options", "type": "x"}}
EVENTS: Final = {"content-type": "text/event-stream"}
ZIPPED: Final = gzip.compress(STREAM, mtime=0)

STREAMED: Final = {
    "chunked": sse_reply(*WHOLE_STREAM),
    "slow": sse_reply(*[step for piece in WHOLE_STREAM for step in (piece, 0.01)]),
    "with_length": Reply((STREAM,), 200, EVENTS),
    "in_sevens": sse_reply(*(STREAM[at : at + 7] for at in range(0, len(STREAM), 7))),
    "in_slow_pieces": sse_reply(
        *[step for at in range(0, len(STREAM), 150) for step in (STREAM[at : at + 150], 0.005)]
    ),
    "ending_with_usage": sse_reply(*PIECES, USAGE),
    "gzip": Reply((ZIPPED[:40], ZIPPED[40:41], ZIPPED[41:], b""), 200, {**EVENTS, "content-encoding": "gzip"}),
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
each_reply = pytest.mark.parametrize("reply", STREAMED.values(), ids=STREAMED)

ERROR: Final = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
_TEXT: Final = json.dumps(ERROR).encode()
_LONG: Final = json.dumps({**ERROR, "more": "x" * 2_000_000}).encode()
LONG_ERRORS: Final = [Reply((_LONG,), 400), Reply((_LONG[:70_000], _LONG[70_000:], b""), 404)]
ERRORS: Final = {
    "with_length": Reply((_TEXT,), 400),
    "chunked": Reply((_TEXT[:9], 0.01, _TEXT[9:], b""), 404),
    "gzip": Reply((gzip.compress(_TEXT, mtime=0),), 422, {"content-encoding": "gzip"}),
    "empty": Reply((b"",), 400),
    "of_another_kind": Reply((b"stream_options are wrong", b""), 429),
    "server_error": Reply((_TEXT,), 500),
}


async def post(url: str, read: Read, request: Any = NOT_ASKING, **settings: Any) -> bytes:
    """A response read to its end in a session of its own."""
    async with aiohttp.ClientSession(**settings) as session:
        return await read(await session.post(url, json=request))


def uninstrumented(server: SseServer, spans: Spans, call: Callable[[], Awaitable[Any]]) -> Any:
    """What `call` gives when nobody watches."""
    instrumentor = TokentrailInstrumentor()
    instrumentor.uninstrument()
    try:
        return run(call())  # type: ignore[arg-type]  # a coroutine
    finally:
        server.requests.clear()
        instrumentor.instrument(tracer_provider=spans.provider, logger_provider=spans.logger_provider)


@each_way
@each_reply
def test_a_stream_read_in_any_way_is_without_the_usage(
    way: Read, reply: Reply, spans: Spans, server: SseServer
) -> None:
    server.script(reply)

    read = run(post(server.chat_url, way))

    assert read == WHAT_IS_SEEN
    received = server.requests[0]
    assert json.loads(received.body) == ASKED
    assert received.header("content-length") == str(len(received.body))
    assert received.header("accept-encoding") == "identity"
    found = attributes(spans.one())
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (9, 4)
    assert found["tokentrail.stream.exit"] == "complete"
    assert output_text(spans.one()) == "Hi there you"
    assert "tokentrail.body.status" not in found


@each_way
@pytest.mark.parametrize("reply", [STREAMED["chunked"], STREAMED["slow"]], ids=["chunked", "slow"])
def test_an_application_that_asks_sees_what_it_would_see_without_us(
    way: Read, reply: Reply, spans: Spans, server: SseServer
) -> None:
    server.script(reply)

    assert run(post(server.chat_url, way, STREAM_REQUEST)) == STREAM
    assert json.loads(server.requests[0].body) == STREAM_REQUEST


@pytest.mark.parametrize("pause_s", [0.0, 0.01])
def test_chunks_stay_chunks(pause_s: float, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*[step for piece in WHOLE_STREAM for step in (piece, pause_s)]))

    async def chunks(response: Any) -> Any:
        await asyncio.sleep(0.03)
        found, piece = [], b""
        async for data, ended in response.content.iter_chunks():
            piece += data
            if ended:
                found.append(piece)
                piece = b""
        assert not piece
        return found

    assert run(post(server.chat_url, chunks)) == list(PIECES)


def test_a_body_that_is_raw_is_shown_decoded(spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["gzip"])

    async def read(response: Any) -> bytes:
        assert "content-encoding" not in response.headers
        return bytes(await response.read())

    assert run(post(server.chat_url, read, auto_decompress=False)) == WHAT_IS_SEEN
    assert attributes(spans.one())["gen_ai.usage.input_tokens"] == 9


def test_the_length_of_a_body_that_is_shown_in_part_is_not_told(spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["with_length"])

    async def read(response: Any) -> bytes:
        assert response.content_length is None
        assert "content-length" not in response.headers
        assert response.content_type == "text/event-stream"
        return bytes(await response.read())

    assert run(post(server.chat_url, read)) == WHAT_IS_SEEN


def test_an_event_is_shown_while_the_next_is_awaited(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, Hang))

    async def scenario() -> bytes:
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, json=NOT_ASKING) as response:
            return bytes(await response.content.readany())

    assert run(scenario()) == OPENING
    assert attributes(spans.one())["tokentrail.stream.exit"] == "closed"
    assert output_text(spans.one()) == "Hi"


def test_what_the_application_has_not_taken_is_not_what_it_was_told(spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["chunked"])

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, json=NOT_ASKING) as response:
            await asyncio.sleep(0.05)
            assert await response.content.readexactly(len(OPENING)) == OPENING

    run(scenario())
    found = attributes(spans.one())
    assert found["tokentrail.stream.exit"] == "closed"
    assert "gen_ai.usage.input_tokens" not in found


@pytest.mark.parametrize("encode", [lambda body: json.dumps(body), lambda body: json.dumps(body).encode()])
def test_the_application_s_request_stays_as_it_is(encode: Any, spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["chunked"])
    data, headers = encode(NOT_ASKING), {"X-Kept": "yes", "Accept-Encoding": "gzip", "Helicone-User-Id": "ann"}
    before = dict(headers)

    async def scenario() -> Any:
        async with aiohttp.ClientSession() as session:
            response = await session.post(server.chat_url, data=data, headers=headers)
            assert await response.read() == WHAT_IS_SEEN
            return response.request_info.headers

    told = run(scenario())

    assert headers == before
    assert (told["Accept-Encoding"], told["Helicone-User-Id"]) == ("gzip", "ann")
    assert told["Content-Length"] == str(len(data))
    received = server.requests[0]
    assert (received.header("x-kept"), received.header("helicone-user-id")) == ("yes", None)
    assert received.header("content-length") == str(len(received.body))
    assert received.header("accept-encoding") == "identity"
    assert attributes(spans.one())["user.id"] == "ann"


# Refusals and other errors ----------------------------------------------------------------------------------------

REFUSING: Final = {
    "with_length": json_reply(REFUSAL, 400),
    "chunked": Reply((json.dumps(REFUSAL).encode(), 0.01, b""), 404),
    "slow": Reply((json.dumps(REFUSAL).encode()[:20], 0.02, json.dumps(REFUSAL).encode()[20:], 0.02, b""), 404),
    "gzip": Reply((gzip.compress(json.dumps(REFUSAL).encode()),), 422, {"content-encoding": "gzip"}),
    "closing": json_reply(REFUSAL, 400, connection="close"),
    "long": Reply((json.dumps(REFUSAL).encode() + b" " * 2_000_000,), 400),
}


@pytest.mark.parametrize("way", [WAYS["read"], WAYS["lines"], WAYS["iter_chunks"]])
@pytest.mark.parametrize("refusal", REFUSING.values(), ids=REFUSING)
@pytest.mark.parametrize("limit", [1, 100])
def test_a_host_that_refuses_is_sent_the_request_as_it_was_and_not_asked_again(
    limit: int, way: Read, refusal: Reply, spans: Spans, server: SseServer
) -> None:
    server.script(refusal, PLAIN)

    async def scenario() -> list[bytes]:
        connector = aiohttp.TCPConnector(limit=limit)
        async with aiohttp.ClientSession(connector=connector, raise_for_status=True) as session:
            read = []
            for _ in range(3):
                async with session.post(
                    server.chat_url, json=NOT_ASKING, headers={"Helicone-User-Id": "a"}
                ) as response:
                    read.append(await way(response))
                    assert response.status == 200
                    assert response.request_info.headers["Helicone-User-Id"] == "a"
            return read

    assert run(scenario()) == [WHAT_IS_SEEN] * 3
    assert [json.loads(request.body) for request in server.requests] == [ASKED, NOT_ASKING, NOT_ASKING, NOT_ASKING]
    assert {request.header("helicone-user-id") for request in server.requests} == {None}
    assert server.requests[1].header("content-length") == str(len(server.requests[1].body))
    assert [attributes(span)["http.response.status_code"] for span in spans.calls()] == [200] * 3
    assert [attributes(span)["tokentrail.usage.status"] for span in spans.calls()] == ["missing"] * 3


def test_what_is_around_a_call_does_not_see_a_refusal(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(REFUSAL, 400), PLAIN)
    seen: list[object] = []

    async def middleware(request: Any, handler: Any) -> Any:
        response = await handler(request)
        seen.append(response.status)
        seen.append(bytes(request.body._value))
        return response

    async def ended(_: object, __: object, params: Any) -> None:
        seen.append(params.response.status)

    async def scenario() -> bytes:
        tracing = aiohttp.TraceConfig()
        tracing.on_request_end.append(ended)
        async with aiohttp.ClientSession(middlewares=(middleware,), trace_configs=[tracing]) as session:
            response = await session.post(server.chat_url, json=NOT_ASKING)
            return bytes(await response.read())

    assert run(scenario()) == WHAT_IS_SEEN
    assert seen == [200, json.dumps(NOT_ASKING).encode(), 200]


def test_a_refusal_after_a_redirect_is_that_of_the_request_that_followed(spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"",), 307, {"location": server.chat_url}), json_reply(REFUSAL, 400), PLAIN)

    assert run(post(server.chat_url, WAYS["read"])) == WHAT_IS_SEEN
    assert [json.loads(request.body) for request in server.requests] == [ASKED, ASKED, NOT_ASKING]
    assert [attributes(span)["http.response.status_code"] for span in spans.calls()] == [307, 200]


@each_way
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_any_other_error_is_read_as_without_us(way: Read, error: Reply, spans: Spans, server: SseServer) -> None:
    server.script(error)
    expected = uninstrumented(server, spans, lambda: post(server.chat_url, way))

    assert run(post(server.chat_url, way)) == expected
    assert len(server.requests) == 1
    assert attributes(spans.one())["http.response.status_code"] == error.status


@pytest.mark.parametrize("way", [WAYS["read"], WAYS["iter_any"], WAYS["iter_chunks"]])
@pytest.mark.parametrize("read_bufsize", [1024, 2**16])
@pytest.mark.parametrize("error", LONG_ERRORS, ids=["with_length", "chunked"])
def test_an_error_that_is_long_is_read_as_without_us(
    way: Read, error: Reply, read_bufsize: int, spans: Spans, server: SseServer
) -> None:
    server.script(error)

    assert run(post(server.chat_url, way, read_bufsize=read_bufsize)) == _LONG
    assert len(server.requests) == 1


@pytest.mark.parametrize("end", [Reset, Hang])
def test_an_error_that_breaks_off_does_so_where_it_is_read(end: Any, spans: Spans, server: SseServer) -> None:
    server.script(Reply((_TEXT[:20], 0.05, end), 400))

    async def outcome() -> Any:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=0.2)) as session:
            response = await session.post(server.chat_url, json=NOT_ASKING)
            status = response.status
            try:
                await response.read()
            except Exception as error:
                return status, type(error)

    expected = uninstrumented(server, spans, outcome)

    assert expected[0] == 400
    assert run(outcome()) == expected
    assert attributes(spans.one())["http.response.status_code"] == 400


def test_an_error_that_never_ends_is_left_when_the_time_of_the_call_is_over(spans: Spans, server: SseServer) -> None:
    server.script(Reply((_TEXT[:20], Hang), 400))

    with pytest.raises(TimeoutError):
        run(post(server.chat_url, WAYS["read"], timeout=aiohttp.ClientTimeout(total=0.3)))

    assert attributes(spans.one())["error.type"]


def test_a_call_that_is_cancelled_while_a_refusal_is_looked_at(spans: Spans, server: SseServer) -> None:
    server.script(Reply((_TEXT[:20], Hang), 400))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            task = asyncio.create_task(session.post(server.chat_url, json=NOT_ASKING))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(scenario())
    assert spans.one()


# Ends of streams --------------------------------------------------------------------------------------------------


def test_a_stream_that_breaks_off_shows_what_had_come(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, 0.05, Reset))

    async def scenario() -> bytes:
        read = b""
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, json=NOT_ASKING) as response:
            try:
                async for piece in response.content.iter_any():
                    read += piece
            except aiohttp.ClientError:
                return read
        raise AssertionError("the reset was not noticed")

    assert run(scenario()) == OPENING
    assert attributes(spans.one())["tokentrail.stream.exit"] == "broken"


def test_a_body_of_nothing_but_the_usage_is_empty(spans: Spans, server: SseServer) -> None:
    server.script(Reply((USAGE,), 200, EVENTS), sse_reply(0.02, USAGE))

    assert [run(post(server.chat_url, WAYS["read"])) for _ in range(2)] == [b"", b""]
    assert [attributes(span)["gen_ai.usage.input_tokens"] for span in spans.calls()] == [9, 9]
    assert [attributes(span)["tokentrail.stream.exit"] for span in spans.calls()] == ["complete", "complete"]


# Where nothing is asked -------------------------------------------------------------------------------------------


def test_the_switch_turns_it_off(server: SseServer, instrument: Callable[..., Spans]) -> None:
    spans = instrument(stream_usage=False)
    server.script(PLAIN)

    assert run(post(server.chat_url, WAYS["read"])) == WHAT_IS_SEEN

    assert json.loads(server.requests[0].body) == NOT_ASKING
    assert attributes(spans.one())["tokentrail.usage.status"] == "missing"


def test_nothing_is_asked_for_a_span_that_nobody_will_see(server: SseServer, instrument: Callable[..., Spans]) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    instrument(sampler=ALWAYS_OFF)
    server.script(PLAIN)

    assert run(post(server.chat_url, WAYS["read"])) == WHAT_IS_SEEN
    assert json.loads(server.requests[0].body) == NOT_ASKING


def test_other_formats_are_not_asked(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*CLAUDE_STREAM))
    body = {**CLAUDE_REQUEST, "stream": True}

    run(post(f"{server.url}/v1/messages", WAYS["read"], body))

    assert json.loads(server.requests[0].body) == body


async def _generated() -> AsyncIterator[bytes]:
    yield json.dumps(NOT_ASKING).encode()


@pytest.mark.parametrize(
    "settings",
    [
        {"data": json.dumps(NOT_ASKING), "headers": {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}},
        {"data": json.dumps(NOT_ASKING), "headers": {"Content-Digest": "sha-256=:x=:"}},
        {"data": json.dumps(NOT_ASKING), "compress": "gzip"},
        {"data": lambda: io.BytesIO(json.dumps(NOT_ASKING).encode())},
        {"data": _generated},
    ],
    ids=["signed", "digested", "compressed", "file", "generated"],
)
def test_a_request_that_cannot_be_replaced_is_not(settings: Any, spans: Spans, server: SseServer) -> None:
    server.script(PLAIN)

    async def scenario() -> bytes:
        data = settings["data"]() if callable(settings["data"]) else settings["data"]
        async with aiohttp.ClientSession() as session:
            response = await session.post(server.chat_url, **{**settings, "data": data})
            return bytes(await response.read())

    assert run(scenario()) == WHAT_IS_SEEN
    assert b"stream_options" not in server.requests[0].body


def test_a_body_that_a_middleware_changes_is_sent_as_it_made_it(spans: Spans, server: SseServer) -> None:
    server.script(PLAIN)
    other = json.dumps({**NOT_ASKING, "seed": 7}).encode()

    async def middleware(request: Any, handler: Any) -> Any:
        await request.update_body(other)
        return await handler(request)

    run(post(server.chat_url, WAYS["read"], middlewares=(middleware,)))

    assert server.requests[0].body == other


# Failures of ours -------------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("reply", [STREAMED["chunked"], STREAMED["in_slow_pieces"]], ids=["chunked", "in_slow_pieces"])
def test_a_failing_filter_shows_everything(
    way: Read, reply: Reply, spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, fed = UsageFilter.feed, []

    def fail_once(self: UsageFilter, data: bytes) -> bytes:
        fed.append(data)
        if len(fed) == 1:
            raise ZeroDivisionError
        return feed(self, data)

    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(UsageFilter, "feed", fail_once)
    server.script(reply)

    assert run(post(server.chat_url, way)) == STREAM


FAULTS: Final = (
    *("may_change", "replaced", "is_refusal", "hiding", "hide", "_refill", "_hiding", "Hidden.__init__", "Hidden._see"),
    *("Sending.asking", "Sending.give_back", "Sending.was_refused", "Sending.forget", "_looked_at", "Hidden.taken"),
)


@pytest.mark.parametrize("way", [WAYS["read"], WAYS["lines"], WAYS["iter_chunks"]])
@pytest.mark.parametrize("place", FAULTS)
def test_a_failure_of_ours_is_felt_by_nobody(
    way: Read, place: str, spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("ours")

    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(f"tokentrail.instrumentation.patch._aiohttp_usage.{place}", fails)
    server.script(json_reply(ERROR, 400), STREAMED["slow"])

    error, stream = (run(post(server.chat_url, way)) for _ in range(2))

    assert json.loads(error) == ERROR
    assert stream in (WHAT_IS_SEEN, STREAM)
    assert spans.calls()
