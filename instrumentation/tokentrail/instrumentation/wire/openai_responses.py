"""OpenAI Responses (https://platform.openai.com/docs/api-reference/responses).

    request   {"model", "input": text | [item], "instructions", "tools", "reasoning", "previous_response_id", ...}
    response  {"id", "object": "response", "status", "model", "output": [item], "usage", "error", "service_tier"}
    stream    event: response.created               data: {"type", "response": {...}}
              event: response.output_text.delta     data: {"type", "item_id", "output_index", "delta"}
              event: response.completed             data: {"type", "response": {...}}   or .incomplete, .failed
              event: error                          data: {"type": "error", "code", "message"}

The closing event repeats the whole response, so deltas are assembled only for a stream that is cut off. OpenRouter and
xAI tell in the usage what the call cost.

Of the web tool's calls, searches are billed; opening a page, or looking for something in it, is not. How many stands
beside the usage, `"tool_usage": {"web_search": {"num_requests"}}`, which may be left out: then it is what the output
shows (https://developers.openai.com/api/docs/guides/tools-web-search; `openai` 3.x, types/responses/response.py; both
read 2026-11-21).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, Part, TextBuffer
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import (
    AttributeValue,
    ProviderError,
    Request,
    RequestContent,
    Response,
    Route,
)
from tokentrail.instrumentation.wire._errors import read_error
from tokentrail.instrumentation.wire._json import (
    Json,
    count,
    first_count,
    index,
    mapping,
    parse,
    sequence,
    text,
)
from tokentrail.instrumentation.wire._openai import read_reported_usd, told_searches
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import Usage

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    "top_p": (genai.REQUEST_TOP_P, float),
    "max_output_tokens": (genai.REQUEST_MAX_TOKENS, int),
    "previous_response_id": (genai.REQUEST_PREVIOUS_RESPONSE_ID, str),
}
_CLOSING: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_CALLS: Final = frozenset({"function_call", "custom_tool_call", "mcp_call"})
"""Output items by which the model asks the application, or a server in its name, to act."""
_REMOTE_CALLS: Final = frozenset({"mcp_call"})
"""Those that the provider has already answered: they do not wait for the application."""


class OpenAIResponses:
    """The wire format."""

    name = "openai_responses"
    operation = genai.Operation.CHAT
    routes: tuple[Route, ...] = (Route("/responses"),)

    def recognises(self, body: Json) -> bool:
        """A model and an input."""
        return isinstance(body.get("model"), str) and isinstance(body.get("input"), (str, list))

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes = read_settings(body, _SETTINGS)
        attributes[genai.OPENAI_API_TYPE] = "responses"
        if effort := text(mapping(body.get("reasoning")).get("effort")):
            attributes[genai.REQUEST_REASONING_LEVEL] = effort
        if (tier := text(body.get("service_tier"))) not in ("", "auto"):
            attributes[genai.OPENAI_REQUEST_SERVICE_TIER] = tier
        output_format = text(mapping(mapping(body.get("text")).get("format")).get("type"))
        if output_format:
            attributes[genai.OUTPUT_TYPE] = "text" if output_format == "text" else "json"
        conversation = body.get("conversation")
        if conversation_id := text(conversation) or text(mapping(conversation).get("id")):
            attributes[genai.CONVERSATION_ID] = conversation_id
        return Request(text(body.get("model")), body.get("stream") is True, attributes, text(body.get("user")))

    def read_content(self, body: Json) -> RequestContent:
        """Instructions, input items and tools of a request."""
        instructions = text(body.get("instructions"))
        value = body.get("input")
        if isinstance(value, str):
            messages: list[Message] = [content.message("user", [content.text(value)])]
        else:
            messages = [_read_item(mapping(item)) for item in sequence(value)]
        tools = [
            {"type": text(tool.get("type")), "name": text(tool.get("name")) or text(tool.get("type"))}
            for tool in map(mapping, sequence(body.get("tools")))
        ]
        return RequestContent(messages, [content.text(instructions)] if instructions else (), tools)

    def reader(self, keep_content: bool) -> "ResponsesReader":
        """A reader for one response."""
        return ResponsesReader(keep_content)


class ResponsesReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self.news = None if keep_content else _news
        self._keep_content = keep_content
        self._response: Json = {}
        self._deltas: dict[int, TextBuffer] = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output."""
        kind = event.name
        if kind.endswith(".delta") and not self._keep_content:
            return True
        data = mapping(parse(event.data))
        kind = text(data.get("type")) or kind
        if kind.endswith(".delta"):
            if kind == "response.output_text.delta":
                position = index(data.get("output_index"))
                self._deltas.setdefault(position, TextBuffer()).append(text(data.get("delta")))
            return True
        if kind == "response.output_item.added":
            return text(mapping(data.get("item")).get("type")) in _CALLS
        if kind == "error":
            self._error = read_error(data)
        elif response := mapping(data.get("response")):
            self._read_response(response)
            self._complete = self._complete or kind in _CLOSING
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._read_response(body)
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        response = self._response
        tier = text(response.get("service_tier"))
        attributes: dict[str, AttributeValue] = {genai.OPENAI_RESPONSE_SERVICE_TIER: tier} if tier else {}
        if conversation := text(mapping(response.get("conversation")).get("id")):
            attributes[genai.CONVERSATION_ID] = conversation
        reason = self._finish_reason()
        return Response(
            id=text(response.get("id")),
            model=text(response.get("model")),
            finish_reasons=[reason] if reason else (),
            usage=_read_usage(response),
            service_tier=tier,
            attributes=attributes,
            error=self._error,
            reported_usd=read_reported_usd(mapping(response.get("usage"))),
            complete=self._complete,
            output=self._output(reason) if self._keep_content else (),
        )

    def _read_response(self, response: Json) -> None:
        self._response = response
        self._error = read_error(response) or self._error

    def _finish_reason(self) -> str:
        status = text(self._response.get("status"))
        if status == "completed":
            kinds = {text(mapping(item).get("type")) for item in sequence(self._response.get("output"))}
            asks = kinds & (_CALLS - _REMOTE_CALLS)
            return finish.TOOL_CALL if asks else finish.STOP
        if status == "incomplete":
            return finish.canonical(text(mapping(self._response.get("incomplete_details")).get("reason")) or status)
        return finish.ERROR if status in ("failed", "cancelled") else ""

    def _output(self, reason: str) -> list[Message]:
        parts: list[Part] = []
        for item in map(mapping, sequence(self._response.get("output"))):
            parts.extend(_read_item_parts(item))
        if not parts:
            parts = [content.text(str(self._deltas[position])) for position in sorted(self._deltas)]
        if not parts and not text(self._response.get("id")):
            return []
        return [{**content.message("assistant", parts), "finish_reason": reason or finish.ERROR}]


def _news(events: Iterable[bytes]) -> list[bytes]:
    """The events that are no piece of output: counts and reasons come in events of their own."""
    return [event for event in events if b".delta\n" not in event[:96] or not event.startswith(b"event: response.")]


def _read_usage(response: Json) -> Usage:
    usage = mapping(response.get("usage"))
    details = mapping(usage.get("input_tokens_details"))
    cache_write = count(details.get("cache_write_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cache_read_tokens=count(details.get("cached_tokens")),
        cache_write_tokens=cache_write,
        reasoning_tokens=count(mapping(usage.get("output_tokens_details")).get("reasoning_tokens")),
        web_searches=_count_searches(response, usage),
    )


def _count_searches(response: Json, usage: Json) -> int | None:
    told = first_count(
        mapping(mapping(response.get("tool_usage")).get("web_search")).get("num_requests"), told_searches(usage)
    )
    if told is not None:
        return told
    # One that failed found nothing; the older form of the tool tells no action.
    return (
        sum(
            text(mapping(item.get("action")).get("type")) in ("", "search") and item.get("status") != "failed"
            for item in map(mapping, sequence(response.get("output")))
            if item.get("type") == "web_search_call"
        )
        or None
    )


def _read_item(item: Json) -> Message:
    kind = text(item.get("type"))
    if kind.endswith("_output"):
        return content.message("tool", [content.tool_response(text(item.get("call_id")), _read_answer(item))])
    role = text(item.get("role")) or ("assistant" if kind else "user")
    return content.message(role, _read_item_parts(item))


def _read_answer(item: Json) -> object:
    """What the application answers to a call: text, content parts, a screenshot or an object of its own."""
    output = item.get("output")
    if isinstance(output, list):
        return [_read_part(mapping(part)) for part in output]
    if text(mapping(output).get("type")) == "computer_screenshot":
        return [_read_part({**mapping(output), "type": "input_image"})]
    return output


def _read_item_parts(item: Json) -> list[Part]:
    kind = text(item.get("type")) or "message"
    if kind == "message":
        if isinstance(value := item.get("content"), str):
            return [content.text(value)]
        return [_read_part(mapping(part)) for part in sequence(value)]
    if kind in _CALLS:
        arguments = text(item.get("arguments")) or text(item.get("input"))
        call_id = text(item.get("call_id")) or text(item.get("id"))
        return [content.tool_call(call_id, text(item.get("name")), arguments)]
    if kind == "reasoning":
        texts = [*sequence(item.get("summary")), *sequence(item.get("content"))]
        thoughts = "\n".join(thought for part in texts if (thought := text(mapping(part).get("text"))))
        return [content.reasoning(thoughts)] if thoughts else []
    if kind.endswith("_call"):
        call = {"type": kind, "status": text(item.get("status"))}
        return [{"type": "server_tool_call", "id": text(item.get("id")), "name": kind, "server_tool_call": call}]
    return [{"type": kind}]


def _read_part(part: Json) -> Part:
    kind = text(part.get("type"))
    if kind in ("input_text", "output_text", "text"):
        return content.text(text(part.get("text")))
    if kind == "refusal":
        return content.text(text(part.get("refusal")))
    if file_id := text(part.get("file_id")):
        return content.file("image" if kind == "input_image" else "document", file_id)
    if kind == "input_image":
        return content.media("image", text(part.get("image_url")))
    if kind == "input_file":
        return content.media("document", text(part.get("file_url")) or text(part.get("file_data")))
    if kind == "input_audio":
        audio = mapping(part.get("input_audio"))
        return content.blob("audio", text(audio.get("data")), f"audio/{text(audio.get('format')) or 'wav'}")
    return {"type": kind or "unknown"}
