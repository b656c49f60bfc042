"""Requests to model endpoints through urllib3, by itself and under requests, and the ways to read their streams."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import requests
import urllib3

from support.sse_server import CHAT_REQUEST, ROLE, WORDS

CHAT: Final[Any] = CHAT_REQUEST
OPENING: Final = ROLE + WORDS[0]
"""What has arrived when a test stops reading: the text `Hi`."""

JSON_HEADERS: Final = {"content-type": "application/json", "accept-encoding": "identity"}


def open_urllib3(url: str, body: dict[str, Any], **settings: Any) -> Any:
    """A response of urllib3 that has not been read."""
    pool = urllib3.PoolManager(retries=False)
    encoded = json.dumps(body).encode()
    return pool.request("POST", url, body=encoded, headers=JSON_HEADERS, preload_content=False, **settings)


def open_requests(url: str, body: dict[str, Any], **settings: Any) -> Any:
    """A response of requests that has not been read."""
    return requests.post(url, json=body, stream=True, headers={"accept-encoding": "identity"}, **settings)


def answers(raw: bytes) -> str:
    """The URL of a server that answers one request with these very bytes and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            with connection.makefile("rb") as request:  # all of it: what is left unread would reset the connection
                fields = [line.lower().partition(b":") for line in iter(request.readline, b"\r\n")]
                request.read(next(int(value) for name, _, value in fields if name == b"content-length"))
            connection.sendall(raw)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"


STREAMS: Final[dict[str, tuple[Callable[..., Any], Callable[[Any], Iterator[bytes]]]]] = {
    "urllib3_stream": (open_urllib3, lambda response: response.stream(None)),
    "urllib3_chunked": (open_urllib3, lambda response: response.read_chunked()),
    "urllib3_read1": (open_urllib3, lambda response: iter(lambda: response.read1(4096), b"")),
    "requests": (open_requests, lambda response: response.iter_content(None)),
}
each_stream = pytest.mark.parametrize(("opened", "chunks"), STREAMS.values(), ids=STREAMS)

Read = Callable[[str, dict[str, Any]], bytes]
"""Sends a request and reads the response to its end in some way; what it read."""


def _loop(step: Callable[[], bytes]) -> bytes:
    return b"".join(iter(step, b""))


def _readinto(response: Any) -> bytes:
    read, buffer = b"", bytearray(11)
    while count := response.readinto(buffer):
        read += bytes(buffer[:count])
    return read


def _urllib3(read: Callable[[Any], bytes], **settings: Any) -> Read:
    return lambda url, body: read(open_urllib3(url, body, **settings))


def _requests(read: Callable[[Any], bytes]) -> Read:
    return lambda url, body: read(open_requests(url, body))


def _preloaded(url: str, body: dict[str, Any]) -> bytes:
    response = urllib3.PoolManager().request("POST", url, body=json.dumps(body).encode(), headers=JSON_HEADERS)
    return response.data


WAYS: Final[dict[str, Read]] = {
    "preloaded": _preloaded,
    "read": _urllib3(lambda response: response.read()),
    "read_again": _urllib3(lambda response: response.read() + response.read() + response.read(5)),
    "read_some": _urllib3(lambda response: _loop(lambda: response.read(7))),
    "read_raw": _urllib3(lambda response: response.read(decode_content=False), decode_content=False),
    "read1": _urllib3(lambda response: _loop(lambda: response.read1(7))),
    "stream": _urllib3(lambda response: b"".join(response.stream(5, decode_content=True))),
    "stream_whole": _urllib3(lambda response: b"".join(response.stream(None, decode_content=True))),
    "readinto": _urllib3(_readinto),
    "lines": _urllib3(b"".join),
    "data": _urllib3(lambda response: response.data + response.data[:0]),
    "requests_content": _requests(lambda response: response.content),
    "requests_iter": _requests(lambda response: b"".join(response.iter_content(3))),
    "requests_iter_whole": _requests(lambda response: b"".join(response.iter_content(None))),
    "requests_raw": _requests(lambda response: response.raw.read(decode_content=True)),
}
"""All ways of reading a response to its end, by name."""
