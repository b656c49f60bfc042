"""What people wrote is stored apart from the calls: found with them, and brought along from stores of before."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.calls import NOON_NS, call
from tokentrail.backend.query.stored_content import with_stored_content
from tokentrail.backend.store import chdb, rows
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.migrate import load

CONTENT = ("input_messages", "output_messages", "system", "tools")
NOTHING: dict[str, Any] = dict.fromkeys(CONTENT, "")
ROWS = "SELECT toUnixTimestamp64Nano(Timestamp) AS time_ns, Project AS project, TraceId AS trace_id, SpanId AS span_id"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChdbStore]:
    store = ChdbStore(tmp_path / "store")
    yield store
    store.close()


def shown(store: ChdbStore) -> dict[str, str]:
    """The input messages of each call, by span id, as the API finds them."""
    sql = ROWS.replace("Project AS", "if(Project = '', 'default', Project) AS") + " FROM llm_requests ORDER BY SpanId"
    return {
        str(row["span_id"]): str(row["input_messages"]) for row in with_stored_content(store.query(sql), store.query)
    }


def test_each_call_has_its_own_content(store: ChdbStore) -> None:
    store.migrate()
    store.insert(
        [],
        [
            call(span_id="1" * 16, input_messages='["one"]'),
            call(span_id="2" * 16, input_messages='["two"]', time_ns=NOON_NS + 5),
            call(span_id="3" * 16, **NOTHING),
            call(span_id="1" * 16, trace_id="f" * 32, input_messages='["another trace"]'),
        ],
    )

    sql = f"{ROWS} FROM llm_requests ORDER BY SpanId, TraceId"
    found = with_stored_content([{**row, "project": "default"} for row in store.query(sql)], store.query)

    assert [row["input_messages"] for row in found] == ['["one"]', '["another trace"]', '["two"]', ""]


def test_calls_without_content_take_no_row_for_it(store: ChdbStore) -> None:
    store.migrate()

    store.insert([], [call(**NOTHING), call(span_id="2" * 16, **{**NOTHING, "tools": "[]"})])

    assert store.query("SELECT SpanId, Tools FROM llm_contents") == [{"SpanId": "2" * 16, "Tools": "[]"}]


def test_content_of_another_project_is_not_found(store: ChdbStore) -> None:
    store.migrate()
    store.insert([], [call(project="a", input_messages='["a"]'), call(project="b", **NOTHING)])

    found = with_stored_content(store.query(f"{ROWS} FROM llm_requests ORDER BY project"), store.query)

    assert [(row["project"], row["input_messages"]) for row in found] == [("a", '["a"]'), ("b", "")]


def test_calls_stay_when_their_content_has_gone(store: ChdbStore) -> None:
    store.migrate()
    store.insert([], [call(span_id="1" * 16)])
    store._open_writer().query("TRUNCATE TABLE llm_contents")

    assert shown(store) == {"1" * 16: ""}


def test_content_is_found_for_more_calls_than_are_looked_up_at_once(store: ChdbStore) -> None:
    store.migrate()
    store.insert(
        [], [call(span_id=f"{n:016x}", trace_id=f"{n:032x}", input_messages=json.dumps(n)) for n in range(1500)]
    )

    assert shown(store) == {f"{n:016x}": str(n) for n in range(1500)}


@pytest.mark.parametrize("interrupted_at", [None, "INSERT INTO llm_contents", "DROP COLUMN"])
def test_an_upgrade_brings_content_along(
    store: ChdbStore, monkeypatch: pytest.MonkeyPatch, interrupted_at: str | None
) -> None:
    """Also one that was interrupted before or after what it did last was remembered."""
    with monkeypatch.context() as patched:
        patched.setattr(chdb, "load", lambda: load()[:9])
        store.migrate()
    columns = (*rows.ROW_COLUMNS, *(each for each in rows.CONTENT_COLUMNS if each.name not in _NAMES))
    known = {str(row["name"]) for row in store.query("DESCRIBE TABLE llm_requests")}
    calls = [call(span_id="1" * 16, input_messages='["one"]'), call(span_id="2" * 16, **NOTHING)]
    block = rows._block("llm_requests", [each for each in columns if each.name in known], calls)
    store._send(store._open_writer(), block)
    if interrupted_at:
        _migrate_until(store, interrupted_at)

    store.migrate()

    assert shown(store) == {"1" * 16: '["one"]', "2" * 16: ""}
    assert "InputMessages" not in {row["name"] for row in store.query("DESCRIBE TABLE llm_requests")}
    assert store.query("SELECT uniqExact(SpanId) AS n FROM llm_contents") == [{"n": 1}]


_NAMES = {each.name for each in rows.ROW_COLUMNS}


def _migrate_until(store: ChdbStore, words: str) -> None:
    """Run the statements of later migrations up to the one with `words`, and remember none of the last one."""
    for migration in load()[9:]:
        for statement in migration.statements:
            store._open_writer().query(statement)
            if words in statement:
                return
        entry = f"({migration.version}, '{migration.name}')"
        store._open_writer().query(f"INSERT INTO schema_migrations (Version, Name) VALUES {entry}")
    raise AssertionError(f"no migration has {words}")
