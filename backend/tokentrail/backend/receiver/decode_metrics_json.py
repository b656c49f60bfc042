"""OTLP JSON bodies with metrics.

    {"resourceMetrics": [{"resource": {}, "scopeMetrics": [{"scope": {}, "metrics": [{"name": "n", "unit": "s",
      "histogram": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": "1700000000000000000", "count": "3",
        "bucketCounts": ["1", "2"], "explicitBounds": [0.5], "exemplars": [{"asDouble": 0.1}]}]}}]}]}]}

`json_fields` says how their fields are read.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from tokentrail.backend.point import Buckets, Exemplar, Metric, MetricKind, Point
from tokentrail.backend.receiver import json_fields as fields
from tokentrail.backend.receiver.counts import require_few_objects
from tokentrail.backend.receiver.decoded import DecodedMetrics
from tokentrail.backend.receiver.json_fields import Object, get
from tokentrail.backend.receiver.origins import json_origin
from tokentrail.backend.signals import Origin, Signal

_NAMES: Final = {
    "gauge": MetricKind.GAUGE,
    "sum": MetricKind.SUM,
    "histogram": MetricKind.HISTOGRAM,
    "exponentialHistogram": MetricKind.EXPONENTIAL_HISTOGRAM,
    "summary": MetricKind.SUMMARY,
}
_MAX_UINT32: Final = 2**32 - 1
_MAX_INT32: Final = 2**31 - 1


class _Temporality(IntEnum):
    UNSPECIFIED = 0
    DELTA = 1
    CUMULATIVE = 2


def decode_metrics_json(body: bytes, most: int | None = None) -> DecodedMetrics:
    """The points of a JSON body. Raises `DecodeError`, naming the place, when it is not an export request.

    Raises `TooManyItemsError` for more than `most`.
    """
    points: list[Point] = []
    document = fields.parse(body, "resourceMetrics")
    require_few_objects(document, Signal.METRICS, most)
    for resource_metrics, place in fields.objects(document, "resourceMetrics", ""):
        resource = fields.attributes(fields.child(resource_metrics, "resource", place), f"{place}.resource")
        for scope_metrics, scope_place in fields.objects(resource_metrics, "scopeMetrics", place):
            origin = json_origin(resource, resource_metrics, scope_metrics, scope_place)
            for metric, metric_place in fields.objects(scope_metrics, "metrics", scope_place):
                points.extend(_points(metric, origin, metric_place))
    return DecodedMetrics(points)


def _points(metric: Object, origin: Origin, place: str) -> Iterator[Point]:
    for name, kind in _NAMES.items():
        if get(metric, name) is None:
            continue
        data, data_place = fields.child(metric, name, place), f"{place}.{name}"
        shared = Metric(
            origin,
            kind,
            fields.text(get(metric, "name")),
            fields.text(get(metric, "description")),
            fields.text(get(metric, "unit")),
            fields.enumerated(get(data, "aggregationTemporality"), _Temporality, "AGGREGATION_TEMPORALITY_"),
            get(data, "isMonotonic") is True,
        )
        for point, at in fields.objects(data, "dataPoints", data_place):
            yield _point(point, shared, at)
        return


def _point(point: Object, metric: Metric, place: str) -> Point:
    """A point of any kind: what its kind does not have is not there, and empty."""
    return Point(
        metric=metric,
        attributes=fields.attributes(point, place),
        start_ns=fields.time(get(point, "startTimeUnixNano")),
        time_ns=fields.time(get(point, "timeUnixNano")),
        flags=min(fields.count(get(point, "flags")), _MAX_UINT32),
        exemplars=tuple(_exemplar(each, at) for each, at in fields.objects(point, "exemplars", place)),
        value=_value(point),
        count=fields.count(get(point, "count")),
        sum=fields.number(get(point, "sum")),
        min=fields.number(get(point, "min")),
        max=fields.number(get(point, "max")),
        bucket_counts=fields.counts(point, "bucketCounts", place),
        explicit_bounds=fields.numbers(point, "explicitBounds", place),
        scale=_int32(get(point, "scale")),
        zero_count=fields.count(get(point, "zeroCount")),
        positive=_buckets(point, "positive", place),
        negative=_buckets(point, "negative", place),
        quantiles=tuple(
            (fields.number(get(each, "quantile")), fields.number(get(each, "value")))
            for each, _ in fields.objects(point, "quantileValues", place)
        ),
    )


def _exemplar(exemplar: Object, place: str) -> Exemplar:
    return Exemplar(
        time_ns=fields.time(get(exemplar, "timeUnixNano")),
        value=_value(exemplar),
        trace_id=fields.hex_id(get(exemplar, "traceId"), 32),
        span_id=fields.hex_id(get(exemplar, "spanId"), 16),
        attributes=fields.attributes(exemplar, place, "filteredAttributes"),
    )


def _value(point: Object) -> float:
    whole = get(point, "asInt")
    return fields.number(get(point, "asDouble")) if whole is None else float(fields.whole(whole) or 0)


def _buckets(point: Object, name: str, place: str) -> Buckets:
    side = fields.child(point, name, place)
    return Buckets(_int32(get(side, "offset")), fields.counts(side, "bucketCounts", f"{place}.{name}"))


def _int32(raw: object) -> int:
    return fields.bounded(fields.whole(raw) or 0, -_MAX_INT32 - 1, _MAX_INT32)
