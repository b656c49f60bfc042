"""What the colours of a panel stand for: a list below it, or a table below or beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pictures import lettering, palette
from pictures.svg import Box, Canvas

_SIZE: Final = 12.0
_LINE: Final = 18.0
_KEY: Final = 20.0
"""The dash and the space after it."""
_MOST_LINES: Final = 3
_TITLES: Final = {"lastNotNull": "Last *", "last": "Last", "mean": "Mean", "max": "Max", "min": "Min", "sum": "Total"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A series: its name, its colour, and what the columns of a table say of it."""

    name: str
    color: str
    values: Sequence[str] = ()


def draw(canvas: Canvas, box: Box, options: dict[str, Any], entries: Sequence[Entry]) -> Box:
    """Draws the legend at the edge of `box`; answers what is left."""
    legend = options.get("legend") or {}
    if not legend.get("showLegend", True) or not entries:
        return box
    titles = [_TITLES.get(str(calc), str(calc)) for calc in legend.get("calcs") or ()]
    tabular = legend.get("displayMode") == "table" or bool(titles)
    if legend.get("placement") == "right":
        width = min(box.width * 0.42, _width(entries))
        place = Box(box.right - width, box.y, width, box.height)
        table(canvas, place, titles, entries)
        return Box(box.x, box.y, box.width - width - 12, box.height)
    if tabular:
        height = min((len(entries) + 1) * _LINE, box.height * 0.4)
        table(canvas, Box(box.x, box.bottom - height, box.width, height), titles, entries)
        return Box(box.x, box.y, box.width, box.height - height - 6)
    lines = _lines(entries, box.width)
    top = box.bottom - len(lines) * _LINE
    for number, line in enumerate(lines):
        x, y = box.x + 4, top + number * _LINE + 14
        for entry, name in line:
            _key(canvas, x, y, entry.color)
            canvas.text((x + _KEY, y), name, palette.TEXT, size=_SIZE)
            x += _advance(name)
    return Box(box.x, box.y, box.width, box.height - len(lines) * _LINE - 4)


def rows_height(count: int) -> float:
    """What a table of `count` entries takes, its head included."""
    return (count + 1) * _LINE


def _advance(name: str) -> float:
    return _KEY + lettering.width(name, _SIZE) + 14


def _lines(entries: Sequence[Entry], width: float) -> list[list[tuple[Entry, str]]]:
    """Entries from left to right; those that fit on no line are left out: in Grafana one scrolls to them."""
    lines: list[list[tuple[Entry, str]]] = [[]]
    used = 0.0
    for entry in entries:
        name = lettering.fit(entry.name, min(width - _KEY - 8, 260), _SIZE)
        if lines[-1] and used + _advance(name) > width:
            if len(lines) == _MOST_LINES:
                break
            lines.append([])
            used = 0.0
        lines[-1].append((entry, name))
        used += _advance(name)
    return lines


def _key(canvas: Canvas, x: float, y: float, color: str) -> None:
    canvas.rect(Box(x, y - 6, 14, 4), color, radius=2)


def _width(entries: Sequence[Entry]) -> float:
    columns = max((len(entry.values) for entry in entries), default=0)
    names = max(lettering.width(entry.name, _SIZE) for entry in entries)
    return _KEY + min(names, 180) + 12 + columns * 64


def table(canvas: Canvas, box: Box, titles: Sequence[str], entries: Sequence[Entry]) -> None:
    """A line for each entry, as many as there is room for, below a head."""
    values = max((len(entry.values) for entry in entries), default=0)
    for index, title in enumerate(titles):
        x = box.right - (values - 1 - index) * 64
        canvas.text((x, box.y + 12), title, palette.LINK, size=_SIZE, anchor="end", weight=500)
    y = box.y + 14 + (_LINE if titles else 0)
    for entry in entries:
        if y > box.bottom:
            return
        _key(canvas, box.x, y, entry.color)
        space = box.width - _KEY - values * 64
        canvas.text((box.x + _KEY, y), lettering.fit(entry.name, space, _SIZE), palette.TEXT, size=_SIZE)
        for index, value in enumerate(entry.values):
            x = box.right - (values - 1 - index) * 64
            canvas.text((x, y), value, palette.TEXT, size=_SIZE, anchor="end")
        y += _LINE
