"""The way of one export request through the backend: decode, normalise, queue, wait until it is safe.

Safe is what is in the journal, or without one what is in the store.
"""

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.ingest.aggregates import Aggregates
from tokentrail.backend.ingest.committer import Committer
from tokentrail.backend.ingest.dedupe import RecentRequests
from tokentrail.backend.ingest.duplicates import Duplicates
from tokentrail.backend.ingest.errors import NotNow, QueueFull, Stopping
from tokentrail.backend.ingest.journal import Journal, Record, Segment
from tokentrail.backend.ingest.normalise import Read, describe
from tokentrail.backend.ingest.queue import CommitQueue, Pending
from tokentrail.backend.ingest.recent import read_recent
from tokentrail.backend.ingest.refused import Refused
from tokentrail.backend.metrics.calls import CallMetrics
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.backend.metrics.snapshots import Snapshots
from tokentrail.backend.receiver.decode import Encoding, decode
from tokentrail.backend.receiver.decoded import Decoded, DecodeError
from tokentrail.backend.store._base import Store
from tokentrail.backend.store.errors import StoreUnavailable

DECODE_THREADS: Final = 2
"""Decoding holds the interpreter's lock most of the time: more threads would only interleave."""
SETTLE_S: Final = 2.0
"""Seconds that a reader waits for what was acknowledged before it asked."""
_DIGEST_BYTES: Final = 16
_ENCODING: Final = "encoding"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """The request is safe, but for the spans that cannot be."""

    rejected: Mapping[str, int]
    """Spans left out, by reason; empty when all were stored."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may wait to be committed."""

    max_spans: int
    max_bytes: int


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
    ):
        self._own, self._store = own, store
        self._journal = journal
        self._refused = refused
        self._queue = CommitQueue(limits.max_spans, limits.max_bytes)
        self._snapshots = Snapshots(store, calls)
        duplicates = Duplicates(store, shared=shared_store)
        self._aggregates = Aggregates()
        self._committer = Committer(
            self._queue, store, calls, own, duplicates, self._aggregates, refused if journal else None, self._snapshots
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
        self._snapshots.restore()
        self._aggregates.recall(read_recent(self._store, time.time_ns()))
        if self._journal is not None:
            self._journal.open()
            left = self._journal.recover()
            self._journal.start()
            self._recovery = threading.Thread(target=self._recover, args=(left,), name="tokentrail-recovery")
            self._recovery.start()
        self._committer.start()

    async def submit(self, body: bytes, encoding: Encoding) -> Stored:
        """Store the spans of `body` (decompressed); returns when they are safe.

        Raises `decoded.DecodeError` for a malformed body, `NotNow` or `StoreUnavailable` when the sender is to send it
        again, `StoreError` when that would not help.
        """
        self._admit(len(body))
        self._decoding_bytes += len(body)
        try:
            loop = asyncio.get_running_loop()
            decoded, read, digest = await loop.run_in_executor(self._pool, _prepare, body, encoding)
        finally:
            self._decoding_bytes -= len(body)
        self._own.received(decoded.received, decoded.rejected)
        if decoded.spans:
            record = Record({_ENCODING: encoding}, body) if self._journal else None
            await self._keep(Pending(read, len(body), record), digest)
        return Stored(decoded.rejected)

    def settle(self) -> None:
        """Wait a moment for what is safe to be in the store as well, so that who just sent something can read it."""
        if self._recovery is not None:
            self._recovery.join(SETTLE_S)
        self._queue.settle(SETTLE_S)

    def close(self) -> None:
        """Take nothing more, commit what waits. Blocks until that is done. Idempotent."""
        self._closed = True
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
        if fate is not None:
            self._own.repeated(len(pending.read))
        else:
            try:
                fate = self._hand_in(pending)
            except NotNow as error:
                self._own.returned(error.reason, len(pending.read))
                raise
            # Looked at even when every sender hung up, or the event loop complains about an unread failure.
            fate.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._recent.remember(digest, fate)
        try:
            # A sender that hangs up does not take back what is on its way.
            await asyncio.shield(fate)
        except StoreUnavailable:
            self._own.returned("store_unavailable", len(pending.read))
            raise

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
            try:
                decoded, read, _ = _prepare(record.body, Encoding(record.meta[_ENCODING]))
            except (DecodeError, KeyError, ValueError) as error:  # written by another version
                _log.error("a request of the journal cannot be read any more: %s", error)
                if self._refused is not None:
                    self._refused.keep(record, error)
                segment.release()
                continue
            pending = Pending(read, len(record.body), record, segment)
            if not self._queue.reserve_when_there_is_room(pending):
                return  # it stays in the journal
            self._own.received(decoded.received, decoded.rejected)
            self._queue.put(pending)


def _prepare(body: bytes, encoding: Encoding) -> tuple[Decoded, list[Read], bytes]:
    decoded = decode(body, encoding)
    return decoded, describe(decoded.spans), hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
