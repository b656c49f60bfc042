"""Spans of Genkit, rule by rule: kinds, providers and counts."""

import json
from typing import Any

import pytest

from support.spans import a_span
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.genkit import Genkit
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes
from tokentrail.semconv.usage import NOT_A_COUNT


def read(dialect: Dialect, attributes: Attributes, **fields: Any) -> Row:
    row = dialect.read(a_span(attributes, **fields))
    assert row is not None
    return row


def genkit(subtype: str, answer: object = None, name: str = "googleai/gemini-2.0-flash") -> Row:
    attributes = {"genkit:metadata:subtype": subtype, "genkit:name": name}
    return read(Genkit(), {**attributes, "genkit:output": json.dumps(answer)})


@pytest.mark.parametrize(
    ("subtype", "kind"),
    [
        ("model", "llm"),
        ("background-model", "llm"),
        ("embedder", "embedding"),
        ("reranker", "rerank"),
        ("retriever", "retrieval"),
        ("tool", "tool"),
        ("tool.v2", "tool"),
        ("evaluator", "evaluator"),
        ("flow", "workflow"),
        ("prompt", "prompt"),
        ("something", "span"),
    ],
)
def test_the_subtype_is_the_kind(subtype: str, kind: str) -> None:
    assert genkit(subtype).kind == kind


def test_a_helper_around_calls_is_a_chain() -> None:
    assert read(Genkit(), {"genkit:type": "util", "genkit:name": "generate"}).kind == "chain"


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("googleai/gemini-2.0-flash", "gcp.gemini"),
        ("vertexai/gemini-2.0-flash", "gcp.vertex_ai"),
        ("openai/gpt-4o", "openai"),
        ("anthropic/claude-sonnet-4-5", "anthropic"),
        ("ollama/llama3", "ollama"),
        ("gpt-4o", "openai"),
    ],
)
def test_the_plugin_tells_the_provider(name: str, provider: str) -> None:
    row = genkit("model", name=name)

    assert (row.provider, row.request_model) == (provider, name)


def test_the_total_tells_that_thoughts_are_beside_the_output() -> None:
    row = genkit(
        "model",
        {
            "usage": {
                "inputTokens": 107,
                "outputTokens": 6,
                "thoughtsTokens": 4,
                "cachedContentTokens": 64,
                "totalTokens": 117,
            }
        },
    )

    assert (row.input_tokens, row.output_tokens, row.reasoning_tokens, row.cache_read_tokens) == (107, 10, 4, 64)


@pytest.mark.parametrize("wrong", [-1, 1.5, "-1"])
def test_a_wrong_count_of_genkit_stays_wrong(wrong: object) -> None:
    assert genkit("model", {"usage": {"inputTokens": wrong}}).input_tokens == NOT_A_COUNT
