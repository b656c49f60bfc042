"""An embedded store with the same data in three projects, and statements on it as the backend runs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from support.calls import NOON_NS, call, span
from tokentrail.backend.clickhouse_http.errors import SqlError
from tokentrail.backend.clickhouse_http.gate import Scope
from tokentrail.backend.clickhouse_http.limits import SqlLimits
from tokentrail.backend.clickhouse_http.parameters import Question
from tokentrail.backend.clickhouse_http.statement import Statements
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.chdb_sql import ChdbSql

PROJECTS = ("", "a", "b")
CALLS = {"": 2, "a": 3, "b": 5}
"""Calls of each project: different, so that counts tell whose they are."""
MARK = "only-"
"""Begins every text that is of one project: `only-default`, `only-a`, `only-b`."""
FIRST_NS = NOON_NS


def mark(project: str) -> str:
    return f"{MARK}{project or 'default'}"


def fill(store: ChdbStore) -> None:
    """Spans, calls and contents; ids are the same in all projects, as senders choose them."""
    for project in PROJECTS:
        text = mark(project)
        for number in range(CALLS[project]):
            ids = {"project": project, "span_id": f"{number:016x}"}
            at_ns = FIRST_NS + number * 10**9
            spans = [replace(span(**ids, start_ns=at_ns, end_ns=at_ns + 1), attributes={"mark": text})]
            row = call(**ids, time_ns=at_ns, user_id=text, session_id=text, input_messages=f'["{text}"]')
            store.insert(spans, [row], received_ns=at_ns)


class Sql:
    """Statements on a store."""

    def __init__(self, store: ChdbStore, limits: SqlLimits):
        self.store = store
        self.statements = Statements(ChdbSql(store), limits)

    def __call__(
        self,
        sql: str,
        project: str | None = None,
        *,
        output: str = "TSV",
        revision: int = 0,
        settings: dict[str, str] | None = None,
        parameters: dict[str, str] | None = None,
    ) -> bytes:
        """The body of the answer. Raises `SqlError`."""
        question = Question(sql, output, revision, parameters or {}, settings or {})
        return self.statements.run(question, Scope(project)).body

    def text(self, sql: str, project: str | None = None, **settings: str) -> str:
        """The answer as text, without the last line break."""
        return self(sql, project, settings=settings).decode().removesuffix("\n")

    def error(self, sql: str, project: str | None = None, **settings: str) -> SqlError:
        """The error that it has to have."""
        try:
            body = self(sql, project, settings=settings)
        except SqlError as error:
            return error
        raise AssertionError(f"there is an answer to {sql!r}: {body[:200]!r}")


@contextmanager
def opened(directory: Path, limits: SqlLimits | None = None) -> Iterator[Sql]:
    """A filled store, closed at the end."""
    store = ChdbStore(directory / "store")
    store.migrate()
    try:
        fill(store)
        yield Sql(store, limits or SqlLimits())
    finally:
        store.close()
