"""`/clickhouse` of a running backend: what clients of ClickHouse send, and what they need to be answered."""

import asyncio
import base64
import gzip
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from support import native_blocks, otlp
from support.backend_process import Answer, BackendProcess, http_request, samples
from tokentrail.backend.access.caller import Role
from tokentrail.backend.access.gate import Gate
from tokentrail.backend.access.key import new_key
from tokentrail.backend.access.key_file import add_key
from tokentrail.backend.clickhouse_http.endpoint import SqlEndpoint

KEYS = {
    "ingest a": (Role.INGEST, "a"),
    "ingest b": (Role.INGEST, "b"),
    "read a": (Role.READ, "a"),
    "read all": (Role.READ, "*"),
    "admin all": (Role.ADMIN, "*"),
}
LIMITS = {
    "TOKENTRAIL_SQL_MAX_TIME_S": "2",
    "TOKENTRAIL_SQL_MAX_RESULT_ROWS": "100000",
    "TOKENTRAIL_SQL_MAX_RESULT_BYTES": "1000000",
    "TOKENTRAIL_SQL_MAX_MEMORY_BYTES": "200000000",
    "TOKENTRAIL_SQL_MAX_LENGTH_BYTES": "20000",
    "TOKENTRAIL_SQL_MAX_QUERIES": "2",
}
SLOW = "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(sin(number))"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    texts = {"file": str(path)}
    for name, (role, project) in KEYS.items():
        key, text = new_key(name.replace(" ", "-"), role, project, datetime.now(UTC))
        add_key(path, key)
        texts[name] = text
    return texts


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, keys: Mapping[str, str]) -> Iterator[BackendProcess]:
    environment = {"TOKENTRAIL_KEYS": keys["file"], **LIMITS}
    with BackendProcess(tmp_path_factory.mktemp("sql") / "data", environment) as process:
        for project, count in (("a", 3), ("b", 5)):
            spans = [otlp.span(span_id=bytes([number + 1] * 8)) for number in range(count)]
            headers = bearer(keys[f"ingest {project}"])
            assert process.post_traces(otlp.request(spans).SerializeToString(), **headers).status == 200
        deadline = time.monotonic() + 20
        while ask(process, "SELECT count() FROM llm_requests", bearer(keys["read all"])).body != b"8\n":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process
        errors = process.errors()
        assert process.terminate() == 0
        assert not [key for name, key in keys.items() if name != "file" and key.split("_")[2] in errors]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def basic(key: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"grafana:{key}".encode()).decode()}


def ask(
    backend: BackendProcess, sql: str | bytes, headers: Mapping[str, str] | None = None, **parameters: object
) -> Answer:
    """POST with the statement as body."""
    url = f"{backend.http}/clickhouse/?{urlencode(parameters)}"
    return http_request(url, sql.encode() if isinstance(sql, str) else sql, headers)


def get(backend: BackendProcess, headers: Mapping[str, str] | None = None, **parameters: object) -> Answer:
    return http_request(f"{backend.http}/clickhouse/?{urlencode(parameters)}", headers=headers)


def outcomes(backend: BackendProcess, key: str) -> dict[str, float]:
    text = http_request(f"{backend.http}/metrics", headers=bearer(key)).body.decode()
    name = "tokentrail_sql_queries_total"
    return {labels["outcome"]: value for sample, labels, value in samples(text) if sample == name}


# Keys ------------------------------------------------------------------------------------------------------------


def test_a_key_comes_in_any_of_the_ways_of_clickhouse(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    key, sql = keys["read a"], "SELECT count() FROM llm_requests"

    answers = [
        ask(backend, sql, bearer(key)),
        ask(backend, sql, basic(key)),
        ask(backend, sql, {"x-clickhouse-user": "grafana", "x-clickhouse-key": key}),
        ask(backend, sql, {"x-clickhouse-key": key, "x-clickhouse-ssl-certificate-auth": "off"}),
        ask(backend, sql, user="grafana", password=key),
        get(backend, query=sql, password=key),
        get(backend, basic(key), query=sql),
    ]

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"3\n")] * len(answers)


def test_a_bad_login_is_told_as_clickhouse_tells_it(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    wrong = keys["read a"][:-1] + ("0" if keys["read a"][-1] != "0" else "1")
    attempts: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({}, {"password": wrong}),
        ({}, {"password": ""}),
        (bearer(wrong), {}),
        (basic(wrong), {}),
        ({"x-clickhouse-key": wrong}, {}),
        ({"x-clickhouse-key": wrong, **bearer(keys["read a"])}, {}),
        ({"authorization": "Digest x"}, {}),
    ]

    for headers, parameters in attempts:
        answer = ask(backend, "SELECT 1", headers, **parameters)

        assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (403, "516")
        assert answer.body.startswith(b"Code: 516. DB::Exception: ")
        assert answer.body.endswith(b"(AUTHENTICATION_FAILED)\n")
        assert wrong.encode() not in answer.body


def test_a_key_that_may_not_read_reads_nothing(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    answer = ask(backend, "SELECT 1", bearer(keys["ingest a"]))

    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (403, "497")


def test_a_key_reads_its_project(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    sql = "SELECT Project, count() FROM llm_requests GROUP BY Project ORDER BY Project"

    assert ask(backend, sql, bearer(keys["read a"])).body == b"a\t3\n"
    assert ask(backend, sql, bearer(keys["read all"])).body == b"a\t3\nb\t5\n"
    assert ask(backend, sql, bearer(keys["admin all"])).body == b"a\t3\nb\t5\n"


# Requests --------------------------------------------------------------------------------------------------------


def test_probes_are_answered_without_a_key(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    assert http_request(f"{backend.http}/clickhouse/ping").body == b"Ok.\n"
    assert get(backend, bearer(keys["read a"])).body == b"Ok.\n"
    assert get(backend).status == 403


def test_a_statement_comes_in_the_body_or_in_the_url_or_in_both(
    backend: BackendProcess, keys: Mapping[str, str]
) -> None:
    headers = bearer(keys["read a"])

    assert ask(backend, "SELECT 1", headers).body == b"1\n"
    assert get(backend, headers, query="SELECT 'ä'").body == "ä\n".encode()
    assert ask(backend, "+ 2", headers, query="SELECT 1").body == b"3\n"
    assert ask(backend, b"", headers, query="SELECT 1").body == b"1\n"
    assert ask(backend, gzip.compress(b"SELECT 7"), {**headers, "content-encoding": "gzip"}).body == b"7\n"
    assert http_request(f"{backend.http}/clickhouse?query=SELECT+1", b"", headers).body == b"1\n"


def test_what_clickhouse_go_sends_is_answered_on_one_connection(
    backend: BackendProcess, keys: Mapping[str, str]
) -> None:
    parameters = urlencode(
        {
            "client_protocol_version": 54460,
            "database": "default",
            "default_format": "Native",
            "max_execution_time": 35,
            "some_setting_of_grafana": "x",
        }
    )
    headers = {**basic(keys["read a"]), "Accept-Encoding": "gzip", "User-Agent": "grafana/12.2 clickhouse-go/2.47"}
    connection = http.client.HTTPConnection(urlsplit(backend.http).netloc, timeout=30)
    try:
        results = []
        for sql in (
            "SELECT displayName(), version(), revision(), timezone()",
            "SELECT 1",
            "SELECT SpanId, Service FROM llm_requests ORDER BY SpanId",
            "SELECT * FROM llm_requests WHERE 0",
            "SELECT repeat('x', 100) FROM numbers(1000)",
        ):
            connection.request("POST", f"/clickhouse/?{parameters}", sql.encode(), headers)
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, body
            if response.headers["content-encoding"] == "gzip":
                body = gzip.decompress(body)
            results.append(native_blocks.read(body, 54460))
    finally:
        connection.close()

    assert results[0].names == ["displayName()", "version()", "revision()", "timezone()"]
    assert (results[1].names, results[1].rows) == (["1"], [(1,)])
    assert [row[0] for row in results[2].rows] == ["01" * 8, "02" * 8, "03" * 8]
    assert (len(results[3].names) > 40, results[3].rows) == (True, [])
    assert len(results[4].rows) == 1000


def test_answers_are_compressed_for_those_who_accept_it(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    sql = "SELECT repeat('x', 100000)"

    plain = ask(backend, sql, bearer(keys["read a"]))
    packed = ask(backend, sql, {**bearer(keys["read a"]), "accept-encoding": "deflate, gzip;q=0.5"})
    refused = ask(backend, sql, {**bearer(keys["read a"]), "accept-encoding": "gzip;q=0"})

    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body == refused.body
    assert len(packed.body) < 2000


@pytest.mark.parametrize(
    ("name", "content_type", "body"),
    [
        ("TabSeparated", "text/tab-separated-values", b"1\ta\n"),
        ("TSVWithNamesAndTypes", "text/tab-separated-values", b"n\ts\nUInt8\tString\n1\ta\n"),
        ("CSVWithNames", "text/csv", b'"n","s"\n1,"a"\n'),
        ("JSONEachRow", "application/x-ndjson", b'{"n":1,"s":"a"}\n'),
        ("JSONCompactEachRow", "application/x-ndjson", b'[1, "a"]\n'),
        ("RowBinary", "application/octet-stream", b"\x01\x01a"),
        ("Null", "text/plain", b""),
    ],
)
def test_formats_pass_through(
    backend: BackendProcess, keys: Mapping[str, str], name: str, content_type: str, body: bytes
) -> None:
    sql = "SELECT 1 AS n, 'a' AS s"

    by_parameter = ask(backend, sql, bearer(keys["read a"]), default_format=name)
    in_statement = ask(backend, f"{sql} FORMAT {name}", bearer(keys["read a"]), default_format="JSON")

    for answer in (by_parameter, in_statement):
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["content-type"].startswith(content_type)
        assert answer.headers["x-clickhouse-format"] == name


def test_json_is_json(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    answer = ask(backend, "SELECT count() AS n FROM llm_requests FORMAT JSON", bearer(keys["read a"]))

    assert answer.json()["data"] == [{"n": 3}]
    assert answer.json()["meta"] == [{"name": "n", "type": "UInt64"}]


def test_parameters_of_the_statement_and_settings_are_applied(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    headers = bearer(keys["read a"])

    quoted = ask(backend, "SELECT {text:String}, {n:UInt8} + 1", headers, param_text="it's; \\'x", param_n="4")
    limited = ask(backend, "SELECT number FROM numbers(10)", headers, limit=2, offset=3)
    zone = ask(
        backend, "SELECT toDateTime('2026-01-01 00:00:00', 'UTC')::DateTime", headers, session_timezone="Asia/Tokyo"
    )
    filtered = ask(
        backend,
        "SELECT count() FROM llm_requests",
        headers,
        additional_table_filters="{'llm_requests': 'SpanId = \\'0101010101010101\\''}",
    )
    ignored = ask(backend, "SELECT 1", headers, readonly=0, allow_ddl=1, session_id="x", wait_end_of_query=1, x="y")

    assert quoted.body == b"it\\'s; \\'x\t5\n"
    assert limited.body == b"3\n4\n"
    assert zone.status == 200
    assert filtered.body == b"1\n"
    assert ignored.body == b"1\n"


def test_ids_of_queries_come_back_and_cannot_be_headers(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    mine = ask(backend, "SELECT 1", bearer(keys["read a"]), query_id="my-id:1")
    bad = ask(backend, "SELECT 1", bearer(keys["read a"]), query_id="a\r\nset-cookie: x")
    failed = ask(backend, "SELEC", bearer(keys["read a"]), query_id="my-id:2")

    assert mine.headers["x-clickhouse-query-id"] == "my-id:1"
    assert "set-cookie" not in bad.headers
    assert len(bad.headers["x-clickhouse-query-id"]) == 36
    assert failed.headers["x-clickhouse-query-id"] == "my-id:2"


# Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELEC 1", 62, 400),
        ("", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT * FROM nowhere", 60, 404),
        ("SELECT * FROM nothing.nowhere", 81, 404),
        ("SELECT nowhere FROM otel_traces", 47, 404),
        ("SELECT nowhere(1)", 46, 404),
        ("SELECT file('/etc/hostname')", 497, 403),
        ("DROP TABLE llm_requests", 164, 403),
        ("SELECT 1 FORMAT Nothing", 36, 400),
        ("SELECT 1 SETTINGS readonly = 0", 115, 404),
        ("SELECT {x:String}", 456, 400),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, 306, 500),
        ("SELECT throwIf(1)", 395, 500),
        (SLOW, 159, 500),
        ("SELECT number FROM numbers(200000)", 396, 500),
        ("SELECT repeat('x', 1000) FROM numbers(10000)", 396, 500),
        ("SELECT groupArray(number) FROM numbers(100000000)", 241, 500),
        ("SELECT '" + "x" * 20_001 + "'", 62, 400),
    ],
)
@pytest.mark.parametrize("output", ["Native", "JSON"])
def test_failures_have_the_codes_and_statuses_of_clickhouse(
    backend: BackendProcess, keys: Mapping[str, str], sql: str, code: int, status: int, output: str
) -> None:
    answer = ask(
        backend, sql, bearer(keys["read a"]), default_format=output, client_protocol_version=54460, max_execution_time=1
    )

    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (status, str(code)), answer.body
    assert answer.body.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"


@pytest.mark.parametrize(
    ("parameters", "code", "status"),
    [
        ({"database": "other"}, 81, 404),
        ({"default_format": "Prometheus"}, 36, 400),
        ({"client_protocol_version": "x"}, 36, 400),
        ({"max_execution_time": "-1"}, 36, 400),
        ({"max_execution_time": "nan"}, 36, 400),
        ({"session_timezone": "x'y"}, 36, 400),
        ({"result_overflow_mode": "any"}, 36, 400),
        ({"param_x'y": "1"}, 36, 400),
        ({"compress": "1"}, 48, 501),
        ({"additional_table_filters": "1"}, 36, 400),
        ({f"x{number}": "1" for number in range(300)}, 36, 400),
    ],
)
def test_parameters_that_cannot_be_are_told(
    backend: BackendProcess, keys: Mapping[str, str], parameters: dict[str, str], code: int, status: int
) -> None:
    answer = ask(backend, "SELECT 1", bearer(keys["read a"]), **parameters)

    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (status, str(code)), answer.body


def test_bodies_that_are_no_statement_are_refused(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    headers = bearer(keys["read a"])

    assert ask(backend, b"SELECT '\xff'", headers).status == 400
    assert ask(backend, b"SELECT 1\0", headers).status == 400
    assert ask(backend, b"x" * 50_000, headers).status == 413
    assert ask(backend, b"not gzip", {**headers, "content-encoding": "gzip"}).status == 400
    assert ask(backend, gzip.compress(b" " * 10_000_000), {**headers, "content-encoding": "gzip"}).status == 413
    assert http_request(f"{backend.http}/clickhouse/other", b"SELECT 1", headers).status == 400
    assert http_request(f"{backend.http}/clickhouse/", b"SELECT 1", headers, "PUT").status == 400


def test_no_time_is_longer_than_the_limit(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    for asked in ({"max_execution_time": 0}, {"max_execution_time": 3600}, {}):
        started_s = time.monotonic()
        answer = ask(backend, SLOW, bearer(keys["read a"]), **asked)

        assert answer.headers["x-clickhouse-exception-code"] == "159"
        assert time.monotonic() - started_s < 8


def test_more_than_can_run_at_once_wait_and_all_are_answered(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    answers: list[Answer] = []

    def run(number: int) -> None:
        sql = f"SELECT count() + {number} FROM llm_requests"
        answers.append(ask(backend, sql, bearer(keys["read a"]), default_format="JSONCompactEachRow"))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(json.loads(answer.body)[0] for answer in answers) == [3 + number for number in range(24)]


def test_who_waits_too_long_is_told_to_come_back(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    statuses: list[tuple[int, str]] = []

    def run() -> None:
        answer = ask(backend, SLOW, bearer(keys["read a"]), max_execution_time=2)
        statuses.append((answer.status, answer.headers["x-clickhouse-exception-code"]))

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    assert http_request(f"{backend.http}/healthz").status == 200, "other paths do not wait"
    for thread in threads:
        thread.join()

    assert set(statuses) == {(500, "159"), (503, "202")}
    assert ask(backend, "SELECT 1", bearer(keys["read a"])).status == 200


def test_outcomes_are_counted(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    before = outcomes(backend, keys["read all"])

    for sql in ("SELECT 1", "SELECT file('x')", "SELECT * FROM nowhere", "SELECT number FROM numbers(200000)"):
        ask(backend, sql, bearer(keys["read a"]))
    ask(backend, "SELECT throwIf(1)", bearer(keys["read a"]))

    assert outcomes(backend, keys["read all"]) == {
        outcome: count + (outcome != "cancelled") for outcome, count in before.items()
    }
    assert set(before) == {"ok", "refused", "invalid", "limited", "failed", "cancelled"}


# clickhouse-connect ----------------------------------------------------------------------------------------------


def connect(backend: BackendProcess, key: str) -> "clickhouse_connect.driver.client.Client":
    where = urlsplit(backend.http)
    return clickhouse_connect.get_client(
        host=where.hostname, port=where.port, username="reader", password=key, proxy_path="/clickhouse"
    )


def test_clickhouse_connect_queries(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    client = connect(backend, keys["read a"])
    try:
        rows = client.query("SELECT SpanId, Project, Timestamp, CostComponents FROM llm_requests ORDER BY SpanId")
        bound = client.query("SELECT count() FROM llm_requests WHERE SpanId = {id:String}", parameters={"id": "01" * 8})
        empty = client.query("SELECT * FROM otel_traces WHERE 0")
        big = client.query("SELECT number, toString(number) AS s FROM numbers(30000)")
        filtered = client.query(
            "SELECT count() FROM llm_requests SETTINGS max_execution_time = 1, "
            "additional_table_filters = {'llm_requests': 'SpanId = unhex(\\'30313031303130313031303130313031\\')'}"
        )
        command = client.command("SELECT count() FROM otel_traces")
        raw = client.raw_query("SELECT 1 AS a", fmt="JSONEachRow")
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            client.query("SELECT * FROM nowhere")
        with pytest.raises(DatabaseError, match="READONLY"):
            client.command("DROP TABLE llm_requests")
    finally:
        client.close()

    assert [row[:2] for row in rows.result_rows] == [("01" * 8, "a"), ("02" * 8, "a"), ("03" * 8, "a")]
    assert isinstance(rows.result_rows[0][2], datetime)
    assert bound.result_rows == [(1,)]
    assert (len(empty.column_names) > 10, empty.result_rows) == (True, [])
    assert big.result_rows == [(number, str(number)) for number in range(30_000)]
    assert filtered.result_rows == [(1,)]
    assert command == 3
    assert raw == b'{"a":1}\n'


def test_clickhouse_connect_is_told_of_a_bad_login(backend: BackendProcess) -> None:
    with pytest.raises(DatabaseError, match="516"):
        connect(backend, "nonsense").close()


# Logs, and other stores ------------------------------------------------------------------------------------------

DEBUGGED = """
import logging, sys
logging.basicConfig(level=1, stream=sys.stderr)
from tokentrail.backend import __main__
sys.exit(__main__.main(sys.argv[1:]))
"""


def test_no_log_has_a_key_or_a_statement_at_the_finest_level(tmp_path: Path, keys: Mapping[str, str]) -> None:
    environment = {"TOKENTRAIL_KEYS": keys["file"], "PYTHONASYNCIODEBUG": "1"}
    wrong = f"tt_{'0' * 12}_{'ab' * 32}"
    with BackendProcess(tmp_path / "data", environment, program=("-c", DEBUGGED)) as backend:
        for key in (keys["read a"], wrong, "my-pasted-password"):
            for sql in ("SELECT 'very private'", "SELECT throwIf(1, 'very private')", "SELEC 'very private'"):
                get(backend, query=sql, password=key, user="u", param_x="very private")
                ask(backend, sql, {"x-clickhouse-key": key})
        log = backend.errors()

    assert "DEBUG" in log
    secrets = [keys["read a"].split("_")[2], "ab" * 32, "my-pasted-password", "very private", "very+private"]
    assert [secret for secret in secrets if secret in log] == []


def test_with_a_server_as_store_it_says_where_to_go() -> None:
    endpoint = SqlEndpoint(Gate(None), None)

    async def body() -> bytes:
        raise AssertionError("nothing is read")

    async def gone() -> None:
        raise AssertionError("nothing runs")

    answer = asyncio.run(endpoint.reply("POST", "/clickhouse/", b"", [], body, gone))

    assert answer.status == 501
    assert b"tokentrail_reader" in answer.body
    assert (b"x-clickhouse-exception-code", b"48") in answer.headers


# Without keys ----------------------------------------------------------------------------------------------------


def test_without_keys_this_machine_reads_and_web_sites_do_not(tmp_path: Path) -> None:
    with BackendProcess(tmp_path / "data") as backend:
        assert ask(backend, "SELECT 1").body == b"1\n"
        assert ask(backend, "SELECT 1", basic("whatever")).body == b"1\n"
        assert ask(backend, "SELECT 1", {"host": "evil.example.com"}).status == 403
        assert get(backend, {"host": "evil.example.com"}, query="SELECT 1").status == 403
        assert "/clickhouse" in backend.get("/").body.decode()
