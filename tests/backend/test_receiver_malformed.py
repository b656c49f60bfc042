"""Whatever is sent: a clear answer, a count, and a backend that goes on. Over real sockets, both transports."""

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from google.rpc import code_pb2, status_pb2  # type: ignore[import-untyped]  # it has no py.typed
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support import otlp
from support.backend_process import Answer, BackendProcess, grpc_request, http_request

MAX_BODY_BYTES = 8 * 1024 * 1024


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    data = tmp_path_factory.mktemp("malformed") / "data"
    environment = {"TOKENTRAIL_MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    with BackendProcess(Path(data), environment) as process:
        yield process
        assert process.get("/readyz").status == 200, "the backend does not go on"
        assert process.errors() == "", "malformed input is answered, not logged as a failure"


def status_of(answer: Answer) -> status_pb2.Status:
    assert answer.headers["content-type"] == "application/x-protobuf"
    return status_pb2.Status.FromString(answer.body)


def export_grpc(backend: BackendProcess, body: bytes, compression: grpc.Compression | None = None) -> bytes:
    return grpc_request(backend.grpc, body, compression=compression)


def post_streamed(backend: BackendProcess, total_bytes: int, chunked: bool) -> tuple[int, bytes]:
    """Sends a body of zeros piece by piece, all of it, and then reads the answer, as simple clients do."""
    address = urlsplit(backend.http)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    connection.putrequest("POST", "/v1/traces")
    connection.putheader("content-type", "application/x-protobuf")
    connection.putheader(*(("transfer-encoding", "chunked") if chunked else ("content-length", str(total_bytes))))
    connection.endheaders()
    piece = bytes(1024 * 1024)
    for _ in range(total_bytes // len(piece)):
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        connection.send(b"0\r\n\r\n")
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def test_a_truncated_protobuf_body_is_400_over_http(backend: BackendProcess) -> None:
    before = backend.metric("tokentrail_export_requests_total", transport="http", code="400")

    answer = backend.post_traces(otlp.body()[:-3])

    assert answer.status == 400
    assert status_of(answer).code == code_pb2.INVALID_ARGUMENT
    assert "truncated" in status_of(answer).message
    assert backend.metric("tokentrail_export_requests_total", transport="http", code="400") == before + 1


def test_a_truncated_protobuf_body_is_invalid_argument_over_grpc(backend: BackendProcess) -> None:
    with pytest.raises(grpc.RpcError) as failure:
        export_grpc(backend, otlp.body()[:-3])

    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "truncated" in (failure.value.details() or "")
    assert backend.metric("tokentrail_export_requests_total", transport="grpc", code="INVALID_ARGUMENT") == 1


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/octet-stream", "application/x-protobuf2"])
def test_a_wrong_content_type_is_415_and_names_what_is_accepted(backend: BackendProcess, content_type: str) -> None:
    answer = backend.post_traces(otlp.body(), content_type)

    assert answer.status == 415
    assert "application/x-protobuf and application/json" in status_of(answer).message


def test_an_unknown_content_encoding_is_415_and_names_what_is_accepted(backend: BackendProcess) -> None:
    answer = backend.post_traces(otlp.body(), content_encoding="br")

    assert answer.status == 415
    assert "gzip, deflate, zstd and identity" in status_of(answer).message


@pytest.mark.parametrize(
    "body",
    [b"this is not gzip", gzip.compress(otlp.body())[:-9], gzip.compress(otlp.body())[:5]],
    ids=["not gzip", "cut off", "header only"],
)
def test_bad_gzip_is_400(backend: BackendProcess, body: bytes) -> None:
    answer = backend.post_traces(body, content_encoding="gzip")

    assert answer.status == 400
    assert "gzip" in status_of(answer).message


def test_gzip_with_a_wrong_checksum_is_400(backend: BackendProcess) -> None:
    body = bytearray(gzip.compress(otlp.body()))
    body[-6] ^= 0xFF

    answer = backend.post_traces(bytes(body), content_encoding="gzip")

    assert answer.status == 400


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_200_megabyte_body_is_413_that_the_client_can_read(backend: BackendProcess, chunked: bool) -> None:
    before = backend.metric("tokentrail_export_requests_total", transport="http", code="413")

    status, body = post_streamed(backend, 200 * 1024 * 1024, chunked)

    assert status == 413
    assert f"{MAX_BODY_BYTES} bytes" in status_pb2.Status.FromString(body).message
    assert "TOKENTRAIL_MAX_BODY_BYTES" in status_pb2.Status.FromString(body).message
    assert backend.metric("tokentrail_export_requests_total", transport="http", code="413") == before + 1


def test_a_gzip_bomb_is_413_and_is_not_unpacked(backend: BackendProcess) -> None:
    bomb = gzip.compress(bytes(300_000_000), 6)
    pid = backend.process.pid if backend.process else 0
    before_kb = peak_kb(pid)

    answer = backend.post_traces(bomb, content_encoding="gzip")

    assert answer.status == 413
    assert "decompressed body" in status_of(answer).message
    assert peak_kb(pid) - before_kb < 100_000, "far more than the limit was unpacked"


def peak_kb(pid: int) -> int:
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1])


def test_a_message_above_the_limit_is_resource_exhausted_over_grpc_and_counted(backend: BackendProcess) -> None:
    before = backend.metric("tokentrail_export_requests_total", transport="grpc", code="RESOURCE_EXHAUSTED")

    with pytest.raises(grpc.RpcError) as failure:
        export_grpc(backend, bytes(MAX_BODY_BYTES + 1))

    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    after = backend.metric("tokentrail_export_requests_total", transport="grpc", code="RESOURCE_EXHAUSTED")
    assert after == before + 1


def test_a_gzip_bomb_is_resource_exhausted_over_grpc(backend: BackendProcess) -> None:
    with pytest.raises(grpc.RpcError) as failure:
        export_grpc(backend, bytes(100_000_000), grpc.Compression.Gzip)

    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be an object"),
        (b'{"resourceSpans": 5}', "resourceSpans must be an array, not a number"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": ["x"]}]}]}', "spans[0] must be an object, not a string"),
        (b'{"resourceSpans":' * 5000, "JSON"),
        (b'{"resourceSpans":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'\xff\xfe{"resourceSpans": []}', "JSON"),
    ],
    ids=["cut off", "a list", "a number", "a string", "unclosed", "very deep", "not utf-8"],
)
def test_malformed_json_is_400_and_says_where(backend: BackendProcess, body: bytes, words: str) -> None:
    answer = backend.post_traces(body, "application/json")

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["code"] == code_pb2.INVALID_ARGUMENT
    assert words in answer.json()["message"]


def test_json_sent_as_protobuf_is_told_so(backend: BackendProcess) -> None:
    answer = backend.post_traces(b'{"resourceSpans": []}')

    assert answer.status == 400
    assert "content-type application/json" in status_of(answer).message


def test_spans_with_impossible_ids_are_reported_in_partial_success_and_the_others_stored(
    backend: BackendProcess,
) -> None:
    bad = [
        otlp.span(trace_id=b""),
        otlp.span(trace_id=bytes(16)),
        otlp.span(trace_id=b"short"),
        otlp.span(span_id=bytes(8)),
        otlp.span(span_id=b"123456789"),
    ]
    good = otlp.span({**otlp.CHAT, "gen_ai.response.id": "partial-ok"})

    answer = backend.post_traces(otlp.body(*bad[:2], good, *bad[2:]))

    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert answer.status == 200
    assert partial.rejected_spans == 5
    assert partial.error_message == "2 spans with invalid_span_id, 3 spans with invalid_trace_id"
    assert [row["response_id"] for row in backend.requests() if row["response_id"] == "partial-ok"] == ["partial-ok"]
    assert backend.wait_for_metric("tokentrail_spans_rejected_total", 3, reason="invalid_trace_id") == 3
    assert backend.metric("tokentrail_spans_rejected_total", reason="invalid_span_id") == 2


def test_partial_success_is_answered_over_grpc_and_in_json_too(backend: BackendProcess) -> None:
    span: dict[str, object] = {"traceId": "0" * 32, "spanId": "1" * 16}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()

    in_json = backend.post_traces(body, "application/json").json()
    over_grpc = ExportTraceServiceResponse.FromString(export_grpc(backend, otlp.body(otlp.span(trace_id=b"x"))))

    assert in_json == {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "1 spans with invalid_trace_id"}}
    assert over_grpc.partial_success.rejected_spans == 1


def test_nothing_in_an_attribute_breaks_the_batch(backend: BackendProcess) -> None:
    nested: list[object] = ["deep"]
    for _ in range(12):
        nested = [nested]
    odd: dict[str, object] = {
        "gen_ai.request.model": 7,
        "gen_ai.provider.name": ["openai"],
        "gen_ai.usage.input_tokens": "many",
        "gen_ai.usage.output_tokens": -(2**63),
        "gen_ai.usage.cache_read.input_tokens": float("nan"),
        "gen_ai.usage.reasoning.output_tokens": 2**63 - 1,
        "gen_ai.usage.cost": float("inf"),
        "gen_ai.response.finish_reasons": 3.5,
        "gen_ai.response.time_to_first_chunk": "soon",
        "gen_ai.request.stream": "perhaps",
        "http.response.status_code": b"\xff\xfe",
        "gen_ai.input.messages": nested,
        "gen_ai.output.messages": "{broken",
        "session.id": True,
        "user.id": "\x00\u202e\U0001f600",
        "error.type": ["a", 1],
        "tokentrail.property.empty": "",
        "": "empty key",
    }
    spans = [otlp.span({"gen_ai.operation.name": "chat", "gen_ai.response.id": "odd", name: odd[name]}) for name in odd]
    all_at_once = otlp.span({"gen_ai.operation.name": "chat", "gen_ai.response.id": "odd", **odd})
    proper = otlp.span({**otlp.CHAT, "gen_ai.response.id": "proper-among-odd"})

    answer = backend.post_traces(otlp.body(*spans, all_at_once, proper))

    assert (answer.status, answer.body) == (200, b"")
    ids = [row["response_id"] for row in backend.requests()]
    assert ids.count("odd") == len(spans) + 1
    assert ids.count("proper-among-odd") == 1


def test_bad_utf_8_and_extreme_times_break_neither_the_span_nor_the_batch(backend: BackendProcess) -> None:
    body = otlp.body(
        otlp.span({**otlp.CHAT, "gen_ai.response.id": "utf8-XXXX"}, name="XXXX"),
        otlp.span({**otlp.CHAT, "gen_ai.response.id": "ages"}, start_time_unix_nano=0, end_time_unix_nano=2**64 - 1),
        otlp.span({**otlp.CHAT, "gen_ai.response.id": "back"}, start_time_unix_nano=2**64 - 1, end_time_unix_nano=5),
    ).replace(b"XXXX", b"\xff\xc0a\xfe")

    over_http = backend.post_traces(body)

    assert (over_http.status, over_http.body) == (200, b"")
    ids = {row["response_id"] for row in backend.requests()}
    assert {"utf8-\ufffd\ufffda\ufffd", "ages", "back"} <= ids


def test_wrong_methods_and_paths_are_405_and_404(backend: BackendProcess) -> None:
    wrong_method = backend.get("/v1/traces")
    wrong_page_method = http_request(f"{backend.http}/metrics", b"x", method="POST")
    unknown = backend.get("/v2/traces")

    assert (wrong_method.status, wrong_method.headers["allow"]) == (405, "POST")
    assert wrong_page_method.status == 405
    assert unknown.status == 404


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_malformed_logs_and_metrics_are_refused_as_spans_are(backend: BackendProcess, signal: str) -> None:
    headers = {"content-type": "application/x-protobuf"}
    answer = http_request(f"{backend.http}/v1/{signal}", b"\xff\xff", headers)
    of_json = http_request(f"{backend.http}/v1/{signal}", b"[]", {"content-type": "application/json"})
    service = f"opentelemetry.proto.collector.{signal}.v1.{signal.title()}Service"
    with pytest.raises(grpc.RpcError) as failure:
        grpc_request(backend.grpc, b"\xff\xff", f"/{service}/Export")

    assert (answer.status, of_json.status) == (400, 400)
    assert f"Export{signal.title()}ServiceRequest" in status_of(answer).message
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert http_request(f"{backend.http}/v1/{signal}", b"", headers).status == 200


def test_a_client_that_hangs_up_in_the_middle_of_its_body_is_counted(backend: BackendProcess) -> None:
    address = urlsplit(backend.http)
    with socket.create_connection((str(address.hostname), address.port or 0)) as connection:
        connection.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n")
        connection.sendall(b"content-length: 1000\r\n\r\nabc")
        time.sleep(0.1)

    assert backend.wait_for_metric("tokentrail_export_requests_total", 1, code="disconnected") == 1


def test_an_empty_request_is_fine(backend: BackendProcess) -> None:
    assert backend.post_traces(b"").status == 200
    assert backend.post_traces(b"{}", "application/json").json() == {}
    assert export_grpc(backend, b"") == b""


def test_unset_enums_and_unknown_fields_are_read(backend: BackendProcess) -> None:
    unknown_field = b"\xfa\x3f\x03abc"
    body = otlp.body(
        otlp.span({**otlp.CHAT, "gen_ai.response.id": "enum"}, kind=Span.SpanKind.Value("SPAN_KIND_CLIENT"))
    )

    answer = backend.post_traces(body + unknown_field)

    assert answer.status == 200
    assert "enum" in {row["response_id"] for row in backend.requests()}
