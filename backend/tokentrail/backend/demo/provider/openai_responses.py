"""OpenAI Responses: https://platform.openai.com/docs/api-reference/responses (read 2026-11).

plain    {"id", "object": "response", "status", "output": [reasoning, message or function_call], "usage"}
stream   event: response.created, response.in_progress, then per output item response.output_item.added, its parts
         and deltas, response.output_item.done; at last response.completed or response.incomplete with the whole
         response. Every event carries its type and a sequence number; there is no [DONE].
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Protocol

from tokentrail.backend.demo.provider import request
from tokentrail.backend.demo.provider._base import Choice, Chunk, Json, Prompt, Reply
from tokentrail.semconv import providers


class _Event(Protocol):
    def __call__(self, kind: str, fields: Json, tokens: int = 0) -> Chunk:
        """The next event of the stream, of so many tokens, with its fields."""


class OpenAIResponses:
    """The endpoint `/v1/responses`."""

    path = "/v1/responses"
    vendor = providers.OPENAI

    def new_response_id(self) -> str:
        """`resp_` and 50 hex digits."""
        return f"resp_{secrets.token_hex(25)}"

    def read(self, body: Json) -> Prompt:
        """The request. Raises `Refusal`."""
        model = request.read_string(body, "model")
        given = body.get("input")
        items: list[Json] = (
            [{"role": "user", "content": request.read_string(body, "input")}]
            if given is None or isinstance(given, str)
            else request.read_messages(body, "input")
        )
        request.check_temperature(body, 2)
        instructions = body.get("instructions")
        instructions = instructions if isinstance(instructions, str) else ""
        tools = request.read_tools(body, "parameters")
        last = items[-1]
        answered = last.get("type") == "function_call_output"
        reasoning = body.get("reasoning")
        reasoning = reasoning if isinstance(reasoning, Mapping) else {}
        return Prompt(
            model=model,
            texts=(
                *([instructions] if instructions else []),
                *(_text(item) for item in items),
                *(json.dumps(dict(tool.schema)) for tool in tools),
            ),
            instructions=instructions,
            question=request.text_of(last.get("content")) if last.get("role") == "user" else "",
            cache=True,
            tools=tools,
            tool_choice="none" if answered else request.read_tool_choice(body),
            schema=_schema(body.get("text")),
            max_tokens=request.read_count(body, "max_output_tokens", 128_000),
            effort=request.read_effort(reasoning.get("effort")),
            shows_reasoning=reasoning.get("summary") is not None,
            stream=request.read_flag(body, "stream"),
        )

    def encode(self, reply: Reply) -> Json:
        """The plain answer."""
        return _response(reply, done=True)

    def events(self, reply: Reply) -> Iterator[Chunk]:
        """The streamed answer."""
        numbers = count()

        def event(kind: str, fields: Json, tokens: int = 0) -> Chunk:
            return Chunk(_frame(kind, {"type": kind, **fields, "sequence_number": next(numbers)}), tokens)

        yield event("response.created", {"response": _response(reply, done=False)})
        yield event("response.in_progress", {"response": _response(reply, done=False)})
        position = 0
        if reply.reasoning:
            item = _reasoning_item(reply)
            yield event("response.output_item.added", {"output_index": 0, "item": {**item, "summary": []}})
            if reply.prompt.shows_reasoning:
                yield from _summary_events(reply, item, event)
            else:
                # Nothing is shown while the model thinks; the next event waits for it.
                yield event("response.output_item.done", {"output_index": 0, "item": item}, len(reply.reasoning))
            position = 1
        choice = reply.choices[0]
        yield from (_call_events if choice.tool else _message_events)(choice, reply, position, event)
        end = "response.incomplete" if choice.finish == "length" else "response.completed"
        last = event(end, {"response": _response(reply, done=True)})
        yield Chunk(last.data, told=reply.told)


def _text(item: Json) -> str:
    return request.text_of(item.get("content", item))


def _schema(text: object) -> Json | None:
    wanted = text.get("format") if isinstance(text, Mapping) else None
    schema = wanted.get("schema") if isinstance(wanted, Mapping) else None
    return schema if isinstance(schema, Mapping) else None


def _frame(kind: str, data: Json) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()


def _response(reply: Reply, *, done: bool) -> Json:
    prompt = reply.prompt
    cut = reply.choices[0].finish == "length"
    return {
        "id": reply.response_id,
        "object": "response",
        "created_at": reply.created_s,
        "status": ("incomplete" if cut else "completed") if done else "in_progress",
        "background": False,
        "completed_at": reply.created_s if done and not cut else None,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if done and cut else None,
        "instructions": prompt.instructions or None,
        "max_output_tokens": prompt.max_tokens,
        "metadata": {},
        "model": reply.model,
        "output": _output(reply) if done else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": prompt.effort or None, "summary": "auto" if prompt.shows_reasoning else None},
        "service_tier": "default" if done else "auto",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [
            {"type": "function", "name": tool.name, "parameters": dict(tool.schema), "strict": False}
            for tool in prompt.tools
        ],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _usage(reply) if done else None,
        "user": None,
    }


def _usage(reply: Reply) -> Json:
    told = reply.told
    return {
        "input_tokens": told.input_tokens,
        "input_tokens_details": {"cached_tokens": told.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": told.output_tokens,
        "output_tokens_details": {"reasoning_tokens": told.reasoning_tokens},
        "total_tokens": told.input_tokens + told.output_tokens,
    }


def _output(reply: Reply) -> list[Json]:
    choice = reply.choices[0]
    item = _call_item(choice, reply, done=True) if choice.tool else _message_item(choice, reply, done=True)
    return [*([_reasoning_item(reply)] if reply.reasoning else []), item]


def _reasoning_item(reply: Reply) -> dict[str, object]:
    summary = [{"type": "summary_text", "text": "".join(reply.reasoning)}] if reply.prompt.shows_reasoning else []
    return {"id": f"rs_{reply.salt[:48]}", "type": "reasoning", "summary": summary}


def _message_item(choice: Choice, reply: Reply, *, done: bool) -> Json:
    return {
        "id": f"msg_{reply.salt[:48]}",
        "type": "message",
        "status": _status(choice) if done else "in_progress",
        "content": [_part(choice.text)] if done else [],
        "role": "assistant",
    }


def _call_item(choice: Choice, reply: Reply, *, done: bool) -> Json:
    return {
        "id": f"fc_{reply.salt[:48]}",
        "type": "function_call",
        "status": _status(choice) if done else "in_progress",
        "arguments": choice.text if done else "",
        "call_id": f"call_{reply.salt[:24]}",
        "name": choice.tool,
    }


def _status(choice: Choice) -> str:
    return "incomplete" if choice.finish == "length" else "completed"


def _part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _summary_events(reply: Reply, item: Json, event: _Event) -> Iterator[Chunk]:
    where = {"item_id": item["id"], "output_index": 0, "summary_index": 0}
    text = "".join(reply.reasoning)
    name = "response.reasoning_summary"
    yield event(f"{name}_part.added", {**where, "part": {"type": "summary_text", "text": ""}})
    for piece in reply.reasoning:
        yield event(f"{name}_text.delta", {**where, "delta": piece}, 1)
    yield event(f"{name}_text.done", {**where, "text": text})
    yield event(f"{name}_part.done", {**where, "part": {"type": "summary_text", "text": text}})
    yield event("response.output_item.done", {"output_index": 0, "item": item})


def _message_events(choice: Choice, reply: Reply, position: int, event: _Event) -> Iterator[Chunk]:
    where = {"item_id": f"msg_{reply.salt[:48]}", "output_index": position, "content_index": 0}
    yield event(
        "response.output_item.added", {"output_index": position, "item": _message_item(choice, reply, done=False)}
    )
    yield event("response.content_part.added", {**where, "part": _part("")})
    for piece in choice.pieces:
        padding = reply.salt[: 4 + len(piece) % 11]
        yield event("response.output_text.delta", {**where, "delta": piece, "logprobs": [], "obfuscation": padding}, 1)
    yield event("response.output_text.done", {**where, "text": choice.text, "logprobs": []})
    yield event("response.content_part.done", {**where, "part": _part(choice.text)})
    yield event(
        "response.output_item.done", {"output_index": position, "item": _message_item(choice, reply, done=True)}
    )


def _call_events(choice: Choice, reply: Reply, position: int, event: _Event) -> Iterator[Chunk]:
    where = {"item_id": f"fc_{reply.salt[:48]}", "output_index": position}
    name = "response.function_call_arguments"
    yield event("response.output_item.added", {"output_index": position, "item": _call_item(choice, reply, done=False)})
    for piece in choice.pieces:
        yield event(f"{name}.delta", {**where, "delta": piece, "obfuscation": reply.salt[: 4 + len(piece) % 11]}, 1)
    yield event(f"{name}.done", {**where, "arguments": choice.text, "name": choice.tool})
    yield event("response.output_item.done", {"output_index": position, "item": _call_item(choice, reply, done=True)})
