"""Calls by the hour, in `llm_requests_hourly`: filled from the calls, an hour as a whole, again when it has changed.

Nothing is added up on the way in: a sum that every insert adds to is wrong after a crash between the two, and after a
correction. An hour is filled when it has ended; again when it has more calls than when it was filled (late ones); and
again when costs in it were corrected. Filling twice is filling once: the later row of a key replaces the earlier. An
hour of which calls have expired has fewer of them, and is left as it is.

Statements only: whoever calls brings the connection.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

Execute: TypeAlias = Callable[[str, Mapping[str, object]], object]
"""Runs one statement with parameters."""
Query: TypeAlias = Callable[[str, Mapping[str, object]], Sequence[Mapping[str, object]]]
"""Answers one SELECT with parameters."""

HOUR_S: Final = 3_600
HOURS_AT_ONCE: Final = 24
"""Hours that one statement fills: what is in memory meanwhile is the sums of so many."""

_KEYS: Final = "Hour, Project, Environment, Service, Operation, Provider, Model, ErrorType"
_SUMS: Final[Mapping[str, str]] = {
    "Requests": "count()",
    "Priced": "countIf(CostUsd IS NOT NULL)",
    "Unpriced": "countIf(CostUsd IS NULL AND PricingStatus != 'failed')",
    "CostUsd": "sum(ifNull(CostUsd, 0))",
    **{
        name: f"sum(toUInt128(ifNull({name}, 0)))"
        for name in ("InputTokens", "OutputTokens", "CacheReadTokens", "CacheWriteTokens", "ReasoningTokens")
    },
    "DurationNs": "sum(toUInt128(DurationNs))",
    "DurationBuckets": "sumMap(map(toInt16(floor(log2(greatest(DurationNs, 1)) * 16)), toUInt64(1)))",
    "TtftCount": "count(TtftNs)",
    "TtftNs": "sum(toUInt128(ifNull(TtftNs, 0)))",
    "TtftBuckets": "sumMapIf(map(toInt16(floor(log2(greatest(ifNull(TtftNs, 1), 1)) * 16)), toUInt64(1)), "
    "TtftNs IS NOT NULL)",
    "Users": "uniqCombined64StateIf(12)(UserId, UserId != '')",
    "FilledAt": "now64(3)",
}
_START: Final = "toStartOfHour(Timestamp, 'UTC')"
# The sums have names of columns: the calls are read under names of their own, or a sum would be summed.
_FILL: Final = f"""
INSERT INTO llm_requests_hourly ({_KEYS}, {", ".join(_SUMS)})
SELECT toDateTime({_START}, 'UTC') AS Start, Project, Environment, Service, Operation, Provider,
    if(RequestModel != '', RequestModel, ResponseModel) AS Name, ErrorType,
    {", ".join(f"{sql} AS `new.{name}`" for name, sql in _SUMS.items())}
FROM llm_requests
WHERE {_START} IN ({{hours}}) AND Timestamp >= {{first}} AND Timestamp < {{end}}
GROUP BY Start, Project, Environment, Service, Operation, Provider, Name, ErrorType
"""  # noqa: S608 - names of this module
_CHANGED: Final = f"""
SELECT toUnixTimestamp(Start) AS hour FROM
(
    SELECT toDateTime({_START}, 'UTC') AS Start, count() AS Calls FROM llm_requests
    WHERE Timestamp < fromUnixTimestamp64Nano({{until:Int64}})
        AND {_START} IN
            (SELECT {_START} FROM llm_requests WHERE ReceivedAt >= fromUnixTimestamp64Micro({{since:Int64}}))
    GROUP BY Start
) AS stored
LEFT JOIN
(
    SELECT Hour, sum(Requests) AS Known FROM llm_requests_hourly FINAL GROUP BY Hour
) AS filled ON Start = Hour
WHERE Calls > Known ORDER BY hour
"""  # noqa: S608 - names of this module
_CORRECTED: Final = f"""
SELECT DISTINCT toUnixTimestamp(toDateTime({_START}, 'UTC')) AS hour FROM cost_corrections
WHERE Run = {{run:String}} AND toDateTime({_START}, 'UTC') IN (SELECT Hour FROM llm_requests_hourly)
ORDER BY hour
"""  # noqa: S608 - names of this module


def fill_changed(execute: Execute, query: Query, since_ns: int, until_ns: int) -> int:
    """Fill the hours that ended by `until_ns` and have calls, received since `since_ns`, that they do not count yet.

    The answer is how many hours those were. Errors of the two callables pass through; then some may not be filled.
    """
    until_ns -= until_ns % (HOUR_S * 10**9)
    found = query(_CHANGED, {"since": since_ns // 1000, "until": until_ns})
    return _fill(execute, [int(str(row["hour"])) for row in found])


def fill_corrected(execute: Execute, query: Query, run: str) -> int:
    """Fill again the hours in which `run` corrected costs, as far as they were filled. As `fill_changed` otherwise."""
    return _fill(execute, [int(str(row["hour"])) for row in query(_CORRECTED, {"run": run})])


def _fill(execute: Execute, hours: Sequence[int]) -> int:
    for begin in range(0, len(hours), HOURS_AT_ONCE):
        some = hours[begin : begin + HOURS_AT_ONCE]
        # Numbers of our own, no text: parameters cannot be a list of times.
        statement = _FILL.format(
            hours=", ".join(f"toDateTime({hour}, 'UTC')" for hour in some),
            first=f"toDateTime({some[0]}, 'UTC')",
            end=f"toDateTime({some[-1] + HOUR_S}, 'UTC')",
        )
        execute(statement, {})
    return len(hours)
