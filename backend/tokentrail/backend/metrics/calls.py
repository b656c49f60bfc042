"""Metrics of model calls. One writer (the committer's thread), another for corrections, any number of scrapes."""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, Metric

from tokentrail.backend.correction import Correction
from tokentrail.backend.metrics.aggregate import CallLabels, Sums, aggregate, corrected
from tokentrail.backend.metrics.capped import CappedCounter, CappedHistogram
from tokentrail.backend.metrics.scrapers import Scrapers
from tokentrail.backend.row import Row
from tokentrail.semconv import metrics


class CallMetrics:
    """Requests, errors, tokens, cost and latencies of the calls that were stored."""

    def __init__(self, max_label_sets: int = metrics.MAX_LABEL_SETS):
        self._lock = threading.Lock()
        """Held to write, and to copy; scrapes do without."""
        self._overflow: dict[str, int] = {}
        self._late = 0
        self._counted_ns = 0
        self._changes = 0
        self.scrapers = Scrapers()
        """Who has seen which series."""
        self._families: dict[str, CappedCounter | CappedHistogram] = {}

        def counter(name: str, documentation: str, *extra: str) -> CappedCounter:
            made = CappedCounter(name, documentation, extra, self._count_overflow, max_label_sets)
            self._families[name] = made
            return made

        def histogram(name: str, documentation: str, *extra: str) -> CappedHistogram:
            made = CappedHistogram(name, documentation, extra, self._count_overflow, max_label_sets)
            self._families[name] = made
            return made

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

    def collect(self, new_since_s: float = math.inf) -> Iterator[Metric]:
        """All samples; series that came to be after `new_since_s` (monotonic clock) are at 0."""
        for family in self._families.values():
            yield family.collect(new_since_s)
        overflow = CounterMetricFamily(
            metrics.METRIC_OVERFLOW, "Updates folded into one label set.", labels=(metrics.METRIC,)
        )
        for name, count in list(self._overflow.items()):
            overflow.add_metric((name,), count)
        yield overflow
        yield CounterMetricFamily(metrics.LATE_SPANS, "Model calls too old to be counted as traffic.", self._late)

    @property
    def newest_s(self) -> float:
        """When the newest series came to be (monotonic clock); minus infinity where none is young."""
        return max(family.newest_s for family in self._families.values())

    @property
    def changes(self) -> int:
        """How often something was counted."""
        return self._changes

    def state(self) -> dict[str, Any]:
        """All that was counted, in the types of JSON."""
        with self._lock:
            return self._state()

    def snapshot(self) -> tuple[dict[str, Any], int]:
        """All that `restore` needs, in the types of JSON, and until when what was stored is in it."""
        with self._lock:
            now_s = time.monotonic()
            ages = {name: family.ages(now_s) for name, family in self._families.items()}
            return {**self._state(), "ages": ages, "scrapers": self.scrapers.state(now_s)}, self._counted_ns

    def _state(self) -> dict[str, Any]:
        families = {name: family.state() for name, family in self._families.items()}
        return {"families": families, "overflow": dict(self._overflow), "late": self._late}

    def restore(self, state: Mapping[str, Any], counted_ns: int = 0) -> None:
        """Go on from the `state` of an earlier process. Call before anything is counted."""
        now_s = time.monotonic()
        with self._lock:
            self._counted_ns = counted_ns
            self.scrapers.restore(state.get("scrapers", ()), now_s)
            ages = state.get("ages", {})
            for name, series in state.get("families", {}).items():
                if (family := self._families.get(name)) is not None:
                    family.restore(series, ages.get(name, ()), now_s)
            self._overflow = {str(name): int(count) for name, count in state.get("overflow", {}).items()}
            self._late = int(state.get("late", 0))

    def record(self, rows: Sequence[Row], now_ns: int) -> None:
        """Count `rows`, which are stored. Those that ended long before `now_ns` count as late only."""
        oldest_end_ns = now_ns - metrics.LATE_AFTER_S * 1_000_000_000
        current = [row for row in rows if row.time_ns + row.duration_ns >= oldest_end_ns]
        by_labels = aggregate(current)
        with self._lock:
            self._changes += 1
            self._counted_ns = max(self._counted_ns, now_ns)
            self._late += len(rows) - len(current)
            for labels, sums in by_labels.items():
                self._add(labels, sums, now_ns / 1e9)

    def corrected(self, corrections: Sequence[Correction]) -> None:
        """Count `corrections`, which are stored. Beside `record`.

        The counters of cost stay as they are: they say what was counted when it happened.
        """
        by_labels = corrected(corrections)
        with self._lock:
            self._changes += 1
            for labels, sums in by_labels.items():
                self._corrected.add(labels, sums.calls)
                self._correction.add((*labels, metrics.INCREASE), float(sums.increase_usd))
                self._correction.add((*labels, metrics.DECREASE), float(sums.decrease_usd))

    def _add(self, labels: CallLabels, sums: Sums, at_s: float) -> None:
        for outcome, durations in sums.durations.items():
            self._requests.add((*labels, outcome), len(durations.seconds))
            if durations.seconds:
                self._duration.observe((*labels, outcome), durations.seconds, durations.traces, at_s)
        for error_type, count in sums.errors.items():
            self._errors.add((*labels, error_type), count)
        for token_type in metrics.TOKEN_TYPES:
            self._tokens.add((*labels, token_type), sums.tokens[token_type])
        self._cost.add(labels, float(sums.cost_usd))
        for reason, count in sums.unpriced.items():
            self._unpriced.add((*labels, reason), count)
        for histogram, times in ((self._first_token, sums.first_token), (self._first_chunk, sums.first_chunk)):
            if times.seconds:
                histogram.observe(labels, times.seconds, times.traces, at_s)

    def _count_overflow(self, metric: str) -> None:
        self._overflow[metric] = self._overflow.get(metric, 0) + 1
