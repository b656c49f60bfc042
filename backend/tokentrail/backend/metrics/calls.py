"""Metrics of model calls. One writer (the committer's thread), another for corrections, any number of scrapes."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter

from tokentrail.backend.correction import Correction
from tokentrail.backend.metrics.aggregate import CallLabels, Sums, aggregate, corrected
from tokentrail.backend.metrics.capped import CappedCounter, CappedHistogram
from tokentrail.backend.row import Row
from tokentrail.semconv import metrics


class CallMetrics:
    """Requests, errors, tokens, cost and latencies of the calls that were stored."""

    def __init__(self, registry: CollectorRegistry, max_label_sets: int = metrics.MAX_LABEL_SETS):
        self._overflow = Counter(
            metrics.METRIC_OVERFLOW, "Updates folded into one label set.", (metrics.METRIC,), registry=registry
        )
        self._late = Counter(metrics.LATE_SPANS, "Model calls too old to be counted as traffic.", registry=registry)

        def counter(name: str, documentation: str, *extra: str) -> CappedCounter:
            return CappedCounter(registry, name, documentation, extra, self._count_overflow, max_label_sets)

        def histogram(name: str, documentation: str, *extra: str) -> CappedHistogram:
            return CappedHistogram(registry, name, documentation, extra, self._count_overflow, max_label_sets)

        self._requests = counter(metrics.REQUESTS, "Model calls.", metrics.OUTCOME)
        self._errors = counter(metrics.REQUEST_ERRORS, "Failed model calls by cause.", metrics.ERROR_TYPE)
        self._tokens = counter(
            metrics.TOKENS, "Tokens; input includes cache, output includes reasoning.", metrics.TOKEN_TYPE
        )
        self._cost = counter(metrics.COST, "Cost of priced model calls, USD.")
        self._unpriced = counter(metrics.UNPRICED, "Model calls without a cost.", metrics.REASON)
        self._correction = counter(metrics.COST_CORRECTION, "Corrections of stored costs, USD.", metrics.DIRECTION)
        self._corrected = counter(metrics.CORRECTED, "Model calls whose stored cost was corrected.")
        self._duration = histogram(metrics.REQUEST_DURATION, "Duration of model calls.", metrics.OUTCOME)
        self._first_token = histogram(metrics.TIME_TO_FIRST_TOKEN, "Time to the first token of streamed calls.")
        self._first_chunk = histogram(metrics.TIME_TO_FIRST_CHUNK, "Time to the first chunk of streamed calls.")

    def record(self, rows: Sequence[Row], now_ns: int) -> None:
        """Count `rows`, which are stored. Those that ended long before `now_ns` count as late only."""
        oldest_end_ns = now_ns - metrics.LATE_AFTER_S * 1_000_000_000
        current = [row for row in rows if row.time_ns + row.duration_ns >= oldest_end_ns]
        self._late.inc(len(rows) - len(current))
        for labels, sums in aggregate(current).items():
            self._add(labels, sums)

    def corrected(self, corrections: Sequence[Correction]) -> None:
        """Count `corrections`, which are stored. Beside `record`, but not twice at once.

        The counters of cost stay as they are: they say what was counted when it happened.
        """
        for labels, sums in corrected(corrections).items():
            self._corrected.add(labels, sums.calls)
            self._correction.add((*labels, metrics.INCREASE), float(sums.increase_usd))
            self._correction.add((*labels, metrics.DECREASE), float(sums.decrease_usd))

    def _add(self, labels: CallLabels, sums: Sums) -> None:
        for outcome, durations in sums.durations.items():
            self._requests.add((*labels, outcome), len(durations))
            if durations:
                self._duration.observe((*labels, outcome), durations)
        for error_type, count in sums.errors.items():
            self._errors.add((*labels, error_type), count)
        for token_type in metrics.TOKEN_TYPES:
            self._tokens.add((*labels, token_type), sums.tokens[token_type])
        self._cost.add(labels, float(sums.cost_usd))
        for reason, count in sums.unpriced.items():
            self._unpriced.add((*labels, reason), count)
        if sums.first_token:
            self._first_token.observe(labels, sums.first_token)
        if sums.first_chunk:
            self._first_chunk.observe(labels, sums.first_chunk)

    def _count_overflow(self, metric: str) -> None:
        self._overflow.labels(metric).inc()
