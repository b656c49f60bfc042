"""Prices by the hour, where the list knows the hours but not the days on which they count. Pure.

    DeepSeek    peak hours are 01:00 - 04:00 and 06:00 - 10:00 UTC from Monday to Friday; all other hours cost half

Source: https://api-docs.deepseek.com/quick_start/pricing, read 2026-11-21. Weekends have been off-peak since
2026-08-23; genai-prices 0.2.3 has the hours for every day. The Chinese edition of the page leaves out China's public
holidays too, which the English one, in dollars, does not say.
"""

from datetime import UTC, datetime
from typing import Final

from tokentrail.semconv import providers

_FREE_WEEKENDS_SINCE: Final = datetime(2026, 8, 23, tzinfo=UTC)
_SATURDAY: Final = 5
_OFF_PEAK_HOUR: Final = 12


def listed_at(provider: str, at: datetime) -> datetime:
    """The time at which the list has the price that holds `at` (UTC): another hour of the same day, or `at` itself."""
    if provider != providers.DEEPSEEK or at < _FREE_WEEKENDS_SINCE or at.weekday() < _SATURDAY:
        return at
    return at.replace(hour=_OFF_PEAK_HOUR, minute=0)
