"""Group commit: what arrived while the last group was written, or within a short while, is the next, up to a size.

One thread, one insert a table and group. Without a journal a request is acknowledged after its rows are durable and not
before. With one it was acknowledged when it was in the journal, and stays there until it is in the store: a store that
is down is tried again until it is not, and what the store refuses for good is put aside. Metrics follow the rows, so
that they count only what is stored, and all of it once. A request that the store refuses must not take others with it:
then the requests of its group are written one by one.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from tokentrail.backend.ingest.aggregates import Aggregates
from tokentrail.backend.ingest.duplicates import Duplicates
from tokentrail.backend.ingest.normalise import Read
from tokentrail.backend.ingest.queue import CommitQueue, Pending
from tokentrail.backend.ingest.refused import Refused
from tokentrail.backend.ingest.trace_wide import TraceWide
from tokentrail.backend.ingest.waiting_calls import WaitingCalls
from tokentrail.backend.metrics.calls import CallMetrics
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.backend.metrics.snapshots import Snapshots
from tokentrail.backend.row import Row
from tokentrail.backend.signals import Signal
from tokentrail.backend.store._base import Key, Store, key_of
from tokentrail.backend.store.errors import StoreError, StoreUnavailable
from tokentrail.backend.store.records import LOGS, Part

LINGER_S: Final = 1.0
"""With a journal nobody waits for the insert, and a large one is much cheaper a span than a small one: each costs about
35 ms of CPU before its first row, so much as 2000 spans. Readers do not wait for it either (`CommitQueue.settle`)."""
ENOUGH_SPANS: Final = 16_384
"""A group of this size is not made better by waiting."""
MAX_GROUP_BYTES: Final = 64 * 1024 * 1024
"""Of the requests of a group: while it is written its rows are in memory once more for each table."""
MAX_UNCERTAIN: Final = 1_000_000
"""Calls of failed attempts that are remembered, to be counted when they turn out to be stored."""

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0

_log = logging.getLogger(__name__)


class Committer:
    """The thread that writes. `start` once, `close` the queue, then `join`."""

    def __init__(
        self,
        queue: CommitQueue,
        store: Store,
        calls: CallMetrics,
        own: OwnMetrics,
        duplicates: Duplicates,
        aggregates: Aggregates,
        refused: Refused | None,
        snapshots: Snapshots,
        events: WaitingCalls,
    ):
        self._queue, self._store, self._calls, self._own = queue, store, calls, own
        self._duplicates = duplicates
        self._aggregates = aggregates
        self._trace_wide = TraceWide()
        self._refused = refused
        """Where requests of the journal go that the store refuses; `None` without a journal."""
        self._snapshots = snapshots
        self._events = events
        self._uncertain: dict[Key, None] = {}
        """Calls of attempts that failed: what of them is found in the store was stored by us, and not counted."""
        self._last_ns = 0
        # Not a daemon: the interpreter waits for it, so that nothing is cut off half written.
        self._thread = threading.Thread(target=self._run, name="tokentrail-committer")

    def start(self, after_ns: int = 0) -> None:
        """Begin to commit what the queue holds, at times later than `after_ns`, the last of the process before."""
        self._last_ns = after_ns
        self._thread.start()

    def join(self) -> None:
        """Wait until the closed queue is empty and committed, or left in the journal."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        linger_s = LINGER_S if self._refused else 0.0
        while group := self._queue.take(linger_s, ENOUGH_SPANS, MAX_GROUP_BYTES):
            # Apart: of a group that is tried again nothing may be counted already.
            for of_one_kind in (_with_spans(group), _with_parts(group)):
                if of_one_kind:
                    self._commit(of_one_kind)
            self._queue.done(len(group))
            self._snapshots.save_when_due()
        self._snapshots.save()

    def _commit(self, group: Sequence[Pending]) -> None:
        error = self._write_persistently(group)
        if error is None or isinstance(error, StoreUnavailable) or len(group) == 1:
            self._resolve(group, error)
            return
        _log.warning("a group of %d requests was refused, writing them one by one: %s", len(group), error)
        for pending in group:
            self._commit([pending])

    def _write_persistently(self, group: Sequence[Pending]) -> StoreError | None:
        """Write `group`; what is in the journal has no sender any more that would try again, so we do."""
        pause_s = _FIRST_PAUSE_S
        while True:
            error = self._write(group)
            self._queue.is_stalled = isinstance(error, StoreUnavailable)
            if self._refused is None or not self._queue.is_stalled:
                return error
            if self._queue.wait_closed(pause_s):
                return self._write(group)  # a last time
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _write(self, group: Sequence[Pending]) -> StoreError | None:
        read = [each for pending in group for each in pending.read]
        told = [row for pending in group for row in pending.rows]
        try:
            if read or told:
                self._store_once(self._events.without_counted(read), told)
            self._store_parts(group)
        except StoreUnavailable as error:
            self._own.write_failed("unavailable")
            _log.warning("the store is unavailable, %d requests wait or go back: %s", len(group), error)
            return error
        except StoreError as error:
            self._own.write_failed("refused")
            return error
        except Exception as error:  # noqa: BLE001  # top of the worker's loop: the thread must outlive any fault
            self._own.write_failed("refused")
            _log.exception("the store failed in a way it should not")
            refused = StoreError(f"the store failed: {type(error).__name__}: {error}")
            refused.__cause__ = error
            return refused
        return None

    def _store_once(self, read: Sequence[Read], told: Sequence[Row]) -> None:
        """Store what is not stored yet, and count what was not counted. Raises `StoreError`.

        `told` are calls that events have told.
        """
        with self._aggregates.keep(read) as kept:
            spans = [span for span, _ in read]
            rows = [*self._trace_wide.complete(read, kept.rows), *told]
            fresh, fresh_rows = self._duplicates.fresh_spans(spans), self._duplicates.fresh_rows(rows)
            self._duplicates.remember(fresh)
            self._duplicates.remember_rows(told)
            at_ns = self._next_ns()
            uncounted = self._uncounted(rows, fresh_rows)
            try:
                if fresh or fresh_rows:
                    self._store.insert(fresh, fresh_rows, at_ns)
            except Exception:
                self._remember_uncertain(fresh_rows)
                raise
            kept.confirm()
        for row in uncounted:
            self._uncertain.pop(key_of(row), None)
        self._own.stored(len(fresh), at_ns)
        self._own.repeated(len(spans) - len(fresh))
        self._own.left_out(kept.left_out)
        self._calls.record(uncounted, at_ns)

    def _store_parts(self, group: Sequence[Pending]) -> None:
        """Store log records and points that are not stored yet. Raises `StoreError`."""
        parts = [part for pending in group for part in pending.parts]
        if not parts:
            return
        fresh = self._duplicates.fresh_parts(parts)
        self._duplicates.remember_parts(fresh)
        if fresh:
            self._store.insert_parts(fresh)
        for signal, is_of in ((Signal.LOGS, _is_logs), (Signal.METRICS, _is_points)):
            stored = sum(len(part) for part in fresh if is_of(part))
            self._own.stored(stored, 0, signal)
            self._own.repeated(sum(len(part) for part in parts if is_of(part)) - stored, signal)
        self._events.add([call for pending in group for call in pending.events])

    def _uncounted(self, rows: Sequence[Row], fresh: list[Row]) -> list[Row]:
        """`fresh`, and those of `rows` that an attempt of ours stored without knowing it."""
        if not self._uncertain:
            return fresh
        new = set(map(key_of, fresh))
        ours = {key: row for row in rows if (key := key_of(row)) not in new}
        return fresh + [row for key, row in ours.items() if key in self._uncertain]

    def _remember_uncertain(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._uncertain[key_of(row)] = None
        while len(self._uncertain) > MAX_UNCERTAIN:
            del self._uncertain[next(iter(self._uncertain))]

    def _next_ns(self) -> int:
        """The time of the next group: a microsecond or more after that of the last, whatever the clock does."""
        self._last_ns = max(time.time_ns(), self._last_ns + 1000)
        return self._last_ns

    def _resolve(self, group: Sequence[Pending], error: StoreError | None) -> None:
        for pending in group:
            if error is None or self._put_aside(pending, error):
                if pending.segment is not None:
                    pending.segment.release()
                pending.done.set_result(None)
            else:
                pending.done.set_exception(error)

    def _put_aside(self, pending: Pending, error: StoreError) -> bool:
        """Deal with a request that was not stored; true when nobody needs it any more."""
        if isinstance(error, StoreUnavailable):
            return False  # it goes back to its sender, or stays in the journal for the next start
        _log.error("a request of %d items of %s was refused: %s", pending.count, pending.signal, error)
        self._own.rejected("store_refused", pending.count, pending.signal)
        if self._refused is None or pending.record is None:
            return False
        self._refused.keep(pending.record, error)
        return True


def _with_spans(group: Sequence[Pending]) -> list[Pending]:
    return [pending for pending in group if not pending.parts]


def _with_parts(group: Sequence[Pending]) -> list[Pending]:
    return [pending for pending in group if pending.parts]


def _is_logs(part: Part) -> bool:
    return part.table == LOGS


def _is_points(part: Part) -> bool:
    return part.table != LOGS
