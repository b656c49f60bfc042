"""Every recorded exchange, through real HTTP clients, instrumentation, OTLP and the backend, read back from its API.

One replay server and one backend serve seven applications, each of which makes every exchange once: httpx and httpx2,
synchronous and asynchronous, aiohttp, requests and urllib3. What the rows say is compared with what the recorded bytes
say; what a row has no field for is compared on the span, which passes by on its way to the backend. A few exchanges
call no model: they are made like the others, and leave nothing behind.
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
from support import expected, judge, otlp_sink, replay_server, usage_question, wire, worker_process
from support.backend_process import BackendProcess
from support.otlp_sink import SentSpan
from support.wire import Exchange, Format

MODES: Final = raw_worker.MODES


@dataclass(frozen=True, slots=True)
class Replay:
    """What the applications did and what the backend has of it."""

    exchanges: Mapping[str, Exchange]
    """By key, those among them that call no model."""
    outcomes: Mapping[str, list[dict[str, Any]]]
    """What the application of each mode noted, one for each exchange."""
    rows: Mapping[str, list[dict[str, Any]]]
    """By trace id, as are the spans."""
    stored: str
    """The rows as the API sent them."""
    spans: Mapping[str, list[SentSpan]]
    """Those that are billable."""
    server: replay_server.ReplayServer


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    wire.require()
    exchanges = wire.load_all()
    directory = tmp_path_factory.mktemp("conformance")
    with (
        replay_server.serving(exchanges) as server,
        BackendProcess(directory / "data") as backend,
        otlp_sink.listening(backend.http) as sink,
    ):

        def run(mode: str) -> list[dict[str, Any]]:
            return worker_process.run(
                Path(raw_worker.__file__),
                *mode.split("-"),
                server.port,
                outcomes=directory / f"{mode}.jsonl",
                otlp_endpoint=sink.endpoint,
            )

        with ThreadPoolExecutor(max_workers=2) as pool:
            outcomes = dict(zip(MODES, pool.map(run, MODES), strict=True))
        # The exporters were answered before the applications ended: the rows are there now, without waiting.
        stored = backend.get("/api/requests?content=1&limit=10000").body.decode()
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in map(json.loads, stored.splitlines()):
            rows.setdefault(row["trace_id"], []).append(row)
        spans: dict[str, list[SentSpan]] = {}
        for span in filter(judge.is_billable, sink.spans()):
            spans.setdefault(span.trace_id, []).append(span)
        yield Replay({exchange.key: exchange for exchange in exchanges}, outcomes, rows, stored, spans, server)


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
    """Unchanged, but for the question for the usage of a stream; what a provider answers to it is for us alone."""
    problems = []
    library = mode.partition("-")[0]
    for exchange in replay.exchanges.values():
        received = replay.server.received(raw_worker.call_name(mode, exchange))
        if len(received) != 1:
            problems.append(f"{exchange.label}: {len(received)} requests")
        elif received[0].host != exchange.authority or not _is_as_sent(exchange, received[0].body, library):
            problems.append(f"{exchange.label}: the request changed on its way to {received[0].host}")
        elif exchange.authority + received[0].path != exchange.url.partition("://")[2].partition("#")[0]:
            problems.append(f"{exchange.label}: the request went to {received[0].path}")

    assert not problems, _listed(problems)


@pytest.mark.parametrize("mode", MODES)
def test_every_model_call_is_one_row_and_one_span_that_say_what_was_recorded(replay: Replay, mode: str) -> None:
    problems = []
    library = mode.partition("-")[0]
    for exchange, trace_id in _traces(replay, mode):
        if exchange.format is Format.NONE:
            continue
        reading = usage_question.told(exchange, expected.read(exchange), library)
        rows, spans = replay.rows.get(trace_id, []), replay.spans.get(trace_id, [])
        lines = [] if len(rows) == len(spans) == 1 else [f"{len(rows)} rows and {len(spans)} spans"]
        for row in rows:
            lines += judge.differences(reading, row)
        for span in spans:
            lines += judge.row_of(span)[1] + judge.modality_differences(reading, span)
        problems += [f"{exchange.label}: {line}" for line in lines]

    assert not problems, _listed(problems)


@pytest.mark.parametrize("mode", MODES)
def test_exchange_that_calls_no_model_leaves_nothing(replay: Replay, mode: str) -> None:
    others = [trace_id for exchange, trace_id in _traces(replay, mode) if exchange.format is Format.NONE]

    assert len(others) == wire.OTHERS
    assert not [trace_id for trace_id in others if trace_id in replay.rows or trace_id in replay.spans]


def test_nothing_but_the_model_calls_is_counted(replay: Replay) -> None:
    calls = [exchange for exchange in replay.exchanges.values() if exchange.format is not Format.NONE]

    assert len(calls) >= wire.SUPPORTED
    assert sum(map(len, replay.rows.values())) == len(calls) * len(MODES)


def test_no_credential_is_stored(replay: Replay) -> None:
    assert raw_worker.SECRET not in replay.stored


def _is_as_sent(exchange: Exchange, body: bytes, library: str) -> bool:
    if library in usage_question.ASKING and usage_question.is_asked(exchange):
        return bool(json.loads(body) == usage_question.with_question(exchange.request_body))
    return body == exchange.request_body


def _traces(replay: Replay, mode: str) -> Iterator[tuple[Exchange, str]]:
    for outcome in replay.outcomes[mode]:
        yield replay.exchanges[outcome["key"]], outcome["trace_id"]


def _unlike(exchange: Exchange, outcome: Mapping[str, Any]) -> str:
    sent = b"".join(replay_server.pieces(exchange, compressed=outcome["packed"]))
    return "" if sha256(sent).hexdigest() == outcome["sha256"] else "the application read other bytes than were sent"


def _listed(problems: list[str]) -> str:
    return f"{len(problems)} problems:\n" + "\n".join(problems[:60])
