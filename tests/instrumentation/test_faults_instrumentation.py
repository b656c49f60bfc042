"""Every function on a call's path made to fail in turn: the application notices nothing, and hears of it once."""

import gzip
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from types import CodeType, FunctionType
from typing import Any, Final

import pytest

from support.fault_scenes import Scene, World, scenes
from support.faults import Fault, InjectedError, broken, called, functions_of, modules_of
from support.http_shells import Shell, run
from support.span_log import Spans, attributes
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE, DONE, ROLE, STOP, USAGE, WORDS, SseServer, json_reply
from tokentrail.instrumentation import TokentrailInstrumentor, guard, headers, properties, session, stream_usage
from tokentrail.instrumentation.config import Capture
from tokentrail.instrumentation.context import NO_TAGS, current_tags
from tokentrail.semconv.pricing import resolve

MODULES: Final = modules_of("tokentrail.instrumentation", "tokentrail.semconv.cost", "tokentrail.semconv.pricing")
FUNCTIONS: Final = {name: found for name, module in MODULES.items() if (found := functions_of(module))}
"""By module and qualified name; modules that only name things are left out."""
CODES: Final[Mapping[CodeType, str]] = {
    function.__code__: f"{module}:{name}" for module, found in FUNCTIONS.items() for name, function in found.items()
}
SCENES: Final = tuple(scenes())

NOT_ON_THE_PATH: Final = {
    "tokentrail.instrumentation.config": "is read when the instrumentation is switched on",
    "tokentrail.instrumentation.distro": "runs before the application does",
    "tokentrail.instrumentation.fork": "runs at a fork; test_fork.py",
    "tokentrail.instrumentation.framing._base": "says what others do",
    "tokentrail.instrumentation.guard": "is what catches the failures of the others",
    "tokentrail.instrumentation.instrumentor": "switches on and off",
    "tokentrail.instrumentation.patch": "hooks a library when it is imported",
    "tokentrail.instrumentation.wire._base": "says what others do",
    "tokentrail.semconv.pricing._base": "says what others do",
    "tokentrail.semconv.pricing.explain": "is for the command line",
    "tokentrail.semconv.pricing.tables.price_file": "reads a table, once; test_semconv_user_file.py",
    "tokentrail.semconv.pricing.tables.price_line": "is for the backend",
    "tokentrail.semconv.pricing.tables.toml_lines": "reads a table, once; test_semconv_price_file.py",
}
"""Modules of which no call runs anything."""

GUARDS: Final[Mapping[str, frozenset[str]]] = {
    "tokentrail.instrumentation.context": frozenset(
        {
            *("session", "user", "properties", "prompt"),
            *("_Scope.__init__", "_Scope.__enter__", "_Scope.__exit__", "detach"),
        }
    ),
    "tokentrail.instrumentation.deferred": frozenset({"_run"}),
    "tokentrail.instrumentation.patch._base": frozenset({"watcher", "begin", "enter", "leave", "fail"}),
    "tokentrail.instrumentation.patch._aiohttp_body": frozenset({"close", "_Watch.__del__"}),
    "tokentrail.instrumentation.patch._usage": frozenset({"Hiding.feed", "Hiding.end"}),
    "tokentrail.instrumentation.patch._urllib3_usage": frozenset(
        {
            *("ShownFile.__getattr__", "ShownFile.read", "ShownFile.read1", "ShownFile.pieces"),
            *("ShownFile.isclosed", "ShownFile.closed", "ShownFile.close", "ShownFile._take", "ShownFile._give"),
        }
    ),
    "tokentrail.instrumentation.patch.aiohttp_client": frozenset(
        {
            *("_begin", "_take_off_metadata"),
            *("_Call.start_request", "_Call.follow", "_Call.end", "_Call.was_refused"),
        }
    ),
    "tokentrail.instrumentation.patch.httpx_client": frozenset(
        {
            *("_begin", "_fail", "_observe", "_Call.__init__", "_Call.was_refused"),
            *("_Around.__init__", "_Replay.__init__", "_Tee.__del__"),
        }
    ),
    "tokentrail.instrumentation.patch.urllib3_client": frozenset(
        {"_begin", "_observe", "_watched", "_was_refused", "_Call.__init__", "_Watch.__del__"}
    ),
    "tokentrail.instrumentation.processor": frozenset(
        f"ContextSpanProcessor.{name}" for name in ("on_start", "on_end", "force_flush", "shutdown")
    ),
    "tokentrail.instrumentation.threads": frozenset({"_Carried.__init__", "_Carried.__call__"}),
    "tokentrail.instrumentation.unstarted": frozenset(
        f"UnstartedSpan.{name}"
        for name in (
            *("started", "__getattr__", "is_recording", "get_span_context", "set_attributes", "set_attribute"),
            *("add_event", "add_link", "update_name", "set_status", "record_exception", "end"),
        )
    ),
}
"""What the application, a library or the SDK calls itself: `protect` is in there, and what stands outside it cannot
fail, as an assignment cannot."""

GUARDED_THROUGHOUT: Final = frozenset(
    {"tokentrail.instrumentation.patch._base", "tokentrail.instrumentation.processor"}
)
"""Modules of which calls run nothing but guards."""

SAY_IT_OTHERWISE: Final = ("tokentrail.semconv.", "tokentrail.instrumentation.framing.coding")
"""Whose failures are logged once in a process, as the price list's are, or told by the span, as a coding's are."""

READING: Final = (
    *("tokentrail.instrumentation.wire.", "tokentrail.instrumentation.framing.", "tokentrail.semconv."),
    *("tokentrail.instrumentation.body", "tokentrail.instrumentation.content", "tokentrail.instrumentation.secrets"),
)
"""Modules that read bodies, and price what they say."""
IN_MEMORY: Final = frozenset({"plain", "streamed"})
"""Kinds of scenes without a connection."""
DEFERRED: Final = tuple(
    f"tokentrail.instrumentation.{name}"
    for name in ("deferred", "exchange", "late_owner", "owner", "processor", "record", "unstarted")
)
"""Modules that differ when what can wait is done by another thread."""

_hits: dict[bool, dict[str, list[Scene]]] = {}


def _find_hits(world: World, defers: bool) -> Mapping[str, list[Scene]]:
    """The scenes that call each function, `module:name`; where work is deferred, what does it is not seen."""
    if defers not in _hits:
        found: dict[str, list[Scene]] = {}
        for scene in SCENES:
            resolve._rate_card.cache_clear()
            with called(CODES) as names:
                seen = _play(scene, world)
                world.spans.provider.force_flush()
            assert seen == scene.expected[0], scene.name
            for name in names:
                found.setdefault(name, []).append(scene)
        _hits[defers] = found
    return _hits[defers]


def _play(scene: Scene, world: World) -> object:
    """What the application sees, in a context of its own, with nobody known to refuse us."""
    observer = TokentrailInstrumentor()._observer
    assert observer is not None
    observer._refusing.clear()
    return copy_context().run(scene.play, world)


def _choose(found: Iterable[Scene], module: str, defers: bool) -> list[Scene]:
    """One scene of each kind that is worth it: what reads bodies fails alike whoever the client is."""
    kinds = {scene.kind: scene for scene in found}
    in_memory = [scene for kind, scene in kinds.items() if kind in IN_MEMORY]
    if module.startswith(READING) and in_memory:
        return in_memory
    return [scene for scene in kinds.values() if not defers or scene not in in_memory]


@pytest.fixture
def unraised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was raised where nobody can catch it: in destructors, and at the bottom of threads."""
    found: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: found.append(f"in a destructor: {args.exc_value!r}"))
    monkeypatch.setattr(threading, "excepthook", lambda args: found.append(f"in a thread: {args.exc_value!r}"))
    return found


def test_every_module_is_on_the_path_or_it_is_said_why_not() -> None:
    unknown = set(NOT_ON_THE_PATH) - set(MODULES)

    assert not unknown
    for module, names in GUARDS.items():
        assert names <= FUNCTIONS[module].keys(), module


@pytest.mark.parametrize(
    ("module", "defers"),
    [*((module, False) for module in sorted(FUNCTIONS.keys() - NOT_ON_THE_PATH)), *((name, True) for name in DEFERRED)],
    ids=lambda value: value if isinstance(value, str) else "deferred" if value else "at once",
)
def test_a_failure_of_ours_is_logged_once_and_felt_by_nobody(
    module: str,
    defers: bool,
    instrument: Callable[..., Spans],
    server: SseServer,
    unraised: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spans = instrument(capture=Capture.SPAN_AND_EVENT, defer=defers, baggage=True)
    world = World(server, spans)
    hits = _find_hits(world, defers)
    monkeypatch.setattr(guard, "strict", False)
    functions = {name: function for name, function in FUNCTIONS[module].items() if name not in GUARDS.get(module, ())}
    wrong: list[str] = []
    broken_calls = 0

    for name, function in functions.items():
        for scene in _choose(hits.get(f"{module}:{name}", ()), module, defers):
            monkeypatch.setattr(guard, "_seen", set())
            resolve._rate_card.cache_clear()
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                fault, problems = _break(function, scene, world)
            problems += _judge_log(caplog.records, fault, module)
            wrong += [f"{name} in {scene.name}: {problem}" for problem in (*problems, *unraised)]
            unraised.clear()
            broken_calls += fault.calls
    resolve._rate_card.cache_clear()
    spans_before = len(spans.calls())
    healthy = [(scene.name, _play(scene, world) == scene.expected[0]) for scene in SCENES[:4]]

    assert wrong == []
    if not defers and module not in GUARDED_THROUGHOUT:
        assert broken_calls, "nothing of the module is on the path: the test would prove nothing"
    assert healthy == [(scene.name, True) for scene in SCENES[:4]]
    assert len(spans.calls()) - spans_before >= 4 * 5


def _break(function: FunctionType, scene: Scene, world: World) -> tuple[Fault, list[str]]:
    """Play `scene` while `function` fails; what is wrong with what the application sees."""
    problems: list[str] = []
    with broken(function) as fault:
        try:
            for _ in range(2 if scene.kind in IN_MEMORY else 1):
                if (seen := _play(scene, world)) not in scene.expected:
                    problems.append(f"the application saw {seen!r:.300}")
            world.spans.provider.force_flush()
        except Exception as error:
            problems.append(f"the application got {error!r}")
    return fault, problems


def _judge_log(records: list[logging.LogRecord], fault: Fault, module: str) -> list[str]:
    said = [(record.name, record.getMessage()) for record in records if record.levelno >= logging.WARNING]
    problems = [f"logged twice: {line}" for line in {line for line in said if said.count(line) > 1}]
    problems += [f"logged by {name}: {message}" for name, message in said if not name.startswith("tokentrail.")]
    if fault.calls and not said and not module.startswith(SAY_IT_OTHERWISE):
        problems.append("nothing was logged")
    return problems


def test_under_test_a_failure_of_ours_is_raised(
    shell: Shell, spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> Any:
        raise InjectedError

    async def scenario() -> None:
        async with shell.client() as client:
            await shell.post(client, server.chat_url, json=CHAT_REQUEST)

    server.script(json_reply(CHAT_RESPONSE))
    monkeypatch.setattr(headers, "read_request", fail)

    with pytest.raises(InjectedError):
        run(scenario())


def test_an_exception_whose_text_cannot_be_had_is_recorded_by_its_name(
    shell: Shell, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WordlessError(Exception):
        def __str__(self) -> str:
            raise InjectedError

    def answer(request: Any) -> Any:
        raise WordlessError

    monkeypatch.setattr(guard, "strict", False)

    async def scenario() -> None:
        async with shell.client(transport=shell.library.MockTransport(answer)) as client:
            with pytest.raises(WordlessError):
                await shell.post(client, "https://api.openai.com/v1/chat/completions", json=CHAT_REQUEST)

    run(scenario())

    assert "WordlessError" in attributes(spans.one())["error.type"]


def test_a_value_whose_text_cannot_be_had_is_no_property_and_does_no_harm(
    spans: Spans, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Wordless:
        def __str__(self) -> str:
            raise InjectedError

    monkeypatch.setattr(guard, "strict", False)
    seen: list[Any] = []

    tracer = spans.provider.get_tracer("application")
    with session("s-1"), properties(team=Wordless()), tracer.start_as_current_span("work") as span:
        seen.append(dict(getattr(span, "attributes", {})))

    assert seen == [{"session.id": "s-1", "tokentrail.session.path": "/"}]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert current_tags() is NO_TAGS


@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize("fails_at", range(4))
def test_a_filter_that_fails_anywhere_has_lost_nothing(
    coding: str, fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = b"".join((ROLE, *WORDS, STOP, USAGE, DONE))
    sent = gzip.compress(stream) if coding else stream
    pieces = [sent[start : start + 50] for start in range(0, len(sent), 50)]
    hide = stream_usage.UsageFilter(coding)
    calls = 0

    def fail_some_time(event: bytes) -> bool:
        nonlocal calls
        calls += 1
        if calls > fails_at:
            raise InjectedError
        return False

    monkeypatch.setattr(stream_usage, "_is_usage_only", fail_some_time)
    shown = b""
    for piece in pieces:
        try:
            shown += hide.feed(piece)
        except InjectedError:
            shown += hide.give_up(piece)
    shown += hide.flush()

    assert calls == fails_at + 1
    assert shown == stream
