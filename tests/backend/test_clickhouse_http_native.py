"""Native blocks of a protocol revision, read back by an implementation of its own (`support.native_blocks`)."""

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from support import native_blocks, sql_store
from support.native_blocks import Result
from support.sql_store import CALLS, Sql
from tokentrail.backend.clickhouse_http import native

REVISIONS = (0, 54405, 54454, 54460)
EXACT = "output_format_json_quote_decimals = 1, output_format_json_quote_denormals = 1"


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sql]:
    with sql_store.opened(tmp_path_factory.mktemp("native")) as opened:
        yield opened


def ask(sql: Sql, statement: str, revision: int = 54460, project: str | None = None) -> Result:
    return native_blocks.read(sql(statement, project, output="Native", revision=revision), revision)


def as_json(value: Any) -> Any:
    """A decoded value as the engine's JSON has it."""
    match value:
        case list() | tuple():
            return [as_json(each) for each in value]
        case dict():
            return {str(key): as_json(each) for key, each in value.items()}
        case Decimal():
            return f"{value:f}"
        case float() if not math.isfinite(value):
            return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def table_names(sql: Sql) -> list[str]:
    return sql.text(
        "SELECT DISTINCT table FROM system.columns WHERE database = 'default' AND name = 'Project' "
        "AND table NOT LIKE '%\\_mv' AND table != 'cost_correction_values' ORDER BY table"
    ).split("\n")


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_type_of_every_table_is_read_as_the_engine_writes_it_in_json(sql: Sql, revision: int) -> None:
    connection = sql.store.connect()
    try:
        for table in table_names(sql):
            structure = sql(
                "SELECT arrayStringConcat(groupArray(concat('`', name, '` ', type)), ', ') FROM system.columns "
                f"WHERE table = '{table}' AND default_kind = '' AND type NOT LIKE '%FixedString%' "
                "AND type NOT LIKE 'AggregateFunction%'",
                output="TSVRaw",
            ).decode()
            quoted = structure.strip().replace("'", "\\'")
            made = f"SELECT * FROM generateRandom('{quoted}', 1, 12, 4) LIMIT 50"
            columns = [tuple(row[:2]) for row in lines(connection, f"DESCRIBE ({made})")]

            encoded = native.encode(columns, connection.query(made, "Buffers").bytes(), revision)
            decoded = native_blocks.read(encoded, revision)

            expected = lines(connection, f"{made} SETTINGS {EXACT}")
            assert len(expected) == 50
            assert list(zip(decoded.names, decoded.types, strict=True)) == columns
            for row, written in zip(decoded.rows, expected, strict=True):
                for name, value, other in zip(decoded.names, row, written, strict=True):
                    assert same(as_json(value), other), (table, name)
    finally:
        connection.close()


def same(value: Any, written: Any) -> bool:
    """Floats and big numbers may be written in several ways."""
    if isinstance(value, list):
        return len(value) == len(written) and all(map(same, value, written))
    if isinstance(value, dict):
        return value.keys() == written.keys() and all(same(value[key], written[key]) for key in value)
    if isinstance(value, bool) or value is None or isinstance(written, bool):
        return value is written
    if isinstance(value, int | float):
        return float(value) == float(written) if isinstance(value, float) else value == int(written)
    if isinstance(written, str) and isinstance(value, str) and value != written:
        return Decimal(value) == Decimal(written)
    return bool(value == written)


def lines(connection: Any, statement: str) -> list[Any]:
    answer: bytes = connection.query(statement, "JSONCompactEachRow").bytes()
    return [json.loads(line) for line in answer.splitlines()]


@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_the_product_are_read(sql: Sql, revision: int) -> None:
    result = ask(
        sql,
        "SELECT Timestamp, SpanId, Service, Properties, CostUsd, CostComponents, InputTokens, TtftNs, Stream, Project, "
        "FinishReasons FROM llm_requests ORDER BY Timestamp, Project LIMIT 1",
        revision,
        "a",
    )

    assert dict(zip(result.names, result.rows[0], strict=True)) == {
        "Timestamp": "2026-01-01 12:00:00.123456789",
        "SpanId": "0" * 16,
        "Service": "shop",
        "Properties": {"Feature": "summary", "Plan": "pro"},
        "CostUsd": Decimal("0.000255000001"),
        "CostComponents": {"input": Decimal("0.000075000001"), "output": Decimal("0.00018")},
        "InputTokens": 1000,
        "TtftNs": 340_000_000,
        "Stream": True,
        "Project": "a",
        "FinishReasons": ["stop", "length"],
    }


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize(
    ("expression", "kind", "value"),
    [
        ("toLowCardinality(toNullable('x'))", "LowCardinality(Nullable(String))", "x"),
        ("CAST(NULL, 'LowCardinality(Nullable(String))')", "LowCardinality(Nullable(String))", None),
        ("CAST(NULL, 'Nullable(Decimal(38, 12))')", "Nullable(Decimal(38, 12))", None),
        ("CAST('-12345678901234567890.5', 'Decimal(38, 12)')", "Decimal(38, 12)", Decimal("-12345678901234567890.5")),
        ("toUInt128('340282366920938463463374607431768211455')", "UInt128", 2**128 - 1),
        ("CAST(unhex('00ff'), 'FixedString(2)')", "FixedString(2)", b"\x00\xff"),
        ("[[], ['a', '']]", "Array(Array(String))", [[], ["a", ""]]),
        ("[]", "Array(Nothing)", []),
        ("NULL", "Nullable(Nothing)", None),
        (
            "[(1::UInt8, 'a', map('k', [toLowCardinality('v')]))]",
            "Array(Tuple(UInt8, String, Map(String, Array(LowCardinality(String)))))",
            [(1, "a", {"k": ["v"]})],
        ),
        ("CAST((1, 'x'), 'Tuple(number UInt8, name String)')", "Tuple(number UInt8, name String)", (1, "x")),
        ("toDateTime64('1999-12-31 23:59:59.999', 3, 'UTC')", "DateTime64(3, 'UTC')", "1999-12-31 23:59:59.999"),
        ("toDateTime('2026-01-01 00:00:00')", "DateTime", "2026-01-01 00:00:00"),
        ("toDate('2026-11-21')", "Date", "2026-11-21"),
        ("'ä' || repeat('x', 200)", "String", "ä" + "x" * 200),
        ("true", "Bool", True),
    ],
)
def test_types_are_read(sql: Sql, revision: int, expression: str, kind: str, value: object) -> None:
    result = ask(sql, f"SELECT {expression} AS `a name`", revision)

    assert (result.names, result.types, result.rows) == (["a name"], [kind], [(value,)])


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("project", [None, "a"])
def test_a_result_without_rows_has_its_columns(sql: Sql, revision: int, project: str | None) -> None:
    for table in table_names(sql):
        described = [line.split("\t")[:3] for line in sql.text(f"DESCRIBE TABLE {table}").split("\n")]
        names = [name for name, _, default in described if not default]

        result = ask(sql, f"SELECT * FROM {table} WHERE 0", revision, project)

        assert (result.rows, result.blocks) == ([], 1)
        assert result.names == names


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_result_of_many_blocks_is_whole(sql: Sql, revision: int) -> None:
    result = ask(
        sql, "SELECT number, toString(number % 1000)::LowCardinality(String) AS s FROM numbers(400000)", revision
    )

    assert result.blocks > 3
    assert [number for number, _ in result.rows] == list(range(400_000))
    assert all(text == str(number % 1000) for number, text in result.rows)


@pytest.mark.parametrize("revision", REVISIONS)
def test_statements_other_than_select_have_columns_as_well(sql: Sql, revision: int) -> None:
    shown = ask(sql, "SHOW TABLES FROM default LIKE 'llm%'", revision)
    described = ask(sql, "DESC TABLE llm_contents", revision)
    exists = ask(sql, "EXISTS TABLE llm_contents", revision)
    nothing = ask(sql, "SHOW TABLES LIKE 'nothing'", revision)

    assert shown.rows == [("llm_contents",), ("llm_requests",), ("llm_requests_hourly",), ("llm_users_daily",)]
    assert described.names[:2] == ["name", "type"]
    assert described.rows[0][:2] == ("Timestamp", "DateTime64(9)")
    assert exists.rows == [(1,)]
    assert (nothing.names, nothing.rows) == (["name"], [])


def test_the_hello_of_clickhouse_go_is_answered(sql: Sql) -> None:
    hello = ask(sql, "SELECT displayName(), version(), revision(), timezone()")
    ping = ask(sql, "SELECT 1")

    assert hello.names == ["displayName()", "version()", "revision()", "timezone()"]
    assert [type(value) for value in hello.rows[0]] == [str, str, int, str]
    assert tuple(map(int, hello.rows[0][1].split(".")[:2])) >= (22, 7)
    assert hello.rows[0][2] >= 54454
    assert hello.rows[0][3] == "UTC"
    assert (ping.names, ping.rows) == (["1"], [(1,)])


def test_a_trace_as_grafana_asks_for_it(sql: Sql) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    statement = f"""
        WITH 'x' AS unused,
            (SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = '{trace}') AS first,
            (SELECT max(End) + 1 FROM otel_traces_trace_id_ts WHERE TraceId = '{trace}') AS last
        SELECT TraceId AS traceID, SpanId AS spanID, ServiceName AS serviceName,
            multiply(toUnixTimestamp64Nano(Timestamp), 0.000001) AS startTime,
            arrayMap(key -> map('key', key, 'value', SpanAttributes[key]), mapKeys(SpanAttributes)) AS tags,
            arrayMap((name, at, fields) -> tuple(name, toString(toUnixTimestamp64Milli(at)), fields),
                `Events.Name`, `Events.Timestamp`, `Events.Attributes`)
                ::Array(Tuple(name String, timestamp String, fields Map(String, String))) AS logs
        FROM otel_traces WHERE traceID = '{trace}' AND Timestamp >= first AND Timestamp <= last
        ORDER BY startTime LIMIT 1000
    """

    result = ask(sql, statement, project="a")

    assert len(result.rows) == CALLS["a"]
    row = dict(zip(result.names, result.rows[0], strict=True))
    assert row["tags"] == [{"key": "mark", "value": "only-a"}]
    assert row["logs"] == [("exception", "1767268800123", {"exception.type": "E"})]
    assert row["startTime"] == pytest.approx(1767268800123.4567)


def test_what_does_not_fit_together_is_never_sent() -> None:
    one_row = (1).to_bytes(8, "little") + (1).to_bytes(8, "little") + (1).to_bytes(8, "little") + b"\x07"

    assert native.encode([("a", "UInt8")], one_row, 0) == b"\x01\x01\x01a\x05UInt8\x07"
    with pytest.raises(ValueError, match="columns"):
        native.encode([("a", "UInt8"), ("b", "UInt8")], one_row, 0)
    with pytest.raises(ValueError, match="cut off"):
        native.encode([("a", "UInt8")], one_row[:-1], 0)
