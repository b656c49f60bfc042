"""Usage objects of providers and frameworks, which platforms pass on whole, as inclusive totals.

    OpenAI      {prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details: {cached_tokens, audio_tokens},
                 completion_tokens_details: {reasoning_tokens, audio_tokens}}
    Responses   {input_tokens, output_tokens, input_tokens_details: {cached_tokens}, output_tokens_details: {...}}
    LangChain   {input_tokens, output_tokens, input_token_details: {cache_read, cache_creation, audio},
                 output_token_details: {reasoning, audio}}
    Anthropic   {input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens, cache_creation: {},
                 server_tool_use: {web_search_requests}}
    Bedrock     {inputTokens, outputTokens, totalTokens, cacheReadInputTokens, cacheWriteInputTokens}
    Gemini      {prompt_token_count, candidates_token_count, thoughts_token_count, cached_content_token_count}

Anthropic and Bedrock count the cache beside the input, Gemini its thoughts beside the output; the others inside.
Sources: the API references of the providers, and `langchain-core` 1.7.2 (November 2026).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tokentrail.backend.dialects import coerce
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

Counts = Mapping[str, object]

_INPUT: Final = ("input_tokens", "prompt_tokens", "inputTokens", "prompt_token_count", "promptTokenCount")
_OUTPUT: Final = (
    *("output_tokens", "completion_tokens", "outputTokens"),
    *("candidates_token_count", "candidatesTokenCount"),
)
_TOTAL: Final = ("total_tokens", "totalTokens", "total_token_count", "totalTokenCount")
_APART_READ: Final = ("cache_read_input_tokens", "cacheReadInputTokens")
_APART_WRITE: Final = ("cache_creation_input_tokens", "cacheWriteInputTokens")
"""Counts that stand beside the input, not in an object of details: their owners count them beside it, too."""
_INSIDE_READ: Final = ("cached_content_token_count", "cachedContentTokenCount")
_THOUGHTS: Final = ("thoughts_token_count", "thoughtsTokenCount")
_INPUT_DETAILS: Final = ("input_tokens_details", "prompt_tokens_details", "input_token_details")
_OUTPUT_DETAILS: Final = ("output_tokens_details", "completion_tokens_details", "output_token_details")
_READ: Final = ("cached_tokens", "cache_read", "cache_read_tokens")
_WRITE: Final = ("cache_write_tokens", "cache_creation_tokens", "cache_creation", "cache_write")
_AUDIO: Final = ("audio_tokens", "audio")
_IMAGE: Final = ("image_tokens", "image")
_REASONING: Final = ("reasoning_tokens", "reasoning")
_HOUR: Final = "ephemeral_1h_input_tokens"
_MINUTES: Final = "ephemeral_5m_input_tokens"


def read_reported(reported: object, *, cache_apart: bool | None = None) -> Usage:
    """The counts of a usage object as inclusive totals; empty for anything else. Raises nothing.

    `cache_apart` is for an object of another shape's names: true when its input leaves the cache out, false when not.
    """
    if not isinstance(reported, Mapping) or not reported:
        return Usage()
    inputs, outputs = _details(reported, _INPUT_DETAILS), _details(reported, _OUTPUT_DETAILS)
    lifetimes = {**inputs, **_details(reported, ("cache_creation",))}
    hour, minutes = count(lifetimes, _HOUR), count(lifetimes, _MINUTES)
    apart = count(reported, *_APART_READ, *_APART_WRITE) is not None
    written = count(reported, *_APART_WRITE) if apart else count(inputs, *_WRITE)
    if not written and (hour or minutes):  # LangChain writes 0 where it tells the lifetimes
        written = add(hour, minutes)
    told = Usage(
        input_tokens=count(reported, *_INPUT),
        output_tokens=count(reported, *_OUTPUT),
        cache_read_tokens=count(reported, *_APART_READ, *_INSIDE_READ) if apart else _read(reported, inputs),
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        reasoning_tokens=_first(count(outputs, *_REASONING), count(reported, *_THOUGHTS)),
        audio_input_tokens=count(inputs, *_AUDIO),
        audio_output_tokens=count(outputs, *_AUDIO),
        image_input_tokens=count(inputs, *_IMAGE),
        image_output_tokens=count(outputs, *_IMAGE),
        web_searches=count(_details(reported, ("server_tool_use",)), "web_search_requests"),
    )
    if apart and cache_apart is None and not (inputs or "prompt_tokens" in reported):
        cache_apart = True
    thoughts = count(reported, *_THOUGHTS)
    if thoughts and told.output_tokens is not None and NOT_A_COUNT not in (thoughts, told.output_tokens):
        told = replace(told, output_tokens=told.output_tokens + thoughts)
        return as_totals(told, cache_apart=False)
    return as_totals(told, count(reported, *_TOTAL), cache_apart=cache_apart)


def count(counts: Counts, *names: str) -> int | None:
    """As `coerce.count`, of parsed JSON: what is no number at all is passed over."""
    wrong: int | None = None
    for name in names:
        value = counts.get(name)
        if type(value) is int and value >= 0:
            return coerce.as_whole(value)
        if isinstance(value, str | int | float):
            found = coerce.count({name: value}, name)
            if found is not None and found != NOT_A_COUNT:
                return found
            wrong = wrong if found is None else found
    return wrong


def add(*counts: int | None) -> int | None:
    """The sum of those that are known, `None` for none of them; a wrong count makes a wrong sum."""
    known = [each for each in counts if each is not None]
    return NOT_A_COUNT if NOT_A_COUNT in known else sum(known) if known else None


def _read(reported: Counts, inputs: Counts) -> int | None:
    return _first(count(inputs, *_READ), count(reported, *_INSIDE_READ))


def _first(*counts: int | None) -> int | None:
    return next((each for each in counts if each is not None), None)


def _details(reported: Counts, names: tuple[str, ...]) -> Counts:
    return next((found for name in names if isinstance(found := reported.get(name), Mapping)), {})
