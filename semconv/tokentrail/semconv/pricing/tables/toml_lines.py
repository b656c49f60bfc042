"""On which lines of a TOML document the entries of its `price` list stand: tomllib tells values, not places.

    price = [                     entry 0 begins at the first brace inside the bracket
      { model = "a" },
      { model = "b" },
    ]
    [[price]]                     or at its header
    model = "c"

The document must have been parsed before: only what is valid is looked at, and nothing that is not found is an error.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<skip>\"\"\"(?:\\.|[^\\])*?\"{3,5}|'''.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*)"""
    r"""|(?P<header>^[ \t]*\[\[[ \t]*price[ \t]*\]\])|(?P<list>^[ \t]*price[ \t]*=[ \t]*\[)|(?P<bracket>[\[\]{}])""",
    re.DOTALL | re.MULTILINE,
)


class Lines:
    """The places in one document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._entries = list(self._find_entries())

    def of_key(self, key: str) -> int:
        """The line, from 1, where `key` is given a value at the top; 1 where it is nowhere."""
        match = re.search(rf"^[ \t]*(?:\[+[ \t]*)?[\"']?{re.escape(key)}[\"']?[ \t]*[=.\]]", self._text, re.MULTILINE)
        return self._line(match.start()) if match else 1

    def of_entry(self, index: int, key: str = "") -> int:
        """The line, from 1, of `key` in the entry `index`, or of the entry itself where it has no such key."""
        if index >= len(self._entries):
            return self.of_key("price")
        start, end = self._entries[index]
        found = (
            re.compile(rf"(?<![\w.-])[\"']?{re.escape(key)}[\"']?\s*=").search(self._text, start, end) if key else None
        )
        return self._line(found.start() if found else start)

    def _line(self, position: int) -> int:
        return bisect_right(self._starts, position)

    def _find_entries(self) -> Iterator[tuple[int, int]]:
        """Start and end of each entry."""
        depth = 0
        in_list = False
        opened = header = -1
        for match in _TOKEN.finditer(self._text):
            if match["skip"]:
                continue
            if match["header"] or match["list"]:
                if header >= 0:
                    yield header, match.start()
                header = match.start() if match["header"] else -1
                in_list, depth = bool(match["list"]), 1 if match["list"] else 0
                continue
            depth += 1 if match["bracket"] in "[{" else -1
            if in_list and match["bracket"] == "{" and depth == 2:
                opened = match.start()
            elif in_list and match["bracket"] == "}" and depth == 1:
                yield opened, match.end()
            elif in_list and depth == 0:
                in_list = False
        if header >= 0:
            yield header, len(self._text)
