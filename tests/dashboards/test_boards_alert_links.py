"""Whoever clicks the link of an alert sees the calls that the alert is about, neither more nor fewer."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from support.dashboard_seed import Call
from support.dashboard_store import Seeded
from support.grafana import Window
from tokentrail.backend.alerts import question
from tokentrail.backend.alerts.definition import Definition
from tokentrail.backend.alerts.evaluate import Finding, evaluate

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "dashboards" / "grafana" / "alerting" / "tokentrail_rules.yml").read_text("utf-8")
DEFINITIONS = {each.name: each for each in question.shipped_alerts()}


def link(definition: Definition, finding: Finding, until_s: int) -> str:
    """The address in the notification: the rule's annotation with Prometheus' templates filled in."""
    (rule,) = re.findall(rf"- alert: {definition.name}\n(.*?)(?=\n  - alert:|\Z)", RULES, re.DOTALL)
    (url,) = re.findall(r"dashboard_url: '(.*)'", rule)

    def moment(match: re.Match[str]) -> str:
        back = re.search(r"\}\) - (\d+)\) \* 1000", match[0])
        return str((until_s - (int(back[1]) if back else 0)) * 1000)

    url = re.sub(r"\{\{ with query .*?\{\{ end \}\}", moment, url)
    return re.sub(r"\{\{ \$labels\.(\w+) \| urlquery \}\}", lambda match: quote(finding.labels[match[1]], safe=""), url)


def shown(seeded: Seeded, url: str) -> int:
    """How many calls the dashboard that `url` opens counts."""
    parts = urlsplit(url)
    assert parts.path == "/d/tokentrail-requests"
    query = dict(parse_qsl(parts.query))
    # The end of an alert's window is not in it; a dashboard's time has both of its ends.
    window = Window(int(query.pop("from")), int(query.pop("to")) - 1)
    chosen = {name.removeprefix("var-"): value for name, value in query.items()}
    return int(seeded.row("requests", "Requests", window, choice=chosen)["requests"])


def meant(seeded: Seeded, definition: Definition, finding: Finding, until_s: int) -> list[Call]:
    """The calls that a finding is about, by the calls themselves."""
    labels: Mapping[str, Callable[[Call], str]] = {
        "deployment_environment_name": lambda call: call.environment,
        "gen_ai_provider_name": lambda call: call.provider,
        "gen_ai_request_model": lambda call: call.model,
        "user": lambda call: call.user,
        "feature": lambda call: call.feature,
    }
    calls = [
        call
        for call in seeded.seed.calls
        if (until_s - definition.window_s) * 10**9 <= call.end_ns < until_s * 10**9
        and all(labels[name](call) == value for name, value in finding.labels.items())
    ]
    match definition.metric.name:
        case "error_rate":
            return [call for call in calls if call.error_type]
        case "unpriced":
            return [call for call in calls if call.cost is None and not call.error_type]
    return calls


@pytest.mark.parametrize("name", list(DEFINITIONS))
def test_the_link_of_an_alert_opens_the_calls_it_measured(seeded: Seeded, name: str) -> None:
    definition = DEFINITIONS[name]
    beyond = 2.0 if definition.is_below else -1.0  # whatever is measured is past it
    nobody_spared = replace(definition, thresholds=dict.fromkeys(definition.thresholds, beyond), min_requests=0)
    last = max(call.end_ns for call in seeded.seed.calls if call.ttft_ns and call.environment == "production")
    until_s = last // 10**9 + 1

    findings = evaluate(seeded.store, nobody_spared, until_s * 10**9).findings

    assert findings
    for finding in findings[:5]:
        calls = meant(seeded, definition, finding, until_s)
        url = link(definition, finding, until_s)
        assert shown(seeded, url) == len(calls), url
