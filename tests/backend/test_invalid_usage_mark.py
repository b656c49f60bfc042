"""A sender that knows the usage to be invalid says so, because what it left out cannot be seen."""

import pytest

from support.spans import row_of
from tokentrail.backend.dialects.tokens import read_usage
from tokentrail.backend.ingest.price import priced
from tokentrail.backend.span import Attributes

INPUT, OUTPUT = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
CACHE = "gen_ai.usage.cache_read.input_tokens"
MARK: Attributes = {"tokentrail.usage.status": "invalid"}


@pytest.mark.parametrize(
    "counts", [{}, {INPUT: 5}, {OUTPUT: 7}, {INPUT: 5, OUTPUT: 7}, {INPUT: 5, OUTPUT: 7, CACHE: 6}], ids=str
)
def test_a_marked_usage_is_invalid_whatever_is_left_of_it(counts: dict[str, int]) -> None:
    row = row_of({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", **counts, **MARK})

    assert priced(row).pricing_status == "invalid_usage"
    assert priced(row).cost_usd is None


def test_a_marked_cache_larger_than_its_input_is_not_added_to_it() -> None:
    usage = read_usage({INPUT: 5, OUTPUT: 7, CACHE: 6, **MARK})

    assert (usage.input_tokens, usage.cache_read_tokens) == (5, 6)


def test_the_same_cache_without_the_mark_is_one_that_the_input_leaves_out() -> None:
    assert read_usage({INPUT: 5, OUTPUT: 7, CACHE: 6}).input_tokens == 11


def test_another_status_is_no_mark() -> None:
    usage = read_usage({INPUT: 5, OUTPUT: 7, "tokentrail.usage.status": "missing"})

    assert usage.problem() is None
