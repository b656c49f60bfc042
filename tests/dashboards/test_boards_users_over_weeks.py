"""What panels say of users over weeks and months, at whatever moment the shown time ends: most of it comes from the
days that the backend has summed up, some of it from the calls."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from typing import Any, Final

import pytest

from support import dashboard_store, grafana
from support.calls import call
from support.grafana import Choice, Window
from tokentrail.backend.row import Row
from tokentrail.backend.store.chdb import ChdbStore

HOUR_NS: Final = 3_600 * 10**9
DAY_NS: Final = 24 * HOUR_NS
NOW_NS: Final = int(datetime(2026, 7, 20, 9, 41, 7, tzinfo=UTC).timestamp()) * 10**9
MIDNIGHT_NS: Final = int(datetime(2026, 7, 13, tzinfo=UTC).timestamp()) * 10**9
ENDS_NS: Final = {
    "now": NOW_NS,
    "on a day that has ended": NOW_NS - 5 * DAY_NS - 3 * HOUR_NS,
    "soon after midnight": MIDNIGHT_NS + HOUR_NS // 3,
    "at midnight": MIDNIGHT_NS,
}
CHOICES: Final[dict[str, Choice]] = {
    "all": {},
    "of a service": {"service": ["shop"]},
    "of a model": {"model": ["small"]},
    "of a project and a provider": {"project": ["default"], "provider": ["openai"]},
}


def ended(row: Row) -> int:
    return row.time_ns + row.duration_ns


def some_calls() -> list[Row]:
    """Of seventy days, of users that come and go; some end at the very moments that panels look at."""
    chance = random.Random(5)
    moments = [NOW_NS - chance.randrange(70 * DAY_NS) for _ in range(2500)]
    lengths = [chance.randrange(1, 50 * 60 * 10**9) for _ in moments]
    for end_ns in ENDS_NS.values():
        for days in (0, 1, 7, 14, 30, 31, 60):
            for late_ns in (-1, 0, 1):
                lengths.append(chance.randrange(1, 50 * 60 * 10**9))
                moments.append(end_ns - days * DAY_NS + late_ns - lengths[-1])
    return [
        call(
            trace_id=f"{number:032x}",
            span_id=f"{number:016x}",
            time_ns=at_ns,
            duration_ns=took_ns,
            user_id=_user(chance, at_ns),
            service=chance.choice(("shop", "search")),
            request_model=chance.choice(("small", "large")),
            response_model="",
            cost_usd=chance.choice((None, Decimal(chance.randrange(10**6)) / 10**6)),
            pricing_status="unknown_model",
            project=chance.choice(("", "research")),
        )
        for number, (at_ns, took_ns) in enumerate(zip(moments, lengths, strict=True))
    ]


def _user(chance: random.Random, at_ns: int) -> str:
    """One of those of the week, few of whom are there for long; or none."""
    week = (NOW_NS - at_ns) // (7 * DAY_NS)
    return chance.choice(("", f"user-{week * 3 + chance.randrange(20)}", f"regular-{chance.randrange(8)}"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ChdbStore, list[Row]]]:
    """The calls, in a store in which the days up to the day before yesterday are summed up."""
    store = ChdbStore(tmp_path_factory.mktemp("weeks") / "store")
    store.migrate()
    rows = some_calls()
    store.insert([], rows, NOW_NS)
    store.roll_up(0, NOW_NS - 30 * HOUR_NS)
    (days,) = store.query("SELECT uniqExact(Day) AS n, max(Day) AS last FROM llm_users_daily")
    assert (days["n"], days["last"]) == (69, "2026-07-18")
    yield store, rows
    store.close()


@pytest.fixture(params=[pytest.param(end_ns, id=name) for name, end_ns in ENDS_NS.items()])
def end_ns(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=[pytest.param(choice, id=name) for name, choice in CHOICES.items()])
def choice(request: pytest.FixtureRequest) -> Choice:
    chosen: Choice = request.param
    return chosen


def kept(rows: list[Row], choice: Choice, end_ns: int) -> list[Row]:
    """Calls of users that the choice leaves, of before the end."""
    given = {name: values[0] for name, values in choice.items()}
    return [
        row
        for row in rows
        if row.user_id and ended(row) <= end_ns
        and given.get("service", row.service) == row.service
        and given.get("model", row.request_model) == row.request_model
        and given.get("provider", row.provider) == row.provider
        and given.get("project", row.project or "default") == (row.project or "default")
    ]  # fmt: skip


def ask(store: ChdbStore, title: str, end_ns: int, choice: Choice) -> list[dict[str, Any]]:
    window = Window(end_ns // 10**6 - DAY_NS // 10**6, end_ns // 10**6)
    return store.query(grafana.sql(dashboard_store.statement("users", title), window, choice))


def users(rows: list[Row], since_ns: int, until_ns: int) -> set[str]:
    return {row.user_id for row in rows if since_ns <= ended(row) <= until_ns}


def test_new_users_had_no_call_in_the_month_before(
    stored: tuple[ChdbStore, list[Row]], end_ns: int, choice: Choice
) -> None:
    rows, begin_ns = kept(stored[1], choice, end_ns), end_ns - DAY_NS

    (found,) = ask(stored[0], "New users", end_ns, choice)

    before = users(rows, begin_ns - 30 * DAY_NS, begin_ns - 1)
    assert found["users"] == len(users(rows, begin_ns, end_ns) - before)


def test_all_users_are_new_in_a_time_that_begins_with_all_times(stored: tuple[ChdbStore, list[Row]]) -> None:
    sql = grafana.sql(dashboard_store.statement("users", "New users"), Window(0, NOW_NS // 10**6), {})

    (found,) = stored[0].query(sql)

    assert found["users"] == len({row.user_id for row in kept(stored[1], {}, NOW_NS)})


def test_segments_by_what_users_did_before_and_since(
    stored: tuple[ChdbStore, list[Row]], end_ns: int, choice: Choice
) -> None:
    rows = [row for row in kept(stored[1], choice, end_ns) if ended(row) >= end_ns - 60 * DAY_NS]

    def requests(days: int) -> Counter[str]:
        return Counter(row.user_id for row in rows if ended(row) >= end_ns - days * DAY_NS)

    names, month, week, weeks = {row.user_id for row in rows}, requests(30), requests(7), requests(14)
    spent = {
        name: sum(
            (row.cost_usd or Decimal(0) for row in rows if row.user_id == name and ended(row) >= end_ns - 30 * DAY_NS),
            Decimal(0),
        )
        for name in names
    }
    ranked = sorted(names, key=lambda name: (-month[name], -spent[name], name))
    segments = {
        "Power": set(ranked[: ceil(sum(month[name] > 0 for name in names) / 10)]),
        "Active": set(week),
        "New": names - {row.user_id for row in rows if ended(row) < end_ns - 30 * DAY_NS},
        "At risk": {name for name in names if (before := weeks[name] - week[name]) >= 5 and week[name] < before / 2},
    }
    segments["Others"] = names - set().union(*segments.values())

    found = {row["segment"]: row for row in ask(stored[0], "Segments", end_ns, choice)}
    who = {row["user"]: row for row in ask(stored[0], "Power users and users at risk", end_ns, choice)}

    assert {name: row["users"] for name, row in found.items()} == {
        name: len(members) for name, members in segments.items() if members
    }
    for name, row in found.items():
        assert row["requests"] == sum(month[user] for user in segments[name])
        assert row["usd"] == pytest.approx(float(sum(spent[user] for user in segments[name])))
    assert who.keys() == segments["Power"] | segments["At risk"]
    for name, row in who.items():
        assert (row["requests"], row["this_week"]) == (month[name], week[name])
        assert row["week_before"] == weeks[name] - week[name]
        last_ns = max(ended(each) for each in rows if each.user_id == name)
        assert row["last_call"] == dashboard_store.instant(last_ns)
