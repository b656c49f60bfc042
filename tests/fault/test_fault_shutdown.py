"""SIGTERM in the middle of everything: it ends in time, with exit code 0, and what was acknowledged is there.

While the store is away: `test_fault_store.py`.
"""

import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.backend_process import BackendProcess
from support.fault_load import Load, assert_all_there_once, calls, settled

SHUTDOWN_S = 5
HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 1000\r\n\r\n"


def stop_and_compare(backend: BackendProcess, load: Load, prefix: str) -> float:
    """SIGTERM, and a start to compare. Seconds until it was gone."""
    began = time.monotonic()
    code = backend.terminate()
    took_s = time.monotonic() - began
    load.end()
    with BackendProcess(backend.data) as again:
        settled(again)
        assert_all_there_once(again, load, prefix)
        assert again.metric("tokentrail_requests_total") == calls(again)
    assert code == 0
    return took_s


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["", "off"], ids=["journal", "no journal"])
def test_sigterm_under_load_ends_in_time_and_loses_nothing(tmp_path: Path, journal: str) -> None:
    settings = {"TOKENTRAIL_SHUTDOWN_S": str(SHUTDOWN_S), **({"TOKENTRAIL_JOURNAL": journal} if journal else {})}
    with BackendProcess(tmp_path / "data", settings) as backend:
        load = Load(backend, 8, "term")
        load.wait_for(300)

        took_s = stop_and_compare(backend, load, "term")

    assert took_s < SHUTDOWN_S + 5


def test_sigterm_does_not_wait_for_those_that_do_not_go_on(tmp_path: Path) -> None:
    with BackendProcess(tmp_path / "data", {"TOKENTRAIL_SHUTDOWN_S": "20"}) as backend:
        address = urlsplit(backend.http)
        opened = [socket.create_connection((str(address.hostname), address.port or 0)) for _ in range(50)]
        for number, connection in enumerate(opened):
            connection.sendall((b"", HEAD[:30], HEAD + b"abc")[number % 3])
        load = Load(backend, 4, "half")
        load.wait_for(100)

        took_s = stop_and_compare(backend, load, "half")
        ends = {connection.recv(100).partition(b"\r\n")[0] for connection in opened}
        for connection in opened:
            connection.close()

    assert took_s < 10, "it waited for bodies that do not come"
    assert ends == {b"", b"HTTP/1.1 503 Service Unavailable"}


@pytest.mark.slow
def test_sigterm_again_and_again_on_the_same_data_loses_nothing(tmp_path: Path) -> None:
    for number in range(20):
        with BackendProcess(tmp_path / "data", {"TOKENTRAIL_SHUTDOWN_S": str(SHUTDOWN_S)}) as backend:
            load = Load(backend, 8, f"round{number:02d}")
            load.wait_for(100)
            stop_and_compare(backend, load, f"round{number:02d}")
