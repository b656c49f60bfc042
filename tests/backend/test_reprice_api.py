"""`/api/reprice` on the real store: what it shows, and that it does what it showed."""

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.calls import NOON_NS, call
from tokentrail.backend.access.caller import ANYONE
from tokentrail.backend.correction import COST_FIELDS, Correction
from tokentrail.backend.ingest.price import call_of
from tokentrail.backend.ingest.reprice import reprice as price_again
from tokentrail.backend.query import reprice
from tokentrail.backend.query.api import Api
from tokentrail.backend.query.errors import RefusedError
from tokentrail.backend.query.reprice import Repricer
from tokentrail.backend.row import Row
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.semconv import pricing

SECOND_NS = 10**9
NOW_NS = NOON_NS + 3600 * SECOND_NS
PRICES = """
schema = 1
price = [
  { provider = "acme", model = "one", input = "1", output = "2" },
  { provider = "acme", model = "new", input = "3", output = "3" },
]
"""
# 1,000 input and 100 output tokens: by the file above 0.0012 USD for "one", 0.0033 for "new".
OLD: dict[str, Any] = {
    "provider": "acme",
    "request_model": "one",
    "response_model": "one",
    "server_address": "",
    "input_tokens": 1000,
    "output_tokens": 100,
    "cache_read_tokens": None,
    "cache_write_tokens": None,
    "reasoning_tokens": None,
    "cost_usd": Decimal("0.002"),
    "cost_components": {"input": Decimal("0.002")},
    "cost_source": "user",
    "price_version": "prices.toml 1",
    "price_entry": "acme/one",
    "pricing_tier": "standard",
    "pricing_assumptions": (),
}


def one(number: int, **changes: Any) -> Row:
    return call(span_id=f"{number:016x}", time_ns=NOON_NS + number * SECOND_NS, **{**OLD, **changes})


def unpriced(number: int, model: str = "new") -> Row:
    nothing: dict[str, Any] = {
        "cost_usd": None,
        "cost_components": {},
        "cost_source": "",
        "price_version": "",
        "price_entry": "",
    }
    return one(number, **nothing, pricing_status="unknown_model", request_model=model, response_model="")


@pytest.fixture(autouse=True)
def price_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    pricing.use_price_file(path)
    yield path
    pricing.use_price_file(None)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbStore]:
    store = ChdbStore(tmp_path_factory.mktemp("reprice") / "store")
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def store(shared: ChdbStore) -> ChdbStore:
    for table in ("llm_requests", "cost_corrections", "cost_correction_runs"):
        with shared._writing:
            shared._open_writer().query(f"TRUNCATE TABLE {table}")
    return shared


def answer(api: Api, /, *, change: bool = False, **params: Any) -> dict[str, Any]:
    response = api.handle("/api/reprice", params, ANYONE, change=change)
    assert response.status == 200, response.body
    found: dict[str, Any] = json.loads(response.body, parse_float=Decimal)
    return found


def refused(api: Api, change: bool = False, **params: str) -> tuple[int, str]:
    response = api.handle("/api/reprice", params, ANYONE, change=change)
    return response.status, json.loads(response.body)["error"]


def api_of(store: ChdbStore) -> Api:
    return Api(store, now_ns=lambda: NOW_NS)


def costs(store: ChdbStore) -> list[object]:
    return [row["CostUsd"] for row in store.query("SELECT CostUsd FROM llm_requests ORDER BY Timestamp, SpanId")]


def test_the_difference_is_shown_in_groups_with_its_totals(store: ChdbStore) -> None:
    store.insert([], [one(1), one(2, cost_usd=Decimal("0.003")), unpriced(3), unpriced(4, model="unheard-of")])

    shown = answer(api_of(store), since="2026-01-01")

    version = pricing.price_file_status().version
    digest = shown.pop("digest")
    assert len(digest) == 32
    assert shown == {
        "since": "2026-01-01T00:00:00.000000000Z",
        "until": "2026-01-01T13:00:00.123456789Z",
        "end": "2026-01-01T13:00:00.123456789Z",
        "calls": 4,
        "calls_left": 0,
        "price_file_error": "",
        "changes": 3,
        "old_usd": Decimal("0.005"),
        "new_usd": Decimal("0.0057"),
        "difference_usd": Decimal("0.0007"),
        "kept": {},
        "groups": [
            {
                "provider": "acme",
                "model": "new",
                "old_status": "unknown_model",
                "old_source": "",
                "old_entry": "",
                "old_version": "",
                "new_status": "priced",
                "new_source": "user",
                "new_entry": "acme/new",
                "new_version": version,
                "calls": 1,
                "old_usd": None,
                "new_usd": Decimal("0.0033"),
                "difference_usd": Decimal("0.0033"),
            },
            {
                "provider": "acme",
                "model": "one",
                "old_status": "priced",
                "old_source": "user",
                "old_entry": "acme/one",
                "old_version": "prices.toml 1",
                "new_status": "priced",
                "new_source": "user",
                "new_entry": "acme/one",
                "new_version": version,
                "calls": 2,
                "old_usd": Decimal("0.005"),
                "new_usd": Decimal("0.0024"),
                "difference_usd": Decimal("-0.0026"),
            },
        ],
    }
    assert costs(store)[:2] == [Decimal("0.002"), Decimal("0.003")], "nothing is changed by looking"


def test_what_was_shown_is_done_when_it_is_confirmed(store: ChdbStore) -> None:
    store.insert([], [one(1), unpriced(2), one(3, cost_source="provider")])
    told: list[Correction] = []
    api = Api(store, lambda: NOW_NS, told.extend)
    shown = answer(api, since="1h")

    done = answer(api, change=True, since=shown["since"], until=shown["until"], expect=shown["digest"])

    assert {name: done[name] for name in done if name not in ("run", "end")} == {
        name: shown[name] for name in shown if name not in ("calls_left", "price_file_error", "end")
    }
    assert costs(store) == [Decimal("0.0012"), Decimal("0.0033"), Decimal("0.002")]
    assert [(each.old.cost_usd, each.new.cost_usd) for each in told] == [
        (Decimal("0.002"), Decimal("0.0012")),
        (None, Decimal("0.0033")),
    ]
    (run,) = store.query("SELECT Run, Calls, OldCostUsd, NewCostUsd FROM cost_correction_runs")
    assert run == {"Run": done["run"], "Calls": 2, "OldCostUsd": Decimal("0.002"), "NewCostUsd": Decimal("0.0045")}
    again = answer(api, since="1h")
    assert (again["changes"], again["kept"]) == (0, {"reported": 1})


def test_something_else_than_was_shown_is_not_done(store: ChdbStore, price_file: Path) -> None:
    store.insert([], [one(1)])
    api = api_of(store)
    shown = answer(api, since="1h")
    price_file.write_text(PRICES.replace('"1"', '"1.5"'))
    pricing.use_price_file(price_file)

    status, error = refused(api, True, since=shown["since"], until=shown["until"], expect=shown["digest"])

    assert status == 409
    assert "than when this was shown" in error
    assert costs(store) == [Decimal("0.002")]
    assert store.query("SELECT count() AS n FROM cost_corrections") == [{"n": 0}]


def test_calls_that_come_meanwhile_and_need_no_change_do_not_matter(store: ChdbStore) -> None:
    store.insert([], [one(1)])
    api = api_of(store)
    shown = answer(api, since="1h")
    store.insert([], [one(2, cost_usd=Decimal("0.0012"), cost_components={})])

    answer(api, change=True, since=shown["since"], until=shown["until"], expect=shown["digest"])

    assert costs(store) == [Decimal("0.0012")] * 2


def windows_of(repricer: Repricer, **params: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [repricer.preview(params, ANYONE)]
    while found[-1]["until"] != found[-1]["end"]:
        found.append(repricer.preview({**params, "since": found[-1]["until"], "until": found[-1]["end"]}, ANYONE))
    return found


@pytest.mark.parametrize(
    ("window_calls", "page_calls"), [(1, 1), (4, 3), (10, 1), (11, 2), (100, 1), (100, 2), (100, 7), (100, 100)]
)
def test_windows_and_pages_cut_the_calls_without_a_gap_and_without_an_overlap(
    store: ChdbStore, window_calls: int, page_calls: int
) -> None:
    # Ten moments of one to three spans each, some of them twice.
    rows = [
        replace(one(moment), trace_id=f"{trace:032x}", span_id=f"{span:016x}")
        for moment in range(10)
        for trace in range(1 + moment % 3)
        for span in range(1 + (moment + trace) % 2)
    ]
    store.insert([], [*rows, *rows[::4]])
    corrected: list[Correction] = []
    repricer = Repricer(store, lambda: NOW_NS, corrected.extend, window_calls, page_calls)

    windows = windows_of(repricer, since="2026-01-01")
    for window in windows:
        params = {"since": window["since"], "until": window["until"], "expect": window["digest"]}
        repricer.apply(params, ANYONE)

    assert sum(window["calls"] for window in windows) == len(rows) + len(rows[::4])
    assert max(window["calls"] for window in windows) <= window_calls + 8, "of one moment there are up to eight"
    assert sorted(each.old.time_ns for each in corrected) == sorted(row.time_ns for row in [*rows, *rows[::4]])
    assert set(costs(store)) == {Decimal("0.0012")}


def test_what_is_left_behind_a_window_is_told(store: ChdbStore) -> None:
    store.insert([], [one(number) for number in range(10)])

    windows = windows_of(Repricer(store, lambda: NOW_NS, lambda corrections: None, 4), since="2026-01-01")

    assert [(window["calls"], window["calls_left"]) for window in windows] == [(4, 6), (4, 2), (2, 0)]


def test_a_window_that_grew_too_large_is_refused(store: ChdbStore) -> None:
    store.insert([], [one(number) for number in range(10)])
    api = api_of(store)
    shown = answer(api, since="1h")
    repricer = Repricer(store, lambda: NOW_NS, lambda corrections: None, window_calls=4)

    with pytest.raises(RefusedError, match="many more calls"):
        repricer.apply({"since": shown["since"], "until": shown["until"], "expect": shown["digest"]}, ANYONE)


def test_filters_choose_the_calls(store: ChdbStore) -> None:
    store.insert([], [one(1), one(2, service="other"), one(3, provider="else"), one(4), one(5)])
    bounds: dict[str, Any] = {"since": "2026-01-01T12:00:01.2Z", "until": "2026-01-01T12:00:05Z"}

    assert answer(api_of(store), **bounds)["calls"] == 3
    assert answer(api_of(store), **bounds, model="one", provider="acme", service="shop")["calls"] == 1
    assert answer(api_of(store), **bounds, model="two")["calls"] == 0


def test_a_span_that_came_with_two_contents_is_left_alone(store: ChdbStore) -> None:
    store.insert([], [one(1), one(1, output_tokens=200), one(2), one(2)])

    shown = answer(api_of(store), since="2026-01-01")

    assert (shown["changes"], shown["kept"]) == (2, {"uncertain": 2})


def test_prices_of_an_applications_price_file_are_kept_unless_all_are_asked_for(store: ChdbStore) -> None:
    openai = {"provider": "openai", "server_address": "api.openai.com", "price_version": "app.toml 1"}
    store.insert([], [one(1, request_model="gpt-4o-mini", response_model="gpt-4o-mini", **openai)])

    kept, changed = answer(api_of(store), since="1h"), answer(api_of(store), since="1h", all="1")

    assert (kept["changes"], kept["kept"]) == (0, {"price_file": 1})
    assert (changed["changes"], changed["new_usd"]) == (1, Decimal("0.00021"))
    assert kept["digest"] != changed["digest"]


def test_a_price_does_not_change_on_its_way_through_the_store(
    store: ChdbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {name: f"a {name}" for name in ("provider", "request_model", "response_model", "server_address")}
    texts |= {name: f"a {name}" for name in ("service_tier", "pricing_model", "error_type")}
    counts = {each.name: number for number, each in enumerate(fields(Row)) if each.name.endswith("_tokens")}
    row = call(**texts, **counts)
    store.insert([], [row])
    seen: list[Row] = []

    def spied(row: Row, *args: Any, **named: Any) -> Any:
        seen.append(row)
        return price_again(row, *args, **named)

    monkeypatch.setattr(reprice, "reprice", spied)
    answer(api_of(store), since="1h")

    (read,) = seen
    assert call_of(read) == call_of(row)
    assert read.is_error
    assert [getattr(read, name) for name in COST_FIELDS] == [getattr(row, name) for name in COST_FIELDS]
    assert (read.service, read.environment, read.operation) == (row.service, row.environment, row.operation)


def test_only_one_runs_at_a_time(store: ChdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()
    api = api_of(store)
    query = store.query

    def held(sql: str, parameters: Any = None) -> list[dict[str, object]]:
        entered.set()
        assert go_on.wait(30)
        return query(sql, parameters)

    monkeypatch.setattr(store, "query", held)
    thread = threading.Thread(target=answer, args=(api,), kwargs={"since": "1h"})
    thread.start()
    assert entered.wait(30)

    second = refused(api, since="1h")
    go_on.set()
    thread.join(30)

    assert second == (409, "another reprice is running; try again when it has ended")
    assert answer(api, since="1h")["calls"] == 0


@pytest.mark.parametrize(
    ("change", "params", "status", "words"),
    [
        (False, {}, 400, "since is missing"),
        (False, {"since": "soon"}, 400, "expected a time"),
        (False, {"since": "1h", "all": "yes"}, 400, "expected 0 or 1"),
        (False, {"since": "1h", "colour": "red"}, 400, "unknown parameter 'colour'"),
        (False, {"since": "1h", "expect": "x"}, 400, "expect is for POST"),
        (True, {"since": "1h", "until": "2026-01-02"}, 400, "expect is missing"),
        (True, {"since": "1h", "expect": "x"}, 400, "until is missing"),
        (True, {"since": "1h", "until": "2026-01-02", "expect": "x"}, 409, "look at it again"),
    ],
)
def test_a_wrong_question_is_answered_with_what_is_wrong(
    store: ChdbStore, change: bool, params: dict[str, str], status: int, words: str
) -> None:
    found, error = refused(api_of(store), change, **params)

    assert found == status
    assert words in error


def test_nothing_else_takes_a_change(store: ChdbStore) -> None:
    response = api_of(store).handle("/api/requests", {}, ANYONE, change=True)

    assert response.status == 405


def upgraded(store: ChdbStore, rows: Sequence[Row], seconds: int) -> None:
    """Make `store` one whose rows were written `seconds` before its schema was brought up to version 3."""
    store.insert([], rows)
    with store._writing:
        writer = store._open_writer()
        writer.query("ALTER TABLE schema_migrations DELETE WHERE Version IN (2, 3) SETTINGS mutations_sync = 1")
        at = NOON_NS // 10**9
        for version, when in ((2, at - seconds), (3, at)):
            writer.query(f"INSERT INTO schema_migrations (Version, Name, AppliedAt) VALUES ({version}, 'x', {when})")


@pytest.mark.parametrize(("seconds", "kept"), [(3600, {"uncertain": 1}), (1, {})])
def test_calls_of_before_the_upgrade_are_those_that_may_lack_something(
    store: ChdbStore, seconds: int, kept: dict[str, int]
) -> None:
    # The tier that served it is not in the row, and there was one.
    row = one(1, pricing_assumptions=("tier_not_priced",))
    upgraded(store, [row, replace(row, time_ns=NOON_NS + 2 * 86_400 * SECOND_NS)], seconds)

    shown = answer(Api(store, lambda: NOON_NS + 3 * 86_400 * SECOND_NS), since="2026-01-01")

    assert shown["kept"] == kept
    assert shown["changes"] == 2 - len(kept)
