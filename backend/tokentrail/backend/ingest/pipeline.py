"""The way of one export request through the backend: decode, normalise, queue, wait until it is safe.

Safe is what is in the journal, or without one what is in the store.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from tokentrail.backend.ingest.aggregates import Aggregates
from tokentrail.backend.ingest.committer import Committer
from tokentrail.backend.ingest.dedupe import RecentRequests
from tokentrail.backend.ingest.duplicates import Duplicates
from tokentrail.backend.ingest.errors import NotNow, QueueFull, Stopping
from tokentrail.backend.ingest.journal import Journal, Record, Segment
from tokentrail.backend.ingest.prepare import Prepared, prepare
from tokentrail.backend.ingest.queue import CommitQueue, Pending
from tokentrail.backend.ingest.recent import newest_start_ns, read_recent
from tokentrail.backend.ingest.refused import Refused
from tokentrail.backend.ingest.waiting_calls import WAIT_S, WaitingCalls
from tokentrail.backend.metrics.calls import CallMetrics
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.backend.metrics.snapshots import Snapshots
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.receiver.decoded import DecodeError, TooManyItemsError
from tokentrail.backend.signals import Signal
from tokentrail.backend.store._base import Store
from tokentrail.backend.store.errors import StoreUnavailable

DECODE_THREADS: Final = 2
"""Decoding holds the interpreter's lock most of the time: more threads would only interleave."""
SETTLE_S: Final = 2.0
"""Seconds that a reader waits for what was acknowledged before it asked."""
_ENCODING: Final = "encoding"
_PROJECT: Final = "project"
_SIGNAL: Final = "signal"
_RECEIVED: Final = "received_ns"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """The request is safe, but for what of it cannot be."""

    rejected: Mapping[str, int]
    """Spans, log records or points left out, by reason; empty when all were stored."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may wait to be committed, and what may come at once."""

    max_spans: int
    max_bytes: int
    max_request_spans: int | None = None
    """Spans, log records or points of one request; `None` for any number."""


class Pipeline:
    """Takes export requests. `start` before the first; after `close` every request is answered with `Stopping`.

    `submit` is for one event loop; the work is done in threads.
    """

    def __init__(
        self,
        store: Store,
        calls: CallMetrics,
        own: OwnMetrics,
        limits: Limits,
        journal: Journal | None = None,
        refused: Refused | None = None,
        *,
        shared_store: bool = False,
        event_wait_s: float = WAIT_S,
    ):
        self._own, self._store = own, store
        self._max_request_spans = limits.max_request_spans
        self._journal = journal
        self._refused = refused
        self._queue = CommitQueue(limits.max_spans, limits.max_bytes)
        self._snapshots = Snapshots(store, calls)
        self._shared_store = shared_store
        self._duplicates = duplicates = Duplicates(store, shared=shared_store)
        self._aggregates = Aggregates()
        self._events = WaitingCalls(store, self._queue, own, self._aggregates, event_wait_s)
        self._committer = Committer(
            self._queue,
            store,
            calls,
            own,
            duplicates,
            self._aggregates,
            refused if journal else None,
            self._snapshots,
            self._events,
        )
        self._recent = RecentRequests()
        self._pool = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="tokentrail-decode")
        self._recovery: threading.Thread | None = None
        self._decoding_bytes = 0
        self._closed = False
        if journal is not None:
            own.watch_journal(lambda: journal.size_bytes, journal.max_bytes)
        own.watch_queue(lambda: self._queue.spans, lambda: self._queue.size_bytes, limits.max_spans, limits.max_bytes)

    def start(self) -> None:
        """Begin to commit, first of all what an earlier process left in the journal. Raises `StoreError`."""
        last_ns = self._snapshots.restore()
        self._duplicates.distrust(last_ns)
        self._aggregates.recall(read_recent(self._store, last_ns or time.time_ns()))
        if not self._shared_store and (newest_ns := newest_start_ns(self._store)) is not None:
            self._duplicates.begin_after(newest_ns)
        if self._journal is not None:
            self._journal.open()
            left = self._journal.recover()
            self._journal.start()
            self._recovery = threading.Thread(target=self._recover, args=(left,), name="tokentrail-recovery")
            self._recovery.start()
        self._committer.start(last_ns)
        self._events.start()

    async def submit(
        self, body: bytes, encoding: Encoding, project: str = "", signal: Signal = Signal.TRACES
    ) -> Stored:
        """Store what `body` (decompressed) holds in `project`; returns when it is safe.

        Raises `decoded.DecodeError` for a malformed body, `TooManyItemsError` for one that holds too much, `NotNow` or
        `StoreUnavailable` when the sender is to send it again, `StoreError` when that would not help.
        """
        self._admit(len(body))
        self._decoding_bytes += len(body)
        received_ns = time.time_ns()
        try:
            loop = asyncio.get_running_loop()
            prepared = await loop.run_in_executor(
                self._pool, prepare, body, encoding, project, signal, self._max_request_spans, received_ns
            )
        except TooManyItemsError as error:
            self._own.received(error.count, {error.reason: error.count}, signal)
            raise
        finally:
            self._decoding_bytes -= len(body)
        self._count_received(prepared)
        if prepared.is_empty:
            return Stored(prepared.rejected)
        record = Record(_meta(encoding, project, signal, received_ns), body) if self._journal else None
        await self._keep(_pending(prepared, body, record), prepared.digest)
        return Stored(prepared.rejected)

    def settle(self) -> None:
        """Wait a moment for what is safe to be in the store as well, so that who just sent something can read it."""
        if self._recovery is not None:
            self._recovery.join(SETTLE_S)
        self._queue.settle(SETTLE_S)

    def save_counters(self) -> None:
        """Have the counters go on from here, and who has seen them, whatever happens to this process.

        A store that is away is not waited for.
        """
        if not self._queue.is_stalled:
            self._snapshots.save(anyway=True)

    def close(self) -> None:
        """Take nothing more, commit what waits. Blocks until that is done. Idempotent."""
        self._closed = True
        self._events.close()
        self._queue.close()
        if self._recovery is not None:
            self._recovery.join()
        self._committer.join()
        self._pool.shutdown()
        if self._journal is not None:
            self._journal.close()

    def _admit(self, size_bytes: int) -> None:
        """Refuse before the body is decoded what would not fit: bodies that wait to be decoded are memory, too."""
        if self._closed:
            raise Stopping("the backend is shutting down; send the spans again to the one that follows")
        if self._decoding_bytes and self._decoding_bytes + size_bytes > self._queue.max_bytes:
            self._own.returned(QueueFull.reason, 0)
            raise QueueFull(
                f"{self._decoding_bytes} bytes wait to be decoded and at most {self._queue.max_bytes} may; "
                "send again later"
            )

    async def _keep(self, pending: Pending, digest: bytes) -> None:
        fate = self._recent.fate_of(digest)
        is_repeated = fate is not None
        if fate is None:
            try:
                fate = self._hand_in(pending)
            except (NotNow, StoreUnavailable) as error:
                self._own.returned(_reason(error), pending.count, pending.signal)
                raise
            self._recent.remember(digest, fate)
        # Not after the wait below: a sender that hangs up is counted, too.
        fate.add_done_callback(partial(self._count, pending.count, pending.signal, is_repeated))
        # A sender that hangs up does not take back what is on its way.
        await asyncio.shield(fate)

    def _count(self, items: int, signal: Signal, is_repeated: bool, fate: "asyncio.Future[None]") -> None:
        """Count what became of a request; what is stored, or refused, whoever commits has counted for the first one."""
        error = None if fate.cancelled() else fate.exception()
        if isinstance(error, NotNow | StoreUnavailable):
            self._own.returned(_reason(error), items, signal)
        elif is_repeated and error is None:
            self._own.repeated(items, signal)
        elif is_repeated:
            self._own.rejected("store_refused", items, signal)

    def _hand_in(self, pending: Pending) -> "asyncio.Future[None]":
        """Start `pending` on its way; the future tells when it is safe. Raises `NotNow`."""
        self._queue.reserve(pending)
        if self._journal is None or pending.record is None:
            self._queue.put(pending)
            return asyncio.wrap_future(pending.done)
        try:
            written = self._journal.append(pending.record)
        except BaseException:
            self._queue.cancel(pending)
            raise
        return asyncio.ensure_future(self._when_written(asyncio.wrap_future(written), pending))

    async def _when_written(self, written: "asyncio.Future[Segment]", pending: Pending) -> None:
        try:
            pending.segment = await written
        except BaseException:
            self._queue.cancel(pending)
            raise
        self._queue.put(pending)

    def _recover(self, left: "Iterator[tuple[Segment, Record]]") -> None:
        """Queue what an earlier process left, as fast as it can be committed."""
        for segment, record in left:
            try:  # whatever their number: they were acknowledged, under another limit
                received_ns = int(record.meta.get(_RECEIVED, 0))
                prepared = prepare(record.body, *_read_meta(record.meta), received_ns=received_ns)
            except (DecodeError, KeyError, ValueError) as error:  # written by another version
                _log.error("a request of the journal cannot be read any more: %s", error)
                if self._refused is not None:
                    self._refused.keep(record, error)
                segment.release()
                continue
            pending = _pending(prepared, record.body, record, segment)
            if not self._queue.reserve_when_there_is_room(pending):
                return  # it stays in the journal
            self._count_received(prepared)
            self._queue.put(pending)

    def _count_received(self, prepared: Prepared) -> None:
        self._own.received(prepared.received, prepared.rejected, prepared.signal)
        self._own.cut(prepared.cut, prepared.signal)


def _reason(error: NotNow | StoreUnavailable) -> str:
    return error.reason if isinstance(error, NotNow) else "store_unavailable"


def _meta(encoding: Encoding, project: str, signal: Signal, received_ns: int) -> dict[str, str]:
    meta = {_ENCODING: str(encoding)}
    if project:
        meta[_PROJECT] = project
    if signal is not Signal.TRACES:
        # What has no time gets that of its receipt: the same one when it is read again.
        meta[_SIGNAL], meta[_RECEIVED] = str(signal), str(received_ns)
    return meta


def _read_meta(meta: Mapping[str, str]) -> tuple[Encoding, str, Signal]:
    """What `_meta` wrote. Raises `KeyError` and `ValueError` for what another version wrote."""
    return Encoding(meta[_ENCODING]), meta.get(_PROJECT, ""), Signal(meta.get(_SIGNAL, Signal.TRACES))


def _pending(prepared: Prepared, body: bytes, record: Record | None, segment: Segment | None = None) -> Pending:
    return Pending(
        prepared.read,
        len(body),
        record,
        segment,
        signal=prepared.signal,
        parts=prepared.parts,
        events=prepared.events,
    )
