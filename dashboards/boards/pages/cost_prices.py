"""Panels of the cost page: where prices are from, what was assumed, which calls have none, what was corrected."""

from boards import link
from boards.calls import calls, chosen
from boards.panel import COUNT, SHARE, TIME, USD, YELLOW, Column, table
from boards.query import Sql
from tokentrail.backend.query.filter import PROJECT

SOURCES = table(
    "Where the prices are from",
    "user: your price file; overlay and genai-prices: published list prices; provider: what the provider itself said;"
    " client: a total the sender worked out in a way it does not tell.",
    calls(
        """
SELECT CostSource AS source, PriceVersion AS version, count() AS requests, uniqExact(PriceEntry) AS entries,
    toFloat64(sum(CostUsd)) AS usd, usd / nullIf(sum(usd) OVER (), 0) AS share
FROM calls WHERE CostUsd IS NOT NULL GROUP BY source, version ORDER BY usd DESC LIMIT 50
"""
    ),
    [
        Column("source", "Source"),
        Column("version", "Version of the list"),
        Column("requests", "Requests", COUNT),
        Column("entries", "Prices used", COUNT),
        Column("usd", "Spend", USD, link=("Requests", link.to_requests())),
        Column("share", "of spend", SHARE, gauge=True),
    ],
)
ASSUMPTIONS = table(
    "What was assumed",
    "Where a call or a list did not tell all that a price depends on; docs/cost.md explains each. A call with several"
    " counts under each of them; those with none are the line 'nothing'.",
    calls(
        """
SELECT arrayJoin(if(empty(PricingAssumptions), ['nothing'], PricingAssumptions)) AS assumption, count() AS requests,
    toFloat64(sum(CostUsd)) AS usd, usd / nullIf((SELECT toFloat64(sum(CostUsd)) FROM calls), 0) AS share,
    arrayStringConcat(arraySort(groupUniqArray(5)(toString(Model))), ', ') AS models
FROM calls WHERE CostUsd IS NOT NULL GROUP BY assumption ORDER BY usd DESC LIMIT 50
"""
    ),
    [
        Column("assumption", "Assumed"),
        Column("requests", "Requests", COUNT),
        Column("usd", "Spend", USD, link=("Requests", link.to_requests())),
        Column("share", "of spend", SHARE, gauge=True),
        Column("models", "Models, up to five"),
    ],
)
UNPRICED = table(
    "Calls without a price",
    "They used something that nobody has told the price of. `tokentrail cost --unpriced` prints the lines for the price"
    " file. Calls that failed before they used anything are not among them.",
    calls(
        """
SELECT PricingStatus AS reason, Provider AS provider, Model AS model, ServerAddress AS server, count() AS requests,
    toFloat64(sum(Tokens)) AS tokens, max(Ended) AS last_call
FROM calls WHERE Unpriced GROUP BY reason, provider, model, server ORDER BY requests DESC LIMIT 50
"""
    ),
    [
        Column("reason", "Reason"),
        Column("provider", "Provider"),
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE, unpriced="1"))),
        Column("server", "Server"),
        Column("requests", "Requests", COUNT, steps=((1, YELLOW),)),
        Column("tokens", "Tokens", COUNT),
        Column("last_call", "Last call", TIME),
    ],
)
_OTHERS = ("env", "service", "provider", "model", "operation")
_OF_THAT_TIME = link.between("first", "last", link.to(link.REQUESTS, *_OTHERS))
"""From the start of the first call; calls count when they end, at most an hour later."""
CORRECTIONS = table(
    "Corrected costs",
    "What `tokentrail cost reprice` changed in this time, run by run, for the chosen projects. The calls may be older;"
    " sums elsewhere have the new costs. The other filters do not hold here.",
    Sql(
        f"""
SELECT max(CorrectedAt) AS corrected, count() AS changed, min(Timestamp) AS first_call, max(Timestamp) AS last_call,
    toFloat64(sum(ifNull(OldCostUsd, 0))) AS old_usd, toFloat64(sum(ifNull(NewCostUsd, 0))) AS new_usd,
    new_usd - old_usd AS difference, toString(toUnixTimestamp64Milli(first_call)) AS first,
    toString(toUnixTimestamp64Milli(last_call) + 3600000) AS last
FROM cost_corrections
WHERE $__timeFilter_ms(CorrectedAt)
    AND {chosen(PROJECT, "project")}
GROUP BY Run ORDER BY corrected DESC LIMIT 50
""".strip()
    ),
    [
        Column("corrected", "Corrected", TIME),
        Column("changed", "Calls", COUNT, link=("Calls of that time", _OF_THAT_TIME)),
        Column("first_call", "First call", TIME),
        Column("last_call", "Last call", TIME),
        Column("old_usd", "Before", USD),
        Column("new_usd", "After", USD),
        Column("difference", "Difference", USD),
        Column("first", hidden=True),
        Column("last", hidden=True),
    ],
)
