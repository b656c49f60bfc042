"""Drives recorded exchanges through the SDKs of Google, AWS, Ollama, Mistral and Cohere, with or without
instrumentation.

    vendor_worker.py <name of the SDK> <sync|async|aiohttp> <port of the replay server> <file for the outcomes>

The recorded bodies are given to the SDK's methods as arguments, and what the SDK makes of the responses is noted. Each
call is made inside a span of its own, so that its trace id names it. One JSON object a line is written: `key`,
`trace_id`, `outcome`, which says everything that the application got, and `view`, a few facts that the SDK read from
the response, by the names of `Expected`: the vendor's reading, against which ours is held.
"""

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace

from conformance import vendor_views
from support import reroute, wire
from support.replay_server import CALL_HEADER, KEY_HEADER
from support.wire import Exchange, Format

SHELLS: Final[Mapping[str, tuple[str, ...]]] = {
    "google-genai": ("sync", "async", "aiohttp"),
    "boto3": ("sync",),
    "ollama": ("sync", "async"),
    "mistralai": ("sync", "async"),
    "cohere": ("sync", "async"),
}
"""The ways in which each SDK can be used."""

SECRET: Final = "sk-conformance-90c1d4e6"
"""The key that the SDKs are given; nothing may ever record it."""

_CONCURRENT: Final = 8

Method = Callable[[Exchange], Any]
"""Makes the call that was recorded; gives the SDK's result, or a stream, or a promise of either."""

_GENERATE: Final = (Format.GENERATE, Format.STREAM_GENERATE, Format.BATCH_EMBED)
_BEDROCK: Final = (Format.CONVERSE, Format.CONVERSE_STREAM, Format.INVOKE, Format.INVOKE_STREAM)


def is_drivable(exchange: Exchange, sdk: str, shell: str) -> bool:
    """True when the SDK has a method for the exchange."""
    if sdk == "google-genai":
        # Numbers for enumerations are what an older client asked for; this one can neither send nor ask for them.
        # Interactions are made with httpx clients only.
        numbered = "enum-encoding" in exchange.url
        return (exchange.format in _GENERATE and not numbered) or (
            exchange.format is Format.INTERACTIONS and shell != "aiohttp"
        )
    return {
        "boto3": exchange.format in _BEDROCK,
        "ollama": exchange.format is Format.OLLAMA_CHAT,
        "mistralai": exchange.host == "api.mistral.ai",
        "cohere": exchange.format is Format.RERANK,
    }[sdk]


def call_name(run: str, exchange: Exchange) -> str:
    """How the replay server knows a call."""
    return f"{run}/{exchange.key}"


# The SDKs, which are not there where types are checked ------------------------------------------------------------


def _http_client(library_name: str, shell: str, port: int, opened: list[Any]) -> Any:
    library = importlib.import_module(library_name)
    if shell == "sync":
        opened.append(library.Client(transport=reroute.sync_transport(library, port)))
    else:
        opened.append(library.AsyncClient(transport=reroute.async_transport(library, port)))
    return opened[-1]


def _google_genai(shell: str, port: int, opened: list[Any]) -> Method:
    genai = importlib.import_module("google.genai")
    credentials = importlib.import_module("google.oauth2.credentials").Credentials(token=SECRET)
    options: dict[str, Any] = {"retry_options": {"attempts": 1}}
    if shell == "aiohttp":
        import aiohttp

        tracing = aiohttp.TraceConfig()
        tracing.on_request_start.append(_add_headers)
        options["aiohttp_client"] = aiohttp.ClientSession(
            connector=reroute.aiohttp_connector(port), trace_configs=[tracing]
        )
        opened.append(options["aiohttp_client"])
    else:
        name = "httpx_client" if shell == "sync" else "httpx_async_client"
        options[name] = _http_client("httpx2", shell, port, opened)
    studio = genai.Client(api_key=SECRET, http_options=options)
    vertex = genai.Client(
        vertexai=True,
        project="test-project",
        location="test-location",
        credentials=credentials,
        http_options=options,
    )

    def call(exchange: Exchange) -> Any:
        client: Any = vertex if "aiplatform" in exchange.host else studio
        client = client if shell == "sync" else client.aio
        body = exchange.request_json()
        if exchange.format is Format.INTERACTIONS:
            return client.interactions.create(**body)
        model = exchange.path.rpartition("/")[2].partition(":")[0]
        if exchange.format is Format.BATCH_EMBED:
            requests: Any = body["requests"]
            config = {"taskType": requests[0].get("taskType")}
            contents = [request["content"] for request in requests]
            return client.models.embed_content(model=model, contents=contents, config=config)
        streamed = exchange.format is Format.STREAM_GENERATE
        method = client.models.generate_content_stream if streamed else client.models.generate_content
        return method(model=model, contents=body["contents"], config=_google_config(body))

    return call


def _google_config(body: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a request as the SDK takes them: all in one."""
    beside = {name: body[name] for name in ("systemInstruction", "tools") if name in body}
    return {**body.get("generationConfig", {}), **beside}


async def _add_headers(_: object, __: object, parameters: Any) -> None:
    parameters.headers.update(reroute.EXTRA_HEADERS.get())


def _boto3(_: str, port: int, opened: list[Any]) -> Method:
    boto3 = importlib.import_module("boto3")
    config = importlib.import_module("botocore.config").Config(retries={"total_max_attempts": 1}, proxies={})
    pool = importlib.import_module("botocore.awsrequest").AWSHTTPSConnectionPool
    pool.ConnectionCls = reroute.connection_class(pool.ConnectionCls, port)
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        aws_access_key_id="AKIACONFORMANCE",
        aws_secret_access_key=SECRET,
        aws_session_token=SECRET,
        config=config,
    )

    opened.append(client)

    def add_headers(request: Any, **__: object) -> None:
        for name, value in reroute.EXTRA_HEADERS.get().items():
            request.headers[name] = value

    client.meta.events.register("before-sign.bedrock-runtime", add_headers)
    methods = {
        Format.CONVERSE: client.converse,
        Format.CONVERSE_STREAM: client.converse_stream,
        Format.INVOKE: client.invoke_model,
        Format.INVOKE_STREAM: client.invoke_model_with_response_stream,
    }

    def call(exchange: Exchange) -> Any:
        model = exchange.path.split("/")[2].replace("%3A", ":")
        method = methods[exchange.format]
        if exchange.format in (Format.CONVERSE, Format.CONVERSE_STREAM):
            return method(modelId=model, **exchange.request_json())
        return method(modelId=model, body=exchange.request_body)

    return call


def _ollama(shell: str, port: int, opened: list[Any]) -> Method:
    import httpx

    ollama = importlib.import_module("ollama")
    make = reroute.sync_transport if shell == "sync" else reroute.async_transport
    client_class = ollama.Client if shell == "sync" else ollama.AsyncClient
    client = client_class(
        "http://127.0.0.1:11434", transport=make(httpx, port), headers={"authorization": f"Bearer {SECRET}"}
    )
    opened.append(client)
    return lambda exchange: client.chat(**exchange.request_json())


def _mistralai(shell: str, port: int, opened: list[Any]) -> Method:
    http_client = _http_client("httpx2", shell, port, opened)
    client = importlib.import_module("mistralai.client").Mistral(
        api_key=SECRET, **{"client" if shell == "sync" else "async_client": http_client}
    )

    def call(exchange: Exchange) -> Any:
        arguments = exchange.request_json()
        del arguments["stream"]
        return (client.chat.stream if shell == "sync" else client.chat.stream_async)(**arguments)

    return call


def _cohere(shell: str, port: int, opened: list[Any]) -> Method:
    cohere = importlib.import_module("cohere")
    client_class = cohere.ClientV2 if shell == "sync" else cohere.AsyncClientV2
    client = client_class(SECRET, httpx_client=_http_client("httpx", shell, port, opened))

    def call(exchange: Exchange) -> Any:
        given = exchange.request_json()
        return client.rerank(**{name: given[name] for name in ("model", "query", "documents", "top_n")})

    return call


_SDKS: Final[Mapping[str, Callable[[str, int, list[Any]], Method]]] = {
    "google-genai": _google_genai,
    "boto3": _boto3,
    "ollama": _ollama,
    "mistralai": _mistralai,
    "cohere": _cohere,
}
"""What makes a client of each; it adds what it opens to a list."""


# The calls ------------------------------------------------------------------------------------------------------


@contextmanager
def _noted(write: Callable[[str], object], run: str, exchange: Exchange, sdk: str) -> Iterator[list[object]]:
    """A span around the call; the pieces of the result that the block appends are written, or what it raised."""
    pieces: list[object] = []
    outcome: dict[str, object] = {}
    token = reroute.EXTRA_HEADERS.set({KEY_HEADER: exchange.key, CALL_HEADER: call_name(run, exchange)})
    try:
        with trace.get_tracer("conformance").start_as_current_span("conformance") as span:
            try:
                yield pieces
                outcome["result"] = [vendor_views.dump(piece) for piece in pieces]
            except Exception as error:
                outcome |= {"exception": type(error).__qualname__, "message": str(error)}
                outcome["notes"] = list(getattr(error, "__notes__", ()))
    finally:
        reroute.EXTRA_HEADERS.reset(token)
    line = {
        "key": exchange.key,
        "trace_id": f"{span.get_span_context().trace_id:032x}",
        "outcome": outcome,
        "view": None if "exception" in outcome else vendor_views.view(sdk, exchange.format, pieces),
    }
    write(json.dumps(line) + "\n")


def _run_sync(sdk: str, shell: str, port: int, run: str, write: Callable[[str], object]) -> None:
    opened: list[Any] = []
    call = _SDKS[sdk](shell, port, opened)
    for exchange in wire.load():
        if is_drivable(exchange, sdk, shell):
            with _noted(write, run, exchange, sdk) as pieces:
                pieces += vendor_views.pieces(exchange.format, call(exchange))
    for client in opened:
        client.close()


async def _run_async(sdk: str, shell: str, port: int, run: str, write: Callable[[str], object]) -> None:
    opened: list[Any] = []
    call = _SDKS[sdk](shell, port, opened)
    limit = asyncio.Semaphore(_CONCURRENT)

    async def one(exchange: Exchange) -> None:
        async with limit:
            with _noted(write, run, exchange, sdk) as pieces:
                result = call(exchange)
                while inspect.isawaitable(result):
                    result = await _of(result)
                if hasattr(result, "__aiter__"):
                    pieces += [piece async for piece in result]
                else:
                    pieces.append(result)

    await asyncio.gather(*(one(exchange) for exchange in wire.load() if is_drivable(exchange, sdk, shell)))
    for client in opened:
        await (client.aclose if hasattr(client, "aclose") else client.close)()


async def _of(promise: Awaitable[Any]) -> Any:
    return await promise


def main() -> None:
    """Run what the command line names; the file's stem is the name of the run."""
    sdk, shell, port, path = sys.argv[1:]
    with Path(path).open("w", encoding="utf-8") as outcomes:
        run = Path(path).stem
        if shell == "sync":
            _run_sync(sdk, shell, int(port), run, outcomes.write)
        else:
            asyncio.run(_run_async(sdk, shell, int(port), run, outcomes.write))


if __name__ == "__main__":
    main()
