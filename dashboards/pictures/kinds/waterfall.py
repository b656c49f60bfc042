"""A trace: its spans from top to bottom, children below their parents, as bars on one line of time."""

from dataclasses import dataclass
from typing import Final

from pictures import lettering, palette, unit
from pictures.frame import Frame
from pictures.kinds._base import Scene, no_data
from pictures.scale import Scale
from pictures.svg import Box, Canvas

_SIZE: Final = 12.0
_LINE: Final = 26.0
_HEAD: Final = 46.0
_NAMES: Final = 0.34
_FAILED: Final = 2
"""The status code of a span that failed."""
_COLORS: Final = ("#17b8be", "#f8dca1", "#b7885e", "#ffcb99", "#f89570", "#829ae3", "#e79fd5", "#1e96be")


@dataclass(frozen=True, slots=True)
class _Span:
    key: str
    parent: str
    service: str
    name: str
    start_ms: float
    duration_ms: float
    failed: bool


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """The spans that fit, with a head that says what the trace is."""
    frame = next((each for each in scene.frames if each.rows), None)
    spans = _spans(frame) if frame is not None else []
    if not spans:
        no_data(canvas, box)
        return
    ordered = _walked(spans)
    start = min(span.start_ms for span in spans)
    length = max(span.start_ms + span.duration_ms for span in spans) - start or 1.0
    left = box.width * _NAMES
    across = Scale(0, length, box.x + left, box.right - 60)
    _head(canvas, box, ordered[0][0], length, len(spans), across)
    services = list(dict.fromkeys(span.service for span, _ in ordered))
    for index, (span, depth) in enumerate(ordered[: int((box.height - _HEAD) // _LINE)]):
        y = box.y + _HEAD + index * _LINE
        color = _COLORS[services.index(span.service) % len(_COLORS)]
        _line(canvas, Box(box.x, y, left, _LINE), span, depth, color)
        _bar(canvas, across, y, span, start, color)


def _spans(frame: Frame) -> list[_Span]:
    names = ("spanID", "parentSpanID", "serviceName", "operationName", "startTime", "duration")
    columns = [frame.named(name) for name in names]
    status = frame.named("statusCode")
    found: list[_Span] = []
    for row in range(frame.rows):
        values = [None if column is None else column.values[row] for column in columns]
        failed = status is not None and status.number(row) == _FAILED
        texts = [str(value or "") for value in values[:4]]
        found.append(_Span(texts[0], texts[1], texts[2], texts[3], _float(values[4]), _float(values[5]), failed))
    return found


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _walked(spans: list[_Span]) -> list[tuple[_Span, int]]:
    """Every span with its depth, children by their starts after their parent."""
    known = {span.key for span in spans}
    children: dict[str, list[_Span]] = {}
    for span in sorted(spans, key=lambda span: (span.start_ms, span.key)):
        children.setdefault(span.parent if span.parent in known else "", []).append(span)
    done: list[tuple[_Span, int]] = []
    waiting = [(span, 0) for span in reversed(children.get("", []))]
    while waiting:
        span, depth = waiting.pop()
        done.append((span, depth))
        waiting += [(child, depth + 1) for child in reversed(children.get(span.key, []))]
    return done


def _head(canvas: Canvas, box: Box, root: _Span, length: float, count: int, across: Scale) -> None:
    told = f"{root.service}: {root.name}"
    canvas.text((box.x, box.y + 12), told, palette.TEXT, size=14, weight=500)
    more = f"{count} spans · {unit.show(length, 'ms')}"
    canvas.text((box.right, box.y + 12), more, palette.SECONDARY, size=_SIZE, anchor="end")
    for part in range(5):
        at = length * part / 4
        x = across(at)
        canvas.line((x, box.y + 24), (x, box.bottom), palette.FAINT)
        canvas.text((x + 4, box.y + 36), unit.show(at, "ms"), palette.SECONDARY, size=11)


def _line(canvas: Canvas, box: Box, span: _Span, depth: int, color: str) -> None:
    x = box.x + 6 + depth * 16
    canvas.rect(Box(x, box.y + 4, 4, box.height - 8), color, radius=1)
    x += 10
    if span.failed:
        canvas.circle((x + 5, box.y + box.height / 2), 5, "#e24d42")
        canvas.text((x + 5, box.y + box.height / 2 + 3.5), "!", palette.WHITE, size=10, anchor="middle", weight=600)
        x += 16
    service = lettering.fit(span.service, box.right - x - 12, _SIZE, 600)
    canvas.text((x, box.y + 17), service, palette.TEXT, size=_SIZE, weight=600)
    x += lettering.width(service, _SIZE, 600) + 8
    canvas.text((x, box.y + 17), lettering.fit(span.name, box.right - x - 8, _SIZE), palette.SECONDARY, size=_SIZE)


def _bar(canvas: Canvas, across: Scale, y: float, span: _Span, start_ms: float, color: str) -> None:
    left = across(span.start_ms - start_ms)
    right = across(span.start_ms - start_ms + span.duration_ms)
    bar = Box(left, y + 7, max(right - left, 2), _LINE - 14)
    canvas.rect(bar, color, radius=2)
    canvas.text((bar.right + 6, y + 17), unit.show(span.duration_ms, "ms"), palette.SECONDARY, size=11)
