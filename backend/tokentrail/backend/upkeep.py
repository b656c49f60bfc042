"""Work on what is stored that nobody waits for: calls are summed up by the hour, five minutes after each hour.

Late calls are found the next time. What was received while no backend ran, or before it knew of sums, is found at the
first time, which is at the start.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from tokentrail.backend.store import Store, StoreError

_log = logging.getLogger(__name__)

_HOUR_NS: Final = 3_600 * 10**9
_AFTER_NS: Final = 300 * 10**9
"""After the end of an hour: most of what is late is there by then."""
_OVERLAP_NS: Final = 900 * 10**9
"""Calls are stored that much after the time noted as that of their receipt, at most, or are found at the next start."""


class Upkeep:
    """Sums the calls of `store` up, in a thread of its own, from `start` to `stop`."""

    def __init__(self, store: Store, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._store, self._now_ns = store, now_ns
        self._since_ns = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tokentrail-upkeep", daemon=True)

    def start(self) -> None:
        """Begin; the first work is due at once."""
        self._thread.start()

    def stop(self) -> None:
        """No more work. What is running ends when it has ended, or fails when the store is closed."""
        self._stopped.set()

    def work(self) -> None:
        """Sum up what is new since the last time. Errors of the store are logged; the next time makes up for it."""
        now_ns = self._now_ns()
        try:
            hours = self._store.roll_up(self._since_ns, now_ns)
        except StoreError as error:
            if not self._stopped.is_set():
                _log.warning("calls could not be summed up by the hour, the next hour tries again: %s", error)
            return
        except Exception:  # noqa: BLE001  # top of the worker's loop: the thread must outlive any fault
            _log.exception("calls could not be summed up by the hour")
            return
        self._since_ns = max(now_ns - _OVERLAP_NS, 0)
        if hours:
            _log.info("calls of %d hours are summed up", hours)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.work()
            self._stopped.wait(self._pause_s())

    def _pause_s(self) -> float:
        """Until five minutes after the end of this hour."""
        return (_HOUR_NS - (self._now_ns() - _AFTER_NS) % _HOUR_NS) / 10**9
