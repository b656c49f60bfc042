"""Content of Pydantic AI's and Logfire's spans, in the formats that they had.

    gen_ai.{input,output}.messages    format 2 on; parts "thinking", "binary", "image-url" are Pydantic AI's own
    events                            format 1: [{"event.name": "gen_ai.user.message", role, content}, ...,
                                      {"event.name": "gen_ai.choice", message: {}}]
    request_data, response_data       Logfire's format 1: the request, and {message | combined_chunk_content | text}

A system prompt that stands in `gen_ai.system_instructions` is left out of the messages.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce
from tokentrail.backend.dialects.messages import Message, parts_json, read_messages, without_system
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.span import Attributes
from tokentrail.semconv import genai

Json = Mapping[str, object]

_MESSAGES: Final = (genai.INPUT_MESSAGES, genai.OUTPUT_MESSAGES)
_OWN: Final = re.compile(r'"(?:thinking|binary|result)"|-url"|"arguments": ?"|"role": ?"system"')
"""What is to be written in another way, or may stand in the system prompt as well."""
_EVENTS: Final = "events"
_REQUESTED: Final = ("messages", "prompt", "input")
_ANSWERED: Final = ("message", "combined_chunk_content", "text")


def read_messages_of(attributes: Attributes, request: Json, response: Json) -> tuple[list[Message], list[Message]]:
    """What was asked and what was answered; `request` and `response` are those of Logfire's format 1.

    Empty where the messages are as the conventions have them: then they are read as those (`otel_genai`).
    """
    if _is_conventional(attributes):
        return [], []
    inputs: object = _listed(attributes, genai.INPUT_MESSAGES)
    outputs: object = _listed(attributes, genai.OUTPUT_MESSAGES)
    if not inputs and not outputs:
        inputs, outputs = _of_events(_listed(attributes, _EVENTS))
    inputs = inputs or _first(request, _REQUESTED)
    outputs = outputs or _first(response, _ANSWERED)
    asked = read_messages(_legible(inputs), "user") if inputs else []
    answered = read_messages(_legible(outputs), "assistant") if outputs else []
    system = coerce.text(attributes, genai.SYSTEM_INSTRUCTIONS)
    return without_system(asked, system) if system else asked, answered


def read_output(attributes: Attributes) -> Sequence[object]:
    """What was answered as it was captured, in the conventions' words."""
    return _listed(attributes, genai.OUTPUT_MESSAGES)


def _is_conventional(attributes: Attributes) -> bool:
    told = [text for name in _MESSAGES if isinstance(text := attributes.get(name), str)]
    return bool(told) and not any(_OWN.search(text) for text in told)


def read_system(attributes: Attributes, request: Json) -> str:
    """The system prompt as JSON of parts; empty where it stands in the messages or nowhere."""
    told = coerce.opened(coerce.first(attributes, genai.SYSTEM_INSTRUCTIONS)) or request.get("system")
    return parts_json(told) if told else ""


def read_tools(attributes: Attributes, request: Json) -> str:
    """The definitions of the tools, as JSON; empty for none."""
    for name in (genai.TOOL_DEFINITIONS, "model_request_parameters"):
        if told := tools_json(coerce.text(attributes, name)):
            return told
    return tools_json(request.get("tools"))


def _of_events(events: Sequence[object]) -> tuple[list[Json], list[Json]]:
    """Choices are what was answered, or else what the assistant said after all others."""
    told = [event for event in events if isinstance(event, Mapping)]
    answers = [event.get("event.name") == "gen_ai.choice" for event in told]
    if not any(answers):
        last = max((index for index, event in enumerate(told) if event.get("role") != "assistant"), default=-1)
        answers = [index > last for index in range(len(told))]
    bodies = [(_body(event), is_answer) for event, is_answer in zip(told, answers, strict=True)]
    outputs = [body for body, is_answer in bodies if is_answer]
    return [body for body, is_answer in bodies if not is_answer], _joined(outputs)


def _body(event: Json) -> Json:
    """The message of an event; of an item that has no event's form, the item beside a note for people."""
    body = {key: value for key, value in event.items() if not key.startswith(("gen_ai.", "event.")) and key != "index"}
    if isinstance(data := body.pop("data", None), Mapping):
        body["content"] = [data]
    return body


def _joined(answers: list[Json]) -> list[Json]:
    """An answer that comes one item an event, as the one message that it is."""
    if len(answers) < 2 or any("message" in answer for answer in answers):
        return answers
    content: list[object] = []
    calls: list[object] = []
    for answer in answers:
        told, called = answer.get("content"), answer.get("tool_calls")
        content += told if isinstance(told, list) else [told] if told else []
        calls += called if isinstance(called, list) else []
    return [{"role": "assistant", "content": content, "tool_calls": calls}]


def _legible(value: object) -> object:
    """Messages with Pydantic AI's own kinds of parts as others have them."""
    if isinstance(value, list):
        return [_legible(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    kind = value.get("type") or (value.get("kind") if "role" not in value else None)
    if not isinstance(kind, str):
        return {**value, **{name: _legible(value[name]) for name in ("parts", "content", "message") if name in value}}
    if kind == "document-url":
        return {"type": "document", "source": {"type": "url", "url": value.get("url")}}
    if kind.endswith("-url"):
        name = kind.replace("-", "_")
        return {"type": name, name: {"url": value.get("url")}}
    if kind == "binary":
        return {"type": "blob", "mime_type": value.get("media_type"), "content": value.get("content")}
    return {**value, "type": kind}


def _first(told: Json, names: Sequence[str]) -> object:
    return next((found for name in names if (found := told.get(name))), None)


def _listed(attributes: Attributes, name: str) -> list[object]:
    value = coerce.first(attributes, name)
    opened: object = coerce.parse_json(value) if isinstance(value, str) else coerce.plain(value)
    return opened if isinstance(opened, list) else []
