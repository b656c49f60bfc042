"""Metrics and logs beside the spans, as an application under `opentelemetry-instrument` has them by default.

Instrumentations that record metrics or emit log events pay for it only then.
"""

from collections.abc import Sequence
from typing import Any

from opentelemetry import _logs, metrics
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)


class _Logs(LogRecordExporter):
    """Drops what it gets."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class _Metrics(MetricExporter):
    """Drops what it gets, once a minute."""

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        return MetricExportResult.SUCCESS

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        pass

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True


def set_others() -> LoggerProvider:
    """Make and set the global providers of metrics and logs; the latter is to be flushed."""
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(_Metrics())]))
    logs = LoggerProvider()
    logs.add_log_record_processor(BatchLogRecordProcessor(_Logs()))
    _logs.set_logger_provider(logs)
    return logs
