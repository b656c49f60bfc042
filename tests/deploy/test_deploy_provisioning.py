"""Prometheus's configuration and Grafana's provisioning: valid, with the names that dashboards and rules use."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack import files
from support.prometheus import MissingError, program

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "dashboards" / "grafana"
PROMETHEUS = ROOT / "deploy" / "prometheus" / "prometheus.yml"
SOURCES = ("datasources", "clickhouse-server")


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        tool = program("promtool")
    except MissingError as error:
        pytest.skip(f"no promtool: {error}")
    return subprocess.run([str(tool), *arguments], capture_output=True, text=True, check=False, timeout=60)


def _sources(folder: str) -> dict[str, dict[str, Any]]:
    document = yaml.safe_load((GRAFANA / "provisioning" / folder / "tokentrail.yaml").read_text())
    assert document["apiVersion"] == 1
    return {source["uid"]: source for source in document["datasources"]}


def _as_grafana_reads(value: str) -> str:
    """In an empty environment: variables are filled in, `$$` is a dollar sign (pkg/services/provisioning/values)."""
    return "$".join(re.sub(r"\$(\w+|\{[^}]*\})", "", part) for part in value.split("$$"))


def test_the_configuration_of_prometheus_is_valid(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("tt_key")
    text = PROMETHEUS.read_text().replace("/access/prometheus", str(tmp_path / "key"))
    text = text.replace("/etc/prometheus/rules/", f"{GRAFANA / 'alerting'}/")
    (tmp_path / "prometheus.yml").write_text(text)

    done = _promtool("check", "config", str(tmp_path / "prometheus.yml"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"SUCCESS: \d\d rules found", done.stdout)


def test_prometheus_scrapes_often_enough_under_the_name_that_the_rules_know() -> None:
    document = yaml.safe_load(PROMETHEUS.read_text())
    (job,) = document["scrape_configs"]
    rules = (GRAFANA / "alerting" / "tokentrail_rules.yml").read_text()

    assert document["global"]["scrape_interval"] == document["global"]["evaluation_interval"] == "15s"
    assert set(re.findall(r'job="(\w+)"', rules)) == {job["job_name"]} == {"tokentrail"}
    # Of 2,000 label sets a metric: three histograms of 17 series and as many _created, and the counters.
    assert job["sample_limit"] >= 3 * 2000 * 18 + 7 * 2000 * 2


def test_a_stack_on_this_machine_keeps_all_of_prometheus_but_addresses_and_pace(tmp_path: Path) -> None:
    text = files.prometheus(
        PROMETHEUS.read_text(), backend="127.0.0.1:1", alertmanager="127.0.0.1:2", rules="rules.yml", interval="1s"
    )
    (tmp_path / "prometheus.yml").write_text(text)

    done = _promtool("check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(text)["scrape_configs"] == [
        {"job_name": "tokentrail", "sample_limit": 200000, "static_configs": [{"targets": ["127.0.0.1:1"]}]}
    ]


def test_a_stack_on_this_machine_keeps_routes_and_inhibition_and_tells_nobody_else() -> None:
    shipped = (ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text()

    made = json.loads(files.alertmanager(shipped, "http://127.0.0.1:3"))

    whole = yaml.safe_load(shipped)
    assert made["inhibit_rules"] == whole["inhibit_rules"]
    assert [one["receiver"] for one in made["route"]["routes"]] == [one["receiver"] for one in whole["route"]["routes"]]
    assert {one["webhook_configs"][0]["url"] for one in made["receivers"]} == {
        "http://127.0.0.1:3/pager",
        "http://127.0.0.1:3/chat",
        "http://127.0.0.1:3/mail",
    }
    assert not re.search(r"example\.com|secrets|hooks\.slack", json.dumps(made), re.IGNORECASE)


@pytest.mark.parametrize("folder", SOURCES)
def test_data_sources_have_the_uids_that_dashboards_use(folder: str) -> None:
    sources = _sources(folder)

    assert {uid: source["type"] for uid, source in sources.items()} == {
        "tokentrail-prometheus": "prometheus",
        "tokentrail-clickhouse": files.PLUGIN,
    }
    assert not any(source["editable"] for source in sources.values())


@pytest.mark.parametrize("folder", SOURCES)
def test_exemplars_lead_to_the_call(folder: str) -> None:
    (link,) = _sources(folder)["tokentrail-prometheus"]["jsonData"]["exemplarTraceIdDestinations"]

    assert link["name"] == "trace_id"
    assert _as_grafana_reads(link["url"]) == "/d/tokentrail-requests?var-trace=${__value.raw}"


def test_calls_are_asked_for_through_the_backend_or_at_the_server() -> None:
    own, server = (_sources(folder)["tokentrail-clickhouse"] for folder in SOURCES)

    assert (own["jsonData"]["protocol"], own["jsonData"]["path"]) == ("http", "/clickhouse")
    assert (server["jsonData"]["protocol"], server["jsonData"]["username"]) == ("native", "tokentrail_reader")
    assert server["jsonData"]["defaultDatabase"] == "tokentrail"
    for source in (own, server):
        assert source["secureJsonData"] == {"password": "$TOKENTRAIL_GRAFANA_PASSWORD"}
        assert {source["jsonData"][kind]["defaultTable"] for kind in ("traces", "logs")} == {"otel_traces", "otel_logs"}


def test_dashboards_come_from_files_and_cannot_be_changed_in_place() -> None:
    document = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "tokentrail.yaml").read_text())
    (provider,) = document["providers"]

    assert provider["folder"] == "LLM observability"
    assert provider["allowUiUpdates"] is False
    assert provider["options"] == {"path": "$TOKENTRAIL_DASHBOARDS"}


def test_everybody_installs_the_same_version_of_the_plugin() -> None:
    wanted = f"{files.PLUGIN}@{files.PLUGIN_VERSION}"
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    made = files.grafana_environment(
        prometheus_url="p", backend="127.0.0.1:4318", dashboards="d", provisioning="v", data="x", port=3000
    )

    assert compose["services"]["grafana"]["environment"]["GF_PLUGINS_PREINSTALL_SYNC"] == wanted
    assert made["GF_PLUGINS_PREINSTALL_SYNC"] == wanted
    assert wanted in (ROOT / "docs" / "grafana.md").read_text()
