"""Natural group commit: whatever arrived while the last group was written is the next group.

One thread, one `store.insert` per group. A request is acknowledged after its rows are durable and not before; metrics
follow, so that they count only what is stored. A request that the store refuses must not take others with it: then the
requests of its group are written one by one.
"""

import logging
import threading
import time
from collections.abc import Sequence

from tokentrail.backend.ingest.queue import CommitQueue, Pending
from tokentrail.backend.metrics.calls import CallMetrics
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.backend.store._base import Store
from tokentrail.backend.store.errors import StoreError, StoreUnavailable

_log = logging.getLogger(__name__)


class Committer:
    """The thread that writes. `start` once, `close` the queue, then `join`."""

    def __init__(self, queue: CommitQueue, store: Store, calls: CallMetrics, own: OwnMetrics):
        self._queue, self._store, self._calls, self._own = queue, store, calls, own
        # Not a daemon: the interpreter waits for it, so that nothing is cut off half written.
        self._thread = threading.Thread(target=self._run, name="tokentrail-committer")

    def start(self) -> None:
        """Begin to commit what the queue holds."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the closed queue is empty and committed."""
        self._thread.join()

    def _run(self) -> None:
        while group := self._queue.take_all():
            self._commit(group)

    def _commit(self, group: Sequence[Pending]) -> None:
        error = self._write(group)
        if error is None or isinstance(error, StoreUnavailable) or len(group) == 1:
            self._resolve(group, error)
            return
        _log.warning("a group of %d requests was refused, writing them one by one: %s", len(group), error)
        for pending in group:
            self._commit([pending])

    def _write(self, group: Sequence[Pending]) -> StoreError | None:
        spans = [span for pending in group for span in pending.spans]
        rows = [row for pending in group for row in pending.rows]
        try:
            self._store.insert(spans, rows)
        except StoreUnavailable as error:
            self._own.write_failed("unavailable")
            _log.warning("the store is unavailable, %d spans go back to their senders: %s", len(spans), error)
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

    def _resolve(self, group: Sequence[Pending], error: StoreError | None) -> None:
        for pending in group:
            if error is None:
                pending.done.set_result(None)
            else:
                pending.done.set_exception(error)
        if error is None:
            now_ns = time.time_ns()
            self._own.stored(sum(len(pending.spans) for pending in group), now_ns)
            self._calls.record([row for pending in group for row in pending.rows], now_ns)
        elif not isinstance(error, StoreUnavailable):
            _log.error("a request of %d spans was dropped: %s", sum(len(pending.spans) for pending in group), error)
            self._own.rejected("store_refused", sum(len(pending.spans) for pending in group))
