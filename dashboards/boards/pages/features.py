"""Panels about features, and about workflows and their steps: the properties with a meaning of their own."""

from boards import link
from boards.board import Placed
from boards.calls import calls, property_of
from boards.panel import COUNT, FAILING, RED, SECONDS, SHARE, USD, Column, meters, table

_FEATURE_LINK = ("Requests of the feature", link.to_requests(feature=link.field("feature")))
_FEATURES_BY_VOLUME = meters(
    "Features by requests",
    "Calls by the property Feature, the twenty with the most.",
    calls("SELECT Feature AS feature, count() AS requests FROM calls GROUP BY feature ORDER BY requests DESC LIMIT 20"),
    COUNT,
    link=_FEATURE_LINK,
)
_FEATURES_BY_COST = meters(
    "Features by spend",
    "US dollars by the property Feature, the twenty that cost most.",
    calls(
        "SELECT Feature AS feature, toFloat64(ifNull(sum(CostUsd), 0)) AS usd FROM calls GROUP BY feature "
        "ORDER BY usd DESC LIMIT 20"
    ),
    USD,
    link=_FEATURE_LINK,
)
_FEATURES = table(
    "Features",
    "By the property Feature, with the share of all calls and of all spend. The error rate is yellow from 2 %, as the "
    "alert of features.",
    calls(
        """
SELECT Feature AS feature, count() AS requests, requests / sum(requests) OVER () AS share_of_requests,
    toFloat64(ifNull(sum(CostUsd), 0)) AS usd, usd / nullIf(sum(usd) OVER (), 0) AS share_of_spend,
    countIf(Failed) / requests AS error_rate, uniqExactIf(UserId, UserId != '') AS users
FROM calls GROUP BY feature ORDER BY requests DESC, feature LIMIT 50
"""
    ),
    [
        Column("feature", "Feature", link=("Requests", link.to_requests(feature=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("share_of_requests", "of requests", SHARE, gauge=True),
        Column("usd", "Spend", USD),
        Column("share_of_spend", "of spend", SHARE, gauge=True),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=FAILING),
        Column("users", "Users", COUNT),
    ],
)
_FLOWS = f"""
steps AS (
    SELECT {property_of("'workflow'")} AS workflow, {property_of("'step'")} AS step, count() AS requests,
        countIf(Failed) AS failed, ifNull(sum(CostUsd), 0) AS cost, toFloat64(sum(Tokens)) AS tokens,
        quantileExact(0.95)(Seconds) AS p95, uniqExactIf(SessionId, SessionId != '') AS sessions
    FROM calls GROUP BY workflow, step HAVING workflow != ''
)"""
_WORKFLOWS = table(
    "Workflows",
    "By the property Workflow: what all of its steps cost together.",
    calls(
        """
SELECT workflow, sum(requests) AS all_requests, toFloat64(sum(cost)) AS usd, usd / nullIf(sum(usd) OVER (), 0) AS share,
    sum(tokens) AS all_tokens, sum(failed) / all_requests AS error_rate, uniqExact(step) AS number_of_steps
FROM steps GROUP BY workflow ORDER BY usd DESC, workflow LIMIT 50
""",
        more=_FLOWS,
    ),
    [
        Column(
            "workflow", "Workflow", link=("Requests", link.to_requests(property="Workflow", property_value=link.VALUE))
        ),
        Column("all_requests", "Requests", COUNT),
        Column("usd", "Spend", USD),
        Column("share", "of all workflows", SHARE, gauge=True),
        Column("all_tokens", "Tokens", COUNT),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=FAILING),
        Column("number_of_steps", "Steps", COUNT),
    ],
)
_STEPS = table(
    "Steps of workflows",
    "By the properties Workflow and Step: which step of a workflow the money and the time go to. The share is of its "
    "own workflow.",
    calls(
        """
SELECT workflow, step, requests, toFloat64(cost) AS usd,
    usd / nullIf(sum(usd) OVER (PARTITION BY workflow), 0) AS share,
    usd / requests AS usd_per_request, tokens / requests AS tokens_per_request, p95,
    failed / requests AS error_rate, sessions
FROM steps ORDER BY workflow, usd DESC, step LIMIT 200
""",
        more=_FLOWS,
    ),
    [
        Column(
            "workflow", "Workflow", link=("Requests", link.to_requests(property="Workflow", property_value=link.VALUE))
        ),
        Column("step", "Step", link=("Requests", link.to_requests(property="Step", property_value=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("usd", "Spend", USD),
        Column("share", "of the workflow", SHARE, gauge=True),
        Column("usd_per_request", "Cost each", USD),
        Column("tokens_per_request", "Tokens each", COUNT),
        Column("p95", "p95", SECONDS, steps=((10, RED),)),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=FAILING),
        Column("sessions", "Sessions", COUNT),
    ],
)

FEATURES = (Placed(_FEATURES_BY_VOLUME, 6), Placed(_FEATURES_BY_COST, 6), Placed(_FEATURES, 12))
WORKFLOWS = (Placed(_WORKFLOWS, 10), Placed(_STEPS, 14))
