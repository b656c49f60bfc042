"""The journal: what was acknowledged is read again after a crash, what was not is not, and at rest nothing is left."""

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokentrail.backend.ingest.errors import QueueFull
from tokentrail.backend.ingest.journal import Journal, Record, Segment
from tokentrail.backend.store.errors import StoreUnavailable

META = {"encoding": "application/x-protobuf"}


def record(number: int, size: int = 10) -> Record:
    return Record(META, f"{number:06d}".encode() + b"x" * size)


def opened(directory: Path, max_bytes: int = 10_000_000, max_segment_bytes: int = 1_000_000) -> Journal:
    journal = Journal(directory, max_bytes, max_segment_bytes)
    journal.open()
    return journal


def left_in(directory: Path) -> list[Record]:
    """What the next process would find; it is left as it is."""
    journal = opened(directory)
    found = [each for _, each in journal.recover()]
    journal.close()
    return found


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    started = opened(tmp_path)
    assert list(started.recover()) == []
    started.start()
    yield started
    started.close()


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.journal"))


def test_what_was_written_and_not_released_is_found_by_the_next_process_in_its_order(
    journal: Journal, tmp_path: Path
) -> None:
    written = [journal.append(record(number)) for number in range(100)]
    for each in written:
        each.result(10)

    journal.close()

    assert left_in(tmp_path) == [record(number) for number in range(100)]
    assert left_in(tmp_path) == [record(number) for number in range(100)], "reading it takes nothing away"


def test_at_rest_nothing_is_on_disk(journal: Journal, tmp_path: Path) -> None:
    segments = [journal.append(record(number)).result(10) for number in range(10)]
    assert journal.size_bytes > 0

    for segment in segments:
        segment.release()

    assert journal.size_bytes == 0
    assert [path.stat().st_size for path in files(tmp_path)] == [0]
    journal.close()
    assert files(tmp_path) == []


def test_a_released_segment_is_written_from_its_beginning_again(journal: Journal, tmp_path: Path) -> None:
    journal.append(record(1)).result(10).release()

    journal.append(record(2)).result(10)

    journal.close()
    assert left_in(tmp_path) == [record(2)]


def test_a_large_segment_is_followed_by_another_and_goes_when_all_of_it_is_released(tmp_path: Path) -> None:
    journal = opened(tmp_path, max_segment_bytes=1000)
    list(journal.recover())
    journal.start()
    segments = [journal.append(record(number, 300)).result(10) for number in range(12)]
    before = files(tmp_path)
    assert len(before) == 4, "of three records each: the third one is beyond 1000 bytes"

    for segment in segments[:3]:
        segment.release()

    assert files(tmp_path) == before[1:]
    journal.close()
    assert left_in(tmp_path) == [record(number, 300) for number in range(3, 12)]


@pytest.mark.parametrize("kept", range(0, 60, 7))
def test_a_record_whose_end_is_missing_was_never_acknowledged(journal: Journal, tmp_path: Path, kept: int) -> None:
    first = journal.append(record(1)).result(10).size_bytes
    journal.append(record(2)).result(10)
    journal.close()
    (path,) = files(tmp_path)

    os.truncate(path, first + kept if kept < first else first + first - 1)

    assert left_in(tmp_path) == [record(1)]


def test_a_record_with_a_flipped_bit_ends_what_is_read(journal: Journal, tmp_path: Path) -> None:
    for number in range(3):
        journal.append(record(number)).result(10)
    journal.close()
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3 + 20] ^= 1

    path.write_bytes(data)

    assert left_in(tmp_path) == [record(0)]


def test_what_was_recovered_and_released_is_gone(journal: Journal, tmp_path: Path) -> None:
    for number in range(5):
        journal.append(record(number)).result(10)
    journal.close()
    again = opened(tmp_path)
    recovered = list(again.recover())
    again.start()

    for segment, _ in recovered[:4]:
        segment.release()
    assert len(files(tmp_path)) == 1, "one of its records is still needed"
    recovered[4][0].release()

    assert files(tmp_path) == []
    again.append(record(9)).result(10)
    again.close()
    assert left_in(tmp_path) == [record(9)]


def test_a_full_journal_sends_back_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    journal = opened(tmp_path, max_bytes=1000)
    list(journal.recover())
    journal.start()
    first = journal.append(record(1, 600)).result(10)

    with pytest.raises(QueueFull, match="at most 1000 may"):
        journal.append(record(2, 600))
    first.release()

    journal.append(record(3, 600)).result(10)
    journal.close()
    assert left_in(tmp_path) == [record(3, 600)]


def test_a_record_larger_than_the_journal_is_taken_when_it_is_empty(tmp_path: Path) -> None:
    journal = opened(tmp_path, max_bytes=10)
    list(journal.recover())
    journal.start()

    journal.append(record(1, 600)).result(10)

    journal.close()


def test_a_disk_that_is_full_fails_the_record_leaves_no_piece_of_it_and_the_next_is_tried(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(record(1)).result(10)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            journal.append(record(2)).result(10)
    journal.append(record(3)).result(10)

    journal.close()
    assert left_in(tmp_path) == [record(1), record(3)]


def test_a_segment_that_keeps_a_piece_of_a_record_is_not_written_to_again(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came after the piece would not be found again: it is no whole record."""
    journal.append(record(1)).result(10)

    def broken(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        patch.setattr(os, "ftruncate", broken)
        with pytest.raises(StoreUnavailable):
            journal.append(Record(META, b"lost")).result(10)
    (path,) = files(tmp_path)
    os.truncate(path, path.stat().st_size - 1)
    journal.append(record(3)).result(10)

    journal.close()
    assert left_in(tmp_path) == [record(1), record(3)]


def test_a_segment_that_cannot_be_emptied_hurts_nobody(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = journal.append(record(1)).result(10)

    def broken(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", broken)
        segment.release()
    journal.append(record(2)).result(10)

    journal.close()
    assert left_in(tmp_path) == [record(1), record(2)], "the first is found to be stored when it is committed again"


def test_a_system_call_that_takes_only_a_part_is_repeated(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda file, views: real(file, [views[0][:7]]))

    journal.append(record(1, 500)).result(10)

    monkeypatch.undo()
    journal.close()
    assert left_in(tmp_path) == [record(1, 500)]


def test_what_is_written_to_a_file_that_somebody_removed_is_not_acknowledged(journal: Journal, tmp_path: Path) -> None:
    journal.append(record(1)).result(10)
    shutil.rmtree(files(tmp_path)[0].parent)

    with pytest.raises(StoreUnavailable, match="removed"):
        journal.append(record(2)).result(10)
    journal.append(record(3)).result(10)

    journal.close()
    assert left_in(tmp_path) == [record(3)]


def test_another_process_is_refused(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="Another Tokentrail is using the journal"):
        Journal(tmp_path, 1000).open()


def test_a_directory_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailable, match="cannot be used: Not a directory"):
        Journal(tmp_path / "file" / "journal", 1000).open()


def test_after_close_nothing_is_taken(journal: Journal) -> None:
    journal.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        journal.append(record(1))


def test_many_threads_lose_nothing_and_mix_nothing(journal: Journal, tmp_path: Path) -> None:
    kept: list[int] = []
    lock = threading.Lock()

    def work(start: int) -> None:
        for number in range(start, start + 200):
            segment: Segment = journal.append(record(number, number % 97)).result(30)
            if number % 3:
                segment.release()
            else:
                with lock:
                    kept.append(number)

    threads = [threading.Thread(target=work, args=(start * 1000,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()

    found = {each.body for each in left_in(tmp_path)}
    assert {record(number, number % 97).body for number in kept} <= found
