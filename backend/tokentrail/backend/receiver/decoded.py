"""What every decoder of an export request gives back, and the limits they share."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tokentrail.backend.log import LogRecord
from tokentrail.backend.point import Point
from tokentrail.backend.signals import Signal
from tokentrail.backend.span import Span

MAX_VALUE_DEPTH: Final = 16
"""Levels of arrays and maps inside one attribute value; what lies deeper is replaced by `TOO_DEEP`."""
TOO_DEEP: Final = "[nested too deeply]"
MAX_TIME_NS: Final = 2**63 - 1
"""Year 2262: the last nanosecond that ClickHouse's DateTime64(9) can hold. Later times are set to it."""

INVALID_TRACE_ID: Final = "invalid_trace_id"
"""Reason of rejection: not 16 bytes, or all zero."""
INVALID_SPAN_ID: Final = "invalid_span_id"
"""Reason of rejection: not 8 bytes, or all zero."""

_ITEMS: Final = {Signal.TRACES: "spans", Signal.LOGS: "log records", Signal.METRICS: "points"}
_BATCH_SIZE: Final = {
    Signal.TRACES: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    Signal.LOGS: "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    Signal.METRICS: "max_export_batch_size of the exporter",
}
"""What makes a sender's requests smaller."""
_MIN_INT64: Final = -(2**63)
_MAX_INT64: Final = 2**63 - 1


class DecodeError(Exception):
    """The body is not an export request; the message says what is wrong, for the sender to read. Never retryable."""


class TooManyItemsError(Exception):
    """The body holds more spans, log records or points than one request may. Never retryable."""

    reason: Final = "too_many"

    def __init__(self, signal: Signal, count: int, most: int):
        self.signal, self.count = signal, count
        """How many there were, as far as they were counted."""
        super().__init__(
            f"the request holds {count} {_ITEMS[signal]}, more than {most}, the limit; send smaller batches "
            f"({_BATCH_SIZE[signal]}) or raise TOKENTRAIL_MAX_REQUEST_SPANS"
        )


class TooManyElementsError(TooManyItemsError):
    """The body is in more pieces (attributes, events, values) than one request may be. Never retryable."""

    def __init__(self, signal: Signal, count: int, most: int):
        self.signal, self.count = signal, count
        Exception.__init__(
            self,
            f"the request holds more than {most} attributes, events, values of arrays and the like, the limit; "
            f"send smaller batches ({_BATCH_SIZE[signal]})",
        )


@dataclass(frozen=True, slots=True)
class Decoded:
    """The spans of one export request, in its order."""

    spans: list[Span]
    rejected: Mapping[str, int]
    """Spans left out, by reason: `INVALID_TRACE_ID` or `INVALID_SPAN_ID`. Empty when all were fine."""
    cut: Mapping[str, int] = field(default_factory=dict)
    """What spans lost to limits, by reason (`limits`)."""

    @property
    def received(self) -> int:
        """Number of spans in the request, rejected ones included."""
        return len(self.spans) + sum(self.rejected.values())


@dataclass(frozen=True, slots=True)
class DecodedLogs:
    """The log records of one export request, in its order."""

    records: list[LogRecord]
    cut: Mapping[str, int] = field(default_factory=dict)
    """What records lost to limits, by reason (`limits`)."""


@dataclass(frozen=True, slots=True)
class DecodedMetrics:
    """The points of one export request, in its order."""

    points: list[Point]
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Points left out, by reason (`limits`)."""
    cut: Mapping[str, int] = field(default_factory=dict)
    """What points lost to limits, by reason (`limits`)."""


class _TooDeep(threading.local):
    count = 0


_too_deep: Final = _TooDeep()


def too_deep() -> str:
    """What stands for a value nested too deeply; counted for `values_too_deep`."""
    _too_deep.count += 1
    return TOO_DEEP


def values_too_deep() -> int:
    """How many values this thread has found to be nested too deeply, ever."""
    return _too_deep.count


def forget_values_too_deep(count: int) -> None:
    """Go back to `count` of them: what was found since then is read once more."""
    _too_deep.count = count


def is_hex_id(text: str, digits: int) -> bool:
    """True for exactly `digits` lower-case hex digits that are not all zero."""
    return len(text) == digits and text.strip("0123456789abcdef") == "" and text.strip("0") != ""


def bounded_time(time_ns: int) -> int:
    """`time_ns` within what the store can hold."""
    return min(max(time_ns, 0), MAX_TIME_NS)


def bounded_int(value: int) -> int | str:
    """`value` as OTLP can carry it: an int64, or its digits as text when it is larger."""
    return value if _MIN_INT64 <= value <= _MAX_INT64 else str(value)
