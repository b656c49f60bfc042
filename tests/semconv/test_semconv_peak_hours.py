"""DeepSeek's weekends: all day off-peak, where the price list knows the hours alone."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tokentrail.semconv import cost, providers
from tokentrail.semconv.pricing.peak_hours import listed_at
from tokentrail.semconv.usage import Usage


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 11, 20, 9, 45, tzinfo=UTC),  # a Friday
        datetime(2026, 11, 23, 1, 0, tzinfo=UTC),  # a Monday
        datetime(2026, 8, 22, 2, 0, tzinfo=UTC),  # the last Saturday before the rule
    ],
)
def test_weekdays_and_the_time_before_the_rule_are_looked_up_as_they_are(at: datetime) -> None:
    assert listed_at(providers.DEEPSEEK, at) == at


@pytest.mark.parametrize("at", [datetime(2026, 8, 23, tzinfo=UTC), datetime(2026, 11, 21, 6, 45, tzinfo=UTC)])
def test_a_weekend_is_looked_up_at_noon_of_the_same_day(at: datetime) -> None:
    assert listed_at(providers.DEEPSEEK, at) == at.replace(hour=12, minute=0)


def test_other_providers_have_no_such_rule() -> None:
    saturday = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)

    assert listed_at(providers.OPENROUTER, saturday) == saturday


@pytest.mark.parametrize(("day", "usd"), [(20, "0.0000003"), (21, "0.00000015"), (22, "0.00000015"), (23, "0.0000003")])
def test_a_token_costs_half_on_weekends(day: int, usd: str) -> None:
    at = datetime(2026, 11, day, 2, 30, tzinfo=UTC)

    result = cost.price(
        cost.Call(providers.DEEPSEEK, ("deepseek-flash",), Usage(1, 0), int(at.timestamp()) * 1_000_000_000)
    )

    assert isinstance(result, cost.Cost)
    assert result.total_usd == Decimal(usd)
