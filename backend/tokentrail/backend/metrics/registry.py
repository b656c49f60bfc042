"""All metrics of one backend, as each scraper is to see them."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric

from tokentrail.backend.metrics.alerts import AlertMetrics
from tokentrail.backend.metrics.calls import CallMetrics
from tokentrail.backend.metrics.exposition import expose
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.semconv import metrics

UNKNOWN_SCRAPER_S: Final = 300.0
"""A scraper that comes for the first time may have come to the process before this one: series that are younger are
new to it as well."""
MAX_SCRAPERS: Final = 64


class Metrics:
    """The two families, and what the process uses, over a registry of their own: nothing of the process' default
    registry is exposed."""

    def __init__(self, version: str):
        self._registry = CollectorRegistry()
        ProcessCollector(metrics.PREFIX, registry=self._registry)
        self.own = OwnMetrics(self._registry, version)
        self.calls = CallMetrics()
        self._scrapes: OrderedDict[str, float] = OrderedDict()

    def watch_alerts(self, alerts: AlertMetrics) -> None:
        """Show what the alerts say, read at every scrape. Call once, where there are any."""
        self._registry.register(alerts)

    def expose(self, accept: str = "", scraper: str = "") -> tuple[bytes, str]:
        """The text for a scrape with that Accept header, and its content type.

        `scraper` tells Prometheus servers apart, and is empty for whoever is none. Each of them sees a series at 0 once
        before it sees what is in it: `increase()` starts from the first value it was given.
        """
        new_since_s = self._new_since_s(scraper) if scraper else float("inf")
        return expose(_View(self._registry, self.calls, new_since_s), accept)

    def _new_since_s(self, scraper: str) -> float:
        now_s = time.monotonic()
        last_s = self._scrapes.pop(scraper, now_s - UNKNOWN_SCRAPER_S)
        self._scrapes[scraper] = now_s
        while len(self._scrapes) > MAX_SCRAPERS:
            self._scrapes.popitem(last=False)
        return last_s


@dataclass(frozen=True, slots=True)
class _View:
    """The metrics of one scrape."""

    registry: CollectorRegistry
    calls: CallMetrics
    new_since_s: float

    def collect(self) -> Iterator[Metric]:
        yield from self.registry.collect()
        yield from self.calls.collect(self.new_since_s)
