"""The same load minute after minute: what a span costs once merges have caught up, and whether anything grows."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.ingest.load import client, cpu_s, memory_mb, percentiles, verify, wait_stored
from benchmarks.ingest.payloads import Request, requests
from support.backend_process import BackendProcess

_SPANS: Final = 512
"""Of a request."""
_CONTENT_BYTES: Final = 2048
_PERIOD_S: Final = 60.0
_BACK_OFF_S: Final = 0.2
_NEWEST: Final = "/api/requests?limit=100"
_ROW: Final = "{minute:6} {spans:9,} {us_a_span:11.1f} {load:7.1%} {p50:11.1f} {p99:6.0f} {memory:8.0f} {newest:10.0f}"
_HEAD: Final = "minute     spans | CPU us/span  core   ack ms p50   p99  MB now  newest 100, ms"


@dataclass(frozen=True, slots=True)
class Period:
    """What a minute of the load took."""

    seconds: float
    spans: int
    cpu_s: float
    """Of the backend, all threads: its merges too."""
    ack_ms: tuple[float, float]
    """Median and 99th percentile of the time to an acknowledgement."""
    memory_mb: float
    """Resident at the end."""
    newest_ms: float
    """What the API took for the newest 100 calls, at the end."""


def steady(
    rate: int, minutes: float, target: Path | None, say: Callable[[str], None], period_s: float = _PERIOD_S
) -> list[Period]:
    """Send about `rate` spans a second for so long, by one client, and check what was stored.

    Raises `load.WrongResultError`. What was measured goes into `target` as well, as JSON.
    """
    sent: list[Request] = []
    periods: list[Period] = []
    say(_HEAD)
    with tempfile.TemporaryDirectory() as directory, BackendProcess(Path(directory) / "data") as backend:
        source, due_s = requests(_CONTENT_BYTES, _SPANS), time.monotonic()
        end_s = due_s + minutes * 60
        with client(backend, "http") as send:
            while due_s < end_s:
                begun_s, used_s, taken, before = time.monotonic(), cpu_s(backend), [], len(sent)
                while due_s < min(begun_s + period_s, end_s):
                    request = next(source)
                    time.sleep(max(due_s - time.monotonic(), 0))
                    at_s = time.perf_counter()
                    while not send(request.body):
                        time.sleep(_BACK_OFF_S)
                    taken.append(time.perf_counter() - at_s)
                    sent.append(replace(request, body=b""))  # all of them would be gigabytes
                    due_s += request.spans / rate
                used_s, seconds = cpu_s(backend) - used_s, time.monotonic() - begun_s
                spans = sum(each.spans for each in sent[before:])
                periods.append(Period(seconds, spans, used_s, percentiles(taken), memory_mb(backend), _newest(backend)))
                say(_line(len(periods), periods[-1]))
        wait_stored(backend, sum(each.spans for each in sent))
        verify(backend, sent)
    if target is not None:
        target.write_text(json.dumps([asdict(each) for each in periods], indent=1) + "\n", encoding="utf-8")
    return periods


def _newest(backend: BackendProcess) -> float:
    at_s = time.perf_counter()
    backend.get(_NEWEST)
    return (time.perf_counter() - at_s) * 1e3


def _line(minute: int, each: Period) -> str:
    return _ROW.format(
        minute=minute,
        spans=each.spans,
        us_a_span=each.cpu_s / each.spans * 1e6,
        load=each.cpu_s / each.seconds,
        p50=each.ack_ms[0],
        p99=each.ack_ms[1],
        memory=each.memory_mb,
        newest=each.newest_ms,
    )
