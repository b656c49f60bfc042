"""The corrections for OpenAI and Azure, and the hosts they go by."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import pytest

from tokentrail.semconv import providers
from tokentrail.semconv.pricing import RateCard, Reason, Unpriced, rate_card
from tokentrail.semconv.pricing._base import Lookup
from tokentrail.semconv.pricing.card import Source
from tokentrail.semconv.pricing.list_prices import ListPrices
from tokentrail.semconv.pricing.tables.overlay import Overlay
from tokentrail.semconv.pricing.tables.table import Alias, Entry, SearchPrice

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
TIERS_LISTED: Final = datetime(2026, 10, 12, tzinfo=UTC)
"""From when on genai-prices 0.2.3 has OpenAI's tiers."""
ENTRIES: Final = tuple(
    entry for entry in Overlay().load().entries if entry.provider == "openai" or entry.provider.startswith("azure.ai.")
)
PRICES: Final = tuple(entry for entry in ENTRIES if not isinstance(entry.action, (Alias, SearchPrice, Decimal)))
TIERS_BEFORE: Final = tuple(entry for entry in ENTRIES if entry.end == TIERS_LISTED)


def card(model: str, at: datetime, tier: str = "", host: str = "api.openai.com") -> RateCard:
    found = rate_card("openai", host, (model,), tier, int(at.timestamp()) * 10**9)
    assert isinstance(found, RateCard), found
    return found


def a_model_of(entry: Entry) -> str:
    """A name that the entry's pattern is for."""
    return entry.model.replace("-20*", "-2099-01-01").removesuffix("*").replace("[lst]", "luna").replace("[als]", "sol")


@pytest.mark.parametrize("region", ["us", "eu", "ae", "au", "in", "jp"])
def test_every_region_of_data_residency_is_openai(region: str) -> None:
    assert providers.of_host(f"{region}.api.openai.com") == providers.OPENAI


@pytest.mark.parametrize("host", ["api.openai.com.example.net", "notapi.openai.com", "openai.com"])
def test_a_host_that_only_looks_like_openai_is_nobody(host: str) -> None:
    assert providers.of_host(host) is None


@pytest.mark.parametrize("model", ["gpt-5.4", "gpt-5.5-pro", "gpt-5.6", "gpt-5.6-terra", "gpt-6-luna", "gpt-6.1-sol"])
def test_a_model_of_after_march_2026_costs_a_tenth_more_in_a_region(model: str) -> None:
    everywhere = card(model, NOW)

    in_the_eu = card(model, NOW, host="eu.api.openai.com")

    assert in_the_eu.entry == f"{everywhere.entry} x 1.1"
    for (_, rates), (_, base) in zip(in_the_eu.bands, everywhere.bands, strict=True):
        assert (rates.input, rates.output) == (base.input * Decimal("1.1"), base.output * Decimal("1.1"))


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5", "gpt-5.2", "o3", "text-embedding-3-small"])
def test_an_older_model_costs_the_same_in_a_region(model: str) -> None:
    assert card(model, NOW, host="eu.api.openai.com") == card(model, NOW)


def test_there_are_tiers_from_before_the_list_had_them() -> None:
    assert len(TIERS_BEFORE) > 40


@pytest.mark.parametrize("entry", TIERS_BEFORE, ids=lambda entry: f"{entry.model} {entry.tier}")
def test_a_tier_goes_on_in_the_list_where_its_correction_ends(entry: Entry) -> None:
    """What was sold before the list had it is told there at the same prices, so that the day makes no step."""
    model = entry.model.replace("-20*", "").removesuffix("*")

    listed = card(model, TIERS_LISTED, entry.tier)
    dated = card(a_model_of(entry), TIERS_LISTED - timedelta(minutes=15), entry.tier)

    assert (listed.source, dated.source) == (Source.GENAI_PRICES, Source.OVERLAY)
    assert listed.tier == dated.tier == entry.tier
    assert dated.bands == listed.bands


@pytest.mark.parametrize("entry", PRICES, ids=lambda entry: f"{entry.name} {entry.tier or '-'} {entry.line}")
def test_the_list_still_needs_the_correction(entry: Entry) -> None:
    """An entry that says what the list says by now is to be removed."""
    at = entry.end - timedelta(minutes=15) if entry.end else NOW
    provider = "openai" if entry.provider == "openai" else providers.AZURE_OPENAI
    lookup = Lookup(provider, (a_model_of(entry),), "", entry.tier, at)

    listed = ListPrices().find(lookup, lambda _: Unpriced(Reason.UNKNOWN_MODEL))

    assert not isinstance(listed, RateCard) or (listed.bands, listed.tier) != (entry.action, entry.tier or "standard")
