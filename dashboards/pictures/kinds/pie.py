"""Shares of a whole as a ring, with a table of them."""

import math
from typing import Final

from pictures import lettering, palette, unit
from pictures.kinds import legend
from pictures.kinds._base import Scene, no_data
from pictures.kinds.reduced import Reduced, reduced
from pictures.svg import Box, Canvas

_HOLE: Final = 0.62


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """The ring, from the top clockwise."""
    found = [each for each in reduced(scene) if isinstance(each.value, int | float) and each.value > 0]
    total = sum(_value(each) for each in found)
    if not total:
        no_data(canvas, box)
        return
    place = _legend(canvas, box, scene, found, total)
    center = (place.x + place.width / 2, place.y + place.height / 2)
    radius = min(place.width, place.height) / 2 - 6
    hole = radius * _HOLE if scene.options.get("pieType") == "donut" else 0
    done = 0.0
    for each in found:
        share = _value(each) / total
        canvas.shape(_slice(center, radius, hole, done, share), each.look.color(each.value), stroke=palette.PANEL)
        done += share


def _value(each: Reduced) -> float:
    return float(each.value) if isinstance(each.value, int | float) else 0.0


def _legend(canvas: Canvas, box: Box, scene: Scene, found: list[Reduced], total: float) -> Box:
    wanted = (scene.options.get("legend") or {}).get("values") or ()
    entries = []
    for each in found:
        texts = {"percent": unit.show(_value(each) / total, "percentunit", 0), "value": each.look.text(each.value)}
        entries.append(
            legend.Entry(each.look.name, each.look.color(each.value), [texts[name] for name in wanted if name in texts])
        )
    if (scene.options.get("legend") or {}).get("placement") != "right":
        return legend.draw(canvas, box, scene.options, entries)
    height = min(legend.rows_height(len(entries)), box.height)
    widest = max(lettering.width(entry.name, 12) for entry in entries)
    width = min(box.width * 0.6, 20 + widest + 12 + len(wanted) * 64)
    place = Box(box.right - width, box.y + (box.height - height) / 2, width, height)
    legend.table(canvas, place, [str(name).capitalize() for name in wanted], entries)
    return Box(box.x, box.y, box.width - width - 12, box.height)


def _slice(center: tuple[float, float], radius: float, hole: float, start: float, share: float) -> str:
    """Path of a part of the ring; a whole ring is two circles."""
    if share > 0.9999:
        return _circle(center, radius, 1) + (_circle(center, hole, 0) if hole else "")
    ends = [2 * math.pi * each - math.pi / 2 for each in (start, start + share)]
    large = int(share > 0.5)
    outer = [_on(center, radius, angle) for angle in ends]
    inner = [_on(center, hole, angle) for angle in ends]
    arc = f"A{radius:.1f},{radius:.1f} 0 {large} 1 {outer[1]}"
    back = f"L{inner[1]}A{hole:.1f},{hole:.1f} 0 {large} 0 {inner[0]}" if hole else f"L{center[0]:.1f},{center[1]:.1f}"
    return f"M{outer[0]}{arc}{back}Z"


def _on(center: tuple[float, float], radius: float, angle: float) -> str:
    return f"{center[0] + radius * math.cos(angle):.1f},{center[1] + radius * math.sin(angle):.1f}"


def _circle(center: tuple[float, float], radius: float, sweep: int) -> str:
    """Clockwise with `sweep`; a circle the other way round within one is a hole."""
    x, y = center
    half = f"A{radius:.1f},{radius:.1f} 0 1 {sweep}"
    return f"M{x - radius:.1f},{y:.1f}{half} {x + radius:.1f},{y:.1f}{half} {x - radius:.1f},{y:.1f}Z"
