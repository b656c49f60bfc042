"""Content of OpenInference spans, flattened into attributes, as JSON texts of the row.

    llm.input_messages.0.message.role, .content, .name, .tool_call_id
    llm.input_messages.0.message.contents.1.message_content.type, .text, .image.image.url, .audio.audio.url
    llm.input_messages.0.message.tool_calls.0.tool_call.id, .function.name, .function.arguments
    llm.prompts.0.prompt.text, llm.choices.0.completion.text         completions
    llm.tools.0.tool.json_schema
    embedding.embeddings.0.embedding.text                            its vector is left out
    reranker.query
    input.value, output.value                                        where there is none of these

A message is put together as OpenAI's chat has it, and read from there (`messages.py`).
"""

from collections.abc import Mapping
from typing import Final

from tokentrail.backend.dialects import coerce, indexed, kinds
from tokentrail.backend.dialects.content import Content
from tokentrail.backend.dialects.messages import messages_json
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.span import Attributes, Span

_Node = Mapping[str, object]

_MEDIA: Final = ("image", "audio", "video", "document")


def read_content(span: Span, kind: str) -> Content:
    """The captured content of a model call; empty for spans of other kinds."""
    attributes = span.attributes
    if kind == kinds.EMBEDDING:
        return Content(input_messages=_embedded(attributes) or _whole(attributes, "input", "user"))
    if kind == kinds.RERANK:
        query = coerce.text(attributes, "reranker.query")
        return Content(input_messages=messages_json(query, "user") if query else _whole(attributes, "input", "user"))
    if kind != kinds.LLM:
        return Content()
    return Content(
        input_messages=_messages(attributes, "input", "user"),
        output_messages=_messages(attributes, "output", "assistant"),
        tools=tools_json([_tool(each) for each in indexed.items(attributes, "llm.tools.")]),
    )


def _messages(attributes: Attributes, side: str, role: str) -> str:
    found = [_message(each) for each in indexed.items(attributes, f"llm.{side}_messages.")]
    if not found:
        prefix, inner = ("llm.prompts.", "prompt") if side == "input" else ("llm.choices.", "completion")
        texts = (_field(each, inner).get("text") for each in indexed.items(attributes, prefix))
        found = [{"role": role, "content": text} for text in texts if text]
    return messages_json(found, role) if found else _whole(attributes, side, role)


def _whole(attributes: Attributes, side: str, role: str) -> str:
    """The whole request or response, where it is all there is."""
    value = coerce.text(attributes, f"{side}.value")
    if not value:
        return ""
    parsed = coerce.parse_json(value)
    return messages_json(value if parsed is None else parsed, role)


def _embedded(attributes: Attributes) -> str:
    texts = (_field(each, "embedding").get("text") for each in indexed.items(attributes, "embedding.embeddings."))
    found = [{"role": "user", "content": text} for text in texts if isinstance(text, str)]
    return messages_json(found, "user")


def _message(item: _Node) -> dict[str, object]:
    told = _field(item, "message")
    message = {name: told[name] for name in ("role", "name", "tool_call_id") if name in told}
    calls = [_tool_call(_field(each, "tool_call")) for each in _listed(told, "tool_calls")]
    if name := told.get("function_call_name"):  # before there were several
        calls.append({"name": name, "arguments": told.get("function_call_arguments_json")})
    blocks = [block for each in _listed(told, "contents") if (block := _block(each)) is not None]
    message["content"] = blocks or told.get("content")
    if calls:
        message["tool_calls"] = calls
    return message


def _tool_call(told: _Node) -> dict[str, object]:
    function = _field(told, "function")
    return {"id": told.get("id"), "name": function.get("name", ""), "arguments": function.get("arguments")}


def _block(item: _Node) -> dict[str, object] | None:
    """One of the contents, as a block of OpenAI or Anthropic; `None` for one that says nothing."""
    told = _field(item, "message_content")
    kind, text = told.get("type"), told.get("text")
    if kind == "tool_use":
        call = _tool_call(_field(item, "tool_call"))
        return {"type": "tool_use", "id": call["id"], "name": call["name"], "input": call["arguments"]}
    if kind == "reasoning":
        return {"type": "thinking", "thinking": text if isinstance(text, str) else ""}
    if kind in _MEDIA:
        return _medium(str(kind), _field(_field(told, str(kind)), str(kind)))
    return {"type": "text", "text": text} if isinstance(text, str) else None


def _medium(modality: str, told: _Node) -> dict[str, object] | None:
    if modality == "audio" and isinstance(said := told.get("transcript"), str) and "url" not in told:
        return {"type": "text", "text": said}
    url = told.get("url")
    if modality == "image":
        return {"type": "image_url", "image_url": {"url": url}} if url else None
    if modality == "document" and not url:
        content = told.get("content")
        return {"type": "text", "text": content} if isinstance(content, str) else None
    named = {"mime_type": told["mime_type"]} if told.get("mime_type") else {}
    return {"type": "uri", "modality": modality, "uri": url, **named} if url else None


def _tool(item: _Node) -> object:
    told = _field(item, "tool")
    return told.get("json_schema") or {name: told[name] for name in ("name", "description") if name in told}


def _field(node: _Node, name: str) -> _Node:
    found = node.get(name)
    return found if isinstance(found, Mapping) else {}


def _listed(node: _Node, name: str) -> list[_Node]:
    found = node.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
