"""kill -9 in the middle of load: what was acknowledged is there after a restart, once, and is counted once.

In the normal run at one random moment and at one chosen one; `pytest -m slow tests/fault/test_fault_kill.py` does it a
hundred times (TOKENTRAIL_TEST_KILLS), twenty after one another on the same data, and at each of the chosen moments.
"""

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import otlp
from support.backend_process import BackendProcess
from support.fault_load import Load, assert_all_there_once, calls, settled

KILLS = int(os.environ.get("TOKENTRAIL_TEST_KILLS", "100"))
BATCH = 20
"""Kills on the same data."""
JOURNAL = "journal"
SPOOL = "insert.native"


def load_and_kill(
    data: Path, senders: int, prefix: str, kill: Callable[[BackendProcess], None], *, ends: bool = False
) -> Load:
    """Load until `kill` returns, or with `ends` until a moment after it has begun."""
    with BackendProcess(data) as backend:
        load = Load(backend, senders, prefix)
        load.wait_for(100)
        if ends:
            threading.Timer(0.2, load.end).start()
        kill(backend)
        backend.kill()
        load.end()
    return load


def compare(data: Path, load: Load, prefix: str) -> None:
    """After a restart: nothing missing, nothing twice, counters as rows, also when what has no answer is sent again."""
    with BackendProcess(data) as again:
        for body in load.unanswered:
            assert again.post_traces(body).status == 200
        settled(again)
        assert_all_there_once(again, load, prefix)
        assert again.metric("tokentrail_requests_total") == calls(again), "the counters go on to the call"
        assert again.post_traces(otlp.body()).status == 200, "it goes on after the restart"


def at_random(seed: int) -> Callable[[BackendProcess], None]:
    """Within the time of a few group commits."""
    return lambda _: time.sleep(random.Random(seed).uniform(0, 0.6))


def test_what_was_acknowledged_survives_kill_9_under_load(tmp_path: Path) -> None:
    load = load_and_kill(tmp_path / "data", 4, "one", at_random(1))

    compare(tmp_path / "data", load, "one")
    assert len(load.acknowledged) >= 100


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, KILLS, BATCH))
def test_what_was_acknowledged_survives_many_kills_on_the_same_data(tmp_path: Path, first: int) -> None:
    total = 0
    numbers = range(first, min(first + BATCH, KILLS))
    for number in numbers:
        load = load_and_kill(tmp_path / "data", 8, f"round{number:04d}", at_random(number))
        compare(tmp_path / "data", load, f"round{number:04d}")
        total += len(load.acknowledged)

    assert total >= 100 * len(numbers)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def journal_size(data: Path) -> int:
    return sum(max(size_of(path), 0) for path in (data / JOURNAL).glob("*.journal"))


def spool_exists(data: Path) -> bool:
    """The engine is about to read a block, or does."""
    return size_of(data / SPOOL) >= 0


def part_is_begun(data: Path) -> bool:
    """The engine writes a part that does not count yet."""
    return any(data.glob("store/*/*/tmp_insert_*"))


class _Watch:
    """Sees a change of the size of the journal."""

    def __init__(self, *, grows: bool) -> None:
        self._grows, self._last = grows, -1

    def __call__(self, data: Path) -> bool:
        last, self._last = self._last, journal_size(data)
        return last >= 0 and (self._last > last if self._grows else self._last < last)


class _Inserted:
    """Sees that an insert has ended: in the journal is what is in the store as well."""

    def __init__(self) -> None:
        self._was_there = False

    def __call__(self, data: Path) -> bool:
        was_there, self._was_there = self._was_there, spool_exists(data)
        return was_there and not self._was_there


EMPTIED = "the journal was just emptied"
MOMENTS: dict[str, Callable[[], Callable[[Path], bool]]] = {
    "a record is on its way into the journal": lambda: _Watch(grows=True),
    EMPTIED: lambda: _Watch(grows=False),
    "a block is on its way into the store": lambda: spool_exists,
    "a part is half written": lambda: part_is_begun,
    "a block is in the store and still in the journal": _Inserted,
}


def when(is_it: Callable[[Path], bool], delay_s: float = 0.0) -> Callable[[BackendProcess], None]:
    """Kill as soon as `is_it`, from a thread that does nothing else but look."""

    def kill(backend: BackendProcess) -> None:
        process = backend.process
        assert process is not None
        seen = threading.Event()

        def look() -> None:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                if is_it(backend.data):
                    time.sleep(delay_s)
                    process.kill()
                    seen.set()
                    return

        looking = threading.Thread(target=look)
        looking.start()
        looking.join()
        assert seen.is_set(), "the moment did not come"

    return kill


def test_what_is_half_in_the_store_when_the_process_dies_is_in_it_once_afterwards(tmp_path: Path) -> None:
    load = load_and_kill(tmp_path / "data", 4, "half", when(spool_exists))

    compare(tmp_path / "data", load, "half")


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_there_is_no_moment_at_which_a_kill_loses_or_doubles(tmp_path: Path, moment: str) -> None:
    for number in range(5):
        prefix = f"round{number}"
        # Under load there is always a request in the journal that came while others were committed.
        kill, ends = when(MOMENTS[moment](), number * 0.002), moment == EMPTIED
        load = load_and_kill(tmp_path / "data", 6, prefix, kill, ends=ends)
        compare(tmp_path / "data", load, prefix)


@pytest.mark.slow
def test_a_kill_while_the_journal_is_replayed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    load = load_and_kill(data, 6, "first", when(_Watch(grows=True)))
    for number in range(6):
        with BackendProcess(data) as backend:
            time.sleep(0.02 * number)
            backend.kill()

    compare(data, load, "first")
