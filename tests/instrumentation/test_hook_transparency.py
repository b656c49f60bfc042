"""What the application gets is what it would get without the instrumentation, to the byte and to the object."""

import gzip
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from support.http_shells import Shell, run
from support.span_log import Spans, attributes
from support.sse_server import (
    CHAT_REQUEST,
    CHAT_RESPONSE,
    STREAM_REQUEST,
    WHOLE_STREAM,
    Reply,
    SseServer,
    json_reply,
    sse_reply,
)
from tokentrail.instrumentation import TokentrailInstrumentor

pytestmark = pytest.mark.usefixtures("quiet")

_GZIPPED = gzip.compress(b"".join(WHOLE_STREAM), mtime=0)
REPLIES: Mapping[str, Reply] = {
    "plain": json_reply(CHAT_RESPONSE, x_request_id="r", set_cookie="a=b"),
    "stream": sse_reply(*WHOLE_STREAM),
    "crlf stream": sse_reply(b"".join(WHOLE_STREAM).replace(b"\n", b"\r\n")),
    "gzip stream": sse_reply(_GZIPPED[:30], _GZIPPED[30:], **{"content-encoding": "gzip"}),
    "gzip plain": Reply((_GZIPPED,), 200, {"content-encoding": "gzip", "content-type": "text/plain"}),
    "empty": Reply((b"",), 200, {}),
    "no JSON": Reply((b"\xff\xfe<html>",), 502, {"content-type": "text/html; charset=latin-1"}),
    "error": json_reply({"error": {"message": "no"}}, 429, retry_after="2"),
}
METHODS: tuple[tuple[str, Mapping[str, int]], ...] = (
    ("iter_raw", {}),
    ("iter_raw", {"chunk_size": 7}),
    ("iter_bytes", {}),
    ("iter_bytes", {"chunk_size": 11}),
    ("iter_text", {}),
    ("iter_lines", {}),
)


async def _take(shell: Shell, url: str) -> list[object]:
    """All that can be had of a response, in each way of having it."""
    taken: list[object] = []
    async with shell.client() as client:
        for method, arguments in METHODS:
            response = await shell.open(client, url, json=STREAM_REQUEST)
            pieces = [piece async for piece in shell.pieces(response, method, **arguments)]
            whole = [b"".join(pieces) if method == "iter_raw" and not arguments else pieces]
            if arguments or method == "iter_lines":
                taken.append((method, whole))
            else:
                taken.append((method, pieces[0][:0].join(pieces) if pieces else None))
            taken += [response.num_bytes_downloaded, response.is_closed, response.is_stream_consumed]
            assert isinstance(response.elapsed, timedelta)
            with pytest.raises(shell.library.StreamConsumed):
                _ = [piece async for piece in shell.pieces(response, "iter_raw")]
        response = await shell.post(client, url, json=STREAM_REQUEST)
        taken += [response.content, response.text, response.status_code, response.reason_phrase, response.encoding]
        taken += [sorted(response.headers.raw), response.http_version, response.history, dict(response.cookies)]
        taken += [response.num_bytes_downloaded, response.is_success, str(response.url), repr(response)]
        assert timedelta(0) < response.elapsed < timedelta(seconds=10)
    return taken


@pytest.mark.parametrize("kind", REPLIES)
def test_results_are_the_same_with_and_without(any_shell: Shell, spans: Spans, server: SseServer, kind: str) -> None:
    server.script(REPLIES[kind])

    instrumented = run(_take(any_shell, server.chat_url))
    seen = len(spans.calls())
    TokentrailInstrumentor().uninstrument()
    bare = run(_take(any_shell, server.chat_url))

    assert instrumented == bare
    assert seen == len(METHODS) + 1
    half = len(server.requests) // 2
    assert [r.body for r in server.requests[:half]] == [r.body for r in server.requests[half:]]
    assert [r.headers for r in server.requests[:half]] == [r.headers for r in server.requests[half:]]


METADATA = {"Helicone-User-Id": "u-1", "Helicone-Property-Team": "core", "X-Other": "kept", "Authorization": "Bearer t"}


def test_the_response_has_the_request_that_was_made(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with shell.client() as client:
            headers = dict(METADATA)
            request = client.build_request("POST", server.chat_url, json=CHAT_REQUEST, headers=headers)
            before = list(request.headers.raw)
            for _ in range(2):
                response = await shell.get(client.send(request))
                assert response.request is request
                assert response.request.url == request.url
            assert headers == METADATA
            assert list(request.headers.raw) == before

    run(scenario())

    assert [attributes(span)["user.id"] for span in spans.calls()] == ["u-1", "u-1"]
    assert [received.header("x-other") for received in server.requests] == ["kept", "kept"]


def test_an_exception_has_the_request_that_was_made(any_shell: Shell, spans: Spans) -> None:
    library = any_shell.library

    async def scenario() -> None:
        async with any_shell.client() as client:
            request = client.build_request(
                "POST", "http://127.0.0.1:1/v1/chat/completions", json=CHAT_REQUEST, headers=METADATA
            )
            with pytest.raises(library.TransportError) as caught:
                await any_shell.get(client.send(request))
            assert caught.value.request is request

    run(scenario())

    assert str(attributes(spans.one())["error.type"]).startswith(f"{library.__name__}.Connect")


def test_event_hooks_see_the_original_objects(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    seen: list[Any] = []

    async def note(thing: Any) -> None:
        seen.append(thing)
        if hasattr(thing, "status_code"):
            await thing.aread()

    def note_sync(thing: Any) -> None:
        seen.append(thing)
        if hasattr(thing, "status_code"):
            thing.read()

    async def scenario() -> Any:
        hook = note if shell.asynchronous else note_sync
        async with shell.client(event_hooks={"request": [hook], "response": [hook]}) as client:
            request = client.build_request("POST", server.chat_url, json=CHAT_REQUEST, headers=METADATA)
            return request, await shell.get(client.send(request))

    request, response = run(scenario())

    assert seen[0] is request
    assert seen[1] is response
    assert seen[1].request is request
    assert len(spans.calls()) == 1


def test_an_authentication_that_asks_twice_is_two_requests(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(json_reply({"error": {"message": "who?"}}, 401), json_reply(CHAT_RESPONSE))

    class Twice(shell.library.Auth):  # type: ignore[misc, name-defined]  # known at run time only
        def auth_flow(self, request: Any) -> Any:
            response = yield request
            assert response.status_code == 401
            assert response.request is request
            request.headers["Authorization"] = "Bearer secret-token"
            yield request

    async def scenario() -> Any:
        async with shell.client(auth=Twice()) as client:
            return await shell.post(client, server.chat_url, json=CHAT_REQUEST, headers={"Helicone-User-Id": "u"})

    response = run(scenario())

    assert response.json() == CHAT_RESPONSE
    assert [attributes(span)["http.response.status_code"] for span in spans.calls()] == [401, 200]
    assert server.requests[1].header("authorization") == "Bearer secret-token"
    assert not any("helicone-user-id" in received.names for received in server.requests)


def test_a_redirect_keeps_its_history(shell: Shell, spans: Spans, server: SseServer) -> None:
    target = f"{server.url}/elsewhere/v1/chat/completions"
    server.script(Reply((b"moved",), 307, {"location": target}), json_reply(CHAT_RESPONSE))

    async def scenario() -> Any:
        async with shell.client(follow_redirects=True) as client:
            request = client.build_request("POST", server.chat_url, json=CHAT_REQUEST, headers=METADATA)
            return request, await shell.get(client.send(request))

    request, response = run(scenario())

    assert [moved.status_code for moved in response.history] == [307]
    assert response.history[0].request is request
    assert response.history[0].content == b"moved"
    assert str(response.url) == target
    assert response.request.headers["helicone-user-id"] == "u-1"
    assert not any("helicone-user-id" in received.names for received in server.requests)
    assert [attributes(span)["http.response.status_code"] for span in spans.calls()] == [307, 200]


@pytest.mark.parametrize("strip", [True, False], ids=["stripped", "kept on request"])
def test_understood_headers_leave_only_when_asked_to(
    any_shell: Shell, instrument: Any, server: SseServer, strip: bool
) -> None:
    spans = instrument(strip_headers=strip)
    server.script(json_reply(CHAT_RESPONSE))
    headers = {
        **METADATA,
        "Tokentrail-Session-Id": "s-1",
        "Tokentrail-Session-Path": "/a/b",
        "Helicone-Auth": "Bearer sk-helicone-abcdefgh",
        "Helicone-Cache-Enabled": "true",
    }

    async def scenario() -> None:
        async with any_shell.client(headers={"Helicone-Prompt-Id": "greet"}) as client:
            await any_shell.post(client, server.chat_url, json=CHAT_REQUEST, headers=headers)

    run(scenario())
    understood = {"helicone-user-id", "helicone-property-team", "helicone-prompt-id"}
    understood |= {"tokentrail-session-id", "tokentrail-session-path"}
    found = attributes(spans.one())

    assert understood & server.requests[0].names == (set() if strip else understood)
    assert {"helicone-auth", "helicone-cache-enabled", "x-other", "authorization"} <= server.requests[0].names
    assert (found["user.id"], found["session.id"], found["tokentrail.session.path"]) == ("u-1", "s-1", "/a/b")
    assert (found["tokentrail.property.Team"], found["gen_ai.prompt.name"]) == ("core", "greet")


def test_helicone_hosts_get_their_headers(shell: Shell, spans: Spans) -> None:
    sent: list[Any] = []

    def answer(request: Any) -> Any:
        sent.append(dict(request.headers))
        return shell.library.Response(200, json=CHAT_RESPONSE)

    async def scenario() -> None:
        async with shell.client(transport=shell.library.MockTransport(answer)) as client:
            for host in ("oai.helicone.ai", "api.openai.com"):
                url = f"https://{host}/v1/chat/completions"
                await shell.post(client, url, json=CHAT_REQUEST, headers=METADATA)

    run(scenario())

    assert sent[0]["helicone-user-id"] == "u-1"
    assert "helicone-user-id" not in sent[1]
    assert [attributes(span)["gen_ai.provider.name"] for span in spans.calls()] == ["openai", "openai"]
    assert [attributes(span)["user.id"] for span in spans.calls()] == ["u-1", "u-1"]


@pytest.mark.parametrize(("host", "method"), [("api.openai.com", "GET"), ("api.anthropic.com", "POST")])
def test_a_provider_is_told_nothing_by_other_requests_either(
    shell: Shell, spans: Spans, host: str, method: str
) -> None:
    sent: list[Any] = []

    def answer(request: Any) -> Any:
        sent.append(request)
        if len(sent) == 2:
            raise shell.library.ConnectError("no", request=request)
        return shell.library.Response(200, json={})

    async def scenario() -> None:
        transport = shell.library.MockTransport(answer)
        async with shell.client(transport=transport, headers={**METADATA, "X-Other": "kept"}) as client:
            request = client.build_request(method, f"https://{host}/v1/models")
            response = await shell.get(client.send(request))
            assert response.request is request
            with pytest.raises(shell.library.ConnectError) as caught:
                await shell.get(client.send(request))
            assert caught.value.request is request
            assert request.headers["helicone-user-id"] == "u-1"

    run(scenario())

    assert [("helicone-user-id" in each.headers, each.headers["x-other"]) for each in sent] == [(False, "kept")] * 2
    assert spans.all() == []
