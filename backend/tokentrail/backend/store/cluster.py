"""The statements of the migrations, rewritten for a cluster.

    CREATE TABLE t              t_local on every node, Replicated*MergeTree, and t, Distributed over them
    ALTER TABLE t               t_local altered, and t made anew, which holds nothing itself
    CREATE MATERIALIZED VIEW    on every node, from local table to local table

Spans and calls are spread by trace, logs and metrics by request, so that all of one is on one shard. Small tables of
which every node needs the whole (`EVERYWHERE`) are replicated over all shards and keep their name. Everything else is
left as the SQL files have it. Paths in Keeper are made of the macros `shard` and `replica`, which the servers of a
cluster have in their configuration. Source: https://clickhouse.com/docs/engines/table-engines/special/distributed and
https://clickhouse.com/docs/engines/table-engines/mergetree-family/replication (November 2026).
"""

import re
from typing import Final

EVERYWHERE: Final = frozenset(
    {
        "schema_migrations",
        "metric_snapshots",
        "cost_corrections",
        "cost_correction_runs",
        "llm_requests_hourly",
        "llm_users_daily",
    }
)
"""Tables that are small, and whole on every node."""
BY_TRACE: Final = frozenset({"otel_traces", "otel_traces_trace_id_ts", "llm_requests", "llm_contents"})
"""Tables whose rows are spread by trace."""
BY_REQUEST: Final = re.compile(r"otel_logs|otel_metrics_\w+")
"""Tables whose rows are spread by the request they came in: what a request has for a day is committed whole."""
LOCAL: Final = "_local"
"""Ends the name of the part of a table that a node holds."""

_CREATE: Final = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\b(.*)\Z", re.DOTALL)
_VIEW: Final = re.compile(r"CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+) TO (\w+)\b(.*)\Z", re.DOTALL)
_ALTER: Final = re.compile(r"ALTER TABLE (\w+)\b(.*)\Z", re.DOTALL)
_DROP: Final = re.compile(r"DROP (TABLE|VIEW) IF EXISTS (\w+)\s*\Z")
_ENGINE: Final = re.compile(r"\bENGINE = (\w*)MergeTree\b(?:\(([^()]*)\))?")
_JOIN_ENGINE: Final = re.compile(r"\bENGINE = (?:Join|Memory|Null)\b")
_SOURCE: Final = re.compile(r"\b(FROM|JOIN) (?!system\.)([a-z]\w*)\b(?!\s*\()")


def distribute(statement: str, cluster: str) -> tuple[str, ...]:
    """What does for the cluster what `statement` of a migration does for one server, in order.

    Each bears to be run again. Raises `ValueError` for a kind of statement that is not known here.
    """
    on = f"ON CLUSTER `{cluster}`"
    if match := _CREATE.match(statement):
        return _create(match[1], match[2], cluster, on)
    if match := _VIEW.match(statement):
        select = _SOURCE.sub(lambda source: f"{source[1]} {_held(source[2])}", match[3])
        return (f"CREATE MATERIALIZED VIEW IF NOT EXISTS {match[1]} {on} TO {_held(match[2])}{select}",)
    if match := _ALTER.match(statement):
        altered = f"ALTER TABLE {_held(match[1])} {on}{match[2]}"
        # The key by which rows are spread does not change, and the engine takes it only when the table is made.
        return (altered,) if match[1] in EVERYWHERE else (altered, _distributed(match[1], cluster, on))
    if match := _DROP.match(statement):
        names = dict.fromkeys((match[2], _held(match[2]))) if match[1] == "TABLE" else (match[2],)
        return tuple(f"DROP {match[1]} IF EXISTS {name} {on} SYNC" for name in names)
    raise ValueError(f"a migration has a statement that cannot be made for a cluster: {statement[:60]!r}")


def _create(table: str, rest: str, cluster: str, on: str) -> tuple[str, ...]:
    if _JOIN_ENGINE.search(rest):
        return (f"CREATE TABLE IF NOT EXISTS {table} {on}{rest}",)
    replicated, count = _ENGINE.subn(lambda match: _replicated(table, match), rest, count=1)
    if not count:
        raise ValueError(f"the table {table} has no engine that can be replicated")
    local = f"CREATE TABLE IF NOT EXISTS {_held(table)} {on}{replicated}"
    if table in EVERYWHERE:
        return (local,)
    return local, _distributed(table, cluster, on)


def _replicated(table: str, match: re.Match[str]) -> str:
    """The replicated engine. Named paths, so that a node that joins later finds the others of its shard."""
    if table in EVERYWHERE:
        place = "'/clickhouse/tables/all/{database}/{table}', '{shard}-{replica}'"
    else:
        place = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
    arguments = f", {match[2]}" if match[2] else ""
    return f"ENGINE = Replicated{match[1]}MergeTree({place}{arguments})"


def _distributed(table: str, cluster: str, on: str) -> str:
    """The table over the local ones: made anew, for it may have other columns by now."""
    return (
        f"CREATE OR REPLACE TABLE {table} {on} AS {_held(table)} "
        f"ENGINE = Distributed('{cluster}', currentDatabase(), '{_held(table)}', {_key(table)})"
    )


def _key(table: str) -> str:
    """What rows are spread by. Raises `ValueError` for a table of which that is not known."""
    if table in BY_TRACE:
        return "cityHash64(TraceId)"
    if BY_REQUEST.fullmatch(table):
        return "cityHash64(RequestDigest)"
    raise ValueError(f"what the rows of {table} are spread by is not known")


def _held(table: str) -> str:
    """The table in which a node holds its part."""
    return table if table in EVERYWHERE else table + LOCAL
