"""A Prometheus with a past: scrapes become a database by Prometheus' own tool, and the real server answers from it.

Alerts are what Prometheus makes of the shipped rules' expressions over that past: an alert fires at the minutes at
which its expression has had a value for as long as the rule's `for` says.
"""

import json
import re
import shutil
import socket
import subprocess
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support.backend_process import http_request
from support.prometheus import program, running

Sample = tuple[str, Mapping[str, str], float]
"""Name, labels, value."""
STEP_S: Final = 60
JOB: Final = {"job": "tokentrail", "instance": "tokentrail:4318"}
_RULES: Final = Path(__file__).parents[1] / "grafana" / "alerting" / "tokentrail_rules.yml"
_FOREVER: Final = "200y"


@dataclass(frozen=True, slots=True)
class Scrape:
    """What was there at a time."""

    at_s: int
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Server:
    """A Prometheus that is running."""

    address: str

    def ask(self, path: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        """Samples or series. Raises `ValueError` with what Prometheus says."""
        found: list[dict[str, Any]] = self._get(f"{path}?{urllib.parse.urlencode(parameters)}")["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """The alerts that it has been given: `name`, `query`, `duration`, `labels`."""
        groups = self._get("rules?type=alert")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, what: str) -> dict[str, Any]:
        answer = http_request(f"http://{self.address}/api/v1/{what}")
        document: dict[str, Any] = answer.json()
        if answer.status != 200:
            raise ValueError(f"Prometheus does not answer {what}: {document}")
        found: dict[str, Any] = document["data"]
        return found


@contextmanager
def past(directory: Path, scrapes: Sequence[Scrape]) -> Iterator[Server]:
    """A server with `scrapes` behind it, and the alerts that the shipped rules make of them."""
    data = directory / "tsdb"
    write(data, scrapes, directory)
    with _served(directory, data) as server:
        alerts = list(firing(server, scrapes[0].at_s, scrapes[-1].at_s))
    write(data, alerts, directory)
    with _served(directory, data) as server:
        yield server


def write(data: Path, scrapes: Iterable[Scrape], directory: Path) -> None:
    """Add scrapes to a database; times rise. Raises `ValueError` where promtool does not take them."""
    file = directory / "scrapes.txt"
    with file.open("w", encoding="utf-8") as out:
        for scrape in scrapes:
            for name, labels, value in scrape.samples:
                told = ",".join(f'{label}="{text}"' for label, text in sorted(labels.items()))
                out.write(f"{name}{{{told}}} {value} {scrape.at_s}\n")
        out.write("# EOF\n")
    command = [str(program("promtool")), "tsdb", "create-blocks-from", "openmetrics", str(file), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603  # our own
    if done.returncode:
        raise ValueError(f"promtool takes no scrapes: {done.stderr}")


def firing(server: Server, start_s: int, end_s: int) -> Iterator[Scrape]:
    """`ALERTS` over the past of a server, as it would have written them."""
    found: dict[int, list[Sample]] = {}
    for rule in server.rules():
        asked = {"query": rule["query"], "start": str(start_s), "end": str(end_s), "step": str(STEP_S)}
        for series in server.ask("query_range", asked):
            labels = _labels(rule, series["metric"])
            since = previous = -STEP_S * 10
            for at, _ in series["values"]:
                at_s = int(at)
                since = at_s if at_s - previous > STEP_S else since
                previous = at_s
                state = "firing" if at_s - since >= rule["duration"] else "pending"
                found.setdefault(at_s, []).append(("ALERTS", {**labels, "alertstate": state}, 1.0))
    for at_s in sorted(found):
        yield Scrape(at_s, found[at_s])


def _labels(rule: Mapping[str, Any], metric: Mapping[str, str]) -> dict[str, str]:
    own = {
        name: re.sub(r"\{\{\s*\$labels\.(\w+)\s*\}\}", lambda found: metric.get(found[1], ""), value)
        for name, value in rule["labels"].items()
    }
    carried = {name: value for name, value in metric.items() if name != "__name__"}
    return {"alertname": str(rule["name"]), **carried, **own}


@contextmanager
def _served(directory: Path, data: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    rules = shutil.copy(_RULES, directory / "rules.yml")
    config = directory / "prometheus.yml"
    # Nothing is evaluated at the time of the wall clock: an hour never passes.
    config.write_text(json.dumps({"global": {"evaluation_interval": "1h"}, "rule_files": [str(rules)]}))
    command = [
        str(program("prometheus")),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--storage.tsdb.retention.time={_FOREVER}",
        f"--web.listen-address={address}",
        # A series ends with its last sample, as one does that Prometheus has marked as stale; all times asked for are
        # those of samples.
        f"--query.lookback-delta={STEP_S - 1}s",
        "--log.level=warn",
    ]
    with running(command, address, directory / "prometheus.log"):
        yield Server(address)
