"""Definitions of tools in the shapes of providers, as the conventions' `[{type, name, description, parameters}]`.

    {"type": "function", "function": {"name", "description", "parameters"}}      OpenAI's chat
    {"type": "function", "name", "description", "parameters"}                    OpenAI's responses, and the conventions
    {"name", "description", "input_schema"}                                      Anthropic
    {"toolSpec": {"name", "description", "inputSchema": {"json": ...}}}          Bedrock
    {"functionDeclarations": [{"name", "description", "parameters"}]}            Gemini
    {"type": "function", "name", "description", "inputSchema"}                   Vercel's AI SDK
    {"function_tools": [{"name", "description", "parameters_json_schema"}]}      Pydantic AI

Tools of other shapes, such as those that a provider runs itself, are kept whole.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from tokentrail.backend.dialects import coerce

_LISTS: Final = ("tools", "function_tools", "output_tools", "functionDeclarations", "function_declarations")
_WRAPPERS: Final = ("function", "toolSpec")
_SCHEMAS: Final = ("parameters", "input_schema", "inputSchema", "parameters_json_schema", "parametersJsonSchema")
_OF_APPLICATIONS: Final = ("function", "custom")
"""Types of the tools that an application runs; others are the provider's own."""
_MAX_DEPTH: Final = 4


def tools_json(raw: object) -> str:
    """The definitions that `raw` (a list, an object around one, one definition, or JSON of these) holds, as JSON.

    Empty for none. A definition, or its schema, may be JSON in a text as well. Raises nothing.
    """
    found = list(_definitions(raw, 0))
    return coerce.written(found) if found else ""


def _definitions(raw: object, depth: int) -> Iterator[Mapping[str, object]]:
    if isinstance(raw, str):
        raw = coerce.parse_json(raw)
    if depth > _MAX_DEPTH:
        return
    if isinstance(raw, list | tuple):
        for each in raw:
            yield from _definitions(each, depth + 1)
    elif isinstance(raw, Mapping) and raw:
        lists = [listed for name in _LISTS if isinstance(listed := raw.get(name), list | tuple)]
        if lists:
            yield from _definitions(lists, depth)
        else:
            yield _definition(raw)


def _definition(tool: Mapping[str, object]) -> Mapping[str, object]:
    source = next((inner for name in _WRAPPERS if isinstance(inner := tool.get(name), Mapping)), tool)
    kind = tool.get("type") or "function"
    if not isinstance(source.get("name"), str) or kind not in _OF_APPLICATIONS:
        return tool
    definition: dict[str, object] = {"type": kind, "name": source["name"]}
    if description := source.get("description"):
        definition["description"] = description
    schema = next((source[name] for name in _SCHEMAS if source.get(name)), None)
    if schema is not None:
        definition["parameters"] = _schema(schema)
    return definition


def _schema(raw: object) -> object:
    opened = coerce.parse_json(raw) if isinstance(raw, str) else None
    schema = raw if opened is None else opened
    inner = schema.get("json") if isinstance(schema, Mapping) and len(schema) == 1 else None
    return schema if inner is None else inner  # Bedrock's, around the schema
