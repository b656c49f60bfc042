"""A flame graph: the root at the top, below each part the parts that it is made of, as wide as their values."""

from dataclasses import dataclass
from typing import Final
from zlib import crc32

from pictures import lettering, palette
from pictures.frame import Column, Frame
from pictures.kinds._base import Scene, no_data
from pictures.svg import Box, Canvas

_ROW: Final = 24.0
_COLORS: Final = ("#e5663d", "#d9822b", "#c9a227", "#b0577d", "#8e6bbf", "#4f8fc0", "#4ba3a0", "#6fa85a")


@dataclass(frozen=True, slots=True)
class _Part:
    level: int
    start: float
    value: float
    label: str
    row: int


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """As many levels as there is room for."""
    frame = next((each for each in scene.frames if each.rows and each.named("level")), None)
    parts = _parts(frame) if frame is not None else []
    total = max((part.value for part in parts if part.level == 0), default=0.0)
    if frame is None or not total:
        no_data(canvas, box)
        return
    value = frame.named("value")
    look = scene.look(value) if value is not None else None
    head = look.text(total) if look is not None else ""
    canvas.text((box.x + box.width / 2, box.y + 14), f"{head} in total", palette.TEXT, size=13, anchor="middle")
    for part in parts:
        place = _place(Box(box.x, box.y + 26, box.width, box.height - 26), part, total)
        if place.bottom > box.bottom + 1 or place.width < 1.5:
            continue
        canvas.rect(place, _color(part.label), radius=2)
        told = f"{part.label} ({look.text(part.value)})" if look is not None else part.label
        text = lettering.fit(told, place.width - 10, 12)
        canvas.text((place.x + 5, place.y + 16), text, palette.WHITE, size=12)


def _parts(frame: Frame) -> list[_Part]:
    """Rows are in the order of a walk down the tree: a part begins where its elder sibling ended."""
    columns = [frame.named(name) for name in ("level", "value", "label")]
    level, value, label = columns
    if level is None or value is None or label is None:
        return []
    ends: list[float] = [0.0]
    found: list[_Part] = []
    for row in range(frame.rows):
        depth = int(_number(level, row))
        start = ends[min(depth, len(ends) - 1)]
        size = _number(value, row)
        del ends[depth:]
        ends += [start + size, start]
        found.append(_Part(depth, start, size, str(label.values[row]), row))
    return found


def _number(column: Column, row: int) -> float:
    return column.number(row) or 0.0


def _place(box: Box, part: _Part, total: float) -> Box:
    width = part.value / total * box.width
    return Box(box.x + part.start / total * box.width, box.y + part.level * _ROW, width - 1, _ROW - 2)


def _color(label: str) -> str:
    """The same for the same name."""
    return _COLORS[crc32(label.encode()) % len(_COLORS)]
