"""Panels of the cost page: what the spend went to, with the share of each and what changed since the time before."""

from collections.abc import Mapping

from grafana_foundation_sdk.models.dashboard import Panel

from boards import link
from boards.calls import compared
from boards.panel import COUNT, SHARE, USD, Column, table
from boards.query import Sql

_AMOUNTS = """countIf(Now) AS requests,
    toFloat64(sumIf(Usd, Now)) AS usd,
    usd / nullIf(sum(usd) OVER (), 0) AS share,
    toFloat64(sumIf(Usd, NOT Now)) AS before,
    usd - before AS change,
    change / nullIf(before, 0) AS change_share,
    countIf(Now AND Priced) AS priced,
    countIf(NOT Now AND Priced) AS priced_before,
    if(priced_before = 0, usd, before / priced_before * (toFloat64(priced) - priced_before)) AS more_calls,
    change - more_calls AS dearer_calls,
    usd / nullIf(priced, 0) AS per_request"""
"""What a group of calls cost, and why that is more or less than before."""


def _grouped(keys: Mapping[str, str], columns: str, *, where: str = "1", limit: int = 50, order: str = "usd") -> Sql:
    """One row for each value of `keys` (SQL by name) in this time or the one before; `columns` of `_AMOUNTS`."""
    read = ", ".join(f"{sql} AS {name}" for name, sql in keys.items())
    both = " UNION ALL ".join(
        f"SELECT {read}, ifNull(CostUsd, 0) AS Usd, CostUsd IS NOT NULL AS Priced, Unpriced, InputTokens, OutputTokens,"
        f" {now} AS Now FROM {source} WHERE {where}"
        for source, now in (("calls", "true"), ("earlier", "false"))
    )
    names = ", ".join(keys)
    return compared(
        f"""
SELECT {names}, {columns} FROM (
    SELECT {names}, {_AMOUNTS},
    1e6 * usd / nullIf(toFloat64(sumIf(ifNull(InputTokens, 0) + ifNull(OutputTokens, 0), Now AND Priced)), 0)
        AS per_million,
    avgOrNullIf(InputTokens, Now) AS mean_input,
    avgOrNullIf(OutputTokens, Now) AS mean_output,
    countIf(Now AND Unpriced) AS unpriced
    FROM ({both})
    GROUP BY {names}
)
ORDER BY {order} DESC, {names} LIMIT {limit}
"""
    )


_CHANGE = (
    Column("change", "Change", USD),
    Column("change_share", "Change, share", SHARE, decimals=0),
)
_WHY = (
    Column("more_calls", "from more calls", USD),
    Column("dearer_calls", "from dearer calls", USD),
)
_NOTE = " Change is against as long a time before."

MODELS = table(
    "Models",
    "Spend of each model of each provider, its share, its change and where that comes from, and what a call and a"
    " million tokens cost on average." + _NOTE,
    _grouped(
        {"provider": "Provider", "model": "Model"},
        "requests, usd, share, change, change_share, more_calls, dearer_calls, per_request, "
        "per_million, mean_input, mean_output, unpriced",
    ),
    [
        Column("provider", "Provider"),
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("usd", "Spend", USD),
        Column("share", "of spend", SHARE, gauge=True),
        *_CHANGE,
        *_WHY,
        Column("per_request", "Per request", USD),
        Column("per_million", "Per million tokens", USD),
        Column("mean_input", "Mean input tokens", COUNT),
        Column("mean_output", "Mean output tokens", COUNT),
        Column("unpriced", "Without a price", COUNT, steps=((1, "yellow"),)),
    ],
)
PLACES = table(
    "Environments and services",
    "Spend of each service in each environment, its share and its change." + _NOTE,
    _grouped(
        {"environment": "Environment", "service": "Service"},
        "requests, usd, share, change, change_share, per_request",
    ),
    [
        Column("environment", "Environment"),
        Column(
            "service",
            "Service",
            link=("Requests", link.to_requests(service=link.VALUE, env=link.field("environment"))),
        ),
        Column("requests", "Requests", COUNT),
        Column("usd", "Spend", USD),
        Column("share", "of spend", SHARE, gauge=True),
        *_CHANGE,
        Column("per_request", "Per request", USD),
    ],
)
FEATURES = table(
    "Features",
    "Spend by the property Feature, its share and its change; without a name, calls that have no such property."
    + _NOTE,
    _grouped({"feature": "Feature"}, "requests, usd, share, change, change_share, per_request"),
    [
        Column("feature", "Feature", link=("Requests", link.to_requests(feature=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("usd", "Spend", USD),
        Column("share", "of spend", SHARE, gauge=True),
        *_CHANGE,
        Column("per_request", "Per request", USD),
    ],
)


def _explained(title: str, what: str, name: str, column: str, address: str) -> Panel:
    """The values of `column` by how much they changed the spend, upwards or downwards."""
    return table(
        title,
        f"Which {what} changed the spend most, upwards or downwards, and whether because of more calls or of dearer"
        " ones." + _NOTE,
        _grouped(
            {name: column},
            "before, usd, change, more_calls, dearer_calls",
            where=f"{column} != ''",
            order="abs(change)",
            limit=20,
        ),
        [
            Column(name, what.capitalize(), link=("Open", address)),
            Column("before", "Before", USD),
            Column("usd", "Spend", USD),
            *_CHANGE[:1],
            *_WHY,
        ],
    )


USERS = _explained("Change by user", "user", "user", "UserId", link.to("tokentrail-users", user=link.VALUE))
PROMPTS = _explained(
    "Change by prompt", "prompt", "prompt", "PromptName", link.to("tokentrail-prompts", prompt=link.VALUE)
)
