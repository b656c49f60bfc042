"""What the page about features and properties says, beside what the seeded calls carry."""

from collections.abc import Callable, Iterable

import pytest

from support import dashboard_store as truth
from support.dashboard_seed import Call, workflow_of
from support.dashboard_store import Seeded, first_tokens, groups, interval, priced, quantile, spend

approx = pytest.approx
PAGE = "properties"


def region(call: Call) -> dict[str, str]:
    """What one service says of where it is: some of it misspelt."""
    if call.service != "assistant":
        return {}
    return {"Regoin" if call.user.endswith("7") else "Region": "EU-West" if call.tier == "pro" else "eu-west"}


def carried(call: Call) -> dict[str, str]:
    """All properties of a call, as they are written."""
    workflow = workflow_of(call)
    of_agent = {"Workflow": workflow, "Step": call.path.strip("/")} if workflow else {}
    return {truth.feature_key(call.trace): call.feature, "UserTier": call.tier, **of_agent, **region(call)}


OF = {
    "Feature": lambda call: call.feature,
    "FEATURE": lambda call: call.feature,
    "UserTier": lambda call: call.tier,
    "Workflow": workflow_of,
    "Region": lambda call: region(call).get("Region", ""),
    "Nothing": lambda call: "",
}
"""By the chosen property, in whatever case: its value on a call; empty for none."""
each_property = pytest.mark.parametrize(("name", "value"), list(OF.items()), ids=list(OF))


def change(now: float, before: float) -> object:
    return approx(now / before - 1) if before else None


@each_property
def test_a_property_has_its_values_coverage_spend_and_errors(
    seeded: Seeded, name: str, value: Callable[[Call], str]
) -> None:
    calls, before = seeded.told(), seeded.before(lambda call: value(call) != "")
    tagged = [call for call in calls if value(call)]
    values, values_before = {value(call) for call in tagged}, {value(call) for call in before}

    number = seeded.row(PAGE, "Values of $property", property=name)
    coverage = seeded.row(PAGE, "Calls that have it", property=name)
    usd = seeded.row(PAGE, "Spend that has it", property=name)
    errors = seeded.row(PAGE, "Error rate", kind="stat", property=name)

    assert number == {"number": len(values), "change": change(len(values), len(values_before))}
    assert coverage == {"tagged": approx(len(tagged) / len(calls))}
    assert usd == {"usd": approx(spend(tagged)), "change": change(spend(tagged), spend(before))}
    assert errors == {"error_rate": approx(truth.error_rate(tagged)) if tagged else None}


@each_property
def test_values_have_every_number_and_their_change(seeded: Seeded, name: str, value: Callable[[Call], str]) -> None:
    now, before = groups(seeded.told(), value), groups(seeded.before(), value)

    rows = {row["value"]: row for row in seeded.rows(PAGE, "By value of $property", property=name)}

    assert rows.keys() == now.keys()
    for each, calls in now.items():
        waited = first_tokens(calls)
        assert rows[each] == {
            "value": each,
            "requests": len(calls),
            "share_of_requests": approx(len(calls) / len(seeded.told())),
            "more_requests": change(len(calls), len(before.get(each, ()))),
            "usd": approx(spend(calls)),
            "share_of_spend": approx(spend(calls) / spend(seeded.told())),
            "more_usd": change(spend(calls), spend(before.get(each, ()))),
            "usd_per_request": approx(spend(calls) / len(priced(calls))),
            "tokens_per_request": approx(truth.tokens(calls) / len(calls)),
            "error_rate": approx(truth.error_rate(calls)),
            "p95": quantile(truth.seconds(calls), 0.95),
            "ttft_p95": approx(quantile(waited, 0.95)),
            "users": len({call.user for call in calls}),
            "last_call": truth.instant(max(call.end_ns for call in calls)),
        }


def test_one_value_is_seen_alone(seeded: Seeded) -> None:
    calls = seeded.told(lambda call: call.tier == "pro")

    (row,) = seeded.rows(PAGE, "By value of $property", property="usertier", property_value="pro")
    usd = seeded.row(PAGE, "Spend that has it", property="usertier", property_value="pro")

    assert (row["value"], row["requests"], row["share_of_requests"]) == ("pro", len(calls), 1)
    assert usd["usd"] == approx(spend(calls))


def test_values_over_time(seeded: Seeded) -> None:
    bins = groups(seeded.told(), lambda call: (interval(call), call.tier))
    wanted: dict[str, Callable[[list[Call]], float]] = {
        "Requests": len,
        "Spend": spend,
        "Error rate": truth.error_rate,
        "Latency, p95": lambda calls: quantile(truth.seconds(calls), 0.95),
        "Users": lambda calls: len({call.user for call in calls}),
        "Tokens of a call": lambda calls: truth.tokens(calls) / len(calls),
    }
    for title, value in wanted.items():
        rows = seeded.rows(PAGE, title, kind="timeseries", property="UserTier")
        found = {(row["time"], row["value"]): row[next(reversed(row))] for row in rows}
        assert found == {key: approx(value(calls)) for key, calls in bins.items()}, title


def test_calls_without_it_are_named_by_service_and_environment(seeded: Seeded) -> None:
    places = groups(seeded.told(), lambda call: (call.service, call.environment))

    rows = seeded.rows(PAGE, "Calls without $property", property="Region")

    assert {(row["service"], row["environment"]) for row in rows} == places.keys()
    for row in rows:
        calls = places[row["service"], row["environment"]]
        without = [call for call in calls if "Region" not in region(call)]
        assert (row["untagged"], row["share"]) == (len(without), approx(len(without) / len(calls)))
        assert row["usd"] == approx(spend(without))


def test_features_are_one_whatever_the_case_of_the_name(seeded: Seeded) -> None:
    features = groups(seeded.told(), lambda call: call.feature)

    by_requests = seeded.rows(PAGE, "Features by requests")
    by_spend = seeded.rows(PAGE, "Features by spend")
    rows = {row["feature"]: row for row in seeded.rows(PAGE, "Features")}

    assert {row["feature"]: row["requests"] for row in by_requests} == {
        name: len(calls) for name, calls in features.items()
    }
    assert {row["feature"]: row["usd"] for row in by_spend} == {
        name: approx(spend(calls)) for name, calls in features.items()
    }
    for name, calls in features.items():
        assert len({truth.feature_key(call.trace) for call in calls}) == 2, "written in both ways"
        assert rows.pop(name) == {
            "feature": name,
            "requests": len(calls),
            "share_of_requests": approx(len(calls) / len(seeded.told())),
            "usd": approx(spend(calls)),
            "share_of_spend": approx(spend(calls) / spend(seeded.told())),
            "error_rate": approx(truth.error_rate(calls)),
            "users": len({call.user for call in calls}),
        }
    assert not rows


def test_workflows_and_their_steps(seeded: Seeded) -> None:
    agents = seeded.told(lambda call: workflow_of(call) != "")
    flows = groups(agents, workflow_of)

    rows = {row["workflow"]: row for row in seeded.rows(PAGE, "Workflows")}
    steps = {(row["workflow"], row["step"]): row for row in seeded.rows(PAGE, "Steps of workflows")}

    assert rows.keys() == flows.keys()
    for name, calls in flows.items():
        of_steps = groups(calls, lambda call: call.path.strip("/"))
        assert rows[name] == {
            "workflow": name,
            "all_requests": len(calls),
            "usd": approx(spend(calls)),
            "share": approx(spend(calls) / spend(agents)),
            "all_tokens": truth.tokens(calls),
            "error_rate": approx(truth.error_rate(calls)),
            "number_of_steps": len(of_steps),
        }
        for step, own in of_steps.items():
            assert steps.pop((name, step)) == {
                "workflow": name,
                "step": step,
                "requests": len(own),
                "usd": approx(spend(own)),
                "share": approx(spend(own) / spend(calls)),
                "usd_per_request": approx(spend(own) / len(own)),
                "tokens_per_request": approx(truth.tokens(own) / len(own)),
                "p95": quantile(truth.seconds(own), 0.95),
                "error_rate": approx(truth.error_rate(own)),
                "sessions": len({call.session for call in own}),
            }
    assert not steps


def of_key(calls: Iterable[Call], key: str) -> list[Call]:
    return [call for call in calls if key in carried(call)]


def test_the_catalogue_has_every_name_and_those_that_are_written_alike(seeded: Seeded) -> None:
    calls = seeded.told()
    keys = {key for call in calls for key in carried(call)}

    rows = {row["key"]: row for row in seeded.rows(PAGE, "All properties")}

    assert rows.keys() == keys == {"Feature", "feature", "UserTier", "Workflow", "Step", "Region", "Regoin"}
    alike = {"Feature": "feature", "feature": "Feature", "Region": "Regoin", "Regoin": "Region"}
    for key in keys:
        own = of_key(calls, key)
        assert rows[key] == {
            "key": key,
            "requests": len(own),
            "share": approx(len(own) / len(calls)),
            "number_of_values": len({carried(call)[key] for call in own}),
            "services": ", ".join(sorted({call.service for call in own})),
            "last_call": truth.instant(max(call.end_ns for call in own)),
            "alike": alike.get(key, ""),
        }


def test_values_that_differ_in_case_only_are_found(seeded: Seeded) -> None:
    rows = seeded.rows(PAGE, "Values written in several ways")

    assert {row["key"]: (row["spellings"], row["all_requests"]) for row in rows} == {
        key: ("EU-West, eu-west", len(of_key(seeded.told(), key))) for key in ("Region", "Regoin")
    }
