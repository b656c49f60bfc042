"""Panels by what they show. Every one has a title, a description and a unit, and looks like its siblings.

A constructor answers a panel without a place: `board.py` gives it one, and its number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from grafana_foundation_sdk.builders import barchart, bargauge, common, piechart, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import gauge as gauges
from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.builders import logs as log_panels
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.builders import text as texts
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models.dashboard import DashboardFieldConfigSourceOverrides as Override
from grafana_foundation_sdk.models.dashboard import (
    DashboardLink,
    DynamicConfigValue,
    FieldColor,
    FieldColorModeId,
    FieldConfig,
    FieldConfigSource,
    MatcherConfig,
    Panel,
    Threshold,
    ThresholdsConfig,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.piechart import PieChartLegendValues, PieChartType
from grafana_foundation_sdk.models.text import TextMode

from boards.link import data_link
from boards.query import Query, Sql, source, target

USD: Final = "currencyUSD"
SECONDS: Final = "s"
SHARE: Final = "percentunit"
COUNT: Final = "short"
PER_SECOND: Final = "reqps"
BYTES: Final = "bytes"
NONE: Final = "none"
TIME: Final = "dateTimeAsIso"
TEXT: Final = "string"

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"
POINTS: Final = 100
"""Points, or bars, over the time of a panel that ClickHouse answers."""
Steps = Sequence[tuple[float, str]]
"""Thresholds: from a value upwards a colour. Below the first it is `BASE`."""


FAILING: Final[Steps] = ((0.02, YELLOW), (0.05, RED))
"""Of error rates, as the alerts."""


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of a table (or one field of any panel) looks, by the name that the query gives it."""

    name: str
    title: str = ""
    unit: str = ""
    decimals: int | None = None
    width: int | None = None
    link: tuple[str, str] | None = None
    """Title and address."""
    gauge: bool = False
    """A bar in the cell, as long as the value."""
    color: str = ""
    hidden: bool = False
    steps: Steps = ()


CHANGE: Final = Column("change", "against the time before", SHARE, decimals=0)
"""Beside a number: by how much it is more or less than in as long a time before."""


def stat(
    title: str,
    description: str,
    query: Query,
    unit: str,
    *,
    decimals: int | None = None,
    steps: Steps = (),
    base: str = "text",
    link: tuple[str, str] | None = None,
    columns: Sequence[Column] = (),
    sparkline: bool = False,
) -> Panel:
    """A number, or one for each field. `steps` colour it; a number of the period before goes into a second field."""
    builder = (
        stats.Panel()
        .graph_mode(cm.BigValueGraphMode.AREA if sparkline else cm.BigValueGraphMode.NONE)
        .color_mode(cm.BigValueColorMode.VALUE)
        .text_mode(cm.BigValueTextMode.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )
    panel = _finish(builder.build(), title, description, [query], unit, decimals, columns)
    _color(panel, steps, base)
    _link(panel, link)
    return panel


def lines(
    title: str,
    description: str,
    queries: Query | Sequence[Query],
    unit: str,
    *,
    stacked: bool = False,
    bars: bool = False,
    decimals: int | None = None,
    minimum: float | None = 0,
    maximum: float | None = None,
    link: tuple[str, str] | None = None,
    columns: Sequence[Column] = (),
    steps: Steps = (),
) -> Panel:
    """Values over time; `stacked` where they add up to a whole, `bars` where each is a sum over its interval; `steps`
    are limits, drawn as lines in their colours."""
    builder = (
        timeseries.Panel()
        .draw_style(cm.GraphDrawStyle.BARS if bars else cm.GraphDrawStyle.LINE)
        .fill_opacity(80 if bars else 20 if stacked else 8)
        .line_width(1)
        .show_points(cm.VisibilityMode.AUTO)
        .span_nulls(False)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(cm.LegendDisplayMode.LIST)
            .placement(cm.LegendPlacement.BOTTOM)
        )
        .tooltip(common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING))
    )
    if minimum is not None:
        builder.min(minimum)
    if stacked:
        builder.stacking(common.StackingConfig().mode(cm.StackingMode.NORMAL).group("A"))
    if maximum is not None:
        builder.max(maximum)
    if steps:
        builder.thresholds_style(common.GraphThresholdsStyleConfig().mode(cm.GraphThresholdsStyleMode.DASHED))
    panel = _finish(builder.build(), title, description, _several(queries), unit, decimals, columns)
    if any(isinstance(query, Sql) for query in _several(queries)):
        panel.max_data_points = POINTS  # Grafana would have as many as there are pixels, each of hardly a call
    if steps:
        _defaults(panel).thresholds = _thresholds(steps, "transparent")
    if isinstance(queries, Sql) and queries.named_by:
        # Else Grafana puts the name of the column of numbers before it.
        _defaults(panel).display_name = f"${{__field.labels.{queries.named_by}}}"
    _link(panel, link)
    return panel


def table(
    title: str, description: str, query: Query, columns: Sequence[Column], *, sort: str = "", descending: bool = True
) -> Panel:
    """Rows. Every column of the query is among `columns`, in the same order."""
    builder = tables.Panel().show_header(True).filterable(True).cell_height(cm.TableCellHeight.SM)
    if sort:
        by = next((column.title or column.name for column in columns if column.name == sort), sort)
        builder.sort_by([common.TableSortByFieldState().display_name(by).desc(descending)])
    return _finish(builder.build(), title, description, [query], NONE, None, columns)


def pie(
    title: str,
    description: str,
    query: Query,
    unit: str,
    *,
    link: tuple[str, str] | None = None,
    columns: Sequence[Column] = (),
    rows: bool = True,
) -> Panel:
    """Shares of a whole; with `rows` a slice is a row of the answer (text and number), else a series."""
    builder = (
        piechart.Panel()
        .pie_type(PieChartType.DONUT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(rows))
        .legend(
            piechart.PieChartLegendOptions()
            .show_legend(True)
            .display_mode(cm.LegendDisplayMode.TABLE)
            .placement(cm.LegendPlacement.RIGHT)
            .values([PieChartLegendValues.PERCENT, PieChartLegendValues.VALUE])
        )
        .tooltip(common.VizTooltipOptions().mode(cm.TooltipDisplayMode.SINGLE))
    )
    panel = _finish(builder.build(), title, description, [query], unit, None, columns)
    _link(panel, link)
    return panel


def bars(
    title: str,
    description: str,
    query: Query,
    unit: str,
    *,
    stacked: bool = False,
    horizontal: bool = False,
    link: tuple[str, str] | None = None,
    columns: Sequence[Column] = (),
) -> Panel:
    """Bars by the first column of text; a group of bars, or with `stacked` one, has the columns of numbers."""
    builder = (
        barchart.Panel()
        .orientation(cm.VizOrientation.HORIZONTAL if horizontal else cm.VizOrientation.AUTO)
        .stacking(cm.StackingMode.NORMAL if stacked else cm.StackingMode.NONE)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(cm.LegendDisplayMode.LIST)
            .placement(cm.LegendPlacement.BOTTOM)
        )
        .tooltip(common.VizTooltipOptions().mode(cm.TooltipDisplayMode.SINGLE))
    )
    panel = _finish(builder.build(), title, description, [query], unit, None, columns)
    _link(panel, link)
    return panel


def gauge(
    title: str,
    description: str,
    query: Query,
    unit: str,
    *,
    low: float,
    high: float,
    steps: Steps,
    base: str = GREEN,
    link: tuple[str, str] | None = None,
) -> Panel:
    """A number within bounds."""
    builder = gauges.Panel().min(low).max(high).show_threshold_markers(True)
    builder.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel = _finish(builder.build(), title, description, [query], unit, None, ())
    _color(panel, steps, base)
    _link(panel, link)
    return panel


def meters(
    title: str,
    description: str,
    query: Query,
    unit: str,
    *,
    high: float | None = None,
    steps: Steps = (),
    base: str = GREEN,
    link: tuple[str, str] | None = None,
) -> Panel:
    """A bar for each row (text and number), all on one scale."""
    builder = bargauge.Panel().orientation(cm.VizOrientation.HORIZONTAL).min(0)
    builder.display_mode(cm.BarGaugeDisplayMode.BASIC)
    builder.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(True))
    if high is not None:
        builder.max(high)
    panel = _finish(builder.build(), title, description, [query], unit, None, ())
    _color(panel, steps, base)
    _link(panel, link)
    return panel


def heatmap(title: str, description: str, query: Query, unit: str) -> Panel:
    """How many observations had which value, over time, from the buckets of a histogram."""
    builder = (
        heatmaps.Panel()
        .calculate(False)
        .color(heatmaps.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64))
        .cell_gap(1)
        .y_axis(heatmaps.YAxisConfig().unit(unit))
        .filter_values(heatmaps.FilterValueRange().le(1e-9))
    )
    return _finish(builder.build(), title, description, [query], unit, None, ())


def trace(title: str, description: str, query: Query) -> Panel:
    """The waterfall of a trace."""
    return _finish(build.Panel().type("traces").build(), title, description, [query], NONE, None, ())


def logs(title: str, description: str, query: Query) -> Panel:
    """Log records, with what they carry."""
    builder = log_panels.Panel().show_time(True).wrap_log_message(True).enable_log_details(True)
    return _finish(builder.build(), title, description, [query], NONE, None, ())


def flame(title: str, description: str, query: Query, unit: str) -> Panel:
    """A flame graph. Columns of the query, in the order of a walk down the tree: `level` (0 is the root), `value` (with
    all below it), `self`, `label`."""
    panel = _finish(build.Panel().type("flamegraph").build(), title, description, [query], unit, None, ())
    overridden = [DynamicConfigValue(id_val="unit", value=unit)]
    _config(panel).overrides = [_override("value", overridden), _override("self", overridden)]
    return panel


def words(title: str, markdown: str) -> Panel:
    """A text."""
    panel = texts.Panel().mode(TextMode.MARKDOWN).content(markdown).build()
    panel.title = title
    panel.description = "How to read this dashboard."
    return panel


def _several(queries: Query | Sequence[Query]) -> Sequence[Query]:
    return queries if isinstance(queries, Sequence) else [queries]


def _finish(
    panel: Panel,
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    decimals: int | None,
    columns: Sequence[Column],
) -> Panel:
    """What all panels have."""
    panel.title, panel.description = title, description
    panel.datasource = source(queries[0])
    panel.targets = [target(query, chr(ord("A") + index)) for index, query in enumerate(queries)]
    defaults = _defaults(panel)
    defaults.unit, defaults.decimals = unit, decimals
    overrides = (_override(column.name, _properties(column)) for column in columns)
    _config(panel).overrides = [each for each in overrides if each.properties]
    return panel


def _config(panel: Panel) -> FieldConfigSource:
    if panel.field_config is None:
        panel.field_config = FieldConfigSource()
    return panel.field_config


def _defaults(panel: Panel) -> FieldConfig:
    return _config(panel).defaults


def _override(name: str, properties: list[DynamicConfigValue]) -> Override:
    return Override(matcher=MatcherConfig(id_val="byName", options=name), properties=properties)


def _properties(column: Column) -> list[DynamicConfigValue]:
    values: dict[str, object] = {}
    if column.title:
        values["displayName"] = column.title
    if column.unit:
        values["unit"] = column.unit
    if column.decimals is not None:
        values["decimals"] = column.decimals
    if column.width is not None:
        values["custom.width"] = column.width
    if column.link:
        values["links"] = [data_link(*column.link)]
    if column.gauge:
        values["custom.cellOptions"] = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        values["min"] = 0
        if not column.color and not column.steps:  # else Grafana's own thresholds, which are red from 80
            values["color"] = {"mode": "fixed", "fixedColor": BLUE}
    if column.color:
        values["color"] = {"mode": "fixed", "fixedColor": column.color}
    if column.hidden:
        values["custom.hidden"] = True
    if column.steps:
        values["thresholds"] = _thresholds(column.steps, "text").to_json()
        values["custom.cellOptions"] = {"type": "color-text"}
        values["color"] = {"mode": "thresholds"}
    return [DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]


def _thresholds(steps: Steps, base: str) -> ThresholdsConfig:
    first = Threshold(value=None, color=base)
    return ThresholdsConfig(
        mode=ThresholdsMode.ABSOLUTE, steps=[first, *(Threshold(value=value, color=color) for value, color in steps)]
    )


def _color(panel: Panel, steps: Steps, base: str) -> None:
    defaults = _defaults(panel)
    defaults.thresholds = _thresholds(steps, base)
    defaults.color = FieldColor(mode=FieldColorModeId.THRESHOLDS)


def _link(panel: Panel, link: tuple[str, str] | None) -> None:
    if link is None:
        return
    # The SDK has the type of another kind of link here.
    _defaults(panel).links = cast("list[DashboardLink]", [data_link(*link)])
