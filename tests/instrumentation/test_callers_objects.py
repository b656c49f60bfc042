"""What an application hands to its client is its own: nothing of it is changed, whatever is sent instead."""

import copy
import json
from typing import Any, Final

import aiohttp
import pytest
import requests
import urllib3

from support.http_shells import Shell, run
from support.span_log import Spans
from support.sse_server import CHAT_REQUEST, WHOLE_STREAM, SseServer, sse_reply

pytestmark = pytest.mark.usefixtures("quiet", "spans")

METADATA: Final = {"Helicone-User-Id": "u-1", "Helicone-Property-Team": "core", "X-Own": "1"}
UNASKED: Final[dict[str, Any]] = {**CHAT_REQUEST, "stream": True}
"""A request that something else is sent for: without the metadata, and with the question for the usage."""


def assert_sent_without_metadata(server: SseServer) -> None:
    """The request was one that we had reason to change."""
    sent = server.requests[-1]
    assert not [name for name in sent.names if name.startswith("helicone-")]
    assert sent.header("x-own") == "1"


def test_a_request_of_httpx(shell: Shell, server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM))
    headers, body = dict(METADATA), copy.deepcopy(UNASKED)

    async def scenario() -> None:
        async with shell.client() as client:
            request = client.build_request("POST", server.chat_url, headers=headers, json=body)
            before = request.headers.raw, request.content, request.stream, str(request.url), dict(request.extensions)
            response = await shell.get(client.send(request, stream=True))
            await shell.read(response)
            after = request.headers.raw, request.content, request.stream, str(request.url), dict(request.extensions)
            assert after == before
            assert response.request is request

    run(scenario())

    assert (headers, body) == (METADATA, UNASKED)
    assert_sent_without_metadata(server)


def test_headers_and_settings_of_a_client_of_httpx(shell: Shell, server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM))

    async def scenario() -> None:
        async with shell.client(headers=METADATA) as client:
            before = client.headers.raw
            await shell.post(client, server.chat_url, json=UNASKED)
            assert client.headers.raw == before

    run(scenario())

    assert_sent_without_metadata(server)


def test_a_request_of_requests(server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM))
    headers, body = dict(METADATA), copy.deepcopy(UNASKED)

    with requests.Session() as client:
        prepared = client.prepare_request(requests.Request("POST", server.chat_url, headers=headers, json=body))
        before = list(prepared.headers.items()), prepared.body
        response = client.send(prepared)

    assert (list(prepared.headers.items()), prepared.body) == before
    assert response.request is prepared
    assert (headers, body) == (METADATA, UNASKED)
    assert_sent_without_metadata(server)


@pytest.mark.parametrize("as_bytes", [True, False], ids=["bytes", "text"])
def test_a_request_of_urllib3(server: SseServer, as_bytes: bool) -> None:
    server.script(sse_reply(*WHOLE_STREAM))
    headers = {**METADATA, "content-type": "application/json"}
    body: Any = json.dumps(UNASKED).encode() if as_bytes else json.dumps(UNASKED)
    before = dict(headers), body

    with urllib3.PoolManager() as pool:
        pool.headers = urllib3.HTTPHeaderDict({"X-Pool": "1"})
        pool.request("POST", server.chat_url, headers=headers, body=body)
        assert dict(pool.headers) == {"X-Pool": "1"}

    assert (headers, body) == before
    assert_sent_without_metadata(server)


def test_the_signed_headers_of_a_request_are_sent_as_they_are(server: SseServer) -> None:
    """As botocore's are: the signature covers what is in them, so that nothing may be taken off."""
    server.script(sse_reply(*WHOLE_STREAM))
    headers = {**METADATA, "content-type": "application/json", "Authorization": "AWS4-HMAC-SHA256 Credential=x"}
    before = dict(headers)

    with urllib3.PoolManager() as pool:
        pool.request("POST", server.chat_url, headers=headers, body=json.dumps(UNASKED))

    assert headers == before
    assert server.requests[-1].header("helicone-user-id") == "u-1"
    assert json.loads(server.requests[-1].body) == UNASKED


def test_a_request_of_aiohttp(server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM))
    headers, defaults, body = dict(METADATA), {"Helicone-Session-Id": "s-1"}, copy.deepcopy(UNASKED)

    async def scenario() -> None:
        async with aiohttp.ClientSession(headers=defaults) as client:
            before = list(client.headers.items())
            async with client.post(server.chat_url, headers=headers, json=body) as response:
                await response.read()
                assert response.request_info.headers["Helicone-User-Id"] == "u-1"
            assert list(client.headers.items()) == before

    run(scenario())

    assert (headers, defaults, body) == (METADATA, {"Helicone-Session-Id": "s-1"}, UNASKED)
    assert_sent_without_metadata(server)


def test_what_is_given_to_the_context_api(spans: Spans) -> None:
    from tokentrail.instrumentation import properties

    given = {"team": "core", "n": 1}

    with properties(given, extra=True), spans.provider.get_tracer("application").start_as_current_span("work"):
        pass

    assert given == {"team": "core", "n": 1}
