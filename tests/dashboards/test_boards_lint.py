"""What every dashboard must have, checked on the committed JSON: what users provision."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from boards.document import text
from boards.pages import BOARDS
from support import grafana

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "dashboards" / "grafana" / "dashboards").glob("*.json"))
DASHBOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text("utf-8")) for path in FILES}
RULES = (ROOT / "dashboards" / "grafana" / "alerting" / "tokentrail_rules.yml").read_text("utf-8")
EXPECTED = (
    "overview",
    "cost",
    "latency",
    "errors",
    "users",
    "sessions",
    "properties",
    "cache-limits",
    "requests",
    "prompts",
    "backend",
)
BUILT_IN = re.compile(r"__\w+|timeFilter")
VARIABLE = re.compile(r"\$\{(\w+)(?:[:.\[][^}]*)?\}|\$(\w+)")
WINDOW = re.compile(r"\[([^\]]+)\]")
FIXED_WINDOWS = {"$__rate_interval", "$__range", "5m", "15m", "1h", "6h", "1d", "7d", "30d"}
COUNTING = {"rate", "irate", "increase"}
LINKED_OTHERWISE = {
    "text": "no numbers",
    "heatmap": "its points are exemplars, which the data source leads to their traces",
    "flamegraph": "has no links; the tree beside it has them",
    "traces": "is what links lead to",
    "logs": "are the end of the way",
}
"""Kinds of panels, with the reason."""
WITHOUT_LINKS = {
    ("backend", "*"): "about the backend itself: no call is behind these numbers",
    ("requests", "Requests"): "the calls are listed below it",
    ("requests", "Tokens"): "the calls are listed below it",
    ("requests", "What was written in the trace"): "the trace's own calls are beside it",
}
"""Panels without a link, with the reason; `*` is a whole page."""
OF_OTHERS = ("ALERTS", "up", "process_", "scrape_", "ALERTS_FOR_STATE")


def each_panel() -> Iterator[Any]:
    for name, dashboard in DASHBOARDS.items():
        for panel in grafana.panels(dashboard):
            yield pytest.param(dashboard, panel, id=f"{name}-{panel['id']}-{panel['title'] or 'text'}")


def each_target(key: str) -> Iterator[Any]:
    for name, dashboard in DASHBOARDS.items():
        for panel in grafana.panels(dashboard):
            for target in panel.get("targets") or ():
                if key in target:
                    yield pytest.param(dashboard, panel, target[key], id=f"{name}-{panel['id']}-{target['refId']}")


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_committed_json_is_what_the_code_writes(board: Any) -> None:
    path = ROOT / "dashboards" / "grafana" / "dashboards" / board.file_name

    assert path.read_text("utf-8") == text(board), "run `make dashboards`"


def test_every_dashboard_of_the_plan_is_there() -> None:
    assert set(DASHBOARDS) == set(EXPECTED)
    assert [board.uid for board in BOARDS] == [f"tokentrail-{name}" for name in EXPECTED], "order of the menu"
    assert {name: each["uid"] for name, each in DASHBOARDS.items()} == {name: f"tokentrail-{name}" for name in EXPECTED}


@pytest.mark.parametrize("name", list(DASHBOARDS))
def test_the_json_survives_the_schema_of_grafana(name: str) -> None:
    register_default_plugins()
    document = DASHBOARDS[name]

    again = json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(json.dumps(document)))))

    # Links of fields are written in short: the SDK has another kind of link there, and its order of keys.
    assert _without_links(again) == _without_links(document)


def _without_links(value: Any) -> Any:
    if isinstance(value, dict):
        dropped = {"placement", "auto", "auto_min", "auto_count", "links"}
        return {key: _without_links(each) for key, each in value.items() if key not in dropped}
    return [_without_links(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", list(DASHBOARDS))
def test_numbers_and_places_of_panels_do_not_collide(name: str) -> None:
    dashboard = DASHBOARDS[name]
    all_panels = [*dashboard["panels"], *(inner for row in dashboard["panels"] for inner in row.get("panels") or ())]
    numbers = [panel["id"] for panel in all_panels]

    assert len(numbers) == len(set(numbers))
    taken: dict[tuple[int, int], int] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["id"]) == panel["id"], panel["title"]


@pytest.mark.parametrize("name", list(DASHBOARDS))
def test_lines_of_panels_have_no_holes(name: str) -> None:
    widths: dict[int, int] = {}
    for panel in DASHBOARDS[name]["panels"]:
        widths[panel["gridPos"]["y"]] = widths.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]

    assert all(width == 24 for width in widths.values()), widths


@pytest.mark.parametrize("name", list(DASHBOARDS))
def test_a_dashboard_can_be_found_and_says_what_it_is(name: str) -> None:
    dashboard = DASHBOARDS[name]

    assert dashboard["title"].startswith("LLM / ")
    assert dashboard["description"]
    assert "tokentrail" in dashboard["tags"]
    assert dashboard["links"][0]["type"] == "dashboards"
    assert dashboard["refresh"]


@pytest.mark.parametrize(("dashboard", "panel"), list(each_panel()))
def test_a_panel_says_what_it_shows(dashboard: Any, panel: Any) -> None:
    if panel["type"] == "text":
        assert len(panel["options"]["content"]) > 100
        return
    assert panel["title"]
    assert len(panel["description"]) > 20, "what is counted, in a sentence"
    assert panel["description"].rstrip().endswith((".", "`", ")"))
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert panel["datasource"]["uid"] in ("${clickhouse}", "${prometheus}")
    assert all(target["datasource"]["uid"] in ("${clickhouse}", "${prometheus}") for target in panel["targets"])
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("name", list(DASHBOARDS))
def test_every_variable_that_is_used_is_there(name: str) -> None:
    dashboard = DASHBOARDS[name]
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    used: set[str] = set()
    for panel in grafana.panels(dashboard):
        for match in VARIABLE.finditer(json.dumps([panel.get("targets"), panel["title"]])):
            used.add(match[1] or match[2])

    assert {each for each in used if not BUILT_IN.fullmatch(each)} <= defined


@pytest.mark.parametrize("name", list(DASHBOARDS))
def test_choices_follow_the_time(name: str) -> None:
    asked = [each for each in DASHBOARDS[name]["templating"]["list"] if each["type"] == "query"]

    assert all(variable["refresh"] == 2 for variable in asked), "2: on change of the time range"


@pytest.mark.parametrize(("dashboard", "panel", "statement"), list(each_target("rawSql")))
def test_a_statement_is_bounded_in_time_and_rows(dashboard: Any, panel: Any, statement: str) -> None:
    bounded = ("$__timeFilter", "$__fromTime", "$__toTime", "now()", "now64()", "today()", "$trace", "${trace")

    assert any(bound in statement for bound in bounded)
    if panel["type"] in ("table", "logs", "traces"):
        final = statement[statement.rfind("\nSELECT") :]
        assert "LIMIT" in final or ("GROUP BY" not in final and "ORDER BY" not in final), "rows without a limit"
    assert not re.search(r"\bFROM (?:default\.)?llm_requests\b(?![\s\S]*\bWHERE\b)", statement), "reads all there is"


@pytest.mark.parametrize(("dashboard", "panel", "statement"), list(each_target("rawSql")))
def test_a_statement_tells_the_hours_of_the_calls_it_reads(dashboard: Any, panel: Any, statement: str) -> None:
    if panel["title"] == "Rows by day":
        pytest.skip("counts the rows of tables that have different orders")
    for read in re.findall(r"FROM (?:llm_requests|llm_contents)\b(.*?)(?:\n\)|\Z)", statement, re.DOTALL):
        found_otherwise = "WHERE TraceId = chosen" in read
        assert found_otherwise or "toStartOfHour(Timestamp, 'UTC') >= " in read, "reads every part as a whole"


@pytest.mark.parametrize(("dashboard", "panel", "expression"), list(each_target("expr")))
def test_an_expression_parses_and_counts_as_counters_are_counted(dashboard: Any, panel: Any, expression: str) -> None:
    all_values = {each["name"]: each.get("allValue", ".*") for each in dashboard["templating"]["list"]}
    expanded = grafana.promql(expression, grafana.Window(0, 3_600_000), {}, all_values)

    promql_parser.parse(expanded)
    assert set(WINDOW.findall(expression)) <= FIXED_WINDOWS, "windows fit the scrape interval, or are as alerted"
    for metric, before in _metrics(expression):
        # `x unless x offset ...` is how a counter that was not there before is found: `increase` does not see it.
        if metric.endswith("_total") and f"unless {metric}" not in expression:
            assert before in COUNTING, f"{metric} only ever grows: take its rate or its increase"
        if not metric.startswith(OF_OTHERS):
            assert re.search(rf"{metric}\{{[^}}]*job=~\"\$job\"", expression), f"{metric} of which job?"


def _metrics(expression: str) -> Iterator[tuple[str, str]]:
    """The metrics of an expression, each with the function around it."""
    for match in re.finditer(
        r"(?:(\w+)\()?\s*\b(tokentrail_\w+|ALERTS\w*|up|process_\w+|scrape_\w+)\s*(?=[{\[)]|$)", expression
    ):
        yield match[2], match[1] or ""


@pytest.mark.parametrize("name", list(DASHBOARDS))
def test_links_lead_somewhere(name: str) -> None:
    known = {each["uid"]: {v["name"] for v in each["templating"]["list"]} for each in DASHBOARDS.values()}

    for url in re.findall(r'"url": "([^"]*)"', json.dumps(DASHBOARDS[name])):
        if not url.startswith("/d/"):
            assert url.startswith("https://"), url
            continue
        uid, _, query = url.removeprefix("/d/").partition("?")
        assert uid in known, url
        given = set(re.findall(r"\bvar-(\w+)=", query))
        assert given <= known[uid], f"{uid} has no variable {given - known[uid]}"


def test_alerts_lead_to_the_calls_they_are_about() -> None:
    known = {each["uid"]: {v["name"] for v in each["templating"]["list"]} for each in DASHBOARDS.values()}
    links = re.findall(r"/d/([\w-]+)\??([^'\s]*)", RULES)

    assert links
    for uid, query in links:
        assert set(re.findall(r"\bvar-(\w+)=", query)) <= known[uid], uid


@pytest.mark.parametrize(("dashboard", "panel"), list(each_panel()))
def test_numbers_lead_to_requests(dashboard: Any, panel: Any) -> None:
    page = dashboard["uid"].removeprefix("tokentrail-")
    reason = WITHOUT_LINKS.get((page, panel["title"])) or WITHOUT_LINKS.get((page, "*"), "")
    linked = '"url": "/d/' in json.dumps(panel.get("fieldConfig"))

    assert linked or panel["type"] in LINKED_OTHERWISE or reason, "what is behind this?"


def test_exceptions_are_still_needed() -> None:
    linked = {
        (name, panel["title"]): '"url": "/d/' in json.dumps(panel.get("fieldConfig"))
        for name, dashboard in DASHBOARDS.items()
        for panel in grafana.panels(dashboard)
    }

    assert all(linked[place] is False for place in WITHOUT_LINKS if place[1] != "*")


@pytest.mark.parametrize("name", list(DASHBOARDS))
def test_links_are_filled_from_columns_that_are_there(name: str) -> None:
    for panel in grafana.panels(DASHBOARDS[name]):
        asked = json.dumps(panel.get("targets"))
        for column in re.findall(r"__(?:data\.fields|field\.labels)\.(\w+)", json.dumps(panel.get("fieldConfig"))):
            assert re.search(rf"\b{column}\b", asked), f"{panel['title']}: {column}"
