"""OTLP/gRPC: a generic handler on raw bytes, so that the same decoder reads both transports.

The only door to gRPC. `RetryInfo` travels twice: in `grpc-status-details-bin`, where the specification has it, and in
`google.rpc.retryinfo-bin`, the only place where the Python exporter (1.45) looks.

A message above the limit is refused by gRPC itself, with RESOURCE_EXHAUSTED. A unary handler would never hear of it, so
the call is served as a stream of requests, which is the same on the wire: then it begins, and ends without a message.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NoReturn, TypeAlias

import grpc
import grpc.aio

from tokentrail.backend.access.caller import Caller, Right
from tokentrail.backend.access.errors import AccessError
from tokentrail.backend.access.gate import Gate
from tokentrail.backend.access.tls import Material, Tls
from tokentrail.backend.ingest.pipeline import Pipeline
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.backend.receiver.answer import Answer, RequestTimeoutError, answer_to
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.receiver.reply import export_response, retry_info, rpc_status
from tokentrail.backend.signals import Signal

_log = logging.getLogger(__name__)

_Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
_Handler: TypeAlias = Callable[[AsyncIterator[bytes], _Context], Awaitable[bytes]]

_TRANSPORT: Final = "grpc"
_COLLECTOR: Final = "opentelemetry.proto.collector"
_STATUS_OF: Final = {status.value[0]: status for status in grpc.StatusCode}


class _WithoutHangUps(logging.Filter):
    """Keeps gRPC from reporting a sender that hung up before its answer as a failure of ours, with a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "ExecuteBatchError" not in record.getMessage()


_WITHOUT_HANG_UPS: Final = _WithoutHangUps()


class ListenError(Exception):
    """The address is taken, or not one of this machine's."""


class GrpcReceiver:
    """The gRPC server. `start` once, then `stop`; all on one event loop."""

    def __init__(
        self,
        pipeline: Pipeline,
        own: OwnMetrics,
        gate: Gate,
        max_message_bytes: int,
        timeout_s: float,
        tls: Tls | None = None,
    ):
        self._pipeline, self._own, self._gate, self._tls = pipeline, own, gate, tls
        self._timeout_s = timeout_s
        timeout_ms = int(timeout_s * 1000)
        logging.getLogger("grpc._cython.cygrpc").addFilter(_WITHOUT_HANG_UPS)
        options = [
            ("grpc.max_receive_message_length", max_message_bytes),
            # Two backends on one port would share its calls at random; the second one is to fail instead.
            ("grpc.so_reuseport", 0),
            # Connections that do not begin, and those whose other side is gone: without a word, or without a ping.
            ("grpc.server_handshake_timeout_ms", timeout_ms),
            ("grpc.keepalive_time_ms", timeout_ms),
            ("grpc.keepalive_timeout_ms", timeout_ms),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.ping_timeout_ms", timeout_ms),
            # Clients may ping as often as they like: an answer is cheap, and refusing costs them their connection.
            ("grpc.http2.min_ping_interval_without_data_ms", 1000),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers(
            (
                _service(f"{_COLLECTOR}.trace.v1.TraceService", self._admitted(Signal.TRACES)),
                _service(f"{_COLLECTOR}.logs.v1.LogsService", self._admitted(Signal.LOGS)),
                _service(f"{_COLLECTOR}.metrics.v1.MetricsService", self._admitted(Signal.METRICS)),
            )
        )

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is another than `port` when that is 0. Raises `ListenError`."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, _credentials(self._tls))
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {address}") from error
        if not bound:
            raise ListenError(f"cannot listen on {address}")
        await self._server.start()
        return bound

    async def stop(self, grace_s: float) -> None:
        """Take no new call; wait at most `grace_s` for those in progress, then cancel them."""
        await self._server.stop(grace_s)

    def _admitted(self, signal: Signal) -> _Handler:
        """Takes `signal`, behind the gate: every method of this server is, and none reads a message before."""

        async def handle(bodies: AsyncIterator[bytes], context: _Context) -> bytes:
            try:
                caller = self._gate.admit(_authorization(context), Right.INGEST)
            except AccessError as error:
                answer = answer_to(error)
                self._own.answered(_TRANSPORT, _STATUS_OF[answer.rpc_code].name)
                await _abort(context, answer)
            return await self._export(bodies, context, caller, signal)

        return handle

    async def _export(self, bodies: AsyncIterator[bytes], context: _Context, caller: Caller, signal: Signal) -> bytes:
        try:
            body = await self._read(bodies)
            if body is None:
                return self._refused_by_grpc()
            stored = await self._pipeline.submit(body, Encoding.PROTOBUF, caller.own_project, signal)
        except Exception as error:  # noqa: BLE001  # every failure has an answer
            answer = answer_to(error)
            if answer.http_status == 500:  # the one status that is a fault of the backend
                _log.error("an export request failed", exc_info=error)
            self._own.answered(_TRANSPORT, _STATUS_OF[answer.rpc_code].name)
            await _abort(context, answer)
        self._own.answered(_TRANSPORT, grpc.StatusCode.OK.name)
        return export_response(stored.rejected, Encoding.PROTOBUF, signal)

    async def _read(self, bodies: AsyncIterator[bytes]) -> bytes | None:
        """The message, `None` where gRPC has refused it. Raises `RequestTimeoutError`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await anext(aiter(bodies), None)
        except TimeoutError as error:
            raise RequestTimeoutError(self._timeout_s) from error

    def _refused_by_grpc(self) -> bytes:
        """Count a call whose message gRPC refused; it has answered already, and drops what is returned."""
        self._own.answered(_TRANSPORT, grpc.StatusCode.RESOURCE_EXHAUSTED.name)
        return b""


def _service(name: str, handler: _Handler) -> grpc.GenericRpcHandler:
    # Without a deserializer and a serializer the handler gets and gives bytes.
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Export": grpc.stream_unary_rpc_method_handler(handler)}
    return grpc.method_handlers_generic_handler(name, methods)


def _authorization(context: _Context) -> list[bytes]:
    """The values of `authorization`, which gRPC gives by lower-case names."""
    values = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
    return [value if isinstance(value, bytes) else value.encode("utf-8", "replace") for value in values]


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Credentials that are looked at for each connection."""

    def current() -> grpc.ServerCertificateConfiguration:
        return _configuration(tls.current())

    return grpc.dynamic_ssl_server_credentials(
        current(), current, require_client_authentication=tls.files.client_ca is not None
    )


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    pair = (material.key, material.certificate)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=material.client_ca)


async def _abort(context: _Context, answer: Answer) -> NoReturn:
    metadata: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", rpc_status(answer).SerializeToString())]
    if answer.retry_after_s is not None:
        metadata.append(("google.rpc.retryinfo-bin", retry_info(answer.retry_after_s).SerializeToString()))
    await context.abort(_STATUS_OF[answer.rpc_code], answer.message, tuple(metadata))
