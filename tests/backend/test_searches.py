"""Web searches on their way through the backend: from spans into rows, priced, stored, and priced again."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.calls import NOON_NS, call
from support.spans import a_span, row_of
from tokentrail.backend.dialects.reported_usage import read_reported
from tokentrail.backend.ingest.normalise import normalise
from tokentrail.backend.ingest.reprice import Verdict, reprice
from tokentrail.backend.query.reprice import SEARCHES_SINCE
from tokentrail.backend.row import Row
from tokentrail.backend.store import migrate
from tokentrail.backend.store.chdb import ChdbStore

CLAUDE: dict[str, Any] = {
    "provider": "anthropic",
    "request_model": "claude-sonnet-4-5",
    "response_model": "claude-sonnet-4-5-20250929",
    "server_address": "api.anthropic.com",
    "input_tokens": 1000,
    "output_tokens": 100,
    "cache_read_tokens": None,
    "cache_write_tokens": None,
    "reasoning_tokens": None,
    "price_version": "genai-prices 0.0.1",
    "price_entry": "anthropic/claude-sonnet-4-5",
    "pricing_tier": "standard",
    "pricing_assumptions": (),
}
# $3 and $15 for a million tokens.
TOKENS: dict[str, Decimal] = {"input": Decimal("0.003"), "output": Decimal("0.0015")}
LATER_NS = NOON_NS + 1


def claude(components: dict[str, Decimal], **changes: Any) -> Row:
    return call(**{**CLAUDE, "cost_usd": sum(components.values()), "cost_components": components, **changes})


def span_attributes(**changes: Any) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "server.address": "api.anthropic.com",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        **changes,
    }


def test_a_span_without_cost_is_priced_with_its_searches() -> None:
    (row,) = normalise([a_span(span_attributes(**{"tokentrail.usage.web_searches": 2}))])

    assert row.web_searches == 2
    assert dict(row.cost_components) == {**TOKENS, "requests": Decimal("0.02")}
    assert row.cost_usd == Decimal("0.0245")


@pytest.mark.parametrize("told", [-1, 100_001, 1.5])
def test_a_count_that_cannot_be_is_an_invalid_usage_and_not_kept(told: float) -> None:
    (row,) = normalise([a_span(span_attributes(**{"tokentrail.usage.web_searches": told}))])

    assert (row.pricing_status, row.cost_usd, row.web_searches) == ("invalid_usage", None, None)


def test_a_usage_object_of_anthropic_tells_its_searches() -> None:
    told = {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 3}}

    assert read_reported(told).web_searches == 3
    assert read_reported({**told, "server_tool_use": None}).web_searches is None


def test_searches_are_kept_by_the_table(tmp_path: Path) -> None:
    store = ChdbStore(tmp_path / "store")
    store.migrate()

    store.insert([], [call(span_id=f"{count or 0:016x}", web_searches=count) for count in (None, 7, 2**32)])

    found = store.query("SELECT WebSearches FROM llm_requests ORDER BY SpanId")
    store.close()
    assert [row["WebSearches"] for row in found] == [None, 7, None]


def test_a_row_with_searches_costs_the_same_when_it_is_priced_again() -> None:
    row = claude({**TOKENS, "requests": Decimal("0.03")}, web_searches=3)

    assert reprice(row).verdict is Verdict.SAME


def test_searches_that_had_no_price_get_one() -> None:
    outcome = reprice(claude(TOKENS, web_searches=3, pricing_assumptions=("web_search_not_priced",)))

    assert outcome.verdict is Verdict.CHANGED
    assert outcome.new is not None
    assert outcome.new.cost_components["requests"] == Decimal("0.03")
    assert outcome.new.pricing_assumptions == ()


@pytest.mark.parametrize(
    ("components", "assumptions"),
    [({**TOKENS, "requests": Decimal("0.03")}, ()), ({**TOKENS, "input": Decimal(1)}, ("web_search_not_priced",))],
)
def test_a_row_from_before_the_count_is_kept_where_there_were_searches(
    components: dict[str, Decimal], assumptions: tuple[str, ...]
) -> None:
    row = claude(components, pricing_assumptions=assumptions)

    assert reprice(row, 0, LATER_NS).verdict is Verdict.UNCERTAIN
    assert reprice(row, 0, NOON_NS).verdict is Verdict.CHANGED


def test_a_row_from_before_the_count_is_priced_again_where_there_were_none() -> None:
    outcome = reprice(claude({**TOKENS, "input": Decimal(1)}), 0, LATER_NS)

    assert outcome.verdict is Verdict.CHANGED
    assert outcome.new is not None
    assert dict(outcome.new.cost_components) == TOKENS


def test_the_version_that_counts_searches_is_that_of_its_migration() -> None:
    assert [each.version for each in migrate.load() if each.name == "web_searches"] == [SEARCHES_SINCE]


def test_an_attribute_of_the_instrumentation_is_read_by_its_name() -> None:
    assert row_of(span_attributes(**{"tokentrail.usage.web_searches": 5})).web_searches == 5
