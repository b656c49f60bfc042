"""What all endpoints of Bedrock share: counts, tiers and errors, in headers and bodies.

    x-amzn-bedrock-{input,output,cache-read-input,cache-write-input}-token-count     of a plain `invoke`
    x-amzn-bedrock-service-tier, x-amzn-bedrock-performanceconfig-latency
    x-amzn-errortype: ValidationException:http://...        {"message"} or {"__type", "Message"} in the body
    {"usage": {"inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "cacheDetails"}}
    {"amazon-bedrock-invocationMetrics": {"inputTokenCount", "outputTokenCount", ...}}     in the last chunk of a stream

Bedrock's input counts leave the cache out: the total is input + cache reads + cache writes
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html, read 2026-11).
"""

from collections.abc import Callable
from typing import Final

from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import ProviderError
from tokentrail.instrumentation.wire._errors import read_error
from tokentrail.instrumentation.wire._json import Json, count, first_count, mapping, parse, sequence, text, total_count
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

METRICS: Final = "amazon-bedrock-invocationMetrics"
_PREFIX: Final = "x-amzn-bedrock-"
_ERROR_FIELDS: Final = frozenset(
    {"message", "Message", "__type", "originalStatusCode", "originalMessage", "resourceName"}
)
"""All that a body has that tells of an error (the exceptions of the service's own model)."""
_OPTIMIZED: Final = "optimized"
"""The latency that costs more; the other is `standard`."""


class Headers:
    """What the headers of a response say."""

    __slots__ = ("error_type", "tier", "usage")

    def __init__(self) -> None:
        self.error_type = ""
        self.tier = ""
        self.usage = Usage()

    def read(self, lookup: Callable[[str], str | None]) -> None:
        """Take them in; `lookup` finds a header by its lower-case name."""
        self.error_type = _error_type(lookup("x-amzn-errortype") or "")
        latency = lookup(f"{_PREFIX}performanceconfig-latency") or ""
        self.tier = (lookup(f"{_PREFIX}service-tier") or "")[:64] or (_OPTIMIZED if latency == _OPTIMIZED else "")
        self.usage = _total(
            *(_count(lookup(f"{_PREFIX}{name}-token-count")) for name in ("input", "output")),
            *(_count(lookup(f"{_PREFIX}{name}-input-token-count")) for name in ("cache-read", "cache-write")),
        )

    def error(self, told: ProviderError | None) -> ProviderError | None:
        """The error of the response: `told` by its body, with the type that only the headers have."""
        if not self.error_type:
            return told
        return ProviderError(self.error_type, told.message if told is not None else "")


def read_exception(event: Event) -> ProviderError | None:
    """The error that `event` tells of, or `None`: an exception ends a stream."""
    kind, _, name = event.name.partition(":")
    if kind not in ("exception", "error"):
        return None
    try:
        body = mapping(parse(event.data))
    except (ValueError, RecursionError):
        body = {}
    # The same error is `ThrottlingException` where it comes in place of a stream.
    return ProviderError(_error_type(name[:1].upper() + name[1:]), _message(body))


def read_body_error(body: Json) -> ProviderError | None:
    """The error that a plain body tells of, or `None`."""
    if body and body.keys() <= _ERROR_FIELDS:
        return ProviderError(_error_type(text(body.get("__type")).rpartition("#")[2]), _message(body))
    return read_error(body)


def read_usage(usage: Json) -> Usage:
    """The usage of Converse, and of Nova, which has other names for the cache."""
    hour = [
        count(item.get("inputTokens"))
        for item in map(mapping, sequence(usage.get("cacheDetails")))
        if item.get("ttl") == "1h"
    ]
    return _total(
        count(usage.get("inputTokens")),
        count(usage.get("outputTokens")),
        first_count(usage.get("cacheReadInputTokens"), usage.get("cacheReadInputTokenCount")),
        first_count(usage.get("cacheWriteInputTokens"), usage.get("cacheWriteInputTokenCount")),
        hour[0] if hour else None,
    )


def read_metrics(metrics: Json) -> Usage:
    """The usage in the metrics that Bedrock adds to the last chunk."""
    names = ("inputTokenCount", "outputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount")
    return _total(*(count(metrics.get(name)) for name in names))


def read_tier(body: Json) -> str:
    """The tier that served a call of Converse; empty when it does not say."""
    if tier := text(mapping(body.get("serviceTier")).get("type")):
        return tier
    latency = text(mapping(body.get("performanceConfig")).get("latency"))
    return latency if latency == _OPTIMIZED else ""


def _total(
    uncached: int | None,
    output: int | None,
    cache_read: int | None,
    cache_write: int | None,
    cache_write_1h: int | None = None,
) -> Usage:
    return Usage(
        input_tokens=None if uncached is None else total_count(uncached, cache_read, cache_write),
        output_tokens=output,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cache_write_1h_tokens=cache_write_1h,
    )


def _count(value: str | None) -> int | None:
    if not value:
        return None
    return int(value) if value.isdecimal() and len(value) < 16 else NOT_A_COUNT


def _error_type(value: str) -> str:
    """`ValidationException` of `ValidationException:http://internal.amazon.com/...`."""
    name = value.partition(":")[0].strip()
    return name if len(name) <= 64 and name.isascii() and name.isidentifier() else ""


def _message(body: Json) -> str:
    return text(body.get("message")) or text(body.get("Message")) or text(body.get("originalMessage"))
