"""Files that are read again when they change, and of which a broken version changes nothing."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from tokentrail.semconv.file_state import file_state

CHECK_S: Final = 1.0
"""Seconds between two looks at the files."""

_Value = TypeVar("_Value")


class Watched(Generic[_Value]):
    """What `read` makes of the files at `paths`. Thread-safe.

    The constructor raises what `read` raises. Later failures, of the kind `failure`, leave the value of before in
    place and are handed to `on_change`; `None` is, once a change is taken over.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        read: Callable[[], _Value],
        failure: type[Exception],
        on_change: Callable[[Exception | None], None],
    ) -> None:
        self._paths, self._read, self._failure, self._on_change = paths, read, failure, on_change
        self._seen = self._state()
        self._value = read()
        self.is_current = True
        """False while the files as they are now are not in force, because they are broken."""
        self.loaded_at_s = time.time()
        """When the value was read, seconds since the epoch."""
        self._next_look_s = time.monotonic() + CHECK_S
        self._lock = threading.Lock()

    def get(self) -> _Value:
        """The value. Looks at the files every now and then; raises nothing."""
        if time.monotonic() >= self._next_look_s:
            self.refresh()
        return self._value

    def refresh(self) -> None:
        """Look at the files now. Raises nothing; the look of another thread is not waited for."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._next_look_s = time.monotonic() + CHECK_S
            # Before it is read: what changes meanwhile is seen the next time.
            if (state := self._state()) == self._seen:
                return
            self._seen = state
            self._reload()
        finally:
            self._lock.release()

    def _reload(self) -> None:
        try:
            self._value = self._read()
        except self._failure as error:
            self.is_current = False
            self._on_change(error)
        else:
            self.is_current, self.loaded_at_s = True, time.time()
            self._on_change(None)

    def _state(self) -> object:
        """What changes when a file does."""
        return [file_state(path) for path in self._paths]
