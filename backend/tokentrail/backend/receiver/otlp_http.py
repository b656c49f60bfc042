"""OTLP/HTTP and everything else the backend answers over HTTP, as a bare ASGI callable.

    POST /v1/traces, /v1/logs, /v1/metrics    application/x-protobuf or application/json; gzip, deflate, zstd or none
    GET  /metrics                     for Prometheus
    GET  /healthz  /readyz            the process lives; it can store spans
    GET  /api/...                     the query API
    POST /api/reprice                 changes costs that are stored; with the header `Tokentrail-Confirm: reprice`
    POST /clickhouse/                 SQL over ClickHouse's HTTP interface, read-only (`clickhouse_http`)
    GET  /                            what this is

https://opentelemetry.io/docs/specs/otlp/#otlphttp. Errors of `/v1/...` are a `google.rpc.Status` in the request's
encoding; all others are plain text.

Everything but `/`, `/healthz`, `/readyz` and `/clickhouse/ping` goes through the gate before a body is read.

A browser must not be made a way in. A page of another site cannot send the header: a browser asks first whether it may
(CORS), and nothing here says yes. A name that was made to point here (DNS rebinding) comes as the Host header: without
keys `/api` and `/clickhouse` answer to names of this machine only. With keys such a page has none.
"""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from tokentrail.backend.access.caller import Caller, Right
from tokentrail.backend.access.errors import AccessError
from tokentrail.backend.access.gate import Gate
from tokentrail.backend.clickhouse_http.endpoint import SqlEndpoint, is_below
from tokentrail.backend.config import is_loopback
from tokentrail.backend.ingest.pipeline import Pipeline
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.backend.receiver.answer import Answer, UnsupportedMediaError, answer_to
from tokentrail.backend.receiver.body import Disconnected, Receive
from tokentrail.backend.receiver.coding import CODINGS, IDENTITY, decompress
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.receiver.intake import Intake
from tokentrail.backend.receiver.reply import export_response, status_body
from tokentrail.backend.signals import Signal

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)

_TRANSPORT: Final = "http"
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
_SIGNALS: Final = {f"/v1/{signal}": signal for signal in Signal}
_SCRAPE_TIMEOUT: Final = b"x-prometheus-scrape-timeout-seconds"
"""Sent by Prometheus with every scrape, and by those that scrape in its place."""
_SENT: Final = "/v1/"
"""What paths begin with that senders use."""
_OPEN: Final = frozenset({"/", "/healthz", "/readyz"})
"""Paths that need no key."""
_CHALLENGES: Final = (
    (b"www-authenticate", b'Bearer realm="tokentrail"'),
    (b"www-authenticate", b'Basic realm="tokentrail"'),
)
_API: Final = "/api/"
_REPRICE: Final = "/api/reprice"
_CONFIRM: Final = b"tokentrail-confirm"
"""The header that a change must carry, with the last part of its path as value."""
_INLINE_BYTES: Final = 16 * 1024
"""Up to here decompressing on the event loop is cheaper than handing it to a thread."""
_HOME: Final = """Tokentrail backend

POST /v1/traces    OTLP/HTTP: set OTEL_EXPORTER_OTLP_ENDPOINT to this address
POST /v1/logs      the same for log records and events
POST /v1/metrics   the same for metrics
GET  /api/requests model calls, newest first, one JSON object a line
GET  /api/totals   their totals
GET  /api/unpriced calls without a price, and why
GET  /api/reprice  what they would cost by the price lists of now
POST /clickhouse/  SQL, read-only, as ClickHouse's HTTP interface: for Grafana's ClickHouse data source
GET  /metrics      for Prometheus
GET  /healthz      the process is alive
GET  /readyz       it can store what is sent
"""
_UNCONFIRMED: Final = b"A POST changes what is stored: confirm it with the header Tokentrail-Confirm: reprice\n"
_OTHER_HOST: Final = """The Host header of this request is no name of this machine.

What is stored is told to localhost, 127.0.0.1 and [::1] only, as long as there are no keys: otherwise any web site
could have your browser read it, under a name that it points here.
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
    api: Callable[[str, Mapping[str, str], Caller], ApiResponse]
    """The query API's answer to a path and its parameters, for who asks."""
    change: Callable[[str, Mapping[str, str], Caller], ApiResponse]
    """The same for a POST, which changes what is stored."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    content_type: str = _TEXT
    headers: tuple[tuple[bytes, bytes], ...] = ()


class HttpApp:
    """The ASGI application."""

    def __init__(
        self,
        pipeline: Pipeline,
        own: OwnMetrics,
        gate: Gate,
        pages: Pages,
        max_body_bytes: int,
        intake: Intake,
        sql: SqlEndpoint,
    ):
        self._intake, self._sql = intake, sql
        self._pipeline, self._own, self._gate, self._pages = pipeline, own, gate, pages
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            reply = await self._reply(scope, receive)
        except Disconnected:
            return
        headers = [
            (b"content-type", reply.content_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, scope: Scope, receive: Receive) -> _Reply:
        path = scope["path"]
        if path in _OPEN:
            return await self._open_page(scope, path)
        if is_below(path):
            return await self._answer_sql(scope, receive, path)
        try:
            caller = self._gate.admit(_authorization(scope), _right(scope))
        except AccessError as error:
            return self._refused(scope, error)
        if signal := _SIGNALS.get(path):
            return await self._export(scope, receive, caller, signal)
        return await self._page(scope, caller)

    def _refused(self, scope: Scope, error: AccessError) -> _Reply:
        answer = answer_to(error)
        if scope["path"].startswith(_SENT):
            self._own.answered(_TRANSPORT, str(answer.http_status))
            content_type = _content_type(dict(scope["headers"]))
            reply = _status_reply(answer, Encoding.JSON if content_type == Encoding.JSON else Encoding.PROTOBUF)
        else:
            reply = _Reply(answer.http_status, f"{json.dumps({'error': answer.message})}\n".encode(), _JSON)
        return replace(reply, headers=_CHALLENGES) if reply.status == 401 else reply

    async def _export(self, scope: Scope, receive: Receive, caller: Caller, signal: Signal) -> _Reply:
        if scope["method"] != "POST":
            return _wrong_method("POST")
        headers: dict[bytes, bytes] = dict(scope["headers"])
        content_type = _content_type(headers)
        encoding = Encoding.JSON if content_type == Encoding.JSON else Encoding.PROTOBUF
        try:
            _require_known(content_type, [*Encoding], "content-type")
            body = await self._body(headers, receive, self._max_body_bytes)
            stored = await self._pipeline.submit(body, encoding, caller.own_project, signal)
            reply = _Reply(200, export_response(stored.rejected, encoding, signal), encoding)
        except Disconnected:
            self._own.answered(_TRANSPORT, "disconnected")
            raise
        except Exception as error:  # noqa: BLE001  # every failure has an answer, and none ends the connection
            reply = _failure(error, encoding)
        self._own.answered(_TRANSPORT, str(reply.status))
        return reply

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int) -> bytes:
        coding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower() or IDENTITY
        _require_known(coding, [*CODINGS], "content-encoding")
        declared = headers.get(b"content-length", b"")
        declared_bytes = int(declared) if declared.isdigit() else None
        body = await self._intake.read(receive, declared_bytes, max_bytes)
        if coding == IDENTITY or len(body) <= _INLINE_BYTES:
            return decompress(body, coding, max_bytes)
        return await asyncio.to_thread(decompress, body, coding, max_bytes)

    async def _answer_sql(self, scope: Scope, receive: Receive, path: str) -> _Reply:
        headers = dict(scope["headers"])
        if self._gate.is_open and not _is_for_this_machine(headers):
            return _Reply(403, _OTHER_HOST.encode())

        def body() -> Awaitable[bytes]:
            return self._body(headers, receive, self._sql.max_body_bytes)

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        try:
            answer = await self._sql.reply(scope["method"], path, scope["query_string"], scope["headers"], body, gone)
        except (Disconnected, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001  # of the body: too large, too slow, not what it says
            told = answer_to(error)
            if told.http_status == 500:
                _log.error("a request for SQL failed", exc_info=error)
            return _Reply(told.http_status, f"{told.message}\n".encode(), headers=_closing(told))
        return _Reply(answer.status, answer.body, answer.content_type, answer.headers)

    async def _open_page(self, scope: Scope, path: str) -> _Reply:
        if scope["method"] not in ("GET", "HEAD"):
            return _wrong_method("GET, HEAD")
        if path == "/":
            return _Reply(200, _HOME.encode())
        if path == "/healthz":
            return _Reply(200, b"ok\n")
        reason = await asyncio.to_thread(self._pages.not_ready)
        return _Reply(200, b"ready\n") if reason is None else _Reply(503, f"not ready: {reason}\n".encode())

    async def _page(self, scope: Scope, caller: Caller) -> _Reply:
        path = scope["path"]
        if path.startswith(_API):
            return await self._api(scope, path, caller)
        if path == "/metrics":
            if scope["method"] not in ("GET", "HEAD"):
                return _wrong_method("GET, HEAD")
            accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
            return _Reply(200, *await asyncio.to_thread(self._pages.metrics, accept, _scraper(scope)))
        return _Reply(404, f"There is nothing at {path}. GET / says what there is.\n".encode("utf-8", "replace"))

    async def _api(self, scope: Scope, path: str, caller: Caller) -> _Reply:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._gate.is_open and not _is_for_this_machine(headers):
            return _Reply(403, _OTHER_HOST.encode())
        methods = "GET, HEAD, POST" if path == _REPRICE else "GET, HEAD"
        if scope["method"] not in methods.split(", "):
            return _wrong_method(methods)
        change = scope["method"] == "POST"
        if change and headers.get(_CONFIRM, b"").strip() != path.rpartition("/")[2].encode():
            return _Reply(403, _UNCONFIRMED)
        parameters = dict(parse_qsl(scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True))
        answer = await asyncio.to_thread(self._pages.change if change else self._pages.api, path, parameters, caller)
        return _Reply(answer.status, answer.body, answer.content_type)


def _authorization(scope: Scope) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == b"authorization"]


def _right(scope: Scope) -> Right:
    """What a request does. Whatever is not known to be something else is reading."""
    path = scope["path"]
    if path.startswith(_SENT):
        return Right.INGEST
    if path == "/metrics":
        return Right.METRICS
    return Right.READ if scope["method"] in ("GET", "HEAD") else Right.CHANGE


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
        accepted = f"{', '.join(known[:-1])} and {known[-1]}"
        raise UnsupportedMediaError(f"{header} {value[:100]!r} is not supported; accepted are {accepted}")


def _wrong_method(allowed: str) -> _Reply:
    message = f"Method not allowed here; allowed: {allowed}.\n"
    return _Reply(405, message.encode(), headers=((b"allow", allowed.encode()),))


def _failure(error: Exception, encoding: Encoding) -> _Reply:
    answer = answer_to(error)
    if answer.http_status == 500:  # the one status that is a fault of the backend
        _log.error("an export request failed", exc_info=error)
    return _status_reply(answer, encoding)


def _status_reply(answer: Answer, encoding: Encoding) -> _Reply:
    return _Reply(answer.http_status, status_body(answer, encoding), encoding, _closing(answer))


def _closing(answer: Answer) -> tuple[tuple[bytes, bytes], ...]:
    """Headers of a failure: when to come back, and whether the connection ends."""
    if answer.http_status == 408:  # the rest of the body would be taken for the next request
        return ((b"connection", b"close"),)
    if answer.retry_after_s is not None:
        return ((b"retry-after", str(math.ceil(answer.retry_after_s)).encode()),)
    return ()
