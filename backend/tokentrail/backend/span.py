"""A received span, decoded once and read by every stage: values, no protobuf.

Times are integer nanoseconds since the epoch, ids lower-case hex.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import TypeAlias

from tokentrail.semconv.frozen import frozen

Value: TypeAlias = str | bool | int | float | bytes | tuple["Value", ...] | Mapping[str, "Value"] | None
"""One attribute value: an OTLP AnyValue as Python has it; `None` is an AnyValue with nothing set."""

Attributes: TypeAlias = Mapping[str, Value]


class StatusCode(IntEnum):
    """Status of a span, by OTLP's numbers. `OK` and `UNSET` both mean success."""

    UNSET = 0
    OK = 1
    ERROR = 2


class Kind(IntEnum):
    """Kind of a span, by OTLP's numbers."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@frozen
class Event:
    """A timed event of a span."""

    time_ns: int
    name: str
    attributes: Attributes


@frozen
class Link:
    """A link from a span to another."""

    trace_id: str
    span_id: str
    trace_state: str
    attributes: Attributes


@frozen
class Span:
    """One span with its resource and scope. Resource mappings are shared by all spans of a resource."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    parent_span_id: str
    """16 hex digits, or empty for a root."""
    trace_state: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status_code: int
    status_message: str
    attributes: Attributes
    events: tuple[Event, ...]
    links: tuple[Link, ...]
    resource_attributes: Attributes
    scope_name: str
    scope_version: str
    project: str = ""
    """Of the key it was sent with (`access.caller`), empty for the default one; no sender can say it."""

    @property
    def duration_ns(self) -> int:
        """Nanoseconds from start to end, 0 when the clock ran backwards."""
        return max(self.end_ns - self.start_ns, 0)
