"""The counters of calls across a restart: a snapshot of them in the store, and what was stored after it.

Prometheus takes a counter that falls for one that began anew, and everything in it for new: so they go on where they
were, to the call. It does the same for a series that it knows and that falls to 0 once more, and misses what is in one
that it never saw at 0: so the snapshot has who has seen which, too, and is taken whenever a scraper sees new ones.
"""

import json
import logging
import threading
import time
from collections.abc import Mapping
from decimal import Decimal
from itertools import groupby
from typing import Final

from tokentrail.backend.metrics.calls import CallMetrics
from tokentrail.backend.row import Row
from tokentrail.backend.store._base import Store
from tokentrail.backend.store.errors import StoreError
from tokentrail.backend.store.rows import column_name

EVERY_S: Final = 15.0
"""Seconds between two snapshots while calls come in. What came after the last one is counted from the rows."""
PAGE_ROWS: Final = 50_000

_LATEST: Final = """
SELECT toUnixTimestamp64Micro(TakenAt) AS taken_us, State AS state FROM metric_snapshots
WHERE Instance = {instance:String} ORDER BY TakenAt DESC, JSONExtractUInt(State, 'number') DESC LIMIT 1
"""
_COUNTED: Final = (
    *("trace_id", "service", "environment", "operation", "provider", "request_model", "error_type", "pricing_status"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("duration_ns", "cost_usd", "stream", "ttft_ns", "time_to_first_chunk_ns"),
)
"""Fields of a row that a counter is made of, besides its times."""
_COLUMNS: Final = ", ".join(f"{column_name(field)} AS {field}" for field in _COUNTED)
# Names in this package only; values come as parameters.
_SINCE: Final = f"""
SELECT toUnixTimestamp64Micro(ReceivedAt) AS received_us, toUnixTimestamp64Nano(Timestamp) AS time_ns, {_COLUMNS}
FROM llm_requests
WHERE Instance = {{instance:String}} AND ReceivedAt > fromUnixTimestamp64Micro({{after:Int64}})
ORDER BY ReceivedAt LIMIT {PAGE_ROWS} WITH TIES
"""  # noqa: S608

_log = logging.getLogger(__name__)


class Snapshots:
    """Saves and restores the counters of one backend. `restore` first; then any thread may save."""

    def __init__(self, store: Store, calls: CallMetrics) -> None:
        self._store, self._calls = store, calls
        self._saved_s = time.monotonic()
        self._lock = threading.Lock()
        self._saved_changes = 0
        self._number = 0
        """Tells snapshots of the same time apart."""

    def restore(self) -> int:
        """Have the counters go on where the process before had them. Raises `StoreError`.

        Returns the time of the last group that is known, 0 if none is; the clock may have been set back since.
        """
        after_us = 0
        if latest := self._store.query(_LATEST, {"instance": self._store.instance}):
            after_us, state = int(str(latest[0]["taken_us"])), json.loads(str(latest[0]["state"]))
            self._calls.restore(state, after_us * 1000)
            self._number = int(state.get("number", 0))
        while rows := self._store.query(_SINCE, {"instance": self._store.instance, "after": after_us}):
            for received_us, group in groupby(rows, lambda row: int(str(row["received_us"]))):
                self._calls.record([_row(row) for row in group], received_us * 1000)
                after_us = received_us
        return after_us * 1000

    def save_when_due(self) -> None:
        """Save the counters if it is time to. Raises nothing."""
        if time.monotonic() - self._saved_s >= EVERY_S:
            self.save()

    def save(self, *, anyway: bool = False) -> None:
        """Save the counters now, where anything was counted since, or `anyway`.

        Raises nothing: the next snapshot has it all.
        """
        with self._lock:
            changes = self._calls.changes
            if changes == self._saved_changes and not anyway:
                return
            state, counted_ns = self._calls.snapshot()
            self._number += 1
            text = json.dumps({**state, "number": self._number}, separators=(",", ":"))
            try:
                self._store.save_snapshot(text, counted_ns)
            except StoreError as error:
                _log.warning("the counters could not be saved, the next time they will be: %s", error)
            else:
                self._saved_changes = changes
            self._saved_s = time.monotonic()


def _row(values: Mapping[str, object]) -> Row:
    """As much of a row as is counted."""
    return Row(
        time_ns=int(str(values["time_ns"])),
        span_id="",
        parent_span_id="",
        kind="",
        response_model="",
        server_address="",
        **{field: _value(values[field]) for field in _COUNTED},  # type: ignore[arg-type]  # as the columns are typed
    )


def _value(value: object) -> object:
    return Decimal(str(value)) if isinstance(value, float) else value
