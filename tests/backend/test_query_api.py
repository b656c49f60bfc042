"""The API, on the real store."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from statistics import mean
from typing import Any

import pytest

from support.calls import NOON_NS, call
from tokentrail.backend.access.caller import ANYONE
from tokentrail.backend.query.api import MAX_LIMIT, NDJSON, Api
from tokentrail.backend.query.filter import COLUMNS, FILTERS
from tokentrail.backend.store import StoreError, StoreUnavailable
from tokentrail.backend.store.chdb import ChdbStore

MINUTE_NS = 60 * 10**9
NOW_NS = NOON_NS + 10 * MINUTE_NS

ROWS = (
    call(span_id="1" * 16),
    call(
        span_id="2" * 16,
        time_ns=NOON_NS + MINUTE_NS,
        trace_id="f" * 32,
        user_id="user-2",
        session_id="session-2",
        session_path="/summarize",
        request_model="claude-y",
        response_model="claude-y-1",
        provider="anthropic",
        cost_usd=Decimal("0.1"),
        cost_components={},
        duration_ns=2_500_000_000,
        ttft_ns=None,
        stream=False,
        properties={"Feature": "search"},
        project="shared",
    ),
    call(
        span_id="3" * 16,
        time_ns=NOON_NS + 2 * MINUTE_NS,
        user_id="",
        session_id="",
        session_path="/summarizer",
        operation="embeddings",
        service="indexer",
        environment="dev",
        request_model="",
        response_model="claude-y-1",
        cost_usd=None,
        cost_components={},
        pricing_status="failed",
        input_tokens=None,
        output_tokens=None,
        cache_read_tokens=None,
        error_type="rate_limit_exceeded",
        error_message="slow \N{SNAIL} down\n",
        status_code=429,
        properties={},
    ),
    call(span_id="4" * 16, time_ns=NOON_NS - 90 * 86_400 * 10**9, session_path="", cost_usd=Decimal("1e-12")),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbStore]:
    store = ChdbStore(tmp_path_factory.mktemp("api") / "store")
    store.migrate()
    store.insert([], ROWS)
    yield store
    store.close()


@pytest.fixture
def api(store: ChdbStore) -> Api:
    return Api(store, now_ns=lambda: NOW_NS)


def _get(api: Api, path: str, **params: str) -> list[dict[str, Any]]:
    response = api.handle(path, _dotted(params), ANYONE)
    assert (response.status, response.content_type) == (200, NDJSON), response.body
    return [json.loads(line, parse_float=Decimal) for line in response.body.decode().splitlines()]


def _error(api: Api, path: str, **params: str) -> dict[str, Any]:
    response = api.handle(path, _dotted(params), ANYONE)
    assert (response.status, response.content_type) == (400, "application/json"), response.body
    error: dict[str, Any] = json.loads(response.body)
    return error


def _dotted(params: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("__", "."): value for name, value in params.items()}


def _spans(api: Api, **params: str) -> str:
    """The first digit of each span found."""
    return "".join(row["span_id"][0] for row in _get(api, "/api/requests", **params))


def test_requests_come_newest_first(api: Api) -> None:
    assert _spans(api) == "3214"


def test_a_request_has_every_field_by_its_name(api: Api) -> None:
    (row,) = _get(api, "/api/requests", user="user-1", since="2026-01-01")

    assert row == {
        "time": "2026-01-01T12:00:00.123456789Z",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "1" * 16,
        "parent_span_id": "00f067aa0ba902b7",
        "service": "shop",
        "environment": "prod",
        "kind": "llm",
        "operation": "chat",
        "provider": "openai",
        "request_model": "gpt-x",
        "response_model": "gpt-x-2026-01-01",
        "server_address": "api.openai.com",
        "duration_ms": Decimal("1500.000001"),
        "response_id": "chatcmpl-1",
        "request_id": "req_1",
        "conversation_id": "conv_1",
        "input_tokens": 1000,
        "output_tokens": 50,
        "cache_read_tokens": 600,
        "cache_write_tokens": 100,
        "reasoning_tokens": 20,
        "cache_write_1h_tokens": None,
        "audio_input_tokens": None,
        "audio_output_tokens": None,
        "audio_cache_read_tokens": None,
        "image_input_tokens": None,
        "image_output_tokens": None,
        "web_searches": None,
        "service_tier": "",
        "pricing_model": "",
        "cost_usd": Decimal("0.000255000001"),
        "cost_components": {"input": Decimal("0.000075000001"), "output": Decimal("0.00018")},
        "cost_source": "genai-prices",
        "pricing_status": "priced",
        "price_version": "genai-prices 0.2.3",
        "price_entry": "openai/gpt-x",
        "pricing_tier": "default",
        "pricing_assumptions": ["one", "two"],
        "stream": True,
        "ttft_ms": 340,
        "time_to_first_chunk_ms": 310,
        "stream_exit": "complete",
        "status_code": 200,
        "error_type": "",
        "error_message": "",
        "retry_count": 1,
        "finish_reasons": ["stop", "length"],
        "user_id": "user-1",
        "session_id": "session-1",
        "session_name": "summaries",
        "session_path": "/summarize/extract",
        "properties": {"Feature": "summary", "Plan": "pro"},
        "tags": [],
        "prompt_name": "greet",
        "prompt_version": "7",
        "ratelimit_limit_requests": 500,
        "ratelimit_remaining_requests": 499,
        "ratelimit_limit_tokens": 200_000,
        "ratelimit_remaining_tokens": 199_000,
        "source": "",
        "project": "default",
    }


def test_money_has_exactly_its_digits_and_no_exponent(api: Api) -> None:
    body = api.handle("/api/requests", {}, ANYONE).body.decode()

    costs = [line.split('"cost_usd": ')[1].split(",")[0] for line in body.splitlines()]
    assert costs == ["null", "0.1", "0.000255000001", "0.000000000001"]


def test_content_is_shown_only_when_asked_for(api: Api) -> None:
    without = _get(api, "/api/requests", limit="1")[0]
    explicitly_without = _get(api, "/api/requests", limit="1", content="0")[0]
    (found,) = _get(api, "/api/requests", limit="1", content="1")

    content = {"input_messages", "output_messages", "system", "tools"}
    assert content.isdisjoint(without)
    assert without == explicitly_without
    assert {name: found[name] for name in content} == {
        "input_messages": '[{"role":"user"}]',
        "output_messages": '[{"role":"assistant"}]',
        "system": '[{"type":"text"}]',
        "tools": '[{"name":"f"}]',
    }


@pytest.mark.parametrize(
    ("filters", "spans"),
    [
        ({"user": "user-1"}, "14"),
        ({"user": "user"}, ""),
        ({"user": ""}, "3"),
        ({"session": "session-2"}, "2"),
        ({"session_path": "/summarize"}, "21"),
        ({"session_path": "/summarize/"}, "21"),
        ({"session_path": "/summarize/extract"}, "1"),
        ({"session_path": "/"}, "321"),
        ({"session_path": ""}, "4"),
        ({"session_path": "/%"}, ""),
        ({"model": "gpt-x"}, "14"),
        ({"model": "gpt-x-2026-01-01"}, "14"),
        ({"model": "claude-y-1"}, "32"),
        ({"project": "shared"}, "2"),
        ({"project": "default"}, "314"),
        ({"project": ""}, ""),
        ({"provider": "anthropic"}, "2"),
        ({"operation": "embeddings"}, "3"),
        ({"service": "indexer"}, "3"),
        ({"environment": "prod"}, "214"),
        ({"status": "ok"}, "214"),
        ({"status": "error"}, "3"),
        ({"trace_id": "f" * 32}, "2"),
        ({"trace_id": "F" * 32}, "2"),
        ({"property__Feature": "search"}, "2"),
        ({"property__Feature": ""}, "3"),
        ({"property__feature": "search"}, "2"),
        ({"property__Feature": "summary", "property__Plan": "pro"}, "14"),
        ({"since": "9m"}, "32"),
        ({"since": "2026-01-01T12:01:00.123456789Z"}, "32"),
        ({"until": "2026-01-01T12:01:00.123456789Z"}, "14"),
        ({"since": "2026-01-01", "until": "2026-01-01T12:01:00Z"}, "1"),
        ({"until": "9999-12-31"}, "3214"),
        ({"limit": "2"}, "32"),
        ({"limit": "2", "until": "2026-01-01T12:02:00Z"}, "21"),
        ({"limit": str(MAX_LIMIT)}, "3214"),
        ({"environment": "prod", "model": "gpt-x", "since": "1d"}, "1"),
        ({"environment": "dev", "model": "gpt-x"}, ""),
    ],
    ids=str,
)
def test_filters_choose_requests(api: Api, filters: dict[str, str], spans: str) -> None:
    assert _spans(api, **filters) == spans


@pytest.mark.parametrize("name", [*(name for name in FILTERS if "<" not in name), "property__Feature", "by", "limit"])
@pytest.mark.parametrize(
    "attack",
    [
        "' OR 1=1 --",
        "') OR (1=1",
        "\\' OR 1=1 --",
        "x' UNION ALL SELECT * FROM schema_migrations --",
        "'; DROP TABLE llm_requests; --",
        "{p0:String}",
        "}:String} OR 1=1",
        "`TraceId`",
        "\x00' OR 1=1",
    ],
)
def test_no_value_becomes_sql(api: Api, name: str, attack: str) -> None:
    path = "/api/totals" if name == "by" else "/api/requests"

    response = api.handle(path, _dotted({name: attack}), ANYONE)

    if response.status == 200:
        assert response.body == b""
    else:
        assert response.status == 400
        assert json.loads(response.body)["parameter"] == name
    assert _spans(api) == "3214"


@pytest.mark.parametrize("key", ["x'] OR 1=1 --", "'", "\\", "{p0:String}", "}", "a.b", "é\N{SNAIL}", "\x00"])
def test_no_property_key_becomes_sql(api: Api, key: str) -> None:
    filtered = api.handle("/api/requests", {f"property.{key}": "x"}, ANYONE)
    grouped = api.handle("/api/totals", {"by": f"property.{key}"}, ANYONE)

    assert (filtered.status, filtered.body) == (200, b"")
    assert grouped.status == 200
    assert [(row[f"property.{key}"], row["requests"]) for row in map(json.loads, grouped.body.splitlines())] == [
        ("", 4)
    ]


@pytest.mark.parametrize(
    ("params", "parameter", "allowed"),
    [
        ({"limit": "0"}, "limit", "1 to 10000"),
        ({"limit": "10001"}, "limit", "1 to 10000"),
        ({"limit": "-1"}, "limit", "1 to 10000"),
        ({"limit": "1e3"}, "limit", "1 to 10000"),
        ({"limit": "٣"}, "limit", "1 to 10000"),
        ({"limit": ""}, "limit", "1 to 10000"),
        ({"content": "yes"}, "content", "1"),
        ({"status": "failed"}, "status", "error"),
        ({"since": "yesterday"}, "since", "15m"),
        ({"until": "99999-01-01"}, "until", "2h"),
        ({"sesion": "x"}, "sesion", "session"),
        ({"by": "model"}, "by", "limit"),
        ({"property__": "x"}, "property.", "property.<key>"),
    ],
    ids=str,
)
def test_a_bad_parameter_is_named_with_what_would_be_right(
    api: Api, params: dict[str, str], parameter: str, allowed: str
) -> None:
    error = _error(api, "/api/requests", **params)

    assert error["parameter"] == parameter
    assert parameter in error["error"]
    assert allowed in error["allowed"]


def test_totals_without_a_group_are_one_object(api: Api) -> None:
    (total,) = _get(api, "/api/totals")

    assert total == {
        "requests": 4,
        "errors": 1,
        "priced": 3,
        "unpriced": 0,
        "input_tokens": 3000,
        "output_tokens": 150,
        "cache_read_tokens": 1800,
        "cost_usd": Decimal("0.100255000002"),
        "cost_components": {"input": Decimal("0.000150000002"), "output": Decimal("0.00036")},
        "cost_sources": {"genai-prices": Decimal("0.100255000002")},
        "assumed_cost_usd": Decimal("0.100255000002"),
        "cost_assumptions": {"one": Decimal("0.100255000002"), "two": Decimal("0.100255000002")},
        "avg_duration_ms": Decimal("1750.000001"),
        "p95_duration_ms": Decimal("2500.0"),
        "avg_ttft_ms": Decimal("340.0"),
    }


def test_totals_of_nothing_know_nothing(api: Api) -> None:
    (total,) = _get(api, "/api/totals", user="nobody")

    counts = {name: total.pop(name) for name in ("requests", "errors", "priced", "unpriced")}
    sums = {name: total.pop(name) for name in ("cost_components", "cost_sources", "cost_assumptions")}
    assert set(counts.values()) == {0}
    assert sums == {"cost_components": {}, "cost_sources": {}, "cost_assumptions": {}}
    assert set(total.values()) == {None}
    assert _get(api, "/api/totals", user="nobody", by="model") == []


@pytest.mark.parametrize(
    ("by", "requests"),
    [
        ("model", [("claude-y", 1), ("gpt-x", 2), ("claude-y-1", 1)]),
        ("provider", [("anthropic", 1), ("openai", 3)]),
        ("user", [("user-2", 1), ("user-1", 2), ("", 1)]),
        ("session", [("session-2", 1), ("session-1", 2), ("", 1)]),
        ("session_path", [("/summarize", 1), ("/summarize/extract", 1), ("", 1), ("/summarizer", 1)]),
        ("service", [("shop", 3), ("indexer", 1)]),
        ("environment", [("prod", 3), ("dev", 1)]),
        ("operation", [("chat", 3), ("embeddings", 1)]),
        ("project", [("shared", 1), ("default", 3)]),
        ("property.Feature", [("search", 1), ("summary", 2), ("", 1)]),
    ],
)
def test_totals_by_a_field_are_the_dearest_first(api: Api, by: str, requests: list[tuple[str, int]]) -> None:
    rows = _get(api, "/api/totals", by=by)

    assert [(row[by], row["requests"]) for row in rows] == requests
    assert next(iter(rows[0])) == by


def test_every_group_is_tested() -> None:
    assert set(COLUMNS) == {
        "model", "provider", "user", "session", "session_path", "service", "environment", "operation", "project"
    }  # fmt: skip


@pytest.mark.parametrize("by", [*COLUMNS, "property.Feature"])
def test_totals_of_groups_add_up_to_the_grand_total(api: Api, by: str) -> None:
    rows = _get(api, "/api/totals", by=by)
    (total,) = _get(api, "/api/totals")

    for name in ("requests", "errors", "unpriced", "input_tokens", "output_tokens", "cost_usd"):
        assert sum(row[name] or 0 for row in rows) == total[name], name


def test_a_group_without_a_price_has_no_cost(api: Api) -> None:
    (row,) = _get(api, "/api/totals", by="service", status="error")

    assert row["cost_usd"] is None
    assert row["input_tokens"] is None
    assert row["unpriced"] == 0, "it failed before it used anything: no price is missing"


@pytest.mark.parametrize("spelling", ["Feature", "feature", "FEATURE"])
def test_the_case_of_a_property_does_not_matter(api: Api, spelling: str) -> None:
    (row,) = _get(api, "/api/requests", **{f"property__{spelling}": "search"})
    totals = _get(api, "/api/totals", by=f"property.{spelling}")

    assert row["user_id"] == "user-2"
    assert [(each[f"property.{spelling}"], each["requests"]) for each in totals] == [
        ("search", 1), ("summary", 2), ("", 1)
    ]  # fmt: skip


def test_totals_take_the_filters_of_requests(api: Api) -> None:
    (total,) = _get(api, "/api/totals", by="session_path", session_path="/summarize/extract", since="1d")

    assert (total["session_path"], total["requests"]) == ("/summarize/extract", 1)


@pytest.mark.parametrize("by", ["", "cost", "UserId", "property."])
def test_an_unknown_group_is_refused(api: Api, by: str) -> None:
    error = _error(api, "/api/totals", by=by)

    assert error["parameter"] in ("by", "property.")
    assert "property.<key>" in error["allowed"]


def test_p95_is_a_latency_that_was_there(store: ChdbStore, api: Api) -> None:
    durations = [number * 10**6 for number in range(1, 101)]
    store.insert([], [call(service="p95", duration_ns=each, ttft_ns=each) for each in durations])
    try:
        (total,) = _get(api, "/api/totals", service="p95")
    finally:
        with store._writing:
            store._open_writer().query("DELETE FROM llm_requests WHERE Service = 'p95'")

    assert total["p95_duration_ms"] in (95, 96)
    assert total["avg_duration_ms"] == mean(range(1, 101))
    assert total["avg_ttft_ms"] == mean(range(1, 101))


def test_token_sums_do_not_start_again_at_zero(store: ChdbStore, api: Api) -> None:
    store.insert([], [call(service="huge", input_tokens=2**64 - 1)] * 3)
    try:
        (total,) = _get(api, "/api/totals", service="huge")
    finally:
        with store._writing:
            store._open_writer().query("DELETE FROM llm_requests WHERE Service = 'huge'")

    assert total["input_tokens"] == 3 * (2**64 - 1)


def test_a_path_that_does_not_exist_is_not_found(api: Api) -> None:
    response = api.handle("/api/nothing", {}, ANYONE)

    assert response.status == 404
    answer = json.loads(response.body)
    assert answer["error"] == "there is nothing at /api/nothing"
    assert {"/api/requests", "/api/totals", "/api/unpriced"} <= set(answer["allowed"])


@pytest.mark.parametrize(("error", "status"), [(StoreUnavailable("busy"), 503), (StoreError("broken"), 500)])
def test_errors_of_the_store_are_answered(error: StoreError, status: int) -> None:
    class Failing(ChdbStore):
        def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
            raise error

    response = Api(Failing("unused")).handle("/api/requests", {}, ANYONE)

    assert (response.status, json.loads(response.body)) == (status, {"error": str(error)})
