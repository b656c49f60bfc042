"""Every way in which reading a streamed response of aiohttp can end: one span each, with what was read by then."""

import asyncio
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from support.http_shells import run
from support.otlp_sink import listening
from support.span_log import Spans, attributes, output_text
from support.sse_server import (
    CLAUDE_BLOCK,
    CLAUDE_REQUEST,
    CLAUDE_START,
    CLAUDE_WORDS,
    ROLE,
    STREAM_REQUEST,
    WHOLE_STREAM,
    WORDS,
    Hang,
    Reset,
    SseServer,
    event,
    sse_reply,
)
from tokentrail.instrumentation import TokentrailInstrumentor

pytestmark = pytest.mark.usefixtures("quiet", "nothing_left_behind")

OPENING: Final = ROLE + WORDS[0]
"""What has arrived when a test stops reading: the text `Hi`."""
STREAM: Final[Any] = STREAM_REQUEST


async def _next_any(content: aiohttp.StreamReader) -> bytes:
    return await content.readany()


async def _next_some(content: aiohttp.StreamReader) -> bytes:
    return await content.read(len(OPENING))


async def _next_line(content: aiohttp.StreamReader) -> bytes:
    return await content.readline()


async def _next_chunk(content: aiohttp.StreamReader) -> bytes:
    return (await content.readchunk())[0]


async def _next_exact(content: aiohttp.StreamReader) -> bytes:
    return await content.readexactly(1)


Step = Callable[[aiohttp.StreamReader], Awaitable[bytes]]
"""Reads a piece."""
STEPS: Final[dict[str, Step]] = {
    "readany": _next_any,
    "read": _next_some,
    "readline": _next_line,
    "readchunk": _next_chunk,
    "readexactly": _next_exact,
}
each_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)


async def first(response: Any, step: Step = _next_any, wanted: bytes = OPENING) -> None:
    """Reads `wanted` and no more."""
    read = b""
    while len(read) < len(wanted):
        read += await step(response.content)
    assert read == wanted


leaves_it_open = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
"""aiohttp complains of what is left open, as it should."""


def stalls(server: SseServer) -> None:
    """Have the stream stop coming after its opening."""
    server.script(sse_reply(OPENING, Hang))


@asynccontextmanager
async def opened(server: SseServer, **settings: Any) -> AsyncIterator[aiohttp.ClientResponse]:
    """A response that is closed long after the test has done with it, and its session then."""
    async with aiohttp.ClientSession(**settings) as session:
        response = await session.post(server.chat_url, json=STREAM)
        yield response
        response.close()


def assert_exit(span: ReadableSpan, stream_exit: str, text: str = "Hi") -> None:
    found = attributes(span)
    assert found["tokentrail.stream.exit"] == stream_exit
    assert found["gen_ai.request.stream"] is True
    assert found["gen_ai.response.id"] == "chatcmpl-1"
    assert found["http.response.status_code"] == 200
    assert output_text(span) == text
    assert found["gen_ai.response.time_to_first_chunk"] <= found["tokentrail.response.time_to_first_token"]


def assert_broken(span: ReadableSpan, error_type: str, text: str = "Hi") -> None:
    assert_exit(span, "broken", text)
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == error_type


@each_step
@pytest.mark.parametrize("way", ["close", "release"])
def test_breaking_off_and_closing(way: str, step: Step, spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with opened(server) as response:
            await first(response, step)
            getattr(response, way)()
            assert_exit(spans.one(), "closed")

    run(scenario())

    assert spans.one().status.status_code is StatusCode.UNSET
    assert attributes(spans.one())["tokentrail.usage.status"] == "missing"


@each_step
def test_leaving_the_context_manager(step: Step, spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, json=STREAM) as response:
            await first(response, step)

    run(scenario())

    assert_exit(spans.one(), "closed")


@each_step
def test_reading_to_the_end_is_the_end_though_nothing_is_closed(step: Step, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM, 0.03))

    async def scenario() -> None:
        async with opened(server) as response:
            while not response.content.at_eof():
                await asyncio.gather(step(response.content), return_exceptions=True)
            assert_exit(spans.one(), "complete", "Hi there you")

    run(scenario())

    assert len(spans.calls()) == 1


def test_breaking_out_of_a_loop(spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, json=STREAM) as response:
            async for line in response.content:
                if b"Hi" in line:
                    break

    run(scenario())

    assert_exit(spans.one(), "closed")


@pytest.mark.parametrize("rest", [(), (Hang,), (0.1, Reset)], ids=["and the end", "and silence", "and a reset"])
def test_stopping_at_the_closing_event_is_complete(rest: Any, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM, *rest))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, json=STREAM) as response:
            async for line in response.content:
                if b"[DONE]" in line:
                    break
            await asyncio.sleep(0.15)

    run(scenario())
    span = spans.one()

    assert_exit(span, "complete", "Hi there you")
    assert attributes(span)["gen_ai.usage.output_tokens"] == 4
    assert span.status.status_code is StatusCode.UNSET


def test_an_exception_in_the_consumer(spans: Spans, server: SseServer) -> None:
    stalls(server)
    error = RuntimeError("the application's own")

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, json=STREAM) as response:
            await first(response)
            raise error

    with pytest.raises(RuntimeError) as caught:
        run(scenario())

    assert caught.value is error
    assert_exit(spans.one(), "closed")
    assert spans.one().status.status_code is StatusCode.UNSET


def test_a_generator_of_the_application_that_is_dropped(spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def lines(session: aiohttp.ClientSession) -> AsyncGenerator[bytes]:
        async with session.post(server.chat_url, json=STREAM) as response:
            async for line in response.content:
                yield line

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            async for line in lines(session):
                if b"Hi" in line:
                    break
            gc.collect()
            await asyncio.sleep(0.05)  # the loop closes asynchronous generators in tasks of its own
            assert_exit(spans.one(), "abandoned")

    run(scenario())

    assert len(spans.calls()) == 1


@leaves_it_open
@pytest.mark.parametrize("read", [True, False], ids=["in the middle", "unread"])
def test_dropping_the_response(read: bool, spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            response = await session.post(server.chat_url, json=STREAM)
            if read:
                await first(response)
            del response

    run(scenario())
    gc.collect()  # aiohttp ties a response and its connection together, until either is closed
    span = spans.one()

    assert attributes(span)["tokentrail.stream.exit"] == "abandoned"
    assert attributes(span)["http.response.status_code"] == 200
    if read:
        assert output_text(span) == "Hi"


def test_dropping_a_response_that_is_all_here_is_seen_when_its_connection_goes_on(
    spans: Spans, server: SseServer
) -> None:
    server.script(sse_reply(*WHOLE_STREAM))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            response = await session.post(server.chat_url, json=STREAM)
            await asyncio.sleep(0.05)
            gc.collect()
            gc.disable()
            try:
                dropped = weakref.ref(response)
                del response
                assert dropped() is None  # no cycle keeps it, as none does without the hook
                await (await session.get(server.url)).read()  # aiohttp keeps the reader until then
                assert attributes(spans.one())["tokentrail.stream.exit"] == "abandoned"
            finally:
                gc.enable()

    run(scenario())

    assert len(spans.calls()) == 1


def test_closing_the_session_under_a_response_that_is_kept(spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            response = await session.post(server.chat_url, json=STREAM)
            await first(response)
        assert spans.calls() == []
        response.close()

    run(scenario())

    assert_exit(spans.one(), "closed")


@leaves_it_open
@each_step
def test_reading_on_after_the_session_was_closed(step: Step, spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            response = await session.post(server.chat_url, json=STREAM)
            await first(response, step)
        await asyncio.sleep(0.02)
        with pytest.raises(RuntimeError, match="Connection closed"):
            await step(response.content)
        assert_broken(spans.one(), "RuntimeError")

    run(scenario())

    assert len(spans.calls()) == 1


@leaves_it_open
@each_step
@pytest.mark.parametrize("closed", ["by a context manager", "by nobody"])
@pytest.mark.parametrize("waiting", ["for the next piece", "for something else"])
def test_a_cancelled_task(closed: str, waiting: str, step: Step, spans: Spans, server: SseServer) -> None:
    stalls(server)
    reached = asyncio.Event()

    async def read(response: Any) -> None:
        await first(response, step)
        reached.set()
        if waiting == "for something else":
            await asyncio.sleep(30)
        await step(response.content)

    async def reader() -> None:
        async with aiohttp.ClientSession() as session:
            if closed == "by nobody":
                await read(await session.post(server.chat_url, json=STREAM))
            async with session.post(server.chat_url, json=STREAM) as response:
                await read(response)

    async def scenario() -> None:
        task = asyncio.create_task(reader())
        await reached.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario())
    gc.collect()
    span = spans.one()

    if (closed, waiting) == ("by nobody", "for something else"):
        assert_exit(span, "abandoned")
    else:
        assert_exit(span, "cancelled")
        assert attributes(span)["error.type"] == "asyncio.exceptions.CancelledError"


def test_a_cancelled_read_of_the_whole(spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with opened(server) as response:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(response.read(), 0.1)
            assert_exit(spans.one(), "cancelled")

    run(scenario())

    assert attributes(spans.one())["error.type"] == "asyncio.exceptions.CancelledError"


@each_step
def test_a_time_limit_for_a_piece_does_not_end_the_reading(step: Step, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, 0.15, *WHOLE_STREAM[2:]))

    async def scenario() -> int:
        waits = 0
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, json=STREAM) as response:
            await first(response, step)
            while not response.content.at_eof():
                try:
                    await asyncio.wait_for(step(response.content), 0.04)
                except TimeoutError:
                    waits += 1
        return waits

    waits = run(scenario())

    assert waits >= 1
    assert_exit(spans.one(), "complete", "Hi there you")
    assert attributes(spans.one())["gen_ai.usage.output_tokens"] == 4


def test_a_read_that_was_given_up_does_not_tell_how_a_later_one_ends(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(ROLE, 0.1, WORDS[0], Hang))

    async def scenario() -> None:
        async with opened(server) as response:
            await first(response, wanted=ROLE)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(response.content.readany(), 0.02)
            await first(response, wanted=WORDS[0])

    run(scenario())

    assert_exit(spans.one(), "closed")


def test_a_mistake_in_reading_does_not_end_the_reading(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM))

    async def scenario() -> None:
        async with opened(server) as response:
            with pytest.raises(ValueError, match="Separator"):
                await response.content.readuntil(b"")
            await response.read()

    run(scenario())

    assert_exit(spans.one(), "complete", "Hi there you")


@pytest.mark.parametrize("how", ["cancelled", "total", "sock_read"])
def test_giving_up_before_the_response(how: str, spans: Spans) -> None:
    limit = aiohttp.ClientTimeout(**{how: 0.1}) if how != "cancelled" else aiohttp.ClientTimeout()
    hanging = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hanging.wait()
        writer.close()

    async def scenario() -> type[BaseException]:
        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with aiohttp.ClientSession(timeout=limit) as session:
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/chat/completions"
            call = asyncio.ensure_future(session.post(url, json=STREAM))
            await asyncio.sleep(0.05)
            if how == "cancelled":
                call.cancel()
            with pytest.raises((TimeoutError, asyncio.CancelledError)) as caught:
                await call
        hanging.set()
        listener.close()
        await listener.wait_closed()
        return caught.type

    kind = run(scenario())
    span = spans.one()

    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    assert attributes(span)["error.type"] == f"{module}{kind.__qualname__}"
    assert span.status.status_code is StatusCode.ERROR


@each_step
@pytest.mark.parametrize("limit", ["total", "sock_read"])
def test_a_timeout_while_reading(limit: str, step: Step, spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> type[BaseException]:
        async with opened(server, timeout=aiohttp.ClientTimeout(**{limit: 0.2})) as response:
            await first(response, step)
            with pytest.raises(TimeoutError) as caught:
                await step(response.content)
            return caught.type

    kind = run(scenario())

    assert_broken(spans.one(), "TimeoutError" if limit == "total" else f"aiohttp.client_exceptions.{kind.__qualname__}")


@each_step
def test_a_timeout_between_two_reads(step: Step, spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> type[BaseException]:
        async with opened(server, timeout=aiohttp.ClientTimeout(sock_read=0.05)) as response:
            await first(response, step)
            await asyncio.sleep(0.15)
            assert spans.calls() == []  # the application has not been told yet
            with pytest.raises(aiohttp.ServerTimeoutError) as caught:
                await step(response.content)
            return caught.type

    kind = run(scenario())

    assert_broken(spans.one(), f"{kind.__module__}.{kind.__qualname__}")


@each_step
def test_a_connection_reset_in_the_middle(step: Step, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, 0.1, Reset))

    async def scenario() -> type[BaseException]:
        async with opened(server) as response:
            await first(response, step)
            with pytest.raises(aiohttp.ClientError) as caught:
                await step(response.content)
            return caught.type

    kind = run(scenario())

    assert_broken(spans.one(), f"{kind.__module__}.{kind.__qualname__}")


def test_a_body_shorter_than_announced_is_no_complete_one(spans: Spans) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(OPENING) + 100}\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode() + OPENING)
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with listener, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/chat/completions"
            response = await session.post(url, json=STREAM)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()

    run(scenario())

    assert_broken(spans.one(), "aiohttp.client_exceptions.ClientPayloadError")


def test_an_error_event_of_the_provider(spans: Spans, server: SseServer) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    server.script(sse_reply(CLAUDE_START, CLAUDE_BLOCK, CLAUDE_WORDS[0], event(error, "error")))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            response = await session.post(f"{server.url}/v1/messages", json={**CLAUDE_REQUEST, "stream": True})
            await response.read()

    run(scenario())
    span = spans.one()
    found = attributes(span)

    assert (found["tokentrail.stream.exit"], found["error.type"]) == ("broken", "overloaded_error")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "Overloaded")
    assert found["gen_ai.usage.input_tokens"] == 10
    assert output_text(span) == "Hi"


def test_every_exit_leaves_nothing_open(instrument: Callable[..., Spans], server: SseServer) -> None:
    spans = instrument()
    server.script(sse_reply(*WHOLE_STREAM), sse_reply(OPENING, Hang), sse_reply(OPENING, 0.05, Reset))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            await (await session.post(server.chat_url, json=STREAM)).read()
            async with session.post(server.chat_url, json=STREAM) as response:
                await first(response)
            response = await session.post(server.chat_url, json=STREAM)
            with pytest.raises(aiohttp.ClientError):
                await response.read()
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post("http://127.0.0.1:9/v1/chat/completions", json=STREAM)

    run(scenario())
    observer = TokentrailInstrumentor()._observer

    assert len(spans.calls()) == 4
    assert observer is not None
    assert observer._open == set()


def test_switching_off_finishes_what_is_open(spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with opened(server) as response:
            await first(response)
            TokentrailInstrumentor().uninstrument()
            assert_exit(spans.one(), "process_exit")
            response.close()

    run(scenario())

    assert len(spans.calls()) == 1


def test_streams_that_are_read_at_the_same_time_do_not_mix(spans: Spans, server: SseServer) -> None:
    server.script(*[sse_reply(*[step for piece in WHOLE_STREAM for step in (piece, 0.005)])] * 8)

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:

            async def one() -> None:
                async with session.post(server.chat_url, json=STREAM) as response:
                    async for _ in response.content.iter_any():
                        pass

            await asyncio.gather(*(one() for _ in range(8)))

    run(scenario())

    assert [output_text(span) for span in spans.calls()] == ["Hi there you"] * 8
    assert {attributes(span)["tokentrail.stream.exit"] for span in spans.calls()} == {"complete"}


_PROGRAM: Final = """
import asyncio
import sys
import aiohttp
KEPT = []

async def main():
    KEPT.append(aiohttp.ClientSession())
    KEPT.append(await KEPT[0].post(sys.argv[1], json={body!r}))
    assert b"Hi" in await KEPT[1].content.readany()

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
{ending}
"""


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)"])
def test_a_stream_that_is_open_when_the_process_ends(server: SseServer, tmp_path: Path, ending: str) -> None:
    stalls(server)
    program = tmp_path / "reporter.py"
    program.write_text(_PROGRAM.format(body=STREAM_REQUEST, ending=ending), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "TOKENTRAIL_"))}

    with listening() as sink:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.endpoint
        done = subprocess.run(
            [Path(sys.executable).parent / "opentelemetry-instrument", sys.executable, program, server.chat_url],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        found = sink.spans()

    assert done.returncode == {"pass": 0, "sys.exit(3)": 3}[ending]
    assert "Tokentrail" not in done.stderr
    assert "detach" not in done.stderr
    assert [span.attributes["tokentrail.stream.exit"] for span in found if span.name.startswith("chat")] == [
        "process_exit"
    ]
