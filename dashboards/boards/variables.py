"""The variables of the dashboards: data sources, the filters that all of them share, and those that some have."""

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models.dashboard import (
    VariableHide,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from boards.calls import begun
from boards.query import CLICKHOUSE, CLICKHOUSE_TYPE, PROMETHEUS
from tokentrail.backend.query.filter import PROJECT

_ANY: Final = VariableOption(text="All", value="$__all", selected=True)
_RECENT: Final = begun("$__fromTime_ms", "$__toTime_ms")
_METRIC: Final = 'tokentrail_requests_total{job=~"$job"}'


def sources() -> list[VariableModel]:
    """Where panels get their answers, and the job that Prometheus scrapes the backend as."""
    job = (
        build.QueryVariable("job")
        .label("Job")
        .description("The job by which Prometheus scrapes the backend.")
        .datasource(PROMETHEUS)
        .query({"query": "label_values(tokentrail_build_info, job)", "refId": "job"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(_ANY)
        .hide(VariableHide.HIDE_VARIABLE)
    )
    return [
        _source("prometheus", "Metrics", "prometheus"),
        _source("clickhouse", "Calls", CLICKHOUSE_TYPE),
        job.build(),
    ]


def _source(name: str, label: str, kind: str) -> VariableModel:
    return build.DatasourceVariable(name).label(label).type(kind).build()


def shared() -> list[VariableModel]:
    """The filters of every dashboard about calls."""
    return [
        _labels("env", "Environment", "deployment_environment_name"),
        _labels("service", "Service", "service_name"),
        _labels("provider", "Provider", "gen_ai_provider_name"),
        _labels("model", "Model", "gen_ai_request_model"),
        _labels("operation", "Operation", "gen_ai_operation_name"),
        _rows(
            "project",
            "Project",
            f"SELECT DISTINCT {PROJECT} AS project FROM llm_requests WHERE {_RECENT} ORDER BY project LIMIT 500",
        ),
    ]


def _labels(name: str, label: str, of: str) -> VariableModel:
    variable = (
        build.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query({"query": f"label_values({_METRIC}, {of})", "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .allow_custom_value(True)
        .current(_ANY)
    )
    return variable.build()


def _rows(name: str, label: str, sql: str, *, default: str = "") -> VariableModel:
    """A choice from the rows of a statement: several or all; with `default` one, and that one at first."""
    variable = (
        build.QueryVariable(name)
        .label(label)
        .datasource(CLICKHOUSE)
        .query({"refId": name, "queryType": "sql", "rawSql": sql})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(not default)
        .include_all(not default)
        .allow_custom_value(True)
        .current(VariableOption(text=default, value=default, selected=True) if default else _ANY)
    )
    return variable.build()


def _text(name: str, label: str, description: str) -> VariableModel:
    nothing = VariableOption(text="", value="", selected=True)
    return build.TextBoxVariable(name).label(label).description(description).current(nothing).build()


def _choice(name: str, label: str, values: str) -> VariableModel:
    return build.CustomVariable(name).label(label).values(values).include_all(True).multi(False).current(_ANY).build()


def _days_before() -> VariableModel:
    return (
        build.CustomVariable("offset")
        .label("Compare with")
        .description("How long before the shown time begins the one that it is compared with.")
        .values("1 day before : 1,1 week before : 7,4 weeks before : 28,52 weeks before : 364")
        .current(VariableOption(text="1 week before", value="7", selected=True))
        .build()
    )


_BUILDERS: Final[Mapping[str, VariableModel]] = {
    "user": _text("user", "User", "Whose calls: an id as the application sends it. Empty: everybody's."),
    "session": _text("session", "Session", "The id of a session. Empty: calls of all sessions, and of none."),
    "prompt": _rows(
        "prompt",
        "Prompt",
        f"SELECT PromptName AS prompt FROM llm_requests WHERE {_RECENT} AND PromptName != '' "
        "GROUP BY prompt ORDER BY count() DESC, prompt LIMIT 500",
    ),
    "session_name": _text("session_name", "Session name", "The name of the sessions. Empty: any."),
    "path": _text(
        "path", "Path", "The path of calls in their session; with /* at its end, all below, too. Empty: any."
    ),
    "feature": _text("feature", "Feature", "The value of the property Feature. Empty: any."),
    "property": _rows(
        "property",
        "Property",
        f"SELECT arrayJoin(mapKeys(Properties)) AS key FROM llm_requests WHERE {_RECENT} "
        "GROUP BY key ORDER BY count() DESC, key LIMIT 200",
        default="Feature",
    ),
    "property_value": _text("property_value", "Value", "The value of the property beside it. Empty: any."),
    "status": _choice("status", "Status", "ok,error"),
    "unpriced": _choice("unpriced", "Unpriced only", "1"),
    "offset": _days_before(),
    "trace": _text("trace", "Trace", "The id of a trace, to see its spans and logs."),
}


def own(names: tuple[str, ...]) -> list[VariableModel]:
    """The variables that a dashboard has beside the shared ones, in the order of `names`."""
    return [_BUILDERS[name] for name in names]
