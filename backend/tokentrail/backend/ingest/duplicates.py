"""What comes twice: in one group, in two requests, after a restart, or at two backends of one store.

A sender that did not see the answer sends the same spans again, and a collector may have put them into other batches by
then. A span is the same when project, trace id, span id and start are. Log records and points have no ids: they are the
same when they come in the same request, byte for byte, so a part of one (`store/records.py`) is what is looked for.
What this process has stored is remembered in a filter that never forgets too little: only what it may have seen, and
what may be older than its memory, is looked up.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.backend.store._base import Key, key_of
from tokentrail.backend.store.records import Part, PartKey

GENERATION_SPANS: Final = 8_000_000
"""Spans that one of the two generations of the memory takes: five minutes of 25,000 a second, days of a usual load."""
SLACK_S: Final = 120.0
"""How far the clocks of senders may be ahead of ours. A span that ended before the memory began, or this long after,
may have been stored by the process before."""

_BITS: Final = 27
"""A generation is 2**27 bits, 16 MiB: about 1 in 400 spans is looked up in vain when it is full."""
_MASK: Final = 2**_BITS - 1


_Item = TypeVar("_Item", Span, Row)


class Finder(Protocol):
    """What of a group is stored already."""

    def find_spans(self, spans: Sequence[Span]) -> set[Key]:
        """Those of `spans` that are. Raises `StoreError`."""

    def find_rows(self, rows: Sequence[Row]) -> set[Key]:
        """Those of `rows` that are. Raises `StoreError`."""

    def find_parts(self, parts: Sequence[Part]) -> set[PartKey]:
        """Those of `parts` that are. Raises `StoreError`."""


class Memory:
    """Which spans may have been stored. Bounded: 32 MiB. Thread-safe."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns, generation_spans: int = GENERATION_SPANS) -> None:
        self._now_ns = now_ns
        self._generation_spans = generation_spans
        self._lock = threading.Lock()
        self._young, self._old = bytearray(2 ** (_BITS - 3)), bytearray(2 ** (_BITS - 3))
        self._count = 0
        self._complete_from_ns = self._young_from_ns = now_ns()

    def may_have(self, key: Key, end_ns: int) -> bool:
        """False only for a span that has not been stored before, or by another backend."""
        if end_ns < self._complete_from_ns + int(SLACK_S * 1e9):
            return True
        return _has(self._young, key) or _has(self._old, key)

    def distrust(self, until_ns: int) -> None:
        """Spans that ended until then may have been stored before this memory began, whatever the clock says."""
        self._complete_from_ns = max(self._complete_from_ns, until_ns)
        self._young_from_ns = max(self._young_from_ns, until_ns)

    def add(self, keys: Iterable[Key]) -> None:
        """These are, or may soon be, stored."""
        with self._lock:
            for key in keys:
                _set(self._young, key)
                self._count += 1
            if self._count >= self._generation_spans:
                # Spans that were in the older generation alone are to be looked up from now on.
                # Never back: a clock that is set back does not make us remember what we have forgotten.
                self._complete_from_ns = self._young_from_ns
                self._young_from_ns = max(self._young_from_ns, self._now_ns())
                self._old, self._young = self._young, bytearray(2 ** (_BITS - 3))
                self._count = 0


class Duplicates:
    """Takes out what is stored already. For one committer."""

    def __init__(self, finder: Finder, *, shared: bool = False, memory: Memory | None = None) -> None:
        self._finder = finder
        self._shared = shared
        """Other backends write to the same store: our memory is not enough."""
        self._memory = memory or Memory()

    def fresh_spans(self, spans: Sequence[Span]) -> list[Span]:
        """Those of `spans` that are to be stored, each once. Raises `StoreError`."""
        once = _once(spans)
        suspects = [span for span in once if self._is_suspect(key_of(span), span.end_ns)]
        stored = self._finder.find_spans(suspects) if suspects else set()
        return [span for span in once if key_of(span) not in stored] if stored else once

    def fresh_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Those of `rows` that are to be stored, each once. Raises `StoreError`."""
        once = _once(rows)
        suspects = [row for row in once if self._is_suspect(key_of(row), row.time_ns + row.duration_ns)]
        stored = self._finder.find_rows(suspects) if suspects else set()
        return [row for row in once if key_of(row) not in stored] if stored else once

    def distrust(self, until_ns: int) -> None:
        """Look up all spans that ended until then, or a little later: the process before may have stored them."""
        self._memory.distrust(until_ns)

    def remember(self, spans: Sequence[Span]) -> None:
        """`spans` are about to be stored. Before the attempt: a failed one may have stored them all the same."""
        self._memory.add(map(key_of, spans))

    def remember_rows(self, rows: Sequence[Row]) -> None:
        """`rows` without spans are about to be stored."""
        self._memory.add(map(key_of, rows))

    def fresh_parts(self, parts: Sequence[Part]) -> list[Part]:
        """Those of `parts` that are to be stored, each once. Raises `StoreError`."""
        once = list({part.key: part for part in parts}.values())
        suspects = [part for part in once if self._is_suspect(_key_of(part), part.times_s[1] * 10**9)]
        stored = self._finder.find_parts(suspects) if suspects else set()
        return [part for part in once if part.key not in stored] if stored else once

    def remember_parts(self, parts: Sequence[Part]) -> None:
        """`parts` are about to be stored."""
        self._memory.add(map(_key_of, parts))

    def _is_suspect(self, key: Key, end_ns: int) -> bool:
        return self._shared or self._memory.may_have(key, end_ns)


def _key_of(part: Part) -> Key:
    return "", part.digest.hex(), f"{part.table} {part.day}"


def _once(items: Sequence[_Item]) -> list[_Item]:
    """`items` without those that are in it twice: the first of each stays."""
    seen: dict[Key, _Item] = {}
    for item in items:
        seen.setdefault(key_of(item), item)
    return list(seen.values())


def _set(bits: bytearray, key: Key) -> None:
    value = hash(key)
    for _ in range(4):
        place = value & _MASK
        bits[place >> 3] |= 1 << (place & 7)
        value = value * 0x9E3779B97F4A7C15 >> 7 & 0xFFFFFFFFFFFFFFFF


def _has(bits: bytearray, key: Key) -> bool:
    value = hash(key)
    for _ in range(4):
        place = value & _MASK
        if not bits[place >> 3] >> (place & 7) & 1:
            return False
        value = value * 0x9E3779B97F4A7C15 >> 7 & 0xFFFFFFFFFFFFFFFF
    return True
