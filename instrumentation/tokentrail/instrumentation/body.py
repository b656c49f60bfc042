"""Reading a response body from the bytes that went by: content coding, framing, wire format.

    bytes --coding--> bytes --framing--> events --wire.Reader--> Response   text/event-stream and its like, and
                                                                            the array an endpoint streams
    bytes --coding--> one JSON document ------wire.Reader--> Response       anything else, but for a text or an audio
                                                                            file of an endpoint that answers with one

Events are read as they come, so that a stream of any length takes little memory; a document is read when it is whole.
"""

from collections.abc import Iterable

from tokentrail.instrumentation.framing import FRAMINGS, coding
from tokentrail.instrumentation.framing._base import Event, Framing
from tokentrail.instrumentation.framing.json_array import JsonArrayDecoder
from tokentrail.instrumentation.framing.sse import SseDecoder
from tokentrail.instrumentation.wire._base import RawReader, Reader, Response
from tokentrail.instrumentation.wire._json import parse

_SSE_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")


class BodyReader:
    """Reads one body, fed in pieces with the time each was seen. Not thread-safe; raises nothing on bad bytes."""

    def __init__(
        self, reader: Reader, content_type: str, content_encoding: str, max_bytes: int, *, streams: bool = False
    ) -> None:
        """`streams` when the endpoint answers with a stream: a JSON array is one then, of its elements."""
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
        self._streams = streams
        self._head = b""
        self._raw: RawReader | None = None
        self._is_kept = True
        self._passed_bytes = 0
        self._media_type = media_type = content_type.partition(";")[0].strip().lower()
        if (framing := FRAMINGS.get(media_type)) is not None:
            self._framing = framing()
            self._undecided = False
        elif "json" in media_type and not streams:
            self._undecided = False
        elif media_type and not streams and isinstance(reader, RawReader):
            self._raw, self._is_kept, self._undecided = reader, reader.wants(media_type), False
        try:
            self._decoder = coding.decoder(content_encoding)
        except LookupError:
            self._decoder = None
            self.problem = "undecodable"

    @property
    def has_times(self) -> bool:
        """True when it does not matter any more when bytes were seen."""
        return self.first_token_ticks is not None or not (self._undecided or self.is_stream)

    @property
    def is_stream(self) -> bool:
        """True for a body of events, and for one of an endpoint that streams while nothing of it tells otherwise."""
        return self._framing is not None or (self._streams and self._undecided)

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
        elif not self._is_kept:
            self._passed_bytes += len(data)
        elif len(self._document) + len(data) > self._max_bytes:
            self.problem = "too_large"
            self._document.clear()
        else:
            self._document += data

    def finish(self, ticks: int) -> Response:
        """What the body said; it has ended, or will not be read further, at `ticks`."""
        if self._framing is not None:
            self._read_events(ticks, self._framing.flush())
        elif self._raw is not None:
            if not self.problem:
                self._raw.feed_raw(self._media_type, bytes(self._document), self._passed_bytes + len(self._document))
        elif self._document or self._head:
            self._document += self._head
            self._read_document(self._document)
        return self._reader.result()

    def _decide(self, data: bytes) -> bytes:
        """What may be read now of a body whose server does not say what it is: its first bytes tell, once all there."""
        data, self._head = self._head + data, b""
        start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[: max(map(len, _SSE_STARTS))]
        if start.startswith(_SSE_STARTS):
            self._framing = SseDecoder()
        elif self._streams and start.startswith(b"["):
            self._framing = JsonArrayDecoder()
        elif len(data) <= self._max_bytes and any(name.startswith(start) for name in _SSE_STARTS):
            self._head = data
            return b""
        self._undecided = False
        return data

    def _read_document(self, data: bytearray) -> None:
        try:
            document = parse(data)
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
                if isinstance(self._framing, SseDecoder):
                    self._framing.news = getattr(self._reader, "news", None)
