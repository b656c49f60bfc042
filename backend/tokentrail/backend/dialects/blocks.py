"""One block of a message's content, in whatever provider's shape, as one part of the conventions.

    OpenAI      {"type": "text" | "input_text" | "output_text" | "refusal" | "image_url" | "input_image" |
                 "input_audio" | "file" | "input_file" | "function" | "function_call" | "function_call_output" |
                 "reasoning", ...}
    Anthropic   {"type": "text" | "image" | "document" | "tool_use" | "tool_result" | "thinking", ...}
    Bedrock     {"text"} {"toolUse"} {"toolResult"} {"reasoningContent"} {"image"} {"document"} {"video"}
    Gemini      {"text", "thought"} {"functionCall"} {"functionResponse"} {"inlineData"} {"fileData"}, or in snake case
    Genkit      {"text"} {"media"} {"toolRequest"} {"toolResponse"} {"reasoning"}
    Vercel      {"type": "text" | "reasoning" | "tool-call" | "tool-result" | "image" | "file", ...}
    LangChain   {"type": "text" | "image" | "audio" | "media" | "tool_call" | "reasoning", ...}

A block that nobody here knows is kept whole, without large binaries: a generic part is an object with a `type`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from tokentrail.backend.dialects.media import Part, blob, located, media, modality_of, pruned

Block = Mapping[str, object]

_IDS: Final = ("call_id", "tool_call_id", "tool_use_id", "toolCallId", "toolUseId", "id", "ref")
"""The id of an item of OpenAI's Responses is another than that of its call."""


def read_block(block: object) -> Part | None:
    """The part that `block` is, or `None` for one that says nothing (a cache mark, an embedding). Raises nothing."""
    if isinstance(block, str):
        return text(block)
    if not isinstance(block, Mapping):
        return None if block is None else text(_dumped(pruned(block)))
    kind = block.get("type")
    reader = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    if reader is not None:
        return reader(block)
    for name, of_key in () if isinstance(kind, str) and kind else _BY_KEY:
        if block.get(name) is not None and (found := of_key(block)) is not None:
            return found
    if not block or any(mark in block for mark in _SAY_NOTHING):
        return None
    return _generic(block)


def text(content: str) -> Part:
    """A text part."""
    return {"type": "text", "content": content}


def reasoning(content: str) -> Part:
    """A reasoning part; empty where the provider encrypts or redacts it."""
    return {"type": "reasoning", "content": content}


def tool_call(call: object) -> Part:
    """A call of a tool: OpenAI's `{id, function: {name, arguments}}`, or `{id, name, arguments | args | input}`."""
    if not isinstance(call, Mapping):
        return {"type": "tool_call", "id": None, "name": str(call)}
    function = call.get("function")
    source = function if isinstance(function, Mapping) else call
    return {
        "type": "tool_call",
        "id": identity(call),
        "name": _first_text(source, "name", "toolName", "tool_name"),
        "arguments": arguments(_first(source, "arguments", "args", "input")),
    }


def tool_response(block: Block, *names: str) -> Part:
    """What a tool answered; `names` are where the answer may be, in the order to ask."""
    response = arguments(_first(block, *(names or ("response", "result", "content", "output"))))
    return {"type": "tool_call_response", "id": identity(block), "response": _unwrapped(response)}


def identity(block: Block) -> str | None:
    """The id of the call of a tool, of the call itself and of what the tool answered."""
    for name in _IDS:
        if isinstance(found := block.get(name), str) and found:
            return found
    return None


def arguments(raw: object) -> object:
    """Arguments as the object that a JSON string holds; any other text as it is."""
    if isinstance(raw, str) and raw[:1] in ("{", "["):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            return raw
    return pruned(raw)


def _unwrapped(response: object) -> object:
    """Vercel's `{"type": "json" | "text" | ..., "value": x}` as `x`."""
    if isinstance(response, Mapping) and set(response) <= {"type", "value", "providerOptions"} and "value" in response:
        return response["value"]
    return response


def _first(source: Block, *names: str) -> object:
    return next((value for name in names if (value := source.get(name)) is not None), None)


def _first_text(source: Block, *names: str) -> str:
    value = _first(source, *names)
    return value if isinstance(value, str) else ""


def _text(block: Block) -> Part:
    value = _first(block, "text", "content", "input")
    if isinstance(value, Mapping):  # of OpenAI's assistants: with annotations
        value = _first(value, "value", "text", "content")
    content = value if isinstance(value, str) else "" if value is None else _dumped(pruned(value))
    return reasoning(content) if block.get("thought") is True else text(content)


def _refusal(block: Block) -> Part:
    return {"type": "refusal", "content": _first_text(block, "refusal", "content", "text")}


def _reasoning(block: Block) -> Part:
    content = _first_text(block, "content", "thinking", "reasoning", "text")
    for name in ("content", "summary", "thinking"):  # OpenAI's Responses and Mistral: lists of texts
        pieces = block.get(name)
        if not content and isinstance(pieces, list):
            content = "\n".join(_first_text(piece, "text") for piece in pieces if isinstance(piece, Mapping))
    return reasoning(content)


def _reasoning_of_bedrock(block: Block) -> Part:
    inner = _mapping(block.get("reasoningContent"))
    return reasoning(_first_text(_mapping(inner.get("reasoningText")), "text"))


def _tool_response_of_kind(block: Block) -> Part:
    if any(name in block for name in ("error", "errorText")) and _first(block, "output", "result") is None:
        return tool_response(block, "error", "errorText")
    return tool_response(block, "output", "result", "content", "response")


def _server_tool_call(block: Block) -> Part:
    call = {"type": _first_text(block, "name") or "tool", "input": pruned(block.get("input"))}
    return {"type": "server_tool_call", "id": identity(block), "name": call["type"], "server_tool_call": call}


def _medium(modality: str) -> Callable[[Block], Part]:
    def read(block: Block) -> Part:
        inner = (_mapping(block.get(name)) for name in ("source", "file", str(block.get("type"))))
        found = (media(each, modality) for each in (block, *inner))
        return next((part for part in found if part is not None), None) or _generic(block)

    return read


def _file(block: Block) -> Part:
    inner, modality = _mapping(block.get("file")) or block, _first_text(block, "modality")
    found = media(inner, modality) or media(block, modality)
    if found is None:
        return _generic(block)
    name = _first_text(inner, "filename", "file_name", "name")
    return {**found, "name": name} if name else found


def _document_text(source: Block) -> Part | None:
    """Anthropic's documents may be plain text, or blocks."""
    content = _first_text(source, "data", "content", "text")
    return text(content) if content else None


def _document(block: Block) -> Part:
    source = _mapping(block.get("source"))
    if source.get("type") in ("text", "content"):
        return _document_text(source) or _generic(block)
    return _medium("document")(block)


def _input_audio(block: Block) -> Part:
    inner = _mapping(block.get("input_audio")) or block
    return blob("audio", _first_text(inner, "data"), f"audio/{_first_text(inner, 'format') or 'wav'}")


def _known(block: Block) -> Part:
    """A part that has the conventions' form already, but for what is too large in it."""
    content = _first_text(block, "content", "data", "uri")
    mime_type = _first_text(block, "mime_type", "mimeType")
    if not content or (block["type"] == "uri" and content[:5].lower() != "data:"):
        return _generic(block)  # a reference to a blob or to a URL
    return located(_first_text(block, "modality") or modality_of(mime_type), content, mime_type)


def _call_of_convention(block: Block) -> Part:
    """As `tool_call`, with whatever else the conventions' part holds."""
    call = tool_call(block)
    if "arguments" not in block and call["arguments"] is None:
        del call["arguments"]
    extra = {key: pruned(value) for key, value in block.items() if key not in (*call, "args", "input", "function")}
    return {**call, **extra}


def _inline_data(name: str) -> Callable[[Block], Part | None]:
    return lambda block: media(_mapping(block.get(name)))


def _bedrock_medium(modality: str) -> Callable[[Block], Part | None]:
    def read(block: Block) -> Part | None:
        medium = _mapping(block.get(modality))
        kind = _first_text(medium, "format")
        mime_type = f"{'application' if modality == 'document' else modality}/{kind}" if kind else ""
        source = _mapping(medium.get("source"))
        return media(_mapping(source.get("s3Location")) or source or medium, modality, mime_type)

    return read


def _generic(block: Block) -> Part:
    """The block as it came; one without a type gets the name of its only field, as Gemini's and Bedrock's have it."""
    kept = pruned(block)
    if not isinstance(kept, dict) or not kept:
        return text(_dumped(kept))
    if isinstance(kept.get("type"), str):
        return kept
    told = [name for name, value in kept.items() if value is not None]
    if len(told) == 1 and isinstance(kept[told[0]], dict):
        return {"type": told[0], **{key: value for key, value in kept[told[0]].items() if key != "type"}}
    return text(_dumped(kept))


def _mapping(value: object) -> Block:
    return value if isinstance(value, Mapping) else {}


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _function(block: Block) -> Part:
    """An item of OpenAI's `tool_calls` that stands among the content; a definition of a function is none."""
    if _first(_mapping(block.get("function")), "arguments", "args", "input") is None and identity(block) is None:
        return _generic(block)
    return tool_call(block)


def _inner(name: str, read: Callable[[Block], Part]) -> Callable[[Block], Part | None]:
    return lambda block: read(inner) if isinstance(inner := block.get(name), Mapping) else None


_BY_TYPE: Final[Mapping[str, Callable[[Block], Part]]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "summary_text"), _text),
    "refusal": _refusal,
    **dict.fromkeys(("reasoning", "thinking", "redacted_thinking", "reasoning_text", "redacted-reasoning"), _reasoning),
    **dict.fromkeys(("tool_use", "function_call", "custom_tool_call", "tool-call"), tool_call),
    "function": _function,
    **dict.fromkeys(
        ("tool_result", "function_call_output", "custom_tool_call_output", "tool-result", "tool-error"),
        _tool_response_of_kind,
    ),
    "tool_call_response": _tool_response_of_kind,
    "server_tool_use": _server_tool_call,
    **dict.fromkeys(("image_url", "input_image", "image", "image_file"), _medium("image")),
    **dict.fromkeys(("audio", "audio_url"), _medium("audio")),
    **dict.fromkeys(("video", "video_url", "input_video"), _medium("video")),
    "input_audio": _input_audio,
    "document": _document,
    **dict.fromkeys(("file", "input_file", "media"), _file),
    **dict.fromkeys(("blob", "uri"), _known),
    "tool_call": _call_of_convention,
}

_BY_KEY: Final[tuple[tuple[str, Callable[[Block], Part | None]], ...]] = (
    ("toolUse", _inner("toolUse", tool_call)),
    ("toolResult", _inner("toolResult", tool_response)),
    ("functionCall", _inner("functionCall", tool_call)),
    ("function_call", _inner("function_call", tool_call)),
    ("functionResponse", _inner("functionResponse", tool_response)),
    ("function_response", _inner("function_response", tool_response)),
    ("toolRequest", _inner("toolRequest", tool_call)),
    ("toolResponse", _inner("toolResponse", tool_response)),
    ("inlineData", _inline_data("inlineData")),
    ("inline_data", _inline_data("inline_data")),
    ("fileData", _inline_data("fileData")),
    ("file_data", _inline_data("file_data")),
    ("media", _inline_data("media")),
    ("image", _bedrock_medium("image")),
    ("document", _bedrock_medium("document")),
    ("video", _bedrock_medium("video")),
    ("reasoningContent", _reasoning_of_bedrock),
    ("reasoning", lambda block: reasoning(found) if isinstance(found := block["reasoning"], str) else None),
    ("text", lambda block: _text(block) if isinstance(block["text"], str) else None),
)
"""Blocks without a type, by the field that tells what they are; the text last: Gemini may put it beside others."""

_SAY_NOTHING: Final = ("cachePoint", "cache_point", "embedding", "thoughtSignature", "thought_signature")


def is_known(kind: str) -> bool:
    """True for a `type` that tells what a block is."""
    return kind in _BY_TYPE


def is_known_by_key(block: Block) -> bool:
    """True for a block that has no type, but a field that tells what it is."""
    return any(block.get(name) is not None for name, _ in _BY_KEY)
