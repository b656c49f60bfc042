"""The calls themselves, with every filter there is, and one trace: where links from all numbers and alerts lead."""

from boards import link
from boards.board import Board, Placed, Section
from boards.calls import LONGEST, against, begun, calls, series
from boards.pages import one_trace
from boards.panel import (
    CHANGE,
    COUNT,
    FAILING,
    RED,
    SECONDS,
    SHARE,
    TIME,
    USD,
    Column,
    lines,
    stat,
    table,
)

_FILTERS = ("user", "session", "session_name", "path", "feature", "property_value", "prompt", "status", "unpriced")
_BUT_STATUS = tuple(name for name in _FILTERS if name != "status")
"""Filters of panels that compare failed calls with the others: links from alerts choose the failed ones."""
_OWN = (
    *("user", "session", "session_name", "path", "feature", "property", "property_value"),
    *("prompt", "status", "unpriced", "trace"),
)
"""The variables by which links, those in alerts too, choose what is shown."""


def _here(title: str, **chosen: str) -> tuple[str, str]:
    """A link to this page that keeps what is chosen on it, but for `chosen`."""
    kept = "".join(f"&${{{name}:queryparam}}" for name in _OWN if name not in chosen)
    return title, link.to_requests(**chosen) + kept


_REQUESTS = stat(
    "Requests",
    "Calls that ended in this time and pass every filter at the top, and by how much that is more or less than in as "
    "long a time before.",
    against("count()", "requests", own=_FILTERS),
    COUNT,
    columns=[CHANGE],
)
_SPEND = stat(
    "Spend",
    "Exact sum of the costs of these calls. Those without a price are not in it.",
    against("toFloat64(ifNull(sum(CostUsd), 0))", "usd", own=_FILTERS),
    USD,
    columns=[CHANGE],
    link=("Where it went", link.to("tokentrail-cost")),
)
_TOKENS = stat(
    "Tokens",
    "Input and output tokens of these calls; what was read from a cache is part of the input.",
    calls(
        "SELECT toFloat64(sum(ifNull(InputTokens, 0))) AS input, toFloat64(sum(ifNull(OutputTokens, 0))) AS output "
        "FROM calls",
        own=_FILTERS,
    ),
    COUNT,
)
_ERROR_RATE = stat(
    "Error rate",
    "Failed calls by all calls, whatever Status is chosen. Yellow from 2 %, red from 5 %, as the alerts.",
    calls("SELECT countIf(Failed) / nullIf(count(), 0) AS error_rate FROM calls", own=_BUT_STATUS),
    SHARE,
    decimals=2,
    steps=FAILING,
    base="green",
    link=_here("Failed calls", status="error"),
)
_LATENCY = stat(
    "Latency, mean and p95",
    "From the request to the last byte. The p95 is the value of a real call; red from 10 s, as the alert.",
    calls("SELECT avgOrNull(Seconds) AS mean, quantileExactOrNull(0.95)(Seconds) AS p95 FROM calls", own=_FILTERS),
    SECONDS,
    columns=[Column("p95", steps=((10, RED),))],
    link=("Slow calls", link.to("tokentrail-latency")),
)
_PEOPLE = stat(
    "Users and sessions",
    "Different users and sessions among these calls.",
    calls(
        "SELECT uniqExactIf(UserId, UserId != '') AS users, uniqExactIf(SessionId, SessionId != '') AS sessions "
        "FROM calls",
        own=_FILTERS,
    ),
    COUNT,
    link=("Users", link.to("tokentrail-users")),
)
_CALLS = table(
    "Calls",
    "The newest 500 calls that pass the filters, by when they ended. Click a trace to see its spans, logs and texts "
    "below, a user or a session to see all of theirs.",
    calls(
        """
SELECT Ended AS ended, TraceId AS trace, Service AS service, Environment AS environment, Operation AS operation,
    Provider AS provider, Model AS model, ResponseModel AS response_model, InputTokens AS input_tokens,
    OutputTokens AS output_tokens, ifNull(CacheReadTokens, 0) AS cached_tokens, toFloat64(CostUsd) AS usd,
    Seconds AS seconds, TtftSeconds AS ttft, ifNull(toString(StatusCode), if(Failed, 'none', 'ok')) AS status,
    ErrorType AS error_type, ErrorMessage AS error_message, RetryCount AS retries,
    arrayStringConcat(FinishReasons, ', ') AS finish, UserId AS user, SessionId AS session, SessionPath AS path,
    Feature AS feature, trim(concat(PromptName, ' ', PromptVersion)) AS prompt, PricingStatus AS pricing,
    SpanId AS span
FROM calls ORDER BY ended DESC, span LIMIT 500
""",
        own=_FILTERS,
    ),
    [
        Column("ended", "Time", TIME, width=190),
        Column("trace", "Trace", width=120, link=_here("Spans, logs and texts", trace=link.VALUE)),
        Column("service", "Service"),
        Column("environment", "Environment"),
        Column("operation", "Operation"),
        Column("provider", "Provider"),
        Column("model", "Model"),
        Column("response_model", "Answered by"),
        Column("input_tokens", "Input", COUNT),
        Column("output_tokens", "Output", COUNT),
        Column("cached_tokens", "From cache", COUNT),
        Column("usd", "Cost", USD),
        Column("seconds", "Latency", SECONDS, steps=((10, RED),)),
        Column("ttft", "First token", SECONDS),
        Column("status", "Status"),
        Column("error_type", "Error"),
        Column("error_message", "Message", width=220),
        Column("retries", "Retries", COUNT),
        Column("finish", "Ended by"),
        Column("user", "User", link=("User", link.to("tokentrail-users", user=link.VALUE))),
        Column("session", "Session", link=("Session", link.to("tokentrail-sessions", session=link.VALUE))),
        Column("path", "Path"),
        Column("feature", "Feature", link=_here("Calls of this feature", feature=link.VALUE)),
        Column("prompt", "Prompt"),
        Column("pricing", "Price"),
        Column("span", "Span"),
    ],
)
_SINCE = lines(
    "Since when?",
    "Calls by how they ended, whatever Status is chosen: where the red begins is when it began.",
    series(
        "SELECT BIN AS time, countIf(not Failed) AS ok, countIf(Failed) AS error "
        "FROM calls GROUP BY time ORDER BY time",
        own=_BUT_STATUS,
    ),
    COUNT,
    bars=True,
    stacked=True,
    link=_here("Failed calls", status="error"),
    columns=[Column("ok", color="green"), Column("error", color="red")],
)
_ERRORS = table(
    "Which error?",
    "Failed calls by error, provider and model, with the first and the last in this time, and the last as an example.",
    calls(
        """
SELECT ErrorType AS error_type,
    arrayStringConcat(arraySort(groupUniqArray(5)(ifNull(toString(StatusCode), 'none'))), ', ') AS statuses,
    Provider AS provider, Model AS model, count() AS failed, uniqExactIf(UserId, UserId != '') AS users,
    min(Ended) AS first_failure, max(Ended) AS last_failure, argMax(TraceId, Ended) AS trace
FROM calls WHERE Failed GROUP BY error_type, provider, model ORDER BY failed DESC, error_type, model LIMIT 50
""",
        own=_BUT_STATUS,
    ),
    [
        Column("error_type", "Error"),
        Column("statuses", "Status"),
        Column("provider", "Provider"),
        Column("model", "Model", link=_here("Failed calls of this model", model=link.VALUE, status="error")),
        Column("failed", "Failed", COUNT),
        Column("users", "Users", COUNT),
        Column("first_failure", "First", TIME),
        Column("last_failure", "Last", TIME),
        Column("trace", "Example", link=_here("Trace", trace=link.VALUE)),
    ],
)


def _triage(of: str, name: str) -> str:
    """The groups by `of` (SQL), called `name`, with the most failed calls, and of those with as many the dearest."""
    return f"""
SELECT {of} AS {name}, countIf(Failed) AS failed, count() AS requests, failed / requests AS error_rate,
    toFloat64(ifNull(sum(CostUsd), 0)) AS usd, quantileExact(0.95)(Seconds) AS p95,
    if(failed = 0, NULL, minIf(Ended, Failed)) AS first_failure
FROM calls GROUP BY {name} ORDER BY failed DESC, usd DESC, {name} LIMIT 50
"""


def _triage_columns(first: Column) -> list[Column]:
    return [
        first,
        Column("failed", "Failed", COUNT),
        Column("requests", "Requests", COUNT),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=FAILING),
        Column("usd", "Spend", USD),
        Column("p95", "p95", SECONDS, steps=((10, RED),)),
        Column("first_failure", "First failure", TIME),
    ]


_WHO = table(
    "Which users?",
    "By user, whatever Status is chosen: those with the most failed calls first. One user alone points at what that "
    "user does, all of them at the provider or a deployment.",
    calls(_triage("UserId", "user"), own=_BUT_STATUS),
    _triage_columns(Column("user", "User", link=_here("Calls of this user", user=link.VALUE))),
)
_WHICH_FEATURE = table(
    "Which feature?",
    "By feature, whatever Status is chosen: those with the most failed calls first. One feature alone points at its "
    "prompt or its code.",
    calls(_triage("Feature", "feature"), own=_BUT_STATUS),
    _triage_columns(Column("feature", "Feature", link=_here("Calls of this feature", feature=link.VALUE))),
)
_WRITTEN = table(
    "Prompts and answers",
    "What was written in the newest 50 calls that pass the filters, where the application captures it and as long as "
    "it is kept. Choose a user or a session to find a conversation.",
    calls(
        f"""
SELECT newest.ended AS ended, model, {one_trace.said("contents.InputMessages")} AS prompt,
    {one_trace.said("contents.OutputMessages")} AS answer, tokens, usd, seconds, status, user, newest.trace AS trace
FROM newest
LEFT ANY JOIN (
    SELECT TraceId, SpanId, InputMessages, OutputMessages FROM llm_contents
    WHERE {begun(f"$__fromTime_ms - {LONGEST}", "$__toTime_ms")}
        AND TraceId IN (SELECT trace FROM newest)
) AS contents ON contents.TraceId = newest.trace AND contents.SpanId = newest.span
ORDER BY ended DESC, newest.span LIMIT 50
""",
        own=_FILTERS,
        more="""
newest AS (
    SELECT Ended AS ended, TraceId AS trace, SpanId AS span, Model AS model, toFloat64(Tokens) AS tokens,
        toFloat64(CostUsd) AS usd, Seconds AS seconds, ifNull(toString(StatusCode), if(Failed, 'none', 'ok')) AS status,
        UserId AS user
    FROM calls ORDER BY ended DESC, span LIMIT 50
)""",
    ),
    [
        Column("ended", "Time", TIME, width=190),
        Column("model", "Model", width=140),
        Column("prompt", "Prompt"),
        Column("answer", "Answer"),
        Column("tokens", "Tokens", COUNT, width=80),
        Column("usd", "Cost", USD, width=90),
        Column("seconds", "Latency", SECONDS, width=90),
        Column("status", "Status", width=70),
        Column("user", "User", width=110, link=("User", link.to("tokentrail-users", user=link.VALUE))),
        Column("trace", "Trace", width=120, link=_here("Spans, logs and texts", trace=link.VALUE)),
    ],
)

BOARD = Board(
    uid="tokentrail-requests",
    title="LLM / Requests and trace",
    description="The calls behind any number or alert, who and what they are about, and one trace in full.",
    own=_OWN,
    sections=(
        Section(
            "",
            (
                Placed(_REQUESTS, 4, 4),
                Placed(_SPEND, 4, 4),
                Placed(_TOKENS, 4, 4),
                Placed(_ERROR_RATE, 4, 4),
                Placed(_LATENCY, 4, 4),
                Placed(_PEOPLE, 4, 4),
            ),
        ),
        Section("Calls", (Placed(_CALLS, 24, 12),)),
        Section("Who, what, since when", (Placed(_SINCE), Placed(_ERRORS), Placed(_WHO), Placed(_WHICH_FEATURE))),
        Section(
            "Trace $trace",
            (
                Placed(one_trace.WATERFALL, 24, 12),
                Placed(one_trace.CALLS, 24, 7),
                Placed(one_trace.CONTENTS, 14, 9),
                Placed(one_trace.LOGS, 10, 9),
            ),
        ),
        Section("What was written", (Placed(_WRITTEN, 24, 14),), collapsed=True),
    ),
    guide="""
Links from numbers, charts and alerts open this page with filters that choose exactly the calls they are about. What was
filtered stands at the top: empty a box to see more.

* **An alert brought you here**: *Since when* shows the start, *Which error*, *Which users* and *Which feature* say
  whether it is one user, one feature or everything. Then open one of the traces.
* **Looking for one conversation**: write the user's or the session's id into the box, and open *What was written*.
* **Path** is a place in sessions, such as `/plan`; `/research/*` is that one with all below it.
* **A trace** is chosen by a click on its id, or by an exemplar in a heatmap; its spans, costs, logs and texts are shown
  whenever it was, also outside of the time of the dashboard.

**Status** is that of the provider's answer: *none* where there was none, such as after a timeout.
""",
)
