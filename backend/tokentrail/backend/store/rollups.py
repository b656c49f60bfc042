"""Calls by the hour and users by the day, in `llm_requests_hourly` and `llm_users_daily`: filled from the calls, an
hour or a day as a whole, again when it has changed.

Nothing is added up on the way in: a sum that every insert adds to is wrong after a crash between the two, and after a
correction. An hour (a day) is filled when it has ended; again when it has more calls than when it was filled (late
ones); and again when costs in it were corrected. Filling twice is filling once: the later row of a key replaces the
earlier. An hour of which calls have expired has fewer of them, and is left as it is.

Statements only: whoever calls brings the connection.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Execute: TypeAlias = Callable[[str, Mapping[str, object]], object]
"""Runs one statement with parameters."""
Query: TypeAlias = Callable[[str, Mapping[str, object]], Sequence[Mapping[str, object]]]
"""Answers one SELECT with parameters."""

HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
HOURS_AT_ONCE: Final = 24
"""Hours that one statement fills: what is in memory meanwhile is the sums of so many."""


@dataclass(frozen=True, slots=True)
class _Rollup:
    """A table of sums of the calls of each hour, or of each day (UTC), by the start of the call."""

    table: str
    period: str
    """Its first column."""
    period_s: int
    at_once: int
    """Periods that one statement fills."""
    start: str
    """SQL: the period of a call, as the order of calls knows it."""
    typed: str
    """SQL: that, or a DateTime, as the type of the column; of `{}`."""
    keys: Mapping[str, str]
    """SQL by column. Names of columns that are not those of calls: a call has them under another."""
    sums: Mapping[str, str]
    """SQL by column."""

    @property
    def _of_call(self) -> str:
        return self.typed.format(self.start)

    def fill(self, starts_s: Sequence[int]) -> str:
        """The statement that fills the periods that begin at `starts_s`, in order."""
        # Numbers of our own, no text: parameters cannot be a list of times.
        times = [f"toDateTime({start_s}, 'UTC')" for start_s in (*starts_s, starts_s[-1] + self.period_s)]
        periods = ", ".join(self.typed.format(each) for each in times[:-1])
        # The sums have names of columns: the calls are read under names of their own, or a sum would be summed.
        columns = {self.period: self._of_call, **self.keys, **self.sums}
        values = ", ".join(f"{sql} AS `new.{name}`" for name, sql in columns.items())
        groups = ", ".join(f"`new.{name}`" for name in (self.period, *self.keys))
        return (
            f"INSERT INTO {self.table} ({', '.join(columns)}) SELECT {values} FROM llm_requests "  # noqa: S608 - ours
            f"WHERE {self.start} IN ({periods}) AND Timestamp >= {times[0]} AND Timestamp < {times[-1]} "
            f"GROUP BY {groups}"
        )

    def changed(self) -> str:
        """The query for periods before `until` with calls, received from `since` on, that they do not count yet."""
        return f"""
SELECT {_UNIX.format("Start")} AS start FROM
(
    SELECT {self._of_call} AS Start, count() AS Calls FROM llm_requests
    WHERE Timestamp < fromUnixTimestamp64Nano({{until:Int64}})
        AND {self.start} IN
            (SELECT {self.start} FROM llm_requests WHERE ReceivedAt >= fromUnixTimestamp64Micro({{since:Int64}}))
    GROUP BY Start
) AS stored
LEFT JOIN
(
    SELECT {self.period}, sum(Requests) AS Known FROM {self.table} FINAL GROUP BY {self.period}
) AS filled ON Start = {self.period}
WHERE Calls > Known ORDER BY start
"""  # noqa: S608 - names of this module

    def corrected(self) -> str:
        """The query for filled periods in which `run` corrected costs."""
        return f"""
SELECT DISTINCT {_UNIX.format(self._of_call)} AS start FROM cost_corrections
WHERE Run = {{run:String}} AND {self._of_call} IN (SELECT {self.period} FROM {self.table})
ORDER BY start
"""  # noqa: S608 - names of this module


_UNIX: Final = "toUnixTimestamp(toDateTime({}, 'UTC'))"
_HOURLY: Final = _Rollup(
    "llm_requests_hourly",
    "Hour",
    HOUR_S,
    HOURS_AT_ONCE,
    "toStartOfHour(Timestamp, 'UTC')",
    "toDateTime({}, 'UTC')",
    {
        **{name: name for name in ("Project", "Environment", "Service", "Operation", "Provider")},
        "Model": "if(RequestModel != '', RequestModel, ResponseModel)",
        "ErrorType": "ErrorType",
    },
    {
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
    },
)
_ENDED: Final = "Timestamp + toIntervalNanosecond(DurationNs)"
_USERS_DAILY: Final = _Rollup(
    "llm_users_daily",
    "Day",
    DAY_S,
    1,
    "toDate(Timestamp, 'UTC')",
    "toDate({}, 'UTC')",
    {name: name for name in ("Project", "Environment", "Service", "UserId")},
    {
        "Requests": "count()",
        "CostUsd": "sum(ifNull(CostUsd, 0))",
        "First": f"min({_ENDED})",
        "Last": f"max({_ENDED})",
        "FilledAt": "now64(3)",
    },
)


def fill_changed(execute: Execute, query: Query, since_ns: int, until_ns: int) -> int:
    """Fill the hours and days that ended by `until_ns` and have calls, received since `since_ns`, that they do not
    count yet.

    The answer is how many hours those were. Errors of the two callables pass through; then some may not be filled.
    """
    filled = []
    for rollup in (_HOURLY, _USERS_DAILY):
        # What a day has is received all day long, and was left for later until the day had ended.
        since_us = max(since_ns // 1000 - rollup.period_s * 10**6, 0)
        whole_ns = until_ns - until_ns % (rollup.period_s * 10**9)
        found = query(rollup.changed(), {"since": since_us, "until": whole_ns})
        filled.append(_fill(execute, rollup, found))
    return filled[0]


def fill_corrected(execute: Execute, query: Query, run: str) -> int:
    """Fill again the hours and days in which `run` corrected costs, as far as they were filled. As `fill_changed`
    otherwise."""
    hours, _ = (_fill(execute, each, query(each.corrected(), {"run": run})) for each in (_HOURLY, _USERS_DAILY))
    return hours


def _fill(execute: Execute, rollup: _Rollup, found: Sequence[Mapping[str, object]]) -> int:
    starts_s = [int(str(row["start"])) for row in found]
    for begin in range(0, len(starts_s), rollup.at_once):
        execute(rollup.fill(starts_s[begin : begin + rollup.at_once]), {})
    return len(starts_s)
