"""An alert as its author defines it, read and checked.

    alerts:
      - name: ChatErrors
        metric: error_rate
        threshold: {production: 2%, staging: 10%}
        window: 5m
        min_requests: 10
        filters: {feature: chat}
        group_by: [model]
        severity: high

`read.py` reads it, `statement.py` makes SQL of it, `rules.py` a Prometheus rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tokentrail.backend.alerts.metric import Aggregation, Metric


class AlertFileError(Exception):
    """A file of alerts cannot be used. `problems` are all of its errors, each with its line (0 for the whole file)."""

    def __init__(self, name: str, problems: tuple[tuple[int, str], ...]) -> None:
        self.name, self.problems = name, problems
        lines = [f"line {line}: {what}" if line else what for line, what in problems]
        super().__init__(f"{name}: " + "; ".join(lines))


class Severity(StrEnum):
    """Who is to be told, and how soon: `critical` and `high` page, `medium` makes a ticket, `low` a note."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


ENVIRONMENT: Final = "environment"
FEATURE: Final = "feature"
"""Short for `property.Feature`."""
PROPERTY: Final = "property."
UNBOUNDED: Final = ("user", "session")
"""These and properties have too many values to be labels: only offenders become series."""
DIMENSIONS: Final = (ENVIRONMENT, "service", "provider", "model", "operation", "project", FEATURE, *UNBOUNDED)
"""What calls can be filtered and grouped by, besides `property.<key>`."""
ANY_ENVIRONMENT: Final = "*"


def is_bounded(dimension: str) -> bool:
    """True for a dimension whose values may all be labels."""
    return dimension not in (*UNBOUNDED, FEATURE) and not dimension.startswith(PROPERTY)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A threshold that follows the group's own past: the time right before the window."""

    span_s: int
    """How much of the past."""
    times: float | None
    """So many times the value of the past; for sums, the mean of the times as long as the window."""
    deviations: float | None
    """That mean, and so many standard deviations more. Sums only."""
    history_s: int
    """A group is not compared before it has calls at least this old."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One alert."""

    name: str
    metric: Metric
    aggregation: Aggregation
    thresholds: Mapping[str, float]
    """By environment, `ANY_ENVIRONMENT` for all others; in the unit of the metric (seconds, USD, fraction)."""
    window_s: int
    severity: Severity
    is_below: bool = False
    """It fires when the value is below the threshold, not above it."""
    min_requests: int = 0
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Dimension and the values it may have; a call must meet all of them."""
    group_by: tuple[str, ...] = ()
    for_s: int = 0
    keep_firing_s: int = 0
    every_s: int = 30
    max_series: int = 20
    confirm_s: int = 0
    """The last part of the window that must be beyond the threshold as well; 0 for none."""
    comparison: Comparison | None = None
    summary: str = ""
    description: str = ""
    runbook: str = ""
    """URL; empty for the heading of the alert's name in the runbook."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    line: int = 0
    """Where it stands in its file."""

    @property
    def has_own_thresholds(self) -> bool:
        """True where the threshold depends on the environment."""
        return set(self.thresholds) != {ANY_ENVIRONMENT}

    @property
    def shows_offenders_only(self) -> bool:
        """True where its groups are too many to be shown while all is well."""
        return not all(map(is_bounded, self.group_by))

    def threshold_of(self, environment: str) -> float | None:
        """The threshold in that environment, `None` where the alert does not watch it."""
        return self.thresholds.get(environment, self.thresholds.get(ANY_ENVIRONMENT))


@dataclass(frozen=True, slots=True)
class Links:
    """Where the annotations of alerts lead."""

    grafana: str = "http://localhost:3000"
    runbook: str = "dashboards/grafana/RUNBOOK.md"


@dataclass(frozen=True, slots=True)
class AlertSet:
    """All alerts of a file, with the shipped ones that it keeps."""

    definitions: tuple[Definition, ...]
    links: Links = Links()
