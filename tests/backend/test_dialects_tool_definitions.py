"""Definitions of tools become the conventions'; the shapes are those of the providers' references."""

import json

import pytest

from tokentrail.backend.dialects.tool_definitions import tools_json

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SAID = {"name": "weather", "description": "Weather of a city"}
TOOL = {"type": "function", **SAID, "parameters": SCHEMA}


@pytest.mark.parametrize(
    "raw",
    [
        [TOOL],
        TOOL,
        [{"type": "function", "function": {**SAID, "parameters": SCHEMA, "strict": True}}],
        [{**SAID, "input_schema": SCHEMA}],
        [{"type": "custom", **SAID, "input_schema": SCHEMA}],
        {"tools": [{"toolSpec": {**SAID, "inputSchema": {"json": SCHEMA}}}], "toolChoice": {"auto": {}}},
        [{"functionDeclarations": [{**SAID, "parameters": SCHEMA}]}],
        [{"function_declarations": [{**SAID, "parameters_json_schema": SCHEMA}]}],
        [json.dumps({"type": "function", **SAID, "inputSchema": SCHEMA})],
        {"function_tools": [{**SAID, "parameters_json_schema": SCHEMA, "strict": None}], "output_tools": []},
        json.dumps([TOOL]),
        [{**SAID, "parameters": json.dumps(SCHEMA)}],
    ],
    ids=[
        *("conventions", "one", "openai", "anthropic", "anthropic custom", "bedrock", "gemini", "gemini sdk"),
        *("vercel", "pydantic ai", "json", "schema as json"),
    ],
)
def test_every_shape_of_a_definition_is_the_conventions(raw: object) -> None:
    (written,) = json.loads(tools_json(raw))

    assert written == {**TOOL, "type": written["type"]}
    assert written["type"] in ("function", "custom")


def test_a_tool_that_the_provider_runs_keeps_its_shape() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}

    assert json.loads(tools_json([tool])) == [tool]


@pytest.mark.parametrize("raw", [None, [], {}, "", "no json", 3, [[[[[[[TOOL]]]]]]], [None, 1, "x"], "[" * 100_000])
def test_what_defines_nothing_is_empty(raw: object) -> None:
    assert tools_json(raw) == ""


def test_what_is_no_unicode_is_written_as_utf_8() -> None:
    assert tools_json('[{"name":"\\ud800f"}]').encode("utf-8") == b'[{"type":"function","name":"?f"}]'


def test_a_definition_without_a_schema_has_none() -> None:
    assert tools_json([{"name": "now"}]) == '[{"type":"function","name":"now"}]'
