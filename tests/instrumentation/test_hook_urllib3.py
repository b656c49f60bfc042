"""The hook on urllib3, with urllib3 itself and with requests over it: all ways of reading, and all ways to end."""

import gzip
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final

import pytest
import requests
import urllib3
from opentelemetry.trace import StatusCode

from support.span_log import Spans, attributes, output_text
from support.sse_server import (
    CHAT_RESPONSE,
    ROLE,
    STREAM_REQUEST,
    WHOLE_STREAM,
    Hang,
    Reply,
    SseServer,
    json_reply,
    sse_reply,
)
from support.urllib3_calls import CHAT, JSON_HEADERS, OPENING, WAYS, Read, open_urllib3
from tokentrail.instrumentation.patch.urllib3_client import Urllib3Patch

pytestmark = pytest.mark.usefixtures("quiet")

STREAM: Final = b"".join(WHOLE_STREAM)
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def bodies() -> Iterator[tuple[str, Reply, bytes]]:
    """Responses by name, and the bytes that an application reads of them."""
    stream_type = {"content-type": "text/event-stream"}
    zipped, plain = gzip.compress(STREAM, mtime=0), json.dumps(CHAT_RESPONSE).encode()
    yield "chunked", sse_reply(*WHOLE_STREAM), STREAM
    yield "with_length", Reply((STREAM,), 200, stream_type), STREAM
    coded = {**stream_type, "content-encoding": "gzip"}
    yield "chunked_gzip", Reply((zipped[:40], zipped[40:41], zipped[41:], b""), 200, coded), STREAM
    yield "document", Reply((plain,), 200, {"content-type": "application/json"}), plain
    pieces = (plain[:20], plain[20:], b"")
    yield "chunked_document", Reply(pieces, 200, {"content-type": "application/json"}), plain


BODIES: Final = {name: (reply, body) for name, reply, body in bodies()}


@each_way
@pytest.mark.parametrize("body", BODIES, ids=BODIES)
def test_a_response_read_in_any_way_is_one_span_and_the_same_bytes(
    way: Read, body: str, spans: Spans, server: SseServer
) -> None:
    reply, expected = BODIES[body]
    server.script(reply)
    is_raw = body == "chunked_gzip" and way is WAYS["read_raw"]

    read = way(server.chat_url, CHAT if "document" in body else STREAM_REQUEST)
    span = spans.one()

    assert read == (b"".join(part for part in reply.steps if isinstance(part, bytes)) if is_raw else expected)
    found = attributes(span)
    assert found["gen_ai.response.id"] == "chatcmpl-1"
    assert found["gen_ai.usage.input_tokens"] == 9
    assert found["gen_ai.usage.output_tokens"] == 4
    assert found["http.response.status_code"] == 200
    assert output_text(span) == ("Hi there" if "document" in body else "Hi there you")
    assert found.get("tokentrail.stream.exit") == (None if "document" in body else "complete")
    assert "tokentrail.body.status" not in found
    assert span.status.status_code is StatusCode.UNSET


def test_chunks_of_transfer_encoding_can_be_read_one_by_one(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM))

    chunks = list(open_urllib3(server.chat_url, STREAM_REQUEST).read_chunked())

    assert chunks == list(WHOLE_STREAM)
    assert attributes(spans.one())["tokentrail.stream.exit"] == "complete"


def test_a_response_is_parsed_by_its_own_method(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    parsed = open_urllib3(server.chat_url, CHAT).json()

    assert parsed == CHAT_RESPONSE
    assert attributes(spans.one())["gen_ai.usage.output_tokens"] == 4


def test_draining_a_connection_reads_the_response(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    open_urllib3(server.chat_url, CHAT).drain_conn()

    assert attributes(spans.one())["gen_ai.usage.output_tokens"] == 4


def test_what_arrives_is_dated_when_the_application_takes_it(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(ROLE, 0.15, *WHOLE_STREAM[1:]))

    chunks = open_urllib3(server.chat_url, STREAM_REQUEST).stream(None)
    next(chunks)
    taken_ns = time.time_ns()
    list(chunks)
    span = spans.one()
    found = attributes(span)

    assert found["gen_ai.response.time_to_first_chunk"] <= (taken_ns - (span.start_time or 0)) / 1e9 + 0.005
    assert found["tokentrail.response.time_to_first_token"] >= 0.15


def test_a_connection_that_fails_before_any_response(spans: Spans) -> None:
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        open_urllib3("http://127.0.0.1:9/v1/chat/completions", CHAT)
    span = spans.one()

    assert attributes(span)["error.type"].endswith("NewConnectionError")
    assert span.status.status_code is StatusCode.ERROR


def test_a_timeout_while_a_response_is_preloaded(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, Hang))
    pool = urllib3.PoolManager(retries=False, timeout=0.2)

    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        pool.request("POST", server.chat_url, body=json.dumps(STREAM_REQUEST).encode(), headers=JSON_HEADERS)

    assert attributes(spans.one())["error.type"] == "urllib3.exceptions.ReadTimeoutError"


@pytest.mark.parametrize("preload", [True, False])
def test_a_response_without_a_body_is_over_at_once(preload: bool, spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"",), 204))
    pool = urllib3.PoolManager()

    response = pool.request(
        "POST", server.chat_url, body=json.dumps(CHAT).encode(), headers=JSON_HEADERS, preload_content=preload
    )

    assert attributes(spans.one())["http.response.status_code"] == 204
    assert response.data in (b"", None)


def test_each_retry_of_the_client_is_a_span(spans: Spans, server: SseServer) -> None:
    server.script(json_reply({"error": {"message": "busy", "type": "overloaded"}}, 503), json_reply(CHAT_RESPONSE))
    policy = urllib3.Retry(2, status_forcelist=[503], allowed_methods=None, backoff_factor=0)
    pool = urllib3.PoolManager(retries=policy)

    pool.request("POST", server.chat_url, body=json.dumps(CHAT).encode(), headers=JSON_HEADERS)
    failed, succeeded = spans.calls()

    assert (attributes(failed)["http.response.status_code"], attributes(failed)["error.type"]) == (503, "overloaded")
    assert attributes(succeeded)["gen_ai.usage.output_tokens"] == 4


def test_a_redirect_is_followed_by_a_request_of_its_own(spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"",), 307, {"location": server.chat_url}), json_reply(CHAT_RESPONSE))

    response = requests.post(server.chat_url, json=CHAT)

    assert response.json() == CHAT_RESPONSE
    assert [attributes(span)["http.response.status_code"] for span in spans.calls()] == [307, 200]


def test_metadata_headers_are_taken_off_and_the_callers_stay_as_they_are(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    headers = {"Helicone-User-Id": "ann", "Tokentrail-Property-Plan": "pro", "X-Kept": "yes"}
    prepared = requests.Request("POST", server.chat_url, json=CHAT, headers=headers).prepare()

    with requests.Session() as session:
        session.send(prepared)

    assert server.requests[0].names.isdisjoint({"helicone-user-id", "tokentrail-property-plan"})
    assert server.requests[0].header("x-kept") == "yes"
    assert prepared.headers["Helicone-User-Id"] == "ann"
    assert len(headers) == 3
    found = attributes(spans.one())
    assert (found["user.id"], found["tokentrail.property.Plan"]) == ("ann", "pro")


def test_a_signed_request_is_never_changed(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    headers = {"Helicone-User-Id": "ann", "Authorization": "AWS4-HMAC-SHA256 Credential=x"}

    requests.post(server.chat_url, json=CHAT, headers=headers)

    assert server.requests[0].header("helicone-user-id") == "ann"
    assert attributes(spans.one())["user.id"] == "ann"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(CHAT),
        bytearray(json.dumps(CHAT).encode()),
        io.BytesIO(json.dumps(CHAT).encode()),
    ],
    ids=["text", "bytearray", "memory"],
)
def test_a_body_that_is_in_memory_is_known(body: Any, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    urllib3.PoolManager().request("POST", server.chat_url, body=body, headers=JSON_HEADERS)

    assert attributes(spans.one())["gen_ai.request.model"] == "gpt-4o-mini"
    assert json.loads(server.requests[0].body) == CHAT


def test_a_body_that_is_generated_is_not_read_by_us(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    parts = iter([b'{"model": "m", ', b'"messages": []}'])

    response = requests.post(server.chat_url, data=parts)

    assert response.json() == CHAT_RESPONSE
    assert server.requests[0].body == b'{"model": "m", "messages": []}'
    assert spans.calls() == []  # an unknown host, and nothing to judge the request by


def test_a_request_through_a_plain_proxy_is_a_call_of_the_host_it_names(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": server.url}
        session.post("http://api.openai.com/v1/chat/completions?x=1", json=CHAT)
    found = attributes(spans.one())

    assert found["server.address"] == "api.openai.com"
    assert found["server.port"] == 80
    assert found["gen_ai.provider.name"] == "openai"
    assert server.requests[0].path == "http://api.openai.com/v1/chat/completions?x=1"


def test_other_requests_are_left_alone(spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"hello",), 200))

    answers = [requests.get(server.chat_url).content, requests.post(f"{server.url}/orders", json={"a": 1}).content]

    assert answers == [b"hello", b"hello"]
    assert spans.calls() == []


@pytest.mark.parametrize("missing", ["_make_request", "_raw_read", "_handle_chunk", "read_chunked"])
def test_an_unknown_version_is_not_hooked_and_a_warning_says_so(missing: str, caplog: pytest.LogCaptureFixture) -> None:
    pool = {name: value for name, value in vars(urllib3.connectionpool.HTTPConnectionPool).items() if name != missing}
    response = {name: value for name, value in vars(urllib3.response.HTTPResponse).items() if name != missing}
    other_pool, other_response = SimpleNamespace(**pool), SimpleNamespace(**response)
    module: Any = SimpleNamespace(
        __name__="urllib3",
        __version__="9.9",
        connectionpool=SimpleNamespace(HTTPConnectionPool=other_pool),
        response=SimpleNamespace(HTTPResponse=other_response),
    )

    with caplog.at_level(logging.WARNING):
        Urllib3Patch().hook(module)

    assert [record.getMessage() for record in caplog.records] == [
        "urllib3 9.9 is not supported: its calls are not seen"
    ]
    assert vars(other_pool) == pool
    assert vars(other_response) == response
    caplog.clear()


def test_nothing_is_seen_once_the_instrumentation_is_off(server: SseServer, instrument: Callable[..., Spans]) -> None:
    from tokentrail.instrumentation import TokentrailInstrumentor

    spans = instrument()
    server.script(json_reply(CHAT_RESPONSE))
    TokentrailInstrumentor().uninstrument()

    response = requests.post(server.chat_url, json=CHAT)

    assert response.json() == CHAT_RESPONSE
    assert spans.calls() == []
