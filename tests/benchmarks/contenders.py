"""What is measured: nothing, Tokentrail, the other instrumentations, and the parts that any instrumentation needs.

Each is switched on in a worker process of its own. What must be in the environment before anything is imported is in
`environment`; the rest is done by `switch_on`, with the tracer provider that all contenders share the making of.
"""

import importlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter

from benchmarks.cases import EMBEDDING_MODEL, MARK, MODEL
from support.rivals import rival

_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURED_CALLS: Final = 64
_OPENLIT_PRICES: Final = {
    "chat": {MODEL: {"promptPrice": 0.00015, "completionPrice": 0.0006}},
    "embeddings": {EMBEDDING_MODEL: 0.00002},
}
"""USD for 1000 tokens, in the form of its price list."""


class Kind(Enum):
    """What a contender is compared as."""

    NONE = "none"
    OURS = "ours"
    RIVAL = "rival"
    """Another instrumentation of model calls: what we are compared with."""
    PART = "part"
    """Something less than that, for orientation."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a contender finds when it is switched on."""

    provider: TracerProvider
    exporter: SpanExporter
    """Drops what it gets; for a contender that brings its own span processor."""
    library: ModuleType
    """The HTTP client library of the SDK."""
    all_signals: bool
    """There are providers of metrics and logs too."""


Around = Callable[[Callable[[], object]], Callable[[], object]]
"""Wraps a call of the SDK; for what is measured around it rather than patched into it."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One thing to measure, with content captured or without."""

    name: str
    title: str
    kind: Kind
    switch_on: Callable[[Stage, bool], Around | None]
    rival: str = ""
    """Its name in `support.rivals`, where it has to be installed first."""
    has_content: bool = True
    """False where there is nothing to capture content with."""
    spans: int = 1
    """Of one call."""
    has_usage: bool = True
    """Its spans say the tokens of the call."""
    own_processor: bool = False
    """It attaches a batching span processor of its own; it gets no second one."""
    off: Mapping[str, str] = field(default_factory=dict)
    """Environment that switches content off."""
    on: Mapping[str, str] = field(default_factory=dict)
    """Environment that switches content on."""
    notes: str = ""
    """What a reader of the numbers has to know."""

    def environment(self, *, content: bool) -> dict[str, str]:
        """What its worker's environment has to have."""
        return dict(self.on if content else self.off)


def _nothing(stage: Stage, content: bool) -> None:
    """The application as it is."""


def _tokentrail(stage: Stage, content: bool) -> None:
    from tokentrail.instrumentation import TokentrailInstrumentor

    TokentrailInstrumentor().instrument(tracer_provider=stage.provider)


def _instrumentor(name: str) -> Callable[[Stage, bool], None]:
    def switch_on(stage: Stage, content: bool) -> None:
        module, attribute = rival(name).instrumentor
        getattr(importlib.import_module(module), attribute)().instrument(tracer_provider=stage.provider)

    return switch_on


def _openlit(stage: Stage, content: bool) -> None:
    openlit = importlib.import_module("openlit")
    others = [name for name in importlib.import_module("openlit._instrumentors").MODULE_NAME_MAP if name != "openai"]
    # It would fetch its price list from the network.
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as prices:
        json.dump(_OPENLIT_PRICES, prices)
        prices.flush()
        # It takes the global providers. Where there is none for metrics and events, it would make one that prints.
        openlit.init(
            capture_message_content=content,
            disable_metrics=not stage.all_signals,
            disable_events=not stage.all_signals,
            disabled_instrumentors=others,
            pricing_json=prices.name,
        )


def _langfuse(stage: Stage, content: bool) -> None:
    def masked(**_: object) -> None:
        """Nothing of it: the only way to leave content out."""

    importlib.import_module("langfuse").Langfuse(
        public_key="pk-lf-benchmark",
        secret_key="sk-lf-benchmark",
        base_url="http://127.0.0.1:9",
        tracer_provider=stage.provider,
        span_exporter=stage.exporter,
        mask=None if content else masked,
    )
    importlib.import_module("langfuse.openai")  # patches the SDK when it is imported


def _http(stage: Stage, content: bool) -> None:
    module = importlib.import_module("opentelemetry.instrumentation.httpx")
    name = {"httpx": "HTTPXClientInstrumentor", "httpx2": "HTTPX2ClientInstrumentor"}[stage.library.__name__]
    getattr(module, name)().instrument(tracer_provider=stage.provider)


def _span(stage: Stage, content: bool) -> Around:
    """A span with ten attributes around the call."""
    tracer = stage.provider.get_tracer("benchmark")
    start = {f"attribute.start.{index}": "value" for index in range(4)}
    end: dict[str, str | int] = {f"attribute.end.{index}": index for index in range(6)}

    def around(call: Callable[[], object]) -> Callable[[], object]:
        def with_span() -> object:
            with tracer.start_as_current_span("chat model", kind=trace.SpanKind.CLIENT, attributes=start) as span:
                result = call()
                span.set_attributes(end)
            return result

        return with_span

    return around


class Copies:
    """The bytes that went by in the last calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, list[bytes]]] = []

    def begin(self, request: bytes) -> list[bytes]:
        """Keep the request; what is appended to the list is kept as its response."""
        response: list[bytes] = []
        if len(self.calls) >= _CAPTURED_CALLS:
            self.calls.clear()
        self.calls.append((request, response))
        return response


copies: Final = Copies()


def _copy(stage: Stage, content: bool) -> None:
    """Keeps each request body and each piece of each response body at the transport, and does nothing with them."""
    base: Any = stage.library.HTTPTransport
    send = base.handle_request

    class Tee(stage.library.SyncByteStream):  # type: ignore[name-defined, misc]  # the base is known at run time only
        def __init__(self, stream: Any, kept: list[bytes]) -> None:
            self._stream = stream
            self._kept = kept

        def __iter__(self) -> Any:
            keep = self._kept.append
            for piece in self._stream:
                keep(piece)
                yield piece

        def close(self) -> None:
            self._stream.close()

    def handle_request(self: Any, request: Any) -> Any:
        kept = copies.begin(request.read())
        response = send(self, request)
        response.stream = Tee(response.stream, kept)
        return response

    base.handle_request = handle_request


_SPAN_ONLY: Final = {_CAPTURE: "SPAN_ONLY"}
_NO_CONTENT: Final = {_CAPTURE: "NO_CONTENT"}

NONE: Final = Contender("none", "no instrumentation", Kind.NONE, _nothing, has_content=False, spans=0, has_usage=False)

CONTENDERS: Final = (
    NONE,
    # The same again: how far two measurements of the same thing lie apart.
    Contender("same", "no instrumentation, again", Kind.PART, _nothing, has_content=False, spans=0, has_usage=False),
    Contender("tokentrail", "Tokentrail", Kind.OURS, _tokentrail, off=_NO_CONTENT, on=_SPAN_ONLY),
    Contender(
        "openai-v2",
        "official openai-v2",
        Kind.RIVAL,
        _instrumentor("openai-v2"),
        rival="openai-v2",
        # Otherwise its content goes to log events only.
        on=_SPAN_ONLY | {"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"},
        notes="content on: with `gen_ai_latest_experimental`, without which it puts no content on spans",
    ),
    Contender(
        "genai-openai",
        "official genai-openai",
        Kind.RIVAL,
        _instrumentor("genai-openai"),
        rival="genai-openai",
        off=_NO_CONTENT,
        on=_SPAN_ONLY,
    ),
    Contender(
        "openllmetry",
        "OpenLLMetry",
        Kind.RIVAL,
        _instrumentor("openllmetry-openai"),
        rival="openllmetry-openai",
        off={"TRACELOOP_TRACE_CONTENT": "false"},
        on={"TRACELOOP_TRACE_CONTENT": "true"},
    ),
    Contender(
        "openinference",
        "OpenInference",
        Kind.RIVAL,
        _instrumentor("openinference-openai"),
        rival="openinference-openai",
        off={
            "OPENINFERENCE_HIDE_INPUTS": "true",
            "OPENINFERENCE_HIDE_OUTPUTS": "true",
            "OPENINFERENCE_HIDE_EMBEDDINGS_TEXT": "true",
        },
    ),
    Contender(
        "openlit",
        "OpenLIT",
        Kind.RIVAL,
        _openlit,
        rival="openlit",
        notes="its OpenAI part alone; its distribution declares openai < 3",
    ),
    Contender(
        "langfuse",
        "Langfuse",
        Kind.RIVAL,
        _langfuse,
        rival="langfuse",
        own_processor=True,
        notes="through its own span processor, with the same exporter; content off is a mask that drops everything",
    ),
    Contender("http", "HTTP instrumentation alone", Kind.PART, _http, has_content=False, has_usage=False),
    Contender("copy", "a copy of the bytes", Kind.PART, _copy, has_content=False, spans=0, has_usage=False),
    Contender("span", "a span with ten attributes", Kind.PART, _span, has_content=False, has_usage=False),
)
"""In the order of the tables."""


def contender(name: str) -> Contender:
    """The contender called `name`. Raises `KeyError` when there is none."""
    return {each.name: each for each in CONTENDERS}[name]


def has_mark(value: object) -> bool:
    """True for an attribute value that holds part of a prompt."""
    return MARK in str(value)
