"""Metric families with a bounded number of label sets, which outlive the process and begin at 0 for who watches.

prometheus_client's own metrics cannot be set to what they were before a restart, and take many observations one by one:
so the numbers are kept here, and handed to its exposition as samples. One writer at a time, any number of scrapes.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.samples import Exemplar

from tokentrail.semconv import metrics

_FOLDED_HEADROOM: Final = 200
"""Label sets beyond the cap that keep their other labels when only the model was folded."""

_YOUNG_S: Final = 3600.0
"""Younger series are remembered with their age: a scraper that was not here since is to see them at 0 first."""

Overflow: TypeAlias = Callable[[str], None]
"""Told the metric's name for each update that was folded."""

Labels: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class Count:
    """One series of a counter."""

    value: float = 0.0
    since_s: float = field(default_factory=time.monotonic)
    """When the series came to be, by the monotonic clock; minus infinity for one that is older than the process."""


@dataclass(slots=True)
class Distribution:
    """One label set of a histogram."""

    buckets: list[int]
    """Observations in each bucket, not cumulative; the last one is that of everything above."""
    total: float = 0.0
    since_s: float = field(default_factory=time.monotonic)
    exemplars: dict[int, Exemplar] = field(default_factory=dict)
    """The latest by bucket."""


class _HasAge(Protocol):
    since_s: float


_Series = TypeVar("_Series", bound=_HasAge)


class _Family(Generic[_Series]):
    """A metric of model calls: `overflow` is told of each update beyond `max_label_sets`."""

    def __init__(
        self,
        name: str,
        documentation: str,
        extra: Sequence[str],
        overflow: Overflow,
        max_label_sets: int = metrics.MAX_LABEL_SETS,
    ):
        self.name, self._documentation = name, documentation
        self._labels = (*metrics.CALL_LABELS, *extra)
        self._overflow, self._max = overflow, max_label_sets
        self._model = self._labels.index(metrics.MODEL)
        self._series: dict[Labels, _Series] = {}

        self.newest_s = float("-inf")
        """When the newest series came to be, by the monotonic clock."""

    def ages(self, now_s: float) -> list[Any]:
        """Ages of young series, by their places in `state`, in the types of JSON."""
        found = enumerate(self._series.values())
        return [[place, now_s - each.since_s] for place, each in found if now_s - each.since_s < _YOUNG_S]

    def _make(self) -> _Series:
        raise NotImplementedError

    def _restore_ages(self, keys: Sequence[Labels], ages: Iterable[Sequence[Any]], now_s: float) -> None:
        for place, age_s in ages:
            if place < len(keys) and (series := self._series.get(keys[place])) is not None:
                series.since_s = now_s - float(age_s)
                self.newest_s = max(self.newest_s, series.since_s)

    def _child(self, values: Labels) -> _Series:
        """The series for `values`; past the cap, that of the values with the model, then with everything, folded."""
        found = self._series.get(values)
        if found is not None:
            return found
        if len(self._series) >= self._max:
            self._overflow(self.name)
            values = (*values[: self._model], metrics.OTHER, *values[self._model + 1 :])
            if values not in self._series and len(self._series) >= self._max + _FOLDED_HEADROOM:
                values = (metrics.OTHER,) * len(values)
        if values not in self._series:
            made = self._series[values] = self._make()
            self.newest_s = made.since_s
        return self._series[values]


class CappedCounter(_Family[Count]):
    """A counter of model calls with `CALL_LABELS` and perhaps one more label."""

    def add(self, values: Labels, amount: float) -> None:
        """Add `amount` to the label set `values`."""
        self._child(values).value += amount

    def collect(self, new_since_s: float) -> Metric:
        """The samples; series that came to be after `new_since_s` (monotonic clock) are at 0."""
        family = CounterMetricFamily(self.name, self._documentation, labels=self._labels)
        for values, series in list(self._series.items()):
            family.add_metric(values, 0.0 if series.since_s > new_since_s else series.value)
        return family

    def state(self) -> list[Any]:
        """What `restore` takes, in the types of JSON."""
        return [[*values, series.value] for values, series in self._series.items()]

    def restore(self, state: Sequence[Sequence[Any]], ages: Iterable[Sequence[Any]], now_s: float) -> None:
        """Go on from a `state`; series that are not young are not new to anybody, and never stand at 0 first."""
        for *values, value in state:
            if len(values) == len(self._labels):
                self._series[tuple(map(str, values))] = Count(float(value), float("-inf"))
        self._restore_ages([tuple(map(str, values)) for *values, _ in state], ages, now_s)

    def _make(self) -> Count:
        return Count()


class CappedHistogram(_Family[Distribution]):
    """A latency histogram of model calls with `CALL_LABELS` and perhaps one more label."""

    def observe(self, values: Labels, seconds: Sequence[float], traces: Sequence[str], at_s: float) -> None:
        """Record each of `seconds` in the label set `values`; `traces` are the trace ids of the same calls."""
        series = self._child(values)
        latest: dict[int, tuple[float, str]] = {}
        for value, trace_id in zip(seconds, traces, strict=True):
            bucket = bisect_left(metrics.DURATION_BUCKETS, value)
            series.buckets[bucket] += 1
            series.total += value
            latest[bucket] = (value, trace_id)
        for bucket, (value, trace_id) in latest.items():
            series.exemplars[bucket] = Exemplar({metrics.EXEMPLAR_TRACE: trace_id}, value, at_s)

    def collect(self, new_since_s: float) -> Metric:
        """The samples; series that came to be after `new_since_s` (monotonic clock) are at 0."""
        family = HistogramMetricFamily(self.name, self._documentation, labels=self._labels)
        for values, series in list(self._series.items()):
            if series.since_s > new_since_s:
                family.add_metric(values, [(bound, 0.0) for bound in _BOUNDS], 0.0)
                continue
            buckets: list[Any] = []
            below = 0
            for index, bound in enumerate(_BOUNDS):
                below += series.buckets[index]
                exemplar = series.exemplars.get(index)
                buckets.append((bound, float(below)) if exemplar is None else (bound, float(below), exemplar))
            family.add_metric(values, buckets, series.total)
        return family

    def state(self) -> list[Any]:
        """What `restore` takes, in the types of JSON."""
        return [[*values, series.total, series.buckets] for values, series in self._series.items()]

    def restore(self, state: Sequence[Sequence[Any]], ages: Iterable[Sequence[Any]], now_s: float) -> None:
        """Go on from a `state`, as a counter does; one with other buckets is dropped."""
        for *values, total, buckets in state:
            if len(values) == len(self._labels) and len(buckets) == len(_BOUNDS):
                self._series[tuple(map(str, values))] = Distribution(list(buckets), float(total), float("-inf"))
        self._restore_ages([tuple(map(str, values)) for *values, _, _ in state], ages, now_s)

    def _make(self) -> Distribution:
        return Distribution([0] * len(_BOUNDS))


_BOUNDS: Final = (*(str(float(bound)) for bound in metrics.DURATION_BUCKETS), "+Inf")

State: TypeAlias = Mapping[str, Sequence[Any]]
"""The states of families by their names."""
