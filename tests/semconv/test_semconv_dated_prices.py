"""Prices that change on a day: each side of it has its own, and a call before it keeps the one it had.

The amounts are the publishers' own, as the entries of `overlay.toml` cite them; in USD per million tokens.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import pytest

from tokentrail.semconv.pricing import RateCard, rate_card

MILLION: Final = Decimal(1_000_000)


def rates_of(provider: str, model: str, at: str, tier: str = "") -> tuple[str, str, str, str | None]:
    """Input, cache read and output of short prompts, and where they are from."""
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    card = rate_card(provider, "", (model,), tier, int(moment.timestamp()) * 10**9)
    assert isinstance(card, RateCard), card
    _, rates = card.bands[0]
    told = (_amount(rates.input), _amount(rates.cache_read), _amount(rates.output))
    return (*told, "tier_not_priced" if "tier_not_priced" in card.assumptions else None)


def _amount(rate: object) -> str:
    assert isinstance(rate, Decimal | int), rate
    return format((rate * MILLION).normalize(), "f")


@pytest.mark.parametrize(
    ("provider", "model", "tier", "prices"),
    [
        # A promotion of OpenAI, "at least through November 21"; nobody says what comes after.
        (
            "openai",
            "gpt-5.6-sol",
            "",
            {
                "2026-08-20T23:59:59": ("5", "0.5", "30"),
                "2026-08-21T00:00:00": ("4", "0.4", "20"),
                "2026-11-21T23:59:59": ("4", "0.4", "20"),
                "2026-11-22T00:00:00": ("4", "0.4", "20"),
            },
        ),
        # Azure followed later, each time.
        (
            "azure.ai.openai",
            "gpt-5.6-sol",
            "",
            {
                "2026-08-20T23:59:59": ("5", "0.5", "30"),
                "2026-08-31T23:59:59": ("5", "0.5", "30"),
                "2026-09-01T00:00:00": ("4", "0.4", "20"),
                "2026-11-30T23:59:59": ("4", "0.4", "20"),
            },
        ),
        (
            "azure.ai.openai",
            "gpt-5.6-terra",
            "",
            {"2026-07-31T23:59:59": ("2.5", "0.25", "15"), "2026-08-01T00:00:00": ("2", "0.2", "12")},
        ),
        (
            "azure.ai.openai",
            "gpt-5.6-luna",
            "",
            {"2026-07-31T23:59:59": ("1", "0.1", "6"), "2026-08-01T00:00:00": ("0.2", "0.02", "1.2")},
        ),
        # Google's introductory prices.
        *(
            (
                "gcp.gemini",
                model,
                "",
                {"2026-11-30T23:59:59": ("2", "0.1", "10"), "2026-12-01T00:00:00": ("4", "0.2", "20")},
            )
            for model in ("gemini-4-argon", "gemini-4-carbon")
        ),
        *(
            (provider, f"gemini-{version}-flash", tier, {"2026-12-31T23:59:59": before, "2027-01-01T00:00:00": after})
            for provider in ("gcp.gemini", "gcp.vertex_ai")
            for version in ("3.6", "3.7", "3.8")
            for tier, before, after in (
                ("", ("0.75", "0.075", "3.75"), ("1.5", "0.15", "7.5")),
                ("flex", ("0.375", "0.0375", "1.875"), ("0.75", "0.075", "3.75")),
                ("priority", ("1.35", "0.135", "6.75"), ("2.7", "0.27", "13.5")),
            )
        ),
    ],
)
def test_a_call_has_the_price_of_its_day(
    provider: str, model: str, tier: str, prices: dict[str, tuple[str, str, str]]
) -> None:
    found = {at: rates_of(provider, model, at, tier) for at in prices}

    assert found == {at: (*price, None) for at, price in prices.items()}
