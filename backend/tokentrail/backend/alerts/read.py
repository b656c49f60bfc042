"""From a file of alerts to definitions: every error is found at once, and names its line.

defaults: true                  keep the shipped alerts; one of the same name replaces the shipped one
disable: [LLMRequestSpike]      shipped alerts that are not wanted
links: {grafana: https://grafana.example.com, runbook: https://wiki.example.com/runbook}
alerts: [...]                   see `definition.py`
"""

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Final, TypeVar

from tokentrail.backend.alerts import metric as metrics
from tokentrail.backend.alerts import quantity
from tokentrail.backend.alerts.definition import (
    ANY_ENVIRONMENT,
    DIMENSIONS,
    ENVIRONMENT,
    PROPERTY,
    AlertFileError,
    AlertSet,
    Comparison,
    Definition,
    Links,
    Severity,
)
from tokentrail.backend.alerts.document import Fields, Item, parse
from tokentrail.backend.alerts.label import label_of
from tokentrail.backend.alerts.metric import Aggregation, Metric

MAX_ALERTS: Final = 200
MAX_WINDOW_S: Final = 31 * 86_400
MAX_SERIES: Final = 200
"""What `max_series` can be."""
SHIPPED: Final = "defaults.yaml"

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
_PERCENTILE: Final = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,4})?)", re.ASCII)
_MOST_FREQUENT_S: Final = 15
_LEAST_FREQUENT_S: Final = 300
_FILE: Final = ("defaults", "disable", "links", "alerts")
_FIELDS: Final = (
    *("name", "metric", "aggregation", "threshold", "direction", "window", "min_requests", "filters", "group_by"),
    *("for", "keep_firing_for", "every", "max_series", "confirm", "compare", "severity"),
    *("summary", "description", "runbook", "annotations"),
)
_COMPARE: Final = ("with", "times", "deviations", "history")
_DIRECTIONS: Final = ("above", "below")
_RESERVED: Final = ("summary", "description", "runbook_url", "dashboard_url")
_T = TypeVar("_T")


def read_alerts(data: bytes, name: str) -> AlertSet:
    """The alerts of a file, and the shipped ones that it keeps. Raises `AlertFileError`."""
    return _File(name).read(parse(data, name), shipped().definitions)


def shipped() -> AlertSet:
    """The alerts that come with Tokentrail. Raises `AlertFileError` where PyYAML is missing."""
    data = files("tokentrail.backend.alerts").joinpath(SHIPPED).read_bytes()
    return _File(SHIPPED).read(parse(data, SHIPPED), ())


class _File:
    """Reads one file and collects what is wrong with it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._problems: list[tuple[int, str]] = []

    def read(self, document: Item | None, defaults: tuple[Definition, ...]) -> AlertSet:
        fields = {} if document is None else self._fields(document, "the file", _FILE)
        own = tuple(self._alerts(fields["alerts"]) if "alerts" in fields else ())
        kept = () if self._flag(fields.get("defaults")) is False else defaults
        disabled = dict(self._texts(fields.get("disable"), "disable"))
        for text, line in disabled.items():
            if text not in {each.name for each in defaults}:
                self._wrong(line, f"disable names {text!r}, which is no shipped alert")
        links = self._links(fields.get("links"))
        if self._problems:
            raise AlertFileError(self._name, tuple(sorted(self._problems)))
        names = {each.name for each in own} | set(disabled)
        return AlertSet((*(each for each in kept if each.name not in names), *own), links)

    def _alerts(self, item: Item) -> Iterable[Definition]:
        if not isinstance(item.value, tuple):
            self._wrong(item.line, f"alerts must be a list, not {item.kind}")
            return
        if len(item.value) > MAX_ALERTS:
            self._wrong(item.line, f"there are {len(item.value)} alerts, more than {MAX_ALERTS}")
            return
        lines: dict[str, int] = {}
        for each in item.value:
            definition = self._alert(each)
            if definition is None:
                continue
            if definition.name in lines:
                self._wrong(each.line, f"{definition.name} is defined on line {lines[definition.name]} already")
            lines[definition.name] = each.line
            yield definition

    def _alert(self, item: Item) -> Definition | None:
        """The definition, or `None` where it has errors."""
        before = len(self._problems)
        fields = self._fields(item, "an alert", _FIELDS)
        for required in ("name", "metric", "threshold", "window", "severity"):
            if required not in fields and isinstance(item.value, Fields):
                self._wrong(item.line, f"{required} is missing")
        metric = self._convert(fields, "metric", _metric)
        if metric is None or len(self._problems) > before + 5:
            return None
        definition = self._definition(item.line, fields, metric)
        return definition if len(self._problems) == before else None

    def _definition(self, line: int, fields: Mapping[str, Item], metric: Metric) -> Definition:
        window_s = self._convert(fields, "window", _positive_time) or 1
        if window_s > MAX_WINDOW_S:
            self._wrong(fields["window"].line, f"window is more than {quantity.short(MAX_WINDOW_S)}")
        aggregation = self._convert(fields, "aggregation", lambda text: _aggregation(text, metric))
        chosen = aggregation or _aggregation(metric.aggregations[0], metric)
        thresholds = self._thresholds(fields.get("threshold"), metric)
        group_by = tuple(dict.fromkeys(self._dimensions(fields.get("group_by"))))
        if set(thresholds) != {ANY_ENVIRONMENT} and ENVIRONMENT not in group_by:
            group_by = (ENVIRONMENT, *group_by)
        direction = self._convert(fields, "direction", _one_of(_DIRECTIONS))
        confirm_s = self._confirm(fields, window_s)
        return Definition(
            name=self._convert(fields, "name", _name) or "",
            metric=metric,
            aggregation=chosen,
            thresholds=thresholds,
            window_s=window_s,
            severity=self._convert(fields, "severity", _severity) or Severity.LOW,
            is_below=metric.is_bad_below if direction is None else direction == "below",
            min_requests=self._convert(fields, "min_requests", _count) or 0,
            filters=tuple(self._filters(fields.get("filters"))),
            group_by=group_by,
            for_s=self._convert(fields, "for", quantity.whole_seconds) or 0,
            keep_firing_s=self._convert(fields, "keep_firing_for", quantity.whole_seconds) or 0,
            every_s=self._convert(fields, "every", _positive_time) or _every(confirm_s or window_s),
            max_series=self._convert(fields, "max_series", _series) or 20,
            confirm_s=confirm_s,
            comparison=self._comparison(fields.get("compare"), metric, chosen, window_s),
            summary=self._text(fields, "summary"),
            description=self._text(fields, "description"),
            runbook=self._text(fields, "runbook"),
            annotations=dict(self._annotations(fields.get("annotations"))),
            line=line,
        )

    def _thresholds(self, item: Item | None, metric: Metric) -> dict[str, float]:
        """One for all environments, or one for each that is named."""
        if item is None:
            return {ANY_ENVIRONMENT: 0.0}
        if not isinstance(item.value, Fields):
            item = Item(item.line, Fields(((ANY_ENVIRONMENT, item.line, item),)))
        assert isinstance(item.value, Fields)  # noqa: S101  # made so above
        found = {}
        for environment, _, value in item.value.entries:
            threshold = self._converted("threshold", value, lambda text: quantity.of_unit(text, metric.unit))
            if threshold is not None:
                found[environment] = threshold
        if not item.value.entries:
            self._wrong(item.line, "threshold names no environment")
        return found or {ANY_ENVIRONMENT: 0.0}

    def _confirm(self, fields: Mapping[str, Item], window_s: int) -> int:
        confirm_s = self._convert(fields, "confirm", _positive_time) or 0
        if confirm_s >= window_s and "confirm" in fields:
            self._wrong(fields["confirm"].line, "confirm must be shorter than the window")
        return confirm_s

    def _comparison(
        self, item: Item | None, metric: Metric, aggregation: Aggregation, window_s: int
    ) -> Comparison | None:
        if item is None:
            return None
        fields = self._fields(item, "compare", _COMPARE)
        span_s = self._convert(fields, "with", _positive_time)
        times, deviations = (self._convert(fields, name, _factor) for name in ("times", "deviations"))
        if "with" not in fields:
            self._wrong(item.line, "compare needs with: how much of the past")
        elif span_s is not None and not window_s <= span_s <= MAX_WINDOW_S:
            self._wrong(fields["with"].line, "with must be at least the window, and at most 31d")
        if times is None and deviations is None:
            self._wrong(item.line, "compare needs times or deviations")
        if deviations is not None and not metric.is_additive(aggregation):
            self._wrong(item.line, f"deviations are for sums, not for {aggregation.label} of {metric.name}")
        history_s = self._convert(fields, "history", _positive_time)
        return Comparison(span_s or window_s, times, deviations, history_s or (span_s or window_s) // 4)

    def _filters(self, item: Item | None) -> Iterable[tuple[str, tuple[str, ...]]]:
        for name, line, value in self._entries(item, "filters"):
            if _is_dimension(name):
                yield name, tuple(text for text, _ in self._texts(value, f"filter {name}"))
            else:
                self._wrong(line, f"filters cannot name {name!r}: expected {_DIMENSIONS}")

    def _dimensions(self, item: Item | None) -> Iterable[str]:
        labels: dict[str, str] = {}
        for name, line in self._texts(item, "group_by"):
            if not _is_dimension(name):
                self._wrong(line, f"group_by cannot name {name!r}: expected {_DIMENSIONS}")
                continue
            other = labels.setdefault(label_of(name), name)
            if other != name:
                self._wrong(line, f"group_by has {other} and {name}, which would have one label")
            yield name

    def _annotations(self, item: Item | None) -> Iterable[tuple[str, str]]:
        for name, line, value in self._entries(item, "annotations"):
            if not _NAME.fullmatch(name):
                self._wrong(line, f"the annotation {name!r} must be letters, digits and underscores")
            elif name in _RESERVED:
                self._wrong(line, f"the annotation {name} is made from the field summary, description or runbook")
            elif not isinstance(value.value, str):
                self._wrong(value.line, f"the annotation {name} must be text, not {value.kind}")
            else:
                yield name, value.value

    def _links(self, item: Item | None) -> Links:
        defaults = Links()
        if item is None:
            return defaults
        fields = self._fields(item, "links", ("grafana", "runbook"))
        grafana, runbook = self._text(fields, "grafana"), self._text(fields, "runbook")
        return Links((grafana or defaults.grafana).rstrip("/"), runbook or defaults.runbook)

    def _fields(self, item: Item, what: str, allowed: tuple[str, ...]) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for name, line, value in self._entries(item, what):
            if name not in allowed:
                self._wrong(line, f"unknown field {name!r} in {what}: expected one of {', '.join(allowed)}")
            elif value.value in ("", ()):
                self._wrong(line, f"{name} is empty")
            else:
                found[name] = value
        return found

    def _entries(self, item: Item | None, what: str) -> tuple[tuple[str, int, Item], ...]:
        if item is None:
            return ()
        if not isinstance(item.value, Fields):
            self._wrong(item.line, f"{what} must be a mapping, not {item.kind}")
            return ()
        seen: dict[str, int] = {}
        for name, line, _ in item.value.entries:
            if name in seen:
                self._wrong(line, f"{name} is given on line {seen[name]} already")
            seen.setdefault(name, line)
        return item.value.entries

    def _texts(self, item: Item | None, what: str) -> Iterable[tuple[str, int]]:
        """One text or a list of them, with their lines."""
        if item is None:
            return
        for each in item.value if isinstance(item.value, tuple) else (item,):
            if isinstance(each.value, str):
                yield each.value, each.line
            else:
                self._wrong(each.line, f"{what} must be text or a list of texts, not {each.kind}")

    def _text(self, fields: Mapping[str, Item], name: str) -> str:
        return self._convert(fields, name, str.strip) or ""

    def _flag(self, item: Item | None) -> bool | None:
        if item is None:
            return None
        if item.value not in ("true", "false"):
            self._wrong(item.line, "defaults must be true or false")
        return item.value == "true"

    def _convert(self, fields: Mapping[str, Item], name: str, convert: Callable[[str], _T]) -> _T | None:
        item = fields.get(name)
        return None if item is None else self._converted(name, item, convert)

    def _converted(self, name: str, item: Item, convert: Callable[[str], _T]) -> _T | None:
        if not isinstance(item.value, str):
            self._wrong(item.line, f"{name} must be a value, not {item.kind}")
            return None
        try:
            return convert(item.value)
        except ValueError as error:
            self._wrong(item.line, f"{name} is {item.value[:60]!r}: {error}")
            return None

    def _wrong(self, line: int, what: str) -> None:
        self._problems.append((line, what))


_DIMENSIONS: Final = f"one of {', '.join(DIMENSIONS)}, or {PROPERTY}<key>"


def _is_dimension(name: str) -> bool:
    return name in DIMENSIONS or (name.startswith(PROPERTY) and len(name) > len(PROPERTY))


def _metric(text: str) -> Metric:
    if text not in metrics.BY_NAME:
        raise ValueError(f"expected one of {', '.join(metrics.BY_NAME)}")
    return metrics.BY_NAME[text]


def _aggregation(text: str, metric: Metric) -> Aggregation:
    percentile = _PERCENTILE.fullmatch(text)
    kind = metrics.PERCENTILE if percentile else text
    if kind not in metric.aggregations or (percentile and float(percentile[1]) <= 0):
        words = [f"a percentile such as p{metrics.DEFAULT_PERCENTILE:g}", *metric.aggregations]
        allowed = [word for word in words if word != metrics.PERCENTILE]
        if metrics.PERCENTILE not in metric.aggregations:
            allowed = allowed[1:]
        raise ValueError(f"{metric.name} can be summed up by {', '.join(allowed)}")
    if kind != metrics.PERCENTILE:
        return Aggregation(kind)
    return Aggregation(kind, float(percentile[1]) if percentile else metrics.DEFAULT_PERCENTILE)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("expected up to 100 letters, digits and underscores, beginning with a letter")
    return text


def _severity(text: str) -> Severity:
    try:
        return Severity(text)
    except ValueError:
        raise ValueError(f"expected one of {', '.join(Severity)}") from None


def _one_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"expected {' or '.join(allowed)}")
        return text

    return check


def _positive_time(text: str) -> int:
    if (length := quantity.whole_seconds(text)) < 1:
        raise ValueError("expected at least 1s")
    return length


def _count(text: str) -> int:
    if (count := quantity.number(text)) != int(count):
        raise ValueError("expected a whole number")
    return int(count)


def _series(text: str) -> int:
    if not 1 <= (count := _count(text)) <= MAX_SERIES:
        raise ValueError(f"expected 1 to {MAX_SERIES}")
    return count


def _factor(text: str) -> float:
    if (factor := float(quantity.number(text))) <= 0:
        raise ValueError("expected more than 0")
    return factor


def _every(window_s: int) -> int:
    """A twentieth of the window, within what makes sense."""
    return min(max(window_s // 20, _MOST_FREQUENT_S), _LEAST_FREQUENT_S)
