"""Backend and Prometheus with two days of traffic in them: where the queries of dashboards are asked.

Everything goes the way that users' data goes: spans and events over OTLP, SQL through `/clickhouse`, PromQL through
Prometheus, which scrapes the backend and evaluates the shipped rules.
"""

import json
import shutil
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.alertmanager import free_address
from support.backend_process import BackendProcess, http_request
from support.dashboard_seed import Call, Seed, events, seed, spans
from support.prometheus import program, running

ROOT = Path(__file__).parents[2]
RULES = ROOT / "dashboards" / "grafana" / "alerting" / "tokentrail_rules.yml"
AT_ONCE = 400
LIVE_S = 240
"""Calls of the last minutes are sent piece by piece, so that Prometheus sees its counters move."""
PIECES = 6
_SETTLE_TIMEOUT_S = 90.0
_ALERTS = """
alerts:
  - name: LLMDailyCostHigh
    metric: cost
    threshold: {production: $0.10}
    window: 1d
    every: 1s
    severity: medium
"""
"""One of the shipped alerts is to fire: its threshold is lowered, as users do."""
_PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs: [{{job_name: tokentrail, static_configs: [{{targets: ["{backend}"]}}]}}]
"""


@dataclass(frozen=True)
class Stack:
    """What is running, and what is in it."""

    backend: BackendProcess
    prometheus: str
    seed: Seed
    live: Sequence[Call]
    """Those that Prometheus has seen arrive."""

    def sql(self, statement: str) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
        """Columns (name and type) and rows of a statement, through the backend's `/clickhouse`."""
        answer = http_request(
            f"{self.backend.http}/clickhouse/?default_format=JSON&client_protocol_version=54460", statement.encode()
        )
        assert answer.status == 200, f"{answer.body.decode()[:800]}\n{statement}"
        document = answer.json()
        return document["meta"], document["data"]

    def instant(self, expression: str) -> list[dict[str, Any]]:
        """Samples of an expression, now."""
        return self._ask("query", {"query": expression})

    def over_time(self, expression: str, seconds: int, step_s: int = 1) -> list[dict[str, Any]]:
        """Series of an expression over the last `seconds`."""
        now = time.time()
        return self._ask(
            "query_range", {"query": expression, "start": str(now - seconds), "end": str(now), "step": str(step_s)}
        )

    def _ask(self, what: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        url = f"http://{self.prometheus}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        answer = http_request(url)
        document = json.loads(answer.body)
        assert answer.status == 200, f"{document}\n{parameters['query']}"
        found: list[dict[str, Any]] = document["data"]["result"]
        return found


@contextmanager
def stack(directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A backend with the calls of `seed`, the latest of them seen by a Prometheus beside it.

    Raises `support.prometheus.MissingError` where there is no Prometheus.
    """
    prometheus = program("prometheus")
    alerts = directory / "alerts.yaml"
    alerts.write_text(_ALERTS)
    with BackendProcess(directory / "data", {"TOKENTRAIL_ALERTS": str(alerts), **(environment or {})}) as backend:
        told = seed(time.time_ns())
        border_ns = told.now_ns - LIVE_S * 10**9
        live = [call for call in told.calls if call.end_ns > border_ns]
        _send(backend, [call for call in told.calls if call.end_ns <= border_ns])
        backend.terminate()  # calls are summed up by the hour at a start
        backend.start()
        address = free_address()
        config = directory / "prometheus.yml"
        rules = shutil.copy(RULES, directory / "rules.yml")
        config.write_text(_PROMETHEUS.format(rules=rules, backend=backend.http.removeprefix("http://")))
        command = [
            str(prometheus),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address={address}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]
        with running(command, address, directory / "prometheus.log"):
            found = Stack(backend, address, told, live)
            _trickle(found)
            yield found


def _send(backend: BackendProcess, calls: Sequence[Call]) -> None:
    """Spans and events. A trace is never cut in two: its calls would have two roots."""
    traces: dict[bytes, list[Call]] = {}
    for call in calls:
        traces.setdefault(call.trace, []).append(call)
    piece: list[Call] = []
    for index, of_trace in enumerate(traces.values()):
        piece += of_trace
        if len(piece) >= AT_ONCE or index == len(traces) - 1:
            assert backend.post_traces(spans(piece).SerializeToString()).status == 200
            body = events(piece).SerializeToString()
            headers = {"content-type": "application/x-protobuf"}
            assert http_request(f"{backend.http}/v1/logs", body, headers).status == 200
            piece = []


def _trickle(stack: Stack) -> None:
    """Send the latest calls in pieces, and wait until Prometheus has all of them."""
    _until(lambda: bool(stack.instant('up{job="tokentrail"} == 1')), "the backend is not scraped")
    size = max(len(stack.live) // PIECES, 1)
    for start in range(0, len(stack.live), size):
        _send(stack.backend, stack.live[start : start + size])
        time.sleep(2.2)
    wanted = stack.backend.metric("tokentrail_requests_total")
    _until(lambda: _value(stack.instant("sum(tokentrail_requests_total)")) == wanted, "Prometheus has not seen all")
    summed = "SELECT count() AS hours FROM llm_requests_hourly"
    _until(lambda: bool(stack.instant('ALERTS{alertstate="firing", component="llm"}')), "no alert fires")
    _until(lambda: int(stack.sql(summed)[1][0]["hours"]) > 0, "no hour was summed up")


def _value(samples: list[dict[str, Any]]) -> float:
    return float(samples[0]["value"][1]) if samples else 0.0


def _until(is_true: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    while not is_true():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.2)
