"""What becomes of one stored call when it is priced again. Prices are worked out by hand from the price file below."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.calls import NOON_NS, call
from tokentrail.backend.correction import COST_FIELDS
from tokentrail.backend.ingest.reprice import Verdict, reprice
from tokentrail.backend.row import Row
from tokentrail.semconv import pricing

LATER_NS = NOON_NS + 1
"""The schema holds everything from here on: a call at noon is an early one."""
# gpt-4o-mini: 0.15 USD per million input tokens, 0.60 per million output tokens (0.075 cache reads).
MINI: dict[str, Any] = {
    "provider": "openai",
    "request_model": "gpt-4o-mini",
    "response_model": "gpt-4o-mini-2024-07-18",
    "server_address": "api.openai.com",
    "input_tokens": 1000,
    "output_tokens": 100,
    "cache_read_tokens": None,
    "cache_write_tokens": None,
    "reasoning_tokens": None,
    "cost_usd": Decimal("0.0003"),
    "cost_components": {"input": Decimal("0.0002"), "output": Decimal("0.0001")},
    "cost_source": "genai-prices",
    "price_version": "genai-prices 0.0.1",
    "price_entry": "openai/gpt-4o-mini",
    "pricing_tier": "standard",
    "pricing_assumptions": (),
}
UNPRICED: dict[str, Any] = {
    "cost_usd": None,
    "cost_components": {},
    "cost_source": "",
    "pricing_status": "unknown_model",
    "price_version": "",
    "price_entry": "",
    "pricing_tier": "",
}


def mini(**changes: Any) -> Row:
    return call(**{**MINI, **changes})


@pytest.fixture
def price_file(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Puts entries in force, and tells the version of the file they are in."""

    def use(entries: str) -> str:
        path = tmp_path / "own.toml"
        path.write_text(f"schema = 1\nprice = [\n{entries}\n]\n")
        pricing.use_price_file(path)
        return pricing.price_file_status().version

    yield use
    pricing.use_price_file(None)


def test_a_call_that_costs_something_else_now_gets_the_price_of_now() -> None:
    verdict, new = reprice(mini())

    assert verdict is Verdict.CHANGED
    assert new is not None
    assert new.cost_usd == Decimal("0.00021")
    assert new.cost_components == {"input": Decimal("0.00015"), "output": Decimal("0.00006")}
    assert (new.cost_source, new.price_entry) == ("genai-prices", "openai/gpt-4o-mini")
    assert new.price_version != "genai-prices 0.0.1"


def test_a_call_that_costs_the_same_keeps_the_provenance_it_has() -> None:
    row = mini(cost_usd=Decimal("0.00021"), cost_components={"input": Decimal("0.00015"), "output": Decimal("0.00006")})

    assert reprice(row) == (Verdict.SAME, None)


@pytest.mark.parametrize(("components", "verdict"), [({}, Verdict.SAME), (None, Verdict.CHANGED)])
def test_the_same_total_of_other_components_is_another_cost(
    components: dict[str, Decimal] | None, verdict: Verdict
) -> None:
    moved = {"input": Decimal("0.0001"), "output": Decimal("0.00011")}

    row = mini(cost_usd=Decimal("0.00021"), cost_components=moved if components is None else components)

    assert reprice(row).verdict is verdict


def test_what_rounding_alone_makes_different_is_the_same() -> None:
    off_by_one = {"input": Decimal("0.000150000001"), "output": Decimal("0.000059999999")}

    assert reprice(mini(cost_usd=Decimal("0.00021"), cost_components=off_by_one)).verdict is Verdict.SAME
    off_by_two = {"input": Decimal("0.000150000002"), "output": Decimal("0.00006")}
    assert reprice(mini(cost_usd=Decimal("0.000210000002"), cost_components=off_by_two)).verdict is Verdict.CHANGED


@pytest.mark.parametrize("source", ["provider", "client", "", "a-list-of-a-later-version"])
@pytest.mark.parametrize("every_list", [False, True])
def test_what_was_reported_is_kept(source: str, every_list: bool) -> None:
    assert reprice(mini(cost_source=source), every_list=every_list) == (Verdict.REPORTED, None)


def test_a_cost_is_kept_when_the_call_has_no_price_any_more() -> None:
    row = mini(request_model="a-model-nobody-sells", response_model="", price_entry="openai/a-model-nobody-sells")

    assert reprice(row) == (Verdict.WITHOUT_PRICE, None)
    assert reprice(row, every_list=True) == (Verdict.WITHOUT_PRICE, None)


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ("user", "app.toml 0123456789ab"),
        ("genai-prices", "genai-prices 0.2.3, app.toml 0123456789ab"),  # under another name: an alias
        ("user", "genai-prices 0.2.3, app.toml 0123456789ab"),  # times a factor
    ],
)
def test_a_price_of_an_applications_price_file_is_kept_unless_all_are_asked_for(source: str, version: str) -> None:
    row = mini(cost_source=source, price_version=version)

    assert reprice(row) == (Verdict.PRICE_FILE, None)
    assert reprice(row, every_list=True).verdict is Verdict.CHANGED


def test_a_price_file_in_force_here_replaces_that_of_an_application(price_file: Callable[[str], str]) -> None:
    version = price_file('{ provider = "openai", model = "gpt-4o-mini*", input = "1", output = "2" },')

    verdict, new = reprice(mini(cost_source="user", price_version="app.toml 0123456789ab"))

    assert verdict is Verdict.CHANGED
    assert new is not None
    assert (new.cost_usd, new.cost_source, new.price_version) == (Decimal("0.0012"), "user", version)


def test_a_price_file_in_force_here_goes_before_the_lists(price_file: Callable[[str], str]) -> None:
    price_file('{ provider = "openai", model = "*", multiplier = "0.5" },')

    new = reprice(mini()).new

    assert new is not None
    assert new.cost_usd == Decimal("0.000105")


def test_a_correction_that_ships_is_no_price_file() -> None:
    assert reprice(mini(cost_source="overlay", price_version="overlay 0123456789ab")).verdict is Verdict.CHANGED
    row = mini(price_version="genai-prices 0.2.3, overlay 0123456789ab")
    assert reprice(row).verdict is Verdict.CHANGED


def test_a_call_without_a_price_gets_the_one_there_is_now() -> None:
    verdict, new = reprice(mini(**UNPRICED))

    assert verdict is Verdict.CHANGED
    assert new is not None
    assert (new.cost_usd, new.pricing_status) == (Decimal("0.00021"), "priced")


@pytest.mark.parametrize("reason", ["no_usage", "invalid_usage", "failed"])
def test_a_call_whose_usage_gave_it_no_price_has_none_from_a_list_either(reason: str) -> None:
    # An impossible count is not in the row: what is left of the usage must not be charged.
    row = mini(**{**UNPRICED, "pricing_status": reason, "input_tokens": None})

    assert reprice(row) == (Verdict.SAME, None)


def test_a_call_that_still_has_no_price_keeps_its_reason() -> None:
    row = mini(**{**UNPRICED, "pricing_status": "self_hosted", "response_model": "", "request_model": "my-model"})

    assert reprice(row) == (Verdict.SAME, None)


def test_a_self_hosted_call_of_an_unknown_host_gets_no_list_price(price_file: Callable[[str], str]) -> None:
    row = mini(**{**UNPRICED, "pricing_status": "self_hosted", "server_address": ""})

    assert reprice(row) == (Verdict.UNCERTAIN, None)

    price_file('{ model = "gpt-4o-mini*", input = "0.1", output = "0.1" },')
    assert reprice(row).verdict is Verdict.CHANGED


def test_no_other_field_of_a_call_changes() -> None:
    row = mini()

    new = reprice(row).new

    assert new is not None
    assert replace(new, **{name: getattr(row, name) for name in COST_FIELDS}) == row


# Rows of before the schema held everything -------------------------------------------------------------------------


def test_an_early_call_is_priced_by_the_tier_its_old_price_tells(price_file: Callable[[str], str]) -> None:
    price_file(
        '{ provider = "openai", model = "*", tier = "priority", input = "2", output = "4" },'
        '{ provider = "openai", model = "*", input = "1", output = "2" },'
    )

    new = reprice(mini(pricing_tier="priority"), LATER_NS).new

    assert new is not None
    assert (new.cost_usd, new.pricing_tier) == (Decimal("0.0024"), "priority")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pricing_assumptions": ("tier_not_priced",)}, "a tier without a price: which one is not known"),
        ({"price_entry": "openai/gpt-5"}, "priced as another model, which is not known"),
    ],
)
def test_an_early_call_that_was_priced_by_what_its_row_lacks_is_kept(changes: dict[str, Any], why: str) -> None:
    row = mini(**changes)

    assert reprice(row, LATER_NS).verdict is Verdict.UNCERTAIN, why
    assert reprice(row, NOON_NS).verdict is Verdict.CHANGED, "at noon the row has everything"


def test_an_early_call_that_the_same_list_prices_differently_is_kept() -> None:
    now = reprice(mini()).new
    assert now is not None
    row = mini(price_version=now.price_version)

    assert reprice(row, LATER_NS).verdict is Verdict.UNCERTAIN
    assert reprice(row, NOON_NS).verdict is Verdict.CHANGED


CACHE_WRITES: dict[str, Any] = {
    "provider": "anthropic",
    "server_address": "api.anthropic.com",
    "request_model": "claude-sonnet-4-5",
    "response_model": "claude-sonnet-4-5-20250929",
    "price_entry": "anthropic/claude-sonnet-4-5",
    "cache_write_tokens": 1000,
    "output_tokens": 0,
}


def test_an_early_call_whose_cache_writes_were_told_apart_is_kept() -> None:
    row = mini(**CACHE_WRITES)

    assert reprice(row, LATER_NS).verdict is Verdict.UNCERTAIN


def test_an_early_call_whose_cache_writes_were_taken_for_short_ones_still_is() -> None:
    # Claude Sonnet 4.5: 3.75 USD per million tokens written for five minutes.
    row = mini(**CACHE_WRITES, pricing_assumptions=("ttl_5m_assumed",))

    new = reprice(row, LATER_NS).new

    assert new is not None
    assert new.cost_usd == Decimal("0.00375")


AUDIO: dict[str, Any] = {
    "provider": "acme",
    "server_address": "",
    "request_model": "ears",
    "response_model": "",
    "price_entry": "acme/ears",
    "cost_source": "user",
    "price_version": "own.toml 0123456789ab",
}


@pytest.mark.parametrize("unpriced", [False, True])
def test_an_early_call_of_a_model_with_prices_for_audio_is_kept(
    price_file: Callable[[str], str], unpriced: bool
) -> None:
    price_file('{ provider = "acme", model = "ears", input = "1", audio_input = "10", output = "2" },')
    changes = {**AUDIO, **(UNPRICED if unpriced else {})}

    assert reprice(mini(**changes), LATER_NS).verdict is Verdict.UNCERTAIN
    assert reprice(mini(**changes), NOON_NS).verdict is Verdict.CHANGED


def test_an_early_call_of_a_model_with_one_price_is_repriced() -> None:
    assert reprice(mini(), LATER_NS).verdict is Verdict.CHANGED
    assert reprice(mini(**UNPRICED), LATER_NS).verdict is Verdict.CHANGED
