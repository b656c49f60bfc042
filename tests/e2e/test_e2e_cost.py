"""Every call of the demo reconciled: the local provider's ledger times published prices is what is stored."""

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from support.backend_process import BackendProcess
from support.price_table import by_hand
from tokentrail.backend.demo import process
from tokentrail.backend.demo.provider import ServedProvider, Settings

RUN = "reconciled"
_COUNTS = {
    "input_tokens": "input_tokens",
    "cache_read_tokens": "cached_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "output_tokens": "output_tokens",
}
"""Counts by their names in calls and in the ledger."""


@dataclass(frozen=True)
class Reconciled:
    """A run of the demo."""

    endpoint: str
    rows: list[dict[str, Any]]
    ledger: dict[str, dict[str, Any]]
    """What the provider told its clients, by request id."""

    def cost(self, row: dict[str, Any]) -> Decimal | None:
        """USD of a call by the ledger and the published prices; `None` where nothing was told."""
        entry = self.ledger[row["request_id"]]
        if not entry["input_tokens"] or row["stream_exit"] not in ("", "complete", "broken"):
            return None
        return by_hand(entry["model"], {ours: entry[theirs] for ours, theirs in _COUNTS.items()})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reconciled]:
    log = tmp_path_factory.mktemp("cost") / "application.txt"
    with (
        BackendProcess(tmp_path_factory.mktemp("cost") / "data") as backend,
        ServedProvider(Settings(seed=7, speed=50, fault_rate=0.08)) as served,
        log.open("w") as output,
    ):
        outer = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        environ = process.environment(outer, endpoint=backend.http, provider=served.url, run=RUN)
        assert process.run_application(environ, output) == 0, log.read_text()
        with urllib.request.urlopen(f"{served.url}/ledger", timeout=10) as answer:
            entries = json.load(answer)["entries"]
        deadline = time.monotonic() + 15
        while len(rows := _rows(backend)) < len(entries) and time.monotonic() < deadline:
            time.sleep(0.1)
        yield Reconciled(backend.http, rows, {entry["request_id"]: entry for entry in entries})


def _rows(backend: BackendProcess) -> list[dict[str, Any]]:
    body = backend.get("/api/requests?limit=10000").body.decode()
    return [json.loads(line, parse_float=Decimal) for line in body.splitlines()]


def _cost(run: Reconciled, *options: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tokentrail.backend", "cost", "--endpoint", run.endpoint, "--json", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line, parse_float=Decimal) for line in io.StringIO(done.stdout)]


def test_every_call_costs_what_the_ledger_and_the_published_prices_say(run: Reconciled) -> None:
    assert len(run.rows) == len(run.ledger) >= 30

    told = {row["request_id"]: run.cost(row) for row in run.rows}

    assert {row["request_id"]: row["cost_usd"] for row in run.rows} == told
    assert sum(cost is not None for cost in told.values()) >= 25


def test_a_session_costs_the_sum_of_its_calls_by_hand(run: Reconciled) -> None:
    sessions = {row["session_id"] for row in run.rows}
    shown = {row["session"]: row for row in _cost(run, "--by", "session")}

    assert set(shown) == sessions >= {f"{RUN}-research", f"{RUN}-analyse"}
    for session in sessions:
        costs = [cost for row in run.rows if row["session_id"] == session and (cost := run.cost(row)) is not None]
        assert (shown[session]["cost_usd"] or 0) == sum(costs, Decimal(0)), session
        assert sum(shown[session]["cost_components"].values(), Decimal(0)) == sum(costs, Decimal(0)), session


def test_a_failed_call_that_had_used_something_is_in_the_sum(run: Reconciled) -> None:
    (research,) = (row for row in _cost(run, "--by", "session") if row["session"] == f"{RUN}-research")

    assert research["errors"] >= 1
    assert research["priced"] == sum(
        run.cost(row) is not None for row in run.rows if row["session_id"] == f"{RUN}-research"
    )
