"""Rules of coding agents' vocabularies: spans, and the events of the same calls, which one reader reads."""

import json
from decimal import Decimal
from typing import Any

import pytest

from support.spans import a_span
from support.vendor_fixtures import FOLDER, as_attributes
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.claude_code import ClaudeCode
from tokentrail.backend.dialects.codex import Codex
from tokentrail.backend.dialects.coding_agents import Copilot, OpenCode
from tokentrail.backend.dialects.gemini_cli import GeminiCli
from tokentrail.backend.row import Row

CLAUDE_SCOPE = "com.anthropic.claude_code.tracing"


def row(dialect: Dialect, attributes: dict[str, Any], **fields: Any) -> Row:
    found = dialect.read(a_span(attributes, **fields))
    assert found is not None, "no row"
    return found


def events(fixture: str) -> list[dict[str, Any]]:
    """The attributes of the log records beside a fixture."""
    (path,) = FOLDER.glob(fixture)
    request = json.loads(path.read_text(encoding="utf-8"))
    scopes = [scope for resource in request["resourceLogs"] for scope in resource["scopeLogs"]]
    return [as_attributes(record) for scope in scopes for record in scope["logRecords"]]


# Claude Code


def test_claude_codes_strings_are_numbers_and_its_input_leaves_the_cache_out() -> None:
    found = row(
        ClaudeCode(),
        {
            "span.type": "claude_code.llm_request",
            "model": "claude-opus-4-7",
            "input_tokens": "2",
            "output_tokens": "1200",
            "cache_read_tokens": "84562",
            "cache_creation_tokens": "7096",
            "ttft_ms": "900",
            "attempt": "2",
            "success": "true",
            "stop_reason": "tool_use",
            "session.id": "s10",
        },
        scope_name=CLAUDE_SCOPE,
    )

    assert (found.kind, found.provider, found.request_model) == ("llm", "anthropic", "claude-opus-4-7")
    assert (found.input_tokens, found.cache_read_tokens, found.cache_write_tokens) == (91660, 84562, 7096)
    assert (found.ttft_ns, found.retry_count, found.finish_reasons) == (900_000_000, 1, ("tool_call",))
    assert (found.session_id, found.error_type) == ("s10", "")


def test_claude_codes_cache_is_outside_also_when_it_is_the_smaller_part() -> None:
    counts = {"input_tokens": 1000, "output_tokens": 1, "cache_read_tokens": 10, "cache_creation_tokens": 5}
    found = row(ClaudeCode(), {"span.type": "llm_request", "model": "claude-opus-4-7", **counts})

    assert found.input_tokens == 1015


def test_claude_codes_event_tells_the_cost_and_the_model_that_answered() -> None:
    told = [each for each in events("claude_code/*stream.logs.json") if each["event.name"] == "api_request"]

    found = row(ClaudeCode(), told[0], name="claude_code.api_request", scope_name="com.anthropic.claude_code.events")

    # 200 x 3 + 1,000 x 0.30 + 100 x 3.75 + 80 x 15 USD a million
    assert (found.cost_usd, found.cost_source) == (Decimal("0.002475"), "client")
    assert (found.response_model, found.input_tokens) == ("claude-sonnet-4-5-20250929", 1300)
    assert (found.kind, found.session_id, found.cache_write_1h_tokens) == ("llm", "s-1", 0)


def test_claude_codes_event_of_a_failure_is_a_failed_call() -> None:
    told = {"event.name": "api_error", "model": "claude-opus-4-7", "error": "Overloaded", "status_code": "529"}
    found = row(ClaudeCode(), told, name="claude_code.api_error")

    assert (found.kind, found.error_type, found.error_message, found.status_code) == ("llm", "529", "Overloaded", 529)


@pytest.mark.parametrize(
    ("named", "provider"),
    [("firstParty", "anthropic"), ("bedrock", "aws.bedrock"), ("vertex", "gcp.vertex_ai"), ("gateway", "anthropic")],
)
def test_claude_code_names_who_serves_the_model(named: str, provider: str) -> None:
    told = {"span.type": "llm_request", "model": "claude-opus-4-7", "anthropic.provider": named}

    assert row(ClaudeCode(), {**told, "gen_ai.provider.name": "anthropic"}).provider == provider


def test_claude_codes_fast_mode_is_a_tier() -> None:
    told = {"span.type": "llm_request", "model": "claude-opus-4-7"}

    assert row(ClaudeCode(), {**told, "speed": "fast"}).service_tier == "fast"
    assert row(ClaudeCode(), {**told, "speed": "normal"}).service_tier == ""


def test_claude_code_is_known_by_its_counts_where_the_scope_was_lost() -> None:
    assert ClaudeCode().matches(("span.type", "input_tokens", "cache_creation_tokens"), "")
    assert not ClaudeCode().matches(("span.type", "llm.model"), "")


# Codex


def test_codexs_event_is_the_call_with_its_parts() -> None:
    told = {
        "event.name": "codex.sse_event",
        "event.kind": "response.completed",
        "conversation.id": "cv1",
        "model": "gpt-5.1",
        "input_token_count": "100",
        "cached_token_count": "40",
        "output_token_count": "10",
        "reasoning_token_count": "5",
    }
    found = row(Codex(), told, scope_name="codex_otel", name="codex.sse_event")

    assert (found.kind, found.provider, found.request_model, found.session_id) == ("llm", "openai", "gpt-5.1", "cv1")
    assert (found.input_tokens, found.cache_read_tokens) == (100, 40)
    assert (found.output_tokens, found.reasoning_tokens) == (10, 5)


def test_codex_says_twice_that_a_stream_is_complete_and_once_what_it_used() -> None:
    kinds = [row(Codex(), told).kind for told in events("codex/*.logs.json") if told["event.name"] == "codex.sse_event"]

    assert kinds.count("llm") == 1
    assert len(kinds) > 1


def test_codexs_recorded_event_and_its_turn_tell_the_same_tokens() -> None:
    (told,) = (each for each in events("codex/*.logs.json") if "input_token_count" in each)

    found = row(Codex(), told)

    assert (found.input_tokens, found.output_tokens, found.reasoning_tokens) == (1200, 80, 16)


def test_a_thread_of_the_operating_system_is_no_session() -> None:
    assert row(Codex(), {"codex.turn.token_usage.total_tokens": 3, "thread.id": 4}).session_id == ""


# Gemini CLI


def test_gemini_clis_event_counts_thoughts_beside_the_answer() -> None:
    told = [each for each in events("gemini_cli/*stream.logs.json") if each["event.name"] == "gemini_cli.api_response"]

    found = row(GeminiCli(), told[0], scope_name="gemini-cli")

    # 1,200 with 1,024 of them cached; 64 of the answer and 16 thoughts
    assert (found.kind, found.input_tokens, found.cache_read_tokens) == ("llm", 1200, 1024)
    assert (found.output_tokens, found.reasoning_tokens) == (80, 16)


def test_gemini_clis_own_operations_are_no_calls() -> None:
    assert row(GeminiCli(), {"gen_ai.operation.name": "tool_call"}).kind == "tool"
    assert row(GeminiCli(), {"gen_ai.operation.name": "agent_call"}).kind == "agent"
    assert row(GeminiCli(), {"gen_ai.operation.name": "schedule_tool_calls"}).kind == "span"


# Coding agents


def test_opencodes_nothing_is_a_model_without_a_price() -> None:
    told = {"gen_ai.operation.name": "chat", "opencode.llm.cost.total": 0, "opencode.llm.retry_count": 2}

    found = row(OpenCode(), told)

    assert (found.cost_usd, found.pricing_status, found.retry_count) == (None, "", 2)


def test_copilots_milliseconds_give_way_to_the_conventions_seconds() -> None:
    told = {"gen_ai.operation.name": "chat", "copilot_chat.time_to_first_token": 250}

    assert row(Copilot(), told).ttft_ns == 250_000_000
    assert row(Copilot(), {**told, "gen_ai.response.time_to_first_chunk": 0.5}).ttft_ns == 500_000_000


def test_copilots_credits_are_no_dollars() -> None:
    told = {"gen_ai.operation.name": "chat", "github.copilot.nano_aiu": 10**9, "github.copilot.cost": 1.0}

    assert row(Copilot(), told).cost_usd is None
