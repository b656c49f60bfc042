"""The vendors' own SDKs, with and without instrumentation: the same results, the same requests, one span a call.

Each version drives every recorded exchange that it has a method for, through the plain method, `with_raw_response` and
`with_streaming_response`, synchronously and asynchronously; once as it is and once under `opentelemetry-instrument`.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from conformance import sdk_worker
from support import expected, judge, otlp_sink, replay_server, sdk_versions, wire, worker_process
from support.backend_process import BackendProcess
from support.otlp_sink import SentSpan
from support.wire import Exchange

CASES: Final = [
    pytest.param((sdk, shell), id=f"{sdk.label}-{shell}") for sdk in sdk_versions.SDKS for shell in ("sync", "async")
]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One version and shell, run with and without instrumentation."""

    exchanges: Mapping[str, Exchange]
    """Those that the SDK can drive, by key."""
    plain: Mapping[tuple[str, str], dict[str, Any]]
    """What the application noted without instrumentation, by key and way; the one below is with it."""
    instrumented: Mapping[tuple[str, str], dict[str, Any]]
    spans: Mapping[str, list[SentSpan]]
    """Billable spans by trace id, as are the rows of the backend."""
    rows: Mapping[str, list[dict[str, Any]]]
    all_spans: list[SentSpan]
    server: replay_server.ReplayServer


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    wire.require()
    with BackendProcess(tmp_path_factory.mktemp("backend")) as process:
        yield process


@pytest.fixture(scope="module", params=CASES)
def comparison(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backend: BackendProcess
) -> Iterator[Comparison]:
    sdk, shell = request.param
    service = f"{sdk.label}-{shell}"
    exchanges = [exchange for exchange in wire.require() if sdk_worker.is_drivable(exchange, sdk.name)]
    try:
        python_path = sdk_versions.python_path(sdk)
    except sdk_versions.InstallError as error:
        pytest.skip(str(error))
    directory = tmp_path_factory.mktemp("sdk")
    with replay_server.serving(exchanges) as server, otlp_sink.listening(backend.http) as sink:

        def run(name: str) -> dict[tuple[str, str], dict[str, Any]]:
            outcomes = worker_process.run(
                Path(sdk_worker.__file__),
                sdk.name,
                sdk.http_library,
                shell,
                server.port,
                outcomes=directory / f"{name}.jsonl",
                otlp_endpoint=sink.endpoint if name == "instrumented" else None,
                python_path=python_path,
                environment={"OTEL_SERVICE_NAME": service},
            )
            return {(outcome["key"], outcome["way"]): outcome for outcome in outcomes}

        with ThreadPoolExecutor(max_workers=2) as pool:
            plain, instrumented = pool.map(run, ("plain", "instrumented"))
        all_spans = sink.spans()
        spans: dict[str, list[SentSpan]] = {}
        for span in filter(judge.is_billable, all_spans):
            spans.setdefault(span.trace_id, []).append(span)
        rows: dict[str, list[dict[str, Any]]] = {}
        stored = backend.get(f"/api/requests?service={service}&content=1&limit=10000").body.decode()
        for row in map(json.loads, stored.splitlines()):
            rows.setdefault(row["trace_id"], []).append(row)
        yield Comparison({e.key: e for e in exchanges}, plain, instrumented, spans, rows, all_spans, server)


def test_application_gets_the_same_with_and_without_instrumentation(comparison: Comparison) -> None:
    problems = [
        f"{_label(comparison, call)}: {_first_difference(outcome['outcome'], comparison.instrumented[call]['outcome'])}"
        for call, outcome in comparison.plain.items()
        if outcome["outcome"] != comparison.instrumented[call]["outcome"]
    ]

    assert not problems, _listed(problems)
    assert len(comparison.plain) == len(comparison.instrumented) == len(comparison.exchanges) * len(sdk_worker.WAYS)


def test_sdk_can_use_what_was_recorded(comparison: Comparison) -> None:
    """Without instrumentation, so that a worker that cannot drive the SDK does not pass by failing twice alike."""
    problems = [
        f"{_label(comparison, (key, way))}: {outcome['outcome']}"
        for (key, way), outcome in comparison.plain.items()
        if ("exception" in outcome["outcome"]) != _is_refused(comparison.exchanges[key], way)
    ]

    assert not problems, _listed(problems)


def test_provider_receives_the_same_requests(comparison: Comparison) -> None:
    problems = []
    for exchange in comparison.exchanges.values():
        for way in sdk_worker.WAYS:
            with_it, without_it = (
                comparison.server.received(sdk_worker.call_name(run, exchange, way))
                for run in ("instrumented", "plain")
            )
            if len(with_it) != 1 or len(without_it) != 1:
                problems.append(f"{exchange.label} {way}: {len(with_it)} and {len(without_it)} requests")
            elif (with_it[0].path, with_it[0].host, with_it[0].body) != (
                without_it[0].path,
                without_it[0].host,
                without_it[0].body,
            ):
                problems.append(f"{exchange.label} {way}: the request changed")

    assert not problems, _listed(problems)


def test_every_call_is_one_billable_span_that_says_what_was_recorded(comparison: Comparison) -> None:
    problems = []
    for (key, way), outcome in comparison.instrumented.items():
        # The SDK tells the attempt with every request, whatever the recorded client told.
        reading = replace(expected.read(comparison.exchanges[key]), retry_count=0)
        spans = comparison.spans.get(outcome["trace_id"], [])
        lines = [] if len(spans) == 1 else [f"{len(spans)} billable spans {[span.name for span in spans]}"]
        for span in spans:
            row, wrong = judge.row_of(span)
            lines += wrong + judge.differences(reading, row, zero_breakdowns=judge.is_foreign(span))
        problems += [f"{_label(comparison, (key, way))}: {line}" for line in lines]

    assert not problems, _listed(problems)
    assert sum(map(len, comparison.spans.values())) == len(comparison.instrumented)


def test_every_call_is_one_row_that_says_what_was_recorded(comparison: Comparison) -> None:
    problems = []
    for (key, way), outcome in comparison.instrumented.items():
        reading = replace(expected.read(comparison.exchanges[key]), retry_count=0)
        zeros = any(map(judge.is_foreign, comparison.spans.get(outcome["trace_id"], ())))
        rows = comparison.rows.get(outcome["trace_id"], [])
        lines = [] if len(rows) == 1 else [f"{len(rows)} rows"]
        for row in rows:
            lines += judge.differences(reading, row, zero_breakdowns=zeros)
        problems += [f"{_label(comparison, (key, way))}: {line}" for line in lines]

    assert not problems, _listed(problems)
    assert sum(map(len, comparison.rows.values())) == len(comparison.instrumented)


def test_no_credential_is_exported(comparison: Comparison) -> None:
    leaks = [span.name for span in comparison.all_spans if sdk_worker.SECRET in repr(span)]

    assert not leaks


def _is_refused(exchange: Exchange, way: str) -> bool:
    """Errors raise in every way; a success without a body only where the SDK parses it."""
    return exchange.status >= 400 or (not exchange.response_body and way != "streaming")


def _label(comparison: Comparison, call: tuple[str, str]) -> str:
    key, way = call
    return f"{comparison.exchanges[key].label} {way}"


def _first_difference(plain: Mapping[str, object], instrumented: Mapping[str, object]) -> str:
    name = next(name for name in {**plain, **instrumented} if plain.get(name) != instrumented.get(name))
    return f"{name} is {str(instrumented.get(name))[:300]} instead of {str(plain.get(name))[:300]}"


def _listed(problems: list[str]) -> str:
    return f"{len(problems)} problems:\n" + "\n".join(problems[:60])
