"""Every way in which reading a streamed response can end: one span each, with what had arrived by then."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from support.http_shells import Shell, forget_iterators, run
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

pytestmark = pytest.mark.usefixtures("quiet")

OPENING = ROLE + WORDS[0]
"""What has arrived when a test stops reading: the text `Hi`."""


def stalls(server: SseServer) -> None:
    """Have the stream stop coming after its opening."""
    server.script(sse_reply(OPENING, Hang))


def assert_exit(span: ReadableSpan, stream_exit: str, text: str = "Hi") -> None:
    found = attributes(span)
    assert found["tokentrail.stream.exit"] == stream_exit
    assert found["gen_ai.request.stream"] is True
    assert found["gen_ai.response.id"] == "chatcmpl-1"
    assert found["gen_ai.response.model"] == "gpt-4o-mini-2024-07-18"
    assert output_text(span) == text
    assert found["gen_ai.response.time_to_first_chunk"] <= found["tokentrail.response.time_to_first_token"]


def test_breaking_off_and_closing(any_shell: Shell, spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with any_shell.client() as client:
            response = await any_shell.open(client, server.chat_url, json=STREAM_REQUEST)
            await any_shell.first(response)
            await any_shell.close(response)

    run(scenario())
    span = spans.one()

    assert_exit(span, "closed")
    assert span.status.status_code is StatusCode.UNSET
    assert "gen_ai.usage.output_tokens" not in attributes(span)
    assert attributes(span)["tokentrail.usage.status"] == "missing"


def test_leaving_the_context_manager(shell: Shell, spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with shell.client() as client:
            stream = client.stream("POST", server.chat_url, json=STREAM_REQUEST)
            if shell.asynchronous:
                async with stream as response:
                    await shell.first(response)
            else:
                with stream as response:
                    await shell.first(response)

    run(scenario())

    assert_exit(spans.one(), "closed")


def test_stopping_at_the_closing_event_is_complete(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM, Hang))

    async def scenario() -> None:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            await shell.first(response, b"[DONE]")
            await shell.close(response)

    run(scenario())
    span = spans.one()

    assert_exit(span, "complete", "Hi there you")
    assert attributes(span)["gen_ai.usage.output_tokens"] == 4


def test_an_exception_in_the_consumer(shell: Shell, spans: Spans, server: SseServer) -> None:
    stalls(server)
    error = RuntimeError("the application's own")

    async def scenario() -> None:
        async with shell.client() as client:
            stream = client.stream("POST", server.chat_url, json=STREAM_REQUEST)
            if shell.asynchronous:
                async with stream as response:
                    await shell.first(response)
                    raise error
            with stream as response:
                await shell.first(response)
                raise error

    with pytest.raises(RuntimeError) as caught:
        run(scenario())
    span = spans.one()

    assert caught.value is error
    assert_exit(span, "closed")
    assert span.status.status_code is StatusCode.UNSET


def test_a_response_dropped_unread(shell: Shell, spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            del response
            gc.collect()
            found = spans.one()
            assert attributes(found)["tokentrail.stream.exit"] == "abandoned"
            assert attributes(found)["http.response.status_code"] == 200

    run(scenario())

    assert len(spans.calls()) == 1


def test_a_response_dropped_while_it_is_read(shell: Shell, spans: Spans, server: SseServer) -> None:
    stalls(server)

    async def scenario() -> None:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            await shell.first(response)
            del response
            forget_iterators()
            gc.collect()
            await asyncio.sleep(0.05)  # the loop closes asynchronous generators in tasks of its own
            gc.collect()  # httpx ties a response and its stream together

    run(scenario())
    span = spans.one()

    # Also where the generators of the library close the response as they go.
    assert_exit(span, "abandoned")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the socket outlives its loop, which is what is tested
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # and asyncio's transport complains
def test_a_response_dropped_after_its_loop_was_closed(spans: Spans, server: SseServer, shell: Shell) -> None:
    if not shell.asynchronous:
        pytest.skip("a synchronous client has no loop")
    stalls(server)
    kept: list[Any] = []

    async def scenario() -> None:
        client = shell.make()
        response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
        await shell.first(response)
        kept.extend((client, response))

    # `asyncio.run` would close the generators.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(scenario())
    loop.close()
    assert spans.calls() == []
    kept.clear()
    forget_iterators()
    gc.collect()
    span = spans.one()

    assert attributes(span)["tokentrail.stream.exit"] == "abandoned"
    assert output_text(span) == "Hi"


@pytest.mark.parametrize("waiting", ["for the next piece", "for something else"])
def test_a_cancelled_task(any_shell: Shell, spans: Spans, server: SseServer, waiting: str) -> None:
    if not any_shell.asynchronous:
        pytest.skip("a synchronous client cannot be cancelled")
    stalls(server)
    reached = asyncio.Event()

    async def reader() -> None:
        async with (
            any_shell.client() as client,
            client.stream("POST", server.chat_url, json=STREAM_REQUEST) as response,
        ):
            await any_shell.first(response)
            reached.set()
            if waiting == "for something else":
                await asyncio.sleep(30)
            async for _ in response.stream:
                pass

    async def scenario() -> None:
        task = asyncio.create_task(reader())
        await reached.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario())
    span = spans.one()

    assert_exit(span, "cancelled")
    assert attributes(span)["error.type"] == "asyncio.exceptions.CancelledError"


def test_a_request_cancelled_before_its_response(any_shell: Shell, spans: Spans, server: SseServer) -> None:
    if not any_shell.asynchronous:
        pytest.skip("a synchronous client cannot be cancelled")
    server.script(sse_reply(1.0, *WHOLE_STREAM))
    server._script[0] = type(server._script[0])((0.4, b""), 200, {})

    async def scenario() -> None:
        async with any_shell.client() as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await any_shell.post(client, f"{server.url}/slow/v1/chat/completions", json=STREAM_REQUEST)

    run(scenario())

    assert attributes(spans.one())["error.type"] == "asyncio.exceptions.CancelledError"


def test_a_read_timeout(any_shell: Shell, spans: Spans, server: SseServer) -> None:
    stalls(server)
    library = any_shell.library

    async def scenario() -> None:
        async with any_shell.client(timeout=library.Timeout(5.0, read=0.2)) as client:
            response = await any_shell.open(client, server.chat_url, json=STREAM_REQUEST)
            with pytest.raises(library.ReadTimeout) as caught:
                await any_shell.read(response)
            assert caught.value.request is response.request

    run(scenario())
    span = spans.one()

    assert_exit(span, "broken")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == f"{library.__name__}.ReadTimeout"


def test_a_connection_reset_in_the_middle(any_shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, 0.1, Reset))
    library = any_shell.library

    async def scenario() -> None:
        async with any_shell.client() as client:
            response = await any_shell.open(client, server.chat_url, json=STREAM_REQUEST)
            with pytest.raises(library.TransportError):
                await any_shell.read(response)

    run(scenario())
    span = spans.one()

    assert_exit(span, "broken")
    assert span.status.status_code is StatusCode.ERROR
    assert str(attributes(span)["error.type"]).startswith(f"{library.__name__}.")


def test_an_error_event_of_the_provider(shell: Shell, spans: Spans, server: SseServer) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    server.script(sse_reply(CLAUDE_START, CLAUDE_BLOCK, CLAUDE_WORDS[0], event(error, "error")))

    async def scenario() -> None:
        async with shell.client() as client:
            body = {**CLAUDE_REQUEST, "stream": True}
            response = await shell.open(client, f"{server.url}/v1/messages", json=body)
            await shell.read(response)

    run(scenario())
    span = spans.one()
    found = attributes(span)

    assert found["tokentrail.stream.exit"] == "broken"
    assert found["error.type"] == "overloaded_error"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "Overloaded")
    assert found["gen_ai.usage.input_tokens"] == 10
    assert output_text(span) == "Hi"


def test_every_exit_leaves_nothing_open(shell: Shell, instrument: Callable[..., Spans], server: SseServer) -> None:
    from tokentrail.instrumentation import TokentrailInstrumentor

    spans = instrument()
    server.script(sse_reply(*WHOLE_STREAM), sse_reply(OPENING, Hang), sse_reply(OPENING, Reset))

    async def scenario() -> None:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            await shell.read(response)
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            await shell.first(response)
            await shell.close(response)
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            with pytest.raises(shell.library.TransportError):
                await shell.read(response)

    run(scenario())
    observer = TokentrailInstrumentor()._observer

    assert len(spans.calls()) == 3
    assert observer is not None
    assert observer._open == set()


def test_switching_off_finishes_what_is_open(shell: Shell, spans: Spans, server: SseServer) -> None:
    from tokentrail.instrumentation import TokentrailInstrumentor

    stalls(server)

    async def scenario() -> None:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            await shell.first(response)
            TokentrailInstrumentor().uninstrument()
            assert_exit(spans.one(), "process_exit")
            await shell.close(response)

    run(scenario())

    assert len(spans.calls()) == 1
