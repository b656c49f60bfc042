"""Metrics of the backend itself. Safe from any thread."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from tokentrail.semconv import metrics


class OwnMetrics:
    """What was received, stored, rejected and sent back, and how full the queue is."""

    def __init__(self, registry: CollectorRegistry, version: str):
        def counter(name: str, documentation: str, *labels: str) -> Counter:
            return Counter(name, documentation, labels, registry=registry)

        self._registry = registry
        self._received = counter(metrics.SPANS_RECEIVED, "Spans received.")
        self._stored = counter(metrics.SPANS_STORED, "Spans stored.")
        self._rejected = counter(metrics.SPANS_REJECTED, "Spans dropped for good.", metrics.REASON)
        self._returned = counter(metrics.SPANS_RETURNED, "Spans sent back to be retried.", metrics.REASON)
        self._repeated = counter(metrics.SPANS_REPEATED, "Spans of requests that had been stored already.")
        self._left_out = counter(metrics.CALLS_LEFT_OUT, "Calls told by other spans, too.", metrics.REASON)
        self._requests = counter(metrics.EXPORT_REQUESTS, "Export requests answered.", metrics.TRANSPORT, metrics.CODE)
        self._write_errors = counter(metrics.STORE_WRITE_ERRORS, "Failed writes to the store.", metrics.REASON)
        self._last_span = Gauge(metrics.LAST_SPAN_TIMESTAMP, "When a span was last stored.", registry=registry)
        Gauge(metrics.BUILD_INFO, "Version of Tokentrail.", (metrics.VERSION,), registry=registry).labels(version).set(
            1
        )
        for reason in ("unavailable", "refused"):
            self._write_errors.labels(reason)

    def watch_queue(
        self, spans: Callable[[], int], size_bytes: Callable[[], int], max_spans: int, max_bytes: int
    ) -> None:
        """Show the queue, read at every scrape. Call once."""
        for name, documentation, read in (
            (metrics.QUEUE_SPANS, "Spans waiting to be committed.", spans),
            (metrics.QUEUE_CAPACITY_SPANS, "Spans that may wait.", lambda: max_spans),
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
        Gauge(
            metrics.PRICE_FILE_LOADED, "Whether the price file as it is now is in force.", registry=self._registry
        ).set_function(lambda: float(loaded()))
        Gauge(
            metrics.PRICE_FILE_TIMESTAMP, "When the price file in force was read.", registry=self._registry
        ).set_function(loaded_at_s)

    def received(self, spans: int, rejected: Mapping[str, int]) -> None:
        """Count a decoded request of `spans` spans, of which `rejected` (by reason) cannot be stored."""
        self._received.inc(spans)
        for reason, count in rejected.items():
            self._rejected.labels(reason).inc(count)

    def stored(self, spans: int, now_ns: int) -> None:
        """Count spans that are durable now."""
        self._stored.inc(spans)
        if spans:
            self._last_span.set(now_ns / 1e9)

    def rejected(self, reason: str, spans: int) -> None:
        """Count spans that are dropped for good."""
        self._rejected.labels(reason).inc(spans)

    def returned(self, reason: str, spans: int) -> None:
        """Count spans that go back to their sender."""
        self._returned.labels(reason).inc(spans)

    def repeated(self, spans: int) -> None:
        """Count spans of a request that had been stored already."""
        self._repeated.inc(spans)

    def left_out(self, calls: Mapping[str, int]) -> None:
        """Count calls that another span of their trace stands for, by reason."""
        for reason, count in calls.items():
            self._left_out.labels(reason).inc(count)

    def answered(self, transport: str, code: str) -> None:
        """Count an answered export request."""
        self._requests.labels(transport, code).inc()

    def write_failed(self, reason: str) -> None:
        """Count a failed write: `unavailable` or `refused`."""
        self._write_errors.labels(reason).inc()
