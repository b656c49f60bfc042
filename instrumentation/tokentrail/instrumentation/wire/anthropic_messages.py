"""Anthropic Messages (https://docs.claude.com/en/api/messages).

    request   {"model", "max_tokens", "messages": [{"role", "content"}], "system", "tools", "stream", ...}
    response  {"id", "type": "message", "model", "content": [block], "stop_reason", "usage"}
    stream    event: message_start          data: {"message": {...}}            first counts of the usage
              event: content_block_start    data: {"index", "content_block"}
              event: content_block_delta    data: {"index", "delta"}
              event: message_delta          data: {"delta": {"stop_reason"}, "usage"}    counts so far
              event: message_stop           event: ping, event: error {"error": {"type", "message"}}

`input_tokens` leaves the cache out: the total is input + cache reads + cache writes.

Vertex AI serves the same bodies at a path of its own that names the model, which the body then does not
(https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
from tokentrail.instrumentation.wire._json import Json, count, index, mapping, parse, sequence, text, total_count
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    "top_p": (genai.REQUEST_TOP_P, float),
    "top_k": (genai.REQUEST_TOP_K, int),
    "max_tokens": (genai.REQUEST_MAX_TOKENS, int),
}
_DELTAS: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}
"""Deltas that carry output, with the field they carry it in."""
_FAST: Final = "fast"
"""In `usage.speed`; the other is `standard` (https://platform.claude.com/docs/en/build-with-claude/fast-mode, 2026)."""
_ANYWHERE: Final = frozenset({"", "global", "not_available"})
"""In `usage.inference_geo`: inference that costs no more for where it ran (recorded traffic, 2026)."""
_COUNTS: Final = frozenset({"input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"})
"""Fields of a usage that only grow."""


class AnthropicMessages:
    """The wire format."""

    name = "anthropic_messages"
    operation = genai.Operation.CHAT
    routes: tuple[Route, ...] = (
        Route("/v1/messages"),
        Route("/publishers/anthropic/models/{model}:rawPredict"),
        Route("/publishers/anthropic/models/{model}:streamRawPredict", stream=True),
    )

    def recognises(self, body: Json) -> bool:
        """A model, a list of messages and the limit that the API insists on.

        Vertex AI has the model in the path, and in its place the version of the API.
        """
        named = isinstance(body.get("model"), str) or isinstance(body.get("anthropic_version"), str)
        return named and isinstance(body.get("messages"), list) and "max_tokens" in body

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes = read_settings(body, _SETTINGS)
        if stop := [item for item in sequence(body.get("stop_sequences")) if isinstance(item, str)]:
            attributes[genai.REQUEST_STOP_SEQUENCES] = stop
        output_config = mapping(body.get("output_config"))
        if effort := text(output_config.get("effort")):
            attributes[genai.REQUEST_REASONING_LEVEL] = effort
        output_format = mapping(output_config.get("format")) or mapping(body.get("output_format"))
        if text(output_format.get("type")) == "json_schema":
            attributes[genai.OUTPUT_TYPE] = "json"
        user = text(mapping(body.get("metadata")).get("user_id"))
        return Request(text(body.get("model")), body.get("stream") is True, attributes, user)

    def read_content(self, body: Json) -> RequestContent:
        """System prompt, messages and tools of a request."""
        system = body.get("system")
        system_parts = [content.text(system)] if isinstance(system, str) else _read_blocks(system)
        messages = [_read_message(mapping(item)) for item in sequence(body.get("messages"))]
        tools = [
            {"type": text(tool.get("type")) or "function", "name": text(tool.get("name"))}
            for tool in map(mapping, sequence(body.get("tools")))
        ]
        return RequestContent(messages, system_parts, tools)

    def reader(self, keep_content: bool) -> "MessagesReader":
        """A reader for one response."""
        return MessagesReader(keep_content)


@dataclass(slots=True)
class _Block:
    """A content block as it began, and the output that its deltas brought."""

    start: Json
    output: TextBuffer = field(default_factory=TextBuffer)


class MessagesReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self.news = None if keep_content else _news
        self._keep_content = keep_content
        self._id = ""
        self._model = ""
        self._reason = ""
        self._usage: dict[str, object] = {}
        self._blocks: dict[int, _Block] = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output."""
        data = mapping(parse(event.data))
        kind = text(data.get("type")) or event.name
        if kind == "content_block_delta":
            return self._read_delta(data)
        if kind == "content_block_start":
            return self._read_block_start(data)
        if kind == "message_start":
            self._read_message(mapping(data.get("message")))
        elif kind == "message_delta":
            self._reason = text(mapping(data.get("delta")).get("stop_reason")) or self._reason
            self._read_usage(data)
            # Nothing but `message_stop` follows, and readers stop before it (LiteLLM 1.106).
            self._complete = self._complete or bool(self._reason)
        elif kind == "message_stop":
            self._complete = True
        elif kind == "error":
            self._error = read_error(data)
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._error = read_error(body)
        if self._error is None:
            self._read_message(body)
            for position, block in enumerate(sequence(body.get("content"))):
                self._blocks[position] = _Block(mapping(block))
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        tier = _tier(self._usage)
        attributes: dict[str, AttributeValue] = {genai.RESPONSE_SERVICE_TIER: tier} if tier else {}
        reason = finish.canonical(self._reason)
        return Response(
            id=self._id,
            model=self._model,
            finish_reasons=[reason] if reason else (),
            usage=_to_usage(self._usage),
            service_tier=tier,
            attributes=attributes,
            error=self._error,
            complete=self._complete,
            output=self._output(reason) if self._keep_content and self._id else (),
        )

    def _read_message(self, message: Json) -> None:
        self._id = text(message.get("id")) or self._id
        self._model = text(message.get("model")) or self._model
        self._reason = text(message.get("stop_reason")) or self._reason
        self._read_usage(message)

    def _read_usage(self, holder: Json) -> None:
        # `message_delta` repeats some of the counts of `message_start`, as they are by then: they only grow. Servers
        # that speak the format count the input in one of the two, and may send 0 in the other.
        for name, value in mapping(holder.get("usage")).items():
            if value is not None and (name not in _COUNTS or _is_later(value, self._usage.get(name))):
                self._usage[name] = value

    def _read_block_start(self, data: Json) -> bool:
        block = mapping(data.get("content_block"))
        if self._keep_content:
            self._blocks[index(data.get("index"))] = _Block(block)
        kind = text(block.get("type"))
        return kind.endswith("tool_use") or bool(text(block.get("text")) or text(block.get("thinking")))

    def _read_delta(self, data: Json) -> bool:
        delta = mapping(data.get("delta"))
        name = _DELTAS.get(text(delta.get("type")))
        if name is None:
            return False
        if self._keep_content:
            self._blocks.setdefault(index(data.get("index")), _Block({})).output.append(text(delta.get(name)))
        return True

    def _output(self, reason: str) -> list[Message]:
        parts = [_read_block(block.start, str(block.output)) for _, block in sorted(self._blocks.items())]
        return [{**content.message("assistant", parts), "finish_reason": reason or finish.ERROR}]


def _is_later(value: object, before: object) -> bool:
    """True when `value` is the count of what `before` counted: no smaller, or no count at all, which stays for good."""
    known, found = count(before), count(value)
    return known != NOT_A_COUNT and (found == NOT_A_COUNT or (found or 0) >= (known or 0))


def _news(events: Iterable[bytes]) -> list[bytes]:
    """The events that are no piece of output: counts and reasons come in events of their own."""
    return [event for event in events if not event.startswith(b"event: content_block_delta\n")]


def _tier(usage: Json) -> str:
    """The tier that served the call, and behind an `@` where, if that was chosen: both have prices of their own.

    Fast mode counts as a tier, and no other tier has it.
    """
    tier = _FAST if usage.get("speed") == _FAST else text(usage.get("service_tier"))
    place = text(usage.get("inference_geo"))
    return tier if place in _ANYWHERE else f"{tier}@{place}"


def _to_usage(usage: Json) -> Usage:
    if not usage:
        return Usage()
    uncached = count(usage.get("input_tokens"))
    cache_read = count(usage.get("cache_read_input_tokens"))
    cache_write = count(usage.get("cache_creation_input_tokens"))
    lifetimes = mapping(usage.get("cache_creation"))
    return Usage(
        input_tokens=None if uncached is None else total_count(uncached, cache_read, cache_write),
        output_tokens=count(usage.get("output_tokens")),
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cache_write_1h_tokens=count(lifetimes.get("ephemeral_1h_input_tokens")),
        reasoning_tokens=count(mapping(usage.get("output_tokens_details")).get("thinking_tokens")),
        # Those that failed are not in it, and not billed.
        web_searches=count(mapping(usage.get("server_tool_use")).get("web_search_requests")),
    )


def _read_message(item: Json) -> Message:
    value = item.get("content")
    parts = [content.text(value)] if isinstance(value, str) else _read_blocks(value)
    answers = bool(parts) and all(part["type"] == "tool_call_response" for part in parts)
    return content.message("tool" if answers else text(item.get("role")), parts)


def _read_blocks(value: object) -> list[Part]:
    return [_read_block(mapping(block)) for block in sequence(value)]


def _read_block(block: Json, arrived: str = "") -> Part:
    """A content block as a part; `arrived` is the output its deltas brought, which its start lacks."""
    kind = text(block.get("type"))
    if kind == "thinking":
        return content.reasoning(text(block.get("thinking")) + arrived)
    if kind == "tool_use":
        return content.tool_call(text(block.get("id")), text(block.get("name")), arrived or block.get("input"))
    if kind == "tool_result":
        return content.tool_response(text(block.get("tool_use_id")), _read_result(block.get("content")))
    if kind in ("image", "document"):
        return _read_source(kind, mapping(block.get("source")))
    if kind in ("server_tool_use", "mcp_tool_use"):
        call = {"type": text(block.get("name")), "input": content.parse_arguments(arrived or block.get("input"))}
        part = {"type": "server_tool_call", "id": text(block.get("id")), "name": text(block.get("name"))}
        return {**part, "server_tool_call": call}
    if kind == "text" or (not kind and arrived):
        return content.text(text(block.get("text")) + arrived)
    return {"type": kind or "unknown"}


def _read_result(value: object) -> object:
    return value if isinstance(value, str) else _read_blocks(value)


def _read_source(modality: str, source: Json) -> Part:
    kind = text(source.get("type"))
    mime_type = text(source.get("media_type"))
    if kind == "base64":
        return content.blob(modality, text(source.get("data")), mime_type)
    if kind == "url":
        return content.media(modality, text(source.get("url")), mime_type)
    if kind == "file":
        return content.file(modality, text(source.get("file_id")))
    return {"type": modality}
