"""The cost that a span carries, with its provenance; exact digits out of doubles."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Final

from tokentrail.backend.dialects import coerce
from tokentrail.backend.span import Attributes
from tokentrail.semconv import cost, genai
from tokentrail.semconv.pricing.money import MAX_USD

CLIENT: Final = "client"
"""Source of a total that the sender computed in a way nobody knows."""

_AMOUNT: Final = "gen_ai.usage.cost.amount"
_CURRENCY: Final = "gen_ai.usage.cost.currency"
"""A draft of the conventions; amounts in another currency are no USD."""
_TOTAL: Final = "gen_ai.usage.total_cost"
COST: Final = (genai.PRICING_STATUS, genai.USAGE_COST, _TOTAL, _AMOUNT)
"""What `read_cost` looks at."""

_QUANTUM: Final = Decimal("1e-12")
_CONTEXT: Final = Context(prec=60)
_AGREEMENT: Final = Decimal("1e-9")
"""Relative difference up to which components and total are the same sum: doubles have 15 to 17 digits."""
_REASONS: Final = frozenset(cost.Reason)


@dataclass(frozen=True, slots=True)
class ReportedCost:
    """What the span says; the fields are those of `Row`."""

    cost_usd: Decimal | None = None
    cost_components: Mapping[str, Decimal] = field(default_factory=dict)
    cost_source: str = ""
    pricing_status: str = ""
    price_version: str = ""
    price_entry: str = ""
    pricing_tier: str = ""
    pricing_assumptions: tuple[str, ...] = ()


def read_cost(attributes: Attributes) -> ReportedCost | None:
    """The span's own cost, or its own reason for having none; `None` when it says neither and is to be priced."""
    status = coerce.text(attributes, genai.PRICING_STATUS)
    if status in _REASONS:
        return ReportedCost(pricing_status=status)
    total = usd(coerce.number(attributes, genai.USAGE_COST))
    if status == cost.PRICED and total is not None:
        components = _components(attributes)
        exact = _exact_sum(components, total)
        return ReportedCost(
            cost_usd=total if exact is None else exact,
            cost_components={} if exact is None else components,
            cost_source=coerce.text(attributes, genai.PRICING_SOURCE) or CLIENT,
            pricing_status=cost.PRICED,
            price_version=coerce.text(attributes, genai.PRICING_VERSION),
            price_entry=coerce.text(attributes, genai.PRICING_ENTRY),
            pricing_tier=coerce.text(attributes, genai.PRICING_TIER),
            pricing_assumptions=coerce.texts(attributes.get(genai.PRICING_ASSUMPTIONS)),
        )
    # Others write 0 for a model they do not know: only a positive total says something.
    for name in (_AMOUNT, genai.USAGE_COST, _TOTAL):
        if name == _AMOUNT and coerce.text(attributes, _CURRENCY).upper() != "USD":
            continue
        if total := usd(coerce.number(attributes, name)):
            return ReportedCost(cost_usd=total, cost_source=CLIENT, pricing_status=cost.PRICED)
    return None


def usd(amount: float | Decimal | None) -> Decimal | None:
    """An amount to 1e-12 USD, or `None` when it is no amount a call can cost."""
    if amount is None:
        return None
    if isinstance(amount, Decimal):
        return rounded(amount) if amount.is_finite() and 0 <= amount < MAX_USD else None
    if not math.isfinite(amount) or not 0 <= amount < MAX_USD:
        return None
    return rounded(Decimal(repr(amount)))


def rounded(amount: Decimal) -> Decimal:
    """An amount that a call can cost to 1e-12 USD."""
    return amount.quantize(_QUANTUM, None, _CONTEXT)


def _components(attributes: Attributes) -> dict[str, Decimal]:
    components: dict[str, Decimal] = {}
    for name in cost.COMPONENTS:
        if amount := usd(coerce.number(attributes, genai.COST_COMPONENT_PREFIX + name)):
            components[name] = amount
    return components


def _exact_sum(components: Mapping[str, Decimal], total: Decimal) -> Decimal | None:
    """The components' sum when it is the total in exact digits; otherwise the components cannot be trusted."""
    if not components:
        return None
    exact = sum(components.values(), Decimal(0))
    # Each of them was rounded to the quantum, so that much may be between them besides.
    allowed = abs(total) * _AGREEMENT + _QUANTUM * len(components)
    return exact if abs(exact - total) <= allowed else None
