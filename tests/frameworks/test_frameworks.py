"""Frameworks need no code of their own: real installs, used as their documentation shows, one span for each request.

Every framework runs as an application of its own under `opentelemetry-instrument`; the local provider's ledger says
which requests there were and what they used, and both the exported spans and the backend's rows have to say the same.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from frameworks import expectations, scenario
from frameworks.expectations import EMBEDDED, FAILED, LEFT, SCENES, Scene
from support import frameworks, judge, local_provider, otlp_sink, worker_process
from support.backend_process import BackendProcess
from support.frameworks import FRAMEWORKS, Framework
from support.otlp_sink import SentSpan
from support.sdk_versions import InstallError
from tokentrail.semconv import genai

SECRET: Final = "sk-local-0123456789"
SETTINGS: Final = {
    "OPENAI_API_KEY": SECRET,
    "ANTHROPIC_API_KEY": f"ant-{SECRET}",
    # The worker switches this one on for the scenes that are about it.
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai_agents",
    # What they would ask other hosts for.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
}
CASES: Final = [pytest.param(each, id=each.name, marks=[pytest.mark.slow] if each.large else []) for each in FRAMEWORKS]


@dataclass(frozen=True, slots=True)
class Shown:
    """One framework's run."""

    name: str
    scenes: Mapping[str, Scene]
    outcomes: Mapping[str, dict[str, Any]]
    """What the application noted, by scene."""
    requests: Sequence[dict[str, Any]]
    """The entries of the provider's ledger."""
    spans: Sequence[SentSpan]
    """All spans."""
    rows: Mapping[str, dict[str, Any]]
    """The backend's rows, by the provider's id of the request."""
    row_count: int

    @property
    def billable(self) -> list[SentSpan]:
        """The spans that are counted."""
        return [span for span in self.spans if judge.is_billable(span) and genai.DUPLICATE_OF not in span.attributes]

    def span_of(self, request: Mapping[str, Any]) -> SentSpan:
        """The span of a request in the ledger, by the id that the provider gave it."""
        found = [
            span
            for span in self.billable
            if span.attributes.get("tokentrail.response.request_id") == request["request_id"]
        ]
        assert len(found) == 1, (request, [(span.scope, span.name) for span in found])
        return found[0]

    def calls(self) -> Iterator[tuple[Scene, dict[str, Any], SentSpan]]:
        """Every request with its span and its scene, which the trace tells."""
        by_trace = {outcome["trace_id"]: name for name, outcome in self.outcomes.items()}
        for request in self.requests:
            span = self.span_of(request)
            assert span.trace_id in by_trace, f"{request['endpoint']}: its span is in no scene's trace"
            yield self.scenes[by_trace[span.trace_id]], request, span


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    with BackendProcess(tmp_path_factory.mktemp("backend")) as process:
        yield process


@pytest.fixture(scope="module", params=CASES)
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backend: BackendProcess) -> Shown:
    framework = request.param
    python_path = _installed(framework)
    directory = tmp_path_factory.mktemp("framework")
    with local_provider.serve() as provider, otlp_sink.listening(backend.http) as sink:
        outcomes = worker_process.run(
            Path(scenario.__file__).with_name(f"{framework.name}_worker.py"),
            provider.url,
            outcomes=directory / "outcomes.jsonl",
            otlp_endpoint=sink.endpoint,
            python_path=python_path,
            environment={**SETTINGS, "OTEL_SERVICE_NAME": framework.name, "HOME": str(directory)},
        )
        requests, spans = provider.ledger()["entries"], sink.spans()
    stored = backend.get(f"/api/requests?service={framework.name}&limit=1000").body.decode()
    rows = [json.loads(line) for line in stored.splitlines()]
    return Shown(
        framework.name,
        {scene.name: scene for scene in SCENES[framework.name]},
        {outcome["name"]: outcome for outcome in outcomes},
        requests,
        spans,
        {row["request_id"]: row for row in rows},
        len(rows),
    )


def test_framework_works_as_its_documentation_says(shown: Shown) -> None:
    failed = {name for name, outcome in shown.outcomes.items() if "error" in outcome}

    assert shown.outcomes.keys() == shown.scenes.keys()
    assert failed == {scene.name for scene in shown.scenes.values() if scene.fails}, shown.outcomes
    for name in shown.outcomes.keys() - failed:
        assert shown.outcomes[name]["result"] or LEFT in shown.scenes[name].ends, name


def test_requests_take_the_transport_that_the_scene_is_about(shown: Shown) -> None:
    for name, scene in shown.scenes.items():
        sent = shown.outcomes[name]["sent_by_httpx"]
        if name.startswith("aiohttp"):  # LiteLLM's asynchronous calls: a client of httpx, and no transport of it
            assert sent == 0, name
        else:  # CrewAI has the vendor count tokens besides, which is no model call
            assert sent >= len(scene.ends), name


def test_every_request_is_one_billable_span(shown: Shown) -> None:
    spans = [shown.span_of(request) for request in shown.requests]

    assert len(spans) == len(shown.billable) == sum(len(scene.ends) for scene in shown.scenes.values())


def test_every_request_is_one_row_of_the_backend(shown: Shown) -> None:
    assert shown.row_count == len(shown.requests)
    assert shown.rows.keys() == {request["request_id"] for request in shown.requests}
    for scene, request, _ in shown.calls():
        row = shown.rows[request["request_id"]]
        assert (row["session_id"], row["user_id"]) == (scene.name, f"user-of-{scene.name}")
        if LEFT not in scene.ends and request["input_tokens"]:
            assert (row["input_tokens"], row["output_tokens"] or 0) == (
                request["input_tokens"],
                request["output_tokens"],
            )


def test_span_says_what_the_ledger_says(shown: Shown) -> None:
    for scene, request, span in shown.calls():
        said = span.attributes

        assert request["endpoint"] == scene.endpoint, scene
        assert said["gen_ai.provider.name"] == scene.provider, scene
        assert said["gen_ai.request.model"] == request["model"], scene
        assert said.get("gen_ai.request.stream", False) is request["stream"] is scene.stream, scene
        if scene.ends == (FAILED,):
            assert (request["status"], span.status_code) == (404, 2), scene
            assert request["model"] in span.status_message, scene
        elif LEFT not in scene.ends:
            assert said.get("gen_ai.response.id", "") == request["response_id"], scene
            assert _tokens(said) == _used(request), scene


def test_stream_is_followed_to_the_end_the_application_gives_it(shown: Shown) -> None:
    for scene, _, span in shown.calls():
        if scene.stream:
            exits = set() if LEFT in scene.ends else {"complete"}
            if LEFT in scene.ends or scene.leaves_end:
                exits |= {"closed", "abandoned", "process_exit"}
            assert span.attributes["tokentrail.stream.exit"] in exits, scene


def test_calls_end_as_the_scene_lets_them(shown: Shown) -> None:
    ends: dict[str, list[str]] = {name: [] for name in shown.scenes}
    for scene, _, span in shown.calls():
        reasons = span.attributes.get("gen_ai.response.finish_reasons")
        if isinstance(reasons, list):
            ends[scene.name] += reasons
        else:
            ends[scene.name] += [end for end in scene.ends if end in (FAILED, LEFT, EMBEDDED)]

    assert {name: sorted(reasons) for name, reasons in ends.items()} == {
        name: sorted(scene.ends) for name, scene in shown.scenes.items()
    }


def test_session_user_and_properties_reach_every_call_also_in_threads(shown: Shown) -> None:
    for scene, _, span in shown.calls():
        said = span.attributes

        assert said["session.id"] == scene.name
        assert said["user.id"] == f"user-of-{scene.name}"
        assert said["tokentrail.session.name"] == shown.name
        assert said["tokentrail.session.path"] == f"/{shown.name}"
        assert said["tokentrail.property.Framework"] == shown.name


def test_last_answer_is_in_the_content_of_a_span(shown: Shown) -> None:
    for name, outcome in shown.outcomes.items():
        if isinstance(outcome["result"], str) and not shown.scenes[name].fails:
            answers = [
                str(span.attributes.get("gen_ai.output.messages"))
                for span in shown.billable
                if span.trace_id == outcome["trace_id"]
            ]
            assert any(json.dumps(outcome["result"], ensure_ascii=False)[1:-1] in answer for answer in answers), name


def test_no_key_is_exported(shown: Shown) -> None:
    assert not [span.name for span in shown.spans if SECRET in repr(span)]


def test_every_worker_and_every_scene_is_listed() -> None:
    workers = {path.stem.removesuffix("_worker") for path in Path(scenario.__file__).parent.glob("*_worker.py")}

    assert workers == SCENES.keys() == {framework.name for framework in FRAMEWORKS}
    for scenes in expectations.SCENES.values():
        assert len({scene.name for scene in scenes}) == len(scenes)


@pytest.mark.slow
def test_own_spans_of_litellm_count_nothing_twice(tmp_path: Path) -> None:
    framework = next(each for each in FRAMEWORKS if each.name == "litellm")
    python_path = _installed(framework)
    script = Path(scenario.__file__).with_name("litellm_callback.py")
    with local_provider.serve() as provider, otlp_sink.listening() as sink:
        worker_process.run(
            script,
            provider.url,
            outcomes=tmp_path / "outcomes.jsonl",
            otlp_endpoint=sink.endpoint,
            python_path=python_path,
            environment=SETTINGS,
        )
        requests, spans = provider.ledger()["entries"], sink.spans()
    counted = [span for span in spans if judge.is_billable(span) and genai.DUPLICATE_OF not in span.attributes]

    assert len(requests) == 3
    assert sorted(_tokens(span.attributes) for span in counted) == sorted(map(_used, requests))


def _installed(framework: Framework) -> list[str]:
    """What `PYTHONPATH` needs for it; skips the test where it cannot be installed."""
    try:
        return frameworks.python_path(framework)
    except InstallError as error:
        pytest.skip(str(error))


def _tokens(said: Mapping[str, Any]) -> tuple[int, ...]:
    """Input, output and cached tokens of a span; absent ones are 0."""
    names = ("input_tokens", "output_tokens", "cache_read.input_tokens")
    return tuple(said.get(f"gen_ai.usage.{name}") or 0 for name in names)


def _used(request: Mapping[str, Any]) -> tuple[int, ...]:
    """The same of an entry of the ledger, which has only what the client was told."""
    return request["input_tokens"], request["output_tokens"], request["cached_tokens"]
