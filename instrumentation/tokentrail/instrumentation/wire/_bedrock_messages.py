"""Messages in the shape of Bedrock's Converse API, which Nova's own bodies have as well.

    request   {"system": [block], "messages": [{"role", "content": [block]}], "inferenceConfig", "toolConfig", ...}
    block     {"text"} | {"image": {"format", "source": {"bytes" | "s3Location"}}} | {"toolUse": {...}} | ...
    response  {"output": {"message": {"role", "content": [block]}}, "stopReason", "usage"}
    stream    messageStart, contentBlockStart, contentBlockDelta, contentBlockStop, messageStop, metadata {"usage"}

An object has one of the keys that a block may have. Source: the service's own model, API version 2023-09-30
(botocore 1.44.5), and https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html (2026-11).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, Part, TextBuffer
from tokentrail.instrumentation.wire._base import Request, RequestContent
from tokentrail.instrumentation.wire._bedrock import read_tier, read_usage
from tokentrail.instrumentation.wire._json import Json, mapping, sequence, text
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import Usage

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    "topP": (genai.REQUEST_TOP_P, float),
    "top_p": (genai.REQUEST_TOP_P, float),
    "topK": (genai.REQUEST_TOP_K, int),
    "top_k": (genai.REQUEST_TOP_K, int),
    "maxTokens": (genai.REQUEST_MAX_TOKENS, int),
    "max_new_tokens": (genai.REQUEST_MAX_TOKENS, int),
}
"""The second names are Nova's, and those of models' own fields."""
_OWN_SETTINGS: Final = {name: _SETTINGS[name] for name in ("top_k", "topK")}
"""What Converse has no field for."""
_MEDIA: Final = {"image": "image", "video": "video", "audio": "audio"}
_DOCUMENT_TYPES: Final = {
    "pdf": "application/pdf",
    "csv": "text/csv",
    "html": "text/html",
    "txt": "text/plain",
    "md": "text/markdown",
}
MAX_BLOCKS: Final = 100_000
"""Blocks of one answer that are kept apart: Nova's own streams begin a new one with every delta."""


def read_request(body: Json) -> Request:
    """Settings of a request; the model is in its path."""
    config = mapping(body.get("inferenceConfig"))
    own = mapping(body.get("additionalModelRequestFields"))
    attributes = read_settings(mapping(own.get("inferenceConfig")) or own, _OWN_SETTINGS)
    attributes.update(read_settings(config, _SETTINGS))
    if stop := [item for item in sequence(config.get("stopSequences")) if isinstance(item, str)]:
        attributes[genai.REQUEST_STOP_SEQUENCES] = stop
    if guardrail := text(mapping(body.get("guardrailConfig")).get("guardrailIdentifier")):
        attributes[genai.BEDROCK_GUARDRAIL_ID] = guardrail
    output = mapping(body.get("outputConfig"))
    if text(mapping(output.get("textFormat")).get("type")) == "json_schema":
        attributes[genai.OUTPUT_TYPE] = "json"
    if effort := text(output.get("effort")):
        attributes[genai.REQUEST_REASONING_LEVEL] = effort
    return Request(attributes=attributes)


def read_content(body: Json) -> RequestContent:
    """System prompt, messages and tools of a request."""
    tools = [
        {"type": "function", "name": text(spec.get("name"))}
        for tool in map(mapping, sequence(mapping(body.get("toolConfig")).get("tools")))
        if (spec := mapping(tool.get("toolSpec")))
    ]
    messages = [_read_message(mapping(item)) for item in sequence(body.get("messages"))]
    return RequestContent(messages, _read_blocks(body.get("system")), tools)


def has_messages(body: Json) -> bool:
    """True when `body` has messages of this shape: each a list of blocks that have no `type`."""
    messages = sequence(body.get("messages"))
    if not messages:
        return False
    blocks = mapping(messages[0]).get("content")
    return isinstance(blocks, list) and all(isinstance(block, dict) and "type" not in block for block in blocks)


@dataclass(slots=True)
class _Block:
    """A content block as it began, and the output that its deltas brought."""

    start: Json
    text: TextBuffer = field(default_factory=TextBuffer)
    reasoning: TextBuffer = field(default_factory=TextBuffer)
    arguments: TextBuffer = field(default_factory=TextBuffer)


class Answer:
    """One answer in this shape, as it arrives."""

    def __init__(self, keep_content: bool, *, joins_texts: bool = False) -> None:
        self.reason = ""
        """The conventions' word, or the provider's own."""
        self.tier = ""
        self.usage = Usage()
        self.complete = False
        """The last event of a stream has arrived, or a plain body."""
        self.began = False
        self._keep_content = keep_content
        self._joins_texts = joins_texts
        self._blocks: list[_Block] = []
        self._index: object = None

    def read_body(self, body: Json) -> None:
        """Take in a plain answer."""
        message = mapping(mapping(body.get("output")).get("message"))
        if self._keep_content:
            self._blocks = [_Block(mapping(block)) for block in sequence(message.get("content"))]
        self.began |= bool(message)
        self._read_reason(body)
        self._read_metadata(body)

    def read_event(self, name: str, data: Json) -> bool:
        """Take in an event; true when it carries output."""
        if name == "contentBlockDelta":
            return self._read_delta(data)
        if name == "contentBlockStart":
            return self._read_start(data)
        if name == "messageStart":
            self.began = True
        elif name == "messageStop":
            self._read_reason(data)
        elif name == "metadata":
            self._read_metadata(data)
        return False

    def messages(self) -> list[Message]:
        """The answer as messages; none when none has begun, or content is not kept."""
        if not self._keep_content or not self.began:
            return []
        parts = [_read_block(block.start, block) for block in self._blocks]
        return [{**content.message("assistant", parts), "finish_reason": self.reason or finish.ERROR}]

    def _read_reason(self, holder: Json) -> None:
        self.reason = finish.canonical(text(holder.get("stopReason"))) or self.reason

    def _read_metadata(self, holder: Json) -> None:
        self.usage = read_usage(mapping(holder.get("usage")))
        self.tier = read_tier(holder)
        self.complete = True

    def _read_start(self, data: Json) -> bool:
        start = mapping(data.get("start"))
        if self._keep_content and len(self._blocks) < MAX_BLOCKS:
            self._blocks.append(_Block(start))
            self._index = data.get("contentBlockIndex")
        return "toolUse" in start

    def _read_delta(self, data: Json) -> bool:
        delta = mapping(data.get("delta"))
        answer, call = text(delta.get("text")), text(mapping(delta.get("toolUse")).get("input"))
        thoughts = text(mapping(delta.get("reasoningContent")).get("text"))
        if self._keep_content and (answer or call or thoughts):
            block = self._block_of(data.get("contentBlockIndex"), bool(answer))
            block.text.append(answer)
            block.reasoning.append(thoughts)
            block.arguments.append(call)
        return bool(answer or call or thoughts)

    def _block_of(self, index: object, is_text: bool) -> _Block:
        """The block that a delta belongs to: blocks come one after another, and a text needs no event to begin."""
        last = self._blocks[-1] if self._blocks else None
        if last is not None:
            joins = self._joins_texts and is_text and bool(last.text)
            if index == self._index or joins or len(self._blocks) >= MAX_BLOCKS:
                return last
        self._index = index
        self._blocks.append(block := _Block({}))
        return block


def _read_message(item: Json) -> Message:
    blocks = sequence(item.get("content"))
    answers = bool(blocks) and all("toolResult" in mapping(block) for block in blocks)
    return content.message("tool" if answers else text(item.get("role")), _read_blocks(blocks))


def _read_blocks(value: object) -> list[Part]:
    return [_read_block(mapping(block)) for block in sequence(value)]


def _read_block(block: Json, arrived: _Block | None = None) -> Part:
    """A content block as a part; `arrived` has the output its deltas brought, which its start lacks."""
    if arrived is not None and arrived.reasoning:
        return content.reasoning(str(arrived.reasoning))
    if "text" in block or (arrived is not None and arrived.text):
        return content.text(text(block.get("text")) + (str(arrived.text) if arrived is not None else ""))
    kind = next(iter(block), "unknown")
    inner = mapping(block.get(kind))
    if kind == "toolUse":
        return _read_tool_use(inner, str(arrived.arguments) if arrived is not None else "")
    if kind == "toolResult":
        return content.tool_response(text(inner.get("toolUseId")), _read_result(inner.get("content")))
    if kind == "reasoningContent":
        return content.reasoning(text(mapping(inner.get("reasoningText")).get("text")))
    if kind in _MEDIA:
        name = text(inner.get("format"))
        return _read_source(_MEDIA[kind], mapping(inner.get("source")), f"{kind}/{name}" if name else "")
    if kind == "document":
        return _read_document(inner)
    if kind == "guardContent":
        return content.text(text(mapping(inner.get("text")).get("text")))
    if kind == "citationsContent":
        return content.text(_joined(map(mapping, sequence(inner.get("content")))))
    return {"type": kind}


def _read_tool_use(call: Json, arrived: str) -> Part:
    call_id, name = text(call.get("toolUseId")), text(call.get("name"))
    arguments = arrived if arrived or "input" not in call else call.get("input")
    if text(call.get("type")) == "server_tool_use":
        details = {"type": name, "input": content.parse_arguments(arguments)}
        return {"type": "server_tool_call", "id": call_id, "name": name, "server_tool_call": details}
    return content.tool_call(call_id, name, arguments)


def _read_result(value: object) -> object:
    """What a tool answered: the text or the JSON itself where it is one of them, else the list of all."""
    items = [mapping(item) for item in sequence(value)]
    answers = [item.get("json") if "json" in item else _read_block(item) for item in items]
    if len(answers) == 1:
        return items[0]["text"] if isinstance(items[0].get("text"), str) else answers[0]
    return answers


def _read_source(modality: str, source: Json, mime_type: str) -> Part:
    if location := text(mapping(source.get("s3Location")).get("uri")):
        return content.media(modality, location, mime_type)
    if data := text(source.get("bytes")):
        return content.blob(modality, data, mime_type)
    return {"type": modality}


def _read_document(document: Json) -> Part:
    source, name = mapping(document.get("source")), text(document.get("format"))
    if written := text(source.get("text")) or _joined(map(mapping, sequence(source.get("content")))):
        return content.text(written)
    return _read_source("document", source, _DOCUMENT_TYPES.get(name, ""))


def _joined(items: Iterable[Json]) -> str:
    return "".join(text(item.get("text")) for item in items)
