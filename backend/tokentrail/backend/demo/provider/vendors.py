"""What all endpoints of a vendor share: the check of the key, the headers, the JSON of an error, the faults.

Sources: https://platform.openai.com/docs/guides/rate-limits and .../error-codes,
https://docs.anthropic.com/en/api/rate-limits and .../errors (read 2026-11).
"""

import random
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tokentrail.backend.demo.provider._base import Json, Refusal
from tokentrail.semconv import providers

LIMIT_REQUESTS = 5_000
"""Requests a minute that the headers allow for each model. It is told, not enforced."""
LIMIT_TOKENS = 2_000_000
RETRY_AFTER_S = 1.0


class Allowance:
    """Requests and tokens left in the current minute, per model."""

    def __init__(self) -> None:
        self._minute = -1
        self._used: dict[str, tuple[int, int]] = {}

    def use(self, model: str, tokens: int) -> tuple[int, int]:
        """Count one request of `tokens`; what is left afterwards as (requests, tokens)."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._used = minute, {}
        requests, used = self._used.get(model, (0, 0))
        self._used[model] = (requests + 1, used + tokens)
        return max(LIMIT_REQUESTS - requests - 1, 0), max(LIMIT_TOKENS - used - tokens, 0)


class Vendor(Protocol):
    """The manners of one vendor."""

    @property
    def name(self) -> str:
        """Canonical provider name."""

    def request_id(self) -> str:
        """A new id of an HTTP request."""

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Refuse a request without a key. The key is not looked at beyond its presence, and kept nowhere."""

    def headers(self, request_id: str, left: tuple[int, int], taken_ms: int) -> dict[str, str]:
        """Headers of an answer. `left` is (requests, tokens) of the allowance."""

    def error(self, refusal: Refusal, request_id: str) -> Json:
        """Body of an error answer."""

    def fault(self, stream: bool, rng: random.Random) -> tuple[Refusal, bool]:
        """A failure of the vendor's own, and whether it strikes inside the stream rather than at once."""


class OpenAI:
    """OpenAI's manners."""

    name = providers.OPENAI

    def request_id(self) -> str:
        """`req_` and 32 hex digits."""
        return f"req_{secrets.token_hex(16)}"

    def check_key(self, headers: Mapping[str, str]) -> None:
        """`Authorization: Bearer ...` must be there."""
        if not headers.get("authorization", "").removeprefix("Bearer").strip():
            raise Refusal(
                401, "invalid_request_error", "You didn't provide an API key in an Authorization header.", code=None
            )

    def headers(self, request_id: str, left: tuple[int, int], taken_ms: int) -> dict[str, str]:
        """The vendor's headers, in its spelling."""
        return {
            "x-request-id": request_id,
            "openai-version": "2020-10-01",
            "openai-organization": "local",
            "openai-processing-ms": str(taken_ms),
            "x-ratelimit-limit-requests": str(LIMIT_REQUESTS),
            "x-ratelimit-limit-tokens": str(LIMIT_TOKENS),
            "x-ratelimit-remaining-requests": str(left[0]),
            "x-ratelimit-remaining-tokens": str(left[1]),
            "x-ratelimit-reset-requests": f"{(LIMIT_REQUESTS - left[0]) * 12}ms",
            "x-ratelimit-reset-tokens": f"{(LIMIT_TOKENS - left[1]) * 60_000 // LIMIT_TOKENS}ms",
        }

    def error(self, refusal: Refusal, request_id: str) -> Json:
        """`{"error": {"message", "type", "param", "code"}}`."""
        return {
            "error": {
                "message": refusal.message,
                "type": refusal.kind,
                "param": refusal.param,
                "code": refusal.code,
            }
        }

    def fault(self, stream: bool, rng: random.Random) -> tuple[Refusal, bool]:
        """Two of three are rate limits, the others server errors; neither breaks a stream that has begun."""
        if rng.random() < 2 / 3:
            limited = Refusal(
                429,
                "requests",
                "Rate limit reached on requests per min (RPM). Please try again in 1s.",
                code="rate_limit_exceeded",
            )
            limited.retry_after_s = RETRY_AFTER_S
            return limited, False
        return Refusal(500, "server_error", "The server had an error while processing your request."), False


class Anthropic:
    """Anthropic's manners."""

    name = providers.ANTHROPIC

    def request_id(self) -> str:
        """`req_011` and 21 letters and digits."""
        return f"req_011{secrets.token_hex(11)[:21]}"

    def check_key(self, headers: Mapping[str, str]) -> None:
        """`x-api-key` (or a bearer token) and `anthropic-version` must be there."""
        if not headers.get("x-api-key") and not headers.get("authorization"):
            raise Refusal(401, "authentication_error", "x-api-key header is required")
        if not headers.get("anthropic-version"):
            raise Refusal(400, "invalid_request_error", "anthropic-version: header is required")

    def headers(self, request_id: str, left: tuple[int, int], taken_ms: int) -> dict[str, str]:
        """The vendor's headers, in its spelling."""
        reset = (datetime.now(UTC) + timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
        result = {"request-id": request_id, "anthropic-organization-id": "local"}
        limits = {"requests": (LIMIT_REQUESTS, left[0])} | dict.fromkeys(
            ("tokens", "input-tokens", "output-tokens"), (LIMIT_TOKENS, left[1])
        )
        for kind, (limit, remaining) in limits.items():
            result[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
            result[f"anthropic-ratelimit-{kind}-remaining"] = str(remaining)
            result[f"anthropic-ratelimit-{kind}-reset"] = reset
        return result

    def error(self, refusal: Refusal, request_id: str) -> Json:
        """`{"type": "error", "error": {"type", "message"}, "request_id"}`."""
        return {
            "type": "error",
            "error": {"type": refusal.kind, "message": refusal.message},
            "request_id": request_id,
        }

    def fault(self, stream: bool, rng: random.Random) -> tuple[Refusal, bool]:
        """Rate limits, server errors and overload in equal parts; overload strikes inside a stream."""
        kind = rng.randrange(3)
        if kind == 0:
            limited = Refusal(429, "rate_limit_error", "This request would exceed your rate limit.")
            limited.retry_after_s = RETRY_AFTER_S
            return limited, False
        if kind == 1:
            return Refusal(500, "api_error", "Internal server error"), False
        return Refusal(529, "overloaded_error", "Overloaded"), stream


VENDORS: Mapping[str, Vendor] = {vendor.name: vendor for vendor in (OpenAI(), Anthropic())}
