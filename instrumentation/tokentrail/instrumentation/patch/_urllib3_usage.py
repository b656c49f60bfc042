"""Asking for the usage of a stream over `urllib3`, and hiding it however the response is read.

    Question          the body and the headers that are sent; the application's stay as they are
    was_refused       looks at an error without taking it: the standard library's response is wound back to its start
    reconnect         gives the connection back as new for the request that the application made
    hide              puts a `ShownFile` under a response (`_fp`): everything but chunks is read through it, and chunks
                      of transfer encoding, which urllib3 cuts out by itself, go through `ShownFile.pieces`
    without_usage     the body of a response that was read with it (`preload_content`)

It is asked only where the connection makes urllib3's own response of the standard library's: not with HTTP/2, in a
browser, or with a recorder of traffic that answers itself.
"""

import io
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, Final

from tokentrail.instrumentation.exchange import Exchange
from tokentrail.instrumentation.headers import RequestHeaders
from tokentrail.instrumentation.observer import Observer
from tokentrail.instrumentation.patch._base import WATCHING
from tokentrail.instrumentation.patch._usage import Hiding, hiding, may_change, replaced
from tokentrail.instrumentation.stream_usage import is_refusal

_MAX_REFUSAL_BYTES: Final = 64 * 1024
"""Of an error, that are looked at for a refusal."""


# The request ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """A request that asks for the usage of a stream."""

    body: bytes
    headers: Any
    is_tunnelled: bool
    """True when its connection leads through a proxy, which must be told the way again after `reconnect`."""


def question(
    observer: Observer, exchange: Exchange, conn: Any, own: Any, body: object, headers: Any, seen: RequestHeaders
) -> Question | None:
    """What to send in place of `body` and `headers`, if anything; `own` is urllib3's class of connections."""
    if not isinstance(body, (bytes, str)) or _maker(conn) is not own or not may_change(seen):
        return None
    asking = observer.ask_usage(exchange)
    if asking is None:
        return None
    outgoing = {} if headers is None else headers.copy()
    for name, value in replaced(outgoing.items(), asking).items():
        outgoing[name] = value  # without a header for it, urllib3 asks for no coding
    return Question(asking, outgoing, getattr(conn, "_tunnel_host", None) is not None)


def _maker(conn: object) -> type | None:
    """The class whose `getresponse` makes the response, whoever may have wrapped it."""
    return next((kind for kind in type(conn).__mro__ if "getresponse" in vars(kind)), None)


# A refusal --------------------------------------------------------------------------------------------------------


def was_refused(response: Any) -> bool:
    """True when `response`, an error, is about the option. It can be read as if nobody had looked."""
    coding = response.headers.get("content-encoding") or ""
    body, source = response.__dict__.get("_body"), response.__dict__.get("_fp")
    if isinstance(body, bytes):  # `preload_content`
        return is_refusal(body, "" if response.decode_content else coding)
    return isinstance(source, HTTPResponse) and source.fp is not None and is_refusal(_looked_at(source), coding)


def reconnect(pool: Any, conn: Any, refused: Any, is_tunnelled: bool) -> None:
    """Make `conn`, which gave the response `refused`, ready for another request, as urllib3 does with a dropped one.

    Raises what connecting through a proxy raises.
    """
    refused._connection = None  # noqa: SLF001  it would close the connection when it is forgotten
    refused.close()
    conn.close()
    if is_tunnelled:
        pool._prepare_proxy(conn)  # noqa: SLF001


def _looked_at(source: HTTPResponse) -> bytes:
    """The beginning of the body of `source`, which is wound back to where it was."""
    state = source.length, source.chunk_left
    tape = _Tape(source.fp)
    source.fp = tape  # type: ignore[assignment]  # reads as a file does
    try:
        return source.read(_MAX_REFUSAL_BYTES)
    except Exception:  # noqa: BLE001  whatever it is, it comes again when the application reads
        return b""
    finally:
        source.length, source.chunk_left = state
        source.fp = io.BufferedReader(_Rewound(tape))


class _Tape:
    """The file under a response, with what is read from it, or how that fails, kept. `close` leaves it open."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.kept = bytearray()
        self.error: Exception | None = None

    def read(self, amount: int = -1) -> bytes:
        start = len(self.kept)
        while amount < 0 or len(self.kept) - start < amount:
            if not self._keep(self.file.read1, -1 if amount < 0 else amount - (len(self.kept) - start)):
                break
        return bytes(self.kept[start:])

    def readline(self, limit: int = -1) -> bytes:
        return self._keep(self.file.readline, limit)

    def _keep(self, read: Any, amount: int) -> bytes:
        try:
            data: bytes = read(amount)
        except Exception as error:
            self.error = error
            raise
        self.kept += data
        return data

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Not yet: it will be read again."""


class _Rewound(io.RawIOBase):
    """A file as it was before it was read: what was kept comes first, then how that failed, then the rest."""

    def __init__(self, tape: _Tape) -> None:
        self._file, self._kept, self._error = tape.file, bytes(tape.kept), tape.error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._kept:
            data, self._kept = self._kept[: len(buffer)], self._kept[len(buffer) :]
        elif self._error is not None:
            error, self._error = self._error, None
            raise error
        else:
            data = self._file.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


# The response -----------------------------------------------------------------------------------------------------


def hide(response: Any, exchange: Exchange) -> None:
    """Have `response`, of which nothing has been read, show its stream without the usage."""
    headers = response.headers
    found = hiding(headers.get("content-type") or "", headers.get("content-encoding") or "")
    if found is None:
        return
    if found.decodes:
        headers.pop("content-encoding", None)  # asked for none, the server used one all the same
    headers.pop("content-length", None)
    response._fp = ShownFile(response, exchange, found)  # noqa: SLF001


def without_usage(response: Any, body: bytes) -> bytes:
    """What the application may have of `body`, which was read with the headers, and decoded unless it said not to."""
    headers, is_decoded = response.headers, bool(response.decode_content)
    found = hiding(headers.get("content-type") or "", "" if is_decoded else headers.get("content-encoding") or "")
    if found is None:
        return body
    if found.decodes:
        headers.pop("content-encoding", None)
    shown = found.feed(body) + found.end()
    if not is_decoded and "content-length" in headers:
        headers["content-length"] = str(len(shown))
    return shown


class ShownFile:
    """What urllib3 reads a response from, without the usage. Like the response itself, not thread-safe.

    It is closed when the application has everything, which may be later than the file that it reads from.
    """

    def __init__(self, response: Any, exchange: Exchange, found: Hiding) -> None:
        self._source = response._fp  # noqa: SLF001
        self._response = weakref.ref(response)  # which must go when the application drops it
        self._exchange = exchange
        self._hiding = found
        self._missing: int | None = response.length_remaining
        self._ready = b""

    def __getattr__(self, name: str) -> Any:
        if name == "_source":
            raise AttributeError(name)
        return getattr(self._source, name)

    def read(self, amount: int | None = None) -> bytes:
        """As the source's; an event that is hidden is waited through."""
        whole = amount is None or amount < 0
        while (whole or len(self._ready) < (amount or 0)) and self._take(
            self._source.read, None if whole else (amount or 0) - len(self._ready)
        ):
            pass
        return self._give(None if whole else amount)

    def read1(self, amount: int = -1) -> bytes:
        """As the source's; empty at the end only."""
        while amount != 0 and not self._ready and self._take(self._source.read1, amount):
            pass
        return self._give(None if amount < 0 else amount)

    def pieces(self, chunks: Iterator[bytes], amount: int | None) -> Iterator[bytes]:
        """What may be read of `chunks`, which urllib3 read past this, at most `amount` bytes at a time."""
        limit = amount if amount is not None and amount > 0 else None
        try:
            for chunk in chunks:
                self._ready += self._hiding.feed(chunk)
                while self._ready:
                    yield self._give(limit)
            self._ready += self._hiding.end()
            while self._ready:
                yield self._give(limit)
        finally:
            chunks.close()  # type: ignore[attr-defined]  # a generator; urllib3 lets go of the connection in it

    def isclosed(self) -> bool:
        """True when there is nothing more to read."""
        return not self._ready and bool(self._source.isclosed())

    @property
    def closed(self) -> bool:
        """True when it was closed, and everything was read before."""
        return not self._ready and bool(self._source.closed)

    def close(self) -> None:
        """The application reads no more."""
        self._ready = b""
        self._source.close()

    def _take(self, read: Any, amount: int | None) -> bool:
        """Read more from the source; false when that has come to its end."""
        try:
            data: bytes = read() if amount is None else read(amount)
        except BaseException:
            self._ready = b""  # urllib3 lets nobody read on
            raise
        if data:
            with WATCHING:
                self._exchange.chunk(data)
            self._ready += self._hiding.feed(data)
            if self._missing is not None:
                self._missing -= len(data)
        goes_on = bool(data) and not self._source.isclosed() and self._missing != 0
        if not goes_on:
            self._ready += self._hiding.end()
        return goes_on

    def _give(self, amount: int | None) -> bytes:
        data = self._ready if amount is None else self._ready[:amount]
        self._ready = self._ready[len(data) :]
        response = self._response()
        if response is not None and self._missing is not None:
            # urllib3 takes off what it is given; what it is not given must not be missed.
            response.length_remaining = self._missing + len(self._ready) + len(data)
        return data
