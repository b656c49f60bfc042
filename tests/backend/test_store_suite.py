"""What every store does, run over each of them: embedded, a server, a cluster."""

import operator
import random
import threading
from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from functools import reduce

import pytest

from support.calls import NOON_NS, call, span
from support.stores import KINDS, AnyStore, Opened, opened
from tokentrail.backend.log import LogRecord
from tokentrail.backend.point import Exemplar, Metric, MetricKind, Point
from tokentrail.backend.row import Row
from tokentrail.backend.signals import Origin
from tokentrail.backend.span import Span
from tokentrail.backend.store import StoreError, StoreUnavailable
from tokentrail.backend.store.records import split
from tokentrail.backend.store.rows import column_name

DAY_NS = 86_400 * 10**9
DAYS_TOO_MANY = 101
"""One more than ClickHouse's default of `max_partitions_per_insert_block`."""
READERS = 8
"""As many as the store that has the most."""


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(request.param, tmp_path_factory.mktemp("store")) as one:
        yield one


@pytest.fixture
def where(shared: Opened) -> Opened:
    """The store, empty."""
    for table in ("otel_traces", "otel_traces_trace_id_ts", "llm_requests", "llm_contents", "otel_logs"):
        shared.write(f"TRUNCATE TABLE {shared.held(table)}{shared.on}")
    return shared


@pytest.fixture
def store(where: Opened) -> AnyStore:
    return where.store


def fresh_call(**changes: object) -> Row:
    """A call like no other: a cluster knows the same rows again, and keeps them once."""
    return call(span_id=random.randbytes(8).hex(), **changes)


def fresh_span() -> Span:
    return span(span_id=random.randbytes(8).hex())


def _read_back(store: AnyStore) -> list[Row]:
    """The stored rows as rows, read column by column; what people wrote is in a table of its own."""
    names = {each.name: column_name(each.name) for each in fields(Row)} | {"time_ns": "TimeNs"}
    sql = "SELECT *, toUnixTimestamp64Nano(Timestamp) AS TimeNs FROM llm_requests ORDER BY Timestamp"
    tuples = ("pricing_assumptions", "finish_reasons", "tags")
    nothing = dict.fromkeys(("InputMessages", "OutputMessages", "System", "Tools"), "")
    written = {row["Timestamp"]: row for row in store.query("SELECT * FROM llm_contents")}
    whole = (nothing | written.get(row["Timestamp"], {}) | row for row in store.query(sql))
    found = ({field: row[name] for field, name in names.items()} for row in whole)
    return [Row(**{k: tuple(v) if k in tuples else v for k, v in row.items()}) for row in found]  # type: ignore[arg-type]


def test_a_row_is_read_back_with_every_field(store: AnyStore) -> None:
    full = call()
    empty = Row(NOON_NS + 1, "", "", "", "", "", "", "", "", "", "", "", duration_ns=0)

    store.insert([], [full, empty])

    assert _read_back(store) == [full, empty]


def test_a_span_is_laid_out_as_the_collectors_exporter_lays_it_out(store: AnyStore) -> None:
    store.insert([span(attributes={"s": "x", "i": 5, "b": True, "l": ("a",), "y": b"hi"})], [])

    (row,) = store.query("SELECT * FROM otel_traces")
    assert row == {
        "Timestamp": "2026-01-01 12:00:00.123456789",
        "TraceId": "0af7651916cd43dd8448eb211c80319c",
        "SpanId": "b7ad6b7169203331",
        "ParentSpanId": "",
        "TraceState": "a=b",
        "SpanName": "chat gpt-x",
        "SpanKind": "Client",
        "ServiceName": "shop",
        "ResourceAttributes": {"service.name": "shop", "process.pid": "7"},
        "ScopeName": "tokentrail",
        "ScopeVersion": "0.1.0",
        "SpanAttributes": {"s": "x", "i": "5", "b": "true", "l": '["a"]', "y": "aGk="},
        "Duration": 1_500_000_001,
        "StatusCode": "Error",
        "StatusMessage": "slow down",
        "Events.Timestamp": ["2026-01-01 12:00:00.123456790"],
        "Events.Name": ["exception"],
        "Events.Attributes": [{"exception.type": "E"}],
        "Links.TraceId": ["1" * 32],
        "Links.SpanId": ["2" * 16],
        "Links.TraceState": ["x=y"],
        "Links.Attributes": [{"n": "1"}],
        "Project": "",
    }


def test_the_tables_of_spans_have_the_columns_of_the_collectors_exporter(store: AnyStore) -> None:
    sql = (
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String} "
        "AND default_kind = '' ORDER BY position"
    )

    traces = [(row["name"], row["type"]) for row in store.query(sql, {"table": "otel_traces"})]
    lookup = [(row["name"], row["type"]) for row in store.query(sql, {"table": "otel_traces_trace_id_ts"})]

    word, text_map = "LowCardinality(String)", "Map(LowCardinality(String), String)"
    assert traces == [
        ("Timestamp", "DateTime64(9)"),
        *((name, "String") for name in ("TraceId", "SpanId", "ParentSpanId", "TraceState")),
        *((name, word) for name in ("SpanName", "SpanKind", "ServiceName")),
        ("ResourceAttributes", text_map),
        ("ScopeName", "String"),
        ("ScopeVersion", "String"),
        ("SpanAttributes", text_map),
        ("Duration", "UInt64"),
        ("StatusCode", word),
        ("StatusMessage", "String"),
        ("Events.Timestamp", "Array(DateTime64(9))"),
        ("Events.Name", f"Array({word})"),
        ("Events.Attributes", f"Array({text_map})"),
        *((f"Links.{name}", "Array(String)") for name in ("TraceId", "SpanId", "TraceState")),
        ("Links.Attributes", f"Array({text_map})"),
        ("Project", word),  # ours, behind all of the exporter's
    ]
    assert lookup == [
        ("TraceId", "String"),
        ("Start", "SimpleAggregateFunction(min, DateTime)"),
        ("End", "SimpleAggregateFunction(max, DateTime)"),
        ("Project", word),
    ]


def test_a_trace_is_found_by_when_it_was(store: AnyStore) -> None:
    store.insert([span(), span(start_ns=NOON_NS + 90 * 10**9)], [])
    store.insert([span(start_ns=NOON_NS - 10**9)], [])

    found = store.query("SELECT min(Start) AS start, max(End) AS end FROM otel_traces_trace_id_ts GROUP BY TraceId")

    assert found == [{"start": "2026-01-01 11:59:59", "end": "2026-01-01 12:01:30"}]


def test_sums_of_money_are_exact(store: AnyStore) -> None:
    dice = random.Random(2)
    costs = [Decimal(dice.randrange(1, 10**14)).scaleb(-12) for _ in range(3000)]

    store.insert([], [call(cost_usd=cost, cost_components={"input": cost}) for cost in costs])

    sums = "SELECT sum(CostUsd) AS total, sum(CostComponents['input']) AS parts FROM llm_requests"
    assert store.query(sums) == [{"total": sum(costs), "parts": sum(costs)}]
    # Added one by one, as ClickHouse would; Python's `sum` of floats compensates since 3.12.
    added = reduce(operator.add, map(float, costs))
    assert added != float(sum(costs)), "these costs must be some that floats get wrong"


@pytest.mark.parametrize(
    "text",
    [
        "naïve 日本語",
        "\N{PARTY POPPER}" * 3,
        "a\0b",
        "'\"\\`\t\r\n",
        "\u2028\ufeff",
        "x" * 127,
        "x" * 128,
        "é" * 8_000_000,
    ],
    ids=["unicode", "emoji", "nul", "quotes", "separators", "127", "128", "16 MB"],
)
def test_text_survives_whatever_is_in_it(store: AnyStore, text: str) -> None:
    row = call(user_id=text, request_model=text[:1000], input_messages=text, properties={text[:100]: text})

    store.insert([span(attributes={text[:100]: text})], [row])

    assert _read_back(store) == [row]
    (stored,) = store.query("SELECT SpanAttributes FROM otel_traces")
    assert stored["SpanAttributes"] == {text[:100]: text}


def test_half_a_surrogate_pair_becomes_a_question_mark(store: AnyStore) -> None:
    store.insert([], [call(user_id="a\ud800b")])

    assert store.query("SELECT UserId FROM llm_requests") == [{"UserId": "a?b"}]


def test_a_cost_that_no_column_holds_becomes_unpriced_and_fails_nothing(store: AnyStore) -> None:
    absurd = [Decimal(10) ** 6, Decimal("-1e9"), Decimal("NaN"), Decimal("Infinity")]
    most = Decimal("999999.999999999999")

    store.insert([], [*(call(cost_usd=cost, cost_components={}) for cost in absurd), call(cost_usd=most)])

    sql = "SELECT CostUsd, PricingStatus, mapKeys(CostComponents) AS parts FROM llm_requests ORDER BY CostUsd"
    priced, *unpriced = store.query(sql)
    assert priced == {"CostUsd": most, "PricingStatus": "priced", "parts": ["input", "output"]}
    assert unpriced == [{"CostUsd": None, "PricingStatus": "invalid_usage", "parts": []}] * 4


def test_a_component_that_no_column_holds_takes_the_cost_with_it(store: AnyStore) -> None:
    store.insert([], [call(cost_components={"input": Decimal(10) ** 7, "output": -(Decimal(10) ** 7)})])

    (row,) = store.query("SELECT CostUsd, CostComponents FROM llm_requests")
    assert row == {"CostUsd": None, "CostComponents": {}}


def test_numbers_out_of_range_fail_nothing(store: AnyStore) -> None:
    row = call(
        time_ns=-5, duration_ns=2**70, input_tokens=-1, output_tokens=2**64, status_code=70_000, retry_count=2**32
    )

    store.insert([span(start_ns=2**64 - 1, end_ns=2**65, kind=99, status_code=99)], [row])

    (stored,) = _read_back(store)
    assert (stored.time_ns, stored.duration_ns) == (0, 2**64 - 1)
    assert (stored.input_tokens, stored.output_tokens, stored.status_code, stored.retry_count) == (None,) * 4
    (kept,) = store.query("SELECT toYear(Timestamp) AS year, SpanKind, StatusCode FROM otel_traces")
    assert kept == {"year": 2106, "SpanKind": "", "StatusCode": ""}


def test_one_insert_may_hold_spans_of_more_days_than_clickhouse_likes(store: AnyStore) -> None:
    days = [NOON_NS - day * DAY_NS for day in range(DAYS_TOO_MANY)]

    store.insert([span(start_ns=day) for day in days], [call(time_ns=day) for day in days])

    assert store.query("SELECT count() AS n FROM otel_traces") == [{"n": DAYS_TOO_MANY}]
    assert store.query("SELECT count() AS n FROM llm_requests") == [{"n": DAYS_TOO_MANY}]


def test_an_empty_insert_changes_nothing(store: AnyStore) -> None:
    store.insert([], [])

    assert store.query("SELECT count() AS n FROM otel_traces") == [{"n": 0}]


def test_keys_and_answers_are_in_utc(where: Opened) -> None:
    store = where.store
    store.insert([span(start_ns=1_767_225_600 * 10**9)], [call(time_ns=1_767_225_600 * 10**9)])

    sql = "SELECT DISTINCT partition FROM system.parts WHERE active AND table = {table:String}"
    assert store.query(sql, {"table": where.held("otel_traces")}) == [{"partition": "2026-01-01"}]
    assert store.query(sql, {"table": where.held("llm_requests")}) == [{"partition": "202601"}]
    assert store.query("SELECT toString(Timestamp) AS t FROM llm_requests") == [{"t": "2026-01-01 00:00:00.000000000"}]


@pytest.mark.parametrize(
    "value", ["", "x", "' OR 1=1 --", "\\", "\\'", "a\tb\nc\rd\0e", "{p:String}", "é\N{PARTY POPPER}", "x" * 1_000_000]
)
def test_parameters_reach_the_query_unchanged_and_never_as_sql(store: AnyStore, value: str) -> None:
    (row,) = store.query("SELECT {p:String} AS one, {q:Array(String)} AS many", {"p": value, "q": [value, "'"]})

    assert row == {"one": value, "many": [value, "'"]}


def test_parameters_keep_their_type(store: AnyStore) -> None:
    values = {"i": -(2**63), "d": Decimal("0.000000000001"), "b": True, "n": None, "f": 0.1}
    sql = "SELECT {i:Int64} AS i, {d:Decimal(18, 12)} AS d, {b:Bool} AS b, {n:Nullable(Int64)} AS n, {f:Float64} AS f"

    assert store.query(sql, values) == [values]


def test_a_parameter_that_is_no_number_is_refused(store: AnyStore) -> None:
    with pytest.raises(StoreError, match="BAD_QUERY_PARAMETER"):
        store.query("SELECT {n:UInt64}", {"n": "1 OR 1=1"})


def test_a_query_cannot_write(store: AnyStore) -> None:
    with pytest.raises(StoreError, match="READONLY"):
        store.query("INSERT INTO schema_migrations (Version, Name) VALUES (99, 'x')")


def test_numbers_come_back_by_their_type(store: AnyStore) -> None:
    sql = """SELECT 18446744073709551615 AS big, toFloat64(2) AS whole, nan AS none,
        CAST('1.5', 'Decimal(38, 20)') AS d,
        map('k', [CAST('0.1', 'Nullable(Decimal(18, 12))')]) AS nested, [1.5, 2] AS floats, true AS flag"""

    (row,) = store.query(sql)

    assert row == {
        "big": 2**64 - 1,
        "whole": 2.0,
        "none": None,
        "d": Decimal("1.5"),
        "nested": {"k": [Decimal("0.1")]},
        "floats": [1.5, 2.0],
        "flag": True,
    }
    assert isinstance(row["whole"], float)


def test_reading_goes_on_while_others_write(store: AnyStore) -> None:
    done = threading.Event()
    failures: list[BaseException] = []
    counts: list[list[object]] = [[] for _ in range(READERS + 2)]

    def read(seen: list[object]) -> None:
        try:
            while not done.is_set() or not seen:
                seen.append(store.query("SELECT count() AS n FROM llm_requests")[0]["n"])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(seen,)) for seen in counts]
    for thread in threads:
        thread.start()
    for _ in range(10):
        store.insert([fresh_span() for _ in range(20)], [fresh_call() for _ in range(20)])
    done.set()
    for thread in threads:
        thread.join(30)

    assert failures == []
    for seen in counts:
        assert seen == sorted(seen, key=lambda n: int(str(n)))
        assert all(int(str(n)) % 20 == 0 for n in seen), "an insert is visible whole or not at all"
    assert store.query("SELECT count() AS n FROM llm_requests") == [{"n": 200}]


def test_inserts_from_several_threads_take_turns(store: AnyStore) -> None:
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(5):
                store.insert([fresh_span()], [fresh_call()])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []
    assert store.query("SELECT count() AS n FROM llm_requests") == [{"n": 20}]


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("parts_to_throw_insert", "1", "TOO_MANY_PARTS"),
        ("min_free_disk_bytes_to_perform_insert", str(2**60), "NOT_ENOUGH_SPACE"),
    ],
)
def test_an_insert_that_may_succeed_later_is_unavailable(where: Opened, setting: str, value: str, code: str) -> None:
    store = where.store
    store.insert([], [fresh_call()])
    store.insert([], [fresh_call()])
    table = f"{where.held('llm_requests')}{where.on}"
    where.write(f"SYSTEM STOP MERGES{where.on}")
    where.write(f"ALTER TABLE {table} MODIFY SETTING {setting} = {value}")
    try:
        with pytest.raises(StoreUnavailable, match=code) as caught:
            store.insert([], [fresh_call(user_id="a-private-name")])
    finally:
        where.write(f"ALTER TABLE {table} RESET SETTING {setting}")
        where.write(f"SYSTEM START MERGES{where.on}")

    store.insert([], [fresh_call()])

    assert "a-private-name" not in str(caught.value)
    assert store.query("SELECT count() AS n FROM llm_requests") == [{"n": 3}]


def test_an_insert_that_can_never_succeed_is_an_error_that_tells_no_data(where: Opened) -> None:
    store = where.store
    table = f"{where.held('llm_requests')}{where.on}"
    where.write(f"ALTER TABLE {table} ADD CONSTRAINT nobody CHECK UserId != 'a-private-name'")
    try:
        with pytest.raises(StoreError, match="VIOLATED_CONSTRAINT") as caught:
            store.insert([], [fresh_call(user_id="a-private-name")])
    finally:
        where.write(f"ALTER TABLE {table} DROP CONSTRAINT nobody")

    assert not isinstance(caught.value, StoreUnavailable)
    assert "a-private-name" not in str(caught.value)
    store.insert([], [fresh_call()])


def test_a_query_without_memory_or_time_is_unavailable(store: AnyStore) -> None:
    with pytest.raises(StoreUnavailable, match="MEMORY_LIMIT_EXCEEDED"):
        store.query("SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000")
    with pytest.raises(StoreUnavailable, match="TIMEOUT_EXCEEDED"):
        store.query("SELECT sum(sleep(1)) FROM numbers(3) SETTINGS max_execution_time = 0.5, max_block_size = 1")


def test_a_query_that_fails_half_way_leaves_nothing_in_the_answer_to_the_next(store: AnyStore) -> None:
    for number in range(READERS):
        with pytest.raises(StoreError, match="FUNCTION_THROW_IF"):
            store.query("SELECT throwIf(number = 300000), number FROM numbers(1000000)")

        assert store.query("SELECT {n:UInt8} AS n", {"n": number}) == [{"n": number}]


def test_a_wrong_query_is_an_error_with_clickhouses_words(store: AnyStore) -> None:
    with pytest.raises(StoreError, match=r"UNKNOWN_TABLE \(ClickHouse code 60\): .*nowhere") as caught:
        store.query("SELECT * FROM nowhere")

    assert not isinstance(caught.value, StoreUnavailable)


def test_log_records_and_points_of_every_kind_are_stored_and_found_by_their_request(where: Opened) -> None:
    store = where.store
    origin = Origin({"service.name": "shop"}, "", "scope", "1", {}, 0, "")
    record = LogRecord(origin, NOON_NS, "1" * 32, "2" * 16, 1, 9, "INFO", "hello", {"k": "v"}, "an.event")
    exemplar = Exemplar(NOON_NS, 1.5, "1" * 32, "2" * 16, {"a": "b"})
    points = [
        Point(Metric(origin, kind, f"m.{kind}", "", "1", 2, True), {"x": "y"}, NOON_NS, NOON_NS, 0, (exemplar,), 2.5)
        for kind in MetricKind
    ]
    parts = split(b"d" * 16, [record], points)

    store.insert_parts(parts)

    others = split(b"e" * 16, [record], points)
    assert store.find_parts([*parts, *others]) == {part.key for part in parts}
    assert store.query("SELECT Body, LogAttributes FROM otel_logs") == [{"Body": "hello", "LogAttributes": {"k": "v"}}]
    assert store.query("SELECT Value, `Exemplars.Value` AS e FROM otel_metrics_gauge") == [{"Value": 2.5, "e": [1.5]}]
    for kind in MetricKind:
        assert store.query(f"SELECT count() AS n FROM otel_metrics_{kind}") == [{"n": 1}]
