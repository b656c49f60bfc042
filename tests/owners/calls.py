"""The calls that the owner matrix makes, each with the provider's answers and the application's code.

Each says how many tokens its answer has; the tests compare spans with that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from support.sse_server import (
    CHAT_REQUEST,
    CHAT_RESPONSE,
    CLAUDE_REQUEST,
    CLAUDE_RESPONSE,
    CLAUDE_STREAM,
    STREAM_REQUEST,
    WHOLE_STREAM,
    Reply,
    event,
    json_reply,
    sse_reply,
)


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of call."""

    sdk: str
    """`openai` or `anthropic`."""
    make: Callable[[Any, bool], Awaitable[str]]
    """Makes it: given the client, and whether that is asynchronous. Gives what the application saw."""
    replies: tuple[Reply, ...]
    """Of the provider, in their order."""
    usage: tuple[int, int | None] | None
    """Input and output tokens that a span of the answered request must have; `None` where no request was answered, or
    the answer was not read as far as its usage."""
    retries: int = 0
    """How often the SDK tries again."""
    seen: str = "Hi there"
    """What the application sees."""


async def _get(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value


async def _at_once(ask: Callable[[], Any], count: int, asynchronous: bool) -> list[Any]:
    """What `count` calls give that are made at the same time: in tasks, or in threads."""
    if asynchronous:
        return list(await asyncio.gather(*(ask() for _ in range(count))))
    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(ask) for _ in range(count)]]


async def _items(stream: Any, asynchronous: bool) -> list[Any]:
    return [item async for item in stream] if asynchronous else list(stream)


# OpenAI ---------------------------------------------------------------------------------------------------------

TOOL: Final = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
TOOL_CALL: Final = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
}
TOOL_RESPONSE: Final = {
    **CHAT_RESPONSE,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
            "finish_reason": "tool_calls",
        }
    ],
}
EMBEDDINGS: Final = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}
OVERLOAD: Final = {"error": {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}}
INVALID: Final = {"error": {"message": "No such model", "type": "invalid_request_error", "code": "model_not_found"}}
RESPONSE: Final = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_760_000_000,
    "status": "completed",
    "model": "gpt-4o-mini-2024-07-18",
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hi there", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "temperature": 1.0,
    "top_p": 1.0,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "usage": {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 13,
    },
}
INCOMPLETE: Final = {
    **RESPONSE,
    "id": "resp_2",
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
}


def _response_events() -> tuple[bytes, ...]:
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    events: tuple[dict[str, object], ...] = (
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        {"type": "response.output_text.delta", **place, "delta": "Hi", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": " there", "logprobs": []},
        {"type": "response.output_text.done", **place, "text": "Hi there", "logprobs": []},
        {"type": "response.output_item.done", "output_index": 0, "item": RESPONSE["output"][0]},  # type: ignore[index]
        {"type": "response.completed", "response": RESPONSE},
    )
    return tuple(event({**each, "sequence_number": n}, str(each["type"])) for n, each in enumerate(events))


RESPONSE_REQUEST: Final = {"model": "gpt-4o-mini", "input": "Hello"}


async def _chat(client: Any, asynchronous: bool) -> str:
    completion = await _get(client.chat.completions.create(**CHAT_REQUEST))
    return str(completion.choices[0].message.content)


AT_ONCE: Final = 6


async def _chats_at_once(client: Any, asynchronous: bool) -> str:
    found = await _at_once(lambda: client.chat.completions.create(**CHAT_REQUEST), AT_ONCE, asynchronous)
    return str(len({completion.id for completion in found}))


async def _chat_tool(client: Any, asynchronous: bool) -> str:
    completion = await _get(client.chat.completions.create(**CHAT_REQUEST, tools=[TOOL]))
    return str(completion.choices[0].message.tool_calls[0].function.name)


async def _chat_raw(client: Any, asynchronous: bool) -> str:
    raw = await _get(client.chat.completions.with_raw_response.create(**CHAT_REQUEST))
    return str(raw.parse().choices[0].message.content)


async def _chat_stream(client: Any, asynchronous: bool) -> str:
    stream = await _get(client.chat.completions.create(**STREAM_REQUEST))
    chunks = await _items(stream, asynchronous)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def _chat_stream_closed(client: Any, asynchronous: bool) -> str:
    stream = await _get(client.chat.completions.create(**STREAM_REQUEST))
    text = ""
    while "Hi" not in text:
        chunk = await anext(stream) if asynchronous else next(stream)
        text += chunk.choices[0].delta.content or ""
    await _get(stream.close())
    return text


async def _embeddings(client: Any, asynchronous: bool) -> str:
    result = await _get(
        client.embeddings.create(model="text-embedding-3-small", input="Hello", encoding_format="float")
    )
    return str(len(result.data[0].embedding))


async def _responses(client: Any, asynchronous: bool) -> str:
    return str((await _get(client.responses.create(**RESPONSE_REQUEST))).output_text)


async def _responses_stream(client: Any, asynchronous: bool) -> str:
    events = await _items(await _get(client.responses.create(**RESPONSE_REQUEST, stream=True)), asynchronous)
    return "".join(each.delta for each in events if each.type == "response.output_text.delta")


async def _responses_raw_stream(client: Any, asynchronous: bool) -> str:
    raw = await _get(client.responses.with_raw_response.create(**RESPONSE_REQUEST, stream=True))
    events = await _items(raw.parse(), asynchronous)
    return "".join(each.delta for each in events if each.type == "response.output_text.delta")


# Anthropic ------------------------------------------------------------------------------------------------------

CLAUDE_TOOL: Final = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
CLAUDE_TOOL_RESPONSE: Final = {
    **CLAUDE_RESPONSE,
    "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}],
    "stop_reason": "tool_use",
}
CLAUDE_OVERLOAD: Final = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}


async def _messages(client: Any, asynchronous: bool) -> str:
    return str((await _get(client.messages.create(**CLAUDE_REQUEST))).content[0].text)


async def _messages_at_once(client: Any, asynchronous: bool) -> str:
    found = await _at_once(lambda: client.messages.create(**CLAUDE_REQUEST), AT_ONCE, asynchronous)
    return str(len({message.id for message in found}))


async def _messages_tool(client: Any, asynchronous: bool) -> str:
    return str((await _get(client.messages.create(**CLAUDE_REQUEST, tools=[CLAUDE_TOOL]))).content[0].name)


async def _messages_stream(client: Any, asynchronous: bool) -> str:
    events = await _items(await _get(client.messages.create(**CLAUDE_REQUEST, stream=True)), asynchronous)
    return "".join(each.delta.text for each in events if each.type == "content_block_delta")


async def _messages_helper(client: Any, asynchronous: bool) -> str:
    manager = client.messages.stream(**CLAUDE_REQUEST)
    if asynchronous:
        async with manager as stream:
            return "".join([text async for text in stream.text_stream])
    with manager as stream:
        return "".join(stream.text_stream)


# --------------------------------------------------------------------------------------------------------------

_SOON: Final = {"retry_after_ms": "10"}


def _chat_answer(number: int) -> Reply:
    usage = {"prompt_tokens": 100 + number, "completion_tokens": 4, "total_tokens": 104 + number}
    return json_reply({**CHAT_RESPONSE, "id": f"chatcmpl-{number}", "usage": usage}, x_request_id=f"req_{number}")


def _message_answer(number: int) -> Reply:
    usage = {"input_tokens": 100 + number, "output_tokens": 5}
    return json_reply({**CLAUDE_RESPONSE, "id": f"msg_{number}", "usage": usage}, request_id=f"req_{number}")


CALLS: Final[dict[str, Call]] = {
    "chat": Call("openai", _chat, (json_reply(CHAT_RESPONSE, x_request_id="req_1"),), (9, 4)),
    "chat_tool": Call("openai", _chat_tool, (json_reply(TOOL_RESPONSE, x_request_id="req_1"),), (9, 4), seen="weather"),
    "chat_raw": Call("openai", _chat_raw, (json_reply(CHAT_RESPONSE, x_request_id="req_1"),), (9, 4)),
    "chat_stream": Call(
        "openai", _chat_stream, (sse_reply(*WHOLE_STREAM, **{"x-request-id": "req_1"}),), (9, 4), seen="Hi there you"
    ),
    "chat_stream_closed": Call("openai", _chat_stream_closed, (sse_reply(*WHOLE_STREAM),), None, seen="Hi"),
    "chat_retry": Call(
        "openai",
        _chat,
        (json_reply(OVERLOAD, 429, **_SOON), json_reply(CHAT_RESPONSE, x_request_id="req_1")),
        (9, 4),
        retries=1,
    ),
    "chat_error": Call("openai", _chat, (json_reply(INVALID, 404),), None, seen="NotFoundError"),
    "chats_at_once": Call(
        "openai", _chats_at_once, tuple(_chat_answer(number) for number in range(AT_ONCE)), None, seen=str(AT_ONCE)
    ),
    "embeddings": Call("openai", _embeddings, (json_reply(EMBEDDINGS, x_request_id="req_1"),), (8, None), seen="2"),
    "responses": Call("openai", _responses, (json_reply(RESPONSE, x_request_id="req_1"),), (9, 4)),
    "responses_stream": Call(
        "openai", _responses_stream, (sse_reply(*_response_events(), **{"x-request-id": "req_1"}),), (9, 4)
    ),
    "responses_raw_stream": Call(
        "openai", _responses_raw_stream, (sse_reply(*_response_events(), **{"x-request-id": "req_1"}),), (9, 4)
    ),
    "responses_incomplete": Call("openai", _responses, (json_reply(INCOMPLETE, x_request_id="req_1"),), (9, 4)),
    "responses_retry": Call(
        "openai",
        _responses,
        (json_reply(OVERLOAD, 429, **_SOON), json_reply(RESPONSE, x_request_id="req_1")),
        (9, 4),
        retries=1,
    ),
    "responses_error": Call("openai", _responses, (json_reply(INVALID, 404),), None, seen="NotFoundError"),
    "messages": Call("anthropic", _messages, (json_reply(CLAUDE_RESPONSE, request_id="req_1"),), (10, 5)),
    "messages_tool": Call(
        "anthropic", _messages_tool, (json_reply(CLAUDE_TOOL_RESPONSE, request_id="req_1"),), (10, 5), seen="weather"
    ),
    "messages_stream": Call(
        "anthropic", _messages_stream, (sse_reply(*CLAUDE_STREAM, **{"request-id": "req_1"}),), (10, 7)
    ),
    "messages_helper": Call(
        "anthropic", _messages_helper, (sse_reply(*CLAUDE_STREAM, **{"request-id": "req_1"}),), (10, 7)
    ),
    "messages_retry": Call(
        "anthropic",
        _messages,
        (json_reply(CLAUDE_OVERLOAD, 429, **_SOON), json_reply(CLAUDE_RESPONSE, request_id="req_1")),
        (10, 5),
        retries=1,
    ),
    "messages_at_once": Call(
        "anthropic",
        _messages_at_once,
        tuple(_message_answer(number) for number in range(AT_ONCE)),
        None,
        seen=str(AT_ONCE),
    ),
    "messages_error": Call("anthropic", _messages, (json_reply(CLAUDE_OVERLOAD, 429),), None, seen="RateLimitError"),
}
"""Every kind of call, by name."""
