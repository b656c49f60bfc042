"""Metrics of the backend itself. Safe from any thread."""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from tokentrail.backend.signals import Signal
from tokentrail.semconv import metrics


class OwnMetrics:
    """What was received, stored, rejected and sent back, and how full the queue is."""

    def __init__(self, registry: CollectorRegistry, version: str):
        def counter(name: str, documentation: str, *labels: str) -> Counter:
            return Counter(name, documentation, labels, registry=registry)

        self._registry = registry
        self._stages = {signal: _Stages(registry, *names) for signal, names in _NAMES.items()}
        self._cut = counter(metrics.CUT, "What was left out or shortened.", metrics.SIGNAL, metrics.REASON)
        self._left_out = counter(metrics.CALLS_LEFT_OUT, "Calls told by other spans, too.", metrics.REASON)
        self._requests = counter(metrics.EXPORT_REQUESTS, "Export requests answered.", metrics.TRANSPORT, metrics.CODE)
        self._write_errors = counter(metrics.STORE_WRITE_ERRORS, "Failed writes to the store.", metrics.REASON)
        self._sql = counter(metrics.SQL_QUERIES, "Statements at /clickhouse.", metrics.OUTCOME)
        self._refused = counter(metrics.AUTH_FAILURES, "Requests refused for their key.", metrics.REASON)
        self._last_span = Gauge(metrics.LAST_SPAN_TIMESTAMP, "When a span was last stored.", registry=registry)
        Gauge(metrics.BUILD_INFO, "Version of Tokentrail.", (metrics.VERSION,), registry=registry).labels(version).set(
            1
        )
        for reason in ("unavailable", "refused"):
            self._write_errors.labels(reason)
        for outcome in metrics.SqlOutcome:
            self._sql.labels(outcome)
        for reason in metrics.AUTH_FAILURE_REASONS:
            self._refused.labels(reason)

    def watch_queue(
        self, spans: Callable[[], int], size_bytes: Callable[[], int], max_spans: int, max_bytes: int
    ) -> None:
        """Show the queue, read at every scrape. Call once."""
        for name, documentation, read in (
            (metrics.QUEUE_SPANS, "Spans, log records and points waiting to be committed.", spans),
            (metrics.QUEUE_CAPACITY_SPANS, "Spans, log records and points that may wait.", lambda: max_spans),
            (metrics.QUEUE_BYTES, "Bytes waiting to be committed.", size_bytes),
            (metrics.QUEUE_CAPACITY_BYTES, "Bytes that may wait.", lambda: max_bytes),
        ):
            Gauge(name, documentation, registry=self._registry).set_function(read)

    def watch_journal(self, size_bytes: Callable[[], int], max_bytes: int) -> None:
        """Show the journal, read at every scrape. Call once, where there is one."""
        for name, documentation, read in (
            (metrics.JOURNAL_BYTES, "Bytes in the write-ahead log.", size_bytes),
            (metrics.JOURNAL_CAPACITY_BYTES, "Bytes that may be in it.", lambda: max_bytes),
        ):
            Gauge(name, documentation, registry=self._registry).set_function(read)

    def watch_price_file(self, loaded: Callable[[], bool], loaded_at_s: Callable[[], float]) -> None:
        """Show whether the price file is in force, read at every scrape. Call once, where there is one."""
        self._watch_file("price file", metrics.PRICE_FILE_LOADED, loaded, metrics.PRICE_FILE_TIMESTAMP, loaded_at_s)

    def watch_keys_file(self, loaded: Callable[[], bool], loaded_at_s: Callable[[], float]) -> None:
        """The same for the file of keys."""
        self._watch_file("file of keys", metrics.KEYS_FILE_LOADED, loaded, metrics.KEYS_FILE_TIMESTAMP, loaded_at_s)

    def watch_tls_files(self, loaded: Callable[[], bool], loaded_at_s: Callable[[], float]) -> None:
        """The same for certificate and key."""
        self._watch_file("certificate", metrics.TLS_FILES_LOADED, loaded, metrics.TLS_FILES_TIMESTAMP, loaded_at_s)

    def received(self, items: int, rejected: Mapping[str, int], signal: Signal = Signal.TRACES) -> None:
        """Count a decoded request of `items` spans, log records or points, of which `rejected` cannot be stored."""
        stages = self._stages[signal]
        stages.received.inc(items)
        for reason, count in rejected.items():
            stages.rejected.labels(reason).inc(count)

    def cut(self, cut: Mapping[str, int], signal: Signal) -> None:
        """Count what a decoded request lost to limits, by reason."""
        for reason, count in cut.items():
            self._cut.labels(signal, reason).inc(count)

    def stored(self, items: int, now_ns: int, signal: Signal = Signal.TRACES) -> None:
        """Count what is durable now."""
        self._stages[signal].stored.inc(items)
        if items and signal is Signal.TRACES:
            self._last_span.set(now_ns / 1e9)

    def rejected(self, reason: str, items: int, signal: Signal = Signal.TRACES) -> None:
        """Count what is dropped for good."""
        self._stages[signal].rejected.labels(reason).inc(items)

    def returned(self, reason: str, items: int, signal: Signal = Signal.TRACES) -> None:
        """Count what goes back to its sender."""
        self._stages[signal].returned.labels(reason).inc(items)

    def repeated(self, items: int, signal: Signal = Signal.TRACES) -> None:
        """Count what had been stored already."""
        self._stages[signal].repeated.inc(items)

    def left_out(self, calls: Mapping[str, int]) -> None:
        """Count calls that another span of their trace stands for, by reason."""
        for reason, count in calls.items():
            self._left_out.labels(reason).inc(count)

    def answered(self, transport: str, code: str) -> None:
        """Count an answered export request."""
        self._requests.labels(transport, code).inc()

    def refused(self, reason: str) -> None:
        """Count a request refused for its key: one of `metrics.AUTH_FAILURE_REASONS`."""
        self._refused.labels(reason).inc()

    def sql_answered(self, outcome: metrics.SqlOutcome) -> None:
        """Count a statement of `/clickhouse`."""
        self._sql.labels(outcome).inc()

    def write_failed(self, reason: str) -> None:
        """Count a failed write: `unavailable` or `refused`."""
        self._write_errors.labels(reason).inc()

    def _watch_file(
        self, what: str, loaded_name: str, loaded: Callable[[], bool], at_name: str, at_s: Callable[[], float]
    ) -> None:
        Gauge(loaded_name, f"Whether the {what} as it is now is in force.", registry=self._registry).set_function(
            lambda: float(loaded())
        )
        Gauge(at_name, f"When the {what} in force was read.", registry=self._registry).set_function(at_s)


class _Stages:
    """Counters of one signal."""

    def __init__(
        self,
        registry: CollectorRegistry,
        what: str,
        received: str,
        stored: str,
        rejected: str,
        returned: str,
        repeated: str,
    ) -> None:
        reason = (metrics.REASON,)
        self.received = Counter(received, f"{what} received.", registry=registry)
        self.stored = Counter(stored, f"{what} stored.", registry=registry)
        self.rejected = Counter(rejected, f"{what} dropped for good.", reason, registry=registry)
        self.returned = Counter(returned, f"{what} sent back to be retried.", reason, registry=registry)
        self.repeated = Counter(repeated, f"{what} that had been stored already.", registry=registry)


_NAMES: Final = {
    Signal.TRACES: (
        *("Spans", metrics.SPANS_RECEIVED, metrics.SPANS_STORED),
        *(metrics.SPANS_REJECTED, metrics.SPANS_RETURNED, metrics.SPANS_REPEATED),
    ),
    Signal.LOGS: (
        *("Log records", metrics.LOG_RECORDS_RECEIVED, metrics.LOG_RECORDS_STORED),
        *(metrics.LOG_RECORDS_REJECTED, metrics.LOG_RECORDS_RETURNED, metrics.LOG_RECORDS_REPEATED),
    ),
    Signal.METRICS: (
        *("Points of metrics", metrics.METRIC_POINTS_RECEIVED, metrics.METRIC_POINTS_STORED),
        *(metrics.METRIC_POINTS_REJECTED, metrics.METRIC_POINTS_RETURNED, metrics.METRIC_POINTS_REPEATED),
    ),
}
