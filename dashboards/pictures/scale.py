"""Axes: round numbers between two bounds, round moments between two times, and where values lie on the picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_ROUND: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_BINARY: Final = ("bytes", "binBps")
_TIME_STEPS_S: Final = (1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DAY_S: Final = 86400


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        span = self.high - self.low
        return self.start if span == 0 else self.start + (value - self.low) / span * (self.end - self.start)


def ticks(low: float, high: float, count: int, unit: str = "") -> list[float]:
    """About `count` round numbers that reach from `low` or below to `high` or above."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    step = _step((high - low) / max(count, 1), unit)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _step(rough: float, unit: str) -> float:
    if unit in _BINARY and rough >= 1:
        return float(2 ** math.ceil(math.log2(rough)))
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each for each in _ROUND if each * power >= rough * (1 - 1e-9)) * power
    if unit == "short" and step < 1 and rough > 0.4:
        return 1.0
    return step


def moments(start_ms: int, end_ms: int, count: int) -> Sequence[tuple[int, str]]:
    """Round times within, in milliseconds, with what is written below them."""
    rough = (end_ms - start_ms) / 1000 / max(count, 1)
    step_s = next((each for each in _TIME_STEPS_S if each >= rough), 0)
    if not step_s:
        step_s = _DAY_S * math.ceil(rough / _DAY_S)
    step = step_s * 1000
    first = -(-start_ms // step) * step
    form = "%m/%d" if step_s >= _DAY_S else "%H:%M:%S" if step_s < 60 else "%H:%M"
    long = (end_ms - start_ms) / 1000 > _DAY_S * 1.5 and step_s < _DAY_S
    form = "%m/%d %H:%M" if long else form
    return [(at, datetime.fromtimestamp(at / 1000, UTC).strftime(form)) for at in range(first, end_ms + 1, step)]
