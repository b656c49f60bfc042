"""Every recorded exchange, through real HTTP clients, instrumentation, OTLP and the backend, read back from its API.

One replay server and one backend serve four applications, each of which makes every exchange once: httpx and httpx2,
synchronous and asynchronous. What the rows say is compared with what the recorded bytes say.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from conformance import raw_worker
from support import expected, judge, replay_server, wire, worker_process
from support.backend_process import BackendProcess
from support.wire import Exchange

MODES: Final = ("httpx-sync", "httpx-async", "httpx2-sync", "httpx2-async")


@dataclass(frozen=True, slots=True)
class Replay:
    """What four applications did and what the backend has of it."""

    exchanges: Mapping[str, Exchange]
    """By key."""
    outcomes: Mapping[str, list[dict[str, Any]]]
    """What the application of each mode noted, one for each exchange."""
    rows: list[dict[str, Any]]
    stored: str
    """The rows as the API sent them."""
    server: replay_server.ReplayServer

    def rows_of(self, trace_id: str) -> list[dict[str, Any]]:
        """The rows of one exchange."""
        return [row for row in self.rows if row["trace_id"] == trace_id]


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    exchanges = wire.require()
    directory = tmp_path_factory.mktemp("conformance")
    with replay_server.serving(exchanges) as server, BackendProcess(directory / "data") as backend:

        def run(mode: str) -> list[dict[str, Any]]:
            return worker_process.run(
                Path(raw_worker.__file__),
                *mode.split("-"),
                server.port,
                outcomes=directory / f"{mode}.jsonl",
                otlp_endpoint=backend.http,
            )

        with ThreadPoolExecutor(max_workers=2) as pool:
            outcomes = dict(zip(MODES, pool.map(run, MODES), strict=True))
        # The exporters were answered before the applications ended: the rows are there now, without waiting.
        stored = backend.get("/api/requests?content=1&limit=10000").body.decode()
        rows = [json.loads(line) for line in stored.splitlines()]
        yield Replay({exchange.key: exchange for exchange in exchanges}, outcomes, rows, stored, server)


@pytest.mark.parametrize("mode", MODES)
def test_application_reads_what_the_provider_sent(replay: Replay, mode: str) -> None:
    outcomes = replay.outcomes[mode]

    problems = [
        f"{replay.exchanges[outcome['key']].label}: {problem}"
        for outcome in outcomes
        if (problem := outcome["problem"] or _unlike(replay.exchanges[outcome["key"]], outcome))
    ]

    assert not problems, _listed(problems)
    assert {outcome["key"] for outcome in outcomes} == set(replay.exchanges)


@pytest.mark.parametrize("mode", MODES)
def test_provider_receives_each_request_once_and_unchanged(replay: Replay, mode: str) -> None:
    problems = []
    for exchange in replay.exchanges.values():
        received = replay.server.received(raw_worker.call_name(mode, exchange))
        if len(received) != 1:
            problems.append(f"{exchange.label}: {len(received)} requests")
        elif received[0].body != exchange.request_body or received[0].host != exchange.host:
            problems.append(f"{exchange.label}: the request changed on its way to {received[0].host}")

    assert not problems, _listed(problems)


@pytest.mark.parametrize("mode", MODES)
def test_every_exchange_is_one_row_that_says_what_was_recorded(replay: Replay, mode: str) -> None:
    problems = []
    for outcome in replay.outcomes[mode]:
        exchange = replay.exchanges[outcome["key"]]
        rows = replay.rows_of(outcome["trace_id"])
        if len(rows) != 1:
            problems.append(f"{exchange.label}: {len(rows)} rows")
        problems += [
            f"{exchange.label}: {line}" for row in rows for line in judge.differences(expected.read(exchange), row)
        ]

    assert not problems, _listed(problems)


def test_nothing_but_the_exchanges_is_counted(replay: Replay) -> None:
    assert len(replay.rows) == len(replay.exchanges) * len(MODES)


def test_no_credential_is_stored(replay: Replay) -> None:
    assert raw_worker.SECRET not in replay.stored


def _unlike(exchange: Exchange, outcome: Mapping[str, Any]) -> str:
    packed = outcome["raw"] and replay_server.is_compressed(exchange)
    sent = b"".join(replay_server.pieces(exchange, compressed=packed))
    return "" if sha256(sent).hexdigest() == outcome["sha256"] else "the application read other bytes than were sent"


def _listed(problems: list[str]) -> str:
    return f"{len(problems)} problems:\n" + "\n".join(problems[:60])
