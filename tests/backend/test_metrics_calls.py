"""Call metrics: exact values, bounded label sets, and nothing that names a person."""

import json
import math
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from support.backend_process import samples
from support.memory_store import MemoryStore
from tokentrail.backend.correction import Correction
from tokentrail.backend.metrics import capped, scrapers
from tokentrail.backend.metrics.registry import Metrics
from tokentrail.backend.metrics.snapshots import Snapshots
from tokentrail.backend.row import Row
from tokentrail.semconv import metrics as names

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND
CALL = {
    "service_name": "shop",
    "deployment_environment_name": "prod",
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "openai",
    "gen_ai_request_model": "gpt-4o",
}


def a_row(**fields: Any) -> Row:
    values: dict[str, Any] = {
        "time_ns": NOW - SECOND,
        "trace_id": "1" * 32,
        "span_id": "2" * 16,
        "parent_span_id": "",
        "service": "shop",
        "environment": "prod",
        "kind": "llm",
        "operation": "chat",
        "provider": "openai",
        "request_model": "gpt-4o",
        "response_model": "",
        "server_address": "",
        "duration_ns": SECOND,
        **fields,
    }
    return Row(**values)


def scrape(*batches: list[Row], accept: str = "") -> list[tuple[str, dict[str, str], float]]:
    metrics = Metrics("1.2.3")
    for batch in batches:
        metrics.calls.record(batch, NOW)
    return samples(metrics.expose(accept)[0].decode())


def value_of(scraped: list[tuple[str, dict[str, str], float]], name: str, **labels: str) -> float | None:
    found = [value for sample, own, value in scraped if sample == name and labels.items() <= own.items()]
    return sum(found) if found else None


def test_a_batch_adds_up_in_every_counter() -> None:
    priced = a_row(
        input_tokens=100,
        output_tokens=20,
        cache_read_tokens=60,
        cache_write_tokens=5,
        reasoning_tokens=7,
        cost_usd=Decimal("0.25"),
        pricing_status="priced",
    )
    failed = a_row(error_type="429", pricing_status="failed", duration_ns=SECOND // 2)

    scraped = scrape([priced, failed], [priced])

    assert value_of(scraped, "tokentrail_requests_total", **CALL, outcome="ok") == 2
    assert value_of(scraped, "tokentrail_requests_total", **CALL, outcome="error") == 1
    assert value_of(scraped, "tokentrail_request_errors_total", **CALL, error_type="429") == 1
    counts = {"input": 200, "output": 40, "cache_read": 120, "cache_write": 10, "reasoning": 14}
    for token_type, count in counts.items():
        assert value_of(scraped, "tokentrail_tokens_total", **CALL, gen_ai_token_type=token_type) == count
    assert value_of(scraped, "tokentrail_cost_usd_total", **CALL) == 0.5
    assert value_of(scraped, "tokentrail_unpriced_requests_total", **CALL, reason="failed") == 1
    assert value_of(scraped, "tokentrail_request_duration_seconds_count", **CALL, outcome="ok") == 2
    assert value_of(scraped, "tokentrail_request_duration_seconds_sum", **CALL, outcome="error") == 0.5


def test_error_and_token_series_are_there_at_zero_before_the_first_error() -> None:
    scraped = scrape([a_row()])

    assert value_of(scraped, "tokentrail_requests_total", **CALL, outcome="error") == 0
    assert value_of(scraped, "tokentrail_tokens_total", **CALL, gen_ai_token_type="reasoning") == 0
    assert value_of(scraped, "tokentrail_cost_usd_total", **CALL) == 0


def test_latency_buckets_hold_ten_seconds_exactly() -> None:
    scraped = scrape([a_row(duration_ns=10 * SECOND), a_row(duration_ns=10 * SECOND + 1)])

    bounds = [own["le"] for name, own, _ in scraped if name == "tokentrail_request_duration_seconds_bucket"]
    assert [float(bound) for bound in bounds] == [
        *(0.01 * 2**n for n in range(10)),
        10.0,
        *(0.01 * 2**n for n in range(11, 14)),
        math.inf,
    ]
    assert value_of(scraped, "tokentrail_request_duration_seconds_bucket", **CALL, le="10.0") == 1


def test_first_token_and_first_chunk_are_of_streams_only() -> None:
    stream = a_row(stream=True, ttft_ns=SECOND // 2, time_to_first_chunk_ns=SECOND // 4)

    scraped = scrape([stream, a_row(ttft_ns=SECOND), a_row()])

    assert value_of(scraped, "tokentrail_time_to_first_token_seconds_count", **CALL) == 1
    assert value_of(scraped, "tokentrail_time_to_first_token_seconds_sum", **CALL) == 0.5
    assert value_of(scraped, "tokentrail_time_to_first_chunk_seconds_sum", **CALL) == 0.25


def test_calls_that_ended_long_ago_are_counted_as_late_only() -> None:
    old = a_row(time_ns=NOW - (names.LATE_AFTER_S + 2) * SECOND)
    long_running = a_row(time_ns=NOW - 3600 * SECOND, duration_ns=3599 * SECOND)

    scraped = scrape([old, long_running])

    assert value_of(scraped, "tokentrail_late_spans_total") == 1
    assert value_of(scraped, "tokentrail_requests_total", outcome="ok") == 1


def test_label_sets_are_capped_folded_and_counted() -> None:
    rows = [a_row(request_model=f"m{i}") for i in range(names.MAX_LABEL_SETS + 5)]

    scraped = scrape(rows)

    assert value_of(scraped, "tokentrail_cost_usd_total", gen_ai_request_model=names.OTHER) == 0
    costs = [own for name, own, _ in scraped if name == "tokentrail_cost_usd_total"]
    assert len(costs) == names.MAX_LABEL_SETS + 1
    assert value_of(scraped, "tokentrail_metric_overflow_total", metric="tokentrail_cost_usd_total") == 5
    assert value_of(scraped, "tokentrail_requests_total") == len(rows), "folded calls are still counted"


def test_label_sets_stay_bounded_whatever_label_varies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capped, "_FOLDED_HEADROOM", 10)
    rows = [a_row(service=f"s{i}", request_model=f"m{i}") for i in range(names.MAX_LABEL_SETS + 100)]

    scraped = scrape(rows)

    costs = [own for name, own, _ in scraped if name == "tokentrail_cost_usd_total"]
    assert len(costs) == names.MAX_LABEL_SETS + 10 + 1
    assert value_of(scraped, "tokentrail_cost_usd_total", service_name=names.OTHER) == 0


def test_no_label_names_a_person_a_session_or_a_trace() -> None:
    row = a_row(
        user_id="USER",
        session_id="SESSION",
        session_path="/PATH",
        session_name="NAME",
        trace_id="TRACE",
        response_model="RESPONSE",
        server_address="HOST",
        prompt_name="PROMPT",
        properties={"KEY": "VALUE"},
        conversation_id="CONVERSATION",
        error_type="E",
        error_message="MESSAGE",
        stream=True,
        ttft_ns=1,
    )

    text = str(scrape([row]))

    for word in ("USER", "SESSION", "PATH", "NAME", "TRACE", "RESPONSE", "HOST", "PROMPT", "KEY", "VALUE", "MESSAGE"):
        assert word not in text
    labels = {label for _, own, _ in scrape([row]) for label in own}
    assert labels <= {*names.CALL_LABELS, "outcome", "error_type", "gen_ai_token_type", "reason", "le", "version"}


def test_long_and_odd_label_values_are_exposed_safely() -> None:
    metrics = Metrics("1")
    metrics.calls.record([a_row(request_model='a"b\\c\nd' + "x" * 500)], NOW)

    text = metrics.expose()[0].decode()

    assert '\\"b\\\\c\\nd' in text
    assert "x" * names.MAX_LABEL_CHARS not in text


def test_every_metric_name_is_a_constant_and_starts_with_the_prefix() -> None:
    constants = {
        value for name, value in vars(names).items() if isinstance(value, str) and value.startswith("tokentrail_")
    }
    metrics = Metrics("1")
    metrics.own.watch_queue(lambda: 0, lambda: 0, 1, 1)
    metrics.own.watch_price_file(lambda: True, lambda: 0.0)
    metrics.own.watch_journal(lambda: 0, 1)
    metrics.own.watch_keys_file(lambda: True, lambda: 0.0)
    metrics.own.watch_tls_files(lambda: True, lambda: 0.0)
    metrics.own.answered("http", "200")
    metrics.calls.record([a_row(stream=True, ttft_ns=1, time_to_first_chunk_ns=1, error_type="e")], NOW)

    text = metrics.expose()[0].decode()

    typed = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE") and "_created" not in line]
    # What the alerts say has a collector, and tests, of its own.
    assert set(typed) == {name for name in constants if not name.startswith("tokentrail_alert")}


def test_prometheus_gets_openmetrics_and_a_person_gets_plain_text() -> None:
    metrics = Metrics("1")

    for_prometheus = metrics.expose("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    for_a_person = metrics.expose("*/*")

    assert for_prometheus[1].startswith("application/openmetrics-text; version=1.0.0")
    assert for_prometheus[0].endswith(b"# EOF\n")
    assert for_a_person[1].startswith("text/plain; version=0.0.4")


def corrected(old_usd: str | None, new_usd: str, **fields: Any) -> Correction:
    old = a_row(cost_usd=None if old_usd is None else Decimal(old_usd), **fields)
    return Correction(old, replace(old, cost_usd=Decimal(new_usd)))


def test_corrections_are_counted_by_direction_and_leave_the_cost_alone() -> None:
    metrics = Metrics("1.2.3")
    metrics.calls.record([a_row(cost_usd=Decimal("0.5"), pricing_status="priced")], NOW)

    metrics.calls.corrected([corrected("0.5", "0.25"), corrected("1", "1.75"), corrected(None, "2", service="x")])

    scraped = samples(metrics.expose()[0].decode())
    correction = "tokentrail_cost_correction_usd_total"
    assert value_of(scraped, "tokentrail_cost_usd_total", **CALL) == 0.5
    assert value_of(scraped, correction, **CALL, direction="decrease") == 0.25
    assert value_of(scraped, correction, **CALL, direction="increase") == 0.75
    assert value_of(scraped, correction, service_name="x", direction="increase") == 2
    assert value_of(scraped, "tokentrail_corrected_requests_total", **CALL) == 2
    assert value_of(scraped, "tokentrail_corrected_requests_total", service_name="x") == 1


# For Prometheus servers -------------------------------------------------------------------------------------------

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def requests_seen(metrics: Metrics, scraper: str) -> dict[str, float]:
    """Successful requests by model, as `scraper` sees them now."""
    found = samples(metrics.expose("", scraper)[0].decode())
    return {
        own["gen_ai_request_model"]: value
        for name, own, value in found
        if name == "tokentrail_requests_total" and own["outcome"] == "ok"
    }


def test_each_prometheus_sees_a_new_series_at_zero_once() -> None:
    metrics = Metrics("1")
    assert requests_seen(metrics, "one") == requests_seen(metrics, "two") == {}

    metrics.calls.record([a_row(), a_row()], NOW)
    first, second = requests_seen(metrics, "one"), requests_seen(metrics, "one")
    metrics.calls.record([a_row(), a_row(request_model="new")], NOW)

    assert (first, second) == ({"gpt-4o": 0}, {"gpt-4o": 2})
    assert requests_seen(metrics, "one") == {"gpt-4o": 3, "new": 0}
    assert requests_seen(metrics, "two") == {"gpt-4o": 0, "new": 0}, "it has not come since either was made"
    assert requests_seen(metrics, "two") == {"gpt-4o": 3, "new": 1}


def test_a_person_sees_what_is_there() -> None:
    metrics = Metrics("1")
    metrics.calls.record([a_row()], NOW)

    assert requests_seen(metrics, "") == {"gpt-4o": 1}


def test_a_prometheus_that_comes_late_does_not_take_old_calls_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics("1")
    metrics.calls.record([a_row()], NOW)
    later = time.monotonic() + scrapers.UNKNOWN_SCRAPER_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)

    assert requests_seen(metrics, "late") == {"gpt-4o": 1}


def test_counters_that_go_on_from_an_earlier_process_are_no_new_series() -> None:
    before, after = Metrics("1"), Metrics("1")
    before.calls.record([a_row(stream=True, ttft_ns=SECOND), a_row(error_type="429")], NOW)

    after.calls.restore(json.loads(json.dumps(before.calls.state())))

    assert requests_seen(after, "one") == {"gpt-4o": 1}
    assert after.calls.state() == before.calls.state()


def restarted(before: Metrics) -> Metrics:
    """The process after `before`, which had saved what it knows."""
    after = Metrics("1")
    state, counted_ns = before.calls.snapshot()
    after.calls.restore(json.loads(json.dumps(state)), counted_ns)
    return after


def test_a_series_that_was_seen_does_not_fall_to_zero_after_a_restart() -> None:
    before = Metrics("1")
    before.calls.record([a_row()], NOW)
    requests_seen(before, "one")
    assert requests_seen(before, "one") == {"gpt-4o": 1}

    after = restarted(before)

    assert requests_seen(after, "one") == {"gpt-4o": 1}


def test_a_series_that_was_not_seen_yet_is_at_zero_first_after_a_restart_too() -> None:
    before = Metrics("1")
    requests_seen(before, "one")
    requests_seen(before, "two")
    before.calls.record([a_row(stream=True, ttft_ns=SECOND)], NOW)
    requests_seen(before, "two")

    after = restarted(restarted(before))

    first_tokens = samples(after.expose("", "one")[0].decode())
    assert value_of(first_tokens, "tokentrail_time_to_first_token_seconds_count") == 0
    assert requests_seen(after, "one") == {"gpt-4o": 1}
    assert requests_seen(after, "two") == {"gpt-4o": 1}
    assert requests_seen(after, "three") == {"gpt-4o": 0}


def test_what_is_new_to_a_scraper_is_announced_once() -> None:
    metrics = Metrics("1")
    announced: list[str] = []
    metrics.before_news = lambda: announced.append("news")

    requests_seen(metrics, "one")
    metrics.calls.record([a_row()], NOW)
    requests_seen(metrics, "")
    requests_seen(metrics, "one")
    metrics.calls.record([a_row()], NOW)
    requests_seen(metrics, "one")

    assert announced == ["news"]


def test_a_correction_that_no_call_follows_is_saved() -> None:
    metrics, store = Metrics("1"), MemoryStore()
    snapshots = Snapshots(store, metrics.calls)
    metrics.calls.record([a_row()], NOW)
    snapshots.save()
    snapshots.save()
    assert len(store.snapshots) == 1, "nothing came after the first"

    metrics.calls.corrected([corrected("1", "1.75")])
    snapshots.save()

    assert len(store.snapshots) == 2
    state, taken_ns = store.snapshots[1]
    assert taken_ns == NOW
    assert json.loads(state)["families"]["tokentrail_corrected_requests_total"][0][-1] == 1


def test_a_state_of_other_labels_or_buckets_is_left_out() -> None:
    metrics = Metrics("1")

    metrics.calls.restore(
        {
            "families": {
                names.REQUESTS: [["too", "few", 3.0]],
                names.TIME_TO_FIRST_TOKEN: [["a", "b", "c", "d", "e", 1.0, [1, 2]]],
                "tokentrail_no_more_total": [["a", 1.0]],
            }
        }
    )

    assert requests_seen(metrics, "") == {}


def test_the_number_of_scrapers_that_are_remembered_is_bounded() -> None:
    metrics = Metrics("1")

    for number in range(scrapers.MAX_SCRAPERS + 10):
        metrics.expose("", f"scraper {number}")

    assert len(metrics.calls.scrapers) == scrapers.MAX_SCRAPERS


def test_buckets_carry_the_trace_of_their_latest_call() -> None:
    metrics = Metrics("1")
    metrics.calls.record(
        [a_row(trace_id="a" * 32, duration_ns=3 * SECOND), a_row(trace_id="b" * 32, duration_ns=3 * SECOND)], NOW
    )

    text = metrics.expose(OPENMETRICS)[0].decode()

    (line,) = (line for line in text.splitlines() if 'le="5.12"' in line and "request_duration" in line)
    assert line.split(" # ")[1] == f'{{trace_id="{"b" * 32}"}} 3.0 {NOW // SECOND}.0'
    assert " # " not in metrics.expose("")[0].decode()
