"""What a store can do. Embedded or served, the same SQL and the same rows."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from tokentrail.backend.correction import Correction
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.backend.store.records import Part, PartKey

EVENT_SLACK_NS: Final = 60 * 10**9
"""How far the time of an event may be from the time of the call that it tells."""
_MAX_INT64: Final = 2**63 - 1

Key = tuple[str, str, str]
"""Project, trace id and span id: in another project the same ids are another span, so that no sender can have those of
another one taken for stored already."""


class Identified(Protocol):
    """A span or a row."""

    @property
    def project(self) -> str:
        """Where it belongs."""

    @property
    def trace_id(self) -> str:
        """See `Span`."""

    @property
    def span_id(self) -> str:
        """See `Span`."""


def key_of(item: Identified) -> Key:
    """What a span or a row is told from others by."""
    return item.project, item.trace_id, item.span_id


def row_times(rows: Sequence[Row]) -> tuple[int, int]:
    """From when until when what is stored of the calls in `rows` can be: an event tells a call when it has ended."""
    first = min(row.time_ns for row in rows) - EVENT_SLACK_NS
    last = max(row.time_ns + row.duration_ns for row in rows) + EVENT_SLACK_NS
    return max(first, 0), min(last, _MAX_INT64)


class Store(Protocol):
    """Durable rows. Thread-safe: one writer and several readers may call at once."""

    def migrate(self) -> None:
        """Bring the tables to this version. Raises `StoreError` when they are newer than it or cannot be reached."""

    instance: str
    """Name of the backend that writes, empty where there is only one."""

    generation: int | None
    """How often calls were stored or changed since it was opened; `None` where other backends store some, too."""

    def insert(self, spans: Sequence[Span], rows: Sequence[Row], received_ns: int) -> None:
        """Store spans and their rows; when it returns they survive a crash of the process and of the machine.

        `received_ns` is noted with the rows: each insert of a backend has a later one.

        Raises `StoreUnavailable` when trying again later may help, `StoreError` when it will not.
        """

    def find_spans(self, spans: Sequence[Span]) -> set[Key]:
        """Those of `spans` that are stored, by `key_of`. Raises as `insert` does."""

    def find_rows(self, rows: Sequence[Row]) -> set[Key]:
        """Those of `rows` that are stored, by `key_of`. Raises as `insert` does."""

    def insert_parts(self, parts: Sequence[Part]) -> None:
        """Store log records and points; when it returns they survive a crash of the process and of the machine.

        Of each part all of it is stored, or nothing. Raises as `insert` does; then some parts may be stored.
        """

    def find_parts(self, parts: Sequence[Part]) -> set[PartKey]:
        """Those of `parts` that are stored, by their keys. Raises as `insert` does."""

    def save_snapshot(self, state: str, taken_ns: int) -> None:
        """Keep `state`, which is of the moment `taken_ns`, in place of earlier ones of this instance."""

    def correct(self, corrections: Sequence[Correction], run: str, at_ns: int) -> None:
        """Put `corrections` on record as `run`, a name never used before, made at `at_ns`; then change the rows.

        On record means: durable in `cost_corrections` before the first row changes. What a crash interrupts is finished
        at the next `migrate` or `correct`. Rows are changed whole, only those that still have the old cost, and by
        their project, time, trace id and span id: all rows of a span must have the same correction. One at a time,
        others wait; inserts and queries go on meanwhile. Raises as `insert` does; then some rows may be changed, and
        the others will be, as after a crash.
        """

    def roll_up(self, since_ns: int, until_ns: int) -> int:
        """Fill `llm_requests_hourly` for hours that ended by `until_ns` and have calls, received since `since_ns`, that
        it does not count yet; the answer is how many those were. The same for days of `llm_users_daily`. Doing it twice
        does no harm. Raises as `insert` does.
        """

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        """Rows of a SELECT, as dicts by column; `{name:Type}` in the SQL takes its value from `parameters`."""

    def close(self) -> None:
        """Release the store; what was inserted stays. Idempotent."""
