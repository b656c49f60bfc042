"""Marks on every panel over time: deployments, and alerts while they fire."""

from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from boards.query import CLICKHOUSE, PROMETHEUS, Sql, target

_DEPLOYMENTS = """
SELECT min(Timestamp) AS time,
    concat(ServiceName, ' ', version) AS text,
    'deployment' AS tags
FROM (
    SELECT Timestamp, ServiceName, ResourceAttributes['service.version'] AS version
    FROM otel_traces WHERE Timestamp >= $__fromTime - INTERVAL 1 DAY AND Timestamp <= $__toTime
)
WHERE version != ''
GROUP BY ServiceName, version
HAVING $__timeFilter(time)
ORDER BY time
LIMIT 100
""".strip()
"""The first span of a version of a service in the day before, or since, is its deployment."""


def of_calls() -> list[AnnotationQuery]:
    """For dashboards about calls."""
    return [_deployments(), _alerts()]


def _alerts() -> AnnotationQuery:
    return AnnotationQuery(
        name="Alerts",
        datasource=PROMETHEUS,
        enable=True,
        icon_color="red",
        expr='ALERTS{alertstate="firing", component=~"llm|backend"}',
        title_format="{{alertname}}",
        text_format="{{deployment_environment_name}} {{gen_ai_request_model}} {{feature}}",
        tag_keys="severity",
        step="60s",
    )


def _deployments() -> AnnotationQuery:
    deployments = target(Sql(_DEPLOYMENTS), "Deployments")
    return AnnotationQuery(
        name="Deployments", datasource=CLICKHOUSE, enable=True, icon_color="blue", target=deployments
    )
