"""OTLP/gRPC: a generic handler on raw bytes, so that the same decoder reads both transports.

The only door to gRPC. `RetryInfo` travels twice: in `grpc-status-details-bin`, where the specification has it, and in
`google.rpc.retryinfo-bin`, the only place where the Python exporter (1.45) looks.

A message above the limit is refused by gRPC itself, with RESOURCE_EXHAUSTED. A unary handler would never hear of it, so
the call is served as a stream of requests, which is the same on the wire: then it begins, and ends without a message.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NoReturn, TypeAlias

import grpc
import grpc.aio

from tokentrail.backend.ingest.pipeline import Pipeline
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.backend.receiver.answer import Answer, answer_to
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.receiver.reply import export_response, retry_info, rpc_status

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

    def __init__(self, pipeline: Pipeline, own: OwnMetrics, max_message_bytes: int):
        self._pipeline, self._own = pipeline, own
        logging.getLogger("grpc._cython.cygrpc").addFilter(_WITHOUT_HANG_UPS)
        options = [
            ("grpc.max_receive_message_length", max_message_bytes),
            # Two backends on one port would share its calls at random; the second one is to fail instead.
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers(
            (
                _service(f"{_COLLECTOR}.trace.v1.TraceService", self._export),
                _service(f"{_COLLECTOR}.logs.v1.LogsService", _not_accepted_yet("logs", "OTEL_LOGS_EXPORTER")),
                _service(
                    f"{_COLLECTOR}.metrics.v1.MetricsService", _not_accepted_yet("metrics", "OTEL_METRICS_EXPORTER")
                ),
            )
        )

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is another than `port` when that is 0. Raises `ListenError`."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {address}") from error
        if not bound:
            raise ListenError(f"cannot listen on {address}")
        await self._server.start()
        return bound

    async def stop(self, grace_s: float) -> None:
        """Take no new call; wait at most `grace_s` for those in progress, then cancel them."""
        await self._server.stop(grace_s)

    async def _export(self, bodies: AsyncIterator[bytes], context: _Context) -> bytes:
        body = await anext(aiter(bodies), None)
        if body is None:
            return self._refused_by_grpc()
        try:
            stored = await self._pipeline.submit(body, Encoding.PROTOBUF)
        except Exception as error:  # noqa: BLE001  # every failure has an answer
            answer = answer_to(error)
            if answer.http_status == 500:  # the one status that is a fault of the backend
                _log.error("an export request failed", exc_info=error)
            self._own.answered(_TRANSPORT, _STATUS_OF[answer.rpc_code].name)
            await _abort(context, answer)
        self._own.answered(_TRANSPORT, grpc.StatusCode.OK.name)
        return export_response(stored.rejected, Encoding.PROTOBUF)

    def _refused_by_grpc(self) -> bytes:
        """Count a call whose message gRPC refused; it has answered already, and drops what is returned."""
        self._own.answered(_TRANSPORT, grpc.StatusCode.RESOURCE_EXHAUSTED.name)
        return b""


def _service(name: str, handler: _Handler) -> grpc.GenericRpcHandler:
    # Without a deserializer and a serializer the handler gets and gives bytes.
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Export": grpc.stream_unary_rpc_method_handler(handler)}
    return grpc.method_handlers_generic_handler(name, methods)


def _not_accepted_yet(what: str, variable: str) -> _Handler:
    message = f"This backend does not accept {what} yet. Set {variable}=none in the application."

    async def refuse(_bodies: AsyncIterator[bytes], context: _Context) -> bytes:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, message)

    return refuse


async def _abort(context: _Context, answer: Answer) -> NoReturn:
    metadata: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", rpc_status(answer).SerializeToString())]
    if answer.retry_after_s is not None:
        metadata.append(("google.rpc.retryinfo-bin", retry_info(answer.retry_after_s).SerializeToString()))
    await context.abort(_STATUS_OF[answer.rpc_code], answer.message, tuple(metadata))
