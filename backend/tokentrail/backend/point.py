"""A received point of a metric, decoded once: values, no protobuf. Times are nanoseconds since the epoch."""

from dataclasses import dataclass
from enum import StrEnum

from tokentrail.backend.signals import Origin
from tokentrail.backend.span import Attributes


class MetricKind(StrEnum):
    """What the points of a metric are, by the name of their field in OTLP."""

    GAUGE = "gauge"
    SUM = "sum"
    HISTOGRAM = "histogram"
    EXPONENTIAL_HISTOGRAM = "exponential_histogram"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Metric:
    """What all points of a metric share; one object for all of them."""

    origin: Origin
    kind: MetricKind
    name: str
    description: str
    unit: str
    temporality: int = 0
    """OTLP's number: 1 is delta, 2 cumulative; 0 for kinds without one."""
    is_monotonic: bool = False


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A measurement that went into a point, and the span it was made in."""

    time_ns: int
    value: float
    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Buckets:
    """One side of an exponential histogram."""

    offset: int = 0
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a metric. Fields that its kind does not have are empty or 0."""

    metric: Metric
    attributes: Attributes
    start_ns: int
    time_ns: int
    flags: int = 0
    """1 says that nothing was recorded: the series ended."""
    exemplars: tuple[Exemplar, ...] = ()

    value: float = 0.0
    """Of a gauge or a sum; whole numbers beyond 2**53 lose their last digits."""

    count: int = 0
    sum: float = 0.0
    min: float = 0.0
    """As `max`, 0 where the sender does not tell it."""
    max: float = 0.0
    bucket_counts: tuple[int, ...] = ()
    explicit_bounds: tuple[float, ...] = ()

    scale: int = 0
    zero_count: int = 0
    positive: Buckets = Buckets()
    negative: Buckets = Buckets()

    quantiles: tuple[tuple[float, float], ...] = ()
    """Quantile and value of a summary."""

    project: str = ""
    """See `Span.project`."""
