"""Panels of the users page about one user: the one in the field `User`, or everybody where it is empty."""

from typing import Final

from boards import link
from boards.board import Placed
from boards.calls import calls, series
from boards.panel import COUNT, FAILING, RED, SECONDS, SHARE, TIME, USD, Column, lines, pie, stat, table

_OWN: Final = ("user",)
_HERE: Final = link.to_requests(user="${user:percentencode}")

_NUMBERS = stat(
    "In this time",
    "Requests, spend, failed calls by all calls, and tokens.",
    calls(
        "SELECT count() AS requests, toFloat64(sum(ifNull(CostUsd, 0))) AS usd, "
        "countIf(Failed) / nullIf(requests, 0) AS error_rate, toFloat64(sum(Tokens)) AS tokens FROM calls",
        own=_OWN,
    ),
    COUNT,
    columns=[
        Column("usd", "spend", USD),
        Column("error_rate", "error rate", SHARE, decimals=1, steps=FAILING),
    ],
    link=("The calls", _HERE),
)
_SPEND = lines(
    "Spend by model",
    "US dollars in each interval.",
    series(
        "SELECT BIN AS time, Model AS model, toFloat64(sum(ifNull(CostUsd, 0))) AS usd FROM calls "
        "GROUP BY time, model ORDER BY time",
        own=_OWN,
    ),
    USD,
    bars=True,
    stacked=True,
    link=("The calls", _HERE),
)
_REQUESTS = lines(
    "Requests",
    "Calls by how they ended.",
    series(
        "SELECT BIN AS time, countIf(not Failed) AS ok, countIf(Failed) AS error FROM calls "
        "GROUP BY time ORDER BY time",
        own=_OWN,
    ),
    COUNT,
    bars=True,
    stacked=True,
    columns=[Column("ok", color="green"), Column("error", color="red")],
    link=("The calls", _HERE),
)
_FEATURES = pie(
    "Spend by feature",
    "By the property Feature.",
    calls(
        "SELECT if(Feature = '', '(none)', Feature) AS feature, toFloat64(sum(ifNull(CostUsd, 0))) AS usd FROM calls "
        "GROUP BY feature HAVING usd > 0 ORDER BY usd DESC LIMIT 20",
        own=_OWN,
    ),
    USD,
    link=("The calls", _HERE),
)
_SESSIONS = table(
    "Sessions",
    "The 20 that had a call last.",
    calls(
        """
SELECT SessionId AS session, anyLast(SessionName) AS name, any(UserId) AS user, count() AS requests,
    toFloat64(sum(ifNull(CostUsd, 0))) AS usd, countIf(Failed) AS errors, max(Ended) AS last_call
FROM calls WHERE SessionId != '' GROUP BY session ORDER BY last_call DESC LIMIT 20
""",
        own=_OWN,
    ),
    [
        Column("session", "Session", link=("Session", link.to("tokentrail-sessions", session=link.VALUE))),
        Column("name", "Name"),
        Column("user", "User", link=("This user", link.to("tokentrail-users", user=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("usd", "Spend", USD),
        Column("errors", "Errors", COUNT, steps=((1, RED),)),
        Column("last_call", "Last call", TIME),
    ],
)
_CALLS = table(
    "Last calls",
    "The 50 that ended last.",
    calls(
        """
SELECT Ended AS ended, UserId AS user, Model AS model, Feature AS feature, ErrorType AS error, Seconds AS seconds,
    InputTokens AS input_tokens, OutputTokens AS output_tokens, toFloat64(CostUsd) AS usd, TraceId AS trace
FROM calls WHERE UserId != '' ORDER BY ended DESC LIMIT 50
""",
        own=_OWN,
    ),
    [
        Column("ended", "Ended", TIME),
        Column("user", "User", link=("This user", link.to("tokentrail-users", user=link.VALUE))),
        Column("model", "Model"),
        Column("feature", "Feature"),
        Column("error", "Error", color="red"),
        Column("seconds", "Latency", SECONDS),
        Column("input_tokens", "Input tokens", COUNT),
        Column("output_tokens", "Output tokens", COUNT),
        Column("usd", "Cost", USD),
        Column("trace", "Trace", link=("Trace", link.to_requests(trace=link.VALUE))),
    ],
)

PANELS: Final = (
    Placed(_NUMBERS, 6),
    Placed(_REQUESTS, 9),
    Placed(_SPEND, 9),
    Placed(_FEATURES, 6),
    Placed(_SESSIONS, 18),
    Placed(_CALLS, 24),
)
