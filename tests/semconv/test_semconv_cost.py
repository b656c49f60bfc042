"""Expected values are worked out by hand: each test writes its formula with the list price in USD per million."""

import decimal
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tokentrail.semconv.cost import Call, Cost, Reason, Source, Unpriced, attributes, price
from tokentrail.semconv.usage import Usage

NOV_2026 = "2026-11-20T12:00"


def ns(when: str) -> int:
    return int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def cost(
    provider: str, model: str, usage: Usage, *, at: str = NOV_2026, host: str = "", tier: str = "", fallback: str = ""
) -> Cost:
    result = price(Call(provider, (model, fallback), usage, ns(at), server_address=host, service_tier=tier))
    assert isinstance(result, Cost), result
    return result


def unpriced(provider: str, *models: str, usage: Usage | None = None, host: str = "") -> Unpriced:
    usage = Usage(10, 5) if usage is None else usage
    result = price(Call(provider, models, usage, ns(NOV_2026), server_address=host))
    assert isinstance(result, Unpriced), result
    return result


def usd(*parts: tuple[int, str]) -> Decimal:
    """The sum of tokens times USD per million, in integers and one shift of the point."""
    scaled = sum(count * int(Decimal(rate) * 10_000) for count, rate in parts)
    return Decimal(scaled).scaleb(-10)


def test_gpt_4o_mini_with_500_in_and_300_out_costs_0_000255() -> None:
    result = cost("openai", "gpt-4o-mini", Usage(500, 300))

    assert result.total_usd == Decimal("0.000255")
    assert dict(result.components) == {"input": Decimal("0.000075"), "output": Decimal("0.00018")}
    assert result.source == Source.GENAI_PRICES
    assert result.version.startswith("genai-prices 0.2.")
    assert (result.entry, result.tier, result.assumptions) == ("openai/gpt-4o-mini", "standard", ())


def test_cached_and_reasoning_tokens_are_parts_of_their_totals() -> None:
    usage = Usage(1000, 200, cache_read_tokens=400, reasoning_tokens=150)

    result = cost("openai", "gpt-4o", usage)

    assert dict(result.components) == {
        "input": usd((600, "2.5")),
        "cache_read": usd((400, "1.25")),
        "output": usd((50, "10")),
        "reasoning": usd((150, "10")),
    }
    assert result.total_usd == usd((600, "2.5"), (400, "1.25"), (200, "10"))


def test_cache_writes_of_an_hour_cost_more_than_those_of_five_minutes() -> None:
    usage = Usage(10_000, 100, cache_read_tokens=4000, cache_write_tokens=5000, cache_write_1h_tokens=2000)

    result = cost("anthropic", "claude-sonnet-4-6", usage)

    assert dict(result.components) == {
        "input": usd((1000, "3")),
        "cache_read": usd((4000, "0.3")),
        "cache_write": usd((3000, "3.75"), (2000, "6")),
        "output": usd((100, "15")),
    }
    assert result.assumptions == ()


def test_cache_writes_of_unknown_lifetime_are_priced_as_five_minutes_and_say_so() -> None:
    result = cost("anthropic", "claude-sonnet-4-6", Usage(5000, 0, cache_write_tokens=5000))

    assert result.total_usd == usd((5000, "3.75"))
    assert result.assumptions == ("ttl_5m_assumed",)


def test_cache_tokens_without_a_price_of_their_own_cost_what_input_costs() -> None:
    result = cost("groq", "llama-3.3-70b-versatile", Usage(1000, 0, cache_read_tokens=400, cache_write_tokens=100))

    assert dict(result.components) == {
        "input": usd((500, "0.59")),
        "cache_read": usd((400, "0.59")),
        "cache_write": usd((100, "0.59")),
    }


def test_a_long_context_raises_the_price_of_all_tokens_past_its_threshold_only() -> None:
    below = cost("openai", "gpt-5.5", Usage(272_000, 100, cache_read_tokens=272_000))
    above = cost("openai", "gpt-5.5", Usage(272_001, 100, cache_read_tokens=272_001))

    assert below.total_usd == usd((272_000, "0.5"), (100, "30"))
    assert above.total_usd == usd((272_001, "1"), (100, "45"))


@pytest.mark.parametrize(("at", "rates"), [("2025-06-09T23:59:59", ("10", "40")), ("2025-06-10T00:00:00", ("2", "8"))])
def test_a_price_changes_at_midnight_utc_of_its_date(at: str, rates: tuple[str, str]) -> None:
    result = cost("openai", "o3", Usage(1000, 1000), at=at)

    assert result.total_usd == usd((1000, rates[0]), (1000, rates[1]))


@pytest.mark.parametrize(
    ("at", "rate"),
    [
        ("2026-11-20T00:59:59", "0.6"),
        ("2026-11-20T01:00:00", "1.2"),
        ("2026-11-20T03:59:59", "1.2"),
        ("2026-11-20T04:00:00", "0.6"),
    ],
)
def test_a_price_by_time_of_day_changes_at_its_minute(at: str, rate: str) -> None:
    assert cost("deepseek", "deepseek-flash", Usage(0, 1000), at=at).total_usd == usd((1000, rate))


def test_azure_prices_the_response_model_and_not_the_name_of_the_deployment() -> None:
    result = cost(
        "azure.ai.openai", "gpt-4o-2024-08-06", Usage(1000, 100), fallback="team-a", host="a.openai.azure.com"
    )

    assert result.total_usd == usd((1000, "2.5"), (100, "10"))
    assert result.entry == "openai/gpt-4o"


def test_the_tier_of_openai_is_not_that_of_azure() -> None:
    priority = cost("openai", "gpt-4o", Usage(1000, 0), tier="priority")
    azure = cost("azure.ai.openai", "gpt-4o", Usage(1000, 0), tier="priority")

    assert (priority.total_usd, priority.tier, priority.assumptions) == (usd((1000, "4.25")), "priority", ())
    assert (azure.total_usd, azure.tier) == (usd((1000, "2.5")), "standard")
    assert azure.assumptions == ("tier_not_priced", "region_assumed")


@pytest.mark.parametrize("tier", ["", "default", "standard", "auto", "on_demand", "ON_DEMAND", " Standard "])
def test_words_for_the_ordinary_tier_need_no_assumption(tier: str) -> None:
    result = cost("groq", "llama-3.3-70b-versatile", Usage(1000, 0), tier=tier)

    assert (result.total_usd, result.tier, result.assumptions) == (usd((1000, "0.59")), "standard", ())


def test_a_batch_costs_half_whether_the_list_knows_it_or_the_overlay_does() -> None:
    known = cost("anthropic", "claude-sonnet-4-6", Usage(1000, 0), tier="batch")
    earlier = cost("anthropic", "claude-sonnet-4-6", Usage(1000, 0), tier="batch", at="2026-10-13T12:00")

    assert (known.total_usd, known.tier, known.source) == (usd((1000, "1.5")), "batch", "genai-prices")
    assert (earlier.total_usd, earlier.tier, earlier.source) == (usd((1000, "1.5")), "batch", "overlay")
    assert (known.assumptions, earlier.assumptions) == ((), ())


def test_a_price_per_request_is_a_component_of_its_own() -> None:
    result = cost("perplexity", "sonar", Usage(500, 300))

    assert result.components["requests"] == Decimal("0.012")
    assert result.total_usd == usd((800, "1")) + Decimal("0.012")


def test_reasoning_with_a_price_of_its_own_is_charged_at_it() -> None:
    result = cost("perplexity", "sonar-deep-research", Usage(0, 1000, reasoning_tokens=700))

    assert dict(result.components) == {"output": usd((300, "8")), "reasoning": usd((700, "3"))}


@pytest.mark.parametrize(
    "model", ["groq/llama-3.3-70b-versatile", "llama-3.3-70b-versatile", "LLAMA-3.3-70B-Versatile"]
)
def test_groq_is_priced_with_and_without_its_prefix(model: str) -> None:
    assert cost("groq", model, Usage(1000, 1000)).total_usd == usd((1000, "0.59"), (1000, "0.79"))


@pytest.mark.parametrize("model", ["ft:gpt-4o-mini-2024-07-18:acme::abc", "ft:gpt-4o-mini:acme::abc"])
def test_a_fine_tuned_model_has_the_price_of_fine_tuned_models(model: str) -> None:
    result = cost("openai", model, Usage(1000, 1000))

    assert result.total_usd == usd((1000, "0.3"), (1000, "1.2"))
    assert result.assumptions == ()


def test_a_fine_tuned_model_that_the_list_lacks_costs_what_its_base_does_and_says_so() -> None:
    result = cost("openai", "ft:o1-2024-12-17:acme::abc", Usage(1000, 1000))

    assert result.total_usd == usd((1000, "15"), (1000, "60"))
    assert result.assumptions == ("fine_tune_at_base_price",)


def test_openrouter_has_prices_of_its_own_and_online_leaves_the_search_out() -> None:
    plain = cost("openrouter", "openai/gpt-4o-mini", Usage(500, 300))
    online = cost("openrouter", "openai/gpt-4o-mini:online", Usage(500, 300))

    assert plain.total_usd == online.total_usd == usd((500, "0.15"), (300, "0.6"))
    assert plain.entry == online.entry == "openrouter/openai/gpt-4o-mini"
    assert (plain.assumptions, online.assumptions) == ((), ("web_search_not_priced",))


def test_a_client_of_openai_pointed_at_groq_pays_groq() -> None:
    result = cost("openai", "openai/gpt-oss-120b", Usage(1000, 1000), host="api.groq.com")

    assert result.entry == "groq/openai/gpt-oss-120b"


@pytest.mark.parametrize(
    ("provider", "model", "entry"),
    [
        ("gcp.gemini", "models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("gcp.gen_ai", "gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("x_ai", "grok-4", "x-ai/grok-4-0709"),
        ("mistral_ai", "codestral-latest", "mistral/codestral"),
        ("azure", "gpt-35-turbo", "openai/gpt-3.5-turbo"),
        ("openai", "gpt-4o-20240806", "openai/gpt-4o"),
    ],
)
def test_models_are_found_under_the_names_that_providers_use(provider: str, model: str, entry: str) -> None:
    result = cost(provider, model, Usage(10, 10))

    assert result.entry == entry
    assert set(result.assumptions) <= {"region_assumed"}  # no host is given


def test_audio_has_prices_of_its_own_in_input_and_output() -> None:
    usage = Usage(1000, 500, cache_read_tokens=300, audio_input_tokens=600, audio_cache_read_tokens=200)
    with_output = Usage(1000, 500, cache_read_tokens=0, audio_input_tokens=0, audio_output_tokens=400)

    result = cost("openai", "gpt-realtime", usage)
    spoken = cost("openai", "gpt-realtime", with_output)

    # Uncached: 700, of which 600 - 200 audio. From the cache: 100 text and 200 audio, at one price.
    assert dict(result.components) == {
        "input": usd((300, "4"), (400, "32")),
        "cache_read": usd((300, "0.4")),
        "output": usd((500, "16")),
    }
    assert spoken.components["output"] == usd((100, "16"), (400, "64"))


def test_audio_that_must_have_been_cached_is_charged_as_cached_and_the_guess_is_told() -> None:
    usage = Usage(1000, 0, cache_read_tokens=900, audio_input_tokens=400)

    result = cost("openai", "gpt-realtime", usage)

    # 100 tokens were not cached, so of the 400 audio tokens at least 300 were.
    assert result.total_usd == usd((100, "32"), (900, "0.4"))
    assert result.assumptions == ("cached_text_assumed",)


def test_what_the_provider_reported_wins_over_the_list_and_needs_no_usage() -> None:
    call = Call("openrouter", ("openai/gpt-4o",), Usage(), ns(NOV_2026), reported_usd=Decimal("0.00123"))

    result = price(call)

    assert result == Cost(Decimal("0.00123"), {}, source="provider")


@pytest.mark.parametrize("reported", ["-1", "NaN", "sNaN", "Infinity", "1000000"])
def test_a_reported_cost_that_is_no_amount_is_ignored(reported: str) -> None:
    usage = Usage(500, 300)

    result = price(Call("openai", ("gpt-4o-mini",), usage, ns(NOV_2026), reported_usd=Decimal(reported)))

    assert isinstance(result, Cost)
    assert (result.total_usd, result.source) == (Decimal("0.000255"), "genai-prices")


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("self_hosted", ""),
        ("ollama", "127.0.0.1"),
        ("vllm", ""),
        ("openai", "llm.corp.example"),
        ("openai", "localhost"),
    ],
)
def test_a_self_hosted_model_has_no_list_price_even_if_another_seller_has_one(provider: str, host: str) -> None:
    result = unpriced(provider, "gpt-4o", host=host)

    assert result.reason is Reason.SELF_HOSTED
    assert (host or provider) in result.detail


def test_unknown_provider_and_unknown_model_are_told_apart_and_named() -> None:
    provider = unpriced("acme-cloud", "gpt-4o")
    model = unpriced("openai", "gpt-99", "gpt-98")

    assert (provider.reason, model.reason) == (Reason.UNKNOWN_PROVIDER, Reason.UNKNOWN_MODEL)
    assert "acme-cloud" in provider.detail
    assert "gpt-99" in model.detail
    assert "gpt-98" in model.detail


def test_a_model_that_the_list_has_without_a_price_is_unpriced_and_not_free() -> None:
    result = unpriced("groq", "whisper-large-v3")

    assert result.reason is Reason.UNKNOWN_MODEL
    assert "groq/whisper-large-v3" in result.detail


def test_a_call_that_names_no_model_is_an_unknown_model() -> None:
    assert unpriced("openai").reason is Reason.UNKNOWN_MODEL
    assert unpriced("openai", "", "  ").reason is Reason.UNKNOWN_MODEL


def test_no_usage_is_unpriced_and_a_usage_of_zero_costs_zero() -> None:
    assert unpriced("openai", "gpt-4o", usage=Usage()).reason is Reason.NO_USAGE
    assert unpriced("ollama", "llama", usage=Usage(cache_read_tokens=3)).reason is Reason.NO_USAGE
    assert cost("openai", "gpt-4o", Usage(0, 0)).total_usd == 0


def test_invalid_usage_names_what_is_wrong() -> None:
    result = unpriced("openai", "gpt-4o", usage=Usage(10, 5, cache_read_tokens=20))

    assert result.reason is Reason.INVALID_USAGE
    assert "input_tokens" in result.detail


def test_a_cost_that_no_row_can_hold_is_invalid_usage() -> None:
    result = unpriced("openai", "gpt-4o", usage=Usage(10**12, 0))

    assert result.reason is Reason.INVALID_USAGE
    assert "2500000" in result.detail


def test_output_of_a_model_that_is_sold_by_its_input_is_free_and_says_so() -> None:
    plain = cost("openai", "text-embedding-3-small", Usage(1000))
    odd = cost("openai", "text-embedding-3-small", Usage(1000, 7))

    assert plain.total_usd == odd.total_usd == usd((1000, "0.02"))
    assert (plain.assumptions, odd.assumptions) == ((), ("output_not_priced",))


def test_the_decimal_context_of_the_application_changes_nothing() -> None:
    usage = Usage(123_457, 98_765, cache_read_tokens=11_111, reasoning_tokens=777)
    expected = cost("openai", "gpt-4o", usage)

    with decimal.localcontext(decimal.Context(prec=2, rounding=decimal.ROUND_UP, traps=[decimal.Inexact])):
        result = cost("openai", "gpt-4o", usage)

    assert result == expected
    assert result.total_usd == usd((123_457 - 11_111, "2.5"), (11_111, "1.25"), (98_765, "10"))


def test_a_priced_call_has_all_its_attributes_with_their_types() -> None:
    result = Cost(
        Decimal("0.03"),
        {"input": Decimal("0.01"), "reasoning": Decimal("0.02")},
        "genai-prices",
        "v",
        "e/m",
        "flex",
        ("a",),
    )

    values = attributes(result)

    expected: Mapping[str, object] = {
        "tokentrail.pricing.status": "priced",
        "gen_ai.usage.cost": 0.03,
        "tokentrail.cost.input": 0.01,
        "tokentrail.cost.reasoning": 0.02,
        "tokentrail.pricing.source": "genai-prices",
        "tokentrail.pricing.version": "v",
        "tokentrail.pricing.entry": "e/m",
        "tokentrail.pricing.tier": "flex",
        "tokentrail.pricing.assumptions": ["a"],
    }
    assert values == expected
    assert {name: type(value) for name, value in values.items()} == {n: type(v) for n, v in expected.items()}


def test_attributes_of_a_listed_price_are_plain_strings_and_empty_ones_are_left_out() -> None:
    listed = attributes(cost("openai", "gpt-4o-mini", Usage(500, 300)))
    reported = attributes(Cost(Decimal("0.5"), source=Source.PROVIDER))

    assert type(listed["tokentrail.pricing.source"]) is str
    assert "tokentrail.pricing.assumptions" not in listed
    assert reported == {
        "tokentrail.pricing.status": "priced",
        "gen_ai.usage.cost": 0.5,
        "tokentrail.pricing.source": "provider",
    }


def test_an_unpriced_call_carries_its_status_and_never_a_cost() -> None:
    values = attributes(Unpriced(Reason.UNKNOWN_MODEL, "whatever"))

    assert values == {"tokentrail.pricing.status": "unknown_model"}
    assert type(values["tokentrail.pricing.status"]) is str
