"""Switching on: without a provider, before there is one, with one; flushing; what importing costs."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from support.http_shells import SHELLS, run
from support.span_log import Spans
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE, SseServer, json_reply
from tokentrail.instrumentation import TokentrailInstrumentor, flush
from tokentrail.instrumentation.deferred import Deferred
from tokentrail.instrumentation.processor import ContextSpanProcessor


def in_a_process(script: str, tmp_path: Path, *arguments: str, **environment: str) -> dict[str, object]:
    """What `script` prints, one JSON object, as an application of its own that nobody instruments."""
    file = tmp_path / "app.py"
    file.write_text(textwrap.dedent(script))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TOKENTRAIL_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", file, *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    printed: dict[str, object] = json.loads(done.stdout)
    return printed


_CALL = """
import json, sys
import httpx2
from tokentrail.instrumentation import TokentrailInstrumentor, flush, user
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

URL, BODY = sys.argv[1], json.loads(sys.argv[2])
exporter = InMemorySpanExporter()

def set_provider():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider

def call():
    with user("u-1"):
        return httpx2.post(URL, json=BODY).json()

def names():
    return [span.name for span in exporter.get_finished_spans()]
"""


def test_calls_pass_without_a_provider(server: SseServer, tmp_path: Path) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    script = _CALL + textwrap.dedent("""
        TokentrailInstrumentor().instrument()
        first = call()
        flushed = flush()
        print(json.dumps({"first": first, "flushed": flushed}))
    """)

    printed = in_a_process(script, tmp_path, server.chat_url, json.dumps(CHAT_REQUEST))

    assert printed == {"first": CHAT_RESPONSE, "flushed": True}


def test_spans_appear_once_there_is_a_provider(server: SseServer, tmp_path: Path) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    script = _CALL + textwrap.dedent("""
        TokentrailInstrumentor().instrument()
        call()
        provider = set_provider()
        call()
        with user("u-1"), trace.get_tracer("framework").start_as_current_span("tool"):
            call()
        flushed = provider.force_flush()
        users = [span.attributes.get("user.id") for span in exporter.get_finished_spans()]
        order = type(provider._active_span_processor._span_processors[0]).__name__
        print(json.dumps({"names": sorted(names()), "users": users, "flushed": flushed, "first": order}))
    """)

    printed = in_a_process(script, tmp_path, server.chat_url, json.dumps(CHAT_REQUEST))

    assert printed == {
        "names": ["chat gpt-4o-mini", "chat gpt-4o-mini", "tool"],
        "users": ["u-1"] * 3,
        "flushed": True,
        "first": "ContextSpanProcessor",
    }


def test_a_library_imported_after_switching_on_is_hooked(server: SseServer, tmp_path: Path) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    # httpx2 comes last, as in an application that opentelemetry-instrument starts.
    script = _CALL.replace("import httpx2\n", "").replace("def call():", "def call():\n    import httpx2")
    script += textwrap.dedent("""
        provider = set_provider()
        TokentrailInstrumentor().instrument()
        loaded = [name for name in ("httpx", "httpx2") if name in sys.modules]
        call()
        provider.force_flush()
        print(json.dumps({"names": names(), "loaded": loaded}))
    """)

    printed = in_a_process(script, tmp_path, server.chat_url, json.dumps(CHAT_REQUEST))

    assert printed == {"names": ["chat gpt-4o-mini"], "loaded": []}


def test_the_end_of_the_process_loses_no_call(server: SseServer, tmp_path: Path) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    script = _CALL + textwrap.dedent("""
        import atexit
        atexit.register(lambda: print(json.dumps({"names": names()})))  # runs after those registered later
        set_provider()
        TokentrailInstrumentor().instrument()
        for _ in range(20):
            call()
    """)

    printed = in_a_process(script, tmp_path, server.chat_url, json.dumps(CHAT_REQUEST))

    assert printed == {"names": ["chat gpt-4o-mini"] * 20}


HEAVY = (
    *("httpx", "httpx2", "genai_prices", "pydantic", "openai", "anthropic", "grpc", "chdb", "uvicorn", "rich"),
    *("aiohttp", "requests", "prometheus_client"),
)


def test_importing_loads_nothing_heavy_and_is_quick(tmp_path: Path) -> None:
    script = f"""
        import json, sys, time
        import opentelemetry.sdk.trace, opentelemetry.instrumentation.instrumentor, opentelemetry._logs
        started = time.process_time()
        import tokentrail.instrumentation
        took = time.process_time() - started
        tokentrail.instrumentation.TokentrailInstrumentor().instrument()
        print(json.dumps({{"loaded": [name for name in {HEAVY!r} if name in sys.modules], "took": took}}))
    """

    printed = in_a_process(script, tmp_path)

    assert printed["loaded"] == []
    took = printed["took"]
    assert isinstance(took, float)
    assert took < 0.25, "CPU seconds beyond OpenTelemetry's own; about 0.06 on a free machine"


def test_flushing_the_provider_finishes_what_waits_first(
    instrument: Callable[..., Spans], server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = instrument()
    shell = SHELLS[2]
    server.script(json_reply(CHAT_RESPONSE))
    order: list[str] = []
    flush_jobs = Deferred.flush

    def watched(self: Deferred, timeout_s: float = 10.0) -> bool:
        order.append("jobs")
        return flush_jobs(self, timeout_s)

    monkeypatch.setattr(Deferred, "flush", watched)
    exporter = spans.provider._active_span_processor._span_processors[-1]

    def watched_exporter(timeout_millis: int = 0) -> bool:
        order.append("exporter")
        return True

    monkeypatch.setattr(exporter, "force_flush", watched_exporter)

    async def scenario() -> None:
        async with shell.client() as client:
            await shell.post(client, server.chat_url, json=CHAT_REQUEST)

    run(scenario())

    assert spans.provider.force_flush()
    assert order == ["jobs", "exporter"]
    assert len(spans.calls()) == 1


def test_a_flush_that_takes_too_long_is_no_success(
    instrument: Callable[..., Spans], monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = instrument()
    monkeypatch.setattr(Deferred, "flush", lambda self, timeout_s=10.0: False)

    assert not spans.provider.force_flush(100)
    assert not flush(0.1)


def test_without_deferring_spans_are_there_at_once(instrument: Callable[..., Spans], server: SseServer) -> None:
    spans = instrument(defer=False)
    shell = SHELLS[2]
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with shell.client() as client:
            await shell.post(client, server.chat_url, json=CHAT_REQUEST)

    run(scenario())

    assert [span.name for span in spans._exporter.get_finished_spans()] == ["chat gpt-4o-mini"]


def test_the_context_processor_comes_before_the_exporters_and_once(instrument: Callable[..., Spans]) -> None:
    spans = instrument()

    processors = spans.provider._active_span_processor._span_processors

    assert [type(processor) for processor in processors].count(ContextSpanProcessor) == 1
    assert isinstance(processors[0], ContextSpanProcessor)


def test_many_first_calls_at_once_attach_one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    import time

    from tokentrail.instrumentation.config import Config
    from tokentrail.instrumentation.observer import Observer
    from tokentrail.instrumentation.record import Recorder

    prepared: list[int] = []

    def prepare(observer: Observer) -> bool:
        time.sleep(0.02)
        prepared.append(1)
        return True

    observer = Observer(Config(), Recorder(Config(), "0"), Deferred(), prepare)
    threads = [threading.Thread(target=observer.prepare) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert prepared == [1]


def test_it_asks_for_no_client_library() -> None:
    assert TokentrailInstrumentor().instrumentation_dependencies() == ()


def test_the_price_list_is_read_when_a_client_library_is_imported_and_by_that_thread(tmp_path: Path) -> None:
    script = """
        import json, sys, threading
        import tokentrail.semconv.pricing as pricing
        from tokentrail.instrumentation import TokentrailInstrumentor

        TokentrailInstrumentor().instrument()
        before = "genai_prices" in sys.modules
        import httpx
        # Never in the background: half an import, in sys.modules, is what the SDKs of other threads would find.
        print(json.dumps({"before": before, "after": "genai_prices.data" in sys.modules}))
    """

    assert in_a_process(script, tmp_path) == {"before": False, "after": True}
