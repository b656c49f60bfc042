"""The second reading of Gemini's formats, at AI Studio and at Vertex.

- generateContent, streamGenerateContent: https://ai.google.dev/api/generate-content, and for Vertex
  https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse
- batchEmbedContents: https://ai.google.dev/api/embeddings
- interactions: https://ai.google.dev/api/interactions-api

Google's clients may ask for enumerations as numbers (`$alt=json;enum-encoding=int`); the numbers are those of the
protocol buffers that the documentation is made from.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from support import expected_values as values
from support.expected_framings import events, items
from support.expected_values import Choice, Expected, Json, ToolCall, finish_reason, positive, string
from support.wire import Exchange, Format, Framing

_FINISH_NUMBERS: Final = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}
_MODALITY_NUMBERS: Final = {1: "TEXT", 2: "IMAGE", 3: "VIDEO", 4: "AUDIO", 5: "DOCUMENT"}
_STATUS: Final = {"completed": "stop", "incomplete": "length", "requires_action": "tool_call", "in_progress": ""}
"""Canonical word by the state of an interaction; one that goes on has none."""


def read(exchange: Exchange) -> Expected:
    """Read an exchange with Gemini."""
    request = exchange.request_json()
    if exchange.format is Format.INTERACTIONS:
        return _read_interaction(exchange, request)
    model = unquote(exchange.path.rpartition("/models/")[2].partition(":")[0])
    if exchange.format is Format.BATCH_EMBED:
        return values.base(exchange, "embeddings", model, stream=False)
    expected = replace(
        values.base(exchange, "generate_content", model, stream=exchange.format is Format.STREAM_GENERATE),
        user_text="".join(
            _text(content["parts"]) for content in request["contents"] if content.get("role", "user") == "user"
        ),
        system_text=_text((request.get("systemInstruction") or {}).get("parts", ())),
    )
    if exchange.status >= 400:
        error = json.loads(exchange.response_body)["error"]
        return replace(expected, error_type=error["status"], error_message=error["message"])
    return _read_parts(expected, _parts(exchange))


def _parts(exchange: Exchange) -> list[Json]:
    if exchange.framing is Framing.SSE:
        return list(events(exchange.response_body))
    if exchange.framing is Framing.ARRAY:
        return items(exchange.response_body)
    return [json.loads(exchange.response_body)]


def _read_parts(expected: Expected, parts: list[Json]) -> Expected:
    """The answer that `parts` add up to; counts are cumulative, the last one told is right."""
    candidates: dict[int, list[Json]] = {}
    usage: Json = {}
    for part in parts:
        usage |= part.get("usageMetadata") or {}
        for candidate in part["candidates"]:
            candidates.setdefault(candidate.get("index", 0), []).append(candidate)
    return replace(
        expected,
        response_model=parts[-1]["modelVersion"],
        response_id=parts[-1]["responseId"],
        # What a tool found is charged as input, and is not in the count of the prompt; thoughts are output.
        # Where it has read files by itself, it sometimes counts nothing.
        input_tokens=_sum(usage, "promptTokenCount", "toolUsePromptTokenCount"),
        output_tokens=_sum(usage, "candidatesTokenCount", "thoughtsTokenCount"),
        cache_read_tokens=usage.get("cachedContentTokenCount") or None,
        reasoning_tokens=usage.get("thoughtsTokenCount") or None,
        modalities=positive(
            {
                f"{name}.{direction}": sum(
                    detail["tokenCount"]
                    for field in fields
                    for detail in usage.get(field, ())
                    if _modality(detail) == name
                )
                for direction, fields in {
                    "input": ("promptTokensDetails", "toolUsePromptTokensDetails"),
                    "output": ("candidatesTokensDetails",),
                }.items()
                for name in ("audio", "image")
            }
        ),
        finish_reasons=tuple(_finish(candidates[index]) for index in sorted(candidates)),
        choices=tuple(_choice(candidates[index]) for index in sorted(candidates)),
    )


def _choice(pieces: Iterable[Json]) -> Choice:
    parts = [part for piece in pieces for part in piece["content"].get("parts", ())]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    return Choice(
        text=_text(part for part in parts if not part.get("thought")),
        reasoning=_text(part for part in parts if part.get("thought")),
        tool_calls=tuple(ToolCall(call.get("id", ""), call["name"], call.get("args", {})) for call in calls),
    )


def _finish(pieces: Iterable[Json]) -> str:
    word = next(piece["finishReason"] for piece in pieces if piece.get("finishReason"))
    return finish_reason(_FINISH_NUMBERS[word] if isinstance(word, int) else word)


def _modality(detail: Json) -> str:
    word = detail["modality"]
    return str(_MODALITY_NUMBERS[word] if isinstance(word, int) else word).lower()


def _sum(usage: Json, *names: str) -> int | None:
    counts = [usage[name] for name in names if name in usage]
    return sum(counts) if counts else None


def _text(parts: Iterable[Json]) -> str:
    return "".join(part.get("text", "") for part in parts)


# Interactions ---------------------------------------------------------------------------------------------------


def _read_interaction(exchange: Exchange, request: Json) -> Expected:
    parts = list(events(exchange.response_body)) if exchange.is_sse else []
    body = _interaction_from(parts) if parts else json.loads(exchange.response_body)
    usage = body.get("usage") or {}
    finish = _STATUS[body["status"]]
    return replace(
        values.base(exchange, "generate_content", request.get("model"), stream=request.get("stream") is True),
        user_text=values.text_of(request["input"]),
        system_text=string(request.get("system_instruction")),
        response_model=string(body.get("model")),
        response_id=body["id"],
        input_tokens=(usage["total_input_tokens"] + usage["total_tool_use_tokens"]) if usage else None,
        output_tokens=(usage["total_output_tokens"] + usage["total_thought_tokens"]) if usage else None,
        cache_read_tokens=usage.get("total_cached_tokens") or None,
        reasoning_tokens=usage.get("total_thought_tokens") or None,
        modalities=positive(
            {
                f"{detail['modality']}.input": detail["tokens"]
                for detail in usage.get("input_tokens_by_modality", ())
                if detail["modality"] != "text"
            }
        ),
        finish_reasons=(finish,) if finish else (),
        choices=(_interaction_choice(body["steps"]),) if body.get("steps") else (),
    )


def _interaction_from(parts: list[Json]) -> Json:
    """An interaction as it would have come in one piece: the last event has all but the steps."""
    steps: dict[int, Json] = {}
    for part in parts:
        if part["event_type"] == "step.start":
            steps[part["index"]] = part["step"] | {"content": [], "summary": []}
        elif part["event_type"] == "step.delta":
            delta, step = part["delta"], steps[part["index"]]
            if delta["type"] == "text":
                step["content"].append(delta)
            elif delta["type"] == "thought_summary":
                step["summary"].append(delta["content"])
            else:
                assert delta["type"] == "thought_signature", f"unknown delta {delta['type']}"
    last: Json = parts[-1]["interaction"]
    return last | {"steps": [steps[index] for index in sorted(steps)]}


def _interaction_choice(steps: Iterable[Json]) -> Choice:
    contents: dict[str, list[Json]] = {"model_output": [], "thought": []}
    for step in steps:
        contents[step["type"]] += step.get("summary" if step["type"] == "thought" else "content") or []
    return Choice(text=values.text_of(contents["model_output"]), reasoning=values.text_of(contents["thought"]))
