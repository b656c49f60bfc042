"""Cohere's chat, first version (https://docs.cohere.com/v1/reference/chat).

    request   {"message", "model", "preamble", "chat_history": [{"role", "message"}], "tools", "stream", "k", "p", ...}
    response  {"generation_id", "response_id", "text", "tool_calls": [{"name", "parameters"}], "finish_reason", "meta"}
    stream    {"event_type": "stream-start", "generation_id"}        lines of JSON, or server-sent events when asked for
              {"event_type": "text-generation", "text"}
              {"event_type": "tool-calls-chunk", "tool_call_delta": {"index", "name", "parameters"}, "text"}
              {"event_type": "stream-end", "finish_reason", "response": {as a plain one}}

The model may be left to the server, and nothing names the one that answered. Tool calls have no ids.
"""

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
        *("message", "model", "stream", "preamble", "chat_history", "conversation_id", "prompt_truncation", "k", "p"),
        *("connectors", "search_queries_only", "documents", "citation_quality", "temperature", "max_tokens", "seed"),
        *("max_input_tokens", "stop_sequences", "frequency_penalty", "presence_penalty", "raw_prompting", "tools"),
        *("tool_results", "force_single_step", "response_format", "safety_mode", "return_prompt"),
    }
)
"""Fields of a request (SDK 7.3, 2026-11)."""
_ROLES: Final = {"USER": "user", "CHATBOT": "assistant", "SYSTEM": "system", "TOOL": "tool"}
_MERE_OUTPUT: Final = b'"event_type":"text-generation"'
"""In the bytes of an event that carries text and nothing else: quotes inside a text are escaped."""


class CohereChatV1:
    """The wire format."""

    name = "cohere_chat_v1"
    operation = genai.Operation.CHAT
    routes: tuple[Route, ...] = served_at("/v1/chat")

    def recognises(self, body: Json) -> bool:
        """A model, a message, and nothing that Cohere does not know."""
        is_chat = isinstance(body.get("model"), str) and isinstance(body.get("message"), str)
        return is_chat and _FIELDS.issuperset(body)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes = read_chat_settings(body)
        if conversation := text(body.get("conversation_id")):
            attributes[genai.CONVERSATION_ID] = conversation
        return Request(text(body.get("model")), body.get("stream") is True, attributes)

    def read_content(self, body: Json) -> RequestContent:
        """Preamble, history, message, tool results and tools of a request; documents are left out."""
        messages = [_read_message(mapping(item)) for item in sequence(body.get("chat_history"))]
        if results := _read_results(body.get("tool_results")):
            messages.append(content.message("tool", results))
        if words := text(body.get("message")):
            messages.append(content.message("user", [content.text(words)]))
        system = [content.text(words)] if (words := text(body.get("preamble"))) else []
        tools = [
            {"type": "function", "name": text(tool.get("name"))} for tool in map(mapping, sequence(body.get("tools")))
        ]
        return RequestContent(messages, system, tools)

    def reader(self, keep_content: bool) -> "CohereChatV1Reader":
        """A reader for one response."""
        return CohereChatV1Reader(keep_content)


@dataclass(slots=True)
class _ToolCall:
    name: str = ""
    parameters: TextBuffer = field(default_factory=TextBuffer)


class CohereChatV1Reader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self._keep_content = keep_content
        self._id = ""
        self._reason = ""
        self._meta: Json = {}
        self._error: ProviderError | None = None
        self._complete = False
        self._carried_output = False
        self._text = TextBuffer()
        self._pieces: dict[int, _ToolCall] = {}
        self._calls: list[Part] = []

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output."""
        if self._carried_output and not self._keep_content and _MERE_OUTPUT in event.data:
            return True
        data = mapping(parse(event.data))
        kind = text(data.get("event_type")) or event.name
        if kind == "stream-start":
            self._id = text(data.get("generation_id")) or self._id
        elif kind == "stream-end":
            self._read_end(data)
        elif not kind:
            self._error = read_failure(data) or self._error
        carries_output = kind in ("text-generation", "tool-calls-chunk", "tool-calls-generation") and self._read(data)
        self._carried_output = self._carried_output or carries_output
        return carries_output

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._error = read_failure(body)
        if self._error is None:
            self._read_response(body)
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        reason = finish.canonical(self._reason)
        return Response(
            id=self._id,
            finish_reasons=[reason] if reason else (),
            usage=read_usage(self._meta),
            attributes=read_units(self._meta),
            error=self._error,
            complete=self._complete,
            output=[self._output(reason)] if self._keep_content and self._id else (),
        )

    def _read(self, data: Json) -> bool:
        """Take in a piece of the answer, or the tool calls that pieces have told of before."""
        piece, calls = mapping(data.get("tool_call_delta")), _read_tool_calls(data.get("tool_calls"))
        words = text(data.get("text"))
        if self._keep_content:
            self._calls = calls or self._calls
            if not calls:  # with them comes the whole text of the pieces, once more
                self._text.append(words)
            if piece:
                call = self._pieces.setdefault(index(piece.get("index")), _ToolCall())
                call.name = text(piece.get("name")) or call.name
                call.parameters.append(text(piece.get("parameters")))
        return bool(words or piece or calls)

    def _read_end(self, data: Json) -> None:
        self._read_response(mapping(data.get("response")))
        self._reason = text(data.get("finish_reason")) or self._reason
        self._error = read_failure(data) or self._error
        self._complete = True

    def _read_response(self, response: Json) -> None:
        self._id = self._id or text(response.get("generation_id")) or text(response.get("response_id"))
        self._reason = text(response.get("finish_reason")) or self._reason
        self._meta = mapping(response.get("meta")) or self._meta
        if self._keep_content:
            self._calls = _read_tool_calls(response.get("tool_calls")) or self._calls
            if not self._text:
                self._text.append(text(response.get("text")))

    def _output(self, reason: str) -> Message:
        pieces = [content.tool_call("", call.name, str(call.parameters)) for _, call in sorted(self._pieces.items())]
        parts = [content.text(str(self._text))] if self._text else []
        message = content.message("assistant", [*parts, *(self._calls or pieces)])
        return {**message, "finish_reason": reason or finish.ERROR}


def _read_message(item: Json) -> Message:
    role = text(item.get("role"))
    if results := _read_results(item.get("tool_results")):
        return content.message("tool", results)
    words = text(item.get("message"))
    parts = [content.text(words)] if words else []
    return content.message(_ROLES.get(role, role), [*parts, *_read_tool_calls(item.get("tool_calls"))])


def _read_tool_calls(value: object) -> list[Part]:
    calls = map(mapping, sequence(value))
    return [content.tool_call("", text(call.get("name")), call.get("parameters")) for call in calls]


def _read_results(value: object) -> list[Part]:
    results = map(mapping, sequence(value))
    return [
        {**content.tool_response("", result.get("outputs")), "name": text(mapping(result.get("call")).get("name"))}
        for result in results
    ]
