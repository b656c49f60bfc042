import math
from typing import Any

import pytest

from tokentrail.semconv.usage import MAX_TOKENS, Usage


def test_a_usage_without_totals_is_empty_and_one_with_a_zero_total_is_not() -> None:
    assert Usage().is_empty
    assert Usage(cache_read_tokens=3).is_empty
    assert not Usage(input_tokens=0).is_empty
    assert not Usage(output_tokens=0).is_empty


@pytest.mark.parametrize(
    "usage",
    [
        Usage(),
        Usage(0, 0),
        Usage(100, 50, cache_read_tokens=60, cache_write_tokens=40, cache_write_1h_tokens=40, reasoning_tokens=50),
        Usage(100, 50, audio_input_tokens=60, image_input_tokens=40, audio_output_tokens=20, image_output_tokens=30),
        Usage(100, 50, cache_read_tokens=80, audio_input_tokens=30, audio_cache_read_tokens=30),
        Usage(MAX_TOKENS, MAX_TOKENS),
    ],
)
def test_subsets_may_fill_their_totals(usage: Usage) -> None:
    assert usage.problem() is None


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (Usage(10, 5, cache_read_tokens=11), ["input_tokens", "11", "10"]),
        (Usage(10, 5, cache_read_tokens=6, cache_write_tokens=5), ["input_tokens", "11", "10"]),
        (Usage(10, 5, cache_write_tokens=3, cache_write_1h_tokens=4), ["cache_write_tokens", "4", "3"]),
        (Usage(10, 5, reasoning_tokens=6), ["output_tokens", "6", "5"]),
        (Usage(10, 5, audio_input_tokens=6, image_input_tokens=5), ["input_tokens", "11"]),
        (Usage(10, 5, audio_output_tokens=3, image_output_tokens=3), ["output_tokens", "6"]),
        (
            Usage(10, 5, cache_read_tokens=2, audio_input_tokens=9, audio_cache_read_tokens=3),
            ["cache_read_tokens", "3", "2"],
        ),
        (
            Usage(10, 5, cache_read_tokens=9, audio_input_tokens=2, audio_cache_read_tokens=3),
            ["audio_input_tokens", "3", "2"],
        ),
        (Usage(output_tokens=5, cache_read_tokens=1), ["input_tokens", "not reported"]),
        (Usage(-1, 5), ["input_tokens", "negative"]),
        (Usage(5, MAX_TOKENS + 1), ["output_tokens", "more than"]),
    ],
)
def test_a_contradiction_is_named_with_the_field_and_its_numbers(usage: Usage, words: list[str]) -> None:
    problem = usage.problem()

    assert problem is not None
    assert [word for word in words if word not in problem] == []


@pytest.mark.parametrize("count", [math.nan, math.inf, 3.5, "12", True, [], {}, 1e400])
def test_a_count_of_the_wrong_type_is_a_problem_and_never_raises(count: Any) -> None:
    problem = Usage(input_tokens=count, output_tokens=1).problem()

    assert problem is not None
    assert "input_tokens" in problem
    assert type(count).__name__ in problem
