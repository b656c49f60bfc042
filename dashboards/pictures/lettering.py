"""How wide a text is, without the font: what is cut off, and where columns end, is decided from it.

Widths are those of Helvetica (Adobe's metrics, in thousandths of the size), a little wider: fonts that take its place,
like Inter, are.
"""

from typing import Final

_WIDER: Final = 1.06
_BOLDER: Final = 1.05
_MONO: Final = 0.605
_ELLIPSIS: Final = "…"
_BY_WIDTH: Final = {
    191: "'",
    222: "ijl",
    278: " \u00a0!,./:;I[]\\ft|·",
    333: "-()r`",
    355: '"',
    389: "*",
    500: "Jcksvxyz",
    556: "0123456789abdeghnopqu_#$?L",
    584: "+<=>~",
    611: "FTZ",
    667: "ABEKPSVXY&",
    722: "CDHNRUw",
    778: "GOQ",
    833: "mM",
    889: "%",
    944: "W",
    1000: "…@—",
}
_WIDTHS: Final = {letter: width for width, letters in _BY_WIDTH.items() for letter in letters}


def width(text: str, size: float, weight: int = 400, *, mono: bool = False) -> float:
    """Pixels that a line of text takes."""
    if mono:
        return len(text) * _MONO * size
    thousandths = sum(_WIDTHS.get(letter, 600) for letter in text)
    return thousandths / 1000 * size * _WIDER * (_BOLDER if weight >= 500 else 1)


def fit(text: str, space: float, size: float, weight: int = 400, *, mono: bool = False) -> str:
    """The text, cut with an ellipsis where it needs more than `space`; nothing where not even that fits."""
    if width(text, size, weight, mono=mono) <= space:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width(text[:middle].rstrip() + _ELLIPSIS, size, weight, mono=mono) <= space:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + _ELLIPSIS if low else ""


def wrap(text: str, space: float, size: float) -> list[str]:
    """Lines no wider than `space`, broken between words."""
    lines: list[str] = []
    for word in text.split():
        if lines and width(f"{lines[-1]} {word}", size) <= space:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [fit(line, space, size) for line in lines]
