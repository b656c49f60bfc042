"""Web searches that providers bill beside tokens: counted, charged, left out where no list has their price."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tokentrail.semconv.cost import Call, Cost, Unpriced, price
from tokentrail.semconv.pricing import Lookup, PriceFileError, RateCard, Reason, Source
from tokentrail.semconv.pricing.tables.price_file import read_price_file
from tokentrail.semconv.pricing.tables.table import Table
from tokentrail.semconv.usage import Usage

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def cost(provider: str, model: str, usage: Usage, host: str, tier: str = "", at: datetime = AT) -> Cost:
    result = price(Call(provider, (model,), usage, int(at.timestamp()) * 10**9, host, tier))
    assert isinstance(result, Cost), result
    return result


def openai(model: str, searches: int | None, tier: str = "", host: str = "api.openai.com") -> Cost:
    return cost("openai", model, Usage(1000, 10, web_searches=searches), host, tier)


def table(*entries: str) -> Table:
    text = "\n".join(["schema = 1", "price = [", *(f"  {entry}," for entry in entries), "]"])
    return read_price_file(text.encode(), "prices.toml", Source.USER)


def card(prices: Table, model: str = "m") -> RateCard:
    answer = prices.find(Lookup("openai", (model,), "", "", AT), lambda _: Unpriced(Reason.UNKNOWN_MODEL))
    assert isinstance(answer, RateCard), answer
    return answer


def test_searches_are_charged_with_the_request() -> None:
    assert openai("gpt-5.5", 3).components["requests"] == Decimal("0.03")
    assert "requests" not in openai("gpt-5.5", 0).components
    assert "requests" not in openai("gpt-5.5", None).components


@pytest.mark.parametrize(
    ("provider", "model", "host", "each"),
    [
        ("anthropic", "claude-haiku-4-5", "api.anthropic.com", "0.01"),
        ("gcp.vertex_ai", "claude-opus-4-8", "aiplatform.googleapis.com", "0.01"),
        ("gcp.gemini", "gemini-2.5-pro", "generativelanguage.googleapis.com", "0.035"),
        ("gcp.gemini", "gemini-2.5-flash-image", "generativelanguage.googleapis.com", "0.035"),
        ("gcp.gemini", "gemini-3.6-flash", "generativelanguage.googleapis.com", "0.014"),
        ("openai", "gpt-5.3-codex", "api.openai.com", "0.01"),
        ("openai", "o3-pro", "api.openai.com", "0.01"),
    ],
)
def test_a_search_costs_what_the_provider_says(provider: str, model: str, host: str, each: str) -> None:
    result = cost(provider, model, Usage(1000, 10, web_searches=1), host)

    assert result.components["requests"] == Decimal(each)
    assert "web_search_not_priced" not in result.assumptions
    assert result.source == "genai-prices"


def test_searches_with_gemini_3_were_free_until_january_2026() -> None:
    usage = Usage(1000, 10, web_searches=2)
    host = "generativelanguage.googleapis.com"

    before = cost("gcp.gemini", "gemini-3-pro-preview", usage, host, at=datetime(2026, 1, 4, 23, tzinfo=UTC))
    after = cost("gcp.gemini", "gemini-3-pro-preview", usage, host, at=datetime(2026, 1, 5, tzinfo=UTC))

    assert (before.components.get("requests"), before.assumptions) == (None, ())
    assert after.components["requests"] == Decimal("0.028")


@pytest.mark.parametrize(("tier", "host"), [("flex", "api.openai.com"), ("priority", "eu.api.openai.com")])
def test_tiers_and_places_have_prices_for_tokens_alone(tier: str, host: str) -> None:
    plain, other = openai("gpt-5.5", 2), openai("gpt-5.5", 2, tier, host)

    assert other.components["input"] != plain.components["input"]
    assert other.components["requests"] == plain.components["requests"] == Decimal("0.02")


def test_searches_that_no_list_has_a_price_of_are_said() -> None:
    usage = Usage(1000, 10, web_searches=1)

    with_it = cost("mistral_ai", "mistral-medium-latest", usage, "api.mistral.ai")
    without = cost("mistral_ai", "mistral-medium-latest", Usage(1000, 10, web_searches=0), "api.mistral.ai")

    assert with_it.assumptions == ("web_search_not_priced",)
    assert (without.assumptions, without.total_usd) == ((), with_it.total_usd)


def test_an_online_model_is_said_once() -> None:
    result = cost("openrouter", "openai/gpt-4o-mini:online", Usage(10, 10, web_searches=1), "openrouter.ai")

    assert result.assumptions == ("web_search_not_priced",)


def test_a_price_of_each_request_is_that_of_its_searches() -> None:
    result = cost("perplexity", "sonar-pro", Usage(1000, 10, web_searches=1), "api.perplexity.ai")

    assert result.components["requests"] == Decimal("0.014")
    assert result.assumptions == ()


@pytest.mark.parametrize("model", ["gpt-4o-search-preview", "gpt-4o-mini-search-preview-2025-03-11"])
def test_a_model_that_always_searches_has_a_price_of_each_request(model: str) -> None:
    assert openai(model, None).components["requests"] == Decimal("0.025")


@pytest.mark.parametrize("searches", [-1, 100_001, 10**13, True, 1.0, "2"])
def test_an_impossible_count_of_searches_is_an_invalid_usage(searches: object) -> None:
    usage = Usage(10, 10, web_searches=searches)  # type: ignore[arg-type]  # what is tested

    result = price(Call("openai", ("gpt-5.5",), usage, int(AT.timestamp()) * 10**9))

    assert isinstance(result, Unpriced)
    assert result.reason is Reason.INVALID_USAGE
    assert "web_searches" in result.detail


def test_as_many_searches_as_may_be_are_priced() -> None:
    assert openai("gpt-5.5", 100_000).components["requests"] == 1000


def test_a_price_of_searches_alone_leaves_the_rest_to_what_follows() -> None:
    prices = table(
        '{ model = "*", web_search = "0.004" }', '{ model = "m", input = "1", output = "2", web_search = "0.5" }'
    )

    found = card(prices)

    assert found.entry == "*/m"
    assert (found.bands[0][1].input, found.bands[0][1].web_search) == (Decimal("0.000001"), Decimal("0.004"))


def test_a_price_of_searches_alone_is_in_every_band() -> None:
    tiers = 'tiers = [{ above = 5, input = "2" }]'
    found = card(table('{ model = "*", web_search = "0" }', f'{{ model = "m", input = "1", {tiers} }}'))

    assert [rates.web_search for _, rates in found.bands] == [0, 0]


def test_a_factor_is_on_searches_too_and_on_none_where_there_is_no_price() -> None:
    factor = '{ model = "*", multiplier = "0.5" }'

    priced = card(table(factor, '{ model = "m", input = "1", web_search = "0.01" }'))
    unpriced = card(table(factor, '{ model = "m", input = "1" }'))

    assert (priced.bands[0][1].web_search, unpriced.bands[0][1].web_search) == (Decimal("0.005"), None)


def test_what_is_free_searches_for_nothing() -> None:
    assert card(table('{ model = "m", free = true }')).bands[0][1].web_search == 0


def test_a_list_is_not_corrected_by_the_price_it_has() -> None:
    prices = table('{ model = "*", web_search = "0.01" }')
    listed = card(table('{ model = "m", input = "1", web_search = "0.01" }'))

    assert prices.find(Lookup("openai", ("m",), "", "", AT), lambda _: listed) is None


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ('{ model = "m", web_search = 0.01 }', "write it in quotes"),
        ('{ model = "m", web_search = "-1" }', "expected an amount"),
        ('{ model = "m", web_search = "0.01", output = "1" }', "needs one of input"),
        ('{ model = "m", web_search = "0.01", multiplier = "2" }', "either prices, free, alias or multiplier"),
        ('{ model = "m", input = "1", tiers = [{ above = 5, web_search = "1" }] }', "not known in a tier"),
    ],
)
def test_what_is_wrong_with_a_price_of_searches_is_said(entry: str, problem: str) -> None:
    with pytest.raises(PriceFileError, match=problem):
        table(entry)
