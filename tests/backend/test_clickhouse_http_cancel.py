"""Statements at `/clickhouse` that nobody waits for any more: they end, and so does the backend."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from support.backend_process import Answer, BackendProcess, http_request
from support.sql_store import opened
from tokentrail.backend.clickhouse_http.errors import QUERY_WAS_CANCELLED, SqlError
from tokentrail.backend.clickhouse_http.gate import Scope
from tokentrail.backend.clickhouse_http.parameters import Question
from tokentrail.backend.store.chdb_sql import Cancellation

# Each takes far longer than anything here waits: the harness for the end of a process (40 s), and a statement for the
# one place that there is (10 s).
LIMITS = {"TOKENTRAIL_SQL_MAX_TIME_S": "600", "TOKENTRAIL_SQL_MAX_QUERIES": "1"}
SLOW = {
    "count": "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(sin(number))",
    "join": "SELECT count() FROM numbers(10000000) AS a, numbers(10000000) AS b WHERE a.number + b.number = 7",
    "distinct": "SELECT count() FROM (SELECT DISTINCT number % 10 FROM numbers(100000000000))",
}
BEGUN_S = 0.5
"""Seconds by which a statement that was sent runs."""


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    with BackendProcess(tmp_path_factory.mktemp("sql") / "data", LIMITS) as process:
        yield process
        assert process.errors() == ""


def send(backend: BackendProcess, sql: str, method: str = "POST") -> socket.socket:
    """A connection on which a statement was sent."""
    address = urlsplit(backend.http)
    connection = socket.create_connection((str(address.hostname), address.port or 0))
    asked = "max_execution_time=600" + (f"&query={quote(sql)}" if method == "GET" else "")
    body = sql.encode() if method == "POST" else b""
    head = f"{method} /clickhouse/?{asked} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def ask(backend: BackendProcess, sql: str) -> Answer:
    return http_request(f"{backend.http}/clickhouse/?max_execution_time=600", sql.encode())


def cancelled(backend: BackendProcess, at_least: float = 0.0) -> float:
    return backend.wait_for_metric("tokentrail_sql_queries_total", at_least, outcome="cancelled")


@pytest.mark.parametrize(
    ("statement", "method", "wait_s"),
    [
        *((statement, "POST", BEGUN_S) for statement in SLOW),
        ("count", "GET", BEGUN_S),
        ("count", "POST", 0.0),
        ("count", "GET", 0.0),
    ],
)
def test_the_place_of_a_statement_is_free_after_its_client_has_left(
    backend: BackendProcess, statement: str, method: str, wait_s: float
) -> None:
    before = cancelled(backend)
    connection = send(backend, SLOW[statement], method)
    time.sleep(wait_s)

    connection.close()

    answer = ask(backend, "SELECT 1")
    assert (answer.status, answer.body) == (200, b"1\n")
    assert cancelled(backend, before + 1) == before + 1


def test_who_waits_and_leaves_does_not_take_a_place(backend: BackendProcess) -> None:
    before = cancelled(backend)
    running = send(backend, SLOW["count"])
    time.sleep(BEGUN_S)
    waiting = send(backend, SLOW["count"])

    waiting.close()
    assert cancelled(backend, before + 1) == before + 1, "the one that runs goes on"
    running.close()

    assert ask(backend, "SELECT 1").status == 200
    assert cancelled(backend, before + 2) == before + 2


def test_a_statement_of_somebody_else_goes_on(tmp_path: Path) -> None:
    with BackendProcess(tmp_path / "data", {**LIMITS, "TOKENTRAIL_SQL_MAX_QUERIES": "2"}) as backend:
        answers: list[Answer] = []
        long = "SELECT count() FROM numbers(300000000) WHERE NOT ignore(sin(number))"
        asking = threading.Thread(target=lambda: answers.append(ask(backend, long)))
        asking.start()
        connection = send(backend, SLOW["count"])
        time.sleep(BEGUN_S)

        connection.close()
        asking.join()

    assert [(each.status, each.body) for each in answers] == [(200, b"300000000\n")]


def test_sigterm_does_not_wait_for_statements(tmp_path: Path) -> None:
    with BackendProcess(tmp_path / "data", LIMITS) as backend:
        answers: list[Answer] = []
        asking = [threading.Thread(target=lambda: answers.append(ask(backend, SLOW["join"]))) for _ in range(3)]
        for thread in asking:
            thread.start()
        time.sleep(BEGUN_S)

        code = backend.terminate()
        for thread in asking:
            thread.join()

    assert code == 0
    assert {each.status for each in answers} == {503}
    assert {each.headers["x-clickhouse-exception-code"] for each in answers} == {"236"}
    assert len(answers) == 3


def test_nothing_begins_that_was_cancelled_before(tmp_path: Path) -> None:
    cancellation = Cancellation()
    with opened(tmp_path) as sql:
        cancellation.is_asked = True

        with pytest.raises(SqlError) as raised:
            sql.statements.run(Question("SELECT 1", "TSV", 0, {}, {}), Scope(None), cancellation)

    assert raised.value.code == QUERY_WAS_CANCELLED
