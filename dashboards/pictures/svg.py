"""A picture as SVG text: shapes, escaped text, clipped regions. Nothing that an `<img>` would not show."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

FONT: Final = "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif"
MONO: Final = "ui-monospace, Menlo, Consolas, 'Liberation Mono', monospace"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height

    def inset(self, left: float, top: float, right: float | None = None, bottom: float | None = None) -> "Box":
        """What is left within margins; right and bottom are as left and top unless told."""
        right, bottom = left if right is None else right, top if bottom is None else bottom
        return Box(self.x + left, self.y + top, max(self.width - left - right, 0), max(self.height - top - bottom, 0))


Point = tuple[float, float]


class Canvas:
    """Collects shapes; later ones lie above earlier ones."""

    def __init__(self, width: float, height: float) -> None:
        self._size = (width, height)
        self._parts: list[str] = []
        self._clips = 0

    def rect(
        self, box: Box, fill: str, *, radius: float = 0, stroke: str = "", opacity: float = 1, title: str = ""
    ) -> None:
        """A filled rectangle."""
        if box.width <= 0 or box.height <= 0:
            return
        rounded = f' rx="{_n(radius)}"' if radius else ""
        outline = f' stroke="{stroke}"' if stroke else ""
        place = f'x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}"'
        told = f"><title>{escape(title)}</title></rect>" if title else "/>"
        self._parts.append(f'<rect {place}{rounded} fill="{fill}"{outline}{_opacity(opacity)}{told}')

    def line(self, start: Point, end: Point, stroke: str, *, width: float = 1, dash: str = "") -> None:
        """A straight line."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        ends = f'x1="{_n(start[0])}" y1="{_n(start[1])}" x2="{_n(end[0])}" y2="{_n(end[1])}"'
        self._parts.append(f'<line {ends} stroke="{stroke}" stroke-width="{_n(width)}"{dashed}/>')

    def polyline(self, points: Sequence[Point], stroke: str, *, width: float = 1, dash: str = "") -> None:
        """A line through points."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<path d="{trace(points)}" fill="none" stroke="{stroke}" stroke-width="{_n(width)}" '
            f'stroke-linejoin="round"{dashed}/>'
        )

    def shape(self, d: str, fill: str, *, opacity: float = 1, stroke: str = "") -> None:
        """A filled path."""
        outline = f' stroke="{stroke}"' if stroke else ""
        self._parts.append(f'<path d="{d}" fill="{fill}"{outline}{_opacity(opacity)}/>')

    def circle(self, center: Point, radius: float, fill: str, *, stroke: str = "") -> None:
        """A dot."""
        outline = f' stroke="{stroke}"' if stroke else ""
        place = f'cx="{_n(center[0])}" cy="{_n(center[1])}" r="{_n(radius)}"'
        self._parts.append(f'<circle {place} fill="{fill}"{outline}/>')

    def text(
        self,
        at: Point,
        text: str,
        fill: str,
        *,
        size: float = 12,
        anchor: str = "start",
        weight: int = 400,
        mono: bool = False,
    ) -> None:
        """A line of text; `at` is on its base line. Control characters are left out."""
        if not text:
            return
        where = f' text-anchor="{anchor}"' if anchor != "start" else ""
        heavy = f' font-weight="{weight}"' if weight != 400 else ""
        font = f" font-family={quoteattr(MONO)}" if mono else ""
        shown = escape("".join(" " if ord(letter) < 32 else letter for letter in text))
        place = f'x="{_n(at[0])}" y="{_n(at[1])}"'
        self._parts.append(f'<text {place} fill="{fill}" font-size="{_n(size)}"{where}{heavy}{font}>{shown}</text>')

    @contextmanager
    def clipped(self, box: Box) -> Iterator[None]:
        """What is drawn within the block ends at the edges of `box`."""
        self._clips += 1
        name = f"c{self._clips}"
        place = f'x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}"'
        self._parts.append(f'<clipPath id="{name}"><rect {place}/></clipPath><g clip-path="url(#{name})">')
        yield
        self._parts.append("</g>")

    def document(self, title: str, description: str) -> str:
        """The whole picture."""
        width, height = (_n(side) for side in self._size)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'font-family={quoteattr(FONT)} role="img">'
        )
        told = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        return "\n".join([head, told, *self._parts, "</svg>", ""])


def trace(points: Sequence[Point], closed: bool = False) -> str:
    """Path data through points."""
    steps = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    return f"M{steps}{'Z' if closed else ''}"


def _opacity(value: float) -> str:
    return f' opacity="{_n(value, 2)}"' if value != 1 else ""


def _n(value: float, digits: int = 1) -> str:
    """A number, short."""
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
