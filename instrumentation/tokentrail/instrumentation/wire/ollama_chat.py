"""Ollama's chat (https://docs.ollama.com/api/chat).

    request   {"model", "messages": [{"role", "content", "images", "tool_calls", "thinking"}], "tools", "options"}
    response  {"model", "message": {"role", "content", "thinking", "tool_calls"}, "done": true, "done_reason", ...}
    stream    {"model", "message": {"content": "Hel"}, "done": false}     lines of JSON, unless "stream": false
              {"model", "message": {"content": ""}, "done": true, "prompt_eval_count", "eval_count"}
    error     {"error": "message"}                                        also as a line of a stream

There is no id of a response. Tool calls come whole, their arguments as objects; ids only since 0.12. A request
without messages loads the model, or takes it out of memory: it is recorded with the reason `load` or `unload` and
without tokens.
"""

from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, Part
from tokentrail.instrumentation.wire._base import Request, RequestContent, Route
from tokentrail.instrumentation.wire._json import Json, mapping, sequence, text
from tokentrail.instrumentation.wire._ollama import (
    AnswerReader,
    read_images,
    read_request_settings,
    served_at,
    wants_stream,
)
from tokentrail.semconv import genai

_FIELDS: Final = frozenset(
    {
        *("model", "messages", "tools", "stream", "format", "options", "keep_alive", "think", "truncate", "shift"),
        *("logprobs", "top_logprobs", "debug_render_only", "_debug_render_only"),
    }
)
"""Fields of a request (api/types.go, 2026-11, and the SDK's of 0.6)."""


class OllamaChat:
    """The wire format."""

    name = "ollama_chat"
    operation = genai.Operation.CHAT
    routes: tuple[Route, ...] = served_at("/api/chat")

    def recognises(self, body: Json) -> bool:
        """A model, messages with roles, and nothing that Ollama does not know: many serve a chat at this path."""
        messages = body.get("messages")
        if not isinstance(body.get("model"), str) or not isinstance(messages, list) or not _FIELDS.issuperset(body):
            return False
        return all(isinstance(mapping(item).get("role"), str) and "parts" not in item for item in messages)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        return Request(text(body.get("model")), wants_stream(body), read_request_settings(body))

    def read_content(self, body: Json) -> RequestContent:
        """Messages and tools of a request."""
        messages = [_read_message(mapping(item)) for item in sequence(body.get("messages"))]
        tools = [
            {"type": text(tool.get("type")) or "function", "name": text(mapping(tool.get("function")).get("name"))}
            for tool in map(mapping, sequence(body.get("tools")))
        ]
        return RequestContent(messages=messages, tools=tools)

    def reader(self, keep_content: bool) -> "OllamaChatReader":
        """A reader for one response."""
        return OllamaChatReader(keep_content)


class OllamaChatReader(AnswerReader):
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        super().__init__(keep_content)
        self._calls: list[Part] = []

    def _take(self, answer: Json) -> bool:
        message = mapping(answer.get("message"))
        words, thoughts, calls = text(message.get("content")), text(message.get("thinking")), message.get("tool_calls")
        self._answered = self._answered or bool(message)
        self._keep(words, thoughts)
        if self._keep_content:
            self._calls.extend(_read_tool_calls(calls))
        return bool(words or thoughts or sequence(calls))

    def _further_parts(self) -> list[Part]:
        return self._calls


def _read_message(item: Json) -> Message:
    role, words = text(item.get("role")), text(item.get("content"))
    if role == "tool":
        answer = content.message("tool", [content.tool_response(text(item.get("tool_call_id")), words)])
        return {**answer, "name": name} if (name := text(item.get("tool_name"))) else answer
    thoughts = text(item.get("thinking"))
    parts = [content.reasoning(thoughts)] if thoughts else []
    if words or not sequence(item.get("tool_calls")):
        parts.append(content.text(words))
    return content.message(role, [*parts, *read_images(item.get("images")), *_read_tool_calls(item.get("tool_calls"))])


def _read_tool_calls(value: object) -> list[Part]:
    return [
        content.tool_call(text(call.get("id")), text(function.get("name")), function.get("arguments"))
        for call in map(mapping, sequence(value))
        for function in [mapping(call.get("function"))]
    ]
