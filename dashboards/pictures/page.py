"""A whole dashboard: the bar with its name, filters and time, headings, and every visible panel in its place."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pictures import lettering, palette
from pictures.frame import Answers, Frame
from pictures.kinds import (
    bars,
    flame,
    gauge,
    heatmap,
    logs,
    meters,
    pie,
    stat,
    table,
    timeseries,
    waterfall,
    words,
)
from pictures.kinds._base import Draw, Scene, Window, no_data
from pictures.svg import Box, Canvas

KINDS: Final[Mapping[str, Draw]] = {
    "barchart": bars.draw,
    "bargauge": meters.draw,
    "flamegraph": flame.draw,
    "gauge": gauge.draw,
    "heatmap": heatmap.draw,
    "logs": logs.draw,
    "piechart": pie.draw,
    "stat": stat.draw,
    "table": table.draw,
    "text": words.draw,
    "timeseries": timeseries.draw,
    "traces": waterfall.draw,
}
"""By the type that the dashboard names."""
WIDTH: Final = 1400
_COLUMNS: Final = 24
_ROW: Final = 30.0
_GAP: Final = 8.0
_MARGIN: Final = 16.0
_BAR: Final = 44.0
_FILTERS: Final = 40.0
_HEAD: Final = 34.0
_DESCRIPTION: Final = (
    "Drawn from the dashboard's JSON and the answers to its queries on made-up calls; it is no screenshot."
)
_HIDDEN: Final = 2
"""Of a variable that is not shown."""


@dataclass(frozen=True, slots=True)
class View:
    """What somebody has chosen who looks at a dashboard."""

    window: Window
    chosen: Mapping[str, Sequence[str]]
    """Values of variables; none, or none chosen, is All."""
    range_text: str = ""
    """What stands beside the clock; without it, from when to when."""


def draw(dashboard: Mapping[str, Any], answers: Answers, view: View) -> str:
    """The picture as SVG. Pure: the same arguments make the same text."""
    placed = list(_placed(dashboard["panels"]))
    filters = list(_filters(dashboard, view))
    top = _BAR + _GAP + _FILTERS * (1 + max((line for _, _, line, _ in filters), default=0))
    height = top + max((place.bottom for _, place in placed), default=0) + _MARGIN
    canvas = Canvas(WIDTH, height)
    canvas.rect(Box(0, 0, WIDTH, height), palette.CANVAS)
    _bar(canvas, dashboard, view)
    for filter_ in filters:
        _filter(canvas, *filter_)
    for panel, place in placed:
        moved = Box(place.x, place.y + top, place.width, place.height)
        if panel["type"] == "row":
            _heading(canvas, panel, moved, view)
        else:
            _panel(canvas, panel, moved, answers, view)
    return canvas.document(str(dashboard["title"]), _DESCRIPTION)


def _placed(panels: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Box]]:
    """Panels and their places below the filters. Where a collapsed row leaves room, what is below moves up."""
    filled = [0] * _COLUMNS
    unit = (WIDTH - 2 * _MARGIN + _GAP) / _COLUMNS
    for panel in sorted(panels, key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"])):
        grid = panel["gridPos"]
        columns = range(grid["x"], min(grid["x"] + grid["w"], _COLUMNS))
        y = max(filled[column] for column in columns)
        for column in columns:
            filled[column] = y + grid["h"]
        x = _MARGIN + grid["x"] * unit
        tall = grid["h"] * (_ROW + _GAP) - _GAP
        yield panel, Box(x, y * (_ROW + _GAP), grid["w"] * unit - _GAP, tall)


def _bar(canvas: Canvas, dashboard: Mapping[str, Any], view: View) -> None:
    canvas.rect(Box(0, 0, WIDTH, _BAR), palette.PANEL)
    canvas.line((0, _BAR), (WIDTH, _BAR), palette.BORDER)
    x = _MARGIN
    for text in ("Dashboards", "Tokentrail"):
        canvas.text((x, 28), text, palette.SECONDARY, size=14)
        x += lettering.width(text, 14) + 12
        canvas.shape(f"M{x:.1f},19l4,4l-4,4", "none", stroke=palette.SECONDARY)
        x += 16
    canvas.text((x, 28), str(dashboard["title"]), palette.TEXT, size=14, weight=600)
    told = view.range_text or _from_to(view.window)
    width = lettering.width(told, 13) + 44
    button = Box(WIDTH - _MARGIN - width, 8, width, 28)
    canvas.rect(button, palette.RAISED, radius=3, stroke="#35383f")
    center = (button.x + 15, button.y + 14)
    canvas.circle(center, 6, "none", stroke=palette.TEXT)
    canvas.shape(f"M{center[0]:.1f},{center[1] - 4:.1f}v4h3", "none", stroke=palette.TEXT)
    canvas.text((button.x + 28, button.y + 18.5), told, palette.TEXT, size=13)


def _from_to(window: Window) -> str:
    start, end = (datetime.fromtimestamp(each / 1000, UTC) for each in (window.start_ms, window.end_ms))
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def _filters(dashboard: Mapping[str, Any], view: View) -> Iterator[tuple[Mapping[str, Any], str, int, float]]:
    """Variables that are shown, with what is chosen, in which line, how far from the left."""
    x, line = _MARGIN, 0
    for variable in (dashboard.get("templating") or {}).get("list") or ():
        if variable.get("hide") == _HIDDEN:
            continue
        value = lettering.fit(_value(variable, view), 260, 13)
        width = sum(_filter_widths(variable, value))
        if x + width > WIDTH - _MARGIN:
            x, line = _MARGIN, line + 1
        yield variable, value, line, x
        x += width + 8


def _filter_widths(variable: Mapping[str, Any], value: str) -> tuple[float, float]:
    """Of the name and of the box beside it."""
    label = str(variable.get("label") or variable["name"])
    return lettering.width(label, 12, 500) + 16, max(lettering.width(value, 13) + 30, 56)


def _filter(canvas: Canvas, variable: Mapping[str, Any], value: str, line: int, x: float) -> None:
    wide, room = _filter_widths(variable, value)
    y = _BAR + _GAP + line * _FILTERS
    canvas.rect(Box(x, y, wide, 30), palette.RAISED, radius=2)
    label = str(variable.get("label") or variable["name"])
    canvas.text((x + 8, y + 19.5), label, palette.TEXT, size=12, weight=500)
    canvas.rect(Box(x + wide, y, room, 30), palette.CANVAS, radius=2, stroke="#35383f")
    canvas.text((x + wide + 9, y + 19.5), value, palette.TEXT, size=13)
    if variable["type"] != "textbox":
        arrow = x + wide + room - 17
        canvas.shape(f"M{arrow:.1f},{y + 13:.1f}l4,4l4,-4", "none", stroke=palette.SECONDARY)


def _value(variable: Mapping[str, Any], view: View) -> str:
    chosen = view.chosen.get(variable["name"])
    current = variable.get("current") or {}
    if variable["type"] == "custom" and chosen == [current.get("value")]:
        return str(current["text"])
    if chosen:
        return " + ".join(chosen)
    if variable["type"] == "datasource":
        return "Prometheus" if variable["query"] == "prometheus" else "ClickHouse"
    return "" if variable["type"] == "textbox" else "All"


def _titled(panel: Mapping[str, Any], view: View) -> str:
    """The title with what is chosen put in."""

    def value(found: re.Match[str]) -> str:
        return " + ".join(view.chosen.get(found[1] or found[2]) or ("All",))

    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", value, str(panel.get("title") or ""))


def _heading(canvas: Canvas, row: Mapping[str, Any], box: Box, view: View) -> None:
    y = box.y + box.height / 2
    collapsed = bool(row.get("collapsed"))
    arrow = f"M{box.x + 4:.1f},{y - 4:.1f}l4,4l-4,4" if collapsed else f"M{box.x + 2:.1f},{y - 2:.1f}l4,4l4,-4"
    canvas.shape(arrow, "none", stroke=palette.TEXT)
    title = _titled(row, view)
    canvas.text((box.x + 20, y + 5), title, palette.TEXT, size=15, weight=500)
    if collapsed:
        count = len(row.get("panels") or ())
        told = f"({count} panel{'' if count == 1 else 's'})"
        x = box.x + 30 + lettering.width(title, 15, 500)
        canvas.text((x, y + 5), told, palette.SECONDARY, size=12)
        canvas.line((box.x, box.bottom), (box.right, box.bottom), palette.BORDER)


def _panel(canvas: Canvas, panel: dict[str, Any], box: Box, answers: Answers, view: View) -> None:
    title = _titled(panel, view)
    canvas.rect(box, palette.PANEL, radius=3, stroke=palette.BORDER, title=title)
    # A narrow panel shows its whole name in smaller letters rather than a part of it in large ones.
    size = next(
        (each for each in (14.0, 13.0, 12.0, 11.0) if lettering.width(title, each, 500) <= box.width - 20), 11.0
    )
    canvas.text(
        (box.x + 10, box.y + 22), lettering.fit(title, box.width - 14, size, 500), palette.TEXT, size=size, weight=500
    )
    inside = box.inset(10, _HEAD if title else 10, 10, 8)
    frames: list[Frame] = []
    refs: list[str] = []
    for target in panel.get("targets") or ():
        for frame in answers.get((panel["id"], target["refId"]), ()):
            frames.append(frame)
            refs.append(target["refId"])
    with canvas.clipped(box.inset(1, 1)):
        if not frames and panel["type"] != "text":
            no_data(canvas, inside)
        else:
            KINDS[panel["type"]](canvas, inside, Scene(panel, frames, view.window, refs))
