"""Calls whose answers are lines of JSON, and calls that are billed by other units than tokens, through every client."""

import json
import time

import pytest
from opentelemetry.trace import StatusCode

from support.http_shells import Shell, run
from support.span_log import Spans, attributes, output_text
from support.sse_server import Reply, Reset, SseServer, Step, json_reply
from tokentrail.instrumentation.wire import COHERE_RERANK

pytestmark = pytest.mark.usefixtures("quiet")

REQUEST = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}]}


def line(text: str = "", **fields: object) -> bytes:
    """A line of Ollama's chat."""
    message = {"role": "assistant", "content": text}
    return json.dumps({"model": "llama3.2", "message": message, "done": False, **fields}).encode() + b"\n"


END = line(done=True, done_reason="stop", prompt_eval_count=26, eval_count=3)


def lines_reply(*steps: Step) -> Reply:
    """A stream of lines of JSON."""
    return Reply((*steps, b""), 200, {"content-type": "application/x-ndjson"})


def read(shell: Shell, server: SseServer) -> list[int]:
    """One call, read to its end or to where it breaks; when pieces of it were there, in nanoseconds since the epoch."""
    read_ns: list[int] = []

    async def scenario() -> None:
        async with shell.client() as client:
            response = await shell.open(client, f"{server.url}/api/chat", json=REQUEST)
            async for _ in shell.pieces(response):
                read_ns.append(time.time_ns())

    run(scenario())
    return read_ns


def test_a_stream_that_nobody_asked_for_is_one(any_shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(lines_reply(line(), 0.25, line("Hi"), line(" there"), END[:20], END[20:]))

    first_ns, *_ = read(any_shell, server)
    span = spans.one()
    found = attributes(span)

    assert span.name == "chat llama3.2"
    assert found["gen_ai.request.stream"] is True
    assert found["tokentrail.stream.exit"] == "complete"
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (26, 3)
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert found["gen_ai.response.time_to_first_chunk"] <= (first_ns - (span.start_time or 0)) / 1e9 + 0.005
    assert found["tokentrail.response.time_to_first_token"] >= 0.25
    assert found["tokentrail.pricing.status"] == "self_hosted"
    assert output_text(span) == "Hi there"


def test_a_stream_left_early_says_what_it_said(any_shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(lines_reply(line("Hi"), 0.3, line(" there"), END))

    async def scenario() -> None:
        async with any_shell.client() as client:
            response = await any_shell.open(client, f"{server.url}/api/chat", json=REQUEST)
            await any_shell.first(response)
            await any_shell.close(response)

    run(scenario())
    span = spans.one()

    assert attributes(span)["tokentrail.stream.exit"] == "closed"
    assert "gen_ai.usage.output_tokens" not in attributes(span)
    assert output_text(span) == "Hi"


def test_an_error_in_the_middle_breaks_a_stream(any_shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(lines_reply(line("Hi"), b'{"error":"the model ran out of memory"}\n'))

    read(any_shell, server)
    span = spans.one()

    assert attributes(span)["tokentrail.stream.exit"] == "broken"
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "the model ran out of memory"
    assert output_text(span) == "Hi"


def test_a_reset_in_the_middle_of_a_line_breaks_a_stream(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(lines_reply(line("Hi"), 0.1, END[:30], 0.1, Reset))

    with pytest.raises(shell.library.TransportError):
        read(shell, server)
    span = spans.one()

    assert attributes(span)["tokentrail.stream.exit"] == "broken"
    assert span.status.status_code is StatusCode.ERROR
    assert output_text(span) == "Hi"


def test_a_model_that_is_loaded_uses_no_tokens(shell: Shell, spans: Spans, server: SseServer) -> None:
    answer = {"model": "llama3.2", "message": {"role": "assistant", "content": ""}, "done_reason": "load", "done": True}
    server.script(json_reply(answer))

    read(shell, server)
    found = attributes(spans.one())

    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (0, 0)
    assert found["gen_ai.response.finish_reasons"] == ("load",)
    assert "tokentrail.usage.status" not in found


@pytest.mark.parametrize(
    ("billed", "status"), [({"search_units": 2}, None), ({}, "missing")], ids=["search units", "nothing"]
)
def test_a_rerank_misses_no_tokens(
    shell: Shell,
    spans: Spans,
    server: SseServer,
    monkeypatch: pytest.MonkeyPatch,
    billed: dict[str, int],
    status: str | None,
) -> None:
    # Its path is looked for at hosts of Cohere alone.
    monkeypatch.setattr("tokentrail.semconv.providers._EXACT", {"127.0.0.1": "cohere"})
    server.script(json_reply({"id": "r", "results": [], "meta": {"billed_units": billed}}))

    async def scenario() -> None:
        async with shell.client() as client:
            body = {"model": "rerank-v3.5", "query": "q", "documents": ["a"]}
            await shell.post(client, f"{server.url}/v2/rerank", json=body)

    run(scenario())
    span = spans.one()
    found = attributes(span)

    assert span.name == f"{COHERE_RERANK.operation} rerank-v3.5"
    assert found.get("tokentrail.usage.search_units") == billed.get("search_units")
    assert found.get("tokentrail.usage.status") == status
    assert found["tokentrail.pricing.status"] == "no_usage"
