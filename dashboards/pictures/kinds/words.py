"""A text in a little Markdown: paragraphs, lists and headings; emphasis and links lose their marks."""

import re

from pictures import lettering, palette
from pictures.kinds._base import Scene
from pictures.svg import Box, Canvas

_SIZE = 13.0
_LINE = 19.0


def draw(canvas: Canvas, box: Box, scene: Scene) -> None:
    """As many lines as there is room for."""
    y = box.y + _SIZE
    for block in re.split(r"\n\s*\n|\n(?=\s*[*-] )", str(scene.options.get("content") or "")):
        text = " ".join(block.split())
        heading, bullet = re.match(r"#+ ", text), re.match(r"[*-] ", text)
        text = _plain(text[heading.end() if heading else bullet.end() if bullet else 0 :])
        indent = 16 if bullet else 0
        if bullet:
            canvas.text((box.x + 4, y), "•", palette.TEXT, size=_SIZE)
        for line in lettering.wrap(text, box.width - indent, _SIZE):
            if y > box.bottom:
                return
            weight = 600 if heading else 400
            canvas.text((box.x + indent, y), line, palette.TEXT, size=_SIZE + (2 if heading else 0), weight=weight)
            y += _LINE
        y += 3 if bullet else 8


def _plain(text: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*\*|`|__", "", text)
