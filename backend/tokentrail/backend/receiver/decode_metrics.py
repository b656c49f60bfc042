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

from collections.abc import Iterable, Iterator
from typing import TypeAlias

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
    name, description, unit = metric.name, metric.description, metric.unit
    match metric.WhichOneof("data"):
        case "gauge":
            gauge = Metric(origin, MetricKind.GAUGE, name, description, unit)
            yield from (_number(point, gauge) for point in metric.gauge.data_points)
        case "sum":
            data = metric.sum
            total = Metric(
                origin, MetricKind.SUM, name, description, unit, data.aggregation_temporality, data.is_monotonic
            )
            yield from (_number(point, total) for point in data.data_points)
        case "histogram":
            temporality = metric.histogram.aggregation_temporality
            histogram = Metric(origin, MetricKind.HISTOGRAM, name, description, unit, temporality)
            yield from (_histogram(point, histogram) for point in metric.histogram.data_points)
        case "exponential_histogram":
            temporality = metric.exponential_histogram.aggregation_temporality
            exponential = Metric(origin, MetricKind.EXPONENTIAL_HISTOGRAM, name, description, unit, temporality)
            yield from (_exponential(point, exponential) for point in metric.exponential_histogram.data_points)
        case "summary":
            summary = Metric(origin, MetricKind.SUMMARY, name, description, unit)
            yield from (_summary(point, summary) for point in metric.summary.data_points)


def _number(point: metrics_pb2.NumberDataPoint, metric: Metric) -> Point:
    return Point(
        metric=metric,
        attributes=attributes(point.attributes),
        start_ns=bounded_time(point.start_time_unix_nano),
        time_ns=bounded_time(point.time_unix_nano),
        flags=point.flags,
        exemplars=_exemplars(point.exemplars),
        value=_value(point),
    )


def _histogram(point: metrics_pb2.HistogramDataPoint, metric: Metric) -> Point:
    return Point(
        metric=metric,
        attributes=attributes(point.attributes),
        start_ns=bounded_time(point.start_time_unix_nano),
        time_ns=bounded_time(point.time_unix_nano),
        flags=point.flags,
        exemplars=_exemplars(point.exemplars),
        count=point.count,
        sum=point.sum,
        min=point.min,
        max=point.max,
        bucket_counts=tuple(point.bucket_counts),
        explicit_bounds=tuple(point.explicit_bounds),
    )


def _exponential(point: metrics_pb2.ExponentialHistogramDataPoint, metric: Metric) -> Point:
    return Point(
        metric=metric,
        attributes=attributes(point.attributes),
        start_ns=bounded_time(point.start_time_unix_nano),
        time_ns=bounded_time(point.time_unix_nano),
        flags=point.flags,
        exemplars=_exemplars(point.exemplars),
        count=point.count,
        sum=point.sum,
        min=point.min,
        max=point.max,
        scale=point.scale,
        zero_count=point.zero_count,
        positive=Buckets(point.positive.offset, tuple(point.positive.bucket_counts)),
        negative=Buckets(point.negative.offset, tuple(point.negative.bucket_counts)),
    )


def _summary(point: metrics_pb2.SummaryDataPoint, metric: Metric) -> Point:
    return Point(
        metric=metric,
        attributes=attributes(point.attributes),
        start_ns=bounded_time(point.start_time_unix_nano),
        time_ns=bounded_time(point.time_unix_nano),
        flags=point.flags,
        count=point.count,
        sum=point.sum,
        quantiles=tuple((each.quantile, each.value) for each in point.quantile_values),
    )


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
