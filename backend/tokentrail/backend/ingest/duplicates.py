"""What comes twice: in one group, in two requests, after a restart, or at two backends of one store.

A sender that did not see the answer sends the same spans again, and a collector may have put them into other batches by
then. A span is the same when project, trace id, span id and start are. Log records and points have no ids: they are the
same when they come in the same request, byte for byte, so a part of one (`store/records.py`) is what is looked for.
What this process has stored is remembered in a filter that never forgets too little: only what it may have seen, and
what may be older than its memory, is looked up.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Final, Protocol, TypeVar

from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.backend.store._base import Key
from tokentrail.backend.store.records import Part, PartKey

GENERATION_SPANS: Final = 8_000_000
"""Spans that one of the two generations of the memory takes: five minutes of 25,000 a second, days of a usual load."""
SLACK_S: Final = 120.0
"""How far the clocks of senders are ahead of ours. A span that ended before the memory began, or this long after, may
have been stored by the process before; and so may one of a clock that is farther ahead."""

_BITS: Final = 27
"""A generation is 2**27 bits, 16 MiB: about 1 in 400 spans is looked up in vain when it is full."""
_MASK: Final = 2**_BITS - 1
_STEP: Final = 32
"""The bits of a hash from here tell how far the four places of a key are from one another."""
_FAR_AHEAD_NS: Final = 3_600 * 10**9


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
        self._has_old = False
        """Whether there was a generation before the young one."""
        self._newest_ns: float = math.inf

    def begin_after(self, newest_ns: int) -> None:
        """The memory began when nothing was stored that started later than `newest_ns`."""
        if newest_ns < self._now_ns() + _FAR_AHEAD_NS:  # a later one may stand for others, later than a column holds
            self._newest_ns = newest_ns

    def may_have(self, key: Key, end_ns: int) -> bool:
        """False only for a span that has not been stored before, or by another backend."""
        return bool(self.suspects([key], [0], [end_ns]))

    def suspects(self, keys: Sequence[Key], start_ns: Sequence[int], end_ns: Sequence[int]) -> list[int]:
        """Places in `keys` of the spans that may have been stored before."""
        young, old, has_old = self._young, self._old, self._has_old
        found = [place for place, key in enumerate(keys) if _has(young, key) or (has_old and _has(old, key))]
        if self._newest_ns < math.inf:
            if min(start_ns, default=math.inf) > self._newest_ns:
                return found
            return sorted({*found, *(place for place, start in enumerate(start_ns) if start <= self._newest_ns)})
        from_ns, ahead_ns = (at_ns + int(SLACK_S * 1e9) for at_ns in (self._complete_from_ns, self._now_ns()))
        if min(end_ns, default=from_ns) >= from_ns and max(end_ns, default=0) <= ahead_ns:
            return found
        return sorted({*found, *(place for place, end in enumerate(end_ns) if end < from_ns or end > ahead_ns)})

    def distrust(self, until_ns: int) -> None:
        """Spans that ended until then may have been stored before this memory began, whatever the clock says."""
        self._complete_from_ns = max(self._complete_from_ns, until_ns)
        self._young_from_ns = max(self._young_from_ns, until_ns)

    def add(self, keys: Iterable[Key]) -> None:
        """These are, or may soon be, stored."""
        with self._lock:
            young = self._young
            before = self._count
            for self._count, key in enumerate(keys, before + 1):
                _set(young, key)
            if self._count >= self._generation_spans:
                if self._has_old:
                    self._newest_ns = math.inf  # the first spans of this process are forgotten now
                self._has_old = True
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

    def begin_after(self, newest_ns: int) -> None:
        """Before the first group: nothing was stored that started later than `newest_ns`."""
        self._memory.begin_after(newest_ns)

    def fresh_spans(self, spans: Sequence[Span]) -> list[Span]:
        """Those of `spans` that are to be stored, each once. Raises `StoreError`."""
        keys, once = _once(spans)
        starts, ends = [span.start_ns for span in once], [span.end_ns for span in once]
        suspects = [once[place] for place in self._suspects(keys, starts, ends)]
        stored = self._finder.find_spans(suspects) if suspects else set()
        return [span for span in once if _key(span) not in stored] if stored else once

    def fresh_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Those of `rows` that are to be stored, each once. Raises `StoreError`."""
        keys, once = _once(rows)
        starts, ends = [row.time_ns for row in once], [row.time_ns + row.duration_ns for row in once]
        suspects = [once[place] for place in self._suspects(keys, starts, ends)]
        stored = self._finder.find_rows(suspects) if suspects else set()
        return [row for row in once if _key(row) not in stored] if stored else once

    def distrust(self, until_ns: int) -> None:
        """Look up all spans that ended until then, or a little later: the process before may have stored them."""
        self._memory.distrust(until_ns)

    def remember(self, spans: Sequence[Span]) -> None:
        """`spans` are about to be stored. Before the attempt: a failed one may have stored them all the same."""
        self._memory.add(map(_key, spans))

    def remember_rows(self, rows: Sequence[Row]) -> None:
        """`rows` without spans are about to be stored."""
        self._memory.add(map(_key, rows))

    def fresh_parts(self, parts: Sequence[Part]) -> list[Part]:
        """Those of `parts` that are to be stored, each once. Raises `StoreError`."""
        once = list({part.key: part for part in parts}.values())
        # As if they had begun long ago: nobody asks a store for the newest of its log records and points.
        keys, starts, ends = list(map(_key_of, once)), [0] * len(once), [part.times_s[1] * 10**9 for part in once]
        suspects = [once[place] for place in self._suspects(keys, starts, ends)]
        stored = self._finder.find_parts(suspects) if suspects else set()
        return [part for part in once if part.key not in stored] if stored else once

    def remember_parts(self, parts: Sequence[Part]) -> None:
        """`parts` are about to be stored."""
        self._memory.add(map(_key_of, parts))

    def _suspects(self, keys: Sequence[Key], start_ns: Sequence[int], end_ns: Sequence[int]) -> Sequence[int]:
        return range(len(keys)) if self._shared else self._memory.suspects(keys, start_ns, end_ns)


def _key_of(part: Part) -> Key:
    return "", part.digest.hex(), f"{part.table} {part.day}"


def _once(items: Sequence[_Item]) -> tuple[list[Key], list[_Item]]:
    """`items` without those that are in it twice (the first of each stays), and their keys."""
    keys = list(map(_key, items))
    if len(set(keys)) == len(keys):
        return keys, list(items)
    seen: dict[Key, _Item] = {}
    for key, item in zip(keys, items, strict=True):
        seen.setdefault(key, item)
    return list(seen), list(seen.values())


def _set(bits: bytearray, key: Key) -> None:
    value = hash(key)
    place = value & _MASK
    step = value >> _STEP & _MASK | 1
    bits[place >> 3] |= 1 << (place & 7)
    place = place + step & _MASK
    bits[place >> 3] |= 1 << (place & 7)
    place = place + step & _MASK
    bits[place >> 3] |= 1 << (place & 7)
    place = place + step & _MASK
    bits[place >> 3] |= 1 << (place & 7)


def _has(bits: bytearray, key: Key) -> bool:
    value = hash(key)
    place = value & _MASK
    if not bits[place >> 3] >> (place & 7) & 1:
        return False
    step = value >> _STEP & _MASK | 1
    for _ in range(3):
        place = place + step & _MASK
        if not bits[place >> 3] >> (place & 7) & 1:
            return False
    return True


_key: Final[Callable[[Span | Row], Key]] = attrgetter("project", "trace_id", "span_id")
"""As `key_of`, in half the time."""
