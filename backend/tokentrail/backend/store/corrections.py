"""Corrections of stored costs: first on record, then in the rows.

    cost_corrections        what is changed, old and new; written and synced before any row changes
    cost_correction_values  the new values of one run, in memory, for the mutation to look up
    llm_requests            changed by a mutation: part by part, each whole or not at all
    llm_requests_hourly     filled again for the hours concerned
    cost_correction_runs    the runs whose rows are changed

A run on record that is not in `cost_correction_runs` was interrupted: its mutation is done (again) from the record. A
mutation changes rows only that still have the old cost, so doing it twice does no harm. One that a crash left behind
goes on by itself when the store is opened, and finds no values to look up, hence nothing to change.

This is for a table without replicas: each of them would look up in a table of its own, which ClickHouse allows only
with `allow_nondeterministic_mutations`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from operator import attrgetter
from typing import Final, Protocol, TypeAlias, TypeVar

from tokentrail.backend.correction import COST_FIELDS, Correction
from tokentrail.backend.store import native, rollups
from tokentrail.backend.store.errors import StoreError
from tokentrail.backend.store.native import Column, column
from tokentrail.backend.store.rows import Block, column_name

Execute: TypeAlias = Callable[[str, Mapping[str, object]], object]
"""Runs one statement with parameters."""


class Query(Protocol):
    """Answers one SELECT with parameters."""

    def __call__(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        """Its rows."""


_Value = TypeVar("_Value")

_USD: Final = native.decimal(12)
_MONEY_MAP: Final = native.mapping(native.STRING, _USD)
_TEXTS: Final = native.array(native.STRING)

_KEY: Final = "Project, Timestamp, TraceId, SpanId"
_VALUES: Final = tuple(map(column_name, COST_FIELDS))
"""The columns of `llm_requests` that a correction changes."""

_KILL: Final = """
KILL MUTATION WHERE database = currentDatabase() AND table = 'llm_requests' AND NOT is_done
    AND position(command, 'cost_correction_values') > 0 SYNC
"""
_UNFINISHED: Final = """
SELECT Run, min(CorrectedAt) AS At FROM cost_corrections
WHERE Run NOT IN (SELECT Run FROM cost_correction_runs) GROUP BY Run ORDER BY At, Run
"""
# Names in this package only, as in every statement here; values come as parameters.
_FILL: Final = f"""
INSERT INTO cost_correction_values ({_KEY}, Run, OldCostUsd, {", ".join(_VALUES)})
SELECT {_KEY}, Run, OldCostUsd, {", ".join(f"New{name}" for name in _VALUES)}
FROM cost_corrections WHERE Run = {{run:String}}
"""  # noqa: S608
_PARTITIONS: Final = """
SELECT toString(toYYYYMM(Timestamp, 'UTC')) AS Month, toUnixTimestamp64Nano(min(Timestamp)) AS First,
    toUnixTimestamp64Nano(max(Timestamp)) AS Last
FROM cost_corrections WHERE Run = {run:String} GROUP BY Month ORDER BY Month
"""
_UPDATE: Final = """
ALTER TABLE llm_requests UPDATE {sets} IN PARTITION ID {{month:String}}
WHERE Timestamp >= fromUnixTimestamp64Nano({{first:Int64}}) AND Timestamp <= fromUnixTimestamp64Nano({{last:Int64}})
    AND {run} = {{run:String}} AND ifNull(CostUsd, -1) = ifNull({old}, -1)
SETTINGS mutations_sync = 1
"""
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


def apply(execute: Execute, query: Query, run: str) -> None:
    """Change the rows of `run`, which is on record; does nothing twice. Errors of the two callables pass through.

    One at a time. When it fails the run stays unfinished, and nothing of it goes on in the background.
    """
    (database,) = query("SELECT currentDatabase() AS Name")
    update = _update(str(database["Name"]))
    try:
        execute(_KILL, {})  # none is ours to wait for: whatever is unfinished is done again from the record
        execute("TRUNCATE TABLE cost_correction_values", {})
        execute(_FILL, {"run": run})
        for part in query(_PARTITIONS, {"run": run}):
            bounds = {"month": part["Month"], "first": part["First"], "last": part["Last"]}
            execute(update, {"run": run, **bounds})
        rollups.fill_corrected(execute, query, run)
        execute(_FINISH, {"run": run})
        execute("TRUNCATE TABLE cost_correction_values", {})
    except BaseException:
        with suppress(StoreError):
            execute(_KILL, {})  # or it would be tried for ever, and again at each start
        raise


def _update(database: str) -> str:
    """The mutation. It runs without a current database, so that the one it looks up in must be named."""
    table = f"{database}.cost_correction_values".replace("\\", "\\\\").replace("'", "\\'")

    def look_up(name: str) -> str:
        return f"joinGet('{table}', '{name}', {_KEY})"

    sets = ", ".join(f"{name} = {look_up(name)}" for name in _VALUES)
    return _UPDATE.format(sets=sets, run=look_up("Run"), old=look_up("OldCostUsd"))


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
