"""What the tests of the instrumentation share: a provider of models, the clients, and the spans they lead to."""

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.http_shells import AIOHTTP_SHELLS, SHELLS, Shell, forget_iterators
from support.span_log import Spans
from support.sse_server import SseServer, serving
from tokentrail.instrumentation import TokentrailInstrumentor, context, guard
from tokentrail.instrumentation.config import Capture, Config


@pytest.fixture(scope="session")
def _server() -> Iterator[SseServer]:
    with serving() as server:
        yield server


@pytest.fixture
def server(_server: SseServer) -> SseServer:
    """A local provider without script and history."""
    _server.requests.clear()
    _server.script()
    return _server


@pytest.fixture(params=SHELLS, ids=lambda shell: shell.name)
def shell(request: pytest.FixtureRequest) -> Shell:
    """Each kind of client in turn."""
    chosen: Shell = request.param
    return chosen


@pytest.fixture(params=(*SHELLS, *AIOHTTP_SHELLS), ids=lambda shell: shell.name)
def any_shell(request: pytest.FixtureRequest) -> Shell:
    """Each kind of client in turn, the aiohttp transports of the SDKs too."""
    chosen: Shell = request.param
    return chosen


@pytest.fixture
def instrument(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Spans]]:
    """Switches the instrumentation on, with its failures raised, for the length of the test."""
    monkeypatch.setattr(guard, "strict", True)
    monkeypatch.setattr(guard, "_seen", set())
    made: list[Spans] = []

    def switch_on(sampler: Any = None, **settings: Any) -> Spans:
        spans = Spans(sampler)
        made.append(spans)
        TokentrailInstrumentor().instrument(
            tracer_provider=spans.provider, logger_provider=spans.logger_provider, config=Config(**settings)
        )
        return spans

    yield switch_on
    forget_iterators()
    instrumentor = TokentrailInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    for spans in made:
        spans.shutdown()


@pytest.fixture
def spans(instrument: Callable[..., Spans]) -> Spans:
    """The instrumentation is on, with content on spans."""
    return instrument(capture=Capture.SPAN_ONLY)


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test in which anything logs a warning or an error."""
    with caplog.at_level(logging.WARNING):
        yield
    # The records of the test itself: `caplog.records` has only those of the teardown by now.
    records = [*caplog.get_records("setup"), *caplog.get_records("call"), *caplog.records]
    loud = [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    assert not loud, loud


@pytest.fixture
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test that leaves tags in its context, or makes OpenTelemetry log that it could not detach one."""
    caplog.set_level(logging.DEBUG)
    yield
    gc.collect()
    # The records of the test itself: `caplog.text` has only those of the teardown by now.
    logged = [record.getMessage() for record in [*caplog.get_records("call"), *caplog.records]]
    assert logged == [message for message in logged if "detach" not in message]
    assert context.current_tags() is context.NO_TAGS
    assert context._entered.get() == ()
