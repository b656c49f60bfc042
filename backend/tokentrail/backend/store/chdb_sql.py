"""Statements of clients on the embedded store: each on a connection of its own, which cannot write.

A new connection costs about 2 ms, and settings of one statement, or what a failed one has left behind, never reach the
next. `readonly = 1` refuses everything that writes and every further setting, but not all that reads or writes files of
this machine: statements come here through the gate of `clickhouse_http` only.
"""

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from tokentrail.backend.store.chdb import ChdbStore

_ERROR: Final = re.compile(r"Code: (\d+)\. DB::Exception: ")
_NAME: Final = re.compile(r"\s*\(([A-Z][A-Z0-9_]+)\)\s*\Z")
_VERSION: Final = re.compile(r"\s*\(version [^()]*\)\.?")
_UNKNOWN: Final = 1002
_CANCELLED: Final = 394
_KILL: Final = "KILL QUERY WHERE Settings['log_comment'] = {name:String} ASYNC"


class Answer(Protocol):
    """What the engine gives back."""

    def bytes(self) -> bytes:
        """All of it."""


class Connection(Protocol):
    """A connection of the engine, as `chdb.ChdbStore.connect` gives it."""

    def query(self, sql: str, format_name: str, /, *, params: Mapping[str, str]) -> Answer:
        """Run a statement."""

    def close(self) -> None:
        """End it."""


class RawError(Exception):
    """The engine's error: its number, its name and its message."""

    def __init__(self, code: int, name: str, message: str):
        super().__init__(message)
        self.code, self.name = code, name


class Cancellation:
    """By what the statements of one request can be ended from another thread: `ChdbSql.cancel`."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        """What the engine knows them by: their `log_comment`."""
        self.is_asked = False


class RawReader:
    """One connection, for one thread, until the first error."""

    def __init__(self, connection: Connection, cancellation: Cancellation):
        self._connection, self._cancellation = connection, cancellation

    def ask(self, sql: str, format_name: str, parameters: Mapping[str, str] | None = None) -> bytes:
        """The answer to `sql` in a format of the engine; `parameters` are escaped as in TSV. Raises `RawError`."""
        if self._cancellation.is_asked:
            raise RawError(_CANCELLED, "QUERY_WAS_CANCELLED", "Query was cancelled")
        try:
            return self._connection.query(sql, format_name, params=dict(parameters or {})).bytes()
        except RuntimeError as error:
            raise read_error(str(error)) from error


class ChdbSql:
    """Connections for statements of clients. Thread-safe. Whoever opens some ends them before the store is closed."""

    def __init__(self, store: ChdbStore):
        self._store = store

    @contextmanager
    def reader(self, settings: Mapping[str, str], cancellation: Cancellation) -> Iterator[RawReader]:
        """A connection with `settings`, literals by name, that are as they are from then on.

        Raises `RawError` for a setting that the engine refuses, and `StoreError` where there is no connection.
        """
        connection = self._store.connect()
        try:
            reader = RawReader(connection, cancellation)
            own = {"log_comment": f"'{cancellation.name}'", "readonly": "1"}
            assigned = ", ".join(f"{name} = {value}" for name, value in {**settings, **own}.items())
            reader.ask(f"SET {assigned}", "Null")
            yield reader
        finally:
            connection.close()

    def cancel(self, cancellation: Cancellation) -> None:
        """Let no further statement of `cancellation` begin, and have the one that runs end.

        The engine does not know one that is about to begin, and one that runs ends between two blocks of rows: call
        again until it has ended. Raises `RawError`, and `StoreError` where there is no connection.
        """
        cancellation.is_asked = True
        connection = self._store.connect()
        try:
            RawReader(connection, Cancellation()).ask(_KILL, "Null", {"name": cancellation.name})
        finally:
            connection.close()


def read_error(message: str) -> RawError:
    """What the engine says, without the frame that it puts around it."""
    message = message.partition(", Stack trace")[0].partition("\nStack trace")[0]
    name = ""
    while match := _NAME.search(message):
        name = name or match[1]
        message = _VERSION.sub("", message[: match.start()]).rstrip()
    codes = list(_ERROR.finditer(message))
    if not codes:
        return RawError(_UNKNOWN, name or "UNKNOWN_EXCEPTION", message.strip())
    # An error within an error: the innermost one tells most.
    return RawError(int(codes[0][1]), name, message[codes[-1].end() :].strip().removesuffix(".").strip())
