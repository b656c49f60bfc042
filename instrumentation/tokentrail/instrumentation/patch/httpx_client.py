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
from tokentrail.instrumentation.framing.multipart import MAX_FIELDS_BYTES, write_fields
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.headers import is_honoured
from tokentrail.instrumentation.observer import Observer
from tokentrail.instrumentation.patch._base import WATCHING, enter, leave, watcher
from tokentrail.instrumentation.patch._usage import Hiding, hiding, may_change
from tokentrail.instrumentation.stream_usage import REFUSALS, is_refusal
from tokentrail.semconv.genai import StreamExit

logger = logging.getLogger(__name__)

_LOOKING: Final = protect("looking at a request")
_FOLLOWING: Final = protect("looking at a response")
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
    tee, replaying = _sync_tee(module), _sync_replay(module)

    @functools.wraps(original)
    def send(client: Any, request: Any) -> Any:
        call = _begin(request)
        if call is None:
            return original(client, request)
        token = enter(call.exchange)
        try:
            response = original(client, call.outgoing)
            if call.asks and response.status_code in REFUSALS and not response.is_stream_consumed:
                replay = replaying(response.stream, b"".join(response.stream))
                response.stream.close()
                response.stream = replay
                if call.was_refused(response, replay.content):
                    response = original(client, call.outgoing)
        except BaseException as error:
            leave(call.exchange, token)
            _fail(call, error)
            raise
        leave(call.exchange, token)
        _observe(call, response, tee)
        return response

    return send


def _async_hook(
    module: ModuleType, original: Callable[[Any, Any], Awaitable[Any]]
) -> Callable[[Any, Any], Awaitable[Any]]:
    tee, replaying = _async_tee(module), _async_replay(module)

    @functools.wraps(original)
    async def send(client: Any, request: Any) -> Any:
        call = _begin(request)
        if call is None:
            return await original(client, request)
        token = enter(call.exchange)
        try:
            response = await original(client, call.outgoing)
            if call.asks and response.status_code in REFUSALS and not response.is_stream_consumed:
                replay = replaying(response.stream, b"".join([chunk async for chunk in response.stream]))
                await response.stream.aclose()
                response.stream = replay
                if call.was_refused(response, replay.content):
                    response = await original(client, call.outgoing)
        except BaseException as error:
            leave(call.exchange, token)
            _fail(call, error)
            raise
        leave(call.exchange, token)
        _observe(call, response, tee)
        return response

    return send


def _sync_tee(module: ModuleType) -> type["_Tee"]:
    class Tee(_Tee, module.SyncByteStream):  # type: ignore[misc, name-defined]  # the base is known at run time only
        def __iter__(self) -> Iterator[bytes]:
            see, hide = self._exchange.chunk, self._hiding
            try:
                for chunk in self._stream:
                    try:
                        see(chunk)
                    except Exception as error:  # noqa: BLE001  ours alone: the guard, without its cost
                        WATCHING.absorb(error)
                    if hide is None:
                        yield chunk
                    elif shown := hide.feed(chunk):
                        yield shown
                if hide is not None and (shown := hide.end()):
                    yield shown
            except GeneratorExit:
                raise  # close() or the destructor tells why
            except BaseException as error:
                with WATCHING:
                    self._exchange.fail(error)
                raise
            with WATCHING:
                self._exchange.finish(StreamExit.COMPLETE)

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                if not self._exchange.is_over:
                    with WATCHING:
                        self._exchange.close()

    return Tee


def _sync_replay(module: ModuleType) -> type["_Replay"]:
    class Replay(_Replay, module.SyncByteStream):  # type: ignore[misc, name-defined]  # as above
        def __iter__(self) -> Iterator[bytes]:
            yield self.content

        def close(self) -> None:
            self._stream.close()

    return Replay


def _async_tee(module: ModuleType) -> type["_Tee"]:
    class Tee(_Tee, module.AsyncByteStream):  # type: ignore[misc, name-defined]  # the base is known at run time only
        async def __aiter__(self) -> AsyncIterator[bytes]:
            see, hide = self._exchange.chunk, self._hiding
            stream = self._stream.__aiter__()
            try:
                async for chunk in stream:
                    try:
                        see(chunk)
                    except Exception as error:  # noqa: BLE001  ours alone: the guard, without its cost
                        WATCHING.absorb(error)
                    if hide is None:
                        yield chunk
                    elif shown := hide.feed(chunk):
                        yield shown
                if hide is not None and (shown := hide.end()):
                    yield shown
            except GeneratorExit:
                raise  # aclose() or the destructor tells why
            except BaseException as error:
                with WATCHING:
                    self._exchange.fail(error)
                raise
            finally:
                # As httpx2 does: a generator left behind would be closed by the event loop, some time.
                if (aclose := getattr(stream, "aclose", None)) is not None:
                    await aclose()
            with WATCHING:
                self._exchange.finish(StreamExit.COMPLETE)

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                if not self._exchange.is_over:
                    with WATCHING:
                        self._exchange.close()

    return Tee


def _async_replay(module: ModuleType) -> type["_Replay"]:
    class Replay(_Replay, module.AsyncByteStream):  # type: ignore[misc, name-defined]  # as above
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield self.content

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Replay


class _Around:
    """Something around a response's byte stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        # httpx2 keeps `elapsed` on its own stream, and reads it through the response's.
        if name == "_stream":
            raise AttributeError(name)
        return getattr(self._stream, name)


class _Tee(_Around):
    """A response's byte stream that shows its bytes to an exchange as the application takes them."""

    def __init__(self, stream: Any, exchange: Exchange, hide: Hiding | None) -> None:
        super().__init__(stream)
        self._exchange = exchange
        self._hiding = hide

    def __del__(self) -> None:
        # __init__ may have failed, and then there is nothing to finish.
        if (exchange := self.__dict__.get("_exchange")) is not None and not exchange.is_over:
            with WATCHING:
                exchange.finish(StreamExit.ABANDONED)


class _Replay(_Around):
    """A response's byte stream that has been read, and will be read again by the application."""

    def __init__(self, stream: Any, content: bytes) -> None:
        super().__init__(stream)
        self.content = content


class _Call:
    """A request on its way."""

    __slots__ = ("_observer", "asks", "exchange", "outgoing", "request")

    def __init__(self, observer: Observer, request: Any) -> None:
        self._observer = observer
        self.request = request
        """The application's, which stays as it is."""
        self.outgoing = request
        """What is sent: a copy where it differs."""
        self.exchange: Exchange | None = None
        self.asks = False
        """True where it asks for the usage of a stream and the application's does not."""

    def prepare(self) -> bool:
        """Find out what to do; false when there is nothing to."""
        request = self.request
        url = request.url
        host = url.host
        if request.method == "POST":
            port = url.port or (443 if url.scheme == "https" else 80)
            self.exchange = self._observer.begin(host, port, url.path, _body(request), request.headers)
        if self._observer.must_strip(self.exchange, host, request.headers):
            self.outgoing = _without_metadata(request)
        asking = None if self.exchange is None else self._observer.ask_usage(self.exchange)
        if asking is not None and may_change(request.headers):
            self.outgoing = _asking(self.outgoing, asking)
            self.asks = True
        return self.exchange is not None or self.outgoing is not request

    def was_refused(self, response: Any, content: bytes) -> bool:
        """True when `response` with the body `content` refuses what we asked: then `outgoing` does not ask any more."""
        with protect("looking at a refusal"):
            if not is_refusal(content, response.headers.get("content-encoding") or ""):
                return False
            self._observer.never_ask(self.request.url.host)
            self.asks = False
            self.outgoing = self.request
            if self._observer.must_strip(self.exchange, self.request.url.host, self.request.headers):
                self.outgoing = _without_metadata(self.request)
            return True
        return False


def _begin(request: Any) -> _Call | None:
    """What is to be done with `request`; `None` for nothing at all."""
    observer = watcher()
    if observer is None:
        return None
    call = _Call(observer, request)
    try:
        return call if call.prepare() else None
    except Exception as error:  # noqa: BLE001  ours alone: the guard, without its cost
        _LOOKING.absorb(error)
    return call if call.exchange is not None else None


def _body(request: Any) -> bytes:
    """The body of `request`, of a form its texts as JSON; empty for one that is read as it is sent."""
    # `content` is not there in a request made by following a redirect, but its stream is the bytes all the same.
    body = request.__dict__.get("_content") or getattr(request.stream, "_stream", b"")
    if isinstance(body, bytes) and body:
        return body
    fields = getattr(request.stream, "fields", None)  # of a form, which is made as it is sent
    return write_fields(_texts(fields)) if isinstance(fields, list) else b""


def _texts(fields: list[Any]) -> Iterator[tuple[str, str]]:
    """The fields of a form that are no files: those keep what they send as `file`, and may have no name for it."""
    for field in fields:
        value = getattr(field, "value", None)
        if value is None and not getattr(field, "filename", None):
            value = getattr(field, "file", None)
        if isinstance(value, (str, bytes)) and len(value) <= MAX_FIELDS_BYTES:
            yield field.name, value if isinstance(value, str) else value.decode("utf-8", "replace")


def _copy(request: Any, headers: list[tuple[bytes, bytes]]) -> Any:
    outgoing = object.__new__(type(request))
    outgoing.__dict__.update(request.__dict__)
    outgoing.headers = type(request.headers)(headers)
    return outgoing


def _without_metadata(request: Any) -> Any:
    """A copy of `request` without the headers that were understood; the application's own stays as it is."""
    return _copy(request, [(name, value) for name, value in request.headers.raw if not is_honoured(name)])


def _asking(request: Any, body: bytes) -> Any:
    """A copy of `request` with another body, to be answered without content coding: what is hidden must be found."""
    outgoing = _copy(request, request.headers.raw)
    outgoing.headers["content-length"] = str(len(body))
    outgoing.headers["accept-encoding"] = "identity"
    outgoing.stream = type(request.stream)(body)
    outgoing.__dict__["_content"] = body
    return outgoing


def _fail(call: _Call, error: BaseException) -> None:
    """Record `error`, and have it show the application the request that it made, not our copy of it."""
    with protect("looking at a failure"):
        if call.outgoing is not call.request and error.__dict__.get("_request") is call.outgoing:
            error.__dict__["_request"] = call.request
        if call.exchange is not None:
            call.exchange.fail(error)


def _observe(call: _Call, response: Any, tee: type[_Tee]) -> None:
    """Follow `response`; where that fails, the exchange is over as far as can be told."""
    try:
        response.request = call.request
        if call.exchange is not None:
            _follow(call.exchange, call.asks, response, tee)
    except Exception as error:  # noqa: BLE001  as above
        _FOLLOWING.absorb(error)
    else:
        return
    with protect("giving up on a response"):
        if call.exchange is not None:
            call.exchange.finish(StreamExit.ABANDONED)


def _follow(exchange: Exchange, asked: bool, response: Any, tee: type[_Tee]) -> None:
    """Watch the stream of `response` as the application reads it, or its content where that is already here."""
    if not exchange.wants_body:
        exchange.finish(StreamExit.COMPLETE)
    elif response.is_stream_consumed:
        # Made in memory, as mock transports do.
        exchange.respond(response.status_code, response.headers.raw, decoded=True)
        exchange.chunk(response.content)
        exchange.finish(StreamExit.COMPLETE)
    else:
        exchange.respond(response.status_code, response.headers.raw)
        hide = _hidden(response) if asked else None
        response.stream = tee(response.stream, exchange, hide)


def _hidden(response: Any) -> Hiding | None:
    """What hides the usage of `response` from the application, where it is a stream of events."""
    headers = response.headers
    hide = hiding(headers.get("content-type") or "", headers.get("content-encoding") or "")
    if hide is not None and hide.decodes:
        # Asked for none, the server used one all the same: the application gets the body without it.
        for name in ("content-encoding", "content-length"):
            headers.pop(name, None)
    return hide
