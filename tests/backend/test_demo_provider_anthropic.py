"""The local provider's Anthropic format, read by the vendor's own client and byte by byte."""

import asyncio
import json
from collections.abc import Iterator

import anthropic
import pytest
from anthropic.types import ToolParam

from support.local_provider import Served, events, serve

MODEL = "claude-haiku-4-5"
LONG = "Write in short sentences and plain words, and name the next step first, then the reason for it. " * 6
TOOL: ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as provider:
        yield provider


def test_a_plain_message_parses_and_its_usage_adds_up(served: Served) -> None:
    answer = served.claude.messages.create(
        model=MODEL, max_tokens=200, messages=[{"role": "user", "content": "Hello you"}]
    )

    assert answer.id.startswith("msg_01")
    assert answer.model == "claude-haiku-4-5-20251001"
    assert answer.stop_reason == "end_turn"
    assert answer.content[0].type == "text"
    assert answer.usage.input_tokens == 6


def test_a_streamed_message_sends_the_events_of_the_vendor_in_order(served: Served) -> None:
    body = {
        "model": MODEL,
        "max_tokens": 200,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }

    received = events(served.post("/v1/messages", body).text)

    names = [name for name, _ in received]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[3:-3]) == {"content_block_delta"}
    data = json.loads(json.dumps([event for _, event in received]))
    assert [event["type"] for event in data] == names
    assert data[0]["message"]["usage"]["output_tokens"] == 1
    assert data[-2]["usage"]["output_tokens"] > 1
    assert data[-2]["usage"]["input_tokens"] == data[0]["message"]["usage"]["input_tokens"]


def test_thinking_comes_first_and_is_counted(served: Served) -> None:
    with served.claude.messages.stream(
        model="claude-sonnet-5",
        max_tokens=3000,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=[{"role": "user", "content": "Think"}],
    ) as stream:
        thought = "".join(event.thinking for event in stream if event.type == "thinking")
        final = stream.get_final_message()

    assert [block.type for block in final.content] == ["thinking", "text"]
    assert thought
    assert final.usage.output_tokens_details is not None
    assert 0 < final.usage.output_tokens_details.thinking_tokens < final.usage.output_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_when_the_question_asks_for_it(served: Served, stream: bool) -> None:
    messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": "What is the weather in Lisbon?"}]

    if stream:
        with served.claude.messages.stream(model=MODEL, max_tokens=200, messages=messages, tools=[TOOL]) as opened:
            answer: anthropic.types.Message = opened.get_final_message()
    else:
        answer = served.claude.messages.create(model=MODEL, max_tokens=200, messages=messages, tools=[TOOL])

    assert answer.stop_reason == "tool_use"
    block = answer.content[-1]
    assert block.type == "tool_use"
    assert block.name == "get_weather"
    assert isinstance(block.input["city"], str)


def test_cached_instructions_are_written_once_and_read_after() -> None:
    with serve() as served:
        usages = [
            served.claude.messages.create(
                model=MODEL,
                max_tokens=100,
                system=[{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}],
                messages=[{"role": "user", "content": question}],
            ).usage
            for question in ("one", "two")
        ]
        totals = served.totals()

    assert usages[0].cache_creation_input_tokens == usages[1].cache_read_input_tokens
    assert usages[0].cache_read_input_tokens == usages[1].cache_creation_input_tokens == 0
    # On the wire the cache is beside the input, in the ledger it is inside.
    cached = usages[1].cache_read_input_tokens or 0
    assert cached >= 64
    assert totals["input_tokens"] == usages[0].input_tokens + usages[1].input_tokens + 2 * cached
    assert totals["cached_tokens"] == totals["cache_write_tokens"] == cached


def test_the_limit_of_tokens_cuts_the_answer_and_says_so(served: Served) -> None:
    answer = served.claude.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "Go"}])

    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == 5


def test_asynchronous_streams_run_side_by_side(served: Served) -> None:
    async def ask() -> list[str]:
        async with anthropic.AsyncAnthropic(api_key="k", base_url=served.url) as client:

            async def one(number: int) -> str:
                async with client.messages.stream(
                    model=MODEL, max_tokens=100, messages=[{"role": "user", "content": f"Number {number}"}]
                ) as stream:
                    return await stream.get_final_text()

            return await asyncio.gather(*map(one, range(6)))

    assert len(set(asyncio.run(ask()))) == 6


@pytest.mark.parametrize(
    ("changes", "status", "kind", "words"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens"),
        ({"messages": None}, 400, "invalid_request_error", "messages"),
        ({"messages": [{"role": "system", "content": "a"}]}, 400, "invalid_request_error", "system"),
        ({"temperature": 1.5}, 400, "invalid_request_error", "temperature"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, 400, "invalid_request_error", "1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, 400, "invalid_request_error", "max_tokens"),
        ({"model": "claude-9"}, 404, "not_found_error", "claude-9"),
    ],
)
def test_bad_input_gets_the_error_of_the_vendor(
    served: Served, changes: dict[str, object], status: int, kind: str, words: str
) -> None:
    body = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "a"}], **changes}

    response = served.post("/v1/messages", {name: value for name, value in body.items() if value is not None})

    assert response.status_code == status
    answer = response.json()
    assert set(answer) == {"type", "error", "request_id"}
    assert answer["type"] == "error"
    assert answer["error"]["type"] == kind
    assert words in answer["error"]["message"]
    assert answer["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(("missing", "status"), [("anthropic-version", 400), ("x-api-key", 401)])
def test_a_request_without_its_headers_is_refused(served: Served, missing: str, status: int) -> None:
    response = served.post("/v1/messages", {}, **{"authorization": "", missing: ""})

    assert response.status_code == status


def test_the_headers_of_the_vendor_are_there(served: Served) -> None:
    raw = served.claude.messages.with_raw_response.create(
        model=MODEL, max_tokens=20, messages=[{"role": "user", "content": "Hello"}]
    )

    assert raw.headers["request-id"].startswith("req_011")
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        limit, remaining = (int(raw.headers[f"anthropic-ratelimit-{kind}-{what}"]) for what in ("limit", "remaining"))
        assert 0 < remaining < limit
