"""Spans of Strands Agents, rule by rule: kinds old and new, counts told twice, content in events."""

import json
from typing import Any

import pytest

from support.spans import a_span
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.strands import Strands
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Event, Value


def read(dialect: Dialect, attributes: Attributes, **fields: Any) -> Row:
    row = dialect.read(a_span(attributes, **fields))
    assert row is not None
    return row


def texts(written: str) -> list[object]:
    return [part.get("content") for message in json.loads(written) for part in message["parts"]]


def strands(attributes: Attributes, **fields: Any) -> Row:
    return read(Strands(), attributes, scope_name="strands.telemetry.tracer", **fields)


@pytest.mark.parametrize(
    ("attributes", "name", "kind"),
    [
        ({"gen_ai.operation.name": "chat"}, "chat", "llm"),
        ({"gen_ai.operation.name": "execute_event_loop_cycle"}, "execute_event_loop_cycle", "chain"),
        ({"gen_ai.operation.name": "invoke_agent"}, "invoke_agent a", "agent"),
        ({"gen_ai.operation.name": "execute_tool"}, "execute_tool w", "tool"),
        ({"gen_ai.request.model": "m"}, "Model invoke", "llm"),
        ({"tool.name": "w"}, "Tool: w", "tool"),
        ({"event_loop.cycle_id": "c"}, "Cycle c", "chain"),
    ],
)
def test_spans_of_strands_old_and_new_have_their_kind(attributes: Attributes, name: str, kind: str) -> None:
    assert strands(attributes, name=name).kind == kind


@pytest.mark.parametrize("milliseconds", [3, 850, 850.0, "850"])
def test_strands_tells_the_first_token_in_milliseconds_however_few(milliseconds: Value) -> None:
    row = strands({"gen_ai.operation.name": "chat", "gen_ai.server.time_to_first_token": milliseconds})

    assert row.ttft_ns == round(float(str(milliseconds)) * 1e6)
    assert row.stream


def test_both_names_of_a_count_are_one_count() -> None:
    row = strands(
        {
            "gen_ai.usage.prompt_tokens": 300,
            "gen_ai.usage.input_tokens": 300,
            "gen_ai.usage.completion_tokens": 20,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.total_tokens": 320,
            "gen_ai.usage.cache_read_input_tokens": 0,
        }
    )

    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens) == (300, 20, 0)


def test_input_that_leaves_bedrock_s_cache_out_is_told_by_the_total() -> None:
    row = strands(
        {
            "gen_ai.usage.input_tokens": 2000,
            "gen_ai.usage.output_tokens": 80,
            "gen_ai.usage.cache_read_input_tokens": 1000,
            "gen_ai.usage.cache_write_input_tokens": 100,
            "gen_ai.usage.total_tokens": 3180,
        }
    )

    assert (row.input_tokens, row.cache_read_tokens, row.cache_write_tokens) == (3100, 1000, 100)


def test_each_detail_is_an_event_of_its_own() -> None:
    name = "gen_ai.client.inference.operation.details"
    written = '[{"role": "assistant", "parts": [], "finish_reason": "max_tokens"}]'

    row = strands(
        {"gen_ai.operation.name": "chat"},
        events=(
            Event(1, name, {"gen_ai.system_instructions": '[{"type": "text", "content": "sys"}]'}),
            Event(2, name, {"gen_ai.input.messages": '[{"role": "user", "parts": []}]'}),
            Event(3, name, {"gen_ai.output.messages": written}),
        ),
    )

    assert (row.input_messages, row.output_messages) == ('[{"role": "user", "parts": []}]', written)
    assert row.system == '[{"type": "text", "content": "sys"}]'
    assert row.finish_reasons == ("length",)


def test_content_of_strands_that_is_no_json_is_text() -> None:
    row = strands(
        {"gen_ai.operation.name": "chat"},
        events=(
            Event(1, "gen_ai.user.message", {"content": "hi"}),
            Event(2, "gen_ai.choice", {"message": "Hello!\n", "finish_reason": "end_turn"}),
        ),
    )

    assert (texts(row.input_messages), texts(row.output_messages)) == (["hi"], ["Hello!\n"])
