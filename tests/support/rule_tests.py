"""Unit tests of alert rules for `promtool test rules`: series in, and which alerts fire when."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from support.prometheus import program

INTERVAL_S = 30
"""Between two values of a series, and between two evaluations."""


@dataclass(frozen=True)
class Case:
    """A scene, and the alerts that fire in it: by time in seconds, label sets of the firing ones."""

    name: str
    alert: str
    series: Mapping[str, str]
    """Values in promtool's notation, one every `INTERVAL_S`."""
    firing: Mapping[int, Sequence[Mapping[str, str]]]


def run(rules: Path, cases: Sequence[Case], directory: Path) -> None:
    """Have promtool run them all; raises `AssertionError` with what it says."""
    files = [
        _write(rules, [case for case in cases if case.alert == alert], directory / alert)
        for alert in sorted({case.alert for case in cases})
    ]
    done = subprocess.run(
        [str(program("promtool")), "test", "rules", *files], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _write(rules: Path, cases: Sequence[Case], directory: Path) -> str:
    """The file of tests of one alert, over `rules` without the alerts that these cases do not ask about: promtool would
    evaluate each of them at every step.
    """
    directory.mkdir()
    document = yaml.safe_load(rules.read_text("utf-8"))
    for group in document["groups"]:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert", cases[0].alert) == cases[0].alert]
    (directory / "rules.yml").write_text(json.dumps(document))  # YAML takes JSON
    tests = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{INTERVAL_S}s",
        "tests": [_test(case) for case in cases],
    }
    (directory / "tests.yml").write_text(json.dumps(tests))
    return str(directory / "tests.yml")


def _test(case: Case) -> dict[str, object]:
    # ALERTS has a sample for each alert that fires, whatever its annotations are.
    expression = f'ALERTS{{alertname="{case.alert}", alertstate="firing"}}'
    return {
        "name": f"{case.alert}: {case.name}",
        "interval": f"{INTERVAL_S}s",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "promql_expr_test": [
            {
                "expr": expression,
                "eval_time": f"{at_s}s",
                "exp_samples": [{"labels": _alerts(case.alert, labels), "value": 1} for labels in expected],
            }
            for at_s, expected in case.firing.items()
        ],
    }


def _alerts(name: str, labels: Mapping[str, str]) -> str:
    every = {"alertname": name, "alertstate": "firing", **labels}
    return "ALERTS{" + ", ".join(f"{key}={json.dumps(value)}" for key, value in every.items()) + "}"
