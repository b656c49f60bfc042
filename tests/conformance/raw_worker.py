"""Replays every recorded exchange through one HTTP client; a script that runs under `opentelemetry-instrument`.

    raw_worker.py <httpx|httpx2> <sync|async> <port of the replay server> <file for the outcomes>

Each exchange is made inside a span of its own, so that its trace id names it. One JSON object a line is written:
`key`, `trace_id`, `sha256` of what the application read, `raw` when it read the bytes as they came (still compressed),
and `problem`, which is empty when the response was as it was sent.
"""

import asyncio
import importlib
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from opentelemetry import trace

from support import reroute, wire
from support.replay_server import CALL_HEADER, KEY_HEADER

SECRET: Final = "sk-conformance-7f3a91c2"
"""Sent as a credential with every request; nothing may ever record it."""

_CONCURRENT: Final = 8
"""Requests in flight at a time in the asynchronous modes."""


def call_name(mode: str, exchange: wire.Exchange) -> str:
    """How the replay server knows the call."""
    return f"{mode}/{exchange.key}"


def reads_raw(exchange: wire.Exchange) -> bool:
    """True for the half of the streams that the application reads as raw bytes."""
    return exchange.is_sse and sum(exchange.key.encode()) % 2 == 0


def _arguments(mode: str, exchange: wire.Exchange) -> dict[str, Any]:
    headers = {
        **exchange.request_headers,
        "content-type": "application/json",
        "authorization": f"Bearer {SECRET}",
        "x-api-key": SECRET,
        KEY_HEADER: exchange.key,
        CALL_HEADER: call_name(mode, exchange),
    }
    return {"method": exchange.method, "url": exchange.url, "headers": headers, "content": exchange.request_body}


def _replay_sync(library: ModuleType, port: int, note: "Note") -> None:
    with library.Client(transport=reroute.sync_transport(library, port)) as client:
        for exchange in wire.load():
            with _parent() as span, note.guarded(exchange, span):
                arguments = _arguments(note.mode, exchange)
                if exchange.is_sse:
                    with client.stream(**arguments) as response:
                        read = response.iter_raw if reads_raw(exchange) else response.iter_bytes
                        note.response(exchange, span, response, b"".join(read()))
                else:
                    response = client.request(**arguments)
                    note.response(exchange, span, response, response.content)


async def _replay_async(library: ModuleType, port: int, note: "Note") -> None:
    limit = asyncio.Semaphore(_CONCURRENT)
    async with library.AsyncClient(transport=reroute.async_transport(library, port)) as client:

        async def replay(exchange: wire.Exchange) -> None:
            async with limit:
                with _parent() as span, note.guarded(exchange, span):
                    arguments = _arguments(note.mode, exchange)
                    if exchange.is_sse:
                        async with client.stream(**arguments) as response:
                            read = response.aiter_raw if reads_raw(exchange) else response.aiter_bytes
                            note.response(exchange, span, response, b"".join([piece async for piece in read()]))
                    else:
                        response = await client.request(**arguments)
                        note.response(exchange, span, response, response.content)

        await asyncio.gather(*map(replay, wire.load()))


def _parent() -> AbstractContextManager[trace.Span]:
    return trace.get_tracer("conformance").start_as_current_span("conformance")


class Note:
    """Writes the outcomes of a mode."""

    def __init__(self, mode: str, write: Callable[[str], object]) -> None:
        self.mode = mode
        self._write = write

    def response(self, exchange: wire.Exchange, span: trace.Span, response: Any, body: bytes) -> None:
        """Note a response that was read to its end."""
        problem = ""
        if response.status_code != exchange.status:
            problem = f"status {response.status_code}, not {exchange.status}"
        for name, value in exchange.response_headers.items():
            if response.headers.get(name) != value:
                problem = f"response header {name} is {response.headers.get(name)!r}, not {value!r}"
        self._line(exchange, span, sha256(body).hexdigest(), problem)

    def guarded(self, exchange: wire.Exchange, span: trace.Span) -> "_Guard":
        """Note an exception in place of a response."""
        return _Guard(lambda error: self._line(exchange, span, "", f"{type(error).__name__}: {error}"))

    def _line(self, exchange: wire.Exchange, span: trace.Span, digest: str, problem: str) -> None:
        outcome = {
            "key": exchange.key,
            "trace_id": f"{span.get_span_context().trace_id:032x}",
            "sha256": digest,
            "raw": reads_raw(exchange),
            "problem": problem,
        }
        self._write(json.dumps(outcome) + "\n")


class _Guard:
    def __init__(self, note: Callable[[BaseException], None]) -> None:
        self._note = note

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._note(error)
        return True


def main() -> None:
    """Run the mode that the command line names."""
    library_name, shell, port, path = sys.argv[1:]
    library = importlib.import_module(library_name)
    with Path(path).open("w", encoding="utf-8") as outcomes:
        note = Note(f"{library_name}-{shell}", outcomes.write)
        if shell == "sync":
            _replay_sync(library, int(port), note)
        else:
            asyncio.run(_replay_async(library, int(port), note))


if __name__ == "__main__":
    main()
