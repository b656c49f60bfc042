"""A local provider that does as it is told: each request takes the next scripted reply, byte by byte if need be."""

import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Final


class Reset:
    """A step of a reply: the connection is reset."""


class Hang:
    """A step of a reply: nothing more comes until the server is closed."""


Step = bytes | float | type[Reset] | type[Hang]
"""Bytes to send, seconds to wait, or an end that is none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One response; sent with its length when it is one piece, in chunks of transfer encoding when it is more."""

    steps: Sequence[Step] = (b"",)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of the header `name`, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def names(self) -> set[str]:
        """Header names in lower case."""
        return {key.lower() for key, _ in self.headers}


def json_reply(body: object, status: int = 200, **headers: str) -> Reply:
    """A plain JSON response; `_` in a header's name stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply((json.dumps(body).encode(),), status, {"content-type": "application/json", **named})


def sse_reply(*steps: Step, **headers: str) -> Reply:
    """A stream of server-sent events."""
    return Reply((*steps, b""), 200, {"content-type": "text/event-stream", **headers})


class SseServer(ThreadingHTTPServer):
    """Listens on a free port of the loopback interface. Thread-safe."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Received] = []
        self.closing = Event()
        self._script: list[Reply] = []
        self._lock = Lock()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def chat_url(self) -> str:
        """Where OpenAI's chat format is spoken."""
        return f"{self.url}/v1/chat/completions"

    def script(self, *replies: Reply) -> None:
        """The replies to the coming requests; the last one is given to all that follow."""
        with self._lock:
            self._script = list(replies)

    def next_reply(self, received: Received) -> Reply:
        """Note a request and take its reply."""
        with self._lock:
            self.requests.append(received)
            if not self._script:
                return Reply((b"nothing scripted",), 501)
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients of these tests hang up in every way there is."""


@contextmanager
def serving(server: SseServer | None = None) -> Iterator[SseServer]:
    """A server, or this very one, for the duration of the block."""
    server = server or SseServer()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="sse-server")
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SseServer

    def _answer(self) -> None:
        body = self._read_body()
        received = Received(self.command, self.path, self.headers.items(), body)
        reply = self.server.next_reply(received)
        plain = len(reply.steps) == 1
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if plain and isinstance(piece := reply.steps[0], bytes):
            self.send_header("content-length", str(len(piece)))
        else:
            self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for step in reply.steps:
            if not self._take(step, plain):
                return

    do_GET = do_POST = do_PUT = _answer  # noqa: N815  the names are the base class's

    def _read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _take(self, step: Step, plain: bool) -> bool:
        """Do `step`; false when it ends the connection."""
        if isinstance(step, bytes):
            self.wfile.write(step if plain else b"%x\r\n%b\r\n" % (len(step), step))
        elif isinstance(step, float):
            time.sleep(step)
        elif step is Reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return False
        else:
            self.server.closing.wait(30)
            self.close_connection = True
            return False
        return True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Stay silent."""


CHAT_REQUEST: Final = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
STREAM_REQUEST: Final = {**CHAT_REQUEST, "stream": True, "stream_options": {"include_usage": True}}
CHAT_RESPONSE: Final = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_760_000_000,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi there"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
}


def event(data: object, name: str = "") -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def chat_chunk(delta: Mapping[str, object], finish_reason: str | None = None) -> bytes:
    """One chunk of a streamed chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
    return event({**head, "choices": [choice], "usage": None})


ROLE: Final = chat_chunk({"role": "assistant", "content": ""})
WORDS: Final = tuple(chat_chunk({"content": word}) for word in ("Hi", " there", " you"))
STOP: Final = chat_chunk({}, "stop")
USAGE: Final = event(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
    }
)
DONE: Final = event("[DONE]")
WHOLE_STREAM: Final = (ROLE, *WORDS, STOP, USAGE, DONE)

CLAUDE_REQUEST: Final = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello"}],
}
CLAUDE_RESPONSE: Final = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-6",
    "content": [{"type": "text", "text": "Hi there"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 5},
}
CLAUDE_START: Final = event(
    {"type": "message_start", "message": {**CLAUDE_RESPONSE, "content": [], "stop_reason": None}}, "message_start"
)
CLAUDE_BLOCK: Final = event(
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, "content_block_start"
)
CLAUDE_WORDS: Final = tuple(
    event(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}},
        "content_block_delta",
    )
    for word in ("Hi", " there")
)
CLAUDE_END: Final = (
    event({"type": "content_block_stop", "index": 0}, "content_block_stop"),
    event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 7},
        },
        "message_delta",
    ),
    event({"type": "message_stop"}, "message_stop"),
)
CLAUDE_STREAM: Final = (CLAUDE_START, CLAUDE_BLOCK, *CLAUDE_WORDS, *CLAUDE_END)
