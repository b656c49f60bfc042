"""A store from before projects were in `otel_traces_trace_id_ts`: its times are made anew, each in its project."""

from pathlib import Path

import pytest

from support.calls import NOON_NS, span
from tokentrail.backend.store import chdb
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.migrate import load

TIMES = (
    "SELECT Project, dateDiff('second', min(Start), max(End)) AS seconds FROM otel_traces_trace_id_ts "
    "GROUP BY Project ORDER BY Project"
)


def test_times_of_traces_are_told_apart_by_project_after_an_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ChdbStore(tmp_path / "store")
    try:
        with monkeypatch.context() as patched:
            patched.setattr(chdb, "load", lambda: load()[:12])
            store.migrate()
        for project, seconds in (("", 1), ("a", 20), ("b", 300)):
            store.insert([span(project=project), span(project=project, start_ns=NOON_NS + seconds * 10**9)], [])
        assert "Project" not in {row["name"] for row in store.query("DESCRIBE TABLE otel_traces_trace_id_ts")}

        store.migrate()
        store.insert([span(project="b", start_ns=NOON_NS + 4000 * 10**9)], [])

        expected = [("", 1), ("a", 20), ("b", 4000)]
        assert [(row["Project"], row["seconds"]) for row in store.query(TIMES)] == expected

        migration = load()[12]
        for statement in migration.statements:  # after a crash in the middle all of it is done again
            store._open_writer().query(statement)

        assert [(row["Project"], row["seconds"]) for row in store.query(TIMES)] == expected
    finally:
        store.close()
