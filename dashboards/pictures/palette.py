"""Colours of Grafana's dark theme, by the names that dashboards use.

Hues are those of `@grafana/data` (`themes/createVisualizationColors.ts`, read November 2026); the rest is near them.
"""

from collections.abc import Sequence
from typing import Final

CANVAS: Final = "#111217"
PANEL: Final = "#181b1f"
BORDER: Final = "#25272c"
RAISED: Final = "#22252b"
TEXT: Final = "#ccccdc"
SECONDARY: Final = "#8e8e9b"
FAINT: Final = "#2c2e34"
"""Grid lines."""
LINK: Final = "#6e9fff"
WHITE: Final = "#ffffff"

_HUES: Final = {
    "red": ("#FFA6B0", "#FF7383", "#F2495C", "#E02F44", "#C4162A"),
    "orange": ("#FFCB7D", "#FFB357", "#FF9830", "#FF780A", "#FA6400"),
    "yellow": ("#FFF899", "#FFEE52", "#FADE2A", "#F2CC0C", "#E0B400"),
    "green": ("#C8F2C2", "#96D98D", "#73BF69", "#56A64B", "#37872D"),
    "blue": ("#C0D8FF", "#8AB8FF", "#5794F2", "#3274D9", "#1F60C4"),
    "purple": ("#DEB6F2", "#CA95E5", "#B877D9", "#A352CC", "#8F3BB8"),
}
_SHADES: Final = ("super-light-", "light-", "", "semi-dark-", "dark-")
_NAMED: Final = {
    f"{shade}{hue}": color for hue, colors in _HUES.items() for shade, color in zip(_SHADES, colors, strict=True)
} | {"text": TEXT, "transparent": "none", "white": WHITE, "black": "#000000", "gray": "#8e8e9b", "grey": "#8e8e9b"}

CLASSIC: Final[Sequence[str]] = (
    "#73BF69",
    "#F2CC0C",
    "#8AB8FF",
    "#FF780A",
    "#F2495C",
    "#5794F2",
    "#B877D9",
    "#705DA0",
    "#37872D",
    "#FADE2A",
    "#447EBC",
    "#C15C17",
    "#890F02",
    "#0A437C",
    "#6D1F62",
    "#584477",
    "#B7DBAB",
    "#F4D598",
    "#70DBED",
    "#F9BA8F",
    "#F29191",
    "#82B5D8",
    "#E5A8E2",
    "#AEA2E0",
)
"""The colours of series, in their order."""
BLUES: Final[Sequence[str]] = ("#17314f", "#1f4e85", "#2b6cb0", "#4a90d9", "#7db5ec", "#b5d6f7", "#e4f1fd")
"""From few to many, in heat maps."""


def named(color: str) -> str:
    """A colour as SVG has it; names that are unknown are taken as they are."""
    return _NAMED.get(color, color)


def series(index: int) -> str:
    """The colour of the n-th series."""
    return CLASSIC[index % len(CLASSIC)]
