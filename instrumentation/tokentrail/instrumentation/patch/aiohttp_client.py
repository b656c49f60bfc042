"""The hook on `aiohttp`, the client of google-genai's asynchronous calls, of aiobotocore and of LiteLLM.

    ClientSession._request     an application's call: the exchange begins before anybody's tracing of aiohttp does
    BaseConnector.connect      a request on the wire: one more exchange when the call is redirected, or a middleware
                               (3.12) sends it again
    ClientRequest.send         takes off the headers that are not for the provider
    ResponseHandler.set_response_params    notes what the connection is told, for a request that is sent once more
    ClientResponse.start       the headers of the response are here: from now on `_aiohttp_body.py` follows its body
    ClientResponse.close       so does `release`: the application has done with the response

Some of these names are private; all have kept their shape from aiohttp 3.9 to 3.14 (read November 2026). Where one is
missing nothing is hooked and a warning says so.
"""

import contextvars
import functools
import io
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, Final

from tokentrail.instrumentation.exchange import Exchange
from tokentrail.instrumentation.framing.multipart import write_fields
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.headers import is_honoured
from tokentrail.instrumentation.observer import Observer
from tokentrail.instrumentation.patch import _aiohttp_body, _aiohttp_usage
from tokentrail.instrumentation.patch._base import WATCHING, enter, leave, watcher
from tokentrail.semconv.genai import StreamExit

logger = logging.getLogger(__name__)

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "ClientSession": ("_request", "_build_url", "_prepare_headers"),
    "BaseConnector": ("connect",),
    "ClientRequest": ("send",),
    "ClientResponse": ("start", "close", "release"),
    "StreamReader": _aiohttp_body.METHODS,
}
_SCHEMES: Final = frozenset({"http", "https"})
_SIGNED: Final = "aws4-"
"""How the `authorization` of a signed request begins: its signature covers the headers, so that they must stay."""


class AiohttpPatch:
    """The hook."""

    modules: tuple[str, ...] = ("aiohttp",)

    def hook(self, module: ModuleType) -> None:
        """Hook the session, the connector, the request and the response of `module`."""
        if not _is_known(module):
            version = getattr(module, "__version__", "of this version")
            logger.warning("%s %s is not supported: its calls are not seen", module.__name__, version)
            return
        session, response = module.ClientSession, module.ClientResponse
        _aiohttp_body.watched(module.StreamReader)  # made here rather than under the first response
        # Wrapped from within: a call that is under way while this happens finds nothing of ours, or all of it.
        response.close = _closing(response.close)
        response.release = _closing(response.release)
        response.start = _start(response.start)
        asked = module.payload.BytesPayload if _aiohttp_usage.can_ask(module) else ()
        module.ClientRequest.send = _send(module.ClientRequest.send, asked)
        module.BaseConnector.connect = _connect(module.BaseConnector.connect)
        if asked:
            handler = module.client_proto.ResponseHandler
            handler.set_response_params = _set_response_params(handler.set_response_params)
        session._request = _request(module, session._request)  # noqa: SLF001


def _is_known(module: ModuleType) -> bool:
    for class_name, names in _NEEDED.items():
        if any(name not in vars(getattr(module, class_name)) for name in names):
            return False
    return _aiohttp_body.STATE.issubset(module.StreamReader.__init__.__code__.co_names)


# One call of the application, and the requests that it takes ------------------------------------------------------


class _Call:
    """A call of `ClientSession._request` that is a model call."""

    __slots__ = ("_follows", "_is_decoded", "_is_sent", "_observer", "_outside", "error", "exchange", "sending")

    def __init__(self, observer: Observer, exchange: Exchange, is_decoded: bool, body: bytes) -> None:
        self._observer = observer
        self.sending = _aiohttp_usage.Sending(observer, body)
        self._is_decoded = is_decoded
        self._outside = contextvars.copy_context()
        """The context of the application, in which no request is under way yet."""
        self._is_sent = self._follows = False
        self.exchange: Exchange | None = exchange
        """Of the request at hand; `None` when that is no model call."""
        self.error: BaseException | None = None
        """How the request at hand failed: aiohttp may make another error of it before the application gets it."""

    def start_request(self, request: Any) -> None:
        """`request` is about to be sent: the one that the call is, or one that follows from the response to that."""
        if not self._is_sent:
            self._is_sent = True
            return
        self._finish(self.error)
        self.exchange, self.error, self._follows = None, None, False
        if request.method == "POST":
            url, body, headers = request.url, _body(request.body), _Headers(request.headers)
            self.sending = _aiohttp_usage.Sending(self._observer, body)
            begin = self._observer.begin
            self.exchange = self._outside.run(begin, url.host or "", url.port, url.path, body, headers)

    def follow(self, response: Any) -> None:
        """Follow `response`, which is that to the request at hand."""
        self._is_sent = True
        if self.exchange is not None:
            _aiohttp_body.follow(self.exchange, response, self._is_decoded)
            self._follows = True
            if self.sending.is_asking:
                _aiohttp_usage.hide(self.exchange, response, self._is_decoded)

    async def was_refused(self, response: Any) -> bool:
        """True when `response` refuses what we asked, so that the request is to be sent as it was."""
        with protect("looking at a refusal"):
            if self.exchange is not None and response.method == "POST":
                return await self.sending.was_refused(response, self.exchange, self._is_decoded)
        return False

    def end(self, error: BaseException | None) -> None:
        """The call has given a response, or `error`. A pooled connection keeps the context, and so this: empty it."""
        self.error = None
        self.sending.forget()
        if self._is_sent:
            self._finish(error)
        elif self.exchange is not None:
            # Nothing went over the wire: a middleware answered, or something failed before.
            self.exchange.disown()
            self._observer.forget(self.exchange)
        self.exchange = None

    def _finish(self, error: BaseException | None) -> None:
        """Nothing more comes of the request at hand than what is followed."""
        if self.exchange is None:
            return
        if error is not None:
            self.exchange.fail(error)
        elif not self._follows:
            self.exchange.finish(StreamExit.ABANDONED)


_current: Final[contextvars.ContextVar[_Call | None]] = contextvars.ContextVar("tokentrail-aiohttp-call", default=None)
"""The call that a request belongs to, where that is a model call."""


def _request(module: ModuleType, original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def request(session: Any, method: str, str_or_url: Any, **kwargs: Any) -> Any:
        call: _Call | None = None
        with protect("looking at a request"):
            call = _begin(module, session, method, str_or_url, kwargs)
        if call is None and _current.get() is None:
            return await original(session, method, str_or_url, **kwargs)
        exchange = None if call is None else call.exchange
        mark = _current.set(call)  # also of none: a middleware of a model call may ask for a token, say
        token = enter(exchange)
        error: BaseException | None = None
        try:
            return await original(session, method, str_or_url, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            leave(exchange, token)
            with protect("looking at the end of a call"):
                if call is not None:
                    call.end(error)
            error = None  # it holds this frame
            with suppress(ValueError, RuntimeError):  # a coroutine left behind is closed in another context
                _current.reset(mark)

    return request


def _begin(module: ModuleType, session: Any, method: str, str_or_url: Any, kwargs: dict[str, Any]) -> _Call | None:
    """What a call is to us; `None` for nothing. Puts its JSON into `kwargs` as aiohttp would: encoded, but once."""
    observer = watcher()
    if observer is None or (method != "POST" and str(method).upper() != "POST"):
        return None
    url = _url(session, str_or_url)
    if url is None or not url.host or url.scheme not in _SCHEMES:
        return None
    if kwargs.get("json") is not None and kwargs.get("data") is None:
        _encode_json(module, session, kwargs)
    headers = _Headers(kwargs.get("headers"), session)
    decodes = kwargs.get("auto_decompress")
    is_decoded = bool(session.auto_decompress if decodes is None else decodes)
    body = _body(kwargs.get("data"))
    exchange = observer.begin(url.host, url.port, url.path, body, headers)
    return None if exchange is None else _Call(observer, exchange, is_decoded, body)


def _url(session: Any, str_or_url: Any) -> Any:
    """Where a call goes, `None` where aiohttp is going to refuse it."""
    try:
        return session._build_url(str_or_url)  # noqa: SLF001
    except (ValueError, TypeError, AssertionError):
        return None


def _encode_json(module: ModuleType, session: Any, kwargs: dict[str, Any]) -> None:
    """Have the JSON of a call as a payload, whose bytes are known."""
    dumps_bytes = getattr(session, "_json_serialize_bytes", None)  # since 3.14
    try:
        if dumps_bytes is None:
            encoded = module.payload.JsonPayload(kwargs["json"], dumps=session.json_serialize)
        else:
            encoded = module.payload.JsonBytesPayload(kwargs["json"], dumps=dumps_bytes)
    except (TypeError, ValueError, RecursionError):
        return  # aiohttp will say so
    kwargs["data"] = encoded
    kwargs["json"] = None


def _body(data: object) -> bytes:
    """The body of a request; empty for one that is read as it is sent, or made of parts: it must not be read before."""
    value = getattr(data, "_value", data)  # of a payload
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if type(value) is io.BytesIO and not value.closed:
        return value.getvalue()[value.tell() :]
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    fields = getattr(data, "_fields", None)  # of a form, which is made as it is sent
    return write_fields(_texts(fields)) if isinstance(fields, list) else b""


def _texts(fields: list[Any]) -> Iterator[tuple[str, str]]:
    """The fields of a form that are no files: each is what it is called by, headers, and its value."""
    for options, _, value in fields:
        if isinstance(value, str) and "filename" not in options:
            yield options["name"], value


class _Headers:
    """Request headers, with the session's where these are only to be added."""

    __slots__ = ("_headers", "_session")

    def __init__(self, headers: Any, session: Any = None) -> None:
        self._headers = headers
        self._session = session

    @property
    def raw(self) -> Iterable[tuple[bytes, bytes]]:
        """Names and values as they will be sent."""
        return [(name.encode(), str(value).encode("utf-8", "replace")) for name, value in self._all().items()]

    @property
    def are_signed(self) -> bool:
        """True when a signature covers them."""
        return str(self._all().get("authorization") or "")[: len(_SIGNED)].lower() == _SIGNED

    def get(self, name: str, /) -> str | None:
        """A value by its lower-case name."""
        value: str | None = self._all().get(name)
        return value

    def _all(self) -> Any:
        if self._session is None:
            return self._headers
        # Any other iterable could be read but once.
        known = self._headers if isinstance(self._headers, (Mapping, list, tuple)) else None
        return self._session._prepare_headers(known)  # noqa: SLF001


def _connect(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def connect(connector: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
        call = _current.get()
        if call is None:
            return await original(connector, req, *args, **kwargs)
        with protect("looking at a request"):
            call.start_request(req)
            call.sending.connect = functools.partial(original, connector, req, *args, **kwargs)
        try:
            return await original(connector, req, *args, **kwargs)
        except BaseException as error:
            call.error = error
            raise

    return connect


def _set_response_params(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def set_response_params(handler: Any, **kwargs: Any) -> Any:
        if (call := _current.get()) is not None:
            call.sending.parameters = kwargs
        return original(handler, **kwargs)

    return set_response_params


def _send(original: Callable[..., Awaitable[Any]], asked: Any) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def send(request: Any, *args: Any, **kwargs: Any) -> Any:
        before: list[tuple[str, str]] | None = None
        outgoing = call = None
        with protect("taking metadata off a request"):
            before = _take_off_metadata(request)
        with protect("asking for the usage of a stream"):
            call = _current.get()
            if call is not None and call.exchange is not None and request.method == "POST":
                outgoing = call.sending.asking(request, call.exchange, asked, _Headers(request.headers))
        if before is None and outgoing is None:
            return await original(request, *args, **kwargs)
        try:
            response = await original(request if outgoing is None else outgoing, *args, **kwargs)
            with protect("giving back a request"):
                if outgoing is not None and call is not None:
                    call.sending.give_back(outgoing, response)
            return response
        finally:
            with protect("giving back what was taken off a request"):
                if before is not None:
                    headers = request.headers
                    added = [item for item in headers.items() if item not in before]
                    headers.clear()
                    headers.extend([*before, *added])

    return send


def _take_off_metadata(request: Any) -> list[tuple[str, str]] | None:
    """Take the headers that were understood off `request` while it is sent; all it had before, if there were any.

    The response shows the application these same headers as those of its request: they must be put back.
    """
    observer = watcher()
    if observer is None:
        return None
    call, seen = _current.get(), _Headers(request.headers)
    exchange = call.exchange if call is not None and request.method == "POST" else None
    if not observer.must_strip(exchange, request.url.host or "", seen) or seen.are_signed:
        return None
    before = list(request.headers.items())
    for name in {name for name, _ in before if is_honoured(name.encode())}:
        request.headers.popall(name, None)
    return before


# The response -----------------------------------------------------------------------------------------------------


def _start(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def start(response: Any, *args: Any, **kwargs: Any) -> Any:
        call = _current.get()
        if call is None:
            return await original(response, *args, **kwargs)
        try:
            started = await original(response, *args, **kwargs)
            if await call.was_refused(response):
                await call.sending.again(response, original)
        except BaseException as error:
            call.error = error
            raise
        if response.method == "POST":  # the other one is a proxy's, asked for a tunnel
            with protect("looking at a response"):
                call.follow(response)
        return started

    return start


def _closing(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def close(response: Any) -> Any:
        try:
            return original(response)
        finally:
            with WATCHING:
                _aiohttp_body.close(response)

    return close
