"""The spans and log records that an instrumented application would have exported, kept in memory."""

import json
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

SCOPE = "tokentrail.instrumentation"


class Spans:
    """A tracer and a logger provider with what went through them."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._log_exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's
        self.logger_provider = LoggerProvider(shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self._log_exporter))

    def all(self) -> list[ReadableSpan]:
        """Every span that has ended, after a flush, in the order in which they ended."""
        assert self.provider.force_flush(), "deferred work took too long"
        return list(self._exporter.get_finished_spans())

    def calls(self) -> list[ReadableSpan]:
        """The spans that Tokentrail made itself, in the order of their start."""
        own = [span for span in self.all() if span.instrumentation_scope and span.instrumentation_scope.name == SCOPE]
        return sorted(own, key=lambda span: span.start_time or 0)

    def one(self) -> ReadableSpan:
        """The only span that Tokentrail made."""
        calls = self.calls()
        assert len(calls) == 1, [span.name for span in calls]
        return calls[0]

    def billable(self) -> list[ReadableSpan]:
        """Spans, whoever made them, that a backend counts as a model call."""
        return [span for span in self.all() if attributes(span).get("gen_ai.operation.name") == "chat"]

    def events(self) -> list[Any]:
        """Log records."""
        self.provider.force_flush()
        return [item.log_record for item in self._log_exporter.get_finished_logs()]

    def exported_text(self) -> str:
        """Everything that was exported, as one text to search."""
        spans = [span.to_json() for span in self.all()]
        return "\n".join([*spans, *(repr(vars(record)) for record in self.events())])

    def shutdown(self) -> None:
        """Close both providers."""
        self.provider.shutdown()
        self.logger_provider.shutdown()


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    """The attributes of `span`, never `None`."""
    return span.attributes or {}


def output_text(span: ReadableSpan) -> str:
    """The text of the first part of the first output message."""
    messages = json.loads(attributes(span)["gen_ai.output.messages"])
    text: str = messages[0]["parts"][0]["content"]
    return text
