"""The parts of the stack on this machine; tests/e2e runs it whole."""

import json
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from stack import __main__ as stack_command
from stack import child, programs, told, traffic, watch
from support.pids import needs_proc, still_running


def _sleeper(tmp_path: Path, code: str, ready: str = "") -> child.Server:
    return child.Server("a server", (sys.executable, "-c", code), tmp_path / "log", ready)


def test_a_port_that_is_taken_is_named_with_the_option_that_helps() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(child.ChildError, match=f"Prometheus cannot listen on 127.0.0.1:{port}.*--prometheus-port"):
            child.choose_port("Prometheus", port, "--prometheus-port")


def test_port_0_is_any_that_is_free() -> None:
    port = child.choose_port("Prometheus", 0, "--prometheus-port")

    with socket.create_server(("127.0.0.1", port)):
        assert port > 0


def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    server = _sleeper(tmp_path, "import sys; sys.exit('no such option')", "http://127.0.0.1:1/")

    with (
        pytest.raises(child.ChildError, match=r"a server ended with exit code 1\.\n  no such option"),
        child.running(server),
    ):
        pass


@needs_proc
def test_a_server_is_gone_after_the_block_with_its_children(tmp_path: Path) -> None:
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    with child.running(_sleeper(tmp_path, code)) as started:
        while not (text := (tmp_path / "log").read_text().strip()):
            started.check()

    assert started.process.poll() is not None
    assert still_running([int(text)]) == []


def test_a_taken_port_ends_the_command_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        code = stack_command.main(["--data", str(tmp_path), "--http-port", str(port)])

    assert code == 1
    assert f"stack: backend cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_not_there_is_told_with_ways_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "UNPACKED", tmp_path)

    with pytest.raises(programs.MissingProgramError, match=r"alertmanager is not on the PATH(.|\n)*apt-get install"):
        programs.find("alertmanager")


@pytest.mark.parametrize("name", ["alertmanager", "prometheus-alertmanager"])
def test_a_program_on_the_path_is_taken_first(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert programs.find("alertmanager") == programs.Program((str(tmp_path / name),))


def test_a_grafana_of_either_kind_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.find_grafana() is None

    (tmp_path / "grafana-server").write_text("#!/bin/sh\n")
    (tmp_path / "grafana-server").chmod(0o755)
    assert programs.find_grafana() == programs.Program((str(tmp_path / "grafana-server"),))

    (tmp_path / "grafana").write_text("#!/bin/sh\n")
    (tmp_path / "grafana").chmod(0o755)
    assert programs.find_grafana() == programs.Program((str(tmp_path / "grafana"), "server"))


def test_the_inbox_shows_what_alertmanager_sends() -> None:
    shown: list[told.Told] = []
    message = {
        "version": "4",
        "alerts": [
            {"status": "firing", "labels": {"alertname": "A"}, "annotations": {"summary": "it burns"}},
            {"status": "resolved", "labels": {"alertname": "B"}, "annotations": {}},
        ],
    }

    with told.listening(shown.append) as inbox:
        request = urllib.request.Request(f"{inbox.url}/pager", json.dumps(message).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    assert shown == [told.Told("pager", "firing", "A", "it burns"), told.Told("pager", "resolved", "B", "")]
    assert (inbox.names(), inbox.names("resolved")) == ({"A"}, {"B"})


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"alerts": [1]}', b'{"alerts": 1}', b"\xff"])
def test_what_is_no_message_of_alertmanager_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        told.read("pager", body)


def test_a_state_is_complete_when_the_whole_way_was_gone() -> None:
    state = watch.State(scraped=True, calls=3, rules=2, firing=("A",), held=("A", "B"))

    assert state.complete
    for missing in (
        watch.State(scraped=False, calls=3, rules=2, firing=("A",), held=("A",)),
        watch.State(scraped=True, calls=0, rules=2, firing=("A",), held=("A",)),
        watch.State(scraped=True, calls=3, rules=2, firing=(), held=("A",)),
        watch.State(scraped=True, calls=3, rules=2, firing=("A",), held=()),
        watch.State(scraped=True, calls=3, rules=2, unhealthy=("B: bad",), firing=("A",), held=("A",)),
        watch.State(scraped=True, calls=3, rules=2, waiting=1, firing=("A",), held=("A",)),
    ):
        assert not missing.complete


def test_servers_that_are_not_there_make_an_empty_state() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    assert watch.look(url, url) == watch.State()


def test_traffic_never_has_a_key_of_a_vendor_and_sends_the_backends() -> None:
    outer = {"OPENAI_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-2", "PATH": "/bin", "OTEL_EXPORTER_OTLP_HEADERS": "x=1"}

    made = traffic.environment(outer, "http://backend:4318", "http://127.0.0.1:1", "tt_key")

    assert not any("sk-" in value for value in made.values())
    assert made["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=Bearer%20tt_key"
    assert made["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://backend:4318"
    assert made["TOKENTRAIL_DEMO_PROVIDER"] == "http://127.0.0.1:1"
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in traffic.environment(outer, "http://b", "http://p", "")
