"""`tokentrail alerts`, as people run it."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from support.calls import NOON_NS, call
from tokentrail.backend.__main__ import main
from tokentrail.backend.store.chdb import ChdbStore

GOOD = """
defaults: false
alerts:
  - {name: Spend, metric: cost, threshold: $5, window: 1h, group_by: user, severity: medium}
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "alerts.yaml"
    path.write_text(GOOD)
    return str(path)


@pytest.fixture(autouse=True)
def _no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENTRAIL_ALERTS", raising=False)


def test_the_shipped_alerts_are_listed_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["alerts", "list"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert any(
        line.split(None, 2) == ["LLMErrorRateHigh", "high", "Error rate above 5% over 10m, with at least 10 calls"]
        for line in lines
    )


def test_a_file_is_listed_as_json(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alerts", "list", good, "--json"]) == 0

    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (found["name"], found["thresholds"], found["window"], found["group_by"]) == (
        "Spend",
        {"*": 5.0},
        "1h",
        ["user"],
    )


def test_errors_are_shown_with_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("alerts:\n  - name: A\n    metric: speed\n")

    code = main(["alerts", "check", str(path)])

    told = capsys.readouterr().err
    assert code == 1
    assert f"{path}, line 3: metric is 'speed'" in told
    assert "3 |     metric: speed" in told


def test_a_good_file_has_no_errors(
    good: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENTRAIL_ALERTS", good)

    assert main(["alerts", "check"]) == 0
    assert "1 alerts, no errors" in capsys.readouterr().out


def test_rules_are_rendered_with_the_links_that_are_named(
    good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rules.yml"

    to_file = main(
        ["alerts", "render", good, "--output", str(output), "--grafana", "https://g/", "--runbook", "https://r"]
    )
    nowhere = main(["alerts", "render", good, "--output", str(tmp_path / "no" / "where")])

    text = output.read_text()
    assert (to_file, nowhere) == (0, 1)
    assert "https://g/d/tokentrail-requests?" in text
    assert "'https://r#spend'" in text
    assert "cannot be written" in capsys.readouterr().err


def test_what_alerts_said_at_a_time_is_told_from_the_store(
    good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ChdbStore(tmp_path / "data")
    store.migrate()
    store.insert(
        [], [call(user_id="rich", cost_usd=Decimal("5.5")), call(user_id="poor", cost_usd=Decimal(5))], NOON_NS
    )
    store.close()
    where = ["--store", str(tmp_path / "data"), "--at"]

    then = main(["alerts", "test", good, *where, "2026-01-01T12:30:00Z"])
    told = capsys.readouterr().out
    later = main(["alerts", "test", good, *where, "2026-01-01T14:00:00Z", "--json"])
    quiet = json.loads(capsys.readouterr().out)
    wrong = main(["alerts", "test", good, *where, "yesterday"])

    assert (then, later, wrong) == (0, 0, 1)
    assert "Spend (medium): beyond its threshold in 1" in told
    assert "! user=rich: 5.5, threshold 5, 1 calls" in told
    assert "poor" not in told
    assert (quiet["is_beyond"], quiet["groups"]) == (False, [])
    assert "at is 'yesterday'" in capsys.readouterr().err
