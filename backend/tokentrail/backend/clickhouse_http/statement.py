"""A statement on its way from text to result: read by the engine, looked at, bounded, run.

What runs is never the client's text but the engine's own form of it, and that very text is what the gate looks at. The
text itself goes to the engine as a value only: `EXPLAIN AST` in front of two statements would run the second one.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.clickhouse_http import catalog as catalogs
from tokentrail.backend.clickhouse_http import gate, native, projects, settings, syntax_tree
from tokentrail.backend.clickhouse_http.answers import require_format
from tokentrail.backend.clickhouse_http.catalog import Catalog
from tokentrail.backend.clickhouse_http.errors import (
    SYNTAX_ERROR,
    TOO_MANY_ROWS_OR_BYTES,
    QueryError,
    RefusedError,
    SqlError,
)
from tokentrail.backend.clickhouse_http.gate import Scope
from tokentrail.backend.clickhouse_http.lexemes import Cut, cut_end
from tokentrail.backend.clickhouse_http.limits import SqlLimits
from tokentrail.backend.clickhouse_http.parameters import Question
from tokentrail.backend.store import values
from tokentrail.backend.store.chdb_sql import Cancellation, ChdbSql, RawError, RawReader

_LOOKING: Final = {"max_execution_time": "5", "max_memory_usage": "200000000", "max_threads": "1"}
"""For reading a statement, which runs nothing of it."""
_FORMAT_QUERY: Final = "SELECT formatQuerySingleLine({statement:String})"
_SELECT: Final = "SELECT "


@dataclass(frozen=True, slots=True)
class Result:
    """A result in a format."""

    body: bytes
    format: str


@dataclass(frozen=True, slots=True)
class _Looked:
    """A statement that may run."""

    sql: str
    format: str
    settings: Mapping[str, str]
    is_select: bool


class Statements:
    """Runs statements on the embedded store. Thread-safe."""

    def __init__(self, sql: ChdbSql, limits: SqlLimits):
        self._sql, self._limits = sql, limits
        self._lock = threading.Lock()
        self._catalog: Catalog | None = None

    def run(self, question: Question, scope: Scope, cancellation: Cancellation | None = None) -> Result:
        """The result of `question` for who asks. Raises `SqlError` and `StoreError`."""
        cancellation = cancellation or Cancellation()
        looking = {**_LOOKING, "max_query_size": str(4 * self._limits.max_length_bytes)}
        try:
            with self._sql.reader(looking, cancellation) as reader:
                looked = self._look(reader, question, scope)
            with self._sql.reader(looked.settings, cancellation) as reader:
                return self._run(reader, question, looked)
        except RawError as error:
            raised = QueryError(error.code, str(error), error.name)
            raise (raised if scope.project is None else raised.without_values()) from None

    def _look(self, reader: RawReader, question: Question, scope: Scope) -> _Looked:
        catalog = self._read_catalog(reader)
        cut = self._cut(reader, question)
        chosen = settings.choose(question.settings, cut.settings, self._limits)
        root = syntax_tree.read(_text(reader.ask(f"EXPLAIN AST {cut.statement}", "TSVRaw", question.parameters)))
        gate.check(cut.statement, root, scope, catalog)
        own = {
            table: self._condition(reader, condition, scope, catalog)
            for table, condition in projects.own_conditions(chosen.filters, catalog).items()
        }
        applied = {
            **chosen.values,
            **({} if scope.project is None else projects.IN_ORDER),
            "max_query_size": str(4 * self._limits.max_length_bytes),
            # How many rows were read, not only those that there are for who asks.
            "output_format_write_statistics": "0",
            # Else DESCRIBE writes a tuple with names on several lines, which is no type for a client.
            "print_pretty_type_names": "0",
            settings.FILTERS: projects.conditions_literal(own, scope.project, catalog),
        }
        name = require_format(cut.format or question.default_format)
        return _Looked(cut.statement, name, applied, is_select=root.kind == "SelectWithUnionQuery")

    def _cut(self, reader: RawReader, question: Question) -> Cut:
        formatted = _format(reader, question.sql)
        gate.require_reading(formatted)
        return cut_end(formatted)

    def _condition(self, reader: RawReader, condition: str, scope: Scope, catalog: Catalog) -> str:
        """A client's condition in the engine's own form. Raises `RefusedError` unless it is one expression."""
        formatted = _format(reader, f"{_SELECT}\n{condition}\n")
        gate.require_reading(formatted)
        tree = syntax_tree.read(_text(reader.ask(f"EXPLAIN AST {formatted}", "TSVRaw")))
        gate.check_condition(tree, scope, catalog)
        return formatted.removeprefix(_SELECT)

    def _run(self, reader: RawReader, question: Question, looked: _Looked) -> Result:
        if looked.format == "Native":
            columns = _columns(reader, question, looked)
            buffers = self._bounded(reader.ask(looked.sql, "Buffers", question.parameters))
            return Result(native.encode(columns, buffers, question.revision), looked.format)
        return Result(self._bounded(reader.ask(looked.sql, looked.format, question.parameters)), looked.format)

    def _bounded(self, body: bytes) -> bytes:
        if len(body) > self._limits.max_result_bytes:
            raise SqlError(
                TOO_MANY_ROWS_OR_BYTES,
                f"the result has {len(body)} bytes, more than {self._limits.max_result_bytes} "
                "(TOKENTRAIL_SQL_MAX_RESULT_BYTES): ask for less, or with LIMIT",
            )
        return body

    def _read_catalog(self, reader: RawReader) -> Catalog:
        with self._lock:
            if self._catalog is None:
                self._catalog = catalogs.read(lambda sql: _rows(reader.ask(sql, "JSONCompactEachRow")))
            return self._catalog


def _format(reader: RawReader, sql: str) -> str:
    """One statement in the engine's own form: without comments, on one line. Raises `SqlError`."""
    try:
        parameters = {"statement": values.parameter(sql)}
        return _text(reader.ask(_FORMAT_QUERY, "TSVRaw", parameters)).removesuffix("\n")
    except RawError as error:
        message = str(error).partition(": In scope SELECT formatQuerySingleLine(")[0]
        if "Multi-statements" in message:
            raise RefusedError("only one statement at a time is possible here", SYNTAX_ERROR) from None
        raise QueryError(error.code, message, error.name) from None


def _columns(reader: RawReader, question: Question, looked: _Looked) -> list[tuple[str, str]]:
    """Names and types of the result."""
    if looked.is_select:
        described = reader.ask(f"DESCRIBE ({looked.sql})", "JSONCompactEachRow", question.parameters)
        return [(str(row[0]), str(row[1])) for row in _rows(described)]
    head = _rows(reader.ask(looked.sql, "JSONCompactEachRowWithNamesAndTypes", question.parameters))[:2]
    return [(str(name), str(kind)) for name, kind in zip(*head, strict=True)]


def _rows(lines: bytes) -> list[list[object]]:
    return [json.loads(line) for line in _text(lines).split("\n") if line]


def _text(answer: bytes) -> str:
    return answer.decode("utf-8", "surrogateescape")
