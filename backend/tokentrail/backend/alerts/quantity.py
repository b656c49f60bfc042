"""Quantities as people write them in alerts: `10m`, `5%`, `$100`, `800ms`. Pure text to numbers.

Each function raises `ValueError` with what would be right.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from tokentrail.backend.alerts.metric import Unit

_UNITS_S: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)} | {
    "d": Decimal(86_400),
    "w": Decimal(604_800),
}
_TIME: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d|w)", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)
_LARGEST_FIRST: Final = tuple((unit, int(_UNITS_S[unit])) for unit in ("w", "d", "h", "m", "s"))


def seconds(text: str) -> Decimal:
    """The length of a time."""
    if match := _TIME.fullmatch(text.strip()):
        return Decimal(match[1]) * _UNITS_S[match[2]]
    raise ValueError("expected a time with its unit, such as 30s, 10m, 1h or 1d")


def whole_seconds(text: str) -> int:
    """The length of a time, in whole seconds."""
    length = seconds(text)
    if length != int(length):
        raise ValueError("expected whole seconds, such as 30s, 10m, 1h or 1d")
    return int(length)


def number(text: str) -> Decimal:
    """A number that is not negative."""
    cleaned = text.strip().replace("_", "")
    if not _NUMBER.fullmatch(cleaned):
        raise ValueError("expected a number such as 10 or 2.5")
    return Decimal(cleaned)


def of_unit(text: str, unit: Unit) -> float:
    """A threshold in `unit`: the nearest double of exactly what is written."""
    stripped = text.strip()
    match unit:
        case Unit.SECONDS:
            return float(seconds(stripped))
        case Unit.RATIO:
            return float(_share(stripped))
        case Unit.USD:
            return float(number(stripped.removeprefix("$")))
    return float(number(stripped))


def _share(text: str) -> Decimal:
    try:
        share = number(text[:-1]) / 100 if text.endswith("%") else number(text)
    except (ValueError, InvalidOperation):
        raise ValueError("expected a percentage such as 5%") from None
    if share > 1:
        raise ValueError("expected a percentage of at most 100%, such as 5%")
    return share


def short(length_s: int) -> str:
    """A time as Prometheus writes it: `1d`, `90m`, `0s`."""
    for unit, size in _LARGEST_FIRST:
        if length_s % size == 0 and length_s:
            return f"{length_s // size}{unit}"
    return "0s"


def readable(value: float, unit: Unit) -> str:
    """A value with its unit, for people: `5%`, `$100`, `10s`, `1,200`."""
    match unit:
        case Unit.RATIO:
            return f"{float(f'{value * 100:.6g}'):g}%"
        case Unit.USD:
            return f"${value:,.2f}"
        case Unit.SECONDS:
            return f"{value * 1000:.4g}ms" if value < 1 else f"{value:.6g}s"
    return f"{value:,.6g}" if value != int(value) else f"{int(value):,}"
