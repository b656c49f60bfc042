"""One exact statement for each alert. Pure: a definition and a moment in, SQL and its parameters out.

A call belongs to the moment it ended, not to the one it began: where every call hangs for ten minutes and then fails,
none of them has begun in the last five. What an author writes only ever reaches ClickHouse as a parameter.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from tokentrail.backend.alerts.definition import ANY_ENVIRONMENT, FEATURE, PROPERTY, Definition
from tokentrail.backend.query.filter import COLUMNS, property_value

MAX_GROUPS: Final = 10_000
"""Groups that are looked at, those with enough requests and the worst values first."""
MAX_CALL_S: Final = 3600
"""Calls that took longer are left out: by this the start, which the table is sorted by, bounds what is read."""

AHEAD_S: Final = 600
"""How far beyond the window calls are looked at, which come into it later: of senders whose clocks are ahead."""

_SECOND_NS: Final = 10**9
_FEATURE_KEY: Final = "Feature"
_NOW: Final = "ended >= {from:Int64} AND ended < {until:Int64}"
_CONFIRMING: Final = "ended >= {confirm:Int64} AND ended < {until:Int64}"


def statement(definition: Definition, until_ns: int) -> tuple[str, Mapping[str, object]]:
    """The question of `definition` for the window that ends at `until_ns` (not included).

    Columns: `g0`, `g1`, ... the group; `value` (Float64, may be NULL), `requests`; with a confirmation `confirmed`;
    with a comparison `past_first_ns`, and `past` (Float64, may be NULL) or `sums` (Map of step to Float64). Then what
    tells for how long all that stays as it is: `seen`, how many calls that is about; `coming_ns`, the end of the first
    call that ends after the window; `oldest_ns` and with a confirmation `confirmed_oldest_ns`, the end of the oldest
    call in them; `begun_ns`, the start of the oldest call of all. All of these are 0 where there is none.
    """
    window_ns = definition.window_s * _SECOND_NS
    from_ns = until_ns - window_ns
    comparison = definition.comparison
    first_ns = from_ns - (comparison.span_s * _SECOND_NS if comparison else 0)
    parameters: dict[str, object] = {"from": from_ns, "until": until_ns, "first": first_ns}
    parameters["begun"] = max(first_ns - MAX_CALL_S * _SECOND_NS, 0)
    parameters["ahead"] = until_ns + AHEAD_S * _SECOND_NS
    columns = [*_groups(definition, parameters), *_values(definition, parameters, window_ns), *_changes(definition)]
    conditions = [
        "Timestamp >= fromUnixTimestamp64Nano({begun:Int64}) AND Timestamp < fromUnixTimestamp64Nano({ahead:Int64})",
        # By which the table is sorted: by the time alone every part that has some of these is read whole (26.9).
        "toStartOfHour(Timestamp, 'UTC') >= toStartOfHour(fromUnixTimestamp64Nano({begun:Int64}), 'UTC')",
        "ended >= {first:Int64} AND ended < {ahead:Int64}",
        *_conditions(definition, parameters),
    ]
    # Names in this package only; values come as parameters.
    sql = f"SELECT {', '.join(columns)} FROM llm_requests WHERE {' AND '.join(conditions)}"  # noqa: S608
    sql = f"WITH toUnixTimestamp64Nano(Timestamp) + toInt64(DurationNs) AS ended {sql}"
    if definition.group_by:
        sql += f" GROUP BY {', '.join(f'g{index}' for index in range(len(definition.group_by)))}"
    order = "ASC" if definition.is_below else "DESC"
    parameters["enough"] = definition.min_requests
    sql += f" ORDER BY requests >= {{enough:UInt64}} DESC, value {order} NULLS LAST LIMIT {MAX_GROUPS + 1}"
    return sql, parameters


def _values(definition: Definition, parameters: dict[str, object], window_ns: int) -> Iterator[str]:
    metric, aggregation = definition.metric, definition.aggregation
    now = _NOW
    yield f"{metric.sql(aggregation, now)} AS value"
    yield f"countIf({now} AND ({metric.counted})) AS requests"
    if definition.confirm_s:
        until_ns = int(str(parameters["until"]))
        parameters["confirm"] = until_ns - definition.confirm_s * _SECOND_NS
        yield f"{metric.sql(aggregation, _CONFIRMING)} AS confirmed"
    if definition.comparison is None:
        return
    past = "ended < {from:Int64}"
    yield f"minIf(ended, {past} AND ({metric.counted})) AS past_first_ns"
    if metric.is_additive(aggregation):
        parameters["step"] = window_ns
        step = "intDiv({from:Int64} - 1 - ended, {step:Int64})"
        yield f"sumMapIf(map({step}, toFloat64(ifNull({metric.column}, 0))), {past} AND ({metric.counted})) AS sums"
    else:
        yield f"{metric.sql(aggregation, past)} AS past"


def _changes(definition: Definition) -> Iterator[str]:
    yield "countIf(ended < {until:Int64}) AS seen"
    yield "minIf(ended, ended >= {until:Int64}) AS coming_ns"
    yield f"minIf(ended, {_NOW}) AS oldest_ns"
    if definition.confirm_s:
        yield f"minIf(ended, {_CONFIRMING}) AS confirmed_oldest_ns"
    yield "min(toUnixTimestamp64Nano(Timestamp)) AS begun_ns"


def _groups(definition: Definition, parameters: dict[str, object]) -> Iterator[str]:
    for index, dimension in enumerate(definition.group_by):
        yield f"{_expression(dimension, f'g{index}k', parameters)} AS g{index}"


def _conditions(definition: Definition, parameters: dict[str, object]) -> Iterator[str]:
    for index, (dimension, values) in enumerate(definition.filters):
        slot = f"f{index}"
        parameters[slot] = list(values)
        wanted = f"{{{slot}:Array(String)}}"
        if dimension == "model":  # whichever of the two names a person saw
            yield f"(has({wanted}, RequestModel) OR has({wanted}, ResponseModel))"
        else:
            yield f"has({wanted}, {_expression(dimension, f'{slot}k', parameters)})"
    if definition.has_own_thresholds and ANY_ENVIRONMENT not in definition.thresholds:
        parameters["environments"] = list(definition.thresholds)
        yield "has({environments:Array(String)}, Environment)"
    for index, dimension in enumerate(definition.group_by):
        # Calls of nobody are not the calls of one user.
        if dimension in ("user", "session") or _is_property(dimension):
            yield f"g{index} != ''"


def _expression(dimension: str, slot: str, parameters: dict[str, object]) -> str:
    if not _is_property(dimension):
        return f"toString({COLUMNS[dimension]})"
    parameters[slot] = _FEATURE_KEY if dimension == FEATURE else dimension.removeprefix(PROPERTY)
    return property_value(slot)


def _is_property(dimension: str) -> bool:
    return dimension == FEATURE or dimension.startswith(PROPERTY)
