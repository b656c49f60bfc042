"""The arithmetic of money: exact, whatever decimal context the application has set for its threads."""

from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Final

EXACT: Final = Context(
    prec=80,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[Inexact, InvalidOperation, DivisionByZero, Overflow],
)
"""Every setting is spelled out, because an application may have changed `decimal.DefaultContext`. A count has at most
13 digits and a listed price 17, so 80 always suffice; were a result inexact all the same, it raises. One context serves
all threads: an operation only sets flags in it, which nobody reads."""

ZERO: Final = Decimal(0)

MAX_USD: Final = Decimal(1_000_000)
"""A single call at or above this is a fault of the sender, and more than the cost column of a row holds."""


def per_token(usd_per_million: Decimal) -> Decimal:
    """A price in USD per million tokens as USD per token. Raises `ValueError` for a negative or non-finite price."""
    return EXACT.multiply(_checked(usd_per_million), Decimal("1e-6"))


def per_thousand(usd_per_thousand: Decimal) -> Decimal:
    """A price in USD per thousand requests or searches as USD for each. Raises `ValueError` as `per_token` does."""
    return EXACT.multiply(_checked(usd_per_thousand), Decimal("1e-3"))


def _checked(price: Decimal) -> Decimal:
    if not isinstance(price, Decimal) or not price.is_finite() or price < 0:
        raise ValueError(f"a price must be a finite Decimal of at least 0, not {price!r}")
    return price
