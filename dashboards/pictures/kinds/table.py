"""Rows with a head: numbers on the right, bars and coloured texts in cells, links in the colour of links."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pictures import lettering, palette
from pictures.frame import NUMBER, Column, Frame
from pictures.kinds._base import Scene, no_data
from pictures.look import Look
from pictures.svg import Box, Canvas

_SIZE: Final = 13.0
_HEAD: Final = 32.0
_ROW: Final = 32.0
_PADDING: Final = 8.0
_NARROWEST: Final = 56.0
_WIDEST: Final = 320.0
_CROWDED: Final = 150.0
"""What a column may take where there is no room for all; those beyond the edge are behind a scroll
bar, as Grafana has them."""
_GAUGE: Final = 90.0
_CELL_LETTERS: Final = 400
_BAR: Final = "#43464e"


@dataclass(frozen=True, slots=True)
class _Shown:
    column: Column
    look: Look
    texts: Sequence[str]
    """Of the rows that fit."""

    @property
    def right(self) -> bool:
        align = self.look.custom("align", "auto")
        return bool(align == "right" or (align == "auto" and self.column.kind == NUMBER))

    @property
    def gauge(self) -> bool:
        return (self.look.custom("cellOptions") or {}).get("type") == "gauge"

    @property
    def wanted(self) -> float:
        widest = max((lettering.width(text, _SIZE) for text in self.texts), default=0)
        head = lettering.width(self.look.name, _SIZE, 500)
        return max(head, widest + (_GAUGE if self.gauge else 0)) + 2 * _PADDING + 1


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """The rows that fit, in the order that the panel asks for."""
    frame = next((each for each in scene.frames if each.rows), None)
    if frame is None:
        no_data(canvas, box)
        return
    order = _order(scene, frame)
    fitting = int((box.height - _HEAD) // _ROW)
    shown = _columns(scene, frame, order[:fitting])
    widths = _widths(shown, box.width - (8 if len(order) > fitting else 0))
    scrolled = len(order) > fitting > 0
    cells = Box(box.x, box.y, box.width - (8 if scrolled else 0), _HEAD + _ROW * fitting + 1)
    with canvas.clipped(cells):
        _cells(canvas, cells, shown, widths, order[:fitting])
    if sum(widths) > cells.width + 1:
        share = cells.width / sum(widths)
        canvas.rect(Box(box.x, box.bottom + 1, cells.width * share, 5), _BAR, radius=2.5)
    if scrolled:
        _scroll_bar(canvas, Box(box.right - 5, box.y + _HEAD, 5, box.height - _HEAD), fitting / len(order))


def _cells(canvas: Canvas, box: Box, shown: Sequence[_Shown], widths: Sequence[float], rows: Sequence[int]) -> None:
    """Columns from left to right, as far as there is room."""
    x = box.x
    for each, width in zip(shown, widths, strict=True):
        if x >= box.right:
            break
        _head(canvas, Box(x, box.y, width, _HEAD), each)
        for index, row in enumerate(rows):
            place = Box(x, box.y + _HEAD + index * _ROW, width, _ROW)
            _cell(canvas, place, each, each.column.values[row], each.texts[index])
        x += width
    for index in range(len(rows) + 1):
        y = box.y + _HEAD + index * _ROW
        canvas.line((box.x, y), (box.right, y), palette.FAINT)


def _order(scene: Scene, frame: Frame) -> list[int]:
    rows = list(range(frame.rows))
    for by in reversed(scene.options.get("sortBy") or ()):
        for column in frame.columns:
            if by.get("displayName") in (column.name, scene.look(column).name):
                present = [row for row in rows if column.values[row] is not None]
                absent = [row for row in rows if column.values[row] is None]
                present.sort(key=lambda row: _key(column, row), reverse=bool(by.get("desc")))
                rows = present + absent
    return rows


def _key(column: Column, row: int) -> tuple[float, str]:
    value = column.values[row]
    return (float(value), "") if isinstance(value, int | float) else (0.0, str(value))


def _columns(scene: Scene, frame: Frame, rows: Sequence[int]) -> list[_Shown]:
    found: list[_Shown] = []
    for index, column in enumerate(frame.columns):
        look = scene.look(column, index)
        if not look.hidden:
            texts = [_one_line(look.text(column.values[row])[:_CELL_LETTERS]) for row in rows]
            found.append(_Shown(column, look, texts))
    return found


def _one_line(text: str) -> str:
    """Without breaks; spaces in front stay."""
    bare = text.lstrip()
    return text[: len(text) - len(bare)] + " ".join(bare.split())


def _widths(shown: Sequence[_Shown], space: float) -> list[float]:
    """As wide as the dashboard says, or as needed; what is over is shared, what is missing the widest give."""
    fixed = [float(each.look.custom("width") or 0) for each in shown]
    wanted = [width or max(each.wanted, _NARROWEST) for each, width in zip(shown, fixed, strict=True)]
    limit = _WIDEST
    widths = [width or min(each, limit) for each, width in zip(wanted, fixed, strict=True)]
    while sum(widths) > space and limit > _CROWDED:
        limit -= 5
        widths = [width or min(each, limit) for each, width in zip(wanted, fixed, strict=True)]
    over = space - sum(widths)
    open_ = sum(1 for width in fixed if not width) or len(shown)
    if over > 0:
        free = [not width for width in fixed] if any(not width for width in fixed) else [True] * len(fixed)
        widths = [width + (over / open_ if is_free else 0) for width, is_free in zip(widths, free, strict=True)]
    return widths


def _head(canvas: Canvas, box: Box, each: _Shown) -> None:
    text = lettering.fit(each.look.name, box.width - 2 * _PADDING, _SIZE, 500)
    _put(canvas, box, text, palette.TEXT, right=each.right, weight=500)


def _put(canvas: Canvas, box: Box, text: str, color: str, *, right: bool, weight: int = 400) -> None:
    x = box.right - _PADDING if right else box.x + _PADDING
    anchor = "end" if right else "start"
    bare = text.lstrip()
    if not right:  # not all that shows SVG keeps spaces in front
        x += lettering.width(text[: len(text) - len(bare)], _SIZE)
    canvas.text((x, box.y + box.height / 2 + 4.5), bare, color, size=_SIZE, anchor=anchor, weight=weight)


def _cell(canvas: Canvas, box: Box, each: _Shown, value: object, text: str) -> None:
    options = each.look.custom("cellOptions") or {}
    kind = options.get("type", "auto")
    color = palette.LINK if each.look.linked and text else palette.TEXT
    if kind == "gauge" and isinstance(value, int | float):
        _gauge(canvas, box, each, value, text, options)
        return
    if kind == "color-background":
        canvas.rect(box.inset(1, 1), each.look.color(value), opacity=0.8)
        color = palette.WHITE
    elif kind == "color-text":
        color = each.look.color(value)
    _put(canvas, box, lettering.fit(text, box.width - 2 * _PADDING, _SIZE), color, right=each.right)


def _gauge(canvas: Canvas, box: Box, each: _Shown, value: float, text: str, options: dict[str, object]) -> None:
    room = max(lettering.width(one, _SIZE) for one in each.texts) + 8
    bar = Box(box.x + _PADDING, box.y + 6, max(box.width - 2 * _PADDING - room, 0), box.height - 12)
    numbers = [number for number in each.column.numbers() if number is not None]
    low, high = each.look.settings.get("min"), each.look.settings.get("max")
    low = min(numbers) if low is None else low
    high = max(numbers) if high is None else high
    share = (value - low) / (high - low) if high > low else 0
    color = each.look.color(value)
    canvas.rect(bar, palette.RAISED)
    filled = Box(bar.x, bar.y, bar.width * min(max(share, 0), 1), bar.height)
    canvas.rect(filled, color, opacity=0.35)
    canvas.rect(Box(filled.right - 2, bar.y, 2, bar.height), color)
    shade = palette.TEXT if options.get("valueDisplayMode") == "text" else color
    _put(canvas, box, text, shade, right=True)


def _scroll_bar(canvas: Canvas, box: Box, share: float) -> None:
    canvas.rect(Box(box.x, box.y, box.width, max(box.height * share, 24)), _BAR, radius=2.5)
