"""Conditions on tables, which the engine puts before everything that is done with a table's rows, wherever in a
statement it stands: the project of who asks, and what they ask for beside that (Grafana's ad-hoc filters).

`additional_table_filters` alone decides which rows are in a result. The optimisations that are switched off would let
conditions of the statement be evaluated before it, for rows of other projects: no result shows those, but errors would
(`WHERE toUInt32(UserId) = 1` tells a user's id in its message; seen in 26.9 with conditions of a LEFT JOIN). So would
PREWHERE, which the gate refuses.
"""

from collections.abc import Mapping
from typing import Final

from tokentrail.backend.clickhouse_http.catalog import DATABASE, Catalog
from tokentrail.backend.clickhouse_http.errors import BAD_ARGUMENTS, RefusedError
from tokentrail.backend.clickhouse_http.lexemes import quote
from tokentrail.backend.clickhouse_http.settings import FILTERS

IN_ORDER: Final[Mapping[str, str]] = {
    "optimize_move_to_prewhere": "0",
    "query_plan_optimize_prewhere": "0",
    "query_plan_merge_filters": "0",
    # Of conditions with AND the later ones see only the rows that the earlier ones leave.
    "short_circuit_function_evaluation": "'force_enable'",
    # A granule that a condition has left out once is left out for everybody.
    "use_query_condition_cache": "0",
}
"""Settings for a key of one project."""


def own_conditions(filters: Mapping[str, str], catalog: Catalog) -> Mapping[str, str]:
    """The client's conditions, by the name of a table of the product. Raises `RefusedError` for other tables."""
    conditions: dict[str, str] = {}
    for name, condition in filters.items():
        table = name.removeprefix(f"{DATABASE}.")
        if table not in catalog.project_tables:
            raise RefusedError(f"{FILTERS} has a condition for {name[:100]!r}, which is no table here", BAD_ARGUMENTS)
        if table in conditions:
            raise RefusedError(f"{FILTERS} has two conditions for {table}", BAD_ARGUMENTS)
        if condition.strip():
            conditions[table] = condition
    return conditions


def conditions_literal(own: Mapping[str, str], project: str | None, catalog: Catalog) -> str:
    """The value of `additional_table_filters`: on every table its project, and the client's own conditions."""
    pairs = []
    for table in catalog.project_tables if project is not None else own:
        conditions = [] if project is None else [f"Project = {quote(project)}"]
        # A line for itself: nothing in it can reach what is around.
        conditions += [f"(\n{own[table]}\n)"] if table in own else []
        pairs.append(f"{quote(f'{DATABASE}.{table}')}: {quote(' AND '.join(conditions))}")
    return "{" + ", ".join(pairs) + "}"
