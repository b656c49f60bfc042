"""Requests of too many items: taken at the limit, refused one past it, alike in every transport and encoding."""

import gzip
import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from support import otlp, otlp_records
from support.backend_process import BackendProcess, grpc_request, http_request
from tokentrail.backend.receiver.counts import require_few, require_few_objects
from tokentrail.backend.receiver.decoded import TooManyItemsError
from tokentrail.backend.signals import Signal

MOST = 10
PROTOBUF, JSON = "application/x-protobuf", "application/json"
METHODS = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
COUNTERS = {
    Signal.TRACES: "tokentrail_spans",
    Signal.LOGS: "tokentrail_log_records",
    Signal.METRICS: "tokentrail_metric_points",
}


def spans(count: int) -> ExportTraceServiceRequest:
    """Half of them under a resource of their own."""
    request = otlp.request(otlp.span() for _ in range(count // 2))
    request.MergeFrom(otlp.request(otlp.span() for _ in range(count - count // 2)))
    return request


def records(count: int) -> ExportLogsServiceRequest:
    return otlp_records.logs_request(otlp_records.log_record() for _ in range(count))


def points(count: int) -> ExportMetricsServiceRequest:
    """Points of every kind, and the rest in one gauge."""
    every = otlp_records.every_kind(1_700_000_000_000_000_000)
    rest = Metric(name="rest")
    for number in range(count - len(every)):
        rest.gauge.data_points.add(as_int=number, time_unix_nano=1_700_000_000_000_000_000 + number)
    return otlp_records.metrics_request([*every, rest])


REQUESTS: dict[Signal, Callable[[int], Message]] = {
    Signal.TRACES: spans,
    Signal.LOGS: records,
    Signal.METRICS: points,
}


def as_json(message: Message) -> bytes:
    """The message in JSON; ids are hex there, where protobuf's own mapping has base64."""

    def of_ids(found: object) -> object:
        if isinstance(found, list):
            return [of_ids(each) for each in found]
        if not isinstance(found, dict):
            return found
        hexed = ("traceId", "spanId")
        return {key: b64decode(value).hex() if key in hexed else of_ids(value) for key, value in found.items()}

    return json.dumps(of_ids(MessageToDict(message))).encode()


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    environment = {"TOKENTRAIL_MAX_REQUEST_SPANS": str(MOST)}
    with BackendProcess(tmp_path_factory.mktemp("counts") / "data", environment) as process:
        yield process
        assert process.terminate() == 0


def books(backend: BackendProcess, signal: Signal) -> tuple[float, float]:
    """What was received, and what was refused for its number."""
    name = COUNTERS[signal]
    return (
        backend.metric(f"{name}_received_total"),
        backend.metric(f"{name}_rejected_total", reason="too_many"),
    )


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize("coding", ["protobuf", "gzip", "json"])
def test_a_request_over_http_is_taken_at_the_limit_and_413_one_past_it(
    backend: BackendProcess, signal: Signal, coding: str
) -> None:
    def send(count: int) -> tuple[int, bytes]:
        message = REQUESTS[signal](count)
        body = as_json(message) if coding == "json" else message.SerializeToString()
        headers = {"content-type": JSON if coding == "json" else PROTOBUF}
        if coding == "gzip":
            body, headers["content-encoding"] = gzip.compress(body), "gzip"
        answer = http_request(f"{backend.http}/v1/{signal}", body, headers)
        assert "retry-after" not in answer.headers
        return answer.status, answer.body

    received, rejected = books(backend, signal)

    assert send(MOST) in ((200, b""), (200, b"{}"))
    status, body = send(MOST + 1)

    assert status == 413
    assert b"more than 10, the limit" in body
    assert b"TOKENTRAIL_MAX_REQUEST_SPANS" in body
    assert books(backend, signal) == (received + 2 * MOST + 1, rejected + MOST + 1)


@pytest.mark.parametrize("signal", Signal)
def test_a_request_over_grpc_is_taken_at_the_limit_and_invalid_one_past_it(
    backend: BackendProcess, signal: Signal
) -> None:
    def send(count: int) -> bytes:
        return grpc_request(backend.grpc, REQUESTS[signal](count).SerializeToString(), METHODS[signal])

    received, rejected = books(backend, signal)

    assert send(MOST) == b""
    with pytest.raises(grpc.RpcError) as caught:
        send(MOST + 1)

    call: Any = caught.value
    assert call.code() is grpc.StatusCode.INVALID_ARGUMENT, "which no exporter sends again"
    assert "TOKENTRAIL_MAX_REQUEST_SPANS" in call.details()
    assert "google.rpc.retryinfo-bin" not in dict(call.trailing_metadata())
    assert books(backend, signal) == (received + 2 * MOST + 1, rejected + MOST + 1)


def counted(body: bytes, signal: Signal = Signal.TRACES) -> int:
    """By how many items a request is refused that may hold none."""
    try:
        require_few(body, signal, 0)
    except TooManyItemsError as error:
        return error.count
    return 0


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize("count", [6, 7, 1000])
def test_items_are_counted_in_either_encoding(signal: Signal, count: int) -> None:
    message = REQUESTS[signal](count)

    with pytest.raises(TooManyItemsError) as in_json:
        require_few_objects(json.loads(as_json(message)), signal, 0)

    assert counted(message.SerializeToString(), signal) == in_json.value.count == count
    spelt = json.loads(json.dumps(MessageToDict(message, preserving_proto_field_name=True)))
    with pytest.raises(TooManyItemsError) as in_snake_case:
        require_few_objects(spelt, signal, 0)
    assert in_snake_case.value.count == count


def field(number: int, body: bytes) -> bytes:
    """A field of bytes, framed as protobuf does."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(number: int) -> bytes:
    if number < 128:
        return bytes([number])
    return bytes([number & 127 | 128]) + varint(number >> 7)


def test_fields_that_are_not_known_hide_nothing() -> None:
    unknown = b"\x48\x07" + b"\x51" + b"8" * 8 + b"\x5d" + b"4" * 4 + field(999, b"x" * 300)
    group = varint(700 << 3 | 3) + field(2, b"not a span") + varint(700 << 3 | 4)
    scope = unknown + field(2, b"") + group + field(2, b"") + unknown
    body = group + field(1, unknown + field(2, scope) + unknown) + field(1, field(2, field(2, b"")))

    parsed = ExportTraceServiceRequest.FromString(body)

    assert sum(len(scope.spans) for each in parsed.resource_spans for scope in each.scope_spans) == 3
    assert counted(body) == 3


def test_messages_around_nothing_count_as_they_cost() -> None:
    assert counted(field(1, b"") * 7) == 7
    assert counted(field(1, field(2, b"") * 5)) == 5
    assert counted(field(1, field(2, field(2, field(5, b"") * 3))), Signal.METRICS) == 3


@pytest.mark.parametrize(
    "body", [b"\x0a", b"\x0a\x05ab", b"\x0f", b"\x0c", b"\xff" * 20, b"\x09\x01", field(1, b"\x12\x7f")], ids=repr
)
def test_what_is_malformed_is_left_to_the_parser(body: bytes) -> None:
    assert counted(body) <= 1


def test_counting_ends_where_nothing_is_told_apart_any_more() -> None:
    many = field(1, field(2, field(2, b"") * 5_000_000))

    assert counted(many) == 4_000_000


def test_requests_may_hold_any_number_without_a_limit() -> None:
    require_few(spans(50).SerializeToString(), Signal.TRACES, None)
    require_few_objects(MessageToDict(spans(50)), Signal.TRACES, None)


def test_what_was_acknowledged_under_another_limit_is_not_refused_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data = tmp_path_factory.mktemp("recount") / "data"
    body = spans(200).SerializeToString()
    with BackendProcess(data) as first:
        assert first.post_traces(body).status == 200
        first.kill()  # most likely before they are in the store

    with BackendProcess(data, {"TOKENTRAIL_MAX_REQUEST_SPANS": "1"}) as second:
        assert len(second.requests()) == 200
        assert second.post_traces(body).status == 413
        assert second.terminate() == 0
