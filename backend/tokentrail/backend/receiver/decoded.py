"""What every decoder of an export request gives back, and the limits they share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

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

_MIN_INT64: Final = -(2**63)
_MAX_INT64: Final = 2**63 - 1


class DecodeError(Exception):
    """The body is not an export request; the message says what is wrong, for the sender to read. Never retryable."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The spans of one export request, in its order."""

    spans: list[Span]
    rejected: Mapping[str, int]
    """Spans left out, by reason: `INVALID_TRACE_ID` or `INVALID_SPAN_ID`. Empty when all were fine."""

    @property
    def received(self) -> int:
        """Number of spans in the request, rejected ones included."""
        return len(self.spans) + sum(self.rejected.values())


def is_hex_id(text: str, digits: int) -> bool:
    """True for exactly `digits` lower-case hex digits that are not all zero."""
    return len(text) == digits and text.strip("0123456789abcdef") == "" and text.strip("0") != ""


def bounded_time(time_ns: int) -> int:
    """`time_ns` within what the store can hold."""
    return min(max(time_ns, 0), MAX_TIME_NS)


def bounded_int(value: int) -> int | str:
    """`value` as OTLP can carry it: an int64, or its digits as text when it is larger."""
    return value if _MIN_INT64 <= value <= _MAX_INT64 else str(value)
