"""Panels of the error page: since when, and who is affected, the first questions when an alert fires."""

from boards import link
from boards.board import Placed, Section
from boards.calls import calls, series
from boards.pages import traits
from boards.pages.errors_objective import RATES
from boards.panel import (
    COUNT,
    NONE,
    SHARE,
    TIME,
    Column,
    lines,
    table,
)

FAILED = link.to_requests(status="error")
_TYPES = lines(
    "Failures by type",
    "In the words of the provider or the SDK. The ten most frequent ones.",
    series(
        """
SELECT BIN AS time, ErrorType AS error, count() AS failed FROM calls
WHERE Failed AND ErrorType IN (
    SELECT ErrorType FROM calls WHERE Failed GROUP BY ErrorType ORDER BY count() DESC LIMIT 10)
GROUP BY time, error ORDER BY time
"""
    ),
    COUNT,
    bars=True,
    stacked=True,
    link=("What failed", FAILED),
)
_TRAITS = table(
    "Is it one user, one feature, one model?",
    "Of what there is more among failed calls than among all calls: at the top what stands out most. 100 % of the"
    " failed in the first line: it is that alone. Since: the first failure in the time shown.",
    calls(
        f"""
SELECT what, value, failed, failed / nullIf(all_failed, 0) AS of_failed, requests / nullIf(all_requests, 0) AS of_all,
    failed / requests AS error_rate, since, last, {traits.chosen(prompt="prompt_name")}
FROM (
    SELECT trait.1 AS what, trait.2 AS value, any(toString(PromptName)) AS prompt_name,
        countIf(Failed) AS failed, count() AS requests,
        sum(failed) OVER (PARTITION BY what) AS all_failed, sum(requests) OVER (PARTITION BY what) AS all_requests,
        minIf(Ended, Failed) AS since, maxIf(Ended, Failed) AS last
    FROM calls
    ARRAY JOIN [
        ('user', UserId), ('feature', Feature), ('model', toString(Model)), ('provider', toString(Provider)),
        ('service', toString(Service)), ('environment', toString(Environment)), ('user tier', UserTier),
        ('session', SessionName), ('prompt', trimRight(concat(PromptName, ' ', PromptVersion))),
        ('operation', toString(Operation)), ('server', toString(ServerAddress))
    ] AS trait
    GROUP BY what, value
)
WHERE failed > 0 AND value != ''
ORDER BY of_failed - of_all DESC LIMIT 20
"""
    ),
    [
        Column("what", "What", width=100),
        traits.column("What failed", status="error"),
        Column("failed", "Failed", COUNT, width=80),
        Column("of_failed", "of the failed", SHARE, decimals=0, gauge=True),
        Column("of_all", "of all calls", SHARE, decimals=0, gauge=True),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=RATES, width=90),
        Column("since", "Since", TIME, width=170),
        Column("last", "Last", TIME, width=170),
        traits.CHOSEN,
    ],
)
_KINDS = table(
    "Kinds of failures",
    "Failed calls by type, status, provider and model: how many, of how many users and of which features, since when,"
    " and what the last one said.",
    calls(
        """
SELECT ErrorType AS error, StatusCode AS status, Provider AS provider, Model AS model, count() AS failed,
    uniqExactIf(UserId, UserId != '') AS users,
    arrayStringConcat(arraySort(groupUniqArrayIf(5)(Feature, Feature != '')), ', ') AS features,
    min(Ended) AS since, max(Ended) AS last, argMax(ErrorMessage, Ended) AS message, argMax(TraceId, Ended) AS trace
FROM calls WHERE Failed GROUP BY error, status, provider, model ORDER BY failed DESC LIMIT 50
"""
    ),
    [
        Column("error", "Type"),
        Column("status", "Status", NONE, width=70),
        Column("provider", "Provider", width=100),
        Column(
            "model",
            "Model",
            link=(
                "What failed",
                link.to_requests(model=link.VALUE, provider=link.field("provider"), status="error"),
            ),
        ),
        Column("failed", "Failed", COUNT, width=70, gauge=True),
        Column("users", "Users", COUNT, width=70),
        Column("features", "Features"),
        Column("since", "Since", TIME, width=170),
        Column("last", "Last", TIME, width=170),
        Column("message", "Last message"),
        Column("trace", "Last trace", link=("Open the trace", link.to_requests(trace=link.VALUE)), width=110),
    ],
)
_USERS = table(
    "Users with failures",
    "Those with most failed calls.",
    calls(
        """
SELECT UserId AS user, any(UserTier) AS tier, countIf(Failed) AS failed, failed / count() AS error_rate,
    maxIf(Ended, Failed) AS last
FROM calls WHERE UserId != '' GROUP BY user HAVING failed > 0 ORDER BY failed DESC, user LIMIT 50
"""
    ),
    [
        Column("user", "User", link=("What failed", link.to_requests(user=link.VALUE, status="error"))),
        Column("tier", "Tier", width=90),
        Column("failed", "Failed", COUNT, width=70),
        Column("error_rate", "Error rate", SHARE, decimals=0, steps=RATES, width=90),
        Column("last", "Last", TIME, width=170),
    ],
)

SECTION = Section(
    "Since when, and who is affected",
    (Placed(_TYPES, 10, 10), Placed(_TRAITS, 14, 10), Placed(_KINDS, 16, 9), Placed(_USERS, 8, 9)),
)
