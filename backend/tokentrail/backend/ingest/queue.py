"""What waits to be committed: bounded in spans and in bytes, taken whole."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from tokentrail.backend.ingest.errors import QueueFull, Stopping
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span


@dataclass(frozen=True, slots=True)
class Pending:
    """One request on its way into the store."""

    spans: Sequence[Span]
    rows: Sequence[Row]
    size_bytes: int
    """Of the decompressed body; the spans in memory are several times as large."""
    done: Future[None] = field(default_factory=Future)
    """Resolved when the request is durable, or with the reason why it is not."""


class CommitQueue:
    """Bounded, thread-safe. Many put, one takes."""

    def __init__(self, max_spans: int, max_bytes: int):
        self.max_spans, self.max_bytes = max_spans, max_bytes
        self._waiting: list[Pending] = []
        self._spans = self._bytes = 0
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

    def put(self, pending: Pending) -> None:
        """Add a request. Raises `QueueFull`, or `Stopping` after `close`.

        An empty queue takes a request of any size: one that is larger than the queue would never fit.
        """
        with self._changed:
            if self._closed:
                raise Stopping("the backend is shutting down; send the spans again to the one that follows")
            too_many = self._spans + len(pending.spans) > self.max_spans
            if self._waiting and (too_many or self._bytes + pending.size_bytes > self.max_bytes):
                raise QueueFull(
                    f"{self._spans} spans ({self._bytes} bytes) wait to be stored and at most {self.max_spans} "
                    f"({self.max_bytes} bytes) may; send again later"
                )
            self._waiting.append(pending)
            self._spans += len(pending.spans)
            self._bytes += pending.size_bytes
            self._changed.notify()

    def take_all(self) -> list[Pending]:
        """Everything that waits, oldest first; blocks while nothing does. Empty only after `close`."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            taken, self._waiting = self._waiting, []
            self._spans = self._bytes = 0
            return taken

    def close(self) -> None:
        """Take nothing more in; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
