"""What a span must say about a recorded exchange, read from the recorded bytes by plain `json`.

This is the second reading of the bodies: it shares no code with the product, so that a mistake has to be made twice to
pass. It reads the formats as their vendors document them and fails loudly on what it does not know:

- Chat Completions: https://platform.openai.com/docs/api-reference/chat
- Responses: https://platform.openai.com/docs/api-reference/responses
- Embeddings: https://platform.openai.com/docs/api-reference/embeddings
- Messages: https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/api/messages-streaming
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from support.wire import Exchange, Format, looks_like_sse

Json = dict[str, Any]

PROVIDERS: Final = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.together.ai": "together_ai",
    "api.portkey.ai": "portkey",
}
"""Provider by recorded host, in the well-known values of `gen_ai.provider.name` where there is one."""

_FINISH: Final = {
    "tool_calls": "tool_call",
    "tool_use": "tool_call",
    "function_call": "tool_call",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "refusal": "content_filter",
    "failed": "error",
}
"""Provider words that have another canonical word; every other word stays as it is."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model asked for; `arguments` is parsed JSON."""

    id: str
    name: str
    arguments: object


@dataclass(frozen=True, slots=True)
class Choice:
    """One generated message: its text, its reasoning, its tool calls in order."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """What the exchange says. Counts are inclusive; a breakdown of 0 is `None`, as a span leaves it out."""

    operation: str
    provider: str
    host: str
    request_model: str
    stream: bool
    status: int
    response_model: str = ""
    response_id: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reasons: tuple[str, ...] = ()
    error_type: str = ""
    error_message: str = ""
    choices: tuple[Choice, ...] = ()
    user_text: str = ""
    """Text of the user's messages in the request, in order."""
    system_text: str = ""
    """Text of the instructions, whether they are a field of the request or messages of it."""
    request_id: str = ""
    retry_count: int | None = None
    ratelimit: Mapping[str, int] | None = None
    """Row field by value, of the `x-ratelimit-*` response headers."""


def read(exchange: Exchange) -> Expected:
    """Read what `exchange` says, from nothing but its recorded bytes."""
    request = exchange.request_json()
    messages = _messages(exchange.format, request)
    instructions = _text_of(request.get("system")) + _text_of(request.get("instructions"))
    base = Expected(
        operation="embeddings" if exchange.format is Format.EMBEDDINGS else "chat",
        provider=PROVIDERS[exchange.host],
        host=exchange.host,
        request_model=_string(request.get("model")),
        stream=request.get("stream") is True,
        status=exchange.status,
        user_text=_text_by(("user",), messages),
        system_text=instructions + _text_by(("system", "developer"), messages),
        request_id=exchange.response_headers.get("x-request-id", ""),
        retry_count=_count(exchange.request_headers.get("x-stainless-retry-count")),
        ratelimit=_ratelimit(exchange.response_headers),
    )
    if exchange.status >= 400:
        return _with_error(base, json.loads(exchange.response_body))
    if not exchange.response_body:
        return base
    body = _assembled(exchange.format, exchange.response_body)
    return _READERS[exchange.format](replace(base, response_model=_string(body.get("model"))), body)


def events(body: bytes) -> Iterable[Json]:
    """The JSON payloads of a stream of server-sent events, `[DONE]` left out."""
    for block in body.decode().replace("\r\n", "\n").split("\n\n"):
        data = "\n".join(line[5:].lstrip(" ") for line in block.split("\n") if line.startswith("data:"))
        if data and data != "[DONE]":
            yield json.loads(data)


def finish_reason(word: str) -> str:
    """The canonical word for a provider's finish reason."""
    return _FINISH.get(word, word)


# One body, whether it came whole or in events -------------------------------------------------------------------


def _assembled(form: Format, body: bytes) -> Json:
    if not looks_like_sse(body):
        whole: Json = json.loads(body)
        return whole
    parts = list(events(body))
    if form is Format.CHAT:
        return _chat_from(parts)
    if form is Format.RESPONSES:
        last: Json = parts[-1]["response"]
        return last
    assert form is Format.MESSAGES, f"{form} has no streams"
    return _message_from(parts)


def _chat_from(chunks: list[Json]) -> Json:
    """A chat completion as it would have come in one piece."""
    choices: dict[int, Json] = {}
    usage: Json | None = None
    for chunk in chunks:
        # Groq reports usage in an object of its own; the others in a last chunk, with or without choices.
        usage = chunk.get("usage") or chunk.get("x_groq", {}).get("usage") or usage
        for piece in chunk["choices"]:
            choice = choices.setdefault(piece["index"], {"message": {"content": "", "tool_calls": {}}})
            _add_delta(choice["message"], piece["delta"])
            choice["finish_reason"] = piece.get("finish_reason") or choice.get("finish_reason")
    for choice in choices.values():
        choice["message"]["tool_calls"] = list(choice["message"]["tool_calls"].values())
    ordered = [choices[index] for index in sorted(choices)]
    return {"id": chunks[0]["id"], "model": chunks[0]["model"], "choices": ordered, "usage": usage}


def _add_delta(message: Json, delta: Json) -> None:
    message["content"] += delta.get("content") or ""
    for piece in delta.get("tool_calls") or ():
        # Mistral sends whole calls without an index.
        index = piece.get("index", len(message["tool_calls"]))
        call = message["tool_calls"].setdefault(index, {"id": "", "function": {"name": "", "arguments": ""}})
        call["id"] = piece.get("id") or call["id"]
        function = piece.get("function") or {}
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""


def _message_from(parts: list[Json]) -> Json:
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
            assert kind in ("content_block_stop", "message_stop", "ping"), f"unknown event {kind}"
    for block in message["content"]:
        if block["partial_json"]:
            block["input"] = json.loads(block["partial_json"])
    return message


def _add_block_delta(block: Json, delta: Json) -> None:
    field = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}.get(delta["type"])
    if field is None:
        assert delta["type"] == "signature_delta", f"unknown delta {delta['type']}"
        return
    block[field] += delta[field]


# What the whole bodies say --------------------------------------------------------------------------------------


def _read_chat(base: Expected, body: Json) -> Expected:
    usage = body.get("usage") or {}
    inputs, outputs = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return replace(
        base,
        response_id=_string(body.get("id")),
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        # Together reports the cached part beside the totals.
        cache_read_tokens=inputs.get("cached_tokens") or usage.get("cached_tokens") or None,
        reasoning_tokens=outputs.get("reasoning_tokens") or None,
        finish_reasons=tuple(finish_reason(choice["finish_reason"]) for choice in body["choices"]),
        choices=tuple(_chat_choice(choice["message"]) for choice in body["choices"]),
    )


def _chat_choice(message: Json) -> Choice:
    calls = message.get("tool_calls") or ()
    return Choice(
        text=_string(message.get("content")),
        tool_calls=tuple(
            ToolCall(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls
        ),
    )


def _read_responses(base: Expected, body: Json) -> Expected:
    usage = body.get("usage") or {}
    inputs, outputs = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    calls = [item for item in body["output"] if item["type"] == "function_call"]
    reason = (body.get("incomplete_details") or {}).get("reason") or body["status"]
    return replace(
        base,
        response_id=body["id"],
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        cache_read_tokens=inputs.get("cached_tokens") or None,
        cache_write_tokens=inputs.get("cache_write_tokens") or None,
        reasoning_tokens=outputs.get("reasoning_tokens") or None,
        finish_reasons=("tool_call",) if calls else (finish_reason(reason),),
        choices=(
            Choice(
                text="".join(
                    part["text"]
                    for item in body["output"]
                    if item["type"] == "message"
                    for part in item["content"]
                    if part["type"] == "output_text"
                ),
                reasoning="".join(
                    part["text"]
                    for item in body["output"]
                    if item["type"] == "reasoning"
                    for part in [*item.get("summary", ()), *(item.get("content") or ())]
                ),
                tool_calls=tuple(
                    ToolCall(item["call_id"], item["name"], json.loads(item["arguments"])) for item in calls
                ),
            ),
        ),
    )


def _read_embeddings(base: Expected, body: Json) -> Expected:
    assert body["object"] == "list"
    return replace(base, input_tokens=body["usage"]["prompt_tokens"])


def _read_message(base: Expected, body: Json) -> Expected:
    usage, blocks = body["usage"], body["content"]
    read_tokens = usage.get("cache_read_input_tokens") or 0
    write_tokens = usage.get("cache_creation_input_tokens") or 0
    return replace(
        base,
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


_READERS: Final[Mapping[Format, Callable[[Expected, Json], Expected]]] = {
    Format.CHAT: _read_chat,
    Format.RESPONSES: _read_responses,
    Format.EMBEDDINGS: _read_embeddings,
    Format.MESSAGES: _read_message,
}


def _with_error(base: Expected, body: Json) -> Expected:
    error = body["error"]
    code, kind = error.get("code"), error.get("type")
    return replace(
        base,
        error_type=next((word for word in (code, kind) if isinstance(word, str) and word), str(base.status)),
        error_message=error["message"],
    )


# What the request and the headers say ---------------------------------------------------------------------------


def _messages(form: Format, request: Json) -> list[Json]:
    """The messages of a request; the texts to embed are none."""
    if form is Format.EMBEDDINGS:
        return []
    given = request["input"] if form is Format.RESPONSES else request["messages"]
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _text_by(roles: tuple[str, ...], messages: Iterable[Json]) -> str:
    return "".join(_text_of(message.get("content")) for message in messages if message.get("role") in roles)


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(part["text"] for part in parts if part.get("type") in ("text", "input_text"))


def _ratelimit(headers: Mapping[str, str]) -> dict[str, int]:
    names = [f"{what}_{unit}" for what in ("limit", "remaining") for unit in ("requests", "tokens")]
    counts = {name: _count(headers.get("x-ratelimit-" + name.replace("_", "-"))) for name in names}
    return {f"ratelimit_{name}": count for name, count in counts.items() if count is not None}


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _string(value: object) -> str:
    if value is None:
        return ""
    assert isinstance(value, str), f"expected a string, not {value!r}"
    return value
