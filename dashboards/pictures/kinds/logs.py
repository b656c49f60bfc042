"""Log records: a bar in the colour of the level, the time, the message."""

from typing import Final

from pictures import lettering, palette, unit
from pictures.frame import TEXT, TIME
from pictures.kinds._base import Scene, no_data
from pictures.svg import Box, Canvas

_SIZE: Final = 12.0
_LINE: Final = 22.0
_LEVELS: Final = {
    "critical": "#705da0",
    "fatal": "#705da0",
    "error": "#e24d42",
    "warn": "#eab839",
    "warning": "#eab839",
    "info": "#7eb26d",
    "debug": "#1f78c1",
    "trace": "#6ed0e0",
}


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """The records that fit, in the order of the answer."""
    frame = next((each for each in scene.frames if each.rows), None)
    body = None if frame is None else frame.named("body") or next(iter(frame.of_kind(TEXT)), None)
    if frame is None or body is None:
        no_data(canvas, box)
        return
    times, level = frame.of_kind(TIME), frame.named("level")
    for row in range(min(frame.rows, int(box.height // _LINE))):
        y = box.y + row * _LINE
        named = str(level.values[row]).lower() if level is not None else ""
        canvas.rect(Box(box.x, y + 3, 3, _LINE - 6), _LEVELS.get(named, "#8e8e8e"))
        x = box.x + 12
        if times:
            told = unit.moment(float(str(times[0].values[row])))
            canvas.text((x, y + 15), told, palette.SECONDARY, size=_SIZE, mono=True)
            x += lettering.width(told, _SIZE, mono=True) + 14
        if named:
            canvas.text((x, y + 15), named, palette.SECONDARY, size=_SIZE, mono=True)
            x += lettering.width("critical", _SIZE, mono=True) + 8
        text = " ".join(str(body.values[row])[:400].split())
        text = lettering.fit(text, box.right - x, _SIZE, mono=True)
        canvas.text((x, y + 15), text, palette.TEXT, size=_SIZE, mono=True)
