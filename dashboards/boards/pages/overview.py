"""The first page: what the applications did, what it cost, how it went, and where to look next."""

from boards import link
from boards.board import Board, Placed, Section
from boards.calls import against, calls, series
from boards.pages.overview_before import SECTION as BEFORE
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
    pie,
    stat,
    table,
)
from boards.query import Prom

_REQUESTS = stat(
    "Requests",
    "Calls that ended in this time, and by how much that is more or less than in as long a time before.",
    against("count()", "requests"),
    COUNT,
    columns=[Column("requests", "now"), CHANGE],
    link=("Requests", link.to_requests()),
)
_SPEND = stat(
    "Spend",
    "Exact sum of the costs of all calls that have a price. Calls without one are counted beside it.",
    against("toFloat64(sum(CostUsd))", "usd"),
    USD,
    columns=[Column("usd", "now"), CHANGE],
    link=("Where it went", link.to("tokentrail-cost")),
)
_ERROR_RATE = stat(
    "Error rate",
    "Failed calls by all calls. Yellow from 2 %, red from 5 %, as the alerts.",
    calls("SELECT countIf(Failed) / nullIf(count(), 0) AS error_rate FROM calls"),
    SHARE,
    decimals=2,
    steps=FAILING,
    base="green",
    link=("What failed", link.to("tokentrail-errors")),
)
_LATENCY = stat(
    "Latency, mean and p95",
    "From the request to the last byte. The p95 is the value of a real call, not read off a histogram.",
    calls("SELECT avgOrNull(Seconds) AS mean, quantileExactOrNull(0.95)(Seconds) AS p95 FROM calls"),
    SECONDS,
    columns=[Column("p95", steps=((10, RED),))],
    link=("Slow calls", link.to("tokentrail-latency")),
)
_CACHE = stat(
    "Cache hit rate",
    "Input tokens that the provider read from its prompt cache, by all input tokens.",
    calls("SELECT sum(ifNull(CacheReadTokens, 0)) / nullIf(sum(ifNull(InputTokens, 0)), 0) AS hit_rate FROM calls"),
    SHARE,
    decimals=1,
    link=("Cache and rate limits", link.to("tokentrail-cache-limits")),
)
_USERS = stat(
    "Users",
    "Different users with a call in this time.",
    calls("SELECT uniqExactIf(UserId, UserId != '') AS users FROM calls"),
    COUNT,
    link=("Users", link.to("tokentrail-users")),
)
_UNPRICED = stat(
    "Unpriced",
    "Calls without a price: their cost is unknown and in no sum; `tokentrail cost --unpriced` says what to do. Failed "
    "calls that used nothing are not among them.",
    calls("SELECT countIf(Unpriced) AS unpriced FROM calls"),
    COUNT,
    steps=((1, YELLOW),),
    base="green",
    link=("Which", link.to_requests(unpriced="1")),
)
_FIRING = stat(
    "Alerts",
    "How many of the rules that Prometheus evaluates are firing.",
    Prom('count(ALERTS{alertstate="firing", component=~"llm|backend"}) or vector(0)', "alerts", instant=True),
    COUNT,
    steps=((1, RED),),
    base="green",
    link=("The calls of this time", link.to_requests()),
)
_BY_OUTCOME = lines(
    "Requests over time",
    "Calls by how they ended.",
    series(
        "SELECT BIN AS time, countIf(not Failed) AS ok, countIf(Failed) AS error FROM calls GROUP BY time ORDER BY time"
    ),
    COUNT,
    bars=True,
    stacked=True,
    columns=[Column("ok", color="green"), Column("error", color="red")],
    link=("Requests", link.to_requests()),
)
_SPEND_BY_MODEL = lines(
    "Spend by model over time",
    "US dollars in each interval.",
    series(
        "SELECT BIN AS time, Model AS model, toFloat64(sum(CostUsd)) AS usd FROM calls "
        "GROUP BY time, model ORDER BY time"
    ),
    USD,
    bars=True,
    stacked=True,
    link=("Requests of this model", link.to_requests(model=link.label("model"))),
)
_LATENCIES = lines(
    "Latency",
    "Percentiles of the duration of calls: half were faster than p50, one in a hundred slower than p99.",
    series(
        "SELECT BIN AS time, quantileExact(0.5)(Seconds) AS p50, quantileExact(0.95)(Seconds) AS p95, "
        "quantileExact(0.99)(Seconds) AS p99 FROM calls GROUP BY time ORDER BY time"
    ),
    SECONDS,
    link=("Slow calls", link.to("tokentrail-latency")),
)
_ERRORS = lines(
    "Errors by type",
    "Failed calls in each interval.",
    series(
        "SELECT BIN AS time, ErrorType AS error_type, count() AS errors FROM calls WHERE Failed "
        "GROUP BY time, error_type ORDER BY time"
    ),
    COUNT,
    bars=True,
    stacked=True,
    link=("Failed requests", link.to_requests(status="error")),
)
_FEATURES = table(
    "Features",
    "By the property Feature: requests, spend, and the share of both.",
    calls(
        """
SELECT Feature AS feature, count() AS requests, requests / sum(requests) OVER () AS share_of_requests,
    toFloat64(sum(CostUsd)) AS usd, usd / nullIf(sum(usd) OVER (), 0) AS share_of_spend,
    countIf(Failed) / requests AS error_rate
FROM calls GROUP BY feature ORDER BY usd DESC LIMIT 20
"""
    ),
    [
        Column("feature", "Feature", link=("Requests", link.to_requests(feature=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("share_of_requests", "of requests", SHARE, gauge=True),
        Column("usd", "Spend", USD),
        Column("share_of_spend", "of spend", SHARE, gauge=True),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=FAILING),
    ],
)
_TOP_USERS = table(
    "Top users",
    "Those who spent most in this time.",
    calls(
        """
SELECT UserId AS user, any(UserTier) AS tier, count() AS requests, toFloat64(sum(CostUsd)) AS usd,
    countIf(Failed) / requests AS error_rate, max(Ended) AS last_seen
FROM calls WHERE UserId != '' GROUP BY user ORDER BY usd DESC LIMIT 20
"""
    ),
    [
        Column("user", "User", link=("Requests", link.to_requests(user=link.VALUE))),
        Column("tier", "Tier"),
        Column("requests", "Requests", COUNT),
        Column("usd", "Spend", USD, gauge=True),
        Column("error_rate", "Error rate", SHARE, decimals=1),
        Column("last_seen", "Last call", TIME),
    ],
)
_OF_MODEL = ("Requests of this model", link.to_requests(model=link.field("model")))
_PROVIDERS = pie(
    "Requests by provider",
    "Which share of the calls went to which provider.",
    calls(
        "SELECT Provider AS provider, count() AS requests FROM calls GROUP BY provider ORDER BY requests DESC LIMIT 20"
    ),
    COUNT,
    link=("Requests of this provider", link.to_requests(provider=link.field("provider"))),
)
_REQUESTS_BY_MODEL = pie(
    "Requests by model",
    "Which share of the calls went to which model.",
    calls("SELECT Model AS model, count() AS requests FROM calls GROUP BY model ORDER BY requests DESC LIMIT 20"),
    COUNT,
    link=_OF_MODEL,
)
_MODELS = pie(
    "Spend by model",
    "Which share of the spend went to which model.",
    calls(
        "SELECT Model AS model, toFloat64(sum(CostUsd)) AS usd FROM calls GROUP BY model HAVING usd > 0 "
        "ORDER BY usd DESC LIMIT 20"
    ),
    USD,
    link=_OF_MODEL,
)
_ALERTS = table(
    "Alerts firing now",
    "What Prometheus would notify of, with what each is about.",
    Prom('sort_desc(ALERTS{alertstate="firing", component=~"llm|backend"})', instant=True, table=True),
    [
        Column("alertname", "Alert"),
        Column("severity", "Severity"),
        Column("deployment_environment_name", "Environment", link=("Requests there", link.to_requests(env=link.VALUE))),
        Column("gen_ai_provider_name", "Provider", link=("Requests", link.to_requests(provider=link.VALUE))),
        Column("gen_ai_request_model", "Model", link=("Requests", link.to_requests(model=link.VALUE))),
        Column("feature", "Feature", link=("Requests", link.to_requests(feature=link.VALUE))),
        Column("user", "User", link=("Requests", link.to_requests(user=link.VALUE))),
        *(
            Column(name, hidden=True)
            for name in ("Time", "Value", "__name__", "alertstate", "component", "signal", "instance", "job")
        ),
    ],
)

BOARD = Board(
    uid="tokentrail-overview",
    title="LLM / Overview",
    description="What the applications did, what it cost and how it went.",
    own=("offset",),
    sections=(
        Section(
            "",
            (
                Placed(_REQUESTS, 4, 4),
                Placed(_SPEND, 4, 4),
                Placed(_ERROR_RATE, 3, 4),
                Placed(_LATENCY, 4, 4),
                Placed(_CACHE, 3, 4),
                Placed(_USERS, 2, 4),
                Placed(_UNPRICED, 2, 4),
                Placed(_FIRING, 2, 4),
            ),
        ),
        Section(
            "Over time",
            (Placed(_BY_OUTCOME), Placed(_SPEND_BY_MODEL), Placed(_LATENCIES), Placed(_ERRORS)),
        ),
        Section(
            "Who and what",
            (
                Placed(_FEATURES),
                Placed(_TOP_USERS),
                Placed(_PROVIDERS, 8),
                Placed(_REQUESTS_BY_MODEL, 8),
                Placed(_MODELS, 8),
                Placed(_ALERTS, 24, 6),
            ),
        ),
        BEFORE,
    ),
    guide="""
Numbers are exact: every one is a sum over the calls themselves, not a rate read off counters. A call counts at the
moment it ended. The filters at the top hold for everything but alerts. Click a number, a bar or a name to see the calls
behind it.

* **Spend** leaves out calls whose price is unknown; the count beside it should be 0.
* **Against the time before** compares with as long a time just before the one shown.
* **Beside an earlier time** draws each number beside that of a day, a week, four or 52 weeks before: choose which under
  *Compare with*. Four and 52 weeks are the same days of the week.
""",
)
