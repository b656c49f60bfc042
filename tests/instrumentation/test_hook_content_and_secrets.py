"""Content goes where it was asked to go, and secrets nowhere."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from support.http_shells import Shell, run
from support.span_log import Spans, attributes
from support.sse_server import (
    CHAT_REQUEST,
    CHAT_RESPONSE,
    STREAM_REQUEST,
    SseServer,
    json_reply,
    sse_reply,
)
from tokentrail.instrumentation.config import Capture

INPUT = [{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}]
OUTPUT = [{"role": "assistant", "parts": [{"type": "text", "content": "Hi there"}], "finish_reason": "stop"}]


@pytest.mark.parametrize("capture", Capture, ids=lambda capture: capture.name)
@pytest.mark.usefixtures("quiet")
def test_content_goes_where_it_was_asked_to_go(
    shell: Shell, instrument: Callable[..., Spans], server: SseServer, capture: Capture
) -> None:
    spans = instrument(capture=capture)
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with shell.client() as client:
            await shell.post(client, server.chat_url, json=CHAT_REQUEST)

    run(scenario())
    span = spans.one()
    found = attributes(span)
    events = spans.events()

    assert ("gen_ai.input.messages" in found) == ("gen_ai.output.messages" in found) == capture.on_span
    if capture.on_span:
        assert json.loads(found["gen_ai.input.messages"]) == INPUT
        assert json.loads(found["gen_ai.output.messages"]) == OUTPUT
    assert len(events) == (1 if capture.on_event else 0)
    for event in events:
        assert event.event_name == "gen_ai.client.inference.operation.details"
        assert event.span_id == span.context.span_id
        assert event.trace_id == span.context.trace_id
        assert event.timestamp == span.end_time
        assert json.loads(event.attributes["gen_ai.input.messages"]) == INPUT
        assert json.loads(event.attributes["gen_ai.output.messages"]) == OUTPUT
        assert event.attributes["gen_ai.usage.input_tokens"] == 9


@pytest.mark.parametrize("omitted", ["request", "response"])
@pytest.mark.usefixtures("quiet")
def test_a_call_may_keep_its_content_to_itself(shell: Shell, spans: Spans, server: SseServer, omitted: str) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with shell.client() as client:
            headers = {f"Helicone-Omit-{omitted.title()}": "true"}
            await shell.post(client, server.chat_url, json=CHAT_REQUEST, headers=headers)

    run(scenario())
    found = attributes(spans.one())

    assert ("gen_ai.input.messages" in found) == (omitted != "request")
    assert ("gen_ai.output.messages" in found) == (omitted != "response")


SECRETS = (
    "sk-proj-aaaaaaaaBBBBBBBBcccccccc",
    "sk-ant-api03-dddddddd",
    "sk-helicone-eeeeeeee",
    "session-cookie-ffffffff",
    "Basic dXNlcjpnZ2dnZ2dnZw",
    "hhhhhhhh-api-key",
    "set-cookie-iiiiiiii",
)
HEADERS = {
    "Authorization": f"Bearer {SECRETS[0]}",
    "x-api-key": SECRETS[1],
    "Helicone-Auth": f"Bearer {SECRETS[2]}",
    "Cookie": f"id={SECRETS[3]}",
    "Proxy-Authorization": SECRETS[4],
    "api-key": SECRETS[5],
    "Helicone-User-Id": "u",
}


@pytest.mark.parametrize("outcome", ["success", "refused", "stream error", "no connection"])
def test_secrets_are_nowhere(
    shell: Shell,
    instrument: Callable[..., Spans],
    server: SseServer,
    caplog: pytest.LogCaptureFixture,
    outcome: str,
) -> None:
    spans = instrument(capture=Capture.SPAN_AND_EVENT)
    quoting = {"error": {"message": f"Incorrect API key provided: {SECRETS[0]}", "code": "invalid_api_key"}}
    cookie = f"s={SECRETS[6]}"
    replies = {
        "success": json_reply(CHAT_RESPONSE, set_cookie=cookie),
        "refused": json_reply(quoting, 401, set_cookie=cookie),
        "stream error": sse_reply(f"data: {json.dumps(quoting)}\n\n".encode()),
        "no connection": json_reply(None),
    }
    server.script(replies[outcome])
    url = server.chat_url if outcome != "no connection" else f"http://user:{SECRETS[0]}@127.0.0.1:1/v1/chat/completions"

    async def scenario() -> Any:
        async with shell.client() as client:
            try:
                return await shell.post(client, url, json=STREAM_REQUEST, headers=HEADERS)
            except shell.library.TransportError as error:
                return error

    with caplog.at_level(logging.DEBUG, "tokentrail"):
        run(scenario())
        text = spans.exported_text()
    span = spans.one()

    assert "u" in str(attributes(span)["user.id"])
    if outcome in ("refused", "stream error"):
        assert attributes(span)["error.type"] == "invalid_api_key"
        assert span.status.description == "Incorrect API key provided: [redacted]"
    for secret in SECRETS:
        assert secret not in text
        assert secret not in caplog.text
