"""OpenAI Chat Completions, and everybody who speaks it (https://platform.openai.com/docs/api-reference/chat).

    request   {"model", "messages": [{"role", "content"}], "stream", "stream_options", "tools", ...}
    response  {"id", "model", "choices": [{"index", "message", "finish_reason"}], "usage", "service_tier"}
    stream    data: {"id", "model", "choices": [{"index", "delta", "finish_reason"}], "usage": null}
              data: {"choices": [], "usage": {...}}      only when asked for
              data: [DONE]

Deviations read here, as of 2026-11: Groq's `x_groq.usage`; reasoning text as `reasoning_content` (DeepSeek, Moonshot)
or `reasoning` (OpenRouter, Groq, Together); lists of content parts in answers (Mistral); images in answers
(OpenRouter); streamed tool calls without an index (Mistral) or all with index 0 (Google's endpoint for OpenAI clients);
a first chunk without id, model and choices (Azure); counts in `timings` (llama.cpp); templates that the gateway fills
in (Portkey's prompts, which name no model); `random_seed`, and an agent in place of the model (Mistral). Those of the
usage are in `_openai.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

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
from tokentrail.instrumentation.wire._json import Json, index, integer, mapping, parse, sequence, text
from tokentrail.instrumentation.wire._openai import (
    find_usage,
    read_reported_usd,
    read_stop,
    read_timings,
    read_usage,
)
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import finish, genai, providers

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    "top_p": (genai.REQUEST_TOP_P, float),
    "max_tokens": (genai.REQUEST_MAX_TOKENS, int),
    "max_completion_tokens": (genai.REQUEST_MAX_TOKENS, int),
    "frequency_penalty": (genai.REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (genai.REQUEST_PRESENCE_PENALTY, float),
    "seed": (genai.REQUEST_SEED, int),
    "random_seed": (genai.REQUEST_SEED, int),
    "reasoning_effort": (genai.REQUEST_REASONING_LEVEL, str),
}


class OpenAIChat:
    """The wire format."""

    name = "openai_chat"
    operation = genai.Operation.CHAT
    routes: tuple[Route, ...] = (
        Route("/chat/completions"),
        Route("/prompts/{}/completions", providers=frozenset({providers.PORTKEY})),
        Route("/agents/completions", providers=frozenset({providers.MISTRAL})),
        Route("/publishers/mistralai/models/{model}:rawPredict"),
        Route("/publishers/mistralai/models/{model}:streamRawPredict", stream=True),
    )

    def recognises(self, body: Json) -> bool:
        """A model and a list of messages."""
        return isinstance(body.get("model"), str) and isinstance(body.get("messages"), list)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes = read_settings(body, _SETTINGS)
        attributes[genai.OPENAI_API_TYPE] = "chat_completions"
        if stop := read_stop(body.get("stop")):
            attributes[genai.REQUEST_STOP_SEQUENCES] = stop
        if (choices := integer(body.get("n"))) is not None and choices != 1:
            attributes[genai.REQUEST_CHOICE_COUNT] = choices
        if (tier := text(body.get("service_tier"))) not in ("", "auto"):
            attributes[genai.OPENAI_REQUEST_SERVICE_TIER] = tier
        if output_type := _output_type(mapping(body.get("response_format")), sequence(body.get("modalities"))):
            attributes[genai.OUTPUT_TYPE] = output_type
        if agent := text(body.get("agent_id")):
            attributes[genai.AGENT_ID] = agent
        return Request(text(body.get("model")), body.get("stream") is True, attributes, text(body.get("user")))

    def read_content(self, body: Json) -> RequestContent:
        """Messages and tools of a request."""
        messages = [_read_message(mapping(item)) for item in sequence(body.get("messages"))]
        tools = [
            {"type": text(tool.get("type")) or "function", "name": text(function.get("name"))}
            for tool in map(mapping, sequence(body.get("tools")))
            for function in [mapping(tool.get(text(tool.get("type")) or "function"))]
        ]
        return RequestContent(messages=messages, tools=tools)

    def reader(self, keep_content: bool) -> "ChatReader":
        """A reader for one response."""
        return ChatReader(keep_content)


@dataclass(slots=True)
class _ToolCall:
    id: str = ""
    name: str = ""
    arguments: TextBuffer = field(default_factory=TextBuffer)


@dataclass(slots=True)
class _Choice:
    reason: str = ""
    text: TextBuffer = field(default_factory=TextBuffer)
    reasoning: TextBuffer = field(default_factory=TextBuffer)
    images: list[Part] = field(default_factory=list)
    tool_calls: dict[int, _ToolCall] = field(default_factory=dict)


class ChatReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self.news = None if keep_content else _news
        self._keep_content = keep_content
        self._id = ""
        self._model = ""
        self._tier = ""
        self._fingerprint = ""
        self._usage: Json = {}
        self._timings: Json = {}
        self._choices: dict[int, _Choice] = {}
        self._error: ProviderError | None = None
        self._complete = False
        self._saw_output = False

    def feed_event(self, event: Event) -> bool:
        """Take in a chunk; true when it carries output."""
        data = event.data
        if data == b"[DONE]":
            self._complete = True
            return False
        chunk = mapping(parse(data))
        if self._id and self._append_text(chunk):
            return True
        self._read_head(chunk)
        carries_output = False
        for choice in sequence(chunk.get("choices")):
            carries_output |= self._read_choice(mapping(choice), "delta")
        self._saw_output |= carries_output
        return carries_output

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._read_head(body)
        for choice in sequence(body.get("choices")):
            self._read_choice(mapping(choice), "message")
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        attributes: dict[str, AttributeValue] = {}
        if self._fingerprint:
            attributes[genai.OPENAI_RESPONSE_SYSTEM_FINGERPRINT] = self._fingerprint
        if self._tier:
            attributes[genai.OPENAI_RESPONSE_SERVICE_TIER] = self._tier
        choices = [self._choices[position] for position in sorted(self._choices)]
        finished = any(choice.reason for choice in choices)
        return Response(
            id=self._id,
            model=self._model,
            finish_reasons=[finish.canonical(choice.reason or finish.ERROR) for choice in choices] if finished else [],
            usage=read_usage(self._usage) if self._usage else read_timings(self._timings),
            service_tier=self._tier,
            attributes=attributes,
            error=self._error,
            reported_usd=read_reported_usd(self._usage),
            complete=self._complete,
            output=[_output_message(choice) for choice in choices] if self._keep_content else (),
        )

    def _append_text(self, chunk: Json) -> bool:
        """Take in a chunk that is a piece of text and nothing else, as nearly all are; false when there is more to it.

        The long way comes to the same; this is a third of its time.
        """
        choices = chunk.get("choices")
        if type(choices) is not list or len(choices) != 1 or chunk.get("usage") or "error" in chunk:
            return False
        item = choices[0]
        if type(item) is not dict or item.get("finish_reason") or type(position := item.get("index")) is not int:
            return False
        choice, delta = self._choices.get(position), item.get("delta")
        if choice is None or type(delta) is not dict or len(delta) != 1:
            return False
        if type(answer := delta.get("content")) is not str or not answer or not self._saw_output:
            return False
        if self._keep_content:
            choice.text.append(answer)
        return True

    def _read_head(self, chunk: Json) -> None:
        self._id = text(chunk.get("id")) or self._id
        self._model = text(chunk.get("model")) or self._model
        self._tier = text(chunk.get("service_tier")) or self._tier
        self._fingerprint = text(chunk.get("system_fingerprint")) or self._fingerprint
        # Some servers send a running count with every chunk: the last one is the total.
        self._usage = find_usage(chunk) or self._usage
        self._timings = mapping(chunk.get("timings")) or self._timings
        self._error = read_error(chunk) or self._error

    def _read_choice(self, item: Json, field_name: str) -> bool:
        choice = self._choices.setdefault(index(item.get("index")), _Choice())
        choice.reason = text(item.get("finish_reason")) or choice.reason
        delta = mapping(item.get(field_name))
        if not self._keep_content and field_name == "message":
            return bool(delta)
        answer, thoughts = _read_text(delta.get("content"))
        answer = answer or text(delta.get("refusal")) or text(mapping(delta.get("audio")).get("transcript"))
        thoughts = thoughts or text(delta.get("reasoning_content")) or text(delta.get("reasoning"))
        calls = sequence(delta.get("tool_calls"))
        if function := delta.get("function_call"):
            calls = [{"index": 0, "function": function}]
        images = sequence(delta.get("images"))
        if self._keep_content:
            choice.text.append(answer)
            choice.reasoning.append(thoughts)
            choice.images += _read_parts(images)
            for call in map(mapping, calls):
                _read_tool_call(choice, call, streamed=field_name == "delta")
        return bool(answer or thoughts or calls or images or mapping(delta.get("audio")))


def _news(events: Iterable[bytes]) -> list[bytes]:
    """The chunks that are not of the first choice with output only: with a reason to finish, or a usage.

    A quote inside a JSON string is escaped, so none of these is found in a text. Some servers put a space after colons.
    """
    found = [
        event
        for event in events
        if b'"finish_reason":null' not in event
        or b'"index":0' not in event
        or b'"usage":{' in event
        or b'"finish_reason":"' in event
    ]
    return [
        event
        for event in found
        if b'"finish_reason": null' not in event
        or b'"finish_reason":null' in event
        or b'"index": 0' not in event
        or b'"usage": {' in event
        or b'"finish_reason": "' in event
    ]


def _read_tool_call(choice: _Choice, item: Json, streamed: bool) -> None:
    details = mapping(item.get("function")) or mapping(item.get("custom"))
    call = _find_tool_call(choice, item, bool(details.get("name"))) if streamed else None
    if call is None:
        call = choice.tool_calls[max(choice.tool_calls, default=-1) + 1] = _ToolCall()
    call.id = text(item.get("id")) or call.id
    call.name = text(details.get("name")) or call.name
    call.arguments.append(text(details.get("arguments")) or text(details.get("input")))


def _find_tool_call(choice: _Choice, item: Json, named: bool) -> _ToolCall | None:
    """The tool call that a piece of a stream goes on with; `None` when it is the first piece of one without an index.

    A piece that has a name, and another id than the call at its index, begins a call of its own.
    """
    calls, call_id = choice.tool_calls, text(item.get("id"))
    if integer(item.get("index")) is None:
        last = calls[max(calls)] if calls else None
        return last if last is not None and (not named or (call_id and call_id == last.id)) else None
    call = calls.setdefault(index(item.get("index")), _ToolCall())
    return None if named and call.id and call_id not in ("", call.id) else call


def _read_text(value: object) -> tuple[str, str]:
    """Text and reasoning of a `content` field, a string or a list of parts."""
    if isinstance(value, str):
        return value, ""
    answer = thoughts = ""
    for part in map(mapping, sequence(value)):
        answer += text(part.get("text"))
        for thought in map(mapping, sequence(part.get("thinking"))):
            thoughts += text(thought.get("text"))
    return answer, thoughts


def _output_message(choice: _Choice) -> Message:
    parts: list[Part] = []
    if choice.reasoning:
        parts.append(content.reasoning(str(choice.reasoning)))
    if choice.text:
        parts.append(content.text(str(choice.text)))
    parts += choice.images
    for position in sorted(choice.tool_calls):
        call = choice.tool_calls[position]
        parts.append(content.tool_call(call.id, call.name, str(call.arguments)))
    return {**content.message("assistant", parts), "finish_reason": finish.canonical(choice.reason or finish.ERROR)}


def _output_type(response_format: Json, modalities: Iterable[object]) -> str:
    if text(response_format.get("type")) in ("json_schema", "json_object"):
        return "json"
    if text(response_format.get("type")) == "text":
        return "text"
    return "speech" if "audio" in modalities else ""


def _read_message(item: Json) -> Message:
    role = text(item.get("role"))
    if role in ("tool", "function"):
        answer = _read_parts(value) if isinstance(value := item.get("content"), list) else value
        return content.message("tool", [content.tool_response(text(item.get("tool_call_id")), answer)])
    parts = [content.text(value)] if isinstance(value := item.get("content"), str) else _read_parts(value)
    if refusal := text(item.get("refusal")):
        parts.append(content.text(refusal))
    if thoughts := text(item.get("reasoning_content")) or text(item.get("reasoning")):
        parts.insert(0, content.reasoning(thoughts))
    for call in map(mapping, sequence(item.get("tool_calls"))):
        details = mapping(call.get("function")) or mapping(call.get("custom"))
        arguments = text(details.get("arguments")) or text(details.get("input"))
        parts.append(content.tool_call(text(call.get("id")), text(details.get("name")), arguments))
    message = content.message(role, parts)
    return {**message, "name": name} if (name := text(item.get("name"))) else message


def _read_parts(value: object) -> list[Part]:
    parts: list[Part] = []
    for item in map(mapping, sequence(value)):
        kind = text(item.get("type"))
        if kind in ("text", "refusal"):
            parts.append(content.text(text(item.get("text")) or text(item.get("refusal"))))
        elif kind == "thinking":
            parts.append(content.reasoning(_read_text([item])[1]))
        elif kind == "image_url":
            image = item.get("image_url")
            parts.append(content.media("image", text(image) or text(mapping(image).get("url"))))
        elif kind == "input_audio":
            audio = mapping(item.get("input_audio"))
            mime_type = f"audio/{text(audio.get('format')) or 'wav'}"
            parts.append(content.blob("audio", text(audio.get("data")), mime_type))
        elif kind == "file":
            document = mapping(item.get("file"))
            if file_id := text(document.get("file_id")):
                parts.append(content.file("document", file_id))
            else:
                parts.append(content.media("document", text(document.get("file_data"))))
        else:
            parts.append({"type": kind or "unknown"})
    return parts
