"""A received log record, decoded once: values, no protobuf.

Times are nanoseconds since the epoch, ids lower-case hex.
"""

from dataclasses import dataclass

from tokentrail.backend.signals import Origin
from tokentrail.backend.span import Attributes, Value


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One log record; an event is one that has a name."""

    origin: Origin
    time_ns: int
    """When it happened, or was observed where the sender does not know that; 0 where it knows neither."""
    trace_id: str
    """32 hex digits, or empty outside of a trace."""
    span_id: str
    """16 hex digits, or empty outside of a span."""
    flags: int
    """Of the trace, as W3C has them: 1 is sampled."""
    severity_number: int
    severity_text: str
    body: Value
    attributes: Attributes
    event_name: str
    project: str = ""
    """See `Span.project`."""
