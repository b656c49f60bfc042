"""The timer of the alerts: a thread that evaluates each of them when it is due, and keeps what it said last.

It reads through the store's query connections and takes no lock of the ingest: a slow question delays other alerts, no
span.
"""

import heapq
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tokentrail.backend.alerts.definition import Definition
from tokentrail.backend.alerts.evaluate import Evaluation, evaluate
from tokentrail.backend.alerts.file import AlertFile
from tokentrail.backend.store._base import Store
from tokentrail.backend.store.errors import StoreError

CHECK_S: Final = 2.0
"""Seconds between two looks at the file of alerts."""
CLOSE_TIMEOUT_S: Final = 5.0
"""How long `close` waits for a question in progress."""
_GRACE_S: Final = 120

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an alert stands."""

    definition: Definition
    evaluation: Evaluation | None = None
    """The last that succeeded; `None` before the first, and when it is too old to be acted on."""
    evaluated_ns: int = 0
    """The moment that it is about; 0 before. Later than its question where the answer could only be the same."""
    duration_s: float = 0.0
    """Of the last question."""
    failures: int = 0
    """Questions that the store did not answer, since the start."""
    asked_at: int | None = None
    """`Store.generation` when the store was asked last."""


class AlertRunner:
    """Evaluates the alerts of `file` over `store` from `start` to `close`."""

    def __init__(self, store: Store, file: AlertFile, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._store, self._file, self._now_ns = store, file, now_ns
        self._standings: dict[str, Standing] = {}
        self._due: list[tuple[float, str]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tokentrail-alerts", daemon=True)
        self._adopt()

    @property
    def file(self) -> AlertFile:
        """The alerts in force."""
        return self._file

    def start(self) -> None:
        """Begin. Call once."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a question in progress gets a few seconds. Idempotent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S)

    def standings(self) -> tuple[Standing, ...]:
        """Every alert in force. An evaluation that is too old is left out: nobody is to act on it."""
        now_ns = self._now_ns()
        return tuple(
            replace(each, evaluation=None) if _is_stale(each, now_ns) else each
            for each in tuple(self._standings.values())
        )

    def evaluate_due(self, now_s: float) -> float:
        """Evaluate what is due at `now_s` of the monotonic clock; returns when the next one is."""
        while self._due and self._due[0][0] <= now_s and not self._stopping.is_set():
            _, name = heapq.heappop(self._due)
            standing = self._standings.get(name)
            if standing is None:
                continue
            self._standings[name] = self._evaluated(standing)
            heapq.heappush(self._due, (now_s + standing.definition.every_s, name))
        return self._due[0][0] if self._due else now_s + CHECK_S

    def adopt_changes(self) -> None:
        """Look at the file, and take over its alerts where it has changed."""
        before = self._file.alerts
        self._file.refresh()
        if self._file.alerts is not before:
            self._adopt()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.adopt_changes()
                next_s = self.evaluate_due(time.monotonic())
            except Exception:  # noqa: BLE001  # the top of a loop that all alerts hang on
                _log.exception("the alerts could not be evaluated")
                next_s = time.monotonic() + CHECK_S
            self._stopping.wait(max(min(next_s - time.monotonic(), CHECK_S), 0.01))

    def _adopt(self) -> None:
        """Unchanged alerts keep what they said; new ones are due at once."""
        kept: dict[str, Standing] = {}
        for definition in self._file.alerts.definitions:
            known = self._standings.get(definition.name)
            is_same = known is not None and replace(known.definition, line=definition.line) == definition
            kept[definition.name] = known if known is not None and is_same else Standing(definition)
        self._standings = kept
        now_s = time.monotonic()
        self._due = [(now_s, name) for name in kept]
        heapq.heapify(self._due)

    def _evaluated(self, standing: Standing) -> Standing:
        started_s = time.monotonic()
        now_ns, generation = self._now_ns(), self._store.generation
        if (known := _still_so(standing, now_ns, generation)) is not None:
            return replace(standing, evaluation=known, evaluated_ns=now_ns)
        try:
            evaluation = evaluate(self._store, standing.definition, now_ns)
        except StoreError as error:
            if not self._stopping.is_set():
                _log.warning("the alert %s could not be evaluated: %s", standing.definition.name, error)
            return replace(standing, failures=standing.failures + 1, duration_s=time.monotonic() - started_s)
        duration_s = time.monotonic() - started_s
        return replace(
            standing,
            evaluation=evaluation,
            evaluated_ns=now_ns,
            duration_s=duration_s,
            asked_at=generation,
        )


def _still_so(standing: Standing, now_ns: int, generation: int | None) -> Evaluation | None:
    """What the store would say, where it can only say the same as the last time: so an idle backend is idle."""
    last = standing.evaluation
    if last is None or generation is None or generation != standing.asked_at:
        return None
    return replace(last, until_ns=now_ns) if standing.evaluated_ns <= now_ns <= last.same_until_ns else None


def _is_stale(standing: Standing, now_ns: int) -> bool:
    return now_ns - standing.evaluated_ns > (3 * standing.definition.every_s + _GRACE_S) * 10**9
