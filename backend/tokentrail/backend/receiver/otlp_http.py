"""OTLP/HTTP and everything else the backend answers over HTTP, as a bare ASGI callable.

    POST /v1/traces                   application/x-protobuf or application/json; gzip or identity
    GET  /metrics                     for Prometheus
    GET  /healthz  /readyz            the process lives; it can store spans
    GET  /api/...                     the query API
    POST /api/reprice                 changes costs that are stored; with the header `Tokentrail-Confirm: reprice`
    GET  /                            what this is

https://opentelemetry.io/docs/specs/otlp/#otlphttp. Errors of `/v1/...` are a `google.rpc.Status` in the request's
encoding; all others are plain text.

There are no keys yet, so a browser on this machine must not be made a way in. A page of another site cannot send the
header: a browser asks first whether it may (CORS), and nothing here says yes. A name that was made to point here (DNS
rebinding) comes as the Host header, and `/api` answers to names of this machine only.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from tokentrail.backend.config import is_loopback
from tokentrail.backend.ingest.pipeline import Pipeline
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.backend.receiver.answer import Answer, RpcCode, UnsupportedMediaError, answer_to
from tokentrail.backend.receiver.body import Disconnected, Receive, gunzip, read_body
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.receiver.reply import export_response, status_body

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)

_TRANSPORT: Final = "http"
_TEXT: Final = "text/plain; charset=utf-8"
_LATER: Final = {"/v1/logs": "OTEL_LOGS_EXPORTER", "/v1/metrics": "OTEL_METRICS_EXPORTER"}
_SCRAPE_TIMEOUT: Final = b"x-prometheus-scrape-timeout-seconds"
"""Sent by Prometheus with every scrape, and by those that scrape in its place."""
_API: Final = "/api/"
_REPRICE: Final = "/api/reprice"
_CONFIRM: Final = b"tokentrail-confirm"
"""The header that a change must carry, with the last part of its path as value."""
_INLINE_GUNZIP_BYTES: Final = 16 * 1024
"""Up to here decompressing on the event loop is cheaper than handing it to a thread."""
_HOME: Final = """Tokentrail backend

POST /v1/traces    OTLP/HTTP: set OTEL_EXPORTER_OTLP_ENDPOINT to this address
GET  /api/requests model calls, newest first, one JSON object a line
GET  /api/totals   their totals
GET  /api/unpriced calls without a price, and why
GET  /api/reprice  what they would cost by the price lists of now
GET  /metrics      for Prometheus
GET  /healthz      the process is alive
GET  /readyz       it can store spans
"""
_UNCONFIRMED: Final = b"A POST changes what is stored: confirm it with the header Tokentrail-Confirm: reprice\n"
_OTHER_HOST: Final = """The Host header of this request is no name of this machine.

The API answers to localhost, 127.0.0.1 and [::1] only, as long as there are no keys: otherwise any web site could have
your browser read it, under a name that it points here.
"""


class ApiResponse(Protocol):
    """What the query API answers."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def content_type(self) -> str:
        """Content type of the body."""

    @property
    def body(self) -> bytes:
        """The whole body."""


@dataclass(frozen=True, slots=True)
class Pages:
    """What the GET paths show. The functions block, each is called in a thread; none raises."""

    metrics: Callable[[str, str], tuple[bytes, str]]
    """The metrics for an Accept header and a scraper (`registry.Metrics.expose`), as text and its content type."""
    not_ready: Callable[[], str | None]
    """Why no span can be stored now, `None` when it can."""
    api: Callable[[str, Mapping[str, str]], ApiResponse]
    """The query API's answer to a path and its parameters."""
    change: Callable[[str, Mapping[str, str]], ApiResponse]
    """The same for a POST, which changes what is stored."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    content_type: str = _TEXT
    headers: tuple[tuple[bytes, bytes], ...] = ()


class HttpApp:
    """The ASGI application."""

    def __init__(self, pipeline: Pipeline, own: OwnMetrics, pages: Pages, max_body_bytes: int):
        self._pipeline, self._own, self._pages = pipeline, own, pages
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            reply = await self._export(scope, receive) if scope["path"] == "/v1/traces" else await self._page(scope)
        except Disconnected:
            return
        headers = [
            (b"content-type", reply.content_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _export(self, scope: Scope, receive: Receive) -> _Reply:
        if scope["method"] != "POST":
            return _wrong_method("POST")
        headers: dict[bytes, bytes] = dict(scope["headers"])
        content_type = _content_type(headers)
        encoding = Encoding.JSON if content_type == Encoding.JSON else Encoding.PROTOBUF
        try:
            _require_known(content_type, [*Encoding], "content-type")
            body = await self._body(headers, receive)
            stored = await self._pipeline.submit(body, encoding)
            reply = _Reply(200, export_response(stored.rejected, encoding), encoding)
        except Disconnected:
            self._own.answered(_TRANSPORT, "disconnected")
            raise
        except Exception as error:  # noqa: BLE001  # every failure has an answer, and none ends the connection
            reply = _failure(error, encoding)
        self._own.answered(_TRANSPORT, str(reply.status))
        return reply

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        coding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
        _require_known(coding, ["gzip", "identity"], "content-encoding")
        declared = headers.get(b"content-length", b"")
        declared_bytes = int(declared) if declared.isdigit() else None
        body = await read_body(receive, declared_bytes, self._max_body_bytes)
        if coding == "identity":
            return body
        if len(body) <= _INLINE_GUNZIP_BYTES:
            return gunzip(body, self._max_body_bytes)
        return await asyncio.to_thread(gunzip, body, self._max_body_bytes)

    async def _page(self, scope: Scope) -> _Reply:
        path = scope["path"]
        if variable := _LATER.get(path):
            return _not_accepted_yet(path, variable, _content_type(dict(scope["headers"])))
        if path.startswith(_API):
            return await self._api(scope, path)
        known = path in ("/", "/healthz", "/readyz", "/metrics")
        if known and scope["method"] not in ("GET", "HEAD"):
            return _wrong_method("GET, HEAD")
        if path == "/":
            return _Reply(200, _HOME.encode())
        if path == "/healthz":
            return _Reply(200, b"ok\n")
        if path == "/readyz":
            reason = await asyncio.to_thread(self._pages.not_ready)
            return _Reply(200, b"ready\n") if reason is None else _Reply(503, f"not ready: {reason}\n".encode())
        if path == "/metrics":
            accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
            return _Reply(200, *await asyncio.to_thread(self._pages.metrics, accept, _scraper(scope)))
        return _Reply(404, f"There is nothing at {path}. GET / says what there is.\n".encode("utf-8", "replace"))

    async def _api(self, scope: Scope, path: str) -> _Reply:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not _is_for_this_machine(headers):
            return _Reply(403, _OTHER_HOST.encode())
        methods = "GET, HEAD, POST" if path == _REPRICE else "GET, HEAD"
        if scope["method"] not in methods.split(", "):
            return _wrong_method(methods)
        change = scope["method"] == "POST"
        if change and headers.get(_CONFIRM, b"").strip() != path.rpartition("/")[2].encode():
            return _Reply(403, _UNCONFIRMED)
        parameters = dict(parse_qsl(scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True))
        answer = await asyncio.to_thread(self._pages.change if change else self._pages.api, path, parameters)
        return _Reply(answer.status, answer.body, answer.content_type)


def _is_for_this_machine(headers: Mapping[bytes, bytes]) -> bool:
    """True when the Host header names this machine, whatever the port: tunnels have one of their own."""
    try:
        host = urlsplit("//" + headers.get(b"host", b"").decode("latin-1").strip()).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host.removesuffix("."))


def _scraper(scope: Scope) -> str:
    """Who scrapes, where that is a Prometheus server or does as one; empty for everybody else."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if _SCRAPE_TIMEOUT not in headers:
        return ""
    host, _ = scope.get("client") or ("", 0)
    return f"{host} {headers.get(b'user-agent', b'').decode('latin-1')[:100]}"


def _content_type(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()


def _require_known(value: str, known: list[str], header: str) -> None:
    if value not in known:
        raise UnsupportedMediaError(f"{header} {value[:100]!r} is not supported; accepted are {' and '.join(known)}")


def _wrong_method(allowed: str) -> _Reply:
    message = f"Method not allowed here; allowed: {allowed}.\n"
    return _Reply(405, message.encode(), headers=((b"allow", allowed.encode()),))


def _failure(error: Exception, encoding: Encoding) -> _Reply:
    answer = answer_to(error)
    if answer.http_status == 500:  # the one status that is a fault of the backend
        _log.error("an export request failed", exc_info=error)
    return _status_reply(answer, encoding)


def _status_reply(answer: Answer, encoding: Encoding) -> _Reply:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if answer.retry_after_s is not None:
        headers = ((b"retry-after", str(math.ceil(answer.retry_after_s)).encode()),)
    return _Reply(answer.http_status, status_body(answer, encoding), encoding, headers)


def _not_accepted_yet(path: str, variable: str, content_type: str) -> _Reply:
    what = path.rpartition("/")[2]
    message = f"This backend does not accept {what} yet. Set {variable}=none in the application."
    encoding = Encoding.JSON if content_type == Encoding.JSON else Encoding.PROTOBUF
    return _status_reply(Answer(404, RpcCode.UNIMPLEMENTED, message), encoding)
