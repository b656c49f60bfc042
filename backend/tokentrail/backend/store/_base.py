"""What a store can do. Embedded or served, the same SQL and the same rows."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tokentrail.backend.row import Row
from tokentrail.backend.span import Span


class Store(Protocol):
    """Durable rows. Thread-safe: one writer and several readers may call at once."""

    def migrate(self) -> None:
        """Bring the tables to this version. Raises `StoreError` when they are newer than it or cannot be reached."""

    def insert(self, spans: Sequence[Span], rows: Sequence[Row]) -> None:
        """Store spans and their rows; when it returns they survive a crash of the process and of the machine.

        Raises `StoreUnavailable` when trying again later may help, `StoreError` when it will not.
        """

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        """Rows of a SELECT, as dicts by column; `{name:Type}` in the SQL takes its value from `parameters`."""

    def close(self) -> None:
        """Release the store; what was inserted stays. Idempotent."""
