"""The hook on `urllib3`, the client under `requests` and under `botocore` (boto3, and so Bedrock).

It sits on `HTTPConnectionPool._make_request`: one call of it is one request on the wire; retries and redirects come
back to it by way of `urlopen`. The response is followed on `HTTPResponse` itself, at the two methods through which all
ways of reading take their bytes as they came over the wire, `_raw_read` and, in chunks of transfer encoding,
`_handle_chunk`. A response that nobody follows costs one look into its attributes.

These methods are private, and have kept their shape in all of urllib3 2; where one is missing, as in urllib3 1, nothing
is hooked and a warning says so. Not seen are requests that botocore sends through `awscrt`, and by `aiobotocore`, which
has aiohttp under it. Spans of `opentelemetry-instrumentation-requests` and `-urllib3` are above the model call's, not
below: they wrap what calls this.

A request that is signed (botocore's are) is never changed: its signature covers the headers.
"""

import functools
import inspect
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from tokentrail.instrumentation.exchange import Exchange
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.headers import is_honoured
from tokentrail.instrumentation.patch import _urllib3_usage
from tokentrail.instrumentation.patch._base import WATCHING, enter, fail, leave, watcher
from tokentrail.instrumentation.patch._urllib3_usage import Question, ShownFile
from tokentrail.instrumentation.stream_usage import REFUSALS
from tokentrail.semconv.genai import StreamExit

logger = logging.getLogger(__name__)

_SEND: Final = "_make_request"
_READS: Final = ("_raw_read", "_handle_chunk", "_update_chunk_length", "read_chunked", "close")
_WATCH: Final = "_tokentrail_watch"
"""Where a response keeps what follows it: with it, so that both are forgotten together."""
_PORTS: Final = {"http": 80, "https": 443}
_SIGNED: Final = "aws4-"
"""How the `authorization` of a signed request begins."""


class Urllib3Patch:
    """The hook."""

    modules: tuple[str, ...] = ("urllib3",)

    def hook(self, module: ModuleType) -> None:
        """Hook the connection pool and the response of `module`."""
        pool, response = module.connectionpool.HTTPConnectionPool, module.response.HTTPResponse
        send = pool.__dict__.get(_SEND)
        reads = {name: response.__dict__.get(name) for name in _READS}
        if send is None or None in reads.values() or "preload_content" not in inspect.signature(send).parameters:
            version = getattr(module, "__version__", "of this version")
            logger.warning("%s %s is not supported: its calls are not seen", module.__name__, version)
            return
        wrappers = (_raw_read, _handle_chunk, _update_chunk_length, _read_chunked, _close)
        for name, wrap in zip(_READS, wrappers, strict=True):
            setattr(response, name, wrap(reads[name]))
        setattr(pool, _SEND, _send(send, response, module.connection.HTTPConnection))


class _Watch:
    """What follows one response: it goes when the response goes, and ends the exchange then."""

    __slots__ = ("exchange", "reading")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.reading = False
        """While its chunks are read: urllib3 closes a response whose chunks are wrong before it says so."""

    def __del__(self) -> None:
        with WATCHING:
            self.exchange.finish(StreamExit.ABANDONED)


def _send(original: Callable[..., Any], followed: Any, own: Any) -> Callable[..., Any]:
    @functools.wraps(original)
    def send(
        pool: Any, conn: Any, method: str, url: str, body: Any = None, headers: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        call = _begin(pool, conn, method, url, body, headers, own)
        exchange, asking = call.exchange, call.question
        if exchange is None:
            return original(pool, conn, method, url, body, call.headers, *args, **kwargs)
        token = enter(exchange)
        try:
            if asking is not None:
                response = original(pool, conn, method, url, asking.body, asking.headers, *args, **kwargs)
                if response.status in REFUSALS and _was_refused(exchange, response):
                    _urllib3_usage.reconnect(pool, conn, response, asking.is_tunnelled)
                    asking = None
            if asking is None:
                response = original(pool, conn, method, url, body, call.headers, *args, **kwargs)
        except BaseException as error:
            leave(exchange, token)
            fail(exchange, error)
            raise
        leave(exchange, token)
        _observe(exchange, response, followed, asking is not None)
        return response

    return send


class _Call:
    """A request that is about to be sent."""

    __slots__ = ("exchange", "headers", "question")

    def __init__(self, headers: Any) -> None:
        self.exchange: Exchange | None = None
        self.headers = headers
        """Those to send: a copy where some must not travel on."""
        self.question: Question | None = None
        """What is sent instead where the usage is asked for; with nothing else to send there is none."""


def _begin(pool: Any, conn: Any, method: str, url: str, body: Any, headers: Any, own: Any) -> _Call:
    """What is to be done with a request."""
    call = _Call(headers)
    observer = watcher()
    if observer is None:
        return call
    with protect("looking at a request"):
        seen = _RequestHeaders(headers)
        host, port, path = _target(pool, url)
        if method == "POST":
            call.exchange = observer.begin(host, port, path, _body(body), seen)
        if observer.must_strip(call.exchange, host, seen) and not seen.are_signed:
            call.headers = _without_metadata(headers)
        if call.exchange is not None:
            call.question = _urllib3_usage.question(observer, call.exchange, conn, own, body, call.headers, seen)
    return call


def _was_refused(exchange: Exchange, response: Any) -> bool:
    """True when `response` refuses what we asked, and its host is not to be asked again."""
    with protect("looking at a refusal"):
        observer = watcher()
        if _urllib3_usage.was_refused(response):
            if observer is not None:
                observer.never_ask(exchange.host)
            return True
    return False


def _target(pool: Any, url: str) -> tuple[str, int | None, str]:
    """Host, port and path of a request: a plain proxy is told them in the URL, else they are the pool's."""
    if url.startswith("/"):
        port = pool.port or _PORTS.get(pool.scheme)
        return pool.host.strip("[]"), port, url.partition("?")[0]
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme), parts.path


def _body(body: object) -> bytes:
    """The body of a request; empty for one that is read as it is sent: it must not be read before."""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    if type(body) is io.BytesIO:
        return bytes(body.getbuffer()[body.tell() :])
    return bytes(body) if isinstance(body, (bytearray, memoryview)) else b""


class _RequestHeaders:
    """Request headers in whatever mapping the caller has: names and values are text or bytes."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str | bytes, str | bytes] | None) -> None:
        self._headers = headers

    @property
    def raw(self) -> Iterable[tuple[bytes, bytes]]:
        """Names and values as they will be sent."""
        return [] if self._headers is None else _encoded(self._headers.items())

    @property
    def are_signed(self) -> bool:
        """True when a signature covers them."""
        return (self.get("authorization") or "")[: len(_SIGNED)].lower() == _SIGNED

    def get(self, name: str, /) -> str | None:
        """A value by its lower-case name."""
        wanted = name.encode("latin-1")
        found = (value for key, value in self.raw if key.lower() == wanted)
        value = next(found, None)
        return None if value is None else value.decode("latin-1")


class _ResponseHeaders:
    """Response headers as pairs of bytes, made when they are asked for."""

    __slots__ = ("_items",)

    def __init__(self, response: Any) -> None:
        original = response.__dict__.get("_original_response")
        raw_items = getattr(getattr(original, "msg", None), "raw_items", None)
        # urllib3's own mapping takes ten times as long to go through, and the application waits.
        self._items = tuple(response.headers.items() if raw_items is None else raw_items())

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(_encoded(self._items))


def _encoded(items: Iterable[tuple[Any, Any]]) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode(), value.encode())
        if type(name) is str and type(value) is str and name.isascii() and value.isascii()
        else (_bytes(name), _bytes(value))
        for name, value in items
    ]


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return str(value).encode("latin-1")  # as http.client sends them
    except UnicodeEncodeError:
        return str(value).encode()


def _without_metadata(headers: Any) -> Any:
    """A copy of `headers` without those that were understood; the application's own stay as they are."""
    outgoing = headers.copy()
    for name in [name for name in headers if is_honoured(_bytes(name))]:
        del outgoing[name]
    return outgoing


def _observe(exchange: Exchange, response: Any, followed: Any, asked: bool) -> None:
    """Follow `response`; where that fails, the exchange is over as far as can be told."""
    with protect("looking at a response"):
        _follow(exchange, response, followed, asked)
        return
    with protect("giving up on a response"):
        exchange.finish(StreamExit.ABANDONED)


def _follow(exchange: Exchange, response: Any, followed: Any, asked: bool) -> None:
    """Watch `response` as the application reads it, or take its body where that is already here."""
    headers = _ResponseHeaders(response)  # before some are taken off for what is hidden
    is_followed = isinstance(response, followed)
    body = response.__dict__.get("_body") if is_followed else None
    if asked and is_followed:
        if body is None:
            _urllib3_usage.hide(response, exchange)
        else:
            response.__dict__["_body"] = _urllib3_usage.without_usage(response, body)
    if not exchange.wants_body:
        exchange.finish(StreamExit.COMPLETE)
    elif is_followed and body is None:
        exchange.respond(response.status, headers)
        # A response without a body may never be read, so that nothing would tell its end.
        if response.length_remaining == 0 or _is_read(response):
            exchange.finish(StreamExit.COMPLETE)
        else:
            response.__dict__[_WATCH] = _Watch(exchange)
    else:
        # Read before the application has it (`preload_content`), and decoded with that unless it asked for raw bytes.
        exchange.respond(response.status, headers, decoded=bool(response.decode_content))
        body = body if is_followed else response.data
        exchange.chunk(body if isinstance(body, bytes) else b"")
        exchange.finish(StreamExit.COMPLETE)


def _is_read(response: Any) -> bool:
    """True when the body has come to its end; the standard library closes its own response then."""
    source = response.__dict__.get("_fp")
    return source is None or bool(source.isclosed() if hasattr(source, "isclosed") else source.closed)


def _end(response: Any, watch: _Watch) -> None:
    """The body has come to its end: the right one, or another where nobody insists (botocore counts bytes itself)."""
    response.__dict__.pop(_WATCH, None)
    missing = response.length_remaining
    if missing:
        watch.exchange.finish(StreamExit.BROKEN, ("http.client.IncompleteRead", f"{missing} bytes more were announced"))
    else:
        watch.exchange.finish(StreamExit.COMPLETE)


def _raw_read(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def raw_read(response: Any, *args: Any, **kwargs: Any) -> Any:
        watch = response.__dict__.get(_WATCH)
        if watch is None:
            return original(response, *args, **kwargs)
        try:
            data = original(response, *args, **kwargs)
        except BaseException as error:
            fail(watch.exchange, error)
            raise
        with WATCHING:
            if data and type(response.__dict__.get("_fp")) is not ShownFile:  # which shows the exchange what it reads
                watch.exchange.chunk(data)
            if _is_read(response):
                _end(response, watch)
        return data

    return raw_read


def _handle_chunk(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def handle_chunk(response: Any, amt: int | None) -> Any:
        data = original(response, amt)
        if data and (watch := response.__dict__.get(_WATCH)) is not None:
            with WATCHING:
                watch.exchange.chunk(data)
        return data

    return handle_chunk


def _update_chunk_length(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def update_chunk_length(response: Any) -> None:
        original(response)
        if response.chunk_left == 0 and (watch := response.__dict__.get(_WATCH)) is not None:
            with WATCHING:
                _end(response, watch)

    return update_chunk_length


def _read_chunked(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def read_chunked(response: Any, amt: int | None = None, *args: Any, **kwargs: Any) -> Any:
        chunks = original(response, amt, *args, **kwargs)
        if (watch := response.__dict__.get(_WATCH)) is not None:
            chunks = _watched(chunks, watch)
        source = response.__dict__.get("_fp")
        return source.pieces(chunks, amt) if type(source) is ShownFile and amt != 0 else chunks

    return read_chunked


def _watched(chunks: Iterator[bytes], watch: _Watch) -> Iterator[bytes]:
    """`chunks`, with the error that reading them ends in as the application gets it."""
    try:
        while True:
            watch.reading = True
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            except BaseException as error:
                fail(watch.exchange, error)
                raise
            finally:
                watch.reading = False
            yield chunk
    finally:
        chunks.close()  # type: ignore[attr-defined]  # a generator; urllib3 lets go of the connection in it


def _close(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def close(response: Any) -> None:
        try:
            original(response)
        finally:
            watch = response.__dict__.get(_WATCH)
            # Python closes what is dropped, too, and says so; then the destructor of `watch` tells why.
            if watch is not None and not watch.reading and not response.__dict__.get("_finalizing"):
                with WATCHING:
                    watch.exchange.close()

    return close
