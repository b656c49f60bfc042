"""The configurations of a stack on this machine: the shipped ones, with addresses and paths of this machine.

Pure: texts of YAML in, texts out. What comes out is JSON, which is YAML, too.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import yaml  # noqa: TID251  the configurations of others are YAML; nothing of the backend is read here

ENVIRONMENT: Final = "demo"
"""`deployment.environment.name` of the demo's calls."""
ALERTS: Final = """\
# Beside the shipped alerts, which watch production: some that the demo's calls are beyond.
alerts:
  - name: DemoErrors
    metric: error_rate
    threshold: {demo: 1%}
    window: 10m
    every: 5s
    min_requests: 10
    severity: high
  - name: DemoSpendByUser
    metric: cost
    threshold: $0.01
    window: 1h
    every: 5s
    filters: {environment: demo}
    group_by: [environment, user]
    severity: medium
"""
"""Alerts that fire in a demo, so that there is something to see."""
PLUGIN: Final = "grafana-clickhouse-datasource"
PLUGIN_VERSION: Final = "4.20.0"
"""The one whose protocol `/clickhouse` was made for, as in compose.yaml."""


def prometheus(shipped: str, *, backend: str, alertmanager: str, rules: str, interval: str) -> str:
    """Prometheus's configuration for a backend without keys; addresses are `host:port`, `rules` a path."""
    document = _mapping(shipped)
    document["global"] = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    document["rule_files"] = [rules]
    document["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    (job,) = document["scrape_configs"]
    del job["authorization"]
    job["static_configs"] = [{"targets": [backend]}]
    return json.dumps(document, indent=1)


def alertmanager(shipped: str, receiver: str) -> str:
    """Alertmanager's configuration with every receiver at `receiver`, a URL, under its own name; the rest as shipped.

    Nothing leaves the machine, and no secret is needed. Its patience is shortened: a demo is not watched for hours.
    """
    document = _mapping(shipped)
    document["global"] = {"resolve_timeout": document["global"]["resolve_timeout"]}
    document["receivers"] = [
        {"name": one["name"], "webhook_configs": [{"url": f"{receiver}/{one['name']}", "send_resolved": True}]}
        for one in document["receivers"]
    ]
    for route in (document["route"], *document["route"]["routes"]):
        route.update({"group_wait": "1s", "group_interval": "10s"})
    return json.dumps(document, indent=1)


def grafana_environment(
    *, prometheus_url: str, backend: str, dashboards: str, provisioning: str, data: str, port: int
) -> Mapping[str, str]:
    """What a Grafana needs in its environment to find all of this by provisioning; `backend` is `host:port`."""
    host, _, backend_port = backend.rpartition(":")
    return {
        "GF_PATHS_PROVISIONING": provisioning,
        "GF_PATHS_DATA": data,
        "GF_PATHS_PLUGINS": f"{data}/plugins",
        "GF_PATHS_LOGS": f"{data}/log",
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_PLUGINS_PREINSTALL_SYNC": f"{PLUGIN}@{PLUGIN_VERSION}",
        "TOKENTRAIL_DASHBOARDS": dashboards,
        "TOKENTRAIL_PROMETHEUS_URL": prometheus_url,
        "TOKENTRAIL_CLICKHOUSE_HOST": host,
        "TOKENTRAIL_CLICKHOUSE_PORT": backend_port,
        "TOKENTRAIL_GRAFANA_PASSWORD": "",
    }


def _mapping(text: str) -> dict[str, Any]:
    # `Any`: the shipped files are this repository's own, and a surprise in them is a mistake that tests find.
    document: dict[str, Any] = yaml.safe_load(text)
    return document
