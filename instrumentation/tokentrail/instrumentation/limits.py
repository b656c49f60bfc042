"""What a response says of the provider's limits, and when to come back.

    x-ratelimit-remaining-requests: 4999          x-ratelimit-reset-requests: 6m0s, 1.2s, 20ms
    anthropic-ratelimit-tokens-remaining: 79000   anthropic-ratelimit-tokens-reset: 2026-10-21T07:28:00Z
    retry-after: 20 (or an HTTP date)             retry-after-ms: 1500

OpenAI, Azure, Groq and Together share names; Anthropic has its own, with input and output tokens apart; Mistral counts
by the minute (`x-ratelimit-limit-req-minute`, and by size, which is tokens). Read November 2026 from recorded traffic
and https://docs.anthropic.com/en/api/rate-limits. A time of the day becomes seconds by the response's own `date`, so
that no clock but the provider's matters; without one it is left out.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from tokentrail.semconv import genai

_COUNTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        genai.RATELIMIT_LIMIT_REQUESTS,
        (
            *("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit"),
            *("x-ratelimit-limit-req-minute", "x-ratelimit-limit"),
        ),
    ),
    (
        genai.RATELIMIT_REMAINING_REQUESTS,
        (
            *("x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining"),
            *("x-ratelimit-remaining-req-minute", "x-ratelimit-remaining"),
        ),
    ),
    (
        genai.RATELIMIT_LIMIT_TOKENS,
        (
            *("x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit", "x-ratelimit-limit-tokens-minute"),
            *("x-ratelimitbysize-limit-minute", "x-tokenlimit-limit"),
        ),
    ),
    (
        genai.RATELIMIT_REMAINING_TOKENS,
        (
            *("x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining"),
            *("x-ratelimit-remaining-tokens-minute", "x-ratelimitbysize-remaining-minute", "x-tokenlimit-remaining"),
        ),
    ),
    (genai.RATELIMIT_LIMIT_INPUT_TOKENS, ("anthropic-ratelimit-input-tokens-limit",)),
    (genai.RATELIMIT_REMAINING_INPUT_TOKENS, ("anthropic-ratelimit-input-tokens-remaining",)),
    (genai.RATELIMIT_LIMIT_OUTPUT_TOKENS, ("anthropic-ratelimit-output-tokens-limit",)),
    (genai.RATELIMIT_REMAINING_OUTPUT_TOKENS, ("anthropic-ratelimit-output-tokens-remaining",)),
)
_RESETS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        genai.RATELIMIT_RESET_REQUESTS,
        ("x-ratelimit-reset-requests", "anthropic-ratelimit-requests-reset", "x-ratelimit-reset"),
    ),
    (
        genai.RATELIMIT_RESET_TOKENS,
        ("x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset", "ratelimitbysize-reset", "x-tokenlimit-reset"),
    ),
    (genai.RATELIMIT_RESET_INPUT_TOKENS, ("anthropic-ratelimit-input-tokens-reset",)),
    (genai.RATELIMIT_RESET_OUTPUT_TOKENS, ("anthropic-ratelimit-output-tokens-reset",)),
)

_SECONDS: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")
_EPOCH: Final = re.compile(r"(\d{10})(\d{3})?(\.\d{1,9})?")
"""Seconds, or milliseconds, since 1970, as gateways say it (OpenRouter)."""
_DURATION_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|us|µs|ns|d|h|m|s)")
_DURATION: Final = re.compile(f"(?:{_DURATION_PART.pattern})+")
_UNITS_S: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


_ATTRIBUTES: Final = {name: attribute for table in (_COUNTS, _RESETS) for attribute, names in table for name in names}
"""Attribute by header, in the order in which headers are believed."""
_RANKS: Final = {name: rank for rank, name in enumerate(_ATTRIBUTES)}
_RESET_NAMES: Final = frozenset(name for _, names in _RESETS for name in names)
NAMES: Final = frozenset({*_ATTRIBUTES, "retry-after", "retry-after-ms", "date"})
"""Headers that are looked at, in lower case."""


def read_limits(headers: Mapping[str, str]) -> dict[str, int | float]:
    """Span attributes: counts as int, times as float, seconds from the response on. What makes no sense is left out.

    `headers` has values by lower-case name.
    """
    attributes: dict[str, int | float] = {}
    for name in sorted([name for name in headers if name in _RANKS], key=_RANKS.__getitem__):
        attribute, value = _ATTRIBUTES[name], headers[name]
        if attribute in attributes:
            continue
        if name in _RESET_NAMES:
            if (seconds := _until(value, headers)) is not None:
                attributes[attribute] = seconds
        elif value.isdecimal() and len(value) < 19:
            attributes[attribute] = int(value)
    if (retry_after := _retry_after(headers)) is not None:
        attributes[genai.RETRY_AFTER] = retry_after
    return attributes


def _retry_after(headers: Mapping[str, str]) -> float | None:
    milliseconds = headers.get("retry-after-ms")
    if milliseconds and _SECONDS.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    value = headers.get("retry-after")
    if not value:
        return None
    if _SECONDS.fullmatch(value):
        return float(value)
    return _between(_http_date(value), headers)


def _until(value: str, headers: Mapping[str, str]) -> float | None:
    if len(value) > 64:
        return None
    if (duration := _seconds(value)) is not None:
        return duration
    if epoch := _EPOCH.fullmatch(value):
        seconds, milliseconds, fraction = epoch.groups(default="")
        return _between(float(f"{seconds}.{milliseconds or '0'}" if milliseconds else seconds + fraction), headers)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return _between(moment.timestamp(), headers) if moment.tzinfo else None


@lru_cache(maxsize=256)
def _seconds(value: str) -> float | None:
    """A time that does not depend on when it is told: `1.2`, `6ms`, `1m30s`; the same ones come again and again."""
    if _SECONDS.fullmatch(value):
        return float(value)
    if _DURATION.fullmatch(value):
        return round(sum(float(amount) * _UNITS_S[unit] for amount, unit in _DURATION_PART.findall(value)), 9)
    return None


def _between(moment_s: float | None, headers: Mapping[str, str]) -> float | None:
    """From when the response was sent to `moment_s`, seconds; 0 where that is over."""
    sent_s = _http_date(headers.get("date", ""))
    return None if moment_s is None or sent_s is None else max(0.0, moment_s - sent_s)


def _http_date(value: str) -> float | None:
    """Seconds since 1970."""
    try:
        moment = parsedate_to_datetime(value[:64])
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
