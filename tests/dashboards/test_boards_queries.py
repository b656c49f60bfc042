"""Every query of every dashboard, asked where Grafana asks it: `/clickhouse` of a real backend, a real Prometheus.

Numbers are compared with what the seeded calls add up to in plain Python.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from support import grafana
from support.dashboard_seed import UNPRICED, Call
from support.dashboard_stack import Stack, stack
from support.grafana import Window
from support.prometheus import MissingError

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "dashboards" / "grafana" / "dashboards").glob("*.json"))
DASHBOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text("utf-8")) for path in FILES}
HOURS = 6
MAY_BE_EMPTY: Mapping[tuple[str, ...], str] = {
    ("cost", "Corrected costs"): "no cost of the seed was corrected",
    ("requests", "Which error?", "specific"): "calls that went well are chosen",
    (
        "cache-limits",
        "Left, as the alert sees it",
    ): "the alert looks at two minutes, which may have no call of production",
}
"""Panels about what does not happen in the seeded traffic, with the reason."""
SOURCES = {
    "prometheus": ["tokentrail-prometheus"],
    "clickhouse": ["tokentrail-clickhouse"],
    "property": ["Feature"],
    "offset": ["1"],
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    try:
        with stack(tmp_path_factory.mktemp("stack")) as found:
            yield found
    except MissingError as error:
        pytest.skip(str(error))


def window(found: Stack) -> Window:
    end_ms = found.seed.now_ns // 10**6
    return Window(end_ms - HOURS * 3_600_000, end_ms, 300)


def chosen(found: Stack, name: str, mode: str) -> dict[str, list[str]]:
    """Variables: all of them All, or each with a value, those of one call of the seed.

    Where one session or one trace is shown, it is chosen in both: one that has an error, and with that a log record.
    """
    start_ns = found.seed.now_ns - HOURS * 3_600 * 10**9
    late = [call for call in found.seed.calls if call.start_ns > start_ns and call.path != "/"]
    broken = {call.trace for call in late if call.error_type}
    one = [call for call in late if call.trace in broken and not call.error_type][-1]
    some = {
        **SOURCES,
        **{box: [""] for box in ("user", "session", "feature", "property_value")},
        "trace": [one.trace.hex()],
    }
    if mode == "all":
        return {**some, "session": [one.session]} if name == "sessions" else some
    return {
        **some,
        "job": ["tokentrail"],
        "env": [one.environment],
        "service": [one.service],
        "provider": ["openai", "anthropic"],
        "model": ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", UNPRICED],
        "operation": ["chat"],
        "project": ["default"],
        "user": [one.user],
        "session": [one.session],
        "session_name": [one.session_name],
        "path": [f"{one.path}/*"],
        "prompt": [one.prompt],
        "feature": [one.feature],
        "property_value": [one.feature],
        "status": ["ok"],
    }


def each_query() -> Iterator[Any]:
    for name, dashboard in DASHBOARDS.items():
        for panel in grafana.panels(dashboard):
            for target in panel.get("targets") or ():
                for mode in ("all", "specific"):
                    title = f"{name}-{panel['id']}-{panel['title']}-{target['refId']}-{mode}"
                    yield pytest.param(name, panel, target, mode, id=title.replace(" ", "_"))


@pytest.mark.parametrize(("name", "panel", "target", "mode"), list(each_query()))
def test_a_panel_has_an_answer(running: Stack, name: str, panel: Any, target: Any, mode: str) -> None:
    choice = chosen(running, name, mode)
    empty = MAY_BE_EMPTY.get((name, panel["title"]), "") or MAY_BE_EMPTY.get((name, panel["title"], mode), "")

    if "expr" in target:
        samples = _samples(running, name, target, choice)
        assert samples or empty, target["expr"]
        assert all(math.isfinite(value) for value in samples)
        return
    columns, rows = running.sql(grafana.sql(target["rawSql"], window(running), choice))

    names = [column["name"] for column in columns]
    assert rows or empty
    assert len(set(names)) == len(names)
    wanted = {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]}
    if panel["type"] in ("table", "stat"):
        assert wanted <= set(names), "a field is dressed that the query does not have"
    if panel["type"] == "table":
        shown = [each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]]
        assert [each for each in names if each in shown] == [each for each in shown if each in names]
    if target["queryType"] == "timeseries" and panel["type"] == "timeseries":
        assert names[0] == "time"
        assert "DateTime" in columns[0]["type"]
    for row in rows:
        for column in columns if panel["type"] != "logs" else ():  # labels of a record are a map
            _check(row[column["name"]], column["type"])


def _check(value: object, kind: str) -> None:
    """Numbers that JavaScript and Grafana can show."""
    assert not kind.startswith(("Decimal", "Nullable(Decimal", "UInt128", "Nullable(UInt128", "Map(", "Tuple(")), kind
    if isinstance(value, float):
        assert math.isfinite(value)


def _samples(found: Stack, name: str, target: Any, choice: Mapping[str, list[str]]) -> list[float]:
    variables = DASHBOARDS[name]["templating"]["list"]
    all_values = {each["name"]: each.get("allValue", ".*") for each in variables}
    known = {key: value for key, value in choice.items() if key in all_values}
    expression = grafana.promql(target["expr"], Window(0, 60_000, 5), known, all_values, rate_interval_s=30)
    if target.get("instant"):
        return [float(sample["value"][1]) for sample in found.instant(expression)]
    return [float(value) for series in found.over_time(expression, 30) for _, value in series["values"]]


@pytest.mark.parametrize("name", list(DASHBOARDS))
def test_choices_of_variables_have_values(running: Stack, name: str) -> None:
    for variable in DASHBOARDS[name]["templating"]["list"]:
        if variable["type"] == "query" and "rawSql" in variable["query"]:
            _, rows = running.sql(grafana.sql(variable["query"]["rawSql"], window(running), SOURCES))
            assert rows, variable["name"]
        elif variable["type"] == "query":
            inner, _, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rpartition(",")
            found = running.instant(inner.replace("$job", "tokentrail"))
            assert any(sample["metric"].get(label.strip()) for sample in found), variable["name"]


def test_deployments_are_marked(running: Stack) -> None:
    marks = [each for each in DASHBOARDS["overview"]["annotations"]["list"] if each["name"] == "Deployments"]
    end_ms = running.seed.now_ns // 10**6

    columns, rows = running.sql(
        grafana.sql(marks[0]["target"]["rawSql"], Window(end_ms - 24 * 3_600_000, end_ms), SOURCES)
    )

    assert [column["name"] for column in columns] == ["time", "text", "tags"]
    assert "assistant 1.5.0" in {row["text"] for row in rows}


# The truth ------------------------------------------------------------------------------------------------------


def ask(found: Stack, name: str, title: str, **choice: str) -> list[dict[str, Any]]:
    """The rows of the panel of that title, for everything but `choice`."""
    panels = [panel for panel in grafana.panels(DASHBOARDS[name]) if panel["title"] == title]
    assert len(panels) == 1, f"{title} in {name}"
    values = {**SOURCES, **{key: [value] for key, value in choice.items()}}
    return found.sql(grafana.sql(panels[0]["targets"][0]["rawSql"], window(found), values))[1]


def told(found: Stack, keep: Callable[[Call], bool] = lambda call: True) -> list[Call]:
    shown = window(found)
    return [call for call in found.seed.within(shown.start_ms * 10**6, shown.end_ms * 10**6) if keep(call)]


def spend(calls: list[Call]) -> float:
    return float(sum((call.cost or Fraction(0) for call in calls), Fraction(0)))


def p(calls: list[Call], share: float) -> float:
    """The exact quantile as ClickHouse defines it: the value at position floor(n * share)."""
    durations = sorted(call.duration_ns for call in calls)
    return durations[min(int(len(durations) * share), len(durations) - 1)] / 1e9


def test_requests_and_their_change(running: Stack) -> None:
    calls = told(running)
    shown = window(running)
    span_ns = (shown.end_ms - shown.start_ms) * 10**6
    before = running.seed.within(shown.start_ms * 10**6 - span_ns, shown.start_ms * 10**6)

    (row,) = ask(running, "overview", "Requests")

    assert int(row["requests"]) == len(calls)
    assert row["change"] == pytest.approx(len(calls) / len(before) - 1)


def test_spend_is_exact(running: Stack) -> None:
    (row,) = ask(running, "overview", "Spend")

    assert row["usd"] == pytest.approx(spend(told(running)), rel=1e-12)


def test_error_rate_latency_users_and_unpriced(running: Stack) -> None:
    calls = told(running)
    (errors,) = ask(running, "overview", "Error rate")
    (latency,) = ask(running, "overview", "Latency, mean and p95")
    (users,) = ask(running, "overview", "Users")
    (unpriced,) = ask(running, "overview", "Unpriced")

    assert errors["error_rate"] == pytest.approx(sum(bool(call.error_type) for call in calls) / len(calls))
    assert latency["mean"] == pytest.approx(fmean(call.duration_ns for call in calls) / 1e9)
    assert latency["p95"] == pytest.approx(p(calls, 0.95))
    assert int(users["users"]) == len({call.user for call in calls})
    without = [call for call in calls if call.model == UNPRICED and not call.error_type]
    assert int(unpriced["unpriced"]) == len(without) > 0


def test_a_filter_holds_for_every_number(running: Stack) -> None:
    calls = told(running, lambda call: call.environment == "staging" and call.model == "gpt-4o-mini")

    (requests,) = ask(running, "overview", "Requests", env="staging", model="gpt-4o-mini")
    (usd,) = ask(running, "overview", "Spend", env="staging", model="gpt-4o-mini")

    assert int(requests["requests"]) == len(calls) > 0
    assert usd["usd"] == pytest.approx(spend(calls), rel=1e-12)


def test_bars_over_time_add_up_to_the_number(running: Stack) -> None:
    bars = ask(running, "overview", "Requests over time")
    by_model = ask(running, "overview", "Spend by model over time")

    assert sum(int(row["ok"]) + int(row["error"]) for row in bars) == len(told(running))
    assert sum(row["usd"] or 0 for row in by_model) == pytest.approx(spend(told(running)), rel=1e-9)


def test_features_have_their_share(running: Stack) -> None:
    calls = told(running)
    rows = {row["feature"]: row for row in ask(running, "overview", "Features")}

    for feature in ("chat", "search", "summarize", "triage"):
        own = [call for call in calls if call.feature == feature]
        assert int(rows[feature]["requests"]) == len(own)
        assert rows[feature]["usd"] == pytest.approx(spend(own), rel=1e-12)
        assert rows[feature]["share_of_spend"] == pytest.approx(spend(own) / spend(calls))


def test_counters_in_prometheus_are_those_of_the_calls_that_were_not_late(running: Stack) -> None:
    counted = running.instant("sum(tokentrail_requests_total)")
    border_ns = running.seed.now_ns - 600 * 10**9

    recent = [call for call in running.seed.calls if call.end_ns > border_ns]
    assert 0 <= len(recent) - float(counted[0]["value"][1]) <= 2, "those at the border may have become late"
