"""What the page about users says, beside what the seeded calls add up to."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from math import ceil
from statistics import fmean

import pytest

from support import dashboard_store as truth
from support.dashboard_seed import HOUR_NS, Call
from support.dashboard_store import DAY, NOW_NS, Seeded, groups, quantile, spend

approx = pytest.approx
PAGE = "users"
DAY_NS = 24 * HOUR_NS


def of_users(calls: list[Call]) -> dict[str, list[Call]]:
    return groups(calls, lambda call: call.user)


def test_active_users_are_counted_and_compared(seeded: Seeded) -> None:
    now, before = of_users(seeded.told()), of_users(seeded.before())

    row = seeded.row(PAGE, "Active users")

    assert row == {"users": len(now), "change": approx(len(now) / len(before) - 1)}


def test_users_of_a_day_a_week_and_a_month_are_those_of_whole_hours(seeded: Seeded) -> None:
    def since(days: int) -> int:
        first_ns = NOW_NS // 10**9 * 10**9 - days * DAY_NS
        begun = [call for call in seeded.seed.calls if call.start_ns <= DAY.end_ms * 10**6]
        return len(of_users([call for call in begun if call.start_ns // HOUR_NS * HOUR_NS > first_ns]))

    row = seeded.row(PAGE, "Active in a day, a week, a month")

    assert row == {
        "day": since(1),
        "week": since(7),
        "month": since(30),
        "day_of_month": approx(since(1) / since(30)),
    }


def test_new_users_had_no_call_before(seeded: Seeded) -> None:
    earlier = {call.user for call in seeded.seed.calls if call.end_ns < DAY.start_ms * 10**6}

    row = seeded.row(PAGE, "New users")

    assert row == {"users": len({call.user for call in seeded.told()} - earlier)}
    assert row["users"] > 0


def test_spend_and_requests_spread_over_users(seeded: Seeded) -> None:
    users = of_users(seeded.told()).values()
    usd, requests = [spend(calls) for calls in users], [len(calls) for calls in users]

    of_spend = seeded.row(PAGE, "Spend per user")
    of_requests = seeded.row(PAGE, "Requests per user")

    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    assert of_spend == {"mean": approx(fmean(usd))} | {
        name: approx(quantile(usd, share)) for name, share in shares.items()
    }
    assert of_requests == {
        "mean": approx(fmean(requests)),
        "p50": quantile(requests, 0.5),
        "p95": quantile(requests, 0.95),
    }


def test_active_users_by_day_are_distinct_on_the_day_and_in_the_seven_up_to_it(seeded: Seeded) -> None:
    def active(first_ago: int, last_ago: int) -> int:
        dates = {day - timedelta(ago) for ago in range(last_ago, first_ago + 1)}
        begun = [call for call in seeded.seed.calls if call.start_ns <= DAY.end_ms * 10**6]
        return len({call.user for call in begun if datetime.fromtimestamp(call.start_ns // 10**9, UTC).date() in dates})

    day = datetime.fromtimestamp(NOW_NS // 10**9, UTC).date()

    rows = seeded.rows(PAGE, "Active users by day")

    assert {row["day"]: (row["day_users"], row["week_users"]) for row in rows} == {
        str(day - timedelta(ago)): (active(ago, ago), active(ago + 6, ago)) for ago in range(10)
    }


def test_the_table_has_every_number_of_a_user(seeded: Seeded) -> None:
    users = of_users(seeded.told())

    rows = {row["user"]: row for row in seeded.rows(PAGE, "Users")}

    assert rows.keys() == users.keys()
    for user, calls in users.items():
        counts = Counter(call.model for call in calls)
        models = [each.rsplit(" ", 2) for each in rows[user].pop("models").split(", ")]
        assert {sign for *_, sign in models} == {"%"}
        shown = {model: share for model, share, _ in models}
        assert shown == {model: f"{round(100 * counts[model] / len(calls))}" for model in shown}
        assert sorted((counts[model] for model in shown), reverse=True) == sorted(counts.values(), reverse=True)[:3]
        assert rows[user] == {
            "user": user,
            "tier": calls[0].tier,
            "requests": len(calls),
            "usd": approx(spend(calls)),
            "share": approx(spend(calls) / spend(seeded.told())),
            "error_rate": approx(truth.error_rate(calls)),
            "tokens": truth.tokens(calls),
            "mean": approx(fmean(truth.seconds(calls))),
            "p95": approx(quantile(truth.seconds(calls), 0.95)),
            "sessions": len({call.session for call in calls}),
            "first_call": truth.instant(min(call.end_ns for call in calls)),
            "last_call": truth.instant(max(call.end_ns for call in calls)),
        }
    assert [row["usd"] for row in rows.values()] == sorted((row["usd"] for row in rows.values()), reverse=True)


def test_the_ten_dearest_users_and_all_others_add_up(seeded: Seeded) -> None:
    by_user = {user: spend(calls) for user, calls in of_users(seeded.told()).items()}
    dearest = dict(sorted(by_user.items(), key=lambda each: -each[1])[:10])

    rows = seeded.rows(PAGE, "Spend of the ten dearest users")

    found: Counter[str] = Counter()
    for row in rows:
        found[row["user"]] += row["usd"]
    others = sum(by_user.values()) - sum(dearest.values())
    assert found == {user: approx(usd) for user, usd in dearest.items()} | {"all others": approx(others)}


def test_tiers_have_their_users_and_spend(seeded: Seeded) -> None:
    tiers = groups(seeded.told(), lambda call: call.tier)

    rows = {row["tier"]: row for row in seeded.rows(PAGE, "Tiers")}

    assert rows.keys() == tiers.keys()
    for tier, calls in tiers.items():
        users = len(of_users(calls))
        assert rows[tier] == {
            "tier": tier,
            "users": users,
            "requests": len(calls),
            "requests_per_user": approx(len(calls) / users),
            "usd": approx(spend(calls)),
            "share": approx(spend(calls) / spend(seeded.told())),
            "per_user": approx(spend(calls) / users),
            "error_rate": approx(truth.error_rate(calls)),
        }


def test_those_nearest_to_the_limit_are_by_environment(seeded: Seeded) -> None:
    by_place = groups(seeded.told(), lambda call: (call.user, call.environment))

    rows = seeded.rows(PAGE, "Nearest to the daily limit")

    for row in rows:
        calls = by_place[row["user"], row["environment"]]
        assert (row["requests"], row["usd"]) == (len(calls), approx(spend(calls)))
        assert row["of_limit"] == approx(spend(calls) / 5)
    assert [row["usd"] for row in rows] == [
        approx(usd) for usd in sorted((spend(calls) for calls in by_place.values()), reverse=True)[:20]
    ]


def test_long_prompts_are_those_beyond_the_tier(seeded: Seeded) -> None:
    answered = [call for call in seeded.told() if not call.error_type]
    limits = {
        tier: quantile([call.input_tokens for call in calls], 0.99)
        for tier, calls in groups(answered, lambda call: call.tier).items()
    }
    long = Counter(call.user for call in answered if call.input_tokens > limits[call.tier])

    rows = seeded.rows(PAGE, "Possible abuse")

    assert {row["user"]: row["long_prompts"] for row in rows if row["long_prompts"]} == long
    for row in rows:
        calls = of_users(seeded.told())[row["user"]]
        assert row["requests"] == len(calls)
        assert row["share_of_requests"] == approx(len(calls) / len(seeded.told()))
        assert row["long_share"] == approx(long[row["user"]] / len(calls))
        assert row["longest"] == max(call.input_tokens for call in calls)
        assert row["p99_of_tier"] == limits[calls[0].tier]


@pytest.mark.parametrize("who", ["busiest", truth.AWKWARD])
def test_one_user_is_seen_alone(seeded: Seeded, who: str) -> None:
    user = Counter(call.user for call in seeded.told()).most_common(1)[0][0] if who == "busiest" else who
    calls = seeded.told(lambda call: call.user == user)

    numbers = seeded.row(PAGE, "In this time", user=user)
    bars = seeded.rows(PAGE, "Requests", user=user)
    models = seeded.rows(PAGE, "Spend by model", user=user)
    features = seeded.rows(PAGE, "Spend by feature", user=user)
    sessions = seeded.rows(PAGE, "Sessions", user=user)
    last = seeded.rows(PAGE, "Last calls", user=user)

    assert numbers == {
        "requests": len(calls),
        "usd": approx(spend(calls)),
        "error_rate": approx(truth.error_rate(calls)),
        "tokens": truth.tokens(calls),
    }
    assert sum(row["ok"] for row in bars) == len(calls) - len(truth.failed(calls))
    assert sum(row["error"] for row in bars) == len(truth.failed(calls))
    assert sum(row["usd"] for row in models) == approx(spend(calls))
    by_feature = groups(calls, lambda call: call.feature)
    assert {row["feature"]: row["usd"] for row in features} == {
        name: approx(spend(of)) for name, of in by_feature.items() if spend(of)
    }
    by_session = groups(calls, lambda call: call.session)
    ended = sorted(by_session, key=lambda name: -max(call.end_ns for call in by_session[name]))
    assert [row["session"] for row in sessions] == ended[:20]
    for row in sessions:
        of_session = by_session[row["session"]]
        assert (row["requests"], row["usd"]) == (len(of_session), approx(spend(of_session)))
        assert (row["errors"], row["user"]) == (len(truth.failed(of_session)), user)
    newest = sorted(calls, key=lambda call: -call.end_ns)[:50]
    assert [(row["trace"], row["error"]) for row in last] == [(call.trace.hex(), call.error_type) for call in newest]


def test_segments_are_as_they_are_defined(seeded: Seeded) -> None:
    end_ns = DAY.end_ms * 10**6
    users = of_users([call for call in seeded.seed.calls if call.end_ns <= end_ns])

    def week(user: str, number: int) -> int:
        return sum(end_ns - (number + 1) * 7 * DAY_NS <= call.end_ns for call in users[user])

    ranked = sorted(users, key=lambda user: (-len(users[user]), -spend(users[user]), user))
    segments = {
        "Power": set(ranked[: ceil(len(ranked) / 10)]),
        "Active": {user for user in users if week(user, 0)},
        "New": set(users),  # there are calls of nine days only
        "At risk": {
            user
            for user in users
            if week(user, 1) - week(user, 0) >= 5 and week(user, 0) < (week(user, 1) - week(user, 0)) / 2
        },
    }

    rows = {row["segment"]: row for row in seeded.rows(PAGE, "Segments")}
    who = seeded.rows(PAGE, "Power users and users at risk")

    for name, members in segments.items():
        calls = [call for user in members for call in users[user]]
        assert bool(members) == (name in rows)
        if members:
            assert rows[name] == {
                "segment": name,
                "users": len(members),
                "share": approx(len(members) / len(users)),
                "requests": len(calls),
                "usd": approx(spend(calls)),
                "share_of_spend": approx(spend(calls) / sum(spend(of) for of in users.values())),
                "per_user": approx(spend(calls) / len(members)),
            }
    assert {row["user"] for row in who} == segments["Power"] | segments["At risk"]
    for row in who:
        assert (row["requests"], row["this_week"]) == (len(users[row["user"]]), week(row["user"], 0))
        assert row["week_before"] == week(row["user"], 1) - week(row["user"], 0)
