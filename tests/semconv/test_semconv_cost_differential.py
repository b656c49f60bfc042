"""Every listed model, over many usages: our arithmetic against that of genai-prices itself."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from genai_prices import calc_price
from genai_prices import types as gp
from genai_prices.data import providers

from tokentrail.semconv.cost import COMPONENTS, Call, Cost, Reason, Unpriced, price
from tokentrail.semconv.pricing import names, resolve
from tokentrail.semconv.pricing._base import Lookup
from tokentrail.semconv.pricing.card import RateCard
from tokentrail.semconv.pricing.charge import charge
from tokentrail.semconv.usage import Usage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONTEXTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("", {}),
    ("default", {"service_tier": "default"}),
    ("flex", {"service_tier": "flex"}),
    ("priority", {"service_tier": "priority"}),
    ("fast", {"service_tier": "fast", "speed": "fast"}),
    ("batch", {"processing": "batch"}),
    ("scale", {"service_tier": "scale"}),
)
TOTALS = (0, 1, 999, 32_001, 100_000, 100_001, 128_001, 199_999, 200_000, 200_001, 272_000, 272_001, 1_048_577)


def random_usage(rng: random.Random, *, media: bool) -> Usage:
    total = rng.choice(TOTALS)
    read = rng.randint(0, total)
    write = rng.randint(0, total - read)
    output = rng.randint(0, 50_000)
    if not media:
        one_hour = rng.randint(0, write)
        return Usage(total, output, read, write, one_hour, reasoning_tokens=rng.randint(0, output))
    # The library cannot tell where modalities and cache writes meet, so that there are none here.
    audio = rng.randint(0, total - read)
    audio_read = rng.randint(0, read)
    image = rng.randint(0, total - read - audio)
    audio_out = rng.randint(0, output)
    return Usage(
        total,
        output,
        read,
        reasoning_tokens=rng.randint(0, output),
        audio_input_tokens=audio + audio_read,
        audio_cache_read_tokens=audio_read,
        image_input_tokens=image,
        audio_output_tokens=audio_out,
        image_output_tokens=rng.randint(0, output - audio_out),
    )


def theirs(usage: Usage) -> gp.Usage:
    return gp.Usage(
        input_tokens=usage.input_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        cache_read_tokens=usage.cache_read_tokens or 0,
        cache_write_tokens=usage.cache_write_tokens or 0,
        cache_write_1h_tokens=usage.cache_write_1h_tokens or 0,
        output_reasoning_tokens=usage.reasoning_tokens or 0,
        input_audio_tokens=usage.audio_input_tokens or 0,
        input_image_tokens=usage.image_input_tokens or 0,
        cache_audio_read_tokens=usage.audio_cache_read_tokens or 0,
        cache_image_read_tokens=0,
        output_audio_tokens=usage.audio_output_tokens or 0,
        output_image_tokens=usage.image_output_tokens or 0,
        output_audio_reasoning_tokens=0,
        output_image_reasoning_tokens=0,
        input_video_tokens=0,
        output_video_tokens=0,
    )


def our_card(provider: gp.Provider, model: gp.ModelInfo, tier: str, at: datetime) -> RateCard | None:
    """The card of exactly this listed model: matching names is another test's."""
    candidate = names.Candidate(provider.id, model.id)
    return resolve._LIST_PRICES._card(provider, model, candidate, Lookup(provider.id, (model.id,), "", tier, at))


def listed_models() -> Iterator[tuple[gp.Provider, gp.ModelInfo]]:
    return ((provider, model) for provider in providers for model in provider.models)


def dates_of(model: gp.ModelInfo) -> set[date]:
    constraints = [variant.constraint for variant in model.price_variants or ()]
    if not isinstance(model.prices, gp.ModelPrice):
        constraints += [conditional.constraint for conditional in model.prices]
    return {constraint.start_date for constraint in constraints if isinstance(constraint, gp.StartDateConstraint)}


def times_of(model: gp.ModelInfo) -> set[time]:
    prices = [] if isinstance(model.prices, gp.ModelPrice) else model.prices
    daily = [c.constraint for c in prices if isinstance(c.constraint, gp.TimeOfDateConstraint)]
    return {at for constraint in daily for at in (constraint.start_time, constraint.end_time)}


def moments_of(model: gp.ModelInfo) -> list[datetime]:
    """Now, and both sides of every change of price."""
    quarter = timedelta(minutes=15)
    changes = [datetime.combine(day, time(0), UTC) for day in dates_of(model)]
    changes += [datetime.combine(NOW.date(), at.replace(tzinfo=UTC)) for at in times_of(model)]
    return [NOW, *(moment for change in changes for moment in (change, change - quarter))]


def test_every_listed_model_costs_exactly_what_the_library_says_at_every_date_and_tier() -> None:
    rng = random.Random(20261120)
    compared = 0
    for provider, model in listed_models():
        for at in moments_of(model):
            for tier, context in CONTEXTS if model.price_variants or at == NOW else CONTEXTS[:1]:
                card = our_card(provider, model, tier, at)
                if card is None:
                    assert model.get_prices(at, context).input_mtok is None
                    continue
                usage = random_usage(rng, media=False)
                expected = model.calc_price(
                    theirs(usage), provider, genai_request_timestamp=at, price_context=context
                ).total_price
                ours = charge(card, usage)
                assert ours.total == expected, (provider.id, model.id, at, tier, usage)
                assert sum(ours.components.values()) == ours.total
                compared += 1

    assert compared > 10_000


def test_audio_and_images_cost_exactly_what_the_library_says() -> None:
    rng = random.Random(7)
    modal = {"input_audio_mtok", "output_audio_mtok", "input_image_mtok", "output_image_mtok"}
    compared = 0
    for provider, model in listed_models():
        listed = vars(model.get_prices(NOW))
        card = our_card(provider, model, "", NOW)
        if card is None or not modal & listed.keys():
            continue
        for _ in range(60):
            usage = random_usage(rng, media=True)
            expected = model.calc_price(theirs(usage), provider, genai_request_timestamp=NOW).total_price
            assert charge(card, usage).total == expected, (provider.id, model.id, usage)
            compared += 1

    assert compared > 1500


@pytest.mark.parametrize(
    ("name", "price_list", "models"),
    [
        ("openai", "openai", ("gpt-4o", "gpt-5.5", "o3-mini", "gpt-4.1-nano", "ft:gpt-3.5-turbo:acme::1")),
        ("anthropic", "anthropic", ("claude-sonnet-4-5-20250929", "claude-haiku-5-5", "claude-opus-5@20260301")),
        ("azure.ai.openai", "azure", ("gpt-4o", "gpt-35-turbo", "claude-opus-5", "phi-4")),
        ("aws.bedrock", "aws", ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-pro-v1:0")),
        ("gcp.gemini", "google", ("gemini-2.5-pro", "gemini-3.8-flash", "claude-sonnet-4@20250514")),
        ("x_ai", "x-ai", ("grok-4", "grok-code-fast-1")),
        ("moonshot_ai", "moonshotai", ("kimi-k2-thinking",)),
        ("together_ai", "together", ("openai/gpt-oss-120b",)),
        ("deepseek", "deepseek", ("deepseek-chat", "deepseek-flash")),
    ],
)
def test_a_call_is_matched_to_the_model_that_the_library_matches(
    name: str, price_list: str, models: tuple[str, ...]
) -> None:
    usage = Usage(250_000, 1234, cache_read_tokens=1000, cache_write_1h_tokens=0)
    for model in models:
        expected = calc_price(theirs(usage), model, provider_id=price_list, genai_request_timestamp=NOW)

        result = price(Call(name, (model,), usage, int(NOW.timestamp()) * 10**9))

        assert isinstance(result, Cost), (model, result)
        assert result.total_usd == expected.total_price
        assert result.entry.endswith(f"/{expected.model.id}")


def test_every_change_of_price_falls_on_the_quarter_hours_that_cards_are_kept_for() -> None:
    slot = timedelta(microseconds=resolve._SLOT_NS // 1000)
    times = {at for _, model in listed_models() for at in times_of(model)}

    assert times
    for at in times:
        since_midnight = timedelta(hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond)
        assert since_midnight % slot == timedelta(0), at
        assert at.tzinfo in (None, UTC)


def test_every_price_list_that_a_provider_is_mapped_to_exists() -> None:
    ids = {provider.id for provider in providers}

    assert {name for lists in names._LISTS.values() for name in lists} <= ids


def test_components_add_up_to_the_total_to_the_last_digit_whatever_the_usage() -> None:
    rng = random.Random(99)
    models = [
        ("openai", "gpt-realtime"),
        ("anthropic", "claude-haiku-5-5"),
        ("perplexity", "sonar"),
        ("openai", "gpt-5.5"),
    ]
    for _ in range(3000):
        provider, model = rng.choice(models)
        result = price(Call(provider, (model,), any_consistent_usage(rng), int(NOW.timestamp()) * 10**9))

        assert isinstance(result, Cost)
        assert sum(result.components.values(), Decimal(0)) == result.total_usd
        assert set(result.components) <= set(COMPONENTS)
        assert all(usd > 0 for usd in result.components.values())


def any_consistent_usage(rng: random.Random) -> Usage:
    total, output = rng.randint(0, 300_000), rng.randint(0, 9999)
    read = rng.randint(0, total)
    write = rng.randint(0, total - read)
    audio = rng.randint(0, total)
    image = rng.randint(0, total - audio)
    audio_out = rng.randint(0, output)
    usage = Usage(
        total,
        output,
        read,
        write,
        rng.choice((None, rng.randint(0, write))),
        rng.randint(0, output),
        rng.choice((None, audio)),
        rng.choice((None, audio_out)),
        None,
        rng.choice((None, image)),
        rng.randint(0, output - audio_out),
    )
    assert usage.problem() is None
    return usage


GARBAGE: tuple[object, ...] = (
    None,
    -1,
    2.5,
    float("nan"),
    float("inf"),
    "",
    "\x00",
    "x" * 100_000,
    b"x",
    [],
    {},
    (),
    True,
)


def test_garbage_is_unpriced_and_never_raises() -> None:
    rng = random.Random(3)
    for _ in range(3000):
        values = [rng.choice(GARBAGE) for _ in range(18)]
        usage = Usage(*values[:11])  # type: ignore[arg-type]  # garbage is the point
        models = (values[11], values[12]) if rng.random() < 0.7 else values[11]
        call = Call(values[13], models, usage, *values[14:18])  # type: ignore[arg-type]  # garbage is the point

        result = price(call)

        assert isinstance(result, Unpriced)
        assert isinstance(result.reason, Reason)


@pytest.mark.parametrize("at_ns", [-(2**70), -1, 0, 2**63, 2**70])
def test_a_call_at_an_impossible_time_is_priced_by_the_nearest_possible_one(at_ns: int) -> None:
    assert isinstance(price(Call("openai", ("gpt-4o",), Usage(1, 1), at_ns)), Cost)
