"""The cost of one call: exact, with its provenance, or the reason why there is none.

Money is `Decimal` USD. The components of a cost add up to its total to the last digit. An unknown model has no cost;
it never costs 0.
"""

import logging
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final, NamedTuple

from tokentrail.semconv import genai
from tokentrail.semconv.frozen import frozen
from tokentrail.semconv.pricing.card import Reason, Source, Unpriced
from tokentrail.semconv.pricing.charge import charge
from tokentrail.semconv.pricing.money import MAX_USD
from tokentrail.semconv.pricing.resolve import rate_card
from tokentrail.semconv.usage import Usage

__all__ = [
    "COMPONENTS",
    "PRICED",
    "Call",
    "Cost",
    "Reason",
    "Source",
    "Unpriced",
    "attributes",
    "price",
]

COMPONENTS: Final = ("input", "cache_read", "cache_write", "output", "reasoning", "requests")
"""What a cost is made of. `input` is the input less cache reads and writes, `output` the output less reasoning
(audio and image tokens are inside them, at their own prices); `requests` is a price per request."""

PRICED: Final = "priced"

_log = logging.getLogger(__name__)
_logged: set[str] = set()


@frozen
class Call:
    """What is to be priced."""

    provider: str
    """Canonical provider name (`providers.canonical`)."""
    models: tuple[str, ...]
    """Model ids in the order to try them: an override, the response's, the request's. Empty ids are skipped."""
    usage: Usage
    at_ns: int
    """Time of the call, nanoseconds since the epoch: prices have dates."""
    server_address: str = ""
    service_tier: str = ""
    """The tier that served the call, in the provider's word; empty when it said none. Where the place of the inference
    has a price, it follows behind an `@` (`standard@us`)."""
    reported_usd: Decimal | None = None
    """What the provider itself said the call cost."""


class Cost(NamedTuple):
    """A priced call. A tuple, because one is made for each call, in a third of the time of a frozen dataclass."""

    total_usd: Decimal
    components: Mapping[str, Decimal] = MappingProxyType({})
    """USD by name of `COMPONENTS`, zero ones left out; empty when only a total was reported."""
    source: str = ""
    version: str = ""
    """Version of the price data, such as `genai-prices 0.2.3`."""
    entry: str = ""
    """The entry that matched, as `provider/model`, so that a wrong match shows."""
    tier: str = ""
    assumptions: tuple[str, ...] = ()


def price(call: Call) -> Cost | Unpriced:
    """The cost of `call`, or why it has none. Never raises; thread-safe; does no I/O but reading the price list once.

    What the provider reported wins. Without usage the answer is `Reason.NO_USAGE`: whoever knows that the call failed
    says `Reason.FAILED` in its place. The first lookup of all takes about 0.3 s (`pricing.load_price_list`).
    """
    try:
        return _price(call)
    except Exception as error:  # noqa: BLE001 - a call must not suffer from the question what it cost
        _log_once(error)
        return Unpriced(Reason.INTERNAL, f"{type(error).__name__} while pricing")


def attributes(result: Cost | Unpriced) -> dict[str, str | float | list[str]]:
    """`result` as span attributes; of an unpriced call only `tokentrail.pricing.status`, never a cost of 0."""
    if isinstance(result, Unpriced):
        return {genai.PRICING_STATUS: str(result.reason)}
    values: dict[str, str | float | list[str]] = {
        genai.PRICING_STATUS: PRICED,
        genai.USAGE_COST: float(result.total_usd),
    }
    for component, usd in result.components.items():
        values[genai.COST_COMPONENT_PREFIX + component] = float(usd)
    for name, text in (
        (genai.PRICING_SOURCE, result.source),
        (genai.PRICING_VERSION, result.version),
        (genai.PRICING_ENTRY, result.entry),
        (genai.PRICING_TIER, result.tier),
    ):
        if text:
            values[name] = str(text)
    if result.assumptions:
        values[genai.PRICING_ASSUMPTIONS] = list(result.assumptions)
    return values


def _price(call: Call) -> Cost | Unpriced:
    if call.reported_usd is not None and (reported := _reported(call.reported_usd)) is not None:
        return reported
    usage = call.usage
    if usage.is_empty:
        return Unpriced(Reason.NO_USAGE, "neither input nor output tokens were reported")
    if problem := usage.problem():
        return Unpriced(Reason.INVALID_USAGE, problem)
    card = rate_card(call.provider, call.server_address, call.models, call.service_tier, call.at_ns)
    if isinstance(card, Unpriced):
        return card
    total, components, assumptions = charge(card, usage)
    if total >= MAX_USD:
        return Unpriced(Reason.INVALID_USAGE, f"the counts come to {total:f} USD, which no call costs")
    return Cost(total, components, card.source, card.version, card.entry, card.tier, assumptions)


def _reported(usd: Decimal) -> Cost | None:
    """The provider's own figure as a cost, or `None` when it is no amount of money."""
    if not isinstance(usd, Decimal) or not usd.is_finite() or not 0 <= usd < MAX_USD:
        return None
    return Cost(usd, source=Source.PROVIDER)


def _log_once(error: Exception) -> None:
    kind = type(error).__name__
    if kind not in _logged:
        _logged.add(kind)
        _log.warning("pricing failed, the call stays unpriced; further failures of this kind are not logged: %s", kind)
