"""A ClickHouse server for tests: the native protocol, spoken to the real driver, in front of the embedded engine.

    hello, addendum, ping        users, databases, revision 54468 (that of clickhouse-driver 0.2.11)
    query                        settings, parameters, external tables; header, blocks, progress, profile, end of stream
    INSERT                       columns, sample block, blocks of data as they come, whose columns are told apart here
    exceptions                   with ClickHouse's code; the connection stays
    compression                  LZ4 frames of a megabyte, with their checksums

A cluster is two databases of the engine, each a shard of one replica; clients are connected to the first. What is sent
`ON CLUSTER` is run in both, one after the other; `Replicated*MergeTree` becomes `*MergeTree`, one that all shards share
a `Merge` over the first's in the second; `Distributed` becomes a `Merge` over both, and what is inserted into it is
spread by its key. So no node is ever behind. What replicas refuse is refused. `hooks` stop, delay or break it at a
point of its work.
Layout of packets: ClickHouse, src/Server/TCPHandler.cpp and src/Core/ProtocolDefines.h (25.x).
"""

import json
import re
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import chdb

from support.clickhouse_packets import Cut, Packets, ServerError

REVISION: Final = 54_468
CLUSTER: Final = "tests"
SECOND: Final = "__2"
"""Ends the name of the database that is the second node."""
_DROPPED_SETTINGS: Final = frozenset({"insert_deduplication_token", "insert_quorum"})
_ERROR: Final = re.compile(r"Code: (\d+)\. DB::Exception: (.*)", re.DOTALL)
_ON_CLUSTER: Final = re.compile(r" ON CLUSTER `([^`]*)`")
_REPLICATED: Final = re.compile(r"Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?")
_DISTRIBUTED: Final = re.compile(r"ENGINE = Distributed\('[^']*', currentDatabase\(\), '(\w+)', ([^\n]*)\)\Z")
_SHARED: Final = re.compile(r"\s*(?:CREATE|ALTER) TABLE (?:IF NOT EXISTS )?(\w+)\b")
_INSERT: Final = re.compile(r"INSERT INTO (\w+) \(([^)]*)\) VALUES\Z")
_INSERT_SELECT: Final = re.compile(r"\s*INSERT INTO (\w+)(.*?)\b(SELECT\b.*?)(SETTINGS [^()]*)?\Z", re.DOTALL)
_ALL_REPLICAS: Final = re.compile(r"clusterAllReplicas\(`([^`]*)`, ([\w.]+)\)")
_SYNC_REPLICA: Final = re.compile(r"SYSTEM SYNC REPLICA ((?:`[^`]*`\.)?\w+)(?: LIGHTWEIGHT)?\s*\Z")
_PROCESSES: Final = re.compile(r"\bFROM system\.processes\b")
_MUTATION: Final = re.compile(r"\s*ALTER TABLE \w+ ON CLUSTER `[^`]*` (?:UPDATE|DELETE)\b")
_KILL: Final = re.compile(r"KILL QUERY WHERE query_id = \{(\w+):String\} SYNC")


@dataclass
class Query:
    """A query packet."""

    id: str
    sql: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    compressed: bool


@dataclass
class Front:
    """The server. `hooks` by name of the point, each called with the SQL: "hello" (the user), "query" (before it
    runs), "data" (an INSERT has its data and is not stored), "stored" (it is, and nobody knows yet), "answer", "other"
    (the second node of the cluster is to run or to answer it)."""

    path: Path
    users: dict[str, str] = field(default_factory=lambda: {"default": ""})
    tls: ssl.SSLContext | None = None
    hooks: dict[str, Callable[[str], None]] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)
    revision: int = REVISION
    port: int = 0
    _listening: socket.socket | None = None
    _open: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _running: dict[str, threading.Event] = field(default_factory=dict)

    def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        self._start(self._accept, self._listening)

    def stop(self) -> None:
        """Go away: listen no more, and break every connection."""
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        self.break_connections()
        for thread in self._threads:
            thread.join(30)
        self._threads.clear()

    def break_connections(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def url(self, *, login: str = "", database: str = "", options: str = "") -> str:
        return f"clickhouse://{login}127.0.0.1:{self.port}/{database}{options}"

    @contextmanager
    def hook(self, point: str, action: Callable[[str], None]) -> Iterator[None]:
        """Have `action` called at `point` for as long."""
        self.hooks[point] = action
        try:
            yield
        finally:
            self.hooks.pop(point, None)

    def _start(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(connection,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        raw = connection
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            session = _Session(self, Packets(connection))
            try:
                session.serve()
            finally:
                session.close()
        except (OSError, EOFError, Cut):
            pass
        finally:
            self._open.discard(raw)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def at(self, point: str, sql: str) -> None:
        if (action := self.hooks.get(point)) is not None:
            action(sql)

    @contextmanager
    def running(self, query_id: str) -> Iterator[None]:
        """What `KILL QUERY ... SYNC` waits for."""
        self._running[query_id] = threading.Event()
        try:
            yield
        finally:
            self._running.pop(query_id).set()

    @property
    def running_ids(self) -> list[str]:
        return list(self._running)

    def wait_for(self, query_id: str) -> None:
        if (event := self._running.get(query_id)) is not None:
            event.wait(30)


class _Session:
    """One connection of a client."""

    def __init__(self, front: Front, packets: Packets) -> None:
        self._front, self._packets = front, packets
        self._engines: dict[tuple[tuple[str, str], ...], Any] = {}
        self._database = ""

    def serve(self) -> None:
        try:
            self._hello()
        except ServerError as error:
            self._packets.exception(error)
            return
        while (kind := self._packets.kind()) is not None:
            if kind == 4:  # ping
                self._packets.pong()
                continue
            assert kind == 1, f"packet {kind} where a query or a ping was to come"
            query = Query(*self._packets.query())
            self._front.queries.append(query)
            try:
                with self._front.running(query.id or str(uuid.uuid4())):
                    self._answer(query)
            except ServerError as error:
                self._packets.exception(error)

    def close(self) -> None:
        self._packets.close()
        for engine in self._engines.values():
            engine.close()

    def _hello(self) -> None:
        name, revision, database, user, password = self._packets.hello()
        self._front.at("hello", user)
        if self._front.users.get(user) != password:
            raise ServerError(516, f"{user}: Authentication failed: password is incorrect, or there is no such user")
        with closing(chdb.connect(str(self._front.path))) as engine:
            if not self._rows(engine, f"SELECT name FROM system.databases WHERE name = '{database or 'default'}'"):
                raise ServerError(81, f"Database {database} does not exist")
        self._database = database or "default"
        assert name.startswith("ClickHouse tokentrail")
        self._packets.welcome(min(revision, self._front.revision), self._front.revision)

    def _answer(self, query: Query) -> None:
        tables = self._packets.external_tables(self._front.path.parent, compressed=query.compressed)
        try:
            self._front.at("query", query.sql)
            if insert := _INSERT.match(query.sql.strip()):
                self._insert(query, insert[1], [name.strip(" `") for name in insert[2].split(",")])
            elif match := _KILL.match(query.sql):
                self._front.wait_for(_unquoted(query.parameters[match[1]]))
                self._packets.end()
            else:
                self._run(query, tables)
        finally:
            for path, _ in tables.values():
                path.unlink()

    def _run(self, query: Query, tables: Mapping[str, tuple[Path, str]]) -> None:
        sql = query.sql
        for name, (path, structure) in tables.items():
            quoted = structure.replace("\\", "\\\\").replace("'", "\\'")
            sql = re.sub(rf"\bFROM {name}\b", f"FROM file('{path}', 'Native', '{quoted}')", sql)
        parameters = {name: _unquoted(value) for name, value in query.parameters.items()}
        _refuse_what_replicas_do(sql)
        if _ON_CLUSTER.search(sql):
            self._run_everywhere(query, sql, parameters)
            return
        engine = self._engine(query.settings)
        sql = self._with_nodes(sql)
        if (insert := _INSERT_SELECT.match(sql)) and "readonly" not in query.settings:
            for each in self._spread(engine, insert[1], insert[2], insert[3], insert[4] or ""):
                self._do(engine, each, parameters, "Null")
            header, answer = [], b""
        else:
            header = self._header(engine, sql, parameters)
            answer = self._do(engine, sql, parameters, "Buffers" if header else "Null")
        self._front.at("answer", query.sql)
        self._packets.answer(header, answer, compressed=query.compressed)

    def _run_everywhere(self, query: Query, sql: str, parameters: Mapping[str, str]) -> None:
        """What the nodes of a cluster do with a statement; the first that fails is what the client hears of."""
        first = self._database
        self._do(self._engine(query.settings), f"CREATE DATABASE IF NOT EXISTS `{first}{SECOND}`", {}, "Null")
        for node in (first, first + SECOND):
            if node != first:
                self._front.at("other", query.sql)
            engine = self._engine(query.settings, node)
            self._do(engine, self._on_node(engine, node, sql), parameters, "Null")
        self._front.at("answer", query.sql)
        self._packets.end()

    def _on_node(self, engine: Any, node: str, sql: str) -> str:
        first = self._database
        is_shared = "'/clickhouse/tables/all/" in sql
        sql = _ON_CLUSTER.sub("", sql)
        if match := _SYNC_REPLICA.match(sql):
            return f"DESCRIBE TABLE {match[1].replace(f'`{first}`', f'`{node}`')}"
        if node != first:
            # The database is that of the node, on which it has another name here.
            sql = re.sub(rf"(['`]){first}(?=['`.])", rf"\g<1>{node}", sql)
            table = match[1] if (match := _SHARED.match(sql)) else ""
            of_table = f"SELECT engine FROM system.tables WHERE database = '{node}' AND name = '{table}'"
            if table and (is_shared or self._rows(engine, of_table) == [{"engine": "Merge"}]):
                return f"CREATE OR REPLACE TABLE {table} ENGINE = Merge('{first}', '^{table}$')"
        sql = _REPLICATED.sub(r"\1(", sql)
        both = f"REGEXP('^{first}({SECOND})?$')"
        return _DISTRIBUTED.sub(lambda match: f"ENGINE = Merge({both}, '^{match[1]}$') COMMENT '{match[2]}'", sql)

    def _spread(self, engine: Any, table: str, columns: str, select: str, settings: str) -> list[str]:
        """The inserts that stand for one into `table`, which may stand for a `Distributed`."""
        place = f"database = '{self._database}' AND name = '{table}'"
        (found,) = self._rows(engine, f"SELECT engine, comment FROM system.tables WHERE {place}") or [{}]
        if found.get("engine") != "Merge":
            return [f"INSERT INTO {table} {columns} {select} {settings}"]
        return [
            f"INSERT INTO `{node}`.{table}_local {columns} SELECT * FROM ({select}\n) "
            f"WHERE {found['comment']} % 2 = {number} {settings}"
            for number, node in enumerate((self._database, self._database + SECOND))
        ]

    def _with_nodes(self, sql: str) -> str:
        """`sql` with what all nodes tell of themselves; the queries that run are those of the front."""
        if _ALL_REPLICAS.search(sql):
            self._front.at("other", sql)
        ours = f"(SELECT * REPLACE (replaceRegexpOne(database, '{SECOND}$', '') AS database) FROM system.tables)"
        sql = _ALL_REPLICAS.sub(lambda match: ours if match[2] == "system.tables" else match[2], sql)
        ids = ", ".join(f"'{each}'" for each in self._front.running_ids)
        return _PROCESSES.sub(f"FROM (SELECT arrayJoin([{ids}]::Array(String)) AS initial_query_id)", sql)

    def _insert(self, query: Query, table: str, names: list[str]) -> None:
        engine = self._engine(query.settings)
        described = self._rows(engine, f"DESCRIBE TABLE {table}")
        types = {str(row["name"]): str(row["type"]) for row in described}
        if missing := [name for name in names if name not in types]:
            raise ServerError(16, f"No such column {missing[0]} in table {table}")
        self._packets.sample([(name, types[name]) for name in names], compressed=query.compressed)
        path = self._front.path.parent / f"{uuid.uuid4()}.native"
        try:
            columns = self._packets.insert_data(path, compressed=query.compressed)
            if columns is not None:
                for name, kind in columns:
                    if _plain(kind) != _plain(types[name]):
                        raise ServerError(53, f"Cannot convert {kind} of column {name} to {types[name]}")
                self._front.at("data", query.sql)
                self._store(engine, table, columns, path)
        finally:
            path.unlink(missing_ok=True)
        self._front.at("stored", query.sql)
        self._packets.end()

    def _store(self, engine: Any, table: str, columns: list[tuple[str, str]], path: Path) -> None:
        structure = ", ".join(f"`{name}` {kind}" for name, kind in columns).replace("'", "\\'")
        listed = ", ".join(f"`{name}`" for name, _ in columns)
        select = f"SELECT {listed} FROM file('{path}', 'Native', '{structure}')"
        for insert in self._spread(engine, table, f"({listed})", select, ""):
            self._do(engine, insert, {}, "Null")

    def _engine(self, settings: Mapping[str, str], database: str = "") -> Any:
        """A connection to the engine with these settings; each that failed is replaced."""
        database = database or self._database
        chosen = {name: value for name, value in settings.items() if name not in _DROPPED_SETTINGS}
        key = ("", database), *sorted(chosen.items(), key=lambda item: (item[0] == "readonly", item))
        if key not in self._engines:
            engine = chdb.connect(str(self._front.path))
            for name, value in (("session_timezone", "UTC"), *key[1:]):
                if name != "readonly":
                    engine.query(f"SET {name} = '{value}'")
            engine.query(f"USE `{database}`")
            if "readonly" in chosen:
                engine.query(f"SET readonly = {chosen['readonly']}")
            self._engines[key] = engine
        return self._engines[key]

    def _rows(self, engine: Any, sql: str) -> list[dict[str, object]]:
        answer = self._do(engine, sql, {}, "JSON")
        rows: list[dict[str, object]] = json.loads(answer)["data"]
        return rows

    def _header(self, engine: Any, sql: str, parameters: Mapping[str, str]) -> list[tuple[str, str]]:
        """Names and types of the answer, empty for a statement without one."""
        if re.match(r"[\s(]*(SELECT|WITH)\b", sql, re.IGNORECASE):
            rows = json.loads(self._do(engine, f"DESCRIBE TABLE ({sql}\n)", parameters, "JSON"))["data"]
            return [(row["name"], row["type"]) for row in rows]
        if re.match(r"\s*(SHOW|DESC|EXISTS)", sql, re.IGNORECASE):
            answer = self._do(engine, sql, parameters, "TSVWithNamesAndTypes").decode().split("\n")
            return list(zip(answer[0].split("\t"), answer[1].split("\t"), strict=True))
        return []

    def _do(self, engine: Any, sql: str, parameters: Mapping[str, str], form: str) -> bytes:
        try:
            answer: bytes = engine.query(sql, form, params=dict(parameters)).bytes()
        except RuntimeError as error:
            self._engines = {key: each for key, each in self._engines.items() if each is not engine}
            engine.close()
            if (match := _ERROR.search(str(error))) is None:
                raise
            raise ServerError(int(match[1]), re.sub(r"\s*\([A-Z0-9_]+\)\s*\Z", "", match[2])) from error
        return answer


def _refuse_what_replicas_do(sql: str) -> None:
    for name in _ON_CLUSTER.findall(sql) + [name for name, _ in _ALL_REPLICAS.findall(sql)]:
        if name != CLUSTER:
            raise ServerError(701, f"Requested cluster '{name}' not found")
    looks_up = _MUTATION.match(sql) and re.search(r"\b(?:joinGet|dictGet|SELECT)\b", sql)
    if looks_up and not re.search(r"\ballow_nondeterministic_mutations = 1\b", sql):
        raise ServerError(36, "ALTER UPDATE/ALTER DELETE statements must use only deterministic functions")


def _plain(kind: str) -> str:
    """A type without LowCardinality, which the server takes as what it holds (NativeReader.cpp), and without spaces."""
    while (plain := re.sub(r"LowCardinality\(([^()]*(?:\([^()]*\))?[^()]*)\)", r"\1", kind)) != kind:
        kind = plain
    return kind.replace(" ", "")


def _unquoted(text: str) -> str:
    """A parameter as it is in the packet: quoted, with backslashes."""
    assert text[0] == text[-1] == "'", text
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), text[1:-1], flags=re.DOTALL)
