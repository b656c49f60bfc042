"""The text that Prometheus scrapes. Underscore names only, whatever the scraper would take."""

from typing import Final

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.openmetrics import exposition as openmetrics

OPENMETRICS: Final = "application/openmetrics-text"


def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The metrics as text and its content type: OpenMetrics where the Accept header takes it, as Prometheus' does.

    OpenMetrics carries when each series was created, from which newer Prometheus sees that it began at 0. Costs CPU in
    proportion to the number of series; run it off the event loop.
    """
    if OPENMETRICS in accept:
        text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # it has no annotations
        return text, openmetrics.CONTENT_TYPE_LATEST
    return exposition.generate_latest(registry), exposition.CONTENT_TYPE_PLAIN_0_0_4
