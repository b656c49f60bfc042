"""Newline-delimited JSON, incrementally (https://github.com/ndjson/ndjson-spec; Ollama, Cohere's first API).

    {"model": ..., "message": {...}, "done": false}       one JSON document a line, each an event without a name
    {"model": ..., "done": true}

Lines end in LF or CRLF; empty ones are left out, as the specification allows. A line of server-sent events in such a
body (`data: {...}`) is not JSON and its reader will say so.
"""

from tokentrail.instrumentation.framing._base import MAX_EVENT_BYTES, Event

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
"""What JSON allows around a document."""


class NdjsonDecoder:
    """Cuts a body, fed in pieces of any size, into its lines. Not thread-safe."""

    __slots__ = ("_at_start", "_rest", "_rest_bytes")

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._at_start = True

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes, in order."""
        end = piece.rfind(b"\n") + 1
        if not end:
            self._hold(piece)
            return []
        first, *others = piece[: end - 1].split(b"\n")
        self._hold(first)
        events = self._read_lines([self._take_line(), *others])
        self._hold(piece[end:])
        return events

    def flush(self) -> list[Event]:
        """The line left when the body has ended: one that was cut off counts, if it can be read."""
        return self._read_lines([self._take_line()])

    def _hold(self, piece: bytes) -> None:
        """Keep the beginning of a line; of one that is too long nothing is left, as of an empty one."""
        self._rest_bytes += len(piece)
        if self._rest_bytes > MAX_EVENT_BYTES:
            self._rest = []
        elif piece:
            self._rest.append(piece)

    def _take_line(self) -> bytes:
        line = b"".join(self._rest)
        self._rest, self._rest_bytes = [], 0
        return line

    def _read_lines(self, lines: list[bytes]) -> list[Event]:
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        return [Event("", data) for line in lines if (data := line.strip(_SPACE)) and len(data) <= MAX_EVENT_BYTES]
