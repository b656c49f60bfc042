"""What people wrote in calls, which is stored apart from the calls, in `llm_contents`, and for a shorter time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tokentrail.backend.query.filter import PROJECT
from tokentrail.backend.query.record import CONTENT
from tokentrail.backend.store.rows import column_name

Query = Callable[[str, Mapping[str, object]], Sequence[Mapping[str, object]]]
"""`Store.query`."""

_CALLS: Final = 1000
"""Calls that are looked up at once."""
_IDS: Final = ("project", "trace_id", "span_id")
_NONE: Final[Mapping[str, object]] = dict.fromkeys(CONTENT, "")
# Names in this package only; values come as parameters.
_FIND: Final = f"""
SELECT {PROJECT} AS project, TraceId AS trace_id, SpanId AS span_id,
    {", ".join(f"{column_name(field)} AS {field}" for field in CONTENT)}
FROM llm_contents
WHERE Timestamp >= fromUnixTimestamp64Nano({{first:Int64}}) AND Timestamp <= fromUnixTimestamp64Nano({{last:Int64}})
    AND TraceId IN {{traces:Array(String)}} AND has({{spans:Array(String)}}, SpanId)
"""  # noqa: S608


def with_stored_content(rows: Sequence[Mapping[str, object]], query: Query) -> list[Mapping[str, object]]:
    """`rows` of `sql.requests` with the content that is stored for them, in their order; empty where none is.

    Raises what `query` raises.
    """
    found: dict[tuple[object, ...], Mapping[str, object]] = {}
    for start in range(0, len(rows), _CALLS):
        for each in query(_FIND, _wanted(rows[start : start + _CALLS])):
            found[_key(each)] = {name: each[name] for name in CONTENT}
    return [{**row, **found.get(_key(row), _NONE)} for row in rows]


def _wanted(rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    times = [int(str(row["time_ns"])) for row in rows]
    return {
        "first": min(times),
        "last": max(times),
        "traces": sorted({str(row["trace_id"]) for row in rows}),
        "spans": sorted({str(row["span_id"]) for row in rows}),
    }


def _key(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in _IDS)
