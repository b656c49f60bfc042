"""OTLP protobuf bodies with metrics.

    ExportMetricsServiceRequest
      resource_metrics[]   resource.attributes[], schema_url
        scope_metrics[]    scope.name, .version, .attributes[], schema_url
          metrics[]        name, description, unit, and one of
            gauge, sum, histogram, exponential_histogram, summary
              data_points[]  attributes[], times, flags, values, exemplars[]

https://github.com/open-telemetry/opentelemetry-proto (1.10). A metric without any of these has nothing to store; one of
a kind that is not known here cannot be told from it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypedDict

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2

from tokentrail.backend.point import Buckets, Exemplar, Metric, MetricKind, Point
from tokentrail.backend.receiver.decoded import DecodedMetrics, bounded_time
from tokentrail.backend.receiver.origins import protobuf_origin
from tokentrail.backend.receiver.protobuf_fields import attributes, id_of, parse
from tokentrail.backend.signals import Origin

_Number: TypeAlias = metrics_pb2.NumberDataPoint | metrics_pb2.Exemplar


def decode_metrics_protobuf(body: bytes) -> DecodedMetrics:
    """The points of a protobuf body. Raises `DecodeError` when it is not an export request."""
    points: list[Point] = []
    for resource_metrics in parse(body, ExportMetricsServiceRequest).resource_metrics:
        resource = attributes(resource_metrics.resource.attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            schema_url = resource_metrics.schema_url
            origin = protobuf_origin(resource, schema_url, scope_metrics.scope, scope_metrics.schema_url)
            for metric in scope_metrics.metrics:
                points.extend(_points(metric, origin))
    return DecodedMetrics(points)


def _points(metric: metrics_pb2.Metric, origin: Origin) -> Iterator[Point]:
    name = metric.WhichOneof("data")
    if name is None:
        return
    kind, data = MetricKind(name), getattr(metric, name)
    shared = Metric(
        origin,
        kind,
        metric.name,
        metric.description,
        metric.unit,
        getattr(data, "aggregation_temporality", 0),
        getattr(data, "is_monotonic", False),
    )
    own = _OWN[kind]
    for point in data.data_points:
        yield Point(
            metric=shared,
            attributes=attributes(point.attributes),
            start_ns=bounded_time(point.start_time_unix_nano),
            time_ns=bounded_time(point.time_unix_nano),
            flags=point.flags,
            exemplars=_exemplars(getattr(point, "exemplars", ())),
            **own(point),
        )


class _Fields(TypedDict, total=False):
    """Fields of `Point` that only some kinds have."""

    value: float
    count: int
    sum: float
    min: float
    max: float
    bucket_counts: tuple[int, ...]
    explicit_bounds: tuple[float, ...]
    scale: int
    zero_count: int
    positive: Buckets
    negative: Buckets
    quantiles: tuple[tuple[float, float], ...]


def _number(point: metrics_pb2.NumberDataPoint) -> _Fields:
    return {"value": _value(point)}


def _totals(point: metrics_pb2.HistogramDataPoint | metrics_pb2.ExponentialHistogramDataPoint) -> _Fields:
    return {"count": point.count, "sum": point.sum, "min": point.min, "max": point.max}


def _histogram(point: metrics_pb2.HistogramDataPoint) -> _Fields:
    counts, bounds = tuple(point.bucket_counts), tuple(point.explicit_bounds)
    return {**_totals(point), "bucket_counts": counts, "explicit_bounds": bounds}


def _exponential(point: metrics_pb2.ExponentialHistogramDataPoint) -> _Fields:
    return {
        **_totals(point),
        "scale": point.scale,
        "zero_count": point.zero_count,
        "positive": _buckets(point.positive),
        "negative": _buckets(point.negative),
    }


def _summary(point: metrics_pb2.SummaryDataPoint) -> _Fields:
    quantiles = tuple((each.quantile, each.value) for each in point.quantile_values)
    return {"count": point.count, "sum": point.sum, "quantiles": quantiles}


_OWN: Final[Mapping[MetricKind, Callable[[Any], _Fields]]] = {
    MetricKind.GAUGE: _number,
    MetricKind.SUM: _number,
    MetricKind.HISTOGRAM: _histogram,
    MetricKind.EXPONENTIAL_HISTOGRAM: _exponential,
    MetricKind.SUMMARY: _summary,
}
"""What is read of a point, by the kind of its metric."""


def _buckets(side: metrics_pb2.ExponentialHistogramDataPoint.Buckets) -> Buckets:
    return Buckets(side.offset, tuple(side.bucket_counts))


def _exemplars(exemplars: Iterable[metrics_pb2.Exemplar]) -> tuple[Exemplar, ...]:
    return tuple(
        Exemplar(
            time_ns=bounded_time(each.time_unix_nano),
            value=_value(each),
            trace_id=id_of(each.trace_id, 16),
            span_id=id_of(each.span_id, 8),
            attributes=attributes(each.filtered_attributes),
        )
        for each in exemplars
    )


def _value(point: _Number) -> float:
    return point.as_double if point.WhichOneof("value") == "as_double" else float(point.as_int)
