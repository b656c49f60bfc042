"""A ClickHouse server or cluster as the store. Any number of backends may share it.

Nothing is kept here but connections. What a broken connection leaves open, whether an insert was done, is settled
before the next look and the next insert: the insert is killed if it still runs, after which a look finds all of it or
nothing. On a cluster each insert also has a token made of what is in it, by which replicas know it again.

On a cluster all backends write to, and look at, the same replica of each shard while it is up (`load_balancing =
in_order`): what one has stored the next one sees. When that replica fails, what it had not passed on is not seen for as
long, unless `insert_quorum` asks for more replicas at each insert.
"""

import hashlib
import logging
import queue
import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from tokentrail.backend.correction import Correction
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.backend.store import corrections as corrected
from tokentrail.backend.store import retention as kept
from tokentrail.backend.store import rollups
from tokentrail.backend.store._base import Key, row_times
from tokentrail.backend.store.cluster import distribute
from tokentrail.backend.store.errors import StoreError, StoreUnavailable
from tokentrail.backend.store.lock import Worker, exclusively
from tokentrail.backend.store.migrate import load, migrate, pending
from tokentrail.backend.store.records import Part, PartKey, by_table, encode_digests, encode_parts, find_parts, times
from tokentrail.backend.store.rows import (
    Block,
    encode_contents,
    encode_keys,
    encode_rows,
    encode_snapshot,
    encode_spans,
)
from tokentrail.backend.store.server_address import ServerAddress
from tokentrail.backend.store.server_connection import ServerConnection, TransportError

_log = logging.getLogger(__name__)

READERS: Final = 8
"""Connections for queries: so many run at once, more wait."""
READER_WAIT_S: Final = 30.0
"""How long a query waits for a free connection before it fails as unavailable."""
QUERY_TIMEOUT_S: Final = 60
"""How long a query may run."""
MIGRATE_S: Final = 60.0
"""How long a migration waits for another backend that migrates at the same time."""
MUTATION_TIMEOUT_S: Final = corrected.MUTATION_S + 60.0
"""How long a change of stored rows may go without a word from the server."""

_FIND: Final = """
SELECT DISTINCT Project, TraceId, SpanId FROM {table}
WHERE Timestamp >= fromUnixTimestamp64Nano({{first:Int64}}) AND Timestamp <= fromUnixTimestamp64Nano({{last:Int64}})
    AND (Project, TraceId, SpanId) GLOBAL IN (SELECT Project, TraceId, SpanId FROM {keys})
"""
_KEYS: Final = "_keys"
"""The table that goes with a look: what to look for."""
_KILL: Final = "KILL QUERY WHERE query_id = {query:String} SYNC"
_RUNNING: Final = """
SELECT count() AS n FROM {processes} WHERE initial_query_id = {{query:String}} SETTINGS skip_unavailable_shards = 1
"""

_CONTESTED: Final = frozenset({473, 517})
"""DEADLOCK_AVOIDED, CANNOT_ASSIGN_ALTER: what a change of a table meets when another one is on its way, such as that of
another shard for a table that all shards share."""

_KEYED: Final = frozenset({"otel_traces", "llm_requests", "llm_contents"})
_KEY: Final = frozenset({"Project", "Timestamp", "TraceId", "SpanId"})

_INSERTING: Final[Mapping[str, object]] = {
    "async_insert": 0,  # acknowledged when it is stored, whatever the user's profile says
    "max_partitions_per_insert_block": 0,  # spans sent late may be of any day
    "distributed_foreground_insert": 1,
    "insert_distributed_sync": 1,  # the name of the same before 23.11
    "deduplicate_blocks_in_dependent_materialized_views": 1,
}
_ONE_REPLICA: Final[Mapping[str, object]] = {"load_balancing": "in_order", "prefer_localhost_replica": 0}
_CHANGING: Final[Mapping[str, object]] = {
    "distributed_product_mode": "global",
    "distributed_ddl_output_mode": "throw",  # done when it is done on all nodes, whatever the user's profile says
}
_READING: Final[Mapping[str, object]] = {
    "readonly": 2,
    "max_execution_time": QUERY_TIMEOUT_S,
    "distributed_product_mode": "global",
}


class ServerStore:
    """The store at `address`, where `instance` names this backend among those that share it. Implements `_base.Store`.

    Nothing connects before the first use. Thread-safe.
    """

    def __init__(self, address: ServerAddress, instance: str = "", retention: kept.Retention | None = None) -> None:
        self._retention = retention
        self.instance = instance
        self.generation: int | None = None
        self._address = address
        self._writer = self._connection({**_INSERTING, **_quorum(address)})
        self._writing = threading.RLock()
        self._unsettled: list[str] = []
        """Ids of inserts of which the connection broke: they may still run."""
        self._corrector = self._connection({**_INSERTING, **_CHANGING, **_quorum(address)}, MUTATION_TIMEOUT_S)
        self._prefix = f"tokentrail-{uuid.uuid4().hex}-"
        """Begins the ids of what changes tables and stored rows: others see by it that this backend is at work."""
        self._correcting = threading.Lock()
        self._readers: queue.LifoQueue[ServerConnection] = queue.LifoQueue()
        for _ in range(READERS):
            self._readers.put(self._connection(_READING))
        self._closed = False
        self._closing = False
        """Long work ends between two statements."""

    def migrate(self) -> None:
        """Bring the tables to this version. Raises `StoreError` when they are newer than it or cannot be reached.

        Several backends may do so at once: one does, the others wait.
        """
        deadline_s = time.monotonic() + MIGRATE_S
        with self._correcting:
            self._ensure_open()
            while self._is_behind():
                try:
                    worker = replace(self._worker(), execute=self._change_tables)
                    with exclusively("schema_migrations_lock", worker, "changes the tables", MIGRATE_S):
                        self._change(worker)
                    break
                except StoreError as error:
                    if error.code not in _CONTESTED or time.monotonic() > deadline_s:
                        raise
                    _log.info("another node changes the tables, too; looking again: %s", error)
                    time.sleep(random.uniform(0.1, 1.0))  # noqa: S311 - only to get out of step
            try:
                if corrected.unfinished(self._look):
                    with self._alone_correcting():
                        self._finish_corrections()
            except StoreError as error:
                _log.warning(
                    "a correction of costs that was interrupted is not finished, the next one tries: %s", error
                )

    def insert(self, spans: Sequence[Span], rows: Sequence[Row], received_ns: int = 0) -> None:
        """See `_base.Store.insert`: spans, then their rows. One insert at a time, others wait.

        When it fails, all of the spans or none may be stored, and of the rows too (on each shard and in each partition
        for itself): `find_spans` and `find_rows` tell.
        """
        blocks = [encode_spans(spans)] if spans else []
        contents = encode_contents(rows)
        blocks += [contents] if contents else []  # a call that is stored has its content
        blocks += [encode_rows(rows, received_ns, self.instance)] if rows else []
        with self._writing:
            for block in blocks:
                self._send(block)

    def find_spans(self, spans: Sequence[Span]) -> set[Key]:
        """See `_base.Store.find_spans`."""
        return self._find_keys("otel_traces", encode_keys(spans), [span.start_ns for span in spans])

    def find_rows(self, rows: Sequence[Row]) -> set[Key]:
        """See `_base.Store.find_rows`."""
        return self._find_keys("llm_requests", encode_keys(rows), row_times(rows))

    def insert_parts(self, parts: Sequence[Part]) -> None:
        """See `_base.Store.insert_parts`. On a cluster all rows of a request go to one shard."""
        with self._writing:
            for block in encode_parts(parts):
                self._send(block)

    def find_parts(self, parts: Sequence[Part]) -> set[PartKey]:
        """See `_base.Store.find_parts`."""
        found: set[PartKey] = set()
        for table, of_table in by_table(parts).items():
            rows = self._find(table, find_parts(table, _KEYS), times(table, of_table), encode_digests(of_table))
            found |= {(table, bytes.fromhex(str(digest)), int(str(day))) for digest, day in rows}
        return found

    def save_snapshot(self, state: str, taken_ns: int) -> None:
        """See `_base.Store.save_snapshot`."""
        with self._writing:
            self._send(encode_snapshot(self.instance, taken_ns, state))

    def correct(self, corrections: Sequence[Correction], run: str, at_ns: int) -> None:
        """See `_base.Store.correct`. While another backend does, or a node of the cluster is down, nothing is put on
        record: `StoreUnavailable`.
        """
        record = corrected.encode_corrections(corrections, run, at_ns)
        with self._correcting:
            self._ensure_open()
            with self._alone_correcting():
                self._finish_corrections()
                self._insert(self._corrector, record, self._prefix)
                self._finish_corrections()

    def roll_up(self, since_ns: int, until_ns: int) -> int:
        """See `_base.Store.roll_up`. Several backends may do it at once: the same sums replace one another."""
        with self._correcting:
            return rollups.fill_changed(self._roll_up, self.query, since_ns, until_ns)

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        """See `_base.Store.query`; values are those of the embedded store. `StoreError` for anything that writes."""
        with self._reader() as reader:
            return reader.rows("could not answer a query", sql, parameters)

    def close(self) -> None:
        """Release the store after what is running has ended; what was inserted stays. Idempotent."""
        self._closing = True
        with self._correcting, self._writing:
            if self._closed:
                return
            self._closed = True
            readers = [self._readers.get() for _ in range(READERS)]
            for connection in (*readers, self._writer, self._corrector):
                connection.close()
            for reader in readers:
                self._readers.put(reader)  # whoever waits wakes up and finds it closed

    def _connection(self, settings: Mapping[str, object], timeout_s: float | None = None) -> ServerConnection:
        replica = _ONE_REPLICA if self._address.cluster else {}
        return ServerConnection(self._address, {**settings, **replica}, timeout_s=timeout_s)

    def _is_behind(self) -> bool:
        """Whether tables have to be changed. Every start asks that, which takes no lock and no other node."""
        if not self._has_ledger() or pending(self._look, load()):
            return True
        return self._retention is not None and bool(
            kept.changes(self._look, self._retention, local=bool(self._address.cluster))
        )

    def _has_ledger(self) -> bool:
        return self._look("EXISTS TABLE schema_migrations") == [{"result": 1}]

    def _change(self, worker: Worker) -> None:
        """Change what has to be changed. Under the lock."""
        if self._has_ledger():
            worker.catch_up("schema_migrations")
        migrate(self._change_everywhere, self._look, load())
        if self._retention is not None:
            kept.apply(self._change_everywhere, self._look, self._retention, local=bool(self._address.cluster))

    def _change_everywhere(self, statement: str) -> None:
        """Run a statement of a migration, for the cluster where there is one."""
        cluster = self._address.cluster
        once = not cluster or statement.startswith("INSERT")
        for each in (statement,) if once else distribute(statement.strip(), cluster):
            self._change_tables(each)

    def _change_tables(self, sql: str, parameters: Mapping[str, object] | None = None) -> None:
        self._work("could not change its tables", sql, parameters)

    def _send(self, block: Block) -> None:
        self._ensure_open()
        self._settle()
        self._insert(self._writer, block, "tokentrail-")

    def _insert(self, connection: ServerConnection, block: Block, prefix: str) -> None:
        query_id = f"{prefix}{uuid.uuid4()}"
        try:
            connection.insert(block, {"insert_deduplication_token": _token(block)}, query_id)
        except TransportError:
            self._unsettled.append(query_id)
            raise

    def _settle(self) -> None:
        """Have inserts end whose connections broke, so that what is looked for is not on its way."""
        what = "could not end an insert whose connection broke"
        while self._unsettled:
            query = {"query": self._unsettled[0]}
            self._writer.run(what, _KILL, query)
            if self._address.cluster:  # the node it was sent to may be another one, where it cannot be ended from here
                running = _RUNNING.format(processes=self._worker().everywhere("system.processes"))
                if self._writer.rows(what, running, query) != [{"n": 0}]:
                    raise StoreUnavailable(f"The store {what}: it still runs on another node. Try again later.")
            self._unsettled.pop(0)

    def _find_keys(self, table: str, keys: Block, times_ns: Sequence[int]) -> set[Key]:
        """Those of `keys` that are in `table`, which are of these times."""
        times = {"first": min(times_ns), "last": max(times_ns)}
        found = self._find(table, _FIND.format(table=table, keys=_KEYS), times, keys)
        return {(str(project), str(trace_id), str(span_id)) for project, trace_id, span_id in found}

    def _find(
        self, table: str, sql: str, parameters: Mapping[str, object], keys: Block
    ) -> Sequence[tuple[object, ...]]:
        with self._writing:
            self._ensure_open()
            self._settle()
            return self._writer.find(f"could not look into {table}", sql, parameters, _KEYS, keys)

    def _worker(self) -> Worker:
        return Worker(self._correct, self._look, self._prefix, self._address.database, self._address.cluster)

    @contextmanager
    def _alone_correcting(self) -> Iterator[None]:
        """No other backend changes stored costs meanwhile."""
        with exclusively("cost_correction_lock", self._worker(), "changes stored costs"):
            yield

    def _finish_corrections(self) -> None:
        """Change the rows of what is on record and was not finished."""
        worker = replace(self._worker(), query=self._look_at_work)
        worker.catch_up(*corrected.EVERYWHERE)
        for run in corrected.unfinished(worker.query):
            corrected.apply(worker, run)

    def _correct(self, sql: str, parameters: Mapping[str, object]) -> None:
        self._work("could not correct costs", sql, parameters)

    def _work(self, what: str, sql: str, parameters: Mapping[str, object] | None = None) -> None:
        """Run a statement by which others see that this backend is at work."""
        self._ensure_open()
        self._corrector.run(what, sql, parameters, self._prefix)

    def _look(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        """Rows of a SELECT, of the node that changes are made by: another one may not know of them yet."""
        self._ensure_open()
        return self._corrector.rows("could not answer a query", sql, parameters)

    def _look_at_work(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        """The same, where the answer may take so long that others would think this backend gone."""
        self._ensure_open()
        return self._corrector.rows("could not answer a query", sql, parameters, self._prefix)

    def _roll_up(self, sql: str, parameters: Mapping[str, object]) -> None:
        self._ensure_open()
        if self._closing:
            raise StoreUnavailable("The store is closing.")
        self._corrector.run("could not sum calls up by the hour", sql, parameters)

    @contextmanager
    def _reader(self) -> Iterator[ServerConnection]:
        self._ensure_open()
        try:
            reader = self._readers.get(timeout=READER_WAIT_S)
        except queue.Empty:
            raise StoreUnavailable(f"The store is busy: no query has ended for {READER_WAIT_S:g} seconds.") from None
        try:
            self._ensure_open()
            yield reader
        except BaseException:
            reader.close()  # whatever is left of the answer must not come before the next one
            raise
        finally:
            self._readers.put(reader)

    def _ensure_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("The store is closed.")


def _quorum(address: ServerAddress) -> dict[str, object]:
    return {"insert_quorum": address.insert_quorum} if address.insert_quorum else {}


def _token(block: Block) -> str:
    """The same for the same rows: of the keys of spans and calls, of everything in others, which have none."""
    digest = hashlib.blake2b(block.table.encode(), digest_size=16)
    for name, values in zip(block.columns, block.data.values, strict=True):
        if block.table not in _KEYED or name in _KEY:
            digest.update(values)
    return digest.hexdigest()
