"""A ClickHouse server as the store: what breaks on the way, and what is known of it afterwards."""

import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import chdb
import pytest

from support.calls import NOON_NS, call, span
from support.clickhouse_front import Front
from support.clickhouse_packets import Cut, ServerError
from support.stores import front, server_store
from tokentrail.backend.store import StoreError, StoreUnavailable
from tokentrail.backend.store.clickhouse_server import ServerStore
from tokentrail.backend.store.server_address import address_of

COUNT = "SELECT count() AS n FROM llm_requests"
KEY = (call().project, call().trace_id, call().span_id)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front(tmp_path_factory.mktemp("server")) as running:
        with server_store(address_of(running.url())):
            pass
        yield running


@pytest.fixture
def server(shared: Front) -> Iterator[Front]:
    """A running server whose tables are there and empty."""
    with closing(chdb.connect(str(shared.path))) as engine:
        for table in ("otel_traces", "llm_requests", "llm_contents", "metric_snapshots"):
            engine.query(f"TRUNCATE TABLE {table}")
    shared.queries.clear()
    yield shared
    shared.hooks.clear()
    shared.tls = None
    shared.users = {"default": ""}
    if shared._listening is None:
        shared.start()


@pytest.fixture
def store(server: Front) -> Iterator[ServerStore]:
    store = ServerStore(address_of(server.url(options="?timeout=2&connect_timeout=1")), "backend-1:4318")
    yield store
    store.close()


def test_rows_say_which_backend_stored_them_and_when(store: ServerStore) -> None:
    store.insert([], [call()], NOON_NS)

    assert store.query("SELECT Instance, toString(ReceivedAt) AS At FROM llm_requests") == [
        {"Instance": "backend-1:4318", "At": "2026-01-01 12:00:00.123456"}
    ]


def test_what_is_stored_is_found_among_what_is_not(store: ServerStore) -> None:
    store.insert([span()], [call()])
    other = "0" * 16

    assert store.find_spans([span(), span(span_id=other)]) == {KEY}
    assert store.find_rows([call(), call(span_id=other)]) == {KEY}
    assert store.find_rows([call(span_id=other)]) == set()


def test_a_snapshot_is_kept_for_its_backend(store: ServerStore, server: Front) -> None:
    with server_store(address_of(server.url()), "backend-2:4318") as second:
        store.save_snapshot("one", 1_000_000)
        second.save_snapshot("two", 1_000_000)

    rows = store.query("SELECT Instance, State FROM metric_snapshots ORDER BY Instance")
    assert [tuple(row.values()) for row in rows] == [("backend-1:4318", "one"), ("backend-2:4318", "two")]


@pytest.mark.parametrize("compression", ["lz4", "lz4hc", "none"])
def test_a_block_larger_than_a_frame_survives_each_compression(server: Front, compression: str) -> None:
    text = "naïve \0 text " * 300_000
    with server_store(address_of(server.url(options=f"?compression={compression}"))) as store:
        store.insert([], [call(input_messages=text), call(span_id="1" * 16, input_messages=text[::-1])])

        rows = store.query("SELECT InputMessages FROM llm_contents ORDER BY SpanId")
    assert [row["InputMessages"] for row in rows] == [text[::-1], text]


def test_every_insert_has_a_token_of_what_is_in_it(store: ServerStore, server: Front) -> None:
    store.insert([span()], [call()], 1)
    store.insert([span()], [call()], 2)
    store.insert([span(span_id="1" * 16)], [])

    inserts = [query for query in server.queries if query.sql.startswith("INSERT")]
    *tokens, others = (query.settings["insert_deduplication_token"] for query in inserts)
    assert tokens[:3] == tokens[3:], "spans, contents, calls"
    assert len({*tokens, others}) == 4
    assert len({query.id for query in inserts}) == 7
    assert {query.settings["async_insert"] for query in inserts} == {"0"}


# --- The server goes away and comes back. ---


def test_a_connection_that_broke_while_nothing_happened_is_made_again(store: ServerStore, server: Front) -> None:
    store.insert([], [call()])
    assert store.query(COUNT) == [{"n": 1}]

    server.break_connections()

    store.insert([], [call(span_id="1" * 16)])
    assert store.query(COUNT) == [{"n": 2}]


def test_a_server_that_is_down_is_unavailable_until_it_is_back(store: ServerStore, server: Front) -> None:
    store.insert([], [call()])
    server.stop()

    with pytest.raises(StoreUnavailable):
        store.insert([], [call(span_id="1" * 16)])
    with pytest.raises(StoreUnavailable):
        store.query(COUNT)
    with pytest.raises(StoreUnavailable):
        store.find_rows([call()])
    server.start()

    store.insert([], [call(span_id="2" * 16)])
    assert store.query(COUNT) == [{"n": 2}]


@pytest.mark.parametrize("point", ["query", "data"])
def test_an_insert_that_breaks_before_it_is_stored_left_nothing(store: ServerStore, server: Front, point: str) -> None:
    with server.hook(point, cut("INSERT INTO llm_requests")), pytest.raises(StoreUnavailable):
        store.insert([], [call(user_id="a-private-name")])

    assert store.find_rows([call()]) == set()
    store.insert([], [call()])
    assert store.query(COUNT) == [{"n": 1}]


def test_an_insert_that_was_stored_before_the_connection_broke_is_found(store: ServerStore, server: Front) -> None:
    with server.hook("stored", cut("INSERT INTO llm_requests")), pytest.raises(StoreUnavailable):
        store.insert([], [call()])

    assert store.find_rows([call()]) == {KEY}


def test_an_insert_that_still_runs_when_its_connection_broke_is_waited_for(store: ServerStore, server: Front) -> None:
    on_its_way = threading.Event()

    def slow(sql: str) -> None:
        if sql.startswith("INSERT INTO llm_requests"):
            on_its_way.set()
            time.sleep(3)  # the client gives up after two

    with server.hook("data", slow), pytest.raises(StoreUnavailable):
        store.insert([], [call()])
    assert on_its_way.is_set()

    assert store.find_rows([call()]) == {KEY}, "it was stored after the client had given up"
    kill = next(query for query in server.queries if query.sql.startswith("KILL"))
    insert = next(query for query in server.queries if query.sql.startswith("INSERT INTO llm_requests"))
    assert insert.id in kill.parameters["query"]


def test_a_large_block_of_which_half_arrived_is_not_stored(store: ServerStore, server: Front) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_pass_on, args=(listening, server.port, 2_000_000), daemon=True).start()
        address = replace(address_of(server.url()), hosts=(("127.0.0.1", listening.getsockname()[1]),))
        through = ServerStore(replace(address, compression="", timeout_s=5))
        try:
            with pytest.raises(StoreUnavailable):
                through.insert([], [call(input_messages="x" * 5_000_000)])
        finally:
            through.close()

    assert store.query(COUNT) == [{"n": 0}]


@pytest.mark.parametrize("after", [40, 120, 300, 1500, 20_000])
def test_an_answer_that_ends_half_way_is_unavailable_and_the_next_is_whole(server: Front, after: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_answer_in_part, args=(listening, server.port, after), daemon=True).start()
        port = listening.getsockname()[1]
        store = ServerStore(replace(address_of(server.url()), hosts=(("127.0.0.1", port),), timeout_s=5))
        try:
            with pytest.raises(StoreUnavailable):
                store.query("SELECT number, toString(number) AS text FROM numbers(100000)")

            assert store.query("SELECT 1 AS one") == [{"one": 1}]
        finally:
            store.close()


def test_a_server_that_does_not_answer_in_time_is_unavailable(store: ServerStore, server: Front) -> None:
    started_s = time.monotonic()
    with server.hook("answer", lambda sql: time.sleep(4)), pytest.raises(StoreUnavailable, match="connection broke"):
        store.query("SELECT 1")

    assert time.monotonic() - started_s < 3.5
    assert store.query("SELECT 1 AS one") == [{"one": 1}]


def test_an_address_where_nobody_answers_at_all_is_given_up_in_time(server: Front) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = replace(address_of(server.url()), hosts=(("127.0.0.1", silent.getsockname()[1]),), timeout_s=1)
        store = ServerStore(address)
        with pytest.raises(StoreUnavailable):
            store.query("SELECT 1")
        store.close()


def test_the_next_host_takes_over_and_keeps_the_place(server: Front) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    address = replace(address_of(server.url()), hosts=(("127.0.0.1", nobody), ("127.0.0.1", server.port)))

    with server_store(address) as store:
        store.insert([], [call()])
        assert store.query(COUNT) == [{"n": 1}]


def test_an_insert_goes_to_the_next_host_when_the_first_goes_away(server: Front, tmp_path: Path) -> None:
    """Two front doors of one server; the first closes after the first insert."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        first = listening.getsockname()[1]
        door = threading.Thread(target=_pass_on, args=(listening, server.port, 1 << 40), daemon=True)
        door.start()
        address = replace(address_of(server.url()), hosts=(("127.0.0.1", first), ("127.0.0.1", server.port)))
        store = ServerStore(address)
        store.insert([], [call()])
    server.break_connections()

    store.insert([], [call(span_id="1" * 16)])

    assert store.query(COUNT) == [{"n": 2}]
    store.close()


# --- The server refuses. ---


def test_a_wrong_password_is_told_without_it(server: Front, caplog: pytest.LogCaptureFixture) -> None:
    server.users = {"app": "right-secret"}
    caplog.set_level(logging.DEBUG)
    store = ServerStore(address_of(server.url(login="app:wrong-secret@")))

    with pytest.raises(StoreUnavailable, match=r"AUTHENTICATION_FAILED \(ClickHouse code 516\)") as caught:
        store.migrate()
    with pytest.raises(StoreUnavailable):  # data is not given up for it
        store.insert([], [call()])

    assert "TOKENTRAIL_STORE" in str(caught.value)
    for text in (str(caught.value), repr(store._address), str(store._address), caplog.text):
        assert "secret" not in text
    store.close()


def test_a_password_with_every_awkward_character_arrives(server: Front) -> None:
    password = "p@ss:w/rd?#%20 é"
    server.users = {"app": password}
    with server_store(address_of(server.url(login="app@"), password)) as store:
        assert store.query("SELECT 1 AS one") == [{"one": 1}]


def test_an_unknown_database_is_named(server: Front) -> None:
    store = ServerStore(address_of(server.url(database="nowhere")))

    with pytest.raises(StoreUnavailable, match=r"UNKNOWN_DATABASE .*nowhere"):
        store.migrate()
    store.close()


@pytest.mark.parametrize("code", [242, 252, 241, 243, 285, 319, 999, 516, 497])
def test_what_may_pass_is_unavailable(store: ServerStore, server: Front, code: int) -> None:
    with server.hook("data", refuse(code)), pytest.raises(StoreUnavailable, match=f"code {code}") as caught:
        store.insert([], [call(user_id="a-private-name")])

    assert caught.value.code == code
    assert "a-private-name" not in str(caught.value)
    store.insert([], [call()])
    assert store.query(COUNT) == [{"n": 1}]


@pytest.mark.parametrize("code", [6, 27, 53, 117, 469])
def test_what_stays_wrong_is_an_error(store: ServerStore, server: Front, code: int) -> None:
    with server.hook("data", refuse(code)), pytest.raises(StoreError, match=f"code {code}") as caught:
        store.insert([], [call(user_id="a-private-name")])

    assert not isinstance(caught.value, StoreUnavailable)
    assert "a-private-name" not in str(caught.value)
    assert not any(query.sql.startswith("KILL") for query in server.queries), "the server said how it ended"


def test_an_insert_that_is_refused_before_its_data_is_an_error(store: ServerStore, server: Front) -> None:
    with server.hook("query", refuse(60)), pytest.raises(StoreError, match="UNKNOWN_TABLE"):
        store.insert([], [call()])

    store.insert([], [call()])
    assert store.query(COUNT) == [{"n": 1}]


def test_a_server_that_is_too_old_is_refused_with_what_is_needed(server: Front) -> None:
    server.revision = 54_460
    try:
        store = ServerStore(address_of(server.url()))
        with pytest.raises(StoreError, match=r"revision 54460.*23\.6"):
            store.query("SELECT 1")
    finally:
        server.revision = 54_468
    store.close()


def test_something_that_is_no_clickhouse_server_is_told(server: Front) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_say, args=(listening, b"HTTP/1.1 400 Bad Request\r\n\r\n"), daemon=True).start()
        address = replace(address_of(server.url()), hosts=(("127.0.0.1", listening.getsockname()[1]),), timeout_s=2)
        store = ServerStore(address)
        with pytest.raises(StoreUnavailable, match="could not answer a query"):
            store.query("SELECT 1")
        store.close()


def test_a_closed_store_says_so(store: ServerStore) -> None:
    store.insert([], [call()])
    store.close()
    store.close()

    for use in (lambda: store.query(COUNT), lambda: store.insert([], [call()]), lambda: store.find_rows([call()])):
        with pytest.raises(StoreUnavailable, match="closed"):
            use()


# --- TLS. ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return cert, key


@pytest.fixture
def over_tls(server: Front, certificate: tuple[Path, Path]) -> Front:
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(*certificate)
    return server


def test_a_trusted_certificate_is_taken(over_tls: Front, certificate: tuple[Path, Path]) -> None:
    options = f"?secure=true&ca_certs={certificate[0]}"
    with server_store(address_of(over_tls.url(options=options))) as store:
        store.insert([], [call()])
        assert store.query(COUNT) == [{"n": 1}]


def test_a_certificate_that_nobody_vouches_for_is_refused(over_tls: Front) -> None:
    store = ServerStore(address_of(over_tls.url(options="?secure=true")))

    with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
        store.query("SELECT 1")
    store.close()


def test_verification_can_be_switched_off(over_tls: Front) -> None:
    with server_store(address_of(over_tls.url(options="?secure=true&verify=false"))) as store:
        assert store.query("SELECT 1 AS one") == [{"one": 1}]


# --- Several backends. ---


def test_backends_that_start_at_the_same_moment_make_the_tables_once(server: Front) -> None:
    with server_store(address_of(server.url())) as admin:
        admin._corrector.run("", "CREATE DATABASE IF NOT EXISTS together")
    stores = [ServerStore(address_of(server.url(database="together")), f"b:{number}") for number in range(4)]
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(stores))

    def start(store: ServerStore) -> None:
        try:
            barrier.wait(10)
            store.migrate()
            store.insert([span()], [call()])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []
    assert stores[0].query(COUNT) == [{"n": 4}]
    (columns,) = stores[0].query(
        "SELECT (SELECT count() FROM system.columns WHERE database = 'together' AND table = 'llm_requests') AS here,"
        " (SELECT count() FROM system.columns WHERE database = 'default' AND table = 'llm_requests') AS there"
    )
    assert columns["here"] == columns["there"]
    for store in stores:
        store.close()


def test_a_migration_that_another_backend_is_in_the_middle_of_is_looked_at_again(server: Front) -> None:
    times: list[str] = []

    def contested(sql: str) -> None:
        if sql.lstrip().startswith("ALTER") and len(times) < 2:
            times.append(sql)
            raise ServerError(517, "Metadata on replica is not up to date with common metadata in Zookeeper")

    with server_store(address_of(server.url())) as admin:
        admin._corrector.run("", "CREATE DATABASE IF NOT EXISTS contested")
    with server.hook("query", contested), server_store(address_of(server.url(database="contested"))) as store:
        assert store.query(COUNT) == [{"n": 0}]
    assert len(times) == 2


def cut(statement: str) -> "Hook":
    return Hook(statement, Cut())


def refuse(code: int) -> "Hook":
    return Hook("INSERT", ServerError(code, "Something of a-private-name"))


class Hook:
    """Raises at statements that begin so."""

    def __init__(self, statement: str, error: Exception) -> None:
        self._statement, self._error = statement, error

    def __call__(self, sql: str) -> None:
        if sql.startswith(self._statement):
            raise self._error


def _pass_on(listening: socket.socket, port: int, limit: int) -> None:
    """Pass up to `limit` bytes of one client on to `port`, and then break both sides."""
    client, _ = listening.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_copy, args=(server, client, 1 << 40), daemon=True)
        back.start()
        _copy(client, server, limit)
        _break(client, server)
        back.join(10)


def _answer_in_part(listening: socket.socket, port: int, limit: int) -> None:
    """Pass connections on; the first one breaks `limit` bytes after the server's hello."""
    first = True
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            forth = threading.Thread(target=_copy, args=(client, server, 1 << 40), daemon=True)
            forth.start()
            client.sendall(server.recv(1 << 16))
            _copy(server, client, limit if first else 1 << 40)
            first = False
            _break(client, server)
            forth.join(10)


def _break(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket, limit: int) -> None:
    while limit:
        try:
            data = source.recv(min(limit, 1 << 16))
            target.sendall(data)
        except OSError:
            return
        if not data:
            return
        limit -= len(data)


def _say(listening: socket.socket, text: bytes) -> None:
    client, _ = listening.accept()
    with client:
        client.recv(1 << 16)
        client.sendall(text)
