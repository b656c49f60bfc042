"""A store that is away, slow, or answers nobody: real processes, whose store fails as the test says."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import otlp, otlp_records
from support.backend_process import BackendProcess, http_request
from support.fault_load import PROTOBUF, Load, assert_all_there_once, balance, calls, footprint, settled
from support.faulty_backend import FAULTS_FILE, PROGRAM, set_faults

OFF = {"TOKENTRAIL_JOURNAL": "off"}


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    return tmp_path / "faults.json"


def backend_with(faults: Path, settings: dict[str, str] | None = None) -> BackendProcess:
    return BackendProcess(faults.parent / "data", {FAULTS_FILE: str(faults), **(settings or {})}, program=PROGRAM)


def wait_until_waiting(backend: BackendProcess, spans: int) -> None:
    deadline = time.monotonic() + 20
    while balance(backend)[1] < spans:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_with_a_journal_nobody_notices_that_the_store_is_away_and_all_is_stored_when_it_is_back(faults: Path) -> None:
    with backend_with(faults) as backend:
        load = Load(backend, 4, "away")
        load.wait_for(100)
        set_faults(faults, store="unavailable")
        load.wait_for(len(load.acknowledged) + 500)
        assert backend.get("/readyz").status == 503
        set_faults(faults)
        load.wait_for(len(load.acknowledged) + 100)
        load.end()

        told = settled(backend)
        assert_all_there_once(backend, load, "away")
        assert backend.metric("tokentrail_requests_total") == calls(backend)
    assert set(load.answers) == {"200", "OK"}
    assert told.returned == 0


@pytest.mark.parametrize("settings", [{}, OFF], ids=["journal", "no journal"])
def test_spans_beside_log_records_that_cannot_be_stored_are_counted_once(
    faults: Path, settings: dict[str, str]
) -> None:
    set_faults(faults, insert_parts="unavailable", insert_s=0.5)
    logs = otlp_records.logs_request([otlp_records.log_record()]).SerializeToString()
    with backend_with(faults, settings) as backend:

        def send_log() -> int:
            return http_request(f"{backend.http}/v1/logs", logs, PROTOBUF).status

        with ThreadPoolExecutor(20) as senders:
            spans = [senders.submit(backend.post_traces, otlp.body()) for _ in range(10)]
            records = senders.submit(send_log)
            spans += [senders.submit(backend.post_traces, otlp.body()) for _ in range(9)]
            assert [each.result().status for each in spans] == [200] * 19
            assert records.result() == (503 if settings else 200)
        backend.wait_for_metric("tokentrail_store_write_errors_total", 1)
        set_faults(faults)
        assert send_log() == 200

        backend.wait_for_metric("tokentrail_log_records_stored_total", 1)
        told = settled(backend)
        counted = {
            stage: backend.metric(f"tokentrail_log_records_{stage}_total")
            for stage in ("received", "stored", "repeated", "returned")
        }

    assert (told.received, told.stored, told.repeated, told.returned) == (19, 19, 0, 0)
    assert counted == {"received": 2, "stored": 1, "repeated": 0 if settings else 1, "returned": 1 if settings else 0}


@pytest.mark.slow
def test_without_a_journal_senders_are_told_to_come_back_and_all_is_stored_once(faults: Path) -> None:
    with backend_with(faults, OFF) as backend:
        load = Load(backend, 4, "back", retry=True)
        load.wait_for(100)
        set_faults(faults, store="unavailable")
        load.wait_for_answer("503", "UNAVAILABLE")
        set_faults(faults)
        load.wait_for(len(load.acknowledged) + 200)
        load.end()

        told = settled(backend)
        assert_all_there_once(backend, load, "back")
        assert backend.metric("tokentrail_requests_total") == calls(backend)
    assert set(load.answers) == {"200", "OK", "503", "UNAVAILABLE"}
    assert told.returned > 0


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, OFF], ids=["journal", "no journal"])
def test_a_store_that_stores_and_does_not_say_so_gets_nothing_twice(faults: Path, settings: dict[str, str]) -> None:
    with backend_with(faults, settings) as backend:
        load = Load(backend, 4, "lost", retry=True)
        load.wait_for(50)
        set_faults(faults, answer="lost")
        time.sleep(1.5)
        set_faults(faults)
        load.wait_for(len(load.acknowledged) + 200)
        load.end()

        settled(backend)
        assert_all_there_once(backend, load, "lost")
        assert backend.metric("tokentrail_requests_total") == calls(backend)


def test_a_store_that_refuses_costs_what_it_refuses_and_says_so(faults: Path) -> None:
    with backend_with(faults, OFF) as backend:
        assert backend.post_traces(otlp.body()).status == 200
        set_faults(faults, store="refused")
        refused = backend.post_traces(otlp.body()).status
        set_faults(faults)

        told = settled(backend)
    assert refused == 500
    assert (told.received, told.stored, told.rejected) == (2, 1, 1)


@pytest.mark.slow
def test_a_slow_store_makes_senders_wait_or_come_back_and_memory_stays(faults: Path) -> None:
    limits = {"TOKENTRAIL_MAX_QUEUE_SPANS": "300", "TOKENTRAIL_MAX_QUEUE_BYTES": "2000000"}
    with backend_with(faults, limits) as backend:
        assert backend.post_traces(otlp.body()).status == 200
        assert calls(backend) == 1  # the engine has stored and read something: that alone takes about 100 MB
        set_faults(faults, insert_s=0.4)
        before = footprint(backend)
        load = Load(backend, 8, "slow", retry=True, content_bytes=4000)
        load.wait_for_answer("429", "RESOURCE_EXHAUSTED")
        load.wait_for(1000, timeout_s=60)
        load.end()
        held = footprint(backend)
        set_faults(faults)

        told = settled(backend)
        assert_all_there_once(backend, load, "slow")
    assert told.returned > 0
    assert held.peak_mb < before.peak_mb + 100


@pytest.mark.slow
def test_sigterm_while_the_store_is_away_keeps_everything_for_the_next_start(faults: Path) -> None:
    with backend_with(faults) as backend:
        load = Load(backend, 4, "term")
        load.wait_for(100)
        set_faults(faults, store="unavailable")
        load.wait_for(len(load.acknowledged) + 200)
        began = time.monotonic()
        code = backend.terminate()
        took_s = time.monotonic() - began
        load.end()
    set_faults(faults)
    with backend_with(faults) as again:
        told = settled(again)
        assert_all_there_once(again, load, "term")
        assert again.metric("tokentrail_requests_total") == calls(again)
    assert code == 0
    assert took_s < 10
    assert told.received >= 200


@pytest.mark.slow
def test_a_start_while_the_store_is_away_says_so_and_loses_nothing(faults: Path) -> None:
    with backend_with(faults) as backend:
        set_faults(faults, store="unavailable")
        assert backend.post_traces(otlp.body()).status == 200
        backend.kill()

    start = subprocess.run(
        [sys.executable, *PROGRAM, "serve", "--store", f"chdb://{faults.parent / 'data'}"],
        env={**os.environ, FAULTS_FILE: str(faults)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert start.returncode == 1
    assert "it is away" in start.stderr

    set_faults(faults)
    with backend_with(faults) as again:
        assert settled(again).stored == 1
