"""What the page about prompts and quality says, beside the seeded calls and the evaluations that were sent."""

from collections import Counter
from collections.abc import Iterable
from statistics import fmean
from typing import Any

import pytest

from support import dashboard_store as truth
from support.dashboard_seed import HOUR_NS, Call
from support.dashboard_store import DAY, Seeded, groups, interval, priced, quantile, spend

approx = pytest.approx
PAGE = "prompts"
CHOSEN = "search-prompt"


def answered(calls: Iterable[Call]) -> list[Call]:
    return [call for call in calls if not call.error_type]


def cut(calls: Iterable[Call]) -> list[Call]:
    return [call for call in answered(calls) if call.finish == "length"]


def mean_output(calls: Iterable[Call]) -> float:
    return fmean(call.output_tokens for call in answered(calls))


@pytest.mark.parametrize("prompt", ["", CHOSEN])
def test_how_answers_end_and_how_long_they_are(seeded: Seeded, prompt: str) -> None:
    calls = [call for call in seeded.told() if prompt in ("", call.prompt)]
    before = [call for call in seeded.before() if prompt in ("", call.prompt)]
    last = [max(of, key=lambda call: call.end_ns) for of in groups(calls, lambda call: call.session).values()]

    def said(title: str) -> Any:
        return seeded.row(PAGE, title, prompt=prompt)

    assert said("Calls with a prompt") == {"named": 1}
    assert said("Answers cut off") == {"truncated": approx(len(cut(calls)) / len(answered(calls)))}
    assert said("Answers withheld") == {"withheld": 0}
    change = approx(mean_output(calls) / mean_output(before) - 1)
    assert said("Mean answer") == {"mean": approx(mean_output(calls)), "change": change}
    assert said("Sessions that ended well") == {"well": approx(1 - truth.error_rate(last))}
    assert cut(calls)


def test_versions_of_a_prompt_are_compared_with_the_one_before(seeded: Seeded) -> None:
    versions = groups(seeded.told(), lambda call: (call.prompt, call.prompt_version))

    rows = {(row["prompt"], row["version"]): row for row in seeded.rows(PAGE, "Prompts and their versions")}

    assert rows.keys() == versions.keys()
    assert {version for _, version in versions} == {"1", "2"}
    for (prompt, version), calls in versions.items():
        per_request = spend(calls) / len(priced(calls))
        mean_input = fmean(call.input_tokens for call in answered(calls))
        changes = dict.fromkeys(("cost_change", "input_change", "output_change"))
        if version == "2":
            older = versions[prompt, "1"]
            changes = {
                "cost_change": approx(per_request / (spend(older) / len(priced(older))) - 1),
                "input_change": approx(mean_input / fmean(call.input_tokens for call in answered(older)) - 1),
                "output_change": approx(mean_output(calls) / mean_output(older) - 1),
            }
        assert rows[prompt, version] == changes | {
            "prompt": prompt,
            "version": version,
            "first_call": truth.instant(min(call.end_ns for call in calls)),
            "requests": len(calls),
            "users": len({call.user for call in calls}),
            "usd": approx(spend(calls)),
            "per_request": approx(per_request),
            "mean_input": approx(mean_input),
            "mean_output": approx(mean_output(calls)),
            "p95": quantile(truth.seconds(calls), 0.95),
            "error_rate": approx(truth.error_rate(calls)),
            "truncated": approx(len(cut(calls)) / len(answered(calls))),
        }


def test_versions_over_time(seeded: Seeded) -> None:
    bins = groups(seeded.told(), lambda call: (interval(call), f"{call.prompt} @ {call.prompt_version}"))

    requests = seeded.rows(PAGE, "Requests by prompt version")
    costs = seeded.rows(PAGE, "Cost per request by prompt version")
    inputs = seeded.rows(PAGE, "Mean input tokens by prompt version")

    assert {(row["time"], row["prompt"]): row["requests"] for row in requests} == {
        key: len(calls) for key, calls in bins.items()
    }
    assert {(row["time"], row["prompt"]): row["usd"] for row in costs} == {
        key: approx(spend(calls) / len(priced(calls))) for key, calls in bins.items() if priced(calls)
    }
    assert {(row["time"], row["prompt"]): row["tokens"] for row in inputs} == {
        key: approx(fmean(call.input_tokens for call in answered(calls)))
        for key, calls in bins.items()
        if answered(calls)
    }


def test_sessions_of_a_prompt_and_what_a_success_costs(seeded: Seeded) -> None:
    prompts = groups(seeded.told(), lambda call: call.prompt)

    rows = {row["prompt"]: row for row in seeded.rows(PAGE, "Prompts and the success of sessions")}

    assert rows.keys() == prompts.keys()
    for prompt, calls in prompts.items():
        sessions = groups(calls, lambda call: call.session).values()
        well = sum(not max(of, key=lambda call: call.end_ns).error_type for of in sessions)
        assert rows[prompt] == {
            "prompt": prompt,
            "sessions": len(sessions),
            "well": approx(well / len(sessions)),
            "requests_each": approx(len(calls) / len(sessions)),
            "usd_each": approx(spend(calls) / len(sessions)),
            "usd_per_success": approx(spend(calls) / well),
        }


def test_reasons_over_time_have_every_call(seeded: Seeded) -> None:
    rows = seeded.rows(PAGE, "How answers ended")

    assert {(row["time"], row["reason"]): row["requests"] for row in rows} == Counter(
        (interval(call), "not told" if call.error_type else call.finish) for call in seeded.told()
    )


def test_models_over_time_are_cut_off_and_talk(seeded: Seeded) -> None:
    bins = groups(answered(seeded.told()), lambda call: (interval(call), call.model))

    off = seeded.rows(PAGE, "Answers cut off, by model")
    lengths = seeded.rows(PAGE, "Mean output tokens by model")

    assert {(row["time"], row["model"]): row["truncated"] for row in off} == {
        key: approx(len(cut(calls)) / len(calls)) for key, calls in bins.items()
    }
    assert {(row["time"], row["model"]): row["tokens"] for row in lengths} == {
        key: approx(mean_output(calls)) for key, calls in bins.items()
    }


def test_answers_of_a_model_are_compared_with_the_week_before(seeded: Seeded) -> None:
    start_ns = DAY.start_ms * 10**6
    models = groups(answered(seeded.told()), lambda call: call.model)

    rows = {row["model"]: row for row in seeded.rows(PAGE, "Length of answers by model")}

    assert rows.keys() == models.keys()
    for model, calls in models.items():
        week = [
            call
            for call in answered(seeded.seed.calls)
            if call.model == model and start_ns - 7 * 24 * HOUR_NS <= call.end_ns < start_ns
        ]
        lengths = [call.output_tokens for call in calls]
        assert rows[model] == {
            "model": model,
            "requests": len(calls),
            "mean": approx(fmean(lengths)),
            "p50": quantile(lengths, 0.5),
            "p95": quantile(lengths, 0.95),
            "mean_before": approx(mean_output(week)),
            "change": approx(fmean(lengths) / mean_output(week) - 1),
            "truncated": approx(len(cut(calls)) / len(calls)),
        }


def test_where_answers_are_cut_off(seeded: Seeded) -> None:
    places = groups(answered(seeded.told()), lambda call: (call.feature, call.prompt, call.model))

    rows = seeded.rows(PAGE, "Where answers are cut off")

    assert {
        (row["feature"], row["prompt"], row["model"]): (row["cut"], row["share"], row["longest"]) for row in rows
    } == {
        key: (len(cut(calls)), approx(len(cut(calls)) / len(calls)), max(call.output_tokens for call in cut(calls)))
        for key, calls in places.items()
        if cut(calls)
    }


# Evaluations, each at the moment its call ended --------------------------------------------------------------------


def scored(seeded: Seeded) -> list[Call]:
    return seeded.told(lambda call: call.span in seeded.scores)


def test_evaluations_belong_to_the_chosen_calls_or_to_others(seeded: Seeded) -> None:
    of_prompt = [call for call in scored(seeded) if call.prompt == CHOSEN]
    of_project = [call for call in scored(seeded) if truth.project_of(call)]

    number = len(scored(seeded))
    assert seeded.row(PAGE, "Evaluations") == {"evaluations": number, "others": 0}
    others = number - len(of_prompt)
    assert seeded.row(PAGE, "Evaluations", prompt=CHOSEN) == {"evaluations": len(of_prompt), "others": others}
    chosen = seeded.row(PAGE, "Evaluations", project=truth.PROJECT)
    assert chosen == {"evaluations": len(of_project), "others": 0}
    assert min(len(of_prompt), len(of_project), others) > 0


def test_scores_are_those_of_the_prompt_and_model_of_the_call(seeded: Seeded) -> None:
    wanted = groups(scored(seeded), lambda call: (call.prompt, call.prompt_version, call.model))

    rows = {(row["prompt"], row["version"], row["model"]): row for row in seeded.rows(PAGE, "Scores by prompt")}

    assert rows.keys() == wanted.keys()
    for key, calls in wanted.items():
        scores = [seeded.scores[call.span] for call in calls]
        labels = Counter("pass" if score > 0.5 else "fail" for score in scores)
        row = rows[key]
        assert (row["evaluation"], row["evaluations"]) == ("helpfulness", len(calls))
        assert (row["mean"], row["p10"], row["lowest"]) == (approx(fmean(scores)), quantile(scores, 0.1), min(scores))
        assert sorted(row["labels"].split(", ")) == sorted(f"{label} {times}" for label, times in labels.items())


def test_scores_over_time_are_means_of_each_interval(seeded: Seeded) -> None:
    bins = groups(scored(seeded), interval)
    versions = groups(scored(seeded), lambda call: (interval(call), f"{call.prompt} @ {call.prompt_version}"))

    rows = seeded.rows(PAGE, "Mean score over time")
    by_version = seeded.rows(PAGE, "Mean score by prompt version")

    assert {row["time"]: row["score"] for row in rows} == {
        time: approx(fmean(seeded.scores[call.span] for call in calls)) for time, calls in bins.items()
    }
    assert {(row["time"], row["prompt"].removeprefix("helpfulness: ")): row["score"] for row in by_version} == {
        key: approx(fmean(seeded.scores[call.span] for call in calls)) for key, calls in versions.items()
    }


def test_the_lowest_scores_lead_to_their_traces(seeded: Seeded) -> None:
    lowest = sorted(scored(seeded), key=lambda call: (seeded.scores[call.span], -call.end_ns))[:30]

    rows = seeded.rows(PAGE, "Lowest scores")

    assert [(row["score"], row["trace"], row["prompt"], row["model"], row["feature"]) for row in rows] == [
        (seeded.scores[call.span], call.trace.hex(), call.prompt, call.model, call.feature) for call in lowest
    ]
