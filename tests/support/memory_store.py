"""A store in memory that fails on demand, for tests of what stands before the store."""

import threading
from collections.abc import Callable, Mapping, Sequence

from tokentrail.backend.correction import Correction
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.backend.store._base import Key, key_of
from tokentrail.backend.store.records import Part, PartKey


class MemoryStore:
    """Implements `store/_base.py: Store` but for queries. `inserts` holds one entry per successful insert."""

    def __init__(self, refuse: Callable[[Sequence[Span]], Exception | None] = lambda spans: None) -> None:
        self.inserts: list[tuple[list[Span], list[Row]]] = []
        self.parts: list[Part] = []
        self.corrections: list[Correction] = []
        self.attempts = 0
        self.snapshots: list[tuple[str, int]] = []
        self.closed = False
        self.entered = threading.Semaphore(0)
        """Released as each insert begins."""
        self.gate = threading.Event()
        """Inserts wait for it; open unless a test closes it."""
        self.gate.set()
        self._refuse = refuse

    def migrate(self) -> None:
        pass

    instance = ""
    generation: int | None = None

    def insert(self, spans: Sequence[Span], rows: Sequence[Row], received_ns: int = 0) -> None:
        self.attempts += 1
        self.entered.release()
        assert self.gate.wait(10), "nobody opened the gate"
        error = self._refuse(spans)
        if error is not None:
            raise error
        self.inserts.append((list(spans), list(rows)))

    def find_spans(self, spans: Sequence[Span]) -> set[Key]:
        stored = {key_of(span) for group, _ in self.inserts for span in group}
        return stored & set(map(key_of, spans))

    def find_rows(self, rows: Sequence[Row]) -> set[Key]:
        stored = {key_of(row) for _, group in self.inserts for row in group}
        return stored & set(map(key_of, rows))

    def insert_parts(self, parts: Sequence[Part]) -> None:
        self.attempts += 1
        error = self._refuse(())
        if error is not None:
            raise error
        self.parts.extend(parts)

    def find_parts(self, parts: Sequence[Part]) -> set[PartKey]:
        return {part.key for part in self.parts} & {part.key for part in parts}

    def save_snapshot(self, state: str, taken_ns: int) -> None:
        self.snapshots.append((state, taken_ns))

    def correct(self, corrections: Sequence[Correction], run: str, at_ns: int) -> None:
        self.corrections.extend(corrections)
        new = {id(each.old): each.new for each in corrections}
        self.inserts = [(spans, [new.get(id(row), row) for row in rows]) for spans, rows in self.inserts]

    def roll_up(self, since_ns: int, until_ns: int) -> int:
        return 0

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        return []

    def close(self) -> None:
        self.closed = True

    @property
    def span_names(self) -> list[str]:
        return [span.name for spans, _ in self.inserts for span in spans]
