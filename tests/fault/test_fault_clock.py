"""A clock that jumps: in a running process, and between one process and the next. Python's, as a shim moves it.

Senders have a clock of their own, which is right.
"""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import otlp, otlp_records
from support.backend_process import BackendProcess, http_request
from support.fault_load import PROTOBUF, Load, assert_all_there_once, calls, settled
from support.faulty_backend import FAULTS_FILE, PROGRAM, set_faults

HOUR_S = 3600
DETAILS = "gen_ai.client.inference.operation.details"


def backend_at(tmp_path: Path, **settings: str) -> BackendProcess:
    environment = {FAULTS_FILE: str(tmp_path / "faults.json"), **settings}
    return BackendProcess(tmp_path / "data", environment, program=PROGRAM)


def told_calls(backend: BackendProcess) -> float:
    """Calls in the counters: those of now and those that the clock makes old."""
    return backend.metric("tokentrail_requests_total") + backend.metric("tokentrail_late_spans_total")


@pytest.mark.slow
def test_a_clock_that_jumps_back_and_forth_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    with backend_at(tmp_path) as backend:
        load = Load(backend, 4, "jump")
        for clock_s in (-HOUR_S, HOUR_S, -24 * HOUR_S, 0):
            load.wait_for(len(load.acknowledged) + 200)
            set_faults(faults, clock_s=clock_s)
        load.wait_for(len(load.acknowledged) + 200)
        load.end()

        settled(backend)
        assert_all_there_once(backend, load, "jump")
        assert told_calls(backend) == calls(backend)


@pytest.mark.parametrize("clock_s", [24 * HOUR_S, -24 * HOUR_S])
def test_an_event_that_was_not_decided_is_decided_after_a_restart_under_another_clock(
    tmp_path: Path, clock_s: int
) -> None:
    record = otlp_records.log_record("", {**otlp.CHAT, "gen_ai.response.id": "undecided"}, event_name=DETAILS)
    body = otlp_records.logs_request([record]).SerializeToString()
    with backend_at(tmp_path, TOKENTRAIL_EVENT_WAIT_S="600") as backend:
        assert http_request(f"{backend.http}/v1/logs", body, PROTOBUF).status == 200
        assert backend.wait_for_metric("tokentrail_log_records_stored_total", 1) == 1
        backend.kill()

    set_faults(tmp_path / "faults.json", clock_s=clock_s)
    with backend_at(tmp_path, TOKENTRAIL_EVENT_WAIT_S="1") as backend:
        deadline_s = time.monotonic() + 20
        while not calls(backend) and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert calls(backend) == 1


def jumps() -> Iterator[object]:
    for each in itertools.permutations((-HOUR_S, 0, HOUR_S)):
        marks = [] if each == (HOUR_S, 0, -HOUR_S) else [pytest.mark.slow]
        yield pytest.param(each, id=" then ".join(f"{clock_s:+} s" for clock_s in each), marks=marks)


@pytest.mark.parametrize("jumps", list(jumps()))
def test_a_restart_under_another_clock_counts_on_and_knows_what_is_stored(
    tmp_path: Path, jumps: tuple[int, ...]
) -> None:
    """As after a machine without a battery for its clock has started again, before the time is known."""
    sent: list[bytes] = []
    stored = 0
    for clock_s in jumps:
        set_faults(tmp_path / "faults.json", clock_s=clock_s)
        with backend_at(tmp_path) as backend:
            for body in (*sent, otlp.body(), otlp.body()):
                assert backend.post_traces(body).status == 200
                if body not in sent:
                    sent.append(body)
                    stored += 1
            settled(backend)
            assert calls(backend) == stored == len(sent), "what was sent again is stored again"
            assert told_calls(backend) == stored, "the counters do not go on where they were"
            backend.kill()
