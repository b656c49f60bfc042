"""Following the body of a response of `aiohttp`: its bytes as the application takes them, and how that ends.

All ways of reading a body take its bytes from `StreamReader._read_nowait_chunk`. A body that is followed is made to be
of a subclass that looks on there, at its end and at the errors of reading; all other readers, a server's too, are not
touched. What follows it sits on the reader's own buffer, because a reader takes no further attributes: so both are
forgotten together, and an application may keep the reader without the response.
"""

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tokentrail.instrumentation.exchange import Exchange
from tokentrail.instrumentation.patch._aiohttp_usage import Hidden
from tokentrail.instrumentation.patch._base import WATCHING
from tokentrail.semconv.genai import StreamExit

READS: Final = ("read", "readany", "readuntil", "readchunk", "readexactly")
"""Coroutines of a reader in which reading can fail; the others are made of these."""
METHODS: Final = (*READS, "read_nowait", "_read_nowait_chunk", "feed_eof")
"""What a reader must have to be followed."""
STATE: Final = frozenset({"_buffer", "_eof", "_exception"})
"""Attributes of a reader that are looked at."""
_WATCH: Final = "_tokentrail_watch"
"""Where a response keeps what follows its body."""


def follow(exchange: Exchange, response: Any, is_decoded: bool) -> None:
    """Watch the body of `response` as the application reads it."""
    if not exchange.wants_body:
        exchange.finish(StreamExit.COMPLETE)
        return
    exchange.respond(response.status, response.raw_headers, decoded=is_decoded)
    content = response.content
    if content.at_eof():
        # Without a body; the reader may be one that all such responses share.
        exchange.finish(StreamExit.COMPLETE)
        return
    buffer = _Buffer(content._buffer)  # noqa: SLF001
    buffer.watch = response.__dict__[_WATCH] = _Watch(exchange)
    content._buffer = buffer  # noqa: SLF001
    kind: Any = type(content)
    content.__class__ = watched(kind)


def close(response: Any) -> None:
    """The application has closed `response`, or given it back."""
    watch: _Watch | None = response.__dict__.get(_WATCH)
    if watch is not None:
        watch.close()


class _Watch:
    """What follows one body: it goes when its reader and its response go, and ends the exchange then."""

    __slots__ = ("cancellation", "exchange", "hidden", "is_taking", "unread_bytes")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.is_taking = False
        """While bytes are taken from the buffer: that may have the rest of the body come, before they are seen."""
        self.unread_bytes = 0
        """Bytes at the head of the buffer that were seen before."""
        self.cancellation: BaseException | None = None
        """How the last read ended, if so. The application may read on, as it does with a time limit for each read."""
        self.hidden: Hidden | None = None
        """What takes out of the body what the application did not ask for."""

    def see(self, data: bytes) -> None:
        """The application takes `data`."""
        self.cancellation = None
        if self.unread_bytes:
            seen = min(self.unread_bytes, len(data))
            self.unread_bytes -= seen
            data = data[seen:]
        if data and self.hidden is not None:
            self.hidden.taken(data)
        elif data:
            self.exchange.chunk(data)

    def close(self) -> None:
        """The application has done with the response."""
        if self.cancellation is not None:
            self.exchange.fail(self.cancellation)
        else:
            self.exchange.close()

    def __del__(self) -> None:
        with WATCHING:
            if self.cancellation is not None:
                self.exchange.fail(self.cancellation)
            else:
                self.exchange.finish(StreamExit.ABANDONED)


class _Buffer(deque[bytes]):
    """The buffer of a reader, as it was, with what follows the reader."""

    __slots__ = ("watch",)
    watch: _Watch


@functools.cache
def watched(base: Any) -> type:
    """A subclass of `base`, a `StreamReader`, for bodies that are followed."""
    take, feed_eof = base._read_nowait_chunk, base.feed_eof  # noqa: SLF001

    def _read_nowait_chunk(self: Any, n: int) -> bytes:
        watch = getattr(self._buffer, "watch", None)
        if watch is None:
            return take(self, n)  # type: ignore[no-any-return]
        watch.is_taking = True
        try:
            data: bytes = take(self, n)
        finally:
            watch.is_taking = False
        with WATCHING:
            watch.see(data)
            if self._eof and not self._buffer:
                _end(self, watch)
        return data

    @functools.wraps(feed_eof)
    def feed_all(self: Any) -> None:
        feed_eof(self)
        watch = getattr(self._buffer, "watch", None)
        if watch is not None and not self._buffer and not watch.is_taking:
            with WATCHING:
                _end(self, watch)

    def unread_data(self: Any, data: bytes) -> None:
        base.unread_data(self, data)
        if (watch := getattr(self._buffer, "watch", None)) is not None:
            watch.unread_bytes += len(data)

    members: dict[str, Any] = {"__slots__": (), "__module__": base.__module__, "__doc__": base.__doc__}
    members |= {"__qualname__": base.__qualname__, "feed_eof": feed_all, "_read_nowait_chunk": _read_nowait_chunk}
    members |= {name: _noting(getattr(base, name)) for name in READS}
    members["read_nowait"] = _noting_now(base.read_nowait)
    if hasattr(base, "unread_data"):  # deprecated
        members["unread_data"] = functools.wraps(base.unread_data)(unread_data)
    return type(base.__name__, (base,), members)


def _end(reader: Any, watch: _Watch) -> None:
    """The last of a body has been taken."""
    if reader._exception is None:  # noqa: SLF001
        watch.exchange.finish(StreamExit.COMPLETE)


def _noting(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await original(self, *args, **kwargs)
        except BaseException as error:
            with WATCHING:
                _note(self, error)
            raise

    return read


def _noting_now(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        except BaseException as error:
            with WATCHING:
                _note(self, error)
            raise

    return read


def _note(reader: Any, error: BaseException) -> None:
    """Reading ended with `error`: that is the end of the body, or only of this attempt to read."""
    watch: _Watch | None = getattr(reader._buffer, "watch", None)  # noqa: SLF001
    if watch is None:
        return
    if isinstance(error, asyncio.CancelledError):
        # Another one, for this one holds the frames it went through, and the response in them.
        watch.cancellation = asyncio.CancelledError(*error.args)
    elif error is reader._exception or isinstance(error, TimeoutError) or _is_cut_off(reader, error):  # noqa: SLF001
        watch.exchange.fail(error)


def _is_cut_off(reader: Any, error: BaseException) -> bool:
    """True when the connection is gone: a session closed under its reader gives that no exception of its own."""
    return isinstance(error, RuntimeError) and not reader._protocol.connected  # noqa: SLF001
