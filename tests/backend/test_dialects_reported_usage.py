"""Usage objects of providers and frameworks become inclusive totals."""

from collections.abc import Mapping
from typing import Any

import pytest

from tokentrail.backend.dialects.reported_usage import read_reported
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

OPENAI: Mapping[str, object] = {
    "prompt_tokens": 1200,
    "completion_tokens": 80,
    "total_tokens": 1280,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 7},
    "completion_tokens_details": {"reasoning_tokens": 16, "audio_tokens": 3},
}


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        (
            OPENAI,
            Usage(1200, 80, cache_read_tokens=1024, reasoning_tokens=16, audio_input_tokens=7, audio_output_tokens=3),
        ),
        (
            {
                "input_tokens": 1200,
                "output_tokens": 80,
                "total_tokens": 1280,
                "input_tokens_details": {"cached_tokens": 1024},
                "output_tokens_details": {"reasoning_tokens": 16},
            },
            Usage(1200, 80, cache_read_tokens=1024, reasoning_tokens=16),
        ),
        (
            {
                "input_tokens": 200,
                "output_tokens": 80,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 100,
                "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
            },
            Usage(1300, 80, cache_read_tokens=1000, cache_write_tokens=100, cache_write_1h_tokens=40),
        ),
        (
            # as much from the cache as besides it: only the names tell
            {"input_tokens": 2000, "output_tokens": 80, "cache_read_input_tokens": 1000},
            Usage(3000, 80, cache_read_tokens=1000),
        ),
        (
            {
                "input_tokens": 1300,
                "output_tokens": 80,
                "total_tokens": 1380,
                "input_token_details": {
                    "cache_read": 1000,
                    "cache_creation": 0,
                    "ephemeral_5m_input_tokens": 60,
                    "ephemeral_1h_input_tokens": 40,
                },
                "output_token_details": {"reasoning": 16},
            },
            Usage(
                1300,
                80,
                cache_read_tokens=1000,
                cache_write_tokens=100,
                cache_write_1h_tokens=40,
                reasoning_tokens=16,
            ),
        ),
        (
            {"inputTokens": 200, "outputTokens": 80, "totalTokens": 280, "cacheReadInputTokens": 1000},
            Usage(1200, 80, cache_read_tokens=1000),
        ),
        (
            {
                "prompt_token_count": 107,
                "candidates_token_count": 6,
                "thoughts_token_count": 4,
                "cached_content_token_count": 64,
                "total_token_count": 117,
            },
            Usage(107, 10, cache_read_tokens=64, reasoning_tokens=4),
        ),
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),
        ({"prompt_tokens": "12", "completion_tokens": 3.0}, Usage(12, 3)),
    ],
    ids=["openai", "responses", "anthropic", "anthropic, little cached", "langchain", "bedrock", "gemini", "embedding",
         "as text"],
)  # fmt: skip
def test_each_owner_counts_in_its_own_way(reported: Mapping[str, object], usage: Usage) -> None:
    assert read_reported(reported) == usage


@pytest.mark.parametrize("reported", [None, 5, "x", [], {}, {"prompt_tokens": None}, {"input_tokens": {"a": 1}}])
def test_what_is_no_usage_is_empty(reported: Any) -> None:
    assert read_reported(reported).is_empty


@pytest.mark.parametrize("wrong", [-1, 1.5, float("nan"), "NaN"])
def test_a_number_that_is_no_count_makes_the_usage_invalid(wrong: object) -> None:
    usage = read_reported({**OPENAI, "prompt_tokens": wrong})

    assert usage.input_tokens == NOT_A_COUNT
    assert usage.problem() is not None


def test_a_caller_who_knows_decides_whether_the_cache_is_inside() -> None:
    reported = {"input_tokens": 2000, "output_tokens": 80, "cache_read_input_tokens": 1000}

    assert read_reported(reported, cache_apart=False).input_tokens == 2000
    assert read_reported(reported, cache_apart=True).input_tokens == 3000
