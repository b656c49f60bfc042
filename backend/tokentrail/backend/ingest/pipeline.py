"""The way of one export request through the backend: decode, normalise, queue, wait until durable."""

import asyncio
import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.ingest.committer import Committer
from tokentrail.backend.ingest.dedupe import RecentRequests
from tokentrail.backend.ingest.errors import NotNow, QueueFull, Stopping
from tokentrail.backend.ingest.normalise import normalise
from tokentrail.backend.ingest.queue import CommitQueue, Pending
from tokentrail.backend.metrics.calls import CallMetrics
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.backend.receiver.decode import Encoding, decode
from tokentrail.backend.receiver.decoded import Decoded
from tokentrail.backend.row import Row
from tokentrail.backend.store._base import Store
from tokentrail.backend.store.errors import StoreUnavailable

DECODE_THREADS: Final = 2
"""Decoding holds the interpreter's lock most of the time: more threads would only interleave."""
_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Stored:
    """The request is durable, but for the spans that cannot be."""

    rejected: Mapping[str, int]
    """Spans left out, by reason; empty when all were stored."""


class Pipeline:
    """Takes export requests. `start` before the first; after `close` every request is answered with `Stopping`.

    `submit` is for one event loop; the work is done in threads.
    """

    def __init__(self, store: Store, calls: CallMetrics, own: OwnMetrics, max_spans: int, max_bytes: int):
        self._own = own
        self._queue = CommitQueue(max_spans, max_bytes)
        self._committer = Committer(self._queue, store, calls, own)
        self._recent = RecentRequests()
        self._pool = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="tokentrail-decode")
        self._decoding_bytes = 0
        self._closed = False
        own.watch_queue(lambda: self._queue.spans, lambda: self._queue.size_bytes, max_spans, max_bytes)

    def start(self) -> None:
        """Begin to commit."""
        self._committer.start()

    async def submit(self, body: bytes, encoding: Encoding) -> Stored:
        """Store the spans of `body` (decompressed); returns when they are durable.

        Raises `decoded.DecodeError` for a malformed body, `NotNow` or `StoreUnavailable` when the sender is to send it
        again, `StoreError` when that would not help.
        """
        self._admit(len(body))
        self._decoding_bytes += len(body)
        try:
            loop = asyncio.get_running_loop()
            decoded, rows, digest = await loop.run_in_executor(self._pool, _prepare, body, encoding)
        finally:
            self._decoding_bytes -= len(body)
        self._own.received(decoded.received, decoded.rejected)
        if decoded.spans:
            await self._store(Pending(decoded.spans, rows, len(body)), digest)
        return Stored(decoded.rejected)

    def close(self) -> None:
        """Take nothing more, commit what waits. Blocks until that is done. Idempotent."""
        self._closed = True
        self._queue.close()
        self._committer.join()
        self._pool.shutdown()

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

    async def _store(self, pending: Pending, digest: bytes) -> None:
        fate = self._recent.fate_of(digest)
        if fate is not None:
            self._own.repeated(len(pending.spans))
        else:
            try:
                self._queue.put(pending)
            except NotNow as error:
                self._own.returned(error.reason, len(pending.spans))
                raise
            fate = asyncio.wrap_future(pending.done)
            # Looked at even when every sender hung up, or the event loop complains about an unread failure.
            fate.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._recent.remember(digest, fate)
        try:
            # A sender that hangs up does not take back what is on its way.
            await asyncio.shield(fate)
        except StoreUnavailable:
            self._own.returned("store_unavailable", len(pending.spans))
            raise


def _prepare(body: bytes, encoding: Encoding) -> tuple[Decoded, list[Row], bytes]:
    decoded = decode(body, encoding)
    return decoded, normalise(decoded.spans), hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
