"""The second reading of Anthropic's formats, at Anthropic and at Bedrock.

- Messages: https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/api/messages-streaming
- Text Completions (legacy): https://docs.anthropic.com/en/api/complete
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from support import expected_openai
from support import expected_values as values
from support.expected_framings import events
from support.expected_values import Choice, Expected, Json, ToolCall, finish_reason, string
from support.wire import Exchange, Format

_IGNORED: Final = ("content_block_stop", "message_stop", "ping")


def read(exchange: Exchange) -> Expected:
    """Read an exchange with Anthropic."""
    request = exchange.request_json()
    legacy = exchange.format is Format.COMPLETE
    expected = values.base(
        exchange,
        "text_completion" if legacy else "chat",
        request.get("model"),
        stream=request.get("stream") is True,
    )
    expected = replace(expected, user_text=request["prompt"]) if legacy else with_messages(expected, request)
    if exchange.status >= 400:
        return expected_openai.with_error(expected, json.loads(exchange.response_body))
    parts = list(events(exchange.response_body)) if exchange.is_sse else []
    if legacy:
        return _read_completion(expected, _completion_from(parts) if parts else json.loads(exchange.response_body))
    return read_message(expected, message_from(parts) if parts else json.loads(exchange.response_body))


def with_messages(expected: Expected, request: Json) -> Expected:
    """What a request for a message asks."""
    return replace(
        expected,
        user_text=values.text_by(("user",), request["messages"]),
        system_text=values.text_of(request.get("system")) + values.text_by(("system",), request["messages"]),
    )


def message_from(parts: Iterable[Json]) -> Json:
    """A message as it would have come in one piece. Usage of the last event is cumulative and overrides the first."""
    message: Json = {}
    for part in parts:
        kind = part["type"]
        if kind == "message_start":
            message = part["message"]
        elif kind == "content_block_start":
            message["content"].append(part["content_block"] | {"partial_json": ""})
        elif kind == "content_block_delta":
            _add_block_delta(message["content"][part["index"]], part["delta"])
        elif kind == "message_delta":
            message |= part["delta"]
            message["usage"] |= {name: value for name, value in part["usage"].items() if value is not None}
        else:
            assert kind in _IGNORED, f"unknown event {kind}"
    for block in message["content"]:
        if block["partial_json"]:
            block["input"] = json.loads(block["partial_json"])
    return message


def read_message(expected: Expected, body: Json) -> Expected:
    """What a whole message says."""
    usage, blocks = body["usage"], body["content"]
    read_tokens = usage.get("cache_read_input_tokens") or 0
    write_tokens = usage.get("cache_creation_input_tokens") or 0
    return replace(
        expected,
        response_model=string(body.get("model")),
        response_id=body["id"],
        # Anthropic's `input_tokens` leaves out what was read from and written to the cache.
        input_tokens=usage["input_tokens"] + read_tokens + write_tokens,
        output_tokens=usage["output_tokens"],
        cache_read_tokens=read_tokens or None,
        cache_write_tokens=write_tokens or None,
        reasoning_tokens=(usage.get("output_tokens_details") or {}).get("thinking_tokens") or None,
        finish_reasons=(finish_reason(body["stop_reason"]),),
        choices=(
            Choice(
                text="".join(block["text"] for block in blocks if block["type"] == "text"),
                reasoning="".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
                tool_calls=tuple(
                    ToolCall(block["id"], block["name"], block["input"])
                    for block in blocks
                    if block["type"] == "tool_use"
                ),
            ),
        ),
    )


def _add_block_delta(block: Json, delta: Json) -> None:
    field = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}.get(delta["type"])
    if field is None:
        assert delta["type"] == "signature_delta", f"unknown delta {delta['type']}"
        return
    block[field] += delta[field]


def _completion_from(parts: Iterable[Json]) -> Json:
    """A legacy completion as it would have come in one piece; it never has a usage."""
    pieces = [part for part in parts if part["type"] == "completion"]
    return pieces[-1] | {"completion": "".join(piece["completion"] for piece in pieces)}


def _read_completion(expected: Expected, body: Json) -> Expected:
    return replace(
        expected,
        response_model=body["model"],
        response_id=body["id"],
        finish_reasons=(finish_reason(body["stop_reason"]),),
        choices=(Choice(text=body["completion"]),),
    )
