"""`tokentrail serve` as a process: starting, refusing to start, stopping, starting again."""

import http.client
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support import otlp
from support.backend_process import BackendProcess


def run_serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tokentrail.backend", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_taken_port_is_said_clearly_with_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        store = f"chdb://{tmp_path}/data"
        over_http = run_serve("--store", store, "--http", address, "--grpc", "127.0.0.1:0")
        over_grpc = run_serve("--store", store, "--http", "127.0.0.1:0", "--grpc", address)

    for result, flag in ((over_http, "--http"), (over_grpc, "--grpc")):
        assert result.returncode == 1
        assert f"on {address}: another program uses it" in result.stderr
        assert flag in result.stderr
        assert "Traceback" not in result.stderr


def test_two_backends_do_not_share_a_port_or_a_store(tmp_path: Path) -> None:
    with BackendProcess(tmp_path / "data") as first:
        same_grpc = run_serve("--store", f"chdb://{tmp_path}/b", "--http", "127.0.0.1:0", "--grpc", first.grpc)
        same_store = run_serve("--store", f"chdb://{tmp_path}/data", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")

        assert same_grpc.returncode == 1
        assert first.grpc in same_grpc.stderr
        assert same_store.returncode == 1
        assert str(tmp_path / "data") in same_store.stderr
        assert first.get("/readyz").status == 200


def test_a_journal_that_another_backend_uses_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BackendProcess(tmp_path / "data"):
        monkeypatch.setenv("TOKENTRAIL_JOURNAL", str(tmp_path / "data" / "journal"))

        result = run_serve("--store", f"chdb://{tmp_path}/other", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")

    assert result.returncode == 1
    assert f"Another Tokentrail is using the journal {tmp_path}/data/journal" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bad_setting_is_said_in_one_line_with_exit_code_1() -> None:
    result = run_serve("--http", "0.0.0.0:4318")

    assert result.returncode == 1
    assert result.stderr.startswith("tokentrail serve: TOKENTRAIL_HTTP_ADDRESS is '0.0.0.0:4318'")
    assert result.stderr.count("\n") == 1


def test_people_get_friendly_lines_and_an_interrupt_ends_cleanly(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "tokentrail.backend", "serve", "--store", f"chdb://{tmp_path}/data"),
        *("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.send_signal(2)
        output, errors = process.stdout.read(), process.stderr.read()
        process.wait(40)

    assert first == "Tokentrail is ready.\n"
    assert "Press Ctrl-C to stop." in output
    assert output.endswith("Stopped. Everything that was acknowledged is stored.\n")
    assert (process.returncode, errors) == (0, "")


def test_a_clean_shutdown_under_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    backend = BackendProcess(tmp_path / "data")
    backend.start()
    acknowledged: list[str] = []
    refused: list[int] = []
    halt = threading.Event()

    def send(worker: int) -> None:
        address = urlsplit(backend.http)
        number = 0
        while not halt.is_set():
            number += 1
            name = f"{worker}-{number}"
            body = otlp.body(otlp.span({**otlp.CHAT, "gen_ai.response.id": name}))
            try:
                connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
                connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
                status = connection.getresponse().status
                connection.close()
            except (OSError, http.client.HTTPException):
                return
            if status == 200:
                acknowledged.append(name)
            else:
                refused.append(status)

    workers = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 20
    while len(acknowledged) < 50 and time.monotonic() < deadline:
        time.sleep(0.01)

    code = backend.terminate()
    halt.set()
    for worker in workers:
        worker.join()

    assert code == 0
    assert len(acknowledged) >= 50
    assert set(refused) <= {503}
    with BackendProcess(tmp_path / "data") as again:
        stored = [row["response_id"] for row in again.requests()]
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))
