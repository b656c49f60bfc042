"""The calls that a panel is about: SQL that all panels begin with, and selectors for PromQL.

    WITH calls AS (SELECT *, ... FROM llm_requests WHERE <time> AND <every variable of the dashboard>)
    SELECT Model, sum(CostUsd) AS usd FROM calls GROUP BY Model

A call belongs to the moment it ended, as for alerts: a link from one opens exactly the calls that it is about. Those
that took longer than an hour are left out, as there, so that the start, by which the table is sorted, bounds what is
read.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from boards.query import Prom, Shape, Sql
from tokentrail.backend.alerts.statement import MAX_CALL_S
from tokentrail.backend.query.filter import MODEL, PROJECT

LONGEST: Final = f"INTERVAL {MAX_CALL_S // 3600} HOUR"
"""What a call takes at most; those that take longer are left out."""
_ENDED: Final = "Timestamp + toIntervalNanosecond(DurationNs)"
_HOUR: Final = "toStartOfHour(Timestamp, 'UTC')"
"""By which calls are sorted first."""


def begun(first: str, last: str) -> str:
    """SQL: calls began from `first` to `last` (SQL, DateTime64).

    The hour says nothing that the time does not. But by the time alone ClickHouse (26.9) reads the times of all calls
    of each part that has some of them, and takes hours to be told of to read the part of the part that they are in.
    """
    hours = f"{_HOUR} >= toStartOfHour({first}, 'UTC') AND {_HOUR} <= toStartOfHour({last}, 'UTC')"
    return f"Timestamp >= {first} AND Timestamp <= {last} AND {hours}"


def property_of(key: str) -> str:
    """SQL for the value of a property, in whatever case its key is; empty where a call has none. `key` is SQL."""
    same = f"lowerUTF8(key) = lowerUTF8({key})"
    return f"arrayFirst((value, key) -> {same}, mapValues(Properties), mapKeys(Properties))"


def typed(variable: str) -> str:
    """SQL for the text of a variable that has one value, such as what was typed into a box, whatever is in it.

    Grafana's `singlequote` leaves backslashes alone, which ClickHouse takes for the beginning of an escape: the user
    `CORP\\alice` would not be found, and a text that ends in a backslash would end the statement.
    """
    return f"decodeURLComponent('${{{variable}:percentencode}}')"


def chosen(expression: str, variable: str) -> str:
    """A condition: `expression` is one of the values chosen of a variable that may have several, or that is All.

    The values come as they stand in the address of a page, `var-env=a%5Cb&var-env=c`: the one format of Grafana that
    keeps several values apart and leaves nothing in them that means something in a text of SQL (`'` since 11.6 at the
    latest: `toUrlParams` of @grafana/data 11.6.0). `singlequote` and `sqlstring` leave backslashes alone, and
    `percentencode` joins by commas. A subquery, because an array would not be looked up as a set is.
    """
    values = f"arrayJoin(splitByChar('&', '${{{variable}:queryparam}}'))"
    decoded = f"decodeURLComponent(substring({values} AS pair, position(pair, '=') + 1))"
    return f"$__conditionalAll({expression} IN (SELECT {decoded}), ${variable})"


_COLUMNS: Final = f"""*,
        {_ENDED} AS Ended,
        {MODEL} AS Model,
        {PROJECT} AS InProject,
        {property_of("'feature'")} AS Feature,
        {property_of("'usertier'")} AS UserTier,
        ErrorType != '' AS Failed,
        CostUsd IS NULL AND PricingStatus != 'failed' AS Unpriced,
        DurationNs / 1e9 AS Seconds,
        TtftNs / 1e9 AS TtftSeconds,
        ifNull(InputTokens, 0) + ifNull(OutputTokens, 0) AS Tokens"""
"""What panels use beside the columns of the table. Only what a statement names is read."""


def _all(condition: str, variable: str) -> str:
    """`condition`, unless `variable` is empty or All."""
    return f"$__conditionalAll({condition}, ${variable})"


def _path_is(variable: str) -> str:
    """SQL: whether the path of a call in its session is the one typed; of one that ends in `/*`, or below that."""
    of_call, asked = (
        f"arrayFilter(part -> part != '', splitByChar('/', {path}))"
        for path in ("SessionPath", f"trim(TRAILING '*' FROM {typed(variable)})")
    )
    below = f"endsWith({typed(variable)}, '/*') AND startsWith({of_call}, {asked})"
    return f"SessionId != '' AND ({of_call} = {asked} OR {below})"


_SHARED: Final = (
    chosen("Environment", "env"),
    chosen("Service", "service"),
    chosen("Provider", "provider"),
    chosen("Operation", "operation"),
    chosen(PROJECT, "project"),
)
_MODEL: Final = f"({chosen('RequestModel', 'model')} OR {chosen('ResponseModel', 'model')})"
_OWN: Final = {
    "user": _all(f"UserId = {typed('user')}", "user"),
    "session": _all(f"SessionId = {typed('session')}", "session"),
    "session_name": _all(f"SessionName = {typed('session_name')}", "session_name"),
    "path": _all(_path_is("path"), "path"),
    "prompt": chosen("PromptName", "prompt"),
    "feature": _all(f"{property_of(chr(39) + 'feature' + chr(39))} = {typed('feature')}", "feature"),
    "property_value": _all(f"{property_of(typed('property'))} = {typed('property_value')}", "property_value"),
    "status": chosen("if(ErrorType = '', 'ok', 'error')", "status"),
    "unpriced": _all("CostUsd IS NULL AND PricingStatus != 'failed'", "unpriced"),
}
"""Filters that a dashboard has when it has the variable."""


def _where(own: Iterable[str]) -> str:
    return "\n        AND ".join([*_SHARED, _MODEL, *(_OWN[name] for name in own)])


_NOW: Final = f"{begun(f'$__fromTime_ms - {LONGEST}', '$__toTime_ms')} AND $__timeFilter_ms(Ended)"


def _before() -> str:
    end = "$__fromTime_ms"
    start = f"fromUnixTimestamp64Milli(2 * toUnixTimestamp64Milli({end}) - toUnixTimestamp64Milli($__toTime_ms))"
    return f"{begun(f'{start} - {LONGEST}', end)} AND Ended >= {start} AND Ended < {end}"


def calls(select: str, shape: Shape = Shape.TABLE, *, own: Iterable[str] = (), more: str = "") -> Sql:
    """A statement that reads from `calls`: those of the time and of the variables of the dashboard.

    `own` are the variables of `_OWN` that the dashboard has beside the shared ones; `more` are further tables, as they
    stand in a WITH clause. Columns: those of `llm_requests`, and `_COLUMNS`.
    """
    return _with([("calls", _NOW, own)], select, shape, more)


def compared(select: str, shape: Shape = Shape.TABLE, *, own: Iterable[str] = (), more: str = "") -> Sql:
    """As `calls`, with `earlier` beside it: the calls of as long a time just before."""
    own = tuple(own)
    tables = [("calls", _NOW, own), ("earlier", _before(), own)]
    return _with(tables, select, shape, more)


def against(value: str, name: str, *, own: Iterable[str] = ()) -> Sql:
    """`value`, an expression over calls, as `name`, and as `change` by how much it is more or less than before."""
    change = f"{name} / nullIf((SELECT {value} FROM earlier), 0) - 1 AS change"
    return compared(f"SELECT {value} AS {name}, {change} FROM calls", own=own)


def beside(select: str, shape: Shape = Shape.TABLE) -> Sql:
    """A statement that reads from `both`: the calls of the time, and those of the same time `offset` days before.

    `offset` is a variable of the dashboard. Columns: `At`, when a call ended, of earlier ones so many days later;
    `Now`, which tells the two apart; and the few of `calls` that are named here. `BIN` as in `series`.
    """
    days = f"toIntervalDay(toUInt16OrZero({typed('offset')}))"
    start, end = (f"({moment} - {days})" for moment in ("$__fromTime_ms", "$__toTime_ms"))
    tables: list[tuple[str, str, Iterable[str]]] = [
        ("calls", _NOW, ()),
        ("earlier", f"{begun(f'{start} - {LONGEST}', end)} AND Ended >= {start} AND Ended <= {end}", ()),
    ]
    columns = "Failed, Seconds, TtftSeconds, CostUsd, Tokens, UserId, SessionId"
    both = " UNION ALL ".join(
        f"SELECT {at} AS At, {now} AS Now, {columns} FROM {source}"
        for source, at, now in (("calls", "Ended", "true"), ("earlier", f"Ended + {days}", "false"))
    )
    return _with(tables, select.replace("BIN", "$__timeInterval(At)"), shape, f"both AS ({both})")


def recent(select: str, since: str, shape: Shape = Shape.TABLE, *, own: Iterable[str] = (), more: str = "") -> Sql:
    """As `calls`, of those from `since` (SQL, a DateTime64) to the end of the time of the dashboard."""
    time = f"{begun(f'{since} - {LONGEST}', '$__toTime_ms')} AND Ended >= {since} AND Ended <= $__toTime_ms"
    return _with([("calls", time, own)], select, shape, more)


def _with(tables: Iterable[tuple[str, str, Iterable[str]]], select: str, shape: Shape, more: str) -> Sql:
    parts = [
        f"{name} AS (\n    SELECT {_COLUMNS}\n    FROM llm_requests\n    WHERE {time}\n        AND {_where(own)}\n)"
        for name, time, own in tables
    ]
    parts += [more.strip()] if more else []
    return Sql(f"WITH {', '.join(parts)}\n{select.strip()}", shape)


def series(select: str, *, own: Iterable[str] = (), more: str = "") -> Sql:
    """As `calls`, for lines and bars over time: `select` has `BIN` where the time is, which it must name `time`."""
    asked = calls(select.replace("BIN", "$__timeInterval(Ended)"), Shape.SERIES, own=own, more=more)
    shown, by_one = _SHOWN.search(select), _BY_ONE.search(select)
    if shown and by_one and shown[1].count(" AS ") == _COLUMNS_OF_NAMED:
        return replace(asked, named_by=by_one[1])
    return asked


_SHOWN: Final = re.compile(r"SELECT (BIN AS time.*?)\sFROM\s", re.DOTALL)
_BY_ONE: Final = re.compile(r"GROUP BY time, (\w+)")
_COLUMNS_OF_NAMED: Final = 3
"""Time, name and number."""


_HOURLY: Final = """hours AS (
    SELECT Hour, Project, Environment, Service, Operation, Provider, Model, ErrorType,
        Requests, Priced, Unpriced, CostUsd, InputTokens, OutputTokens, CacheReadTokens, CacheWriteTokens,
        ReasoningTokens, Users
    FROM llm_requests_hourly FINAL
    WHERE Hour >= toStartOfHour({since}) AND Hour <= $__toTime
        AND {filters}
    UNION ALL
    SELECT toDateTime(toStartOfHour(Timestamp, 'UTC'), 'UTC'), Project, Environment, Service, Operation, Provider,
        {model}, ErrorType, 1, CostUsd IS NOT NULL, CostUsd IS NULL AND PricingStatus != 'failed',
        toDecimal128(ifNull(CostUsd, 0), 12), ifNull(InputTokens, 0), ifNull(OutputTokens, 0),
        ifNull(CacheReadTokens, 0), ifNull(CacheWriteTokens, 0), ifNull(ReasoningTokens, 0),
        arrayReduce('uniqCombined64State(12)', if(UserId = '', emptyArrayString(), [UserId]))
    FROM llm_requests
    WHERE {hour} >= greatest(toStartOfHour({since}), filled_until) AND Timestamp <= $__toTime_ms
        AND {filters_of_calls}
)"""
"""Calls by the hour of their start: the sums the backend made of hours that have ended, and the calls since."""


def hourly(select: str, shape: Shape = Shape.TABLE, *, since: str = "$__fromTime") -> Sql:
    """A statement that reads from `hours`, for panels about days and months: sums by hour, whole hours only.

    Columns: those of `llm_requests_hourly` up to `ReasoningTokens`, and `Users`. The shared filters hold, no others.
    From `since` (SQL, a DateTime) on, to the end of the time of the dashboard.
    """
    text = _HOURLY.format(
        filters="\n        AND ".join([*_SHARED, chosen("Model", "model")]),
        filters_of_calls="\n        AND ".join([*_SHARED, _MODEL]),
        model=MODEL,
        hour=_HOUR,
        since=since,
    )
    filled = "(SELECT max(Hour) + INTERVAL 1 HOUR FROM llm_requests_hourly) AS filled_until"
    return Sql(f"WITH {filled}, {text}\n{select.strip()}", shape)


_WIDE: Final = " AND ".join(_all("0 = 1", name) for name in ("provider", "operation", "model"))
"""SQL: whether no call is left out for its provider, operation or model, which days of users do not tell apart."""
_USER_DAYS: Final = """user_days AS (
    SELECT Day, UserId, First, Last, Requests, CostUsd
    FROM llm_users_daily FINAL
    WHERE Day >= {first_day} AND Day <= toDate($__toTime, 'UTC') AND UserId != ''
        AND Last >= {since} AND First <= $__toTime_ms AND NOT ({cut_days}) AND {wide}
        AND {filters}
    UNION ALL
    SELECT toDate(Timestamp, 'UTC'), UserId, {ended} AS Ended, Ended, 1, toDecimal128(ifNull(CostUsd, 0), 12)
    FROM llm_requests
    WHERE {begun} AND Ended >= {since} AND Ended <= $__toTime_ms AND UserId != ''
        AND (NOT ({wide}) OR {hour} >= filled_until OR {cut_calls})
        AND {filters_of_calls}
)"""
"""What users did on the days (UTC) on which their calls began: the sums the backend made of days that have ended, and
of other days a row for each call."""


def _day(moment: str) -> str:
    """SQL: the day of a DateTime64. What is before 1970 is 1970, of which `toDate` alone would make a day in 2149."""
    return f"toDate(toStartOfDay({moment}, 'UTC'), 'UTC')"


def by_user(select: str, since: str, shape: Shape = Shape.TABLE, *, cuts: Iterable[str] = (), more: str = "") -> Sql:
    """A statement that reads from `user_days`, for panels about users over weeks. Calls without a user are not in it.

    Columns: `Day`, `UserId`, `First` and `Last` (when the first and the last call of these ended), `Requests` and
    `CostUsd`. It has what ended from `since` on, to the end of the time of the dashboard; a day in which one of these
    two or of `cuts` is (all SQL, DateTime64) may have more on their other side. Of days with a cut there is a row for
    each call, with which `Requests` and `CostUsd` of either side of it are exact. The shared filters hold, no others.
    """
    bounds = [(f"{cut} - {LONGEST}", cut) for cut in cuts]
    days = [f"Day BETWEEN {_day(first)} AND {_day(last)}" for first, last in bounds]
    hours = [
        f"({_HOUR} >= toStartOfDay({first}, 'UTC') AND {_HOUR} < toStartOfDay({last}, 'UTC') + INTERVAL 1 DAY)"
        for first, last in bounds
    ]
    environment, service, _, _, project = _SHARED
    text = _USER_DAYS.format(
        since=since,
        first_day=_day(f"{since} - {LONGEST}"),
        wide=_WIDE,
        begun=begun(f"{since} - {LONGEST}", "$__toTime_ms"),
        hour=_HOUR,
        ended=_ENDED,
        cut_days=" OR ".join(days) or "false",
        cut_calls=" OR ".join(hours) or "false",
        filters="\n        AND ".join([environment, service, project]),
        filters_of_calls="\n        AND ".join([*_SHARED, _MODEL]),
    )
    filled = "(SELECT toDateTime(max(Day) + 1, 'UTC') FROM llm_users_daily) AS filled_until"
    return Sql(f"WITH {', '.join([filled, text, *filter(None, [more.strip()])])}\n{select.strip()}", shape)


def spans(attribute: str, select: str, shape: Shape = Shape.TABLE) -> Sql:
    """A statement that reads from `spans`: those of model calls in the time shown that have an attribute.

    For what calls do not have as a column. It reads all attributes of the spans of the time: for sections that are
    opened on demand. Columns: those of `otel_traces`, `Ended`, `Provider`, `Model` and `Told`, the attribute as text.
    Filters: environment, service, provider and model.
    """
    provider, model = "SpanAttributes['gen_ai.provider.name']", "SpanAttributes['gen_ai.request.model']"
    environment = "ResourceAttributes['deployment.environment.name']"
    where = "\n        AND ".join(
        [
            f"Timestamp >= $__fromTime_ms - {LONGEST} AND Timestamp <= $__toTime_ms AND $__timeFilter_ms(Ended)",
            f"mapContains(SpanAttributes, '{attribute}')",
            chosen(environment, "env"),
            chosen("ServiceName", "service"),
            chosen(provider, "provider"),
            chosen(model, "model"),
        ]
    )
    columns = f"""*,
        Timestamp + toIntervalNanosecond(Duration) AS Ended,
        {provider} AS Provider,
        {model} AS Model,
        SpanAttributes['{attribute}'] AS Told"""
    text = f"WITH spans AS (\n    SELECT {columns}\n    FROM otel_traces\n    WHERE {where}\n)\n{select.strip()}"
    return Sql(text.replace("BIN", "$__timeInterval(Ended)") if shape is Shape.SERIES else text, shape)


SELECTOR: Final = (
    'job=~"$job", deployment_environment_name=~"$env", service_name=~"$service", gen_ai_provider_name=~"$provider", '
    'gen_ai_request_model=~"$model", gen_ai_operation_name=~"$operation"'
)
"""Labels of the metrics of calls, for the shared variables; `project` is no label."""


def prom(template: str, legend: str = "", **how: bool) -> Prom:
    """An expression; `SEL` in it stands for `SELECTOR`. `how`: see `Prom`."""
    return Prom(template.replace("SEL", SELECTOR), legend, **how)
