"""All metrics of one backend, as each scraper is to see them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric

from tokentrail.backend.metrics.alerts import AlertMetrics
from tokentrail.backend.metrics.calls import CallMetrics
from tokentrail.backend.metrics.exposition import expose
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.semconv import metrics


class Metrics:
    """The two families, and what the process uses, over a registry of their own: nothing of the process' default
    registry is exposed."""

    def __init__(self, version: str):
        self._registry = CollectorRegistry()
        ProcessCollector(metrics.PREFIX, registry=self._registry)
        self.own = OwnMetrics(self._registry, version)
        self.calls = CallMetrics()
        self.before_news: Callable[[], None] = lambda: None
        """Called before a scraper is shown series that are new to it: it is to be known, also after a crash, that they
        are new to it no more."""

    def watch_alerts(self, alerts: AlertMetrics) -> None:
        """Show what the alerts say, read at every scrape. Call once, where there are any."""
        self._registry.register(alerts)

    def expose(self, accept: str = "", scraper: str = "") -> tuple[bytes, str]:
        """The text for a scrape with that Accept header, and its content type.

        `scraper` tells Prometheus servers apart, and is empty for whoever is none. Each of them sees a series at 0 once
        before it sees what is in it: `increase()` starts from the first value it was given.
        """
        new_since_s = self.calls.scrapers.came(scraper) if scraper else float("inf")
        exposed = expose(_View(self._registry, self.calls, new_since_s), accept)
        if self.calls.newest_s > new_since_s:
            self.before_news()
        return exposed


@dataclass(frozen=True, slots=True)
class _View:
    """The metrics of one scrape."""

    registry: CollectorRegistry
    calls: CallMetrics
    new_since_s: float

    def collect(self) -> Iterator[Metric]:
        yield from self.registry.collect()
        yield from self.calls.collect(self.new_since_s)
