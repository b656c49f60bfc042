"""Captured content of `gen_ai.*` spans of every era, as JSON texts of the row; empty where nothing was captured.

Attributes beat span events. Eras: message attributes (v1.37 on; text or structured), the details event, per-message
events `gen_ai.<role>.message` and `gen_ai.choice` (v1.28 to v1.36), `gen_ai.content.*` events and `gen_ai.prompt` /
`gen_ai.completion` (before).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.dialects import coerce
from tokentrail.backend.dialects.messages import messages_json, parts_json
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.span import Attributes, Event, Span, Value
from tokentrail.semconv import genai

_PROMPT_OLD: Final = "gen_ai.prompt"
_COMPLETION_OLD: Final = "gen_ai.completion"
_PROMPT_EVENT_OLD: Final = "gen_ai.content.prompt"
_COMPLETION_EVENT_OLD: Final = "gen_ai.content.completion"
_CHOICE_EVENT_OLD: Final = "gen_ai.choice"
_INPUT_EVENTS_OLD: Final = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
MESSAGE_EVENTS: Final = (*_INPUT_EVENTS_OLD, _CHOICE_EVENT_OLD)
"""Names of events that hold one message each."""
_EVENT_CONTENT_OLD: Final = "gen_ai.event.content"
"""The message as JSON in one attribute, as .NET and Azure write it."""
CONTENT: Final = (
    *(genai.INPUT_MESSAGES, genai.OUTPUT_MESSAGES, genai.SYSTEM_INSTRUCTIONS, genai.TOOL_DEFINITIONS),
    *(_PROMPT_OLD, _COMPLETION_OLD),
)
"""Attributes that hold content. A span with none of them, and without events, has none."""
_OTHER_DEFINITIONS: Final = ('"function":', '"input_schema"', '"toolSpec"', '"functionDeclarations"')
"""What definitions of tools have in the providers' shapes, and not in the conventions'."""


@dataclass(frozen=True, slots=True)
class Content:
    """The four content fields of `Row`."""

    input_messages: str = ""
    output_messages: str = ""
    system: str = ""
    tools: str = ""


def read_content(span: Span) -> Content:
    """The captured content of `span`."""
    details = next((event.attributes for event in span.events if event.name == genai.INFERENCE_DETAILS_EVENT), {})
    current = {**details, **span.attributes} if details else span.attributes
    tools = coerce.first(current, genai.TOOL_DEFINITIONS)
    return Content(
        input_messages=_current(span.attributes, details, genai.INPUT_MESSAGES, "user") or _old_input(span),
        output_messages=_current(span.attributes, details, genai.OUTPUT_MESSAGES, "assistant") or _old_output(span),
        system=_system(coerce.first(current, genai.SYSTEM_INSTRUCTIONS)),
        tools=tools if isinstance(tools, str) and _are_definitions(tools) else tools_json(_opened(tools)),
    )


def choice_reasons(span: Span) -> tuple[str, ...]:
    """Why the choices ended that per-message events tell, as they tell it."""
    told = (_event_message(event.attributes) for event in span.events if event.name == _CHOICE_EVENT_OLD)
    return tuple(reason for each in told if isinstance(reason := each.get("finish_reason"), str) and reason)


def _current(attributes: Attributes, details: Attributes, name: str, role: str) -> str:
    value = coerce.first(attributes, name)
    value = coerce.first(details, name) if value is None else value
    if isinstance(value, str) and _are_messages(value):
        return value  # already the conventions' JSON: kept to the byte
    return _messages(value, role)


def _are_messages(value: str) -> bool:
    if not _is_list(value) or '"parts"' not in value or '"type"' not in value:  # Gemini's parts have no type
        return False
    return '"tool_call_response"' not in value or '"result"' not in value  # the old name of `response`


def _system(value: Value) -> str:
    if isinstance(value, str) and _is_list(value) and '"type"' in value and '"content"' in value:
        return value
    return "" if value is None else parts_json(_opened(value))


def _are_definitions(value: str) -> bool:
    return _is_list(value) and not any(mark in value for mark in _OTHER_DEFINITIONS)


def _is_list(value: str) -> bool:
    """True for what looks like a JSON list of objects; what a limit of lengths has cut hardly ever does."""
    return value.startswith("[") and value.endswith("}]")


def _old_input(span: Span) -> str:
    value = coerce.first(span.attributes, _PROMPT_OLD)
    if value is None:
        value = _event_value(span.events, _PROMPT_EVENT_OLD, _PROMPT_OLD)
    if value is not None:
        return _messages(value, "user")
    return _per_message(span.events, lambda event: _INPUT_EVENTS_OLD.get(event.name))


def _old_output(span: Span) -> str:
    value = coerce.first(span.attributes, _COMPLETION_OLD)
    if value is None:
        value = _event_value(span.events, _COMPLETION_EVENT_OLD, _COMPLETION_OLD)
    if value is not None:
        return _messages(value, "assistant")
    return _per_message(span.events, lambda event: "assistant" if event.name == _CHOICE_EVENT_OLD else None)


def _event_value(events: tuple[Event, ...], event_name: str, attribute: str) -> Value:
    return next((coerce.first(event.attributes, attribute) for event in events if event.name == event_name), None)


def _per_message(events: tuple[Event, ...], role_of: Callable[[Event], str | None]) -> str:
    """Per-message events carry no index: their times order them, and where those are equal, their arrival."""
    messages = [
        {"role": role, **_event_message(event.attributes)}
        for event in sorted(events, key=lambda event: event.time_ns)
        if (role := role_of(event))
    ]
    return messages_json(messages, "user") if messages else ""


def _event_message(attributes: Attributes) -> dict[str, object]:
    body = _opened(attributes.get(_EVENT_CONTENT_OLD))
    if isinstance(body, dict):
        return body
    message = {key: _opened(value) for key, value in attributes.items() if not key.startswith("gen_ai.")}
    return message if body is None else {**message, "content": body}


def _messages(value: Value, role: str) -> str:
    return "" if value is None else messages_json(_opened(value), role)


def _opened(value: Value) -> object:
    """Structured values as they are, JSON in strings parsed, any other text as it is."""
    if isinstance(value, str):
        parsed = coerce.parse_json(value)
        return value if parsed is None else parsed
    return coerce.plain(value)
