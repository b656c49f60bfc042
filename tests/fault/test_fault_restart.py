"""A start after a stop or a kill: with a large journal, and as Prometheus sees it."""

import os
import time
from pathlib import Path

import pytest

from support import otlp
from support.backend_process import BackendProcess, http_request, samples
from support.fault_load import calls, footprint, settled
from tokentrail.backend.ingest.journal import Journal, Record

SPANS = 256
CONTENT = "x" * 2000
META = {"encoding": "application/x-protobuf"}


def fill_journal(directory: Path, size_bytes: int) -> int:
    """As a process that died with its store away leaves it. The number of spans in it."""
    journal = Journal(directory, size_bytes * 2)
    journal.open()
    list(journal.recover())
    journal.start()
    request = otlp.request(
        [otlp.span({**otlp.CHAT, "gen_ai.input.messages": CONTENT, "number": number}) for number in range(SPANS)]
    )
    spans = request.resource_spans[0].scope_spans[0].spans
    count = 0
    written = []
    while journal.size_bytes < size_bytes:
        trace_id = os.urandom(16)
        for each in spans:
            each.trace_id = trace_id
        written.append(journal.append(Record(META, request.SerializeToString())))
        count += SPANS
    for each_written in written:
        each_written.result(60)
    journal.close()
    return count


def start_and_measure(tmp_path: Path, size_bytes: int, timeout_s: float) -> tuple[float, float, int]:
    """Seconds until ready, seconds until all is stored, and the most memory it took in MB."""
    spans = fill_journal(tmp_path / "data" / "journal", size_bytes)
    began = time.monotonic()
    with BackendProcess(tmp_path / "data") as backend:
        ready_s = time.monotonic() - began
        assert backend.post_traces(otlp.body()).status == 200
        deadline = began + timeout_s
        while backend.metric("tokentrail_spans_received_total") < spans + 1:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        told = settled(backend, timeout_s)
        stored_s = time.monotonic() - began
        assert told.stored == told.received == spans + 1
        assert calls(backend) == backend.metric("tokentrail_requests_total") == spans + 1
        return ready_s, stored_s, footprint(backend).peak_mb


def test_a_start_with_a_journal_takes_requests_at_once_and_stores_it_all(tmp_path: Path) -> None:
    start_and_measure(tmp_path, 20_000_000, 60)


@pytest.mark.slow
def test_a_start_with_a_gigabyte_in_the_journal_is_quick_and_bounded(tmp_path: Path) -> None:
    ready_s, stored_s, peak_mb = start_and_measure(tmp_path, 1_000_000_000, 900)

    print(f"ready after {ready_s:.1f} s, stored after {stored_s:.1f} s, {peak_mb} MB at most")
    assert ready_s < 30
    assert peak_mb < 3000


PROMETHEUS = {"X-Prometheus-Scrape-Timeout-Seconds": "10", "User-Agent": "Prometheus/3.0"}
COUNTERS = ("_total", "_bucket", "_count", "_sum")


class Watcher:
    """A Prometheus, that tells what it would take for a reset, or miss."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.wrong: list[str] = []

    def scrape(self, backend: BackendProcess, when: str) -> None:
        answer = http_request(f"{backend.http}/metrics", headers=PROMETHEUS)
        for name, labels, value in samples(answer.body.decode()):
            if not name.endswith(COUNTERS) or "gen_ai_request_model" not in labels:
                continue
            key = name, tuple(sorted(labels.items()))
            if key not in self.last and value:
                self.wrong.append(f"{when}: {name} of {labels['gen_ai_request_model']} begins at {value}")
            elif value < self.last.get(key, 0):
                self.wrong.append(f"{when}: {name} of {labels['gen_ai_request_model']} falls to {value}")
            self.last[key] = value

    def requests(self, model: str) -> float:
        return sum(
            value
            for (name, labels), value in self.last.items()
            if name == "tokentrail_requests_total" and ("gen_ai_request_model", model) in labels
        )


def calls_of(model: str, count: int) -> bytes:
    return otlp.body(*(otlp.span({**otlp.CHAT, "gen_ai.request.model": model}) for _ in range(count)))


def test_prometheus_sees_no_series_fall_nor_begin_above_zero_when_a_backend_is_killed_or_stopped(
    tmp_path: Path,
) -> None:
    watcher = Watcher()
    with BackendProcess(tmp_path / "data") as backend:
        watcher.scrape(backend, "at the start")
        for model in ("gpt-4o", "gpt-4o-mini"):
            assert backend.post_traces(calls_of(model, 3)).status == 200
            watcher.scrape(backend, "when it is new")
            watcher.scrape(backend, "when it has been seen")
        assert backend.post_traces(calls_of("never-seen", 2)).status == 200
        assert backend.get("/api/totals").status == 200  # it is stored
        backend.kill()
        backend.start()
        watcher.scrape(backend, "after the kill")
        watcher.scrape(backend, "once more after the kill")
        assert backend.post_traces(calls_of("not-seen-either", 2)).status == 200
        backend.terminate()
        backend.start()
        watcher.scrape(backend, "after the stop")
        watcher.scrape(backend, "once more after the stop")

    assert watcher.wrong == []
    assert [watcher.requests(model) for model in ("gpt-4o", "gpt-4o-mini", "never-seen", "not-seen-either")] == [
        3,
        3,
        2,
        2,
    ]
