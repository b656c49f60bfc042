"""Which processes there are, by Linux's /proc."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to see processes in")
"""For tests that use this module."""


def children_of(pid: int) -> list[int]:
    """The processes that it started and that are still there."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def still_running(pids: Sequence[int], timeout_s: float = 10.0) -> list[int]:
    """Those of `pids` that have not ended when the time is up; one that only waits to be noticed has."""
    deadline = time.monotonic() + timeout_s
    while (left := [pid for pid in pids if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
