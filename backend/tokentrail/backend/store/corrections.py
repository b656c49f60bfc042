"""Corrections of stored costs: first on record, then in the rows.

    cost_corrections        what is changed, old and new; written and synced before any row changes
    cost_correction_values  the new values of one run, in memory, for the mutation to look up
    llm_requests            changed by a mutation: part by part, each whole or not at all
    llm_requests_hourly     filled again for the hours concerned; llm_users_daily for the days
    cost_correction_runs    the runs whose rows are changed

A run on record that is not in `cost_correction_runs` was interrupted: its mutation is done (again) from the record. A
mutation changes rows only that still have the old cost, so doing it twice does no harm. It fails where the values of
its run are not there to be looked up: one that a crash left behind, when the store is opened, or when another backend
has thrown them away. It is killed then, and done again from the record.

On a cluster a mutation runs on every replica, and each looks up in a table of its own (ClickHouse calls that
nondeterministic, and wants it allowed). Before it starts every node makes that table anew, in one statement, from the
record, which every node has whole; it is emptied when all replicas are done (`mutations_sync = 2`). A replica that has
lost it meanwhile (a restart) fails and tries again, and commits nothing that differs from what the others have. So all
nodes have to be up. Source: https://clickhouse.com/docs/reference/settings/session-settings/allow-nondeterministic and
https://clickhouse.com/docs/sql-reference/statements/alter#synchronicity-of-alter-queries (November 2026).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from operator import attrgetter
from typing import Final, TypeVar

from tokentrail.backend.correction import COST_FIELDS, Correction
from tokentrail.backend.store import native, rollups
from tokentrail.backend.store.cluster import LOCAL
from tokentrail.backend.store.errors import StoreError
from tokentrail.backend.store.lock import Query, Worker
from tokentrail.backend.store.native import Column, column
from tokentrail.backend.store.rows import Block, column_name
from tokentrail.backend.store.values import quoted

_Value = TypeVar("_Value")

_USD: Final = native.decimal(12)
_MONEY_MAP: Final = native.mapping(native.STRING, _USD)
_TEXTS: Final = native.array(native.STRING)

_KEY: Final = "Project, Timestamp, TraceId, SpanId"
_VALUES: Final = tuple(map(column_name, COST_FIELDS))
"""The columns of `llm_requests` that a correction changes."""

EVERYWHERE: Final = ("cost_corrections", "cost_correction_runs", "llm_requests_hourly", "llm_users_daily")
"""What is read to know what to do: on a cluster a node may be behind with it."""
MUTATION_S: Final = 840
"""How long a cluster may take for one mutation, on all its replicas."""

# Names in this package only, as in every statement here; values come as parameters, or quoted where every node of a
# cluster gets the statement.
_KILL: Final = """
KILL MUTATION{on} WHERE database = {database} AND table = '{table}' AND NOT is_done
    AND position(command, 'cost_correction_values') > 0 SYNC
"""
_UNFINISHED: Final = """
SELECT Run, min(CorrectedAt) AS At FROM cost_corrections
WHERE Run NOT IN (SELECT Run FROM cost_correction_runs) GROUP BY Run ORDER BY At, Run
"""
_COPY: Final = f"""
SELECT {_KEY}, Run, OldCostUsd, {", ".join(f"New{name}" for name in _VALUES)}
FROM cost_corrections WHERE Run = {{run}}
UNION ALL
SELECT '', toDateTime64(0, 9), '', Run, Run, OldCostUsd, {", ".join(f"New{name}" for name in _VALUES)}
FROM cost_corrections WHERE Run = {{run}} LIMIT 1
"""  # noqa: S608
"""The values of a run, and a row for the run itself, by which is known that they are there."""
_FILL: Final = f"INSERT INTO cost_correction_values ({_KEY}, Run, OldCostUsd, {', '.join(_VALUES)}){_COPY}"
_FILL_EVERYWHERE: Final = f"""
CREATE OR REPLACE TABLE cost_correction_values{{on}}
(
    Project String,
    Timestamp DateTime64(9),
    TraceId String,
    SpanId String,
    Run String,
    OldCostUsd Nullable(Decimal(18, 12)),
    CostUsd Nullable(Decimal(18, 12)),
    CostComponents Map(String, Decimal(18, 12)),
    CostSource String,
    PricingStatus String,
    PriceVersion String,
    PriceEntry String,
    PricingTier String,
    PricingAssumptions Array(String)
)
ENGINE = Join(ANY, LEFT, {_KEY})
SETTINGS persistent = 0
AS{_COPY}
"""
_PARTITIONS: Final = """
SELECT toString(toYYYYMM(Timestamp, 'UTC')) AS Month, toUnixTimestamp64Nano(min(Timestamp)) AS First,
    toUnixTimestamp64Nano(max(Timestamp)) AS Last
FROM cost_corrections WHERE Run = {run:String} GROUP BY Month ORDER BY Month
"""
_UPDATE: Final = """
ALTER TABLE {table}{on} UPDATE {sets} IN PARTITION ID '{month}'
WHERE throwIf({marked} != {run}, 'the values of this correction are not here') = 0
    AND Timestamp >= fromUnixTimestamp64Nano({first}) AND Timestamp <= fromUnixTimestamp64Nano({last})
    AND {run_of_row} = {run} AND ifNull(CostUsd, -1) = ifNull({old}, -1)
SETTINGS mutations_sync = 2{more}
"""
_ON_REPLICAS: Final = f", allow_nondeterministic_mutations = 1, distributed_ddl_task_timeout = {MUTATION_S}"
_FINISH: Final = """
INSERT INTO cost_correction_runs
SELECT any(CorrectedAt), Run, min(Timestamp), max(Timestamp), count(), sum(ifNull(OldCostUsd, 0)), sum(NewCostUsd)
FROM cost_corrections WHERE Run = {run:String} GROUP BY Run
"""


def encode_corrections(corrections: Sequence[Correction], run: str, at_ns: int) -> Block:
    """`corrections` for `cost_corrections`, as those of `run` made at `at_ns`."""
    columns: tuple[Column[Correction], ...] = (
        column("CorrectedAt", native.MILLISECONDS, lambda each: at_ns // 1_000_000),
        column("Run", native.STRING, lambda each: run),
        *_COLUMNS,
    )
    names, types = tuple(each.name for each in columns), tuple(each.type_name for each in columns)
    return Block("cost_corrections", names, types, native.encode_block(columns, corrections))


def unfinished(query: Query) -> list[str]:
    """The runs on record whose rows may not be changed yet, in their order."""
    return [str(row["Run"]) for row in query(_UNFINISHED)]


def apply(worker: Worker, run: str) -> None:
    """Change the rows of `run`, which is on record; does nothing twice. Errors of the worker pass through.

    One at a time. When it fails the run stays unfinished, and nothing of it goes on in the background.
    """
    table = f"llm_requests{LOCAL}" if worker.cluster else "llm_requests"
    kill = _KILL.format(on=worker.on, database=quoted(worker.database), table=table)
    empty = f"TRUNCATE TABLE cost_correction_values{worker.on}"
    try:
        worker.execute(kill, {})  # none is ours to wait for: whatever is unfinished is done again from the record
        if worker.cluster:
            worker.execute(_FILL_EVERYWHERE.format(on=worker.on, run=quoted(run)), {})
        else:
            worker.execute(empty, {})
            worker.execute(_FILL.format(run=quoted(run)), {})
        for part in worker.query(_PARTITIONS, {"run": run}):
            worker.execute(_update(worker, table, run, part), {})
        rollups.fill_corrected(worker.execute, worker.query, run)
        worker.execute(_FINISH, {"run": run})
    except BaseException:
        with suppress(StoreError):
            worker.execute(kill, {})  # or it would be tried for ever, and again at each start
        raise
    with suppress(StoreError):  # it is done; what stays in memory the next one replaces
        worker.execute(empty, {})


def _update(worker: Worker, table: str, run: str, part: Mapping[str, object]) -> str:
    """The mutation. It runs without a current database, so that the one it looks up in must be named."""
    values = quoted(f"{worker.database}.cost_correction_values")

    def look_up(name: str, key: str = _KEY) -> str:
        return f"joinGet({values}, '{name}', {key})"

    return _UPDATE.format(
        table=table,
        on=worker.on,
        sets=", ".join(f"{name} = {look_up(name)}" for name in _VALUES),
        month=part["Month"],
        first=part["First"],
        last=part["Last"],
        run=quoted(run),
        marked=look_up("Run", f"'', toDateTime64(0, 9), '', {quoted(run)}"),
        run_of_row=look_up("Run"),
        old=look_up("OldCostUsd"),
        more=_ON_REPLICAS if worker.cluster else "",
    )


def _of(which: str, field: str, kind: native.Type[_Value]) -> Column[Correction]:
    """The column of a field of the `old` or the `new` row."""
    return column(f"{which.capitalize()}{column_name(field)}", kind, attrgetter(f"{which}.{field}"))


def _costs(which: str) -> tuple[Column[Correction], ...]:
    return (
        _of(which, "cost_usd", native.nullable(_USD, Decimal())),
        _of(which, "cost_components", _MONEY_MAP),
        *(_of(which, field, native.STRING) for field in ("cost_source", "pricing_status", "price_version")),
        *(_of(which, field, native.STRING) for field in ("price_entry", "pricing_tier")),
        _of(which, "pricing_assumptions", _TEXTS),
    )


_COLUMNS: Final = (
    column("Project", native.STRING, lambda each: each.old.project),
    column("Timestamp", native.NANOSECONDS, lambda each: each.old.time_ns),
    column("TraceId", native.STRING, lambda each: each.old.trace_id),
    column("SpanId", native.STRING, lambda each: each.old.span_id),
    *_costs("old"),
    *_costs("new"),
)
