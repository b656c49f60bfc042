"""What finding a price takes: the hot lookup, the whole cost of a call, and the price list's own way beside it.

CPU time of one thread, the best of several rounds, in one run.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from genai_prices import Usage as ListedUsage  # to compare with; the product itself asks it for rates only
from genai_prices import calc_price

from tokentrail.semconv import cost, pricing
from tokentrail.semconv.usage import Usage

_AT_NS: Final = int(datetime(2025, 3, 1, 12, tzinfo=UTC).timestamp()) * 10**9
_CALL: Final = cost.Call(
    provider="openai",
    models=("", "gpt-4o-2024-08-06", "gpt-4o"),
    usage=Usage(input_tokens=1500, output_tokens=300, cache_read_tokens=1024),
    at_ns=_AT_NS,
    server_address="api.openai.com",
    service_tier="default",
)
_LISTED: Final = ListedUsage(input_tokens=1500, output_tokens=300, cache_read_tokens=1024)
_ROUNDS: Final = 9


def report(say: Callable[[str], None], calls: int = 50_000) -> int:
    """Print the table; 1 when the two ways do not agree on the price."""
    ours, theirs = cost.price(_CALL), _theirs()
    if isinstance(ours, cost.Unpriced) or ours.total_usd != theirs:
        say(f"not measured: {ours} is not what the list's own calculation says, {theirs}")
        return 1
    say(f"gpt-4o with 1500 (1024 cached) and 300 tokens, {ours.total_usd.normalize()} USD; us of CPU a call")
    for what, work, count in (
        ("rate card, from memory", lambda: _card(_CALL.at_ns), calls),
        ("whole cost, card from memory", lambda: cost.price(_CALL), calls),
        ("rate card, looked up", _fresh_card, calls // 200),
        ("genai-prices' own calculation", _theirs, calls // 50),
    ):
        say(f"  {what:32} {_best(work, count):8.2f}")
    return 0


def _card(at_ns: int) -> object:
    return pricing.rate_card(_CALL.provider, _CALL.server_address, _CALL.models, _CALL.service_tier, at_ns)


def _fresh_card() -> object:
    pricing.forget()
    return _card(_CALL.at_ns)


def _theirs() -> object:
    when = datetime.fromtimestamp(_AT_NS / 1e9, UTC)
    found = calc_price(_LISTED, "gpt-4o-2024-08-06", provider_id="openai", genai_request_timestamp=when)
    return found.total_price


def _best(work: Callable[[], object], count: int) -> float:
    """Microseconds of CPU of one `work`."""
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.thread_time_ns()
        for _ in range(count):
            work()
        best = min(best, (time.thread_time_ns() - start) / count / 1000)
    return best
