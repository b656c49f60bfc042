"""Server-sent events, incrementally (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    event: message_delta          the event's name, optional
    data: {"type": ...}           its data; several data lines are joined with a line feed
    : ping                        a comment, ignored
                                  an empty line ends the event

Lines end in LF or CRLF. A body that ends its lines with a lone CR, which the specification allows and no provider is
known to do, is read as well, but only once it has ended.
"""

from collections.abc import Callable, Iterable

from tokentrail.instrumentation.framing._base import MAX_EVENT_BYTES, Event

_BOM = b"\xef\xbb\xbf"


class SseDecoder:
    """Cuts a body, fed in pieces of any size, into events. Not thread-safe."""

    __slots__ = ("_at_start", "_data", "_data_bytes", "_name", "_rest", "_rest_bytes", "_too_long", "news")

    def __init__(self) -> None:
        self.news: Callable[[Iterable[bytes]], list[bytes]] | None = None
        """Those of some events, as they stand in the body, that may not be left out."""
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._name = ""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._too_long = False
        self._at_start = True

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes, in order."""
        fresh = not (self._rest_bytes or self._data or self._name or self._too_long or self._at_start)
        if fresh and (events := _read_plain(piece, self.news)) is not None:
            return events
        end = piece.rfind(b"\n") + 1
        if not end:
            self._hold(piece)
            return []
        events = self._read_lines((self._take_rest() + piece[: end - 1]).split(b"\n"))
        self._hold(piece[end:])
        return events

    def flush(self) -> list[Event]:
        """The events left when the body has ended: one cut off before its empty line counts, it has arrived."""
        rest = self._take_rest().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return self._read_lines([*rest.split(b"\n"), b""])

    def _hold(self, piece: bytes) -> None:
        """Keep the beginning of a line; one that is too long becomes a comment, and its event is dropped."""
        if self._rest_bytes + len(piece) > MAX_EVENT_BYTES:
            self._too_long = True
            self._rest, self._rest_bytes = [b":"], 1
        elif piece:
            self._rest.append(piece)
            self._rest_bytes += len(piece)

    def _take_rest(self) -> bytes:
        rest = b"".join(self._rest)
        self._rest, self._rest_bytes = [], 0
        return rest

    def _read_lines(self, lines: list[bytes]) -> list[Event]:
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        events: list[Event] = []
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if line.startswith(b"data:"):
                self._add(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line:
                if self._data and not self._too_long:
                    events.append(Event(self._name, self._data[0] if len(self._data) == 1 else b"\n".join(self._data)))
                self._data = []
                self._data_bytes = 0
                self._too_long = False
                self._name = ""
            elif line.startswith(b"event:"):
                self._name = line[6:].strip().decode("utf-8", "replace")
            elif line == b"data":
                self._add(b"")
        return events

    def _add(self, data: bytes) -> None:
        self._data_bytes += len(data) + 1
        if self._data_bytes > MAX_EVENT_BYTES + 1:
            self._too_long = True
        if self._too_long:
            self._data.clear()
        else:
            self._data.append(data)


def _read_plain(piece: bytes, news: Callable[[Iterable[bytes]], list[bytes]] | None) -> list[Event] | None:
    """The events of a piece that has whole ones only, of a line of data and perhaps a name; `None` for any other piece.

    Most pieces of most streams are so, and reading them takes a third of the time.
    """
    if not piece.endswith(b"\n\n") or b"\r" in piece or len(piece) > MAX_EVENT_BYTES:
        return None
    events, blocks = [], piece[:-2].split(b"\n\n")
    for block in blocks if news is None else news(blocks):
        name = ""
        line = block
        if block.startswith(b"event: "):
            head, _, line = block.partition(b"\n")
            name = head[7:].strip().decode("utf-8", "replace")
        if not line.startswith(b"data: ") or b"\n" in line:
            return None
        events.append(Event(name, line[6:]))
    return events
