"""Messages of older conventions and provider shapes, as the conventions' `[{role, parts[]}]`.

    {"role": "user", "content": "hi"}                        one text part
    {"role": "user", "content": [{"type": "text", ...}]}     one part per block
    {"role": "assistant", "tool_calls": [{function: ...}]}   tool_call parts after the text
    {"role": "tool", "tool_call_id": "c", "content": "x"}    one tool_call_response part
    {"role": ..., "parts": [...]}                            already in the conventions' format: kept as it is

Blocks that nobody here knows are kept whole: a generic part is an object with a `type`.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final

_ROLES: Final = {"human": "user", "ai": "assistant", "model": "assistant", "function": "tool", "developer": "system"}
_TEXT_BLOCKS: Final = frozenset({"text", "input_text", "output_text"})
_WRAPPERS: Final = ("messages", "choices")

Message = dict[str, object]


def messages_json(raw: object, role: str) -> str:
    """`raw` (a message, a list of them, an object around them, or a text) as JSON; empty for nothing.

    `role` is the role of messages that have none.
    """
    messages = list(_messages(raw, role))
    return json.dumps(messages, ensure_ascii=False, separators=(",", ":")) if messages else ""


def _messages(raw: object, role: str) -> Iterable[Message]:
    if isinstance(raw, str):
        yield {"role": role, "parts": [{"type": "text", "content": raw}]}
    elif isinstance(raw, list):
        for item in raw:
            yield from _messages(item, role)
    elif isinstance(raw, Mapping):
        wrapped = next((raw[name] for name in _WRAPPERS if isinstance(raw.get(name), list)), None)
        yield from _messages(wrapped, role) if wrapped is not None else (_message(raw, role),)


def _message(raw: Mapping[str, object], role: str) -> Message:
    inner = raw.get("message")
    body = inner if isinstance(inner, Mapping) else raw
    named = body.get("role")
    own_role = _ROLES.get(named, named) if isinstance(named, str) and named else role
    parts = body.get("parts")
    message: Message = {"role": own_role, "parts": parts if isinstance(parts, list) else _parts(body, own_role)}
    if isinstance(reason := raw.get("finish_reason"), str) and reason:
        message["finish_reason"] = reason
    if isinstance(name := body.get("name"), str) and name:
        message["name"] = name
    return message


def _parts(body: Mapping[str, object], role: str) -> list[object]:
    content = body.get("content")
    if role == "tool":
        return [{"type": "tool_call_response", "id": body.get("tool_call_id") or body.get("id"), "response": content}]
    blocks = content if isinstance(content, list) else [] if content in (None, "") else [content]
    parts = [_part(block) for block in blocks]
    calls = body.get("tool_calls")
    parts.extend(_tool_call(call) for call in (calls if isinstance(calls, list) else ()))
    return parts


def _part(block: object) -> object:
    if not isinstance(block, Mapping):
        return {"type": "text", "content": block if isinstance(block, str) else json.dumps(block)}
    kind = block.get("type")
    if kind in _TEXT_BLOCKS:
        return {"type": "text", "content": block.get("text", block.get("content", ""))}
    if kind == "tool_use":
        return {
            "type": "tool_call",
            "id": block.get("id"),
            "name": block.get("name", ""),
            "arguments": block.get("input"),
        }
    if kind == "tool_result":
        return {"type": "tool_call_response", "id": block.get("tool_use_id"), "response": block.get("content")}
    if kind == "thinking":
        return {"type": "reasoning", "content": block.get("thinking", "")}
    return dict(block) if isinstance(kind, str) else {"type": "text", "content": json.dumps(dict(block))}


def _tool_call(call: object) -> object:
    if not isinstance(call, Mapping):
        return {"type": "tool_call", "id": None, "name": str(call)}
    function = call.get("function")
    source = function if isinstance(function, Mapping) else call
    return {
        "type": "tool_call",
        "id": call.get("id"),
        "name": source.get("name", ""),
        "arguments": _arguments(source.get("arguments")),
    }


def _arguments(raw: object) -> object:
    if not isinstance(raw, str):
        return raw
    try:
        parsed: object = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    return parsed
