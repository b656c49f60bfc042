"""The second reading of OpenAI's formats, which other vendors and gateways speak too.

- Chat Completions: https://platform.openai.com/docs/api-reference/chat
- Responses: https://platform.openai.com/docs/api-reference/responses
- Embeddings: https://platform.openai.com/docs/api-reference/embeddings
- Completions (legacy): https://platform.openai.com/docs/api-reference/completions
- Portkey's prompts, which answer as Chat Completions do: https://portkey.ai/docs/api-reference/prompts/prompt-completion
"""

import json
from dataclasses import replace
from typing import Final

from support import expected_values as values
from support.expected_framings import events
from support.expected_values import Choice, Expected, Json, ToolCall, finish_reason, positive, string
from support.wire import Exchange, Format

_OPERATIONS: Final = {Format.EMBEDDINGS: "embeddings", Format.COMPLETIONS: "text_completion"}


def read(exchange: Exchange) -> Expected:
    """Read an exchange of one of OpenAI's formats."""
    form, request = exchange.format, exchange.request_json()
    messages = _messages(form, request)
    expected = replace(
        values.base(
            exchange,
            _OPERATIONS.get(form, "chat"),
            request.get("model"),
            stream=request.get("stream") is True,
        ),
        user_text=values.text_by(("user",), messages),
        system_text=values.text_of(request.get("instructions")) + values.text_by(("system", "developer"), messages),
    )
    if exchange.status >= 400:
        return with_error(expected, json.loads(exchange.response_body))
    if not exchange.response_body:
        return expected
    body = _assembled(exchange)
    expected = replace(expected, response_model=string(body.get("model")))
    if form is Format.RESPONSES:
        return _read_response(expected, body)
    if form is Format.EMBEDDINGS:
        assert body["object"] == "list"
        return replace(expected, input_tokens=body["usage"]["prompt_tokens"])
    return _read_chat(expected, body)


def with_error(expected: Expected, body: Json) -> Expected:
    """The error that OpenAI and Anthropic tell: a code or else a type, and a message."""
    error = body["error"]
    code, kind = error.get("code"), error.get("type")
    return replace(
        expected,
        error_type=next((word for word in (code, kind) if isinstance(word, str) and word), str(expected.status)),
        error_message=error["message"],
    )


def _messages(form: Format, request: Json) -> list[Json]:
    """The messages of a request; a prompt is the user's, the texts to embed are none."""
    if form in (Format.EMBEDDINGS, Format.PROMPT):
        return []
    field = {Format.RESPONSES: "input", Format.COMPLETIONS: "prompt"}.get(form, "messages")
    given = request[field]
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


# One body, whether it came whole or in events -------------------------------------------------------------------


def _assembled(exchange: Exchange) -> Json:
    if not exchange.is_sse:
        whole: Json = json.loads(exchange.response_body)
        return whole
    parts = list(events(exchange.response_body))
    if exchange.format is Format.RESPONSES:
        last: Json = parts[-1]["response"]
        return last
    assert exchange.format is Format.CHAT, f"no stream of {exchange.format} is known"
    return _chat_from(parts)


def _chat_from(parts: list[Json]) -> Json:
    """A chat completion as it would have come in one piece."""
    choices: dict[int, Json] = {}
    usage: Json | None = None
    for part in parts:
        # Groq reports usage in an object of its own; the others in a last chunk, with or without choices.
        usage = part.get("usage") or part.get("x_groq", {}).get("usage") or usage
        for piece in part["choices"]:
            choice = choices.setdefault(piece["index"], {"message": {"content": "", "tool_calls": {}}})
            _add_delta(choice["message"], piece["delta"])
            choice["finish_reason"] = piece.get("finish_reason") or choice.get("finish_reason")
    for choice in choices.values():
        choice["message"]["tool_calls"] = list(choice["message"]["tool_calls"].values())
    ordered = [choices[index] for index in sorted(choices)]
    return {"id": parts[0]["id"], "model": parts[0]["model"], "choices": ordered, "usage": usage}


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


# What the whole bodies say --------------------------------------------------------------------------------------


def _read_chat(expected: Expected, body: Json) -> Expected:
    usage = body.get("usage") or {}
    inputs, outputs = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return replace(
        expected,
        response_id=string(body.get("id")),
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        # Together reports the cached part beside the totals.
        cache_read_tokens=inputs.get("cached_tokens") or usage.get("cached_tokens") or None,
        reasoning_tokens=outputs.get("reasoning_tokens") or None,
        modalities=positive(
            {"audio.input": inputs.get("audio_tokens"), "audio.output": outputs.get("audio_tokens")},
        ),
        finish_reasons=tuple(finish_reason(choice["finish_reason"]) for choice in body["choices"]),
        choices=tuple(_choice(choice) for choice in body["choices"]),
    )


def _choice(choice: Json) -> Choice:
    if "text" in choice:
        return Choice(text=choice["text"])
    message = choice["message"]
    calls = message.get("tool_calls") or ()
    return Choice(
        text=string(message.get("content")),
        tool_calls=tuple(
            ToolCall(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls
        ),
    )


def _read_response(expected: Expected, body: Json) -> Expected:
    usage = body.get("usage") or {}
    inputs, outputs = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    reason = (body.get("incomplete_details") or {}).get("reason") or body["status"]
    choice = _response_choice(body["output"])
    return replace(
        expected,
        response_id=body["id"],
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        cache_read_tokens=inputs.get("cached_tokens") or None,
        cache_write_tokens=inputs.get("cache_write_tokens") or None,
        reasoning_tokens=outputs.get("reasoning_tokens") or None,
        finish_reasons=("tool_call",) if choice.tool_calls else (finish_reason(reason),),
        choices=(choice,),
    )


def _response_choice(output: list[Json]) -> Choice:
    texts = [part for item in output if item["type"] == "message" for part in item["content"]]
    thoughts = [
        part
        for item in output
        if item["type"] == "reasoning"
        for part in [*item.get("summary", ()), *(item.get("content") or ())]
    ]
    return Choice(
        text="".join(part["text"] for part in texts if part["type"] == "output_text"),
        reasoning="".join(part["text"] for part in thoughts),
        tool_calls=tuple(
            ToolCall(item["call_id"], item["name"], json.loads(item["arguments"]))
            for item in output
            if item["type"] == "function_call"
        ),
    )
