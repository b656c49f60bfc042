"""The local provider: fixed bytes, one port a case, in a process of its own so that its CPU time is not measured.

python -m benchmarks.provider        prints {"<case>": <port>, ...} and serves until its stdin is closed
"""

import asyncio
import json
import sys
from typing import Final

from benchmarks.cases import CASES, TRICKLE, Case

_LENGTH: Final = b"content-length:"


class _Connection(asyncio.Protocol):
    """Answers each whole request with the response of the case; knows only requests with a length."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._pieces = case.response()
        self._whole = b"".join(self._pieces)
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            start = self._received.lower().index(_LENGTH, 0, end) + len(_LENGTH)
            size = end + 4 + int(self._received[start : self._received.index(b"\r\n", start)])
            if len(self._received) < size:
                return
            del self._received[:size]
            self._answer()

    def _answer(self) -> None:
        if self._case.pause_s:
            self._trickle(0)
        elif self._transport is not None:
            self._transport.write(self._whole)

    def _trickle(self, index: int) -> None:
        if self._transport is not None and index < len(self._pieces):
            self._transport.write(self._pieces[index])
            asyncio.get_running_loop().call_later(self._case.pause_s, self._trickle, index + 1)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    ports = {}
    for case in (*CASES, TRICKLE):
        server = await loop.create_server(lambda case=case: _Connection(case), "127.0.0.1", 0)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        ports[case.name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
