"""Asks what a dashboard asks: SQL through the backend's `/clickhouse`, PromQL through Prometheus.

Answers become frames as Grafana's data sources make them. Variables and macros are put in by
`tests/support/grafana.py`, as they are where the queries are tested.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pictures.frame import NUMBER, TEXT, TIME, Answers, Column, Frame, widened
from support import grafana

Asked = tuple[Sequence[Mapping[str, str]], Sequence[Mapping[str, object]]]
"""Columns, with `name` and `type`, and rows."""
_SERIES, _TABLE = 0, 1
"""Formats of the ClickHouse plugin."""
_PROMETHEUS_POINTS: Final = 240


@dataclass(frozen=True, slots=True)
class Sources:
    """Where queries are answered."""

    sql: Callable[[str], Asked]
    prometheus: Callable[[str, Mapping[str, str]], list[dict[str, Any]]]
    """Path (`query` or `query_range`) and parameters; answers `data.result`."""


def ask(dashboard: Mapping[str, Any], sources: Sources, window: grafana.Window, chosen: grafana.Choice) -> Answers:
    """The answers to all queries of the panels that can be seen. Raises what the sources raise."""
    every = {each["name"]: str(each.get("allValue") or ".*") for each in dashboard["templating"]["list"]}
    found: dict[tuple[int, str], Sequence[Frame]] = {}
    for panel in visible(dashboard):
        for target in panel.get("targets") or ():
            if "rawSql" in target:
                statement = at_time(grafana.sql(target["rawSql"], window, chosen), window.end_ms)
                frames = [from_rows(sources.sql(statement), target["format"])]
            else:
                expression = grafana.promql(target["expr"], window, chosen, every, max(window.interval_s, 60) * 4)
                frames = list(_asked_of_prometheus(sources, target, expression, window))
            found[panel["id"], target["refId"]] = frames
    return found


def visible(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Panels that are seen when a dashboard is opened."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def at_time(statement: str, now_ms: int) -> str:
    """`statement` as if it ran at the end of the window: a picture of an older time has the numbers of that time."""
    statement = re.sub(r"\bnow\(\s*('UTC')?\s*\)", f"toDateTime({now_ms // 1000}, 'UTC')", statement)
    statement = re.sub(r"\bnow64\([^)]*\)", f"fromUnixTimestamp64Milli({now_ms}, 'UTC')", statement)
    return re.sub(r"\b(today|yesterday)\(\)", lambda found: _day(found[1], now_ms), statement)


def _day(name: str, now_ms: int) -> str:
    back = " - 1" if name == "yesterday" else ""
    return f"(toDate(toDateTime({now_ms // 1000}, 'UTC')){back})"


def from_rows(asked: Asked, shape: int = _TABLE) -> Frame:
    """A frame from columns and rows of ClickHouse."""
    meta, rows = asked
    columns = []
    for each in meta:
        kind, read = _reader(each["type"])
        values = [None if row[each["name"]] is None else read(row[each["name"]]) for row in rows]
        columns.append(Column(each["name"], kind, tuple(values)))
    frame = Frame(columns)
    return widened(frame) if shape == _SERIES else frame


def _reader(type_: str) -> tuple[str, Callable[[object], object]]:
    bare = re.sub(r"^(?:Nullable|LowCardinality)\((.*)\)$", r"\1", type_)
    bare = re.sub(r"^(?:Nullable|LowCardinality)\((.*)\)$", r"\1", bare)
    if bare.startswith("Date"):
        return TIME, lambda value: _milliseconds(str(value))
    if re.match(r"U?Int|Float|Decimal|BFloat", bare):
        whole = "Int" in bare
        return NUMBER, lambda value: int(str(value)) if whole else float(str(value))
    if bare == "Bool":
        return TEXT, lambda value: "true" if value else "false"
    if bare.startswith(("Array", "Map", "Tuple", "JSON")):
        return TEXT, lambda value: json.dumps(value, ensure_ascii=False)
    return TEXT, str


def _milliseconds(text: str) -> float:
    moment = datetime.fromisoformat(text[:26]).replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000, 3)


def _asked_of_prometheus(
    sources: Sources, target: Mapping[str, Any], expression: str, window: grafana.Window
) -> Iterator[Frame]:
    end_s = window.end_ms / 1000
    if target.get("instant"):
        samples = sources.prometheus("query", {"query": expression, "time": str(end_s)})
        if target.get("format") == "table":
            yield _table(samples)
        else:
            yield from (_series(sample, [sample["value"]], samples, target) for sample in samples)
        return
    step = max(window.interval_s, window.range_s // _PROMETHEUS_POINTS, 1)
    # Grafana's times are multiples of the step, so that a later look at the same time shows the same points.
    start, end = (at // 1000 // step * step for at in (window.start_ms, window.end_ms))
    asked = {"query": expression, "start": str(start), "end": str(end), "step": str(step)}
    samples = sources.prometheus("query_range", asked)
    steps = range(start, end + 1, step)
    yield from (_series(sample, _with_gaps(sample["values"], steps), samples, target) for sample in samples)


def _with_gaps(values: Sequence[tuple[float, str]], steps: Sequence[int]) -> list[tuple[float, str]]:
    """A value for each step from the first to the last that has one; those between that have none are not numbers."""
    known = {round(at): value for at, value in values}
    first, last = (round(values[index][0]) for index in (0, -1))
    return [(at, known.get(at, "NaN")) for at in steps if first <= at <= last]


def _series(
    sample: Mapping[str, Any],
    values: Sequence[tuple[float, str]],
    siblings: Sequence[Mapping[str, Any]],
    target: Mapping[str, Any],
) -> Frame:
    labels = {name: value for name, value in sample["metric"].items() if name != "__name__"}
    legend = _legend(str(target.get("legendFormat") or "__auto"), sample["metric"], siblings) or str(target["expr"])
    times = Column("Time", TIME, tuple(float(at) * 1000 for at, _ in values))
    numbers = Column("Value", NUMBER, tuple(_number(value) for _, value in values), labels, legend)
    return Frame([times, numbers])


def _number(text: str) -> float | None:
    value = float(text)
    return value if value == value and abs(value) != float("inf") else None


def _legend(template: str, metric: Mapping[str, str], siblings: Sequence[Mapping[str, Any]]) -> str:
    """As Grafana's Prometheus data source names a series: `__auto` is what tells it from its siblings."""
    if template != "__auto":
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: metric.get(found[1], ""), template)
    labels = {name: value for name, value in metric.items() if name != "__name__"}
    if len(siblings) > 1 and len(labels) == 1:
        return next(iter(labels.values()))
    told = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return metric.get("__name__", "") + (f"{{{told}}}" if told else "")


def _table(samples: Sequence[Mapping[str, Any]]) -> Frame:
    """A row for each sample: time, labels in the order of the alphabet, value."""
    names = sorted({name for sample in samples for name in sample["metric"]})
    labels = [Column(name, TEXT, tuple(sample["metric"].get(name) for sample in samples)) for name in names]
    times = Column("Time", TIME, tuple(float(sample["value"][0]) * 1000 for sample in samples))
    values = Column("Value", NUMBER, tuple(_number(sample["value"][1]) for sample in samples))
    return Frame([times, *labels, values])
