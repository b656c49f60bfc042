"""Bars by name: side by side or upon one another, standing or lying."""

from dataclasses import dataclass
from typing import Final

from pictures import lettering, palette, unit
from pictures.frame import NUMBER, TEXT, TIME, Column, Frame
from pictures.kinds import axes, legend
from pictures.kinds._base import Scene, no_data
from pictures.look import Look
from pictures.scale import Scale
from pictures.svg import Box, Canvas

_WIDEST_NAME: Final = 150.0


@dataclass(frozen=True, slots=True)
class _Chart:
    names: list[str]
    columns: list[tuple[Column, Look]]
    stacked: bool

    @property
    def high(self) -> float:
        rows = [[column.number(row) or 0.0 for column, _ in self.columns] for row in range(len(self.names))]
        return max((sum(row) if self.stacked else max(row) for row in rows), default=0) or 1.0


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """A bar, or a group of them, for each row."""
    frame = next((each for each in scene.frames if each.rows), None)
    if frame is None or not frame.of_kind(NUMBER):
        no_data(canvas, box)
        return
    columns = [(column, scene.look(column, index)) for index, column in enumerate(frame.of_kind(NUMBER))]
    stacked = scene.options.get("stacking") in ("normal", "percent")
    chart = _Chart(_names(frame), columns, stacked)
    entries = [legend.Entry(look.name, look.color()) for _, look in columns]
    box = legend.draw(canvas, box, scene.options, entries)
    if scene.options.get("orientation") == "horizontal":
        _lying(canvas, box, chart)
    else:
        _standing(canvas, box, chart)


def _names(frame: Frame) -> list[str]:
    first = next(iter([*frame.of_kind(TEXT), *frame.of_kind(TIME)]), None)
    if first is None:
        return [str(row + 1) for row in range(frame.rows)]
    if first.kind == TIME:
        return [unit.moment(float(str(value)))[5:10].replace("-", "/") for value in first.values]
    return [str(value) for value in first.values]


def _standing(canvas: Canvas, box: Box, chart: _Chart) -> None:
    unit_name = chart.columns[0][1].unit
    inner = Box(box.x, box.y + 8, box.width, box.height - 8 - axes.BELOW)
    scale, marks = axes.values_axis(inner, 0, chart.high, unit_name)
    margin = axes.width_of(marks, unit_name)
    plot = Box(inner.x + margin, inner.y, inner.width - margin - 4, inner.height)
    axes.draw_values(canvas, plot, scale, marks, unit_name)
    slot = plot.width / len(chart.names)
    every = max(1, round(max(lettering.width(name, axes.SIZE) + 10 for name in chart.names) / slot + 0.499))
    every = every if slot < 40 else 1
    for row, name in enumerate(chart.names):
        left = plot.x + row * slot
        for box_, color in _row(chart, row, scale, left + slot * 0.14, slot * 0.72):
            canvas.rect(box_, color, opacity=0.85)
        if row % every == 0:
            text = lettering.fit(name, slot * every - 4, axes.SIZE)
            canvas.text((left + slot / 2, plot.bottom + 15), text, palette.SECONDARY, size=axes.SIZE, anchor="middle")


def _row(chart: _Chart, row: int, scale: Scale, start: float, width: float) -> list[tuple[Box, str]]:
    """The bars of a row, standing: their boxes and colours."""
    found: list[tuple[Box, str]] = []
    base = 0.0
    each_width = width if chart.stacked else width / len(chart.columns)
    for index, (column, look) in enumerate(chart.columns):
        value = column.number(row) or 0.0
        x = start if chart.stacked else start + index * each_width
        top, bottom = scale(base + value), scale(base)
        found.append(
            (Box(x, min(top, bottom), each_width - (0 if chart.stacked else 1), abs(bottom - top)), _color(look, value))
        )
        base += value if chart.stacked else 0
    return found


def _color(look: Look, value: float) -> str:
    return look.color(value)


def _lying(canvas: Canvas, box: Box, chart: _Chart) -> None:
    unit_name = chart.columns[0][1].unit
    margin = min(max(lettering.width(name, axes.SIZE) for name in chart.names) + 10, _WIDEST_NAME)
    plot = Box(box.x + margin, box.y + 4, box.width - margin - 16, box.height - 4 - axes.BELOW)
    high = chart.high
    across_box = Box(0, 0, 0, plot.width / 2)
    measured, marks = axes.values_axis(across_box, 0, high, unit_name)
    across = Scale(measured.low, measured.high, plot.x, plot.right)
    for mark in marks:
        canvas.line((across(mark), plot.y), (across(mark), plot.bottom), palette.FAINT)
        text = unit.axis(mark, unit_name)
        canvas.text((across(mark), plot.bottom + 15), text, palette.SECONDARY, size=axes.SIZE, anchor="middle")
    slot = plot.height / len(chart.names)
    for row, name in enumerate(chart.names):
        top = plot.y + row * slot
        for place, color in _row(chart, row, across, top + slot * 0.14, slot * 0.72):
            # Standing bars from left to right are lying ones from top to bottom.
            start, end = sorted((place.y, place.bottom))
            canvas.rect(Box(start, place.x, end - start, place.width), color, opacity=0.85)
        text = lettering.fit(name, margin - 10, axes.SIZE)
        canvas.text((plot.x - 8, top + slot / 2 + 4), text, palette.SECONDARY, size=axes.SIZE, anchor="end")
