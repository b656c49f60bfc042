"""Cohere's chat, second version (https://docs.cohere.com/reference/chat).

    request   {"model", "messages": [{"role", "content"}], "stream", "tools", "documents", "k", "p", ...}
    response  {"id", "finish_reason", "message": {"content": [{"type", "text"}], "tool_plan", "tool_calls"}, "usage"}
    stream    event: content-delta   data: {"type": "content-delta", "index", "delta": {"message": {"content": {...}}}}
              message-start, content-start, tool-plan-delta, tool-call-start, tool-call-delta, citation-start, ...
              event: message-end     data: {"type": "message-end", "delta": {"finish_reason", "usage", "error"}}

Nothing names the model that answered. A client that accepts JSON only gets the same events as lines of JSON.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, Part, TextBuffer
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import ProviderError, Request, RequestContent, Response, Route
from tokentrail.instrumentation.wire._cohere import read_chat_settings, read_failure, read_units, read_usage, served_at
from tokentrail.instrumentation.wire._json import Json, index, mapping, parse, sequence, text
from tokentrail.semconv import finish, genai

_FIELDS: Final = frozenset(
    {
        *("model", "messages", "stream", "tools", "strict_tools", "documents", "citation_options", "response_format"),
        *("safety_mode", "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty", "logprobs"),
        *("presence_penalty", "k", "p", "tool_choice", "thinking", "priority", "raw_prompting"),
    }
)
"""Fields of a request (SDK 7.3, 2026-11)."""


class CohereChat:
    """The wire format."""

    name = "cohere_chat"
    operation = genai.Operation.CHAT
    routes: tuple[Route, ...] = served_at("/v2/chat")

    def recognises(self, body: Json) -> bool:
        """A model, messages, and nothing that Cohere does not know."""
        is_chat = isinstance(body.get("model"), str) and isinstance(body.get("messages"), list)
        return is_chat and _FIELDS.issuperset(body)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        return Request(text(body.get("model")), body.get("stream") is True, read_chat_settings(body))

    def read_content(self, body: Json) -> RequestContent:
        """Messages and tools of a request; documents are left out."""
        messages = [_read_message(mapping(item)) for item in sequence(body.get("messages"))]
        tools = [
            {"type": text(tool.get("type")) or "function", "name": text(mapping(tool.get("function")).get("name"))}
            for tool in map(mapping, sequence(body.get("tools")))
        ]
        return RequestContent(messages=messages, tools=tools)

    def reader(self, keep_content: bool) -> "CohereChatReader":
        """A reader for one response."""
        return CohereChatReader(keep_content)


@dataclass(slots=True)
class _ToolCall:
    id: str = ""
    name: str = ""
    arguments: TextBuffer = field(default_factory=TextBuffer)


class CohereChatReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self.news = None if keep_content else _news
        self._keep_content = keep_content
        self._id = ""
        self._reason = ""
        self._usage: Json = {}
        self._error: ProviderError | None = None
        self._complete = False
        self._thinking = TextBuffer()
        self._plan = TextBuffer()
        self._text = TextBuffer()
        self._calls: dict[int, _ToolCall] = {}

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output."""
        if event.data == b"[DONE]":
            return False
        data = mapping(parse(event.data))
        kind, delta = text(data.get("type")) or event.name, mapping(data.get("delta"))
        if kind == "message-start":
            self._id = text(data.get("id")) or self._id
            return False
        if kind == "message-end":
            self._read_end(delta)
            return False
        if not kind or kind == "error":
            self._error = read_failure(data) or self._error
            return False
        return self._read_piece(mapping(delta.get("message")), index(data.get("index")))

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._error = read_failure(body)
        if self._error is None:
            self._id = text(body.get("id"))
            self._read_end(body)
            message = mapping(body.get("message"))
            for block in sequence(message.get("content")):
                self._read_piece({"content": block}, 0)
            for position, call in enumerate(sequence(message.get("tool_calls"))):
                self._read_piece({"tool_calls": call}, position)
            self._read_piece({"tool_plan": message.get("tool_plan")}, 0)
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        reason = finish.canonical(self._reason)
        return Response(
            id=self._id,
            finish_reasons=[reason] if reason else (),
            usage=read_usage(self._usage),
            attributes=read_units(self._usage),
            error=self._error,
            complete=self._complete,
            output=[self._output(reason)] if self._keep_content and self._id else (),
        )

    def _read_end(self, holder: Json) -> None:
        self._reason = text(holder.get("finish_reason")) or self._reason
        self._usage = mapping(holder.get("usage")) or self._usage
        if message := text(holder.get("error")):
            self._error = ProviderError("", message)
        self._complete = True

    def _read_piece(self, message: Json, position: int) -> bool:
        """Take in a piece of an answer; a plain one is read as if each of its parts were a piece."""
        block, item = mapping(message.get("content")), mapping(message.get("tool_calls"))
        words, thoughts, plan = text(block.get("text")), text(block.get("thinking")), text(message.get("tool_plan"))
        if self._keep_content:
            self._text.append(words)
            self._thinking.append(thoughts)
            self._plan.append(plan)
            if item:
                self._read_tool_call(item, position)
        return bool(words or thoughts or plan or item)

    def _read_tool_call(self, item: Json, position: int) -> None:
        call, function = self._calls.setdefault(position, _ToolCall()), mapping(item.get("function"))
        call.id = text(item.get("id")) or call.id
        call.name = text(function.get("name")) or call.name
        call.arguments.append(text(function.get("arguments")))

    def _output(self, reason: str) -> Message:
        parts = [content.reasoning(str(thoughts)) for thoughts in (self._thinking, self._plan) if thoughts]
        if self._text:
            parts.append(content.text(str(self._text)))
        parts += [content.tool_call(call.id, call.name, str(call.arguments)) for _, call in sorted(self._calls.items())]
        return {**content.message("assistant", parts), "finish_reason": reason or finish.ERROR}


def _news(events: Iterable[bytes]) -> list[bytes]:
    """The events with more than text or reasoning. A quote inside a JSON string is escaped, so this is no text."""
    return [event for event in events if b'"type":"content-delta"' not in event]


def _read_message(item: Json) -> Message:
    role, value = text(item.get("role")), item.get("content")
    if role == "tool":
        answer = value if isinstance(value, str) else _read_blocks(value)
        return content.message("tool", [content.tool_response(text(item.get("tool_call_id")), answer)])
    plan = text(item.get("tool_plan"))
    parts = [content.reasoning(plan)] if plan else []
    parts += [content.text(value)] if isinstance(value, str) else _read_blocks(value)
    for call in map(mapping, sequence(item.get("tool_calls"))):
        function = mapping(call.get("function"))
        parts.append(content.tool_call(text(call.get("id")), text(function.get("name")), function.get("arguments")))
    return content.message(role, parts)


def _read_blocks(value: object) -> list[Part]:
    parts: list[Part] = []
    for block in map(mapping, sequence(value)):
        kind = text(block.get("type"))
        if kind == "text":
            parts.append(content.text(text(block.get("text"))))
        elif kind == "thinking":
            parts.append(content.reasoning(text(block.get("thinking"))))
        elif kind == "image_url":
            parts.append(content.media("image", text(mapping(block.get("image_url")).get("url"))))
        elif kind == "document":
            parts.append({"type": "document", "document": mapping(block.get("document")).get("data")})
        else:
            parts.append({"type": kind or "unknown"})
    return parts
