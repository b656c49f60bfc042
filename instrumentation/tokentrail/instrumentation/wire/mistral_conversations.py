"""Mistral's conversations, with or without an agent (https://docs.mistral.ai/api/endpoint/beta/conversations).

    request   {"inputs": text | [{"role", "content"} | {"type": "function.result", "tool_call_id", "result"}],
               "model" | "agent_id", "instructions", "tools", "completion_args": {"temperature", ...}, "stream"}
    response  {"conversation_id", "usage", "outputs": [{"type": "message.output", "model", "content"} |
               {"type": "function.call", "tool_call_id", "name", "arguments"} | {"type": "tool.execution", ...}]}
    stream    event: message.output.delta    data: {"type", "output_index", "content_index", "content", "model"}
              conversation.response.started, function.call.delta, tool.execution.started, agent.handoff.started, ...
              event: conversation.response.done    data: {"type", "usage"}

One request may call the model several times, with the server's own tools in between; usage is that of all of them.
What those tools brought (`connector_tokens`) is counted beside the prompt, and is input. No reason is told for the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    index,
    integer,
    mapping,
    parse,
    sequence,
    text,
    total_count,
)
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import genai, providers
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    "top_p": (genai.REQUEST_TOP_P, float),
    "max_tokens": (genai.REQUEST_MAX_TOKENS, int),
    "frequency_penalty": (genai.REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (genai.REQUEST_PRESENCE_PENALTY, float),
    "random_seed": (genai.REQUEST_SEED, int),
    "reasoning_effort": (genai.REQUEST_REASONING_LEVEL, str),
}
_PROVIDERS = frozenset({providers.MISTRAL})
"""At the same path OpenAI keeps conversations without calling a model."""
_DELTAS: Final = {
    "message.output.delta": "message.output",
    "function.call.delta": "function.call",
    "tool.execution.started": "tool.execution",
    "tool.execution.delta": "tool.execution",
}
"""Events that carry output, with the kind of entry they are pieces of."""


class MistralConversations:
    """The wire format."""

    name = "mistral_conversations"
    operation = genai.Operation.CHAT
    routes: tuple[Route, ...] = (
        Route("/conversations", providers=_PROVIDERS),
        Route("/conversations/{}", providers=_PROVIDERS),
        Route("/conversations/{}/restart", providers=_PROVIDERS),
    )

    def recognises(self, body: Json) -> bool:
        """Inputs, and a model or an agent."""
        is_asked = isinstance(body.get("model"), str) or (body.get("model") is None and "agent_id" in body)
        return is_asked and isinstance(body.get("inputs"), (str, list))

    def read_request(self, body: Json) -> Request:
        """Settings of a request; the model of an agent, or of a conversation gone on with, is the server's to know."""
        arguments = mapping(body.get("completion_args"))
        attributes = read_settings(arguments, _SETTINGS)
        stop = arguments.get("stop")
        if words := [stop] if isinstance(stop, str) else [item for item in sequence(stop) if isinstance(item, str)]:
            attributes[genai.REQUEST_STOP_SEQUENCES] = words
        if text(mapping(arguments.get("response_format")).get("type")) in ("json_object", "json_schema"):
            attributes[genai.OUTPUT_TYPE] = "json"
        if agent := text(body.get("agent_id")):
            attributes[genai.AGENT_ID] = agent
        return Request(text(body.get("model")), body.get("stream") is True, attributes)

    def read_content(self, body: Json) -> RequestContent:
        """Instructions, inputs and tools of a request."""
        inputs = body.get("inputs")
        entries = [{"role": "user", "content": inputs}] if isinstance(inputs, str) else sequence(inputs)
        system = [content.text(words)] if (words := text(body.get("instructions"))) else []
        tools = [
            {"type": text(tool.get("type")), "name": text(function.get("name")) or text(tool.get("type"))}
            for tool in map(mapping, sequence(body.get("tools")))
            for function in [mapping(tool.get("function"))]
        ]
        return RequestContent([_read_entry(mapping(entry)) for entry in entries], system, tools)

    def reader(self, keep_content: bool) -> "ConversationsReader":
        """A reader for one response."""
        return ConversationsReader(keep_content)


@dataclass(slots=True)
class _Output:
    """One entry of the answer; `kind` is that of a whole one."""

    kind: str
    id: str = ""
    name: str = ""
    text: TextBuffer = field(default_factory=TextBuffer)
    """Of a call, its arguments as they come in pieces."""
    reasoning: TextBuffer = field(default_factory=TextBuffer)
    arguments: object = None
    """Of a call whose arguments came whole."""


class ConversationsReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self._keep_content = keep_content
        self._conversation = ""
        self._model = ""
        self._usage: Json = {}
        self._outputs: dict[int, _Output] = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output."""
        data = mapping(parse(event.data))
        kind = text(data.get("type")) or event.name
        if kind == "conversation.response.started":
            self._conversation = text(data.get("conversation_id")) or self._conversation
        elif kind == "conversation.response.done":
            self._usage, self._complete = mapping(data.get("usage")), True
        elif kind == "conversation.response.error":
            code = integer(data.get("code"))
            self._error = ProviderError("" if code is None else str(code), text(data.get("message")))
        elif kind in _DELTAS:
            return self._read_output(data, _DELTAS[kind])
        else:
            self._error = read_error(data) or self._error
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._error = read_error(body)
        self._conversation = text(body.get("conversation_id"))
        self._usage = mapping(body.get("usage"))
        for position, entry in enumerate(sequence(body.get("outputs"))):
            self._read_output({**mapping(entry), "output_index": position}, text(mapping(entry).get("type")))
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        attributes: dict[str, AttributeValue] = {}
        if self._conversation:
            attributes[genai.CONVERSATION_ID] = self._conversation
        return Response(
            model=self._model,
            usage=_to_usage(self._usage),
            attributes=attributes,
            error=self._error,
            complete=self._complete,
            output=[self._message()] if self._outputs else (),
        )

    def _read_output(self, data: Json, kind: str) -> bool:
        self._model = text(data.get("model")) or self._model
        words, thoughts = _read_text(data.get("content"))
        if self._keep_content and kind in _DELTAS.values():
            output = self._outputs.setdefault(index(data.get("output_index")), _Output(kind))
            output.id = text(data.get("tool_call_id")) or output.id
            output.name = text(data.get("name")) or output.name
            output.text.append(words or text(data.get("arguments")))
            output.arguments = mapping(data.get("arguments")) or output.arguments
            output.reasoning.append(thoughts)
        return kind != "message.output" or bool(words or thoughts)

    def _message(self) -> Message:
        parts: list[Part] = []
        for _, output in sorted(self._outputs.items()):
            arguments = output.arguments or str(output.text)
            if output.kind == "function.call":
                parts.append(content.tool_call(output.id, output.name, arguments))
            elif output.kind == "tool.execution":
                call = {"type": output.name, "arguments": content.parse_arguments(arguments)}
                parts.append({"type": "server_tool_call", "name": output.name, "server_tool_call": call})
            else:
                parts += [content.reasoning(str(output.reasoning))] if output.reasoning else []
                parts += [content.text(str(output.text))] if output.text else []
        return content.message("assistant", parts)


def _to_usage(usage: Json) -> Usage:
    return replace(_tokens(usage), web_searches=count(mapping(usage.get("connectors")).get("web_search")))


def _tokens(usage: Json) -> Usage:
    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    connectors = count(usage.get("connector_tokens"))
    if prompt is None or connectors is None:
        return Usage(input_tokens=prompt, output_tokens=completion)
    apart = total_count(prompt, completion, connectors)
    if apart in (NOT_A_COUNT, integer(usage.get("total_tokens"))):
        prompt = total_count(prompt, connectors)
    return Usage(input_tokens=prompt, output_tokens=completion)


def _read_text(value: object) -> tuple[str, str]:
    """Text and reasoning of a content, which is a string, a part or a list of parts."""
    if isinstance(value, str):
        return value, ""
    answer = thoughts = ""
    for part in map(mapping, sequence(value) or (value,)):
        answer += text(part.get("text"))
        for thought in map(mapping, sequence(part.get("thinking"))):
            thoughts += text(thought.get("text"))
    return answer, thoughts


def _read_entry(entry: Json) -> Message:
    kind = text(entry.get("type"))
    if kind == "function.result":
        response = content.tool_response(text(entry.get("tool_call_id")), entry.get("result"))
        return content.message("tool", [response])
    if kind == "function.call":
        call = content.tool_call(text(entry.get("tool_call_id")), text(entry.get("name")), entry.get("arguments"))
        return content.message("assistant", [call])
    value = entry.get("content")
    parts = [content.text(value)] if isinstance(value, str) else [_read_part(mapping(item)) for item in sequence(value)]
    return content.message(text(entry.get("role")) or "assistant", parts)


def _read_part(item: Json) -> Part:
    kind = text(item.get("type"))
    if kind == "text":
        return content.text(text(item.get("text")))
    if kind == "thinking":
        return content.reasoning(_read_text(item)[1])
    if kind == "image_url":
        image = item.get("image_url")
        return content.media("image", text(image) or text(mapping(image).get("url")))
    if kind == "document_url":
        return content.media("document", text(item.get("document_url")))
    return {"type": kind or "unknown"}
