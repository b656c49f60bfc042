"""Work that can wait until the application has its response: done in one background thread, in the order given.

Bounded: when more waits than the limits allow, the work is done by the caller there and then, so nothing is dropped
and memory does not grow. Safe to call from a destructor, and in a process that has forked.
"""

import os
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from tokentrail.instrumentation.guard import protect

MAX_WAITING: Final = 2_000
"""Jobs that may wait."""
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Bytes of bodies that waiting jobs may hold."""

GATHER_S: Final = 0.1
"""How long jobs gather before the worker turns to them: waking a thread for each would cost more than most jobs do."""
YIELD_AFTER_S: Final = 0.0005
"""The worker lets go of the interpreter's lock this often: the application, or its event loop, waits no longer."""

_Job = Callable[[], None]


class Deferred:
    """A background worker. Its thread starts with the first job and is a daemon: `flush` before the process ends."""

    def __init__(self) -> None:
        # SimpleQueue and RLock may be entered again by a destructor that runs inside them; Queue and Lock would hang.
        self._lock = threading.RLock()
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _reset(self) -> None:
        self._queue: SimpleQueue[tuple[_Job, int]] = SimpleQueue()
        self._hurry = threading.Event()
        self._waiting_bytes = 0
        self._thread: threading.Thread | None = None

    def _after_fork(self) -> None:
        # The thread is the parent's, and so are the jobs: it will do them.
        self._lock = threading.RLock()
        self._reset()

    def submit(self, job: _Job, held_bytes: int) -> None:
        """Have `job`, which keeps `held_bytes` of bodies alive, done soon; or do it now when too much waits."""
        with self._lock:
            queue = self._queue
            room = queue.qsize() < MAX_WAITING and self._waiting_bytes + held_bytes <= MAX_WAITING_BYTES
            room = room and self._is_running()
            if room:
                self._waiting_bytes += held_bytes
                queue.put((job, held_bytes))
        if not room:
            _run(job)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all jobs given so far are done; false when that took longer than `timeout_s`."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        done = threading.Event()
        with self._lock:
            self._queue.put((done.set, 0))
        self._hurry.set()
        deadline = time.monotonic() + timeout_s
        while not done.wait(min(0.1, max(deadline - time.monotonic(), 0.0))):
            if time.monotonic() >= deadline or not thread.is_alive():
                return False
        return True

    def park(self, timeout_s: float) -> Callable[[], None]:
        """Have the worker stand still once it has done what was given so far, until what this returns is called.

        For a fork: what the worker holds at that moment, a module that it is importing, say, stays held in the child.
        Waits for at most `timeout_s`.
        """
        go_on = threading.Event()
        thread = self._thread
        if thread is None or not thread.is_alive() or thread is threading.current_thread():
            return go_on.set
        parked = threading.Event()

        def stand() -> None:
            parked.set()
            go_on.wait()

        with self._lock:
            self._queue.put((stand, 0))
        self._hurry.set()
        parked.wait(timeout_s)
        return go_on.set

    def _is_running(self) -> bool:
        """Start the worker unless it runs; false when it cannot, as the interpreter is ending (Python 3.12)."""
        if self._thread is not None and self._thread.is_alive():
            return True
        thread = threading.Thread(target=self._work, args=(self._queue, self._hurry), name="tokentrail", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def _work(self, queue: "SimpleQueue[tuple[_Job, int]]", hurry: threading.Event) -> None:
        while True:
            job, held_bytes = queue.get()
            hurry.wait(GATHER_S)
            hurry.clear()
            since = time.perf_counter()
            while True:
                _run(job)
                del job  # it holds bodies, and the next one may be long in coming
                with self._lock:
                    self._waiting_bytes -= held_bytes
                if time.perf_counter() - since > YIELD_AFTER_S:
                    time.sleep(0)
                    since = time.perf_counter()
                try:
                    job, held_bytes = queue.get_nowait()
                except Empty:
                    break


def _run(job: _Job) -> None:
    with protect("finishing a call"):
        job()
