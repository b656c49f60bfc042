"""From the parameters of a request, and from who asks, to a condition in SQL. Here projects are kept apart.

Names become columns through the tables below, values only ever reach ClickHouse as parameters: nothing that a client
sends is part of a statement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.access.caller import DEFAULT_PROJECT, Caller
from tokentrail.backend.query import moment
from tokentrail.backend.query.errors import QueryError

MODEL: Final = "if(RequestModel != '', RequestModel, ResponseModel)"
"""The model a call is counted under: as it was asked for, or as it answered where that is all that is known."""

PROJECT: Final = f"if(Project = '', '{DEFAULT_PROJECT}', Project)"
"""The project of a call, as keys name it."""

COLUMNS: Final[Mapping[str, str]] = {
    "user": "UserId",
    "session": "SessionId",
    "session_path": "SessionPath",
    "model": MODEL,
    "provider": "Provider",
    "operation": "Operation",
    "service": "Service",
    "environment": "Environment",
    "project": PROJECT,
}
"""What calls can be filtered and grouped by, and the expression that holds it; `property.<key>` beside them."""

PROPERTY: Final = "property."
STATUSES: Final = ("ok", "error")
FILTERS: Final = (*COLUMNS, "trace_id", "status", "since", "until", f"{PROPERTY}<key>")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in SQL, with the values of its parameters by name."""

    sql: str
    parameters: Mapping[str, object]


def read(params: Mapping[str, str], now_ns: int, caller: Caller) -> Condition:
    """What `params` ask for, all of it at once, of what `caller` may see.

    An empty value asks for calls that have none: `user=` are those without a user. Raises `QueryError` for names that
    are no filter and for values that cannot be read.
    """
    parts, values = _visible(caller)
    for index, (name, value) in enumerate(params.items()):
        part, more = _part(name, value, f"p{index}", now_ns)
        parts.append(part)
        values |= more
    return Condition(" AND ".join(parts) or "true", values)


def _visible(caller: Caller) -> tuple[list[str], dict[str, object]]:
    """The condition that rows of other projects do not meet; it comes first, and none is joined to it but by AND."""
    if caller.project is None:
        return [], {}
    return ["Project = {project:String}"], {"project": caller.project}


def _part(name: str, value: str, slot: str, now_ns: int) -> tuple[str, Mapping[str, object]]:
    """The condition of one parameter; `slot` is its name in the SQL."""
    text = f"{{{slot}:String}}"
    if name.startswith(PROPERTY):
        key = f"{slot}k"
        return f"{property_value(key)} = {text}", {slot: value, key: property_key(name)}
    match name:
        case "model":  # whichever of the two names a person saw
            return f"(RequestModel = {text} OR ResponseModel = {text})", {slot: value}
        case "session_path":
            return _below(value, slot)
        case "trace_id":
            return f"TraceId = lower({text})", {slot: value}
        case "status":
            return _status(value), {}
        case "since":
            return _bound(">=", ">=", slot), {slot: time(name, value, now_ns)}
        case "until":
            return _bound("<", "<=", slot), {slot: time(name, value, now_ns)}
    if column := COLUMNS.get(name):
        return f"{column} = {text}", {slot: value}
    raise QueryError(name, f"unknown parameter {name!r}", FILTERS)


def _bound(of_time: str, of_hour: str, slot: str) -> str:
    """Calls on one side of a moment. By the hour as well, by which they are sorted: by the time alone ClickHouse (26.9)
    reads every part as a whole that has some of them."""
    at, hour = f"fromUnixTimestamp64Nano({{{slot}:Int64}})", "toStartOfHour(Timestamp, 'UTC')"
    return f"(Timestamp {of_time} {at} AND {hour} {of_hour} toStartOfHour({at}, 'UTC'))"


def property_value(slot: str) -> str:
    """The value of the property whose key is parameter `slot`, in whatever case; empty where a call has none.

    Header names lose their case on the way (openai 3 sends them in lower case), so case must not decide.
    """
    same = f"lowerUTF8(key) = lowerUTF8({{{slot}:String}})"
    return f"arrayFirst((value, key) -> {same}, mapValues(Properties), mapKeys(Properties))"


def property_key(name: str) -> str:
    """The key in `property.<key>`. Raises `QueryError` where it is missing."""
    key = name.removeprefix(PROPERTY)
    if not key:
        raise QueryError(name, "the name of a property is missing after 'property.'", (f"{PROPERTY}<key>",))
    return key


def _below(path: str, slot: str) -> tuple[str, Mapping[str, object]]:
    """`path` and what is below it: `/a` has `/a/b`, but not `/ab`."""
    if not path:
        return "SessionPath = ''", {}
    stem = path.rstrip("/")
    below = f"startsWith(SessionPath, {{{slot}b:String}})"
    if not stem:
        return below, {f"{slot}b": "/"}
    return f"(SessionPath = {{{slot}:String}} OR {below})", {slot: stem, f"{slot}b": f"{stem}/"}


def _status(value: str) -> str:
    if value not in STATUSES:
        raise QueryError("status", f"status is {value!r}: expected ok or error", STATUSES)
    return "ErrorType = ''" if value == "ok" else "ErrorType != ''"


def time(name: str, value: str, now_ns: int) -> int:
    """The moment that parameter `name` names, nanoseconds since the epoch. Raises `QueryError`."""
    try:
        # The column ends in 2262; a later bound means the same.
        return min(moment.parse(value, now_ns), 2**63 - 1)
    except (ValueError, OverflowError):
        raise QueryError(
            name, f"{name} is {value!r}: expected a time in ISO 8601, or a span of time before now", moment.EXAMPLES
        ) from None
