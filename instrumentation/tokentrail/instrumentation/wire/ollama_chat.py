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
from tokentrail.instrumentation.content import Message, Part, TextBuffer
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import Request, RequestContent, Response, Route
from tokentrail.instrumentation.wire._json import Json, mapping, parse, sequence, text
from tokentrail.instrumentation.wire._ollama import (
    Progress,
    is_mere_output,
    read_images,
    read_request_settings,
    served_at,
    wants_stream,
)
from tokentrail.semconv import finish, genai

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


class OllamaChatReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self._keep_content = keep_content
        self._progress = Progress()
        self._text = TextBuffer()
        self._reasoning = TextBuffer()
        self._calls: list[Part] = []
        self._answered = False
        self._carried_output = False

    def feed_event(self, event: Event) -> bool:
        """Take in a line; true when it carries output."""
        if self._carried_output and not self._keep_content and is_mere_output(event.data):
            return True
        carries_output = self._read(mapping(parse(event.data)))
        self._carried_output = self._carried_output or carries_output
        return carries_output

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._read(body)
        self._progress.complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        progress = self._progress
        reason = progress.finish_reason
        return Response(
            model=progress.model,
            finish_reasons=[reason] if reason else (),
            usage=progress.usage,
            attributes=progress.attributes,
            error=progress.error,
            complete=progress.complete,
            output=[self._output(reason)] if self._keep_content and self._answered else (),
        )

    def _read(self, answer: Json) -> bool:
        self._progress.read(answer)
        message = mapping(answer.get("message"))
        words, thoughts, calls = text(message.get("content")), text(message.get("thinking")), message.get("tool_calls")
        self._answered = self._answered or bool(message)
        if self._keep_content:
            self._text.append(words)
            self._reasoning.append(thoughts)
            self._calls.extend(_read_tool_calls(calls))
        return bool(words or thoughts or sequence(calls))

    def _output(self, reason: str) -> Message:
        parts = [content.reasoning(str(self._reasoning))] if self._reasoning else []
        if self._text:
            parts.append(content.text(str(self._text)))
        return {**content.message("assistant", [*parts, *self._calls]), "finish_reason": reason or finish.ERROR}


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
