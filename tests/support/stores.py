"""Stores to run one suite over: embedded, a server, a cluster; the latter two in front of the embedded engine.

`TOKENTRAIL_TEST_CLICKHOUSE` and `TOKENTRAIL_TEST_CLICKHOUSE_CLUSTER` name real ones by their URLs instead
(`make test-clickhouse`): then these are what the suites run over, each in a database of its own.
"""

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
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
_ENGINE: Final = "engine"
"""Where in its directory a front has its data."""

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

    @property
    def on(self) -> str:
        """What makes a statement one for all nodes that hold rows."""
        cluster = self.store._address.cluster if isinstance(self.store, ServerStore) else ""
        return f" ON CLUSTER `{cluster}`" if cluster else ""

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
        store = fresh(directory / "a b+c é")
        try:
            yield Opened(kind, store)
        finally:
            store.close()
    elif kind in _REAL:
        with empty(kind, directory) as (address, _), server_store(address) as opened_store:
            yield Opened(kind, opened_store)
    else:
        _copy_migrated(kind, directory / _ENGINE)
        with empty(kind, directory) as (address, running), server_store(address) as opened_store:
            yield Opened(kind, opened_store, running)


@contextmanager
def empty(kind: str, directory: Path) -> Iterator[tuple[ServerAddress, Front | None]]:
    """Where a database is, on a server or a cluster, and what stands for it where it is no real one.

    Without tables, unless they are in `directory` already.
    """
    if kind in _REAL:
        with _database(address_of(_REAL[kind])) as address:
            yield address, None
    else:
        with front(directory) as running:
            yield address_of(running.url(options=f"?cluster={CLUSTER}" if kind == "cluster" else "")), running


def fresh(path: Path) -> ChdbStore:
    """An embedded store at `path`, migrated and empty: the copy of one, as it takes long to make all tables."""
    _copy_migrated("embedded", path)
    store = ChdbStore(path)
    store.migrate()
    return store


def _copy_migrated(kind: str, path: Path) -> None:
    # Names of tables are links to where they are.
    shutil.copytree(_migrated(kind), path, symlinks=True)


@cache
def _migrated(kind: str) -> Path:
    """What a store of `kind` looks like when it has been migrated, closed; until the process ends."""
    directory = Path(tempfile.mkdtemp(prefix="tokentrail-migrated-"))
    atexit.register(shutil.rmtree, directory)
    if kind != "embedded":
        with empty(kind, directory) as (address, _), server_store(address):
            return directory / _ENGINE
    store = ChdbStore(directory / "store")
    try:
        store.migrate()
    finally:
        store.close()
    return directory / "store"


@contextmanager
def front(directory: Path) -> Iterator[Front]:
    """A running server in `directory`."""
    running = Front(directory / _ENGINE)
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
