"""The background worker: its limits, its order, forks, destructors, failing jobs."""

import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from tokentrail.instrumentation import guard
from tokentrail.instrumentation.deferred import MAX_WAITING, MAX_WAITING_BYTES, Deferred


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Closed until set, which the end of the test does at the latest."""
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def worker(gate: threading.Event) -> Iterator[Deferred]:
    """A worker, flushed at the end so that no job outlives its test."""
    worker = Deferred()
    yield worker
    gate.set()
    assert worker.flush()


def block(worker: Deferred, gate: threading.Event) -> None:
    """Keep the worker busy until the gate is opened."""
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        gate.wait(10)

    worker.submit(wait, 0)
    assert begun.wait(5)


def test_jobs_are_done_in_order_in_one_thread(worker: Deferred) -> None:
    done: list[tuple[int, str]] = []

    for number in range(100):
        worker.submit(lambda number=number: done.append((number, threading.current_thread().name)), 1)  # type: ignore[misc]
    assert worker.flush()

    assert done == [(number, "tokentrail") for number in range(100)]


def test_a_flush_waits_for_what_was_given_before_it(worker: Deferred) -> None:
    done: list[bool] = []

    def slow() -> None:
        time.sleep(0.1)
        done.append(True)

    worker.submit(slow, 0)

    assert worker.flush(5)

    assert done == [True]


def test_a_flush_without_jobs_starts_no_thread() -> None:
    worker = Deferred()

    assert worker.flush(0.0)

    assert worker._thread is None


def test_a_flush_that_takes_too_long_says_so(worker: Deferred, gate: threading.Event) -> None:
    block(worker, gate)
    started = time.monotonic()

    assert not worker.flush(0.05)

    assert 0.05 <= time.monotonic() - started < 1


def test_a_job_may_flush(worker: Deferred) -> None:
    answers: list[bool] = []

    worker.submit(lambda: answers.append(worker.flush(5)), 0)
    assert worker.flush(5)

    assert answers == [True]


def test_jobs_over_the_count_are_done_by_the_caller(worker: Deferred, gate: threading.Event) -> None:
    block(worker, gate)
    threads: list[str] = []
    here = threading.current_thread().name

    for _ in range(MAX_WAITING + 2):
        worker.submit(lambda: threads.append(threading.current_thread().name), 0)
    inline = list(threads)
    gate.set()
    assert worker.flush()

    assert inline == [here, here]
    assert threads.count("tokentrail") == MAX_WAITING


def test_jobs_over_the_bytes_are_done_by_the_caller(worker: Deferred, gate: threading.Event) -> None:
    block(worker, gate)
    threads: list[str] = []

    worker.submit(lambda: threads.append("at the limit"), MAX_WAITING_BYTES)
    worker.submit(lambda: threads.append("past it"), 1)
    inline = list(threads)
    gate.set()
    assert worker.flush()

    assert inline == ["past it"]
    assert threads == ["past it", "at the limit"]


def test_bytes_are_given_back_when_a_job_is_done(worker: Deferred) -> None:
    for _ in range(5):
        worker.submit(lambda: None, MAX_WAITING_BYTES)
        assert worker.flush()
        worker.submit(lambda: None, 0)  # the count of the bytes comes after the job
        assert worker.flush()

    assert worker._waiting_bytes == 0


def test_a_failing_job_does_not_stop_the_next(
    worker: Deferred, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_seen", set())
    done: list[int] = []

    def fail() -> None:
        raise ValueError("this job")

    with caplog.at_level(logging.WARNING):
        for number in range(3):
            worker.submit(fail, 7)
            worker.submit(lambda number=number: done.append(number), 0)  # type: ignore[misc]
        assert worker.flush()

    assert done == [0, 1, 2]
    assert len(caplog.records) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # it is what happens
def test_a_worker_that_died_is_replaced() -> None:
    worker = Deferred()
    done: list[int] = []

    def kill() -> None:
        raise SystemExit  # no `Exception`: nobody catches it

    worker.submit(kill, 0)
    thread = worker._thread
    assert thread is not None
    thread.join(5)
    worker.submit(lambda: done.append(1), 0)

    assert worker.flush(5)
    assert done == [1]


def test_jobs_are_done_at_once_where_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr("tokentrail.instrumentation.deferred.threading.Thread", NoThread)
    worker = Deferred()
    done: list[int] = []

    worker.submit(lambda: done.append(1), 5)

    assert done == [1]
    assert worker.flush()
    assert worker._waiting_bytes == 0


def test_a_destructor_may_submit_from_inside_submit(worker: Deferred) -> None:
    done: list[str] = []

    class Submits:
        def __del__(self) -> None:
            worker.submit(lambda: done.append("destructor"), 1)

    class Bytes(int):
        """Compared while the lock is held, and lets go of the last reference then."""

        def __radd__(self, other: int) -> int:
            held.clear()
            return int(self) + other

    held = [Submits()]
    worker.submit(lambda: done.append("outer"), Bytes(3))
    assert worker.flush(5)

    assert sorted(done) == ["destructor", "outer"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_its_own_jobs_and_not_its_parents(worker: Deferred, gate: threading.Event) -> None:
    block(worker, gate)
    reader, writer = os.pipe()
    worker.submit(lambda: (os.write(writer, b"parent's "), None)[1], 1)

    child = os.fork()
    if child == 0:
        try:
            worker.submit(lambda: (os.write(writer, b"child's "), None)[1], 1)
            gate.set()
            os.write(writer, b"flushed " if worker.flush(5) else b"hangs ")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    said_by_child = os.read(reader, 1000)
    gate.set()
    assert worker.flush(5)
    said_by_parent = os.read(reader, 1000)
    os.close(reader)
    os.close(writer)

    assert said_by_child == b"child's flushed "
    assert said_by_parent == b"parent's "
