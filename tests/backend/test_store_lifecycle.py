"""Opening, closing, sharing and killing the embedded store."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.calls import call, span
from tokentrail.backend.store import StoreError, StoreUnavailable
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.migrate import load

COUNT = "SELECT count() AS n FROM llm_requests"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChdbStore]:
    store = ChdbStore(tmp_path / "store")
    store.migrate()
    yield store
    store.close()


def _python(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_what_was_stored_is_there_when_the_store_is_opened_again(store: ChdbStore, tmp_path: Path) -> None:
    store.insert([span()], [call()])
    store.close()

    again = ChdbStore(tmp_path / "store")
    again.migrate()
    try:
        again.insert([], [call()])
        assert again.query(COUNT) == [{"n": 2}]
        assert again.query("SELECT Version, count() AS n FROM schema_migrations GROUP BY Version ORDER BY Version") == [
            {"Version": each.version, "n": 1} for each in load()
        ]
    finally:
        again.close()


def test_migrating_twice_changes_nothing(store: ChdbStore) -> None:
    before = store.query("SELECT name, create_table_query FROM system.tables WHERE database = 'default' ORDER BY name")

    store.migrate()

    sql = "SELECT name, create_table_query FROM system.tables WHERE database = 'default' ORDER BY name"
    assert store.query(sql) == before
    assert len(before) == 18


def test_a_store_of_a_newer_version_is_refused(store: ChdbStore) -> None:
    store._open_writer().query("INSERT INTO schema_migrations (Version, Name) VALUES (900, 'future')")

    with pytest.raises(StoreError, match=r"newer Tokentrail: its schema has version 900 \(future\)"):
        store.migrate()


def test_a_second_process_is_told_who_uses_the_store(store: ChdbStore, tmp_path: Path) -> None:
    child = _python(
        """
        import sys
        from tokentrail.backend.store import StoreUnavailable
        from tokentrail.backend.store.chdb import ChdbStore
        store = ChdbStore(sys.argv[1])
        try:
            store.migrate()
        except StoreUnavailable as error:
            print(error)
        finally:
            store.close()
        """,
        str(tmp_path / "store"),
    )

    out, err = child.communicate(timeout=60)

    assert f"Another Tokentrail (process {os.getpid()}) is using {tmp_path / 'store'}" in out
    assert "or stop it" in out
    assert err == "", "the engine is not even started"
    store.insert([], [call()])  # and the first one is not disturbed


def test_rows_are_there_after_a_kill_right_after_insert_returned(tmp_path: Path) -> None:
    child = _python(
        """
        import sys
        from support.calls import call, span
        from tokentrail.backend.store.chdb import ChdbStore
        store = ChdbStore(sys.argv[1])
        store.migrate()
        while True:
            store.insert([span()] * 50, [call()] * 50)
            print("stored", flush=True)
        """,
        str(tmp_path / "store"),
    )
    assert child.stdout is not None
    assert child.stderr is not None

    with child:
        acknowledged = sum(child.stdout.readline() == "stored\n" for _ in range(7))
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += child.stdout.read().count("stored\n")

    store = ChdbStore(tmp_path / "store")
    try:
        store.migrate()
        (rows,), (spans,) = store.query(COUNT), store.query("SELECT count() AS n FROM otel_traces")
    finally:
        store.close()
    assert acknowledged >= 7
    assert int(str(rows["n"])) >= acknowledged * 50
    assert int(str(spans["n"])) >= int(str(rows["n"])), "spans are stored before their rows"
    assert int(str(rows["n"])) % 50 == 0
    assert int(str(spans["n"])) % 50 == 0


def test_a_closed_store_says_so(store: ChdbStore) -> None:
    store.close()
    store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        store.query(COUNT)
    with pytest.raises(StoreUnavailable, match="closed"):
        store.insert([], [call()])


def test_closing_waits_for_the_query_that_runs(store: ChdbStore) -> None:
    answers: list[object] = []
    slow = "SELECT sum(sleepEachRow(0.25)) AS n FROM numbers(4) SETTINGS max_block_size = 1"
    reader = threading.Thread(target=lambda: answers.append(store.query(slow)))
    reader.start()
    time.sleep(0.3)

    store.close()
    reader.join(30)

    assert answers == [[{"n": 0}]]


def test_one_process_opens_one_store_at_a_time(store: ChdbStore, tmp_path: Path) -> None:
    other = ChdbStore(tmp_path / "other")

    with pytest.raises(StoreError, match="has another store open"):
        other.migrate()

    other.close()


def test_two_stores_on_one_path_in_one_process_see_the_same(store: ChdbStore, tmp_path: Path) -> None:
    other = ChdbStore(tmp_path / "store")
    other.migrate()

    store.insert([], [call()])

    assert other.query(COUNT) == [{"n": 1}]
    other.close()
    assert store.query(COUNT) == [{"n": 1}]


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = ChdbStore(tmp_path / "file" / "deeper")

    with pytest.raises(StoreError, match=r"file is not a directory"):
        store.migrate()

    store.close()


def test_a_path_that_the_engine_would_read_as_settings_is_refused(tmp_path: Path) -> None:
    store = ChdbStore(tmp_path / "x?readonly=1")

    with pytest.raises(StoreError, match="must not contain"):
        store.migrate()


def test_importing_the_store_does_not_load_the_engine() -> None:
    child = _python("import sys, tokentrail.backend.store.chdb; print('chdb' in sys.modules)")

    assert child.communicate(timeout=60)[0] == "False\n"
