"""What is set once reaches work in threads, and no thread keeps what was another's."""

import asyncio
import gc
import logging
import multiprocessing.pool
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

from support.http_shells import SHELLS
from support.span_log import Spans, attributes
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE, SseServer, json_reply
from support.tags import where
from tokentrail.instrumentation import TokentrailInstrumentor, guard, session, threads, user
from tokentrail.instrumentation.context import current_tags
from tokentrail.instrumentation.deferred import Deferred

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

INSIDE = ("s", "/a")
OUTSIDE = ("", "")


@pytest.fixture
def carrying(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Contexts are carried, and failures to do so are raised."""
    monkeypatch.setattr(guard, "strict", True)
    threads.install({})
    yield
    threads.uninstall()


class Overriding(threading.Thread):
    """A thread with a `run` of its own, as most that are written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.saw = ("not", "run")

    def run(self) -> None:
        self.saw = where()


def in_thread(make: Callable[[Callable[[], None]], threading.Thread]) -> tuple[str, str]:
    """What a thread sees that was made and started here."""
    saw: list[tuple[str, str]] = []
    thread = make(lambda: saw.append(where()))
    thread.start()
    thread.join(10)
    return saw[0]


# What reaches a thread ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("carrying")
def test_a_thread_is_inside_the_scope_it_was_started_in() -> None:
    with session("s", path="a"):
        assert in_thread(lambda work: threading.Thread(target=work)) == INSIDE
        assert in_thread(lambda work: threading.Timer(0.001, work)) == INSIDE
    assert in_thread(lambda work: threading.Thread(target=work)) == OUTSIDE


@pytest.mark.usefixtures("carrying")
def test_a_thread_made_outside_and_started_inside_is_inside() -> None:
    thread = Overriding()
    with session("s", path="a"):
        thread.start()
    thread.join(10)

    assert thread.saw == INSIDE
    assert "run" not in thread.__dict__


@pytest.mark.usefixtures("carrying")
def test_a_run_that_somebody_else_put_on_the_object_is_run_and_put_back() -> None:
    saw: list[tuple[str, str]] = []
    thread = Overriding()

    def run() -> None:
        saw.append(where())

    thread.__dict__["run"] = run

    with session("s", path="a"):
        thread.start()
    thread.join(10)

    assert saw == [INSIDE]
    assert thread.__dict__["run"] is run


@pytest.mark.usefixtures("carrying")
def test_the_parent_span_is_carried_too(instrument: Callable[..., Spans]) -> None:
    tracer = instrument().provider.get_tracer("app")
    found: list[object] = []

    with tracer.start_as_current_span("request") as span, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: found.append(trace.get_current_span())).result()

    assert found == [span]


@pytest.mark.usefixtures("carrying")
def test_each_job_of_an_executor_has_the_context_it_was_submitted_in() -> None:
    with ThreadPoolExecutor(1) as pool:
        with session("s", path="a"):
            assert pool.submit(where).result() == INSIDE
            assert list(pool.map(lambda _: where(), range(3))) == [INSIDE] * 3
        with session("other"):
            assert pool.submit(where).result() == ("other", "/")
        assert pool.submit(where).result() == OUTSIDE
        assert pool.submit(divmod, 7, 2).result() == (3, 1)
        assert pool.submit(int, "11", base=2).result() == 3


@pytest.mark.usefixtures("carrying")
def test_a_thread_pool_of_multiprocessing_is_inside_the_scope_it_was_made_in() -> None:
    with session("s", path="a"), multiprocessing.pool.ThreadPool(2) as pool:
        assert pool.map(lambda _: where(), range(4)) == [INSIDE] * 4


@pytest.mark.usefixtures("carrying")
def test_executors_of_the_event_loop_task_groups_and_generators_are_inside() -> None:
    async def generate() -> AsyncIterator[tuple[str, str]]:
        for _ in range(2):
            yield await asyncio.to_thread(where)

    async def main() -> list[tuple[str, str]]:
        loop = asyncio.get_running_loop()
        places = []
        with session("s", path="a"), ThreadPoolExecutor(1) as pool:
            places.append(await asyncio.to_thread(where))
            places.append(await loop.run_in_executor(None, where))
            places.append(await loop.run_in_executor(pool, where))
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(asyncio.to_thread(where)) for _ in range(3)]
            places += [task.result() for task in tasks]
            places += [place async for place in generate()]
        places.append(await loop.run_in_executor(None, where))
        return places

    assert asyncio.run(main()) == [INSIDE] * 8 + [OUTSIDE]


def test_calls_in_threads_say_whose_they_are(instrument: Callable[..., Spans], server: SseServer) -> None:
    spans = instrument()
    server.script(json_reply(CHAT_RESPONSE))
    shell = next(shell for shell in SHELLS if shell.name == "httpx2-sync")

    def call() -> None:
        async def scenario() -> None:
            async with shell.client() as client:
                await shell.post(client, server.chat_url, json=CHAT_REQUEST)

        asyncio.run(scenario())

    with session("s", path="a"), user("u"), ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(call) for _ in range(3)]
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(10)
    for future in futures:
        future.result()

    assert [(attributes(span)["session.id"], attributes(span)["user.id"]) for span in spans.calls()] == [("s", "u")] * 4


# What does not -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("carrying")
def test_the_threads_of_an_executor_do_not_keep_the_first_context() -> None:
    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)
    key = otel_context.create_key("held")
    token = otel_context.attach(otel_context.set_value(key, held))
    pool = ThreadPoolExecutor(1)
    pool.submit(where).result()
    otel_context.detach(token)
    del held, token
    pool.submit(where).result()  # the worker has let go of the first job by then
    gc.collect()

    assert gone() is None
    pool.shutdown()


@pytest.mark.usefixtures("carrying")
def test_threads_that_work_for_all_have_no_context() -> None:
    saw: list[tuple[str, str]] = []
    worker = Deferred()

    with user("u"):
        worker.submit(lambda: saw.append((current_tags().user, "")), 0)
        assert worker.flush()

    assert saw == [OUTSIDE]


@pytest.mark.usefixtures("carrying")
def test_the_callbacks_of_a_process_pool_have_not_the_context_of_the_first_job() -> None:
    saw: list[tuple[str, str]] = []

    def note(future: Future[int]) -> None:
        saw.append(where())

    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        with session("s", path="a"):
            pool.submit(abs, -1).result()
        later = pool.submit(abs, -1)
        later.add_done_callback(note)
        later.result()

    assert saw == [OUTSIDE]


# Manners -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("carrying")
def test_a_thread_that_cannot_start_says_so_and_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    thread = Overriding()
    with monkeypatch.context() as patched, session("s"):
        patched.setattr(threading, name, refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            thread.start()

    assert "run" not in thread.__dict__


@pytest.mark.usefixtures("carrying")
def test_starting_twice_fails_as_ever() -> None:
    thread = Overriding()
    with session("s"):
        thread.start()
        with pytest.raises(RuntimeError, match="once"):
            thread.start()
        thread.join(10)

    assert "run" not in thread.__dict__


@pytest.mark.usefixtures("carrying")
def test_exceptions_and_wrong_calls_pass_unchanged() -> None:
    def fail() -> None:
        raise LookupError("mine")

    with session("s"), ThreadPoolExecutor(1) as pool:
        with pytest.raises(LookupError, match="mine"):
            pool.submit(fail).result()
        with pytest.raises(TypeError):
            pool.submit()  # type: ignore[call-arg]


@pytest.mark.usefixtures("carrying")
def test_a_failure_of_ours_leaves_the_thread_running(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise LookupError("ours")

    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_seen", set())
    monkeypatch.setattr(threads, "_prepare", fail)

    with session("s"), caplog.at_level(logging.WARNING):
        assert in_thread(lambda work: threading.Thread(target=work)) == OUTSIDE
        assert in_thread(lambda work: threading.Thread(target=work)) == OUTSIDE

    assert len(caplog.records) == 1


@pytest.mark.parametrize("names", ["threading", "requests, threading", "*"])
def test_it_can_be_left_out(names: str) -> None:
    threads.uninstall()
    threads.install({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": names})

    with session("s"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(where).result() == OUTSIDE


def test_it_is_on_as_long_as_the_instrumentation_is(instrument: Callable[..., Spans]) -> None:
    instrument()
    with session("s", path="a"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(where).result() == INSIDE

    TokentrailInstrumentor().uninstrument()

    with session("s", path="a"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(where).result() == OUTSIDE


def test_switching_on_many_times_hooks_once(instrument: Callable[..., Spans]) -> None:
    instrument()
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit
    for _ in range(3):
        TokentrailInstrumentor().uninstrument()
        instrument()

    assert threading.Thread.start is start
    assert ThreadPoolExecutor.submit is submit
