"""All metrics of one backend."""

from prometheus_client import CollectorRegistry

from tokentrail.backend.metrics.calls import CallMetrics
from tokentrail.backend.metrics.exposition import expose
from tokentrail.backend.metrics.own import OwnMetrics


class Metrics:
    """The two families over a registry of their own: nothing of the process' default registry is exposed."""

    def __init__(self, version: str):
        self._registry = CollectorRegistry()
        self.own = OwnMetrics(self._registry, version)
        self.calls = CallMetrics(self._registry)

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """The text for a scrape with that Accept header, and its content type."""
        return expose(self._registry, accept)
