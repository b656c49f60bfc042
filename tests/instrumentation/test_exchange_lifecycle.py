"""Exchanges beyond one call: retries, memory, forks, process exit, the threads and loops they must not hold up."""

import gc
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.trace import StatusCode

from support.http_shells import SHELLS, Shell, run
from support.otlp_sink import listening
from support.span_log import Spans, attributes, output_text
from support.sse_server import (
    CHAT_REQUEST,
    CHAT_RESPONSE,
    ROLE,
    STREAM_REQUEST,
    WHOLE_STREAM,
    WORDS,
    Hang,
    SseServer,
    json_reply,
    sse_reply,
)
from tokentrail.instrumentation import exchange
from tokentrail.instrumentation.body import BodyReader
from tokentrail.semconv.genai import StreamExit

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("transport", ["httpx2", "aiohttp"])
def test_a_retry_of_the_sdk_is_a_span_of_its_own(
    spans: Spans, server: SseServer, asynchronous: bool, transport: str
) -> None:
    openai = pytest.importorskip("openai")
    if transport == "aiohttp" and not asynchronous:
        pytest.skip("aiohttp is asynchronous")
    limited = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}
    server.script(json_reply(limited, 429, retry_after_ms="20", retry_after="1"), json_reply(CHAT_RESPONSE))
    settings: dict[str, Any] = {"api_key": "sk-test-12345678", "base_url": f"{server.url}/v1", "max_retries": 2}

    async def scenario() -> Any:
        if not asynchronous:
            with openai.OpenAI(**settings) as client:
                return client.chat.completions.create(**CHAT_REQUEST)
        http = openai.DefaultAioHttpClient() if transport == "aiohttp" else None
        async with openai.AsyncOpenAI(**settings, http_client=http) as client:
            return await client.chat.completions.create(**CHAT_REQUEST)

    completion = run(scenario())
    first, second = spans.calls()

    assert completion.choices[0].message.content == "Hi there"
    assert attributes(first)["tokentrail.request.retry_count"] == 0
    assert attributes(first)["error.type"] == "rate_limit_exceeded"
    assert attributes(first)["http.response.status_code"] == 429
    assert attributes(first)["tokentrail.ratelimit.retry_after"] == 0.02
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "Rate limit reached")
    assert attributes(first)["tokentrail.pricing.status"] == "failed"
    assert attributes(second)["tokentrail.request.retry_count"] == 1
    assert second.status.status_code is StatusCode.UNSET
    assert attributes(second)["gen_ai.usage.output_tokens"] == 4


@pytest.mark.parametrize("shell", SHELLS[2:], ids=lambda shell: shell.name)
def test_memory_does_not_grow(shell: Shell, instrument: Callable[..., Spans]) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    from tokentrail.instrumentation import flush

    spans = instrument(ALWAYS_ON)
    spans.provider._active_span_processor._span_processors = spans.provider._active_span_processor._span_processors[:1]
    library = shell.library
    body = json.dumps(CHAT_RESPONSE).encode()
    headers = {"content-type": "application/json"}

    async def use(calls: int) -> None:
        transport = library.MockTransport(lambda request: library.Response(200, headers=headers, content=body))
        async with shell.client(transport=transport) as client:
            for _ in range(calls):
                await shell.post(client, "https://api.openai.com/v1/chat/completions", json=CHAT_REQUEST)

    def live_after(calls: int) -> int:
        run(use(calls))
        assert flush()
        gc.collect()
        return len(gc.get_objects())

    live_after(500)
    objects_before, peak_before = live_after(100), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    objects_after, peak_after = (
        live_after(5_000 if shell.asynchronous else 20_000),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )

    assert objects_after - objects_before < 500
    assert peak_after - peak_before < 40 * 1024  # kilobytes; waiting jobs are bounded, and no more than that


def test_a_reader_that_is_busy_does_not_hold_up_the_application(
    shell: Shell, spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long streams are read in parts while they come; ending one must not wait for the part at hand."""
    monkeypatch.setattr(exchange, "_HAND_OVER_BYTES", 1)
    reading, release = threading.Event(), threading.Event()
    feed = BodyReader.feed

    def slow_feed(self: Any, ticks: int, data: bytes) -> None:
        reading.set()
        release.wait(5)
        feed(self, ticks, data)

    monkeypatch.setattr(BodyReader, "feed", slow_feed)
    server.script(sse_reply(ROLE, WORDS[0], Hang))

    async def scenario() -> float:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            await shell.first(response)
            assert reading.wait(5)
            started = time.monotonic()
            await shell.close(response)
            return time.monotonic() - started

    took = run(scenario())
    release.set()

    assert took < 1
    assert attributes(spans.one())["tokentrail.stream.exit"] == "closed"


def test_a_long_stream_is_read_in_parts(shell: Shell, spans: Spans, server: SseServer) -> None:
    long = tuple(WORDS[0].replace(b"Hi", b"word" * 50) for _ in range(4_000))
    server.script(sse_reply(ROLE, *long, *WHOLE_STREAM[-3:]))

    async def scenario() -> int:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            return len(await shell.read(response))

    length = run(scenario())
    found = attributes(spans.one())

    assert length > 4 * exchange._HAND_OVER_BYTES
    assert found["gen_ai.usage.output_tokens"] == 4
    assert found["tokentrail.stream.exit"] == "complete"


def test_a_chunk_that_comes_while_others_are_read_is_not_lost(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokentrail.instrumentation import TokentrailInstrumentor
    from tokentrail.instrumentation.body import BodyReader

    observer = TokentrailInstrumentor()._observer
    assert observer is not None
    body = json.dumps(STREAM_REQUEST).encode()
    found = observer.begin("api.openai.com", 443, "/v1/chat/completions", body, httpx2.Headers())
    assert found is not None
    found.respond(200, [(b"content-type", b"text/event-stream")])
    late = list(WHOLE_STREAM[1:])
    feed = BodyReader.feed

    def feed_while_more_comes(self: BodyReader, ticks: int, data: bytes) -> None:
        feed(self, ticks, data)
        if late:
            found.chunk(late.pop(0))

    monkeypatch.setattr(BodyReader, "feed", feed_while_more_comes)
    found.chunk(WHOLE_STREAM[0])
    while late:
        found.work()
    found.finish(StreamExit.COMPLETE)

    assert attributes(spans.one())["gen_ai.usage.output_tokens"] == 4
    assert output_text(spans.one()) == "Hi there you"


def test_an_exchange_is_recorded_once_however_often_it_ends(spans: Spans) -> None:
    from tokentrail.instrumentation import TokentrailInstrumentor

    observer = TokentrailInstrumentor()._observer
    assert observer is not None
    body = json.dumps(STREAM_REQUEST).encode()
    found = observer.begin("api.openai.com", 443, "/v1/chat/completions", body, httpx2.Headers())
    assert found is not None
    found.respond(200, [(b"content-type", b"text/event-stream")])
    found.chunk(b"".join(WHOLE_STREAM))

    ends: list[Callable[[], None]] = [
        lambda: found.finish(StreamExit.COMPLETE),
        lambda: found.fail(ValueError("late")),
        found.close,
        lambda: found.finish(StreamExit.ABANDONED),
    ]
    threads = [threading.Thread(target=end) for end in ends * 5]
    ends[0]()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert attributes(spans.one())["tokentrail.stream.exit"] == "complete"
    assert spans.one().status.status_code is StatusCode.UNSET


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_stream_that_is_open_at_a_fork_is_its_parents(spans: Spans, server: SseServer) -> None:
    shell = SHELLS[2]
    server.script(sse_reply(ROLE, WORDS[0], Hang), json_reply(CHAT_RESPONSE))

    async def scenario() -> int:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            await shell.first(response)
            child = os.fork()
            if child == 0:
                try:
                    response.close()
                    # The child's own calls are seen as ever.
                    shell.make().post(server.chat_url, json=CHAT_REQUEST)
                    own = [attributes(span).get("tokentrail.stream.exit") for span in spans.calls()]
                    os._exit(0 if own == [None] else 1)
                finally:
                    os._exit(2)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])  # noqa: ASYNC222  nobody else is in the loop
            await shell.close(response)
            return status

    assert run(scenario()) == 0
    assert attributes(spans.one())["tokentrail.stream.exit"] == "closed"


_APP = """
import sys
import httpx2
url = sys.argv[1]
client = httpx2.Client()
KEPT = client.send(client.build_request("POST", url, json={body!r}), stream=True)
ITERATOR = KEPT.iter_raw()
while b"Hi" not in next(ITERATOR):
    pass
{ending}
"""


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise RuntimeError('app')"])
def test_a_stream_that_is_open_when_the_process_ends(server: SseServer, tmp_path: Path, ending: str) -> None:
    server.script(sse_reply(ROLE + WORDS[0], Hang))
    script = tmp_path / "reporter.py"
    script.write_text(_APP.format(body=STREAM_REQUEST, ending=ending))
    with listening() as sink:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TOKENTRAIL_"))}
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.endpoint
        instrumented = Path(sys.executable).parent / "opentelemetry-instrument"
        done = subprocess.run(
            [instrumented, sys.executable, script, server.chat_url],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        found = sink.spans()

    assert done.returncode == {"pass": 0, "sys.exit(3)": 3}.get(ending, 1)
    assert "Tokentrail" not in done.stderr
    assert "detach" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert [span.attributes["tokentrail.stream.exit"] for span in found if span.name.startswith("chat")] == [
        "process_exit"
    ]
