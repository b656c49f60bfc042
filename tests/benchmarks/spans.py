"""What became of the spans: an exporter that counts and drops them, and the reading of one in any vocabulary."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_INPUT: Final = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
_OUTPUT: Final = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion")
_LANGFUSE: Final = "langfuse.observation.usage_details"


class CountingExporter(SpanExporter):
    """Counts what it gets; keeps it while `keep` is true, and drops it otherwise."""

    def __init__(self) -> None:
        self.count = 0
        self.keep = False
        self.kept: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Always succeeds."""
        self.count += len(spans)
        if self.keep:
            self.kept += spans
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits here."""
        return True


def tokens(span: ReadableSpan) -> tuple[int, int]:
    """Input and output tokens as the span says them; 0 for what it does not say."""
    attributes = span.attributes or {}
    details = attributes.get(_LANGFUSE)
    if isinstance(details, str):
        usage = json.loads(details)
        return usage.get("prompt_tokens") or usage.get("input") or 0, usage.get("completion_tokens") or 0
    return _first(attributes, _INPUT), _first(attributes, _OUTPUT)


def _first(attributes: Mapping[str, object], names: Sequence[str]) -> int:
    found = (attributes[name] for name in names if name in attributes)
    value = next(found, 0)
    return value if isinstance(value, int) else 0


def values(span: ReadableSpan) -> list[object]:
    """Every attribute value of the span and of its events."""
    found: list[object] = list((span.attributes or {}).values())
    for event in span.events:
        found += (event.attributes or {}).values()
    return found


def size(span: ReadableSpan) -> int:
    """Characters of all its attribute values as text."""
    return sum(len(str(value)) for value in values(span))
