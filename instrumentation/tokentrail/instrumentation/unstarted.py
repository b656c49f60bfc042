"""Our span of a call, started when somebody looks at it, or else when the call is over.

Starting a span is most of what must be done before a request leaves, and its attributes are not known by then. Nobody
can tell that it is started afterwards, dated back, where the sampler is known to keep it and no span processor does
anything as a span starts: in the usual setups of the SDK. Anywhere else a span is started at once. What looks at it
(a span of the transport below it, a propagator, a log record) finds it started.
"""

import sys
from collections.abc import Callable, Mapping
from threading import RLock
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanContext, Status, StatusCode, Tracer
from opentelemetry.util.types import Attributes
from opentelemetry.util.types import AttributeValue as AnyAttribute

from tokentrail.instrumentation.guard import protect

if TYPE_CHECKING:
    from tokentrail.instrumentation.wire._base import AttributeValue

_STARTING: Final = protect("starting a span")
_SDK: Final = "opentelemetry.sdk.trace"


class UnstartedSpan(Span):
    """Stands for a span until that is started. Thread-safe; nothing that a span can do raises here.

    `start` is called once at most, with attributes beside those that it knows.
    """

    __slots__ = ("_lock", "_span", "_start")

    def __init__(self, start: "Callable[[Mapping[str, AttributeValue]], Span]") -> None:
        self._start: Callable[[Mapping[str, AttributeValue]], Span] | None = start
        self._span: Span | None = None
        self._lock = RLock()  # what is called as the span starts may look at it

    @property
    def is_started(self) -> bool:
        """True once it is too late for another start."""
        return self._start is None

    def start_with(self, attributes: "Mapping[str, AttributeValue]") -> bool:
        """Start it now, with `attributes` too; false when it has been started before. May raise what `start` does."""
        with self._lock:
            if self._span is not None or self._start is None:
                return False
            start, self._start = self._start, None  # which has the call, which has this span
            self._span = start(attributes)
            return True

    def started(self) -> Span:
        """The span itself; one that records nothing where it cannot be started."""
        if self._span is None:
            with _STARTING:
                self.start_with({})
        return self._span or INVALID_SPAN

    def __getattr__(self, name: str) -> object:
        # What spans of the SDK have beside the API. A copy that is being made has nothing yet.
        if name.startswith("__") or name in UnstartedSpan.__slots__:
            raise AttributeError(name)
        return getattr(self.started(), name)

    def is_recording(self) -> bool:
        """True until it has ended: only spans that will be recorded are started late."""
        return self._span is None or self._span.is_recording()

    def get_span_context(self) -> SpanContext:
        """Starts it."""
        return self.started().get_span_context()

    def set_attributes(self, attributes: Mapping[str, AnyAttribute]) -> None:
        """As the rest, what it says, to the span itself."""
        self.started().set_attributes(attributes)

    def set_attribute(self, key: str, value: AnyAttribute) -> None:
        """The same for one attribute."""
        self.started().set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """An event."""
        self.started().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """A link."""
        self.started().add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Another name."""
        self.started().update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """A status."""
        self.started().set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """An exception."""
        self.started().record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        """Its end."""
        self.started().end(end_time)


class Judge:
    """Says of a tracer whether the start of its spans can be seen. Thread-safe."""

    def __init__(self) -> None:
        self._judged: tuple[object, object] = (None, None)
        self._unseen = self._keeps_roots = False

    def is_start_unseen(self, tracer: Tracer, context: Context) -> bool:
        """True when nobody can tell that a span below what is current in `context` is started later than it says."""
        sampler = getattr(tracer, "sampler", None)
        # Replaced, not changed, when a processor is added.
        processors = getattr(getattr(tracer, "span_processor", None), "_span_processors", None)
        judged_sampler, judged_processors = self._judged
        if sampler is not judged_sampler or processors is not judged_processors:
            self._keeps_roots, keeps_children = _keeps(sampler)
            self._unseen = keeps_children and isinstance(processors, tuple) and all(map(_is_blind, processors))
            self._judged = (sampler, processors)
        if not self._unseen:
            return False
        around = trace.get_current_span(context).get_span_context() if context else trace.INVALID_SPAN_CONTEXT
        return around.trace_flags.sampled if around.is_valid else self._keeps_roots


def _keeps(sampler: object) -> tuple[bool, bool]:
    """Whether `sampler` is known to keep every span with none around it, and every one below a span that is kept."""
    sdk = sys.modules.get(f"{_SDK}.sampling")
    if sdk is None:
        return False, False
    keeps_all = sampler is sdk.ALWAYS_ON or sampler is sdk.DEFAULT_ON
    # As `OTEL_TRACES_SAMPLER` makes it: of its parts only the one for roots can be chosen.
    return keeps_all, keeps_all or sampler is sdk.DEFAULT_OFF or type(sampler) is sdk.ParentBasedTraceIdRatio


def _is_blind(processor: object) -> bool:
    """True for a span processor that does nothing as one of our spans starts."""
    sdk, export = sys.modules.get(_SDK), sys.modules.get(f"{_SDK}.export")
    own = sys.modules.get("tokentrail.instrumentation.processor")
    blind = [getattr(sdk, "SpanProcessor", None), getattr(own, "ContextSpanProcessor", None)]
    blind += [getattr(export, name, None) for name in ("BatchSpanProcessor", "SimpleSpanProcessor")]
    act = getattr(getattr(processor, "on_start", None), "__func__", None)
    return act is not None and act in [getattr(each, "on_start", None) for each in blind]


def start_current() -> None:
    """Start what is current, if that is a span which waits: a process about to fork shares it with its child."""
    span = trace.get_current_span()
    if isinstance(span, UnstartedSpan):
        span.started()
