"""The text that Prometheus scrapes. Underscore names only, whatever the scraper would take."""

from collections.abc import Iterator
from typing import Final, Protocol, cast

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics

OPENMETRICS: Final = "application/openmetrics-text"


class Collected(Protocol):
    """Something with metrics, as the exposition of prometheus_client takes them."""

    def collect(self) -> Iterator[Metric]:
        """All of them."""


def expose(metrics: Collected, accept: str) -> tuple[bytes, str]:
    """The metrics as text and its content type: OpenMetrics where the Accept header takes it, as Prometheus' does.

    OpenMetrics carries exemplars. Costs CPU in proportion to the number of series; run it off the event loop.
    """
    registry = cast(CollectorRegistry, metrics)  # `collect` is all that is asked of it
    if OPENMETRICS in accept:
        text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # it has no annotations
        return text, openmetrics.CONTENT_TYPE_LATEST
    return exposition.generate_latest(registry), exposition.CONTENT_TYPE_PLAIN_0_0_4
