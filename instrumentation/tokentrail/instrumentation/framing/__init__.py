"""Framings: how the body of a response is cut into events, by its media type."""

from collections.abc import Callable, Mapping
from typing import Final

from tokentrail.instrumentation.framing._base import Framing
from tokentrail.instrumentation.framing.sse import SseDecoder

FRAMINGS: Final[Mapping[str, Callable[[], Framing]]] = {
    "text/event-stream": SseDecoder,
}
"""By media type, lower case, without parameters. Any other body is one document."""
