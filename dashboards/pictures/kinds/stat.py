"""A number in large letters, or several side by side."""

from dataclasses import dataclass
from typing import Any

from pictures import lettering, palette
from pictures.frame import NUMBER, Frame
from pictures.kinds._base import Scene, no_data
from pictures.kinds.reduced import Reduced, reduced
from pictures.scale import Scale
from pictures.svg import Box, Canvas, trace

_LARGEST = 44.0
_GAP = 6.0
_NAME = 12.0
_NAME_LINE = 15.0


@dataclass(frozen=True, slots=True)
class _Tile:
    name: str
    text: str
    color: str


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """A tile for each field or, where the panel says so, each row."""
    found = reduced(scene)
    if not found:
        no_data(canvas, box)
        return
    named = len(found) > 1 or scene.options.get("textMode") == "value_and_name"
    named = named and scene.options.get("textMode") not in ("value", "none")
    tiles = [_Tile(each.look.name if named else "", _text(each), each.look.color(each.value)) for each in found]
    boxes = _divided(box, len(tiles), str(scene.options.get("orientation") or "auto"))
    size = min(_size(tile, place, named) for tile, place in zip(tiles, boxes, strict=True))
    if scene.options.get("graphMode") == "area":
        _sparkline(canvas, box, scene.frames, tiles[0].color)
    # All have room for as many lines as the longest name takes, so that values stand in line.
    lines = max(len(_name_lines(tile, place)) for tile, place in zip(tiles, boxes, strict=True))
    for tile, place in zip(tiles, boxes, strict=True):
        _tile(canvas, tile, place, size, lines, scene.options)


def _text(each: Reduced) -> str:
    return each.look.text(each.value) or "No data"


def _divided(box: Box, count: int, orientation: str) -> list[Box]:
    beside = orientation == "vertical" or (orientation == "auto" and box.width > box.height * 1.1)
    if beside:
        width = (box.width - _GAP * (count - 1)) / count
        return [Box(box.x + index * (width + _GAP), box.y, width, box.height) for index in range(count)]
    height = (box.height - _GAP * (count - 1)) / count
    return [Box(box.x, box.y + index * (height + _GAP), box.width, height) for index in range(count)]


def _size(tile: _Tile, box: Box, named: bool) -> float:
    """The largest letters that a tile has room for."""
    for_height = box.height * (0.42 if named else 0.55)
    for_width = box.width * 0.94 / (lettering.width(tile.text, 1, 500) or 1)
    return max(11.0, min(_LARGEST, for_height, for_width))


def _name_lines(tile: _Tile, box: Box) -> list[str]:
    return lettering.wrap(tile.name, box.width, _NAME)[:3]


def _tile(canvas: Canvas, tile: _Tile, box: Box, size: float, lines: int, options: dict[str, Any]) -> None:
    center = box.x + box.width / 2
    color = tile.color
    if options.get("colorMode") in ("background", "background_solid"):
        canvas.rect(box, color, radius=3)
        color = palette.WHITE
    elif options.get("colorMode") == "none":
        color = palette.TEXT
    text = lettering.fit(tile.text, box.width, size, 500)
    if not tile.name:
        canvas.text((center, box.y + box.height / 2 + size * 0.36), text, color, size=size, anchor="middle", weight=500)
        return
    block = lines * _NAME_LINE + size
    top = box.y + (box.height - block) / 2
    names = _name_lines(tile, box)
    for index, line in enumerate(names, lines - len(names)):
        y = top + 11 + index * _NAME_LINE
        canvas.text((center, y), line, palette.SECONDARY, size=_NAME, anchor="middle")
    canvas.text((center, top + block - size * 0.12), text, color, size=size, anchor="middle", weight=500)


def _sparkline(canvas: Canvas, box: Box, frames: list[Frame], color: str) -> None:
    numbers = [column for frame in frames for column in frame.of_kind(NUMBER)]
    values = [value for value in (numbers[0].numbers() if numbers else ()) if value is not None]
    if len(values) < 2 or color == "none":
        return
    across = Scale(0, len(values) - 1, box.x - 8, box.right + 8)
    up = Scale(min(0.0, min(values)), max(values) or 1.0, box.bottom + 8, box.y + box.height * 0.55)
    points = [(across(index), up(value)) for index, value in enumerate(values)]
    area = [(points[0][0], box.bottom + 8), *points, (points[-1][0], box.bottom + 8)]
    canvas.shape(trace(area, closed=True), color, opacity=0.15)
    canvas.polyline(points, color)
