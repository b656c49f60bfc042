"""Panels of the users page about groups of users by how they use the applications.

They look back 60 days from the end of the shown time, whatever that time is: what every user did on each of those days
is read once for each panel, which is why the section is closed at first.
"""

from typing import Final

from boards import link
from boards.board import Placed
from boards.calls import by_user
from boards.panel import COUNT, RED, SHARE, TIME, USD, Column, table

_AGO: Final = "$__toTime_ms - INTERVAL {} DAY"
_SINCE: Final = _AGO.format(60)
_CUTS: Final = (*(_AGO.format(days) for days in (30, 14, 7)), "$__toTime_ms")
_USERS: Final = """users AS (
    SELECT UserId, min(user_days.First) AS First, max(user_days.Last) AS Last,
        sumIf(Requests, user_days.First >= $__toTime_ms - INTERVAL 30 DAY) AS Requests30,
        sumIf(Requests, user_days.First >= $__toTime_ms - INTERVAL 7 DAY) AS Requests7,
        sumIf(Requests, user_days.First >= $__toTime_ms - INTERVAL 14 DAY) - Requests7 AS RequestsBefore,
        toFloat64(sumIf(CostUsd, user_days.First >= $__toTime_ms - INTERVAL 30 DAY)) AS Usd30
    FROM user_days GROUP BY UserId
)"""
_RANKED: Final = """ranked AS (
    SELECT *, row_number() OVER (ORDER BY Requests30 DESC, Usd30 DESC, UserId) AS Place,
        countIf(Requests30 > 0) OVER () AS Active30, count() OVER () AS AllUsers, sum(Usd30) OVER () AS AllUsd,
        arrayFilter(name -> name != '', [
            if(Requests30 > 0 AND Place <= ceil(Active30 / 10), 'Power', ''),
            if(Requests7 > 0, 'Active', ''),
            if(First >= $__toTime_ms - INTERVAL 30 DAY, 'New', ''),
            if(RequestsBefore >= 5 AND Requests7 < RequestsBefore / 2, 'At risk', '')
        ]) AS Segments
    FROM users
)"""

_SEGMENTS = table(
    "Segments",
    "Users of the last 60 days; one can be in several segments. Requests and spend are of the last 30 days. How each is"
    " defined stands below, under 'How to read this'.",
    by_user(
        """
SELECT segment, count() AS users, users / any(AllUsers) AS share, sum(Requests30) AS requests,
    sum(Usd30) AS usd, usd / nullIf(any(AllUsd), 0) AS share_of_spend, usd / users AS per_user
FROM (
    SELECT arrayJoin(if(empty(Segments), ['Others'], Segments)) AS segment, Requests30, Usd30, AllUsers, AllUsd
    FROM ranked
)
GROUP BY segment
ORDER BY indexOf(['Power', 'Active', 'New', 'At risk', 'Others'], segment) LIMIT 10
""",
        _SINCE,
        cuts=_CUTS,
        more=f"{_USERS}, {_RANKED}",
    ),
    [
        Column("segment", "Segment"),
        Column("users", "Users", COUNT),
        Column("share", "of users", SHARE, gauge=True),
        Column("requests", "Requests", COUNT),
        Column("usd", "Spend", USD, link=("Requests", link.to_requests())),
        Column("share_of_spend", "of spend", SHARE, gauge=True),
        Column("per_user", "per user", USD),
    ],
)
_WHO = table(
    "Power users and users at risk",
    "Who is in these two segments, at most 100, with the requests of the last 7 days and of the 7 days before.",
    by_user(
        """
SELECT UserId AS user, arrayStringConcat(Segments, ', ') AS segments, Requests30 AS requests,
    RequestsBefore AS week_before, Requests7 AS this_week,
    toFloat64(Requests7) / nullIf(RequestsBefore, 0) - 1 AS change, Usd30 AS usd, Last AS last_call
FROM ranked WHERE has(Segments, 'Power') OR has(Segments, 'At risk')
ORDER BY has(Segments, 'At risk') DESC, requests DESC LIMIT 100
""",
        _SINCE,
        cuts=_CUTS,
        more=f"{_USERS}, {_RANKED}",
    ),
    [
        Column("user", "User", link=("This user", link.to("tokentrail-users", user=link.VALUE))),
        Column("segments", "Segments"),
        Column("requests", "Requests, 30 days", COUNT),
        Column("week_before", "The 7 days before", COUNT),
        Column("this_week", "Last 7 days", COUNT),
        Column("change", "Change", SHARE, decimals=0, steps=((-10, RED), (-0.5, "text"))),
        Column("usd", "Spend, 30 days", USD),
        Column("last_call", "Last call", TIME),
    ],
)

PANELS: Final = (Placed(_SEGMENTS), Placed(_WHO))
