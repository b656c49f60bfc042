"""What each alert says at a moment: the store's answer to its statement, compared with its threshold."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.alerts.definition import ENVIRONMENT, Comparison, Definition
from tokentrail.backend.alerts.label import label_of
from tokentrail.backend.alerts.statement import AHEAD_S, MAX_CALL_S, MAX_GROUPS, statement
from tokentrail.backend.store._base import Store

_SECOND_NS: Final = 10**9


@dataclass(frozen=True, slots=True)
class Finding:
    """One group of an alert."""

    labels: Mapping[str, str]
    """By label name, empty for an alert without groups."""
    value: float
    requests: int
    threshold: float
    is_offending: bool
    """Beyond the threshold, with enough requests: what the rule of the alert says of these three numbers, too."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an alert says."""

    definition: Definition
    until_ns: int
    """The end of its window."""
    findings: tuple[Finding, ...]
    """The offenders first, and among them the worst; at most `definition.max_series`. Where the groups could be
    without number they are offenders only."""
    offenders: int
    """All of them, those without a finding too."""
    groups: int
    """Groups with calls in the window."""
    is_cut: bool
    """There were more groups than are looked at."""
    same_until_ns: int = 0
    """Whoever asks again up to then gets the same, as long as no call is stored or changed: none comes into a window,
    leaves one, or passes from one into another."""


def evaluate(store: Store, definition: Definition, until_ns: int) -> Evaluation:
    """Ask `store` for the window of `definition` that ends at `until_ns`. Raises `StoreError`."""
    rows = store.query(*statement(definition, until_ns))
    told = [row for row in rows[:MAX_GROUPS] if _int(row["seen"]) or not definition.group_by]
    found = [finding for row in told if (finding := _finding(definition, row, until_ns)) is not None]
    found.sort(key=lambda each: (not each.is_offending, each.requests < definition.min_requests, -_badness(each)))
    if definition.is_below:
        found.sort(key=lambda each: (not each.is_offending, each.requests < definition.min_requests, _badness(each)))
    offenders = sum(each.is_offending for each in found)
    shown = [each for each in found if each.is_offending or not definition.shows_offenders_only]
    return Evaluation(
        definition,
        until_ns,
        tuple(shown[: definition.max_series]),
        offenders,
        groups=len(found),
        is_cut=len(rows) > MAX_GROUPS,
        same_until_ns=_same_until_ns(definition, rows, until_ns),
    )


def _same_until_ns(definition: Definition, rows: Sequence[Mapping[str, object]], until_ns: int) -> int:
    if len(rows) > MAX_GROUPS:
        return until_ns
    ends = [until_ns + AHEAD_S * _SECOND_NS, *(each for row in rows for each in _changes_ns(definition, row, until_ns))]
    return max(min(ends), until_ns)


def _changes_ns(definition: Definition, row: Mapping[str, object], until_ns: int) -> Iterator[int]:
    """The last moments at which a group is as it is at `until_ns`: a call that is as old as a window is in it."""
    window_ns = definition.window_s * _SECOND_NS
    comparison = definition.comparison
    span_ns = window_ns + (comparison.span_s * _SECOND_NS if comparison else 0)
    lasting = [("coming_ns", 0), ("oldest_ns", window_ns), ("begun_ns", span_ns + MAX_CALL_S * _SECOND_NS)]
    if definition.confirm_s:
        lasting.append(("confirmed_oldest_ns", definition.confirm_s * _SECOND_NS))
    if comparison is not None:
        lasting.append(("past_first_ns", span_ns))
        if (first_ns := _int(row["past_first_ns"])) and "sums" in row:
            yield until_ns  # its calls pass from one step to the next at any time
        elif first_ns and first_ns + comparison.history_s * _SECOND_NS > until_ns:
            yield first_ns + comparison.history_s * _SECOND_NS - 1
    for name, lasts_ns in lasting:
        if at_ns := _int(row[name]):
            yield at_ns + lasts_ns


def _badness(finding: Finding) -> float:
    return finding.value / finding.threshold if finding.threshold else finding.value


def _finding(definition: Definition, row: Mapping[str, object], until_ns: int) -> Finding | None:
    """`None` for a group that has no value, or no threshold."""
    value = _confirmed(definition, row)
    names = [str(row[f"g{index}"]) for index in range(len(definition.group_by))]
    group = dict(zip(definition.group_by, names, strict=True))
    threshold = definition.threshold_of(group.get(ENVIRONMENT, ""))
    if value is None or threshold is None:
        return None
    if definition.comparison is not None:
        past = _past_threshold(definition, definition.comparison, row, until_ns)
        if past is None:
            return None
        threshold = min(threshold, past) if definition.is_below else max(threshold, past)
    requests = _int(row["requests"])
    is_beyond = value < threshold if definition.is_below else value > threshold
    labels = {label_of(dimension): name for dimension, name in group.items()}
    return Finding(labels, value, requests, threshold, is_beyond and requests >= definition.min_requests)


def _confirmed(definition: Definition, row: Mapping[str, object]) -> float | None:
    """The value; with a confirmation the better of the two, so that one comparison asks for both."""
    value = _float(row["value"])
    if not definition.confirm_s or value is None:
        return value
    confirmed = _float(row["confirmed"])
    if confirmed is None:
        return None
    return max(value, confirmed) if definition.is_below else min(value, confirmed)


def _past_threshold(
    definition: Definition, comparison: Comparison, row: Mapping[str, object], until_ns: int
) -> float | None:
    """What the past allows; `None` where there is not enough of it."""
    from_ns = until_ns - definition.window_s * _SECOND_NS
    first_ns = _int(row["past_first_ns"])
    if not first_ns or until_ns - first_ns < comparison.history_s * _SECOND_NS:
        return None
    if "sums" not in row:
        past = _float(row["past"])
        return None if past is None or comparison.times is None else past * comparison.times
    steps = math.ceil((from_ns - first_ns) / (definition.window_s * _SECOND_NS))
    mean, deviation = _spread(row["sums"], max(steps, 1))
    limits = []
    if comparison.times is not None:
        limits.append(mean * comparison.times)
    if comparison.deviations is not None:
        limits.append(mean + comparison.deviations * deviation)
    return min(limits) if definition.is_below else max(limits)


def _spread(sums: object, steps: int) -> tuple[float, float]:
    """Mean and standard deviation over `steps` steps, of which those without calls are not in `sums`."""
    values: Sequence[float] = [float(str(each)) for each in sums.values()] if isinstance(sums, Mapping) else ()
    mean = math.fsum(values) / steps
    squares = math.fsum((each - mean) ** 2 for each in values) + (steps - len(values)) * mean**2
    return mean, math.sqrt(max(squares, 0.0) / steps)


def _int(value: object) -> int:
    return int(str(value))


def _float(value: object) -> float | None:
    return None if value is None else float(str(value))
