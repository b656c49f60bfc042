"""Where the guide says that something is shown, there is such a panel."""

import json
import re
from pathlib import Path

import pytest

from support import grafana

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "grafana.md").read_text("utf-8").partition("## Coming from a proxy")[2]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in GUIDE.splitlines() if line.startswith("| ")][
    1:
]
BOARDS = [
    json.loads(path.read_text("utf-8")) for path in (ROOT / "dashboards" / "grafana" / "dashboards").glob("*.json")
]
TITLES = {
    board["title"].removeprefix("LLM / "): {panel["title"] for panel in grafana.panels(board)} for board in BOARDS
}


@pytest.mark.parametrize(("what", "dashboard", "panels"), ROWS, ids=[row[0] for row in ROWS])
def test_what_the_guide_names_is_on_that_dashboard(what: str, dashboard: str, panels: str) -> None:
    named = re.findall(r"\*([^*]+)\*", panels)

    assert named, what
    assert set(named) <= TITLES[dashboard]


def test_the_guide_has_every_dashboard() -> None:
    assert {row[1] for row in ROWS} == set(TITLES)
