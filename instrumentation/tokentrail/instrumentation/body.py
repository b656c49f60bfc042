"""Reading a response body from the bytes that went by: content coding, framing, wire format.

    bytes --coding--> bytes --framing--> events --wire.Reader--> Response   text/event-stream and its like
    bytes --coding--> one JSON document ------wire.Reader--> Response       anything else

Events are read as they come, so that a stream of any length takes little memory; a document is read when it is whole.
"""

import json
from collections.abc import Iterable

from tokentrail.instrumentation.framing import FRAMINGS, coding
from tokentrail.instrumentation.framing._base import Event, Framing
from tokentrail.instrumentation.framing.sse import SseDecoder
from tokentrail.instrumentation.wire._base import Reader, Response

_SSE_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")


class BodyReader:
    """Reads one body, fed in pieces with the time each was seen. Not thread-safe; raises nothing on bad bytes."""

    def __init__(self, reader: Reader, content_type: str, content_encoding: str, max_bytes: int) -> None:
        self.problem = ""
        """Why the body was not read in full: `undecodable`, `too_large`; empty when it was."""
        self.first_chunk_ticks: int | None = None
        """When the first event of a stream was complete."""
        self.first_token_ticks: int | None = None
        """When the first event with output was."""
        self._reader = reader
        self._max_bytes = max_bytes
        self._framing: Framing | None = None
        self._document = bytearray()
        self._undecided = True
        self._head = b""
        media_type = content_type.partition(";")[0].strip().lower()
        if (framing := FRAMINGS.get(media_type)) is not None:
            self._framing = framing()
            self._undecided = False
        elif "json" in media_type:
            self._undecided = False
        try:
            self._decoder = coding.decoder(content_encoding)
        except LookupError:
            self._decoder = None
            self.problem = "undecodable"

    @property
    def is_stream(self) -> bool:
        """True for a body of events."""
        return self._framing is not None

    def feed(self, ticks: int, data: bytes) -> None:
        """Take in `data`, seen at `ticks`."""
        if self.problem or not data:
            return
        if self._decoder is not None:
            try:
                data = self._decoder.feed(data)
            except Exception:  # noqa: BLE001  every library has its own; the bytes are not what their header says
                self.problem = "undecodable"
                return
        if self._undecided:
            data = self._decide(data)
        if self._framing is not None:
            self._read_events(ticks, self._framing.feed(data))
        elif len(self._document) + len(data) > self._max_bytes:
            self.problem = "too_large"
            self._document.clear()
        else:
            self._document += data

    def finish(self, ticks: int) -> Response:
        """What the body said; it has ended, or will not be read further, at `ticks`."""
        if self._framing is not None:
            self._read_events(ticks, self._framing.flush())
        elif self._document or self._head:
            self._read_document(self._document + self._head)
        return self._reader.result()

    def _decide(self, data: bytes) -> bytes:
        """What may be read now of a body whose server does not say what it is: its first bytes tell, once all there."""
        data, self._head = self._head + data, b""
        start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[: max(map(len, _SSE_STARTS))]
        if start.startswith(_SSE_STARTS):
            self._framing = SseDecoder()
        elif len(data) <= self._max_bytes and any(name.startswith(start) for name in _SSE_STARTS):
            self._head = data
            return b""
        self._undecided = False
        return data

    def _read_document(self, data: bytearray) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            self.problem = self.problem or "undecodable"
            return
        if isinstance(document, list) and document:
            document = document[0]  # Google's endpoint for OpenAI clients wraps its errors so
        if isinstance(document, dict):
            self._reader.feed_body(document)

    def _read_events(self, ticks: int, events: Iterable[Event]) -> None:
        for event in events:
            if self.first_chunk_ticks is None:
                self.first_chunk_ticks = ticks
            try:
                carries_output = self._reader.feed_event(event)
            except (ValueError, RecursionError):
                # A cut or garbled event: what the others say still counts.
                continue
            if carries_output and self.first_token_ticks is None:
                self.first_token_ticks = ticks
