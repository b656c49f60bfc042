"""Who scrapes, and when each was here last: a series that is younger than that is new to them.

Times are those of the monotonic clock. Across a restart they go on as ages, and so do those of series: what counts is
which was first, whatever the clock says and however long it takes to start again.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final

UNKNOWN_SCRAPER_S: Final = 300.0
"""A scraper that comes for the first time may have come to the process before this one: series that are younger are
new to it as well."""
MAX_SCRAPERS: Final = 64


class Scrapers:
    """The scrapers of one backend. Thread-safe."""

    def __init__(self) -> None:
        self._last_s: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._last_s)

    def came(self, scraper: str) -> float:
        """`scraper` is here; since when series are new to it."""
        with self._lock:
            now_s = time.monotonic()
            last_s = self._last_s.pop(scraper, now_s - UNKNOWN_SCRAPER_S)
            self._last_s[scraper] = now_s
            while len(self._last_s) > MAX_SCRAPERS:
                self._last_s.popitem(last=False)
            return last_s

    def state(self, now_s: float) -> list[Any]:
        """What `restore` takes, in the types of JSON."""
        with self._lock:
            return [[scraper, now_s - last_s] for scraper, last_s in self._last_s.items()]

    def restore(self, state: Iterable[Sequence[Any]], now_s: float) -> None:
        """Go on from the `state` of an earlier process."""
        with self._lock:
            self._last_s = OrderedDict((str(scraper), now_s - float(age_s)) for scraper, age_s in state)
