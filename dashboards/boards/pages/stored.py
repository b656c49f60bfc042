"""How much is stored of what, by the day."""

from typing import Final

from boards import link
from boards.panel import COUNT, Column, table
from boards.query import Sql

_TABLES: Final = {
    "calls": ("llm_requests", "Timestamp"),
    "spans": ("otel_traces", "Timestamp"),
    "log_records": ("otel_logs", "Timestamp"),
    "contents": ("llm_contents", "Timestamp"),
}
_POINTS: Final = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
"""The tables of metrics, which count together."""


_FILTERS: Final = ("env", "service", "provider", "model", "operation", "project")
_CALLS_OF_DAY: Final = link.between("first", "last", link.to(link.REQUESTS, *_FILTERS))


def _counts() -> str:
    tables = [(what, *place) for what, place in _TABLES.items()]
    tables += [("points", f"otel_metrics_{kind}", "TimeUnix") for kind in _POINTS]
    return "\n    UNION ALL\n    ".join(
        f"SELECT toDate({time}, 'UTC') AS day, '{what}' AS what, count() AS rows FROM {name} "
        f"WHERE $__timeFilter({time}) GROUP BY day"
        for what, name, time in tables
    )


ROWS = table(
    "Rows by day",
    "What is stored for each day (UTC) of the time that is chosen: choose the last month to see how it grows and what "
    "has expired. Texts are the calls whose messages are kept.",
    Sql(
        f"""
SELECT toString(day) AS date, sumIf(rows, what = 'calls') AS calls, sumIf(rows, what = 'spans') AS spans,
    sumIf(rows, what = 'log_records') AS log_records, sumIf(rows, what = 'points') AS points,
    sumIf(rows, what = 'contents') AS contents,
    toString(toUnixTimestamp(toDateTime(day, 'UTC')) * 1000) AS first,
    toString(toUnixTimestamp(toDateTime(day + 1, 'UTC')) * 1000) AS last
FROM (
    {_counts()}
)
GROUP BY day ORDER BY day DESC LIMIT 366
""".strip()
    ),
    [
        Column("date", "Day"),
        Column("calls", "Calls", COUNT, link=("Calls of the day", _CALLS_OF_DAY)),
        Column("spans", "Spans", COUNT),
        Column("log_records", "Log records", COUNT),
        Column("points", "Points of metrics", COUNT),
        Column("contents", "Texts", COUNT),
        Column("first", hidden=True),
        Column("last", hidden=True),
    ],
)
