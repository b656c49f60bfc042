"""What the page about cache and rate limits says, beside what the seeded calls were told."""

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from statistics import fmean

import pytest

from support import dashboard_store as truth
from support.dashboard_seed import PRICES, Call
from support.dashboard_store import Seeded, first_tokens, groups, interval

approx = pytest.approx
PAGE = "cache-limits"


def answered(calls: Iterable[Call]) -> list[Call]:
    return [call for call in calls if not call.error_type]


def hit_rate(calls: Iterable[Call]) -> float:
    calls = list(calls)
    return sum(call.cached_tokens for call in calls) / sum(call.input_tokens for call in calls)


def saved(calls: Iterable[Call]) -> float:
    """What cached tokens would have cost more as plain input."""
    total = Fraction(0)
    for call in truth.priced(calls):
        plain, cached, _ = (Fraction(price) / 10**6 for price in PRICES[call.model])
        total += (plain - cached) * call.cached_tokens
    return float(total)


def paid_for_input(calls: Iterable[Call], cached: int) -> float:
    """US dollars for input that was read from the cache (1), or was not (0)."""
    total = Fraction(0)
    for call in truth.priced(calls):
        number = call.cached_tokens if cached else call.input_tokens - call.cached_tokens
        total += Fraction(PRICES[call.model][cached]) / 10**6 * number
    return float(total)


def requests_left(call: Call) -> float:
    return call.remaining_requests / 500


def tokens_left(call: Call) -> float:
    return (100_000 + call.remaining_requests * 200) / 200_000


def test_the_hit_rate_is_of_input_tokens_and_compared(seeded: Seeded) -> None:
    now, before = hit_rate(seeded.told()), hit_rate(seeded.before())
    calls = answered(seeded.told())

    with_a_hit = sum(call.cached_tokens > 0 for call in calls) / len(calls)
    assert seeded.row(PAGE, "Prompt cache hit rate") == {"hit_rate": approx(now), "change": approx(now - before)}
    assert seeded.row(PAGE, "Calls with a hit") == {"with_a_hit": approx(with_a_hit)}


def test_cached_tokens_and_what_they_saved(seeded: Seeded) -> None:
    read = sum(call.cached_tokens for call in seeded.told())

    assert seeded.row(PAGE, "Cached tokens") == {"read": read, "written": 0}
    assert seeded.row(PAGE, "Saved by the prompt cache") == {"saved": approx(saved(seeded.told()))}


def test_models_have_their_hit_rate_savings_and_first_tokens(seeded: Seeded) -> None:
    rows = {row["model"]: row for row in seeded.rows(PAGE, "By model")}

    for model, calls in groups(answered(seeded.told()), lambda call: call.model).items():
        hit, miss = ([call for call in calls if bool(call.cached_tokens) == cached] for cached in (True, False))
        assert rows.pop(model) == {
            "model": model,
            "requests": len(calls),
            "hit_rate": approx(hit_rate(calls)),
            "read": sum(call.cached_tokens for call in calls),
            "written": 0,
            "saved": approx(saved(calls)),
            "ttft_hit": approx(fmean(first_tokens(hit))),
            "ttft_miss": approx(fmean(first_tokens(miss))),
        }
    assert not rows


def test_features_have_their_hit_rate(seeded: Seeded) -> None:
    wanted = groups(answered(seeded.told()), lambda call: (call.feature, call.service))

    rows = seeded.rows(PAGE, "By feature and service")

    assert {(row["feature"], row["service"]): row["hit_rate"] for row in rows} == {
        key: approx(hit_rate(calls)) for key, calls in wanted.items()
    }
    for row in rows:
        calls = wanted[row["feature"], row["service"]]
        assert (row["requests"], row["saved"]) == (len(calls), approx(saved(calls)))
        assert row["input"] == sum(call.input_tokens for call in calls)


def test_hits_and_costs_over_time_add_up(seeded: Seeded) -> None:
    bins = groups(answered(seeded.told()), lambda call: (interval(call), call.model))

    hits = seeded.rows(PAGE, "Hit rate by model")
    tokens = seeded.rows(PAGE, "Input tokens")
    costs = seeded.rows(PAGE, "Cost of input")

    assert {(row["time"], row["model"]): row["hit_rate"] for row in hits} == {
        key: approx(hit_rate(calls)) for key, calls in bins.items()
    }
    times = groups(seeded.told(), interval)
    read = {time: sum(call.cached_tokens for call in calls) for time, calls in times.items()}
    assert {row["time"]: (row["fresh"], row["written"], row["read"]) for row in tokens} == {
        time: (sum(call.input_tokens for call in calls) - read[time], 0, read[time]) for time, calls in times.items()
    }
    assert {row["time"]: (row["fresh"], row["written"], row["read"]) for row in costs} == {
        time: (approx(paid_for_input(calls, 0)), 0, approx(paid_for_input(calls, 1))) for time, calls in times.items()
    }


def test_the_least_that_was_left_of_a_limit(seeded: Seeded) -> None:
    least = min(min(requests_left(call), tokens_left(call)) for call in seeded.told())

    assert seeded.row(PAGE, "Least left of a limit") == {"left": approx(least)}
    assert least < 0.1, "the incident of the seed is in the time shown"


def test_what_is_left_now_is_what_the_last_call_was_told(seeded: Seeded) -> None:
    models = groups(seeded.told(), lambda call: call.model)

    rows = seeded.rows(PAGE, "Left of the limits now")

    assert {row["model"] for row in rows} == models.keys()
    for row in rows:
        calls = models[row["model"]]
        last = max(calls, key=lambda call: call.end_ns)
        assert row == {
            "provider": last.provider,
            "model": last.model,
            "requests_left": approx(requests_left(last)),
            "requests": last.remaining_requests,
            "of_requests": 500,
            "tokens_left": approx(tokens_left(last)),
            "tokens": 100_000 + last.remaining_requests * 200,
            "of_tokens": 200_000,
            "lowest": approx(min(min(requests_left(call), tokens_left(call)) for call in calls)),
            "told": truth.instant(last.end_ns),
        }
    scarcest = [min(row["requests_left"], row["tokens_left"]) for row in rows]
    assert scarcest == sorted(scarcest)


def test_headroom_over_time_is_the_lowest_of_each_interval(seeded: Seeded) -> None:
    bins = groups(seeded.told(), lambda call: (interval(call), call.model))

    for title, left in (("requests", requests_left), ("tokens", tokens_left)):
        rows = seeded.rows(PAGE, f"Left of the limit of {title}")
        assert {(row["time"], row["model"]): row["left"] for row in rows} == {
            key: approx(min(left(call) for call in calls)) for key, calls in bins.items()
        }


def test_refused_calls_are_those_answered_with_429(seeded: Seeded) -> None:
    calls = seeded.told()
    refused = [call for call in calls if call.status == 429]

    row = seeded.row(PAGE, "Refused for a limit")
    over_time = seeded.rows(PAGE, "Refused for a limit, by model")
    whose = seeded.rows(PAGE, "Who is refused")

    assert row == {"refused": len(refused), "of_all": approx(len(refused) / len(calls))}
    assert {(each["time"], each["model"]): each["refused"] for each in over_time} == Counter(
        (interval(call), call.model) for call in refused
    )
    among = groups(calls, lambda call: (call.service, call.feature, call.provider, call.model))
    wanted = groups(refused, lambda call: (call.service, call.feature, call.provider, call.model))
    assert {(each["service"], each["feature"], each["provider"], each["model"]) for each in whose} == wanted.keys()
    for each in whose:
        key = (each["service"], each["feature"], each["provider"], each["model"])
        assert (each["refused"], each["of_all"]) == (len(wanted[key]), approx(len(wanted[key]) / len(among[key])))
        by_user = Counter(call.user for call in wanted[key])
        assert by_user[each["user"]] == max(by_user.values())
        ends = sorted(call.end_ns for call in wanted[key])
        assert (each["since"], each["last"]) == (truth.instant(ends[0]), truth.instant(ends[-1]))


def test_retries_are_by_service_and_model(seeded: Seeded) -> None:
    among = groups(seeded.told(), lambda call: (call.service, call.provider, call.model))

    rows = seeded.rows(PAGE, "Retries")

    again = {key: [call for call in calls if call.retries] for key, calls in among.items()}
    assert {(row["service"], row["provider"], row["model"]): row["retries"] for row in rows} == {
        key: len(calls) for key, calls in again.items() if calls
    }
    for row in rows:
        key = (row["service"], row["provider"], row["model"])
        assert row["of_all"] == approx(len(again[key]) / len(among[key]))
        assert (row["failed_again"], row["most"]) == (approx(truth.error_rate(again[key])), 1)


def test_waits_and_gateways_are_read_from_spans(seeded: Seeded) -> None:
    refused = {(interval(call), call.model) for call in seeded.told() if call.status == 429}
    missed = [call for call in seeded.told() if call.span[0] % 5 == 0]

    waits = seeded.rows(PAGE, "Seconds to wait")
    gateway = seeded.rows(PAGE, "Cache of a gateway")
    by_model = seeded.rows(PAGE, "Cache of a gateway by model")

    assert {(row["time"], row["model"]): row["wait"] for row in waits} == dict.fromkeys(refused, 20.0)
    assert {row["time"]: (row["hits"], row["misses"]) for row in gateway} == {
        time: (0, len(calls)) for time, calls in groups(missed, interval).items()
    }
    assert {row.pop("model"): row for row in by_model} == {
        model: {
            "requests": len(calls),
            "hits": 0,
            "hit_rate": 0,
            "hit_seconds": None,
            "miss_seconds": approx(fmean(truth.seconds(calls))),
            "saved": 0,
        }
        for model, calls in groups(missed, lambda call: call.model).items()
    }
