"""Corrections in every kind of store: on record first, whole, healed after a crash, not in the way of inserts."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import pytest

from support.calls import NOON_NS, call
from support.stores import KINDS, AnyStore, fresh, opened
from tokentrail.backend.correction import COST_FIELDS, Correction
from tokentrail.backend.row import Row
from tokentrail.backend.store import StoreError, StoreUnavailable, corrections, lock
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.clickhouse_server import ServerStore
from tokentrail.backend.store.lock import exclusively
from tokentrail.backend.store.rows import ROW_COLUMNS, column_name

DAY_NS = 86_400 * 10**9
COSTS = ", ".join(column_name(name) for name in COST_FIELDS)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyStore]:
    with opened(request.param, tmp_path) as one:
        yield one.store


def corrected(row: Row, usd: str = "0.5") -> Correction:
    return Correction(
        row,
        replace(
            row,
            cost_usd=Decimal(usd),
            cost_components={"input": Decimal(usd)},
            cost_source="overlay",
            pricing_status="priced",
            price_version="overlay 2",
            price_entry="openai/gpt-y",
            pricing_tier="standard",
            pricing_assumptions=("three",),
        ),
    )


def rows_of(*days: int) -> list[Row]:
    """Calls of these days, each of a trace of its own: on a cluster they are on several shards."""
    return [call(trace_id=f"{day:032x}", span_id=f"{day:016x}", time_ns=NOON_NS + day * DAY_NS) for day in days]


def costs(store: AnyStore) -> list[dict[str, object]]:
    return store.query(f"SELECT SpanId, {COSTS} FROM llm_requests ORDER BY Timestamp, SpanId")


def test_a_correction_changes_the_cost_of_its_call_and_nothing_else(store: AnyStore) -> None:
    before, other = rows_of(0, 1)
    store.insert([], [before, other])
    columns = ", ".join(each.name for each in ROW_COLUMNS)
    sql = f"SELECT {columns} FROM llm_requests ORDER BY Timestamp"
    old = store.query(sql)

    store.correct([corrected(before)], "run-1", NOON_NS)

    changed = {
        "CostUsd": Decimal("0.5"),
        "CostComponents": {"input": Decimal("0.5")},
        "CostSource": "overlay",
        "PricingStatus": "priced",
        "PriceVersion": "overlay 2",
        "PriceEntry": "openai/gpt-y",
        "PricingTier": "standard",
        "PricingAssumptions": ["three"],
    }
    assert store.query(sql) == [old[0] | changed, old[1]]


def test_a_correction_is_on_record_with_what_was_and_what_is(store: AnyStore) -> None:
    (row,) = rows_of(0)
    store.insert([], [row])

    store.correct([corrected(row)], "run-1", NOON_NS + 10**9)

    (record,) = store.query("SELECT * FROM cost_corrections")
    assert record == {
        "CorrectedAt": "2026-01-01 12:00:01.123",
        "Run": "run-1",
        "Timestamp": "2026-01-01 12:00:00.123456789",
        "TraceId": row.trace_id,
        "SpanId": row.span_id,
        "OldCostUsd": Decimal("0.000255000001"),
        "OldCostComponents": {"input": Decimal("0.000075000001"), "output": Decimal("0.00018")},
        "OldCostSource": "genai-prices",
        "OldPricingStatus": "priced",
        "OldPriceVersion": "genai-prices 0.2.3",
        "OldPriceEntry": "openai/gpt-x",
        "OldPricingTier": "default",
        "OldPricingAssumptions": ["one", "two"],
        "NewCostUsd": Decimal("0.5"),
        "NewCostComponents": {"input": Decimal("0.5")},
        "NewCostSource": "overlay",
        "NewPricingStatus": "priced",
        "NewPriceVersion": "overlay 2",
        "NewPriceEntry": "openai/gpt-y",
        "NewPricingTier": "standard",
        "NewPricingAssumptions": ["three"],
        "Project": "",
    }
    assert store.query("SELECT * FROM cost_correction_runs") == [
        {
            "CorrectedAt": "2026-01-01 12:00:01.123",
            "Run": "run-1",
            "FirstTimestamp": "2026-01-01 12:00:00.123456789",
            "LastTimestamp": "2026-01-01 12:00:00.123456789",
            "Calls": 1,
            "OldCostUsd": Decimal("0.000255000001"),
            "NewCostUsd": Decimal("0.5"),
        }
    ]


def test_a_call_without_a_cost_gets_one(store: AnyStore) -> None:
    row = call(cost_usd=None, cost_components={}, pricing_status="unknown_model")
    store.insert([], [row])

    store.correct([corrected(row)], "run-1", NOON_NS)

    assert [each["CostUsd"] for each in costs(store)] == [Decimal("0.5")]
    assert store.query("SELECT OldCostUsd FROM cost_corrections") == [{"OldCostUsd": None}]


def test_corrections_reach_every_month_at_once(store: AnyStore) -> None:
    rows = rows_of(0, 40, 80, 400)
    store.insert([], rows)

    store.correct([corrected(row) for row in rows[1:]], "run-1", NOON_NS)

    assert [each["PriceVersion"] for each in costs(store)] == ["genai-prices 0.2.3", *["overlay 2"] * 3]


def test_the_sums_of_hours_are_those_of_corrected_calls(store: AnyStore) -> None:
    rows = rows_of(0, 1, 2, 40)
    store.insert([], rows, NOON_NS)
    sums = "SELECT sum(Requests) AS calls, sum(CostUsd) AS usd FROM llm_requests_hourly FINAL"
    assert store.roll_up(0, NOON_NS + 50 * DAY_NS) == 4
    assert store.query(sums) == [{"calls": 4, "usd": Decimal("0.001020000004")}]

    store.correct([corrected(row) for row in rows], "run-1", NOON_NS)

    assert store.query(sums) == [{"calls": 4, "usd": Decimal(2)}]


def test_a_span_that_is_stored_twice_is_corrected_twice(store: AnyStore) -> None:
    (row,) = rows_of(0)
    store.insert([], [row])
    store.insert([], [row])

    store.correct([corrected(row), corrected(row)], "run-1", NOON_NS)

    assert [each["CostUsd"] for each in costs(store)] == [Decimal("0.5")] * 2


def test_a_row_that_has_another_cost_by_now_is_left_alone(store: AnyStore) -> None:
    (row,) = rows_of(0)
    store.insert([], [row])
    store.correct([corrected(row, "0.5")], "run-1", NOON_NS)

    store.correct([corrected(row, "0.7")], "run-2", NOON_NS)

    assert [each["CostUsd"] for each in costs(store)] == [Decimal("0.5")]


def test_nothing_is_left_behind(store: AnyStore) -> None:
    rows = rows_of(0, 1)
    store.insert([], rows)

    store.correct([corrected(rows[0])], "run-1", NOON_NS)

    values = "database = currentDatabase() AND name = 'cost_correction_values'"
    assert store.query(f"SELECT total_rows AS n FROM system.tables WHERE {values}") == [{"n": 0}]
    left = "database = currentDatabase() AND startsWith(name, 'cost_correction_lock')"
    assert store.query(f"SELECT count() AS n FROM system.tables WHERE {left}") == [{"n": 0}]
    assert store.query("SELECT count() AS n FROM system.mutations WHERE NOT is_done") == [{"n": 0}]


def test_inserts_and_queries_go_on_while_a_correction_is_made(store: AnyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = rows_of(0)
    store.insert([], [row])
    in_the_middle, go_on = threading.Event(), threading.Event()
    execute = store._correct

    def held(sql: str, parameters: Mapping[str, object]) -> None:
        if sql.lstrip().startswith("ALTER"):
            in_the_middle.set()
            assert go_on.wait(30)
        execute(sql, parameters)

    monkeypatch.setattr(store, "_correct", held)
    thread = threading.Thread(target=store.correct, args=([corrected(row)], "run-1", NOON_NS))
    thread.start()
    assert in_the_middle.wait(30)

    store.insert([], rows_of(1, 2))
    seen = store.query("SELECT count() AS n FROM llm_requests")
    go_on.set()
    thread.join(60)

    assert seen == [{"n": 3}]
    assert [each["PriceVersion"] for each in costs(store)] == ["overlay 2", *["genai-prices 0.2.3"] * 2]


def test_a_correction_that_fails_is_finished_by_the_next(store: AnyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = rows_of(0, 1)
    store.insert([], [first, second])
    # A mutation that starts, and then fails on a part: ClickHouse would try it again for ever.
    broken = corrections._UPDATE.replace("WHERE ", "WHERE throwIf(SpanId != '') = 0 AND ", 1)
    with monkeypatch.context() as patched:
        patched.setattr(corrections, "_UPDATE", broken)
        with pytest.raises(StoreError, match="could not correct costs"):
            store.correct([corrected(first)], "run-1", NOON_NS)

    assert store.query("SELECT count() AS n FROM system.mutations WHERE NOT is_done") == [{"n": 0}]
    assert [each["PriceVersion"] for each in costs(store)] == ["genai-prices 0.2.3"] * 2

    store.correct([corrected(second)], "run-2", NOON_NS)

    assert [each["PriceVersion"] for each in costs(store)] == ["overlay 2"] * 2
    assert store.query("SELECT Run FROM cost_correction_runs ORDER BY Run") == [{"Run": "run-1"}, {"Run": "run-2"}]


def test_a_correction_that_cannot_be_finished_does_not_keep_the_store_from_opening(
    store: AnyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (row,) = rows_of(0)
    store.insert([], [row])
    monkeypatch.setattr(corrections, "_UPDATE", "ALTER TABLE nothing UPDATE {sets} WHERE {run} = {old}")
    with pytest.raises(StoreError):
        store.correct([corrected(row)], "run-1", NOON_NS)

    store.migrate()

    assert "the next one tries" in caplog.text
    assert len(costs(store)) == 1


@pytest.fixture
def second(store: AnyStore) -> Iterator[ServerStore]:
    """Another backend."""
    if not isinstance(store, ServerStore):
        pytest.skip("the embedded store has one backend")
    other = ServerStore(store._address, "tests:2")
    yield other
    other.close()


def locks(store: AnyStore) -> int:
    sql = "SELECT count() AS n FROM system.tables WHERE startsWith(name, 'cost_correction_lock')"
    return int(str(store.query(f"{sql} AND database = currentDatabase()")[0]["n"]))


def test_two_backends_of_a_server_do_not_correct_at_once(
    store: AnyStore, second: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows_of(0)
    store.insert([], [row])
    with monkeypatch.context() as patched, exclusively("cost_correction_lock", second._worker(), "works"):
        patched.setattr(lock, "WAIT_S", 0.0)
        with pytest.raises(StoreUnavailable, match="Another backend changes stored costs"):
            store.correct([corrected(row)], "run-1", NOON_NS)
        assert [each["PriceVersion"] for each in costs(store)] == ["genai-prices 0.2.3"]
        assert store.query("SELECT count() AS n FROM cost_corrections") == [{"n": 0}]

    store.correct([corrected(row)], "run-2", NOON_NS)

    assert [each["PriceVersion"] for each in costs(store)] == ["overlay 2"]
    assert locks(store) == 0


def test_what_a_killed_backend_left_on_record_is_finished_by_another(store: AnyStore, second: ServerStore) -> None:
    (row,) = rows_of(0)
    store.insert([], [row])
    assert isinstance(store, ServerStore)
    store._send(corrections.encode_corrections([corrected(row)], "run-1", NOON_NS))

    second.migrate()

    assert [each["PriceVersion"] for each in costs(store)] == ["overlay 2"]


def leave_a_lock(killed: ServerStore) -> None:
    """As `killed` does that ends in the middle."""
    worker = killed._worker()

    def execute(sql: str, parameters: Mapping[str, object]) -> None:
        if sql.startswith("DROP"):
            raise StoreError("killed before that")
        worker.execute(sql, parameters)

    with exclusively("cost_correction_lock", replace(worker, execute=execute), "works"):
        pass


def test_the_lock_of_a_backend_that_is_gone_is_taken_over(
    store: AnyStore, second: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows_of(0)
    store.insert([], [row])
    leave_a_lock(second)
    assert locks(store) == 1
    monkeypatch.setattr(lock, "GONE_S", 0.6)

    store.correct([corrected(row)], "run-1", NOON_NS)

    assert [each["PriceVersion"] for each in costs(store)] == ["overlay 2"]
    assert locks(store) == 0


def test_a_backend_takes_its_own_lock_again(store: AnyStore, second: ServerStore) -> None:
    (row,) = rows_of(0)
    second.insert([], [row])
    leave_a_lock(second)

    second.correct([corrected(row)], "run-1", NOON_NS)

    assert [each["PriceVersion"] for each in costs(store)] == ["overlay 2"]
    assert locks(store) == 0


def test_the_lock_of_a_backend_that_is_at_work_is_not_taken_over(
    store: AnyStore, second: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "GONE_S", 0.2)
    monkeypatch.setattr(lock, "WAIT_S", 2.0)
    monkeypatch.setattr(lock, "LOOK_S", 0.1)
    assert isinstance(store, ServerStore)
    with exclusively("cost_correction_lock", second._worker(), "works"):
        working = threading.Thread(target=second._correct, args=("SELECT sleep(3)", {}))
        working.start()
        other = exclusively("cost_correction_lock", store._worker(), "works")
        with pytest.raises(StoreUnavailable, match="Another backend works"):
            other.__enter__()
        assert working.is_alive()
        working.join(30)


def test_of_several_that_find_a_lock_left_behind_one_at_a_time_has_it(
    store: AnyStore, second: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_a_lock(second)
    monkeypatch.setattr(lock, "GONE_S", 0.3)
    monkeypatch.setattr(lock, "LOOK_S", 0.05)
    assert isinstance(store, ServerStore)
    others = [ServerStore(store._address, f"tests:{number}") for number in (3, 4, 5)]
    within, most, failures = [0], [0], list[BaseException]()
    remove, first, entered = lock._remove, threading.Lock(), threading.Event()

    def late(name: str, token: str, worker: lock.Worker) -> str:
        """All but the first have found out, too, and act on it when the first has the lock already."""
        if not first.acquire(blocking=False):
            assert entered.wait(30)
        return remove(name, token, worker)

    monkeypatch.setattr(lock, "_remove", late)

    def work(other: ServerStore) -> None:
        try:
            with exclusively("cost_correction_lock", other._worker(), "works"):
                within[0] += 1
                entered.set()
                most[0] = max(most[0], within[0])
                other._correct("SELECT sleep(0.5)", {})
                within[0] -= 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for other in others:
        other.close()

    assert failures == []
    assert most == [1]
    assert locks(store) == 0


def test_a_mutation_whose_values_are_gone_fails_and_changes_nothing(
    store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(0, 40)
    store.insert([], rows)
    execute = store._correct
    on = store._worker().on if isinstance(store, ServerStore) else ""

    def emptied(sql: str, parameters: Mapping[str, object]) -> None:
        if sql.lstrip().startswith("ALTER") and "202602" in sql:
            # As a node that was restarted, or another backend that took over, does between two mutations.
            execute(f"TRUNCATE TABLE cost_correction_values{on}", {})
        execute(sql, parameters)

    with monkeypatch.context() as patched:
        patched.setattr(store, "_correct", emptied)
        with pytest.raises(StoreError, match="the values of this correction are not here"):
            store.correct([corrected(row) for row in rows], "run-1", NOON_NS)
    assert [each["PriceVersion"] for each in costs(store)] == ["overlay 2", "genai-prices 0.2.3"]
    assert store.query("SELECT count() AS n FROM cost_correction_runs") == [{"n": 0}]

    store.migrate()

    assert [each["PriceVersion"] for each in costs(store)] == ["overlay 2", "overlay 2"]


def test_a_closed_store_corrects_nothing(store: AnyStore) -> None:
    store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        store.correct([corrected(call())], "run-1", NOON_NS)


CHILD = """
    import os, signal, sys
    from dataclasses import replace
    from decimal import Decimal
    from support.calls import NOON_NS, call
    from tokentrail.backend.correction import Correction
    from tokentrail.backend.store.chdb import ChdbStore

    path, dies_at, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    store = ChdbStore(path)
    store.migrate()
    rows = [call(span_id=f"{n:016x}", time_ns=NOON_NS + n * 10**9 * 5000) for n in range(1000)]
    store.insert([], rows)
    statements = 0

    def counted(execute):
        def run(*args):
            global statements
            statements += 1
            if statements == dies_at and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            execute(*args)
            if statements == dies_at and when == "after":
                os.kill(os.getpid(), signal.SIGKILL)
        return run

    store._correct, store._send = counted(store._correct), counted(store._send)
    changes = [
        Correction(row, replace(row, cost_usd=Decimal("0.5"), cost_components={"input": Decimal("0.5")},
                                price_version="overlay 2"))
        for row in rows[::2]
    ]
    print("ready", flush=True)
    store.correct(changes, "run-1", NOON_NS)
    print("done", statements, flush=True)
    if when == "never":
        sys.exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""
STATEMENTS = 9
"""Of a correction over two months: the record, kill, empty, fill, two updates, finish, empty. And one past the end."""


def child(path: Path, dies_at: int, when: str) -> subprocess.Popen[str]:
    fresh(path).close()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(path), str(dies_at), when]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def after_the_crash(path: Path) -> tuple[bool, list[dict[str, object]]]:
    """Open the store again: whether the record was durable, and the costs of the calls."""
    store = ChdbStore(path)
    try:
        store.migrate()
        found = costs(store)
        (records,) = store.query("SELECT count() AS n FROM cost_corrections")
        (runs,) = store.query("SELECT count() AS n FROM cost_correction_runs")
        assert store.query("SELECT count() AS n FROM system.mutations WHERE NOT is_done") == [{"n": 0}]
    finally:
        store.close()
    assert records["n"] in (0, 500), "the record of a run is whole or not there"
    assert runs["n"] == (1 if records["n"] else 0), "what is on record is finished when the store is opened"
    return bool(records["n"]), found


def assert_all_or_nothing(on_record: bool, found: list[dict[str, object]]) -> None:
    assert len(found) == 1000
    for number, row in enumerate(found):
        components = row["CostComponents"]
        assert isinstance(components, dict)
        assert sum(components.values()) == row["CostUsd"]
        new = on_record and number % 2 == 0
        assert row["CostUsd"] == (Decimal("0.5") if new else Decimal("0.000255000001"))
        assert row["PriceVersion"] == ("overlay 2" if new else "genai-prices 0.2.3")


@pytest.mark.parametrize(("dies_at", "when"), [(1, "before"), *((number, "after") for number in range(1, STATEMENTS))])
def test_a_kill_between_any_two_steps_leaves_all_calls_whole_and_is_healed(
    tmp_path: Path, dies_at: int, when: str
) -> None:
    with child(tmp_path / "store", dies_at, when) as process:
        out = process.communicate(timeout=60)[0]

    assert process.returncode == -signal.SIGKILL
    assert "ready" in out
    assert "done" not in out
    on_record, found = after_the_crash(tmp_path / "store")
    assert on_record == (when == "after")
    assert_all_or_nothing(on_record, found)


def test_these_are_all_steps(tmp_path: Path) -> None:
    with child(tmp_path / "store", STATEMENTS + 9, "never") as process:
        out = process.communicate(timeout=60)[0]

    assert f"done {STATEMENTS - 1}" in out


@pytest.mark.parametrize("delay_ms", [5, 15, 30, 50, 80])
def test_a_kill_at_any_moment_leaves_all_calls_whole_and_is_healed(tmp_path: Path, delay_ms: int) -> None:
    with child(tmp_path / "store", STATEMENTS + 9, "at some time") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay_ms / 1000)
        process.kill()
        process.stdout.read()

    on_record, found = after_the_crash(tmp_path / "store")
    assert_all_or_nothing(on_record, found)


def test_every_field_of_a_row_is_kept_by_the_tables(store: AnyStore) -> None:
    told = {
        "cache_write_1h_tokens": 40,
        "audio_input_tokens": 1,
        "audio_output_tokens": 2,
        "audio_cache_read_tokens": 3,
        "image_input_tokens": 4,
        "image_output_tokens": 5,
        "web_searches": 6,
        "service_tier": "flex",
        "pricing_model": "openai/gpt-x",
    }
    store.insert([], [call(**told)])

    columns = ", ".join(f"{column_name(name)} AS {name}" for name in told)
    assert store.query(f"SELECT {columns} FROM llm_requests") == [told]
    assert set(told) <= {each.name for each in fields(Row)}


def test_what_a_correction_writes_is_synced_before_what_it_replaces_may_go(store: AnyStore) -> None:
    (table,) = store.query(
        "SELECT engine_full AS made_of FROM system.tables WHERE database = currentDatabase() AND "
        "name IN ('llm_requests', 'llm_requests_local') AND engine LIKE '%MergeTree'"
    )

    # A mutated part is synced as a merged one is: ClickHouse does neither unless it is told.
    assert "min_rows_to_fsync_after_merge = 1" in str(table["made_of"])
