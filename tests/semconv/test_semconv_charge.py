import random
from dataclasses import fields
from decimal import Decimal

import pytest

from tokentrail.semconv.pricing import RateCard, Rates, Source, charge
from tokentrail.semconv.pricing.card import BASE
from tokentrail.semconv.usage import Usage

DIGITS = 6
RATE_NAMES = [field.name for field in fields(Rates)]


def counting_card() -> RateCard:
    """A card whose rates are powers of ten so far apart that the digits of a total are the counts charged at each."""
    rates = {name: Decimal(10) ** (DIGITS * place) for place, name in enumerate(RATE_NAMES)}
    return RateCard(((BASE, Rates(**rates)),), Source.USER, "v", "e", "standard")


def counts(usd: Decimal) -> dict[str, int]:
    """How many tokens were charged at which rate, rates of none left out. A negative count borrows from its neighbour,
    which shows as a count near a million."""
    digits = str(int(usd)).zfill(DIGITS * len(RATE_NAMES))
    read = {name: int(digits[-DIGITS * (place + 1) :][:DIGITS]) for place, name in enumerate(RATE_NAMES)}
    return {name: count for name, count in read.items() if count}


@pytest.fixture(autouse=True)
def enough_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Totals of counting cards have more digits than money."""
    monkeypatch.setattr("tokentrail.semconv.pricing.money.EXACT.prec", 200)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            Usage(100, 0, audio_input_tokens=30, image_input_tokens=20),
            {"input": 50, "audio_input": 30, "image_input": 20},
        ),
        (
            Usage(100, 0, 60, audio_input_tokens=30, audio_cache_read_tokens=10),
            {"input": 20, "audio_input": 20, "cache_read": 50, "audio_cache_read": 10},
        ),
        # 40 were not cached: of 70 audio tokens, 30 must have been.
        (Usage(100, 0, 60, audio_input_tokens=70), {"audio_input": 40, "cache_read": 30, "audio_cache_read": 30}),
        # Of 50 image and 30 audio tokens 40 must have been cached; the audio's share is known, so images fill the rest.
        (
            Usage(100, 0, 60, audio_input_tokens=30, audio_cache_read_tokens=5, image_input_tokens=50),
            {"audio_input": 25, "image_input": 15, "cache_read": 20, "audio_cache_read": 5, "image_cache_read": 35},
        ),
        # Nothing is left but what was written to the cache, and that has one price for all modalities.
        (Usage(100, 0, 0, 100, 0, audio_input_tokens=70, image_input_tokens=30), {"cache_write": 100}),
        (
            Usage(100, 0, 10, 80, 80, image_input_tokens=95),
            {"cache_write_1h": 80, "image_cache_read": 10, "image_input": 10},
        ),
        (Usage(0, 100, reasoning_tokens=60), {"output": 40, "reasoning": 60}),
        (
            Usage(0, 100, reasoning_tokens=60, audio_output_tokens=30, image_output_tokens=5),
            {"output": 5, "audio_output": 30, "image_output": 5, "reasoning": 60},
        ),
        # 40 are not reasoning: of 70 audio tokens, 30 must be.
        (Usage(0, 100, reasoning_tokens=60, audio_output_tokens=70), {"audio_output": 70, "reasoning": 30}),
    ],
)
def test_each_token_is_charged_at_the_rate_of_its_modality_and_its_way(usage: Usage, expected: dict[str, int]) -> None:
    charged = counts(charge(counting_card(), usage).total)

    assert charged == {**expected, "request": 1}


def test_every_token_is_charged_once_however_the_subsets_overlap() -> None:
    rng = random.Random(5)
    card = counting_card()
    for _ in range(5000):
        total, output = rng.randint(0, 60), rng.randint(0, 60)
        read = rng.randint(0, total)
        write = rng.randint(0, total - read)
        audio = rng.randint(0, total)
        audio_out = rng.randint(0, output)
        usage = Usage(
            total,
            output,
            read,
            write,
            rng.randint(0, write),
            rng.randint(0, output),
            audio,
            audio_out,
            rng.choice((None, rng.randint(0, min(audio, read)))),
            rng.randint(0, total - audio),
            rng.randint(0, output - audio_out),
        )
        assert usage.problem() is None

        result = charge(card, usage)

        inputs = counts(result.components.get("input", Decimal(0)))
        reads = counts(result.components.get("cache_read", Decimal(0)))
        outputs = counts(result.components.get("output", Decimal(0)))
        reasoned = counts(result.components.get("reasoning", Decimal(0)))
        assert sum(inputs.values()) == total - read - write, usage
        assert sum(reads.values()) == read, usage
        assert sum(outputs.values()) == output - (usage.reasoning_tokens or 0), usage
        assert sum(reasoned.values()) == usage.reasoning_tokens, usage
        assert max([0, *inputs.values(), *reads.values(), *outputs.values(), *reasoned.values()]) <= 60, usage
        assert reads.get("audio_cache_read", 0) >= (usage.audio_cache_read_tokens or 0)


def test_an_inexact_sum_raises_rather_than_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokentrail.semconv.pricing.money.EXACT.prec", 3)

    with pytest.raises(ArithmeticError):
        charge(counting_card(), Usage(12345, 0))
