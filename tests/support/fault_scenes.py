"""What applications do with their clients, with what they should get of it: each a scene to be played while we fail.

A scene is played against a local server or in memory, and returns what the application saw: bodies, status codes and
the types of exceptions.
"""

import asyncio
import gzip
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import requests
import urllib3

from support.http_shells import SHELLS, Shell, forget_iterators
from support.span_log import Spans
from support.sse_server import (
    CHAT_REQUEST,
    CHAT_RESPONSE,
    DONE,
    ROLE,
    STOP,
    STREAM_REQUEST,
    USAGE,
    WHOLE_STREAM,
    WORDS,
    Reply,
    SseServer,
    json_reply,
    sse_reply,
)
from support.stream_cases import DIRECTORY, body_of
from tokentrail.instrumentation import prompt, properties, session, user
from tokentrail.instrumentation.wire import BEDROCK_INVOKE, WIRE_FORMATS

METADATA: Final = {"Helicone-User-Id": "u", "Helicone-Property-Team": "core", "Helicone-Cache-Enabled": "true"}
UNASKED_STREAM_REQUEST: Final = {**CHAT_REQUEST, "stream": True}
UNASKED_STREAM: Final = b"".join((ROLE, *WORDS, STOP, DONE))
STREAM: Final = b"".join(WHOLE_STREAM)
LIMITED: Final = {
    "x-ratelimit-limit-requests": "10",
    "x-ratelimit-reset-requests": "6m0s",
    "x-request-id": "r",
    "helicone-id": "h",
}
_REFUSED_URL: Final = "http://127.0.0.1:1/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class World:
    """Where scenes are played."""

    server: SseServer
    spans: Spans


@dataclass(frozen=True, slots=True)
class Scene:
    """One of them."""

    name: str
    kind: str
    """Scenes of a kind are alike: a function need fail in one of each kind only."""
    play: Callable[[World], object]
    expected: tuple[object, ...]
    """What the application may see, the first of these when nothing fails."""


def scenes() -> Iterator[Scene]:
    """All of them."""
    yield from map(_client_scene, SHELLS)
    yield Scene("requests", "urllib3", _play_requests, (_OTHERS_SEE,))
    yield Scene("urllib3", "urllib3", _play_urllib3, (_OTHERS_SEE,))
    yield Scene("aiohttp", "aiohttp", _play_aiohttp, (_OTHERS_SEE,))
    yield Scene("asking for usage", "usage", _play_usage, _any_of(2, UNASKED_STREAM, STREAM))
    yield Scene("urllib3 asking for usage", "urllib3 usage", _play_usage_urllib3, _any_of(2, UNASKED_STREAM, STREAM))
    yield Scene("aiohttp asking for usage", "aiohttp usage", _play_usage_aiohttp, _any_of(2, UNASKED_STREAM, STREAM))
    yield Scene("being refused usage", "refusal", _play_refusal, ([UNASKED_STREAM, 400],))
    yield Scene("threads", "threads", _play_threads, _any_of(3, "s-1", None))
    yield from _fixture_scenes()


def _any_of(count: int, *values: object) -> tuple[object, ...]:
    return tuple(list(each) for each in itertools.product(values, repeat=count))


def _client_scene(shell: Shell) -> Scene:
    def play(world: World) -> object:
        return asyncio.run(_use_client(shell, world))

    expected = [CHAT_RESPONSE, STREAM, ROLE, "ConnectError", 503, 200, 503, 200]
    return Scene(shell.name, shell.name.partition("-")[2], play, (expected,))


async def _use_client(shell: Shell, world: World) -> object:
    """Plain, streamed, left early, failing to connect, and owned by somebody else's span with a retry."""
    got: list[object] = []
    server, application = world.server, world.spans.provider.get_tracer("application")
    server.script(
        json_reply(CHAT_RESPONSE, 200, **LIMITED),
        Reply((gzip.compress(STREAM), b""), 200, {"content-type": "text/event-stream", "content-encoding": "gzip"}),
        sse_reply(ROLE, 0.001, *WHOLE_STREAM[1:]),
        json_reply({"error": {"message": "later"}}, 503),
        json_reply(CHAT_RESPONSE),
        json_reply({"error": {"message": "later"}}, 503),
        json_reply(CHAT_RESPONSE),
    )
    async with shell.client(headers=METADATA) as client:
        with user("u-1"), session("s-1"), properties(team="core"), prompt("p"), application.start_as_current_span("h"):
            response = await shell.post(client, server.chat_url, json=CHAT_REQUEST)
            got.append(response.json())
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            got.append(await shell.read(response))
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            got.append((await shell.first(response, ROLE))[: len(ROLE)])
            await shell.close(response)
            forget_iterators()
            try:
                await shell.post(client, _REFUSED_URL, json=CHAT_REQUEST)
            except shell.library.ConnectError as error:
                got.append(type(error).__name__)
        for attempts in (2, 1, 1):
            with application.start_as_current_span("call", attributes={"gen_ai.operation.name": "chat"}):
                for _ in range(attempts):
                    got.append((await shell.post(client, server.chat_url, json=CHAT_REQUEST)).status_code)
    return got


_OTHERS_SEE: Final = [CHAT_RESPONSE, STREAM, ROLE, 503, "refused"]


def _script_for_others(server: SseServer) -> None:
    server.script(
        json_reply(CHAT_RESPONSE),
        sse_reply(*WHOLE_STREAM),
        sse_reply(ROLE, 0.001, *WHOLE_STREAM[1:]),
        json_reply({"error": {"message": "later"}}, 503),
    )


def _play_urllib3(world: World) -> object:
    pool, url = urllib3.PoolManager(retries=False), world.server.chat_url
    _script_for_others(world.server)

    def post(url: str, body: object, **settings: Any) -> Any:
        headers = {"content-type": "application/json", **METADATA}
        return pool.request("POST", url, body=json.dumps(body).encode(), headers=headers, **settings)

    with session("s-1"):
        got: list[object] = [json.loads(post(url, CHAT_REQUEST).data)]
        got.append(b"".join(post(url, STREAM_REQUEST, preload_content=False).stream()))
        response = post(url, STREAM_REQUEST, preload_content=False)
        got.append(response.read1(len(ROLE)))
        response.close()
        got.append(post(url, CHAT_REQUEST).status)
        try:
            post(_REFUSED_URL, CHAT_REQUEST)
        except urllib3.exceptions.HTTPError:
            got.append("refused")
    pool.clear()
    return got


def _play_requests(world: World) -> object:
    url = world.server.chat_url
    chat: Any = CHAT_REQUEST
    stream: Any = STREAM_REQUEST
    _script_for_others(world.server)
    with session("s-1"), requests.Session() as client:
        client.headers.update(METADATA)
        got: list[object] = [client.post(url, json=chat).json()]
        got.append(b"".join(client.post(url, json=stream, stream=True).iter_content(None)))
        with client.post(url, json=stream, stream=True) as response:
            got.append(next(response.iter_content(len(ROLE))))
        got.append(client.post(url, json=chat).status_code)
        try:
            client.post(_REFUSED_URL, json=chat)
        except requests.exceptions.ConnectionError:
            got.append("refused")
    return got


def _play_aiohttp(world: World) -> object:
    return asyncio.run(_use_aiohttp(world))


async def _use_aiohttp(world: World) -> object:
    url = world.server.chat_url
    chat: Any = CHAT_REQUEST
    stream: Any = STREAM_REQUEST
    _script_for_others(world.server)
    with session("s-1"):
        async with aiohttp.ClientSession(headers=METADATA) as client:
            async with client.post(url, json=chat) as response:
                got: list[object] = [await response.json()]
            async with client.post(url, json=stream) as response:
                got.append(b"".join([piece async for piece in response.content.iter_any()]))
            async with client.post(url, json=stream) as response:
                got.append(await response.content.readexactly(len(ROLE)))
            async with client.post(url, json=chat) as response:
                got.append(response.status)
            try:
                await client.post(_REFUSED_URL, json=chat)
            except aiohttp.ClientConnectionError:
                got.append("refused")
    return got


def _play_usage(world: World) -> object:
    return asyncio.run(_use_unasked(world))


async def _use_unasked(world: World) -> object:
    """Streams whose usage we ask for: it is hidden, or, when that fails, it is not."""
    got: list[bytes] = []
    _script_usage(world.server)
    for shell in SHELLS[2:]:
        async with shell.client() as client:
            response = await shell.open(client, world.server.chat_url, json=UNASKED_STREAM_REQUEST)
            got.append(await shell.read(response))
    return _as_asked(world.server, got)


def _script_usage(server: SseServer) -> None:
    pieces = (ROLE[:20], ROLE[20:], *WORDS, STOP, USAGE[:30], USAGE[30:], DONE)
    server.script(sse_reply(*WHOLE_STREAM), sse_reply(*pieces))


def _as_asked(server: SseServer, got: list[bytes]) -> list[bytes]:
    """`got`, without the usage where it was not asked for: the server sends it all the same."""
    asked = [b'"include_usage"' in received.body for received in server.requests[-len(got) :]]
    return [body if was else UNASKED_STREAM for body, was in zip(got, asked, strict=True)]


def _play_usage_urllib3(world: World) -> object:
    """The same through urllib3, read in two ways."""
    pool, url = urllib3.PoolManager(retries=False), world.server.chat_url
    body, headers = json.dumps(UNASKED_STREAM_REQUEST).encode(), {"content-type": "application/json"}
    _script_usage(world.server)
    got = [pool.request("POST", url, body=body, headers=headers).data]
    response = pool.request("POST", url, body=body, headers=headers, preload_content=False)
    got.append(b"".join(response.stream()))
    pool.clear()
    return _as_asked(world.server, got)


def _play_usage_aiohttp(world: World) -> object:
    """The same through aiohttp."""
    return asyncio.run(_use_unasked_aiohttp(world))


async def _use_unasked_aiohttp(world: World) -> object:
    got: list[bytes] = []
    unasked: Any = UNASKED_STREAM_REQUEST
    _script_usage(world.server)
    async with aiohttp.ClientSession() as client:
        for _ in range(2):
            async with client.post(world.server.chat_url, json=unasked) as response:
                got.append(b"".join([piece async for piece in response.content.iter_any()]))
    return _as_asked(world.server, got)


def _play_refusal(world: World) -> object:
    return asyncio.run(_use_refused(world))


async def _use_refused(world: World) -> object:
    """A server that does not know how to be asked, once; and one that refuses whatever it gets."""
    shell, got = SHELLS[2], list[object]()
    refusal = json_reply({"error": {"message": "Unknown parameter: stream_options"}}, 400)
    world.server.script(refusal, sse_reply(ROLE, *WORDS, STOP, DONE))
    async with shell.client() as client:
        response = await shell.open(client, world.server.chat_url, json=UNASKED_STREAM_REQUEST)
        body = await shell.read(response)
        # Where we fail to understand the refusal the application gets it, as it would have had it sent the option.
        got.append(body if response.status_code == 200 else UNASKED_STREAM)
        world.server.script(json_reply({"error": {"message": "no"}}, 400))
        got.append((await shell.post(client, world.server.chat_url, json=UNASKED_STREAM_REQUEST)).status_code)
    return got


def _play_threads(world: World) -> object:
    """Work handed to other threads, and what session the spans in it are of."""
    application = world.spans.provider.get_tracer("application")
    seen: list[object] = []

    def work() -> None:
        with application.start_as_current_span("work") as span:
            seen.append((getattr(span, "attributes", None) or {}).get("session.id"))

    with session("s-1"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()
        work()
    return seen


def _fixture_scenes() -> Iterator[Scene]:
    for wire in WIRE_FORMATS:
        for path in sorted((DIRECTORY / wire.name).glob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            kind = "streamed" if "body" not in content else "plain"
            yield Scene(f"{wire.name}/{path.stem}", kind, _fixture_play(wire, content), (body_of(content),))


_HOSTS: Final = {
    "openai": "api.openai.com",
    "anthropic": "api.anthropic.com",
    "gemini": "generativelanguage.googleapis.com",
    "imagen": "us-central1-aiplatform.googleapis.com",
    "bedrock": "bedrock-runtime.us-east-1.amazonaws.com",
    "cohere": "api.cohere.com",
    "mistral": "api.mistral.ai",
    "ollama": "127.0.0.1:11434",
}
"""By what the names of formats begin with; any other is called at a host that nobody knows."""


def _fixture_play(wire: Any, content: dict[str, Any]) -> Callable[[World], object]:
    routes = wire.routes or BEDROCK_INVOKE.routes
    streams = "body" not in content
    route = next((route for route in routes if route.stream is streams), routes[0])
    path = route.path.replace("{model}", "a-model").replace("{}", "1")
    url = f"https://{_HOSTS.get(wire.name.partition('_')[0], 'llm.example')}/v1{path.removeprefix('/v1')}"
    body = body_of(content)
    library, request = SHELLS[2].library, content["request"]
    if streams and wire.name.startswith("openai_c"):
        request = {**request, "stream_options": {"include_usage": True}}  # what hides it has a scene of its own

    def answer(_: Any) -> Any:
        pieces = [body[start : start + 40] for start in range(0, len(body), 40)] if streams else [body]
        status, media_type = content.get("status", 200), content["content_type"]
        return library.Response(status, headers={"content-type": media_type}, content=iter(pieces))

    def play(_: World) -> object:
        with library.Client(transport=library.MockTransport(answer), verify=False) as client:
            response = client.send(client.build_request("POST", url, json=request), stream=True)
            return b"".join(response.iter_raw())

    return play
