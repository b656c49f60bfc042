"""Pictures of the dashboards: current, self-contained, the same every time, and true to what they are given."""

import json
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pictures import answers, lettering, scale, unit
from pictures.frame import NUMBER, TEXT, TIME, Column, Frame, display_name, widened
from pictures.kinds._base import Window
from pictures.page import KINDS, View, draw
from support import grafana

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "dashboards" / "grafana" / "dashboards").glob("*.json"))
PICTURES = ROOT / "docs" / "dashboards"
MAX_BYTES = 300_000
SVG = "{http://www.w3.org/2000/svg}"
START_MS = 1_795_190_400_000
WINDOW = Window(START_MS, START_MS + 3_600_000, 600)
HOUR = [START_MS + 600_000 * index for index in range(6)]


def panel(kind: str, title: str = "A panel", **more: Any) -> dict[str, Any]:
    config = {"defaults": more.pop("defaults", {}), "overrides": more.pop("overrides", [])}
    return {
        "id": 1,
        "type": kind,
        "title": title,
        "gridPos": {"h": 8, "w": 12, "x": 0, "y": 0},
        "targets": [{"refId": "A"}],
        "fieldConfig": config,
        "options": more,
    }


def dashboard(*panels: dict[str, Any]) -> dict[str, Any]:
    return {"title": "LLM / Test", "panels": list(panels), "templating": {"list": []}}


def frame(**columns: Sequence[object]) -> Frame:
    kinds = {str: TEXT, int: NUMBER, float: NUMBER}
    return Frame([Column(name, kinds[type(values[0])], tuple(values)) for name, values in columns.items()])


def over_time(**columns: Sequence[float | None]) -> Frame:
    numbers = [Column(name, NUMBER, tuple(values)) for name, values in columns.items()]
    return Frame([Column("time", TIME, tuple(HOUR)), *numbers])


def drawn(shown: dict[str, Any], *frames: Frame, chosen: Mapping[str, Sequence[str]] | None = None) -> str:
    return draw(dashboard(shown), {(1, "A"): frames}, View(WINDOW, chosen or {}))


def texts(picture: str) -> list[str]:
    """What is written in a picture, in the order of its text."""
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def fills(picture: str, tag: str = "rect") -> list[str]:
    return [element.get("fill", "") for element in ElementTree.fromstring(picture).iter(f"{SVG}{tag}")]


def place(picture: str, text: str) -> tuple[float, float]:
    found = next(e for e in ElementTree.fromstring(picture).iter(f"{SVG}text") if e.text == text)
    return float(found.get("x", "")), float(found.get("y", ""))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: str(path.stem))
def test_every_dashboard_has_a_picture_with_all_panels_that_are_seen(path: Path) -> None:
    document = json.loads(path.read_text("utf-8"))

    picture = (PICTURES / f"{path.stem}.svg").read_text("utf-8")

    root = ElementTree.fromstring(picture)
    titles = [element.text or "" for tag in ("title", "text") for element in root.iter(f"{SVG}{tag}")]
    for each in document["panels"]:
        pattern = re.sub(r"\\\$(\\\{\w+\\\}|\w+)", ".*", re.escape(each.get("title") or ""))
        assert any(re.fullmatch(pattern, title) for title in titles), f"not in the picture: {each['title']}"
    assert titles[0] == document["title"]


def test_every_picture_is_of_a_dashboard() -> None:
    assert {path.stem for path in PICTURES.glob("*.svg")} == {path.stem for path in DASHBOARDS}


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=lambda path: str(path.stem))
def test_a_picture_is_small_and_needs_nothing_from_elsewhere(path: Path) -> None:
    content = path.read_text("utf-8")

    names = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(content).iter()}

    assert len(content.encode()) < MAX_BYTES
    assert names <= {"svg", "title", "desc", "rect", "line", "path", "circle", "text", "g", "clipPath"}
    assert not re.search(r"(href|src|url\((?!#c\d))", content)


def test_every_kind_of_panel_of_the_dashboards_can_be_drawn() -> None:
    kinds = {
        each["type"]
        for path in DASHBOARDS
        for row in json.loads(path.read_text("utf-8"))["panels"]
        for each in [row, *row.get("panels", ())]
    }

    assert kinds - {"row"} <= set(KINDS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "text"])
def test_a_panel_without_rows_says_so(kind: str) -> None:
    assert "No data" in texts(drawn(panel(kind)))
    assert "No data" in texts(drawn(panel(kind), Frame([])))


SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:]
import test_pictures
print(test_pictures.everything())
"""


def everything() -> str:
    """One panel of each kind, with something in it."""
    series = over_time(ok=[1, 2, None, 4, 5, 6], error=[0, 1, 0, 1, 0, 1])
    rows = frame(name=["a", "b"], usd=[1.5, 0.5])
    given = {
        "timeseries": series,
        "heatmap": Frame([Column("Time", TIME, HOUR), Column("Value", NUMBER, [1] * 6, {"le": "0.5"})]),
        "flamegraph": frame(level=[0, 1], value=[3.0, 2.0], label=["all", "part"]),
        "logs": frame(body=["a", "b"], level=["error", "info"]),
        "traces": frame(
            spanID=["a", "b"], parentSpanID=["", "a"], serviceName=["s", "s"], startTime=[0.0, 1.0], duration=[9.0, 2.0]
        ),
    }
    pictures = [drawn(panel(kind), given.get(kind, rows)) for kind in KINDS]
    return "".join(pictures)


def test_the_same_dashboard_answers_and_time_make_the_same_bytes_in_every_process() -> None:
    folders = [str(ROOT / name) for name in ("dashboards", "tests", "tests/dashboards")]

    made = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, *folders],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert made == {everything() + "\n"}


@pytest.mark.parametrize(
    ("value", "name", "decimals", "expected"),
    [
        # The first four stand in Grafana's own tests of its formats.
        (1532.82, "currencyUSD", 2, "$1.53K"),
        (0.0024, "ms", 4, "0.0024 ms"),
        (1250, "ms", 2, "1.25 s"),
        (1200, "ms", 0, "1 s"),
        (1.234, "currencyUSD", None, "$1.23"),
        (0.00042, "currencyUSD", None, "$0.000420"),
        (-3, "currencyUSD", 2, "-$3.00"),
        (1200, "short", None, "1.20 K"),
        (12_000_000, "short", None, "12 Mil"),
        (0.043, "percentunit", 1, "4.3%"),
        (0.07, "percentunit", None, "7%"),
        (0.25, "s", None, "250 ms"),
        (90, "s", None, "1.50 mins"),
        (1536, "bytes", None, "1.50 KiB"),
        (12, "reqps", None, "12 req/s"),
        (1_795_192_200_000, "dateTimeAsIso", None, "2026-11-20 16:30:00"),
        (1234.5, "none", 0, "1234"),
        (-0.001, "none", 1, "0.0"),
        (math.nan, "short", None, "NaN"),
    ],
)
def test_numbers_are_written_as_grafana_writes_them(
    value: float, name: str, decimals: int | None, expected: str
) -> None:
    assert unit.show(value, name, decimals) == expected


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 7.3), (0, 0.00042), (-3, 12), (0, 98_765), (5, 5)])
def test_ticks_are_round_and_reach_beyond_the_values(low: float, high: float) -> None:
    ticks = scale.ticks(low, high, 5)

    steps = {round(later - earlier, 9) for earlier, later in pairwise(ticks)}
    digits = f"{steps.pop():e}".split("e")[0].rstrip("0").rstrip(".")
    assert not steps
    assert digits in ("1", "2", "2.5", "5")
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert len(ticks) <= 8


def test_a_long_text_ends_with_an_ellipsis_where_its_room_ends() -> None:
    cut = lettering.fit("a name that nobody has room for", 80, 12)

    assert cut.endswith("…")
    assert lettering.width(cut, 12) <= 80 < lettering.width("a name that nobody has room for", 12)


def test_a_value_cannot_break_out_of_its_text() -> None:
    hostile = '</text><script>alert("1")</script>&\x00\x1b'

    picture = drawn(panel("table"), frame(user=[hostile]))

    assert any(text.startswith("</text><script>") for text in texts(picture))


def test_a_number_is_in_the_colour_of_the_threshold_that_it_is_beyond() -> None:
    steps = [{"value": None, "color": "green"}, {"value": 0.05, "color": "red"}]
    shown = panel("stat", defaults={"unit": "percentunit", "thresholds": {"steps": steps}})

    picture = drawn(shown, frame(error_rate=[0.0625]))

    element = next(e for e in ElementTree.fromstring(picture).iter(f"{SVG}text") if e.text == "6.25%")
    assert element.get("fill") == "#F2495C"


def test_several_fields_stand_beside_one_another_with_their_names() -> None:
    overrides = [
        {"matcher": {"id": "byName", "options": "p95"}, "properties": [{"id": "displayName", "value": "Slow"}]}
    ]

    picture = drawn(panel("stat", overrides=overrides, defaults={"unit": "s"}), frame(mean=[1.5], p95=[90.0]))

    assert {"mean", "Slow", "1.50 s", "1.50 mins"} <= set(texts(picture))
    assert place(picture, "mean")[0] < place(picture, "Slow")[0]


def test_a_table_has_its_columns_in_the_order_of_the_query_and_hides_what_it_is_told_to() -> None:
    overrides = [
        {"matcher": {"id": "byName", "options": "key"}, "properties": [{"id": "custom.hidden", "value": True}]},
        {"matcher": {"id": "byName", "options": "usd"}, "properties": [{"id": "unit", "value": "currencyUSD"}]},
    ]
    shown = panel("table", overrides=overrides, sortBy=[{"displayName": "usd", "desc": True}])

    picture = drawn(shown, frame(user=["ann", "bob"], key=["k1", "k2"], usd=[0.5, 2.25]))

    assert not {"key", "k1", "k2"} & set(texts(picture))
    assert place(picture, "user")[0] < place(picture, "usd")[0]
    assert place(picture, "bob")[1] < place(picture, "ann")[1]
    assert place(picture, "$2.25")[1] == place(picture, "bob")[1]


def test_spaces_in_front_of_a_name_move_it_to_the_right() -> None:
    picture = drawn(panel("table"), frame(path=["/", "\u00a0\u00a0\u00a0\u00a0research"], usd=[1.0, 0.5]))

    assert place(picture, "research")[0] - place(picture, "/")[0] == pytest.approx(4 * 0.278 * 13, rel=0.1)


def test_bars_that_are_stacked_stand_on_one_another() -> None:
    custom = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}

    picture = drawn(panel("timeseries", defaults={"custom": custom, "min": 0}), over_time(a=[6] * 6, b=[3] * 6))

    shapes = [
        re.findall(r"[\d.]+,([\d.]+)", element.get("d", "").partition("Z")[0])
        for element in ElementTree.fromstring(picture).iter(f"{SVG}path")
        if element.get("fill") in ("#73BF69", "#F2CC0C")
    ]
    (low_a, top_a), (low_b, top_b) = ((float(ys[0]), float(ys[1])) for ys in shapes)
    assert top_a == low_b
    assert low_a - top_a == pytest.approx(2 * (low_b - top_b), abs=0.3)


def test_a_heat_map_shows_what_is_in_a_bucket_alone() -> None:
    buckets = {"1": [1, 0], "2": [1, 0], "4": [6, 2]}
    frames = [
        Frame([Column("Time", TIME, HOUR[:2]), Column("Value", NUMBER, counts, {"le": bound})])
        for bound, counts in buckets.items()
    ]

    picture = drawn(panel("heatmap"), *frames)

    # Up to 1: 1. Between 1 and 2: none. Between 2 and 4: 5, and later 2. The largest is the brightest.
    cells = fills(picture)[-3:]
    assert texts(picture).count("5") == 1
    assert len(set(cells)) == 3
    assert cells[1] == "#e4f1fd"


def test_a_part_of_a_flame_begins_where_its_elder_sibling_ended() -> None:
    walk = frame(level=[0, 1, 2, 1], value=[10.0, 6.0, 3.0, 4.0], label=["all", "plan", "fetch", "answer"])

    picture = drawn(panel("flamegraph", defaults={"unit": "none"}), walk)

    boxes = [
        (float(element.get("x", "")), float(element.get("width", "")))
        for element in ElementTree.fromstring(picture).iter(f"{SVG}rect")
        if element.get("height") == "22"
    ]
    (all_x, all_width), (plan_x, plan_width), (fetch_x, _), (answer_x, answer_width) = boxes
    assert plan_x == fetch_x == all_x
    assert answer_x == pytest.approx(plan_x + plan_width + 1, abs=0.2)
    assert answer_width / all_width == pytest.approx(0.4, abs=0.01)


def test_the_spans_of_a_trace_come_after_their_parents() -> None:
    spans = frame(
        spanID=["c", "r", "b"],
        parentSpanID=["r", "gone", "r"],
        serviceName=["app", "app", "app"],
        operationName=["second", "root", "first"],
        startTime=[20.0, 0.0, 5.0],
        duration=[10.0, 40.0, 10.0],
        statusCode=[2, 0, 0],
    )

    picture = drawn(panel("traces"), spans)

    assert [text for text in texts(picture) if text in ("root", "first", "second")] == ["root", "first", "second"]
    assert "3 spans · 40 ms" in texts(picture)
    assert texts(picture).count("!") == 1


def test_a_collapsed_row_is_one_line_and_what_follows_moves_up() -> None:
    row = {"type": "row", "title": "More of $user", "collapsed": True, "panels": [panel("stat")], "gridPos": {}}
    row["gridPos"] = {"h": 1, "w": 24, "x": 0, "y": 0}
    below = panel("stat", "Below")
    below["gridPos"] = {"h": 4, "w": 4, "x": 0, "y": 30}

    picture = draw(dashboard(row, below), {}, View(WINDOW, {"user": ["ann"]}))

    assert {"More of ann", "(1 panel)", "Below"} <= set(texts(picture))
    assert place(picture, "Below")[1] - place(picture, "More of ann")[1] < 60


def test_rows_over_time_become_a_series_for_each_text() -> None:
    times, models = [HOUR[0], HOUR[0], HOUR[1]], ["gpt-4o", "house-7b", "gpt-4o"]

    wide = widened(
        Frame([Column("time", TIME, times), Column("model", TEXT, models), Column("usd", NUMBER, [1, 2, 3])])
    )

    assert [(column.labels, column.values) for column in wide.columns[1:]] == [
        ({"model": "gpt-4o"}, (1, 3)),
        ({"model": "house-7b"}, (2, None)),
    ]
    assert display_name(wide.columns[1], [wide]) == "usd gpt-4o"


def test_columns_are_read_by_their_types() -> None:
    meta = [
        {"name": "n", "type": "Nullable(UInt64)"},
        {"name": "usd", "type": "Decimal(18, 6)"},
        {"name": "model", "type": "LowCardinality(Nullable(String))"},
        {"name": "at", "type": "DateTime64(9, 'UTC')"},
    ]
    row = {"n": "7", "usd": "0.25", "model": "gpt-4o", "at": "2026-11-20 16:30:00.250000000"}

    read = answers.from_rows((meta, [row, dict.fromkeys(row)]))

    assert [(column.kind, column.values) for column in read.columns] == [
        (NUMBER, (7, None)),
        (NUMBER, (0.25, None)),
        (TEXT, ("gpt-4o", None)),
        (TIME, (1_795_192_200_250.0, None)),
    ]


def test_a_statement_that_asks_for_the_time_gets_the_end_of_the_picture() -> None:
    now_ms = 1_795_192_200_000

    told = answers.at_time("SELECT now() - INTERVAL 1 DAY, toDate(now('UTC')), today(), snow(), now64(3)", now_ms)

    assert told == (
        "SELECT toDateTime(1795192200, 'UTC') - INTERVAL 1 DAY, toDate(toDateTime(1795192200, 'UTC')), "
        "(toDate(toDateTime(1795192200, 'UTC'))), snow(), fromUnixTimestamp64Milli(1795192200000, 'UTC')"
    )


def test_a_line_of_prometheus_has_a_gap_where_it_has_no_value() -> None:
    window = grafana.Window(1_795_190_400_000, 1_795_190_700_000, 60)
    series = {"metric": {"model": "gpt-4o"}, "values": [[1795190460, "1"], [1795190580, "3"]]}
    sources = answers.Sources(lambda statement: ([], []), lambda path, parameters: [series])
    target = {"refId": "A", "expr": "calls", "legendFormat": "{{model}}"}
    shown = {**panel("timeseries"), "targets": [target]}

    asked = answers.ask(dashboard(shown), sources, window, {})

    (found,) = asked[1, "A"]
    assert list(found.columns[0].values) == [1_795_190_460_000, 1_795_190_520_000, 1_795_190_580_000]
    assert list(found.columns[1].values) == [1.0, None, 3.0]
    assert display_name(found.columns[1], [found]) == "gpt-4o"
