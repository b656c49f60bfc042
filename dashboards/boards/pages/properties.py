"""Features and any other property: what each value is used for and costs, how it goes, how well calls are tagged."""

from dataclasses import replace

from boards import link
from boards.board import Board, Placed, Section
from boards.calls import calls, compared, property_of, series, typed
from boards.pages.features import FEATURES, WORKFLOWS
from boards.pages.property_names import KEYS, SPELLINGS
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
from boards.query import Sql

_OF_CALL = property_of(typed("property"))
_ONE = ("property_value",)
"""The filter of panels about one value; those about how calls are tagged look at all of them."""
_TAGGED = f"tagged AS (SELECT *, {_OF_CALL} AS Value FROM calls)"
_TAGGED_BEFORE = f"{_TAGGED}, tagged_before AS (SELECT *, {_OF_CALL} AS Value FROM earlier)"
_PROPERTY = "${property:percentencode}"
_REQUESTS_OF_VALUE = ("Requests", link.to_requests(property=_PROPERTY, property_value=link.VALUE))
_REQUESTS_OF_SERIES = ("Requests", link.to_requests(property=_PROPERTY, property_value=link.label("value")))


def _against(value: str, name: str) -> Sql:
    """`value`, an expression over calls and their `Value`, and by how much it changed."""
    change = f"{name} / nullIf((SELECT {value} FROM tagged_before), 0) - 1 AS change"
    return compared(f"SELECT {value} AS {name}, {change} FROM tagged", own=_ONE, more=_TAGGED_BEFORE)


def _over_time(point: str, name: str, of_all: str, shown: str = "Point", kept: str = "true") -> Sql:
    """A number over time for the ten values of the property with the most of it, or of something else.

    `point` is an expression over the calls of an interval and a value, `of_all` over its results (`Point`), by which
    the ten are chosen, and `shown` what of `Point` is shown as `name`. Of calls for which `kept` holds. They are read
    once: looking for the ten first would read them, and look for the property in each, twice.
    """
    select = f"""
SELECT at AS time, value, {name}
FROM (
    SELECT value, groupArray((at, {shown})) AS points, {of_all} AS most
    FROM (SELECT BIN AS at, Value AS value, {point} AS Point FROM tagged WHERE {kept} GROUP BY at, value)
    WHERE value != '' GROUP BY value ORDER BY most DESC, value LIMIT 10
)
ARRAY JOIN points.1 AS at, points.2 AS {name}
ORDER BY time, value
"""
    return replace(series(select, own=_ONE, more=_TAGGED), named_by="value")


_VALUES = stat(
    "Values of $property",
    "Different values of the chosen property on calls in this time, and by how much that is more or less than in as "
    "long a time before.",
    _against("uniqExactIf(Value, Value != '')", "number"),
    COUNT,
    columns=[CHANGE],
    link=("Requests", link.to_requests(property=_PROPERTY, property_value="${property_value:percentencode}")),
)
_COVERAGE = stat(
    "Calls that have it",
    "Share of the calls that carry the property at all. What is missing is missing in every number by value; the table "
    "at the bottom says whose calls those are.",
    calls("SELECT countIf(Value != '') / nullIf(count(), 0) AS tagged FROM tagged", more=_TAGGED),
    SHARE,
    decimals=1,
    link=("All requests", link.to_requests()),
)
_TAGGED_SPEND = stat(
    "Spend that has it",
    "Exact sum of the costs of the calls that carry the property, of the chosen value if there is one.",
    _against("toFloat64(ifNull(sumIf(CostUsd, Value != ''), 0))", "usd"),
    USD,
    columns=[CHANGE],
    link=("Where it went", link.to("tokentrail-cost")),
)
_TAGGED_ERRORS = stat(
    "Error rate",
    "Failed calls by all calls that carry the property, of the chosen value if there is one. Yellow from 2 %, red from "
    "5 %, as the alerts.",
    calls(
        "SELECT countIf(Failed AND Value != '') / nullIf(countIf(Value != ''), 0) AS error_rate FROM tagged",
        own=_ONE,
        more=_TAGGED,
    ),
    SHARE,
    decimals=2,
    steps=FAILING,
    base="green",
    link=(
        "Failed calls",
        link.to_requests(property=_PROPERTY, property_value="${property_value:percentencode}", status="error"),
    ),
)
_BY_VALUE = table(
    "By value of $property",
    "The hundred values that cost most; the row without a value is the calls that do not carry the property. More "
    "compares with as long a time before: below zero is less.",
    compared(
        """
SELECT now.value AS value, requests, share_of_requests,
    requests / nullIf(before.requests_before, 0) - 1 AS more_requests,
    usd, share_of_spend, usd / nullIf(before.usd_before, 0) - 1 AS more_usd,
    usd_per_request, tokens_per_request, error_rate, p95, ttft_p95, users, last_call
FROM (
    SELECT Value AS value, count() AS requests, requests / sum(requests) OVER () AS share_of_requests,
        toFloat64(ifNull(sum(CostUsd), 0)) AS usd, usd / nullIf(sum(usd) OVER (), 0) AS share_of_spend,
        usd / nullIf(countIf(CostUsd IS NOT NULL), 0) AS usd_per_request,
        toFloat64(sum(Tokens)) / requests AS tokens_per_request,
        countIf(Failed) / requests AS error_rate, quantileExact(0.95)(Seconds) AS p95,
        quantileExactOrNull(0.95)(TtftSeconds) AS ttft_p95, uniqExactIf(UserId, UserId != '') AS users,
        max(Ended) AS last_call
    FROM tagged GROUP BY value ORDER BY usd DESC, requests DESC, value LIMIT 100
) AS now
LEFT JOIN (
    SELECT Value AS value, count() AS requests_before, toFloat64(ifNull(sum(CostUsd), 0)) AS usd_before
    FROM tagged_before GROUP BY value
) AS before ON now.value = before.value
ORDER BY usd DESC, requests DESC, value
""",
        own=_ONE,
        more=_TAGGED_BEFORE,
    ),
    [
        Column("value", "Value", link=_REQUESTS_OF_VALUE),
        Column("requests", "Requests", COUNT),
        Column("share_of_requests", "of requests", SHARE, gauge=True),
        Column("more_requests", "more", SHARE, decimals=0),
        Column("usd", "Spend", USD),
        Column("share_of_spend", "of spend", SHARE, gauge=True),
        Column("more_usd", "more spend", SHARE, decimals=0),
        Column("usd_per_request", "Cost each", USD),
        Column("tokens_per_request", "Tokens each", COUNT),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=FAILING),
        Column("p95", "p95", SECONDS, steps=((10, RED),)),
        Column("ttft_p95", "p95 first token", SECONDS),
        Column("users", "Users", COUNT),
        Column("last_call", "Last call", TIME),
    ],
)
_VOLUME = lines(
    "Requests",
    "Calls in each interval, of the ten values with the most of them.",
    _over_time("count()", "requests", "sum(Point)"),
    COUNT,
    bars=True,
    stacked=True,
    link=_REQUESTS_OF_SERIES,
)
_SPEND = lines(
    "Spend",
    "US dollars in each interval, of the ten values that cost most.",
    _over_time("sum(ifNull(CostUsd, 0))", "usd", "sum(Point)", "toFloat64(Point)"),
    USD,
    bars=True,
    stacked=True,
    link=_REQUESTS_OF_SERIES,
)
_ERRORS = lines(
    "Error rate",
    "Failed calls by all calls in each interval, of the ten values with the most failed calls.",
    _over_time("(countIf(Failed), count())", "error_rate", "sum(Point.1)", "Point.1 / Point.2"),
    SHARE,
    link=_REQUESTS_OF_SERIES,
)
_LATENCY = lines(
    "Latency, p95",
    "What 95 of 100 calls stayed below, of the ten values with the most calls.",
    _over_time("(quantileExact(0.95)(Seconds), count())", "p95", "sum(Point.2)", "Point.1"),
    SECONDS,
    link=_REQUESTS_OF_SERIES,
)
_USERS = lines(
    "Users",
    "Different users with a call in each interval, of the ten values with the most users. One user may use several.",
    _over_time(
        "uniqExactState(UserId)", "users", "uniqExactMerge(Point)", "finalizeAggregation(Point)", "UserId != ''"
    ),
    COUNT,
    link=_REQUESTS_OF_SERIES,
)
_TOKENS = lines(
    "Tokens of a call",
    "Mean of input and output tokens, of the ten values with the most calls: more is longer prompts or answers.",
    _over_time("(sum(Tokens), count())", "tokens", "sum(Point.2)", "Point.1 / Point.2"),
    COUNT,
    link=_REQUESTS_OF_SERIES,
)
_UNTAGGED = table(
    "Calls without $property",
    "By service and environment: the share of calls, and of spend, that does not carry the property, the most first.",
    calls(
        """
SELECT Service AS service, Environment AS environment, countIf(Value = '') AS untagged, untagged / count() AS share,
    toFloat64(ifNull(sumIf(CostUsd, Value = ''), 0)) AS usd
FROM tagged GROUP BY service, environment ORDER BY untagged DESC, service, environment LIMIT 100
""",
        more=_TAGGED,
    ),
    [
        Column("service", "Service", link=("Requests", link.to_requests(service=link.VALUE))),
        Column("environment", "Environment"),
        Column("untagged", "Without it", COUNT),
        Column("share", "of its calls", SHARE, gauge=True),
        Column("usd", "Spend", USD),
    ],
)
BOARD = Board(
    uid="tokentrail-properties",
    title="LLM / Features and properties",
    description="What each feature, and each value of any other property, is used for, costs, and how it goes.",
    own=("property", "property_value"),
    sections=(
        Section(
            "",
            (
                Placed(_VALUES, 6, 4),
                Placed(_COVERAGE, 6, 4),
                Placed(_TAGGED_SPEND, 6, 4),
                Placed(_TAGGED_ERRORS, 6, 4),
            ),
        ),
        Section(
            "By $property",
            (
                Placed(_BY_VALUE, 24, 9),
                Placed(_VOLUME, 8),
                Placed(_SPEND, 8),
                Placed(_ERRORS, 8),
                Placed(_LATENCY, 8),
                Placed(_USERS, 8),
                Placed(_TOKENS, 8),
            ),
        ),
        Section("Features", FEATURES),
        Section("Workflows and their steps", WORKFLOWS),
        Section("How well calls are tagged", (Placed(_UNTAGGED, 8), Placed(KEYS, 10), Placed(SPELLINGS, 6))),
    ),
    guide="""
Choose a **Property** at the top: everything under **By ...** is then about its values, and about one of them if you
write it into **Value**. Look first at how many calls carry the property at all, then at the table, then at what changed
over time; click a value to see its calls.

* A property is what the application says of a call: a feature, a customer's plan, a department, the step of a workflow.
  Its name is the same in any case (`Feature`, `feature`), its values are not.
* **Features** and **Workflows** are always about the properties `Feature`, `Workflow` and `Step`, whatever is chosen.
* Names that differ by a typo are different properties: the last line of panels finds them.
""",
)
