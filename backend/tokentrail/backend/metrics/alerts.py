"""What the alerts say, as gauges that the rules compare."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tokentrail.backend.alerts.file import AlertFile
from tokentrail.backend.alerts.runner import Standing
from tokentrail.semconv import metrics

_NS: Final = 1e9


class AlertMetrics:
    """A collector over the alerts in force, read at every scrape."""

    def __init__(self, read: Callable[[], Sequence[Standing]], file: AlertFile) -> None:
        self._read, self._file = read, file

    def collect(self) -> Iterator[Metric]:
        """All gauges of all alerts; none of `ALERT_VALUE` for an alert that was not evaluated lately."""
        standings = self._read()
        yield from self._findings(standings)
        yield _family(
            metrics.ALERT_OFFENDERS,
            "Groups beyond the threshold of an alert.",
            (
                ({**_alert(each), metrics.SEVERITY: each.definition.severity.value}, float(each.evaluation.offenders))
                for each in standings
                if each.evaluation is not None
            ),
        )
        yield _family(
            metrics.ALERT_EVALUATION_TIMESTAMP,
            "End of the window that an alert last looked at.",
            ((_alert(each), each.evaluated_ns / _NS) for each in standings),
        )
        yield _family(
            metrics.ALERT_EVALUATION_INTERVAL,
            "Seconds between two evaluations of an alert.",
            ((_alert(each), float(each.definition.every_s)) for each in standings),
        )
        yield _family(
            metrics.ALERT_EVALUATION_DURATION,
            "How long the last evaluation of an alert took.",
            ((_alert(each), each.duration_s) for each in standings),
        )
        failures = CounterMetricFamily(metrics.ALERT_EVALUATION_FAILURES, "Evaluations that failed.")
        for each in standings:
            failures.add_sample(metrics.ALERT_EVALUATION_FAILURES, _alert(each), float(each.failures))
        yield failures
        if self._file.path is not None:
            yield GaugeMetricFamily(
                metrics.ALERT_FILE_LOADED,
                "Whether the file of alerts as it is now is in force.",
                float(self._file.is_in_force),
            )

    def _findings(self, standings: Sequence[Standing]) -> Iterator[Metric]:
        values = GaugeMetricFamily(metrics.ALERT_VALUE, "What an alert measures, over its window.")
        requests = GaugeMetricFamily(metrics.ALERT_REQUESTS, "Calls that the value of an alert is made of.")
        thresholds = GaugeMetricFamily(metrics.ALERT_THRESHOLD, "What the value of an alert is compared with.")
        for each in standings:
            seen = set()
            own = {**_alert(each), metrics.SEVERITY: each.definition.severity.value}
            for finding in each.evaluation.findings if each.evaluation else ():
                labels = own | {name: value[: metrics.MAX_LABEL_CHARS] for name, value in finding.labels.items()}
                key = tuple(labels.values())
                if key in seen:  # two that only differ behind the cut: the first is the worse one
                    continue
                seen.add(key)
                values.add_sample(metrics.ALERT_VALUE, labels, finding.value)
                requests.add_sample(metrics.ALERT_REQUESTS, labels, float(finding.requests))
                thresholds.add_sample(metrics.ALERT_THRESHOLD, labels, finding.threshold)
        yield from (values, requests, thresholds)


def _alert(standing: Standing) -> dict[str, str]:
    return {metrics.ALERT: standing.definition.name}


def _family(name: str, documentation: str, samples: Iterable[tuple[dict[str, str], float]]) -> Metric:
    family = GaugeMetricFamily(name, documentation)
    for labels, value in samples:
        family.add_sample(name, labels, value)
    return family
