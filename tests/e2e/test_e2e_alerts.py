"""From spans in to the pager and the chat: backend, Prometheus and Alertmanager as shipped, but for their pace."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from support.backend_process import BackendProcess
from support.otlp import CHAT, request, span
from support.prometheus import MissingError, program, running

ROOT = Path(__file__).parents[2]
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


@dataclass
class Hook:
    """Receives what Alertmanager sends: path, Authorization header, body."""

    address: str = ""
    received: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)

    def alerts(self, status: str, name: str) -> list[Mapping[str, Any]]:
        """The alerts of that status that the pager was told of."""
        return [
            alert
            for path, _, body in self.received
            for alert in body.get("alerts", [])
            if path == "/pager" and alert["status"] == status and alert["labels"]["alertname"] == name
        ]

    def chat(self) -> str:
        return "\n".join(json.dumps(body) for path, _, body in self.received if path == "/slack")


@contextmanager
def _hook() -> Iterator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            hook.received.append((self.path, self.headers.get("authorization", ""), json.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _alertmanager_config(directory: Path, hook: Hook) -> Path:
    """The shipped one, with the receivers on this machine and without its patience."""
    text = (ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text()
    text = re.sub(r"group_wait: \w+", "group_wait: 0s", text)
    text = re.sub(r"group_interval: \w+", "group_interval: 1s", text)
    text = text.replace("http://127.0.0.1:9095/tokentrail", f"http://{hook.address}/pager")
    text = text.replace("/etc/alertmanager/secrets/", f"{directory}/")
    for name, secret in (
        ("slack_url", f"http://{hook.address}/slack"),
        ("smtp_password", "none"),
        ("webhook_token", "pager-token"),
    ):
        (directory / name).write_text(secret)
    path = directory / "alertmanager.yml"
    path.write_text(text)
    return path


@contextmanager
def _stack(directory: Path) -> Iterator[tuple[BackendProcess, Hook]]:
    alerts, rules = directory / "alerts.yaml", directory / "rules.yml"
    alerts.write_text(ALERTS)
    subprocess.run(
        [sys.executable, "-m", "tokentrail.backend", "alerts", "render", str(alerts), "--output", str(rules)],
        check=True,
    )
    with ExitStack() as stack:
        hook = stack.enter_context(_hook())
        backend = stack.enter_context(BackendProcess(directory / "data", {"TOKENTRAIL_ALERTS": str(alerts)}))
        alertmanager, prometheus = _free_address(), _free_address()
        config = directory / "prometheus.yml"
        target = urlsplit(backend.http).netloc
        config.write_text(PROMETHEUS.format(rules=rules, alertmanager=alertmanager, backend=target))
        stack.enter_context(
            running(
                [
                    str(program("prometheus-alertmanager")),
                    f"--config.file={_alertmanager_config(directory, hook)}",
                    f"--storage.path={directory / 'alertmanager'}",
                    f"--web.listen-address={alertmanager}",
                    "--cluster.listen-address=",
                    "--log.level=warn",
                ],
                alertmanager,
                directory / "alertmanager.log",
            )
        )
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


def _wait(what: str, condition: Callable[[], object], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s:g} s: {what}"
        time.sleep(0.1)


def _send(backend: BackendProcess, count: int, environment: str, **attributes: object) -> None:
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    spans = [span({**CHAT, **named}) for _ in range(count)]
    resource = {"service.name": "shop", "deployment.environment.name": environment}
    assert backend.post_traces(request(spans, resource).SerializeToString()).status == 200


def test_failing_calls_reach_the_pager_and_the_chat_and_are_resolved_when_they_end(tmp_path: Path) -> None:
    try:
        program("prometheus-alertmanager")
    except MissingError as error:
        pytest.skip(f"no Prometheus: {error}")
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

        _wait("firing", lambda: hook.alerts("firing", "LiveErrors"))
        _wait("told in the chat", lambda: "rich" in hook.chat() and "LiveErrors" in hook.chat())
        fired = hook.alerts("firing", "LiveErrors")
        _wait("resolved", lambda: hook.alerts("resolved", "LiveErrors"))

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
    assert {path: authorization for path, authorization, _ in hook.received}["/pager"] == "Bearer pager-token"
    assert "poor" not in hook.chat()
    assert not any(alert["labels"]["deployment_environment_name"] != "production" for alert in fired)
