"""Spans of Spring AI, rule by rule: what is around its calls, and what its counts and models mean."""

from typing import Any

import pytest

from support.spans import a_span
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.otel_genai import OtelGenAI
from tokentrail.backend.dialects.spring import SpringAI
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes


def read(dialect: Dialect, attributes: Attributes, **fields: Any) -> Row:
    row = dialect.read(a_span(attributes, **fields))
    assert row is not None
    return row


def spring(attributes: Attributes) -> Row:
    return read(SpringAI(), attributes, scope_name="org.springframework.boot")


@pytest.mark.parametrize(
    ("keys", "scope", "spoken"),
    [
        (["spring.ai.kind"], "x", True),
        (["gen_ai.system"], "org.springframework.boot", True),
        (["http.request.method"], "org.springframework.boot", False),
        (["gen_ai.system"], "x", False),
    ],
)
def test_spring_boot_traces_everything_and_only_its_model_calls_are_spring_ai_s(
    keys: list[str], scope: str, spoken: bool
) -> None:
    assert SpringAI().matches(keys, scope) is spoken


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"gen_ai.operation.name": "framework", "spring.ai.kind": "chat_client"}, "chain"),
        ({"gen_ai.operation.name": "framework", "spring.ai.kind": "advisor"}, "chain"),
        ({"gen_ai.operation.name": "framework", "spring.ai.kind": "tool_call"}, "tool"),
        ({"gen_ai.operation.name": "execute_tool", "spring.ai.kind": "tool_call"}, "tool"),
        ({"spring.ai.kind": "vector_store"}, "retrieval"),
        ({"gen_ai.operation.name": "framework"}, "chain"),
        ({"gen_ai.operation.name": "chat"}, "llm"),
        ({"gen_ai.operation.name": "embedding"}, "embedding"),
        ({"gen_ai.operation.name": "image"}, "llm"),
    ],
)
def test_what_spring_ai_has_around_its_calls_is_no_call(attributes: Attributes, kind: str) -> None:
    assert spring({"gen_ai.request.model": "m", **attributes}).kind == kind


def test_none_is_no_model_whoever_reads_it() -> None:
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "none",
        "gen_ai.response.model": "none",
    }

    for row in (spring(attributes), read(OtelGenAI(), attributes)):
        assert (row.request_model, row.response_model) == ("", "")


@pytest.mark.parametrize(("system", "total"), [("anthropic", 300), ("openai", 200)])
def test_anthropic_s_input_leaves_the_cache_out_whatever_the_total_says(system: str, total: int) -> None:
    row = spring(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": system,
            "gen_ai.usage.input_tokens": "200",
            "gen_ai.usage.cache_read.input_tokens": "100",
            "gen_ai.usage.output_tokens": "80",
            "gen_ai.usage.total_tokens": "280",
        }
    )

    assert (row.input_tokens, row.cache_read_tokens) == (total, 100)


def test_the_conversation_of_spring_ai_is_its_session() -> None:
    row = spring({"spring.ai.kind": "chat_client", "spring.ai.chat.client.conversation.id": "c1"})

    assert (row.session_id, row.conversation_id) == ("c1", "c1")
