"""One JSON array that arrives element by element, as Google's streaming methods answer without `alt=sse`.

    [{"candidates": [...]}
    ,
    {"candidates": [...]}
    ]

The objects of the outermost array are the events, cut by their brackets alone: what is inside is not looked at, and an
element that is no object is left out. No specification describes the form; it is gRPC transcoding's, see
https://google.aip.dev/127, read November 2026.
"""

import re
from typing import Final

from tokentrail.instrumentation.framing._base import MAX_EVENT_BYTES, Event

_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["{}\[\]]', re.DOTALL)
"""A whole string, a quote that begins one whose end is yet to come, or a bracket."""
_STRING_REST: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
"""What comes before the end of a string, perhaps nothing."""
_OPENING: Final = frozenset({b"{", b"["})
_CLOSING: Final = frozenset({b"}", b"]"})
_ELEMENT_DEPTH: Final = 2
"""How deep an element of the outermost array is inside its own bracket."""


class JsonArrayDecoder:
    """Cuts a body, fed in pieces of any size, into events without a name. Not thread-safe."""

    __slots__ = ("_carried", "_depth", "_element", "_element_bytes", "_ended", "_in_string", "_is_object")

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._carried = b""
        """A backslash at the end of a piece, inside a string: what it escapes is yet to come."""
        self._element: list[bytes] = []
        self._element_bytes = 0
        self._is_object = False
        self._ended = False

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes, in order."""
        if self._ended:
            return []
        data, self._carried = self._carried + piece, b""
        return self._read(data, self._skip_string(data, 0) if self._in_string else 0)

    def flush(self) -> list[Event]:
        """Nothing: an element that was cut off is no JSON."""
        self._element, self._element_bytes = [], 0
        return []

    def _read(self, data: bytes, position: int) -> list[Event]:
        """Read `data` from `position`, which is outside of any string; what is before belongs to an open element."""
        events: list[Event] = []
        start = 0
        for token in _TOKEN.finditer(data, position):
            mark = token.group()
            if mark in _OPENING:
                self._depth += 1
                if self._depth == _ELEMENT_DEPTH:
                    start, self._is_object = token.start(), mark == b"{"
            elif mark in _CLOSING:
                self._depth -= 1
                if self._depth == _ELEMENT_DEPTH - 1:
                    events.extend(self._end_element(data[start : token.end()]))
                elif self._depth <= 0:
                    self._ended = True
                    return events
            elif mark == b'"':
                self._skip_string(data, token.end())
                break
        if self._depth >= _ELEMENT_DEPTH:
            self._hold(data[start : len(data) - len(self._carried)])
        return events

    def _skip_string(self, data: bytes, position: int) -> int:
        """The position behind the string that goes on at `position`; the end of `data` when it does not end there."""
        rest = _STRING_REST.match(data, position)
        end = rest.end() if rest else position
        self._in_string = data[end : end + 1] != b'"'
        if not self._in_string:
            return end + 1
        self._carried = data[end:]
        return len(data)

    def _hold(self, piece: bytes) -> None:
        """Keep a piece of an element, of one that is too long nothing."""
        self._element_bytes += len(piece)
        if self._element_bytes > MAX_EVENT_BYTES:
            self._element.clear()
        else:
            self._element.append(piece)

    def _end_element(self, piece: bytes) -> list[Event]:
        self._hold(piece)
        kept = self._is_object and self._element_bytes <= MAX_EVENT_BYTES
        events = [Event("", b"".join(self._element))] if kept else []
        self._element, self._element_bytes = [], 0
        return events
