"""An OTLP/HTTP endpoint that keeps the spans it is sent, and passes them on to a backend if there is one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from zlib import MAX_WBITS, decompress

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from support.backend_process import http_request

SERVICE = "service.name"


@dataclass(frozen=True, slots=True)
class SentSpan:
    """One exported span."""

    trace_id: str
    name: str
    scope: str
    attributes: Mapping[str, object]
    """Strings, bools, ints, floats and lists of them, in the types that were sent."""
    status_code: int
    """0 unset, 1 ok, 2 error."""
    status_message: str
    service: str = ""
    """`service.name` of the resource."""
    connection: int = 0
    """The sender's port: spans with the same one came over the same connection."""


class OtlpSink(ThreadingHTTPServer):
    """Listens on a free port of the loopback interface. Thread-safe.

    With `forward_to`, the base URL of a backend, a sender is answered as that backend answers.
    """

    daemon_threads = True

    def __init__(self, forward_to: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.forward_to = forward_to
        self._spans: list[SentSpan] = []
        self._lock = Lock()

    @property
    def endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to."""
        return f"http://127.0.0.1:{self.server_port}"

    def keep(self, request: ExportTraceServiceRequest, connection: int = 0) -> None:
        """Keep the spans of an export request."""
        spans = [
            SentSpan(
                trace_id=span.trace_id.hex(),
                name=span.name,
                scope=scope_spans.scope.name,
                attributes={pair.key: _value(pair.value) for pair in span.attributes},
                status_code=span.status.code,
                status_message=span.status.message,
                service=next(
                    (pair.value.string_value for pair in resource_spans.resource.attributes if pair.key == SERVICE), ""
                ),
                connection=connection,
            )
            for resource_spans in request.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        ]
        with self._lock:
            self._spans += spans

    def spans(self) -> list[SentSpan]:
        """Every span so far, in the order of arrival."""
        with self._lock:
            return list(self._spans)


@contextmanager
def listening(forward_to: str | None = None) -> Iterator[OtlpSink]:
    """A sink for the duration of the block."""
    sink = OtlpSink(forward_to)
    thread = Thread(target=sink.serve_forever, kwargs={"poll_interval": 0.05}, name="otlp-sink")
    thread.start()
    try:
        yield sink
    finally:
        sink.shutdown()
        sink.server_close()
        thread.join()


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    plain: object = getattr(value, kind) if kind else None
    return plain


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OtlpSink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        status, answer = 200, b""
        if self.server.forward_to is not None:
            headers = {
                name: self.headers[name] for name in ("content-type", "content-encoding") if name in self.headers
            }
            sent = http_request(self.server.forward_to + self.path, body, headers)
            status, answer = sent.status, sent.body
        if self.headers.get("content-encoding") == "gzip":
            body = decompress(body, 16 + MAX_WBITS)
        self.server.keep(ExportTraceServiceRequest.FromString(body), self.client_address[1])
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Stay silent."""
