"""A local HTTP server that answers with recorded responses, as a provider would send them.

A request names the exchange to answer with in the header `x-replay-key`, and itself in `x-replay-call`. Streams come in
many small pieces, cut where a careless reader breaks: in the middle of lines, of JSON strings and of UTF-8 sequences.
Part of the answers is compressed, when the client accepts gzip. A client that asks for the usage of a stream, as the
recorded one did not, is told one (`usage_question`).
"""

import random
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Final

from support import usage_question
from support.wire import Exchange

KEY_HEADER: Final = "x-replay-key"
CALL_HEADER: Final = "x-replay-call"
_MAX_PIECE: Final = 160
"""Bytes; shorter than most events of the recordings."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived."""

    key: str
    host: str
    path: str
    body: bytes
    header_names: frozenset[str]
    """In lower case."""


class ReplayServer(ThreadingHTTPServer):
    """Serves `exchanges` on a free port of the loopback interface. Thread-safe."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.exchanges = {exchange.key: exchange for exchange in exchanges}
        self._received: dict[str, list[Received]] = {}
        self._lock = Lock()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server_port

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over clients that hang up, as those do that stop at the last event; print what else goes wrong."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed on as it came

    def note(self, call: str, received: Received) -> None:
        """Keep what arrived for `call`."""
        with self._lock:
            self._received.setdefault(call, []).append(received)

    def received(self, call: str) -> list[Received]:
        """The requests that arrived for `call`, in order."""
        with self._lock:
            return list(self._received.get(call, ()))


@contextmanager
def serving(exchanges: Iterable[Exchange]) -> Iterator[ReplayServer]:
    """A replay server for the duration of the block."""
    server = ReplayServer(exchanges)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="replay-server")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def is_compressed(exchange: Exchange) -> bool:
    """True for the third of the exchanges that is compressed for a client that accepts it."""
    return zlib.crc32(exchange.key.encode()) % 3 == 0


def pieces(exchange: Exchange, *, compressed: bool, body: bytes | None = None) -> list[bytes]:
    """The body as it is cut for sending, the same at every call; joined, it is what a client reads raw.

    It is the recorded one, unless another `body` is given.
    """
    body = exchange.response_body if body is None else body
    cut = list(_cut(body, random.Random(exchange.key))) if exchange.is_stream else [body]
    if not compressed:
        return cut
    compressor = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    flushed = [compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH) for piece in cut]
    return [*flushed, compressor.flush()]


def _cut(body: bytes, chance: random.Random) -> Iterator[bytes]:
    """Pieces of random length; a cut moves into the next multi-byte character when there is one close behind it."""
    start = 0
    while start < len(body):
        end = start + chance.randint(1, _MAX_PIECE)
        inside = (at for at in range(end, min(end + _MAX_PIECE, len(body))) if 0x80 <= body[at] <= 0xBF)
        end = next(inside, end)
        yield body[start:end]
        start = end


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ReplayServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        key = self.headers.get(KEY_HEADER, "")
        names = frozenset(name.lower() for name in self.headers)
        self.server.note(
            self.headers.get(CALL_HEADER, ""), Received(key, self.headers.get("host", ""), self.path, body, names)
        )
        exchange = self.server.exchanges.get(key)
        if exchange is None:
            self.send_error(421, f"no exchange {key!r}")
            return
        self._answer(exchange, usage_question.answer(exchange, body))

    def _answer(self, exchange: Exchange, answer: bytes) -> None:
        compressed = is_compressed(exchange) and "gzip" in self.headers.get("accept-encoding", "")
        body = pieces(exchange, compressed=compressed, body=answer)
        self.send_response_only(exchange.status)
        for name, value in exchange.response_headers.items():
            self.send_header(name, value)
        if compressed:
            self.send_header("content-encoding", "gzip")
        if exchange.is_stream:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(sum(map(len, body))))
        self.end_headers()
        for piece in body:
            if exchange.is_stream:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"")
            else:
                self.wfile.write(piece)
        if exchange.is_stream:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Stay silent: a run makes thousands of requests."""
