"""Replays every recorded exchange through one HTTP client; a script that runs under `opentelemetry-instrument`.

    raw_worker.py <httpx|httpx2|aiohttp|requests|urllib3> <sync|async> <port of the replay server> <file for outcomes>

Each exchange is made inside a span of its own, so that its trace id names it. One JSON object a line is written:
`key`, `trace_id`, `sha256` of what the application read, `packed` when that is compressed, because it read the bytes as
they came, and `problem`, which is empty when the response was as it was sent.
"""

import asyncio
import importlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace

from support import reroute, wire
from support.replay_server import CALL_HEADER, KEY_HEADER
from support.wire import Exchange

MODES: Final = (
    "httpx-sync",
    "httpx-async",
    "httpx2-sync",
    "httpx2-async",
    "aiohttp-async",
    "requests-sync",
    "urllib3-sync",
)
"""`<library>-<shell>`; a call is replayed in each."""

SECRET: Final = "sk-conformance-7f3a91c2"
"""Sent as a credential with every request; nothing may ever record it."""

_CONCURRENT: Final = 8
"""Requests in flight at a time in the asynchronous modes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that was read to its end."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


Call = Callable[[Exchange, dict[str, str]], Answer]
"""Makes an exchange with the given headers; the asynchronous ones return it in a coroutine."""


def call_name(mode: str, exchange: Exchange) -> str:
    """How the replay server knows the call."""
    return f"{mode}/{exchange.key}"


def reads_raw(exchange: Exchange) -> bool:
    """True for the half of the streams that the application reads as raw bytes."""
    return exchange.is_stream and sum(exchange.key.encode()) % 2 == 0


def _headers(mode: str, exchange: Exchange) -> dict[str, str]:
    return {
        **exchange.request_headers,
        "content-type": "application/json",
        "authorization": f"Bearer {SECRET}",
        "x-api-key": SECRET,
        KEY_HEADER: exchange.key,
        CALL_HEADER: call_name(mode, exchange),
    }


# The clients: each reads streams piece by piece, some of them raw, and everything else as a whole --------------------


@contextmanager
def _httpx(library_name: str, port: int) -> Iterator[Call]:
    library = importlib.import_module(library_name)
    with library.Client(transport=reroute.sync_transport(library, port)) as client:

        def call(exchange: Exchange, headers: dict[str, str]) -> Answer:
            arguments = {"headers": headers, "content": exchange.request_body}
            if not exchange.is_stream:
                response = client.request(exchange.method, exchange.url, **arguments)
                return _answer(response.status_code, response.headers, response.content)
            with client.stream(exchange.method, exchange.url, **arguments) as response:
                read = response.iter_raw if reads_raw(exchange) else response.iter_bytes
                return _answer(response.status_code, response.headers, b"".join(read()))

        yield call


@asynccontextmanager
async def _httpx_async(library_name: str, port: int) -> AsyncIterator[Any]:
    library = importlib.import_module(library_name)
    async with library.AsyncClient(transport=reroute.async_transport(library, port)) as client:

        async def call(exchange: Exchange, headers: dict[str, str]) -> Answer:
            arguments = {"headers": headers, "content": exchange.request_body}
            if not exchange.is_stream:
                response = await client.request(exchange.method, exchange.url, **arguments)
                return _answer(response.status_code, response.headers, response.content)
            async with client.stream(exchange.method, exchange.url, **arguments) as response:
                read = response.aiter_raw if reads_raw(exchange) else response.aiter_bytes
                body = b"".join([piece async for piece in read()])
                return _answer(response.status_code, response.headers, body)

        yield call


@asynccontextmanager
async def _aiohttp(_: str, port: int) -> AsyncIterator[Any]:
    import aiohttp
    import yarl

    async with AsyncExitStack() as stack:
        sessions = {
            raw: await stack.enter_async_context(
                aiohttp.ClientSession(connector=reroute.aiohttp_connector(port), auto_decompress=not raw)
            )
            for raw in (True, False)
        }

        async def call(exchange: Exchange, headers: dict[str, str]) -> Answer:
            # Not taken for encoded, a `%3A` of the recorded path would become a colon.
            url = yarl.URL(exchange.url, encoded=True)
            session = sessions[reads_raw(exchange)]
            async with session.request(exchange.method, url, headers=headers, data=exchange.request_body) as response:
                if exchange.is_stream:
                    body = b"".join([piece async for piece in response.content.iter_any()])
                else:
                    body = await response.read()
                return _answer(response.status, response.headers, body)

        yield call


@contextmanager
def _requests(_: str, port: int) -> Iterator[Call]:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, reroute.requests_adapter(port))

        def call(exchange: Exchange, headers: dict[str, str]) -> Answer:
            arguments: dict[str, Any] = {"headers": headers, "data": exchange.request_body}
            if not exchange.is_stream:
                response = session.request(exchange.method, exchange.url, **arguments)
                return _answer(response.status_code, response.headers, response.content)
            with session.request(exchange.method, exchange.url, stream=True, **arguments) as response:
                if reads_raw(exchange):
                    pieces = response.raw.stream(decode_content=False)
                else:
                    pieces = response.iter_content(chunk_size=None)
                return _answer(response.status_code, response.headers, b"".join(pieces))

        yield call


@contextmanager
def _urllib3(_: str, port: int) -> Iterator[Call]:
    with reroute.urllib3_pools(port) as pools:

        def call(exchange: Exchange, headers: dict[str, str]) -> Answer:
            headers = headers | {"accept-encoding": "gzip"}
            arguments: dict[str, Any] = {"headers": headers, "body": exchange.request_body}
            if not exchange.is_stream:
                response = pools.request(exchange.method, exchange.url, **arguments)
                return _answer(response.status, response.headers, response.data)
            response = pools.request(exchange.method, exchange.url, preload_content=False, **arguments)
            body = b"".join(response.stream(decode_content=not reads_raw(exchange)))
            response.release_conn()
            return _answer(response.status, response.headers, body)

        yield call


_SYNC: Final[Mapping[str, Callable[[str, int], AbstractContextManager[Call]]]] = {
    "httpx": _httpx,
    "httpx2": _httpx,
    "requests": _requests,
    "urllib3": _urllib3,
}
_ASYNC: Final[Mapping[str, Callable[[str, int], AbstractAsyncContextManager[Any]]]] = {
    "httpx": _httpx_async,
    "httpx2": _httpx_async,
    "aiohttp": _aiohttp,
}


def _answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)


# The replay -----------------------------------------------------------------------------------------------------


def _replay_sync(library_name: str, port: int, note: "Note") -> None:
    with ExitStack() as stack:
        call = stack.enter_context(_SYNC[library_name](library_name, port))
        for exchange in wire.load_all():
            with note.noted(exchange) as answers:
                answers.append(call(exchange, _headers(note.mode, exchange)))


async def _replay_async(library_name: str, port: int, note: "Note") -> None:
    limit = asyncio.Semaphore(_CONCURRENT)
    async with _ASYNC[library_name](library_name, port) as call:

        async def replay(exchange: Exchange) -> None:
            async with limit:
                with note.noted(exchange) as answers:
                    answers.append(await call(exchange, _headers(note.mode, exchange)))

        await asyncio.gather(*map(replay, wire.load_all()))


class Note:
    """Writes the outcomes of a mode."""

    def __init__(self, mode: str, write: Callable[[str], object]) -> None:
        self.mode = mode
        self._write = write

    @contextmanager
    def noted(self, exchange: Exchange) -> Iterator[list[Answer]]:
        """A span around the block; the answer that it appends is noted, or the exception it ends with."""
        answers: list[Answer] = []
        problem = ""
        with trace.get_tracer("conformance").start_as_current_span("conformance") as span:
            try:
                yield answers
                problem = _problem(exchange, answers[0])
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
        outcome = {
            "key": exchange.key,
            "trace_id": f"{span.get_span_context().trace_id:032x}",
            "sha256": sha256(answers[0].body).hexdigest() if answers else "",
            "packed": bool(answers) and reads_raw(exchange) and "content-encoding" in answers[0].headers,
            "problem": problem,
        }
        self._write(json.dumps(outcome) + "\n")


def _problem(exchange: Exchange, answer: Answer) -> str:
    if answer.status != exchange.status:
        return f"status {answer.status}, not {exchange.status}"
    for name, value in exchange.response_headers.items():
        if answer.headers.get(name) != value:
            return f"response header {name} is {answer.headers.get(name)!r}, not {value!r}"
    return ""


def main() -> None:
    """Run the mode that the command line names."""
    library_name, shell, port, path = sys.argv[1:]
    with Path(path).open("w", encoding="utf-8") as outcomes:
        note = Note(f"{library_name}-{shell}", outcomes.write)
        if shell == "sync":
            _replay_sync(library_name, int(port), note)
        else:
            asyncio.run(_replay_async(library_name, int(port), note))


if __name__ == "__main__":
    main()
