"""What alerts can watch: for each metric its unit, which calls it is about, and its SQL over `llm_requests`.

Every number is exact: sums of money are decimal, percentiles are the value of a real call (`quantileExact`, as the API
has it), rates are one count divided by another. Nothing is extrapolated, and nothing is interpolated across buckets.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Unit(StrEnum):
    """What the value of a metric is counted in."""

    RATIO = "ratio"
    USD = "usd"
    SECONDS = "seconds"
    COUNT = "count"


SUM: Final = "sum"
AVG: Final = "avg"
MIN: Final = "min"
MAX: Final = "max"
PERCENTILE: Final = "percentile"
RATE: Final = "rate"
"""One count over another: the only way to sum up a rate, and not to be chosen."""

_ANY: Final = (SUM, AVG, MIN, MAX, PERCENTILE)
_SPREAD: Final = (AVG, MIN, MAX, PERCENTILE)

DEFAULT_PERCENTILE: Final = 95.0


@dataclass(frozen=True, slots=True)
class Aggregation:
    """How the values of many calls become one."""

    kind: str
    percentile: float = 0.0
    """Above 0 and below 100, for `PERCENTILE` only."""

    @property
    def label(self) -> str:
        """As people write it: `p95`, `avg`."""
        return f"p{self.percentile:g}" if self.kind == PERCENTILE else self.kind


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    title: str
    """For summaries, with a capital."""
    unit: Unit
    column: str
    """SQL: what one call contributes; the numerator of a rate. May be NULL or NaN only where `counted` is false."""
    aggregations: tuple[str, ...]
    """The first is the default."""
    counted: str = "true"
    """SQL: whether a call has this metric; only those count for the minimum of requests."""
    denominator: str = ""
    """SQL: of a rate."""
    is_bad_below: bool = False
    """Small values are the ones to warn of."""

    def is_additive(self, aggregation: Aggregation) -> bool:
        """True where a longer time has more of it, so that times can only be compared hour by hour."""
        return aggregation.kind == SUM

    def sql(self, aggregation: Aggregation, condition: str) -> str:
        """The value over the calls that meet `condition`: a Float64, NULL where there is nothing to sum up."""
        where = f"({condition}) AND ({self.counted})"
        match aggregation.kind:
            case "rate":
                total = f"sumIf(toUInt64({self.denominator}), {where})"
                return f"if({total} = 0, NULL, sumIf(toUInt64({self.column}), {where}) / {total})"
            case "sum":
                return f"toFloat64(ifNull(sumIf({self.column}, {where}), 0))"
            case "percentile":
                level = f"{aggregation.percentile / 100:.6f}"
                return f"toFloat64(quantileExactOrNullIf({level})({self.column}, {where})){self._scale}"
        return f"toFloat64({aggregation.kind}OrNullIf({self.column}, {where})){self._scale}"

    @property
    def _scale(self) -> str:
        return " / 1e9" if self.unit is Unit.SECONDS else ""


_HEADROOM: Final = (
    "least(ifNull(RatelimitRemainingRequests / nullIf(RatelimitLimitRequests, 0), inf),"
    " ifNull(RatelimitRemainingTokens / nullIf(RatelimitLimitTokens, 0), inf))"
)
"""The share that is left of the scarcer limit, as the response of the call says; infinite where it says nothing."""


def _tokens(name: str, title: str, column: str) -> Metric:
    return Metric(name, title, Unit.COUNT, column, _ANY, counted=f"isNotNull({column})")


METRICS: Final = (
    Metric("error_rate", "Error rate", Unit.RATIO, "ErrorType != ''", (RATE,), denominator="1"),
    # Decimal, so that a threshold in dollars is met to the last digit; calls without a price have nothing to add.
    Metric("cost", "Cost", Unit.USD, "CostUsd", _ANY),
    Metric("latency", "Latency", Unit.SECONDS, "DurationNs", (PERCENTILE, AVG, MIN, MAX)),
    Metric(
        "ttft", "Time to first token", Unit.SECONDS, "TtftNs", (PERCENTILE, AVG, MIN, MAX), counted="isNotNull(TtftNs)"
    ),
    Metric("requests", "Requests", Unit.COUNT, "toUInt64(1)", (SUM,)),
    _tokens("tokens", "Tokens", "toUInt128(ifNull(InputTokens, 0)) + ifNull(OutputTokens, 0)"),
    _tokens("input_tokens", "Input tokens", "toUInt128(InputTokens)"),
    _tokens("output_tokens", "Output tokens", "toUInt128(OutputTokens)"),
    _tokens("cache_read_tokens", "Tokens read from the cache", "toUInt128(CacheReadTokens)"),
    _tokens("cache_write_tokens", "Tokens written to the cache", "toUInt128(CacheWriteTokens)"),
    _tokens("reasoning_tokens", "Reasoning tokens", "toUInt128(ReasoningTokens)"),
    Metric(
        "cache_hit_rate",
        "Cache hit rate",
        Unit.RATIO,
        "ifNull(CacheReadTokens, 0)",
        (RATE,),
        counted="isNotNull(InputTokens)",
        denominator="ifNull(InputTokens, 0)",
        is_bad_below=True,
    ),
    Metric(
        "rate_limit_headroom",
        "Rate limit headroom",
        Unit.RATIO,
        _HEADROOM,
        (MIN, *(kind for kind in _SPREAD if kind != MIN)),
        counted=f"isFinite({_HEADROOM})",
        is_bad_below=True,
    ),
    Metric(
        "unpriced",
        "Calls without a price",
        Unit.COUNT,
        "toUInt64(CostUsd IS NULL AND PricingStatus != 'failed')",
        (SUM,),
    ),
)
"""In the order of the documentation."""

BY_NAME: Final = {metric.name: metric for metric in METRICS}
