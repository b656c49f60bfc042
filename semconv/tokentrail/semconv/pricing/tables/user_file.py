"""The user's price file: in force from the moment it is named, and again whenever it changes.

It is looked at every few seconds at most, when a price is asked for. A version with errors changes nothing: the table
that was in force stays, and what is wrong is logged and told by `status`.
"""

import logging
import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokentrail.semconv.file_state import file_state
from tokentrail.semconv.pricing._base import Lookup, Others
from tokentrail.semconv.pricing.card import RateCard, Source, Unpriced
from tokentrail.semconv.pricing.tables.price_file import PriceFileError, read_price_file
from tokentrail.semconv.pricing.tables.table import Table

CHECK_S: Final = 2.0
"""Seconds between two looks at the file."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UserFileStatus:
    """What there is to know of the price file."""

    path: Path | None = None
    """`None` when there is to be none."""
    version: str = ""
    """Of the table in force, empty when there is none."""
    entries: int = 0
    loaded_at_s: float = 0.0
    """When the table in force was read, seconds since the epoch."""
    error: str = ""
    """What is wrong with the file as it is now; empty when it is in force."""


class UserFile:
    """The layer of the user's own prices. Thread-safe."""

    def __init__(self) -> None:
        self.status = UserFileStatus()
        self.next_check = math.inf
        """When to `refresh`, by the monotonic clock."""
        self.generation = 0
        """Counts the tables: what an older one answered does not hold any more."""
        self._table: Table | None = None
        self._seen: object = None
        self._lock = threading.Lock()

    def use(self, path: Path | None) -> None:
        """See `resolve.use_price_file`."""
        with self._lock:
            self._table, self._seen = None, None
            self.generation += 1
            self.status = UserFileStatus(path)
            self.next_check = math.inf if path is None else time.monotonic() + CHECK_S
            if path is not None:
                self._seen = file_state(path)
                error = self._read(path)
        if path is not None and error is not None:
            raise error

    def refresh(self) -> None:
        """Read the file again where it has changed. Raises nothing; the look of another thread is not waited for."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self.next_check = time.monotonic() + CHECK_S
            path = self.status.path
            if path is None or (state := file_state(path)) == self._seen:
                return
            self._seen = state
            if (error := self._read(path)) is not None:
                _log.error("the price file was not taken over, the prices of before stay in force: %s", error)
            else:
                _log.info("the price file %s is in force", self.status.version)
        finally:
            self._lock.release()

    def find(self, lookup: Lookup, others: Others) -> RateCard | Unpriced | None:
        """The user's price, see `Layer.find`."""
        table = self._table
        return None if table is None else table.find(lookup, others)

    def _read(self, path: Path) -> PriceFileError | None:
        """Put the file in force, or say what is wrong with it."""
        status = self.status
        try:
            table = read_price_file(path.read_bytes(), path.name, Source.USER)
        except OSError as error:
            failure = PriceFileError(path.name, ((0, f"the file cannot be read: {error.strerror}"),))
        except PriceFileError as error:
            failure = error
        else:
            self._table = table
            self.generation += 1
            self.status = UserFileStatus(path, table.version, len(table.entries), time.time())
            return None
        self.status = UserFileStatus(path, status.version, status.entries, status.loaded_at_s, str(failure))
        return failure
