"""Panels of the error page: error rates beside the thresholds of the alerts, and the error budget."""

from boards import link
from boards.alerted import ENVIRONMENT, alerted
from boards.board import Placed, Section
from boards.calls import hourly, recent, series
from boards.panel import (
    COUNT,
    FAILING,
    GREEN,
    NONE,
    RED,
    SHARE,
    YELLOW,
    Column,
    gauge,
    lines,
    table,
)
from boards.query import Prom

RATES = FAILING
"""As LLMFeatureErrorRateHigh and LLMErrorRateHigh have it."""
_BURN_RATES = ((1, YELLOW), (6, "orange"), (14.4, RED))
"""Multiples of the pace that an objective of 99 % allows; 6 and 14.4 are those of LLMErrorBudgetBurnSlow and Fast."""
_MONTH_BEFORE = "$__toTime - INTERVAL 30 DAY"
BUDGET = gauge(
    "Error budget left",
    "Of what an objective of 99 % allows to fail within the 30 days before the end of the time shown. Below 0 the"
    " objective is missed.",
    hourly(
        "SELECT 1 - toFloat64(sumIf(Requests, ErrorType != '')) / nullIf(0.01 * toFloat64(sum(Requests)), 0) "
        "AS budget_left FROM hours",
        since=_MONTH_BEFORE,
    ),
    SHARE,
    low=0,
    high=1,
    steps=((0, YELLOW), (0.25, GREEN)),
    base=RED,
    link=("What failed", link.to_requests(status="error")),
)
_BY_ENVIRONMENT = lines(
    "Error rate by environment",
    "Failed calls by all calls of each interval. The dashed lines are the alerts' 2 % of a feature and 5 % of an"
    " environment; they look at 5 and 10 minutes, and at 10 calls at least.",
    series(
        "SELECT BIN AS time, Environment AS environment, countIf(Failed) / count() AS error_rate FROM calls "
        "GROUP BY time, environment ORDER BY time"
    ),
    SHARE,
    decimals=1,
    link=("What failed there", link.to_requests(env=link.label("environment"), status="error")),
    steps=RATES,
)
_ALERTED = lines(
    "Error rate as the alert sees it",
    "What LLMErrorRateHigh measured over its window of 10 minutes, and its threshold.",
    alerted("LLMErrorRateHigh", ENVIRONMENT),
    SHARE,
    decimals=1,
    link=("What failed there", link.to_requests(env=link.label(ENVIRONMENT), status="error")),
)
_BURN_OVER_TIME = lines(
    "Burn rate as the alerts see it",
    "How many times as fast as an objective of 99 % allows the budget is used up: over the last hour"
    " (LLMErrorBudgetBurnFast, from 14.4) and the last 6 hours (LLMErrorBudgetBurnSlow, from 6).",
    Prom(
        "max without (instance, severity) (tokentrail_alert_value{"
        'job=~"$job", alert=~"LLMErrorBudgetBurn(Fast|Slow)", deployment_environment_name=~"$env"}) / 0.01',
        "{{alert}} {{deployment_environment_name}}",
    ),
    NONE,
    decimals=1,
    link=("What failed there", link.to_requests(env=link.label("deployment_environment_name"), status="error")),
    steps=_BURN_RATES[1:],
)
_BURN = table(
    "Burn rate by environment",
    "How many times as fast as an objective of 99 % allows, over the last 5 and 30 minutes, 1 and 6 hours before the"
    " end of the time shown. 1 uses up the budget in just 30 days. Fast: 14.4 over 1 h and still over 5 min, of 20"
    " calls; slow: 6 over 6 h and still over 30 min, of 50 calls.",
    recent(
        """
SELECT Environment AS environment, count() AS requests,
    avgOrNullIf(Failed, Ended >= $__toTime_ms - INTERVAL 5 MINUTE) / 0.01 AS burn_5m,
    avgOrNullIf(Failed, Ended >= $__toTime_ms - INTERVAL 30 MINUTE) / 0.01 AS burn_30m,
    avgOrNullIf(Failed, Ended >= $__toTime_ms - INTERVAL 1 HOUR) / 0.01 AS burn_1h,
    avg(Failed) / 0.01 AS burn_6h,
    multiIf(burn_1h > 14.4 AND burn_5m > 14.4 AND countIf(Ended >= $__toTime_ms - INTERVAL 1 HOUR) >= 20, 'fast',
        burn_6h > 6 AND burn_30m > 6 AND requests >= 50, 'slow', 'no') AS burning
FROM calls GROUP BY environment ORDER BY requests DESC LIMIT 50
""",
        "$__toTime_ms - INTERVAL 6 HOUR",
    ),
    [
        Column(
            "environment",
            "Environment",
            link=("What failed", link.to_requests(env=link.VALUE, status="error")),
            width=130,
        ),
        Column("requests", "Calls in 6 h", COUNT),
        Column("burn_5m", "5 min", NONE, decimals=1, steps=_BURN_RATES),
        Column("burn_30m", "30 min", NONE, decimals=1, steps=_BURN_RATES),
        Column("burn_1h", "1 h", NONE, decimals=1, steps=_BURN_RATES),
        Column("burn_6h", "6 h", NONE, decimals=1, steps=_BURN_RATES),
        Column("burning", "Burning"),
    ],
)
_BUDGETS = table(
    "Error budget of 30 days by environment",
    "An objective of 99 % allows one call in a hundred to fail, within the 30 days before the end of the time shown.",
    hourly(
        """
SELECT Environment AS environment, toFloat64(sum(Requests)) AS requests,
    toFloat64(sumIf(Requests, ErrorType != '')) AS failed, failed / nullIf(requests, 0) AS error_rate,
    floor(0.01 * requests) AS allowed, 1 - failed / nullIf(0.01 * requests, 0) AS budget_left
FROM hours GROUP BY environment ORDER BY requests DESC LIMIT 50
""",
        since=_MONTH_BEFORE,
    ),
    [
        Column(
            "environment",
            "Environment",
            link=("What failed", link.to_requests(env=link.VALUE, status="error")),
            width=130,
        ),
        Column("requests", "Calls", COUNT),
        Column("failed", "Failed", COUNT),
        Column("error_rate", "Error rate", SHARE, decimals=2, steps=((0.01, RED),)),
        Column("allowed", "Allowed", COUNT),
        Column("budget_left", "Budget left", SHARE, decimals=0, steps=((-1e9, RED), (0, YELLOW), (0.25, GREEN))),
    ],
)

SECTION = Section(
    "Objective: 99 % of the calls succeed",
    (
        Placed(_BY_ENVIRONMENT, 8),
        Placed(_ALERTED, 8),
        Placed(_BURN_OVER_TIME, 8),
        Placed(_BURN, 12, 6),
        Placed(_BUDGETS, 12, 6),
    ),
)
