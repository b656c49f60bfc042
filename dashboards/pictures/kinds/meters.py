"""A bar for each value, all on one scale."""

from typing import Final

from pictures import lettering, palette
from pictures.kinds._base import Scene, no_data
from pictures.kinds.reduced import Reduced, reduced
from pictures.svg import Box, Canvas

_SIZE: Final = 13.0
_GAP: Final = 6.0
_LOWEST: Final = 20.0
_HIGHEST: Final = 42.0


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """Names on the left, bars, values on the right, in the colours of their thresholds."""
    found = [each for each in reduced(scene) if isinstance(each.value, int | float)]
    if not found:
        no_data(canvas, box)
        return
    found = found[: max(1, int((box.height + _GAP) // (_LOWEST + _GAP)))]
    height = min(_HIGHEST, (box.height - _GAP * (len(found) - 1)) / len(found))
    numbers = [float(str(each.value)) for each in found]
    low, high = _bounds(found, numbers)
    names = min(max(lettering.width(each.look.name, _SIZE) for each in found) + 12, box.width * 0.4)
    values = max(lettering.width(each.look.text(each.value), _SIZE, 500) for each in found) + 12
    for index, (each, number) in enumerate(zip(found, numbers, strict=True)):
        y = box.y + index * (height + _GAP)
        bar = Box(box.x + names, y, max(box.width - names - values, 0), height)
        color = each.look.color(each.value)
        share = min(max((number - low) / (high - low), 0), 1) if high > low else 0
        filled = Box(bar.x, bar.y, bar.width * share, bar.height)
        canvas.rect(bar, palette.RAISED, radius=2)
        canvas.rect(filled, color, opacity=0.4)
        canvas.rect(Box(max(filled.right - 2, bar.x), bar.y, 2, bar.height), color)
        text = lettering.fit(each.look.name, names - 10, _SIZE)
        canvas.text((bar.x - 10, y + height / 2 + 4.5), text, palette.TEXT, size=_SIZE, anchor="end")
        shown = each.look.text(each.value)
        canvas.text((box.right, y + height / 2 + 4.5), shown, color, size=_SIZE, anchor="end", weight=500)


def _bounds(found: list[Reduced], numbers: list[float]) -> tuple[float, float]:
    settings = found[0].look.settings
    low, high = settings.get("min"), settings.get("max")
    return min(numbers) if low is None else float(low), max(numbers) if high is None else float(high)
