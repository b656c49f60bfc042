"""The mixin: every dashboard is in it, under its uid."""

import json
import re
from pathlib import Path

GRAFANA = Path(__file__).parents[2] / "dashboards" / "grafana"
TEXT = (GRAFANA / "mixin.libsonnet").read_text()


def test_the_mixin_has_every_dashboard_under_its_uid() -> None:
    named = {path: name for name, path in re.findall(r"'([\w-]+)\.json': import '(dashboards/[\w-]+\.json)'", TEXT)}
    uids = {
        str(path.relative_to(GRAFANA)): json.loads(path.read_text())["uid"]
        for path in (GRAFANA / "dashboards").glob("*.json")
    }

    assert named == uids


def test_the_mixin_has_the_rules() -> None:
    (path,) = re.findall(r"importstr '([^']+)'", TEXT)

    assert (GRAFANA / path).read_text().startswith("# Rendered by")
