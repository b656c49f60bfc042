"""Connections that do not go on: they hold neither memory nor anybody else, and end after a time.

Over real sockets, against a real process. A thousand of each kind.
"""

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import grpc
import pytest

from support import otlp
from support.backend_process import EXPORT, BackendProcess, grpc_request
from support.fault_load import PROTOBUF, balance, footprint, settled, wait_for_sockets

MANY = 1000
TIMEOUT_S = 3
HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 2000000\r\n\r\n"
QUEUE_BYTES = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    environment = {
        "TOKENTRAIL_REQUEST_TIMEOUT_S": str(TIMEOUT_S),
        "TOKENTRAIL_MAX_QUEUE_BYTES": str(QUEUE_BYTES),
    }
    with BackendProcess(tmp_path_factory.mktemp("connections") / "data", environment) as process:
        process.post_traces(otlp.body())
        grpc_request(process.grpc, otlp.body())
        process.get("/api/totals")
        yield process
        settled(process)
        assert process.errors() == "", "who does not go on does not get to write into the log"


def open_many(address: tuple[str, int], data: bytes, count: int = MANY) -> list[socket.socket]:
    """So many connections, each of which has sent `data`."""
    opened = []
    for _ in range(count):
        connection = socket.create_connection(address, timeout=20)
        connection.sendall(data)
        opened.append(connection)
    return opened


def http_address(backend: BackendProcess) -> tuple[str, int]:
    address = urlsplit(backend.http)
    return str(address.hostname), address.port or 0


def grpc_address(backend: BackendProcess) -> tuple[str, int]:
    host, _, port = backend.grpc.partition(":")
    return host, int(port)


def assert_others_are_served(backend: BackendProcess) -> None:
    began = time.monotonic()
    assert backend.post_traces(otlp.body()).status == 200
    assert grpc_request(backend.grpc, otlp.body()) == b""
    assert time.monotonic() - began < TIMEOUT_S, "they waited for those that do not go on"


def end_of(connection: socket.socket) -> str:
    """How the other side ended it: the status line of an answer, `closed`, or `open` when it did not."""
    connection.settimeout(TIMEOUT_S * 3)
    try:
        data = connection.recv(65536)
    except ConnectionResetError:
        return "closed"
    except TimeoutError:
        return "open"
    return data.partition(b"\r\n")[0].decode("latin-1") or "closed"


@pytest.mark.parametrize(
    ("sent", "end"),
    [(b"", "closed"), (HEAD[:40], "closed"), (HEAD + bytes(100), "HTTP/1.1 408 Request Timeout")],
    ids=["nothing", "a part of the headers", "a part of the body"],
)
def test_a_thousand_http_connections_that_fall_silent_block_nobody_and_end(
    backend: BackendProcess, sent: bytes, end: str
) -> None:
    before = footprint(backend)

    opened = open_many(http_address(backend), sent)
    assert_others_are_served(backend)
    ends = Counter(end_of(each) for each in opened)
    for each in opened:
        each.close()

    assert ends == {end: MANY}
    assert wait_for_sockets(backend, before.sockets + 3) <= before.sockets + 3
    assert footprint(backend).rss_mb < before.rss_mb + 100


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET / HTTP/1.1\r\n", b"a:b\r\n" * 10_000),
        (b"GET / HTTP/1.1\r\na:", b"b" * 50_000),
        (b"GET /", b"a" * 50_000),
        (HEAD.replace(b"content-length: 2000000", b"transfer-encoding: chunked") + b"0\r\n", b"a:b\r\n" * 10_000),
    ],
    ids=["headers", "one header", "a path", "trailers"],
)
def test_headers_without_an_end_are_not_collected(backend: BackendProcess, begin: bytes, more: bytes) -> None:
    """20 MB of short headers would be 600 MB in memory, and nobody has shown a key by then."""
    before = footprint(backend)

    with socket.create_connection(http_address(backend), timeout=20) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(begin)
            for _ in range(400):
                connection.sendall(more)
        end = end_of(connection)

    assert end in ("HTTP/1.1 431 Request Header Fields Too Large", "closed")
    assert footprint(backend).peak_mb < before.peak_mb + 60
    assert_others_are_served(backend)


def test_a_request_with_long_headers_is_served(backend: BackendProcess) -> None:
    body = otlp.body()
    head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\nconnection: close\r\n"
    others = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 1000) for number in range(200))
    chunks = b"transfer-encoding: chunked\r\n\r\n" + b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in body)

    with socket.create_connection(http_address(backend), timeout=20) as connection:
        connection.sendall(head + others + chunks + b"0\r\nx: y\r\n\r\n")
        end = end_of(connection)

    assert end == "HTTP/1.1 200 OK"


@pytest.mark.slow
def test_silence_after_an_answer_and_a_byte_is_no_longer_waited_for_than_silence_before(
    backend: BackendProcess,
) -> None:
    with socket.create_connection(http_address(backend), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = connection.recv(65536)
        connection.sendall(b"\r\n")

        end = end_of(connection)

    assert answer.startswith(b"HTTP/1.1 200")
    assert end == "closed"


def test_bodies_that_stop_half_way_do_not_add_up_in_memory(backend: BackendProcess) -> None:
    """400 bodies of 1.5 MB would be 600 MB; all together may hold 64."""
    before = footprint(backend)

    opened = open_many(http_address(backend), HEAD + bytes(1_500_000), 400)
    time.sleep(1.2)  # they are silent by now
    held = footprint(backend)
    assert_others_are_served(backend)
    ends = Counter(end_of(each) for each in opened)
    for each in opened:
        each.close()

    assert set(ends) == {"HTTP/1.1 429 Too Many Requests", "HTTP/1.1 408 Request Timeout"}
    assert held.peak_mb < before.rss_mb + 350
    assert wait_for_sockets(backend, before.sockets + 3) <= before.sockets + 3


@pytest.mark.slow
def test_an_answer_that_nobody_reads_is_dropped(backend: BackendProcess) -> None:
    text = "x" * 4000
    for _ in range(2):
        spans = [otlp.span({**otlp.CHAT, "gen_ai.input.messages": text}) for _ in range(1000)]
        assert backend.post_traces(otlp.body(*spans)).status == 200
    query = b"GET /api/requests?limit=1000&content=1 HTTP/1.1\r\nhost: localhost\r\n\r\n"
    backend.get("/api/requests?limit=1000&content=1")
    before = footprint(backend)

    opened = []
    for _ in range(8):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(http_address(backend))
        connection.sendall(query * 2)
        opened.append(connection)
    time.sleep(1)
    assert_others_are_served(backend)
    gone = wait_for_sockets(backend, before.sockets + 3, timeout_s=40)
    for each in opened:
        each.close()

    assert gone <= before.sockets + 3, "the connections whose answers are not read stay open"


@pytest.mark.slow
def test_a_slow_reader_who_goes_on_gets_all_of_it(backend: BackendProcess) -> None:
    query = b"GET /api/requests?limit=1500&content=1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.connect(http_address(backend))
        connection.sendall(query)
        began = time.monotonic()
        size = 0
        head = b""
        while piece := connection.recv(200_000):
            head = head or piece
            size += len(piece)
            time.sleep(0.1 if time.monotonic() - began < 2 * TIMEOUT_S else 0)
        took_s = time.monotonic() - began

    declared = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert size == declared + head.index(b"\r\n\r\n") + 4
    assert declared > 5_000_000
    assert took_s > TIMEOUT_S


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, section 4.1."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def half_a_call(sent: int, declared: int) -> bytes:
    """An HTTP/2 connection with a gRPC call of whose message `sent` of `declared` bytes come."""
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": EXPORT.encode(),
        b":authority": b"x",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    # RFC 7541, section 6.2.2: literal header fields without indexing, new names, no Huffman coding.
    headers = b"".join(b"\0" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in fields.items())
    message = b"\0" + struct.pack(">I", declared) + bytes(sent)
    pieces = [message[start : start + 16384] for start in range(0, len(message), 16384)]
    data = b"".join(frame(0, 0, 1, piece) for piece in pieces)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, headers) + data


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent",
    [b"", half_a_call(0, 10)[:24], half_a_call(100, 2_000_000), half_a_call(60_000, 8_000_000)],
    ids=["nothing", "the preface", "100 bytes of a message", "60 kB of a message"],
)
def test_a_thousand_grpc_connections_that_fall_silent_block_nobody_and_end(
    backend: BackendProcess, sent: bytes
) -> None:
    before = footprint(backend)

    opened = open_many(grpc_address(backend), sent)
    assert_others_are_served(backend)
    # Silence during the handshake takes the timeout, later another one: until a ping stays unanswered.
    left = wait_for_sockets(backend, before.sockets + 3, timeout_s=5 * TIMEOUT_S)
    for each in opened:
        each.close()

    assert left <= before.sockets + 3
    assert footprint(backend).rss_mb < before.rss_mb + 200


def test_a_grpc_call_whose_message_does_not_come_is_told_so(backend: BackendProcess) -> None:
    def nothing() -> Iterator[bytes]:
        threading.Event().wait(TIMEOUT_S * 2)
        yield b""

    before = backend.metric("tokentrail_export_requests_total", transport="grpc", code="DEADLINE_EXCEEDED")
    with grpc.insecure_channel(backend.grpc) as channel:
        call: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(EXPORT)

        with pytest.raises(grpc.RpcError) as failure:
            call(nothing(), timeout=30)

    assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "TOKENTRAIL_REQUEST_TIMEOUT_S" in (failure.value.details() or "")
    after = backend.metric("tokentrail_export_requests_total", transport="grpc", code="DEADLINE_EXCEEDED")
    assert after == before + 1


def test_a_thousand_http_connections_that_send_at_once_are_all_served(backend: BackendProcess) -> None:
    before, (told, _) = footprint(backend), balance(backend)
    opened = open_many(http_address(backend), b"")
    body = otlp.body()
    head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    bodies = [otlp.body() for _ in opened]
    assert {len(each) for each in bodies} == {len(body)}

    for connection, each in zip(opened, bodies, strict=True):
        connection.sendall(head % (PROTOBUF["content-type"].encode(), len(each)) + each)
    ends = Counter(end_of(each) for each in opened)
    for connection in opened:
        connection.close()

    assert ends == {"HTTP/1.1 200 OK": MANY}
    assert settled(backend).stored == told.stored + MANY
    assert wait_for_sockets(backend, before.sockets + 3) <= before.sockets + 3


def test_a_thousand_grpc_calls_at_once_on_connections_of_their_own_are_all_served(backend: BackendProcess) -> None:
    before, (told, _) = footprint(backend), balance(backend)
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(backend.grpc, options=options) for _ in range(MANY)]
    calls: list[grpc.UnaryUnaryMultiCallable[bytes, bytes]] = [each.unary_unary(EXPORT) for each in channels]

    with ThreadPoolExecutor(8) as pool:
        futures = list(pool.map(lambda call: call.future(otlp.body(), timeout=60, wait_for_ready=True), calls))
        answers = Counter(future.result() for future in futures)
    for channel in channels:
        channel.close()

    assert answers == {b"": MANY}
    assert settled(backend).stored == told.stored + MANY
    assert wait_for_sockets(backend, before.sockets + 3) <= before.sockets + 3
