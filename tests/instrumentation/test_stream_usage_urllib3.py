"""The usage of a stream is asked for over urllib3 and requests too, and hidden in all ways of reading.

What an application must not notice is told by the same calls without the instrumentation, against the same server.
"""

import gc
import gzip
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import requests
import urllib3

from support.span_log import Spans, attributes, output_text
from support.sse_server import (
    CHAT_REQUEST,
    CLAUDE_REQUEST,
    CLAUDE_STREAM,
    DONE,
    ROLE,
    STOP,
    STREAM_REQUEST,
    USAGE,
    WHOLE_STREAM,
    WORDS,
    Hang,
    Reply,
    Reset,
    SseServer,
    json_reply,
    sse_reply,
)
from support.urllib3_calls import JSON_HEADERS, OPENING, WAYS, Read, answers, each_stream, open_requests, open_urllib3
from tokentrail.instrumentation import TokentrailInstrumentor, guard
from tokentrail.instrumentation.stream_usage import UsageFilter

NOT_ASKING: Final[dict[str, Any]] = {**CHAT_REQUEST, "stream": True}
ASKED: Final = {**NOT_ASKING, "stream_options": {"include_usage": True}}
PIECES: Final = (ROLE, *WORDS, STOP, DONE)
WHAT_IS_SEEN: Final = b"".join(PIECES)
PLAIN: Final = sse_reply(*PIECES)
STREAM: Final = b"".join(WHOLE_STREAM)
REFUSAL: Final = {"error": {"message": "Unrecognized request argument supplied: stream_options", "type": "x"}}
EVENTS: Final = {"content-type": "text/event-stream"}
ZIPPED: Final = gzip.compress(STREAM, mtime=0)

STREAMED: Final = {
    "chunked": sse_reply(*WHOLE_STREAM),
    "with_length": Reply((STREAM,), 200, EVENTS),
    "byte_by_byte": sse_reply(*(STREAM[at : at + 1] for at in range(len(STREAM)))),
    "in_sevens": sse_reply(*(STREAM[at : at + 7] for at in range(0, len(STREAM), 7))),
    "ending_with_usage": sse_reply(*PIECES, USAGE),
    "chunked_gzip": Reply((ZIPPED[:40], ZIPPED[40:41], ZIPPED[41:], b""), 200, {**EVENTS, "content-encoding": "gzip"}),
    "gzip_with_length": Reply((ZIPPED,), 200, {**EVENTS, "content-encoding": "gzip"}),
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
each_reply = pytest.mark.parametrize("reply", STREAMED.values(), ids=STREAMED)

ERROR: Final = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
_TEXT: Final = json.dumps(ERROR).encode()
_PACKED: Final = gzip.compress(_TEXT, mtime=0)
_LONG: Final = json.dumps({**ERROR, "more": "x" * 200_000}).encode()
ERRORS: Final = {
    "with_length": Reply((_TEXT,), 400),
    "chunked": Reply((_TEXT[:9], _TEXT[9:], b""), 404),
    "gzip": Reply((_PACKED,), 422, {"content-encoding": "gzip"}),
    "chunked_gzip": Reply((_PACKED[:30], _PACKED[30:], b""), 400, {"content-encoding": "gzip"}),
    "long": Reply((_LONG,), 400),
    "long_chunked": Reply((_LONG[:70_000], _LONG[70_000:], b""), 400),
    "empty": Reply((b"",), 400),
    "of_another_kind": Reply((b"stream_options are wrong", b""), 429),
    "server_error": Reply((_TEXT,), 500),
}


def chat(url: str, body: Any, **settings: Any) -> Any:
    """A response of a pool of its own, read with the headers."""
    with urllib3.PoolManager(retries=False, **settings) as pool:
        return pool.request("POST", url, body=body, headers=JSON_HEADERS)


def uninstrumented(server: SseServer, spans: Spans, call: Callable[[], Any]) -> Any:
    """What `call` gives when nobody watches."""
    instrumentor = TokentrailInstrumentor()
    instrumentor.uninstrument()
    try:
        return call()
    finally:
        server.requests.clear()
        instrumentor.instrument(tracer_provider=spans.provider, logger_provider=spans.logger_provider)


@each_way
@each_reply
def test_a_stream_read_in_any_way_is_without_the_usage(
    way: Read, reply: Reply, spans: Spans, server: SseServer
) -> None:
    server.script(reply)

    read = way(server.chat_url, NOT_ASKING)

    assert read == WHAT_IS_SEEN
    received = server.requests[0]
    assert json.loads(received.body) == ASKED
    assert received.header("content-length") == str(len(received.body))
    assert received.header("accept-encoding") == "identity"
    found = attributes(spans.one())
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (9, 4)
    assert found["tokentrail.stream.exit"] == "complete"
    assert output_text(spans.one()) == "Hi there you"
    assert "tokentrail.body.status" not in found


@each_way
@each_reply
def test_an_application_that_asks_sees_what_it_would_see_without_us(
    way: Read, reply: Reply, spans: Spans, server: SseServer
) -> None:
    server.script(reply)
    expected = uninstrumented(server, spans, lambda: way(server.chat_url, STREAM_REQUEST))

    assert way(server.chat_url, STREAM_REQUEST) == expected
    assert json.loads(server.requests[0].body) == STREAM_REQUEST


def test_chunks_stay_chunks_and_those_of_a_wanted_size_are_not_longer(spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["chunked"])

    whole = list(open_urllib3(server.chat_url, NOT_ASKING).read_chunked())
    cut = list(open_urllib3(server.chat_url, NOT_ASKING).read_chunked(64))
    iterated = list(open_requests(server.chat_url, NOT_ASKING).iter_content(64))

    assert whole == list(PIECES)
    assert b"".join(cut) == b"".join(iterated) == WHAT_IS_SEEN
    assert max(map(len, [*cut, *iterated])) == 64


@pytest.mark.parametrize("amount", [1, 13, 4096])
@pytest.mark.parametrize("reply", [STREAMED["chunked"], STREAMED["with_length"]], ids=["chunked", "with_length"])
def test_as_much_is_read_as_was_wanted(amount: int, reply: Reply, spans: Spans, server: SseServer) -> None:
    server.script(reply)
    response = open_urllib3(server.chat_url, NOT_ASKING)

    pieces = list(iter(lambda: response.read(amount), b""))

    assert b"".join(pieces) == WHAT_IS_SEEN
    assert {len(piece) for piece in pieces[:-1]} <= {amount}
    assert response.closed
    assert not response.length_remaining
    assert response.tell() == len(WHAT_IS_SEEN)
    assert "content-length" not in response.headers


def test_ways_of_reading_can_be_mixed(spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["chunked"])
    response = open_urllib3(server.chat_url, NOT_ASKING)

    chunks = response.stream(None)

    read = next(chunks) + next(chunks) + response.read(11) + response.read1() + response.read(0) + response.data

    assert read == WHAT_IS_SEEN
    assert response.read() == b""
    assert list(response.stream()) == []


def test_lines_are_shown_as_soon_as_they_come(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(ROLE, WORDS[0], Hang))

    with open_requests(server.chat_url, NOT_ASKING) as response:
        lines = response.iter_lines(chunk_size=None)
        seen = [next(lines) for _ in range(3)]

    assert seen == [ROLE.strip(), b"", WORDS[0].strip()]
    assert attributes(spans.one())["tokentrail.stream.exit"] == "closed"


@each_stream
def test_an_event_is_shown_while_the_next_is_awaited(opened: Any, chunks: Any, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, Hang))

    with opened(server.chat_url, NOT_ASKING) as response:
        assert next(chunks(response)) == OPENING

    assert output_text(spans.one()) == "Hi"


def test_the_application_s_request_stays_as_it_is(spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["chunked"])
    prepared = requests.Request("POST", server.chat_url, json=NOT_ASKING, headers={"X-Kept": "yes"}).prepare()
    prepared.headers["Accept-Encoding"] = "gzip, deflate"
    before = (prepared.body, dict(prepared.headers))

    with requests.Session() as session:
        response = session.send(prepared)

    assert response.content == WHAT_IS_SEEN
    assert (prepared.body, dict(prepared.headers)) == before
    assert response.request is prepared
    assert server.requests[0].header("x-kept") == "yes"
    lengths = [value for name, value in server.requests[0].headers if name.lower() == "content-length"]
    assert lengths == [str(len(server.requests[0].body))]


@pytest.mark.parametrize("headers", [None, {}, {"Accept-Encoding": "br"}, urllib3.HTTPHeaderDict(accept_encoding="br")])
@pytest.mark.parametrize("encode", [json.dumps, lambda body: json.dumps(body).encode()], ids=["text", "bytes"])
def test_any_mapping_of_headers_will_do(encode: Any, headers: Any, spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["chunked"])
    before = None if headers is None else dict(headers)

    with urllib3.PoolManager() as pool:
        response = pool.urlopen("POST", server.chat_url, body=encode(NOT_ASKING), headers=headers)

    assert response.data == WHAT_IS_SEEN
    assert (None if headers is None else dict(headers)) == before
    assert server.requests[0].header("accept-encoding") == "identity"
    assert server.requests[0].header("content-length") == str(len(server.requests[0].body))


def test_metadata_is_still_taken_off(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(REFUSAL, 400), PLAIN)

    requests.post(server.chat_url, json=NOT_ASKING, headers={"Helicone-User-Id": "ann"})

    assert [request.header("helicone-user-id") for request in server.requests] == [None, None]
    assert attributes(spans.one())["user.id"] == "ann"


def test_a_body_sent_in_chunks_is_one_without_a_length(spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["chunked"])

    with urllib3.PoolManager() as pool:
        pool.request("POST", server.chat_url, body=json.dumps(NOT_ASKING).encode(), headers=JSON_HEADERS, chunked=True)

    assert json.loads(server.requests[0].body) == ASKED
    assert server.requests[0].header("content-length") is None


def test_the_length_of_a_body_that_is_here_is_told_right(spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["with_length"], STREAMED["gzip_with_length"])
    body = json.dumps(NOT_ASKING).encode()

    with urllib3.PoolManager() as pool:
        raw = [
            pool.request("POST", server.chat_url, body=body, headers=JSON_HEADERS, decode_content=False)
            for _ in range(2)
        ]

    assert [response.data for response in raw] == [WHAT_IS_SEEN, WHAT_IS_SEEN]
    assert [response.headers["content-length"] for response in raw] == [str(len(WHAT_IS_SEEN))] * 2
    assert "content-encoding" not in raw[1].headers


# Refusals and other errors ----------------------------------------------------------------------------------------


REFUSING: Final = {
    "with_length": json_reply(REFUSAL, 400),
    "chunked": Reply((json.dumps(REFUSAL).encode(), b""), 404),
    "gzip": Reply((gzip.compress(json.dumps(REFUSAL).encode()),), 422, {"content-encoding": "gzip"}),
    "closing": json_reply(REFUSAL, 400, connection="close"),
    "long": Reply((json.dumps(REFUSAL).encode() + b" " * 300_000,), 400),
}


@each_way
@pytest.mark.parametrize("refusal", REFUSING.values(), ids=REFUSING)
def test_a_host_that_refuses_is_sent_the_request_as_it_was_and_not_asked_again(
    way: Read, refusal: Reply, spans: Spans, server: SseServer
) -> None:
    server.script(refusal, PLAIN)

    assert [way(server.chat_url, NOT_ASKING) for _ in range(2)] == [WHAT_IS_SEEN, WHAT_IS_SEEN]
    assert [json.loads(request.body) for request in server.requests] == [ASKED, NOT_ASKING, NOT_ASKING]
    assert [attributes(span)["http.response.status_code"] for span in spans.calls()] == [200, 200]
    assert [attributes(span)["tokentrail.usage.status"] for span in spans.calls()] == ["missing", "missing"]


@pytest.mark.parametrize("preload", [True, False])
def test_the_connection_of_a_refusal_is_used_again(preload: bool, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(REFUSAL, 400), PLAIN)
    body = json.dumps(NOT_ASKING).encode()

    with urllib3.HTTPConnectionPool("127.0.0.1", server.server_port, maxsize=1, block=True) as pool:
        for _ in range(3):
            response = pool.urlopen(
                "POST", "/v1/chat/completions", body=body, headers=JSON_HEADERS, preload_content=preload, pool_timeout=5
            )
            assert response.data == WHAT_IS_SEEN
            gc.collect()

        assert pool.num_connections == 1


def test_a_connection_is_given_back_when_what_is_shown_has_been_read(spans: Spans, server: SseServer) -> None:
    server.script(STREAMED["ending_with_usage"])
    body = json.dumps(NOT_ASKING).encode()

    with urllib3.HTTPConnectionPool("127.0.0.1", server.server_port, maxsize=1, block=True) as pool:
        for read in (lambda response: response.read(), lambda response: b"".join(response.stream(10))):
            response = pool.urlopen(
                "POST", "/v1/chat/completions", body=body, headers=JSON_HEADERS, preload_content=False, pool_timeout=5
            )
            assert read(response) == WHAT_IS_SEEN

        assert (pool.num_connections, pool.num_requests) == (1, 2)


@each_way
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_any_other_error_is_read_as_without_us(way: Read, error: Reply, spans: Spans, server: SseServer) -> None:
    server.script(error)
    expected = uninstrumented(server, spans, lambda: way(server.chat_url, NOT_ASKING))

    assert way(server.chat_url, NOT_ASKING) == expected
    assert len(server.requests) == 1
    assert attributes(spans.one())["http.response.status_code"] == error.status


def test_the_chunks_of_an_error_are_as_without_us(spans: Spans, server: SseServer) -> None:
    server.script(Reply((_LONG[:70_000], _LONG[70_000:90_000], _LONG[90_000:], b""), 400))

    def chunks() -> list[bytes]:
        return list(open_urllib3(server.chat_url, NOT_ASKING).read_chunked())

    assert uninstrumented(server, spans, chunks) == chunks() == [_LONG[:70_000], _LONG[70_000:90_000], _LONG[90_000:]]


HEAD: Final = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
BROKEN: Final = {
    "cut_off": HEAD + b"content-length: 100\r\n\r\n" + _TEXT[:50],
    "chunks_cut_off": HEAD + b"transfer-encoding: chunked\r\n\r\n20\r\n" + _TEXT[:32] + b"\r\n20\r\n" + _TEXT[32:40],
    "chunks_that_are_none": HEAD + b"transfer-encoding: chunked\r\n\r\n20\r\n" + _TEXT[:32] + b"\r\nno number\r\n",
    "until_closed": HEAD + b"\r\n" + _TEXT,
}


@each_stream
@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_an_error_that_breaks_off_does_so_as_without_us(raw: bytes, opened: Any, chunks: Any, spans: Spans) -> None:
    def outcome() -> Any:
        read = b""
        try:
            for piece in chunks(opened(answers(raw), NOT_ASKING)):
                read += piece
        except Exception as error:
            return read, type(error)
        return read, None

    with SseServer() as server:
        expected = uninstrumented(server, spans, outcome)

    assert outcome() == expected
    assert attributes(spans.one())["http.response.status_code"] == 400


def test_an_error_that_stops_coming_times_out_where_it_is_read(spans: Spans, server: SseServer) -> None:
    server.script(Reply((_TEXT[:20], Hang), 400))
    response = open_urllib3(server.chat_url, NOT_ASKING, timeout=0.2)

    assert response.status == 400
    chunks = response.stream(None)
    assert next(chunks) == _TEXT[:20]
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        next(chunks)

    assert attributes(spans.one())["error.type"] == "400"


def test_a_refusal_through_a_tunnel_has_the_tunnel_made_anew() -> None:
    from types import SimpleNamespace

    from tokentrail.instrumentation.patch._urllib3_usage import reconnect

    done: list[str] = []
    conn, refused = (SimpleNamespace(close=lambda name=name: done.append(f"close {name}")) for name in ("conn", "old"))
    refused._connection = conn
    pool = SimpleNamespace(_prepare_proxy=lambda given: done.append("tunnel" if given is conn else "?"))

    reconnect(pool, conn, refused, is_tunnelled=True)

    assert done == ["close old", "close conn", "tunnel"]
    assert refused._connection is None
    assert callable(urllib3.HTTPSConnectionPool._prepare_proxy)


# Ends of streams --------------------------------------------------------------------------------------------------


@each_stream
def test_a_stream_that_breaks_off_shows_what_had_come(
    opened: Any, chunks: Any, spans: Spans, server: SseServer
) -> None:
    server.script(sse_reply(OPENING, 0.05, Reset))
    read: list[bytes] = []

    with pytest.raises((urllib3.exceptions.ProtocolError, requests.exceptions.ChunkedEncodingError)):
        read.extend(iter(chunks(opened(server.chat_url, NOT_ASKING)).__next__, None))

    assert attributes(spans.one())["tokentrail.stream.exit"] == "broken"
    assert output_text(spans.one()) == "Hi"


@pytest.mark.parametrize("enforced", [True, False])
def test_a_body_shorter_than_announced_is_missed_as_without_us(enforced: bool, spans: Spans) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(STREAM) + 100}\r\n\r\n"
    response = open_urllib3(answers(head.encode() + STREAM), NOT_ASKING, enforce_content_length=enforced)

    first = response.read(len(WHAT_IS_SEEN))
    assert first == WHAT_IS_SEEN
    if enforced:
        with pytest.raises(urllib3.exceptions.ProtocolError):
            response.read(100)
    else:
        assert response.read(100) == b""

    assert attributes(spans.one())["gen_ai.usage.input_tokens"] == 9


@each_stream
def test_dropping_the_response_in_the_middle(opened: Any, chunks: Any, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, Hang))

    def scenario() -> None:
        for _ in chunks(opened(server.chat_url, NOT_ASKING)):
            break

    scenario()
    gc.collect()

    assert attributes(spans.one())["tokentrail.stream.exit"] == "abandoned"


def test_a_response_nobody_looks_at_goes_at_once(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(OPENING, Hang))

    gc.disable()
    try:
        open_urllib3(server.chat_url, NOT_ASKING)
        assert spans.one()  # no cycle keeps the response
    finally:
        gc.enable()


# Where nothing is asked -------------------------------------------------------------------------------------------


def test_the_switch_turns_it_off(server: SseServer, instrument: Callable[..., Spans]) -> None:
    spans = instrument(stream_usage=False)
    server.script(PLAIN)

    requests.post(server.chat_url, json=NOT_ASKING)

    assert json.loads(server.requests[0].body) == NOT_ASKING
    assert attributes(spans.one())["tokentrail.usage.status"] == "missing"


def test_nothing_is_asked_for_a_span_that_nobody_will_see(server: SseServer, instrument: Callable[..., Spans]) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    instrument(sampler=ALWAYS_OFF)
    server.script(PLAIN)

    assert requests.post(server.chat_url, json=NOT_ASKING).content == WHAT_IS_SEEN
    assert json.loads(server.requests[0].body) == NOT_ASKING


def test_other_formats_are_not_asked(spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*CLAUDE_STREAM))
    body: Any = {**CLAUDE_REQUEST, "stream": True}

    requests.post(f"{server.url}/v1/messages", json=body)

    assert json.loads(server.requests[0].body) == body


@pytest.mark.parametrize(
    "sealed",
    [
        {"Authorization": "AWS4-HMAC-SHA256 Credential=x"},
        {"authorization": 'Signature version="1",keyId="x"'},
        {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
        {"Content-Digest": "sha-256=:x=:"},
        {b"X-Amz-Content-Sha256": b"x"},
    ],
)
def test_a_request_whose_body_is_sealed_is_never_changed(sealed: Any, spans: Spans, server: SseServer) -> None:
    server.script(PLAIN)
    raw = json.dumps(NOT_ASKING).encode()

    with urllib3.PoolManager() as pool:
        pool.request("POST", server.chat_url, body=raw, headers={**JSON_HEADERS, **sealed})

    assert server.requests[0].body == raw


def _generated() -> Iterator[bytes]:
    yield json.dumps(NOT_ASKING).encode()


@pytest.mark.parametrize("make", [lambda: io.BytesIO(json.dumps(NOT_ASKING).encode()), _generated])
def test_a_body_that_is_read_as_it_is_sent_is_not_replaced(make: Any, spans: Spans, server: SseServer) -> None:
    server.script(PLAIN)

    assert requests.post(server.chat_url, data=make()).content == WHAT_IS_SEEN
    assert json.loads(server.requests[0].body) == NOT_ASKING


def test_a_connection_that_answers_in_its_own_way_is_not_asked(spans: Spans, server: SseServer) -> None:
    server.script(PLAIN)

    class Recorder(urllib3.connection.HTTPConnection):
        def getresponse(self) -> Any:
            return super().getresponse()

    with urllib3.HTTPConnectionPool("127.0.0.1", server.server_port) as pool:
        pool.ConnectionCls = Recorder
        pool.urlopen("POST", "/v1/chat/completions", body=json.dumps(NOT_ASKING).encode(), headers=JSON_HEADERS)

    assert json.loads(server.requests[0].body) == NOT_ASKING


# Failures of ours -------------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("reply", [STREAMED["chunked"], STREAMED["in_sevens"]], ids=["chunked", "in_sevens"])
def test_a_failing_filter_shows_everything(
    way: Read, reply: Reply, spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, fed = UsageFilter.feed, []

    def fail_at_last(self: UsageFilter, data: bytes) -> bytes:
        fed.append(data)
        if len(fed) == 3:
            raise ZeroDivisionError
        return feed(self, data)

    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(UsageFilter, "feed", fail_at_last)
    server.script(reply)

    read = way(server.chat_url, NOT_ASKING)

    assert read == (STREAM if len(fed) >= 3 else WHAT_IS_SEEN)


FAULTS: Final = (
    *("question", "was_refused", "hide", "without_usage", "_looked_at", "hiding", "replaced", "may_change"),
    *("is_refusal", "ShownFile.__init__", "_maker"),
)


@each_way
@pytest.mark.parametrize("place", FAULTS)
def test_a_failure_of_ours_is_felt_by_nobody(
    way: Read, place: str, spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("ours")

    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(f"tokentrail.instrumentation.patch._urllib3_usage.{place}", fails)
    server.script(json_reply(ERROR, 400), STREAMED["chunked"])

    error, stream = way(server.chat_url, NOT_ASKING), way(server.chat_url, NOT_ASKING)

    assert json.loads(error) == ERROR
    assert stream in (WHAT_IS_SEEN, STREAM)
    assert spans.calls()
