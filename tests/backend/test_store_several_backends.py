"""Several backends at one server or cluster: they start at once, and are killed, and nothing is lost by it."""

import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from support.calls import NOON_NS, call, span
from support.stores import KINDS, empty, server_store
from tokentrail.backend.correction import Correction
from tokentrail.backend.row import Row
from tokentrail.backend.store import StoreError, clickhouse_server, lock
from tokentrail.backend.store.clickhouse_server import ServerStore
from tokentrail.backend.store.migrate import load
from tokentrail.backend.store.server_address import ServerAddress

SERVED = tuple(kind for kind in KINDS if kind != "embedded")
PROJECTS = ("", "a", "b")
TRACES = 6
BEFORE = 12
"""The version before the one that fills the times of traces anew."""

CHILD = """
    import os, pickle, signal, sys
    from tokentrail.backend.store.clickhouse_server import ServerStore

    dies_after = int(sys.argv[1])
    store = ServerStore(pickle.loads(bytes.fromhex(input())), "killed:1")
    statements, work = 0, store._work

    def counted(*args):
        global statements
        work(*args)
        statements += 1
        if statements == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)

    store._work = counted
    store.migrate()
"""


def rows_of(run: str) -> list[Row]:
    """Calls of two months, each of a trace of its own: on a cluster they are on several shards."""
    return [
        call(trace_id=f"{run}-{day}", span_id=f"{day:016x}", time_ns=NOON_NS + day * 86_400 * 10**9)
        for day in (0, 1, 2, 40, 41)
    ]


def correction(row: Row) -> Correction:
    return Correction(
        row, replace(row, cost_usd=Decimal("0.5"), cost_components={"input": Decimal("0.5")}, price_version="new")
    )


@contextmanager
def child(address: ServerAddress, dies_after: int) -> Iterator["subprocess.Popen[str]"]:
    """A process that migrates, and kills itself after so many statements; 0 for never."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(dies_after)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        try:
            print(pickle.dumps(address).hex(), file=process.stdin, flush=True)  # it may have a password
            yield process
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "GONE_S", 0.4)
    monkeypatch.setattr(lock, "LOOK_S", 0.1)


@contextmanager
def old_store(address: ServerAddress) -> Iterator[ServerStore]:
    """A store of before, with spans of several traces and projects."""
    store = ServerStore(address, "tests:1")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clickhouse_server, "load", lambda: load()[:BEFORE])
        store.migrate()
    spans = [
        span(project=project, trace_id=f"trace-{number}", start_ns=NOON_NS + number * 10**9)
        for project in PROJECTS
        for number in range(TRACES)
    ]
    store.insert(spans, [])
    try:
        yield store
    finally:
        store.close()


def assert_all_is_there(store: ServerStore) -> None:
    """All versions are on record, every trace has its times, and what comes now gets them, too."""
    versions = store.query("SELECT DISTINCT Version FROM schema_migrations ORDER BY Version")
    assert [row["Version"] for row in versions] == list(range(1, len(load()) + 1))
    store.insert([span(project="c", trace_id="new")], [])
    found = store.query("SELECT Project, uniqExact(TraceId) AS n FROM otel_traces_trace_id_ts GROUP BY Project")
    assert {str(row["Project"]): row["n"] for row in found} == {**dict.fromkeys(PROJECTS, TRACES), "c": 1}


@pytest.mark.parametrize("kind", SERVED)
def test_backends_that_are_upgraded_at_once_and_one_that_is_killed_lose_no_times_of_traces(
    kind: str, tmp_path: Path
) -> None:
    with empty(kind, tmp_path) as (address, _), old_store(address) as store:
        second = ServerStore(address, "tests:2")
        failures: list[BaseException] = []

        def migrate(backend: ServerStore) -> None:
            try:
                backend.migrate()
            except BaseException as error:
                failures.append(error)

        with child(address, 4) as killed:
            threads = [threading.Thread(target=migrate, args=(each,)) for each in (store, second)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
            killed.wait(60)
        second.close()

        assert failures == []
        assert_all_is_there(store)


@pytest.mark.parametrize("kind", SERVED)
def test_a_backend_that_is_killed_when_it_has_thrown_away_what_another_had_filled(kind: str, tmp_path: Path) -> None:
    with empty(kind, tmp_path) as (address, running), old_store(address) as store:
        if running is None:
            pytest.skip("a real server does not stop where a test wants it")
        done, dropped = threading.Event(), threading.Event()
        sessions: list[int] = []
        drop = "DROP TABLE IF EXISTS otel_traces_trace_id_ts"

        def hold(sql: str) -> None:
            if sql.startswith(drop) and not sessions:
                sessions.append(threading.get_ident())
                done.wait(3)  # the other one has all the time it needs, if it takes it

        def kill(sql: str) -> None:
            if sql.startswith(drop) and sessions == [threading.get_ident()] and not dropped.is_set():
                killed.kill()
                killed.wait(30)
                dropped.set()

        def migrate() -> None:
            store.migrate()
            done.set()

        with running.hook("query", hold), running.hook("answer", kill), child(address, 0) as killed:
            while not sessions:
                assert killed.poll() is None
            other = threading.Thread(target=migrate)
            other.start()
            assert dropped.wait(60)
            other.join(120)

        assert done.is_set()
        assert_all_is_there(store)


def kill_after(statements: int, backend: ServerStore) -> None:
    """Nothing reaches the server any more after so many statements of `backend`, whatever it tries."""
    work, insert, sent = backend._work, backend._insert, [0]

    def counted(execute: Callable[..., None]) -> Callable[..., None]:
        def run(*args: object) -> None:
            if sent[0] >= statements:
                raise StoreError("killed")
            execute(*args)
            sent[0] += 1

        return run

    backend._work, backend._insert = counted(work), counted(insert)  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", SERVED)
def test_a_correction_of_a_backend_that_ends_at_any_statement_is_finished_by_another(kind: str, tmp_path: Path) -> None:
    outcomes = []
    with empty(kind, tmp_path) as (address, _), server_store(address) as store:
        for statements in range(30):
            # A mutation takes longer the more parts there are.
            cluster = f"_local ON CLUSTER `{address.cluster}`" if address.cluster else ""
            store._work("could not begin anew", f"TRUNCATE TABLE llm_requests{cluster}")
            run = f"run-{statements}"
            rows = rows_of(run)
            store.insert([], rows)
            killed = ServerStore(address, "killed:1")
            kill_after(statements, killed)
            try:
                killed.correct([correction(row) for row in rows], run, NOON_NS)
                outcomes.append("done")
            except StoreError:
                outcomes.append("killed")
            killed.close()

            store.migrate()  # as the next that starts does

            sql = "SELECT CostUsd, PriceVersion FROM llm_requests WHERE startsWith(TraceId, {run:String})"
            found = {(row["CostUsd"], row["PriceVersion"]) for row in store.query(sql, {"run": f"{run}-"})}
            records = store.query("SELECT count() AS n FROM cost_corrections WHERE Run = {run:String}", {"run": run})
            done = store.query("SELECT Run FROM cost_correction_runs WHERE Run = {run:String}", {"run": run})
            if records == [{"n": 0}]:
                assert found == {(call().cost_usd, call().price_version)}
                assert done == []
            else:
                assert records == [{"n": len(rows)}]
                assert found == {(Decimal("0.5"), "new")}
                assert done == [{"Run": run}]
            if outcomes[-3:] == ["done"] * 3:
                break

    assert outcomes.count("killed") >= 8, "lock, record, kill, empty, fill, two months, finish"
    assert outcomes[-1] == "done"
