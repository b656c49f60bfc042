"""What Google's formats share: contents and their parts, settings, usage.

    content   {"role": "user" | "model" | "function", "parts": [part]}
    part      {"text", "thought"} | {"inlineData"} | {"fileData"} | {"functionCall"} | {"functionResponse"} | ...
    usage     {"promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "promptTokensDetails": [...], ...}

Requests may be written in camel case or in snake case, as protobuf's JSON mapping allows; responses are in camel case.
A client that asks for `enum-encoding=int` gets enumerations as their numbers (https://cloud.google.com/apis/docs/
system-parameters). Names and numbers were read in google-genai 3.4.0, google-cloud-aiplatform 2.7.0 and
google-ai-generativelanguage 0.12.1, November 2026.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, Part
from tokentrail.instrumentation.wire._base import AttributeValue
from tokentrail.instrumentation.wire._json import Json, count, integer, mapping, number, sequence, text, total_count
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_ROLES: Final = {"model": "assistant", "function": "tool", "": "user"}
_SETTINGS: Final[tuple[tuple[str, str, type], ...]] = (
    ("temperature", genai.REQUEST_TEMPERATURE, float),
    ("topP", genai.REQUEST_TOP_P, float),
    ("topK", genai.REQUEST_TOP_K, int),
    ("maxOutputTokens", genai.REQUEST_MAX_TOKENS, int),
    ("seed", genai.REQUEST_SEED, int),
    ("frequencyPenalty", genai.REQUEST_FREQUENCY_PENALTY, float),
    ("presencePenalty", genai.REQUEST_PRESENCE_PENALTY, float),
)
_OUTPUT_TYPES: Final = {"IMAGE": "image", "AUDIO": "speech"}
"""What asking for a modality beside text makes of the output, the conventions' words."""
_MODALITIES: Final[Mapping[object, str]] = {2: "image", "IMAGE": "image", 4: "audio", "AUDIO": "audio"}
"""Modalities that a usage counts apart, by name and number; the API writes them in lower case elsewhere."""
_TRAFFIC: Final[Mapping[object, str]] = {
    **dict.fromkeys((1, "ON_DEMAND"), "on_demand"),
    **dict.fromkeys((2, "PROVISIONED_THROUGHPUT"), "provisioned_throughput"),
    **dict.fromkeys((3, "ON_DEMAND_PRIORITY"), "priority"),
    **dict.fromkeys((4, "ON_DEMAND_FLEX"), "flex"),
    "ON_DEMAND_OFFPEAK": "offpeak",
}
"""Vertex AI's traffic types, in the words that the Gemini API has for its service tiers where it has some."""
_BILLED_BY_PROMPT: Final = re.compile(r"gemini-(?:[a-z]+-)*[12](?:[.-]|$)")
"""Models up to Gemini 2.5, whose searches are billed as one, however many a prompt takes."""
_TRAFFIC_UNKNOWN: Final = "TRAFFIC_TYPE_UNSPECIFIED"
_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")


@lru_cache(maxsize=128)
def _snake(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()


def get(body: Json, name: str) -> object:
    """The field `name`, given in camel case, however the client wrote it."""
    value = body.get(name)
    return body.get(_snake(name)) if value is None else value


# Content -------------------------------------------------------------------------------------------------------


def read_message(item: Json) -> Message:
    """A content as a message; one that holds nothing but function responses comes from a tool."""
    parts = read_parts(item)
    role = text(item.get("role"))
    answers = bool(parts) and all(part["type"] == "tool_call_response" for part in parts)
    return content.message("tool" if answers else _ROLES.get(role, role), parts)


def read_parts(item: object) -> list[Part]:
    """The parts of a content; a text stands for a content with a single one."""
    if isinstance(item, str):
        return [content.text(item)]
    return [part for value in sequence(mapping(item).get("parts")) if (part := read_part(mapping(value)))]


def read_part(part: Json) -> Part | None:
    """One part, or `None` for one that says nothing: the signature of a thought stands alone in some."""
    if isinstance(value := part.get("text"), str):
        if part.get("thought") is True:
            return content.reasoning(value) if value else None
        return content.text(value) if value else None
    for name, read in _PARTS:
        if fields := mapping(get(part, name)):
            return read(fields)
    kinds = [name for name in part if name not in ("thought", "thoughtSignature", "thought_signature")]
    return {"type": _snake(kinds[0][:64])} if kinds else None


def _read_call(call: Json) -> Part:
    return content.tool_call(text(call.get("id")), text(call.get("name")), mapping(call.get("args")))


def _read_answer(answer: Json) -> Part:
    response = answer.get("response")
    # Its parts are media: another answer among them is not followed, however deep they are nested.
    media = [
        read(fields)
        for part in map(mapping, sequence(answer.get("parts")))
        for name, read in _MEDIA_PARTS
        if (fields := mapping(get(part, name)))
    ]
    # Without an id, which the API does not insist on, the function's name says which call is answered.
    part = content.tool_response(text(answer.get("id")), [response, *media] if media else response)
    return {**part, "name": text(answer.get("name"))}


def _read_inline(data: Json) -> Part:
    mime_type = text(get(data, "mimeType"))
    return content.blob(modality_of(mime_type), text(data.get("data")), mime_type)


def _read_file(data: Json) -> Part:
    mime_type, uri = text(get(data, "mimeType")), text(get(data, "fileUri"))
    if "://" not in uri:
        return content.file(modality_of(mime_type), uri)
    return content.media(modality_of(mime_type), uri, mime_type)


def _read_code(code: Json) -> Part:
    call = {"type": "code_execution", "language": _word(code.get("language")), "code": text(code.get("code"))}
    return _server_call(text(code.get("id")), "code_execution", call)


def _read_code_result(result: Json) -> Part:
    answer = {"type": "code_execution", "outcome": _word(result.get("outcome")), "output": text(result.get("output"))}
    return _server_response(text(result.get("id")), answer)


def _read_server_call(call: Json) -> Part:
    kind = _word(get(call, "toolType")) or "tool"
    return _server_call(text(call.get("id")), kind, {"type": kind, "arguments": mapping(call.get("args"))})


def _read_server_response(answer: Json) -> Part:
    kind = _word(get(answer, "toolType")) or "tool"
    return _server_response(text(answer.get("id")), {"type": kind, "response": mapping(answer.get("response"))})


def _server_call(call_id: str, name: str, call: Json) -> Part:
    return {"type": "server_tool_call", "id": call_id or None, "name": name, "server_tool_call": call}


def _server_response(call_id: str, response: Json) -> Part:
    return {"type": "server_tool_call_response", "id": call_id or None, "server_tool_call_response": response}


def _word(value: object) -> str:
    """An enumeration's value in lower case, a number as it is."""
    found = integer(value)
    return text(value).lower() if found is None else str(found)


_MEDIA_PARTS: Final = (("inlineData", _read_inline), ("fileData", _read_file))
_PARTS: Final = (
    ("functionCall", _read_call),
    ("functionResponse", _read_answer),
    *_MEDIA_PARTS,
    ("executableCode", _read_code),
    ("codeExecutionResult", _read_code_result),
    ("toolCall", _read_server_call),
    ("toolResponse", _read_server_response),
)


def modality_of(mime_type: str) -> str:
    """The conventions' modality of a media type."""
    head = mime_type.partition("/")[0].lower()
    return head if head in ("image", "audio", "video") else "document"


def read_tools(tools: object) -> list[dict[str, object]]:
    """Tool definitions: a function by its name, a tool of the provider by its kind."""
    found: list[dict[str, object]] = []
    for tool in map(mapping, sequence(tools)):
        for name in tool:
            if _snake(name) == "function_declarations":
                declared = map(mapping, sequence(tool[name]))
                found.extend({"type": "function", "name": text(function.get("name"))} for function in declared)
            else:
                found.append({"type": _snake(name), "name": _snake(name)})
    return found


# Settings ------------------------------------------------------------------------------------------------------


def read_settings(config: Json) -> dict[str, AttributeValue]:
    """Span attributes of a generation config."""
    attributes: dict[str, AttributeValue] = {}
    for name, attribute, kind in _SETTINGS:
        value = integer(get(config, name)) if kind is int else number(get(config, name))
        if value is not None:
            attributes[attribute] = value
    if (choices := integer(get(config, "candidateCount"))) is not None and choices != 1:
        attributes[genai.REQUEST_CHOICE_COUNT] = choices
    if stop := [item for item in sequence(get(config, "stopSequences")) if isinstance(item, str)]:
        attributes[genai.REQUEST_STOP_SEQUENCES] = stop
    thinking = mapping(get(config, "thinkingConfig"))
    if level := text(get(thinking, "thinkingLevel")) or text(get(config, "thinkingLevel")):
        attributes[genai.REQUEST_REASONING_LEVEL] = level
    if output := output_type(text(get(config, "responseMimeType")), get(config, "responseModalities")):
        attributes[genai.OUTPUT_TYPE] = output
    return attributes


def output_type(mime_type: str, modalities: object) -> str:
    """The conventions' output type for what was asked, empty when nothing was."""
    asked = {text(item).upper() for item in sequence(modalities)}
    for modality, output in _OUTPUT_TYPES.items():
        if modality in asked:
            return output
    if not mime_type:
        return "text" if asked == {"TEXT"} else ""
    return "json" if mime_type == "application/json" else "text" if mime_type.startswith("text/") else ""


# Usage ---------------------------------------------------------------------------------------------------------


def read_usage(usage: Json) -> Usage:
    """Usage metadata as inclusive totals: what tools put into the prompt, and thoughts, are counted apart by Google.

    `promptTokenCount` holds what came from the cache. A count of 0 is left out by the JSON mapping, so that an output
    counts as reported when one of its two parts is.
    """
    prompt, tool_use = count(usage.get("promptTokenCount")), count(usage.get("toolUsePromptTokenCount"))
    candidates, thoughts = count(usage.get("candidatesTokenCount")), count(usage.get("thoughtsTokenCount"))
    inputs = _by_modality(usage, "promptTokensDetails", "toolUsePromptTokensDetails")
    outputs = _by_modality(usage, "candidatesTokensDetails")
    return Usage(
        input_tokens=total_count(prompt, tool_use),
        output_tokens=total_count(candidates, thoughts),
        cache_read_tokens=count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        audio_input_tokens=inputs.get("audio"),
        audio_output_tokens=outputs.get("audio"),
        audio_cache_read_tokens=_by_modality(usage, "cacheTokensDetails").get("audio"),
        image_input_tokens=inputs.get("image"),
        image_output_tokens=outputs.get("image"),
    )


def billed_searches(model: str, queries: int, *, is_grounded: bool = True) -> int:
    """The searches that are billed for as many `queries`, those that are empty or were made before left out.

    Since Gemini 3 each query is; up to 2.5 it is the prompt, where it found something (https://ai.google.dev/gemini-api/
    docs/google-search and https://cloud.google.com/vertex-ai/generative-ai/pricing, read 2026-11-21).
    """
    if _BILLED_BY_PROMPT.search(model):
        return min(queries, 1) if is_grounded else 0
    return queries


def read_tier(usage: Json) -> str:
    """The tier that served a request: the Gemini API names it, Vertex AI tells the type of traffic."""
    if tier := text(usage.get("serviceTier")):
        return tier
    value = usage.get("trafficType")
    if isinstance(value, str):
        return "" if value == _TRAFFIC_UNKNOWN else _TRAFFIC.get(value, value.lower())
    return _TRAFFIC.get(integer(value), "")


def _by_modality(usage: Json, *names: str) -> dict[str, int]:
    details = (mapping(item) for name in names for item in sequence(usage.get(name)))
    return sum_by_modality((item.get("modality"), item.get("tokenCount")) for item in details)


def sum_by_modality(counts: Iterable[tuple[object, object]]) -> dict[str, int]:
    """Tokens of images and audio, from pairs of a modality (name or number) and a count."""
    sums: dict[str, int] = {}
    for modality, value in counts:
        key = modality.upper() if isinstance(modality, str) else integer(modality)
        name, tokens = _MODALITIES.get(key), count(value)
        if name is not None and tokens is not None:
            sums[name] = total_count(sums.get(name), tokens) or 0
    return sums
