"""What `opentelemetry-instrument` sets up when Tokentrail is installed, seen from outside the process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.otlp_sink import SentSpan, listening
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE, SseServer, json_reply
from tokentrail.instrumentation import distro
from tokentrail.instrumentation.distro import service_name

_APP = """
import json, os, sys
import httpx2
from opentelemetry import trace

def main():
    httpx2.post(sys.argv[1], json=json.loads(sys.argv[2]))
    resource = trace.get_tracer_provider().resource.attributes
    names = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL")
    print(json.dumps({"service": resource["service.name"], **{name: os.environ.get(name) for name in names}}))

main()
"""


def instrumented(
    command: list[str], server: SseServer, directory: Path, **environment: str
) -> tuple[dict[str, str], list[SentSpan]]:
    """What the application prints, and the spans it sends, under `opentelemetry-instrument`."""
    server.script(json_reply(CHAT_RESPONSE))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TOKENTRAIL_"))}
    with listening() as sink:
        done = subprocess.run(
            [
                Path(sys.executable).parent / "opentelemetry-instrument",
                sys.executable,
                *command,
                server.chat_url,
                json.dumps(CHAT_REQUEST),
            ],
            env={**clean, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint, **environment},
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        printed: dict[str, str] = json.loads(done.stdout)
        return printed, sink.spans()


DEFAULTS = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
}


def test_a_script_is_traced_without_any_setting(server: SseServer, tmp_path: Path) -> None:
    (tmp_path / "my_agent.py").write_text(_APP)

    printed, spans = instrumented(["my_agent.py"], server, tmp_path)

    assert printed == {"service": "my_agent", **DEFAULTS}
    (call,) = [span for span in spans if span.scope == "tokentrail.instrumentation"]
    assert call.name == "chat gpt-4o-mini"
    assert call.attributes["gen_ai.usage.input_tokens"] == 9


def test_a_module_is_traced_under_its_name(server: SseServer, tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__main__.py").write_text(_APP)

    printed, spans = instrumented(["-W", "ignore", "-m", "shop"], server, tmp_path)

    assert printed["service"] == "shop"
    assert any(span.scope == "tokentrail.instrumentation" for span in spans)


@pytest.mark.parametrize(
    "settings",
    [{"OTEL_SERVICE_NAME": "named"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=named,deployment.environment.name=x"}],
    ids=["service name", "resource attributes"],
)
def test_the_users_settings_win(server: SseServer, tmp_path: Path, settings: dict[str, str]) -> None:
    (tmp_path / "app.py").write_text(_APP)

    printed, spans = instrumented(
        ["app.py"], server, tmp_path, OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="console", **settings
    )

    assert printed["service"] == "named"
    assert printed["OTEL_TRACES_EXPORTER"] == "none"
    assert printed["OTEL_LOGS_EXPORTER"] == "console"
    assert spans == []


def test_it_can_be_left_out(server: SseServer, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(_APP)

    _, spans = instrumented(["app.py"], server, tmp_path, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="tokentrail")

    assert not [span for span in spans if span.scope == "tokentrail.instrumentation"]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python app.py", "app"),
        ("python -u /srv/my-app.py --port 8000", "my-app"),
        ("python -m shop.web.server arg", "shop"),
        ("python -W ignore app.py", "app"),
        ("python -X dev -W ignore -m shop", "shop"),
        ("python /srv/shop/__main__.py", "shop"),
        ("python /venv/bin/gunicorn shop:app", "gunicorn"),
        ("python -c pass", ""),
        ("python", ""),
    ],
)
def test_a_service_is_named_after_what_is_run(command: str, name: str) -> None:
    assert service_name(command.split()) == name


@pytest.mark.parametrize(
    ("installed", "endpoint", "protocol", "others"),
    [
        ((), "", "http/protobuf", "none"),
        (("opentelemetry-exporter-otlp-proto-grpc",), "", "http/protobuf", "none"),
        (("opentelemetry-exporter-otlp-proto-grpc",), "http://localhost:4317", "grpc", "none"),
        ((), "http://localhost:4317", "http/protobuf", "none"),
        (("opentelemetry-exporter-otlp-proto-grpc", "opentelemetry-distro"), "", "grpc", "otlp"),
    ],
)
def test_the_protocol_follows_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], endpoint: str, protocol: str, others: str
) -> None:
    monkeypatch.setattr(distro, "_installed", lambda name: name in installed)
    for name in DEFAULTS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)

    distro.TokentrailDistro()._configure()

    assert os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == protocol
    assert os.environ["OTEL_METRICS_EXPORTER"] == os.environ["OTEL_LOGS_EXPORTER"] == others
    assert os.environ["OTEL_TRACES_EXPORTER"] == "otlp"


def test_a_process_that_multiprocessing_spawns_has_the_name_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TOKENTRAIL_SERVICE_NAME", "")
    spawned = ["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(7)", "--multiprocessing-fork"]

    assert distro._name(["python", "shop.py"]) == "shop"
    assert distro._name(spawned) == "shop"
    assert distro._name(["python", "-c", "pass"]) == ""
    assert distro._name(spawned) == ""
