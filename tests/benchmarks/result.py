"""What the samples say: added CPU time, per call and per chunk, and against the cheapest other instrumentation."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from benchmarks.cases import CASES, case
from benchmarks.contenders import CONTENDERS, NONE, Kind
from benchmarks.driver import Mode, Run, Sample

_PLAIN: Final = Mode(NONE.name, content=False)
_RESAMPLINGS: Final = 200
_SLOPE: Final = (case("stream_50"), case("stream_500"))


class EmptyRunError(Exception):
    """Without the uninstrumented application there is nothing to compare with."""


@dataclass(frozen=True, slots=True)
class Added:
    """What a mode adds to one call of a case, microseconds of CPU time; of the uninstrumented one, what it takes.

    A machine that does something else too makes blocks slower, never faster, and by more than an instrumentation does.
    So the quiet blocks are compared: the lowest tenth of the rounds.
    """

    total_us: float
    """Difference of the two modes' lowest tenths."""
    low_us: float
    """Bound that one in twenty resamplings of the rounds lies below."""
    high_us: float
    """Bound that one in twenty lies above."""
    foreground_us: float
    """The same difference before the application has its response."""
    median_us: float
    """Median of the differences to the uninstrumented block of the same round."""
    ratio: float | None = None
    """To the cheapest other instrumentation with content alike; `None` where there is none, or it costs nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One mode in all cases."""

    mode: Mode
    added: dict[str, Added]
    """By case."""
    chunk_us: float | None
    """Added by one more chunk of a stream, where both lengths of streams were measured."""


def rows(run: Run) -> list[Row]:
    """One row for each mode that was measured to the end, in the order of the contenders, content off first."""
    if (failure := run.failed.get(_PLAIN)) is not None or not any(mode == _PLAIN for mode, _ in run.samples):
        raise EmptyRunError(failure or "the uninstrumented application was not measured")
    modes = [Mode(each.name, content) for content in (False, True) for each in CONTENDERS]
    cheapest: dict[tuple[bool, str], float] = {}
    for mode in modes:
        if mode.contender.kind is Kind.RIVAL and mode not in run.failed:
            for each in CASES:
                if (mode, each.name) in run.samples:
                    cost = _added(run, mode, each.name).total_us
                    known = cheapest.get((mode.content, each.name), cost)
                    cheapest[mode.content, each.name] = min(cost, known)
    return [_row(run, mode, cheapest) for mode in modes if mode not in run.failed and _is_measured(run, mode)]


def _is_measured(run: Run, mode: Mode) -> bool:
    return any(measured == mode for measured, _ in run.samples)


def _row(run: Run, mode: Mode, cheapest: dict[tuple[bool, str], float]) -> Row:
    added = {}
    for each in CASES:
        if (mode, each.name) in run.samples:
            found = _added(run, mode, each.name)
            best = cheapest.get((mode.content, each.name), 0.0)
            ratio = found.total_us / best if best > 0 and mode.contender.kind is not Kind.NONE else None
            added[each.name] = replace(found, ratio=ratio)
    short, long = (added.get(each.name) for each in _SLOPE)
    slope = None
    if short is not None and long is not None:
        slope = (long.total_us - short.total_us) / (_SLOPE[1].chunks - _SLOPE[0].chunks)
    return Row(mode, added, slope)


def _added(run: Run, mode: Mode, name: str) -> Added:
    mine = run.samples[mode, name]
    base = [Sample(0.0, 0.0)] * len(mine) if mode == _PLAIN else run.samples[_PLAIN, name]
    return compare(mine, base)


def compare(mine: Sequence[Sample], base: Sequence[Sample]) -> Added:
    """What `mine` adds to `base`; both in the order of the rounds, with the same number in each round, at least one."""
    totals, base_totals = [each.total_ns for each in mine], [each.total_ns for each in base]
    low, high = _bounds(totals, base_totals)
    before = quiet([each.foreground_ns for each in mine]) - quiet([each.foreground_ns for each in base])
    a_round = max(len(base) // len(mine), 1)
    paired = median(one - other for one, other in zip(totals, base_totals[::a_round], strict=False))
    return Added((quiet(totals) - quiet(base_totals)) / 1e3, low / 1e3, high / 1e3, before / 1e3, paired / 1e3)


def quiet(values: Sequence[float]) -> float:
    """The mean of the lowest tenth, of at least one value."""
    lowest = sorted(values)[: max(len(values) // 10, 1)]
    return sum(lowest) / len(lowest)


def _bounds(mine: Sequence[float], base: Sequence[float]) -> tuple[float, float]:
    """Where the difference lies in nine of ten resamplings of the rounds."""
    chance = random.Random(len(mine))
    found = sorted(
        quiet(chance.choices(mine, k=len(mine))) - quiet(chance.choices(base, k=len(base))) for _ in range(_RESAMPLINGS)
    )
    return found[_RESAMPLINGS // 20], found[-1 - _RESAMPLINGS // 20]
