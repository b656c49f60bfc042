"""What the page about latency says, beside what the seeded calls took."""

from collections.abc import Callable, Sequence
from statistics import fmean

import pytest

from support import dashboard_store as truth
from support.dashboard_seed import HOUR_NS, Call
from support.dashboard_store import DAY, Seeded, first_tokens, groups, interval, quantile, seconds

approx = pytest.approx
PAGE = "latency"
PERCENTILES = "Latency: half, 95 %, 99 % are faster than"


def test_percentiles_are_values_of_real_calls(seeded: Seeded) -> None:
    took, before = seconds(seeded.told()), seconds(seeded.before())
    p50, p95, p99 = (quantile(took, share) for share in (0.5, 0.95, 0.99))

    assert seeded.row(PAGE, PERCENTILES) == {"p50": p50, "p95": p95, "p99": p99}
    assert {p50, p95, p99} <= set(took)
    assert seeded.row(PAGE, "Against the time before") == {
        "p50": approx(p50 / quantile(before, 0.5) - 1),
        "p95": approx(p95 / quantile(before, 0.95) - 1),
    }
    assert seeded.row(PAGE, "P99 by P50") == {"times": approx(p99 / p50)}


def test_slow_calls_and_retries_are_shares_of_all(seeded: Seeded) -> None:
    calls = seeded.told()
    slow, again = sum(took > 10 for took in seconds(calls)), sum(call.retries > 0 for call in calls)

    assert seeded.row(PAGE, "Over 10 s") == {"over_10_s": approx(slow / len(calls))}
    assert seeded.row(PAGE, "Retries") == {"retries": approx(again / len(calls))}
    assert slow
    assert again


def test_percentiles_over_time_are_of_each_interval(seeded: Seeded) -> None:
    bins = groups(seeded.told(), interval)

    rows = {row["time"]: row for row in seeded.rows(PAGE, "Latency")}

    assert rows.keys() == bins.keys()
    for time, calls in bins.items():
        assert rows[time]["p50"] == quantile(seconds(calls), 0.5)
        assert rows[time]["p95"] == quantile(seconds(calls), 0.95)
        assert rows[time]["p99"] == quantile(seconds(calls), 0.99)


def test_models_and_providers_over_time_have_their_own_p95(seeded: Seeded) -> None:
    for title, name in (("P95 by model", "model"), ("P95 by provider", "provider")):
        own = groups(seeded.told(), lambda call, name=name: (call.end_ns // 10**9 // 900, getattr(call, name)))  # type: ignore[misc]
        rows = seeded.rows(PAGE, title)
        assert len(rows) == len(own)
        found = sorted((row[name], row["p95"]) for row in rows)
        assert found == sorted((key[1], quantile(seconds(calls), 0.95)) for key, calls in own.items())


def test_first_tokens_are_those_of_streams(seeded: Seeded) -> None:
    waited, before = first_tokens(seeded.told()), first_tokens(seeded.before())

    row = seeded.row(PAGE, "Time to first token")

    assert row == {
        "p50": approx(quantile(waited, 0.5)),
        "p95": approx(quantile(waited, 0.95)),
        "change": approx(quantile(waited, 0.95) / quantile(before, 0.95) - 1),
    }


def speed(calls: Sequence[Call], *, after_first: bool) -> float:
    """Tokens in a second."""
    waited = sum(call.ttft_ns or 0 for call in calls) if after_first else 0
    return sum(call.output_tokens for call in calls) / ((sum(call.duration_ns for call in calls) - waited) / 1e9)


def test_models_have_their_latency_first_token_and_speed(seeded: Seeded) -> None:
    models = groups(seeded.told(), lambda call: call.model)

    rows = {row["model"]: row for row in seeded.rows(PAGE, "Models")}

    assert rows.keys() == models.keys()
    for model, calls in models.items():
        took, waited = seconds(calls), first_tokens(calls)
        answered = [call for call in calls if not call.error_type]
        assert rows[model] == {
            "model": model,
            "requests": len(calls),
            "mean": approx(fmean(took)),
            "p50": quantile(took, 0.5),
            "p95": quantile(took, 0.95),
            "p99": quantile(took, 0.99),
            "streams": len(waited),
            "ttft_mean": approx(fmean(waited)),
            "ttft_p95": approx(quantile(waited, 0.95)),
            "streamed": approx(speed([call for call in answered if call.ttft_ns], after_first=True)),
            "overall": approx(speed(answered, after_first=False)),
        }


def test_first_tokens_and_speed_over_time_are_by_model(seeded: Seeded) -> None:
    streams = seeded.told(lambda call: call.ttft_ns is not None)
    bins = groups(streams, lambda call: (interval(call), call.model))

    waits = seeded.rows(PAGE, "Time to first token by model")
    speeds = seeded.rows(PAGE, "Output speed by model")

    assert {(row["time"], row["model"]): row["p95"] for row in waits} == {
        key: approx(quantile(first_tokens(calls), 0.95)) for key, calls in bins.items()
    }
    assert {(row["time"], row["model"]): row["per_second"] for row in speeds} == {
        key: approx(speed(calls, after_first=True)) for key, calls in bins.items()
    }


def test_a_mean_stream_waits_and_answers(seeded: Seeded) -> None:
    streams = seeded.told(lambda call: call.ttft_ns is not None)
    bins = groups(streams, interval)

    rows = {row["time"]: row for row in seeded.rows(PAGE, "A mean stream: waiting and answering")}

    assert rows.keys() == bins.keys()
    for time, calls in bins.items():
        assert rows[time]["waiting"] == approx(fmean(first_tokens(calls)))
        assert rows[time]["waiting"] + rows[time]["answering"] == approx(fmean(seconds(calls)))


def test_the_application_is_what_no_model_call_is_in(seeded: Seeded) -> None:
    traces = groups(
        (call for call in seeded.seed.calls if call.start_ns <= DAY.end_ms * 10**6), lambda call: call.trace
    )
    last = {call.trace: call.end_ns for call in sorted(seeded.told(), key=lambda call: call.end_ns)}
    latest = sorted(last, key=lambda trace: -last[trace])[:500]
    first_ns = DAY.start_ms * 10**6 - HOUR_NS
    by_name = groups(
        (call for trace in latest for call in traces[trace] if call.start_ns >= first_ns), lambda call: call.feature
    )

    rows = {row["name"]: row for row in seeded.rows(PAGE, "Application and models")}

    assert rows.keys() == {f"POST /{feature}" for feature in by_name}
    for feature, calls in by_name.items():
        of_traces = groups(calls, lambda call: call.trace).values()
        # Their root begins 5 ms before the first call, and ends with the last, or 5 ms after the first.
        ends = [max(of[0].end_ns + 5_000_000, of[-1].end_ns) for of in of_traces]
        whole = [(end - of[0].start_ns + 5_000_000) / 1e9 for of, end in zip(of_traces, ends, strict=True)]
        inside = [sum(seconds(of)) for of in of_traces]
        row = rows[f"POST /{feature}"]
        assert row["models"] == approx(fmean(inside))
        assert row["application"] == approx(fmean(whole) - fmean(inside))


SIZES = {
    "under 250": (0, 250),
    "250 to 999": (250, 1_000),
    "1,000 to 3,999": (1_000, 4_000),
    "4,000 to 15,999": (4_000, 16_000),
    "16,000 to 63,999": (16_000, 64_000),
}


@pytest.mark.parametrize(("title", "tokens"), [("input", "input_tokens"), ("output", "output_tokens")])
def test_latency_is_by_the_size_of_input_and_output(seeded: Seeded, title: str, tokens: str) -> None:
    answered = [call for call in seeded.told() if not call.error_type]
    wanted = {
        size: [call for call in answered if low <= getattr(call, tokens) < high] for size, (low, high) in SIZES.items()
    }

    rows = seeded.rows(PAGE, f"Latency by size of the {title}")

    assert [(row[tokens], row["p50"], row["p95"]) for row in rows] == [
        (size, quantile(seconds(calls), 0.5), quantile(seconds(calls), 0.95)) for size, calls in wanted.items() if calls
    ]


def test_traits_of_slow_calls_are_compared_with_those_of_all(seeded: Seeded) -> None:
    calls = seeded.told()
    bound = quantile(seconds(calls), 0.95)
    slow = [call for call in calls if call.duration_ns / 1e9 >= bound]
    of: dict[str, Callable[[Call], str]] = {
        "model": lambda call: call.model,
        "provider": lambda call: call.provider,
        "environment": lambda call: call.environment,
        "service": lambda call: call.service,
        "feature": lambda call: call.feature,
        "user tier": lambda call: call.tier,
        "prompt": lambda call: call.prompt,
        "answer": lambda call: "streamed" if call.ttft_ns is not None else "not streamed",
        "retry": lambda call: "yes" if call.retries else "no",
    }

    rows = seeded.rows(PAGE, "What slow calls have in common")

    assert len([row for row in rows if row["what"] in of]) > 5
    for row in rows:
        if (trait := of.get(row["what"])) is None:
            continue
        share = sum(trait(call) == row["value"] for call in slow) / len(slow)
        among_all = sum(trait(call) == row["value"] for call in calls) / len(calls)
        assert row["slow"] == sum(trait(call) == row["value"] for call in slow)
        assert (row["of_slow"], row["of_all"]) == (approx(share), approx(among_all))
        assert row["times"] == approx(share / among_all)
    stands_out = [row["of_slow"] - row["of_all"] for row in rows]
    assert stands_out == sorted(stands_out, reverse=True)


def test_the_slowest_calls_come_first(seeded: Seeded) -> None:
    slowest = sorted(seeded.told(), key=lambda call: -call.duration_ns)[:100]

    rows = seeded.rows(PAGE, "Slowest calls")

    # The borderers took equally long: which of them comes first is open.
    assert [row["seconds"] for row in rows] == seconds(slowest)
    assert {(row["trace"], row["user"], row["ended"]) for row in rows} == {
        (call.trace.hex(), call.user, truth.instant(call.end_ns)) for call in slowest
    }
    assert sorted(row["usd"] for row in rows if row["usd"] is not None) == [
        approx(usd) for usd in sorted(float(call.cost) for call in slowest if call.cost is not None)
    ]
