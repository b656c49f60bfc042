"""What the endpoints of OpenAI and its kin have in common: usage, costs that are told, sequences to stop at.

    {"prompt_tokens", "completion_tokens", "total_tokens",
     "prompt_tokens_details": {"cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"},
     "completion_tokens_details": {"reasoning_tokens", "audio_tokens"}}

Deviations read here, as of 2026-11: cached tokens as `prompt_cache_hit_tokens` (DeepSeek) or `usage.cached_tokens`
(Together, Moonshot); tokens of Anthropic's cache as `cache_read_input_tokens` and `cache_creation_input_tokens`, inside
the prompt (LiteLLM) or beside it (Portkey: src/providers/anthropic/chatComplete.ts); output totals that leave reasoning
out (xAI); counts in `timings` (llama.cpp); a cost in `usage.cost` (OpenRouter a number, Perplexity an object), or in
`usage.cost_in_usd_ticks` (xAI: https://docs.x.ai/developers/cost-tracking); web searches in `num_search_queries`
(Perplexity), `server_side_tool_usage_details` (xAI) or `server_tool_use` (OpenRouter).
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

from tokentrail.instrumentation.wire._json import (
    Json,
    count,
    first_count,
    integer,
    mapping,
    number,
    sequence,
    total_count,
)
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

_TICKS_PER_USD: Final = 10**10
"""xAI's unit of money."""


def find_usage(body: Json) -> Json:
    """The usage that `body`, a plain response or a chunk, tells; an empty one when it tells none."""
    if usage := mapping(body.get("usage")) or mapping(mapping(body.get("x_groq")).get("usage")):
        return usage
    # Moonshot tells it with a choice.
    choices = sequence(body.get("choices"))
    return mapping(mapping(choices[0]).get("usage")) if choices else {}


def read_usage(usage: Json) -> Usage:
    """The counts of a completion, plain or chat."""
    details = mapping(usage.get("prompt_tokens_details"))
    output_details = mapping(usage.get("completion_tokens_details"))
    input_tokens = count(usage.get("prompt_tokens"))
    output_tokens = count(usage.get("completion_tokens"))
    reasoning = first_count(output_details.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    read = first_count(
        details.get("cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),
        usage.get("cached_tokens"),
        usage.get("cache_read_input_tokens"),
    )
    written = first_count(
        details.get("cache_write_tokens"),
        details.get("cache_creation_tokens"),
        usage.get("cache_creation_input_tokens"),
    )
    total = integer(usage.get("total_tokens"))
    is_sound = NOT_A_COUNT not in (input_tokens, output_tokens, read, written, reasoning)
    if is_sound and total is not None and input_tokens is not None and output_tokens is not None:
        # What is counted beside the two, and not inside them, makes the total larger than they are.
        apart = total - input_tokens - output_tokens
        if reasoning and apart == reasoning:
            output_tokens += reasoning
        elif apart > 0 and apart == (read or 0) + (written or 0) and "cache_read_input_tokens" in usage:
            input_tokens += apart
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        audio_input_tokens=count(details.get("audio_tokens")),
        audio_output_tokens=count(output_details.get("audio_tokens")),
        image_input_tokens=count(details.get("image_tokens")),
        image_output_tokens=count(output_details.get("image_tokens")),
        web_searches=count(told_searches(usage)),
    )


def told_searches(usage: Json) -> object:
    """The number of web searches in `usage` as it is told, or `None`."""
    for value in (
        usage.get("num_search_queries"),
        mapping(usage.get("server_side_tool_usage_details")).get("web_search_calls"),
        mapping(usage.get("server_tool_use")).get("web_search_requests"),
    ):
        if value is not None:
            return value
    return None


def read_timings(timings: Json) -> Usage:
    """The counts that llama.cpp tells with its times, also where nobody asked for a usage (tools/server/README.md)."""
    prompt, cached = count(timings.get("prompt_n")), count(timings.get("cache_n"))
    return Usage(
        input_tokens=None if prompt is None else total_count(prompt, cached),
        output_tokens=count(timings.get("predicted_n")),
        cache_read_tokens=cached,
    )


def read_reported_usd(usage: Json) -> Decimal | None:
    """What the provider says the call cost, or `None`."""
    cost = usage.get("cost")
    amount = _decimal(mapping(cost).get("total_cost") if isinstance(cost, dict) else cost)
    if amount is not None and usage.get("is_byok") is True:
        # With a key of one's own OpenRouter charges its fee only; the provider behind it has its own bill.
        amount += _decimal(mapping(usage.get("cost_details")).get("upstream_inference_cost")) or 0
    if amount is None and (ticks := integer(usage.get("cost_in_usd_ticks"))) is not None:
        return Decimal(ticks) / _TICKS_PER_USD
    return amount


def read_stop(value: object) -> Sequence[str]:
    """The sequences to stop at: one, or a list."""
    return [value] if isinstance(value, str) else [item for item in sequence(value) if isinstance(item, str)]


def _decimal(value: object) -> Decimal | None:
    if number(value) is None:
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None
