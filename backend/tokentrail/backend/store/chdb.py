"""ClickHouse inside the process: the default store, on chDB. The only door to that package.

What chDB 26.9 gives: one engine a process, bound to one directory; any number of connections to it, each serial and
all parallel; its calls release the GIL. A second process cannot open the directory: ClickHouse holds `flock` on the
file `status` in it.
"""

import fcntl
import logging
import os
import queue
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tokentrail.backend.correction import Correction
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.backend.store import corrections as corrected
from tokentrail.backend.store import retention as kept
from tokentrail.backend.store import rollups, values
from tokentrail.backend.store._base import Key, row_times
from tokentrail.backend.store.codes import store_error
from tokentrail.backend.store.errors import StoreError, StoreUnavailable
from tokentrail.backend.store.lock import Worker
from tokentrail.backend.store.migrate import load, migrate
from tokentrail.backend.store.records import (
    Part,
    PartKey,
    by_table,
    encode_digests,
    encode_parts,
    find_parts,
    part_key,
    times,
)
from tokentrail.backend.store.rows import (
    Block,
    encode_contents,
    encode_keys,
    encode_rows,
    encode_snapshot,
    encode_spans,
)

if TYPE_CHECKING:
    from chdb.state.sqlitelike import Connection

_log = logging.getLogger(__name__)

READERS: Final = 4
"""Connections for queries: so many run at once, more wait."""
READER_WAIT_S: Final = 30.0
"""How long a query waits for a free connection before it fails as unavailable."""
QUERY_TIMEOUT_S: Final = 60
"""How long a query may run."""

_SETTINGS: Final = "session_timezone=UTC&memory_worker_period_ms=250"
"""Keys and answers in UTC, wherever the machine is, and wherever it goes. The engine looks at its own memory twenty
times a second unless told otherwise, which is two thirds of what it takes while nothing happens; four times do."""
_FORMAT: Final = "JSONCompactEachRowWithNamesAndTypes"
_INSERT: Final = """
INSERT INTO {table} ({columns}) SELECT {columns} FROM file({{path:String}}, 'Native', {{structure:String}})
SETTINGS max_partitions_per_insert_block = 0, materialize_skip_indexes_on_insert = 0
"""
"""From a file, not through chDB's `send_insert`: that reports rows as written whose commit has failed, be it for a
full disk or too many parts (26.9.0). Spans sent late may be of any day: without the first setting 100 partitions are
the most. Skip indexes are left to merges: on insert they are a quarter of the cost, and in the few granules of a part
that no merge has touched they would leave out little."""

_FIND: Final = """
SELECT DISTINCT Project, TraceId, SpanId FROM {table}
WHERE Timestamp >= fromUnixTimestamp64Nano({{first:Int64}}) AND Timestamp <= fromUnixTimestamp64Nano({{last:Int64}})
    AND (Project, TraceId, SpanId) IN (
        SELECT Project, TraceId, SpanId FROM file({{path:String}}, 'Native', {{structure:String}})
    )
"""

_DATABASE: Final = "default"
_SPOOL: Final = "insert.native"
"""In the directory of the store: the block on its way in."""

_CODE: Final = re.compile(r"Code: (\d+)\. DB::Exception")
_NAME: Final = re.compile(r"\(([A-Z][A-Z0-9_]+)\)\s*\Z")
_MESSAGE: Final = re.compile(r"Code: \d+\. DB::Exception: (.*)", re.DOTALL)


def path_of(url: str) -> Path:
    """The directory that a `chdb:///...` URL names: `chdb:///./data` is relative, `chdb:///srv/data` absolute.

    Raises `ValueError` which says what is expected.
    """
    parts = urlsplit(url)
    if parts.scheme != "chdb" or parts.netloc or not parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no embedded store: expected chdb:///./relative/path or chdb:///absolute/path")
    relative = parts.path.startswith(("/./", "/../"))
    return Path(parts.path[1:] if relative else "/" + parts.path.lstrip("/"))


class ChdbStore:
    """The embedded store in the directory `path`, which is made on first use. Implements `_base.Store`.

    Opening is lazy and, the first time in a process, takes more than a second. A process can have one directory open
    at a time; close the store to open another.
    """

    instance = ""
    """One process alone can have the directory."""

    def __init__(self, path: str | os.PathLike[str], retention: kept.Retention | None = None) -> None:
        """With `retention`, `migrate` makes tables keep rows for so long; else they keep them as they did."""
        self._retention = retention
        # Absolute before chDB is imported: its import changes the working directory for a moment.
        self._path = Path(path).expanduser().absolute()
        self._writer: Connection | None = None
        self._writing = threading.RLock()
        self._corrector: Connection | None = None
        self._correcting = threading.Lock()
        self._readers: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        for _ in range(READERS):
            self._readers.put(None)  # connected when first needed
        self._closed = False
        self.generation: int | None = 0
        self._closing = False
        """Long work ends between two statements."""

    def migrate(self) -> None:
        """Bring the tables to this version. Raises `StoreError` when they are newer than it or cannot be reached."""
        with self._writing:
            writer = self._open_writer()

            def execute(sql: str) -> None:
                with _translated("could not change its tables"):
                    writer.query(sql)

            migrate(execute, self.query, load())
            if self._retention is not None:
                kept.apply(execute, self.query, self._retention)
        try:
            with self._correcting:
                self._finish_corrections()
        except StoreError as error:
            _log.warning("a correction of costs that was interrupted is not finished, the next one tries: %s", error)

    def insert(self, spans: Sequence[Span], rows: Sequence[Row], received_ns: int = 0) -> None:
        """Store spans, what people wrote in rows, then the rows; they are on disk when it returns.

        One insert at a time, others wait. Raises `StoreUnavailable` when trying again later may help, `StoreError`
        when it will not; then the spans may be stored and the rows not, never a part of either (unless they span
        partitions: days for spans, months for rows).
        """
        blocks = [encode_spans(spans)] if spans else []
        contents = encode_contents(rows)
        blocks += [contents] if contents else []  # a call that is stored has its content
        blocks += [encode_rows(rows, received_ns)] if rows else []
        with self._writing:
            writer = self._open_writer()
            try:
                for block in blocks:
                    # What a row holds must not reach a log: only the name of the error is told.
                    with _translated(f"could not insert into {block.table}", with_message=False):
                        self._send(writer, block)
            finally:
                if rows:  # some may be stored also where it failed
                    self._count_change()

    def find_spans(self, spans: Sequence[Span]) -> set[Key]:
        """See `_base.Store.find_spans`."""
        times = [span.start_ns for span in spans]
        return self._find("otel_traces", encode_keys(spans), min(times), max(times))

    def find_rows(self, rows: Sequence[Row]) -> set[Key]:
        """See `_base.Store.find_rows`."""
        return self._find("llm_requests", encode_keys(rows), *row_times(rows))

    def insert_parts(self, parts: Sequence[Part]) -> None:
        """See `_base.Store.insert_parts`."""
        blocks = encode_parts(parts)
        with self._writing:
            writer = self._open_writer()
            for block in blocks:
                with _translated(f"could not insert into {block.table}", with_message=False):
                    self._send(writer, block)

    def find_parts(self, parts: Sequence[Part]) -> set[PartKey]:
        """See `_base.Store.find_parts`."""
        found: set[PartKey] = set()
        for table, of_table in by_table(parts).items():
            statement, parameters = find_parts(table), times(table, of_table)
            with self._writing, _translated(f"could not look into {table}"):
                answer = self._with_spooled(self._open_writer(), encode_digests(of_table), statement, parameters)
            found |= {part_key(table, row) for row in values.decode(answer)}
        return found

    def save_snapshot(self, state: str, taken_ns: int) -> None:
        """See `_base.Store.save_snapshot`."""
        with self._writing, _translated("could not insert into metric_snapshots", with_message=False):
            self._send(self._open_writer(), encode_snapshot(self.instance, taken_ns, state))

    def correct(self, corrections: Sequence[Correction], run: str, at_ns: int) -> None:
        """See `_base.Store.correct`. Takes about a second for each 300,000 rows in the months concerned."""
        with self._correcting:
            self._finish_corrections()
            with self._writing, _translated("could not insert into cost_corrections", with_message=False):
                self._send(self._open_writer(), corrected.encode_corrections(corrections, run, at_ns))
            self._finish_corrections()

    def roll_up(self, since_ns: int, until_ns: int) -> int:
        """See `_base.Store.roll_up`. Takes about a second for each million calls; corrections wait meanwhile."""
        with self._correcting:
            return rollups.fill_changed(self._roll_up, self.query, since_ns, until_ns)

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        """Rows of a SELECT, as dicts by column; `{name:Type}` in the SQL takes its value from `parameters`.

        Values: str, int, float, bool, None, Decimal, list and dict; times as ClickHouse writes them. Raises as
        `insert` does, and `StoreError` for anything that writes. Runs beside inserts and other queries.
        """
        texts = {name: values.parameter(value) for name, value in (parameters or {}).items()}
        with self._reader() as reader, _translated("could not answer a query"):
            answer = reader.query(sql, _FORMAT, params=texts).bytes()
        return values.decode(answer)

    def connect(self) -> "Connection":
        """A connection of its own, beside those of the store; whoever has it closes it, and before the store.

        For `chdb_sql` alone. Raises as `insert` does.
        """
        self._ensure_open()
        return self._connect()

    def close(self) -> None:
        """Release the store after what is running has ended; what was inserted stays. Idempotent."""
        self._closing = True
        with self._correcting, self._writing:
            if self._closed:
                return
            self._closed = True
            for _ in range(READERS):
                if reader := self._readers.get():
                    reader.close()
            for _ in range(READERS):
                self._readers.put(None)  # whoever waits wakes up and finds it closed
            for connection in (self._writer, self._corrector):
                if connection is not None:
                    connection.close()
            self._writer = self._corrector = None

    def _count_change(self) -> None:
        with self._writing:
            self.generation = (self.generation or 0) + 1

    def _finish_corrections(self) -> None:
        """Change the rows of what is on record and was not finished. On a connection of its own: inserts go on."""
        worker = Worker(self._correct, self.query, prefix="", database=_DATABASE)
        for run in corrected.unfinished(self.query):
            try:
                corrected.apply(worker, run)
            finally:
                self._count_change()

    def _correct(self, sql: str, parameters: Mapping[str, object]) -> None:
        self._change(sql, parameters, "could not correct costs")

    def _roll_up(self, sql: str, parameters: Mapping[str, object]) -> None:
        if self._closing:
            raise StoreUnavailable("The store is closing.")
        self._change(sql, parameters, "could not sum calls up by the hour")

    def _change(self, sql: str, parameters: Mapping[str, object], what: str) -> None:
        """On the connection that changes what is stored; one at a time, under `_correcting`."""
        self._ensure_open()
        self._corrector = self._corrector or self._connect()
        texts = {name: values.parameter(value) for name, value in parameters.items()}
        with _translated(what):
            self._corrector.query(sql, params=texts)

    def _send(self, writer: "Connection", block: Block) -> None:
        columns = ", ".join(f"`{name}`" for name in block.columns)
        self._with_spooled(writer, block, _INSERT.format(table=block.table, columns=columns), {})

    def _find(self, table: str, keys: Block, first_ns: int, last_ns: int) -> set[Key]:
        """Those of `keys` that are in `table` between two times."""
        times = {"first": str(first_ns), "last": str(last_ns)}
        with self._writing, _translated(f"could not look into {table}"):
            answer = self._with_spooled(self._open_writer(), keys, _FIND.format(table=table), times)
        return {(str(row["Project"]), str(row["TraceId"]), str(row["SpanId"])) for row in values.decode(answer)}

    def _with_spooled(self, writer: "Connection", block: Block, statement: str, parameters: Mapping[str, str]) -> bytes:
        """Run a statement that reads `block` as the file `path` with `structure`."""
        structure = ", ".join(f"`{name}` {kind}" for name, kind in zip(block.columns, block.types, strict=True))
        spool = self._path / _SPOOL
        spooled = {"path": values.parameter(str(spool)), "structure": values.parameter(structure)}
        try:
            with spool.open("wb") as file:
                file.writelines(block.data.pieces())
            answer: bytes = writer.query(statement, _FORMAT, params={**parameters, **spooled}).bytes()
        except OSError as error:
            raise StoreUnavailable(f"The store could not write {spool}: {error.strerror}.") from error
        except RuntimeError:
            self._writer = None  # what it had answered already would come before the next answer
            writer.close()
            raise
        finally:
            spool.unlink(missing_ok=True)
        return answer

    def _open_writer(self) -> "Connection":
        self._ensure_open()
        if self._writer is None:
            self._writer = self._connect()
        return self._writer

    @contextmanager
    def _reader(self) -> "Iterator[Connection]":
        self._ensure_open()
        try:
            reader = self._readers.get(timeout=READER_WAIT_S)
        except queue.Empty:
            raise StoreUnavailable(
                f"All {READERS} query connections of the store were busy for {READER_WAIT_S:g} s: try again later."
            ) from None
        try:
            self._ensure_open()
            reader = reader or self._connect(f"&max_execution_time={QUERY_TIMEOUT_S}&readonly=2")
            yield reader
        except BaseException:
            # What a failed query had written already would come before the answer to the next one on its connection
            # (chDB 26.9.0): it must not be used again.
            if reader is not None:
                reader.close()
                reader = None
            raise
        finally:
            self._readers.put(reader)

    def _ensure_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("The store is closed.")

    def _connect(self, settings: str = "") -> "Connection":
        if "?" in str(self._path):
            raise StoreError(f"The path of the store must not contain '?': {self._path}")
        self._refuse_second_process()
        import chdb  # takes more than a second: not before it is needed

        try:
            return chdb.connect(f"{self._path}?{_SETTINGS}{settings}")
        except RuntimeError as error:
            self._refuse_second_process()  # it may have come between
            raise _opening_error(self._path, str(error)) from error

    def _refuse_second_process(self) -> None:
        if holder := _holder(self._path / "status"):
            raise StoreUnavailable(
                f"Another Tokentrail (process {holder}) is using {self._path}: talk to it at its address (it serves "
                "http://127.0.0.1:4318 unless told otherwise), or stop it."
            )


def _holder(status: Path) -> str | None:
    """Who holds the lock of an open database, as a process id or "unknown"; `None` for nobody and for ourselves."""
    try:
        with status.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go again at once
            return None
    except BlockingIOError:
        match = re.search(rb"PID: (\d+)", status.read_bytes())
        process = match[1].decode() if match else "unknown"
        return None if process == str(os.getpid()) else process
    except OSError:
        return None  # no database yet, or one that cannot be read: opening it says why


@contextmanager
def _translated(what: str, *, with_message: bool = True) -> Iterator[None]:
    """ClickHouse's errors as ours; `what` says what the store could not do."""
    try:
        yield
    except RuntimeError as error:
        raise _translate(what, str(error), with_message=with_message) from error


def _translate(what: str, message: str, *, with_message: bool) -> StoreError:
    code = int(match[1]) if (match := _CODE.search(message)) else None
    name = match[1] if (match := _NAME.search(message)) else "an error without a name"
    words = match[1] if with_message and (match := _MESSAGE.search(message)) else ""
    return store_error(what, code, name, words)


def _opening_error(path: Path, message: str) -> StoreError:
    if "already initialized with path" in message:
        return StoreError(f"This process has another store open: close it before opening {path}.")
    nearest = next(each for each in (path, *path.parents) if each.exists())
    if not nearest.is_dir():
        return StoreError(f"The store {path} cannot be opened: {nearest} is not a directory.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return StoreError(f"The store {path} cannot be opened: {nearest} is not writable for this user.")
    return _translate(f"{path} could not be opened", message.partition(", Stack trace")[0], with_message=True)
