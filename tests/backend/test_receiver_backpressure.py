"""What a sender is told when nothing can be stored now: retryable, with a delay, and what its exporter makes of it.

The real receivers over a store in memory that is slow or fails, in this process.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it has no py.typed
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from support import otlp
from support.backend_process import Answer, grpc_request, http_request
from support.memory_store import MemoryStore
from tokentrail.backend.app import Endpoints, serve
from tokentrail.backend.config import Address, Config
from tokentrail.backend.store.errors import StoreError, StoreUnavailable

PROTOBUF = {"content-type": "application/x-protobuf"}


class Served:
    """The backend over `store` in a thread of this process."""

    def __init__(self, store: MemoryStore):
        self.store = store
        ready: Future[Endpoints] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        any_port = Address("127.0.0.1", 0)
        config = Config(Path("unused"), any_port, any_port, None, 10_000_000, 5, 10_000_000, 20)

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(serve(config, store, ready.set_result, self._stop))

        self._thread = threading.Thread(target=run)
        self._thread.start()
        endpoints = ready.result(20)
        self.http, self.grpc = f"http://{endpoints.http}", str(endpoints.grpc)

    def post(self, body: bytes) -> Answer:
        return http_request(f"{self.http}/v1/traces", body, PROTOBUF)

    def metrics(self) -> str:
        return http_request(f"{self.http}/metrics").body.decode()

    def begin_to_stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    def stop(self) -> None:
        """Idempotent."""
        self.store.gate.set()
        if self._thread.is_alive():
            self.begin_to_stop()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def served() -> Iterator[Served]:
    backend = Served(MemoryStore())
    yield backend
    backend.stop()
    assert backend.store.closed


def fill(served: Served, pool: ThreadPoolExecutor) -> list[Future[Answer]]:
    """One request in the store and five spans in the queue, which is then full."""
    served.store.gate.clear()
    sent = [pool.submit(served.post, otlp.body())]
    assert served.store.entered.acquire(timeout=10)
    sent.append(pool.submit(served.post, otlp.body(*(otlp.span() for _ in range(5)))))
    deadline = time.monotonic() + 10
    while "tokentrail_queue_spans 5.0" not in served.metrics():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return sent


def test_a_full_queue_is_429_with_a_delay_and_resource_exhausted_with_retry_info(served: Served) -> None:
    with ThreadPoolExecutor(2) as pool:
        sent = fill(served, pool)

        over_http = served.post(otlp.body())
        with pytest.raises(grpc.RpcError) as failure:
            grpc_request(served.grpc, otlp.body())
        served.store.gate.set()
        answers = [each.result() for each in sent]

    assert (over_http.status, over_http.headers["retry-after"]) == (429, "1")
    assert "at most 5" in status_pb2.Status.FromString(over_http.body).message
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert_retry_info(failure.value, seconds=1)
    assert [answer.status for answer in answers] == [200, 200]
    assert len(served.store.span_names) == 6


def assert_retry_info(error: grpc.RpcError, seconds: int) -> None:
    trailers = {item.key: item.value for item in error.trailing_metadata()}
    in_status = error_details_pb2.RetryInfo()
    assert status_pb2.Status.FromString(trailers["grpc-status-details-bin"]).details[0].Unpack(in_status)
    alone = error_details_pb2.RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"])
    assert in_status.retry_delay.seconds == alone.retry_delay.seconds == seconds


def test_an_unavailable_store_is_503_with_a_delay_and_unavailable_with_retry_info() -> None:
    served = Served(MemoryStore(lambda spans: StoreUnavailable("no space left on the disk")))
    try:
        over_http = served.post(otlp.body())
        with pytest.raises(grpc.RpcError) as failure:
            grpc_request(served.grpc, otlp.body())
    finally:
        served.stop()

    assert (over_http.status, over_http.headers["retry-after"]) == (503, "2")
    assert "no space left on the disk" in status_pb2.Status.FromString(over_http.body).message
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert_retry_info(failure.value, seconds=2)


def test_spans_that_the_store_refuses_are_not_to_be_sent_again() -> None:
    served = Served(MemoryStore(lambda spans: StoreError("a column cannot hold it")))
    try:
        over_http = served.post(otlp.body())
        with pytest.raises(grpc.RpcError) as failure:
            grpc_request(served.grpc, otlp.body())
    finally:
        served.stop()

    assert over_http.status == 500, "not among the retryable ones of the specification"
    assert "retry-after" not in over_http.headers
    assert failure.value.code() is grpc.StatusCode.INTERNAL
    assert "a column cannot hold it" in (failure.value.details() or "")


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_a_real_exporter_delivers_after_the_store_comes_back(transport: str) -> None:
    failures = [StoreUnavailable("just now")]
    served = Served(MemoryStore(lambda spans: failures.pop() if failures else None))
    exporter: SpanExporter = (
        HttpExporter(endpoint=f"{served.http}/v1/traces")
        if transport == "http"
        else GrpcExporter(endpoint=served.grpc, insecure=True)
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        with provider.get_tracer("tests").start_as_current_span("kept"):
            pass
    finally:
        provider.shutdown()
        served.stop()

    assert served.store.attempts == 2
    assert served.store.span_names == ["kept"]


def test_a_request_in_progress_is_finished_at_shutdown(served: Served) -> None:
    with ThreadPoolExecutor(2) as pool:
        served.store.gate.clear()
        sent = pool.submit(served.post, otlp.body(otlp.span(name="in progress")))
        assert served.store.entered.acquire(timeout=10)
        served.begin_to_stop()
        time.sleep(0.3)
        held = not sent.done()
        served.store.gate.set()
        answer = sent.result(20)

    assert held
    assert answer.status == 200
    assert served.store.span_names == ["in progress"]
