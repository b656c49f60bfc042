"""Messages of every convention, provider and framework, as the conventions' `[{role, parts[]}]`.

    {"role": "user", "content": "hi"}                          one text part
    {"role": "user", "content": [{"type": "text", ...}]}       one part per block (`blocks.py`)
    {"role": "assistant", "tool_calls": [{function: ...}]}     tool_call parts after the text
    {"role": "tool", "tool_call_id": "c", "content": "x"}      one tool_call_response part
    {"role": "model", "parts": [...]}                          the conventions' parts are kept, Gemini's are read
    {"type": "function_call", ...}, {"type": "reasoning", ...} items of OpenAI's Responses
    {"lc": 1, "id": [...], "kwargs": {...}}                    a LangChain message; so are {"type": "human", "data": {}}
    {"messages": []}, {"choices": []}, {"generations": [[]]}   whole requests and responses (`envelopes.py`)

Nothing is dropped but large binaries, embedding vectors and marks without a meaning; blocks that nobody here knows stay
whole. A system message stays where it stands; `without_system` takes away what stands in the system prompt besides.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import blocks
from tokentrail.backend.dialects.envelopes import Envelope, open_envelope
from tokentrail.backend.dialects.media import Part, is_vector, pruned

Message = dict[str, object]

_ROLES: Final = {
    **dict.fromkeys(("human", "HumanMessage", "HumanMessageChunk"), "user"),
    **dict.fromkeys(("ai", "model", "AIMessage", "AIMessageChunk"), "assistant"),
    **dict.fromkeys(("function", "ToolMessage", "ToolMessageChunk", "FunctionMessage"), "tool"),
    **dict.fromkeys(("developer", "SystemMessage", "SystemMessageChunk"), "system"),
}
_TYPES_AS_ROLES: Final = frozenset({"human", "ai", "system", "tool", "function", "AIMessageChunk", "user", "assistant"})
"""LangChain tells a message's role as its type."""
_ITEMS: Final = {
    **dict.fromkeys(("function_call", "custom_tool_call", "reasoning"), "assistant"),
    **dict.fromkeys(("function_call_output", "custom_tool_call_output"), "tool"),
}
"""Items of OpenAI's Responses that stand for messages, and the role of these. Others are named `..._call`."""
_FINISH: Final = ("finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason")
_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
"""Where OpenAI-compatible servers and Ollama put reasoning, beside the content."""
_NOT_OF_BLOCKS: Final = ("content", "parts", "tool_calls", "generation_info", "index", *_FINISH)
_OF_MESSAGES: Final = (
    "content",
    "parts",
    "text",
    "tool_calls",
    "function_call",
    "refusal",
    "audio",
    "images",
    *_REASONING,
)
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_MAX_DEPTH: Final = 16
"""Of envelopes and lists around a message; what is deeper is a block that nobody knows."""


def messages_json(raw: object, role: str) -> str:
    """`raw` (a message, a list of them, a request or response around them, or a text) as JSON; empty for nothing.

    `role` is the role of messages that have none. A string is a text here: JSON is parsed before, by
    `coerce.parse_json`; only a message's content may be a JSON list of blocks in a string. Raises nothing.
    """
    return _dumped(read_messages(raw, role))


def read_messages(raw: object, role: str) -> list[Message]:
    """What `messages_json` writes, as values: `{"role", "parts"}` each, and `finish_reason` and `name` where told."""
    return list(_messages(raw, role, 0))


def parts_json(raw: object) -> str:
    """A system prompt (a text, blocks, or messages) as JSON, a list of parts as in the conventions; empty for none."""
    return _dumped([part for message in read_messages(raw, "system") for part in _parts_of(message)])


def text_of(messages: Sequence[Mapping[str, object]], *, but_role: str = "") -> str | None:
    """The text of the first message whose role is not `but_role`; `None` when there is no message or no text in it."""
    message = next((each for each in messages if not but_role or each.get("role") != but_role), {})
    texts = [part["content"] for part in _parts_of(message) if part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str)) if texts else None


def without_system(messages: Sequence[Message], system: str) -> list[Message]:
    """`messages` without the leading system messages that say what `system` (text, or JSON of parts) says already."""
    try:
        parsed: object = json.loads(system) if system[:1] in ("[", "{") else system
    except (ValueError, RecursionError):
        parsed = system
    told = {text for message in read_messages(parsed, "system") if (text := text_of([message]))}
    leading = True
    kept = []
    for message in messages:
        leading = leading and message.get("role") == "system"
        if not (leading and text_of([message]) in told):
            kept.append(message)
    return kept


def _messages(raw: object, role: str, depth: int) -> Iterator[Message]:
    if isinstance(raw, str):
        yield from _of_parts(role, [blocks.text(raw)] if raw else [])
    elif isinstance(raw, list | tuple) and depth < _MAX_DEPTH:
        yield from _listed(raw, role, depth + 1)
    elif isinstance(raw, Mapping):
        if len(raw) == 2 and (plain := _plain(raw)) is not None:
            yield plain
            return
        envelope = open_envelope(raw) if depth < _MAX_DEPTH else None
        if envelope is not None:
            yield from _enclosed(envelope, role, depth + 1)
        elif _is_block(raw):
            yield from _of_parts(role, _read_blocks([raw]))
        elif raw:
            yield from _message(raw, role)


def _plain(raw: Mapping[str, object]) -> Message | None:
    """A message that is a role and a text and nothing else: by far the most are, and this is their short way."""
    role, content = raw.get("role"), raw.get("content")
    if not isinstance(role, str) or not isinstance(content, str) or not role or not content:
        return None
    role = _ROLES.get(role, role)
    if role == "tool" or content.startswith('[{"'):
        return None
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def _listed(raw: Sequence[object], role: str, depth: int) -> Iterator[Message]:
    if len(raw) == 2 and all(isinstance(item, str) for item in raw) and raw[0] in _TYPES_AS_ROLES and depth > 1:
        yield {"role": _ROLES.get(str(raw[0]), raw[0]), "parts": [blocks.text(str(raw[1]))]}  # LangChain's pairs
    elif raw and all(_is_block(item) for item in raw):
        yield from _of_parts(role, _read_blocks(raw))
    else:
        found = [message for item in raw for message in _messages(item, role, depth)]
        # What one response holds is one message, also where a producer records the items without the response.
        yield from _joined(found) if role == "assistant" and any(map(_is_response_item, raw)) else found


def _of_parts(role: str, parts: list[Part]) -> Iterator[Message]:
    if parts:
        yield {"role": role, "parts": parts}


def _is_block(item: object) -> bool:
    """True for a part of a message that stands in a list without a message around it."""
    if not isinstance(item, Mapping) or "role" in item or "message" in item:
        return False
    kind = item.get("type")
    if kind == "function":  # an item of OpenAI's `tool_calls`, or a message of LangChain's
        return isinstance(item.get("function"), Mapping)
    if isinstance(kind, str):
        known = blocks.is_known(kind) and kind not in _ITEMS
        return known and kind not in _TYPES_AS_ROLES
    return blocks.is_known_by_key(item) and not any(name in item for name in _NOT_OF_BLOCKS)


def _enclosed(envelope: Envelope, role: str, depth: int) -> Iterator[Message]:
    if envelope.system not in (None, "", []):
        yield from ({**message, "role": "system"} for message in _messages(envelope.system, "system", depth))
    found = list(_messages(envelope.body, role, depth))
    if envelope.one_choice:
        found = _joined(found)
    if envelope.finish_reason and found:
        found[-1].setdefault("finish_reason", envelope.finish_reason)
    yield from found


def _joined(messages: Sequence[Message]) -> list[Message]:
    """The items of one response as one message: the conventions have one for a choice."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = {**joined[-1], **message, "parts": [*_parts_of(joined[-1]), *_parts_of(message)]}
        else:
            joined.append(message)
    return joined


def _message(raw: Mapping[str, object], role: str) -> Iterator[Message]:
    body = raw
    for name in ("message", "kwargs", "data") if "lc" in raw else ("message", "data"):
        inner = body.get(name)
        body = inner if isinstance(inner, Mapping) else body
    if _is_item(raw):
        yield from _item(raw)
        return
    if not any(name in body for name in ("role", *_OF_MESSAGES)):
        yield {"role": role, "parts": [blocks.text(_dump(pruned(raw)))]}  # nobody knows what it is
        return
    own_role = _role(raw, body) or role
    message: Message = {"role": own_role, "parts": _parts(body, own_role)}
    if reason := _finish_reason(raw, body):
        message["finish_reason"] = reason
    if isinstance(author := body.get("name"), str) and author:
        message["name"] = author
    yield message


def _is_item(raw: Mapping[str, object]) -> bool:
    """True for an item of OpenAI's Responses that is no message."""
    kind = raw.get("type")
    if not isinstance(kind, str) or "role" in raw:
        return False
    return kind in _ITEMS or (kind.endswith(("_call", "_call_output")) and kind != "tool_call")


def _is_response_item(item: object) -> bool:
    return isinstance(item, Mapping) and (_is_item(item) or item.get("type") == "message")


def _item(raw: Mapping[str, object]) -> Iterator[Message]:
    kind = str(raw["type"])
    role = _ITEMS.get(kind) or ("tool" if kind.endswith("_output") else "assistant")
    part = blocks.read_block(raw)
    yield from _of_parts(role, [] if part is None else [part])


def _role(raw: Mapping[str, object], body: Mapping[str, object]) -> str:
    for source in (body, raw):
        named = source.get("role")
        if isinstance(named, str) and named:
            return _ROLES.get(named, named)
    for source in (body, raw):
        kind = source.get("type")
        if isinstance(kind, str) and kind in _TYPES_AS_ROLES:
            return _ROLES.get(kind, kind)
    path = raw.get("id")  # LangChain: ["langchain", "schema", "messages", "HumanMessage"]
    last = path[-1] if isinstance(path, list) and path and "lc" in raw else None
    return _ROLES.get(last, "") if isinstance(last, str) else ""


def _finish_reason(*sources: Mapping[str, object]) -> str:
    details = [source.get(name) for source in sources for name in ("generation_info", "response_metadata")]
    for source in (*sources, *(each for each in details if isinstance(each, Mapping))):
        for name in _FINISH:
            if isinstance(reason := source.get(name), str) and reason:
                return reason
    return ""


def _parts(body: Mapping[str, object], role: str) -> list[Part]:
    own = body.get("parts")
    if isinstance(own, list):
        parts = _read_blocks(own)
    else:
        content = body.get("content")
        if role == "tool" and not _holds_responses(content):
            return [_response(body)]
        if content is None and "text" in body:
            content = body["text"]  # of a completion, or of a LangChain generation
        parts = _content_parts(content)
    beside = next((each for name in _REASONING if isinstance(each := body.get(name), str) and each), "")
    if beside and not any(part.get("type") == "reasoning" for part in parts):
        parts.insert(0, blocks.reasoning(beside))
    if isinstance(refusal := body.get("refusal"), str) and refusal:
        parts.append({"type": "refusal", "content": refusal})
    parts.extend(_media_beside(body))
    known = {part.get("id") for part in parts if part.get("type") == "tool_call"} - {None}
    parts.extend(call for call in _tool_calls(body) if call.get("id") not in known)
    return parts


def _content_parts(content: object) -> list[Part]:
    if content in (None, ""):
        return []
    if isinstance(content, str) and content.startswith('[{"'):
        content = _blocks_in_text(content) or content  # as OpenLLMetry writes them
    return _read_blocks(content if isinstance(content, list | tuple) else [content])


def _blocks_in_text(content: str) -> list[object]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return []
    typed = all(isinstance(item, Mapping) and isinstance(item.get("type"), str) and _is_block(item) for item in parsed)
    return parsed if typed else []


def _read_blocks(content: Sequence[object]) -> list[Part]:
    if is_vector(content):
        return []
    return [part for block in content if (part := blocks.read_block(block)) is not None]


def _holds_responses(content: object) -> bool:
    """True for blocks that are results of tools themselves, as Vercel's and Genkit's tool messages have them."""
    return isinstance(content, list) and any(
        (part := blocks.read_block(block)) is not None and part.get("type") == "tool_call_response" for block in content
    )


def _response(body: Mapping[str, object]) -> Part:
    names = ("content", "response", "result")
    response = next((value for name in names if (value := body.get(name)) is not None), None)
    return {"type": "tool_call_response", "id": blocks.identity(body), "response": pruned(response)}


def _media_beside(body: Mapping[str, object]) -> Iterator[Part]:
    """What OpenAI's `audio` and Ollama's `images` put beside the content."""
    audio, images = body.get("audio"), body.get("images")
    if isinstance(audio, Mapping) and isinstance(said := audio.get("transcript"), str) and said:
        yield blocks.text(said)
    for modality, media in (("audio", [audio]), ("image", images if isinstance(images, list) else [])):
        for each in media:
            block = each if isinstance(each, Mapping) else {"data": each}
            if each and (part := blocks.read_block({**block, "type": modality})) is not None:
                yield part


def _tool_calls(body: Mapping[str, object]) -> list[Part]:
    extra = body.get("additional_kwargs")
    for source in (body, extra if isinstance(extra, Mapping) else {}):
        calls = source.get("tool_calls")
        if isinstance(calls, list) and calls:
            wrong = body.get("invalid_tool_calls")  # LangChain's, whose arguments are no JSON
            return [blocks.tool_call(call) for call in (*calls, *(wrong if isinstance(wrong, list) else ()))]
        if isinstance(call := source.get("function_call"), Mapping):  # OpenAI's, before there were several
            return [blocks.tool_call(call)]
    return []


def _parts_of(message: Mapping[str, object]) -> list[Part]:
    parts = message.get("parts")
    return parts if isinstance(parts, list) else []


def _dumped(items: Sequence[object]) -> str:
    return _dump(items) if items else ""


def _dump(value: object) -> str:
    dumped = _ENCODE(value)
    # Half of a surrogate pair, which JSON allows, is no UTF-8 and becomes `?`.
    return dumped if dumped.isascii() else dumped.encode("utf-8", "replace").decode("utf-8")
