"""Files of alerts: what they can say, and that every error is found at once, with its line."""

from pathlib import Path

import pytest

from tokentrail.backend.alerts.definition import AlertFileError, Severity
from tokentrail.backend.alerts.document import MAX_BYTES
from tokentrail.backend.alerts.metric import METRICS
from tokentrail.backend.alerts.quantity import readable, short
from tokentrail.backend.alerts.read import read_alerts, shipped

FULL = b"""\
# a comment
defaults: false
links:
  grafana: https://g.example.com/
alerts:
  - name: Everything
    metric: latency
    aggregation: p99.5
    threshold: {production: 1500ms, "*": 2.5s}
    direction: below
    window: 1h
    confirm: 5m
    compare: {with: 2d, times: 1.5, history: 12h}
    min_requests: 1_000
    filters:
      environment: production
      model: [gpt-5, "o4 mini"]
      property.Customer Tier: 1
    group_by: [user, property.Customer Tier]
    for: 90s
    keep_firing_for: 5m
    every: 20s
    max_series: 5
    severity: critical
    summary: no
    runbook: https://wiki.example.com/slow
    annotations: {team: web, count: 3}
"""


def test_every_field_is_read() -> None:
    alerts = read_alerts(FULL, "alerts.yaml")

    (found,) = alerts.definitions
    assert alerts.links.grafana == "https://g.example.com"
    assert (found.name, found.metric.name, found.aggregation.label) == ("Everything", "latency", "p99.5")
    assert dict(found.thresholds) == {"production": 1.5, "*": 2.5}
    assert (found.is_below, found.window_s, found.confirm_s, found.min_requests) == (True, 3600, 300, 1000)
    assert found.comparison is not None
    assert (found.comparison.span_s, found.comparison.times, found.comparison.history_s) == (172_800, 1.5, 43_200)
    assert found.filters == (
        ("environment", ("production",)),
        ("model", ("gpt-5", "o4 mini")),
        ("property.Customer Tier", ("1",)),
    )
    assert found.group_by == ("environment", "user", "property.Customer Tier")
    assert (found.for_s, found.keep_firing_s, found.every_s, found.max_series) == (90, 300, 20, 5)
    assert (found.severity, found.summary, found.runbook) == (
        Severity.CRITICAL,
        "no",
        "https://wiki.example.com/slow",
    )
    assert (dict(found.annotations), found.line) == ({"team": "web", "count": "3"}, 6)


def test_every_error_is_told_at_once_with_its_line() -> None:
    text = b"""\
alert: []
disable: [LLMErrorRateHigh, Unknown]
alerts:
  - name: A b
    metric: error_rate
    threshold: 120%
    window: 10
    severity: urgent
    filters: {colour: red}
  - metric: speed
    window: 0s
  - name: C
    metric: requests
    aggregation: avg
    threshold: {}
    window: 10m
    severity: low
    min_requests: -1
    group_by: [property.a-b, property.a_b, weather]
    compare: {times: 0}
    annotations: {summary: x}
    name: D
  - 7
"""
    with pytest.raises(AlertFileError) as raised:
        read_alerts(text, "alerts.yaml")

    told: dict[int, list[str]] = {}
    for line, what in raised.value.problems:
        told.setdefault(line, []).append(what)
    expected = {
        1: "unknown field 'alert'",
        2: "'Unknown', which is no shipped alert",
        4: "name is 'A b'",
        6: "at most 100%",
        7: "expected a time with its unit",
        8: "expected one of critical, high, medium, low",
        9: "filters cannot name 'colour'",
        10: "expected one of error_rate, cost,",
        14: "requests can be summed up by sum",
        15: "threshold names no environment",
        18: "min_requests is '-1'",
        19: "property.a-b and property.a_b, which would have one label",
        20: "compare needs with",
        21: "the annotation summary is made from",
        22: "name is given on line 12 already",
        23: "an alert must be a mapping",
    }
    missing = {line: words for line, words in expected.items() if not any(words in what for what in told.get(line, ()))}
    assert missing == {}, told
    assert set(told) == set(expected)
    assert "weather" in str(told[19])
    assert any("severity is missing" in what for what in told[10])


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"alerts: [", 1, "no YAML"),
        (b"a: 1\nb: \xff", 2, "not UTF-8"),
        (b"alerts:\n  - &a [*a]\n", 2, "nested"),
        (b"alerts: " + b"[" * 30 + b"]" * 30, 1, "nested"),
        (b"#" * (MAX_BYTES + 1), 0, "bytes"),
        (b"- 1", 1, "must be a mapping"),
        (b"alerts: {}", 1, "must be a list"),
        (b"alerts: !!python/object/apply:os.system [x]", 1, "mapping, not a value"),
        (b"defaults: perhaps", 1, "true or false"),
        (b"{[a]: 1}", 1, "a name is expected"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, line: int, words: str) -> None:
    with pytest.raises(AlertFileError, match=words) as raised:
        read_alerts(data, "f")

    assert raised.value.problems[0][0] == line


def test_a_file_adds_to_the_shipped_alerts_replaces_them_by_name_or_leaves_them_out() -> None:
    alert = b"{name: LLMDailyCostHigh, metric: cost, threshold: 7, window: 1d, severity: low}"
    names = [each.name for each in shipped().definitions]

    added = read_alerts(b"disable: LLMRequestSpike\nalerts: [" + alert + b"]", "f").definitions
    alone = read_alerts(b"defaults: false\nalerts: [" + alert + b"]", "f").definitions
    empty = read_alerts(b"", "f").definitions

    assert [each.name for each in empty] == names
    assert {each.name for each in added} == set(names) - {"LLMRequestSpike"}
    assert [dict(each.thresholds) for each in added if each.name == "LLMDailyCostHigh"] == [{"*": 7.0}]
    assert [each.name for each in alone] == ["LLMDailyCostHigh"]


def test_the_shipped_alerts_are_those_that_are_promised() -> None:
    by_name = {each.name: each for each in shipped().definitions}

    def facts(name: str) -> tuple[object, ...]:
        found = by_name[name]
        return found.thresholds["production"], found.window_s, found.min_requests, found.severity

    assert facts("LLMErrorRateHigh") == (0.05, 600, 10, "high")
    assert facts("LLMDailyCostHigh") == (100, 86_400, 0, "medium")
    assert facts("LLMLatencyP95High") == (10, 1800, 20, "medium")
    assert facts("LLMFeatureErrorRateHigh") == (0.02, 300, 10, "high")
    assert by_name["LLMUserSpendHigh"].group_by == ("environment", "user")
    assert by_name["LLMProviderRateLimitNear"].is_below


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (90, "90s"), (600, "10m"), (5400, "90m"), (86_400, "1d"), (1_209_600, "2w")]
)
def test_times_are_written_as_prometheus_reads_them(seconds: int, text: str) -> None:
    assert short(seconds) == text


def test_thresholds_are_written_with_their_unit() -> None:
    units = {metric.name: metric.unit for metric in METRICS}

    assert [
        readable(0.144, units["error_rate"]),
        readable(12.5, units["cost"]),
        readable(0.8, units["ttft"]),
        readable(10.0, units["latency"]),
        readable(1200.0, units["tokens"]),
    ] == ["14.4%", "$12.50", "800ms", "10s", "1,200"]


def test_the_documentation_names_every_metric_and_every_field() -> None:
    text = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    fields = [
        "name",
        "metric",
        "aggregation",
        "threshold",
        "direction",
        "window",
        "min_requests",
        "filters",
        "group_by",
        "for",
        "keep_firing_for",
        "every",
        "max_series",
        "confirm",
        "compare",
        "severity",
        "summary",
        "description",
        "runbook",
        "annotations",
    ]

    assert [name for name in (*fields, *(metric.name for metric in METRICS)) if f"`{name}`" not in text] == []
    for each in shipped().definitions:
        assert f"`{each.name}`" in text
