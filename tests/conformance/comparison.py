"""One application run twice, with and without instrumentation, and what each run has left behind."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from support import expected, judge, otlp_sink, replay_server, usage_question, worker_process
from support.backend_process import BackendProcess
from support.expected import Expected
from support.otlp_sink import SentSpan
from support.wire import Exchange

Call = tuple[str, str]
"""The key of the exchange and the way it was made, empty where there is one way only."""
Outcomes = Mapping[Call, dict[str, Any]]

RUNS = ("plain", "instrumented")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both runs of an application."""

    exchanges: Mapping[str, Exchange]
    """Those that it makes, by key."""
    plain: Outcomes
    """What it noted without instrumentation; the one below is with it."""
    instrumented: Outcomes
    spans: Mapping[str, list[SentSpan]]
    """Billable spans by trace id, as are the rows of the backend."""
    rows: Mapping[str, list[dict[str, Any]]]
    all_spans: list[SentSpan]
    server: replay_server.ReplayServer

    def label(self, call: Call) -> str:
        """How a failure names a call."""
        key, way = call
        return f"{self.exchanges[key].label} {way}".rstrip()


def compare(
    worker: Path,
    *arguments: str,
    service: str,
    exchanges: Sequence[Exchange],
    server: replay_server.ReplayServer,
    backend: BackendProcess,
    python_path: Sequence[str],
    directory: Path,
) -> Comparison:
    """Run `worker` twice at once, with `arguments` and the port of `server`, which serves the exchanges."""
    with otlp_sink.listening(backend.http) as sink:

        def run(name: str) -> Outcomes:
            outcomes = worker_process.run(
                worker,
                *arguments,
                server.port,
                outcomes=directory / f"{name}.jsonl",
                otlp_endpoint=sink.endpoint if name == "instrumented" else None,
                python_path=python_path,
                environment={"OTEL_SERVICE_NAME": service},
            )
            return {(outcome["key"], outcome.get("way", "")): outcome for outcome in outcomes}

        with ThreadPoolExecutor(max_workers=2) as pool:
            plain, instrumented = pool.map(run, RUNS)
        all_spans = sink.spans()
    spans: dict[str, list[SentSpan]] = {}
    for span in filter(judge.is_billable, all_spans):
        spans.setdefault(span.trace_id, []).append(span)
    rows: dict[str, list[dict[str, Any]]] = {}
    stored = backend.get(f"/api/requests?service={service}&content=1&limit=10000").body.decode()
    for row in map(json.loads, stored.splitlines()):
        rows.setdefault(row["trace_id"], []).append(row)
    return Comparison({e.key: e for e in exchanges}, plain, instrumented, spans, rows, all_spans, server)


def reading_of(exchange: Exchange, *, retry_count: int | None) -> Expected:
    """What a span of a call through an SDK says: the SDK tells the attempt, whatever the recorded client told."""
    return replace(usage_question.told(exchange, expected.read(exchange)), retry_count=retry_count)


def unlike_outcomes(comparison: Comparison) -> list[str]:
    """The calls that gave the application something else with instrumentation than without.

    A stream that something is taken out of has lost its content coding on the way.
    """
    problems = []
    for call, outcome in comparison.plain.items():
        plain, instrumented = outcome["outcome"], comparison.instrumented[call]["outcome"]
        if usage_question.is_asked(comparison.exchanges[call[0]]):
            plain, instrumented = _without_coding(plain), _without_coding(instrumented)
        if plain != instrumented:
            problems.append(f"{comparison.label(call)}: {_first_difference(plain, instrumented)}")
    return problems


def unlike_requests(comparison: Comparison, names: Mapping[Call, Mapping[str, str]]) -> list[str]:
    """The calls whose requests arrived otherwise with instrumentation than without; `names` has those of each run.

    The question for the usage of a stream has to be in those that are to be asked, and is no difference.
    """
    problems = []
    for call, by_run in names.items():
        plain, instrumented = (comparison.server.received(by_run[run]) for run in RUNS)
        if len(plain) != 1 or len(instrumented) != 1:
            problems.append(f"{comparison.label(call)}: {len(instrumented)} and {len(plain)} requests")
        elif (plain[0].path, plain[0].host) != (instrumented[0].path, instrumented[0].host):
            problems.append(f"{comparison.label(call)}: the request went to {instrumented[0].path}")
        elif usage_question.is_asked(comparison.exchanges[call[0]]):
            if json.loads(instrumented[0].body) != usage_question.with_question(plain[0].body):
                problems.append(f"{comparison.label(call)}: the request does not ask for the usage, or changed")
        elif plain[0].body != instrumented[0].body:
            problems.append(f"{comparison.label(call)}: the request changed")
    return problems


def wrong_spans(comparison: Comparison, readings: Mapping[Call, Expected]) -> list[str]:
    """What the billable spans say otherwise than `readings`, which has one for each call."""
    problems = []
    for call, outcome in comparison.instrumented.items():
        spans = comparison.spans.get(outcome["trace_id"], [])
        lines = [] if len(spans) == 1 else [f"{len(spans)} billable spans {[span.name for span in spans]}"]
        for span in spans:
            row, wrong = judge.row_of(span)
            lines += wrong + judge.differences(readings[call], row, zero_breakdowns=judge.is_foreign(span))
            lines += judge.modality_differences(readings[call], span)
        problems += [f"{comparison.label(call)}: {line}" for line in lines]
    return problems


def wrong_rows(comparison: Comparison, readings: Mapping[Call, Expected]) -> list[str]:
    """The same for the rows of the backend."""
    problems = []
    for call, outcome in comparison.instrumented.items():
        zeros = any(map(judge.is_foreign, comparison.spans.get(outcome["trace_id"], ())))
        rows = comparison.rows.get(outcome["trace_id"], [])
        lines = [] if len(rows) == 1 else [f"{len(rows)} rows"]
        for row in rows:
            lines += judge.differences(readings[call], row, zero_breakdowns=zeros)
        problems += [f"{comparison.label(call)}: {line}" for line in lines]
    return problems


def listed(problems: Sequence[str]) -> str:
    """The problems as the message of a failure."""
    return f"{len(problems)} problems:\n" + "\n".join(problems[:60])


def _without_coding(outcome: Mapping[str, Any]) -> Mapping[str, Any]:
    headers = [pair for pair in outcome.get("headers", ()) if pair[0] != "content-encoding"]
    return {**outcome, "headers": headers}


def _first_difference(plain: Mapping[str, object], instrumented: Mapping[str, object]) -> str:
    name = next(name for name in {**plain, **instrumented} if plain.get(name) != instrumented.get(name))
    return f"{name} is {str(instrumented.get(name))[:300]} instead of {str(plain.get(name))[:300]}"
