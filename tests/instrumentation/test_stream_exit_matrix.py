"""Every wire format that streams, left in every way there is: one span each, with what had arrived by then."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from support import worker_process
from support.http_shells import SHELLS, Shell, forget_iterators
from support.otlp_sink import listening
from support.reroute import async_transport, sync_transport
from support.span_log import Spans, attributes
from support.sse_server import Hang, Reset, Step
from support.stream_cases import (
    CASE_HEADER,
    CASES,
    ERROR_CASES,
    REPLY_HEADER,
    Arrived,
    CaseServer,
    StreamCase,
    arrived,
    serving_cases,
    streaming_formats,
)
from tokentrail.instrumentation import session
from tokentrail.instrumentation.framing import FRAMINGS
from tokentrail.instrumentation.wire import WIRE_FORMATS

pytestmark = pytest.mark.usefixtures("quiet")

_AT_ONCE: Final = 32
"""Threads that synchronous clients are used in."""
_PATIENCE_S: Final = 0.7
"""How long a client waits for the next piece where that is what ends its stream."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a span says of how its stream ended, and of what had come."""

    exit: str
    arrived: Arrived
    error: str = ""
    failed: bool = False


@pytest.fixture
def provider() -> Iterator[CaseServer]:
    """All providers in one, on a local port."""
    with serving_cases() as server:
        yield server


@dataclass(frozen=True, slots=True)
class Call:
    """A streamed request that a scenario makes, and then leaves in its way."""

    shell: Shell
    client: Any
    case: StreamCase

    @property
    def arguments(self) -> dict[str, Any]:
        """What goes with the URL."""
        name = self.case.fixture
        headers = {REPLY_HEADER: name, CASE_HEADER: name}
        return {"json": self.case.content["request"], "headers": headers, "timeout": 20.0}

    async def open(self, **changes: Any) -> Any:
        """The response, unread."""
        return await self.shell.open(self.client, self.case.url, **{**self.arguments, **changes})

    async def read_opening(self, response: Any) -> None:
        """Read what has come when a scenario leaves."""
        await self.shell.first(response, self.case.opening_bytes)

    def stream(self) -> Any:
        """The client's own context manager around a response."""
        return self.client.stream("POST", self.case.url, **self.arguments)


Scenario = Callable[[Call], Awaitable[None]]


async def _use(
    scenario: Scenario, shell: Shell, provider: CaseServer, cases: Iterable[StreamCase], meanwhile: Callable[[], None]
) -> None:
    """Have every case go through `scenario` at the same time: as tasks of one loop, or in threads."""
    make_transport = async_transport if shell.asynchronous else sync_transport
    async with shell.client(transport=make_transport(shell.library, provider.server_port)) as client:
        calls = [Call(shell, client, case) for case in cases]
        if shell.asynchronous:
            await asyncio.gather(*map(scenario, calls))
        else:
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                list(threads.map(lambda call: asyncio.run(_awaited(scenario(call))), calls))
        forget_iterators()
        gc.collect()  # httpx ties a response and its stream together
        if shell.asynchronous:
            await asyncio.sleep(0.1)  # the loop closes asynchronous generators in tasks of its own
            gc.collect()
        meanwhile()


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable


def leave(
    scenario: Scenario,
    shell: Shell,
    provider: CaseServer,
    spans: Spans,
    *steps: Step,
    body: Callable[[StreamCase], list[bytes]] = lambda case: case.events[: case.opening_events],
    cases: Iterable[StreamCase] = CASES,
) -> dict[str, list[ReadableSpan]]:
    """The spans of each case after `scenario`, with `body` and then `steps` as what its provider sends."""
    provider.replies = {case.fixture: case.reply(*body(case), *steps) for case in cases}
    found: dict[str, list[ReadableSpan]] = {case.fixture: [] for case in cases}

    def collect() -> None:
        for span in spans.calls():
            found[attributes(span)["tokentrail.property.Case"]].append(span)

    asyncio.run(_use(scenario, shell, provider, cases, collect))
    assert len(spans.calls()) == sum(map(len, found.values()))
    return found


def seen(spans: list[ReadableSpan]) -> list[Seen]:
    said = [(span, attributes(span)) for span in spans]
    return [
        Seen(
            found["tokentrail.stream.exit"],
            arrived(found),
            found.get("error.type", ""),
            span.status.status_code is StatusCode.ERROR,
        )
        for span, found in said
    ]


def assert_seen(found: dict[str, list[ReadableSpan]], expected: Callable[[StreamCase], Seen]) -> None:
    cases = [case for case in (*CASES, *ERROR_CASES) if case.fixture in found]
    assert {name: seen(spans) for name, spans in found.items()} == {case.fixture: [expected(case)] for case in cases}


def everything(case: StreamCase) -> list[bytes]:
    return case.events


def test_every_format_and_framing_that_streams_is_in_the_matrix() -> None:
    media_types = {str(case.content["content_type"]).partition(";")[0] for case in CASES}

    assert {case.format for case in CASES} == streaming_formats()
    assert streaming_formats() <= {wire.name for wire in WIRE_FORMATS}
    assert {FRAMINGS[name] for name in media_types - {"application/json"}} == set(FRAMINGS.values())
    assert "application/json" in media_types


def test_the_end_of_the_body(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    async def scenario(call: Call) -> None:
        response = await call.open()
        assert await call.shell.read(response) == b"".join(call.case.events)

    found = leave(scenario, shell, provider, spans, body=everything)

    assert_seen(found, lambda case: Seen("complete", case.whole))


def test_a_break_out_of_the_loop_and_the_context_manager(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    async def scenario(call: Call) -> None:
        if shell.asynchronous:
            async with call.stream() as response:
                async for _ in _until(call, response.aiter_raw()):
                    break
        else:
            with call.stream() as response:
                await call.read_opening(response)

    found = leave(scenario, shell, provider, spans, Hang)

    assert_seen(found, lambda case: Seen("closed", case.opening))


async def _until(call: Call, pieces: Any) -> Any:
    """The opening, in one, from asynchronous `pieces`."""
    read = b""
    async for piece in pieces:
        read += piece
        if read == call.case.opening_bytes:
            yield read


def test_closing(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    async def scenario(call: Call) -> None:
        response = await call.open()
        await call.read_opening(response)
        await call.shell.close(response)

    found = leave(scenario, shell, provider, spans, Hang)

    assert_seen(found, lambda case: Seen("closed", case.opening))


def test_an_exception_in_the_consumer(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    async def consume(call: Call, error: Exception) -> None:
        if shell.asynchronous:
            async with call.stream() as response:
                await call.read_opening(response)
                raise error
        with call.stream() as response:
            await call.read_opening(response)
            raise error

    async def scenario(call: Call) -> None:
        error = RuntimeError("the application's own")
        with pytest.raises(RuntimeError) as caught:
            await consume(call, error)
        assert caught.value is error

    found = leave(scenario, shell, provider, spans, Hang)

    assert_seen(found, lambda case: Seen("closed", case.opening))


def test_a_cancelled_task(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    if not shell.asynchronous:
        pytest.skip("a synchronous client cannot be cancelled")

    async def consume(call: Call, reached: asyncio.Event) -> None:
        async with call.stream() as response:
            await call.read_opening(response)
            reached.set()
            await call.shell.first(response, b"more that does not come")

    async def scenario(call: Call) -> None:
        reached = asyncio.Event()
        task = asyncio.create_task(consume(call, reached))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    found = leave(scenario, shell, provider, spans, Hang)

    assert_seen(found, lambda case: Seen("cancelled", case.opening, "asyncio.exceptions.CancelledError", failed=True))


def test_a_read_timeout(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    library = shell.library

    async def scenario(call: Call) -> None:
        response = await call.open(timeout=library.Timeout(20.0, read=_PATIENCE_S))
        with pytest.raises(library.ReadTimeout):
            await call.shell.read(response)

    found = leave(scenario, shell, provider, spans, Hang)

    assert_seen(found, lambda case: Seen("broken", case.opening, f"{library.__name__}.ReadTimeout", failed=True))


def test_a_connection_that_is_reset(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    raised: dict[str, str] = {}

    async def scenario(call: Call) -> None:
        response = await call.open()
        with pytest.raises(shell.library.TransportError) as caught:
            await call.shell.read(response)
        raised[call.case.fixture] = f"{shell.library.__name__}.{type(caught.value).__name__}"

    found = leave(scenario, shell, provider, spans, 0.1, Reset)

    assert_seen(found, lambda case: Seen("broken", case.opening, raised[case.fixture], failed=True))


def test_an_error_that_the_provider_sends_in_the_stream(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    async def scenario(call: Call) -> None:
        response = await call.open()
        assert await call.shell.read(response) == b"".join(call.case.events)

    found = leave(scenario, shell, provider, spans, body=everything, cases=ERROR_CASES)

    assert_seen(found, lambda case: Seen("broken", case.whole, case.error[0], failed=True))
    described = {name: span.status.description for name, (span,) in found.items()}
    assert described == {case.fixture: case.error[1] for case in ERROR_CASES}


def test_a_response_that_is_dropped(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    async def scenario(call: Call) -> None:
        await call.read_opening(await call.open())

    found = leave(scenario, shell, provider, spans, Hang)

    assert_seen(found, lambda case: Seen("abandoned", case.opening))


def test_a_response_that_is_dropped_unread(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    async def scenario(call: Call) -> None:
        await call.open()

    found = leave(scenario, shell, provider, spans, Hang)

    assert_seen(found, lambda _: Seen("abandoned", Arrived()))


def test_a_generator_around_a_stream_that_is_dropped(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    """An asynchronous one is closed by its loop, in a task and a context that never entered what it leaves."""

    def pieces(call: Call) -> Iterator[bytes]:
        with session("s-1"), call.stream() as response:
            yield from response.iter_raw()

    async def apieces(call: Call) -> Any:
        with session("s-1"):
            async with call.stream() as response:
                async for piece in response.aiter_raw():
                    yield piece

    async def scenario(call: Call) -> None:
        read = b""
        if shell.asynchronous:
            async for piece in apieces(call):
                read += piece
                if read == call.case.opening_bytes:
                    break
        else:
            for piece in pieces(call):
                read += piece
                if read == call.case.opening_bytes:
                    break

    found = leave(scenario, shell, provider, spans, Hang)

    assert_seen(found, lambda case: Seen("abandoned", case.opening))
    assert {attributes(span)["session.id"] for (span,) in found.values()} == {"s-1"}


def test_a_stream_read_where_it_was_not_opened(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    """Each piece by another thread of an executor, or the whole by another task; closed by a third."""
    handlers: dict[str, Any] = {}

    async def read(call: Call, response: Any) -> bytes:
        return await call.shell.read(response)

    async def scenario(call: Call) -> None:
        with session("s-1"), spans.provider.get_tracer("application").start_as_current_span("handler") as handler:
            handlers[call.case.fixture] = handler.get_span_context()
            response = await call.open()
        if shell.asynchronous:
            body = await asyncio.create_task(read(call, response))
            await asyncio.create_task(call.shell.close(response))
        else:
            pieces = response.iter_raw()
            body = b"".join([piece async for piece in _by_threads(pieces)])
            await asyncio.to_thread(response.close)
        assert body == b"".join(call.case.events)

    found = leave(scenario, shell, provider, spans, body=everything)

    assert_seen(found, lambda case: Seen("complete", case.whole))
    assert {name: span.parent for name, (span,) in found.items()} == handlers
    assert {attributes(span)["session.id"] for (span,) in found.values()} == {"s-1"}


async def _by_threads(pieces: Iterator[bytes]) -> Any:
    while True:
        with ThreadPoolExecutor(1) as other:
            piece = await asyncio.get_running_loop().run_in_executor(other, next, pieces, None)
        if piece is None:
            return
        yield piece


@pytest.mark.parametrize("way", ["closed", "dropped"])
def test_a_stream_read_to_its_last_event_is_complete_and_over_then(
    shell: Shell, provider: CaseServer, spans: Spans, way: str
) -> None:
    last_ns: dict[str, int] = {}

    async def scenario(call: Call) -> None:
        response = await call.open()
        await call.shell.first(response, b"".join(call.case.events))
        last_ns[call.case.fixture] = time.time_ns()
        await asyncio.sleep(0.2)
        if way == "closed":
            await call.shell.close(response)

    found = leave(scenario, shell, provider, spans, Hang, body=everything)

    assert_seen(found, lambda case: Seen("complete", case.whole))
    late = {name: (span.end_time or 0) - last_ns[name] for name, (span,) in found.items()}
    assert {name: ns for name, ns in late.items() if ns > 50_000_000} == {}


def test_claude_is_complete_when_it_has_said_why_it_stops(shell: Shell, provider: CaseServer, spans: Spans) -> None:
    (claude,) = (case for case in CASES if case.format == "anthropic_messages")

    async def scenario(call: Call) -> None:
        response = await call.open()
        await call.shell.first(response, b"".join(claude.events[:-1]))

    found = leave(scenario, shell, provider, spans, Hang, body=lambda case: case.events[:-1], cases=[claude])

    assert b"message_stop" in claude.events[-1]
    assert_seen(found, lambda case: Seen("complete", case.whole))


def test_a_process_that_ends_while_its_streams_are_open(provider: CaseServer, tmp_path: Path) -> None:
    provider.replies = {case.fixture: case.reply(*case.events[: case.opening_events], Hang) for case in CASES}
    worker = Path(worker_process.__file__).with_name("open_streams_worker.py")

    with listening() as sink:
        opened = worker_process.run(
            worker, provider.server_port, outcomes=tmp_path / "opened.jsonl", otlp_endpoint=sink.endpoint
        )
        found = [span.attributes for span in sink.spans() if "gen_ai.operation.name" in span.attributes]

    told = {
        (said["tokentrail.property.Shell"], said["tokentrail.property.Case"]): (
            said["tokentrail.stream.exit"],
            arrived(said),
        )
        for said in found
    }
    assert len(found) == len(opened) == len(CASES) * len(SHELLS)
    assert told == {(shell.name, case.fixture): ("process_exit", case.opening) for shell in SHELLS for case in CASES}
