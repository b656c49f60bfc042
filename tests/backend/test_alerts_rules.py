"""The rules, run by promtool in virtual time: each shipped alert in every scene that could go wrong."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.prometheus import MissingError, program
from support.rule_tests import Case, run
from tokentrail.backend.alerts.definition import Definition
from tokentrail.backend.alerts.label import label_of
from tokentrail.backend.alerts.read import read_alerts, shipped
from tokentrail.backend.alerts.rules import alert_names, render

ROOT = Path(__file__).parents[2]
RULES = ROOT / "dashboards" / "grafana" / "alerting" / "tokentrail_rules.yml"
LATER_S = 1800
"""Longer than the longest `for`."""


@pytest.fixture(scope="module", autouse=True)
def _promtool() -> None:
    try:
        program("promtool")
    except MissingError as error:
        pytest.skip(f"no promtool: {error}")


def _labels(definition: Definition, **changes: str) -> dict[str, str]:
    values = {dimension: f"{dimension}-1" for dimension in definition.group_by} | {"environment": "production"}
    return {label_of(dimension): changes.get(dimension, values[dimension]) for dimension in definition.group_by}


def _series(
    definition: Definition, value: str, requests: str, labels: Mapping[str, str], threshold: float | None = None
) -> dict[str, str]:
    own = {"alert": definition.name, "severity": definition.severity.value, "instance": "b:4318", "job": "tokentrail"}
    names = ", ".join(f"{name}={json.dumps(text)}" for name, text in {**own, **labels}.items())
    limit = _threshold(definition) if threshold is None else threshold
    return {
        f"tokentrail_alert_value{{{names}}}": value,
        f"tokentrail_alert_requests{{{names}}}": requests,
        f"tokentrail_alert_threshold{{{names}}}": f"{limit}x80",
    }


def _threshold(definition: Definition) -> float:
    threshold = definition.threshold_of("production")
    assert threshold is not None
    return threshold


def _beyond(definition: Definition, by: float = 0.5) -> float:
    threshold = _threshold(definition)
    return threshold * (1 - by) if definition.is_below else threshold * (1 + by) + (0 if threshold else 1)


def _firing(definition: Definition, labels: Mapping[str, str]) -> dict[str, str]:
    fixed = {"severity": definition.severity.value, "component": "llm", "signal": definition.metric.name}
    return {**fixed, "job": "tokentrail", **labels}


def _cases(definition: Definition) -> Iterator[Case]:
    name, labels = definition.name, _labels(definition)
    enough = f"{definition.min_requests}x80"
    value, threshold = _beyond(definition), _threshold(definition)
    fires = [_firing(definition, labels)]

    def case(scene: str, series: Mapping[str, str], firing: Mapping[int, list[dict[str, str]]]) -> Case:
        return Case(scene, name, series, firing)

    before: dict[int, list[dict[str, str]]] = {definition.for_s - 30: []} if definition.for_s else {}
    yield case(
        "fires when it has lasted, not before",
        _series(definition, f"{value}x80", enough, labels),
        {**before, definition.for_s: fires, LATER_S: fires},
    )
    yield case("quiet at the threshold", _series(definition, f"{threshold}x80", enough, labels), {LATER_S: []})
    well = threshold * 2 if definition.is_below else threshold / 2
    yield case("quiet while all is well", _series(definition, f"{well}x80", enough, labels), {LATER_S: []})
    if definition.min_requests:
        few = f"{definition.min_requests - 1}x80"
        yield case("quiet with too few calls", _series(definition, f"{value}x80", few, labels), {LATER_S: []})
    yield case("quiet without data", {}, {0: [], LATER_S: []})
    looser = threshold / 4 if definition.is_below else value * 2
    if labels:
        elsewhere = _labels(definition, environment="staging")
        yield case(
            "each environment by its own threshold",
            _series(definition, f"{value}x80", enough, labels)
            | _series(definition, f"{value}x80", enough, elsewhere, looser),
            {LATER_S: fires},
        )
    # The series ends and comes back: a restart. The clock of `for` begins again unless it is to keep firing.
    gone = f"{value}x40 stale stale stale stale {value}x80"
    kept = fires if definition.keep_firing_s else []
    yield case(
        "over a restart of the backend",
        _series(definition, gone, enough, labels),
        {1200: fires, 1290: kept, 1350 + definition.for_s + 60: fires},
    )
    ended = f"{value}x40 {well}x80"
    quiet_s = 1230 + definition.keep_firing_s + 30
    yield case("resolves", _series(definition, ended, enough, labels), {1200: fires, quiet_s: []})


@pytest.mark.parametrize("definition", shipped().definitions, ids=lambda each: each.name)
def test_a_shipped_alert_fires_when_it_should_and_only_then(definition: Definition, tmp_path: Path) -> None:
    run(RULES, list(_cases(definition)), tmp_path)


def _backend(severity: str, signal: str, **labels: str) -> dict[str, str]:
    return {"severity": severity, "component": "backend", "signal": signal, **labels}


_UP = {"up{job='tokentrail', instance='b'}": "1x80"}
_ON_B = {"job": "tokentrail", "instance": "b"}
BACKEND_CASES = (
    Case("the backend answers", "LLMBackendDown", _UP, {LATER_S: []}),
    Case(
        "it does not",
        "LLMBackendDown",
        {"up{job='tokentrail', instance='b'}": "1x4 0x80"},
        {240: [], 270: [_backend("critical", "availability", **_ON_B)]},
    ),
    Case(
        "nothing scrapes it",
        "LLMBackendDown",
        {},
        {90: [], 120: [_backend("critical", "availability", job="tokentrail")]},
    ),
    Case("a short restart", "LLMBackendDown", {"up{job='tokentrail'}": "1x10 0x2 1x80"}, {390: [], LATER_S: []}),
    Case(
        "spans ended a quarter of an hour ago",
        "LLMNoTelemetry",
        {"tokentrail_last_span_timestamp_seconds": "60x80"},
        {1230: [], 1290: [_backend("medium", "freshness")], LATER_S: [_backend("medium", "freshness")]},
    ),
    Case(
        "and the backend restarted since",
        "LLMNoTelemetry",
        {"tokentrail_last_span_timestamp_seconds": "60x20 0x60"},
        {LATER_S: [_backend("medium", "freshness")]},
    ),
    Case("there never were any", "LLMNoTelemetry", {"tokentrail_last_span_timestamp_seconds": "0x80"}, {LATER_S: []}),
    Case("spans come", "LLMNoTelemetry", {"tokentrail_last_span_timestamp_seconds": "0+30x80"}, {LATER_S: []}),
    Case(
        "one span in fifty is sent back",
        "LLMIngestRejecting",
        {"tokentrail_spans_received_total": "0+50x80", "tokentrail_spans_returned_total{reason='full'}": "0+1x80"},
        {270: [], LATER_S: [_backend("medium", "errors")]},
    ),
    Case(
        "exactly one in a hundred",
        "LLMIngestRejecting",
        {"tokentrail_spans_received_total": "0+100x80", "tokentrail_spans_returned_total{reason='full'}": "0+1x80"},
        {LATER_S: []},
    ),
    Case(
        "a restart resets the counters",
        "LLMIngestRejecting",
        {
            "tokentrail_spans_received_total": "0+50x30 0+50x50",
            "tokentrail_spans_returned_total{reason='full'}": "0+0x30 0+0x50",
        },
        {960: [], LATER_S: []},
    ),
    Case("nothing comes", "LLMIngestRejecting", {"tokentrail_spans_received_total": "0x80"}, {LATER_S: []}),
    *(
        Case(
            f"{values} of 100 {unit}",
            "LLMIngestQueueFilling",
            {
                f"tokentrail_{unit}{{job='tokentrail', instance='b'}}": values,
                f"tokentrail_{capacity}{{job='tokentrail', instance='b'}}": "100x80",
            },
            {270: [], LATER_S: [_backend("medium", "saturation", **_ON_B)] if fires else []},
        )
        for unit, capacity in (
            ("queue_spans", "queue_capacity_spans"),
            ("queue_bytes", "queue_capacity_bytes"),
            ("journal_bytes", "journal_capacity_bytes"),
        )
        for values, fires in (("81x80", True), ("80x80", False))
    ),
    Case(
        "a write failed",
        "LLMStoreWriteErrors",
        {"tokentrail_store_write_errors_total{reason='unavailable'}": "0x10 1+1x60"},
        {300: [], 450: [_backend("critical", "errors", reason="unavailable")]},
    ),
    Case(
        "no write fails, over a restart",
        "LLMStoreWriteErrors",
        {"tokentrail_store_write_errors_total{reason='unavailable'}": "7x20 0x60"},
        {660: [], LATER_S: []},
    ),
    Case(
        "the first spans are dropped",
        "LLMTelemetryLoss",
        {"tokentrail_spans_rejected_total{reason='bad_id'}": "_x10 20x60"},
        {270: [], 360: [_backend("high", "loss", reason="bad_id")], LATER_S: []},
    ),
    Case(
        "more are dropped",
        "LLMTelemetryLoss",
        {"tokentrail_spans_rejected_total{reason='bad_id'}": "5x40 6x60"},
        {1170: [], 1260: [_backend("high", "loss", reason="bad_id")]},
    ),
    Case(
        "none are dropped",
        "LLMTelemetryLoss",
        {"tokentrail_spans_rejected_total{reason='bad_id'}": "5x100"},
        {1170: []},
    ),
    Case(
        "an alert is evaluated no more",
        "LLMAlertsNotEvaluated",
        {
            "tokentrail_alert_evaluation_timestamp_seconds{alert='A'}": "0+30x10 300x70",
            "tokentrail_alert_evaluation_interval_seconds{alert='A'}": "30x80",
        },
        {510: [], 630: [], 660: [_backend("high", "errors", alert="A")]},
    ),
    Case(
        "another backend evaluates it",
        "LLMAlertsNotEvaluated",
        {
            "tokentrail_alert_evaluation_timestamp_seconds{alert='A', instance='a'}": "0x80",
            "tokentrail_alert_evaluation_timestamp_seconds{alert='A', instance='b'}": "0+30x80",
            "tokentrail_alert_evaluation_interval_seconds{alert='A', instance='a'}": "30x80",
            "tokentrail_alert_evaluation_interval_seconds{alert='A', instance='b'}": "30x80",
        },
        {LATER_S: []},
    ),
    *(
        Case(
            f"{name} {values}",
            "LLMFileNotLoaded",
            {f"tokentrail_{name}_last_reload_successful{{job='tokentrail', instance='b'}}": values},
            {570: [], 630: [_backend("medium", "configuration", job="tokentrail")] if fires else []},
        )
        for name in ("alert_file", "price_file", "keys_file", "tls_files")
        for values, fires in (("1x10 0x70", True), ("1x80", False))
    ),
)


def test_the_rules_over_the_backend_itself_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    run(RULES, BACKEND_CASES, tmp_path)


def test_every_rule_is_tested() -> None:
    tested = {definition.name for definition in shipped().definitions} | {case.alert for case in BACKEND_CASES}

    assert tested == set(alert_names(RULES.read_text()))


def test_the_committed_rules_are_those_of_the_shipped_alerts() -> None:
    assert RULES.read_text() == render(shipped()), "run: tokentrail alerts render --output " + str(RULES)


def test_promtool_has_nothing_to_say_against_the_rules() -> None:
    done = subprocess.run(
        [str(program("promtool")), "check", "rules", "--lint=all", "--lint-fatal", str(RULES)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


SAMPLE = """
links: {grafana: https://grafana.example.com/, runbook: https://wiki.example.com/runbook}
defaults: false
alerts:
  - name: ChatErrors
    metric: error_rate
    threshold: {production: 2%, staging: 10%}
    window: 5m
    min_requests: 10
    filters: {feature: chat & more, provider: [openai, azure]}
    group_by: [model, property.Plan]
    severity: high
    description: It's the chat.
    annotations: {team: chat}
"""


def test_annotations_say_what_is_wrong_and_lead_to_the_calls(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(render(read_alerts(SAMPLE.encode(), "sample")))
    labels = {"deployment_environment_name": "production", "gen_ai_request_model": "gpt 5&x", "property_plan": "pro"}
    names = ", ".join(
        f"{name}={json.dumps(text)}" for name, text in {"alert": "ChatErrors", "severity": "high", **labels}.items()
    )
    url = (
        "https://grafana.example.com/d/tokentrail-requests?from=2700000&to=3000000&var-feature=chat%20%26%20more"
        "&var-provider=openai&var-provider=azure&var-env=production&var-model=gpt+5%26x"
        "&var-property=Plan&var-property_value=pro&var-status=error"
    )
    fixed = {"severity": "high", "component": "llm", "signal": "error_rate"}
    annotations = {
        "summary": "Error rate 7% over 5m for environment production, model gpt 5&x, Plan pro "
        "(above 2% in production, 10% in staging)",
        "description": "It's the chat. "
        "Error rate above 2% in production, 10% in staging over 5m, with at least 10 calls.",
        "runbook_url": "https://wiki.example.com/runbook#chaterrors",
        "dashboard_url": url,
        "team": "chat",
    }
    test = {
        "interval": "1m",
        "input_series": [
            {"series": f"tokentrail_alert_value{{{names}}}", "values": "0.07x60"},
            {"series": f"tokentrail_alert_threshold{{{names}}}", "values": "0.02x60"},
            {"series": f"tokentrail_alert_requests{{{names}}}", "values": "10x60"},
            {"series": 'tokentrail_alert_evaluation_timestamp_seconds{alert="ChatErrors"}', "values": "3000x60"},
        ],
        "alert_rule_test": [
            {
                "eval_time": "50m",
                "alertname": "ChatErrors",
                "exp_alerts": [{"exp_labels": {**fixed, **labels}, "exp_annotations": annotations}],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))

    done = subprocess.run(
        [str(program("promtool")), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_severity_a_summary_a_link_and_a_heading_in_the_runbook() -> None:
    headings = set(re.findall(r"^## (\w+)$", (ROOT / "dashboards/grafana/RUNBOOK.md").read_text(), re.MULTILINE))
    rules = re.split(r"^ *- alert: ", RULES.read_text(), flags=re.MULTILINE)[1:]

    for rule in rules:
        name = rule.split("\n", 1)[0]
        assert name in headings, name
        assert re.search(r"^ *severity: (critical|high|medium|low)$", rule, re.MULTILINE), name
        assert re.search(r"^ *summary: '.+'$", rule, re.MULTILINE), name
        assert re.search(rf"^ *runbook_url: '.*#{name.lower()}'$", rule, re.MULTILINE), name
        assert re.search(r"^ *dashboard_url: '.+'$", rule, re.MULTILINE), name
    assert headings == {rule.split("\n", 1)[0] for rule in rules}
