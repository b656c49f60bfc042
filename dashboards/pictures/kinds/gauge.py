"""A number on an arc between two bounds."""

import math
from collections.abc import Iterator
from typing import Final

from pictures import palette
from pictures.kinds._base import Scene, no_data
from pictures.kinds.reduced import Reduced, reduced
from pictures.svg import Box, Canvas, Point

_START: Final = math.pi * 0.875
_SWEEP: Final = math.pi * 1.25
"""From lower left over the top to lower right."""


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """An arc for each value, side by side."""
    found = [each for each in reduced(scene) if isinstance(each.value, int | float)]
    if not found:
        no_data(canvas, box)
        return
    width = box.width / len(found)
    for index, each in enumerate(found):
        name = each.look.name if len(found) > 1 else ""
        _gauge(canvas, Box(box.x + index * width, box.y, width, box.height), each, name)


def _gauge(canvas: Canvas, box: Box, each: Reduced, name: str) -> None:
    value = float(str(each.value))
    low = float(each.look.settings.get("min") or 0)
    high = float(each.look.settings.get("max") or max(value, low + 1))
    room = box.height - (18 if name else 0)
    radius = max(min(box.width / 2 - 8, room / 1.42), 10)
    center = (box.x + box.width / 2, box.y + radius + (room - radius * 1.42) / 2)
    thick = radius * 0.2
    color = each.look.color(each.value)
    for start, end, shade in _bands(each, low, high):
        _arc(canvas, center, radius, radius * 0.05, start, end, shade)
    inner = radius * 0.91
    _arc(canvas, center, inner, thick, 0, 1, palette.RAISED)
    _arc(canvas, center, inner, thick, 0, _share(value, low, high), color)
    size = max(12.0, radius * 0.36)
    canvas.text(
        (center[0], center[1] + size * 0.25), each.look.text(each.value), color, size=size, anchor="middle", weight=500
    )
    if name:
        canvas.text((center[0], box.bottom - 4), name, palette.TEXT, size=12, anchor="middle")


def _share(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0), 1) if high > low else 0


def _bands(each: Reduced, low: float, high: float) -> Iterator[tuple[float, float, str]]:
    steps = each.look.steps
    for index, step in enumerate(steps):
        start = 0.0 if step.get("value") is None else _share(step["value"], low, high)
        end = _share(steps[index + 1]["value"], low, high) if index + 1 < len(steps) else 1.0
        yield start, end, palette.named(str(step["color"]))


def _arc(canvas: Canvas, center: Point, radius: float, thick: float, start: float, end: float, color: str) -> None:
    if end <= start:
        return
    first, last = _START + _SWEEP * start, _START + _SWEEP * end
    large = int(last - first > math.pi)
    inner = radius - thick
    d = (
        f"M{_on(center, radius, first)}A{radius:.1f},{radius:.1f} 0 {large} 1 {_on(center, radius, last)}"
        f"L{_on(center, inner, last)}A{inner:.1f},{inner:.1f} 0 {large} 0 {_on(center, inner, first)}Z"
    )
    canvas.shape(d, color)


def _on(center: Point, radius: float, angle: float) -> str:
    return f"{center[0] + radius * math.cos(angle):.1f},{center[1] + radius * math.sin(angle):.1f}"
