"""What failed: how much of the error budget is left, who is affected, by what, and since when."""

from boards import link
from boards.board import Board, Placed, Section
from boards.calls import calls, compared, series
from boards.pages.errors_affected import FAILED
from boards.pages.errors_affected import SECTION as AFFECTED
from boards.pages.errors_objective import BUDGET, RATES
from boards.pages.errors_objective import SECTION as OBJECTIVE
from boards.panel import (
    COUNT,
    GREEN,
    NONE,
    RED,
    SECONDS,
    SHARE,
    TIME,
    Column,
    lines,
    pie,
    stat,
    table,
)
from boards.query import Prom

_MIN_REQUESTS = 10
"""As the alerts have it."""
_RATE = stat(
    "Error rate",
    "Failed calls by all calls, those that succeeded, and by how much the rate is more or less than in as long a time"
    " before. Yellow from 2 %, red from 5 %, as the alerts.",
    compared(
        """
SELECT countIf(Failed) / nullIf(count(), 0) AS error_rate,
    1 - error_rate AS success_rate,
    error_rate / nullIf((SELECT countIf(Failed) / nullIf(count(), 0) FROM earlier), 0) - 1 AS change
FROM calls
"""
    ),
    SHARE,
    decimals=2,
    steps=RATES,
    base=GREEN,
    columns=[
        Column("error_rate", "failed"),
        Column("success_rate", "succeeded", SHARE, decimals=2, color="text"),
        Column("change", "against the time before", SHARE, decimals=0, color="text"),
    ],
    link=("What failed", FAILED),
)
_COUNT = stat(
    "Failed calls",
    "How many, and how many of them had an answer of 4xx, of 5xx, or no HTTP status at all: timeouts, and connections"
    " that failed.",
    calls(
        "SELECT countIf(Failed) AS failed, countIf(Failed AND StatusCode BETWEEN 400 AND 499) AS `4xx`, "
        "countIf(Failed AND StatusCode >= 500) AS `5xx`, countIf(Failed AND StatusCode IS NULL) AS none FROM calls"
    ),
    COUNT,
    columns=[Column("none", "no status")],
    link=("What failed", FAILED),
)
_AFFECTED = stat(
    "Users affected",
    "Different users with a failed call, and how many of all active users that is.",
    calls(
        "SELECT uniqExactIf(UserId, Failed AND UserId != '') AS affected, "
        "affected / nullIf(uniqExactIf(UserId, UserId != ''), 0) AS of_all FROM calls"
    ),
    COUNT,
    columns=[Column("of_all", "of active users", SHARE, decimals=1)],
    link=("What failed", FAILED),
)
_FIRING = stat(
    "Alerts firing",
    "Alerts about error rates that fire now; the table at the end of the page says which.",
    Prom('count(ALERTS{alertstate="firing", signal="error_rate"}) or vector(0)', "alerts", instant=True),
    COUNT,
    steps=((1, RED),),
    base=GREEN,
    link=("What failed", FAILED),
)
_CLASSES = lines(
    "Failures by class",
    "4xx: the request, its key or a limit. 5xx: the provider. No status: timeouts and connections. Broken off: an"
    " answer that began well and did not end.",
    series(
        "SELECT BIN AS time, countIf(StatusCode BETWEEN 400 AND 499) AS `4xx`, countIf(StatusCode >= 500) AS `5xx`, "
        "countIf(StatusCode IS NULL) AS none, countIf(StatusCode < 400) AS broken FROM calls WHERE Failed "
        "GROUP BY time ORDER BY time"
    ),
    COUNT,
    bars=True,
    stacked=True,
    columns=[
        Column("4xx", color="orange"),
        Column("5xx", color="red"),
        Column("none", "no status", color="purple"),
        Column("broken", "broken off", color="yellow"),
    ],
    link=("What failed", FAILED),
)
_CODES = pie(
    "Failures by status",
    "HTTP status of the failed calls. 429 is a limit, 400 a bad request, 401 and 403 a key, 500 an outage, 503 and 529"
    " a lack of capacity.",
    calls(
        "SELECT ifNull(toString(StatusCode), 'none') AS status, count() AS failed FROM calls WHERE Failed "
        "GROUP BY status ORDER BY failed DESC LIMIT 20"
    ),
    COUNT,
    link=("What failed", FAILED),
)
_PROVIDERS = lines(
    "Error rate by provider",
    "Failed calls by all calls to it.",
    series(
        "SELECT BIN AS time, Provider AS provider, countIf(Failed) / count() AS error_rate FROM calls "
        "GROUP BY time, provider ORDER BY time"
    ),
    SHARE,
    decimals=1,
    link=("What failed there", link.to_requests(provider=link.label("provider"), status="error")),
)
_MODELS = lines(
    "Error rate by model",
    "Failed calls by all calls of the ten models with most failed calls.",
    series(
        """
SELECT BIN AS time, Model AS model, countIf(Failed) / count() AS error_rate FROM calls
WHERE Model IN (SELECT Model FROM calls WHERE Failed GROUP BY Model ORDER BY count() DESC LIMIT 10)
GROUP BY time, model ORDER BY time
"""
    ),
    SHARE,
    decimals=1,
    link=("What failed", link.to_requests(model=link.label("model"), status="error")),
)
_FEATURES = table(
    "Error rate by feature",
    f"Features with at least {_MIN_REQUESTS} calls in this time. Yellow from 2 %, as the alert, red from 5 %.",
    calls(
        f"""
SELECT Feature AS feature, count() AS requests, countIf(Failed) AS failed, failed / requests AS error_rate,
    uniqExactIf(UserId, Failed AND UserId != '') AS users
FROM calls GROUP BY feature HAVING requests >= {_MIN_REQUESTS} ORDER BY error_rate DESC, failed DESC LIMIT 50
"""
    ),
    [
        Column("feature", "Feature", link=("What failed", link.to_requests(feature=link.VALUE, status="error"))),
        Column("requests", "Calls", COUNT, width=80),
        Column("failed", "Failed", COUNT, width=80),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=RATES),
        Column("users", "Users", COUNT, width=70),
    ],
)
_RETRIES = lines(
    "Retries",
    "Calls that repeat one that failed before, by all calls, where the SDK tells it; and how many of them failed"
    " again.",
    series(
        "SELECT BIN AS time, countIf(RetryCount > 0) / count() AS retries, "
        "countIf(RetryCount > 0 AND Failed) / nullIf(countIf(RetryCount > 0), 0) AS failed_again "
        "FROM calls GROUP BY time ORDER BY time"
    ),
    SHARE,
    decimals=1,
    columns=[Column("retries", "of all calls"), Column("failed_again", "failed again, of the retries")],
    link=("Limits and retries", link.to("tokentrail-cache-limits")),
)
_EXITS = pie(
    "How streams ended",
    "complete: read to the end. closed: the application stopped reading. abandoned: dropped without closing. cancelled:"
    " its task was. broken: the connection or the provider failed. process_exit: the process ended first.",
    calls(
        "SELECT if(StreamExit = '', 'not told', StreamExit) AS ended, count() AS streams FROM calls "
        "WHERE Stream OR TtftNs IS NOT NULL GROUP BY ended ORDER BY streams DESC LIMIT 20"
    ),
    COUNT,
    link=("Requests", link.to_requests()),
)
_ALERTS = table(
    "Alerts about errors",
    "Those that fire, or will when it lasts (pending). Empty: none.",
    Prom(
        'max by (alertname, alertstate, severity, deployment_environment_name, feature) (ALERTS{signal="error_rate"})',
        instant=True,
        table=True,
    ),
    [
        Column("Time", hidden=True),
        Column("alertname", "Alert"),
        Column("alertstate", "State", width=80),
        Column("severity", "Severity", width=80),
        Column(
            "deployment_environment_name",
            "Environment",
            link=("What failed", link.to_requests(env=link.VALUE, status="error")),
        ),
        Column("feature", "Feature", link=("What failed", link.to_requests(feature=link.VALUE, status="error"))),
        Column("Value", hidden=True),
    ],
)
_RECENT = table(
    "Recent failures",
    "The last 100 failed calls.",
    calls(
        """
SELECT Ended AS ended, TraceId AS trace, StatusCode AS status, ErrorType AS error, ErrorMessage AS message,
    Environment AS environment, Service AS service, Provider AS provider, Model AS model, Feature AS feature,
    UserId AS user, SessionId AS session, Seconds AS seconds, RetryCount AS retries
FROM calls WHERE Failed ORDER BY Ended DESC LIMIT 100
"""
    ),
    [
        Column("ended", "Ended", TIME, width=170),
        Column("trace", "Trace", link=("Open the trace", link.to_requests(trace=link.VALUE)), width=110),
        Column("status", "Status", NONE, width=70),
        Column("error", "Type"),
        Column("message", "Message"),
        Column("environment", "Environment", width=100),
        Column("service", "Service", width=100),
        Column("provider", "Provider", width=90),
        Column("model", "Model", link=("What failed", link.to_requests(model=link.VALUE, status="error"))),
        Column(
            "feature",
            "Feature",
            link=("What failed", link.to_requests(feature=link.VALUE, status="error")),
            width=100,
        ),
        Column("user", "User", link=("What failed", link.to_requests(user=link.VALUE, status="error")), width=100),
        Column(
            "session", "Session", link=("The session", link.to("tokentrail-sessions", session=link.VALUE)), width=110
        ),
        Column("seconds", "Took", SECONDS, decimals=2, width=80),
        Column("retries", "Retry", NONE, width=60),
    ],
)

BOARD = Board(
    uid="tokentrail-errors",
    title="LLM / Errors and SLO",
    description="What failed: how much of the error budget is left, who is affected, by what, and since when.",
    sections=(
        Section(
            "",
            (
                Placed(_RATE, 6, 5),
                Placed(_COUNT, 7, 5),
                Placed(_AFFECTED, 4, 5),
                Placed(_FIRING, 3, 5),
                Placed(BUDGET, 4, 5),
            ),
        ),
        AFFECTED,
        OBJECTIVE,
        Section(
            "By what",
            (
                Placed(_CLASSES, 8),
                Placed(_PROVIDERS, 8),
                Placed(_MODELS, 8),
                Placed(_FEATURES, 8),
                Placed(_CODES, 8),
                Placed(_EXITS, 8),
            ),
        ),
        Section("One by one", (Placed(_RECENT, 24, 10), Placed(_RETRIES), Placed(_ALERTS))),
    ),
    guide="""
This page answers: what fails, how bad is it, whose trouble is it, and since when? A call has failed when the provider
answered 4xx or 5xx, did not answer, or broke off.

1. **Top**: how much, and how much of the month's budget is left.
2. **Since when, and who is affected**: the three questions of the runbook. The first line of the table is what stands
   out most among the failed calls: one user, one feature, one model, one prompt, or nothing in particular.
3. **Objective**: whether it is worth waking somebody. A burn rate of 1 uses up the budget in 30 days, one of 14.4 in
   two.
4. **By what**: the provider (5xx), our requests and keys (4xx), limits (429), or the network (no status).
5. **One by one**: what the calls said, and their traces.

Changes are against as long a time just before: choose the last 7 days to compare weeks.
Rates of few calls jump: look at the counts beside them. The alerts look at 10 calls at least.
""",
)
