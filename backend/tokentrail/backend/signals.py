"""The three signals of OpenTelemetry, and where a log record or a point of a metric comes from."""

from dataclasses import dataclass
from enum import StrEnum

from tokentrail.backend.span import Attributes


class Signal(StrEnum):
    """A signal, by the last part of its path in OTLP/HTTP."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Origin:
    """A resource and an instrumentation scope. One object is shared by all that comes from it."""

    resource_attributes: Attributes
    resource_schema_url: str
    scope_name: str
    scope_version: str
    scope_attributes: Attributes
    scope_dropped_attributes: int
    scope_schema_url: str
