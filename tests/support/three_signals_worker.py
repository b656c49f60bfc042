"""An application with all three signals, as OpenTelemetry's SDK and its GenAI instrumentation make them.

    python three_signals_worker.py PROTOCOL ENDPOINT PROVIDER_URL      prints what was logged as a warning or worse

PROTOCOL is `grpc` or `http/protobuf`. Needs `opentelemetry-instrumentation-genai-openai` on its path.
"""

import json
import logging
import os
import sys

os.environ |= {
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "EVENT_ONLY",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "explicit_bucket_histogram",
}

import openai  # after what it reads
from opentelemetry import _logs, metrics, trace
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor  # type: ignore[import-not-found]
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


class _Complaints(logging.Handler):
    """What exporters say when something is wrong."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


def _exporters(protocol: str, endpoint: str) -> tuple[object, object, object]:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans

        kinds = (GrpcSpans, GrpcLogs, GrpcMetrics)
        return tuple(kind(endpoint=endpoint, insecure=True) for kind in kinds)  # type: ignore[return-value]
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return (
        OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces"),
        OTLPLogExporter(endpoint=f"{endpoint}/v1/logs"),
        OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics"),
    )


def main(protocol: str, endpoint: str, provider_url: str) -> None:
    """Make two calls of a model, log, measure, and export it all."""
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    spans, records, points = _exporters(protocol, endpoint)
    resource = Resource.create({"service.name": f"app-{protocol}", "service.instance.id": str(os.getpid())})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(spans))  # type: ignore[arg-type]  # as the protocol has it
    trace.set_tracer_provider(traces)
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(records))  # type: ignore[arg-type]
    _logs.set_logger_provider(logs)
    reader = PeriodicExportingMetricReader(points, export_interval_millis=3_600_000)  # type: ignore[arg-type]
    exponential = View(instrument_name="app.latency", aggregation=ExponentialBucketHistogramAggregation())
    meters = MeterProvider(metric_readers=[reader], resource=resource, views=[exponential])
    metrics.set_meter_provider(meters)
    OpenAIInstrumentor().instrument()

    client = openai.OpenAI(base_url=f"{provider_url}/v1", api_key="k", max_retries=0)
    meter, logger = metrics.get_meter("app"), _logs.get_logger("app")
    latency, total = meter.create_histogram("app.latency", "s"), meter.create_counter("app.orders")
    meter.create_observable_gauge("app.temperature", [lambda _: [metrics.Observation(21.5, {"room": "a"})]])
    with trace.get_tracer("app").start_as_current_span("order"):
        for number in range(2):
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": f"Say {number}"}])
            latency.record(0.25 * (number + 1), {"kind": "chat"})
            total.add(number + 1)
            logger.emit(body={"order": number}, severity_number=_logs.SeverityNumber.INFO, event_name="app.ordered")
    for each in (traces, logs, meters):
        each.shutdown()  # exports what is left
    print(json.dumps(complaints.told))


if __name__ == "__main__":
    main(*sys.argv[1:])
