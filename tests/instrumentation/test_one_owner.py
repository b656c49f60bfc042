"""A call that another instrumentation has a span for: that span gets what it lacks, and no second one appears."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from support.http_shells import SHELLS, Shell, run
from support.otlp_sink import listening
from support.reroute import async_transport, sync_transport
from support.span_log import Spans, attributes
from support.sse_server import (
    CHAT_REQUEST,
    CHAT_RESPONSE,
    CLAUDE_BLOCK,
    CLAUDE_REQUEST,
    CLAUDE_RESPONSE,
    CLAUDE_START,
    CLAUDE_STREAM,
    CLAUDE_WORDS,
    STREAM_REQUEST,
    WHOLE_STREAM,
    Hang,
    SseServer,
    event,
    json_reply,
    sse_reply,
)
from tokentrail.instrumentation import session, user

pytestmark = pytest.mark.usefixtures("quiet")

anthropic = pytest.importorskip("anthropic")


@pytest.fixture(params=["sync", "async", "aiohttp"])
def claude(request: pytest.FixtureRequest, spans: Spans) -> Callable[..., Any]:
    """Runs a piece of code with the SDK's client, whose own spans are on: the piece is given client and `get`."""
    kind: str = request.param

    def use(server: SseServer, piece: Callable[[Any, Callable[[Any], Any]], Any], **settings: Any) -> Any:
        settings = {
            "api_key": "sk-ant-test-12345678",
            "max_retries": 0,
            "open_telemetry": {"tracer_provider": spans.provider},
            **settings,
        }

        async def scenario() -> Any:
            with user("u-1"), session("s-1", path="/a"):
                get = SHELLS[0].get
                if kind == "sync":
                    http = anthropic.DefaultHttpxClient(transport=sync_transport(httpx2, server.server_port))
                    with anthropic.Anthropic(**settings, http_client=http) as client:
                        return await piece(client, get)
                if kind == "aiohttp":
                    # This transport cannot be led elsewhere, so that its calls go to a host without prices.
                    settings.update(base_url=server.url, http_client=anthropic.DefaultAioHttpClient())
                else:
                    transport = async_transport(httpx2, server.server_port)
                    settings["http_client"] = anthropic.DefaultAsyncHttpxClient(transport=transport)
                async with anthropic.AsyncAnthropic(**settings) as client:
                    return await piece(client, get)

        return run(scenario())

    return use


def assert_enriched(spans: Spans, **expected: object) -> None:
    (span,) = spans.billable()
    found = attributes(span)
    assert spans.calls() == []
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "com.anthropic.sdk.python"
    assert found["user.id"] == "u-1"
    assert (found["session.id"], found["tokentrail.session.path"]) == ("s-1", "/a")
    self_hosted = {"tokentrail__pricing__status": "self_hosted", "gen_ai__usage__cost": None}
    if found["server.address"] == "127.0.0.1":
        expected |= {name: value for name, value in self_hosted.items() if name in expected}
    for name, value in expected.items():
        assert found.get(name.replace("__", ".")) == value, name


PRICED = {
    "gen_ai__usage__input_tokens": 10,
    "gen_ai__response__id": "msg_1",
    "gen_ai__response__finish_reasons": ("stop",),
    # claude-sonnet-4-6: 3 USD a million input tokens, 15 output.
    "tokentrail__pricing__status": "priced",
    "tokentrail__response__request_id": "req_1",
}


def plain_cost(output_tokens: int) -> Any:
    return pytest.approx(10 * 3e-6 + output_tokens * 15e-6)


def test_a_plain_call(claude: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CLAUDE_RESPONSE, request_id="req_1"))

    async def piece(client: Any, get: Any) -> Any:
        return await get(client.messages.create(**CLAUDE_REQUEST))

    message = claude(server, piece)

    assert message.content[0].text == "Hi there"
    assert_enriched(spans, **PRICED, gen_ai__usage__output_tokens=5, gen_ai__usage__cost=plain_cost(5))


def test_a_raw_response(claude: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CLAUDE_RESPONSE, request_id="req_1"))

    async def piece(client: Any, get: Any) -> Any:
        raw = await get(client.messages.with_raw_response.create(**CLAUDE_REQUEST))
        return await get(raw.parse())

    message = claude(server, piece)

    assert message.content[0].text == "Hi there"
    assert_enriched(spans, **PRICED, gen_ai__usage__cost=plain_cost(5))


def test_a_streaming_response_that_is_read(claude: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CLAUDE_RESPONSE, request_id="req_1"))

    async def piece(client: Any, get: Any) -> Any:
        manager = client.messages.with_streaming_response.create(**CLAUDE_REQUEST)
        if hasattr(manager, "__aenter__"):
            async with manager as response:
                return await response.read()
        with manager as response:
            return response.read()

    assert b"Hi there" in claude(server, piece)
    assert_enriched(spans, **PRICED, gen_ai__usage__cost=plain_cost(5))


async def _items(stream: Any) -> list[Any]:
    if hasattr(stream, "__aiter__"):
        return [item async for item in stream]
    return list(stream)


def test_a_stream_read_to_the_end(claude: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*CLAUDE_STREAM, **{"request-id": "req_1"}))

    async def piece(client: Any, get: Any) -> Any:
        return await _items(await get(client.messages.create(**CLAUDE_REQUEST, stream=True)))

    events = claude(server, piece)

    assert events[-1].type == "message_stop"
    assert_enriched(
        spans,
        **PRICED,
        gen_ai__usage__output_tokens=7,
        gen_ai__usage__cost=plain_cost(7),
        gen_ai__request__stream=True,
        tokentrail__stream__exit="complete",
    )
    (span,) = spans.billable()
    assert span.status.status_code is StatusCode.OK
    assert attributes(span)["tokentrail.response.time_to_first_token"] > 0


def test_a_stream_closed_early(claude: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(CLAUDE_START, CLAUDE_BLOCK, *CLAUDE_WORDS, Hang, **{"request-id": "req_1"}))

    async def piece(client: Any, get: Any) -> Any:
        stream = await get(client.messages.create(**CLAUDE_REQUEST, stream=True))
        if hasattr(stream, "__aiter__"):
            async for item in stream:
                if item.type == "content_block_delta":
                    break
        else:
            for item in stream:
                if item.type == "content_block_delta":
                    break
        await get(stream.close())

    claude(server, piece)

    # The SDK ends its span before it closes the response: what had come by then is on it.
    assert_enriched(
        spans,
        gen_ai__usage__input_tokens=10,
        gen_ai__request__stream=True,
        tokentrail__stream__exit="closed",
        tokentrail__response__request_id="req_1",
        tokentrail__pricing__status="priced",
    )


def test_a_stream_that_breaks_by_an_error_event(claude: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    server.script(sse_reply(CLAUDE_START, event(error, "error")))

    async def piece(client: Any, get: Any) -> Any:
        with pytest.raises(anthropic.APIStatusError):
            await _items(await get(client.messages.create(**CLAUDE_REQUEST, stream=True)))

    claude(server, piece)

    assert_enriched(spans, tokentrail__stream__exit="broken", gen_ai__usage__input_tokens=10)
    (span,) = spans.billable()
    assert span.status.status_code is StatusCode.ERROR


def test_the_stream_helper(claude: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*CLAUDE_STREAM, **{"request-id": "req_1"}))

    async def piece(client: Any, get: Any) -> Any:
        manager = client.messages.stream(**CLAUDE_REQUEST)
        if hasattr(manager, "__aenter__"):
            async with manager as stream:
                return await stream.get_final_text()
        with manager as stream:
            return stream.get_final_text()

    assert claude(server, piece) == "Hi there"
    assert_enriched(spans, **PRICED, gen_ai__usage__cost=plain_cost(7), tokentrail__stream__exit="complete")


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def test_a_failed_attempt_has_a_span_of_its_own_and_the_retry_has_the_owners(
    claude: Callable[..., Any], spans: Spans, server: SseServer
) -> None:
    server.script(json_reply(OVERLOADED, 529, retry_after_ms="10"), json_reply(CLAUDE_RESPONSE, request_id="req_1"))

    async def piece(client: Any, get: Any) -> Any:
        return await get(client.messages.create(**CLAUDE_REQUEST))

    claude(server, piece, max_retries=1)
    failed = spans.one()
    owner = next(span for span in spans.billable() if span is not failed)
    found = attributes(failed)
    kept = attributes(owner)

    assert len(server.requests) == len(spans.billable()) == 2
    assert failed.parent is not None
    assert failed.parent.span_id == owner.context.span_id
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "Overloaded")
    assert (found["error.type"], found["http.response.status_code"]) == ("overloaded_error", 529)
    assert (found["tokentrail.request.retry_count"], kept["tokentrail.request.retry_count"]) == (0, 1)
    assert (found["tokentrail.pricing.status"], found["user.id"]) == ("failed", "u-1")
    assert (owner.start_time or 0) <= (failed.start_time or 0) < (failed.end_time or 0)
    assert (kept["http.response.status_code"], kept["gen_ai.usage.input_tokens"]) == (200, 10)
    assert "error.type" not in kept
    assert "tokentrail.ratelimit.retry_after" not in kept


def test_the_last_failed_attempt_is_the_owners(claude: Callable[..., Any], spans: Spans, server: SseServer) -> None:
    server.script(*[json_reply(OVERLOADED, 529, retry_after_ms="10")] * 2)

    async def piece(client: Any, get: Any) -> Any:
        with pytest.raises(anthropic.APIStatusError):
            await get(client.messages.create(**CLAUDE_REQUEST))

    claude(server, piece, max_retries=1)
    failed = spans.one()
    owner = next(span for span in spans.billable() if span is not failed)

    assert len(spans.billable()) == 2
    assert attributes(failed)["tokentrail.request.retry_count"] == 0
    assert attributes(owner)["tokentrail.request.retry_count"] == 1
    assert attributes(owner)["tokentrail.pricing.status"] == "failed"
    assert owner.status.status_code is StatusCode.ERROR


# Owners made by hand --------------------------------------------------------------------------------------------

MARKS = [
    {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini"},
    {"openinference.span.kind": "LLM"},
    {"llm.request.type": "chat"},
]


@pytest.mark.parametrize("marks", MARKS, ids=lambda marks: next(iter(marks)))
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_span_around_the_call_owns_it(
    shell: Shell, spans: Spans, server: SseServer, marks: dict[str, str], streamed: bool
) -> None:
    server.script(sse_reply(*WHOLE_STREAM) if streamed else json_reply(CHAT_RESPONSE))
    body = STREAM_REQUEST if streamed else CHAT_REQUEST

    async def scenario() -> None:
        async with shell.client() as client:
            tracer = spans.provider.get_tracer("framework")
            with user("u-1"), tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes=marks) as owner:
                owner.set_attribute("gen_ai.response.id", "the owner's own")
                await shell.post(client, server.chat_url, json=body, headers={"Helicone-Property-Team": "core"})

    run(scenario())
    (span,) = spans.all()
    found = attributes(span)

    assert span.name == "call"
    assert found["gen_ai.response.id"] == "the owner's own"
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (9, 4)
    assert found["user.id"] == "u-1"
    assert found["tokentrail.property.Team"] == "core"
    assert found["tokentrail.pricing.status"] == "self_hosted"
    assert span.status.status_code is StatusCode.UNSET


def test_an_owner_that_ends_first_has_what_had_come(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(sse_reply(*WHOLE_STREAM[:3], 0.1, *WHOLE_STREAM[3:]))

    async def scenario() -> bytes:
        async with shell.client() as client:
            tracer = spans.provider.get_tracer("framework")
            with tracer.start_as_current_span("call", attributes={"gen_ai.operation.name": "chat"}):
                response = await shell.open(client, server.chat_url, json=STREAM_REQUEST)
            return await shell.read(response)

    assert run(scenario()) == b"".join(WHOLE_STREAM)
    (span,) = spans.all()

    assert attributes(span)["tokentrail.stream.exit"] == "closed"
    assert span.end_time is not None


def test_a_second_call_under_one_owner_is_one_more(shell: Shell, spans: Spans, server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with shell.client() as client:
            tracer = spans.provider.get_tracer("framework")
            with tracer.start_as_current_span("both", attributes={"gen_ai.operation.name": "chat"}):
                await shell.post(client, server.chat_url, json=CHAT_REQUEST)
                await shell.post(client, server.chat_url, json=CHAT_REQUEST)

    run(scenario())
    owner = next(span for span in spans.all() if span.name == "both")
    call = spans.one()

    assert len(spans.all()) == 2
    assert call.parent is not None
    assert call.parent.span_id == owner.context.span_id
    assert attributes(owner)["gen_ai.usage.output_tokens"] == attributes(call)["gen_ai.usage.output_tokens"] == 4


def test_calls_at_the_same_time_under_one_owner_are_as_many(spans: Spans, server: SseServer) -> None:
    server.script(*[sse_reply(*WHOLE_STREAM[:2], 0.2, *WHOLE_STREAM[2:])] * 3)
    shell = next(each for each in SHELLS if each.asynchronous)

    async def scenario() -> None:
        async with shell.client() as client:
            tracer = spans.provider.get_tracer("framework")
            with tracer.start_as_current_span("all", attributes={"gen_ai.operation.name": "chat"}):
                await asyncio.gather(*(shell.post(client, server.chat_url, json=STREAM_REQUEST) for _ in range(3)))

    run(scenario())
    tokens = [attributes(span)["gen_ai.usage.output_tokens"] for span in spans.billable()]

    assert tokens == [4, 4, 4]


@pytest.mark.parametrize("operation", ["invoke_agent", "execute_tool", "create_agent"])
def test_an_agent_or_a_tool_is_no_owner(spans: Spans, server: SseServer, operation: str) -> None:
    shell = SHELLS[2]
    server.script(json_reply(CHAT_RESPONSE))

    async def scenario() -> None:
        async with shell.client() as client:
            tracer = spans.provider.get_tracer("framework")
            with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": operation}):
                await shell.post(client, server.chat_url, json=CHAT_REQUEST)

    run(scenario())

    assert len(spans.billable()) == 1
    assert spans.one().name == "chat gpt-4o-mini"


_APP = """
import sys
import anthropic
client = anthropic.Anthropic(api_key="sk-ant-test-12345678", base_url=sys.argv[1], max_retries=0)
request = {"model": "claude-sonnet-4-6", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
client.messages.create(**request)
for event in client.messages.create(**request, stream=True):
    pass
for event in client.messages.create(**request, stream=True):
    break
"""


def test_the_sdk_finds_the_provider_by_itself_under_opentelemetry_instrument(server: SseServer, tmp_path: Path) -> None:
    server.script(json_reply(CLAUDE_RESPONSE), sse_reply(*CLAUDE_STREAM), sse_reply(CLAUDE_START, Hang))
    (tmp_path / "app.py").write_text(_APP)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TOKENTRAIL_", "ANTHROPIC_"))}
    with listening() as sink:
        done = subprocess.run(
            [Path(sys.executable).parent / "opentelemetry-instrument", sys.executable, "app.py", server.url],
            env={**clean, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        found = [span for span in sink.spans() if span.attributes.get("gen_ai.operation.name") == "chat"]

    assert (done.returncode, done.stderr) == (0, "")
    assert [span.scope for span in found] == ["com.anthropic.sdk.python"] * 3
    assert [span.attributes.get("tokentrail.stream.exit") for span in found] == [None, "complete", "abandoned"]
    assert [span.attributes["gen_ai.usage.input_tokens"] for span in found] == [10, 10, 10]
    assert [span.attributes["tokentrail.pricing.status"] for span in found] == ["self_hosted"] * 3
