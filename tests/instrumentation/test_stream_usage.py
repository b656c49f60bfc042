"""A stream that says its usage only when asked: it is asked for, and hidden from an application that did not ask."""

import gzip
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from support.http_shells import Shell, run
from support.span_log import Spans, attributes
from support.sse_server import (
    CHAT_REQUEST,
    CLAUDE_REQUEST,
    CLAUDE_STREAM,
    DONE,
    ROLE,
    STOP,
    USAGE,
    WHOLE_STREAM,
    WORDS,
    Reset,
    SseServer,
    json_reply,
    sse_reply,
)
from tokentrail.instrumentation import stream_usage
from tokentrail.instrumentation.stream_usage import UsageFilter, ask
from tokentrail.instrumentation.wire import endpoints

NOT_ASKING: Final = {**CHAT_REQUEST, "stream": True}
WHAT_IS_SEEN: Final = b"".join((ROLE, *WORDS, STOP, DONE))
REFUSAL: Final = {"error": {"message": "Unrecognized request argument supplied: stream_options", "type": "x"}}


def _ask(body: object, host: str = "api.openai.com", path: str = "/v1/chat/completions") -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    endpoint = endpoints.match(host, 443, path, raw)
    assert endpoint is not None
    return ask(endpoint, raw)


async def _stream(shell: Shell, server: SseServer, body: object, **settings: Any) -> bytes:
    async with shell.client(**settings) as client:
        response = await shell.open(client, server.chat_url, json=body)
        try:
            return await shell.read(response)
        finally:
            await shell.close(response)


@pytest.mark.parametrize(
    "after", [b"", b', "temperature" : 0.2', b',"user":"u-1","seed":7,"n":null ,"store":false', b"\n"], ids=str
)
def test_a_body_that_ends_by_asking_is_not_parsed(after: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> object:
        raise AssertionError("parsed")

    body = b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage": true}' + after + b"}"
    assert json.loads(body)["stream_options"] == {"include_usage": True}
    monkeypatch.setattr(stream_usage, "parse", fail)

    assert _ask(body) is None


@pytest.mark.parametrize(
    "inner",
    [
        b'"metadata":{"stream_options":{"include_usage":true}},"stream":true',
        b'"stream":true,"metadata":{"stream_options":{"include_usage":true}}',
        b'"stream":true,"tools":[{"stream_options":{"include_usage":true}}]',
        b'"stream":true,"user":"\\"stream_options\\":{\\"include_usage\\":true}"',
    ],
    ids=["an object before", "an object at the end", "a list at the end", "a text"],
)
def test_what_looks_like_asking_further_in_is_none(inner: bytes) -> None:
    asked = _ask(b'{"model":"m","messages":[],' + inner + b"}")

    assert json.loads(asked)["stream_options"] == {"include_usage": True}


def test_the_usage_is_asked_for_and_hidden(shell: Shell, server: SseServer, spans: Spans) -> None:
    server.script(sse_reply(*WHOLE_STREAM))

    seen = run(_stream(shell, server, NOT_ASKING))

    assert seen == WHAT_IS_SEEN
    assert json.loads(server.requests[0].body) == {**NOT_ASKING, "stream_options": {"include_usage": True}}
    span = attributes(spans.one())
    assert (span["gen_ai.usage.input_tokens"], span["gen_ai.usage.output_tokens"]) == (9, 4)
    assert span["tokentrail.stream.exit"] == "complete"
    assert json.loads(str(span["gen_ai.output.messages"]))[0]["parts"] == [{"type": "text", "content": "Hi there you"}]


def test_an_application_that_asks_sees_the_usage(shell: Shell, server: SseServer, spans: Spans) -> None:
    server.script(sse_reply(*WHOLE_STREAM))
    asking = {**NOT_ASKING, "stream_options": {"include_usage": True}}

    seen = run(_stream(shell, server, asking))

    assert seen == b"".join(WHOLE_STREAM)
    assert json.loads(server.requests[0].body) == asking
    assert spans.one()


def test_the_application_s_request_stays_as_it_is(shell: Shell, server: SseServer, spans: Spans) -> None:
    server.script(sse_reply(*WHOLE_STREAM))

    async def scenario() -> None:
        async with shell.client() as client:
            request = client.build_request("POST", server.chat_url, json=NOT_ASKING)
            before = (request.content, list(request.headers.raw))
            response = await shell.get(client.send(request, stream=True))
            await shell.read(response)
            await shell.close(response)
            assert (request.content, list(request.headers.raw)) == before
            assert response.request is request

    run(scenario())


@pytest.mark.parametrize("size", [1, 7, 100, 1_000])
def test_a_stream_in_pieces_of_any_size_is_shown_without_the_usage(
    shell: Shell, server: SseServer, spans: Spans, size: int
) -> None:
    whole = b"".join(WHOLE_STREAM)
    server.script(sse_reply(*(whole[start : start + size] for start in range(0, len(whole), size))))

    assert run(_stream(shell, server, NOT_ASKING)) == WHAT_IS_SEEN
    assert attributes(spans.one())["gen_ai.usage.input_tokens"] == 9


def test_each_event_is_shown_as_soon_as_it_is_whole(shell: Shell, server: SseServer, spans: Spans) -> None:
    server.script(sse_reply(ROLE, WORDS[0], 0.3, *WORDS[1:], STOP, USAGE, DONE))

    async def scenario() -> bytes:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=NOT_ASKING)
            seen = await shell.first(response)
            await shell.close(response)
            return seen

    assert run(scenario()) == ROLE + WORDS[0]


def test_a_host_that_refuses_is_sent_the_request_as_it_was_and_not_asked_again(
    shell: Shell, server: SseServer, spans: Spans
) -> None:
    plain = sse_reply(ROLE, *WORDS, STOP, DONE)
    server.script(json_reply(REFUSAL, 400), plain)

    first = run(_stream(shell, server, NOT_ASKING))
    second = run(_stream(shell, server, NOT_ASKING))

    assert first == second == WHAT_IS_SEEN
    assert [json.loads(request.body) == NOT_ASKING for request in server.requests] == [False, True, True]
    assert [attributes(span)["http.response.status_code"] for span in spans.calls()] == [200, 200]
    assert [attributes(span)["tokentrail.usage.status"] for span in spans.calls()] == ["missing", "missing"]


@pytest.mark.parametrize("status", [400, 404, 422, 429, 500])
def test_any_other_error_reaches_the_application_as_it_came(
    shell: Shell, server: SseServer, spans: Spans, status: int
) -> None:
    error = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
    server.script(json_reply(error, status))

    seen = run(_stream(shell, server, NOT_ASKING))

    assert json.loads(seen) == error
    assert len(server.requests) == 1
    assert attributes(spans.one())["error.type"] == "model_not_found"


def test_a_refusal_with_a_content_coding_is_understood(shell: Shell, server: SseServer, spans: Spans) -> None:
    refusal = json_reply(REFUSAL, 400, content_encoding="gzip")
    packed = type(refusal)((gzip.compress(json.dumps(REFUSAL).encode()),), 400, refusal.headers)
    server.script(packed, sse_reply(ROLE, *WORDS, STOP, DONE))

    assert run(_stream(shell, server, NOT_ASKING)) == WHAT_IS_SEEN
    assert len(server.requests) == 2


def test_an_error_with_a_content_coding_can_still_be_read(shell: Shell, server: SseServer, spans: Spans) -> None:
    error = {"error": {"message": "no", "code": "nope"}}
    packed = json_reply(error, 400, content_encoding="gzip")
    server.script(type(packed)((gzip.compress(json.dumps(error).encode()),), 400, packed.headers))

    assert json.loads(run(_stream(shell, server, NOT_ASKING))) == error
    assert attributes(spans.one())["error.type"] == "nope"


def test_a_stream_that_is_coded_although_none_was_asked_for_is_shown_decoded(
    shell: Shell, server: SseServer, spans: Spans
) -> None:
    packed = gzip.compress(b"".join(WHOLE_STREAM))
    server.script(sse_reply(packed[:50], packed[50:], **{"content-encoding": "gzip"}))

    assert run(_stream(shell, server, NOT_ASKING)) == WHAT_IS_SEEN
    assert server.requests[0].header("accept-encoding") == "identity"
    assert attributes(spans.one())["gen_ai.usage.input_tokens"] == 9


def test_a_stream_that_breaks_off_shows_what_had_come(shell: Shell, server: SseServer, spans: Spans) -> None:
    server.script(sse_reply(ROLE, WORDS[0], 0.05, Reset))

    async def scenario() -> bytes:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=NOT_ASKING)
            seen = b""
            try:
                async for piece in shell.pieces(response):
                    seen += piece
            except shell.library.HTTPError:
                return seen
            finally:
                await shell.close(response)
            raise AssertionError("the reset was not noticed")

    assert run(scenario()) == ROLE + WORDS[0]
    assert attributes(spans.one())["tokentrail.stream.exit"] == "broken"


def test_the_switch_turns_it_off(shell: Shell, server: SseServer, instrument: Callable[..., Spans]) -> None:
    spans = instrument(stream_usage=False)
    server.script(sse_reply(ROLE, *WORDS, STOP, DONE))

    run(_stream(shell, server, NOT_ASKING))

    assert json.loads(server.requests[0].body) == NOT_ASKING
    assert attributes(spans.one())["tokentrail.usage.status"] == "missing"


def test_nothing_is_asked_for_a_span_that_nobody_will_see(
    shell: Shell, server: SseServer, instrument: Callable[..., Spans]
) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    instrument(sampler=ALWAYS_OFF)
    server.script(sse_reply(ROLE, *WORDS, STOP, DONE))

    assert run(_stream(shell, server, NOT_ASKING)) == WHAT_IS_SEEN
    assert json.loads(server.requests[0].body) == NOT_ASKING


def test_other_formats_are_not_asked(shell: Shell, server: SseServer, spans: Spans) -> None:
    server.script(sse_reply(*CLAUDE_STREAM))
    body = {**CLAUDE_REQUEST, "stream": True}

    async def scenario() -> None:
        async with shell.client() as client:
            await shell.post(client, f"{server.url}/v1/messages", json=body)

    run(scenario())

    assert json.loads(server.requests[0].body) == body


@pytest.mark.parametrize(
    "sealed", [{"Authorization": "AWS4-HMAC-SHA256 Credential=x"}, {"Content-Digest": "sha-256=:x=:"}]
)
def test_a_request_whose_body_is_sealed_is_not_changed(
    shell: Shell, server: SseServer, spans: Spans, sealed: dict[str, str]
) -> None:
    server.script(sse_reply(ROLE, *WORDS, STOP, DONE))

    async def scenario() -> None:
        async with shell.client() as client:
            await shell.post(client, server.chat_url, json=NOT_ASKING, headers=sealed)

    run(scenario())

    assert json.loads(server.requests[0].body) == NOT_ASKING


def test_a_failing_filter_hides_nothing_and_hurts_nobody(
    shell: Shell, server: SseServer, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokentrail.instrumentation import guard

    def fail(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(UsageFilter, "feed", fail)
    server.script(sse_reply(*WHOLE_STREAM))

    assert run(_stream(shell, server, NOT_ASKING)) == b"".join(WHOLE_STREAM)


def test_everything_else_of_the_body_stays_byte_for_byte() -> None:
    body = b'{ "stream" : true, "model":"m", "messages":[], "temperature":1.10, "logit_bias":{"\\u00e9":1e2}}'

    assert _ask(body) == b'{"stream_options":{"include_usage":true},' + body[1:]


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
        ({}, {"include_usage": True}),
    ],
)
def test_other_options_are_kept(options: object, asked: object) -> None:
    body = {**NOT_ASKING, "stream_options": options, "user": "é\U0001f600"}

    assert json.loads(_ask(body)) == {**body, "stream_options": asked}


@pytest.mark.parametrize(
    "body",
    [
        {**CHAT_REQUEST},
        {**CHAT_REQUEST, "stream": False},
        {**CHAT_REQUEST, "stream": "true"},
        {**CHAT_REQUEST, "metadata": {"stream": True}},
        {**NOT_ASKING, "stream_options": {"include_usage": True}},
        {**NOT_ASKING, "stream_options": None},
        b'{"stream":true,"model":"m","messages":[',
        b'[{"stream":true}]',
        b"",
    ],
)
def test_a_request_without_a_question_to_ask_is_left_alone(body: object) -> None:
    assert _ask(body) is None


@pytest.mark.parametrize("host", ["api.mistral.ai", "api.groq.com", "openrouter.ai", "api.perplexity.ai"])
def test_providers_that_say_it_anyway_are_not_asked(host: str) -> None:
    assert _ask(NOT_ASKING, host) is None
    assert _ask(NOT_ASKING, "api.deepseek.com") is not None


def test_an_event_of_any_other_kind_is_shown() -> None:
    events = (
        b'data: {"choices":[],"prompt_filter_results":[{}],"usage":null}\n\n',
        b'data: {"choices":[],"error":{"message":"x"},"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\"choices\\":[]"}}],"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":[], broken\n\n',
        b": comment\r\n\r\n",
        b"event: x\ndata: y\n\n",
    )
    whole = b"".join(events)

    for position in range(len(whole) + 1):
        hide = UsageFilter("")
        assert hide.feed(whole[:position]) + hide.feed(whole[position:]) + hide.flush() == whole


def test_the_usage_is_hidden_wherever_the_stream_is_cut_and_however_lines_end() -> None:
    for whole, seen in (
        (b"".join(WHOLE_STREAM), WHAT_IS_SEEN),
        (b"".join(WHOLE_STREAM).replace(b"\n", b"\r\n"), WHAT_IS_SEEN.replace(b"\n", b"\r\n")),
        (b"".join(WHOLE_STREAM).removesuffix(DONE).removesuffix(b"\n\n"), WHAT_IS_SEEN.removesuffix(DONE)),
    ):
        for position in range(len(whole) + 1):
            hide = UsageFilter("")
            assert hide.feed(whole[:position]) + hide.feed(whole[position:]) + hide.flush() == seen, position


def test_an_endless_event_is_not_held_back() -> None:
    hide = UsageFilter("")
    half = b"data: " + b"x" * (stream_usage.MAX_HELD_BYTES // 2)

    shown = hide.feed(half) + hide.feed(half) + hide.feed(half)

    assert len(shown) >= 2 * len(half)
    assert shown + hide.flush() == half * 3
