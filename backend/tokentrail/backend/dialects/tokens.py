"""Token counts of `gen_ai.*` spans of every era, as inclusive totals."""

from typing import Final

from tokentrail.backend.dialects import coerce
from tokentrail.backend.span import Attributes
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_INPUT: Final = (genai.USAGE_INPUT_TOKENS, genai.USAGE_PROMPT_TOKENS_OLD)
_OUTPUT: Final = (genai.USAGE_OUTPUT_TOKENS, genai.USAGE_COMPLETION_TOKENS_OLD)
_CACHE_READ: Final = (
    genai.USAGE_CACHE_READ_INPUT_TOKENS,
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.input_tokens.cached",
    "gen_ai.usage.details.cache_read_tokens",
    "gen_ai.usage.details.cache_read_input_tokens",
    "gen_ai.usage.cached_input_tokens",
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


def read_usage(attributes: Attributes) -> Usage:
    """The counts as totals. Aliases are alternatives, newest first; they are never added."""
    input_tokens = coerce.whole(attributes, *_INPUT)
    output_tokens = coerce.whole(attributes, *_OUTPUT)
    cache_read = coerce.whole(attributes, *_CACHE_READ)
    cache_write = coerce.whole(attributes, *_CACHE_WRITE)
    reasoning = coerce.whole(attributes, *_REASONING)
    total = coerce.whole(attributes, *_TOTAL)
    cache = (cache_read or 0) + (cache_write or 0)
    if _cache_is_apart(input_tokens, output_tokens, cache, total):
        input_tokens = (input_tokens or 0) + cache
    if output_tokens is not None and reasoning is not None and reasoning > output_tokens:
        output_tokens += reasoning
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cache_write_1h_tokens=coerce.whole(attributes, genai.USAGE_CACHE_WRITE_1H_INPUT_TOKENS),
        reasoning_tokens=reasoning,
        audio_input_tokens=coerce.whole(attributes, genai.USAGE_AUDIO_INPUT_TOKENS),
        audio_output_tokens=coerce.whole(attributes, genai.USAGE_AUDIO_OUTPUT_TOKENS),
        audio_cache_read_tokens=coerce.whole(attributes, genai.USAGE_AUDIO_CACHE_READ_INPUT_TOKENS),
        image_input_tokens=coerce.whole(attributes, genai.USAGE_IMAGE_INPUT_TOKENS),
        image_output_tokens=coerce.whole(attributes, genai.USAGE_IMAGE_OUTPUT_TOKENS),
    )


def _cache_is_apart(input_tokens: int | None, output_tokens: int | None, cache: int, total: int | None) -> bool:
    """True when the input leaves the cache out, as raw Anthropic counts do; the conventions include it."""
    if not cache or input_tokens is None:
        return False
    if total is not None:
        known = input_tokens + (output_tokens or 0)
        if total == known:
            return False
        if total == known + cache:
            return True
    return cache > input_tokens
