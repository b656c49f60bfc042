"""Gemini's Interactions (https://ai.google.dev/api/interactions-api), as google-genai 3.4.0 speaks it (November 2026).

    request   {"model" | "agent", "input": text | [content] | [step], "system_instruction", "generation_config", ...}
    response  {"id", "status", "model", "steps": [step], "usage", "service_tier", "errors"}
    stream    event: interaction.created     data: {"interaction": {...}, "metadata": {"usage"}}
              event: step.start              data: {"index", "step": {"type"}}
              event: step.delta              data: {"index", "delta": {"type", ...}, "metadata": {"usage"}}
              event: interaction.completed   data: {"interaction": {"status", "usage", ...}}, without its steps
              event: error {"error": {"code", "message"}}, event: done [DONE]

A step is `model_output`, `thought`, `function_call` or the call or result of a tool of Google's. The first versions of
the API had `outputs` in place of steps, and events named `content.*` and `interaction.complete`.
"""

from collections.abc import Iterable
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
from tokentrail.instrumentation.wire._gemini import (
    billed_searches,
    modality_of,
    output_type,
    read_settings,
    sum_by_modality,
)
from tokentrail.instrumentation.wire._json import Json, count, index, mapping, parse, sequence, text, total_count
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

_REASONS: Final = {
    "completed": finish.STOP,
    "requires_action": finish.TOOL_CALL,
    "incomplete": finish.LENGTH,
    "failed": finish.ERROR,
    "cancelled": finish.ERROR,
    **dict.fromkeys(("in_progress", "queued", ""), ""),
}
"""Finish reasons by status: `incomplete` is documented as having come to the limit of tokens. Others stay as is."""
_MEDIA: Final = frozenset({"image", "audio", "video", "document"})
_DELTAS: Final = frozenset({"step.delta", "content.delta"})
_DELTA_BEGINS: Final = (b"event: step.delta\n", b"event: content.delta\n")
_STARTS: Final = frozenset({"step.start", "content.start"})
_SILENT: Final = frozenset({"thought_signature", "text_annotation_delta", ""})
"""Deltas that carry no output."""


class GeminiInteractions:
    """The wire format."""

    name = "gemini_interactions"
    operation = genai.Operation.GENERATE_CONTENT
    routes: tuple[Route, ...] = (Route("/interactions"),)

    def recognises(self, body: Json) -> bool:
        """A model or an agent, and an input."""
        named = isinstance(body.get("model"), str) or isinstance(body.get("agent"), str)
        return named and isinstance(body.get("input"), (str, list, dict))

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes = read_settings(mapping(body.get("generation_config")))
        if previous := text(body.get("previous_interaction_id")):
            attributes[genai.REQUEST_PREVIOUS_RESPONSE_ID] = previous
        if output := _output_type(body):
            attributes[genai.OUTPUT_TYPE] = output
        return Request(text(body.get("model")), body.get("stream") is True, attributes)

    def read_content(self, body: Json) -> RequestContent:
        """System instruction, input and tools of a request."""
        system = text(body.get("system_instruction"))
        tools = [
            {"type": text(tool.get("type")), "name": text(tool.get("name")) or text(tool.get("type"))}
            for tool in map(mapping, sequence(body.get("tools")))
        ]
        return RequestContent(_read_input(body.get("input")), [content.text(system)] if system else (), tools)

    def reader(self, keep_content: bool) -> "InteractionsReader":
        """A reader for one response."""
        return InteractionsReader(keep_content)


@dataclass(slots=True)
class _Step:
    """A step as it began, and what its deltas brought."""

    start: Json
    output: TextBuffer = field(default_factory=TextBuffer)
    """Text, a thought, or the arguments of a call."""
    media: list[Part] = field(default_factory=list)
    fields: dict[str, object] = field(default_factory=dict)
    """What the delta of a tool's call or result holds."""


class InteractionsReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self.news = None if keep_content else _news
        self._keep_content = keep_content
        self._interaction: dict[str, object] = {}
        self._usage: Json = {}
        self._steps: dict[int, _Step] = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output."""
        if event.data == b"[DONE]":
            return False
        data = mapping(parse(event.data))
        kind = text(data.get("event_type")) or event.name
        self._read_usage(data)
        if kind in _DELTAS:
            return self._read_delta(index(data.get("index")), mapping(data.get("delta")))
        if kind in _STARTS:
            return self._read_start(index(data.get("index")), data)
        self._read_other(kind, data)
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._error = read_error(body)
        self._read_interaction(body)
        for position, step in enumerate(sequence(body.get("steps")) or sequence(body.get("outputs"))):
            self._steps[position] = _Step(mapping(step))
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        tier = text(self._interaction.get("service_tier"))
        attributes: dict[str, AttributeValue] = {genai.RESPONSE_SERVICE_TIER: tier} if tier else {}
        model = text(self._interaction.get("model"))
        status = text(self._interaction.get("status"))
        reason = _REASONS.get(status, status)
        return Response(
            id=text(self._interaction.get("id")),
            model=model,
            finish_reasons=[reason] if reason else (),
            usage=_to_usage(self._usage, model),
            service_tier=tier,
            attributes=attributes,
            error=self._error,
            complete=self._complete,
            output=self._output(reason) if self._keep_content else (),
        )

    def _read_other(self, kind: str, data: Json) -> None:
        self._error = read_error(data) or self._error
        if interaction := mapping(data.get("interaction")):
            self._read_interaction(interaction)
        elif status := text(data.get("status")):
            self._interaction["status"] = status
        self._complete = self._complete or kind in ("interaction.completed", "interaction.complete")

    def _read_interaction(self, interaction: Json) -> None:
        for name in ("id", "model", "status", "service_tier"):
            if value := interaction.get(name):
                self._interaction[name] = value
        self._read_usage(interaction)
        for error in sequence(interaction.get("errors")) if interaction.get("status") == "failed" else ():
            self._error = self._error or read_error({"error": error})

    def _read_usage(self, holder: Json) -> None:
        # The counts so far: in the metadata of some events, and at last in the interaction.
        self._usage = (
            mapping(mapping(holder.get("metadata")).get("usage")) or mapping(holder.get("usage")) or self._usage
        )

    def _read_start(self, position: int, data: Json) -> bool:
        step = mapping(data.get("step")) or mapping(data.get("content"))
        if self._keep_content:
            self._steps[position] = _Step(step)
        return text(step.get("type")).endswith("_call") or bool(step.get("text") or step.get("content"))

    def _read_delta(self, position: int, delta: Json) -> bool:
        kind = text(delta.get("type"))
        if self._keep_content:
            self._keep_delta(self._steps.setdefault(position, _Step({})), kind, delta)
        if kind == "text":
            return bool(delta.get("text"))
        return kind not in _SILENT

    def _keep_delta(self, step: _Step, kind: str, delta: Json) -> None:
        if kind == "text":
            step.output.append(text(delta.get("text")))
        elif kind in ("thought_summary", "thought"):
            step.output.append(text(mapping(delta.get("content")).get("text")) or text(delta.get("thought")))
        elif kind == "arguments_delta":
            step.output.append(text(delta.get("arguments")))
        elif kind in _MEDIA:
            step.media.append(_read_content(delta))
        elif kind not in _SILENT:
            step.fields.update({name: value for name, value in delta.items() if name != "type"})

    def _output(self, reason: str) -> list[Message]:
        parts: list[Part] = []
        for _, step in sorted(self._steps.items()):
            parts.extend(_read_step({**step.start, **step.fields}, str(step.output)))
            parts.extend(step.media)
        if not parts and ((self._complete and not reason) or not self._interaction.get("id")):
            # It has only begun, in the background.
            return []
        return [{**content.message("assistant", parts), "finish_reason": reason or finish.ERROR}]


def _news(events: Iterable[bytes]) -> list[bytes]:
    """The events that are no deltas, and the deltas that bring the usage so far with them."""
    return [event for event in events if not event.startswith(_DELTA_BEGINS) or b'"usage"' in event]


def _to_usage(usage: Json, model: str) -> Usage:
    """Inclusive totals: what tools put into the prompt, and thoughts, are counted apart."""
    thoughts = count(usage.get("total_thought_tokens"))
    inputs = _by_modality(usage, "input_tokens_by_modality", "tool_use_tokens_by_modality")
    outputs = _by_modality(usage, "output_tokens_by_modality")
    return Usage(
        input_tokens=total_count(count(usage.get("total_input_tokens")), count(usage.get("total_tool_use_tokens"))),
        output_tokens=total_count(count(usage.get("total_output_tokens")), thoughts),
        cache_read_tokens=count(usage.get("total_cached_tokens")),
        reasoning_tokens=thoughts,
        audio_input_tokens=inputs.get("audio"),
        audio_output_tokens=outputs.get("audio"),
        audio_cache_read_tokens=_by_modality(usage, "cached_tokens_by_modality").get("audio"),
        image_input_tokens=inputs.get("image"),
        image_output_tokens=outputs.get("image"),
        web_searches=_count_searches(usage, model),
    )


def _count_searches(usage: Json, model: str) -> int | None:
    """The billed searches of Google's web; tools for maps and documents have prices of their own."""
    tools = map(mapping, sequence(usage.get("grounding_tool_count")))
    told = total_count(*(count(tool.get("count")) for tool in tools if tool.get("type") == "google_search"))
    return told if told is None or told == NOT_A_COUNT else billed_searches(model, told)


def _by_modality(usage: Json, *names: str) -> dict[str, int]:
    counts = (mapping(item) for name in names for item in sequence(usage.get(name)))
    return sum_by_modality((item.get("modality"), item.get("tokens")) for item in counts)


def _output_type(body: Json) -> str:
    asked = body.get("response_format")
    formats = [mapping(item) for item in (sequence(asked) or [asked])]
    kinds = {text(item.get("type")) for item in formats}
    if "image" in kinds:
        return "image"
    if "audio" in kinds:
        return "speech"
    mime_type = text(body.get("response_mime_type")) or text(formats[0].get("mime_type"))
    if not mime_type and formats[0]:
        # A schema alone asks for JSON, in the place where a format may stand as well.
        mime_type = "" if kinds <= {"text"} and "schema" not in formats[0] else "application/json"
    return output_type(mime_type, body.get("response_modalities"))


# Steps and contents --------------------------------------------------------------------------------------------


def _read_input(value: object) -> list[Message]:
    """The input as messages: contents that stand alone are the user's, in one message when they follow one another."""
    if isinstance(value, str):
        return [content.message("user", [content.text(value)])]
    messages: list[Message] = []
    loose: list[Part] = []
    for item in map(mapping, sequence(value) or [value]):
        if message := _read_input_step(item):
            if loose:
                messages.append(content.message("user", loose))
                loose = []
            messages.append(message)
        elif item:
            loose.append(_read_content(item))
    return [*messages, content.message("user", loose)] if loose else messages


def _read_input_step(item: Json) -> Message | None:
    kind = text(item.get("type"))
    if role := text(item.get("role")):  # a turn, in the first versions of the API
        return content.message("assistant" if role == "model" else role, _read_contents(item.get("content")))
    if kind == "user_input":
        return content.message("user", _read_contents(item.get("content")))
    if kind == "function_result":
        call_id = text(item.get("call_id")) or text(item.get("name"))
        result = item.get("result")
        return content.message(
            "tool", [content.tool_response(call_id, _read_contents(result) if isinstance(result, list) else result)]
        )
    if kind in ("model_output", "thought") or kind.endswith(("_call", "_result")):
        return content.message("assistant", _read_step(item, ""))
    return None


def _read_step(step: Json, arrived: str) -> list[Part]:
    """The parts of a step; `arrived` is what its deltas brought, which its start lacks."""
    kind = text(step.get("type"))
    if kind == "thought":
        thought = "".join(text(mapping(item).get("text")) for item in sequence(step.get("summary"))) + arrived
        return [content.reasoning(thought)] if thought else []
    if kind == "function_call":
        return [content.tool_call(text(step.get("id")), text(step.get("name")), arrived or step.get("arguments"))]
    if kind.endswith("_call"):
        name = kind.removesuffix("_call")
        call = {"type": name, "arguments": step.get("arguments")}
        call_id = text(step.get("id")) or None
        return [{"type": "server_tool_call", "id": call_id, "name": name, "server_tool_call": call}]
    if kind.endswith("_result"):
        result = {"type": kind.removesuffix("_result"), "result": step.get("result")}
        call_id = text(step.get("call_id")) or None
        return [{"type": "server_tool_call_response", "id": call_id, "server_tool_call_response": result}]
    parts = _read_contents(step.get("content")) if kind == "model_output" else []
    if kind not in ("model_output", ""):
        parts = [_read_content({**step, "text": text(step.get("text")) + arrived})]
        arrived = ""
    return [*parts, content.text(arrived)] if arrived else parts


def _read_contents(value: object) -> list[Part]:
    if isinstance(value, str):
        return [content.text(value)]
    return [_read_content(mapping(item)) for item in sequence(value)]


def _read_content(item: Json) -> Part:
    kind = text(item.get("type"))
    if kind in _MEDIA:
        mime_type = text(item.get("mime_type"))
        if data := text(item.get("data")):
            return content.blob(kind, data, mime_type)
        uri = text(item.get("uri"))
        return content.media(kind, uri, mime_type) if "://" in uri else content.file(kind, uri)
    if kind == "text" or (not kind and "text" in item):
        return content.text(text(item.get("text")))
    return {"type": kind or modality_of(text(item.get("mime_type")))}
