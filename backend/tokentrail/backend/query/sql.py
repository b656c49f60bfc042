"""The statements of the API. Pure: conditions in, SQL and its parameters out."""

from collections.abc import Mapping
from typing import Final

from tokentrail.backend.query.errors import QueryError
from tokentrail.backend.query.filter import COLUMNS, MODEL, PROJECT, PROPERTY, Condition, property_key, property_value
from tokentrail.backend.query.record import FIELDS
from tokentrail.backend.store.rows import column_name

GROUPS: Final = (*COLUMNS, f"{PROPERTY}<key>")
"""What totals can be made by."""

_EXPRESSIONS: Final = {"time_ns": "toUnixTimestamp64Nano(Timestamp)", "project": PROJECT}

MAX_GROUPS: Final = 10_000
"""Rows of totals at most, the dearest first."""

_TOTALS: Final = """
    count() AS requests,
    countIf(ErrorType != '') AS errors,
    countIf(CostUsd IS NOT NULL) AS priced,
    countIf(CostUsd IS NULL AND PricingStatus != 'failed') AS unpriced,
    sum(toUInt128(InputTokens)) AS input_tokens,
    sum(toUInt128(OutputTokens)) AS output_tokens,
    sum(toUInt128(CacheReadTokens)) AS cache_read_tokens,
    sum(CostUsd) AS cost_usd,
    sumMap(CostComponents) AS cost_components,
    sumMapIf(map(CostSource, assumeNotNull(CostUsd)), CostUsd IS NOT NULL) AS cost_sources,
    sumIf(CostUsd, notEmpty(PricingAssumptions)) AS assumed_cost_usd,
    sumMapIf(
        mapFromArrays(
            arrayDistinct(PricingAssumptions),
            arrayMap(_ -> assumeNotNull(CostUsd), arrayDistinct(PricingAssumptions))
        ),
        CostUsd IS NOT NULL
    ) AS cost_assumptions,
    round(avg(DurationNs) / 1e6, 6) AS avg_duration_ms,
    quantileExactOrNull(0.95)(DurationNs) / 1e6 AS p95_duration_ms,
    round(avg(TtftNs) / 1e6, 6) AS avg_ttft_ms
""".strip()
"""A call that failed before it used anything has no cost either, and is no gap in the price list: it is not unpriced.
Tokens are summed wide, so that no row can make a sum start again at 0; an empty sum is NULL: nothing was told.
Components add up to the cost but for calls of which only a total was reported; a call counts under each of its
assumptions."""

_UNPRICED: Final = f"""
    PricingStatus AS reason,
    Provider AS provider,
    if(PricingModel != '', PricingModel, {MODEL}) AS model,
    ServerAddress AS server_address,
    count() AS requests,
    sum(toUInt128(InputTokens)) AS input_tokens,
    sum(toUInt128(OutputTokens)) AS output_tokens,
    sum(toUInt128(CacheReadTokens)) AS cache_read_tokens,
    sum(toUInt128(CacheWriteTokens)) AS cache_write_tokens,
    toUnixTimestamp64Nano(min(Timestamp)) AS first_ns,
    toUnixTimestamp64Nano(max(Timestamp)) AS last_ns
""".strip()

Statement = tuple[str, Mapping[str, object]]


def requests(condition: Condition, limit: int) -> Statement:
    """Calls, the newest first; columns are named by the fields of `Row`."""
    columns = ", ".join(f"{_EXPRESSIONS.get(field, column_name(field))} AS {field}" for field in FIELDS)
    # The hour comes first because the table is sorted by it: the newest rows are found without reading the others.
    order = "toStartOfHour(Timestamp, 'UTC') DESC, Timestamp DESC, TraceId, SpanId"
    return _select(columns, condition, f"ORDER BY {order} LIMIT {int(limit)}"), condition.parameters


def totals(condition: Condition) -> Statement:
    """One row of sums over all calls."""
    return _select(_TOTALS, condition), condition.parameters


def totals_by(by: str, condition: Condition) -> Statement:
    """A row of sums for each value of `by`, the dearest first, its value in column `key`.

    Raises `QueryError` when calls cannot be grouped by it.
    """
    expression, parameters = _group(by)
    tail = f"GROUP BY key ORDER BY cost_usd DESC NULLS LAST, requests DESC, key LIMIT {MAX_GROUPS}"
    return _select(f"{expression} AS key, {_TOTALS}", condition, tail), {**condition.parameters, **parameters}


def unpriced(condition: Condition, *, failed: bool) -> Statement:
    """A row for each kind of call without a cost, the most frequent first; with `failed`, those that used nothing too.

    The model is the one that a price would be looked up for first.
    """
    gap = "CostUsd IS NULL" if failed else "CostUsd IS NULL AND PricingStatus != 'failed'"
    without = Condition(f"({condition.sql}) AND {gap}", condition.parameters)
    tail = (
        "GROUP BY reason, provider, model, server_address "
        f"ORDER BY requests DESC, reason, provider, model, server_address LIMIT {MAX_GROUPS}"
    )
    return _select(_UNPRICED, without, tail), without.parameters


def _select(columns: str, condition: Condition, tail: str = "") -> str:
    # Every part is made of names in this package; what a client sends comes as parameters.
    return f"SELECT {columns} FROM llm_requests WHERE {condition.sql} {tail}".rstrip()  # noqa: S608


def _group(by: str) -> Statement:
    if by.startswith(PROPERTY):
        return property_value("by"), {"by": property_key(by)}
    if column := COLUMNS.get(by):
        return column, {}
    raise QueryError("by", f"totals cannot be made by {by!r}", GROUPS)
