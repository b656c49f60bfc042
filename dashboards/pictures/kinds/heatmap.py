"""How many observations had which value, over time: from buckets of a histogram that count up to their bound."""

import math
from itertools import pairwise
from typing import Final

from pictures import palette, unit
from pictures.frame import NUMBER, TIME
from pictures.kinds import axes
from pictures.kinds._base import Scene, no_data
from pictures.scale import Scale
from pictures.svg import Box, Canvas

_LEGEND: Final = 22.0


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """Cells by time and bucket, and what the shades stand for."""
    bounds, cells = _cells(scene)
    most = max((count for count in cells.values()), default=0)
    if not most:
        no_data(canvas, box)
        return
    unit_name = str((scene.options.get("yAxis") or {}).get("unit") or "")
    names = [unit.axis(bound, unit_name) if math.isfinite(bound) else "+Inf" for bound in bounds]
    _shades(canvas, Box(box.x + 52, box.bottom - _LEGEND, min(200, box.width / 2), _LEGEND), most)
    plot = Box(box.x + 52, box.y + 6, box.width - 60, box.height - 6 - axes.BELOW - _LEGEND - 4)
    across = axes.draw_times(canvas, plot, scene.window)
    up = Scale(0, len(bounds), plot.bottom, plot.y)
    every = max(1, math.ceil(len(bounds) * 16 / plot.height))
    for index, name in enumerate(names):
        if index % every == 0:
            canvas.text((plot.x - 8, up(index + 0.5) + 4), name, palette.SECONDARY, size=axes.SIZE, anchor="end")
    width = _width(cells, across, scene.window.interval_s)
    with canvas.clipped(plot):
        for (at, bucket), count in sorted(cells.items()):
            place = Box(across(at) - width, up(bucket + 1), max(width - 1, 1), max(up(bucket) - up(bucket + 1) - 1, 1))
            canvas.rect(place, _shade(count / most))


def _cells(scene: Scene) -> tuple[list[float], dict[tuple[float, int], float]]:
    """Bounds from low to high; counts of the bucket alone by time and number of the bucket."""
    upto: dict[float, dict[float, float]] = {}
    for frame in scene.frames:
        times = frame.of_kind(TIME)
        for column in frame.of_kind(NUMBER):
            bound = _bound(column.labels.get("le") or column.legend)
            if bound is None or not times:
                continue
            counts = upto.setdefault(bound, {})
            for at, value in zip(times[0].values, column.numbers(), strict=True):
                if isinstance(at, int | float) and value is not None:
                    counts[at] = counts.get(at, 0) + value
    bounds = sorted(upto)
    cells: dict[tuple[float, int], float] = {}
    for index, bound in enumerate(bounds):
        below = upto[bounds[index - 1]] if index else {}
        for at, count in upto[bound].items():
            alone = count - below.get(at, 0)
            if alone > 1e-9:
                cells[at, index] = alone
    used = [index for _, index in cells]
    if not used:
        return bounds, {}
    low, high = max(min(used) - 1, 0), min(max(used) + 1, len(bounds) - 1)
    return bounds[low : high + 1], {(at, index - low): count for (at, index), count in cells.items()}


def _bound(text: str) -> float | None:
    try:
        return float(text.replace("Inf", "inf"))
    except ValueError:
        return None


def _width(cells: dict[tuple[float, int], float], across: Scale, interval_s: int) -> float:
    times = sorted({at for at, _ in cells})
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return across(min(gaps, default=interval_s * 1000)) - across(0)


def _shade(share: float) -> str:
    last = len(palette.BLUES) - 1
    return palette.BLUES[min(last, int(math.sqrt(share) * (last + 0.999)))]


def _shades(canvas: Canvas, box: Box, most: float) -> None:
    width = box.width / len(palette.BLUES)
    for index, color in enumerate(palette.BLUES):
        canvas.rect(Box(box.x + index * width, box.y + 2, width, 8), color)
    canvas.text((box.x, box.y + 21), "0", palette.SECONDARY, size=10)
    canvas.text((box.right, box.y + 21), unit.show(most, "short"), palette.SECONDARY, size=10, anchor="end")
