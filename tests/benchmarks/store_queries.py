"""What the dashboards and the API ask, as the benchmark of the store asks it.

Names of tables and moments are filled in: `{calls}` the calls, `{rollup}` the hourly sums, `{since}` and `{until}` the
range as SQL, `{step}` seconds of a point in a series of about a hundred, `{trace}`, `{session}` and `{user}` ids of a
call in the middle of what is stored.
"""

from dataclasses import dataclass
from typing import Final

_RANGE: Final = "Timestamp >= {since} AND Timestamp < {until}"
_HOURS: Final = "Hour >= {since} AND Hour < {until}"
_MODEL: Final = "if(RequestModel != '', RequestModel, ResponseModel)"
_TIME: Final = "toStartOfInterval(Timestamp, INTERVAL {step} SECOND)"
_USAGE: Final = "count() AS requests, sum(InputTokens), sum(OutputTokens), sum(CostUsd) AS usd"
_QUANTILES: Final = "quantiles(0.5, 0.95, 0.99)(DurationNs)"


@dataclass(frozen=True, slots=True)
class Question:
    """A query, by what it is for."""

    name: str
    sql: str
    ranged: bool = True
    """Whether it is asked for each range of time; if not, it has none."""


QUESTIONS: Final = (
    Question(
        "overview",
        f"SELECT {_USAGE}, countIf(ErrorType != ''), quantile(0.95)(DurationNs) FROM {{calls}} WHERE {_RANGE}",
    ),
    Question(
        "spend by model over time",
        f"SELECT {_TIME} AS t, {_MODEL} AS model, sum(CostUsd) FROM {{calls}} WHERE {_RANGE} "
        "GROUP BY t, model ORDER BY t",
    ),
    Question(
        "percentiles by model over time",
        f"SELECT {_TIME} AS t, {_MODEL} AS model, {_QUANTILES} FROM {{calls}} WHERE {_RANGE} "
        "GROUP BY t, model ORDER BY t",
    ),
    Question(
        "provider and model",
        f"SELECT Provider, {_MODEL} AS model, {_USAGE} FROM {{calls}} WHERE {_RANGE} GROUP BY Provider, model "
        "ORDER BY usd DESC",
    ),
    Question(
        "one service, production",
        f"SELECT {_TIME} AS t, {_USAGE}, countIf(ErrorType != '') FROM {{calls}} WHERE {_RANGE} "
        "AND Environment = 'production' AND Service = 'service-7' GROUP BY t ORDER BY t",
    ),
    Question(
        "top 20 users",
        f"SELECT UserId, count() AS requests, sum(CostUsd) AS usd, countIf(ErrorType != '') FROM {{calls}} "
        f"WHERE {_RANGE} AND UserId != '' GROUP BY UserId ORDER BY usd DESC LIMIT 20",
    ),
    Question(
        "dearest 100 sessions",
        "SELECT SessionId, any(SessionName), count() AS requests, sum(CostUsd) AS usd, min(Timestamp), max(Timestamp) "
        f"FROM {{calls}} WHERE {_RANGE} AND SessionId != '' GROUP BY SessionId ORDER BY usd DESC LIMIT 100",
    ),
    Question(
        "by a property",
        "SELECT Properties['Feature'] AS feature, count(), sum(CostUsd) AS usd, quantile(0.95)(DurationNs) "
        f"FROM {{calls}} WHERE {_RANGE} GROUP BY feature ORDER BY usd DESC LIMIT 100",
    ),
    Question(
        "property filter, newest 100",
        f"SELECT * FROM {{calls}} WHERE {_RANGE} AND Properties['Feature'] = 'feature-29' "
        "ORDER BY toStartOfHour(Timestamp, 'UTC') DESC, Timestamp DESC LIMIT 100",
    ),
    Question(
        "errors, newest 100",
        f"SELECT Timestamp, TraceId, SpanId, RequestModel, ErrorType, ErrorMessage FROM {{calls}} "
        f"WHERE {_RANGE} AND ErrorType != '' ORDER BY toStartOfHour(Timestamp, 'UTC') DESC, Timestamp DESC LIMIT 100",
    ),
    Question(
        "dearest 50 calls",
        f"SELECT Timestamp, TraceId, SpanId, RequestModel, CostUsd FROM {{calls}} WHERE {_RANGE} "
        "ORDER BY CostUsd DESC NULLS LAST LIMIT 50",
    ),
    Question(
        "newest 100 calls",
        f"SELECT * FROM {{calls}} WHERE {_RANGE} "
        "ORDER BY toStartOfHour(Timestamp, 'UTC') DESC, Timestamp DESC LIMIT 100",
    ),
    Question(
        "one user, newest 100",
        f"SELECT * FROM {{calls}} WHERE {_RANGE} AND UserId = {{user}} "
        "ORDER BY toStartOfHour(Timestamp, 'UTC') DESC, Timestamp DESC LIMIT 100",
    ),
    Question("one trace", "SELECT * FROM {calls} WHERE TraceId = {trace} ORDER BY Timestamp", ranged=False),
    Question(
        "one session, step by step",
        "SELECT Timestamp, SessionPath, RequestModel, DurationNs, CostUsd, ErrorType, TraceId, SpanId FROM {calls} "
        "WHERE SessionId = {session} ORDER BY Timestamp",
        ranged=False,
    ),
)
"""On calls."""

_STEP_HOURS: Final = "toStartOfInterval(Hour, INTERVAL {step} SECOND)"
ROLLUP_QUESTIONS: Final = (
    Question(
        "rollup: overview",
        "SELECT sum(Requests), sum(InputTokens), sum(OutputTokens), sum(CostUsd), sumIf(Requests, ErrorType != '') "
        f"FROM {{rollup}} FINAL WHERE {_HOURS}",
    ),
    Question(
        "rollup: spend by model over time",
        f"SELECT {_STEP_HOURS} AS t, Model, sum(CostUsd) FROM {{rollup}} FINAL WHERE {_HOURS} "
        "GROUP BY t, Model ORDER BY t",
    ),
    Question(
        "rollup: provider and model",
        "SELECT Provider, Model, sum(Requests), sum(InputTokens), sum(OutputTokens), sum(CostUsd) AS usd "
        f"FROM {{rollup}} FINAL WHERE {_HOURS} GROUP BY Provider, Model ORDER BY usd DESC",
    ),
    Question("rollup: users", f"SELECT uniqCombined64Merge(12)(Users) FROM {{rollup}} FINAL WHERE {_HOURS}"),
    Question(
        "rollup: percentiles by model over time",
        "SELECT t, Model, quantilesExactWeighted(0.5, 0.95, 0.99)(pow(2, (bucket + 0.5) / 16), calls) FROM "
        f"(SELECT {_STEP_HOURS} AS t, Model, sumMap(DurationBuckets) AS b FROM {{rollup}} FINAL WHERE {_HOURS} "
        "GROUP BY t, Model) ARRAY JOIN mapKeys(b) AS bucket, mapValues(b) AS calls GROUP BY t, Model ORDER BY t",
    ),
)
"""The same of the hourly sums."""
