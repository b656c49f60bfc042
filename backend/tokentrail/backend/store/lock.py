"""One backend at a time, among all that share a server or a cluster: whoever makes a table has the lock of its name.

ClickHouse has no locks for its users, but of two that create a table only one succeeds; on a cluster the statement goes
to every node through one queue, so that whoever succeeds on all of them is one as well. The comment of the table names
the holder, by what the ids of its statements begin with: a holder of whom no statement has been running for `GONE_S`
is gone (killed, or cut off), and its lock is taken over. Of several that find that out at once one does: the table is
renamed first, to a name that this very lock can have once.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from tokentrail.backend.store.errors import StoreError, StoreUnavailable
from tokentrail.backend.store.values import quoted

GONE_S: float = 10.0
"""A holder works without a break: of one that does nothing for so long the process is gone."""
WAIT_S: float = 30.0
"""How long whoever comes second waits; more than `GONE_S`, or no lock would ever be taken over."""
LOOK_S: float = 0.5
"""Between two looks."""

_ALREADY_EXISTS: Final = 57


class Query(Protocol):
    """Answers one SELECT with parameters."""

    def __call__(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        """Its rows."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A backend that changes what others may change, too."""

    execute: Callable[[str, Mapping[str, object]], object]
    """Runs one statement; ids of all of them begin with `prefix`."""
    query: Query
    """Not one of those while a lock is asked for: that is no work, and would keep its own lock from being its own."""
    prefix: str
    database: str
    cluster: str = ""
    """Empty for a single server."""

    @property
    def on(self) -> str:
        """What sends a statement to all nodes, empty for a single server."""
        return f" ON CLUSTER `{self.cluster}`" if self.cluster else ""

    def everywhere(self, table: str) -> str:
        """A table of each node itself, of all nodes. Reading it fails when one of them does not answer."""
        return f"clusterAllReplicas(`{self.cluster}`, {table})" if self.cluster else table

    def catch_up(self, *tables: str) -> None:
        """Have every node of a cluster know what any of them has of tables that all share."""
        database = self.database.replace("\\", "\\\\").replace("`", "\\`")
        for table in tables if self.cluster else ():
            self.execute(f"SYSTEM SYNC REPLICA{self.on} `{database}`.{table} LIGHTWEIGHT", {})


@contextmanager
def exclusively(name: str, worker: Worker, what: str, wait_s: float | None = None) -> Iterator[None]:
    """Hold the lock `name`, which no table may be called.

    Waits `wait_s` (`WAIT_S`) for another holder, then raises `StoreUnavailable`: another backend does `what`. Errors of
    the callables pass through, also where a node of the cluster is down. Not for two threads of a worker.
    """
    made = _acquire(name, worker, what, WAIT_S if wait_s is None else wait_s)
    try:
        yield
    finally:
        with suppress(StoreError):  # then it is taken over
            for table in made:
                worker.execute(f"DROP TABLE IF EXISTS {table}{worker.on} SYNC", {})


def _acquire(name: str, worker: Worker, what: str, wait_s: float) -> list[str]:
    """Make the lock; the answer is the tables that are to go with it."""
    started_s = busy_s = time.monotonic()
    made, seen = [name], dict[str, str]()
    while True:
        held = _holders(name, worker)  # first: it tells at once of a node that is down, where a statement would wait
        if not held and _create(name, worker):
            return made
        now_s = time.monotonic()
        if held != seen or any(_is_at_work(prefix, worker) for prefix in held.values()):
            seen, busy_s = held, now_s
        own = bool(held) and set(held.values()) == {worker.prefix}
        if own or (held and now_s - busy_s > GONE_S):
            taken = [former for token in held if (former := _remove(name, token, worker))]
            made += taken
            if taken:
                continue
        if now_s - started_s > wait_s:
            raise StoreUnavailable(f"Another backend {what} at the moment: try again later.")
        time.sleep(LOOK_S)


def _holders(name: str, worker: Worker) -> dict[str, str]:
    """What the ids of the holder's statements begin with, by lock; more than one where nodes differ."""
    rows = worker.query(
        f"SELECT DISTINCT comment FROM {worker.everywhere('system.tables')} "  # noqa: S608 - a name of this package
        "WHERE database = {database:String} AND name = {name:String}",
        {"database": worker.database, "name": name},
    )
    comments = (str(row["comment"]).rpartition(" ") for row in rows)
    return {token: prefix for prefix, _, token in comments}


def _is_at_work(prefix: str, worker: Worker) -> bool:
    sql = f"SELECT count() AS n FROM {worker.everywhere('system.processes')} "  # noqa: S608 - a name of this package
    (row,) = worker.query(sql + "WHERE startsWith(initial_query_id, {prefix:String})", {"prefix": prefix})
    return int(str(row["n"])) > 0


def _create(name: str, worker: Worker) -> bool:
    comment = quoted(f"{worker.prefix} {uuid.uuid4().hex}")
    try:
        worker.execute(f"CREATE TABLE {name}{worker.on} (Nothing UInt8) ENGINE = Memory COMMENT {comment}", {})
    except StoreError as error:
        if error.code != _ALREADY_EXISTS:
            raise
        return False
    return True


def _remove(name: str, token: str, worker: Worker) -> str:
    """Take the lock away from one that is gone; the answer is its name now, empty when another backend was faster."""
    former = f"{name}_{token}" if token.isalnum() else f"{name}_former"
    try:
        worker.execute(f"RENAME TABLE IF EXISTS {name} TO {former}{worker.on}", {})
    except StoreError as error:
        if error.code != _ALREADY_EXISTS:
            raise
        return ""
    return former
