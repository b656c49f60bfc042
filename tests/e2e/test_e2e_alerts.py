"""From spans in to the pager and the chat: backend, Prometheus and Alertmanager as shipped, but for their pace."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from support.alertmanager import (
    PAGER_TOKEN,
    Hook,
    alert_hook,
    free_address,
    local_config,
    running_alertmanager,
    skip_without_alertmanager,
    wait_until,
)
from support.backend_process import BackendProcess
from support.otlp import CHAT, request, span
from support.prometheus import program, running

ALERTS = """
defaults: false
links: {grafana: "http://grafana.test", runbook: "http://runbook.test"}
alerts:
  - name: LiveErrors
    metric: error_rate
    threshold: {production: 5%}
    window: 10s
    every: 1s
    min_requests: 10
    for: 2s
    severity: high
  - name: LiveSpend
    metric: cost
    threshold: 100
    window: 10s
    every: 1s
    group_by: [user]
    severity: medium
"""
PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}
rule_files: [{rules}]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{alertmanager}"]}}]}}]}}
scrape_configs: [{{job_name: tokentrail, static_configs: [{{targets: ["{backend}"]}}]}}]
"""


@contextmanager
def _stack(directory: Path) -> Iterator[tuple[BackendProcess, Hook]]:
    alerts, rules = directory / "alerts.yaml", directory / "rules.yml"
    alerts.write_text(ALERTS)
    subprocess.run(
        [sys.executable, "-m", "tokentrail.backend", "alerts", "render", str(alerts), "--output", str(rules)],
        check=True,
    )
    with ExitStack() as stack:
        hook = stack.enter_context(alert_hook())
        backend = stack.enter_context(BackendProcess(directory / "data", {"TOKENTRAIL_ALERTS": str(alerts)}))
        alertmanager = stack.enter_context(running_alertmanager(directory, local_config(directory, hook)))
        config, prometheus = directory / "prometheus.yml", free_address()
        target = urlsplit(backend.http).netloc
        config.write_text(PROMETHEUS.format(rules=rules, alertmanager=alertmanager, backend=target))
        stack.enter_context(
            running(
                [
                    str(program("prometheus")),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={directory / 'prometheus'}",
                    f"--web.listen-address={prometheus}",
                    "--rules.alert.resend-delay=1s",
                    "--log.level=warn",
                ],
                prometheus,
                directory / "prometheus.log",
            )
        )
        yield backend, hook


def _send(backend: BackendProcess, count: int, environment: str, **attributes: object) -> None:
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    spans = [span({**CHAT, **named}) for _ in range(count)]
    resource = {"service.name": "shop", "deployment.environment.name": environment}
    assert backend.post_traces(request(spans, resource).SerializeToString()).status == 200


def test_failing_calls_reach_the_pager_and_the_chat_and_are_resolved_when_they_end(tmp_path: Path) -> None:
    skip_without_alertmanager()
    with _stack(tmp_path) as (backend, hook):
        sent_ms = time.time() * 1000
        _send(backend, 19, "production")
        _send(backend, 1, "production", error__type="timeout")
        _send(backend, 20, "staging", error__type="timeout")
        _send(backend, 1, "staging", user__id="rich", gen_ai__usage__cost=120.0)
        _send(backend, 1, "staging", user__id="poor", gen_ai__usage__cost=99.0)
        time.sleep(4)  # 5 % is not above 5 %
        before = hook.alerts("firing", "LiveErrors")
        _send(backend, 19, "production")
        _send(backend, 2, "production", error__type="timeout")

        wait_until("firing", lambda: hook.alerts("firing", "LiveErrors"))
        wait_until("told in the chat", lambda: "rich" in hook.chat() and "LiveErrors" in hook.chat())
        fired = hook.alerts("firing", "LiveErrors")
        wait_until("resolved", lambda: hook.alerts("resolved", "LiveErrors"))

    assert before == []
    labels = fired[0]["labels"]
    assert labels["deployment_environment_name"] == "production"
    assert (labels["severity"], labels["component"], labels["job"]) == ("high", "llm", "tokentrail")
    annotations = fired[0]["annotations"]
    assert annotations["summary"].startswith("Error rate 7.317% over 10s for environment production")  # 3 of 41
    assert annotations["runbook_url"] == "http://runbook.test#liveerrors"
    link = parse_qs(urlsplit(annotations["dashboard_url"]).query)
    assert link["var-env"] == ["production"]
    assert int(link["to"][0]) - int(link["from"][0]) == 10_000
    assert int(link["from"][0]) <= sent_ms <= int(link["to"][0])
    assert {path: authorization for path, authorization, _ in hook.received}["/pager"] == f"Bearer {PAGER_TOKEN}"
    assert "poor" not in hook.chat()
    assert not any(alert["labels"]["deployment_environment_name"] != "production" for alert in fired)
