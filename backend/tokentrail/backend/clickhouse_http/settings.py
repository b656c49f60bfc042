"""Settings of the engine that a statement may have: which, and within which bounds.

Those of a URL that are not here are ignored: clients send some with every request. In a statement, where somebody wrote
them, they are refused.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.clickhouse_http.errors import BAD_ARGUMENTS, UNKNOWN_SETTING, RefusedError
from tokentrail.backend.clickhouse_http.lexemes import Setting, quote, read_map
from tokentrail.backend.clickhouse_http.limits import SqlLimits

FILTERS: Final = "additional_table_filters"
MAX_THREADS: Final = 4
DEFAULT_THREADS: Final = 2

_MAX_NUMBER: Final = 10**18
_ZONE: Final = re.compile(r"[A-Za-z0-9_+/-]{1,64}", re.ASCII)
_FLAGS: Final = frozenset(
    {
        *("join_use_nulls", "final", "extremes", "group_by_use_nulls", "output_format_json_quote_64bit_integers"),
        *("output_format_json_quote_64bit_floats", "output_format_json_quote_denormals"),
        *("output_format_json_quote_decimals", "output_format_json_named_tuples_as_objects"),
        *("allow_experimental_analyzer", "enable_analyzer"),
    }
)
_IGNORED: Final = frozenset({"allow_experimental_analyzer", "enable_analyzer"})
"""On for good in this engine, and sent by Grafana's plugin in statements of some of its macros."""
_WORDS: Final[Mapping[str, frozenset[str]]] = {
    "date_time_output_format": frozenset({"simple", "iso", "unix_timestamp"}),
    "result_overflow_mode": frozenset({"throw", "break"}),
}
_NUMBERS: Final = frozenset({"limit", "offset"})
_LIMITED: Final = frozenset(
    {"max_execution_time", "max_memory_usage", "max_result_rows", "max_result_bytes", "max_threads"}
)
# Not among them: max_rows_to_read, whose error tells how many rows there are, of all projects.
ALLOWED: Final = frozenset({FILTERS, "session_timezone", *(_FLAGS | _NUMBERS | _LIMITED), *_WORDS})
"""All of them."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is set for a statement."""

    values: Mapping[str, str]
    """Literals by name."""
    filters: Mapping[str, str]
    """The client's own conditions, by table."""


def choose(url: Mapping[str, str], statement: Mapping[str, Setting], limits: SqlLimits) -> Chosen:
    """The settings of a request: those of the `statement` go before those of the `url`. Raises `RefusedError`."""
    for name in statement:
        if name not in ALLOWED:
            raise RefusedError(
                f"the setting {name[:80]} cannot be set here; those that can are {', '.join(sorted(ALLOWED))}",
                UNKNOWN_SETTING,
            )
    asked: dict[str, Setting] = {name: value for name, value in url.items() if name in ALLOWED}
    asked.update(statement)
    filters = asked.pop(FILTERS, {})
    values = _defaults(limits)
    for name, value in asked.items():
        if name not in _IGNORED:
            values[name] = _literal(name, value, limits)
    return Chosen(values, read_map(filters) if isinstance(filters, str) else filters)


def _defaults(limits: SqlLimits) -> dict[str, str]:
    return {
        "max_execution_time": str(limits.default_time_s),
        "max_memory_usage": str(limits.max_memory_bytes),
        "max_result_rows": str(limits.max_result_rows),
        "max_result_bytes": str(limits.max_result_bytes),
        "max_threads": str(DEFAULT_THREADS),
    }


def _literal(name: str, value: Setting, limits: SqlLimits) -> str:
    if not isinstance(value, str):
        raise RefusedError(f"the setting {name} is no map", BAD_ARGUMENTS)
    for names, read in _READERS:
        if name in names:
            return read(name, value, limits)
    raise AssertionError(name)


def _flag(name: str, value: str, _limits: SqlLimits) -> str:
    flags = {"0": "0", "1": "1", "false": "0", "true": "1"}
    if value.lower() not in flags:
        raise RefusedError(f"the setting {name} is {value[:40]!r}: expected 0 or 1", BAD_ARGUMENTS)
    return flags[value.lower()]


def _word(name: str, value: str, _limits: SqlLimits) -> str:
    if value not in _WORDS[name]:
        expected = ", ".join(sorted(_WORDS[name]))
        raise RefusedError(f"the setting {name} is {value[:40]!r}: expected one of {expected}", BAD_ARGUMENTS)
    return quote(value)


def _zone(name: str, value: str, _limits: SqlLimits) -> str:
    if not _ZONE.fullmatch(value):
        raise RefusedError(f"the setting {name} is {value[:40]!r}: expected a time zone", BAD_ARGUMENTS)
    return quote(value)


def _number(name: str, value: str, _limits: SqlLimits) -> str:
    return str(min(_whole(name, value), _MAX_NUMBER))


def _limited(name: str, value: str, limits: SqlLimits) -> str:
    """At most the limit; 0, which would mean none, is the limit as well."""
    most = {
        "max_execution_time": limits.max_time_s,
        "max_memory_usage": limits.max_memory_bytes,
        "max_result_rows": limits.max_result_rows,
        "max_result_bytes": limits.max_result_bytes,
        "max_threads": MAX_THREADS,
    }[name]
    return str(min(_whole(name, value) or most, most))


def _whole(name: str, value: str) -> int:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise RefusedError(f"the setting {name} is {value[:40]!r}: expected a number of at least 0", BAD_ARGUMENTS)
    return math.ceil(number)


_READERS: Final[tuple[tuple[frozenset[str], Callable[[str, str, SqlLimits], str]], ...]] = (
    (_FLAGS, _flag),
    (frozenset(_WORDS), _word),
    (frozenset({"session_timezone"}), _zone),
    (_NUMBERS, _number),
    (_LIMITED, _limited),
)
