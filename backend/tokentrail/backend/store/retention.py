"""How long rows are kept: a TTL for each table, by the class of what is in it. A part of a table is dropped as a whole
when all of it has expired; parts are of a day (content, traces, metrics) or a month (the others).

    content     what people wrote: llm_contents
    traces      spans and log records as they were sent, which may hold content, too: otel_traces, otel_logs
    rows        calls, users by the day, and metrics as they were sent: llm_requests, llm_users_daily, otel_metrics_*
    rollups     calls by the hour, and the record of corrected costs: llm_requests_hourly, cost_corrections

Rows that arrive when they have expired already (imports) are not stored.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from tokentrail.backend.store.cluster import EVERYWHERE, LOCAL

_log = logging.getLogger(__name__)

Execute: TypeAlias = Callable[[str], object]
"""Runs one statement."""
Query: TypeAlias = Callable[[str], Sequence[Mapping[str, object]]]
"""Answers one SELECT."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that each class is kept; 0 for ever."""

    content_days: int = 0
    traces_days: int = 0
    rows_days: int = 0
    rollups_days: int = 0


_TABLES: Final[Mapping[str, tuple[str, str]]] = {
    "llm_contents": ("content_days", "toDateTime(Timestamp)"),
    "otel_traces": ("traces_days", "toDateTime(Timestamp)"),
    "otel_traces_trace_id_ts": ("traces_days", "Start"),
    "otel_logs": ("traces_days", "toDateTime(Timestamp)"),
    "llm_requests": ("rows_days", "toDateTime(Timestamp)"),
    "llm_users_daily": ("rows_days", "toDateTime(Day)"),
    "otel_metrics_gauge": ("rows_days", "toDateTime(TimeUnix)"),
    "otel_metrics_sum": ("rows_days", "toDateTime(TimeUnix)"),
    "otel_metrics_summary": ("rows_days", "toDateTime(TimeUnix)"),
    "otel_metrics_histogram": ("rows_days", "toDateTime(TimeUnix)"),
    "otel_metrics_exponential_histogram": ("rows_days", "toDateTime(TimeUnix)"),
    "llm_requests_hourly": ("rollups_days", "Hour"),
    "cost_corrections": ("rollups_days", "toDateTime(CorrectedAt)"),
}
"""By table: its class, and when a row of it was. The runs of corrections stay: what has no run would be done again."""

_TTL: Final = re.compile(r"\bTTL (.*?)(?: SETTINGS |\Z)", re.DOTALL)
_ENGINES: Final = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase() ORDER BY name"


def changes(query: Query, retention: Retention, *, local: bool = False) -> dict[str, str]:
    """What gives every table the TTL of its class, by table: usually nothing.

    With `local` a node's part of a table has a name of its own (`cluster.py`). Errors of `query` pass through.
    """
    engines = {str(row["name"]): str(row["engine_full"]) for row in query(_ENGINES)}
    statements = {}
    for table, (kept, time) in _TABLES.items():
        engine = engines.get(table + LOCAL if local and table not in EVERYWHERE else table)
        if engine is None:
            continue
        days: int = getattr(retention, kept)
        wanted = f"{time} + toIntervalDay({days})" if days else ""
        match = _TTL.search(engine)
        if (match[1] if match else "") != wanted:
            statements[table] = _statement(table, wanted)
    return statements


def apply(execute: Execute, query: Query, retention: Retention, *, local: bool = False) -> tuple[str, ...]:
    """Make `changes`; the answer names the tables. With `local`, `execute` knows how to change all parts of a table.

    Parts of before get to know their age in the background, which reads times only. Errors of the two callables pass
    through.
    """
    changed = changes(query, retention, local=local)
    for statement in changed.values():
        execute(statement)
    if changed:
        _log.info("what is kept for how long has changed for %s", ", ".join(changed))
    return tuple(changed)


def _statement(table: str, ttl: str) -> str:
    """What changes the TTL of `table`, which comes as the engine writes it, empty for none."""
    if not ttl:
        return f"ALTER TABLE {table} REMOVE TTL"
    # Parts that are there are looked at for their age in the background, not rewritten.
    return (
        f"ALTER TABLE {table} (MODIFY TTL {ttl}), "
        "(MODIFY SETTING ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1)"
    )
