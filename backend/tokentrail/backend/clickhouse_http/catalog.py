"""What the engine has: functions, databases, tables and columns, and which of them can be asked for here.

Everything is what the engine itself says, and what is not known to be harmless is refused: a function of a new kind, a
new table of the engine or a new column of one is not there before it was thought about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tokentrail.backend.clickhouse_http.errors import UNKNOWN_FUNCTION, RefusedError

DATABASE: Final = "default"
"""Of the product's tables."""
SYSTEM: Final = "system"

_KINDS: Final = frozenset(
    {
        *("Aggregate Functions", "Arithmetic", "Arrays", "Bit", "Bitmap", "Comparison", "Conditional"),
        *("Dates and Times", "Distance", "Encoding", "Financial", "Geo", "Geo Polygon", "Hash", "IP Address", "JSON"),
        *("Logical", "Map", "Mathematical", "Null", "NumericIndexedVector", "Random Number", "Rounding", "String"),
        *("String Replacement", "String Search", "String Splitting", "Time Window", "Tuple", "Type Conversion", "URL"),
        "UUID",
    }
)
"""Kinds of functions that make values of values, by the engine's categories. Not among them: dictionaries, machine
learning and AI, encryption, introspection and internal ones."""
_OTHERS: Final = frozenset(
    {
        *("bar", "blockNumber", "byteSize", "caseWithExpression", "countDigits", "currentDatabase", "currentUser"),
        *("defaultValueOfArgumentType", "defaultValueOfTypeName", "digits", "displayName", "errorCodeToName"),
        *("finalizeAggregation", "formatReadableDecimalSize", "formatReadableQuantity", "formatReadableSize"),
        *("formatReadableTimeDelta", "identity", "ignore", "initializeAggregation", "isConstant", "isDecimalOverflow"),
        *("materialize", "neighbor", "normalizeQuery", "normalizedQueryHash", "parseReadableSize"),
        *("parseReadableSizeOrNull", "parseReadableSizeOrZero", "parseTimeDelta", "revision", "rowNumberInAllBlocks"),
        *("rowNumberInBlock", "runningAccumulate", "runningDifference", "throwIf", "toColumnTypeName", "toTypeName"),
        *("transform", "variantElement", "variantType", "version", "visibleWidth", "_CAST"),
    }
)
"""Harmless ones of the categories that are not allowed as a whole."""
_SYNTAX: Final = frozenset({"lambda", "exists", "grouping", "untuple"})
"""What the parser makes functions of and the engine does not list."""
TABLE_FUNCTIONS: Final = frozenset(
    {"numbers", "numbers_mt", "zeros", "zeros_mt", "generateseries", "generate_series", "values"}
)
"""Functions that stand for a table, in small letters: those that make rows of nothing."""

_SYSTEM_TABLES: Final = frozenset(
    {
        *("aggregate_function_combinators", "columns", "databases", "data_type_families", "formats", "functions"),
        *("numbers", "numbers_mt", "one", "settings", "table_functions", "tables", "time_zones", "zeros", "zeros_mt"),
    }
)
_SYSTEM_TABLES_FOR_ALL: Final = frozenset({"parts"})
"""Of these every row tells of all projects."""
_TABLES_FOR_ALL: Final = frozenset({"schema_migrations", "cost_correction_runs"})
"""Tables of the product that have no project."""
_SHOWN: Final[Mapping[str, frozenset[str]]] = {
    "tables": frozenset(
        {
            *("database", "name", "engine", "is_temporary", "create_table_query", "engine_full", "as_select"),
            *("partition_key", "sorting_key", "primary_key", "sampling_key", "comment", "has_own_data"),
        }
    ),
    "columns": frozenset(
        {
            *("database", "table", "name", "type", "position", "default_kind", "default_expression", "comment"),
            *("is_in_partition_key", "is_in_sorting_key", "is_in_primary_key", "is_in_sampling_key"),
            *("compression_codec", "character_octet_length", "numeric_precision", "numeric_precision_radix"),
            *("numeric_scale", "datetime_precision"),
        }
    ),
    "databases": frozenset({"name", "database", "engine", "comment"}),
}
"""Columns of system tables that tell nothing of the rows of other projects. All the others are counts and sizes of
whole tables, and paths."""


class Ask(Protocol):
    """Rows of a statement of this module."""

    def __call__(self, sql: str, /) -> Sequence[Sequence[object]]:
        """Each row as a list of its values."""


@dataclass(frozen=True, slots=True)
class Function:
    """What is known of a function."""

    kind: str
    is_aggregate: bool
    alias_to: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """What there is. Immutable: the engine and the tables change with a new version only."""

    functions: Mapping[str, Function]
    """By their names; those whose case does not matter also in small letters."""
    combinators: tuple[str, ...]
    """What aggregate functions may end with, longest first."""
    databases: frozenset[str]
    tables: frozenset[str]
    """All of the product's database."""
    project_tables: tuple[str, ...]
    """Those whose every row has a project."""
    hidden: Mapping[str, frozenset[str]]
    """Columns of system tables that one project does not get to see."""

    def is_readable(self, database: str, table: str, *, all_projects: bool) -> bool:
        """Whether the table may be read at all."""
        if database == SYSTEM:
            return table in _SYSTEM_TABLES or (all_projects and table in _SYSTEM_TABLES_FOR_ALL)
        if database != DATABASE:
            return False
        return table in self.project_tables or (all_projects and table in _TABLES_FOR_ALL)

    def is_known(self, database: str, table: str) -> bool:
        """Whether there is such a table, as far as it matters: all of the engine's own databases count as there."""
        if database == DATABASE:
            return table in self.tables
        return database in self.databases

    def require_function(self, name: str) -> None:
        """Raise `RefusedError` for a function that may not be called."""
        if name in _SYNTAX:
            return
        function = self._find(name) or self._aggregate(name)
        if function is None:
            raise RefusedError(f"Function with name `{name}` does not exist", UNKNOWN_FUNCTION)
        canonical = name
        for _ in range(4):
            if not function.alias_to:
                break
            canonical = function.alias_to
            function = self.functions.get(canonical, function)
        if not (function.is_aggregate or function.kind in _KINDS or canonical in _OTHERS):
            raise RefusedError(f"the function {name} cannot be used here: it reads more than its arguments")

    def _find(self, name: str) -> Function | None:
        return self.functions.get(name) or self.functions.get(name.lower())

    def _aggregate(self, name: str) -> Function | None:
        """The aggregate function in `sumIf`, `quantilesStateOrNull` and the like."""
        for combinator in self.combinators:
            if name.endswith(combinator) and len(name) > len(combinator):
                base = name.removesuffix(combinator)
                found = self._find(base)
                if found is None or not found.is_aggregate:
                    found = self._aggregate(base)
                if found is not None:
                    return found
        return None


def read(ask: Ask) -> Catalog:
    """The catalog of an engine. Errors of `ask` pass through."""
    functions: dict[str, Function] = {}
    for name, kind, is_aggregate, alias_to, any_case in ask(
        "SELECT name, categories, is_aggregate, alias_to, case_insensitive FROM system.functions"
    ):
        function = Function(str(kind), bool(is_aggregate), str(alias_to))
        functions[str(name)] = function
        if any_case:
            functions.setdefault(str(name).lower(), function)
    combinators = [str(name) for (name,) in ask("SELECT name FROM system.aggregate_function_combinators")]
    tables = [
        (str(name), str(engine), bool(has_project))
        for name, engine, has_project in ask(
            "SELECT name, engine, (database, name) IN (SELECT database, table FROM system.columns "
            "WHERE name = 'Project') FROM system.tables WHERE database = 'default' ORDER BY name"
        )
    ]
    columns = ask(
        "SELECT table, name FROM system.columns "
        "WHERE database = 'system' AND table IN ('tables', 'columns', 'databases')"
    )
    return Catalog(
        functions=functions,
        combinators=tuple(sorted(combinators, key=len, reverse=True)),
        databases=frozenset(str(name) for (name,) in ask("SELECT name FROM system.databases")),
        tables=frozenset(name for name, _, _ in tables),
        project_tables=tuple(name for name, engine, own in tables if own and engine.endswith("MergeTree")),
        hidden={
            shown: frozenset(str(name) for table, name in columns if table == shown) - allowed
            for shown, allowed in _SHOWN.items()
        },
    )
