"""Framings: how the body of a response is cut into events, by its media type."""

from collections.abc import Callable, Mapping
from typing import Final

from tokentrail.instrumentation.framing._base import Framing
from tokentrail.instrumentation.framing.aws_event_stream import EventStreamDecoder
from tokentrail.instrumentation.framing.ndjson import NdjsonDecoder
from tokentrail.instrumentation.framing.sse import SseDecoder

FRAMINGS: Final[Mapping[str, Callable[[], Framing]]] = {
    "text/event-stream": SseDecoder,
    "application/vnd.amazon.eventstream": EventStreamDecoder,
    "application/x-ndjson": NdjsonDecoder,
    "application/ndjson": NdjsonDecoder,
    "application/jsonl": NdjsonDecoder,
    "application/x-jsonlines": NdjsonDecoder,
    "application/jsonlines": NdjsonDecoder,
    "application/stream+json": NdjsonDecoder,
}
"""By media type, lower case, without parameters. Any other body is one document."""
