"""A write-ahead log of requests: what is in it survives a crash, and is committed later, once.

    <directory>/<number>.journal      one file a segment, records one after another:
    length  u32   of what follows the header, little endian
    crc     u32   of what follows the header
    size    u16   of the meta data
    meta    JSON  what `Record.meta` holds
    body    bytes

A record is acknowledged after one `fdatasync` for all that came together. Each segment counts the records that are not
committed yet; with the last one it is emptied, so that at rest nothing is on disk. After a crash the segments that are
left are read again: of each as much as is whole, since a record whose end is missing was never acknowledged. What was
committed already by then is found by whoever commits (`committer`).
"""

import errno
import fcntl
import json
import logging
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokentrail.backend.ingest.errors import QueueFull
from tokentrail.backend.store.errors import StoreUnavailable

MAX_SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""A segment that has grown beyond is closed, and the next one begun."""

_HEADER: Final = struct.Struct("<IIH")
_SUFFIX: Final = ".journal"
_MAX_VECTORS: Final = 512
"""Buffers that one system call takes (IOV_MAX is at least 1024 on Linux)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """One request as it came."""

    meta: Mapping[str, str]
    body: bytes


class Segment:
    """One file. Its records are released one by one, from any thread; then it is emptied."""

    def __init__(self, path: Path, descriptor: int, records: int = 0, size_bytes: int = 0) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._records = records
        """Not released yet."""
        self.size_bytes = size_bytes
        self.closed = False
        """True when nothing more is written to it."""
        self.is_damaged = False
        """True when a piece of a record is at its end, or the file has no name any more: what came after would not be
        found again."""

    def write(self, buffers: Sequence[bytes], records: int) -> None:
        """Append whole records, durably. Raises `OSError`; then nothing of them is left in the file, or it is gone."""
        with self._lock:
            try:
                for start in range(0, len(buffers), _MAX_VECTORS):
                    _write_all(self._descriptor, buffers[start : start + _MAX_VECTORS])
                os.fdatasync(self._descriptor)
            except OSError:
                self.is_damaged = True  # unless what follows succeeds
                os.ftruncate(self._descriptor, self.size_bytes)
                self.is_damaged = False
                raise
            if not os.fstat(self._descriptor).st_nlink:
                self.is_damaged = True
                raise OSError(errno.ENOENT, "it was removed")
            self.size_bytes += sum(map(len, buffers))
            self._records += records

    def release(self) -> None:
        """One record is committed."""
        with self._lock:
            self._records -= 1
            if self._records:
                return
            try:
                self._empty()
            except OSError as error:  # what is left is found to be committed, should it be read again
                _log.warning("%s could not be emptied: %s", self.path, error.strerror)

    def close(self) -> None:
        """Nothing more is written. The file goes when all its records have been released."""
        with self._lock:
            self.closed = True
            if not self._records:
                self._remove()

    def leave(self) -> None:
        """Close the file and keep what is in it, to be read at the next start."""
        with self._lock:
            os.close(self._descriptor)

    def _empty(self) -> None:
        if self.closed:
            self._remove()
        else:
            os.ftruncate(self._descriptor, 0)
            self.size_bytes = 0

    def _remove(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self.size_bytes = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    buffers: tuple[bytes, ...]
    written: "Future[Segment]"


class Journal:
    """The log in `directory`, of at most `max_bytes`. Thread-safe; one process at a time.

    `open` first, then `recover`; then `append` from any thread.
    """

    def __init__(self, directory: Path, max_bytes: int, max_segment_bytes: int = MAX_SEGMENT_BYTES) -> None:
        self.max_bytes = max_bytes
        self._directory, self._max_segment_bytes = directory, max_segment_bytes
        self._segments: list[Segment] = []
        """Those with a file, and some whose file is gone."""
        self._open: Segment | None = None
        """The one that is written to."""
        self._left: list[Path] = []
        """Segments of an earlier process."""
        self._number = 0
        self._lock_file: int | None = None
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="tokentrail-journal")

    @property
    def size_bytes(self) -> int:
        """Bytes on disk and on their way there."""
        return self._waiting_bytes + sum(segment.size_bytes for segment in self._segments)

    def open(self) -> None:
        """Take the directory, with what is in it.

        Raises `StoreUnavailable` when another process has it, or it cannot be used.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock_file = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreUnavailable(f"Another Tokentrail is using the journal {self._directory}: stop it.") from error
        except OSError as error:
            raise StoreUnavailable(f"The journal {self._directory} cannot be used: {error.strerror}.") from error
        # Before anything is written: what comes now is no rest of an earlier process.
        found = [path for path in self._directory.glob(f"*{_SUFFIX}") if path.stem.isdigit()]
        self._left = sorted(found, key=lambda path: int(path.stem))
        self._number = int(self._left[-1].stem) if self._left else 0

    def recover(self) -> Iterator[tuple[Segment, Record]]:
        """What an earlier process acknowledged and did not commit, oldest first; each to be released when it is.

        Call once, after `open`; records may be appended while this is still read.
        """
        for path in self._left:
            records = list(_read(path))
            if not records:
                path.unlink()
                continue
            segment = Segment(path, os.open(path, os.O_RDWR), len(records), path.stat().st_size)
            with self._changed:
                self._segments.append(segment)
            segment.close()
            _log.warning(
                "%d requests in %s were not committed before the last stop: doing that now", len(records), path
            )
            for record in records:
                yield segment, record

    def start(self) -> None:
        """Begin to write what is appended."""
        self._thread.start()

    def append(self, record: Record) -> "Future[Segment]":
        """Write `record`; resolved when it is durable, with the segment to release it at.

        The future fails with `StoreUnavailable` when it could not be written. Raises `QueueFull`.
        """
        buffers = _buffers(record)
        size = sum(map(len, buffers))
        waiting = _Waiting(buffers, Future())
        with self._changed:
            if self._closed:
                raise StoreUnavailable("The journal is closed.")
            if (held := self.size_bytes) and held + size > self.max_bytes:
                raise QueueFull(
                    f"{held} bytes in the journal wait to be stored and at most {self.max_bytes} may; send again later"
                )
            self._waiting.append(waiting)
            self._waiting_bytes += size
            self._changed.notify()
        return waiting.written

    def close(self) -> None:
        """Write what waits, and leave what is not committed for the next start. Idempotent."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()
        for segment in self._segments:
            if segment.size_bytes:
                segment.leave()
            elif not segment.closed:
                segment.close()
        if self._lock_file is not None:
            os.close(self._lock_file)

    def _run(self) -> None:
        while group := self._take():
            self._write(group)

    def _take(self) -> list[_Waiting]:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            taken, self._waiting = self._waiting, []
            return taken

    def _write(self, group: Sequence[_Waiting]) -> None:
        buffers = [buffer for waiting in group for buffer in waiting.buffers]
        failure: StoreUnavailable | None = None
        try:
            segment = self._current()
            segment.write(buffers, len(group))
        except OSError as error:
            failure = StoreUnavailable(f"The journal could not write to {self._directory}: {error.strerror}.")
            failure.__cause__ = error
        with self._changed:
            self._waiting_bytes -= sum(map(len, buffers))
        for waiting in group:
            if failure is None:
                waiting.written.set_result(segment)
            else:
                waiting.written.set_exception(failure)

    def _current(self) -> Segment:
        """The segment to write to."""
        if (done := self._open) and (done.size_bytes >= self._max_segment_bytes or done.is_damaged):
            self._open = None
            done.close()
        if self._open is None:
            self._open = self._new_segment()
            with self._changed:
                self._segments = [each for each in self._segments if each.size_bytes] + [self._open]
        return self._open

    def _new_segment(self) -> Segment:
        self._number += 1
        self._directory.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
        path = self._directory / f"{self._number:012d}{_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            _sync_directory(self._directory)  # the name of the file is to survive as well
        except OSError:
            os.close(descriptor)
            raise
        return Segment(path, descriptor)


def _buffers(record: Record) -> tuple[bytes, ...]:
    meta = json.dumps(record.meta, separators=(",", ":")).encode()
    crc = zlib.crc32(record.body, zlib.crc32(meta))
    return _HEADER.pack(len(meta) + len(record.body), crc, len(meta)), meta, record.body


def _read(path: Path) -> Iterator[Record]:
    """The whole records of a segment; what follows a broken one is no record of ours."""
    data = path.read_bytes()
    position = 0
    while position + _HEADER.size <= len(data):
        size, crc, meta_size = _HEADER.unpack_from(data, position)
        start = position + _HEADER.size
        content = data[start : start + size]
        if len(content) < size or meta_size > size or zlib.crc32(content) != crc:
            _log.warning("%s ends in the middle of a request, which was never acknowledged", path)
            return
        yield Record(json.loads(content[:meta_size]), content[meta_size:])
        position = start + size


def _write_all(descriptor: int, buffers: Sequence[bytes]) -> None:
    """Append all of `buffers`: a system call may take only a part."""
    views = [memoryview(buffer) for buffer in buffers if buffer]
    while views:
        written = os.writev(descriptor, views)
        while views and written >= len(views[0]):
            written -= len(views[0])
            views.pop(0)
        if views and written:
            views[0] = views[0][written:]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
