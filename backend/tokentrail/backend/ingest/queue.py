"""What waits to be committed: bounded in spans and in bytes."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate

from tokentrail.backend.ingest.errors import QueueFull, Stopping
from tokentrail.backend.ingest.event_calls import EventCall
from tokentrail.backend.ingest.journal import Record, Segment
from tokentrail.backend.ingest.normalise import Read
from tokentrail.backend.row import Row
from tokentrail.backend.signals import Signal
from tokentrail.backend.store.records import Part


@dataclass(slots=True)
class Pending:
    """One request on its way into the store."""

    read: Sequence[Read]
    """Its spans, each with what it tells of a model call."""
    size_bytes: int
    """Of the decompressed body; the spans in memory are several times as large."""
    record: Record | None = None
    """The request itself, where it is in the journal."""
    segment: Segment | None = None
    """Where in the journal it is; released when it is committed."""
    done: "Future[None]" = field(default_factory=Future)
    """Resolved when the request is stored, or with the reason why it is not."""
    signal: Signal = Signal.TRACES
    parts: Sequence[Part] = ()
    """Its log records, or its points."""
    events: Sequence[EventCall] = ()
    """Model calls that its log records tell; who commits hands them on."""
    rows: Sequence[Row] = ()
    """Calls of events that are to be counted; such a request of ours has nothing else."""

    @property
    def count(self) -> int:
        """Spans, log records or points."""
        return len(self.read) + sum(map(len, self.parts))


class CommitQueue:
    """Bounded, thread-safe. Many reserve and put, one takes."""

    def __init__(self, max_spans: int, max_bytes: int):
        self.max_spans, self.max_bytes = max_spans, max_bytes
        self._waiting: list[Pending] = []
        self._since_s = 0.0
        self._waiting_spans = 0
        self._spans = self._bytes = 0
        self._put = self._done = 0
        """Requests that were put, and that were dealt with."""
        self._hurried = False
        self.is_stalled = False
        """True while the store cannot take anything, so that waiting for it is in vain."""
        self._closed = False
        self._changed = threading.Condition()

    @property
    def spans(self) -> int:
        """Spans that wait."""
        return self._spans

    @property
    def size_bytes(self) -> int:
        """Bytes that wait."""
        return self._bytes

    def reserve(self, pending: Pending) -> None:
        """Make room for a request. Raises `QueueFull`, or `Stopping` after `close`.

        An empty queue takes a request of any size: one that is larger than the queue would never fit.
        """
        with self._changed:
            if self._closed:
                raise Stopping("the backend is shutting down; send the spans again to the one that follows")
            if not self._has_room(pending):
                raise QueueFull(
                    f"{self._spans} spans ({self._bytes} bytes) wait to be stored and at most {self.max_spans} "
                    f"({self.max_bytes} bytes) may; send again later"
                )
            self._add(pending, 1)

    def reserve_when_there_is_room(self, pending: Pending) -> bool:
        """As `reserve`, but wait; false after `close`."""
        with self._changed:
            while not self._closed and not self._has_room(pending):
                self._changed.wait()
            if not self._closed:
                self._add(pending, 1)
            return not self._closed

    def cancel(self, pending: Pending) -> None:
        """Give back the room of a request that will not be put."""
        with self._changed:
            self._add(pending, -1)
            self._changed.notify_all()

    def put(self, pending: Pending) -> None:
        """Add a request that has room."""
        with self._changed:
            if not self._waiting:
                self._since_s = time.monotonic()
            self._put += 1
            self._waiting.append(pending)
            self._waiting_spans += pending.count
            self._changed.notify_all()

    def take(self, linger_s: float = 0.0, enough_spans: int = 1, most_bytes: int | None = None) -> list[Pending]:
        """What waits, oldest first, up to `most_bytes` or one request; blocks while nothing does.

        Waits up to `linger_s` after the first request for more, unless `enough_spans` are there. Empty only after
        `close`.
        """
        with self._changed:
            while not self._closed:
                if not self._waiting:
                    self._changed.wait()
                elif self._waiting_spans >= enough_spans or self._hurried:
                    break
                else:
                    left_s = self._since_s + linger_s - time.monotonic()
                    if left_s <= 0:
                        break
                    self._changed.wait(left_s)
            count = len(self._waiting)
            if most_bytes is not None:
                sizes = accumulate(pending.size_bytes for pending in self._waiting)
                count = max(sum(1 for size in sizes if size <= most_bytes), 1)
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
            self._hurried = self._hurried and bool(self._waiting)
            for pending in taken:
                self._waiting_spans -= pending.count
                self._add(pending, -1)
            self._changed.notify_all()
            return taken

    def done(self, requests: int) -> None:
        """So many requests that were taken are dealt with."""
        with self._changed:
            self._done += requests
            self._changed.notify_all()

    def settle(self, timeout_s: float, *, hurry: bool = True) -> None:
        """Wait until what was put before is dealt with, at most `timeout_s`; with `hurry` no more is waited for."""
        with self._changed:
            target = self._put
            if self._done >= target or self.is_stalled:
                return
            if hurry:
                self._hurried = True
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= target or self.is_stalled, timeout_s)

    def close(self) -> None:
        """Take nothing more in; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait for `close`, at most `timeout_s`; whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, timeout_s)

    def _has_room(self, pending: Pending) -> bool:
        too_many = self._spans + pending.count > self.max_spans
        return not self._bytes or not (too_many or self._bytes + pending.size_bytes > self.max_bytes)

    def _add(self, pending: Pending, sign: int) -> None:
        self._spans += sign * pending.count
        self._bytes += sign * pending.size_bytes
