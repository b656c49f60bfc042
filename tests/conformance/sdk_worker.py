"""Drives recorded exchanges through the real SDK of a vendor; a script that runs with and without instrumentation.

    sdk_worker.py <openai|anthropic> <httpx|httpx2> <sync|async|aiohttp> <port of the replay server> <file for outcomes>

`aiohttp` is asynchronous, over the transport that the current versions bring with them (`DefaultAioHttpClient`).
Every exchange is made in three ways: the plain method, `with_raw_response` and `with_streaming_response`. Each call is
made inside a span of its own, so that its trace id names it. One JSON object a line is written: `key`, `way`,
`trace_id` and `outcome`, which says everything that the application got: parsed models as JSON, raw bytes as a digest,
headers, or the exception. Outcomes are compared as they are, so they hold nothing that varies from run to run.
"""

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from opentelemetry import trace

from support import reroute, wire
from support.replay_server import CALL_HEADER, KEY_HEADER
from support.wire import Exchange, Format

WAYS: Final = ("method", "raw", "streaming")
SECRET: Final = "sk-conformance-5b20e88d"
"""The key that the SDK sends; nothing may ever record it."""

_CONCURRENT: Final = 8


_FORMATS: Final = {
    "openai": (Format.CHAT, Format.RESPONSES, Format.EMBEDDINGS, Format.COMPLETIONS),
    "anthropic": (Format.MESSAGES,),
}


def is_drivable(exchange: Exchange, sdk: str, http_library: str) -> bool:
    """True when the SDK has a method for the exchange: OpenAI's for its formats at any host, Anthropic's for its own.

    Anthropic's had one for the legacy completions as long as it was made of httpx.
    """
    legacy = (sdk, http_library) == ("anthropic", "httpx") and exchange.format is Format.COMPLETE
    return legacy or exchange.format in _FORMATS[sdk]


def call_name(run: str, exchange: Exchange, way: str) -> str:
    """How the replay server knows a call."""
    return f"{run}/{way}/{exchange.key}"


class Sdk:
    """The SDK under test, and the clients made of it so far, one for each host."""

    def __init__(self, name: str, library: ModuleType, shell: str, port: int) -> None:
        self.name = name
        self.http_library = library.__name__
        self._module = importlib.import_module(name)
        self._class = getattr(self._module, {"openai": "OpenAI", "anthropic": "Anthropic"}[name])
        if shell != "sync":
            self._class = getattr(self._module, f"Async{self._class.__name__}")
        self.http_client = self._http_client(library, shell, port)
        self._clients: dict[str, Any] = {}

    def method(self, exchange: Exchange, way: str) -> Any:
        """`client.<resource>.create`, or the same behind `with_raw_response` or `with_streaming_response`."""
        client = self._client(exchange.base_url)
        resource = {
            Format.CHAT: lambda: client.chat.completions,
            Format.RESPONSES: lambda: client.responses,
            Format.EMBEDDINGS: lambda: client.embeddings,
            Format.COMPLETIONS: lambda: client.completions,
            Format.MESSAGES: lambda: client.messages,
            Format.COMPLETE: lambda: client.completions,
        }[exchange.format]()
        prefix = {"method": "", "raw": "with_raw_response", "streaming": "with_streaming_response"}[way]
        return getattr(resource, prefix).create if prefix else resource.create

    def arguments(self, exchange: Exchange) -> dict[str, Any]:
        """The recorded body as arguments; what this version of the SDK has no name for goes in `extra_body`."""
        known = inspect.signature(self.method(exchange, "method")).parameters
        body = exchange.request_json()
        arguments = {name: value for name, value in body.items() if name in known}
        extra = {name: value for name, value in body.items() if name not in known}
        return arguments | ({"extra_body": extra} if extra else {}) | {"timeout": 30.0}

    def _http_client(self, library: ModuleType, shell: str, port: int) -> Any:
        if shell == "sync":
            return library.Client(transport=reroute.sync_transport(library, port))
        if shell == "async":
            return library.AsyncClient(transport=reroute.async_transport(library, port))
        import aiohttp

        vendored = importlib.import_module(f"{self.name}._vendor.httpx_aiohttp")
        session = aiohttp.ClientSession(connector=reroute.aiohttp_connector(port))
        return self._module.DefaultAioHttpClient(transport=vendored.AiohttpTransport(client=session))

    def _client(self, base_url: str) -> Any:
        if base_url not in self._clients:
            # Anthropic's methods add the version to the path themselves.
            base = base_url.removesuffix("/v1") if self.name == "anthropic" else base_url
            self._clients[base_url] = self._class(
                api_key=SECRET, base_url=base, http_client=self.http_client, max_retries=0
            )
        return self._clients[base_url]


def _call_sync(sdk: Sdk, exchange: Exchange, way: str, headers: dict[str, str]) -> dict[str, object]:
    call = sdk.method(exchange, way)
    arguments = sdk.arguments(exchange) | {"extra_headers": headers}
    if way == "streaming":
        with call(**arguments) as response:
            return _raw(response, b"".join(response.iter_bytes()))
    result = call(**arguments)
    if way == "raw":
        if exchange.is_sse:
            return {"headers": _headers(result), "events": [_dump(event) for event in result.parse()]}
        return _raw(result, _content(result)) | {"parsed": _dump(result.parse())}
    return {"events": [_dump(event) for event in result]} if exchange.is_sse else {"parsed": _dump(result)}


async def _call_async(sdk: Sdk, exchange: Exchange, way: str, headers: dict[str, str]) -> dict[str, object]:
    call = sdk.method(exchange, way)
    arguments = sdk.arguments(exchange) | {"extra_headers": headers}
    if way == "streaming":
        async with call(**arguments) as response:
            return _raw(response, b"".join([piece async for piece in response.iter_bytes()]))
    result = await call(**arguments)
    if way == "raw":
        if exchange.is_sse:
            return {"headers": _headers(result), "events": await _events(await _now(result.parse()))}
        return _raw(result, await _now(_content(result))) | {"parsed": _dump(await _now(result.parse()))}
    return {"events": await _events(result)} if exchange.is_sse else {"parsed": _dump(result)}


def _content(response: Any) -> Any:
    """The body of a raw response; since its second major version Anthropic's has to be read first."""
    return response.content if hasattr(response, "content") else response.read()


async def _now(value: Any) -> Any:
    """Raw responses of asynchronous clients are read and parsed with or without waiting, depending on the version."""
    return await value if inspect.isawaitable(value) else value


async def _events(stream: AsyncIterator[object]) -> list[str]:
    return [_dump(event) async for event in stream]


def _raw(response: Any, body: bytes) -> dict[str, object]:
    return {"status": response.status_code, "headers": _headers(response), "sha256": sha256(body).hexdigest()}


def _headers(response: Any) -> list[list[str]]:
    return sorted([name, value] for name, value in response.headers.items())


def _dump(model: Any) -> str:
    """The whole model with the fields that this SDK does not know; the type tells a model from a plain dict."""
    content = model.model_dump_json() if hasattr(model, "model_dump_json") else repr(model)
    return f"{type(model).__name__} {content}"


def _failure(error: Exception) -> dict[str, object]:
    body = getattr(error, "body", None)
    return {
        "exception": f"{type(error).__module__}.{type(error).__qualname__}",
        "message": str(error),
        "body": json.dumps(body, default=repr, sort_keys=True),
        "status": getattr(error, "status_code", None),
        "notes": list(getattr(error, "__notes__", ())),
    }


@contextmanager
def _noted(write: Callable[[str], object], exchange: Exchange, way: str) -> Iterator[dict[str, object]]:
    """A span around the call; the outcome that the block fills in is written, or the exception it ends with."""
    outcome: dict[str, object] = {}
    with trace.get_tracer("conformance").start_as_current_span("conformance") as span:
        try:
            yield outcome
        except Exception as error:
            outcome |= _failure(error)
    trace_id = f"{span.get_span_context().trace_id:032x}"
    write(json.dumps({"key": exchange.key, "way": way, "trace_id": trace_id, "outcome": outcome}) + "\n")


def _calls(sdk: Sdk, run: str) -> Iterator[tuple[Exchange, str, dict[str, str]]]:
    for exchange in wire.load():
        if is_drivable(exchange, sdk.name, sdk.http_library):
            for way in WAYS:
                yield exchange, way, {KEY_HEADER: exchange.key, CALL_HEADER: call_name(run, exchange, way)}


def _run_sync(sdk: Sdk, run: str, write: Callable[[str], object]) -> None:
    for exchange, way, headers in _calls(sdk, run):
        with _noted(write, exchange, way) as outcome:
            outcome |= _call_sync(sdk, exchange, way, headers)


async def _run_async(sdk: Sdk, run: str, write: Callable[[str], object]) -> None:
    limit = asyncio.Semaphore(_CONCURRENT)

    async def one(exchange: Exchange, way: str, headers: dict[str, str]) -> None:
        async with limit:
            with _noted(write, exchange, way) as outcome:
                outcome |= await _call_async(sdk, exchange, way, headers)

    await asyncio.gather(*(one(*call) for call in _calls(sdk, run)))


def main() -> None:
    """Run what the command line names; the file's stem is the name of the run."""
    name, library_name, shell, port, path = sys.argv[1:]
    library = importlib.import_module(library_name)
    with Path(path).open("w", encoding="utf-8") as outcomes:
        if shell != "sync":

            async def run() -> None:
                sdk = Sdk(name, library, shell, int(port))
                async with sdk.http_client:
                    await _run_async(sdk, Path(path).stem, outcomes.write)

            asyncio.run(run())
        else:
            sdk = Sdk(name, library, shell, int(port))
            with sdk.http_client:
                _run_sync(sdk, Path(path).stem, outcomes.write)


if __name__ == "__main__":
    main()
