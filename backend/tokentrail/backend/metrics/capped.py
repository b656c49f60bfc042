"""Metric families with a bounded number of label sets."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram

from tokentrail.semconv import metrics

_FOLDED_HEADROOM: Final = 200
"""Label sets beyond the cap that keep their other labels when only the model was folded."""

_Child = TypeVar("_Child", Counter, Histogram)


Overflow: TypeAlias = Callable[[str], None]
"""Told the metric's name for each update that was folded."""


class _Capped(dict[tuple[str, ...], _Child]):
    """Children by label values, at most `max_label_sets` and some folded ones. Not for several writers at once."""

    def __init__(self, family: _Child, name: str, labels: Sequence[str], overflow: Overflow, max_label_sets: int):
        super().__init__()
        self._family: _Child = family
        self._name, self._overflow = name, overflow
        self._max = max_label_sets
        self._model = labels.index(metrics.MODEL)

    def child(self, values: tuple[str, ...]) -> _Child:
        """The child for `values`; past the cap, that of the values with the model, then with everything, folded."""
        found = self.get(values)
        if found is not None:
            return found
        if len(self) >= self._max:
            self._overflow(self._name)
            values = (*values[: self._model], metrics.OTHER, *values[self._model + 1 :])
            if values not in self and len(self) >= self._max + _FOLDED_HEADROOM:
                values = (metrics.OTHER,) * len(values)
        if values not in self:
            self[values] = self._family.labels(*values)
        return self[values]


class _Family(ABC, Generic[_Child]):
    """A metric of model calls: `overflow` is told of each update beyond `max_label_sets`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        documentation: str,
        extra: Sequence[str],
        overflow: Overflow,
        max_label_sets: int = metrics.MAX_LABEL_SETS,
    ):
        labels = (*metrics.CALL_LABELS, *extra)
        family = self._make(registry, name, documentation, labels)
        self._children: _Capped[_Child] = _Capped(family, name, labels, overflow, max_label_sets)

    @abstractmethod
    def _make(self, registry: CollectorRegistry, name: str, documentation: str, labels: Sequence[str]) -> _Child:
        """The metric itself, registered."""


class CappedCounter(_Family[Counter]):
    """A counter of model calls with `CALL_LABELS` and perhaps one more label."""

    def _make(self, registry: CollectorRegistry, name: str, documentation: str, labels: Sequence[str]) -> Counter:
        return Counter(name, documentation, labels, registry=registry)

    def add(self, values: tuple[str, ...], amount: float) -> None:
        """Add `amount` to the label set `values`."""
        self._children.child(values).inc(amount)


class CappedHistogram(_Family[Histogram]):
    """A latency histogram of model calls with `CALL_LABELS` and perhaps one more label."""

    def _make(self, registry: CollectorRegistry, name: str, documentation: str, labels: Sequence[str]) -> Histogram:
        return Histogram(name, documentation, labels, registry=registry, buckets=metrics.DURATION_BUCKETS)

    def observe(self, values: tuple[str, ...], seconds: Iterable[float]) -> None:
        """Record each of `seconds` in the label set `values`."""
        child = self._children.child(values)
        for value in seconds:
            child.observe(value)
