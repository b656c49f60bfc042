"""Token counts of `gen_ai.*` spans of every era, as inclusive totals, and what is billed beside them."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from tokentrail.backend.dialects import coerce
from tokentrail.backend.span import Attributes
from tokentrail.semconv import genai
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

_INPUT: Final = (
    *(genai.USAGE_INPUT_TOKENS, genai.USAGE_PROMPT_TOKENS_OLD),
    *("gen_ai.response.input_tokens", "gen_ai.response.prompt_tokens"),
)
"""The last two are of .NET (Microsoft.Extensions.AI, Semantic Kernel) until 2025, and the first of them Portkey's."""
_OUTPUT: Final = (
    *(genai.USAGE_OUTPUT_TOKENS, genai.USAGE_COMPLETION_TOKENS_OLD),
    *("gen_ai.response.output_tokens", "gen_ai.response.completion_tokens"),
)
_CACHE_READ: Final = (
    genai.USAGE_CACHE_READ_INPUT_TOKENS,
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.input_tokens.cached",
    "gen_ai.usage.details.cache_read_tokens",
    "gen_ai.usage.details.cache_read_input_tokens",
    "gen_ai.usage.cached_input_tokens",
    "gen_ai.usage.cached_tokens",
    "gen_ai.usage.prompt_tokens_details.cached_tokens",
    "gen_ai.usage.prompt_tokens_details.cache_read",
)
_CACHE_WRITE: Final = (
    genai.USAGE_CACHE_WRITE_INPUT_TOKENS,
    genai.USAGE_CACHE_CREATION_INPUT_TOKENS_OLD,
    "gen_ai.usage.cache_write_input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.input_tokens.cache_write",
    "gen_ai.usage.details.cache_write_tokens",
    "gen_ai.usage.details.cache_creation_input_tokens",
    "gen_ai.usage.prompt_tokens_details.cache_creation_tokens",
    "gen_ai.usage.prompt_tokens_details.cache_write",
)
_REASONING: Final = (
    genai.USAGE_REASONING_OUTPUT_TOKENS,
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.output_tokens.reasoning",
    "gen_ai.usage.completion_tokens_details.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
)
_TOTAL: Final = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens")
"""Never a source: it only tells whether the input includes the cache."""


_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "input_tokens": _INPUT,
    "output_tokens": _OUTPUT,
    "cache_read_tokens": _CACHE_READ,
    "cache_write_tokens": _CACHE_WRITE,
    "cache_write_1h_tokens": (genai.USAGE_CACHE_WRITE_1H_INPUT_TOKENS,),
    "reasoning_tokens": _REASONING,
    "audio_input_tokens": (genai.USAGE_AUDIO_INPUT_TOKENS, "gen_ai.usage.input_audio_tokens"),
    "audio_output_tokens": (genai.USAGE_AUDIO_OUTPUT_TOKENS, "gen_ai.usage.output_audio_tokens"),
    "audio_cache_read_tokens": (genai.USAGE_AUDIO_CACHE_READ_INPUT_TOKENS,),
    "image_input_tokens": (genai.USAGE_IMAGE_INPUT_TOKENS,),
    "image_output_tokens": (genai.USAGE_IMAGE_OUTPUT_TOKENS,),
    "web_searches": (genai.USAGE_WEB_SEARCHES,),
}
"""The attributes of each field of `Usage`."""

Counters = tuple[tuple[str, tuple[str, ...]], ...]
"""Fields of `Usage` with the names to look for."""


def counters(keys: Collection[str]) -> Counters:
    """What there is to count on a span with these attributes."""
    found = ((field, tuple(name for name in names if name in keys)) for field, names in _NAMES.items())
    return tuple((field, names) for field, names in found if names)


def read_usage(attributes: Attributes, *, cache_apart: bool | None = None, told_by: Counters | None = None) -> Usage:
    """The counts as totals. Aliases are alternatives, newest first; they are never added.

    `cache_apart` is as in `as_totals`; `told_by` is `counters` of the attributes, from whoever knows it.
    """
    if told_by is None:
        told_by = counters(attributes.keys())
    told = Usage(**{field: coerce.count(attributes, *names) for field, names in told_by})
    if attributes.get(genai.USAGE_STATUS) == genai.USAGE_INVALID:
        return _invalid(told)
    return as_totals(told, coerce.whole(attributes, *_TOTAL), cache_apart=cache_apart)


def as_totals(told: Usage, total: int | None = None, *, cache_apart: bool | None = None) -> Usage:
    """`told` with inclusive totals, as the conventions have them.

    `total` is the sum that the sender tells: never a source, but it shows what is inside what. `cache_apart` is true
    for a dialect whose input is known to leave the cache out, and false for one known to include it. A usage with
    wrong numbers stays as it is, to be found invalid.
    """
    counts = (told.input_tokens, told.output_tokens, told.cache_read_tokens, told.cache_write_tokens)
    if NOT_A_COUNT in counts or told.reasoning_tokens == NOT_A_COUNT:
        return told
    input_tokens, output_tokens, reasoning = told.input_tokens, told.output_tokens, told.reasoning_tokens
    cache = (told.cache_read_tokens or 0) + (told.cache_write_tokens or 0)
    if cache_apart is None:
        cache_apart = _cache_is_apart(input_tokens, output_tokens, cache, total)
    if cache_apart and cache:
        input_tokens = (input_tokens or 0) + cache
    if reasoning and output_tokens is not None:
        beside = total is not None and total == (input_tokens or 0) + output_tokens + reasoning
        if beside or reasoning > output_tokens:
            output_tokens += reasoning
    if (input_tokens, output_tokens) == (told.input_tokens, told.output_tokens):
        return told
    return replace(told, input_tokens=input_tokens, output_tokens=output_tokens)


def _invalid(usage: Usage) -> Usage:
    """`usage`, of which its sender knows that it is invalid, as one that shows it: a count that was none was not sent.

    Which of those that are absent it was does not matter: such a usage has no price, and what is left of it no total.
    """
    if usage.problem() is not None:
        return usage
    if usage.input_tokens is None:
        return replace(usage, input_tokens=NOT_A_COUNT)
    if usage.output_tokens is None:
        return replace(usage, output_tokens=NOT_A_COUNT)
    return replace(usage, cache_read_tokens=NOT_A_COUNT)


def _cache_is_apart(input_tokens: int | None, output_tokens: int | None, cache: int, total: int | None) -> bool:
    """True when the input leaves the cache out, as raw Anthropic counts do; the conventions include it."""
    if not cache or input_tokens is None:
        return False
    if total is not None:
        known = input_tokens + (output_tokens or 0)
        if total == known:
            return cache > input_tokens  # some leave the cache out of both
        if total == known + cache:
            return True
    return cache > input_tokens
