"""The frame of a chart: ticks with their units, grid lines, round times below."""

from collections.abc import Sequence
from typing import Final

from pictures import lettering, palette, unit
from pictures.kinds._base import Window
from pictures.scale import Scale, moments, ticks
from pictures.svg import Box, Canvas

SIZE: Final = 11.5
BELOW: Final = 20.0
"""Height of the line of times."""
_PER_TICK: Final = 42.0
_PER_MOMENT: Final = 90.0


def values_axis(box: Box, low: float, high: float, unit_name: str) -> tuple[Scale, list[float]]:
    """The scale of values and its ticks, from the bottom of `box` up."""
    marks = ticks(low, high, max(2, int(box.height / _PER_TICK)), unit_name)
    return Scale(marks[0], marks[-1], box.bottom, box.y), marks


def width_of(marks: Sequence[float], unit_name: str) -> float:
    """Pixels that the texts of an axis take."""
    return max(lettering.width(unit.axis(mark, unit_name), SIZE) for mark in marks) + 10


def draw_values(
    canvas: Canvas, plot: Box, scale: Scale, marks: Sequence[float], unit_name: str, *, right: bool = False
) -> None:
    """Texts beside the plot, and unless on the right, grid lines."""
    for mark in marks:
        y = scale(mark)
        text = unit.axis(mark, unit_name)
        if right:
            canvas.text((plot.right + 8, y + 4), text, palette.SECONDARY, size=SIZE)
        else:
            canvas.line((plot.x, y), (plot.right, y), palette.FAINT)
            canvas.text((plot.x - 8, y + 4), text, palette.SECONDARY, size=SIZE, anchor="end")


def draw_times(canvas: Canvas, plot: Box, window: Window) -> Scale:
    """Round times below the plot, with grid lines; answers the scale."""
    scale = Scale(window.start_ms, window.end_ms, plot.x, plot.right)
    for at, text in moments(window.start_ms, window.end_ms, int(plot.width / _PER_MOMENT)):
        x = scale(at)
        canvas.line((x, plot.y), (x, plot.bottom), palette.FAINT)
        half = lettering.width(text, SIZE) / 2
        if plot.x - 30 <= x - half and x + half <= plot.right + 8:
            canvas.text((x, plot.bottom + 15), text, palette.SECONDARY, size=SIZE, anchor="middle")
    return scale
