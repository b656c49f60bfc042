"""What was spent and what has no price, as the API tells it, on the real store."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.calls import NOON_NS, call
from tokentrail.backend.access.caller import ANYONE
from tokentrail.backend.ingest.price import priced
from tokentrail.backend.query.api import NDJSON, Api
from tokentrail.backend.row import Row
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.semconv.cost import PRICED, Reason
from tokentrail.semconv.pricing import use_price_file

SECOND_NS = 10**9


def _unpriced(reason: str, **changes: Any) -> Row:
    return call(**{"cost_usd": None, "cost_components": {}, "cost_source": "", "pricing_status": reason, **changes})


def _gap(provider: str, server: str, model: str, answered: str = "", **changes: Any) -> Row:
    """A call that the price lists have no price for, by what they really say."""
    usage = {"cache_read_tokens": None, "cache_write_tokens": None, "reasoning_tokens": None}
    names = {"provider": provider, "server_address": server, "request_model": model, "response_model": answered}
    row = priced(call(**{**usage, **names, **changes}))
    assert row.cost_usd is None, row
    return row


SPENT = (
    call(span_id="1" * 16, pricing_assumptions=()),
    call(
        span_id="2" * 16,
        cost_usd=Decimal("0.3"),
        cost_components={"input": Decimal("0.1"), "cache_read": Decimal("0.05"), "reasoning": Decimal("0.15")},
        cost_source="user",
        pricing_assumptions=("ttl_5m_assumed",),
    ),
    call(
        span_id="3" * 16,
        cost_usd=Decimal("0.000000000001"),
        cost_components={},
        cost_source="client",
        pricing_assumptions=("ttl_5m_assumed", "tier_not_priced", "ttl_5m_assumed"),
    ),
    _unpriced("unknown_model", span_id="4" * 16),
)

GAPS = (
    _gap("openai", "api.openai.com", "my-model"),
    _gap("openai", "api.openai.com", "my-model", "my-model-2", time_ns=NOON_NS + 3 * SECOND_NS),
    _gap("openai", "api.openai.com", "my-model*"),
    _gap("openai", "api.openai.com", "", "only-answered"),
    _gap("openai", "llm.internal", 'Llama "3" [int4]\n', "llama"),
    _gap("openai", "llm.internal:8000", "llama"),
    _gap("openai", "other.internal", "", ""),
    _gap("somebody", "", "their-model"),
    _gap("", "", "nameless"),
    _gap("anthropic", "api.anthropic.com", ""),
    _gap("openai", "api.openai.com", "asked", "answered", pricing_model="priced-as"),
    _gap("voyageai", "api.voyageai.com", "voyage-x", kind="embedding", output_tokens=None),
    _gap("anthropic", "api.anthropic.com", "claude-next", cache_read_tokens=10, cache_write_tokens=5),
)
OTHERS = (
    *(_unpriced(reason, request_model="gpt-4o") for reason in ("no_usage", "invalid_usage", "internal")),
    _unpriced("failed", request_model="gpt-4o", error_type="timeout"),
    _unpriced("a_reason_of_tomorrow", request_model="gpt-4o"),
)
PRICED_ROWS = tuple(
    priced(call(provider=provider, server_address=host, request_model=model, response_model=""))
    for provider, host, model in (
        ("openai", "api.openai.com", "gpt-4o"),
        ("anthropic", "api.anthropic.com", "claude-sonnet-5"),
        ("groq", "api.groq.com", "llama-3.3-70b-versatile"),
    )
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbStore]:
    store = ChdbStore(tmp_path_factory.mktemp("cost") / "store")
    store.migrate()
    for service, rows in (("spent", SPENT), ("gaps", GAPS), ("others", OTHERS)):
        store.insert([], [replace(row, service=service) for row in rows])
    yield store
    store.close()


@pytest.fixture
def api(store: ChdbStore) -> Api:
    return Api(store, now_ns=lambda: NOON_NS + 60 * SECOND_NS)


@pytest.fixture
def price_file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "prices.toml"
    use_price_file(None)


def _get(api: Api, path: str, **params: str) -> list[dict[str, Any]]:
    response = api.handle(path, params, ANYONE)
    assert (response.status, response.content_type) == (200, NDJSON), response.body
    return [json.loads(line, parse_float=Decimal) for line in response.body.decode().splitlines()]


def test_components_of_a_cost_are_summed_exactly(api: Api) -> None:
    (total,) = _get(api, "/api/totals", service="spent")

    assert total["cost_usd"] == Decimal("0.300255000002")
    assert total["cost_components"] == {
        "input": Decimal("0.100075000001"),
        "cache_read": Decimal("0.05"),
        "output": Decimal("0.00018"),
        "reasoning": Decimal("0.15"),
    }
    assert (total["requests"], total["priced"], total["unpriced"]) == (4, 3, 1)


def test_it_is_told_who_said_what_a_call_costs_and_what_was_assumed(api: Api) -> None:
    (total,) = _get(api, "/api/totals", service="spent")

    assert total["cost_sources"] == {
        "genai-prices": Decimal("0.000255000001"),
        "user": Decimal("0.3"),
        "client": Decimal("0.000000000001"),
    }
    assert total["assumed_cost_usd"] == Decimal("0.300000000001")
    assert total["cost_assumptions"] == {
        "ttl_5m_assumed": Decimal("0.300000000001"),
        "tier_not_priced": Decimal("0.000000000001"),
    }


def test_small_sums_have_no_exponent(api: Api) -> None:
    body = api.handle("/api/totals", {"service": "spent"}, ANYONE).body.decode()

    assert '"client": 0.000000000001' in body
    assert '"tier_not_priced": 0.000000000001' in body


def test_calls_without_a_price_are_listed_by_what_they_have_in_common(api: Api) -> None:
    first = _get(api, "/api/unpriced", service="gaps", model="my-model")[0]

    assert first.pop("advice").startswith("no price list has the model")
    assert first == {
        "reason": "unknown_model",
        "provider": "openai",
        "model": "my-model",
        "server_address": "api.openai.com",
        "requests": 2,
        "input_tokens": 2000,
        "output_tokens": 100,
        "first": "2026-01-01T12:00:00.123456789Z",
        "last": "2026-01-01T12:00:03.123456789Z",
        "price_file_line": '{ provider = "openai", model = "my-model", input = "", output = "" },'
        "  # USD per million tokens",
    }


def test_the_model_is_the_one_that_a_price_is_looked_for_first(api: Api) -> None:
    models = {row["model"] for row in _get(api, "/api/unpriced", service="gaps")}

    assert {"priced-as", "only-answered"} <= models
    assert models.isdisjoint({"asked", "answered", "my-model-2"})


def test_the_most_frequent_comes_first_and_nothing_that_has_a_price(api: Api) -> None:
    rows = _get(api, "/api/unpriced")

    assert [row["requests"] for row in rows] == sorted((row["requests"] for row in rows), reverse=True)
    assert sum(row["requests"] for row in rows) == len(GAPS) + len(OTHERS)  # `failed` is not there, one of `SPENT` is
    assert {row["reason"] for row in rows} == {
        *("unknown_model", "unknown_provider", "self_hosted", "no_usage", "invalid_usage", "internal"),
        "a_reason_of_tomorrow",
    }


def test_the_list_and_the_totals_count_the_same(api: Api) -> None:
    (total,) = _get(api, "/api/totals")

    assert sum(row["requests"] for row in _get(api, "/api/unpriced")) == total["unpriced"]


def test_calls_that_failed_before_they_used_anything_are_listed_only_on_request(api: Api) -> None:
    without = _get(api, "/api/unpriced", service="others")
    found = _get(api, "/api/unpriced", service="others", failed="1")

    assert [row["reason"] for row in found if row not in without] == ["failed"]
    assert len(found) == len(without) + 1


def test_the_filters_are_those_of_requests(api: Api) -> None:
    assert [row["model"] for row in _get(api, "/api/unpriced", provider="somebody")] == ["their-model"]
    assert _get(api, "/api/unpriced", until="2026-01-01") == []
    assert [row["reason"] for row in _get(api, "/api/unpriced", failed="1", status="error")] == ["failed"]


@pytest.mark.parametrize(
    ("params", "parameter", "allowed"),
    [({"failed": "yes"}, "failed", "1"), ({"by": "model"}, "by", "failed"), ({"limit": "1"}, "limit", "since")],
)
def test_a_parameter_that_is_none_is_refused(api: Api, params: dict[str, str], parameter: str, allowed: str) -> None:
    response = api.handle("/api/unpriced", params, ANYONE)

    error = json.loads(response.body)
    assert (response.status, error["parameter"]) == (400, parameter)
    assert allowed in error["allowed"]


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("no_usage", "stream_options.include_usage"),
        ("invalid_usage", "contradict one another"),
        ("internal", "a fault of Tokentrail"),
        ("failed", "there is nothing to price"),
        ("a_reason_of_tomorrow", "update the backend"),
    ],
)
def test_where_no_price_is_missing_there_is_advice_and_no_line(api: Api, reason: str, advice: str) -> None:
    (row,) = (row for row in _get(api, "/api/unpriced", service="others", failed="1") if row["reason"] == reason)

    assert row["price_file_line"] is None
    assert advice in row["advice"]


def test_every_reason_has_advice(api: Api) -> None:
    told = {row["reason"] for row in _get(api, "/api/unpriced", failed="1")}

    assert set(Reason) - told == set()


def test_a_line_has_a_place_for_each_price_that_matters(api: Api) -> None:
    lines = {row["model"]: row["price_file_line"] for row in _get(api, "/api/unpriced", service="gaps")}

    assert 'input = "" },' in lines["voyage-x"]
    assert 'input = "", cache_read = "", cache_write = "", output = "" },' in lines["claude-next"]


def test_calls_that_name_no_model_have_a_line_only_for_an_own_server(api: Api) -> None:
    nameless = {row["provider"]: row for row in _get(api, "/api/unpriced", service="gaps") if not row["model"]}

    assert nameless["anthropic"]["price_file_line"] is None
    assert "have the sender name it" in nameless["anthropic"]["advice"]
    assert nameless["openai"]["price_file_line"].startswith('{ server = "other.internal", input = ""')
    assert "behind every other line" in nameless["openai"]["advice"]


def test_the_lines_filled_in_price_exactly_the_calls_they_were_given_for(api: Api, price_file: Path) -> None:
    lines = [row["price_file_line"] for row in _get(api, "/api/unpriced", service="gaps") if row["price_file_line"]]
    before = [priced(row) for row in PRICED_ROWS]

    price_file.write_text("schema = 1\nprice = [\n" + "\n".join(lines).replace('""', '"2"') + "\n]\n")
    use_price_file(price_file)

    for gap in GAPS:
        row = priced(gap)
        if gap.provider == "anthropic" and not gap.request_model:
            assert row.pricing_status == Reason.UNKNOWN_MODEL
            continue
        assert (row.pricing_status, row.cost_source) == (PRICED, "user"), gap
        tokens = (gap.input_tokens or 0) + (gap.output_tokens or 0)
        assert row.cost_usd == tokens * Decimal("0.000002"), gap
    assert [priced(row) for row in PRICED_ROWS] == before
    assert priced(replace(GAPS[2], request_model="my-modelx")).pricing_status == Reason.UNKNOWN_MODEL
