"""What the page about errors says, beside the seeded calls that failed."""

from collections import Counter
from collections.abc import Callable
from math import floor
from urllib.parse import parse_qsl

import pytest

from support import dashboard_store as truth
from support.dashboard_seed import HOUR_NS, Call
from support.dashboard_store import DAY, Seeded, error_rate, failed, groups, interval

approx = pytest.approx
PAGE = "errors"


def test_the_error_rate_is_compared_with_the_day_before(seeded: Seeded) -> None:
    now, before = error_rate(seeded.told()), error_rate(seeded.before())

    assert seeded.row(PAGE, "Error rate") == {
        "error_rate": approx(now),
        "success_rate": approx(1 - now),
        "change": approx(now / before - 1),
    }


def test_failed_calls_are_counted_by_class(seeded: Seeded) -> None:
    broken = failed(seeded.told())
    ours, theirs = (sum(call.status // 100 == number for call in broken) for number in (4, 5))

    row = seeded.row(PAGE, "Failed calls")
    over_time = seeded.rows(PAGE, "Failures by class")
    by_status = seeded.rows(PAGE, "Failures by status")

    assert row == {"failed": len(broken), "4xx": ours, "5xx": theirs, "none": 0}
    assert {each["time"]: (each["4xx"], each["5xx"], each["none"], each["broken"]) for each in over_time} == {
        time: (*(sum(call.status // 100 == number for call in calls) for number in (4, 5)), 0, 0)
        for time, calls in groups(broken, interval).items()
    }
    assert {each["status"]: each["failed"] for each in by_status} == Counter(str(call.status) for call in broken)


def test_affected_users_are_a_share_of_the_active_ones(seeded: Seeded) -> None:
    calls = seeded.told()
    hit, active = {call.user for call in failed(calls)}, {call.user for call in calls}

    assert seeded.row(PAGE, "Users affected") == {"affected": len(hit), "of_all": approx(len(hit) / len(active))}


def test_failures_over_time_have_their_type(seeded: Seeded) -> None:
    rows = seeded.rows(PAGE, "Failures by type")

    assert {(row["time"], row["error"]): row["failed"] for row in rows} == Counter(
        (interval(call), call.error_type) for call in failed(seeded.told())
    )


@pytest.mark.parametrize(
    ("title", "column", "of"),
    [
        ("Error rate by environment", "environment", lambda call: call.environment),
        ("Error rate by provider", "provider", lambda call: call.provider),
        ("Error rate by model", "model", lambda call: call.model),
    ],
)
def test_error_rates_over_time_are_of_each_one_s_calls(
    seeded: Seeded, title: str, column: str, of: Callable[[Call], str]
) -> None:
    shown = {of(call) for call in (failed(seeded.told()) if column == "model" else seeded.told())}
    bins = groups(seeded.told(lambda call: of(call) in shown), lambda call: (interval(call), of(call)))

    rows = seeded.rows(PAGE, title)

    assert {(row["time"], row[column]): row["error_rate"] for row in rows} == {
        key: approx(error_rate(calls)) for key, calls in bins.items()
    }


def test_features_have_their_error_rate(seeded: Seeded) -> None:
    features = groups(seeded.told(), lambda call: call.feature)

    rows = {row["feature"]: row for row in seeded.rows(PAGE, "Error rate by feature")}

    assert rows == {
        feature: {
            "feature": feature,
            "requests": len(calls),
            "failed": len(failed(calls)),
            "error_rate": approx(error_rate(calls)),
            "users": len({call.user for call in failed(calls)}),
        }
        for feature, calls in features.items()
        if len(calls) >= 10
    }


def test_what_stands_out_among_failures_is_compared_with_all_calls(seeded: Seeded) -> None:
    calls = seeded.told()
    of: dict[str, Callable[[Call], str]] = {
        "user": lambda call: call.user,
        "feature": lambda call: call.feature,
        "model": lambda call: call.model,
        "provider": lambda call: call.provider,
        "service": lambda call: call.service,
        "environment": lambda call: call.environment,
        "user tier": lambda call: call.tier,
        "session": lambda call: call.session_name,
        "prompt": lambda call: f"{call.prompt} {call.prompt_version}",
        "operation": lambda call: "chat",
        "server": lambda call: f"api.{call.provider}.com",
    }
    wanted = []
    for trait in of.values():
        for mine in groups(calls, trait).values():
            wanted.append(len(failed(mine)) / len(failed(calls)) - len(mine) / len(calls) if failed(mine) else -1)

    rows = seeded.rows(PAGE, "Is it one user, one feature, one model?")

    for row in rows:
        mine = [call for call in calls if of[row["what"]](call) == row["value"]]
        assert row["failed"] == len(failed(mine)) > 0
        assert row["of_failed"] == approx(len(failed(mine)) / len(failed(calls)))
        assert row["of_all"] == approx(len(mine) / len(calls))
        assert row["error_rate"] == approx(error_rate(mine))
        ends = sorted(call.end_ns for call in failed(mine))
        assert (row["since"], row["last"]) == (truth.instant(ends[0]), truth.instant(ends[-1]))
    assert [row["of_failed"] - row["of_all"] for row in rows] == [
        approx(share, abs=1e-12) for share in sorted(wanted, reverse=True)[:20]
    ]


def test_what_stands_out_leads_to_its_own_failures(seeded: Seeded) -> None:
    shown = {"env": "production", "model": ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5"]}

    rows = seeded.rows(PAGE, "Is it one user, one feature, one model?", choice=shown)

    assert {"user", "feature", "model", "prompt", "session", "user tier"} <= {row["what"] for row in rows}
    for row in rows:
        chosen: dict[str, list[str]] = {"status": ["error"]}
        for name, value in parse_qsl(row["chosen"], strict_parsing=True):
            if value != "$__all":
                chosen.setdefault(name.removeprefix("var-"), []).append(value)
        behind = seeded.row("requests", "Requests", choice=chosen)["requests"]
        if row["what"] == "prompt":  # without its version
            (prompt,) = chosen["prompt"]
            kept = seeded.told(
                lambda call, prompt=prompt: call.prompt == prompt and call.environment == "production"  # type: ignore[misc]
            )
            assert behind == len([call for call in failed(kept) if call.model in shown["model"]])
        elif row["what"] != "server":  # which cannot be chosen
            assert behind == row["failed"], row


def test_kinds_of_failures_say_who_and_what(seeded: Seeded) -> None:
    kinds = groups(failed(seeded.told()), lambda call: (call.error_type, call.status, call.provider, call.model))

    rows = seeded.rows(PAGE, "Kinds of failures")

    assert {(row["error"], row["status"], row["provider"], row["model"]) for row in rows} == kinds.keys()
    for row in rows:
        calls = kinds[row["error"], row["status"], row["provider"], row["model"]]
        last = max(calls, key=lambda call: call.end_ns)
        assert (row["failed"], row["users"]) == (len(calls), len({call.user for call in calls}))
        assert row["features"] == ", ".join(sorted({call.feature for call in calls}))
        assert row["since"] == truth.instant(min(call.end_ns for call in calls))
        assert (row["last"], row["trace"]) == (truth.instant(last.end_ns), last.trace.hex())
        assert row["message"] == f"the provider answered {last.status}"


def test_users_with_failures_are_those_who_had_some(seeded: Seeded) -> None:
    users = groups(seeded.told(), lambda call: call.user)

    rows = seeded.rows(PAGE, "Users with failures")

    assert {row.pop("user"): row for row in rows} == {
        user: {
            "tier": calls[0].tier,
            "failed": len(failed(calls)),
            "error_rate": approx(error_rate(calls)),
            "last": truth.instant(max(call.end_ns for call in failed(calls))),
        }
        for user, calls in users.items()
        if failed(calls)
    }


def test_burn_rates_are_of_the_time_before_the_end(seeded: Seeded) -> None:
    end_ns = DAY.end_ms * 10**6
    ages = {"burn_5m": HOUR_NS // 12, "burn_30m": HOUR_NS // 2, "burn_1h": HOUR_NS, "burn_6h": 6 * HOUR_NS}

    rows = {row["environment"]: row for row in seeded.rows(PAGE, "Burn rate by environment")}

    assert rows.keys() == {"production", "staging"}
    for environment, row in rows.items():
        for name, age_ns in ages.items():
            calls = seeded.told(lambda call: call.environment == environment and call.end_ns >= end_ns - age_ns)  # noqa: B023
            assert row[name] == (approx(error_rate(calls) / 0.01) if calls else None)
            requests = len(calls)
        assert row["requests"] == requests
        fast, slow = (min(row[f"burn_{age}"] or 0 for age in ages) for ages in (("1h", "5m"), ("6h", "30m")))
        assert row["burning"] == ("slow" if slow > 6 and requests >= 50 else "no")
        assert fast <= 14.4, "too few calls for it in the seed"


def test_the_budget_is_of_all_calls_of_thirty_days(seeded: Seeded) -> None:
    calls = [call for call in seeded.seed.calls if call.start_ns <= DAY.end_ms * 10**6]
    places = groups(calls, lambda call: call.environment)

    left = seeded.row(PAGE, "Error budget left")
    rows = {row["environment"]: row for row in seeded.rows(PAGE, "Error budget of 30 days by environment")}

    assert left == {"budget_left": approx(1 - error_rate(calls) / 0.01)}
    assert rows == {
        environment: {
            "environment": environment,
            "requests": len(of),
            "failed": len(failed(of)),
            "error_rate": approx(error_rate(of)),
            "allowed": floor(len(of) / 100),
            "budget_left": approx(1 - error_rate(of) / 0.01),
        }
        for environment, of in places.items()
    }


def test_streams_that_began_ended_completely(seeded: Seeded) -> None:
    streams = seeded.told(lambda call: call.ttft_ns is not None)

    assert seeded.rows(PAGE, "How streams ended") == [{"ended": "complete", "streams": len(streams)}]


def test_the_last_failures_come_first(seeded: Seeded) -> None:
    last = sorted(failed(seeded.told()), key=lambda call: -call.end_ns)[:100]

    rows = seeded.rows(PAGE, "Recent failures")

    assert [(row["trace"], row["status"], row["error"], row["user"]) for row in rows] == [
        (call.trace.hex(), call.status, call.error_type, call.user) for call in last
    ]


def test_retries_are_a_share_of_the_calls_and_may_fail_again(seeded: Seeded) -> None:
    bins = groups(seeded.told(), interval)

    rows = {row["time"]: row for row in seeded.rows(PAGE, "Retries")}

    assert rows.keys() == bins.keys()
    for time, calls in bins.items():
        again = [call for call in calls if call.retries]
        assert rows[time]["retries"] == approx(len(again) / len(calls))
        assert rows[time]["failed_again"] == (approx(error_rate(again)) if again else None)
