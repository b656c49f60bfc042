"""Stores to run one suite over: embedded, a server, a cluster; the latter two in front of the embedded engine.

`TOKENTRAIL_TEST_CLICKHOUSE` and `TOKENTRAIL_TEST_CLICKHOUSE_CLUSTER` name real ones by their URLs instead
(`make test-clickhouse`): then these are what the suites run over, each in a database of its own.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from support.clickhouse_front import CLUSTER, Front
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.clickhouse_server import ServerStore
from tokentrail.backend.store.cluster import EVERYWHERE, LOCAL
from tokentrail.backend.store.server_address import ServerAddress, address_of

_REAL: Final = {
    kind: os.environ[name]
    for kind, name in (
        ("real server", "TOKENTRAIL_TEST_CLICKHOUSE"),
        ("real cluster", "TOKENTRAIL_TEST_CLICKHOUSE_CLUSTER"),
    )
    if os.environ.get(name)
}
KINDS: Final = tuple(_REAL) or ("embedded", "server", "cluster")
CORRECTING: Final = tuple(kind for kind in KINDS if "cluster" not in kind)
"""Those that can change stored costs."""


AnyStore: TypeAlias = ChdbStore | ServerStore


@dataclass(frozen=True)
class Opened:
    """A store that is migrated and empty."""

    kind: str
    store: AnyStore
    front: Front | None = None

    def held(self, table: str) -> str:
        """The table that holds the rows of `table`."""
        return table + LOCAL if "cluster" in self.kind and table not in EVERYWHERE else table

    def write(self, sql: str) -> None:
        """Run a statement that changes something."""
        if isinstance(self.store, ChdbStore):
            with self.store._writing:
                self.store._open_writer().query(sql)
        else:
            self.store._corrector.run("could not do what a test wants", sql)


@contextmanager
def opened(kind: str, directory: Path) -> Iterator[Opened]:
    """A store of `kind`, closed at the end."""
    if kind == "embedded":
        store = ChdbStore(directory / "a b+c é")
        store.migrate()
        try:
            yield Opened(kind, store)
        finally:
            store.close()
    elif kind in _REAL:
        with _database(address_of(_REAL[kind])) as address, server_store(address) as opened_store:
            yield Opened(kind, opened_store)
    else:
        with front(directory) as running:
            options = f"?cluster={CLUSTER}" if kind == "cluster" else ""
            with server_store(address_of(running.url(options=options))) as opened_store:
                yield Opened(kind, opened_store, running)


@contextmanager
def front(directory: Path) -> Iterator[Front]:
    """A running server in `directory`."""
    running = Front(directory / "engine")
    running.start()
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def server_store(address: ServerAddress, instance: str = "tests:1") -> Iterator[ServerStore]:
    """A store at `address`, migrated."""
    store = ServerStore(address, instance)
    try:
        store.migrate()
        yield store
    finally:
        store.close()


@contextmanager
def _database(address: ServerAddress) -> Iterator[ServerAddress]:
    """A database for one module of tests on a real server."""
    name = f"tokentrail_{uuid.uuid4().hex[:12]}"
    on = f" ON CLUSTER `{address.cluster}`" if address.cluster else ""
    maker = ServerStore(address)
    try:
        maker._corrector.run("could not make a database", f"CREATE DATABASE {name}{on}")
        yield replace(address, database=name)
    finally:
        maker._corrector.run("could not drop a database", f"DROP DATABASE IF EXISTS {name}{on} SYNC")
        maker.close()
