"""Anthropic Messages: https://docs.anthropic.com/en/api/messages and messages-streaming (read 2026-11).

    plain    {"type": "message", "content": [thinking, text or tool_use], "stop_reason", "usage"}
    stream   event: message_start (input counts), ping, per block content_block_start, content_block_delta ...,
             content_block_stop, then message_delta (stop reason, final counts) and message_stop

`input_tokens` on the wire leaves out what was read from and written to the cache.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tokentrail.backend.demo.provider import request
from tokentrail.backend.demo.provider._base import Choice, Chunk, Json, Prompt, Reply
from tokentrail.backend.demo.provider.ledger import Told
from tokentrail.semconv import providers

_STOP = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use"}
FIRST_OUTPUT_TOKENS = 1
"""What `message_start` says of the output, before there is any."""
_TOKENS_PER_DELTA = 2


class AnthropicMessages:
    """The endpoint `/v1/messages`."""

    path = "/v1/messages"
    vendor = providers.ANTHROPIC

    def new_response_id(self) -> str:
        """`msg_01` and 22 hex digits."""
        return f"msg_01{secrets.token_hex(11)}"

    def read(self, body: Json) -> Prompt:
        """The request. Raises `Refusal`."""
        model = request.read_string(body, "model")
        messages = request.read_messages(body)
        request.check_temperature(body, 1)
        max_tokens = request.read_count(body, "max_tokens", 128_000)
        if max_tokens is None:
            raise request.invalid("max_tokens: Field required", "max_tokens")
        if any(message.get("role") not in ("user", "assistant") for message in messages):
            raise request.invalid("messages: roles must be 'user' or 'assistant'; use 'system' at the top", "messages")
        tools = request.read_tools(body, "input_schema")
        instructions = request.text_of(body.get("system"))
        last = messages[-1]
        answered = "tool_result" in json.dumps(last.get("content"))
        return Prompt(
            model=model,
            texts=(
                *([instructions] if instructions else []),
                *(request.text_of(message.get("content")) for message in messages),
                *(json.dumps(dict(tool.schema)) for tool in tools),
            ),
            instructions=instructions,
            question=request.text_of(last.get("content")) if last.get("role") == "user" else "",
            cache="cache_control" in json.dumps(body.get("system")),
            tools=tools,
            tool_choice="none" if answered else request.read_tool_choice(body),
            max_tokens=max_tokens,
            effort=_effort(body.get("thinking"), max_tokens),
            shows_reasoning=True,
            stream=request.read_flag(body, "stream"),
        )

    def encode(self, reply: Reply) -> Json:
        """The plain answer."""
        choice = reply.choices[0]
        content: list[Json] = []
        if reply.reasoning:
            content.append({"type": "thinking", "thinking": "".join(reply.reasoning), "signature": _signature(reply)})
        if choice.tool:
            content.append({**_tool_block(choice, reply), "input": json.loads(choice.text)})
        else:
            content.append({"type": "text", "text": choice.text})
        return {**_message(reply), "content": content, "stop_reason": _STOP[choice.finish], "usage": _usage(reply.told)}

    def events(self, reply: Reply) -> Iterator[Chunk]:
        """The streamed answer."""
        choice = reply.choices[0]
        started = replace(reply.told, output_tokens=FIRST_OUTPUT_TOKENS, reasoning_tokens=0)
        opening = _usage(started)
        yield _event("message_start", told=started, message={**_message(reply), "usage": opening})
        index = 0
        if reply.reasoning:
            yield from _thinking_events(reply)
            index = 1
        if choice.tool:
            block, kind, key = _tool_block(choice, reply), "input_json_delta", "partial_json"
        else:
            block, kind, key = {"type": "text", "text": ""}, "text_delta", "text"
        yield _event("content_block_start", index=index, content_block=block)
        if index == 0:
            yield _event("ping")
        for pieces in _groups(choice.pieces):
            delta = {"type": kind, key: "".join(pieces)}
            yield _event("content_block_delta", len(pieces), index=index, delta=delta)
        yield _event("content_block_stop", index=index)
        yield _event(
            "message_delta",
            told=reply.told,
            delta={"stop_reason": _STOP[choice.finish], "stop_sequence": None},
            usage=_final_usage(reply.told),
        )
        yield _event("message_stop")


def _effort(thinking: object, max_tokens: int) -> str:
    """How much thought `thinking` asks for. Raises `Refusal` on a budget that the vendor would refuse."""
    if not isinstance(thinking, Mapping) or thinking.get("type") == "disabled":
        return ""
    budget = thinking.get("budget_tokens")
    if thinking.get("type") == "adaptive":
        return "medium"
    if not isinstance(budget, int) or budget < 1024:
        raise request.invalid("thinking.enabled.budget_tokens: Input should be at least 1024", "thinking")
    if budget >= max_tokens:
        raise request.invalid("`max_tokens` must be greater than `thinking.budget_tokens`.", "thinking")
    return "low" if budget < 4096 else "high"


def _groups(pieces: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(pieces), _TOKENS_PER_DELTA):
        yield pieces[start : start + _TOKENS_PER_DELTA]


def _event(kind: str, tokens: int = 0, told: Told | None = None, **fields: object) -> Chunk:
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"), ensure_ascii=False)
    return Chunk(f"event: {kind}\ndata: {data}\n\n".encode(), tokens, told)


def _message(reply: Reply) -> dict[str, object]:
    return {
        "model": reply.model,
        "id": reply.response_id,
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(told: Told) -> dict[str, object]:
    return {
        "input_tokens": told.input_tokens - told.cached_tokens - told.cache_write_tokens,
        "cache_creation_input_tokens": told.cache_write_tokens,
        "cache_read_input_tokens": told.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": told.cache_write_tokens,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": told.output_tokens,
        **_thought(told),
        "service_tier": "standard",
    }


def _final_usage(told: Told) -> dict[str, object]:
    """The counts of `message_delta`: cumulative, without the split of the cache and the tier."""
    usage = _usage(told)
    del usage["cache_creation"], usage["service_tier"]
    return usage


def _thought(told: Told) -> dict[str, object]:
    return {"output_tokens_details": {"thinking_tokens": told.reasoning_tokens}} if told.reasoning_tokens else {}


def _tool_block(choice: Choice, reply: Reply) -> dict[str, object]:
    return {"type": "tool_use", "id": f"toolu_01{reply.salt[:22]}", "name": choice.tool, "input": {}}


def _signature(reply: Reply) -> str:
    """Something of the form of the vendor's signature; it signs nothing."""
    return reply.salt + "=="


def _thinking_events(reply: Reply) -> Iterator[Chunk]:
    yield _event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""})
    yield _event("ping")
    for pieces in _groups(reply.reasoning):
        delta = {"type": "thinking_delta", "thinking": "".join(pieces)}
        yield _event("content_block_delta", len(pieces), index=0, delta=delta)
    delta = {"type": "signature_delta", "signature": _signature(reply)}
    yield _event("content_block_delta", index=0, delta=delta)
    yield _event("content_block_stop", index=0)
