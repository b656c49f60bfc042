"""Owners that open their span only when the response is there, dated back to the start of the call.

OpenLLMetry does so for OpenAI's Responses API (`opentelemetry-instrumentation-openai` 0.62.4, November 2026): nothing
marks the call while its request leaves, and a second span appears after it. But its function is on the stack then. So
the call is given a `LateSpan`, which keeps what is known until that span is started, in the same context, and passes it
on. Where it never comes (a raw stream, a response that is not completed, a cancelled call: OpenLLMetry has no span for
these), the call is recorded in a span of its own: at the next call, the next flush, or a moment after it is over.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from threading import Thread
from types import FrameType
from typing import Final, Protocol

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext
from opentelemetry.util.types import AttributeValue

from tokentrail.instrumentation.call_spans import attributes_of
from tokentrail.instrumentation.guard import protect
from tokentrail.semconv import genai

_MODULE: Final = "opentelemetry.instrumentation.openai.v1.responses_wrappers"
_FUNCTIONS: Final = frozenset({"responses_get_or_create_wrapper", "async_responses_get_or_create_wrapper"})
_MAX_FRAMES: Final = 200
"""Frames looked at between the HTTP client and the SDK; about fifty lie between them."""
_GRACE_S: Final = 1.0
"""How long after the end of a call its late span may come: it is made before the application has the response."""


class Claimant(Protocol):
    """A request that may have the span of an owner."""

    @property
    def gives_way(self) -> bool:
        """True when it failed, so that the span is free for another attempt."""

    def give_way(self) -> None:
        """Leave the span to another attempt."""


class LateSpan(NonRecordingSpan):
    """Stands for a span that another instrumentation will start: takes attributes, and has the context around it."""

    def __init__(self, around: SpanContext, claimant: Claimant) -> None:
        super().__init__(around)
        self.created_ns = time.time_ns()
        self.claimant = claimant
        self.lost: Callable[[], None] | None = None
        """Records the call in a span of its own; known when the call is over."""
        self.span: Span | None = None
        """The one it stood for, once that is there."""
        self._kept: dict[str, AttributeValue] = {}

    @property
    def attributes(self) -> Mapping[str, object]:
        """What the span has so far."""
        return self._kept if self.span is None else attributes_of(self.span)

    def is_recording(self) -> bool:
        """True until the span has ended."""
        return self.span is None or self.span.is_recording()

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Pass `attributes` on, or keep them until that can be done."""
        if self.span is None:
            self._kept.update(attributes)
        else:
            self.span.set_attributes(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """The same for one attribute."""
        self.set_attributes({key: value})

    def become(self, span: Span) -> None:
        """`span` is the one that this stood for."""
        kept, self._kept = self._kept, {}
        self.span = span
        span.set_attributes(kept)

    def give_up(self) -> None:
        """Record the call, which is over, without it."""
        if self.claimant.gives_way:
            self.claimant.give_way()
        elif self.lost is not None:
            self.lost()


class _Duplicate:
    """A late span that will double the call of an owner that was there in time."""

    def __init__(self, owner: SpanContext) -> None:
        self.created_ns = time.time_ns()
        self.owner = owner


_expected: ContextVar[LateSpan | _Duplicate | None] = ContextVar("tokentrail-late-owner", default=None)
_waiting: Final[dict[LateSpan, bool]] = {}
"""Late spans that have not come, in the order in which they were expected. Who takes one out, has it."""
_watchers: Final[list[Thread]] = []


def _is_under_way() -> bool:
    """True when the function of the other instrumentation is on this stack."""
    module = sys.modules.get(_MODULE)
    if module is None:
        return False
    names = module.__dict__
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  an implementation detail that debuggers live on
    for _ in range(_MAX_FRAMES):
        if frame is None:
            break
        if frame.f_globals is names and frame.f_code.co_name in _FUNCTIONS:
            return True
        frame = frame.f_back
    return False


def expect(claimant: Claimant, found: Span | None) -> LateSpan | None:
    """What stands for the late span of the call about to be made by `claimant`, or `None` where none is to come.

    `found` is an owner that is there already: the late span will double its call, and be marked. An attempt that failed
    before this one, under the same call, gets a span of its own.
    """
    if not _is_under_way():
        return None
    if found is not None:
        _expected.set(_Duplicate(found.get_span_context()))
        return None
    before = _expected.get()
    if isinstance(before, LateSpan):
        _give_up(before)
    late = LateSpan(trace.get_current_span().get_span_context(), claimant)
    _expected.set(late)
    _waiting[late] = True
    _watch()
    return late


def arrive(span: Span) -> LateSpan | None:
    """The `LateSpan` that `span`, which is being started, turns out to be; marks it when it doubles a call instead."""
    expected = _expected.get()
    if expected is None or (getattr(span, "start_time", None) or sys.maxsize) > expected.created_ns:
        return None  # a span that is not dated back
    _expected.set(None)
    if isinstance(expected, _Duplicate):
        span.set_attribute(genai.DUPLICATE_OF, identity(expected.owner))
        return None
    return expected if _waiting.pop(expected, False) else None


def identity(context: SpanContext) -> str:
    """`<trace id>-<span id>`, in hexadecimal."""
    return f"{context.trace_id:032x}-{context.span_id:016x}"


def give_up_waiting() -> None:
    """Record the calls that are over and whose late span has not come."""
    for late in tuple(_waiting):
        _give_up(late)


def _is_over(late: LateSpan) -> bool:
    return late.claimant.gives_way or late.lost is not None


def _give_up(late: LateSpan) -> None:
    if _is_over(late) and _waiting.pop(late, False):
        with protect("recording a call whose owner did not come"):
            late.give_up()


def _watch() -> None:
    """Start the thread that gives up, unless it runs."""
    if _watchers and _watchers[-1].is_alive():
        return
    thread = Thread(target=_give_up_in_time, name="tokentrail-late", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return  # the interpreter is ending: the last flush gives up
    _watchers.append(thread)


def _give_up_in_time() -> None:
    over: list[LateSpan] = []
    while True:
        for late in over:
            _give_up(late)
        if not _waiting:
            _watchers.clear()
            # Looked at again, for one that was added before that: a second thread does no harm, none would.
            if not _waiting:
                return
        over = [late for late in tuple(_waiting) if _is_over(late)]
        time.sleep(_GRACE_S)


def _after_fork() -> None:
    # What was waited for is the parent's, and so is the thread.
    _waiting.clear()
    _watchers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
