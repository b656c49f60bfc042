"""Logs and metrics over both transports, from the SDK of OpenTelemetry and raw: nothing is lost, nothing doubled."""

import gzip
import json
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import zstandard
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from support import otlp, otlp_records, rivals
from support.backend_process import BackendProcess, grpc_request, http_request
from support.faulty_backend import PROGRAM, set_faults
from support.local_provider import FAST
from tokentrail.backend.demo.provider import ServedProvider
from tokentrail.backend.receiver.limits import MAX_BUCKETS
from tokentrail.backend.store.chdb import ChdbStore

WORKER = Path(__file__).parents[1] / "support" / "three_signals_worker.py"
PROTOBUF = "application/x-protobuf"
LOGS_SERVICE = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
METRICS_SERVICE = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


def post(backend: BackendProcess, signal: str, body: bytes, content_type: str = PROTOBUF, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http_request(f"{backend.http}/v1/{signal}", body, {"content-type": content_type, **named})


def counts(backend: BackendProcess, what: str) -> dict[str, float]:
    stages = ("received", "stored", "repeated", "rejected", "returned")
    return {stage: backend.metric(f"tokentrail_{what}_{stage}_total") for stage in stages}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signals") / "data"


@pytest.fixture(scope="module")
def backend(data: Path) -> Iterator[BackendProcess]:
    with BackendProcess(data) as process:
        yield process


def stored(data: Path, *statements: str) -> list[list[dict[str, Any]]]:
    """Answers of the store of a backend that is gone."""
    store = ChdbStore(data)
    try:
        return [store.query(statement) for statement in statements]
    finally:
        store.close()


def test_an_application_that_exports_everything_to_one_endpoint_loses_nothing(tmp_path: Path) -> None:
    """Spans, events and metrics of the official GenAI instrumentation, over both protocols, by the SDK's exporters."""
    path = rivals.python_path("genai-openai", rivals.OPENAI_3)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}

    with ServedProvider(FAST) as provider, BackendProcess(tmp_path / "data") as process:
        for protocol, endpoint in (("http/protobuf", process.http), ("grpc", process.grpc)):
            done = subprocess.run(
                [sys.executable, str(WORKER), protocol, endpoint, provider.url],
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == [], "an exporter complained"
        # Two calls each: 3 spans, 2 events of ours and 2 of the instrumentation.
        assert process.wait_for_metric("tokentrail_spans_stored_total", 6) == 6
        assert counts(process, "log_records") == {
            **dict.fromkeys(("repeated", "rejected", "returned"), 0),
            **dict.fromkeys(("received", "stored"), 8),
        }
        points = counts(process, "metric_points")
        assert points["received"] == points["stored"] > 8
        assert process.metric("tokentrail_export_requests_total", code="200") == 3
        assert process.metric("tokentrail_export_requests_total", code="OK") == 3
        rows = process.requests()
        assert len(rows) == 4
        assert {json.loads(row["input_messages"])[0]["parts"][0]["content"] for row in rows} == {"Say 0", "Say 1"}
        assert process.terminate() == 0

    events, latency, orders, temperature, durations = stored(
        tmp_path / "data",
        "SELECT ServiceName, EventName, Body, TraceId != '' AS traced FROM otel_logs ORDER BY ServiceName, Timestamp",
        "SELECT Count, Sum, Min, Max, Scale, arraySum(PositiveBucketCounts) AS counted, Exemplars.TraceId AS traces, "
        "Attributes FROM otel_metrics_exponential_histogram WHERE MetricName = 'app.latency'",
        "SELECT Value, IsMonotonic, AggregationTemporality FROM otel_metrics_sum WHERE MetricName = 'app.orders'",
        "SELECT Value, Attributes FROM otel_metrics_gauge WHERE MetricName = 'app.temperature'",
        "SELECT Count, length(BucketCounts) - length(ExplicitBounds) AS more, Exemplars.TraceId AS traces "
        "FROM otel_metrics_histogram WHERE MetricName = 'gen_ai.client.operation.duration'",
    )
    assert [each["EventName"] for each in events].count("app.ordered") == 4
    assert {each["Body"] for each in events if each["EventName"] == "app.ordered"} == {'{"order":0}', '{"order":1}'}
    assert [each["EventName"] for each in events].count("gen_ai.client.inference.operation.details") == 4
    assert all(each["traced"] for each in events)
    assert len(latency) == 2
    for each in latency:
        assert (each["Count"], each["Sum"], each["Min"], each["Max"], each["counted"]) == (2, 0.75, 0.25, 0.5, 2)
        assert each["Attributes"] == {"kind": "chat"}
        assert each["traces"], "measured within a span that is sampled"
        assert all(len(trace_id) == 32 for trace_id in each["traces"])
    assert [(each["Value"], each["IsMonotonic"], each["AggregationTemporality"]) for each in orders] == [
        (3.0, True, 2)
    ] * 2
    assert [(each["Value"], each["Attributes"]) for each in temperature] == [(21.5, {"room": "a"})] * 2
    assert sum(each["Count"] for each in durations) == 4
    assert all(each["more"] == 1 and each["traces"] for each in durations)


CODED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("signal", ["logs", "metrics", "traces"])
def test_every_signal_is_taken_in_every_content_encoding(backend: BackendProcess, signal: str, coding: str) -> None:
    what = {"logs": "log_records", "metrics": "metric_points", "traces": "spans"}[signal]
    bodies = {
        "logs": otlp_records.logs_request([otlp_records.log_record(f"{signal} {coding}")]),
        "metrics": otlp_records.metrics_request([otlp_records.gauge()]),
        "traces": otlp.request([otlp.span()]),
    }
    before = counts(backend, what)

    answer = post(backend, signal, CODED[coding](bodies[signal].SerializeToString()), content_encoding=coding)

    assert (answer.status, answer.body) == (200, b"")
    after = counts(backend, what)
    assert after["received"] - before["received"] == 1
    assert after["stored"] - before["stored"] == 1


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
def test_grpc_takes_its_compressions(backend: BackendProcess, compression: grpc.Compression) -> None:
    logs = otlp_records.logs_request([otlp_records.log_record()]).SerializeToString()

    assert grpc_request(backend.grpc, logs, LOGS_SERVICE, compression) == b""


def test_an_unknown_content_encoding_is_told_which_ones_there_are(backend: BackendProcess) -> None:
    answer = post(backend, "logs", b"x", content_encoding="br")

    assert answer.status == 415
    for coding in ("gzip", "deflate", "zstd"):
        assert coding.encode() in answer.body


def test_a_bomb_in_zstd_is_refused_like_one_in_gzip(backend: BackendProcess) -> None:
    body = zstandard.compress(bytes(16 * 1024 * 1024)) * 8

    assert len(body) < 100_000
    assert post(backend, "logs", body, content_encoding="zstd").status == 413


def test_points_with_too_many_buckets_are_told_and_the_others_stored(
    backend: BackendProcess,
) -> None:
    wide = otlp_records.every_kind(time.time_ns())[3]
    wide.exponential_histogram.data_points[0].positive.bucket_counts.extend([1] * MAX_BUCKETS)
    body = otlp_records.metrics_request([otlp_records.gauge(), wide]).SerializeToString()
    before = counts(backend, "metric_points")

    answer = ExportMetricsServiceResponse.FromString(post(backend, "metrics", body).body)
    over_grpc = ExportMetricsServiceResponse.FromString(grpc_request(backend.grpc, body, METRICS_SERVICE))

    assert answer.partial_success.rejected_data_points == over_grpc.partial_success.rejected_data_points == 1
    assert answer.partial_success.error_message == "1 points with too_many_buckets"
    after = {stage: count - before[stage] for stage, count in counts(backend, "metric_points").items()}
    assert after == {"received": 4, "stored": 1, "repeated": 1, "rejected": 2, "returned": 0}


def test_what_is_cut_is_counted(backend: BackendProcess) -> None:
    record = otlp_records.log_record("x", {f"{'k' * 2000}{number}": "v" for number in range(1)})

    assert post(backend, "logs", otlp_records.logs_request([record]).SerializeToString()).status == 200

    assert backend.metric("tokentrail_cut_total", signal="logs", reason="attribute_key") == 1


def test_requests_sent_again_are_stored_once_also_after_a_kill_and_also_at_the_same_time(tmp_path: Path) -> None:
    """The tables tell: each request is there once, whatever was killed and however often it was sent."""
    at_ns = time.time_ns()
    midnight_ns = at_ns // (86_400 * 10**9) * 86_400 * 10**9
    logs = [
        # Some lie on both sides of midnight: two parts, of which a crash may keep one.
        otlp_records.logs_request(
            [
                otlp_records.log_record(f"log {number}", time_unix_nano=midnight_ns + (row - 1) * 10**9)
                for row in range(3)
            ]
        ).SerializeToString()
        for number in range(30)
    ]
    points = [
        otlp_records.metrics_request(otlp_records.every_kind(at_ns + number * 10**9)).SerializeToString()
        for number in range(30)
    ]
    both = [(logs, "logs"), (points, "metrics")]
    acknowledged: set[bytes] = set()

    def send(process: BackendProcess, bodies: list[bytes], signal: str) -> None:
        for body in bodies:
            try:
                if post(process, signal, body).status == 200:
                    acknowledged.add(body)
            except OSError:
                return  # killed

    for round_ in range(6):
        with BackendProcess(tmp_path / "data") as process:
            senders = [
                threading.Thread(target=send, args=(process, bodies, signal))
                for bodies, signal in [*both, *((bodies[::-1], signal) for bodies, signal in both)]
            ]
            for sender in senders:
                sender.start()
            if round_ < 5:
                time.sleep(0.02 + 0.15 * round_)
                process.kill()
            for sender in senders:
                sender.join()
            if round_ == 5:
                assert process.terminate() == 0

    assert acknowledged == {*logs, *points}
    rows, *tables = stored(
        tmp_path / "data",
        "SELECT count() AS rows, uniqExact(Body, Timestamp) AS kinds FROM otel_logs",
        *(
            f"SELECT count() AS rows, uniqExact(TimeUnix) AS kinds FROM otel_metrics_{kind}"
            for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary")
        ),
    )
    assert rows == [{"rows": 90, "kinds": 90}]
    assert tables == [[{"rows": 30, "kinds": 30}]] * 5


def test_what_has_no_time_is_of_when_it_came_and_kept_once_also_after_a_kill(tmp_path: Path) -> None:
    """Neither of the times of a log record must be there. In 1970 it would be older than anything that is kept."""
    record = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "no time"}}]}]}]}
    gauge = {"name": "g", "gauge": {"dataPoints": [{"asDouble": 1.5}]}}
    point = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [gauge]}]}]}
    bodies = (("logs", json.dumps(record).encode()), ("metrics", json.dumps(point).encode()))
    before_s = int(time.time())

    with BackendProcess(tmp_path / "data", {"TOKENTRAIL_RETENTION_TRACES_DAYS": "1"}) as process:
        answers = [post(process, signal, body, "application/json").status for signal, body in bodies]
        assert counts(process, "log_records")["stored"] == counts(process, "metric_points")["stored"] == 1
        answers += [post(process, signal, body, "application/json").status for signal, body in bodies]
        process.kill()
        process.start()
        assert process.get("/api/totals").status == 200  # what was in the journal is stored
        process.terminate()
        logs, points = stored(
            tmp_path / "data",
            "SELECT toUnixTimestamp(Timestamp) AS at_s, Body FROM otel_logs",
            "SELECT toUnixTimestamp(TimeUnix) AS at_s, Value FROM otel_metrics_gauge",
        )

    assert answers == [200] * 4
    assert [each["Body"] for each in logs] == ["no time"]
    assert [each["Value"] for each in points] == [1.5]
    assert all(before_s <= each["at_s"] <= time.time() for each in (*logs, *points))


def test_what_has_no_time_is_of_when_it_came_when_a_journal_is_read(tmp_path: Path) -> None:
    body = otlp_records.logs_request([otlp_records.log_record(time_unix_nano=0)]).SerializeToString()
    faults = tmp_path / "faults.json"
    set_faults(faults, insert_parts="unavailable")

    with BackendProcess(tmp_path / "data", {"FAULTS_FILE": str(faults)}, program=PROGRAM) as process:
        assert post(process, "logs", body).status == 200
        came_s = time.time()
        time.sleep(1.1)
        process.kill()
        set_faults(faults)
        process.start()
        process.wait_for_metric("tokentrail_log_records_stored_total", 1)
        process.terminate()
        (logs,) = stored(tmp_path / "data", "SELECT toUnixTimestamp64Milli(Timestamp) AS at_ms FROM otel_logs")

    assert [0 <= came_s * 1000 - each["at_ms"] < 60_000 for each in logs] == [True]
