"""Time to the first chunk and to the first token, against a server that takes its time."""

import time
from dataclasses import dataclass
from itertools import accumulate

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


_CLOCKS_S = 0.005
"""By how much the clock of the wall may be behind the one that spans are measured with."""


@dataclass
class Times:
    """Seconds since the span's start, by the span and by the application that read the stream.

    The server's pauses bound them from below, and the application from above: it has nothing before it was seen. Both
    hold on a machine that is busy, too.
    """

    chunk: float
    token: float
    end: float
    read_first: float
    read_word: float
    read_all: float


def times(shell: Shell, spans: Spans, url: str, body: dict[str, object], first: bytes, word: bytes) -> Times:
    """Those of a stream that begins with the event `first`, and whose first token is the event `word`."""
    pieces: list[tuple[int, bytes]] = []

    async def scenario() -> None:
        async with shell.client() as client:
            response = await shell.open(client, url, json=body)
            async for piece in shell.pieces(response):
                pieces.append((time.time_ns(), piece))

    run(scenario())
    ended_ns, span = time.time_ns(), spans.one()
    found, start_ns = attributes(span), span.start_time or 0
    so_far = list(accumulate(piece for _, piece in pieces))
    first_ns, word_ns = (
        next(at_ns for (at_ns, _), read in zip(pieces, so_far, strict=True) if event in read) for event in (first, word)
    )
    return Times(
        found["gen_ai.response.time_to_first_chunk"],
        found["tokentrail.response.time_to_first_token"],
        ((span.end_time or 0) - start_ns) / 1e9,
        *((at_ns - start_ns) / 1e9 + _CLOCKS_S for at_ns in (first_ns, word_ns, ended_ns)),
    )


@pytest.mark.parametrize("split", [False, True], ids=["whole events", "events cut in two"])
def test_a_chunk_with_only_a_role_is_no_token(any_shell: Shell, spans: Spans, server: SseServer, split: bool) -> None:
    role = (ROLE[:15], ROLE[15:]) if split else (ROLE,)
    server.script(sse_reply(0.1, *role, 0.15, *WORDS, 0.15, STOP, USAGE, DONE))

    found = times(any_shell, spans, server.chat_url, dict(STREAM_REQUEST), ROLE, WORDS[0])

    assert 0.1 <= found.chunk <= found.read_first
    assert 0.25 <= found.token <= found.read_word
    assert 0.4 <= found.end <= found.read_all


def test_the_first_token_of_anthropic_is_in_a_delta(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(CLAUDE_START, CLAUDE_BLOCK, 0.2, *CLAUDE_WORDS, *CLAUDE_END))
    request = {**CLAUDE_REQUEST, "stream": True}

    found = times(shell, spans, f"{server.url}/v1/messages", request, CLAUDE_START, CLAUDE_WORDS[0])

    assert found.chunk <= found.read_first
    assert 0.2 <= found.token <= found.read_word


def test_a_slow_consumer_does_not_make_the_provider_slow(shell: Shell, spans: Spans, server: SseServer) -> None:
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
