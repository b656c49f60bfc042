"""OpenAI Chat Completions: https://platform.openai.com/docs/api-reference/chat (read 2026-11).

plain    {"id", "object": "chat.completion", "choices": [{"message", "finish_reason"}], "usage"}
stream   data: {"object": "chat.completion.chunk", "choices": [{"delta", "finish_reason"}]} per token,
         with include_usage one last chunk of no choices and the usage, then data: [DONE]
"""

import json
import secrets
from collections.abc import Iterator, Mapping

from tokentrail.backend.demo.provider import request
from tokentrail.backend.demo.provider._base import Choice, Chunk, Json, Prompt, Reply
from tokentrail.semconv import providers

_FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls"}
MAX_CHOICES = 8


class OpenAIChat:
    """The endpoint `/v1/chat/completions`."""

    path = "/v1/chat/completions"
    vendor = providers.OPENAI

    def new_response_id(self) -> str:
        """`chatcmpl-` and 28 hex digits."""
        return f"chatcmpl-{secrets.token_hex(14)}"

    def read(self, body: Json) -> Prompt:
        """The request. Raises `Refusal`."""
        model = request.read_string(body, "model")
        messages = request.read_messages(body)
        request.check_temperature(body, 2)
        stream = request.read_flag(body, "stream")
        if not stream and body.get("stream_options") is not None:
            raise request.invalid(
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"
            )
        options = body.get("stream_options")
        tools = request.read_tools(body, "parameters")
        instructions = "\n".join(
            request.text_of(message.get("content")) for message in messages if message.get("role") in _SYSTEM
        )
        last = messages[-1]
        return Prompt(
            model=model,
            texts=(*(_text(message) for message in messages), *(json.dumps(dict(tool.schema)) for tool in tools)),
            instructions=instructions,
            question=request.text_of(last.get("content")) if last.get("role") == "user" else "",
            cache=True,
            tools=tools,
            # After a tool's result a model that may choose answers in words.
            tool_choice="none" if last.get("role") == "tool" else request.read_tool_choice(body),
            schema=_schema(body.get("response_format")),
            max_tokens=request.read_count(body, "max_completion_tokens", 128_000)
            or request.read_count(body, "max_tokens", 128_000),
            effort=request.read_effort(body.get("reasoning_effort")),
            choices=request.read_count(body, "n", MAX_CHOICES) or 1,
            stream=stream,
            include_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
        )

    def encode(self, reply: Reply) -> Json:
        """The plain answer."""
        return {
            "id": reply.response_id,
            "object": "chat.completion",
            "created": reply.created_s,
            "model": reply.model,
            "choices": [
                {
                    "index": index,
                    "message": _message(choice, reply, index),
                    "logprobs": None,
                    "finish_reason": _FINISH[choice.finish],
                }
                for index, choice in enumerate(reply.choices)
            ],
            "usage": usage(reply),
            "service_tier": "default",
            "system_fingerprint": None,
        }

    def events(self, reply: Reply) -> Iterator[Chunk]:
        """The streamed answer."""
        for index, choice in enumerate(reply.choices):
            first: dict[str, object] = {"role": "assistant", "content": "", "refusal": None}
            if choice.tool:
                first = {"role": "assistant", "content": None, "tool_calls": [_call(choice, reply, index, "")]}
            yield _chunk(reply, index, first, tokens=0)
        thought = len(reply.reasoning)
        for index, piece in _interleave(reply.choices):
            delta: dict[str, object] = {"content": piece}
            if reply.choices[index].tool:
                delta = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
            # The reasoning is not shown, only waited for.
            yield _chunk(reply, index, delta, tokens=1 + thought)
            thought = 0
        for index, choice in enumerate(reply.choices):
            yield _chunk(reply, index, {}, tokens=0, finish=_FINISH[choice.finish])
        if reply.prompt.include_usage:
            yield Chunk(frame({**_head(reply), "choices": [], "usage": usage(reply)}), told=reply.told)
        yield Chunk(b"data: [DONE]\n\n")


_SYSTEM = ("system", "developer")


def usage(reply: Reply) -> Json:
    """The usage object; `prompt_tokens` includes the cached ones, `completion_tokens` the reasoning."""
    told = reply.told
    return {
        "prompt_tokens": told.input_tokens,
        "completion_tokens": told.output_tokens,
        "total_tokens": told.input_tokens + told.output_tokens,
        "prompt_tokens_details": {"cached_tokens": told.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": told.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def frame(data: Json) -> bytes:
    """One event of the stream: `data:` and compact JSON."""
    return b"data: " + json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def _text(message: Json) -> str:
    calls = message.get("tool_calls")
    return request.text_of(message.get("content")) + (json.dumps(calls) if calls else "")


def _schema(wanted: object) -> Json | None:
    """The JSON schema of `response_format`; a bare `json_object` is answered with one string."""
    if not isinstance(wanted, Mapping):
        return None
    inner = wanted.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    if isinstance(schema, Mapping):
        return schema
    one_string: Json = {"type": "object", "properties": {"answer": {"type": "string"}}}
    return one_string if wanted.get("type") == "json_object" else None


def _message(choice: Choice, reply: Reply, index: int) -> Json:
    message: dict[str, object] = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}
    if choice.tool:
        call = _call(choice, reply, index, choice.text)
        del call["index"]
        message.update(content=None, tool_calls=[call])
    return message


def _call(choice: Choice, reply: Reply, index: int, arguments: str) -> dict[str, object]:
    return {
        "index": 0,
        "id": f"call_{reply.salt[index : index + 24]}",
        "type": "function",
        "function": {"name": choice.tool, "arguments": arguments},
    }


def _interleave(choices: tuple[Choice, ...]) -> Iterator[tuple[int, str]]:
    """(index of the choice, token), one token of each choice in turn, as they are generated side by side."""
    for position in range(max(len(choice.pieces) for choice in choices)):
        for index, choice in enumerate(choices):
            if position < len(choice.pieces):
                yield index, choice.pieces[position]


def _head(reply: Reply) -> dict[str, object]:
    return {
        "id": reply.response_id,
        "object": "chat.completion.chunk",
        "created": reply.created_s,
        "model": reply.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _chunk(reply: Reply, index: int, delta: Json, *, tokens: int, finish: str | None = None) -> Chunk:
    body = _head(reply)
    body["choices"] = [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]
    if reply.prompt.include_usage:
        body["usage"] = None
    # Padding against reading lengths off the wire, as the vendor sends it.
    body["obfuscation"] = reply.salt[: 4 + len(str(delta)) % 11]
    return Chunk(frame(body), tokens)
