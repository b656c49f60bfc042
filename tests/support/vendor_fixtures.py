"""Recorded spans of vendors' SDKs and coding agents, with the rows that are wanted of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tokentrail.backend.dialects.messages import text_of
from tokentrail.backend.row import Row

FOLDER: Final = Path(__file__).parents[1] / "fixtures" / "dialects"
_TOLD: Final = (
    *("kind", "operation", "provider", "request_model", "response_model", "response_id", "conversation_id"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("reasoning_tokens", "service_tier", "cost_source", "stream", "status_code", "error_type", "error_message"),
    *("retry_count", "user_id", "session_id", "session_name", "session_path", "prompt_name"),
)


def fixtures(*dialects: str) -> list[Path]:
    """The recorded export requests of traces in the folders of `dialects`."""
    found = (path for name in dialects for path in (FOLDER / name).glob("*.json"))
    return sorted(path for path in found if not path.name.endswith((".want.json", ".logs.json")))


def wanted(fixture: Path) -> list[dict[str, Any]]:
    """What is wanted of the spans of `fixture`, in their order: a name, and the fields that are not empty."""
    spans: list[dict[str, Any]] = json.loads(fixture.with_suffix(".want.json").read_text(encoding="utf-8"))["spans"]
    return spans


def told(row: Row) -> dict[str, object]:
    """What `row` tells, without what is empty and what every span has, in the words of the wanted rows."""
    said: dict[str, object] = {name: getattr(row, name) for name in _TOLD}
    said["finish_reasons"], said["tags"] = list(row.finish_reasons), list(row.tags)
    said["properties"] = dict(row.properties)
    said["cost_usd"] = "" if row.cost_usd is None else format(row.cost_usd.normalize(), "f")
    said["first_token"] = row.ttft_ns is not None and 0 <= row.ttft_ns <= 10**9
    asked, answered = _messages(row.input_messages), _messages(row.output_messages)
    said["input_text"] = text_of(asked, but_role="system")
    said["output_text"] = text_of(answered)
    said["tool_calls"] = [
        {name: part[name] for name in ("id", "name", "arguments")}
        for message in answered
        for part in message["parts"]
        if part["type"] == "tool_call"
    ]
    said["tools"] = [tool["name"] for tool in _messages(row.tools)]
    return {name: value for name, value in said.items() if not _is_empty(value)}


def _messages(text: str) -> list[dict[str, Any]]:
    return json.loads(text) if text else []


def _is_empty(value: object) -> bool:
    return value is None or value is False or value in ("", [], {})


def as_attributes(record: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of one log record of OTLP's JSON."""
    attributes: dict[str, Any] = {}
    for each in record["attributes"]:
        for kind, value in each["value"].items():
            attributes[each["key"]] = int(value) if kind == "intValue" else value
    return attributes
