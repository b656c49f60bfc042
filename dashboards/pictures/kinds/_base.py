"""What a kind of panel gets to draw, and what all of them share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pictures import palette
from pictures.frame import Column, Frame
from pictures.look import Look, look
from pictures.svg import Box, Canvas


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is shown."""

    start_ms: int
    end_ms: int
    interval_s: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A panel with the answers to its queries."""

    panel: dict[str, Any]
    frames: list[Frame]
    window: Window
    refs: Sequence[str] = field(default_factory=tuple)
    """Which query each frame answers."""

    @property
    def options(self) -> dict[str, Any]:
        """Of its kind."""
        found: dict[str, Any] = self.panel.get("options") or {}
        return found

    def look(self, column: Column, index: int = 0, frame: int = 0) -> Look:
        """How a column is shown; `index` is its number among the series, `frame` the number of its frame."""
        ref_id = self.refs[frame] if frame < len(self.refs) else ""
        return look(self.panel, column, index, self.frames, ref_id)


Draw = Callable[[Canvas, Box, Scene], None]
"""Draws what is inside a panel."""


def no_data(canvas: Canvas, box: Box) -> None:
    """What Grafana says where a query has no rows."""
    canvas.text(
        (box.x + box.width / 2, box.y + box.height / 2 + 5), "No data", palette.SECONDARY, size=14, anchor="middle"
    )
