"""Tables of log records and metrics: the exporter's layout, what is put into them, and what is found again."""

import time
from collections.abc import Iterator

import pytest

from support import otlp, otlp_records
from tokentrail.backend.receiver.decode import Encoding, decode_logs, decode_metrics
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.records import Part, split

ORIGIN = (
    "ResourceAttributes ResourceSchemaUrl ScopeName ScopeVersion ScopeAttributes ScopeDroppedAttrCount ScopeSchemaUrl "
    "ServiceName MetricName MetricDescription MetricUnit Attributes StartTimeUnix TimeUnix"
)
EXEMPLARS = "Exemplars.FilteredAttributes Exemplars.TimeUnix Exemplars.Value Exemplars.SpanId Exemplars.TraceId"
LAYOUT = {
    "otel_logs": "Timestamp TraceId SpanId TraceFlags SeverityText SeverityNumber ServiceName Body ResourceSchemaUrl "
    "ResourceAttributes ScopeSchemaUrl ScopeName ScopeVersion ScopeAttributes LogAttributes EventName",
    "otel_metrics_gauge": f"{ORIGIN} Value Flags {EXEMPLARS}",
    "otel_metrics_sum": f"{ORIGIN} Value Flags {EXEMPLARS} AggregationTemporality IsMonotonic",
    "otel_metrics_histogram": f"{ORIGIN} Count Sum BucketCounts ExplicitBounds {EXEMPLARS} Flags Min Max "
    "AggregationTemporality",
    "otel_metrics_exponential_histogram": f"{ORIGIN} Count Sum Scale ZeroCount PositiveOffset PositiveBucketCounts "
    f"NegativeOffset NegativeBucketCounts {EXEMPLARS} Flags Min Max AggregationTemporality",
    "otel_metrics_summary": f"{ORIGIN} Count Sum ValueAtQuantiles.Quantile ValueAtQuantiles.Value Flags",
}
"""Columns in the exporter's order, read from its templates (logs v0.151, metrics v0.160)."""
DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbStore]:
    opened = ChdbStore(tmp_path_factory.mktemp("records") / "data")
    opened.migrate()
    yield opened
    opened.close()


@pytest.mark.parametrize("table", LAYOUT)
def test_a_table_has_the_exporters_columns_and_then_ours(store: ChdbStore, table: str) -> None:
    columns = [str(row["name"]) for row in store.query(f"DESCRIBE TABLE {table}")]
    shown = [name for name in columns if not name.startswith("__otel_materialized_")]

    assert shown[: len(LAYOUT[table].split())] == LAYOUT[table].split()
    assert shown[len(LAYOUT[table].split()) :] == ["RequestDigest", "Project"]


@pytest.mark.parametrize("table", LAYOUT)
def test_a_table_is_ordered_and_partitioned_as_the_exporters(store: ChdbStore, table: str) -> None:
    (found,) = store.query(
        "SELECT sorting_key, partition_key, engine FROM system.tables WHERE database = currentDatabase() AND name = "
        f"'{table}'"
    )

    by_log = ("toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp", "toDate(Timestamp)")
    by_metric = (
        "ServiceName, MetricName, toStartOfHour(TimeUnix), cityHash64(Attributes), TimeUnix",
        "toDate(TimeUnix)",
    )
    expected = by_log if table == "otel_logs" else by_metric
    assert (found["sorting_key"], found["partition_key"], found["engine"]) == (*expected, "MergeTree")


def parts_of(digest: bytes, *, at_ns: int, days: int = 3) -> list[Part]:
    records = [otlp_records.log_record(f"day {day}", time_unix_nano=at_ns - day * DAY_NS) for day in range(days)]
    logs = decode_logs(otlp_records.logs_request(records).SerializeToString(), Encoding.PROTOBUF).records
    metrics = otlp_records.metrics_request(otlp_records.every_kind(at_ns)).SerializeToString()
    return split(digest, logs, decode_metrics(metrics, Encoding.PROTOBUF).points)


def test_parts_are_found_by_their_table_request_and_day(store: ChdbStore) -> None:
    # At the last nanosecond of a second, too: a comparison that drops the fraction would miss it.
    at_ns = time.time_ns() // 10**9 * 10**9 + 999_999_999
    mine, others = parts_of(b"m" * 16, at_ns=at_ns), parts_of(b"o" * 16, at_ns=at_ns)
    assert len({part.key for part in mine}) == len(mine) == 3 + 5

    before = store.find_parts([*mine, *others])
    store.insert_parts(mine[1:])

    assert before == set()
    assert store.find_parts([*mine, *others]) == {part.key for part in mine[1:]}
    assert store.find_parts(mine[:1]) == set()


def test_values_are_stored_as_the_exporter_writes_them(store: ChdbStore) -> None:
    at_ns = 1_795_000_000_123_456_789
    record = otlp_records.log_record(
        ["a", 1, True],
        {"text": "x", "whole": 1, "double": 2.0, "flag": False, "list": ["b", 1]},
        time_unix_nano=at_ns,
        severity_number=17,
        severity_text="ERROR",
        flags=1,
        trace_id=b"\1" * 16,
        span_id=b"\2" * 8,
        event_name="broken",
    )
    request = otlp_records.logs_request([record], {"service.name": "values", "k8s.pod.name": "p-1"})
    logs = decode_logs(request.SerializeToString(), Encoding.PROTOBUF).records
    point = otlp_records.every_kind(at_ns)[2]
    point.histogram.data_points[0].attributes.extend(otlp.key_values({"code": 200}))
    metrics = decode_metrics(otlp_records.metrics_request([point]).SerializeToString(), Encoding.PROTOBUF).points

    store.insert_parts(split(b"v" * 16, logs, metrics))

    (row,) = store.query(
        "SELECT * EXCEPT (RequestDigest), `__otel_materialized_k8s.pod.name` AS pod FROM otel_logs "
        "WHERE ServiceName = 'values'"
    )
    assert row == {
        "Timestamp": "2026-11-18 11:06:40.123456789",
        "TraceId": "01" * 16,
        "SpanId": "02" * 8,
        "TraceFlags": 1,
        "SeverityText": "ERROR",
        "SeverityNumber": 17,
        "ServiceName": "values",
        "Body": '["a",1,true]',
        "ResourceSchemaUrl": "",
        "ResourceAttributes": {"service.name": "values", "k8s.pod.name": "p-1"},
        "ScopeSchemaUrl": "",
        "ScopeName": "tests",
        "ScopeVersion": "1",
        "ScopeAttributes": {},
        "LogAttributes": {"text": "x", "whole": "1", "double": "2", "flag": "false", "list": '["b",1]'},
        "EventName": "broken",
        "Project": "",
        "pod": "p-1",
    }
    (histogram,) = store.query(
        "SELECT TimeUnix, Count, Sum, BucketCounts, ExplicitBounds, Min, Max, AggregationTemporality, Attributes, "
        "Exemplars.FilteredAttributes AS filtered, Exemplars.Value AS value, Exemplars.TraceId AS trace "
        "FROM otel_metrics_histogram WHERE TimeUnix = '2026-11-18 11:06:40'"
    )
    assert histogram == {
        "TimeUnix": "2026-11-18 11:06:40",
        "Count": 3,
        "Sum": 2.5,
        "BucketCounts": [1, 2],
        "ExplicitBounds": [0.5],
        "Min": 0.1,
        "Max": 2.0,
        "AggregationTemporality": 1,
        "Attributes": {"code": "200"},
        "filtered": [{"user": "ada"}],
        "value": [2.0],
        "trace": ["01" * 16],
    }


def test_a_request_of_the_far_future_is_found_again(store: ChdbStore) -> None:
    parts = parts_of(b"f" * 16, at_ns=2**63 - 1, days=1)

    store.insert_parts(parts)

    assert store.find_parts(parts) == {part.key for part in parts}
