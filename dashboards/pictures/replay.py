"""The made-up calls of `tests/support/dashboard_seed.py` as they would have arrived, with a clock that is told.

Nothing that is shown is written down here. A real backend gets the calls of nine days over OTLP, those of the last
hours minute by minute, and is scraped after each; the counters of calls and the values of alerts are what the backend's
own code says at each of these minutes (it is told the time, for which reason this runs in here). Prometheus' own tool
makes a database of the scrapes, and Prometheus answers.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pictures.answers import Asked, Sources
from pictures.scrapes import JOB, STEP_S, Sample, Scrape, past
from support.backend_process import BackendProcess, http_request, samples
from support.dashboard_seed import HOUR_NS, SECOND_NS, Call, Seed, events, seed, spans
from tokentrail.backend.alerts.file import AlertFile
from tokentrail.backend.alerts.runner import AlertRunner
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.ingest.prepare import prepare
from tokentrail.backend.metrics.alerts import AlertMetrics
from tokentrail.backend.metrics.calls import CallMetrics
from tokentrail.backend.metrics.exposition import Collected, expose
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.row import Row
from tokentrail.backend.signals import Signal
from tokentrail.backend.store._base import Store
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.semconv import metrics

NOW_NS: Final = 1_795_192_200 * SECOND_NS
"""20 November 2026, 16:30 UTC, a Friday: the end of every picture."""
DAYS: Final = 9
PER_HOUR: Final = 36
SCRAPED_HOURS: Final = 7
ALERTS_EVERY_S: Final = 300
_AT_ONCE: Final = 400
_TIMES: Final = ("_timestamp_seconds", "_start_time_seconds")
"""Endings of metrics that are a time by the clock of the wall."""
_OF_ALERTS: Final = "tokentrail_alert_"
_LOGS: Final = {"content-type": "application/x-protobuf"}


@dataclass(frozen=True, slots=True)
class Replayed:
    """Where the queries of the dashboards are answered, and the calls that were made."""

    sources: Sources
    seed: Seed


@contextmanager
def replayed(directory: Path) -> Iterator[Replayed]:
    """All of it, in `directory`, until the end of the block. Raises `support.prometheus.MissingError`."""
    made = seed(NOW_NS, days=DAYS, per_hour=PER_HOUR)
    minutes = _minutes(made)
    data = directory / "data"
    with BackendProcess(data, {"TOKENTRAIL_ALERTS": ""}) as backend:
        for start in range(0, len(minutes[0]), _AT_ONCE):
            _send(backend, minutes[0][start : start + _AT_ONCE])
        scraped = [_scraped(backend, calls, at_s) for calls, at_s in _each(minutes)]
        backend.terminate()
    store = ChdbStore(data)
    try:
        store.roll_up(0, NOW_NS)
        counted = _counted(minutes)
        alerts = _alerts(store)
        scrapes = [
            Scrape(
                own.at_s, [(name, {**labels, **JOB}, value) for name, labels, value in (*own.samples, *of_calls, *said)]
            )
            for own, of_calls, said in zip(scraped, counted, alerts, strict=True)
        ]
        with past(directory, scrapes) as prometheus:
            yield Replayed(Sources(_asked(store), prometheus.ask), made)
    finally:
        store.close()


def _minutes(made: Seed) -> list[list[Call]]:
    """Calls by the minute in which their trace has ended: first all before the scrapes, then each minute."""
    ends: dict[bytes, int] = {}
    for call in made.calls:
        ends[call.trace] = max(ends.get(call.trace, 0), call.end_ns)
    first_ns = NOW_NS - SCRAPED_HOURS * HOUR_NS
    minutes: list[list[Call]] = [[] for _ in range(SCRAPED_HOURS * 3600 // STEP_S + 1)]
    for call in sorted(made.calls, key=lambda call: (ends[call.trace], call.trace, call.start_ns)):
        late_ns = ends[call.trace] - first_ns
        minutes[max(0, -(-late_ns // (STEP_S * SECOND_NS)))].append(call)
    return minutes


def _each(minutes: Sequence[list[Call]]) -> Iterator[tuple[list[Call], int]]:
    """Every minute's calls with the time at its end; those before are no minute's."""
    start_s = NOW_NS // SECOND_NS - SCRAPED_HOURS * 3600
    yield from ((calls, start_s + index * STEP_S) for index, calls in enumerate(minutes) if index)


def _send(backend: BackendProcess, calls: Sequence[Call]) -> None:
    if not calls:
        return
    told = backend.post_traces(spans(calls).SerializeToString())
    beside = http_request(f"{backend.http}/v1/logs", events(calls).SerializeToString(), _LOGS)
    if (told.status, beside.status) != (200, 200):
        raise ValueError(f"the backend takes no calls: {told.body!r} {beside.body!r}")


def _scraped(backend: BackendProcess, calls: Sequence[Call], at_s: int) -> Scrape:
    """What the backend says of itself after these calls. Its times are moved to the clock of the picture, by which they
    are as long ago as they were."""
    _send(backend, calls)
    started_s = time.time()
    found = samples(backend.get("/metrics").body.decode())
    ended_s = time.time()
    moved = at_s - ended_s
    own: list[Sample] = [("up", {}, 1.0), ("scrape_duration_seconds", {}, ended_s - started_s)]
    own += [(f"scrape_samples_{which}", {}, float(len(found))) for which in ("scraped", "post_metric_relabeling")]
    of_calls = {name for name, _, _ in _text(_Calls(CallMetrics(), 0.0))}
    for name, labels, value in found:
        if name not in of_calls and not name.startswith(_OF_ALERTS) and not _of_a_call(labels):
            own.append((name, labels, value + moved if name.endswith(_TIMES) and value else value))
    return Scrape(at_s, own)


def _of_a_call(labels: Mapping[str, str]) -> bool:
    return metrics.CALL_LABELS[0] in labels


@dataclass(frozen=True, slots=True)
class _Calls:
    """Counters of calls as a scraper sees them that came last at a time of the monotonic clock."""

    calls: CallMetrics
    last_s: float

    def collect(self) -> Iterator[Any]:
        return self.calls.collect(self.last_s)


def _counted(minutes: Sequence[list[Call]]) -> list[list[Sample]]:
    """The counters of calls since the first scrape, as the backend counts, minute by minute."""
    counters = CallMetrics()
    found: list[list[Sample]] = []
    for calls, at_s in _each(minutes):
        last_s = time.monotonic()
        counters.record(_rows(calls), at_s * SECOND_NS)
        found.append(_text(_Calls(counters, last_s)))
    return found


def _rows(calls: Sequence[Call]) -> list[Row]:
    read = prepare(spans(calls).SerializeToString(), Encoding.PROTOBUF, "", Signal.TRACES).read
    return [row for _, row in read if row is not None and row.kind in BILLABLE]


def _alerts(store: Store) -> list[list[Sample]]:
    """What the alerts that ship with the backend say, every few minutes."""
    clock_ns = [0]
    file = AlertFile(None)
    runner = AlertRunner(store, file, lambda: clock_ns[0])
    shown = AlertMetrics(runner.standings, file)
    start_s, base_s = NOW_NS // SECOND_NS - SCRAPED_HOURS * 3600, time.monotonic() + 1
    found: list[list[Sample]] = []
    for index in range(1, SCRAPED_HOURS * 3600 // STEP_S + 1):
        passed_s = index * STEP_S
        if passed_s % ALERTS_EVERY_S == 0 or not found:
            clock_ns[0] = (start_s + passed_s) * SECOND_NS
            runner.evaluate_due(base_s + passed_s)
            found.append(_text(shown))
        else:
            found.append(found[-1])
    return found


def _text(shown: Collected) -> list[Sample]:
    """As Prometheus reads it."""
    return list(samples(expose(shown, "")[0].decode()))


def _asked(store: Store) -> Callable[[str], Asked]:
    def sql(statement: str) -> Asked:
        described = store.query(f"DESCRIBE ({statement})")
        meta = [{"name": str(each["name"]), "type": str(each["type"])} for each in described]
        return meta, store.query(statement)

    return sql
