"""The hook on `httpx` and `httpx2`, the clients under every large Python SDK for language models.

It sits on `Client._send_single_request` and its asynchronous twin, above the transport and below authentication,
redirects and event hooks: one call of it is one request on the wire, whatever transport the client was given. The
method is private, and has kept its shape since httpx 0.18 and in all of httpx2; where it is missing nothing is hooked
and a warning says so. Modules are hooked when the application imports them, and not loaded for it.
"""

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any, Final

from tokentrail.instrumentation.exchange import Exchange
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.headers import is_honoured
from tokentrail.instrumentation.patch._base import WATCHING, enter, leave, watcher
from tokentrail.semconv.genai import StreamExit

logger = logging.getLogger(__name__)

_METHOD: Final = "_send_single_request"


class HttpxPatch:
    """The hook."""

    modules: tuple[str, ...] = ("httpx", "httpx2")

    def hook(self, module: ModuleType) -> None:
        """Hook both clients of `module`."""
        for client, wrap in ((module.Client, _sync_hook), (module.AsyncClient, _async_hook)):
            original = client.__dict__.get(_METHOD)
            if original is None:
                version = getattr(module, "__version__", "of this version")
                logger.warning("%s %s is not supported: its calls are not seen", module.__name__, version)
                return
            setattr(client, _METHOD, wrap(module, original))


def _sync_hook(module: ModuleType, original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    class Tee(_Tee, module.SyncByteStream):  # type: ignore[misc, name-defined]  # the base is known at run time only
        def __iter__(self) -> Iterator[bytes]:
            exchange = self._exchange
            try:
                for chunk in self._stream:
                    with WATCHING:
                        exchange.chunk(chunk)
                    yield chunk
            except GeneratorExit:
                raise  # close() or the destructor tells why
            except BaseException as error:
                with WATCHING:
                    exchange.fail(error)
                raise
            with WATCHING:
                exchange.finish(StreamExit.COMPLETE)

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                with WATCHING:
                    self._exchange.close()

    @functools.wraps(original)
    def send(client: Any, request: Any) -> Any:
        exchange, outgoing = _begin(request)
        if exchange is None and outgoing is request:
            return original(client, request)
        token = enter(exchange)
        try:
            response = original(client, outgoing)
        except BaseException as error:
            leave(exchange, token)
            _fail(exchange, error, outgoing, request)
            raise
        leave(exchange, token)
        _observe(exchange, request, response, Tee)
        return response

    return send


def _async_hook(
    module: ModuleType, original: Callable[[Any, Any], Awaitable[Any]]
) -> Callable[[Any, Any], Awaitable[Any]]:
    class Tee(_Tee, module.AsyncByteStream):  # type: ignore[misc, name-defined]  # the base is known at run time only
        async def __aiter__(self) -> AsyncIterator[bytes]:
            exchange = self._exchange
            stream = self._stream.__aiter__()
            try:
                async for chunk in stream:
                    with WATCHING:
                        exchange.chunk(chunk)
                    yield chunk
            except GeneratorExit:
                raise  # aclose() or the destructor tells why
            except BaseException as error:
                with WATCHING:
                    exchange.fail(error)
                raise
            finally:
                # As httpx2 does: a generator left behind would be closed by the event loop, some time.
                if (aclose := getattr(stream, "aclose", None)) is not None:
                    await aclose()
            with WATCHING:
                exchange.finish(StreamExit.COMPLETE)

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                with WATCHING:
                    self._exchange.close()

    @functools.wraps(original)
    async def send(client: Any, request: Any) -> Any:
        exchange, outgoing = _begin(request)
        if exchange is None and outgoing is request:
            return await original(client, request)
        token = enter(exchange)
        try:
            response = await original(client, outgoing)
        except BaseException as error:
            leave(exchange, token)
            _fail(exchange, error, outgoing, request)
            raise
        leave(exchange, token)
        _observe(exchange, request, response, Tee)
        return response

    return send


class _Tee:
    """A response's byte stream that shows its bytes to an exchange as the application takes them."""

    def __init__(self, stream: Any, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        # httpx2 keeps `elapsed` on its own stream, and reads it through the response's.
        if name == "_stream":
            raise AttributeError(name)
        return getattr(self._stream, name)

    def __del__(self) -> None:
        # __init__ may have failed, and then there is nothing to finish.
        if (exchange := self.__dict__.get("_exchange")) is not None:
            with WATCHING:
                exchange.finish(StreamExit.ABANDONED)


def _begin(request: Any) -> tuple[Exchange | None, Any]:
    """The exchange for `request` and the request to send: a copy where headers must not travel on."""
    exchange: Exchange | None = None
    outgoing = request
    observer = watcher()
    if observer is None:
        return None, request
    with protect("looking at a request"):
        url = request.url
        host = url.host
        if request.method == "POST":
            port = url.port or (443 if url.scheme == "https" else 80)
            exchange = observer.begin(host, port, url.path, _body(request), request.headers)
        if observer.must_strip(exchange, host, request.headers):
            outgoing = _without_metadata(request)
    return exchange, outgoing


def _body(request: Any) -> bytes:
    """The body of `request`; empty for one that is sent in parts: it has not been read, and must not be."""
    # `content` is not there in a request made by following a redirect, but its stream is the bytes all the same.
    body = request.__dict__.get("_content") or getattr(request.stream, "_stream", b"")
    return body if isinstance(body, bytes) else b""


def _without_metadata(request: Any) -> Any:
    """A copy of `request` without the headers that were understood; the application's own stays as it is."""
    outgoing = object.__new__(type(request))
    outgoing.__dict__.update(request.__dict__)
    kept = [(name, value) for name, value in request.headers.raw if not is_honoured(name)]
    outgoing.headers = type(request.headers)(kept)
    return outgoing


def _fail(exchange: Exchange | None, error: BaseException, outgoing: Any, request: Any) -> None:
    """Record `error`, and have it show the application the request that it made, not our copy of it."""
    with protect("looking at a failure"):
        if outgoing is not request and error.__dict__.get("_request") is outgoing:
            error.__dict__["_request"] = request
        if exchange is not None:
            exchange.fail(error)


def _observe(exchange: Exchange | None, request: Any, response: Any, tee: Callable[[Any, Exchange], Any]) -> None:
    """Follow `response`; where that fails, the exchange is over as far as can be told."""
    with protect("looking at a response"):
        response.request = request
        if exchange is not None:
            _follow(exchange, response, tee)
        return
    with protect("giving up on a response"):
        if exchange is not None:
            exchange.finish(StreamExit.ABANDONED)


def _follow(exchange: Exchange, response: Any, tee: Callable[[Any, Exchange], Any]) -> None:
    """Watch the stream of `response` as the application reads it, or its content where that is already here."""
    if not exchange.wants_body:
        exchange.finish(StreamExit.COMPLETE)
    elif response.is_stream_consumed:
        # Made in memory, as mock transports do.
        exchange.respond(response.status_code, response.headers.get, decoded=True)
        exchange.chunk(response.content)
        exchange.finish(StreamExit.COMPLETE)
    else:
        exchange.respond(response.status_code, response.headers.get)
        response.stream = tee(response.stream, exchange)
