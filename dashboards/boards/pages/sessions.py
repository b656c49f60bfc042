"""Sessions: how many, what one costs, how often one succeeds, and where in one session the money and the time went."""

from boards import link
from boards.board import Board, Placed, Section
from boards.calls import calls, compared
from boards.pages import sessions_one
from boards.pages.sessions_one import rows
from boards.panel import (
    CHANGE,
    COUNT,
    FAILING,
    RED,
    SECONDS,
    SHARE,
    TIME,
    USD,
    YELLOW,
    Column,
    lines,
    stat,
    table,
)
from boards.query import Shape, Sql

_NAMED = ("session_name",)
_BOTH = f"{rows()}, {rows('sessions_before', 'earlier')}"
_NAME = "${session_name:percentencode}"
_THESE = ("Requests", link.to_requests(session_name=_NAME))
_FAILURES = ("Failed calls", link.to_requests(session_name=_NAME, status="error"))


def _against(select: str, value: str) -> Sql:
    """`select`, and by how much `value`, an expression over sessions, is more or less than in the time before."""
    change = f"({value}) / nullIf((SELECT {value} FROM sessions_before), 0) - 1 AS change"
    return compared(f"SELECT {select}, {change} FROM sessions", own=_NAMED, more=_BOTH)


_COUNT = stat(
    "Sessions",
    "Sessions with a call in this time, and by how much that is more or less than in as long a time before.",
    _against("count() AS sessions", "count()"),
    COUNT,
    columns=[CHANGE],
    link=("Users", link.to("tokentrail-users")),
)
_COST = stat(
    "Cost of a session",
    "What all calls of a session cost together: the mean, and what 95 of 100 sessions stay below. Calls without a "
    "price add nothing.",
    _against("avgOrNull(usd) AS mean, quantileExactOrNull(0.95)(usd) AS p95", "avgOrNull(usd)"),
    USD,
    columns=[CHANGE],
    link=("Where the money went", link.to("tokentrail-cost")),
)
_REQUESTS = stat(
    "Requests in a session",
    "Calls of one session: the mean, and what 95 of 100 sessions stay below.",
    _against("avgOrNull(requests) AS mean, quantileExactOrNull(0.95)(requests) AS p95", "avgOrNull(requests)"),
    COUNT,
    decimals=1,
    columns=[CHANGE],
    link=_THESE,
)
_DURATION = stat(
    "Duration of a session",
    "From the start of its first call to the end of its last, as far as they are in this time: the mean, and what 95 "
    "of 100 sessions stay below.",
    _against("avgOrNull(seconds) AS mean, quantileExactOrNull(0.95)(seconds) AS p95", "avgOrNull(seconds)"),
    SECONDS,
    columns=[CHANGE],
    link=("Slow calls", link.to("tokentrail-latency")),
)
_SUCCESS = stat(
    "Success rate",
    "Sessions whose last call did not fail, by all sessions. A failed call that was tried again with success does not "
    "count against it.",
    _against("countIf(succeeded) / nullIf(count(), 0) AS success_rate", "countIf(succeeded) / nullIf(count(), 0)"),
    SHARE,
    decimals=1,
    columns=[CHANGE],
    link=_FAILURES,
)
_COST_PER_SUCCESS = stat(
    "Cost per success",
    "What all sessions cost, divided by those that succeeded: failures are paid for, too.",
    _against("sum(usd) / nullIf(countIf(succeeded), 0) AS usd_per_success", "sum(usd) / nullIf(countIf(succeeded), 0)"),
    USD,
    columns=[CHANGE],
    link=_THESE,
)
_OVER_TIME = lines(
    "Sessions by outcome",
    "Each session counts once, when its last call ended, and as that call did.",
    calls(
        "SELECT $__timeInterval(last_call) AS time, countIf(succeeded) AS success, countIf(not succeeded) AS failure "
        "FROM sessions GROUP BY time ORDER BY time",
        Shape.SERIES,
        own=_NAMED,
        more=rows(),
    ),
    COUNT,
    bars=True,
    stacked=True,
    link=_FAILURES,
    columns=[Column("success", color="green"), Column("failure", color="red")],
)
_COST_OVER_TIME = lines(
    "Cost of a session over time",
    "Of the sessions whose last call ended in each interval: the mean, and what 95 of 100 stay below.",
    calls(
        "SELECT $__timeInterval(last_call) AS time, avg(usd) AS mean, quantileExact(0.95)(usd) AS p95 "
        "FROM sessions GROUP BY time ORDER BY time",
        Shape.SERIES,
        own=_NAMED,
        more=rows(),
    ),
    USD,
    link=_THESE,
)
_NAMES = table(
    "Sessions by name",
    "What kinds of sessions there are, the dearest first; click a name to see its sessions alone. Sessions without a "
    "name are in the row without one.",
    calls(
        """
SELECT session_name, count() AS number, sum(usd) AS total, total / nullIf(sum(total) OVER (), 0) AS share,
    avg(usd) AS mean, quantileExact(0.95)(usd) AS p95, avg(requests) AS mean_requests, avg(seconds) AS mean_seconds,
    countIf(succeeded) / number AS success_rate, total / nullIf(countIf(succeeded), 0) AS usd_per_success
FROM sessions GROUP BY session_name ORDER BY total DESC LIMIT 100
""",
        own=_NAMED,
        more=rows(),
    ),
    [
        Column(
            "session_name",
            "Name",
            link=("Sessions of this name", link.to("tokentrail-sessions", session_name=link.VALUE)),
        ),
        Column("number", "Sessions", COUNT),
        Column("total", "Spend", USD),
        Column("share", "of spend", SHARE, gauge=True),
        Column("mean", "Mean cost", USD),
        Column("p95", "p95 cost", USD),
        Column("mean_requests", "Requests each", COUNT, decimals=1),
        Column("mean_seconds", "Duration", SECONDS),
        Column("success_rate", "Success", SHARE, decimals=1),
        Column("usd_per_success", "Cost per success", USD),
    ],
)
_DEAREST = table(
    "Most expensive sessions",
    "The hundred sessions that cost most in this time. Click an id to see the session below, step by step.",
    calls(
        """
SELECT session, session_name, user, requests, usd, tokens, seconds, failed,
    if(succeeded, 'succeeded', 'failed') AS outcome, last_call
FROM sessions ORDER BY usd DESC, last_call DESC LIMIT 100
""",
        own=_NAMED,
        more=rows(),
    ),
    [
        Column("session", "Session", link=("This session", link.to("tokentrail-sessions", session=link.VALUE))),
        Column("session_name", "Name"),
        Column("user", "User", link=("User", link.to("tokentrail-users", user=link.VALUE))),
        Column(
            "requests",
            "Requests",
            COUNT,
            link=("Requests of the session", link.to_requests(session=link.field("session"))),
        ),
        Column("usd", "Cost", USD, gauge=True),
        Column("tokens", "Tokens", COUNT),
        Column("seconds", "Duration", SECONDS),
        Column("failed", "Failed calls", COUNT, steps=((1, YELLOW),)),
        Column("outcome", "Outcome"),
        Column("last_call", "Last call", TIME),
    ],
)
_PATHS = table(
    "Cost by path",
    "All sessions together, or those of the name that is chosen: which step the money goes to. Own is what calls at "
    "this very path cost; the p95 is of single calls.",
    calls(
        """
SELECT if(SessionPath = '', '/', SessionPath) AS path, uniqExact(SessionId) AS sessions, count() AS requests,
    toFloat64(ifNull(sum(CostUsd), 0)) AS usd, usd / nullIf(sum(usd) OVER (), 0) AS share,
    usd / sessions AS usd_per_session, toFloat64(sum(Tokens)) / requests AS mean_tokens,
    quantileExact(0.95)(Seconds) AS p95, countIf(Failed) / requests AS error_rate
FROM calls WHERE SessionId != '' GROUP BY path ORDER BY usd DESC, path LIMIT 100
""",
        own=_NAMED,
    ),
    [
        Column("path", "Path", link=("Requests", link.to_requests(session_name=_NAME, path=link.VALUE))),
        Column("sessions", "Sessions", COUNT),
        Column("requests", "Requests", COUNT),
        Column("usd", "Own cost", USD),
        Column("share", "of spend", SHARE, gauge=True),
        Column("usd_per_session", "Cost in a session", USD),
        Column("mean_tokens", "Tokens each", COUNT),
        Column("p95", "p95", SECONDS, steps=((10, RED),)),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=FAILING),
    ],
)


BOARD = Board(
    uid="tokentrail-sessions",
    title="LLM / Sessions",
    description="What a session costs and how often it succeeds, and one session from its first call to its last.",
    own=("session_name", "session"),
    sections=(
        Section(
            "",
            (
                Placed(_COUNT, 4, 4),
                Placed(_COST, 4, 4),
                Placed(_REQUESTS, 4, 4),
                Placed(_DURATION, 4, 4),
                Placed(_SUCCESS, 4, 4),
                Placed(_COST_PER_SUCCESS, 4, 4),
            ),
        ),
        Section(
            "All sessions",
            (
                Placed(_OVER_TIME),
                Placed(_COST_OVER_TIME),
                Placed(_NAMES, 24),
                Placed(_DEAREST, 24, 10),
                Placed(_PATHS, 24),
            ),
        ),
        Section(
            "One session: $session",
            sessions_one.PANELS,
        ),
    ),
    guide="""
What does one session cost, how often does it succeed, and which step is it that costs? Look at the numbers on top
first, then which **name** has the money or the failures (click it: everything above **One session** is then about that
name), then at its dearest sessions. Click the id of one to see it below: the **tree** says which path used how much,
the flame graph shows the same at a glance, the **steps** lead to the trace of each call.

* A session is what the application calls one: all calls with the same session id, whatever trace they are in.
* It **succeeded** if its last call did not fail.
* Only calls in the time that is shown count: take a longer time if a session began before it.
""",
)
