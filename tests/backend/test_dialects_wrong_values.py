"""Attributes of wrong types, and spans that are nobody's: no vendor's dialect raises, or takes them for a call."""

import json
from typing import Any

import pytest

from support.spans import START, a_span
from support.vendor_fixtures import FOLDER
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.agentops import AgentOps
from tokentrail.backend.dialects.bare import Bare
from tokentrail.backend.dialects.braintrust import Braintrust
from tokentrail.backend.dialects.claude_code import ClaudeCode
from tokentrail.backend.dialects.codex import Codex
from tokentrail.backend.dialects.coding_agents import Copilot, OpenCode
from tokentrail.backend.dialects.flue import Flue
from tokentrail.backend.dialects.gemini_cli import GeminiCli
from tokentrail.backend.dialects.laminar import Laminar
from tokentrail.backend.dialects.langtrace import Langtrace
from tokentrail.backend.dialects.langwatch import LangWatch
from tokentrail.backend.dialects.livekit import LiveKit
from tokentrail.backend.dialects.openrouter import OpenRouter
from tokentrail.backend.dialects.sentry import Sentry
from tokentrail.backend.dialects.voltagent import VoltAgent
from tokentrail.backend.span import Event

EVERY: tuple[Dialect, ...] = (
    *(LangWatch(), Braintrust(), Laminar(), ClaudeCode(), Codex(), GeminiCli(), OpenCode(), Copilot(), LiveKit()),
    *(OpenRouter(), VoltAgent(), Flue(), AgentOps(), Langtrace(), Sentry(), Bare()),
)


WRONG: tuple[Any, ...] = (
    *("", "null", "{}", "[]", "{", '"', "\ud800", "NaN", "-1", "1e999", "<REDACTED>", "[" * 5000, "x" * 70_000),
    *(True, -1, 2**63, float("nan"), float("inf"), 0.5, b"\xff", (), (None,), (1, "a"), {}, {"a": None}, None),
    *('{"type": "llm", "value": {"type": 1}}', '[{"role": 1, "content": {}}]', '{"messages": 1, "rawRequest": []}'),
)


@pytest.mark.parametrize("dialect", EVERY, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: repr(value)[:20])
def test_no_value_of_a_wrong_type_raises(dialect: Dialect, wrong: Any) -> None:
    names = {name for path in sorted(FOLDER.glob(f"{dialect.name}/*.json")) for name in _names(path.read_text("utf-8"))}
    known = ("model", "span.type", "llm.model", "metadata", "input_tokens", "braintrust.metrics", "flue.turn.input")
    attributes = dict.fromkeys((*names, *known, "gen_ai.completion", "ai.model_id", "usage.cost"), wrong)

    for each in (attributes, {**attributes, "langwatch.span.type": "llm", "span.type": "llm", "lmnr.span.type": "LLM"}):
        dialect.read(a_span(each, events=(Event(START, "gen_ai.request.attempt", attributes),)))


def _names(text: str) -> set[str]:
    found: set[str] = set()

    def collect(item: dict[str, Any]) -> dict[str, Any]:
        if isinstance(item.get("key"), str):
            found.add(item["key"])
        return item

    json.loads(text, object_hook=collect)
    return found


@pytest.mark.parametrize("dialect", EVERY, ids=lambda dialect: dialect.name)
def test_nobody_takes_an_ordinary_span_for_a_call(dialect: Dialect) -> None:
    ordinary: dict[str, Any] = {
        "http.request.method": "GET",
        "url.path": "/",
        "session.id": "web",
        "entity.type": "car",
    }

    taken = dialect.matches(tuple(ordinary), "io.opentelemetry.http")

    assert not taken
