"""Everything on a call's path made to fail in turn: the application notices nothing, and hears of it once."""

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from support.http_shells import SHELLS, Shell, run
from support.span_log import Spans
from support.sse_server import (
    CHAT_REQUEST,
    CHAT_RESPONSE,
    CLAUDE_REQUEST,
    CLAUDE_RESPONSE,
    CLAUDE_STREAM,
    STREAM_REQUEST,
    WHOLE_STREAM,
    SseServer,
    json_reply,
    sse_reply,
)
from tokentrail.instrumentation import (
    body,
    content,
    context,
    deferred,
    exchange,
    guard,
    headers,
    owner,
    processor,
    record,
    session,
    user,
)
from tokentrail.instrumentation.config import Capture
from tokentrail.instrumentation.framing import coding, sse
from tokentrail.instrumentation.patch import httpx_client
from tokentrail.instrumentation.wire import anthropic_messages, endpoints, openai_chat

Target = type | ModuleType

PLACES: tuple[tuple[Target, tuple[str, ...]], ...] = (
    (httpx_client, ("_body", "_without_metadata", "_follow", "is_honoured")),
    (
        exchange.Observer,
        ("prepare", "begin", "_fetch_prices", "must_strip", "hand_over", "forget"),
    ),
    (
        exchange.Exchange,
        (
            *("__init__", "enter", "leave", "respond", "chunk", "fail", "finish", "close", "work"),
            *("_describe_start", "_keeps_content", "_base_outcome", "_read_response", "_stream_exit"),
            *("_read_request", "_record", "give_way", "settle", "_start_span", "_take_failed_attempt"),
        ),
    ),
    (exchange, ("current_tags", "detach", "claim_owner", "before_end", "describe", "_is_cancellation", "_since")),
    (exchange, ("BodyReader",)),
    (owner, ("find_owner", "attributes_of")),
    (record.Recorder, ("start", "finish", "enrich", "_content", "_emit")),
    (
        record,
        (
            *("_attributes", "_usage_attributes", "_stream_attributes", "_cost_attributes", "_error"),
            *("clean", "redact"),
        ),
    ),
    (body.BodyReader, ("__init__", "feed", "finish", "_read_events")),
    (sse.SseDecoder, ("__init__", "feed", "flush")),
    (coding, ("decoder",)),
    (openai_chat.OpenAIChat, ("recognises", "read_request", "read_content", "reader")),
    (openai_chat.ChatReader, ("feed_event", "feed_body", "result")),
    (anthropic_messages.AnthropicMessages, ("recognises", "read_request", "read_content", "reader")),
    (anthropic_messages.MessagesReader, ("feed_event", "feed_body", "result")),
    (endpoints, ("match", "parse")),
    (headers, ("read_request", "read_response", "retry_count", "_to_tags", "_set_property")),
    (context.Tags, ("over", "attributes")),
    (content, ("dump",)),
    (deferred.Deferred, ("submit", "_is_running")),
    (processor, ("current_tags",)),
)
CASES = [(target, name) for target, names in PLACES for name in names]


class InjectedError(Exception):
    """What is raised in our code."""


def name_of(value: object) -> str:
    return value if isinstance(value, str) else str(getattr(value, "__name__", value)).removeprefix("tokentrail.")


METADATA = {"Helicone-User-Id": "u", "Helicone-Property-Team": "core"}


async def _use(shell: Shell, server: SseServer, spans: Spans) -> list[object]:
    """All kinds of calls, with what the application got of each."""
    got: list[object] = []
    refused = "http://127.0.0.1:1/v1/chat/completions"
    claude = f"{server.url}/v1/messages"
    server.script(
        json_reply(CHAT_RESPONSE),
        sse_reply(*WHOLE_STREAM),
        sse_reply(*WHOLE_STREAM),
        json_reply(CLAUDE_RESPONSE),
        sse_reply(*CLAUDE_STREAM),
        json_reply({"error": {"message": "later"}}, 503),
        json_reply(CHAT_RESPONSE),
        json_reply({"error": {"message": "later"}}, 503),
    )
    async with shell.client(headers=METADATA) as client:
        handler = spans.provider.get_tracer("application")
        with user("u-1"), session("s-1"), handler.start_as_current_span("handler"):
            response = await shell.post(client, server.chat_url, json=CHAT_REQUEST)
            got.append(response.json())
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            got.append(await shell.read(response))
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            await shell.first(response)
            await shell.close(response)
            response = await shell.post(client, claude, json=CLAUDE_REQUEST)
            got.append(response.json())
            response = await shell.open(client, claude, json={**CLAUDE_REQUEST, "stream": True})
            got.append(await shell.read(response))
            with pytest.raises(shell.library.ConnectError) as caught:
                await shell.post(client, refused, json=CHAT_REQUEST)
            got.append(type(caught.value))
        # Owned by somebody else's span: an attempt and its retry, and an attempt that is the last.
        for attempts in (2, 1):
            with handler.start_as_current_span("call", attributes={"gen_ai.operation.name": "chat"}):
                for _ in range(attempts):
                    response = await shell.post(client, server.chat_url, json=CHAT_REQUEST)
                    got.append(response.status_code)
    return got


def expected(shell: Shell) -> list[object]:
    streams = b"".join(WHOLE_STREAM), b"".join(CLAUDE_STREAM)
    return [CHAT_RESPONSE, streams[0], CLAUDE_RESPONSE, streams[1], shell.library.ConnectError, 503, 200, 503]


@pytest.mark.parametrize("faulty", SHELLS[2:], ids=lambda shell: shell.name)
@pytest.mark.parametrize(("target", "name"), CASES, ids=name_of)
def test_a_failure_of_ours_is_logged_once_and_felt_by_nobody(
    faulty: Shell,
    instrument: Callable[..., Spans],
    server: SseServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    target: Target,
    name: str,
) -> None:
    spans = instrument(capture=Capture.SPAN_AND_EVENT)
    monkeypatch.setattr(guard, "strict", False)
    calls = 0

    def fail(*args: object, **kwargs: object) -> Any:
        nonlocal calls
        calls += 1
        raise InjectedError(f"in {name}")

    with caplog.at_level(logging.WARNING), monkeypatch.context() as broken:
        broken.setattr(target, name, fail)
        for _ in range(2):
            assert run(_use(faulty, server, spans)) == expected(faulty)
        spans.provider.force_flush()
    messages = [record.getMessage() for record in caplog.records if record.name == "tokentrail.instrumentation"]
    spans_before = len(spans.calls())
    after = run(_use(faulty, server, spans))

    assert calls >= 2, "the place is not on the path: the test would prove nothing"
    assert messages
    assert len(messages) == len(set(messages))
    assert [r for r in caplog.records if r.name != "tokentrail.instrumentation" and r.levelno >= logging.ERROR] == []
    assert after == expected(faulty)
    # More, where a response of the broken time is found by the garbage collector now.
    assert len(spans.calls()) - spans_before >= 6


def test_under_test_a_failure_of_ours_is_raised(
    shell: Shell, spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> Any:
        raise InjectedError

    monkeypatch.setattr(headers, "read_request", fail)

    with pytest.raises(InjectedError):
        run(_use(shell, server, spans))


def test_an_exception_whose_text_cannot_be_had_is_recorded_by_its_name(
    shell: Shell, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.span_log import attributes

    class WordlessError(Exception):
        def __str__(self) -> str:
            raise InjectedError

    def answer(request: Any) -> Any:
        raise WordlessError

    monkeypatch.setattr(guard, "strict", False)

    async def scenario() -> None:
        async with shell.client(transport=shell.library.MockTransport(answer)) as client:
            with pytest.raises(WordlessError):
                await shell.post(client, "https://api.openai.com/v1/chat/completions", json=CHAT_REQUEST)

    run(scenario())

    assert "WordlessError" in attributes(spans.one())["error.type"]
