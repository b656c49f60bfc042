"""`make stack` as a user runs it: real programs, a temporary directory, free ports."""

import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from stack import programs
from stack.access import Users, make
from support.backend_process import BackendProcess, http_request, samples
from support.pids import children_of, needs_proc, still_running

ROOT = Path(__file__).parents[2]
PORTS = [f"--{name}-port=0" for name in ("http", "grpc", "prometheus", "alertmanager")]


def _command(data: Path, *options: str) -> list[str]:
    try:
        programs.find("prometheus")
        programs.find("alertmanager")
    except programs.MissingProgramError as error:
        pytest.skip(str(error))
    return [sys.executable, "-m", "stack", f"--data={data}", *PORTS, "--scrape-interval=1s", "--speed=50", *options]


def _environment() -> dict[str, str]:
    # A shell that has settings for another backend, which the stack is not to follow.
    return {**os.environ, "PYTHONPATH": str(ROOT / "deploy"), "TOKENTRAIL_KEYS": "/nowhere", "TOKENTRAIL_STORE": "x://"}


def test_calls_are_scraped_rules_are_healthy_and_alerts_are_told(tmp_path: Path) -> None:
    done = subprocess.run(
        _command(tmp_path, "--once"), env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything works: " in done.stdout
    assert "[pager] firing: DemoErrors: Error rate" in done.stdout
    assert "/alerts" in done.stdout
    assert f"export TOKENTRAIL_DASHBOARDS={ROOT / 'dashboards' / 'grafana' / 'dashboards'}" in done.stdout


GRAFANA = """#!{python}
# Stands in for Grafana: says how it was started, and that it is well.
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
with open(os.environ["GF_PATHS_DATA"] + "/seen.json", "w") as seen:
    json.dump([sys.argv[1:], dict(os.environ)], seen)
address = os.environ["GF_SERVER_HTTP_ADDR"], int(os.environ["GF_SERVER_HTTP_PORT"])
http.server.HTTPServer(address, Handler).serve_forever()
"""


@needs_proc
def test_ctrl_c_ends_all_of_it_with_a_grafana_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "grafana").write_text(GRAFANA.format(python=sys.executable))
    (tmp_path / "bin" / "grafana").chmod(0o755)
    environment = {**_environment(), "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = _command(tmp_path / "data", "--no-traffic", "--grafana-port=0")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        children = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        code = process.wait(60)

    assert code == 0, "".join(said)
    assert len(children) == 4
    assert "folder LLM observability" in "".join(said)
    arguments, grafana = json.loads((tmp_path / "data" / "grafana" / "seen.json").read_text())
    assert arguments[0] == "server"
    assert (Path(grafana["GF_PATHS_PROVISIONING"]) / "datasources" / "tokentrail.yaml").exists()
    assert list(Path(grafana["TOKENTRAIL_DASHBOARDS"]).glob("*.json"))
    assert f"{grafana['TOKENTRAIL_CLICKHOUSE_HOST']}:{grafana['TOKENTRAIL_CLICKHOUSE_PORT']}" in "".join(said)
    assert still_running(children) == []


def test_the_demos_calls_reach_a_backend_that_has_keys(tmp_path: Path) -> None:
    """What the containers do: keys made on the first start, calls sent with one, read by Prometheus and Grafana."""
    me = os.getuid()
    make(tmp_path / "access", Users(me, me, me, me))
    keys = {"TOKENTRAIL_KEYS": str(tmp_path / "access" / "keys" / "keys.toml")}
    with BackendProcess(tmp_path / "data", keys) as backend:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "stack.traffic", "--rounds=1", "--speed=50", f"--endpoint={backend.http}"),
                f"--key-file={tmp_path / 'access' / 'applications'}",
            ],
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        bearer = {"authorization": f"Bearer {(tmp_path / 'access' / 'prometheus').read_text()}"}
        scraped = http_request(f"{backend.http}/metrics", headers=bearer)
        password = b64encode(f"grafana:{(tmp_path / 'access' / 'grafana').read_text()}".encode()).decode()
        asked = http_request(
            f"{backend.http}/clickhouse/?default_format=TSV",
            b"SELECT count(), uniqExact(Environment), any(Environment) FROM llm_requests",
            {"authorization": f"Basic {password}"},
        )

    assert done.returncode == 0, done.stdout + done.stderr
    calls, environments, environment = asked.body.decode().split()
    assert int(calls) > 20
    assert (environments, environment) == ("1", "demo")
    counted = [value for name, _, value in samples(scraped.body.decode()) if name == "tokentrail_requests_total"]
    assert sum(counted) == int(calls)
