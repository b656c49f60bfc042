"""Calls by the hour and users by the day: exact sums, filled whole, right again after late calls, corrections and
repetitions."""

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from support.calls import NOON_NS, call
from support.stores import fresh
from tokentrail.backend.correction import Correction
from tokentrail.backend.row import Row
from tokentrail.backend.store import corrections, rollups
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.errors import StoreError
from tokentrail.backend.upkeep import Upkeep

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
LATER_NS = NOON_NS + 10 * HOUR_NS
CALLS = (
    call(span_id="1" * 16),
    call(span_id="2" * 16, user_id="user-2", cost_usd=Decimal("1.000000000001"), ttft_ns=None, duration_ns=1024),
    call(span_id="3" * 16, error_type="429", cost_usd=None, cost_components={}, pricing_status="failed"),
    call(span_id="4" * 16, time_ns=NOON_NS + HOUR_NS, request_model="", pricing_status="unknown_model", cost_usd=None),
)
READ = (
    "SELECT toUnixTimestamp(Hour) AS hour, Model, ErrorType, Requests, Priced, Unpriced, CostUsd, InputTokens, "
    "DurationNs, DurationBuckets, TtftCount, TtftNs FROM llm_requests_hourly FINAL ORDER BY hour, ErrorType"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChdbStore]:
    store = fresh(tmp_path / "store")
    yield store
    store.close()


def filled(store: ChdbStore) -> list[dict[str, object]]:
    return store.query(READ)


def total(store: ChdbStore) -> list[dict[str, object]]:
    return store.query("SELECT sum(Requests) AS n, sum(CostUsd) AS usd FROM llm_requests_hourly FINAL")


def corrected(row: Row, usd: str) -> Correction:
    return Correction(row, replace(row, cost_usd=Decimal(usd), cost_components={"input": Decimal(usd)}))


def test_an_hour_has_the_sums_of_its_calls(store: ChdbStore) -> None:
    store.insert([], CALLS, NOON_NS)

    hours = store.roll_up(0, LATER_NS)

    noon = 1_767_268_800
    assert hours == 2
    # 1_500_000_001 ns: log2 is 30.482, sixteenths of it 487; 1024 ns: 160.
    assert filled(store) == [
        {
            "hour": noon,
            "Model": "gpt-x",
            "ErrorType": "",
            "Requests": 2,
            "Priced": 2,
            "Unpriced": 0,
            "CostUsd": Decimal("1.000255000002"),
            "InputTokens": 2000,
            "DurationNs": 1_500_001_025,
            "DurationBuckets": {"160": 1, "487": 1},
            "TtftCount": 1,
            "TtftNs": 340_000_000,
        },
        {
            "hour": noon,
            "Model": "gpt-x",
            "ErrorType": "429",
            "Requests": 1,
            "Priced": 0,
            "Unpriced": 0,
            "CostUsd": Decimal(0),
            "InputTokens": 1000,
            "DurationNs": 1_500_000_001,
            "DurationBuckets": {"487": 1},
            "TtftCount": 1,
            "TtftNs": 340_000_000,
        },
        {
            "hour": noon + 3600,
            "Model": "gpt-x-2026-01-01",
            "ErrorType": "",
            "Requests": 1,
            "Priced": 0,
            "Unpriced": 1,
            "CostUsd": Decimal(0),
            "InputTokens": 1000,
            "DurationNs": 1_500_000_001,
            "DurationBuckets": {"487": 1},
            "TtftCount": 1,
            "TtftNs": 340_000_000,
        },
    ]
    users = "SELECT uniqCombined64Merge(12)(Users) AS n FROM llm_requests_hourly FINAL"
    assert store.query(users) == [{"n": 2}]


def test_filling_twice_is_filling_once(store: ChdbStore) -> None:
    store.insert([], CALLS, NOON_NS)
    store.roll_up(0, LATER_NS)
    before = filled(store)

    again = store.roll_up(0, LATER_NS)
    rollups._fill(lambda sql, parameters: store._correct(sql, parameters), rollups._HOURLY, [{"start": 1_767_268_800}])

    assert again == 0
    assert filled(store) == before


def test_late_calls_are_in_their_hour(store: ChdbStore) -> None:
    store.insert([], CALLS, NOON_NS)
    store.roll_up(0, LATER_NS)
    store.insert([], [call(span_id="5" * 16, cost_usd=Decimal(2))], LATER_NS)

    hours = store.roll_up(LATER_NS - HOUR_NS, LATER_NS)

    assert hours == 1
    assert total(store) == [{"n": 5, "usd": Decimal("3.000255000002")}]


def test_an_hour_that_has_not_ended_is_left_for_later(store: ChdbStore) -> None:
    store.insert([], CALLS, NOON_NS)

    assert store.roll_up(0, NOON_NS + HOUR_NS // 2) == 0
    assert store.roll_up(0, NOON_NS + HOUR_NS) == 1
    assert total(store) == [{"n": 3, "usd": Decimal("1.000255000002")}]


def test_a_correction_of_costs_reaches_the_sums(store: ChdbStore) -> None:
    store.insert([], CALLS, NOON_NS)
    store.roll_up(0, LATER_NS)

    store.correct([corrected(CALLS[0], "0.5")], "run-1", LATER_NS)

    assert total(store) == [{"n": 4, "usd": Decimal("1.500000000001")}]


def test_a_correction_that_was_interrupted_reaches_the_sums_once(
    store: ChdbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.insert([], CALLS, NOON_NS)
    store.roll_up(0, LATER_NS)
    with monkeypatch.context() as patched:
        patched.setattr(corrections, "_FINISH", "SELECT throwIf(1)")
        with pytest.raises(StoreError):
            store.correct([corrected(CALLS[0], "0.5")], "run-1", LATER_NS)

    store.migrate()

    assert total(store) == [{"n": 4, "usd": Decimal("1.500000000001")}]


def test_a_correction_before_the_first_sums_fills_nothing(store: ChdbStore) -> None:
    store.insert([], CALLS, NOON_NS)

    store.correct([corrected(CALLS[0], "0.5")], "run-1", LATER_NS)

    assert filled(store) == []
    store.roll_up(0, LATER_NS)
    assert total(store) == [{"n": 4, "usd": Decimal("1.500000000001")}]


def test_more_hours_than_one_statement_takes_are_all_filled(store: ChdbStore) -> None:
    hours = 2 * rollups.HOURS_AT_ONCE + 1
    store.insert([], [call(span_id=f"{n:016x}", time_ns=NOON_NS + n * 5 * HOUR_NS) for n in range(hours)], NOON_NS)

    done = store.roll_up(0, NOON_NS + 1000 * HOUR_NS)

    assert done == hours
    assert store.query("SELECT count() AS n, uniq(Hour) AS h FROM llm_requests_hourly") == [{"n": hours, "h": hours}]


def users(store: ChdbStore) -> list[dict[str, object]]:
    return store.query(
        "SELECT toString(Day) AS day, UserId, Service, Requests, CostUsd, "
        "toUnixTimestamp64Nano(First) - {noon:Int64} AS first, toUnixTimestamp64Nano(Last) - {noon:Int64} AS last "
        "FROM llm_users_daily FINAL ORDER BY Day, UserId, Service",
        {"noon": NOON_NS},
    )


def user_day(day: str, user: str, requests: int, usd: str, first: int, last: int) -> dict[str, object]:
    return {
        "day": day,
        "UserId": user,
        "Service": "shop",
        "Requests": requests,
        "CostUsd": Decimal(usd),
        "first": first,
        "last": last,
    }


def test_a_day_has_what_each_user_did_on_it(store: ChdbStore) -> None:
    late = call(span_id="5" * 16, user_id="", time_ns=NOON_NS + 12 * HOUR_NS)
    other = call(span_id="6" * 16, service="other", cost_usd=None)
    store.insert([], [*CALLS, late, other], NOON_NS)

    store.roll_up(0, LATER_NS + 48 * HOUR_NS)

    took = 1_500_000_001
    assert users(store) == [
        user_day("2026-01-01", "user-1", 1, "0", took, took) | {"Service": "other"},
        user_day("2026-01-01", "user-1", 3, "0.000255000001", took, HOUR_NS + took),
        user_day("2026-01-01", "user-2", 1, "1.000000000001", 1024, 1024),
        user_day("2026-01-02", "", 1, "0.000255000001", 12 * HOUR_NS + took, 12 * HOUR_NS + took),
    ]


def test_a_day_that_has_not_ended_is_left_for_later_and_found_then(store: ChdbStore) -> None:
    store.insert([], CALLS, NOON_NS)
    midnight_ns = NOON_NS // DAY_NS * DAY_NS + DAY_NS

    store.roll_up(0, midnight_ns - 1)
    before = users(store)
    store.roll_up(midnight_ns - HOUR_NS, midnight_ns)

    assert before == []
    assert sum(int(str(row["Requests"])) for row in users(store)) == len(CALLS)


def test_late_calls_are_in_their_day(store: ChdbStore) -> None:
    tomorrow_ns = LATER_NS + 24 * HOUR_NS
    store.insert([], CALLS, NOON_NS)
    store.roll_up(0, tomorrow_ns)
    store.insert([], [call(span_id="5" * 16, user_id="user-2", cost_usd=Decimal(2))], tomorrow_ns)

    store.roll_up(tomorrow_ns - HOUR_NS, tomorrow_ns)

    took = 1_500_000_001
    assert users(store)[1] == user_day("2026-01-01", "user-2", 2, "3.000000000001", 1024, took)


def test_a_correction_of_costs_reaches_what_users_spent(store: ChdbStore) -> None:
    store.insert([], CALLS, NOON_NS)
    store.roll_up(0, LATER_NS + 24 * HOUR_NS)

    store.correct([corrected(CALLS[0], "0.5")], "run-1", LATER_NS)

    assert [(row["UserId"], row["Requests"], row["CostUsd"]) for row in users(store)] == [
        ("user-1", 3, Decimal("0.5")),
        ("user-2", 1, Decimal("1.000000000001")),
    ]


def test_percentiles_of_the_buckets_are_near_those_of_the_calls(store: ChdbStore) -> None:
    durations = [10**6 * (n % 997 + 1) for n in range(5000)]
    calls = [call(span_id=f"{n:016x}", duration_ns=each) for n, each in enumerate(durations)]
    store.insert([], calls, NOON_NS)
    store.roll_up(0, LATER_NS)

    (row,) = store.query(
        "SELECT quantilesExactWeighted(0.5, 0.95)(pow(2, (bucket + 0.5) / 16), calls) AS q FROM "
        "(SELECT sumMap(DurationBuckets) AS b FROM llm_requests_hourly FINAL) "
        "ARRAY JOIN mapKeys(b) AS bucket, mapValues(b) AS calls"
    )

    ordered = sorted(durations)
    found = row["q"]
    assert isinstance(found, list)
    for value, share in zip(found, (0.5, 0.95), strict=True):
        assert value == pytest.approx(ordered[int(share * len(ordered))], rel=0.023)


class FailingOnce:
    """A store whose first sums fail."""

    def __init__(self, store: ChdbStore) -> None:
        self.store, self.asked = store, list[int]()

    def roll_up(self, since_ns: int, until_ns: int) -> int:
        self.asked.append(since_ns)
        if len(self.asked) == 1:
            raise StoreError("not now")
        return self.store.roll_up(since_ns, until_ns)


def test_upkeep_begins_with_everything_and_goes_on_from_where_it_succeeded(store: ChdbStore) -> None:
    store.insert([], CALLS, NOON_NS)
    failing = FailingOnce(store)
    upkeep = Upkeep(failing, lambda: LATER_NS)  # type: ignore[arg-type]  # one method of a store is all it needs

    for _ in range(3):
        upkeep.work()

    assert failing.asked[:2] == [0, 0]
    assert NOON_NS < failing.asked[2] < LATER_NS
    assert total(store) == [{"n": 4, "usd": Decimal("1.000255000002")}]


def test_upkeep_works_at_its_start_and_stops(store: ChdbStore) -> None:
    store.insert([], CALLS, NOON_NS)
    upkeep = Upkeep(store, lambda: LATER_NS)

    upkeep.start()
    deadline_s = time.monotonic() + 30
    while not filled(store):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    upkeep.stop()

    upkeep._thread.join(30)
    assert not upkeep._thread.is_alive()


def test_upkeep_is_due_five_minutes_after_each_hour() -> None:
    noon_ns = 1_767_268_800 * 10**9
    pauses = [
        Upkeep(None, lambda at_ns=at_ns: at_ns)._pause_s()  # type: ignore[arg-type,misc]  # no store, it is not asked
        for at_ns in (noon_ns, noon_ns + 299 * 10**9, noon_ns + 301 * 10**9)
    ]

    assert pauses == [300, 1, 3599]
