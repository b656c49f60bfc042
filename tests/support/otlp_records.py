"""Export requests with log records and metrics for tests, built with OTLP's own messages, not with the product."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from support.otlp import any_value, key_values


def log_record(body: object = "hello", attributes: Mapping[str, object] | None = None, **fields: Any) -> LogRecord:
    """A record of now; `fields` override."""
    values = {"time_unix_nano": time.time_ns(), "body": any_value(body), **fields}
    return LogRecord(attributes=key_values(attributes or {}), **values)


def logs_request(
    records: Iterable[LogRecord], resource: Mapping[str, object] | None = None, scope: str = "tests"
) -> ExportLogsServiceRequest:
    """A request of one resource (service `shop` unless given) and one scope."""
    message = ExportLogsServiceRequest()
    resource_logs = message.resource_logs.add()
    resource_logs.resource.attributes.extend(key_values({"service.name": "shop"} if resource is None else resource))
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name, scope_logs.scope.version = scope, "1"
    scope_logs.log_records.extend(records)
    return message


def metrics_request(metrics: Iterable[Metric]) -> ExportMetricsServiceRequest:
    """A request of one resource (service `shop`) and one scope."""
    message = ExportMetricsServiceRequest()
    resource_metrics = message.resource_metrics.add()
    resource_metrics.resource.attributes.extend(key_values({"service.name": "shop"}))
    scope_metrics = resource_metrics.scope_metrics.add()
    scope_metrics.scope.name, scope_metrics.scope.version = "tests", "1"
    scope_metrics.metrics.extend(metrics)
    return message


def gauge(name: str = "temperature", value: float = 21.5, at_ns: int | None = None) -> Metric:
    """A gauge with one point, of now unless given."""
    metric = Metric(name=name, unit="Cel", description="How warm it is.")
    metric.gauge.data_points.add(as_double=value, time_unix_nano=at_ns or time.time_ns())
    return metric


def every_kind(at_ns: int) -> list[Metric]:
    """A metric of each kind, with one point each and an exemplar where there may be one."""
    total = Metric(name="requests", unit="{request}", description="How many.")
    total.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    total.sum.is_monotonic = True
    point = total.sum.data_points.add(as_int=7, time_unix_nano=at_ns, start_time_unix_nano=at_ns - 5_000_000_000)
    point.attributes.extend(key_values({"kind": "chat", "code": 200}))
    histogram = Metric(name="duration", unit="s")
    histogram.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    one = histogram.histogram.data_points.add(
        count=3, sum=2.5, min=0.1, max=2.0, bucket_counts=[1, 2], explicit_bounds=[0.5], time_unix_nano=at_ns
    )
    exemplar = one.exemplars.add(as_double=2.0, time_unix_nano=at_ns, trace_id=b"\1" * 16, span_id=b"\2" * 8)
    exemplar.filtered_attributes.extend(key_values({"user": "ada"}))
    exponential = Metric(name="latency", unit="s")
    cumulative = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    exponential.exponential_histogram.aggregation_temporality = cumulative
    two = exponential.exponential_histogram.data_points.add(
        count=6, sum=4.0, min=-1.0, max=2.0, scale=-1, zero_count=1, time_unix_nano=at_ns, flags=0
    )
    two.positive.offset, two.negative.offset = -3, 2
    two.positive.bucket_counts.extend([1, 2])
    two.negative.bucket_counts.extend([2])
    summary = Metric(name="sizes", unit="By")
    three = summary.summary.data_points.add(count=4, sum=10.0, time_unix_nano=at_ns)
    three.quantile_values.add(quantile=0.5, value=2.0)
    three.quantile_values.add(quantile=0.99, value=4.0)
    return [gauge(at_ns=at_ns), total, histogram, exponential, summary]
