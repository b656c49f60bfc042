"""Decoding log records and metrics: both encodings give the same values, and only a broken structure is an error."""

import base64
import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValueList

from support import otlp, otlp_records
from tokentrail.backend.log import LogRecord
from tokentrail.backend.point import Buckets, Exemplar, MetricKind, Point
from tokentrail.backend.receiver.decode import Encoding, decode_logs, decode_metrics
from tokentrail.backend.receiver.decoded import MAX_VALUE_DEPTH, TOO_DEEP, DecodeError
from tokentrail.backend.receiver.limits import DEPTH
from tokentrail.backend.signals import Origin

AT_NS = 1_700_000_000_123_456_789
TRACE_ID, SPAN_ID = bytes(range(16)), bytes(range(1, 9))


def as_otlp_json(message: Message) -> bytes:
    """The body by protobuf's own JSON mapping, with ids as hex and enums as numbers, which is OTLP's."""
    document: dict[str, Any] = json_format.MessageToDict(message, use_integers_for_enums=True)

    def hex_ids(value: object) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key in ("traceId", "spanId") and isinstance(item, str):
                    value[key] = base64.b64decode(item).hex().upper()
                else:
                    hex_ids(item)
        elif isinstance(value, list):
            for item in value:
                hex_ids(item)

    hex_ids(document)
    return json.dumps(document).encode()


def body_of(message: Message, encoding: Encoding) -> bytes:
    return as_otlp_json(message) if encoding is Encoding.JSON else message.SerializeToString()


def full_logs() -> Message:
    body = AnyValue(kvlist_value=KeyValueList(values=otlp.key_values({"content": "hi", "n": [1, 2.5]})))
    request = otlp_records.logs_request(
        [
            otlp_records.log_record(
                body,
                {"gen_ai.system": "openai", "n": 7},
                time_unix_nano=AT_NS,
                observed_time_unix_nano=AT_NS + 5,
                severity_number=9,
                severity_text="INFO",
                trace_id=TRACE_ID,
                span_id=SPAN_ID,
                flags=0x301,
                event_name="gen_ai.user.message",
            ),
            otlp_records.log_record("no context", time_unix_nano=0, observed_time_unix_nano=AT_NS + 9),
        ]
    )
    resource_logs = request.resource_logs[0]
    resource_logs.schema_url = "https://opentelemetry.io/schemas/1.37.0"
    scope_logs = resource_logs.scope_logs[0]
    scope_logs.schema_url = "https://opentelemetry.io/schemas/1.36.0"
    scope_logs.scope.attributes.extend(otlp.key_values({"lib": "x"}))
    scope_logs.scope.dropped_attributes_count = 3
    return request


@pytest.mark.parametrize("encoding", Encoding)
def test_a_log_record_has_all_that_was_sent(encoding: Encoding) -> None:
    body = body_of(full_logs(), encoding)

    first, second = decode_logs(body, encoding).records

    origin = Origin(
        resource_attributes={"service.name": "shop"},
        resource_schema_url="https://opentelemetry.io/schemas/1.37.0",
        scope_name="tests",
        scope_version="1",
        scope_attributes={"lib": "x"},
        scope_dropped_attributes=3,
        scope_schema_url="https://opentelemetry.io/schemas/1.36.0",
    )
    assert first == LogRecord(
        origin=origin,
        time_ns=AT_NS,
        trace_id="000102030405060708090a0b0c0d0e0f",
        span_id="0102030405060708",
        flags=1,
        severity_number=9,
        severity_text="INFO",
        body={"content": "hi", "n": (1, 2.5)},
        attributes={"gen_ai.system": "openai", "n": 7},
        event_name="gen_ai.user.message",
    )
    assert (second.time_ns, second.trace_id, second.span_id, second.body) == (AT_NS + 9, "", "", "no context")
    assert second.origin is first.origin


@pytest.mark.parametrize("encoding", Encoding)
def test_a_point_of_every_kind_has_all_that_was_sent(encoding: Encoding) -> None:
    request = otlp_records.metrics_request(otlp_records.every_kind(AT_NS))
    body = body_of(request, encoding)

    gauge, total, histogram, exponential, summary = decode_metrics(body, encoding).points

    assert [each.metric.kind for each in (gauge, total, histogram, exponential, summary)] == list(MetricKind)
    assert (gauge.value, gauge.time_ns, gauge.metric.name, gauge.metric.unit) == (21.5, AT_NS, "temperature", "Cel")
    assert gauge.metric.description == "How warm it is."
    assert (total.value, total.attributes, total.start_ns) == (7.0, {"kind": "chat", "code": 200}, AT_NS - 5 * 10**9)
    assert (total.metric.temporality, total.metric.is_monotonic) == (2, True)
    assert (histogram.count, histogram.sum, histogram.min, histogram.max) == (3, 2.5, 0.1, 2.0)
    assert (histogram.bucket_counts, histogram.explicit_bounds) == ((1, 2), (0.5,))
    assert histogram.metric.temporality == 1
    assert histogram.exemplars == (Exemplar(AT_NS, 2.0, "01" * 16, "02" * 8, {"user": "ada"}),)
    assert (exponential.count, exponential.scale, exponential.zero_count) == (6, -1, 1)
    assert (exponential.positive, exponential.negative) == (Buckets(-3, (1, 2)), Buckets(2, (2,)))
    assert (summary.count, summary.sum, summary.quantiles) == (4, 10.0, ((0.5, 2.0), (0.99, 4.0)))
    assert gauge.metric.origin is summary.metric.origin
    assert gauge.metric.origin.resource_attributes == {"service.name": "shop"}


def json_points(**point: object) -> list[Point]:
    metric = {"name": "n", "gauge": {"dataPoints": [point]}}
    return decode_metrics(
        json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode(), Encoding.JSON
    ).points


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ({"asInt": "9"}, 9.0),
        ({"asInt": 9}, 9.0),
        ({"as_int": "-9"}, -9.0),
        ({"asInt": 0}, 0.0),
        ({"asDouble": "Infinity"}, math.inf),
        ({"asDouble": 1}, 1.0),
        ({"asDouble": "nonsense"}, 0.0),
        ({"asInt": {"low": 7, "high": 0}}, 7.0),
        ({}, 0.0),
    ],
)
def test_numbers_of_json_are_read_however_they_are_written(told: dict[str, object], value: float) -> None:
    (point,) = json_points(**told, timeUnixNano=str(AT_NS))

    assert (point.value, point.time_ns) == (value, AT_NS)


def test_values_out_of_range_cost_nothing_but_themselves() -> None:
    request = otlp_records.logs_request(
        [
            otlp_records.log_record(severity_number=77, time_unix_nano=2**64 - 1, trace_id=b"short", span_id=b"\0" * 8),
        ]
    )
    wrong = {"severityNumber": "SEVERITY_NUMBER_ERROR2", "traceId": "xyz", "flags": "1", "timeUnixNano": "soon"}

    (record,) = decode_logs(request.SerializeToString(), Encoding.PROTOBUF).records
    (of_json,) = decode_logs(
        json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [wrong]}]}]}).encode(), Encoding.JSON
    ).records
    (point,) = json_points(flags=-1, scale=2**40, count=-5, bucketCounts=["1", -2, "x"])

    assert (record.severity_number, record.time_ns, record.trace_id, record.span_id) == (0, 2**63 - 1, "", "")
    assert (of_json.severity_number, of_json.trace_id, of_json.flags, of_json.time_ns) == (18, "", 1, 0)
    assert (point.flags, point.scale, point.count, point.bucket_counts) == (0, 2**31 - 1, 0, (1, 0, 0))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"resourceLogs": {}}',
        b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [1]}]}]}',
        b"[]",
        b'{"resourceLogs": [{"resource": []}]}',
    ],
)
def test_a_broken_structure_of_log_records_is_an_error_that_names_the_place(body: bytes) -> None:
    with pytest.raises(DecodeError, match=r"resourceLogs|JSON"):
        decode_logs(body, Encoding.JSON)


@pytest.mark.parametrize(
    "metric",
    [
        {"gauge": []},
        {"gauge": {"dataPoints": {}}},
        {"histogram": {"dataPoints": [{"bucketCounts": 1}]}},
        {"exponentialHistogram": {"dataPoints": [{"positive": []}]}},
        {"summary": {"dataPoints": [{"quantileValues": [1]}]}},
    ],
)
def test_a_broken_structure_of_metrics_is_an_error_that_names_the_place(metric: dict[str, object]) -> None:
    body = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()

    with pytest.raises(DecodeError, match=r"resourceMetrics\[0\]\.scopeMetrics\[0\]\.metrics\[0\]"):
        decode_metrics(body, Encoding.JSON)


def test_a_protobuf_body_that_is_something_else_is_an_error_that_says_so() -> None:
    with pytest.raises(DecodeError, match="ExportLogsServiceRequest"):
        decode_logs(b"\xff\xff\xff", Encoding.PROTOBUF)
    with pytest.raises(DecodeError, match="looks like JSON"):
        decode_metrics(b"{}", Encoding.PROTOBUF)


def test_bad_utf8_and_deep_values_cost_one_attribute_and_not_the_batch() -> None:
    deep: object = "x"
    for _ in range(MAX_VALUE_DEPTH + 5):
        deep = [deep]
    request = otlp_records.logs_request([otlp_records.log_record("b?d", {"deep": deep, "fine": 1})])
    body = request.SerializeToString().replace(b"b?d", b"b\xffd")

    decoded = decode_logs(body, Encoding.PROTOBUF)

    (record,) = decoded.records
    assert record.body == "b\ufffdd"
    assert record.attributes["fine"] == 1
    assert TOO_DEEP in str(record.attributes["deep"])
    assert decoded.cut == {DEPTH: 1}


def test_every_prefix_of_a_body_is_read_or_is_an_error() -> None:
    logs = full_logs().SerializeToString()
    metrics = otlp_records.metrics_request(otlp_records.every_kind(AT_NS)).SerializeToString()

    for body, decode in ((logs, decode_logs), (metrics, decode_metrics)):
        outcomes = set()
        for end in range(len(body)):
            try:
                decode(body[:end], Encoding.PROTOBUF)
                outcomes.add("read")
            except DecodeError:
                outcomes.add("error")
        assert outcomes == {"read", "error"}, "the empty body is a request without anything"
