"""What a usage costs by a rate card: components that add up to the total, to the last digit.

    input        uncached input, by modality          output      output less reasoning, by modality
    cache_read   input that came from the cache       reasoning   the reasoning in the output
    cache_write  input that went into the cache       requests    the request itself, and its web searches

The usage must be consistent (`Usage.problem() is None`).
"""

from decimal import Decimal
from typing import Final, NamedTuple

from tokentrail.semconv.pricing.card import RateCard, Rates
from tokentrail.semconv.pricing.money import EXACT, ZERO
from tokentrail.semconv.pricing.names import WEB_SEARCH_NOT_PRICED
from tokentrail.semconv.usage import Usage

TTL_5M_ASSUMED: Final = "ttl_5m_assumed"
"""Assumption: the lifetime of the cache writes is unknown, and priced as the cheaper five minutes."""
CACHED_TEXT_ASSUMED: Final = "cached_text_assumed"
"""Assumption: which modality was cached is unknown; text is taken to be, as far as it goes."""
OUTPUT_NOT_PRICED: Final = "output_not_priced"
"""Assumption: the list knows no price of output for this model, and it is taken to be free."""

_multiply: Final = EXACT.multiply
_add: Final = EXACT.add


class Charge(NamedTuple):
    """A cost in USD."""

    total: Decimal
    components: dict[str, Decimal]
    """By component name; those that are 0 are left out."""
    assumptions: tuple[str, ...]


def charge(card: RateCard, usage: Usage) -> Charge:
    """The cost of `usage` by `card`. Raises `decimal.Inexact` rather than round."""
    total_input = usage.input_tokens or 0
    rates = card.rates(total_input)
    read = usage.cache_read_tokens or 0
    write = usage.cache_write_tokens or 0
    reasoning = usage.reasoning_tokens or 0
    plain = (usage.output_tokens or 0) - reasoning
    uncached = total_input - read - write
    components: dict[str, Decimal] = {}
    if uncached:
        components["input"] = _multiply(rates.input, uncached)
    if read:
        components["cache_read"] = _multiply(rates.cache_read, read)
    if write:
        components["cache_write"] = _writes(rates, write, usage.cache_write_1h_tokens)
    if plain:
        components["output"] = _multiply(rates.output, plain)
    if reasoning:
        components["reasoning"] = _multiply(rates.reasoning, reasoning)
    if usage.audio_input_tokens or usage.image_input_tokens:
        components["input"], components["cache_read"] = _mixed_input(rates, usage, uncached, read)
    if usage.audio_output_tokens or usage.image_output_tokens:
        components["output"], components["reasoning"] = _mixed_output(rates, usage, plain, reasoning)
    if rates.request or usage.web_searches:
        components["requests"] = _requests(rates, usage.web_searches or 0)
    total = ZERO
    kept: dict[str, Decimal] = {}
    for name, usd in components.items():
        if usd:
            kept[name] = usd
            total = _add(total, usd)
    return Charge(total, kept, card.assumptions + _assumptions(card, rates, usage))


def _writes(rates: Rates, write: int, one_hour: int | None) -> Decimal:
    if not one_hour:
        return _multiply(rates.cache_write, write)
    return _add(_multiply(rates.cache_write, write - one_hour), _multiply(rates.cache_write_1h, one_hour))


def _requests(rates: Rates, searches: int) -> Decimal:
    return _add(rates.request, _multiply(rates.web_search or ZERO, searches))


def _mixed_input(rates: Rates, usage: Usage, uncached: int, read: int) -> tuple[Decimal, Decimal]:
    """USD of the uncached input and of the cache reads of a call with audio or images in its input.

    How much of a modality was cached is known for audio alone, and not always. The rest is taken to be uncached, as far
    as there is room: what does not fit was read from the cache, and what does not fit there either was written to it.
    """
    audio = usage.audio_input_tokens or 0
    image = usage.image_input_tokens or 0
    audio_read = min(usage.audio_cache_read_tokens or 0, audio)
    excess = max(audio - audio_read + image - uncached, 0)
    image_read = min(excess, image, read - audio_read)
    excess -= image_read
    more_audio_read = min(excess, audio - audio_read, read - audio_read - image_read)
    audio_read += more_audio_read
    excess -= more_audio_read
    # Cache writes have no price by modality in any list: the written part leaves the modality counts.
    image_plain = max(image - image_read - excess, 0)
    audio_plain = audio - audio_read - (excess - (image - image_read - image_plain))
    return (
        _sum(
            (rates.input, uncached - audio_plain - image_plain),
            (rates.audio_input, audio_plain),
            (rates.image_input, image_plain),
        ),
        _sum(
            (rates.cache_read, read - audio_read - image_read),
            (rates.audio_cache_read, audio_read),
            (rates.image_cache_read, image_read),
        ),
    )


def _mixed_output(rates: Rates, usage: Usage, plain: int, reasoning: int) -> tuple[Decimal, Decimal]:
    """USD of the output less reasoning, and of the reasoning, of a call with audio or images in its output.

    Reasoning is text as far as there is room for that; what does not fit is of the modality, at the modality's price.
    """
    audio = usage.audio_output_tokens or 0
    image = usage.image_output_tokens or 0
    audio_plain = min(audio, plain)
    image_plain = min(image, plain - audio_plain)
    audio_reasoning = audio - audio_plain
    image_reasoning = image - image_plain
    return (
        _sum(
            (rates.output, plain - audio_plain - image_plain),
            (rates.audio_output, audio_plain),
            (rates.image_output, image_plain),
        ),
        _sum(
            (rates.reasoning, reasoning - audio_reasoning - image_reasoning),
            (rates.audio_output, audio_reasoning),
            (rates.image_output, image_reasoning),
        ),
    )


def _sum(*parts: tuple[Decimal, int]) -> Decimal:
    total = ZERO
    for rate, count in parts:
        total = _add(total, _multiply(rate, count))
    return total


def _assumptions(card: RateCard, rates: Rates, usage: Usage) -> tuple[str, ...]:
    """What had to be assumed about this usage, and made a difference to its price."""
    if not (usage.cache_write_tokens or usage.cache_read_tokens or usage.web_searches) and (
        card.prices_output or not usage.output_tokens
    ):
        return ()
    made: list[str] = []
    if usage.cache_write_tokens and usage.cache_write_1h_tokens is None and rates.cache_write_1h != rates.cache_write:
        made.append(TTL_5M_ASSUMED)
    if usage.cache_read_tokens and _is_cached_modality_unknown(rates, usage):
        made.append(CACHED_TEXT_ASSUMED)
    if usage.output_tokens and not card.prices_output:
        made.append(OUTPUT_NOT_PRICED)
    # A price of each request is that of searching, where a list has it (Perplexity's Sonar).
    unpriced = usage.web_searches and rates.web_search is None and not rates.request
    if unpriced and WEB_SEARCH_NOT_PRICED not in card.assumptions:
        made.append(WEB_SEARCH_NOT_PRICED)
    return tuple(made)


def _is_cached_modality_unknown(rates: Rates, usage: Usage) -> bool:
    audio = bool(usage.audio_input_tokens) and usage.audio_cache_read_tokens is None
    return (audio and (rates.audio_input, rates.audio_cache_read) != (rates.input, rates.cache_read)) or (
        bool(usage.image_input_tokens)
        and (rates.image_input, rates.image_cache_read) != (rates.input, rates.cache_read)
    )
