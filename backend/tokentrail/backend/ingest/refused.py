"""Requests that were acknowledged and that the store refuses for good: kept as files, for a person to look at."""

import json
import logging
import time
from pathlib import Path
from typing import Final

from tokentrail.backend.ingest.journal import Record

MAX_FILES: Final = 1000
"""More are not kept: whatever is wrong is in these."""

_log = logging.getLogger(__name__)


class Refused:
    """The directory of such requests. One `<time>.request` with the body, one `<time>.json` with what is known."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, record: Record, error: Exception) -> None:
        """Keep `record`. Raises nothing: where it cannot be kept, the log says so."""
        name = f"{time.time_ns()}"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            if sum(1 for _ in self._directory.iterdir()) >= 2 * MAX_FILES:
                _log.error("%s is full: a request that the store refused is dropped", self._directory)
                return
            (self._directory / f"{name}.request").write_bytes(record.body)
            (self._directory / f"{name}.json").write_text(json.dumps({**record.meta, "error": str(error)}))
        except OSError as problem:
            _log.error("a request that the store refused could not be kept: %s", problem)
        else:
            _log.error("what the store refused is kept in %s", self._directory / f"{name}.request")
