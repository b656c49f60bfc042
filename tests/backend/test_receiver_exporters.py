"""OpenTelemetry's own exporters against a real backend, end to end."""

import gzip
import json
import time
from collections.abc import Iterator

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from support import otlp
from support.backend_process import BackendProcess, grpc_request

TRANSPORTS = ("http", "http with gzip", "grpc", "grpc with gzip")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    with BackendProcess(tmp_path_factory.mktemp("exporters") / "data") as process:
        yield process
        assert process.terminate() == 0


def exporter_for(backend: BackendProcess, transport: str) -> SpanExporter:
    zipped = transport.endswith("gzip")
    if transport.startswith("http"):
        compression = Compression.Gzip if zipped else Compression.NoCompression
        return HttpExporter(endpoint=f"{backend.http}/v1/traces", compression=compression)
    compression_of_grpc = grpc.Compression.Gzip if zipped else grpc.Compression.NoCompression
    return GrpcExporter(endpoint=backend.grpc, insecure=True, compression=compression_of_grpc)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_exported_call_is_a_row_with_its_cost_and_is_in_the_metrics(backend: BackendProcess, transport: str) -> None:
    service = f"shop over {transport}"
    resource = Resource.create({"service.name": service, "deployment.environment.name": "test"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter_for(backend, transport)))
    tracer = provider.get_tracer("tests")

    with tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        with tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes={**otlp_chat()}):
            pass
        with tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes={**otlp_chat()}) as failed:
            failed.set_attribute("error.type", "429")
            failed.set_status(Status(StatusCode.ERROR, "slow down"))
    assert provider.force_flush()
    provider.shutdown()

    rows = [row for row in backend.requests() if row["service"] == service]
    assert [row["error_type"] for row in rows] == ["429", ""], "newest first, and no row for the agent"
    # gpt-4o: 2.50 USD per million input tokens, 10 per million output tokens.
    assert [row["cost_usd"] for row in rows] == [0.000075, 0.000075]
    assert rows[0]["error_message"] == "slow down"
    assert rows[0]["trace_id"] == rows[1]["trace_id"]
    labels = {"service_name": service, "deployment_environment_name": "test", "gen_ai_request_model": "gpt-4o"}
    assert backend.wait_for_metric("tokentrail_requests_total", 2, **labels) == 2
    assert backend.metric("tokentrail_request_errors_total", **labels, error_type="429") == 1
    assert backend.metric("tokentrail_tokens_total", **labels, gen_ai_token_type="input") == 20
    assert backend.metric("tokentrail_cost_usd_total", **labels) == pytest.approx(0.00015)


def otlp_chat() -> dict[str, str | int]:
    return {key: value for key, value in otlp.CHAT.items() if isinstance(value, str | int)}


def test_an_export_over_json_is_a_row_too(backend: BackendProcess) -> None:
    now = time.time_ns()
    attributes = [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.provider.name", "value": {"stringValue": "openai"}},
        {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}},
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "10"}},
        {"key": "gen_ai.usage.output_tokens", "value": {"intValue": 5}},
    ]
    span = {
        "traceId": "A" * 32,
        "spanId": "b" * 16,
        "name": "chat",
        "startTimeUnixNano": str(now),
        "endTimeUnixNano": now + 1,
        "attributes": attributes,
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "json"}}]}
    body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).encode()

    answer = backend.post_traces(gzip.compress(body), "application/json; charset=utf-8", content_encoding="gzip")

    (row,) = [row for row in backend.requests() if row["service"] == "json"]
    assert (answer.status, answer.json()) == (200, {})
    assert row["trace_id"] == "a" * 32
    assert row["cost_usd"] == 0.000075


def test_concatenated_gzip_members_are_one_body(backend: BackendProcess) -> None:
    one, two = (otlp.body(otlp.span({**otlp.CHAT, "gen_ai.response.id": name})) for name in ("m1", "m2"))

    answer = backend.post_traces(gzip.compress(one) + gzip.compress(two), content_encoding="gzip")

    assert answer.status == 200
    assert {"m1", "m2"} <= {row["response_id"] for row in backend.requests()}


def test_the_same_request_over_both_transports_counts_once(backend: BackendProcess) -> None:
    body = otlp.body(otlp.span({**otlp.CHAT, "gen_ai.response.id": "both"}))

    first = backend.post_traces(body)
    second = grpc_request(backend.grpc, body)

    assert (first.status, second) == (200, b"")
    assert [row["response_id"] for row in backend.requests()].count("both") == 1


def test_pages_answer(backend: BackendProcess) -> None:
    home, alive, ready = backend.get("/"), backend.get("/healthz"), backend.get("/readyz")
    metrics, api, nothing = backend.get("/metrics"), backend.get("/api/totals"), backend.get("/api/nothing")

    assert b"OTEL_EXPORTER_OTLP_ENDPOINT" in home.body
    assert (alive.status, ready.status, ready.body) == (200, 200, b"ready\n")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'tokentrail_build_info{version="' in metrics.body
    assert api.status == 200
    assert nothing.status == 404
