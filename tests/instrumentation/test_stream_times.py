"""Time to the first chunk and to the first token, against a server that takes its time."""

import pytest

from support.http_shells import Shell, run
from support.span_log import Spans, attributes
from support.sse_server import (
    CLAUDE_BLOCK,
    CLAUDE_END,
    CLAUDE_REQUEST,
    CLAUDE_START,
    CLAUDE_WORDS,
    DONE,
    ROLE,
    STOP,
    STREAM_REQUEST,
    USAGE,
    WORDS,
    Reply,
    SseServer,
    sse_reply,
)

pytestmark = pytest.mark.usefixtures("quiet")


def times(shell: Shell, spans: Spans, url: str, body: dict[str, object]) -> tuple[float, float, float]:
    """Seconds to the first chunk, to the first token, and in all."""

    async def scenario() -> None:
        async with shell.client() as client:
            response = await shell.open(client, url, json=body)
            async for _ in shell.pieces(response):
                pass

    run(scenario())
    span = spans.one()
    found = attributes(span)
    chunk, token = found["gen_ai.response.time_to_first_chunk"], found["tokentrail.response.time_to_first_token"]
    return chunk, token, ((span.end_time or 0) - (span.start_time or 0)) / 1e9


@pytest.mark.parametrize("split", [False, True], ids=["whole events", "events cut in two"])
def test_a_chunk_with_only_a_role_is_no_token(any_shell: Shell, spans: Spans, server: SseServer, split: bool) -> None:
    role = (ROLE[:15], ROLE[15:]) if split else (ROLE,)
    server.script(sse_reply(0.1, *role, 0.15, *WORDS, 0.15, STOP, USAGE, DONE))

    chunk, token, whole = times(any_shell, spans, server.chat_url, dict(STREAM_REQUEST))

    assert 0.1 <= chunk < 0.22
    assert 0.25 <= token < 0.37
    assert 0.4 <= whole < 0.9


def test_the_first_token_of_anthropic_is_in_a_delta(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(CLAUDE_START, CLAUDE_BLOCK, 0.2, *CLAUDE_WORDS, *CLAUDE_END))

    chunk, token, _ = times(shell, spans, f"{server.url}/v1/messages", {**CLAUDE_REQUEST, "stream": True})

    assert chunk < 0.15
    assert 0.2 <= token < 0.4


def test_a_slow_consumer_does_not_make_the_provider_slow(shell: Shell, spans: Spans, server: SseServer) -> None:
    import time

    server.script(sse_reply(ROLE, WORDS[0], STOP, USAGE, DONE))

    async def scenario() -> None:
        async with shell.client() as client:
            response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            time.sleep(0.2)  # noqa: ASYNC251  the application does something else, and only then reads
            await shell.read(response)

    run(scenario())
    found = attributes(spans.one())

    # What has not been asked for cannot be seen: the times are those of the application, and say so by their order.
    assert found["gen_ai.response.time_to_first_chunk"] >= 0.2
    assert found["tokentrail.response.time_to_first_token"] >= found["gen_ai.response.time_to_first_chunk"]


def test_a_plain_response_has_no_such_times(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"{}",), 200, {"content-type": "application/json"}))

    async def scenario() -> None:
        async with shell.client() as client:
            await shell.post(client, server.chat_url, json={**STREAM_REQUEST, "stream": False})

    run(scenario())

    assert not any("time_to_first" in name for name in attributes(spans.one()))
