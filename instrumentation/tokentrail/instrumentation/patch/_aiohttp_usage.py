"""Asking for the usage of a stream over `aiohttp`, and hiding it however the response is read.

    Sending           one request on its way, so that it can be sent once more
    Sending.asking    the copy of it that is sent in its place, with the question; the application's stays as it is
    Sending.was_refused, again      looks at an error without taking it; sends the request as it was, for that response
    hide              takes the usage out of a body as it arrives, so that all ways of reading find it gone

What the application has around the call (middlewares, tracing of requests, `raise_for_status`) sees the one response
that it asked for; only tracing of connections and of what is written sees that there was another.
"""

import copy
import functools
from collections import deque
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, Final

from tokentrail.instrumentation.exchange import Exchange
from tokentrail.instrumentation.observer import Observer
from tokentrail.instrumentation.patch._base import WATCHING
from tokentrail.instrumentation.patch._usage import Hiding, hiding, may_change, replaced
from tokentrail.instrumentation.stream_usage import REFUSALS, is_refusal
from tokentrail.semconv.genai import StreamExit

_MAX_REFUSAL_BYTES: Final = 64 * 1024
"""Of an error, that are looked at for a refusal."""
_STATE: Final = frozenset(
    {"_buffer", "_size", "_eof", "_exception", "_http_chunk_splits", "_eof_callbacks", "_protocol"}
)
"""Attributes of a reader that are used here, besides `total_bytes`, which was one of the class in 3.9."""


def can_ask(module: ModuleType) -> bool:
    """True when `module` has what this needs; all versions from 3.9 to 3.14 have it."""
    reader, proto = module.StreamReader, getattr(module, "client_proto", None)
    return (
        _STATE.issubset(reader.__init__.__code__.co_names)
        and {"_wait", "feed_data", "end_http_chunk_receiving"}.issubset(vars(reader))
        and "set_response_params" in vars(getattr(proto, "ResponseHandler", object))
    )


# The request ------------------------------------------------------------------------------------------------------


class Sending:
    """A request on its way, and how it came there."""

    __slots__ = ("_body", "_observer", "_request", "connect", "is_asking", "parameters")

    def __init__(self, observer: Observer, body: bytes) -> None:
        self._observer = observer
        self._body = body  # as the exchange has it
        self._request: Any = None
        self.connect: Callable[[], Awaitable[Any]] | None = None
        """Gives another connection for it."""
        self.parameters: dict[str, Any] | None = None
        """What its connection was told of the response."""
        self.is_asking = False
        """True once the usage was asked for, and not refused."""

    def forget(self) -> None:
        """It is over; a pooled connection may keep this."""
        self._body, self.connect, self.parameters, self._request = b"", None, None, None

    def asking(self, request: Any, exchange: Exchange, payloads: Any, seen: Any) -> Any:
        """A copy of `request` that asks; `None` where nothing is to be asked, or cannot be asked without being noticed.

        `payloads` is the class of bodies that are bytes. A request that waits for a go-ahead, or whose progress the
        application follows, is none to send twice.
        """
        name = "_body" if "_body" in request.__dict__ else "body"  # since 3.12
        given = request.__dict__.get(name)
        special = ("compress", "_continue", "_upload_tracker")
        if (
            self._request is not None  # for it was refused
            or self.connect is None
            or self.parameters is None
            or any(getattr(request, attribute, None) for attribute in special)
            or not isinstance(given, payloads)
            or given._value != self._body  # noqa: SLF001  a middleware may have changed it
            or not may_change(seen)
        ):
            return None
        body = self._observer.ask_usage(exchange)
        if body is None:
            return None
        payload, outgoing = copy.copy(given), copy.copy(request)
        payload._value, payload._size = body, len(body)  # noqa: SLF001
        outgoing.__dict__[name] = payload
        outgoing.headers = request.headers.copy()
        outgoing.headers["Accept-Encoding"] = "identity"
        for header, value in replaced(request.headers.items(), body).items():
            outgoing.headers[header] = value
        self._request, self.is_asking = request, True
        return outgoing

    def give_back(self, outgoing: Any, response: Any) -> None:
        """Have `response` be that of the application's request, though `outgoing` was sent."""
        request = self._request
        for name, value in outgoing.headers.items():
            if name not in request.headers:
                request.headers[name] = value  # added as it was sent
        request.response = response
        response._request_info = request.request_info  # noqa: SLF001

    async def was_refused(self, response: Any, exchange: Exchange, is_decoded: bool) -> bool:
        """True when `response` is an error about the option. It can be read as if nobody had looked."""
        if not self.is_asking or response.status not in REFUSALS:
            return False
        content = await _looked_at(response.content)
        if not is_refusal(content, "" if is_decoded else response.headers.get("content-encoding") or ""):
            return False
        self._observer.never_ask(exchange.host)
        self.is_asking = False
        return True

    async def again(self, response: Any, start: Callable[..., Awaitable[Any]]) -> None:
        """Send the request as it was, and have `response` be the one to that. Raises what sending raises."""
        request, connect, parameters = self._request, self.connect, self.parameters
        if connect is None or parameters is None:
            return
        response.content._eof_callbacks.clear()  # noqa: SLF001  they would end what `response` is about to be
        response.close()
        connection = await connect()
        made = request.response_class

        def renewed(*args: Any, **kwargs: Any) -> Any:
            response.__dict__.clear()
            response.__init__(*args, **kwargs)
            return response

        try:
            connection.protocol.set_response_params(**parameters)
            request.response_class = renewed
            try:
                await request.send(connection)
            finally:
                request.response_class = made
            await start(response, connection)
        except BaseException:
            connection.close()
            raise


async def _looked_at(content: Any) -> bytes:
    """The beginning of a body, which stays where it is."""
    if content.at_eof():
        return b""
    try:
        while (
            not content._eof  # noqa: SLF001
            and content._exception is None  # noqa: SLF001
            and content._size < _MAX_REFUSAL_BYTES  # noqa: SLF001
            and not content._protocol._reading_paused  # noqa: SLF001
        ):
            await content._wait("read")  # noqa: SLF001
    except Exception:  # noqa: BLE001  it comes again when the application reads
        return b""
    return b"".join(content._buffer)  # noqa: SLF001


# The response -----------------------------------------------------------------------------------------------------


class Hidden:
    """What an application may read of a body, and when the exchange is to see what it took that from."""

    __slots__ = ("_arrived", "_exchange", "_hiding", "_shown", "_taken", "chunk_end")

    def __init__(self, exchange: Exchange, found: Hiding) -> None:
        self._exchange = exchange
        self._hiding = found
        self._arrived: deque[tuple[int, int, bytes]] = deque()
        """Pieces that the exchange has not seen, each with how many bytes were shown before it, and for it."""
        self._shown = self._taken = 0
        self.chunk_end = 0
        """Bytes shown when a chunk of transfer encoding ended last: of one that is hidden there is no end."""

    def feed(self, data: bytes) -> bytes:
        """What may be read now that `data` has arrived."""
        shown = self._hiding.feed(data)
        with WATCHING:
            self._arrived.append((self._shown, len(shown), data))
            self._shown += len(shown)
            self._see()
        return shown

    def end(self) -> bytes:
        """What may be read besides now that all has arrived."""
        shown = self._hiding.end()
        self._shown += len(shown)
        return shown

    def taken(self, data: bytes) -> None:
        """The application takes `data`."""
        self._taken += len(data)
        self._see()

    def _see(self) -> None:
        """Show the exchange what the application has begun to take, and what is hidden before the rest."""
        arrived = self._arrived
        while arrived and (arrived[0][0] < self._taken or (arrived[0][0] == self._taken and not arrived[0][1])):
            self._exchange.chunk(arrived.popleft()[2])


def hide(exchange: Exchange, response: Any, is_decoded: bool) -> None:
    """Have `response`, which is followed and of which nothing has been read, show its stream without the usage."""
    headers, content = response.headers, response.content
    watch = getattr(content._buffer, "watch", None)  # noqa: SLF001
    coding = "" if is_decoded else headers.get("content-encoding") or ""
    found = None if watch is None else hiding(headers.get("content-type") or "", coding)
    if watch is None or found is None:
        return
    hidden = Hidden(exchange, found)
    wrong = {"content-length", "content-encoding"} if found.decodes else {"content-length"}
    _refill(content, hidden)
    watch.hidden = hidden
    kind: Any = type(content)
    content.__class__ = _hiding(kind)
    response._headers = type(headers)(  # noqa: SLF001
        type(headers.copy())([(name, value) for name, value in headers.items() if name.lower() not in wrong])
    )
    response._cache.pop("headers", None)  # noqa: SLF001
    if content.at_eof():
        exchange.finish(StreamExit.COMPLETE)


def _refill(content: Any, hidden: Hidden) -> None:
    """Put what may be read of what has arrived so far into the buffer of `content`, in its place."""
    data, splits = b"".join(content._buffer), content._http_chunk_splits  # noqa: SLF001
    pieces: list[bytes] = []
    ends: list[int] = []
    start = total = 0
    for end in splits or ():
        pieces.append(hidden.feed(data[start:end]))
        total += len(pieces[-1])
        start = end
        if total > hidden.chunk_end:
            hidden.chunk_end = total
            ends.append(total)
    pieces.append(hidden.feed(data[start:]))
    if content._eof:  # noqa: SLF001
        pieces.append(hidden.end())
    content._buffer.clear()  # noqa: SLF001
    content._buffer.extend(filter(None, pieces))  # noqa: SLF001
    content._size = content.total_bytes = sum(map(len, pieces))  # noqa: SLF001
    if splits:
        splits.clear()
        splits.extend(ends)


@functools.cache
def _hiding(base: Any) -> type:
    """A subclass of `base`, a reader that is followed, for bodies of which something is hidden."""

    @functools.wraps(base.feed_data)
    def feed_data(self: Any, data: bytes, *_: Any, **__: Any) -> Any:
        shown = bytes(data)
        with WATCHING:
            shown = self._buffer.watch.hidden.feed(shown)
        return base.feed_data(self, shown)

    @functools.wraps(base.feed_eof)
    def feed_eof(self: Any) -> None:
        rest = b""
        with WATCHING:
            if not self._eof:
                rest = self._buffer.watch.hidden.end()
        if rest:
            base.feed_data(self, rest)
        base.feed_eof(self)

    @functools.wraps(base.end_http_chunk_receiving)
    def end_http_chunk_receiving(self: Any) -> None:
        hidden = self._buffer.watch.hidden
        if self.total_bytes > hidden.chunk_end:
            hidden.chunk_end = self.total_bytes
            base.end_http_chunk_receiving(self)

    members = {"__slots__": (), "__module__": base.__module__, "__doc__": base.__doc__}
    members |= {"__qualname__": base.__qualname__, "feed_data": feed_data, "feed_eof": feed_eof}
    members["end_http_chunk_receiving"] = end_http_chunk_receiving
    return type(base.__name__, (base,), members)
