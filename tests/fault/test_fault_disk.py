"""A disk that is full, and then is not: of the journal, of the store, and of both.

Two ways. As root a small file system in memory (tmpfs) is mounted and filled. For everybody the kernel refuses to let
files of the process grow (RLIMIT_FSIZE, set from outside while it runs), which meets journal and store at once.
"""

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.backend_process import BackendProcess
from support.fault_load import Load, assert_all_there_once, balance, calls, settled

HTTP_FINE, GRPC_FINE = "200", "OK"


def check(backend: BackendProcess, load: Load, prefix: str) -> None:
    """After there is space again."""
    load.wait_for(len(load.acknowledged) + 200, timeout_s=60)
    load.end()
    settled(backend)
    assert_all_there_once(backend, load, prefix)
    assert backend.metric("tokentrail_requests_total") == calls(backend)


def forbid_growth(backend: BackendProcess, size_bytes: int) -> None:
    """Whatever file the process writes may have at most this size; -1 for any."""
    assert backend.process is not None
    limit = resource.RLIM_INFINITY if size_bytes < 0 else size_bytes
    resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


@pytest.mark.parametrize("journal", ["", pytest.param("off", marks=pytest.mark.slow)], ids=["journal", "no journal"])
def test_files_that_cannot_grow_send_senders_back_and_lose_nothing(tmp_path: Path, journal: str) -> None:
    with BackendProcess(tmp_path / "data", {"TOKENTRAIL_JOURNAL": journal} if journal else {}) as backend:
        load = Load(backend, 4, "grow", retry=True)
        load.wait_for(100)
        forbid_growth(backend, 1)
        load.wait_for_answer("503", "UNAVAILABLE")
        forbid_growth(backend, -1)

        check(backend, load, "grow")
        assert balance(backend)[0].returned > 0


@pytest.mark.slow
def test_what_was_acknowledged_before_files_could_not_grow_survives_a_kill(tmp_path: Path) -> None:
    with BackendProcess(tmp_path / "data") as backend:
        load = Load(backend, 4, "grow", retry=True)
        load.wait_for(100)
        forbid_growth(backend, 4000)  # a journal takes a piece of a group, and no more
        load.wait_for_answer("503", "UNAVAILABLE")
        backend.kill()
        load.end()
    with BackendProcess(tmp_path / "data") as again:
        settled(again)
        assert_all_there_once(again, load, "grow")
        assert again.metric("tokentrail_requests_total") == calls(again)


@contextmanager
def small_disk(where: Path, size: str) -> Iterator[Path]:
    """A file system of its own. Skips where none may be mounted."""
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"a file system may not be mounted here: {mounted.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing more fits."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    assert os.statvfs(disk).f_bavail == 0
    return filler


@pytest.mark.slow
@pytest.mark.parametrize("which", ["the journal", "the store", "both"])
def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_space(tmp_path: Path, which: str) -> None:
    with small_disk(tmp_path / "disk", "256m") as disk:
        data = tmp_path / "data" if which == "the journal" else disk / "data"
        journal = tmp_path / "journal" if which == "the store" else disk / "journal"
        with BackendProcess(data, {"TOKENTRAIL_JOURNAL": str(journal)}) as backend:
            load = Load(backend, 4, "full", retry=True)
            load.wait_for(100)
            filler = fill(disk)
            if which == "the store":  # the journal takes it meanwhile
                load.wait_for(len(load.acknowledged) + 200)
                deadline = time.monotonic() + 20
                while not backend.metric("tokentrail_store_write_errors_total", reason="unavailable"):
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            else:
                load.wait_for_answer("503", "UNAVAILABLE")
            filler.unlink()

            check(backend, load, "full")
        assert (set(load.answers) == {HTTP_FINE, GRPC_FINE}) == (which == "the store")


@pytest.mark.slow
def test_a_kill_while_the_disk_is_full_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256m") as disk:
        with BackendProcess(disk / "data") as backend:
            load = Load(backend, 4, "full", retry=True)
            load.wait_for(100)
            filler = fill(disk)
            load.wait_for_answer("503", "UNAVAILABLE")
            backend.kill()
            load.end()
        filler.unlink()
        with BackendProcess(disk / "data") as again:
            settled(again)
            assert_all_there_once(again, load, "full")
            assert again.metric("tokentrail_requests_total") == calls(again)
