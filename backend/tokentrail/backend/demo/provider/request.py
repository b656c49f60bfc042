"""Reads the parts that requests of all formats share, and refuses what a vendor would refuse.

Every reader raises `Refusal` with status 400 and the name of the parameter.
"""

import json
from collections.abc import Mapping

from tokentrail.backend.demo.provider._base import Json, Refusal, Tool

INVALID = "invalid_request_error"
"""Both vendors' error type of a bad request."""
_REQUIRED = ("required", "any")


def invalid(message: str, param: str, code: str | None = None) -> Refusal:
    """The refusal of one parameter."""
    return Refusal(400, INVALID, message, param=param, code=code)


def read_string(body: Json, name: str) -> str:
    """A required, non-empty string."""
    value = body.get(name)
    if value is None:
        raise invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if not isinstance(value, str) or not value:
        raise invalid(f"Invalid type for '{name}': expected a non-empty string.", name, "invalid_type")
    return value


def read_flag(body: Json, name: str) -> bool:
    """An optional boolean, false when absent."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"Invalid type for '{name}': expected a boolean.", name, "invalid_type")
    return bool(value)


def read_count(body: Json, name: str, at_most: int) -> int | None:
    """An optional whole number from 1 to `at_most`."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(f"Invalid type for '{name}': expected an integer.", name, "invalid_type")
    if not 1 <= value <= at_most:
        raise invalid(f"Invalid '{name}': expected a value from 1 to {at_most}, got {value}.", name, "invalid_value")
    return value


def check_temperature(body: Json, at_most: int) -> None:
    """Refuse a temperature outside 0 to `at_most`."""
    value = body.get("temperature")
    if value is None:
        return
    if not isinstance(value, int | float) or not 0 <= value <= at_most:
        raise invalid(f"Invalid 'temperature': expected a number from 0 to {at_most}.", "temperature", "invalid_value")


def read_messages(body: Json, name: str = "messages") -> list[Json]:
    """A required, non-empty list of objects."""
    value = body.get(name)
    if value is None:
        raise invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
        raise invalid(f"Invalid '{name}': expected a list with at least one object.", name, "invalid_type")
    return value


def text_of(content: object) -> str:
    """The text inside message content: a string, or a list of parts. Parts without text count as their JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text_of(part) for part in content)
    if isinstance(content, Mapping):
        text = content.get("text")
        return text if isinstance(text, str) else json.dumps(content, separators=(",", ":"))
    return ""


def read_tools(body: Json, schema_key: str) -> tuple[Tool, ...]:
    """The functions of `tools`, in OpenAI's nested form, its flat form, or Anthropic's; built-in tools are skipped."""
    value = body.get("tools") or []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise invalid("Invalid type for 'tools': expected a list of objects.", "tools", "invalid_type")
    tools = []
    for item in value:
        function = item.get("function", item)
        if not isinstance(function, Mapping):
            raise invalid("Invalid type for 'tools': 'function' must be an object.", "tools", "invalid_type")
        name, schema = function.get("name"), function.get(schema_key)
        if isinstance(name, str) and (schema is None or isinstance(schema, Mapping)):
            tools.append(Tool(name, schema or {}))
    return tuple(tools)


def read_tool_choice(body: Json) -> str:
    """`auto`, `none`, `required`, or the name of one tool."""
    value = body.get("tool_choice")
    if isinstance(value, str):
        return "required" if value in _REQUIRED else value
    if isinstance(value, Mapping):
        function = value.get("function")
        name = function.get("name") if isinstance(function, Mapping) else value.get("name")
        if isinstance(name, str):
            return name
        return "required" if value.get("type") in _REQUIRED else str(value.get("type", "auto"))
    return "auto"


def read_effort(value: object) -> str:
    """`low`, `medium` or `high` for a wish to reason, empty for none of it."""
    if value in ("low", "medium", "high"):
        return str(value)
    return "high" if value in ("xhigh", "max") else ""
