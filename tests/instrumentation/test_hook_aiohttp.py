"""The hook on aiohttp: all ways of sending and of reading, and what the application must not notice."""

import asyncio
import gzip
import importlib
import inspect
import io
import json
import logging
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from yarl import URL

from support.aiohttp_calls import WAYS, Read, until_empty
from support.aiohttp_tracing import AIOHTTP_TRACING
from support.http_shells import run
from support.sdk_versions import python_path
from support.span_log import Spans, attributes, output_text
from support.sse_server import (
    CHAT_REQUEST,
    CHAT_RESPONSE,
    ROLE,
    STREAM_REQUEST,
    WHOLE_STREAM,
    Reply,
    SseServer,
    json_reply,
    sse_reply,
)
from tokentrail.instrumentation import TokentrailInstrumentor
from tokentrail.instrumentation.patch import _aiohttp_body
from tokentrail.instrumentation.patch.aiohttp_client import AiohttpPatch

pytestmark = pytest.mark.usefixtures("quiet")

CHAT: Final[Any] = CHAT_REQUEST
STREAM: Final = b"".join(WHOLE_STREAM)
_DOCUMENT: Final = json.dumps(CHAT_RESPONSE).encode()

each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def bodies() -> Iterator[tuple[str, Reply, bytes]]:
    """Responses by name, and the bytes that an application reads of them."""
    stream_type = {"content-type": "text/event-stream"}
    zipped, deflated = gzip.compress(STREAM, mtime=0), zlib.compress(STREAM)
    yield "chunked", sse_reply(*WHOLE_STREAM), STREAM
    yield "slow", sse_reply(*[step for piece in WHOLE_STREAM for step in (piece, 0.01)]), STREAM
    yield "with_length", Reply((STREAM,), 200, stream_type), STREAM
    gzipped = {**stream_type, "content-encoding": "gzip"}
    yield "gzip", Reply((zipped[:40], zipped[40:41], zipped[41:], b""), 200, gzipped), STREAM
    yield "deflate", Reply((deflated,), 200, {**stream_type, "content-encoding": "deflate"}), STREAM
    yield "document", Reply((_DOCUMENT,), 200, {"content-type": "application/json"}), _DOCUMENT
    pieces = (_DOCUMENT[:20], _DOCUMENT[20:], b"")
    yield "chunked_document", Reply(pieces, 200, {"content-type": "application/json"}), _DOCUMENT


BODIES: Final = {name: (reply, body) for name, reply, body in bodies()}


async def fetch(url: str, read: Read, request: Any = STREAM_REQUEST, **settings: Any) -> bytes:
    """A response read to its end in a session of its own."""
    async with aiohttp.ClientSession(**settings) as session:
        response = await session.post(url, json=request)
        return await read(response)


def assert_one_call(spans: Spans, *, streamed: bool = True) -> None:
    """One span with all that the response said."""
    span = spans.one()
    found = attributes(span)
    assert found["gen_ai.request.model"] == "gpt-4o-mini"
    assert found["gen_ai.response.id"] == "chatcmpl-1"
    assert found["gen_ai.usage.input_tokens"] == 9
    assert found["gen_ai.usage.output_tokens"] == 4
    assert found["http.response.status_code"] == 200
    assert output_text(span) == ("Hi there you" if streamed else "Hi there")
    assert found.get("tokentrail.stream.exit") == ("complete" if streamed else None)
    assert "tokentrail.body.status" not in found
    assert span.status.status_code is StatusCode.UNSET


@each_way
@pytest.mark.parametrize("body", BODIES, ids=BODIES)
def test_a_response_read_in_any_way_is_one_span_and_the_same_bytes(
    way: Read, body: str, spans: Spans, server: SseServer
) -> None:
    reply, expected = BODIES[body]
    server.script(reply)
    streamed = "document" not in body

    read = run(fetch(server.chat_url, way, STREAM_REQUEST if streamed else CHAT))

    assert read == expected
    assert_one_call(spans, streamed=streamed)


@pytest.mark.parametrize("body", BODIES, ids=BODIES)
def test_a_response_can_be_left_as_it_was_packed(body: str, spans: Spans, server: SseServer) -> None:
    reply, _ = BODIES[body]
    server.script(reply)
    streamed = "document" not in body

    async def scenario() -> list[bytes]:
        async with aiohttp.ClientSession() as session, aiohttp.ClientSession(auto_decompress=False) as packed:
            request: dict[str, Any] = {"json": STREAM_REQUEST if streamed else CHAT}
            one = await packed.post(server.chat_url, **request)
            two = await session.request("post", server.chat_url, auto_decompress=False, **request)
            return [await one.read(), await two.read()]

    read = run(scenario())

    assert read == [b"".join(step for step in reply.steps if isinstance(step, bytes))] * 2
    assert [attributes(span)["gen_ai.usage.output_tokens"] for span in spans.calls()] == [4, 4]
    assert not any("tokentrail.body.status" in attributes(span) for span in spans.calls())


def test_a_response_is_parsed_by_its_own_method(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> Any:
        async with aiohttp.request("POST", server.chat_url, json=CHAT) as response:
            return await response.json()

    assert run(scenario()) == CHAT_RESPONSE
    assert_one_call(spans, streamed=False)


def test_a_reader_may_be_kept_without_its_response(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(STREAM))

    async def opened(session: aiohttp.ClientSession) -> aiohttp.StreamReader:
        return (await session.post(server.chat_url, json=STREAM_REQUEST)).content

    async def scenario() -> bytes:
        async with aiohttp.ClientSession() as session:
            content = await opened(session)
            await asyncio.sleep(0.05)  # everything is here, and nothing else holds the response any more
            return await content.read()

    assert run(scenario()) == STREAM
    assert_one_call(spans)


def test_what_arrives_is_dated_when_the_application_takes_it(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(ROLE, *WHOLE_STREAM[1:]))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, json=STREAM_REQUEST) as response:
            await response.content.readexactly(len(ROLE))
            await asyncio.sleep(0.15)
            await response.content.read()

    run(scenario())
    found = attributes(spans.one())
    chunk, token = found["gen_ai.response.time_to_first_chunk"], found["tokentrail.response.time_to_first_token"]

    assert token - chunk >= 0.14, "the application slept between the two"


def test_a_large_response_is_read_whole_while_the_connection_is_slowed_down(spans: Spans, server: SseServer) -> None:
    """The rest of a body may come from within the taking of a piece of it, when a paused connection goes on."""
    answer = {**CHAT_RESPONSE, "padding": "x" * 2_000_000}
    body = json.dumps(answer).encode()
    packed = gzip.compress(body, mtime=0)
    headers = {"content-type": "application/json"}
    server.script(Reply((body,), 200, headers), Reply((packed,), 200, {**headers, "content-encoding": "gzip"}))

    async def scenario() -> list[bytes]:
        async with aiohttp.ClientSession(read_bufsize=1024) as session:
            read = []
            for _ in range(2):
                response = await session.post(server.chat_url, json=CHAT)
                await asyncio.sleep(0.05)
                read.append(await until_empty(lambda: response.content.read(60_000)))  # noqa: B023  used at once
            return read

    assert run(scenario()) == [body, body]
    assert [attributes(span)["gen_ai.usage.output_tokens"] for span in spans.calls()] == [4, 4]
    assert not any("tokentrail.body.status" in attributes(span) for span in spans.calls())


def test_an_end_that_comes_while_the_last_piece_is_taken_comes_after_that_piece() -> None:
    """A reader that goes on with its connection may be fed from within the taking of a piece."""
    said: list[object] = []
    exchange: Any = SimpleNamespace(
        wants_body=True, respond=lambda *_, **__: None, chunk=said.append, finish=said.append
    )

    async def scenario() -> bytes:
        protocol: Any = SimpleNamespace(connected=True, _reading_paused=True, pause_reading=lambda: None)
        reader = aiohttp.StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
        protocol.resume_reading = lambda **_: None if reader.is_eof() else reader.feed_eof()
        reader.feed_data(b"the last")
        _aiohttp_body.follow(exchange, SimpleNamespace(status=200, raw_headers=(), content=reader), is_decoded=True)
        return await reader.readany()

    assert run(scenario()) == b"the last"
    assert said[:2] == [b"the last", "complete"]


# All ways of sending ----------------------------------------------------------------------------------------------


def _encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    "arguments",
    [
        {"json": CHAT},
        {"data": json.dumps(CHAT)},
        {"data": _encoded(CHAT)},
        {"data": bytearray(_encoded(CHAT))},
        {"data": io.BytesIO(_encoded(CHAT))},
        {"data": aiohttp.JsonPayload(CHAT)},
        {"data": aiohttp.BytesPayload(_encoded(CHAT))},
        {"json": CHAT, "compress": "gzip"},
    ],
    ids=["json", "text", "bytes", "bytearray", "memory", "json payload", "bytes payload", "compressed"],
)
def test_a_body_that_is_in_memory_is_known(arguments: dict[str, Any], spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, **arguments) as response:
            await response.read()

    run(scenario())
    sent = server.requests[0].body

    assert json.loads(zlib.decompress(sent, 31) if "compress" in arguments else sent) == CHAT
    assert_one_call(spans, streamed=False)


async def _generated() -> AsyncIterator[bytes]:
    yield b'{"model": "m", '
    yield b'"messages": []}'


@pytest.mark.parametrize("kind", ["generated", "form"])
def test_a_body_that_is_made_while_it_is_sent_is_not_read_by_us(kind: str, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> Any:
        data: Any = _generated() if kind == "generated" else aiohttp.FormData({"model": "m"})
        async with aiohttp.ClientSession() as session, session.post(server.chat_url, data=data) as response:
            return await response.json()

    assert run(scenario()) == CHAT_RESPONSE
    assert server.requests[0].body == (b'{"model": "m", "messages": []}' if kind == "generated" else b"model=m")
    assert spans.calls() == []  # an unknown host, and nothing to judge the request by


def test_json_is_encoded_once_and_by_the_sessions_own_means(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    encoded: list[Any] = []

    def dumps(value: Any) -> str:
        encoded.append(value)
        return json.dumps(value, indent=1)

    async def scenario() -> None:
        async with aiohttp.ClientSession(json_serialize=dumps) as session:
            await (await session.post(server.chat_url, json=CHAT)).read()

    run(scenario())

    assert len(encoded) == 1
    assert encoded[0] is CHAT
    assert server.requests[0].body == json.dumps(CHAT, indent=1).encode()
    assert server.requests[0].header("content-type") == "application/json"
    assert_one_call(spans, streamed=False)


def test_json_may_be_encoded_to_bytes(spans: Spans, server: SseServer) -> None:
    if "json_serialize_bytes" not in inspect.signature(aiohttp.ClientSession.__init__).parameters:
        pytest.skip(f"aiohttp {aiohttp.__version__} has no such setting")
    server.script(json_reply(CHAT_RESPONSE))
    settings: dict[str, Any] = {"json_serialize_bytes": lambda value: json.dumps(value, indent=2).encode()}

    assert run(fetch(server.chat_url, WAYS["read"], CHAT, **settings)) == _DOCUMENT
    assert server.requests[0].body == json.dumps(CHAT, indent=2).encode()
    assert_one_call(spans, streamed=False)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"json": {1j}}, TypeError),
        ({"json": CHAT, "data": b"x"}, ValueError),
        ({"json": CHAT, "no_such_argument": 1}, TypeError),
        ({"json": CHAT, "headers": {"a": object()}}, TypeError),
    ],
)
def test_what_aiohttp_refuses_is_refused_by_aiohttp_and_no_call(
    arguments: dict[str, Any], error: type[Exception], spans: Spans, server: SseServer
) -> None:
    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(error):
                await session.post(server.chat_url, **arguments)

    run(scenario())

    assert server.requests == []
    refused_on_the_way = "headers" in arguments
    assert len(spans.calls()) == refused_on_the_way


@pytest.mark.parametrize("url", ["", "no scheme", "http://", "ftp://127.0.0.1/v1/chat/completions", None])
def test_an_address_that_is_none_is_refused_by_aiohttp(url: Any, spans: Spans) -> None:
    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises((aiohttp.ClientError, TypeError)):
                await session.post(url, json=CHAT)

    run(scenario())

    assert spans.calls() == []


def test_a_closed_session_makes_no_call(spans: Spans, server: SseServer) -> None:
    async def scenario() -> None:
        session = aiohttp.ClientSession()
        await session.close()
        with pytest.raises(RuntimeError, match="Session is closed"):
            await session.post(server.chat_url, json=CHAT)

    run(scenario())

    assert spans.calls() == []
    assert nothing_open()


def nothing_open() -> bool:
    """True when no exchange waits for its end."""
    observer = TokentrailInstrumentor()._observer
    return observer is not None and not observer._open


def test_the_address_of_a_session_is_followed(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with aiohttp.ClientSession(base_url=server.url) as session:
            await (await session.post("/v1/chat/completions", params={"x": "1"}, json=CHAT)).read()

    run(scenario())

    assert server.requests[0].path == "/v1/chat/completions?x=1"
    assert attributes(spans.one())["server.port"] == server.server_port


def test_a_request_through_a_plain_proxy_is_a_call_of_the_host_it_names(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            url = "http://api.openai.com/v1/chat/completions"
            await (await session.post(url, json=CHAT, proxy=server.url)).read()

    run(scenario())
    found = attributes(spans.one())

    assert (found["server.address"], found["server.port"]) == ("api.openai.com", 80)
    assert found["gen_ai.provider.name"] == "openai"


def test_other_requests_are_left_alone(spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"hello",), 200))

    async def scenario() -> list[bytes]:
        async with aiohttp.ClientSession() as session:
            got = await session.get(server.chat_url)
            posted = await session.post(f"{server.url}/orders", json={"a": 1})
            assert type(got.content) is type(posted.content) is aiohttp.StreamReader
            return [await got.read(), await posted.read()]

    assert run(scenario()) == [b"hello", b"hello"]
    assert spans.calls() == []


# Metadata ---------------------------------------------------------------------------------------------------------

METADATA: Final = {"Helicone-User-Id": "ann", "Tokentrail-Property-Plan": "pro", "X-Other": "kept"}


def test_metadata_headers_are_taken_off_and_the_callers_stay_as_they_are(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    headers = dict(METADATA)

    async def scenario() -> aiohttp.ClientResponse:
        async with aiohttp.ClientSession(headers={"Helicone-Prompt-Id": "greet"}) as session:
            response = await session.post(server.chat_url, json=CHAT, headers=headers)
            await response.read()
            assert session.headers["Helicone-Prompt-Id"] == "greet"
            return response

    shown = run(scenario()).request_info.headers
    found = attributes(spans.one())

    assert headers == METADATA
    assert server.requests[0].names.isdisjoint({"helicone-user-id", "tokentrail-property-plan", "helicone-prompt-id"})
    assert server.requests[0].header("x-other") == "kept"
    assert {name: shown[name] for name in METADATA} == METADATA
    assert list(shown)[:2] == ["Host", "Helicone-Prompt-Id"]
    assert shown["Content-Type"] == "application/json"
    assert (found["user.id"], found["tokentrail.property.Plan"]) == ("ann", "pro")
    assert found["gen_ai.prompt.name"] == "greet"


@pytest.mark.parametrize(
    "headers", [list(METADATA.items()), tuple(METADATA.items()), METADATA], ids=["list", "", "map"]
)
def test_headers_may_be_given_in_any_shape(headers: Any, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            await (await session.post(server.chat_url, json=CHAT, headers=headers)).read()

    run(scenario())

    assert "helicone-user-id" not in server.requests[0].names
    assert attributes(spans.one())["user.id"] == "ann"


def test_headers_that_can_be_read_but_once_are_not_read_by_us(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            headers: Any = iter([("X-Other", "kept")])
            await (await session.post(server.chat_url, json=CHAT, headers=headers)).read()

    run(scenario())

    assert server.requests[0].header("x-other") == "kept"
    assert_one_call(spans, streamed=False)


def test_understood_headers_stay_when_asked_to(instrument: Callable[..., Spans], server: SseServer) -> None:
    spans = instrument(strip_headers=False)
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            await (await session.post(server.chat_url, json=CHAT, headers=METADATA)).read()

    run(scenario())

    assert server.requests[0].header("helicone-user-id") == "ann"
    assert attributes(spans.one())["user.id"] == "ann"


def test_a_signed_request_is_never_changed(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    headers = {"Helicone-User-Id": "ann", "Authorization": "AWS4-HMAC-SHA256 Credential=x"}

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            await (await session.post(server.chat_url, json=CHAT, headers=headers)).read()

    run(scenario())

    assert server.requests[0].header("helicone-user-id") == "ann"
    assert attributes(spans.one())["user.id"] == "ann"


@pytest.mark.parametrize(
    ("host", "kept"), [("api.openai.com", False), ("oai.helicone.ai", True), ("example.org", True)]
)
def test_a_provider_is_told_nothing_by_other_requests_either(
    host: str, kept: bool, spans: Spans, server: SseServer
) -> None:
    server.script(json_reply({}))

    async def scenario() -> None:
        async with aiohttp.ClientSession(headers=METADATA) as session:
            response = await session.get(f"http://{host}/v1/models", proxy=server.url)
            await response.read()
            assert response.request_info.headers["Helicone-User-Id"] == "ann"

    run(scenario())

    assert ("helicone-user-id" in server.requests[0].names) is kept
    assert server.requests[0].header("x-other") == "kept"
    assert spans.all() == []


# Several requests in one call -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [307, 308])
def test_each_redirected_request_is_a_span(status: int, spans: Spans, server: SseServer) -> None:
    target = f"{server.url}/elsewhere/v1/chat/completions"
    server.script(Reply((b"moved",), status, {"location": target}), json_reply(CHAT_RESPONSE))
    tracer = spans.provider.get_tracer("application")

    async def scenario() -> aiohttp.ClientResponse:
        async with aiohttp.ClientSession() as session:
            with tracer.start_as_current_span("work"):
                response = await session.post(server.chat_url, json=CHAT, headers=METADATA)
                assert await response.json() == CHAT_RESPONSE
            return response

    response = run(scenario())
    first, second = spans.calls()
    work = next(span for span in spans.all() if span.name == "work")

    assert [moved.status for moved in response.history] == [status]
    assert response.url == URL(target)
    assert [attributes(span)["http.response.status_code"] for span in (first, second)] == [status, 200]
    assert [attributes(span)["user.id"] for span in (first, second)] == ["ann", "ann"]
    assert "gen_ai.usage.output_tokens" not in attributes(first)
    assert attributes(second)["gen_ai.usage.output_tokens"] == 4
    assert first.parent == second.parent == work.context
    assert not any("helicone-user-id" in received.names for received in server.requests)
    assert [received.body for received in server.requests] == [_encoded(CHAT)] * 2


def test_a_redirection_to_something_else_is_no_call(spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"",), 303, {"location": f"{server.url}/result"}), json_reply(CHAT_RESPONSE))

    assert run(fetch(server.chat_url, WAYS["read"], CHAT)) == _DOCUMENT
    assert [received.method for received in server.requests] == ["POST", "GET"]
    assert attributes(spans.one())["http.response.status_code"] == 303


def test_a_redirection_to_nowhere_is_a_call_that_failed(spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"",), 307, {"location": "http://127.0.0.1:9/v1/chat/completions"}))

    with pytest.raises(aiohttp.ClientConnectorError):
        run(fetch(server.chat_url, WAYS["read"], CHAT))
    first, second = spans.calls()

    assert attributes(first)["http.response.status_code"] == 307
    assert attributes(second)["error.type"] == "aiohttp.client_exceptions.ClientConnectorError"
    assert attributes(second)["server.port"] == 9


def test_too_many_redirections_are_as_many_calls(spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"",), 307, {"location": server.chat_url}))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.TooManyRedirects):
                await session.post(server.chat_url, json=CHAT, max_redirects=3)

    run(scenario())

    assert [attributes(span)["http.response.status_code"] for span in spans.calls()] == [307, 307, 307]


needs_middlewares = pytest.mark.skipif(
    "middlewares" not in inspect.signature(aiohttp.ClientSession.__init__).parameters,
    reason=f"aiohttp {aiohttp.__version__} has no middlewares",
)


@needs_middlewares
def test_a_middleware_that_sends_again_makes_two_calls(spans: Spans, server: SseServer) -> None:
    refusal = json_reply({"error": {"message": "who?", "type": "auth"}}, 401)
    server.script(json_reply({}), refusal, json_reply({}), json_reply(CHAT_RESPONSE))

    async def authenticate(request: Any, handler: Any) -> Any:
        response = None
        for attempt in ("first", "second"):
            token = await request.session.post(f"{server.url}/token", json={"grant": attempt}, middlewares=())
            await token.read()
            request.headers["Authorization"] = f"Bearer {attempt}-token"
            response = await handler(request)
            if response.status != 401:
                break
            await response.read()
        return response

    read = run(fetch(server.chat_url, WAYS["iter_any"], CHAT, middlewares=(authenticate,)))
    refused, answered = spans.calls()

    assert read == _DOCUMENT
    assert (attributes(refused)["http.response.status_code"], attributes(refused)["error.type"]) == (401, "auth")
    assert attributes(answered)["gen_ai.usage.output_tokens"] == 4
    assert [received.path for received in server.requests] == ["/token", "/v1/chat/completions"] * 2
    assert server.requests[3].header("authorization") == "Bearer second-token"


@needs_middlewares
def test_a_middleware_that_tries_again_after_an_error_makes_two_calls(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def insist(request: Any, handler: Any) -> Any:
        try:
            return await handler(request)
        except aiohttp.ClientConnectorError:
            request.url = URL(server.chat_url)
            return await handler(request)

    read = run(fetch("http://127.0.0.1:9/v1/chat/completions", WAYS["read"], CHAT, middlewares=(insist,)))
    failed, answered = spans.calls()

    assert read == _DOCUMENT
    assert attributes(failed)["error.type"] == "aiohttp.client_exceptions.ClientConnectorError"
    assert attributes(answered)["server.port"] == server.server_port


@needs_middlewares
def test_a_middleware_that_answers_itself_makes_no_call(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    kept: list[Any] = []

    async def remember(request: Any, handler: Any) -> Any:
        if not kept:
            kept.append(await handler(request))
            await kept[0].read()
        return kept[0]

    async def scenario() -> list[Any]:
        async with aiohttp.ClientSession(middlewares=(remember,)) as session:
            return [await (await session.post(server.chat_url, json=CHAT)).json() for _ in range(3)]

    assert run(scenario()) == [CHAT_RESPONSE] * 3
    assert_one_call(spans, streamed=False)
    assert nothing_open()


# Errors -----------------------------------------------------------------------------------------------------------


def test_an_error_of_the_provider(spans: Spans, server: SseServer) -> None:
    limited = {"error": {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}}
    server.script(json_reply(limited, 429, retry_after="2", x_request_id="req-1"))

    run(fetch(server.chat_url, WAYS["read"]))
    span = spans.one()

    assert attributes(span)["http.response.status_code"] == 429
    assert attributes(span)["error.type"] == "rate_limit_exceeded"
    assert attributes(span)["tokentrail.ratelimit.retry_after"] == 2
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "Slow down")


def test_a_status_that_is_raised_as_an_error(spans: Spans, server: SseServer) -> None:
    server.script(json_reply({"error": {"message": "no"}}, 503))

    with pytest.raises(aiohttp.ClientResponseError) as caught:
        run(fetch(server.chat_url, WAYS["read"], raise_for_status=True))
    span = spans.one()

    assert caught.value.status == 503
    assert attributes(span)["http.response.status_code"] == 503
    assert span.status.status_code is StatusCode.ERROR


def test_a_response_without_a_body_is_over_at_once(spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"",), 204))

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            response = await session.post(server.chat_url, json=CHAT)
            assert attributes(spans.one())["http.response.status_code"] == 204
            assert await response.read() == b""

    run(scenario())


def test_a_response_that_is_no_http(spans: Spans) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"nonsense\r\n\r\n")
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with listener, aiohttp.ClientSession() as session:
            port = listener.sockets[0].getsockname()[1]
            with pytest.raises(aiohttp.ClientResponseError):
                await session.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=CHAT)

    run(scenario())
    span = spans.one()

    assert attributes(span)["error.type"] == "aiohttp.client_exceptions.ClientResponseError"
    assert "http.response.status_code" not in attributes(span)


# Beside others ----------------------------------------------------------------------------------------------------


def _tracing(spans: Spans) -> aiohttp.TraceConfig:
    """What `opentelemetry-instrumentation-aiohttp-client` does: a span from the start of a call to its response."""
    tracer = spans.provider.get_tracer("aiohttp tracing")
    config = aiohttp.TraceConfig()

    async def start(_: Any, context: Any, __: Any) -> None:
        context.span = tracer.start_span("POST")
        context.scope = trace.use_span(context.span)
        context.scope.__enter__()

    async def end(_: Any, context: Any, __: Any) -> None:
        context.scope.__exit__(None, None, None)
        context.span.end()

    config.on_request_start.append(start)
    config.on_request_end.append(end)
    config.on_request_exception.append(end)
    return config


@pytest.mark.usefixtures("nothing_left_behind")
def test_spans_of_the_transport_are_children(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with aiohttp.ClientSession(trace_configs=[_tracing(spans)]) as session:
            await (await session.post(server.chat_url, json=CHAT)).read()
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post("http://127.0.0.1:9/v1/chat/completions", json=CHAT)
            assert trace.get_current_span() is trace.INVALID_SPAN

    run(scenario())
    calls = spans.calls()
    children = sorted((span for span in spans.all() if span.name == "POST"), key=lambda span: span.start_time or 0)

    assert [child.parent for child in children] == [call.context for call in calls]


@pytest.mark.usefixtures("nothing_left_behind")
def test_spans_of_opentelemetrys_own_instrumentation_are_children(
    spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for directory in python_path(AIOHTTP_TRACING):
        monkeypatch.syspath_prepend(directory)
    instrumentor = importlib.import_module("opentelemetry.instrumentation.aiohttp_client").AioHttpClientInstrumentor()
    server.script(Reply((b"",), 307, {"location": server.chat_url}), json_reply(CHAT_RESPONSE))

    instrumentor.instrument(tracer_provider=spans.provider, skip_dep_check=True)
    try:
        assert run(fetch(server.chat_url, WAYS["read"], CHAT)) == _DOCUMENT
    finally:
        instrumentor.uninstrument()
    first, second = spans.calls()
    others = [span for span in spans.all() if span not in (first, second)]

    assert first.context is not None
    assert [span.parent for span in others] == [first.context]  # one for both requests
    assert attributes(second)["gen_ai.usage.output_tokens"] == 4
    assert f"{first.context.trace_id:032x}-" in (server.requests[0].header("traceparent") or "")


def test_a_call_of_an_sdk_over_aiohttp_is_counted_once(spans: Spans, server: SseServer) -> None:
    openai = pytest.importorskip("openai")
    server.script(json_reply(CHAT_RESPONSE), sse_reply(*WHOLE_STREAM))

    async def scenario() -> list[Any]:
        client = openai.AsyncOpenAI(
            api_key="sk-test-12345678", base_url=f"{server.url}/v1", http_client=openai.DefaultAioHttpClient()
        )
        async with client:
            plain = await client.chat.completions.create(**CHAT)
            stream = await client.chat.completions.create(**STREAM_REQUEST)
            return [plain, *[chunk async for chunk in stream]]

    read = run(scenario())

    assert read[0].usage.completion_tokens == read[-1].usage.completion_tokens == 4
    assert [attributes(span)["gen_ai.usage.output_tokens"] for span in spans.calls()] == [4, 4]


def test_the_arguments_of_a_request_can_still_be_looked_up() -> None:
    """As google-genai does to tell what it may pass on."""
    parameters = inspect.signature(aiohttp.ClientSession._request).parameters

    assert {"json", "data", "headers", "timeout", "ssl"} <= set(parameters)


def test_results_are_the_same_with_and_without(spans: Spans, server: SseServer) -> None:
    async def taken() -> list[object]:
        result: list[object] = []
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            for reply, _ in BODIES.values():
                server.script(reply)
                async with session.post(server.chat_url, json=STREAM_REQUEST, headers=METADATA) as response:
                    result += [response.status, response.reason, response.raw_headers, response.version]
                    result += [
                        response.method,
                        str(response.url),
                        response.charset,
                        list(response.request_info.headers),
                    ]
                    assert isinstance(response.content, aiohttp.StreamReader)
                    result += [type(response.content).__name__, repr(response.content)[:13]]
                    result += [[chunk async for chunk in response.content.iter_chunks()]]
                    result += [response.content.total_bytes, response.content.at_eof(), response.content.exception()]
                    result += [response.closed, response.connection is None, repr(response)]
        return result

    instrumented = run(taken())
    seen = len(spans.calls())
    TokentrailInstrumentor().uninstrument()
    bare = run(taken())

    assert [item for item in instrumented if not isinstance(item, list)] == [
        item for item in bare if not isinstance(item, list)
    ]
    assert [_joined(item) for item in instrumented] == [_joined(item) for item in bare]
    assert seen == len(BODIES)
    half = len(server.requests) // 2
    assert [r.body for r in server.requests[:half]] == [r.body for r in server.requests[half:]]


def _joined(item: object) -> object:
    """Chunks as one text: where they are cut depends on the time of their coming."""
    return b"".join(chunk for chunk, _ in item) if isinstance(item, list) and isinstance(item[0], tuple) else item


def test_nothing_of_us_is_on_a_call_that_nobody_watches(instrument: Callable[..., Spans], server: SseServer) -> None:
    spans = instrument()
    server.script(json_reply(CHAT_RESPONSE))
    TokentrailInstrumentor().uninstrument()

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            response = await session.post(server.chat_url, json=CHAT, headers=METADATA)
            assert type(response.content) is aiohttp.StreamReader
            assert await response.json() == CHAT_RESPONSE

    run(scenario())

    assert server.requests[0].header("helicone-user-id") == "ann"
    assert spans.calls() == []


_HOOKED: Final = ("ClientSession", "BaseConnector", "ClientRequest", "ClientResponse", "StreamReader")


@pytest.mark.parametrize(
    ("class_name", "missing"),
    [
        ("ClientSession", "_request"),
        ("ClientSession", "_build_url"),
        ("BaseConnector", "connect"),
        ("ClientRequest", "send"),
        ("ClientResponse", "start"),
        ("ClientResponse", "release"),
        ("StreamReader", "_read_nowait_chunk"),
        ("StreamReader", "feed_eof"),
        ("StreamReader", "_buffer"),
    ],
)
def test_an_unknown_version_is_not_hooked_and_a_warning_says_so(
    class_name: str, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    members = {
        name: {
            key: value for key, value in vars(getattr(aiohttp, name)).items() if (name, key) != (class_name, missing)
        }
        for name in _HOOKED
    }
    if missing == "_buffer":
        members["StreamReader"]["__init__"] = lambda self: setattr(self, "_eof", self._exception)
    classes = {name: SimpleNamespace(**found) for name, found in members.items()}
    module: Any = SimpleNamespace(__name__="aiohttp", __version__="9.9", payload=aiohttp.payload, **classes)

    with caplog.at_level(logging.WARNING):
        AiohttpPatch().hook(module)

    assert [record.getMessage() for record in caplog.records] == [
        "aiohttp 9.9 is not supported: its calls are not seen"
    ]
    assert {name: vars(found) for name, found in classes.items()} == members
    caplog.clear()
