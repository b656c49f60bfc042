"""How long rows are kept: each class for its own time, dropped whole, and left alone where nothing changes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.calls import call, span
from tokentrail.backend.config import ConfigError, read_config
from tokentrail.backend.store import retention
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.retention import Retention

DAY_NS = 86_400 * 10**9
PATIENCE_S = 60.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChdbStore]:
    store = ChdbStore(tmp_path / "store")
    store.migrate()
    yield store
    store.close()


def apply(store: ChdbStore, kept: Retention) -> tuple[str, ...]:
    return retention.apply(lambda sql: store._open_writer().query(sql), store.query, kept)


def count(store: ChdbStore, table: str) -> int:
    (row,) = store.query(f"SELECT count() AS n FROM {table}")
    return int(str(row["n"]))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "what had expired is still there"
        time.sleep(0.1)


def store_days_ago(store: ChdbStore, *days: int) -> None:
    now_ns = time.time_ns()
    for number, ago in enumerate(days):
        at_ns = now_ns - ago * DAY_NS
        store.insert(
            [span(span_id=f"{number:016x}", start_ns=at_ns, end_ns=at_ns + 1)],
            [call(span_id=f"{number:016x}", time_ns=at_ns)],
            now_ns,
        )


def test_each_class_is_kept_for_its_own_time(store: ChdbStore) -> None:
    store_days_ago(store, 1, 20, 200)

    apply(store, Retention(content_days=14, traces_days=30, rows_days=90, rollups_days=400))

    wait_until(lambda: count(store, "llm_requests") == 2)
    wait_until(lambda: count(store, "llm_contents") == 1)
    wait_until(lambda: count(store, "otel_traces") == 2)


def test_what_had_expired_before_there_was_a_limit_goes_with_its_parts(store: ChdbStore) -> None:
    store_days_ago(store, 200, 1)
    parts = "SELECT count() AS n FROM system.parts WHERE active AND rows > 0 AND table = 'llm_contents'"
    before = store.query(parts)

    apply(store, Retention(content_days=14))

    wait_until(lambda: store.query(parts) == [{"n": 1}])
    assert before == [{"n": 2}]
    assert count(store, "llm_requests") == 2


def test_sums_by_the_hour_outlive_their_calls(store: ChdbStore) -> None:
    store_days_ago(store, 200)
    assert store.roll_up(0, time.time_ns()) == 1

    apply(store, Retention(content_days=14, traces_days=14, rows_days=90, rollups_days=400))
    wait_until(lambda: count(store, "llm_requests") == 0)

    assert store.roll_up(0, time.time_ns()) == 0
    assert store.query("SELECT Requests FROM llm_requests_hourly FINAL") == [{"Requests": 1}]


def test_tables_that_have_it_already_are_left_alone(store: ChdbStore) -> None:
    kept = Retention(content_days=14, traces_days=30, rows_days=90, rollups_days=400)

    first, second = apply(store, kept), apply(store, kept)

    assert {"llm_contents", "llm_requests", "otel_traces", "otel_logs", "otel_metrics_sum"} <= set(first)
    assert second == ()


def test_a_change_concerns_its_class_only(store: ChdbStore) -> None:
    apply(store, Retention(content_days=14, traces_days=30, rows_days=90, rollups_days=400))

    changed = apply(store, Retention(content_days=7, traces_days=30, rows_days=90, rollups_days=400))

    assert changed == ("llm_contents",)


def test_zero_keeps_for_ever_again(store: ChdbStore) -> None:
    apply(store, Retention(rows_days=90))

    changed = apply(store, Retention())
    store_days_ago(store, 200)

    assert "llm_requests" in changed
    assert count(store, "llm_requests") == 1
    (engine,) = store.query("SELECT engine_full FROM system.tables WHERE name = 'llm_requests'")
    assert " TTL " not in str(engine["engine_full"])


def test_every_table_of_rows_has_a_class(store: ChdbStore) -> None:
    """A new table must be given one, or be named here with the reason why it needs none."""
    small = {"schema_migrations", "metric_snapshots", "cost_correction_runs"}
    sql = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"

    tables = {str(row["name"]) for row in store.query(sql)}

    assert tables - small == set(retention._TABLES)


def test_migrate_applies_what_the_store_was_given(tmp_path: Path) -> None:
    store = ChdbStore(tmp_path / "store", Retention(rows_days=30))
    try:
        store.migrate()

        (engine,) = store.query("SELECT engine_full FROM system.tables WHERE name = 'llm_requests'")
    finally:
        store.close()
    assert "TTL toDateTime(Timestamp) + toIntervalDay(30)" in str(engine["engine_full"])


def test_settings_have_the_documented_defaults_and_take_zero() -> None:
    assert read_config({}, {}).retention == Retention(14, 14, 90, 400)
    assert read_config({"TOKENTRAIL_RETENTION_ROWS_DAYS": "0"}, {}).retention.rows_days == 0


@pytest.mark.parametrize("value", ["-1", "00", "two", "1.5", "10001"])
def test_days_that_make_no_sense_are_refused_by_name(value: str) -> None:
    with pytest.raises(ConfigError, match="TOKENTRAIL_RETENTION_CONTENT_DAYS"):
        read_config({"TOKENTRAIL_RETENTION_CONTENT_DAYS": value}, {})
