"""Courses over time: lines, areas and bars, beside or upon one another, with limits drawn across."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pictures import palette
from pictures.frame import NUMBER, TIME
from pictures.kinds import axes, legend
from pictures.kinds._base import Scene, Window, no_data
from pictures.kinds.reduced import calculated
from pictures.look import Look
from pictures.scale import Scale
from pictures.svg import Box, Canvas, Point, trace

_MOST_SERIES: Final = 60


@dataclass(frozen=True, slots=True)
class _Series:
    look: Look
    color: str
    times: Sequence[float]
    values: Sequence[float | None]
    floor: Sequence[float]
    """What each value stands on; zeros where nothing is stacked."""
    calcs: Sequence[str]

    @property
    def top(self) -> list[float | None]:
        return [None if value is None else value + low for value, low in zip(self.values, self.floor, strict=True)]


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """The chart with its axes (one for each unit, at most two) and legend."""
    found = _stacked(_series(scene))
    if not any(value is not None for each in found for value in each.values):
        no_data(canvas, box)
        return
    entries = [legend.Entry(each.look.name, each.color, each.calcs) for each in found]
    box = legend.draw(canvas, box, scene.options, entries)
    units = list(dict.fromkeys(each.look.unit for each in found))
    _chart(canvas, box, scene.window, found, units[0], units[1] if len(units) > 1 else None)


def _series(scene: Scene) -> list[_Series]:
    calcs = (scene.options.get("legend") or {}).get("calcs") or ()
    found: list[_Series] = []
    for number, frame in enumerate(scene.frames):
        times = frame.of_kind(TIME)
        if not times:
            continue
        for column in frame.of_kind(NUMBER):
            look = scene.look(column, len(found), number)
            if (look.custom("hideFrom") or {}).get("viz"):
                continue
            moments = [value for value in times[0].values if isinstance(value, int | float)]
            told = [look.text(calculated(column, calc)) for calc in calcs]
            zeros = [0.0] * len(moments)
            color = look.color(calculated(column, "lastNotNull"))
            found.append(_Series(look, color, moments, column.numbers(), zeros, told))
    return found[:_MOST_SERIES]


def _stacked(found: list[_Series]) -> list[_Series]:
    """Series of a stack stand on the sum of those before; in a stack of percents, all of a moment make 1."""
    totals: dict[tuple[str, float], float] = {}
    heights: dict[tuple[str, float], float] = {}
    for each in found:
        mode, group = _stacking(each.look)
        if mode == "percent":
            for at, value in zip(each.times, each.values, strict=True):
                heights[group, at] = heights.get((group, at), 0.0) + (value or 0.0)
    done: list[_Series] = []
    for each in found:
        mode, group = _stacking(each.look)
        if mode not in ("normal", "percent"):
            done.append(each)
            continue
        values = list(each.values)
        if mode == "percent":
            values = [
                None if value is None else value / (heights[group, at] or 1.0)
                for at, value in zip(each.times, values, strict=True)
            ]
        floor = [totals.get((group, at), 0.0) for at in each.times]
        for at, value in zip(each.times, values, strict=True):
            totals[group, at] = totals.get((group, at), 0.0) + (value or 0.0)
        done.append(_Series(each.look, each.color, each.times, values, floor, each.calcs))
    return done


def _stacking(look: Look) -> tuple[str, str]:
    stacking = look.custom("stacking") or {}
    return str(stacking.get("mode") or "none"), f"{stacking.get('group')}/{look.unit}"


def _chart(
    canvas: Canvas, box: Box, window: Window, found: list[_Series], left_unit: str, right_unit: str | None
) -> None:
    inner = Box(box.x, box.y + 8, box.width, box.height - 8 - axes.BELOW)
    left = [each for each in found if each.look.unit == left_unit]
    scale, marks = axes.values_axis(inner, *_bounds(left), left_unit)
    margin = axes.width_of(marks, left_unit)
    other = [each for each in found if each.look.unit != left_unit]
    right_scale, right_marks, right_margin = scale, list[float](), 8.0
    if right_unit is not None:
        right_scale, right_marks = axes.values_axis(inner, *_bounds(other), right_unit)
        right_margin = axes.width_of(right_marks, right_unit)
    plot = Box(inner.x + margin, inner.y, inner.width - margin - right_margin, inner.height)
    axes.draw_values(canvas, plot, scale, marks, left_unit)
    if right_unit is not None:
        axes.draw_values(canvas, plot, right_scale, right_marks, right_unit, right=True)
    across = axes.draw_times(canvas, plot, window)
    with canvas.clipped(plot.inset(0, -2, 0, 0)):
        barred = [each for each in found if each.look.custom("drawStyle") == "bars"]
        for each in found:
            up = scale if each.look.unit == left_unit else right_scale
            if each in barred:
                _bars(canvas, plot, across, up, each, _place_of(each, barred), window)
            else:
                _line(canvas, across, up, each)
        _limits(canvas, plot, scale, left[0].look)


def _bounds(found: Sequence[_Series]) -> tuple[float, float]:
    tops = [value for each in found for value in each.top if value is not None]
    low = min([*tops, *(0.0 for _ in found[:1])], default=0.0)
    high = max(tops, default=1.0)
    settings = found[0].look.settings if found else {}
    low = settings["min"] if settings.get("min") is not None else low
    high = settings["max"] if settings.get("max") is not None else max(high, settings.get("custom.axisSoftMax") or high)
    if high <= low:
        high = low + 1
    return low, high


def _line(canvas: Canvas, across: Scale, up: Scale, each: _Series) -> None:
    """Pieces between missing values, a dot where a piece is a single value."""
    opacity = (each.look.custom("fillOpacity") or 0) / 100
    width = each.look.custom("lineWidth", 1)
    dash = "6 4" if (each.look.custom("lineStyle") or {}).get("fill") == "dash" else ""
    for piece in _pieces(each, across, up):
        points = [(x, top) for x, top, _ in piece]
        if len(points) == 1:
            canvas.circle(points[0], 2.5, each.color)
            continue
        if opacity:
            floor = [(x, low) for x, _, low in reversed(piece)]
            canvas.shape(trace([*points, *floor], closed=True), each.color, opacity=opacity)
        if width:
            canvas.polyline(points, each.color, width=width * 1.25, dash=dash)
        if each.look.custom("drawStyle") == "points" or each.look.custom("showPoints") == "always":
            for point in points:
                canvas.circle(point, 2.2, each.color)


def _pieces(each: _Series, across: Scale, up: Scale) -> list[list[tuple[float, float, float]]]:
    pieces: list[list[tuple[float, float, float]]] = [[]]
    bridged = bool(each.look.custom("spanNulls"))
    stepped = str(each.look.custom("lineInterpolation", "linear")).startswith("step")
    for at, top, low in zip(each.times, each.top, each.floor, strict=True):
        if top is None:
            if not bridged and pieces[-1]:
                pieces.append([])
            continue
        if stepped and pieces[-1]:
            pieces[-1].append((across(at), *pieces[-1][-1][1:]))
        pieces[-1].append((across(at), up(top), up(low)))
    return [piece for piece in pieces if piece]


def _place_of(each: _Series, barred: Sequence[_Series]) -> tuple[int, int]:
    """Which of how many bars side by side; those of a stack share one place."""
    groups = list(dict.fromkeys(_group(one, index) for index, one in enumerate(barred)))
    return groups.index(_group(each, barred.index(each))), len(groups)


def _group(each: _Series, index: int) -> str:
    mode, group = _stacking(each.look)
    return group if mode in ("normal", "percent") else f"{index}"


def _bars(
    canvas: Canvas, plot: Box, across: Scale, up: Scale, each: _Series, place: tuple[int, int], window: Window
) -> None:
    """One path for all bars of a series, centred on their times as Grafana has them."""
    gaps = [later - earlier for earlier, later in pairwise(each.times) if later > earlier]
    gap_ms = min([*gaps, window.interval_s * 1000]) if gaps else window.interval_s * 1000
    slot = max((across(gap_ms) - across(0)) * 0.7, 1.5)
    width = slot / place[1]
    opacity = (each.look.custom("fillOpacity") or 80) / 100
    paths: list[str] = []
    for at, top, low in zip(each.times, each.top, each.floor, strict=True):
        if top is None or top == low:
            continue
        x = across(at) - slot / 2 + width * place[0]
        corners: list[Point] = [(x, up(low)), (x, up(top)), (x + width, up(top)), (x + width, up(low))]
        if x + width >= plot.x and x <= plot.right:
            paths.append(trace(corners, closed=True))
    if paths:
        canvas.shape("".join(paths), each.color, opacity=opacity)


def _limits(canvas: Canvas, plot: Box, scale: Scale, look: Look) -> None:
    mode = str((look.custom("thresholdsStyle") or {}).get("mode") or "off")
    if mode == "off":
        return
    for step in look.steps:
        at = step.get("value")
        if at is None or not scale.low <= at <= scale.high:
            continue
        y = scale(at)
        dash = "8 6" if "dash" in mode else ""
        canvas.line((plot.x, y), (plot.right, y), palette.named(str(step["color"])), width=1.5, dash=dash)
