"""A span processor that puts session, user, properties and prompt on every span started below them.

The conventions propagate nothing by themselves, so spans of frameworks, tools and other instrumentations would not say
whose they are. It also finishes deferred work before the spans behind it are flushed, and sees to it that spans which
repeat a call are known as such.
"""

import functools
import weakref
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

from tokentrail.instrumentation import repeats
from tokentrail.instrumentation.context import NO_TAGS, baggage_tags, current_tags
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.late_owner import give_up_waiting
from tokentrail.instrumentation.owner import before_end, give_up_unended, note_start
from tokentrail.instrumentation.record import SCOPE, clean


class ContextSpanProcessor(SpanProcessor):
    """Copies the tags of the context to each span as it starts; `flush` is called before the exporters are."""

    def __init__(self, baggage: bool, flush: Callable[[float], bool]) -> None:
        self._baggage = baggage
        self._flush = flush

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add the tags, unless there are none."""
        with protect("adding session and user to a span"):
            scope = span.instrumentation_scope
            if scope is not None and scope.name == SCOPE:
                return  # it has them, with those of the request's headers, which may be of another session
            with protect("noting a span that may own a call"):
                note_start(span)
                if repeats.are_possible():
                    before_end(span, functools.partial(repeats.mark, weakref.ref(span), self._flush))
            tags = current_tags(parent_context)
            if self._baggage:
                tags = tags.over(baggage_tags(parent_context))
            if tags is not NO_TAGS and (attributes := tags.attributes()):
                span.set_attributes(clean(attributes))

    def on_end(self, span: ReadableSpan) -> None:
        """Remember which call it stands for, where spans are made that repeat calls."""
        with protect("remembering a call"):
            if repeats.are_possible():
                repeats.remember(span)

    def shutdown(self) -> None:
        """Finish what waits."""
        with protect("shutting down"):
            give_up_waiting()
            give_up_unended()
            self._flush(5.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Finish what waits."""
        with protect("flushing"):
            give_up_waiting()
            return self._flush(timeout_millis / 1000)
        return False


def attach(provider: trace.TracerProvider, processor: ContextSpanProcessor) -> bool:
    """Put `processor` before all others of `provider`; false when the provider takes no processors (yet).

    First, because the provider flushes and shuts down its processors in their order, and deferred work must have ended
    its spans before an exporter's turn comes.
    """
    if not isinstance(provider, SdkTracerProvider):
        return False
    provider.add_span_processor(processor)
    with protect("ordering span processors"):
        active = provider._active_span_processor  # noqa: SLF001  the SDK has no public way to order them
        processors = getattr(active, "_span_processors", None)
        if isinstance(processors, tuple) and processors and processors[-1] is processor:
            active._span_processors = (processor, *processors[:-1])  # noqa: SLF001
    return True
