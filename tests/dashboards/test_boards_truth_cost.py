"""What the cost page says, beside what the seeded calls cost."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from statistics import fmean
from typing import Any

import pytest

from support import dashboard_store as truth
from support.dashboard_seed import HOUR_NS, PRICES, PROVIDERS, UNPRICED, Call
from support.dashboard_store import DAY, NOW_NS, Seeded, groups, interval, priced, spend
from support.grafana import Window

approx = pytest.approx
PAGE = "cost"


def part(calls: list[Call], name: str) -> float:
    """What that part of the costs of `calls` comes to."""
    total = Fraction(0)
    for call in priced(calls):
        plain, cached, out = (Fraction(price) / 10**6 for price in PRICES[call.model])
        total += {
            "input": plain * (call.input_tokens - call.cached_tokens),
            "cache_read": cached * call.cached_tokens,
            "output": out * call.output_tokens,
        }[name]
    return float(total)


def test_spend_is_exact_and_compared_with_the_day_before(seeded: Seeded) -> None:
    now, before = seeded.told(), seeded.before()

    row = seeded.row(PAGE, "Spend")

    assert row == {"usd": approx(spend(now), rel=1e-12), "change": approx(spend(now) / spend(before) - 1)}


def test_calls_on_the_border_are_inside_and_in_one_of_two_days_only(seeded: Seeded) -> None:
    users = [row["user"] for row in seeded.rows("users", "Users")]
    day_before = Window(DAY.start_ms - truth.DAY_MS, DAY.start_ms - 1)

    earlier = [row["user"] for row in seeded.rows("users", "Users", day_before)]

    assert {truth.AWKWARD, "borderer-2"} <= set(users)
    assert not {"borderer-0", "borderer-3"} & set(users)
    assert truth.AWKWARD not in earlier


def test_cost_per_request_is_the_mean_of_calls_with_a_price(seeded: Seeded) -> None:
    now, before = priced(seeded.told()), priced(seeded.before())
    mean, mean_before = spend(now) / len(now), spend(before) / len(before)

    row = seeded.row(PAGE, "Cost per request")

    assert row == {"mean": approx(mean), "change": approx(mean / mean_before - 1)}


def test_calls_without_a_price_are_counted_and_named(seeded: Seeded) -> None:
    without = truth.unpriced(seeded.told())

    number = seeded.row(PAGE, "Calls without a price", kind="stat")
    (row,) = seeded.rows(PAGE, "Calls without a price", kind="table")

    assert without
    assert number == {"unpriced": len(without)}
    assert row | {"reason": "", "server": ""} == {
        "reason": "",
        "provider": "openai",
        "model": UNPRICED,
        "server": "",
        "requests": len(without),
        "tokens": truth.tokens(without),
        "last_call": truth.instant(max(call.end_ns for call in without)),
    }
    assert row["reason"]
    assert row["server"] == "api.openai.com"


def amounts(now: list[Call], before: list[Call], total: float) -> dict[str, Any]:
    """A row of the tables about what the spend went to. `total`: of all rows."""
    paid, paid_before = priced(now), priced(before)
    each = spend(now) / len(paid) if paid else 0.0
    each_before = spend(before) / len(paid_before) if paid_before else each
    return {
        "requests": len(now),
        "usd": approx(spend(now)),
        "share": approx(spend(now) / total),
        "before": approx(spend(before)),
        "change": approx(spend(now) - spend(before), abs=1e-12),
        "change_share": approx(spend(now) / spend(before) - 1) if spend(before) else None,
        "more_calls": approx(each_before * (len(paid) - len(paid_before)), abs=1e-12),
        "dearer_calls": approx((each - each_before) * len(paid), abs=1e-12),
        "per_request": approx(each) if paid else None,
        "unpriced": len(truth.unpriced(now)),
    }


@pytest.mark.parametrize(
    ("title", "columns", "key"),
    [
        ("Models", ("provider", "model"), lambda call: (call.provider, call.model)),
        ("Environments and services", ("environment", "service"), lambda call: (call.environment, call.service)),
        ("Features", ("feature",), lambda call: (call.feature,)),
        ("Change by user", ("user",), lambda call: (call.user,)),
        ("Change by prompt", ("prompt",), lambda call: (call.prompt,)),
    ],
)
def test_a_change_of_the_spend_is_explained(
    seeded: Seeded, title: str, columns: tuple[str, ...], key: Callable[[Call], tuple[str, ...]]
) -> None:
    now, before = groups(seeded.told(), key), groups(seeded.before(), key)
    wanted = {each: amounts(now.get(each, []), before.get(each, []), spend(seeded.told())) for each in now | before}

    rows = seeded.rows(PAGE, title)

    found = {tuple(row[column] for column in columns): row for row in rows}
    for each, row in found.items():
        assert {name: row[name] for name in row if name in wanted[each]} == {
            name: value for name, value in wanted[each].items() if name in row
        }
        assert row["more_calls"] + row["dearer_calls"] == approx(row["change"]) if "more_calls" in row else True
    if "Change by" in title:
        largest = sorted((abs(spend(now.get(each, [])) - spend(before.get(each, []))) for each in wanted), reverse=True)
        assert [abs(row["change"]) for row in rows] == [approx(each, abs=1e-12) for each in largest[:20]]
    else:
        assert found.keys() == wanted.keys()
        assert [row["usd"] for row in rows] == sorted((row["usd"] for row in rows), reverse=True)


def test_models_have_their_price_of_a_million_tokens_and_mean_tokens(seeded: Seeded) -> None:
    rows = {row["model"]: row for row in seeded.rows(PAGE, "Models")}

    for model, calls in groups(seeded.told(), lambda call: call.model).items():
        answered = [call for call in calls if not call.error_type]
        assert rows[model]["mean_input"] == approx(fmean(call.input_tokens for call in answered))
        assert rows[model]["mean_output"] == approx(fmean(call.output_tokens for call in answered))
        paid = priced(calls)
        assert rows[model]["per_million"] == (approx(1e6 * spend(paid) / truth.tokens(paid)) if paid else None)


def test_spend_over_time_has_every_call_in_its_interval(seeded: Seeded) -> None:
    bins = groups(priced(seeded.told()), lambda call: (interval(call), call.model))

    rows = seeded.rows(PAGE, "Spend by model")

    assert {(row["time"], row["model"]): row["usd"] for row in rows} == {
        key: approx(spend(calls)) for key, calls in bins.items()
    }


def test_parts_of_the_spend_add_up_to_it(seeded: Seeded) -> None:
    rows = seeded.rows(PAGE, "Spend by what it was for")

    bins = groups(seeded.told(), interval)
    wanted = {(time, name): part(of, name) for time, of in bins.items() for name in ("input", "cache_read", "output")}
    assert {(row["time"], row["component"]): row["usd"] for row in rows if row["usd"]} == {
        key: approx(usd) for key, usd in wanted.items() if usd
    }
    assert sum(row["usd"] for row in rows) == approx(spend(seeded.told()))


def test_providers_share_the_spend(seeded: Seeded) -> None:
    wanted = groups(seeded.told(), lambda call: PROVIDERS[call.model])

    rows = seeded.rows(PAGE, "Spend by provider")

    assert {row["provider"]: row["usd"] for row in rows} == {name: approx(spend(of)) for name, of in wanted.items()}


def test_tokens_are_those_that_were_told(seeded: Seeded) -> None:
    calls = seeded.told()
    answered = [call for call in calls if not call.error_type]
    read = sum(call.cached_tokens for call in calls)
    given, written = sum(call.input_tokens for call in calls), sum(call.output_tokens for call in calls)

    total = seeded.row(PAGE, "Tokens")
    cached = seeded.row(PAGE, "Prompt cache")
    told_apart = seeded.row(PAGE, "Sound and pictures")
    by_type = seeded.rows(PAGE, "Tokens by type")

    mean = (given + written) / len(answered)
    assert total == {"total": given + written, "input": given, "output": written, "mean": approx(mean)}
    assert told_apart == {"heard": 0, "spoken": 0, "seen": 0}, "the seed has texts only"
    of_spend = part(calls, "cache_read") / spend(calls)
    assert cached == {"tokens": read, "of_input": approx(read / given), "of_spend": approx(of_spend)}
    assert {row.pop("time"): row for row in by_type} == {
        time: {
            "input": sum(call.input_tokens - call.cached_tokens for call in of),
            "cache_read": sum(call.cached_tokens for call in of),
            "cache_write": 0,
            "output": sum(call.output_tokens for call in of),
            "reasoning": 0,
        }
        for time, of in groups(calls, interval).items()
    }


def test_the_dearest_calls_come_first(seeded: Seeded) -> None:
    dearest = sorted(priced(seeded.told()), key=lambda call: (call.cost or 0, call.end_ns), reverse=True)[:50]

    rows = seeded.rows(PAGE, "Most expensive calls")

    assert [(row["trace"], row["ended"], row["user"], row["session"]) for row in rows] == [
        (call.trace.hex(), truth.instant(call.end_ns), call.user, call.session) for call in dearest
    ]
    assert [row["usd"] for row in rows] == [approx(spend([call])) for call in dearest]
    assert [(row["model"], row["feature"], row["input_tokens"], row["output_tokens"]) for row in rows] == [
        (call.model, call.feature, call.input_tokens, call.output_tokens) for call in dearest
    ]


# Days and months: a call counts in the hour it began ---------------------------------------------------------------

END = datetime.fromtimestamp(NOW_NS // 10**9, UTC)
MIDNIGHT = END.replace(hour=0, minute=0, second=0)
ONE_DAY, WEEK, HOUR = timedelta(1), timedelta(7), timedelta(hours=1)
ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def hour_of(call: Call) -> datetime:
    return datetime.fromtimestamp(call.start_ns // HOUR_NS * 3_600, UTC)


def begun(seeded: Seeded, first: datetime, last: datetime = END) -> list[Call]:
    """Calls of the hours that begin in a time, both of its ends included; none that began after the shown time."""
    calls = [call for call in seeded.seed.calls if call.start_ns <= DAY.end_ms * 10**6]
    return [call for call in calls if first <= hour_of(call) <= last]


def test_today_is_compared_with_yesterday_by_this_hour(seeded: Seeded) -> None:
    row = seeded.row(PAGE, "Today")

    yesterday = begun(seeded, MIDNIGHT - ONE_DAY, END - ONE_DAY)
    assert row == {"today": approx(spend(begun(seeded, MIDNIGHT))), "yesterday": approx(spend(yesterday))}


def test_the_month_is_projected_from_the_last_seven_days(seeded: Seeded) -> None:
    by_day = [spend(begun(seeded, END - (ago + 1) * ONE_DAY, END - ago * ONE_DAY)) for ago in range(7)]
    left = (datetime(2026, 12, 1, tzinfo=UTC) - END) / ONE_DAY
    so_far = spend(begun(seeded, datetime(2026, 11, 1, tzinfo=UTC)))

    row = seeded.row(PAGE, "This month")

    assert row == {
        "so_far": approx(so_far),
        "low": approx(so_far + left * min(by_day)),
        "projected": approx(so_far + left * sum(by_day) / 7),
        "high": approx(so_far + left * max(by_day)),
    }


def test_a_month_of_little_data_is_projected_from_what_there_is(seeded: Seeded) -> None:
    end = hour_of(seeded.seed.calls[0]) + 12 * HOUR
    early = Window(DAY.start_ms, int(end.timestamp()) * 1000)
    left = (datetime(2026, 12, 1, tzinfo=UTC) - end) / ONE_DAY
    so_far = spend(begun(seeded, ANY_TIME, end))

    row = seeded.row(PAGE, "This month", early)

    projected = approx(so_far * (1 + left / 0.5))
    assert row == {"so_far": approx(so_far), "low": None, "projected": projected, "high": None}


def test_days_stand_beside_the_same_weekday_before(seeded: Seeded) -> None:
    rows = seeded.rows(PAGE, "Days")

    wanted = {}
    for ago in range(10):
        first = MIDNIGHT - ago * ONE_DAY
        now, before = (
            begun(seeded, day, min(day + 23 * HOUR, END - late))
            for day, late in ((first, 0 * HOUR), (first - WEEK, WEEK))
        )
        wanted[str(first.date())] = (approx(spend(now), abs=1e-12), approx(spend(before), abs=1e-12))
    assert {row["day"]: (row["usd"], row["week_before"]) for row in rows} == wanted
    assert sum(row["week_before"] for row in rows) > 0


def test_requests_by_day_are_all_that_began(seeded: Seeded) -> None:
    rows = seeded.rows(PAGE, "Requests by day")

    wanted = {}
    for ago in range(10):
        first = MIDNIGHT - ago * ONE_DAY
        of_day = begun(seeded, first, min(first + 23 * HOUR, END))
        wanted[str(first.date())] = (len(of_day) - len(truth.failed(of_day)), len(truth.failed(of_day)))
    assert {row["day"]: (row["ok"], row["failed"]) for row in rows} == wanted


def test_weeks_are_compared_up_to_the_same_time(seeded: Seeded) -> None:
    monday = MIDNIGHT - MIDNIGHT.weekday() * ONE_DAY

    this, last = seeded.rows(PAGE, "Weeks")

    now, before = begun(seeded, monday), begun(seeded, monday - WEEK, END - WEEK)
    assert this["period"] == str(monday.date())
    assert (this["requests"], this["usd"], this["tokens"]) == (len(now), approx(spend(now)), truth.tokens(now))
    assert this["change"] == approx(spend(now) / spend(before) - 1)
    assert this["requests_change"] == approx(len(now) / len(before) - 1)
    assert this["per_request"] == approx(spend(now) / len(priced(now)))
    assert (int(this["first"]), int(this["last"])) == (monday.timestamp() * 1000, END.timestamp() * 1000)
    check_period(last, begun(seeded, monday - WEEK, monday - HOUR), monday - WEEK, monday)


def test_the_one_month_has_all_calls(seeded: Seeded) -> None:
    (row,) = seeded.rows(PAGE, "Months")

    calls = begun(seeded, ANY_TIME)
    check_period(row, calls, datetime(2026, 11, 1, tzinfo=UTC), END)


def check_period(row: Mapping[str, Any], calls: list[Call], first: datetime, end: datetime) -> None:
    """A week or month that is the first with calls."""
    assert row == {
        "period": str(first.date()),
        "requests": len(calls),
        "usd": approx(spend(calls)),
        "change": None,
        "requests_change": None,
        "tokens": truth.tokens(calls),
        "per_request": approx(spend(calls) / len(priced(calls))),
        "first": str(int(first.timestamp() * 1000)),
        "last": str(int(end.timestamp() * 1000)),
    }


def test_hours_stand_beside_those_a_week_before(seeded: Seeded) -> None:
    rows = seeded.rows(PAGE, "Spend, and a week before")

    for row in rows:
        at = datetime.fromisoformat(row["time"]).replace(tzinfo=UTC)
        assert row["usd"] == approx(spend(begun(seeded, at, at)))
        assert row["week_before"] == approx(spend(begun(seeded, at - WEEK, at - WEEK)))
    from_hour = datetime.fromtimestamp(DAY.start_ms // 3_600_000 * 3_600, UTC)
    assert sum(row["usd"] for row in rows) == approx(spend(begun(seeded, from_hour)))


def test_every_priced_call_has_a_source_and_nothing_was_corrected(seeded: Seeded) -> None:
    calls = priced(seeded.told())

    sources = seeded.rows(PAGE, "Where the prices are from")
    assumed = seeded.rows(PAGE, "What was assumed")

    assert sum(row["requests"] for row in sources) == len(calls)
    assert sum(row["usd"] for row in sources) == approx(spend(calls))
    assert sum(row["share"] for row in sources) == approx(1)
    assert all(row["source"] and row["version"] for row in sources)
    assert sum(row["requests"] for row in assumed) >= len(calls)
    assert [row["share"] for row in assumed] == [approx(row["usd"] / spend(calls)) for row in assumed]
    assert seeded.rows(PAGE, "Corrected costs") == []
