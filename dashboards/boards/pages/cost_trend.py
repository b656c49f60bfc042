"""Panels of the cost page: spend by hour, day, week and month beside what went before, and where the month will end.

They are made of whole hours (`hourly`), so that a year is as quick as a day. Days, weeks and months are UTC.
"""

from grafana_foundation_sdk.models.dashboard import Panel

from boards import link
from boards.calls import hourly
from boards.panel import COUNT, SHARE, TEXT, USD, Column, bars, lines, stat, table
from boards.query import Shape, Sql

_DAY = "toStartOfDay($__toTime, 'UTC')"
_MONTH = "toDateTime(toStartOfMonth($__toTime, 'UTC'), 'UTC')"
_NEXT_MONTH = "toDateTime(toStartOfMonth($__toTime, 'UTC') + INTERVAL 1 MONTH, 'UTC')"

TODAY = stat(
    "Today",
    "Spend since midnight (UTC) of the day in which the shown time ends, and that of the day before up to the same"
    " hour.",
    hourly(
        f"SELECT toFloat64(sumIf(CostUsd, Hour >= {_DAY})) AS today, "
        f"toFloat64(sumIf(CostUsd, Hour < {_DAY} AND Hour + INTERVAL 1 DAY <= $__toTime)) AS yesterday FROM hours",
        since=f"{_DAY} - INTERVAL 1 DAY",
    ),
    USD,
    columns=[Column("yesterday", "yesterday by this hour")],
    link=("The calls", link.to_requests()),
)
MONTH = stat(
    "This month",
    "Spend since the first of the month (UTC), and what the whole month comes to if each day left costs as much as the"
    " mean of the last 7 days; low and high, if as much as the cheapest and the dearest of them.",
    hourly(
        f"""
SELECT so_far,
    if(full_days = 0, NULL, so_far + days_left * arrayMin(by_day)) AS low,
    so_far + days_left * week / days AS projected,
    if(full_days = 0, NULL, so_far + days_left * arrayMax(by_day)) AS high
FROM (
    SELECT toFloat64(sumIf(CostUsd, Hour >= {_MONTH})) AS so_far,
        toFloat64(sumIf(CostUsd, days_ago < 7)) AS week,
        least(7, greatest(toUnixTimestamp($__toTime) - toUnixTimestamp(min(Hour)), 3600) / 86400) AS days,
        toUInt8(floor(days)) AS full_days,
        sumMap(map(days_ago, toFloat64(CostUsd))) AS all_days,
        arrayMap(day -> all_days[day], range(full_days)) AS by_day,
        (toUnixTimestamp({_NEXT_MONTH}) - toUnixTimestamp($__toTime)) / 86400 AS days_left
    FROM (
        SELECT Hour, CostUsd, toUInt64(intDiv(toUnixTimestamp($__toTime) - toUnixTimestamp(Hour), 86400)) AS days_ago
        FROM hours
    )
)
""",
        since=f"least({_MONTH}, $__toTime - INTERVAL 14 DAY)",
    ),
    USD,
    columns=[Column("so_far", "so far"), Column("projected", "projected")],
    link=("The calls", link.to_requests()),
)


def _shifted(by: str) -> str:
    """Each hour twice: `at.2` is when, `at.1` is 1 where it is the hour that much before."""
    return (
        f"(SELECT arrayJoin([(0, Hour), (1, Hour + INTERVAL {by})]) AS at, Requests, Priced, CostUsd, "
        "InputTokens + OutputTokens AS HourTokens FROM hours)"
    )


WEEK_BEFORE = lines(
    "Spend, and a week before",
    "US dollars by the hour (longer times: by longer steps), beside the same hours seven days before.",
    hourly(
        f"""
SELECT toStartOfInterval(at.2, toIntervalSecond(greatest(3600, $__interval_s))) AS time,
    toFloat64(sumIf(CostUsd, at.1 = 0)) AS usd, toFloat64(sumIf(CostUsd, at.1 = 1)) AS week_before
FROM {_shifted("7 DAY")}
WHERE at.2 >= toStartOfHour($__fromTime) AND at.2 <= $__toTime
GROUP BY time ORDER BY time
""",
        Shape.SERIES,
        since="$__fromTime - INTERVAL 7 DAY",
    ),
    USD,
    columns=[Column("usd", "now"), Column("week_before", "a week before", color="gray")],
    link=("The calls", link.to_requests()),
)
DAYS = bars(
    "Days",
    "Spend of each of the last 30 days (UTC), beside that of the same weekday before; of the day that has not ended, up"
    " to the same hour.",
    hourly(
        f"""
SELECT toString(date) AS day, usd, week_before FROM (
    SELECT toDate(at.2, 'UTC') AS date,
        toFloat64(sumIf(CostUsd, at.1 = 0)) AS usd, toFloat64(sumIf(CostUsd, at.1 = 1)) AS week_before
    FROM {_shifted("7 DAY")}
    WHERE at.2 >= {_DAY} - INTERVAL 29 DAY AND at.2 <= $__toTime
    GROUP BY date ORDER BY date WITH FILL TO toDate($__toTime, 'UTC') + 1
)
ORDER BY day LIMIT 40
""",
        since=f"{_DAY} - INTERVAL 36 DAY",
    ),
    USD,
    columns=[Column("usd", "spend"), Column("week_before", "a week before", color="gray")],
    link=("The calls", link.to_requests()),
)


REQUESTS = bars(
    "Requests by day",
    "Calls of each of the last 30 days (UTC), by how they ended.",
    hourly(
        """
SELECT toString(date) AS day, ok, failed FROM (
    SELECT toDate(Hour, 'UTC') AS date,
        sumIf(Requests, ErrorType = '') AS ok, sumIf(Requests, ErrorType != '') AS failed
    FROM hours
    GROUP BY date ORDER BY date WITH FILL TO toDate($__toTime, 'UTC') + 1
)
ORDER BY day LIMIT 40
""",
        since=f"{_DAY} - INTERVAL 29 DAY",
    ),
    COUNT,
    stacked=True,
    columns=[Column("ok", color="green"), Column("failed", color="red")],
    link=("The calls", link.to_requests()),
)


def _periods(period: str, by: str, since: str, count: int) -> Sql:
    """Rows of `count` weeks or months, with the change since the one before."""
    return hourly(
        f"""
SELECT toString(start) AS period, requests, usd, usd / nullIf(before, 0) - 1 AS change,
    requests / nullIf(requests_before, 0) - 1 AS requests_change, tokens, usd / nullIf(priced, 0) AS per_request,
    toString(toUnixTimestamp(toDateTime(start, 'UTC')) * 1000) AS first,
    toString(toUnixTimestamp(least(toDateTime(start + INTERVAL {by}, 'UTC'), $__toTime)) * 1000) AS last
FROM (
    SELECT {period}(at.2, 'UTC') AS start, sumIf(Requests, at.1 = 0) AS requests,
        sumIf(Requests, at.1 = 1) AS requests_before, sumIf(Priced, at.1 = 0) AS priced,
        toFloat64(sumIf(CostUsd, at.1 = 0)) AS usd, toFloat64(sumIf(CostUsd, at.1 = 1)) AS before,
        toFloat64(sumIf(HourTokens, at.1 = 0)) AS tokens
    FROM {_shifted(by)}
    WHERE at.2 >= {since} AND at.2 <= $__toTime
    GROUP BY start
)
WHERE requests > 0 ORDER BY start DESC LIMIT {count}
""",
        since=f"{since} - INTERVAL {by}",
    )


def _trend(title: str, name: str, query: Sql) -> Panel:
    there = link.to("tokentrail-cost").replace(
        "${__url_time_range}", "from=${__data.fields.first}&to=${__data.fields.last}"
    )
    return table(
        title,
        f"Spend of each {name} (UTC) and its change against the {name} before; of the one that has not ended, against"
        " the same time of the one before.",
        query,
        [
            Column("period", f"{name.capitalize()} from", TEXT, link=(f"This {name}", there)),
            Column("requests", "Requests", COUNT),
            Column("usd", "Spend", USD, gauge=True),
            Column("change", "Change", SHARE, decimals=0),
            Column("requests_change", "Change of requests", SHARE, decimals=0),
            Column("tokens", "Tokens", COUNT),
            Column("per_request", "Per request", USD),
            Column("first", hidden=True),
            Column("last", hidden=True),
        ],
    )


WEEKS = _trend(
    "Weeks",
    "week",
    _periods("toMonday", "7 DAY", "toDateTime(toMonday($__toTime, 'UTC'), 'UTC') - INTERVAL 77 DAY", 12),
)
MONTHS = _trend("Months", "month", _periods("toStartOfMonth", "1 MONTH", f"{_MONTH} - INTERVAL 11 MONTH", 12))
