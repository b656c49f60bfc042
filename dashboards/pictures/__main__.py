"""`python -m pictures` draws every dashboard into `docs/dashboards/`; with names, only those (`overview cost`)."""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pictures.answers import Sources, ask
from pictures.kinds._base import Window
from pictures.page import View, draw
from pictures.replay import NOW_NS, replayed
from support import grafana
from support.dashboard_seed import HOUR_NS, Call, Seed
from support.prometheus import MissingError

ROOT: Final = Path(__file__).parents[2]
DASHBOARDS: Final = ROOT / "dashboards" / "grafana" / "dashboards"
PICTURES: Final = ROOT / "docs" / "dashboards"
_POINTS: Final = 72
"""Intervals in the time of a dashboard: the made-up traffic is thin."""
_INTERVALS_S: Final = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_UNITS_S: Final = {"m": 60, "h": 3600, "d": 86400}
_WORDS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="pictures", description="Draw the dashboards from their own queries.")
    parser.add_argument(
        "names", nargs="*", help="dashboards, by the names of their files; all of them if none is named"
    )
    names: list[str] = parser.parse_args().names
    files = [path for path in sorted(DASHBOARDS.glob("*.json")) if not names or path.stem in names]
    try:
        with tempfile.TemporaryDirectory() as directory, replayed(Path(directory)) as there:
            for file in files:
                target = PICTURES / f"{file.stem}.svg"
                target.parent.mkdir(exist_ok=True)
                target.write_text(picture(json.loads(file.read_text("utf-8")), there.sources, there.seed), "utf-8")
                print(f"drawn: {target.relative_to(ROOT)}")  # noqa: T201  # a command's output
    except MissingError as error:
        print(f"no pictures: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def picture(dashboard: Mapping[str, Any], sources: Sources, seed: Seed) -> str:
    """A dashboard as somebody sees it who opens it and, where it is about one of them, chooses a session or a trace."""
    window, told = _window(dashboard)
    chosen = _chosen(dashboard, seed)
    answers = ask(dashboard, sources, window, {**chosen, "prometheus": ["p"], "clickhouse": ["c"]})
    return draw(dashboard, answers, View(Window(window.start_ms, window.end_ms, window.interval_s), chosen, told))


def _window(dashboard: Mapping[str, Any]) -> tuple[grafana.Window, str]:
    """The time that a dashboard opens with, and how Grafana says it."""
    since = re.fullmatch(r"now-(\d+)([mhd])", dashboard["time"]["from"])
    if since is None:
        raise ValueError(f"unknown time {dashboard['time']['from']}")
    length_s = int(since[1]) * _UNITS_S[since[2]]
    interval_s = next((each for each in _INTERVALS_S if each >= length_s / _POINTS), _INTERVALS_S[-1])
    end_ms = NOW_NS // 10**6
    told = f"Last {since[1]} {_WORDS[since[2]]}"
    return grafana.Window(end_ms - length_s * 1000, end_ms, interval_s), told


def _chosen(dashboard: Mapping[str, Any], seed: Seed) -> dict[str, Sequence[str]]:
    """A busy session of the last hours, and its trace, for dashboards that show one."""
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    choices: dict[str, Sequence[str]] = {"property": ["Feature"], "offset": ["7"]}
    if dashboard["uid"] == "tokentrail-sessions":
        choices["session"] = [_busiest(seed, failures=0).session]
    if dashboard["uid"] == "tokentrail-requests":
        choices["trace"] = [_busiest(seed, failures=1).trace.hex()]
    return {name: values for name, values in choices.items() if name in names}


def _busiest(seed: Seed, failures: int) -> Call:
    """A call of the session of the last hours with the most calls, of which so many failed; of several, the dearest."""
    sessions: dict[str, list[Call]] = {}
    for call in seed.calls:
        if call.end_ns > NOW_NS - 4 * HOUR_NS:
            sessions.setdefault(call.session, []).append(call)
    fitting = [calls for calls in sessions.values() if sum(bool(call.error_type) for call in calls) == failures]
    return max(fitting, key=lambda calls: (len(calls), sum(call.cost or 0 for call in calls), calls[0].span))[0]


if __name__ == "__main__":
    sys.exit(main())
