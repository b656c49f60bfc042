"""Settings of the instrumentation, read once from the environment when it is switched on.

A setting with a value that makes no sense is reported and its default used: an application must start whatever its
telemetry settings say.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

CAPTURE_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""`NO_CONTENT` (default), `SPAN_ONLY`, `EVENT_ONLY` or `SPAN_AND_EVENT`; `true` and `false` of older packages too."""
STRIP_HEADERS: Final = "TOKENTRAIL_STRIP_HEADERS"
"""Take `Helicone-*` and `Tokentrail-*` headers that were understood off the request before it leaves. Default true."""
BAGGAGE: Final = "TOKENTRAIL_BAGGAGE"
"""Pass user, session, properties and prompt on in OpenTelemetry baggage, and read them from it. Default false: what is
there may be foreign, and what is sent goes to every service but those of models."""
MAX_BODY_BYTES: Final = "TOKENTRAIL_MAX_CALL_BODY_BYTES"
"""Largest request or plain response body that is read, bytes. Default 16 MiB; streams are read in parts, any length."""
MAX_PART_BYTES: Final = "TOKENTRAIL_MAX_PART_BYTES"
"""Longest text of one captured message part, bytes of UTF-8. Default 32 KiB."""
MAX_CONTENT_BYTES: Final = "TOKENTRAIL_MAX_CONTENT_BYTES"
"""Largest captured content of a span, all its content attributes together, bytes of JSON. Default 256 KiB."""
DEFER: Final = "TOKENTRAIL_DEFER"
"""Read bodies in a background thread after the application has them. Default true."""

STREAM_USAGE: Final = "TOKENTRAIL_STREAM_USAGE"
"""Ask for a stream's usage where it comes only on request, and hide it from who did not ask. Default true."""

PRICES: Final = "TOKENTRAIL_PRICES"
"""Path of a price file that goes before the list prices; read again when it changes. Default none."""


class Capture(Enum):
    """Where message content goes."""

    NO_CONTENT = "no_content"
    SPAN_ONLY = "span_only"
    EVENT_ONLY = "event_only"
    SPAN_AND_EVENT = "span_and_event"

    @property
    def on_span(self) -> bool:
        """True when spans carry content."""
        return self in (Capture.SPAN_ONLY, Capture.SPAN_AND_EVENT)

    @property
    def on_event(self) -> bool:
        """True when an event with the content is emitted for each call."""
        return self in (Capture.EVENT_ONLY, Capture.SPAN_AND_EVENT)


@dataclass(frozen=True, slots=True)
class Config:
    """What the environment says; sizes in bytes."""

    capture: Capture = Capture.NO_CONTENT
    strip_headers: bool = True
    baggage: bool = False
    max_body_bytes: int = 16 * 1024 * 1024
    max_part_bytes: int = 32 * 1024
    max_content_bytes: int = 256 * 1024
    defer: bool = True
    stream_usage: bool = True
    prices: Path | None = None


def read(environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration that `environ` describes. Never raises."""
    default = Config()
    max_content_bytes = _size(environ, MAX_CONTENT_BYTES, default.max_content_bytes)
    for limit in ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"):
        # The SDK would cut a longer value anywhere, and cut JSON is no JSON: keep below its limit ourselves.
        if (limited := _whole(environ.get(limit, ""))) is not None:
            max_content_bytes = min(max_content_bytes, limited)
            break
    return Config(
        capture=_capture(environ),
        strip_headers=_flag(environ, STRIP_HEADERS, default.strip_headers),
        baggage=_flag(environ, BAGGAGE, default.baggage),
        max_body_bytes=_size(environ, MAX_BODY_BYTES, default.max_body_bytes),
        max_part_bytes=_size(environ, MAX_PART_BYTES, default.max_part_bytes),
        max_content_bytes=max_content_bytes,
        defer=_flag(environ, DEFER, default.defer),
        stream_usage=_flag(environ, STREAM_USAGE, default.stream_usage),
        prices=Path(path) if (path := environ.get(PRICES, "").strip()) else None,
    )


def _capture(environ: Mapping[str, str]) -> Capture:
    value = environ.get(CAPTURE_CONTENT, "").strip().lower()
    legacy = {"": Capture.NO_CONTENT, "false": Capture.NO_CONTENT, "true": Capture.SPAN_ONLY}
    if value in legacy:
        return legacy[value]
    try:
        return Capture(value)
    except ValueError:
        expected = ", ".join(mode.name for mode in Capture)
        logger.warning("%s=%r is not one of %s: no content is captured", CAPTURE_CONTENT, value, expected)
        return Capture.NO_CONTENT


def _flag(environ: Mapping[str, str], name: str, default: bool) -> bool:
    value = environ.get(name, "").strip().lower()
    if value in ("true", "1", "yes", "on"):
        return True
    if value in ("false", "0", "no", "off"):
        return False
    if value:
        logger.warning("%s=%r is neither true nor false: using %s", name, value, default)
    return default


def _size(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name, "").strip()
    if not value:
        return default
    if not (size := _whole(value)):
        logger.warning("%s=%r is not a positive number of bytes: using %d", name, value, default)
        return default
    return size


def _whole(value: str) -> int | None:
    value = value.strip()
    return int(value) if value.isdecimal() and len(value) < 19 else None
