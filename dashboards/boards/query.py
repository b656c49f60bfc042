"""What panels ask: SQL for ClickHouse and PromQL for Prometheus, with what all of them have in common.

Numbers come from ClickHouse: they are exact, and every filter works on them. Prometheus is asked where its own answer
is the point: what alerts compare, histograms with exemplars, and the health of the backend.

The data sources are variables of the dashboard, so that any uid works. The Grafana SDK has no query of the ClickHouse
plugin: `Sql` has the fields that version 4.20 of it saves (`CHSqlQuery`).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import Dataquery as PrometheusQuery
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

CLICKHOUSE_TYPE: Final = "grafana-clickhouse-datasource"
CLICKHOUSE: Final = DataSourceRef(type_val=CLICKHOUSE_TYPE, uid="${clickhouse}")
PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="${prometheus}")
PLUGIN_VERSION: Final = "4.20.0"


class Shape(IntEnum):
    """What the plugin makes of the rows; the numbers are the plugin's own."""

    SERIES = 0
    """A column of times, columns of numbers; columns of text name the series."""
    TABLE = 1
    LOGS = 2
    TRACE = 3


_QUERY_TYPES: Final = {
    Shape.SERIES: "timeseries",
    Shape.TABLE: "table",
    Shape.LOGS: "logs",
    Shape.TRACE: "traces",
}


@dataclass(frozen=True, slots=True)
class Sql:
    """One statement for ClickHouse."""

    text: str
    shape: Shape = Shape.TABLE
    named_by: str = ""
    """The column of text that alone names the series, where there is one column of numbers."""


@dataclass(frozen=True, slots=True)
class Prom:
    """One expression for Prometheus: over the time of the dashboard, or with `instant` at its end."""

    expr: str
    legend: str = ""
    instant: bool = False
    table: bool = False
    """A row for each series, its labels as columns."""
    heatmap: bool = False
    exemplar: bool = False


Query = Sql | Prom


class _SqlTarget(Dataquery):
    """A target of a panel that the ClickHouse plugin answers."""

    def __init__(self, query: Sql, ref_id: str) -> None:
        self.query, self.ref_id = query, ref_id

    def to_json(self) -> dict[str, object]:
        """As the plugin saves it."""
        return {
            "refId": self.ref_id,
            "datasource": {"type": CLICKHOUSE_TYPE, "uid": CLICKHOUSE.uid},
            "pluginVersion": PLUGIN_VERSION,
            "editorType": "sql",
            "rawSql": self.query.text,
            "format": int(self.query.shape),
            "queryType": _QUERY_TYPES[self.query.shape],
        }


def source(query: Query) -> DataSourceRef:
    """Where a query is answered."""
    return CLICKHOUSE if isinstance(query, Sql) else PROMETHEUS


def target(query: Query, ref_id: str) -> Dataquery:
    """A query as a target of a panel, named `ref_id` in it."""
    if isinstance(query, Sql):
        return _SqlTarget(query, ref_id)
    if query.heatmap:
        style = PromQueryFormat.HEATMAP
    else:
        style = PromQueryFormat.TABLE if query.table else PromQueryFormat.TIME_SERIES
    return PrometheusQuery(
        ref_id=ref_id,
        datasource=PROMETHEUS,
        expr=query.expr,
        legend_format=query.legend or "__auto",
        instant=query.instant,
        range_val=not query.instant,
        exemplar=query.exemplar,
        format_val=style,
    )
