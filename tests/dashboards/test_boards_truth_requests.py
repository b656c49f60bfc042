"""What the page about requests says under each filter, beside the seeded calls; and one trace, as it was sent."""

from collections.abc import Callable
from statistics import fmean
from typing import Any, Final

import pytest

from support import dashboard_store as truth
from support.dashboard_seed import UNPRICED, Call
from support.dashboard_store import DAY, DAY_MS, Choice, Seeded, failed, groups, quantile, spend
from support.grafana import Window

approx = pytest.approx
PAGE = "requests"
BUSY = "user-00"
ELSEWHERE = Window(DAY.start_ms - 400 * DAY_MS, DAY.start_ms - 399 * DAY_MS)
"""A time without calls."""

Keep = Callable[[Call], bool]
FILTERS: Final[dict[str, tuple[Choice, Keep]]] = {
    "none": ({}, lambda call: True),
    "user": ({"user": BUSY}, lambda call: call.user == BUSY),
    "user with an awkward name": ({"user": truth.AWKWARD}, lambda call: call.user == truth.AWKWARD),
    "session": ({"session": "border-2"}, lambda call: call.session == "border-2"),
    "session name": ({"session_name": "triage"}, lambda call: call.session_name == "triage"),
    "path": ({"path": "/research"}, lambda call: call.path == "/research"),
    "path that is written in another way": ({"path": "research/fetch/"}, lambda call: call.path == "/research/fetch"),
    "path and all below": ({"path": "/research/*"}, lambda call: call.path.split("/")[1] == "research"),
    "all paths": ({"path": "/*"}, lambda call: call.session != ""),
    "feature": ({"feature": "triage"}, lambda call: call.feature == "triage"),
    "property": (
        {"property": "usertier", "property_value": "pro"},
        lambda call: call.tier == "pro",
    ),
    "property that some carry": (
        {"property": "Step", "property_value": "research/fetch"},
        lambda call: call.path == "/research/fetch",
    ),
    "prompt": ({"prompt": "chat-prompt"}, lambda call: call.prompt == "chat-prompt"),
    "prompts": (
        {"prompt": ["chat-prompt", "triage-prompt"]},
        lambda call: call.prompt in ("chat-prompt", "triage-prompt"),
    ),
    "ok": ({"status": "ok"}, lambda call: not call.error_type),
    "error": ({"status": "error"}, lambda call: call.error_type != ""),
    "unpriced": ({"unpriced": "1"}, lambda call: call.model == UNPRICED and not call.error_type),
    "several": (
        {"user": BUSY, "feature": "search", "status": "ok", "env": "production", "model": ["gpt-4o", "gpt-4o-mini"]},
        lambda call: (
            call.user == BUSY
            and call.feature == "search"
            and not call.error_type
            and call.environment == "production"
            and call.model in ("gpt-4o", "gpt-4o-mini")
        ),
    ),
}
filtered = pytest.mark.parametrize(("choice", "keep"), list(FILTERS.values()), ids=list(FILTERS))


def change(now: float, before: float) -> object:
    return approx(now / before - 1) if before else None


@filtered
def test_numbers_are_those_of_the_chosen_calls(seeded: Seeded, choice: Choice, keep: Keep) -> None:
    calls, before = seeded.told(keep), seeded.before(keep)

    def said(title: str) -> Any:
        return seeded.row(PAGE, title, choice=choice)

    assert said("Requests") == {"requests": len(calls), "change": change(len(calls), len(before))}
    assert said("Spend") == {"usd": approx(spend(calls)), "change": change(spend(calls), spend(before))}
    assert said("Tokens") == {
        "input": sum(call.input_tokens for call in calls),
        "output": sum(call.output_tokens for call in calls),
    }
    took = truth.seconds(calls)
    assert said("Latency, mean and p95") == {"mean": approx(fmean(took)), "p95": quantile(took, 0.95)}
    people = {"users": len({call.user for call in calls}), "sessions": len({call.session for call in calls})}
    assert said("Users and sessions") == people
    assert calls


@filtered
def test_failed_calls_are_compared_with_the_others_whatever_status_is_chosen(
    seeded: Seeded, choice: Choice, keep: Keep
) -> None:
    if "status" in choice:
        keep = (
            FILTERS["none"][1]
            if len(choice) == 1
            else lambda call: (
                call.user == BUSY
                and call.feature == "search"
                and call.environment == "production"
                and call.model in ("gpt-4o", "gpt-4o-mini")
            )
        )
    calls = seeded.told(keep)
    kinds = groups(failed(calls), lambda call: (call.error_type, call.provider, call.model))

    rate = seeded.row(PAGE, "Error rate", choice=choice)
    since = seeded.rows(PAGE, "Since when?", choice=choice)
    errors = seeded.rows(PAGE, "Which error?", choice=choice)

    assert rate == {"error_rate": approx(truth.error_rate(calls))}
    assert sum(row["error"] for row in since) == len(failed(calls))
    assert sum(row["ok"] for row in since) == len(calls) - len(failed(calls))
    assert {(row["error_type"], row["provider"], row["model"]) for row in errors} == kinds.keys()
    for row in errors:
        of = kinds[row["error_type"], row["provider"], row["model"]]
        last = max(of, key=lambda call: call.end_ns)
        assert (row["failed"], row["users"]) == (len(of), len({call.user for call in of}))
        assert row["statuses"] == ", ".join(sorted({str(call.status) for call in of}))
        assert row["first_failure"] == truth.instant(min(call.end_ns for call in of))
        assert (row["last_failure"], row["trace"]) == (truth.instant(last.end_ns), last.trace.hex())
    for title, name in (("Which users?", "user"), ("Which feature?", "feature")):
        rows = seeded.rows(PAGE, title, choice=choice)
        _check_triage(rows, name, groups(calls, lambda call, name=name: str(getattr(call, name))))  # type: ignore[misc]


def _check_triage(rows: list[dict[str, Any]], name: str, wanted: dict[str, list[Call]]) -> None:
    assert len(rows) == min(len(wanted), 50)
    for row in rows:
        calls = wanted[row[name]]
        ends = [call.end_ns for call in failed(calls)]
        assert row == {
            name: row[name],
            "failed": len(ends),
            "requests": len(calls),
            "error_rate": approx(truth.error_rate(calls)),
            "usd": approx(spend(calls)),
            "p95": quantile(truth.seconds(calls), 0.95),
            "first_failure": truth.instant(min(ends)) if ends else None,
        }
    most = sorted((len(failed(calls)) for calls in wanted.values()), reverse=True)
    assert [row["failed"] for row in rows] == most[:50]


def row_of(call: Call) -> dict[str, object]:
    """A call as the list of calls shows it."""
    well = not call.error_type
    pricing = "failed" if call.error_type else "priced" if call.cost is not None else ""
    return {
        "ended": truth.instant(call.end_ns),
        "trace": call.trace.hex(),
        "span": call.span.hex(),
        "service": call.service,
        "environment": call.environment,
        "operation": "chat",
        "provider": call.provider,
        "model": call.model,
        "response_model": call.model if well else "",
        "input_tokens": call.input_tokens if well else None,
        "output_tokens": call.output_tokens if well else None,
        "cached_tokens": call.cached_tokens,
        "usd": None if call.cost is None else approx(float(call.cost)),
        "seconds": call.duration_ns / 1e9,
        "ttft": None if call.ttft_ns is None else approx(call.ttft_ns / 1e9),
        "status": str(call.status),
        "error_type": call.error_type,
        "error_message": "" if well else f"the provider answered {call.status}",
        "retries": call.retries or None,
        "finish": call.finish if well else "",
        "user": call.user,
        "session": call.session,
        "path": call.path,
        "feature": call.feature,
        "prompt": f"{call.prompt} {call.prompt_version}",
        "pricing": pricing,
    }


@filtered
def test_the_newest_500_calls_are_listed(seeded: Seeded, choice: Choice, keep: Keep) -> None:
    three_days = Window(DAY.end_ms - 3 * DAY_MS, DAY.end_ms)
    calls = sorted(seeded.told(keep, three_days), key=lambda call: -call.end_ns)

    rows = seeded.rows(PAGE, "Calls", three_days, choice=choice)

    for row in rows:
        if row["usd"] is None and not row["error_type"]:
            assert row["pricing"] not in ("priced", "failed", "")
            row["pricing"] = ""
    assert rows == [row_of(call) for call in calls[:500]]
    assert choice or len(calls) > 500


# One trace ---------------------------------------------------------------------------------------------------------


def one(seeded: Seeded) -> list[Call]:
    """The calls of a trace with failed and with priced ones."""
    traces = groups(seeded.told(), lambda call: call.trace).values()
    return next(of for of in traces if len(of) > 3 and failed(of) and spend(of))


@pytest.mark.parametrize("window", [DAY, ELSEWHERE], ids=["of the trace", "of another time"])
def test_the_waterfall_has_every_span_that_was_sent_under_the_names_that_grafana_needs(
    seeded: Seeded, window: Window
) -> None:
    calls = one(seeded)

    rows = seeded.rows(PAGE, "Spans of the trace", window, trace=calls[0].trace.hex())

    root, *children = rows
    needed = {"traceID", "spanID", "parentSpanID", "operationName", "serviceName", "startTime", "duration"}
    optional = {"tags", "serviceTags", "statusCode", "statusMessage", "kind", "logs", "references"}
    assert needed | optional <= root.keys()
    assert len(rows) == len(calls) + 1
    assert (root["spanID"], root["parentSpanID"]) == (calls[0].parent.hex(), "")
    assert root["operationName"] == f"POST /{calls[0].feature}"
    for row, call in zip(children, calls, strict=True):
        assert (row["traceID"], row["spanID"], row["parentSpanID"]) == tuple(
            each.hex() for each in (call.trace, call.span, call.parent)
        )
        assert (row["operationName"], row["serviceName"]) == (f"chat {call.model}", call.service)
        assert row["startTime"] == approx(call.start_ns / 1e6, abs=0.001)  # milliseconds
        assert row["duration"] == approx(call.duration_ns / 1e6)
        assert row["statusCode"] == (2 if call.error_type else 0)
        tags = {tag["key"]: tag["value"] for tag in row["tags"]}
        assert (tags["user.id"], tags["gen_ai.request.model"]) == (call.user, call.model)
        assert {"key": "service.version", "value": call.version} in row["serviceTags"]


def test_calls_of_the_trace_have_their_share_of_its_cost(seeded: Seeded) -> None:
    calls = one(seeded)

    rows = seeded.rows(PAGE, "Model calls of the trace", ELSEWHERE, trace=calls[0].trace.hex())

    assert [(row["span"], row["path"], row["model"], row["status"], row["error_type"]) for row in rows] == [
        (call.span.hex(), call.path, call.model, str(call.status), call.error_type) for call in calls
    ]
    for row, call in zip(rows, calls, strict=True):
        cost = None if call.cost is None else float(call.cost)
        assert row["usd"] == (None if cost is None else approx(cost))
        assert row["share"] == (None if cost is None else approx(cost / spend(calls)))
        assert row["after"] == approx((call.start_ns - calls[0].start_ns) / 1e9)
        assert row["seconds"] == call.duration_ns / 1e9


def test_texts_and_logs_of_the_trace_are_those_that_were_sent(seeded: Seeded) -> None:
    calls = one(seeded)
    trace = calls[0].trace.hex()

    texts = seeded.rows(PAGE, "What was written in the trace", ELSEWHERE, trace=trace)
    logs = seeded.rows(PAGE, "Logs of the trace", ELSEWHERE, trace=trace)

    assert [(row["span"], row["input"], row["output"]) for row in texts] == [
        (call.span.hex(), f"user: What about {call.feature}?", f"assistant: This about {call.feature}.")
        for call in calls
        if not call.error_type
    ]
    said = {call.span.hex(): f"{call.feature} failed: {call.status}" for call in failed(calls)}
    scored = {call.span.hex(): "gen_ai.evaluation.result" for call in calls if call.span in seeded.scores}
    assert {row["spanID"]: row["body"] for row in logs} == said | scored
    assert {row["level"] for row in logs if row["spanID"] in said} == {"ERROR"}


def test_without_a_trace_nothing_is_shown(seeded: Seeded) -> None:
    for title in (
        "Spans of the trace",
        "Model calls of the trace",
        "What was written in the trace",
        "Logs of the trace",
    ):
        assert seeded.rows(PAGE, title) == [], title


def test_what_was_written_last_comes_first(seeded: Seeded) -> None:
    calls = sorted(seeded.told(lambda call: call.user == BUSY), key=lambda call: -call.end_ns)[:50]

    rows = seeded.rows(PAGE, "Prompts and answers", user=BUSY)

    assert [(row["trace"], row["tokens"], row["prompt"], row["answer"]) for row in rows] == [
        (
            call.trace.hex(),
            truth.tokens([call]),
            "" if call.error_type else f"user: What about {call.feature}?",
            "" if call.error_type else f"assistant: This about {call.feature}.",
        )
        for call in calls
    ]
