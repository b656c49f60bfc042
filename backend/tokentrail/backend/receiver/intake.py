"""Bodies on their way in, over HTTP: bounded in time, and all of them together in bytes.

A sender that stops in the middle of its body is not waited for beyond a timeout. Until then it holds the memory of what
it has sent, and a thousand such senders would hold a thousand bodies: so there is a limit on all of them. Where it is
reached, who has sent nothing for the longest time has to go, if that is long enough to call it silence; otherwise who
wants more is told to come back.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from tokentrail.backend.ingest.errors import QueueFull, Stopping
from tokentrail.backend.receiver.answer import RequestTimeoutError
from tokentrail.backend.receiver.body import Receive, read_body

SILENT_S: Final = 1.0
"""A sender from which nothing came for so long gives way to others when memory is short."""


class Intake:
    """Reads bodies. For one event loop."""

    def __init__(self, max_bytes: int, timeout_s: float) -> None:
        self._max_bytes, self._timeout_s = max_bytes, timeout_s
        self._readings: dict[_Reading, None] = {}
        """Those under way; who has been silent for the longest time comes first."""
        self._bytes = 0
        self._closed = False

    @property
    def size_bytes(self) -> int:
        """What the bodies under way hold."""
        return self._bytes

    async def read(self, receive: Receive, declared_bytes: int | None, max_body_bytes: int) -> bytes:
        """The whole body. Raises as `read_body` does, `RequestTimeoutError`, and `NotNow` when it is to come later."""
        reading = _Reading()
        try:
            async with asyncio.timeout(self._timeout_s) as reading.timer:
                self._readings[reading] = None
                if self._closed:
                    self._end(reading, Stopping(_STOPPING))
                return await read_body(receive, declared_bytes, max_body_bytes, self._counter(reading))
        except TimeoutError as error:
            if reading.reason is not None:
                raise reading.reason from error
            raise RequestTimeoutError(self._timeout_s) from error
        finally:
            self._readings.pop(reading, None)
            self._bytes -= reading.size_bytes

    def close(self) -> None:
        """Wait for no body any more: what is not complete will not be, at a shutdown."""
        self._closed = True
        for reading in self._readings:
            self._end(reading, Stopping(_STOPPING))

    def _counter(self, reading: "_Reading") -> Callable[[int], None]:
        def count(size: int) -> None:
            reading.size_bytes += size
            self._bytes += size
            reading.progress_s = asyncio.get_running_loop().time()
            self._readings[reading] = self._readings.pop(reading)  # as the last one
            if self._bytes > self._max_bytes:
                self._make_room(reading)

        return count

    def _make_room(self, reading: "_Reading") -> None:
        silent_since_s = asyncio.get_running_loop().time() - SILENT_S
        for each in self._readings:
            if self._bytes <= self._max_bytes:
                return
            if each is reading or each.progress_s > silent_since_s:
                break
            if each.reason is None:
                self._end(each, self._full())
                self._bytes -= each.size_bytes
                each.size_bytes = 0
        if self._bytes > self._max_bytes and self._bytes > reading.size_bytes:
            raise self._full()

    def _full(self) -> QueueFull:
        return QueueFull(f"bodies of {self._max_bytes} bytes in all are on their way in; send again later")

    def _end(self, reading: "_Reading", reason: Exception) -> None:
        reading.reason = reason
        if reading.timer is not None and not reading.timer.expired():
            reading.timer.reschedule(asyncio.get_running_loop().time())


_STOPPING: Final = "the backend is shutting down; send the spans again to the one that follows"


class _Reading:
    """One body."""

    def __init__(self) -> None:
        self.timer: asyncio.Timeout | None = None
        self.size_bytes = 0
        self.progress_s = 0.0
        self.reason: Exception | None = None
        """Why it was ended, if it was."""
