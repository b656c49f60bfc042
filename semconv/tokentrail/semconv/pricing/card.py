"""What a price lookup answers: a rate card, or the reason why there is none.

A rate card is resolved once for a model, a day and a tier, and then serves every call of it: all fallbacks between
prices (cache reads without a price of their own, for one) are settled here, so that charging is plain arithmetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from tokentrail.semconv.pricing.money import ZERO


class Source(StrEnum):
    """Where a price came from, first hit wins in this order."""

    PROVIDER = "provider"
    """The provider reported the cost in its response."""
    USER = "user"
    """The user's price file."""
    OVERLAY = "overlay"
    """A dated correction that ships with Tokentrail."""
    GENAI_PRICES = "genai-prices"
    """List prices of the genai-prices package."""


class Reason(StrEnum):
    """Why a call has no cost."""

    UNKNOWN_PROVIDER = "unknown_provider"
    UNKNOWN_MODEL = "unknown_model"
    SELF_HOSTED = "self_hosted"
    """An unknown host serves its own prices: only the user knows them."""
    NO_USAGE = "no_usage"
    """The response said nothing about tokens."""
    INVALID_USAGE = "invalid_usage"
    """The counts contradict one another or are absurd."""
    FAILED = "failed"
    """The call failed before it used anything."""
    INTERNAL = "internal"
    """Pricing itself failed: a fault of Tokentrail or of its price data, never of the call."""


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A call without a cost."""

    reason: Reason
    detail: str = ""
    """What exactly was missing or wrong, for a person."""


Rate: TypeAlias = Literal[
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "audio_input",
    "audio_cache_read",
    "image_input",
    "image_cache_read",
    "output",
    "reasoning",
    "audio_output",
    "image_output",
    "request",
    "web_search",
]
"""What a price list may name a price for."""

Steps: TypeAlias = tuple[tuple[int, Decimal], ...]
"""A price by the size of the call: `(start, USD)` in ascending order. The last step whose start is below the total
input tokens applies to all tokens of the call (a cliff, not a bracket). The first step is `(BASE, USD)`."""

BASE: Final = -1
"""Start of the step that every call reaches, also one with 0 input tokens."""


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per token (request, search), every fallback settled: what has no own price has that of its nearest whole."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    reasoning: Decimal
    audio_input: Decimal
    audio_cache_read: Decimal
    image_input: Decimal
    image_cache_read: Decimal
    audio_output: Decimal
    image_output: Decimal
    request: Decimal
    web_search: Decimal | None = None
    """`None` where the list has no such price: there is no whole that it could follow."""

    @classmethod
    def of(cls, listed: Mapping[Rate, Decimal]) -> "Rates":
        """The rates that follow from the `listed` ones. Raises `KeyError` without `input`.

        A modality goes before a cache: cached audio without a price of its own costs what audio costs.
        """
        plain = listed["input"]
        output = listed.get("output", ZERO)
        cache_read = listed.get("cache_read", plain)
        cache_write = listed.get("cache_write", plain)
        return cls(
            input=plain,
            output=output,
            cache_read=cache_read,
            cache_write=cache_write,
            cache_write_1h=listed.get("cache_write_1h", cache_write),
            reasoning=listed.get("reasoning", output),
            audio_input=listed.get("audio_input", plain),
            audio_cache_read=listed.get("audio_cache_read", listed.get("audio_input", cache_read)),
            image_input=listed.get("image_input", plain),
            image_cache_read=listed.get("image_cache_read", listed.get("image_input", cache_read)),
            audio_output=listed.get("audio_output", output),
            image_output=listed.get("image_output", output),
            request=listed.get("request", ZERO),
            web_search=listed.get("web_search"),
        )


@dataclass(frozen=True, slots=True)
class RateCard:
    """The prices of one model at one time and tier, with where they came from."""

    bands: tuple[tuple[int, Rates], ...]
    """`(start, rates)` in ascending order of `start`, the first being `BASE`; see `Steps` for which one applies."""
    source: Source
    version: str
    """Version of the price data, such as `genai-prices 0.2.3`."""
    entry: str
    """The entry that matched, as `provider/model`."""
    tier: str
    """The service tier whose prices these are, `standard` unless another is priced."""
    assumptions: tuple[str, ...] = ()
    """What was assumed to get from the call to this card."""
    prices_output: bool = True
    """False for embeddings and the like, whose list knows no price of output."""

    def rates(self, total_input_tokens: int) -> Rates:
        """The rates of a call with so many input tokens, cached ones included."""
        bands = self.bands
        if len(bands) == 1:
            return bands[0][1]
        for start, rates in reversed(bands):
            if total_input_tokens > start:
                return rates
        return bands[0][1]


def bands_of(listed: Mapping[Rate, Steps]) -> tuple[tuple[int, Rates], ...]:
    """The bands that the steps of all prices make together. Raises `KeyError` without a price of `input`."""
    starts = sorted({BASE, *(start for steps in listed.values() for start, _ in steps)})
    return tuple((start, Rates.of({rate: _step(steps, start) for rate, steps in listed.items()})) for start in starts)


def _step(steps: Steps, start: int) -> Decimal:
    """The price in the band that begins at `start`."""
    return next(usd for step_start, usd in reversed(steps) if step_start <= start)
