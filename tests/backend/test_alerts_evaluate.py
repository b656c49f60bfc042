"""What alerts measure, on the real store: every expected number is counted by hand from the calls of the test."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.calls import NOON_NS, call
from support.stores import fresh
from tokentrail.backend.access.caller import ANYONE, Caller, Role
from tokentrail.backend.alerts.definition import Definition
from tokentrail.backend.alerts.evaluate import Evaluation, evaluate
from tokentrail.backend.alerts.metric import BY_NAME
from tokentrail.backend.alerts.read import read_alerts, shipped
from tokentrail.backend.query.api import Api
from tokentrail.backend.row import Row
from tokentrail.backend.store.chdb import ChdbStore

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOW = NOON_NS


class Alerts:
    """A store, and what alerts say about the calls in it."""

    def __init__(self, store: ChdbStore) -> None:
        self.store = store
        self._count = 0

    def add(self, count: int, *, ended_ago_ns: int = MINUTE, **changes: Any) -> None:
        """`count` calls that took a second and ended that long ago."""
        rows: list[Row] = []
        for _ in range(count):
            self._count += 1
            fields = {"duration_ns": SECOND, "environment": "production", **changes}
            start_ns = NOW - ended_ago_ns - int(fields["duration_ns"])
            rows.append(call(time_ns=start_ns, span_id=f"{self._count:016x}", **fields))
        self.store.insert([], rows, NOW + self._count)

    def ask(self, definition: Definition | str, until_ns: int = NOW) -> Evaluation:
        if isinstance(definition, str):
            definition = one(definition)
        return evaluate(self.store, definition, until_ns)


def one(text: str) -> Definition:
    """A definition without groups and thresholds for all environments, but for the fields in `text`."""
    fields = {"name": "A", "metric": "requests", "threshold": "0", "window": "10m", "severity": "low"}
    fields |= dict(part.split(": ", 1) for part in text.split("; "))
    lines = "\n    ".join(f"{name}: {value}" for name, value in fields.items())
    return read_alerts(f"defaults: false\nalerts:\n  - {lines}\n".encode(), "test").definitions[0]


def default(name: str) -> Definition:
    return next(each for each in shipped().definitions if each.name == name)


@pytest.fixture
def alerts(tmp_path: Path) -> Iterator[Alerts]:
    store = fresh(tmp_path / "data")
    yield Alerts(store)
    store.close()


def _numbers(evaluation: Evaluation) -> Sequence[tuple[dict[str, str], float, int, bool]]:
    return [(dict(each.labels), each.value, each.requests, each.is_offending) for each in evaluation.findings]


PRODUCTION = {"deployment_environment_name": "production"}


def test_the_first_call_of_a_new_model_counts_with_all_it_cost(alerts: Alerts) -> None:
    alerts.add(1, request_model="brand-new", cost_usd=Decimal(120))

    said = alerts.ask(default("LLMDailyCostHigh"))

    assert _numbers(said) == [(PRODUCTION, 120.0, 1, True)]


def test_a_few_slow_calls_do_not_make_the_95th_percentile_slow(alerts: Alerts) -> None:
    alerts.add(96, duration_ns=6 * SECOND)
    alerts.add(4, duration_ns=15 * SECOND)

    said = alerts.ask(default("LLMLatencyP95High"))

    assert _numbers(said) == [(PRODUCTION, 6.0, 100, False)]


def test_more_slow_calls_than_one_in_twenty_do(alerts: Alerts) -> None:
    alerts.add(93, duration_ns=6 * SECOND)
    alerts.add(7, duration_ns=15 * SECOND)

    assert _numbers(alerts.ask(default("LLMLatencyP95High"))) == [(PRODUCTION, 15.0, 100, True)]


@pytest.mark.parametrize(("failed", "fires"), [(5, False), (6, True)])
def test_an_error_rate_of_exactly_the_threshold_is_not_above_it(alerts: Alerts, failed: int, fires: bool) -> None:
    alerts.add(100 - failed)
    alerts.add(failed, error_type="timeout")

    assert _numbers(alerts.ask(default("LLMErrorRateHigh"))) == [(PRODUCTION, failed / 100, 100, fires)]


@pytest.mark.parametrize(("calls", "fires"), [(9, False), (10, True)])
def test_too_few_calls_say_nothing(alerts: Alerts, calls: int, fires: bool) -> None:
    alerts.add(calls, error_type="timeout")

    assert _numbers(alerts.ask(default("LLMErrorRateHigh"))) == [(PRODUCTION, 1.0, calls, fires)]


def test_other_environments_are_not_watched(alerts: Alerts) -> None:
    alerts.add(100, error_type="timeout", environment="staging")

    assert _numbers(alerts.ask(default("LLMErrorRateHigh"))) == []


def test_each_environment_has_its_own_threshold(alerts: Alerts) -> None:
    for environment in ("production", "staging", "elsewhere"):
        alerts.add(9, environment=environment)
        alerts.add(1, environment=environment, error_type="timeout")

    said = alerts.ask('metric: error_rate; threshold: {production: 5%, "*": 10%, staging: 9%}')

    assert {
        (each.labels["deployment_environment_name"], each.threshold): each.is_offending for each in said.findings
    } == {
        ("production", 0.05): True,
        ("staging", 0.09): True,
        ("elsewhere", 0.1): False,
    }


def test_a_call_belongs_to_the_moment_it_ended(alerts: Alerts) -> None:
    alerts.add(1, ended_ago_ns=9 * MINUTE, duration_ns=10 * MINUTE, error_type="timeout")
    alerts.add(1, ended_ago_ns=10 * MINUTE)
    alerts.add(1, ended_ago_ns=10 * MINUTE + 1)
    alerts.add(1, ended_ago_ns=1)
    alerts.add(1, ended_ago_ns=0)

    assert alerts.ask("metric: requests").findings[0].value == 3


def test_money_is_added_up_to_the_last_digit(alerts: Alerts) -> None:
    alerts.add(10, cost_usd=Decimal("0.1"))
    question = "metric: cost; threshold: 1"

    assert not alerts.ask(question).offenders
    alerts.add(1, cost_usd=Decimal("0.000000000001"))
    assert alerts.ask(question).offenders == 1


CALLS = (
    {"input_tokens": 10, "output_tokens": 1, "cache_read_tokens": 4, "cost_usd": Decimal("0.5"), "ttft_ns": SECOND},
    {"input_tokens": 20, "output_tokens": 3, "cache_read_tokens": None, "cost_usd": None, "ttft_ns": None},
    {"input_tokens": None, "output_tokens": None, "cache_read_tokens": None, "cost_usd": Decimal("0.25")}
    | {"ttft_ns": 3 * SECOND, "duration_ns": 3 * SECOND, "error_type": "timeout"},
    {"input_tokens": 30, "output_tokens": 8, "cache_read_tokens": 6, "cost_usd": Decimal(1), "ttft_ns": 2 * SECOND}
    | {"ratelimit_remaining_requests": 60, "ratelimit_remaining_tokens": None, "pricing_status": "priced"},
)


MEASURED = (
    ("error_rate", "rate", 1 / 4, 4),
    ("cost", "sum", 1.75, 4),
    ("cost", "avg", 1.75 / 3, 4),
    ("cost", "min", 0.25, 4),
    ("cost", "max", 1.0, 4),
    ("cost", "p50", 0.5, 4),
    ("latency", "avg", 1.5, 4),
    ("latency", "max", 3.0, 4),
    ("latency", "min", 1.0, 4),
    ("latency", "p99", 3.0, 4),
    ("ttft", "avg", 2.0, 3),
    ("ttft", "p95", 3.0, 3),
    ("requests", "sum", 4.0, 4),
    ("input_tokens", "sum", 60.0, 3),
    ("output_tokens", "avg", 4.0, 3),
    ("tokens", "max", 38.0, 4),
    ("cache_read_tokens", "sum", 10.0, 2),
    ("cache_write_tokens", "sum", 400.0, 4),
    ("reasoning_tokens", "min", 20.0, 4),
    ("cache_hit_rate", "rate", 10 / 60, 3),
    ("rate_limit_headroom", "min", 60 / 500, 4),
    ("rate_limit_headroom", "max", 199_000 / 200_000, 4),
    ("unpriced", "sum", 1.0, 4),
)
"""By hand from `CALLS`."""


def test_every_metric_is_measured_exactly(alerts: Alerts) -> None:
    for each in CALLS:
        alerts.add(1, **each)

    for metric, aggregation, value, requests in MEASURED:
        question = f"metric: {metric}; aggregation: {aggregation}; threshold: {_any_threshold(metric)}"
        (found,) = alerts.ask(question).findings

        assert found.value == pytest.approx(value, rel=1e-12), question
        assert found.requests == requests, question
    assert {metric for metric, *_ in MEASURED} == set(BY_NAME)


def _any_threshold(metric: str) -> str:
    return "1s" if metric in ("latency", "ttft") else "1"


def test_calls_that_failed_unused_are_not_unpriced(alerts: Alerts) -> None:
    alerts.add(2, cost_usd=None, pricing_status="failed")
    alerts.add(1, cost_usd=None, pricing_status="unknown_model")

    said = alerts.ask(default("LLMUnpricedModel"))

    assert [(each.value, each.is_offending) for each in said.findings] == [(1.0, True)]


FILTERED = (
    ("{environment: production}", 3),
    ("{service: [shop, other]}", 4),
    ("{model: gpt-x-2026-01-01}", 3),
    ("{model: gpt-x}", 4),
    ("{provider: azure}", 1),
    ("{user: user-2}", 1),
    ("{session: session-1, user: [user-1, nobody]}", 3),
    ("{feature: chat}", 2),
    ("{property.plan: pro}", 2),
    ("{property.Plan: ''}", 2),
    ("{project: default}", 3),
    ("{project: other}", 1),
    ("{operation: embeddings}", 0),
    ('{user: "x\' OR 1=1 --"}', 0),
)


def test_filters_choose_the_calls(alerts: Alerts) -> None:
    alerts.add(1)
    alerts.add(1, user_id="user-2", properties={"feature": "chat"})
    alerts.add(1, provider="azure", properties={"Feature": "chat", "PLAN": "pro"})
    alerts.add(1, response_model="", environment="staging", service="other", properties={}, project="other")

    for filters, expected in FILTERED:
        found = alerts.ask(f"metric: requests; filters: {filters}").findings

        assert sum(each.value for each in found) == expected, filters


def test_each_group_is_looked_at_alone_and_offenders_come_first(alerts: Alerts) -> None:
    alerts.add(5, provider="a", error_type="timeout")
    alerts.add(10, provider="b")
    alerts.add(1, provider="b", error_type="timeout")
    alerts.add(40, provider="c")

    said = alerts.ask("metric: error_rate; threshold: 5%; min_requests: 10; group_by: provider")

    name = "gen_ai_provider_name"
    assert _numbers(said) == [
        ({name: "b"}, 1 / 11, 11, True),
        ({name: "c"}, 0.0, 40, False),
        ({name: "a"}, 1.0, 5, False),
    ]
    assert (said.offenders, said.groups) == (1, 3)


def test_of_users_only_offenders_are_shown_and_not_more_than_allowed(alerts: Alerts) -> None:
    for index in range(7):
        alerts.add(1, user_id=f"u{index}", cost_usd=Decimal(index))
    alerts.add(1, user_id="", cost_usd=Decimal(1000))

    said = alerts.ask("metric: cost; threshold: 2; group_by: user; max_series: 3")

    assert [each.labels["user"] for each in said.findings] == ["u6", "u5", "u4"]
    assert (said.offenders, said.groups) == (4, 7)


def test_a_value_below_its_threshold_can_be_the_bad_one(alerts: Alerts) -> None:
    alerts.add(1, request_model="a", ratelimit_remaining_requests=49)
    alerts.add(1, request_model="b", ratelimit_remaining_requests=50)
    alerts.add(1, request_model="c", ratelimit_remaining_requests=400, ratelimit_remaining_tokens=19_999)
    alerts.add(1, request_model="d", ratelimit_limit_requests=0, ratelimit_limit_tokens=None)

    said = alerts.ask(default("LLMProviderRateLimitNear"))

    assert [(each.labels["gen_ai_request_model"], each.is_offending) for each in said.findings] == [
        ("a", True),
        ("c", True),
        ("b", False),
    ]


def test_a_burn_is_only_told_while_it_goes_on(alerts: Alerts) -> None:
    definition = default("LLMErrorBudgetBurnFast")
    alerts.add(80, ended_ago_ns=30 * MINUTE)
    alerts.add(20, ended_ago_ns=30 * MINUTE, error_type="timeout")
    alerts.add(10, ended_ago_ns=MINUTE)

    over = alerts.ask(definition)
    alerts.add(2, ended_ago_ns=MINUTE, error_type="timeout")
    on = alerts.ask(definition)

    assert _numbers(over) == [(PRODUCTION, 0.0, 110, False)]
    assert _numbers(on) == [(PRODUCTION, 2 / 12, 112, True)]


def test_first_tokens_are_compared_with_the_day_before(alerts: Alerts) -> None:
    definition = default("LLMTimeToFirstTokenDegraded")
    alerts.add(50, ended_ago_ns=7 * HOUR, ttft_ns=2 * SECOND)
    alerts.add(20, ended_ago_ns=MINUTE, ttft_ns=4 * SECOND)

    at_twice = alerts.ask(definition)
    alerts.add(2, ended_ago_ns=MINUTE, ttft_ns=4 * SECOND + 1)
    above = alerts.ask(definition)

    assert [(each.value, each.threshold, each.is_offending) for each in at_twice.findings] == [(4.0, 4.0, False)]
    assert [(each.threshold, each.is_offending) for each in above.findings] == [(4.0, True)]


def test_without_a_past_nothing_is_compared(alerts: Alerts) -> None:
    alerts.add(1000, ended_ago_ns=MINUTE)
    alerts.add(1, ended_ago_ns=5 * HOUR)

    assert _numbers(alerts.ask(default("LLMRequestSpike"))) == []


def test_a_spike_is_more_than_three_times_the_mean_of_the_day(alerts: Alerts) -> None:
    alerts.add(12 * 50, ended_ago_ns=HOUR)
    alerts.add(1, ended_ago_ns=7 * HOUR)
    alerts.add(101, ended_ago_ns=MINUTE)

    (found,) = alerts.ask(default("LLMRequestSpike")).findings

    # From the first call to the window are 6:55 h and what the window leaves of it: 83 times 5 minutes, with 601 calls.
    assert (found.value, found.threshold) == (101, max(100, 3 * 601 / 83))
    assert found.is_offending


def test_unusual_cost_is_three_deviations_above_the_week(alerts: Alerts) -> None:
    for hour in range(1, 49):
        alerts.add(1, ended_ago_ns=hour * HOUR + MINUTE, cost_usd=Decimal(10 if hour % 2 else 30))
    alerts.add(1, cost_usd=Decimal("50.1"))

    (found,) = alerts.ask(default("LLMCostUnusual")).findings

    assert found.threshold == pytest.approx(20 + 3 * 10)
    assert (found.value, found.is_offending) == (50.1, True)


def test_hours_without_calls_count_as_nothing_spent(alerts: Alerts) -> None:
    alerts.add(1, ended_ago_ns=41 * HOUR - 1, cost_usd=Decimal(40))
    alerts.add(1, cost_usd=Decimal(30))

    (found,) = alerts.ask(default("LLMCostUnusual")).findings

    # 40 in one of 40 hours: mean 1, deviation the root of (39^2 + 39) / 40.
    assert found.threshold == pytest.approx(1 + 3 * ((39**2 + 39) / 40) ** 0.5)


def test_an_empty_store_has_nothing_to_say(alerts: Alerts) -> None:
    for definition in shipped().definitions:
        assert _numbers(alerts.ask(definition)) == []


def test_requests_too_few_can_be_told_without_any(alerts: Alerts) -> None:
    said = alerts.ask("metric: requests; threshold: 1; direction: below")

    assert _numbers(said) == [({}, 0.0, 0, True)]


@pytest.mark.parametrize(
    ("definition", "calls", "lasts_ns"),
    [
        ("window: 10m", {"ended_ago_ns": 4 * MINUTE}, 6 * MINUTE),
        ("window: 10m; confirm: 5m; metric: error_rate; threshold: 5%", {"ended_ago_ns": 4 * MINUTE}, MINUTE),
        ("window: 10m; confirm: 5m; metric: error_rate; threshold: 5%", {"ended_ago_ns": 6 * MINUTE}, 4 * MINUTE),
        ("window: 10m", {"ended_ago_ns": 10 * MINUTE}, 0),
        ("window: 1h", {"ended_ago_ns": MINUTE}, 10 * MINUTE),
        ("window: 10m", {"ended_ago_ns": -30 * SECOND}, 30 * SECOND),
        ("window: 10m", {"ended_ago_ns": 0}, 0),
        # Older than that and longer than an hour, it is not looked at.
        ("window: 10m", {"ended_ago_ns": 3 * MINUTE, "duration_ns": 65 * MINUTE}, 2 * MINUTE),
        ("window: 10m; filters: {user: nobody}", {"ended_ago_ns": 4 * MINUTE}, 10 * MINUTE),
        (
            "metric: latency; threshold: 1s; window: 10m; compare: {with: 1h, times: 2, history: 30m}",
            {"ended_ago_ns": 25 * MINUTE},
            5 * MINUTE - 1,
        ),
        (
            "metric: latency; threshold: 1s; window: 10m; compare: {with: 1h, times: 2, history: 30m}",
            {"ended_ago_ns": 65 * MINUTE},
            5 * MINUTE,
        ),
        ("window: 10m; compare: {with: 1h, times: 2, history: 30m}", {"ended_ago_ns": 25 * MINUTE}, 0),
    ],
)
def test_it_says_how_long_it_stays_as_it_is(
    alerts: Alerts, definition: str, calls: dict[str, int], lasts_ns: int
) -> None:
    alerts.add(3, **calls)

    assert alerts.ask(definition).same_until_ns - NOW == lasts_ns


def test_calls_of_clocks_that_are_ahead_do_not_count_before_their_time(alerts: Alerts) -> None:
    alerts.add(3, ended_ago_ns=-30 * SECOND)
    grouped = one("window: 10m; group_by: model")

    now, then, after = (alerts.ask(grouped, NOW + later_ns) for later_ns in (0, 30 * SECOND, 30 * SECOND + 1))

    assert (now.findings, now.groups) == (then.findings, then.groups) == ((), 0)
    assert [each.requests for each in after.findings] == [3]


def test_nothing_is_different_before_it_is_to_be_asked_again(alerts: Alerts) -> None:
    chance = random.Random(5)
    for number in range(60):
        alerts.add(
            chance.randrange(1, 30),
            ended_ago_ns=chance.choice([90 * SECOND, 5 * MINUTE, HOUR, 6 * HOUR, 23 * HOUR]) * number // 30 - MINUTE,
            duration_ns=chance.choice([SECOND, 20 * SECOND, 70 * MINUTE]),
            ttft_ns=chance.choice([None, SECOND]),
            cost_usd=chance.choice([None, Decimal("0.5")]),
            error_type=chance.choice(["", "timeout"]),
            user_id=f"user-{number % 3}",
        )

    told = 0
    for definition in shipped().definitions:
        known = alerts.ask(definition)
        for step in range(1, 21):
            until_ns = NOW + step * 121 * SECOND
            now = alerts.ask(definition, until_ns)
            if until_ns <= known.same_until_ns:
                told += 1
                assert replace(known, until_ns=until_ns, same_until_ns=now.same_until_ns) == now
            else:
                known = now
    assert told > 40


def test_the_api_tells_each_alert_at_any_time(alerts: Alerts) -> None:
    alerts.add(20, error_type="timeout", ended_ago_ns=2 * HOUR)
    api = Api(alerts.store, now_ns=lambda: NOW)

    now = api.handle("/api/alerts", {"name": "LLMErrorRateHigh"}, ANYONE)
    then = api.handle("/api/alerts", {"name": "LLMErrorRateHigh", "at": "115m"}, ANYONE)
    wrong = api.handle("/api/alerts", {"definitions": "alerts: 5"}, ANYONE)

    assert b'"is_beyond": false' in now.body
    assert b'"is_beyond": true' in then.body
    assert (now.status, then.status, wrong.status) == (200, 200, 400)


def test_a_key_of_one_project_asks_about_its_calls_alone(alerts: Alerts) -> None:
    alerts.add(20, error_type="timeout", project="other")
    api = Api(alerts.store, now_ns=lambda: NOW)

    def ask(project: str | None) -> bytes:
        return api.handle("/api/alerts", {"name": "LLMErrorRateHigh"}, Caller("k", Role.READ, project)).body

    assert b'"offenders": 1' in ask("other")
    assert b'"offenders": 1' in ask(None)
    assert b'"groups": []' in ask("mine")
    assert b'"groups": []' in ask("")
