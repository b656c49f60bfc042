"""Migrations made for a cluster, as text, and run on what stands for one: two shards, each a database of one server."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from support.calls import NOON_NS, call, span
from support.clickhouse_front import CLUSTER, SECOND, Front
from support.clickhouse_packets import ServerError
from support.stores import front, server_store
from tokentrail.backend.correction import Correction
from tokentrail.backend.row import Row
from tokentrail.backend.store import StoreError, StoreUnavailable
from tokentrail.backend.store.clickhouse_server import ServerStore
from tokentrail.backend.store.cluster import BY_TRACE, EVERYWHERE, distribute
from tokentrail.backend.store.migrate import _LEDGER, load
from tokentrail.backend.store.server_address import address_of

TABLE = """CREATE TABLE IF NOT EXISTS otel_traces
(
    Timestamp DateTime64(9),
    TraceId String
)
ENGINE = MergeTree
ORDER BY Timestamp
SETTINGS fsync_after_insert = 1"""
STATEMENTS = [_LEDGER.strip(), *(each for migration in load() for each in migration.statements)]


def test_a_table_becomes_a_replicated_one_on_every_node_and_a_distributed_one_over_them() -> None:
    local, over = distribute(TABLE, "main")

    assert local == TABLE.replace("otel_traces", "otel_traces_local ON CLUSTER `main`").replace(
        "= MergeTree",
        "= ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')",
    )
    assert over == (
        "CREATE OR REPLACE TABLE otel_traces ON CLUSTER `main` AS otel_traces_local "
        "ENGINE = Distributed('main', currentDatabase(), 'otel_traces_local', cityHash64(TraceId))"
    )


def test_an_engine_keeps_what_it_is_made_of() -> None:
    statement = TABLE.replace("= MergeTree", "= ReplacingMergeTree(TakenAt)").replace("otel_traces", "metric_snapshots")

    (whole,) = distribute(statement, "main")

    assert "CREATE TABLE IF NOT EXISTS metric_snapshots ON CLUSTER `main`\n(" in whole
    assert (
        "ENGINE = ReplicatedReplacingMergeTree("
        "'/clickhouse/tables/all/{database}/{table}', '{shard}-{replica}', TakenAt)\n" in whole
    )


def test_a_view_goes_from_local_table_to_local_table() -> None:
    statement = (
        "CREATE MATERIALIZED VIEW IF NOT EXISTS v TO otel_traces_trace_id_ts AS\nSELECT TraceId\nFROM otel_traces\n"
        "WHERE TraceId IN (SELECT x FROM numbers(3))"
    )

    assert distribute(statement, "main") == (
        "CREATE MATERIALIZED VIEW IF NOT EXISTS v ON CLUSTER `main` TO otel_traces_trace_id_ts_local AS\n"
        "SELECT TraceId\nFROM otel_traces_local\nWHERE TraceId IN (SELECT x FROM numbers(3))",
    )


def test_a_change_reaches_the_local_tables_and_the_one_over_them_is_made_anew() -> None:
    local, over = distribute("ALTER TABLE llm_requests ADD COLUMN IF NOT EXISTS A String,\n ADD INDEX i A", "main")

    assert local == (
        "ALTER TABLE llm_requests_local ON CLUSTER `main` ADD COLUMN IF NOT EXISTS A String,\n ADD INDEX i A"
    )
    assert over.startswith("CREATE OR REPLACE TABLE llm_requests ON CLUSTER `main` AS llm_requests_local ")


def test_a_table_in_memory_is_made_on_every_node_as_it_is() -> None:
    assert distribute("CREATE TABLE IF NOT EXISTS t (a String)\nENGINE = Join(ANY, LEFT, a)", "main") == (
        "CREATE TABLE IF NOT EXISTS t ON CLUSTER `main` (a String)\nENGINE = Join(ANY, LEFT, a)",
    )


@pytest.mark.parametrize(
    "statement",
    [
        "OPTIMIZE TABLE t",
        "CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY a",
        "CREATE TABLE IF NOT EXISTS llm_requests (a String) ENGINE = Log",
        "CREATE TABLE IF NOT EXISTS unheard_of (a String) ENGINE = MergeTree ORDER BY a",
    ],
)
def test_what_cannot_be_made_for_a_cluster_is_refused(statement: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be|can be replicated|not known"):
        distribute(statement, "main")


@pytest.mark.parametrize("statement", [each for each in STATEMENTS if not each.startswith("INSERT")])
def test_every_statement_of_the_migrations_can_be_made_for_a_cluster(statement: str) -> None:
    for made in distribute(statement, "main"):
        assert " ON CLUSTER `main`" in made
        assert not re.search(r"ENGINE = (?!Replicated)\w*MergeTree", made)
        if made.startswith("CREATE"):
            assert "IF NOT EXISTS" in made or "OR REPLACE" in made, "it may be run again"


def test_a_copy_in_a_migration_goes_through_the_tables_over_all_nodes() -> None:
    copies = [each for each in STATEMENTS if each.startswith("INSERT")]

    assert all("_local" not in each for each in copies)


def test_tables_that_are_spread_by_trace_have_one() -> None:
    made = {match[1]: each for each in STATEMENTS if (match := re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", each))}

    for table in BY_TRACE:
        assert re.search(r"^\s+TraceId String", made[table], re.MULTILINE)
    assert set(made) >= EVERYWHERE


def cluster(running: Front, database: str = "") -> str:
    return running.url(database=database, options=f"?cluster={CLUSTER}")


def test_a_start_makes_no_statement_for_all_nodes_when_there_is_nothing_to_do(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        with server_store(address_of(cluster(running))) as store:
            store.insert([span()], [call()])
        running.queries.clear()

        with server_store(address_of(cluster(running))) as store:
            assert store.find_rows([call()]) != set()

        for_all = [query.sql for query in running.queries if re.search("ON CLUSTER|clusterAllReplicas", query.sql)]
        assert for_all == []


def test_backends_that_start_at_the_same_moment_make_the_tables_of_a_cluster_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(3)

    def start(store: ServerStore) -> None:
        try:
            barrier.wait(10)
            store.migrate()
        except BaseException as error:
            failures.append(error)

    with front(tmp_path) as running:
        stores = [ServerStore(address_of(cluster(running)), f"b:{number}") for number in range(3)]
        threads = [threading.Thread(target=start, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        (count,) = stores[0].query("SELECT uniq(Version) AS n FROM schema_migrations")
        for store in stores:
            store.close()

    assert failures == []
    assert count == {"n": len(load())}


def test_inserts_and_looks_ask_for_one_replica_and_wait_for_all_shards(tmp_path: Path) -> None:
    with front(tmp_path) as running, server_store(address_of(cluster(running) + "&insert_quorum=auto")) as store:
        running.queries.clear()
        store.insert([], [call()])
        store.find_rows([call()])
        store.query("SELECT 1")

        insert, look, *_, read = running.queries[-5:]

    insert = next(query for query in running.queries if query.sql.startswith("INSERT INTO llm_requests"))
    look = next(query for query in running.queries if "GLOBAL IN" in query.sql)
    assert insert.settings["distributed_foreground_insert"] == "1"
    assert insert.settings["insert_quorum"] == "auto"
    for query in (insert, look, read):
        assert query.settings["load_balancing"] == "in_order"
        assert query.settings["prefer_localhost_replica"] == "0"
    assert read.settings["distributed_product_mode"] == "global"


def test_a_cluster_that_the_server_does_not_know_is_told(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        store = ServerStore(address_of(running.url(options="?cluster=unknown")))
        with pytest.raises(StoreError, match=r"CLUSTER_DOESNT_EXIST .*unknown"):
            store.migrate()
        store.close()


def test_nothing_is_looked_up_while_an_insert_that_broke_runs_on_another_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(sql: str) -> None:
        if sql.startswith("INSERT INTO llm_requests"):
            assert go_on.wait(30)

    with front(tmp_path) as running, server_store(address_of(cluster(running) + "&timeout=2")) as store:
        monkeypatch.setattr(running, "wait_for", lambda query_id: None)  # KILL QUERY finds what is on its own node
        with running.hook("data", slow):
            with pytest.raises(StoreUnavailable):
                store.insert([], [call()])
            with pytest.raises(StoreUnavailable, match="still runs on another node"):
                store.find_rows([call()])
            go_on.set()
            while any(each.startswith("tokentrail-") for each in running.running_ids):
                time.sleep(0.05)

        assert store.find_rows([call()]) != set()


def calls_of_all_shards() -> list[Row]:
    """Of so many traces, some are on each of two shards."""
    return [call(trace_id=f"{number:032x}", time_ns=NOON_NS + number) for number in range(8)]


def corrections_of(rows: list[Row]) -> list[Correction]:
    return [Correction(row, replace(row, cost_usd=Decimal("0.5"), price_version="new")) for row in rows]


def at_other(word: str, code: int, reached: list[str]) -> Callable[[str], None]:
    """The second node refuses statements that have `word`."""

    def refuse(sql: str) -> None:
        if word in sql:
            reached.append(sql)
            raise ServerError(code, "the other node says no")

    return refuse


def test_rows_are_spread_over_the_shards(tmp_path: Path) -> None:
    with front(tmp_path) as running, server_store(address_of(cluster(running))) as store:
        store.insert([], calls_of_all_shards())

        first = store.query("SELECT count() AS n FROM llm_requests_local")[0]["n"]
        second = store.query(f"SELECT count() AS n FROM default{SECOND}.llm_requests_local")[0]["n"]
        assert isinstance(first, int)
        assert isinstance(second, int)
        assert min(first, second) > 0, "or nothing here tells anything about clusters"
        assert first + second == 8
        assert store.query("SELECT count() AS n FROM llm_requests") == [{"n": 8}]


def test_costs_are_not_changed_and_nothing_is_recorded_while_a_node_is_down(tmp_path: Path) -> None:
    rows, asked = calls_of_all_shards(), list[str]()
    with front(tmp_path) as running, server_store(address_of(cluster(running))) as store:
        store.insert([], rows)
        with running.hook("other", at_other("clusterAllReplicas", 279, asked)):
            with pytest.raises(StoreUnavailable, match="Trying again later"):
                store.correct(corrections_of(rows), "run-1", 1)
            assert asked != []
            assert store.query("SELECT count() AS n FROM cost_corrections") == [{"n": 0}]

        store.correct(corrections_of(rows), "run-2", 1)
        assert store.query("SELECT DISTINCT PriceVersion AS v FROM llm_requests") == [{"v": "new"}]


@pytest.mark.parametrize("statement", ["KILL MUTATION", "CREATE OR REPLACE", "ALTER TABLE"])
def test_a_correction_that_a_node_could_not_take_part_in_is_unfinished_until_it_can(
    tmp_path: Path, statement: str
) -> None:
    rows, refused = calls_of_all_shards(), list[str]()
    with front(tmp_path) as running, server_store(address_of(cluster(running))) as store:
        store.insert([], rows)
        no = pytest.raises(StoreUnavailable, match="the other node says no")
        with running.hook("other", at_other(statement, 341, refused)), no:
            store.correct(corrections_of(rows), "run-1", 1)
        assert refused != []
        assert store.query("SELECT count() AS n FROM system.mutations WHERE NOT is_done") == [{"n": 0}]

        store.migrate()

        assert store.query("SELECT DISTINCT PriceVersion AS v FROM llm_requests") == [{"v": "new"}]
        assert store.query("SELECT DISTINCT Run FROM cost_correction_runs") == [{"Run": "run-1"}]


def test_a_correction_that_is_made_does_not_fail_for_what_is_left_in_memory(tmp_path: Path) -> None:
    rows, refused = calls_of_all_shards(), list[str]()
    with front(tmp_path) as running, server_store(address_of(cluster(running))) as store:
        store.insert([], rows)
        with running.hook("other", at_other("TRUNCATE", 341, refused)):
            store.correct(corrections_of(rows), "run-1", 1)

        assert refused != []
        assert store.query("SELECT DISTINCT PriceVersion AS v FROM llm_requests") == [{"v": "new"}]
        assert store.query("SELECT DISTINCT Run FROM cost_correction_runs") == [{"Run": "run-1"}]


def test_every_node_takes_part_in_every_step_of_a_correction(tmp_path: Path) -> None:
    rows = calls_of_all_shards()
    with front(tmp_path) as running, server_store(address_of(cluster(running))) as store:
        store.insert([], rows)
        running.queries.clear()

        store.correct(corrections_of(rows), "run-1", 1)

        sent = [" ".join(query.sql.split()) for query in running.queries]
    changes = [sql for sql in sent if not sql.startswith(("SELECT", "DESCRIBE"))]
    for sql in changes:
        shared = re.match(r"INSERT INTO (\w+)", sql)
        assert shared[1] in EVERYWHERE if shared else f" ON CLUSTER `{CLUSTER}`" in sql, sql
    (mutation,) = (sql for sql in changes if sql.startswith("ALTER"))
    assert "ALTER TABLE llm_requests_local ON CLUSTER" in mutation
    assert "mutations_sync = 2" in mutation
    at = changes.index(mutation)
    filled = next(number for number, sql in enumerate(changes) if sql.startswith("CREATE OR REPLACE"))
    known = [number for number, sql in enumerate(changes) if sql.startswith("SYSTEM SYNC REPLICA")]
    assert min(known) < max(known) < filled < at


def test_a_mutation_that_looks_up_has_to_be_allowed_on_replicas(tmp_path: Path) -> None:
    """The front refuses what a replica refuses."""
    update = f"ALTER TABLE llm_requests_local ON CLUSTER `{CLUSTER}` UPDATE CostUsd = joinGet('t', 'c', 1) WHERE 1"
    no = pytest.raises(StoreError, match="must use only deterministic functions")
    with front(tmp_path) as running, server_store(address_of(cluster(running))) as store, no:
        store._correct(update, {})


def test_a_migration_waits_for_no_node_that_is_down(tmp_path: Path) -> None:
    asked = list[str]()
    with front(tmp_path) as running, running.hook("other", at_other("clusterAllReplicas", 279, asked)):
        store = ServerStore(address_of(cluster(running)))
        with pytest.raises(StoreUnavailable, match="Trying again later"):
            store.migrate()
        store.close()

        assert [query.sql for query in running.queries if "ON CLUSTER" in query.sql] == []


def test_a_replica_without_keeper_is_unavailable(tmp_path: Path) -> None:
    def read_only(sql: str) -> None:
        raise ServerError(242, "Table is in readonly mode")

    with front(tmp_path) as running, server_store(address_of(cluster(running))) as store:
        with running.hook("data", read_only), pytest.raises(StoreError, match="Trying again later"):
            store.insert([], [call()])

        store.insert([], [call()])
        assert store.query("SELECT count() AS n FROM llm_requests") == [{"n": 1}]
