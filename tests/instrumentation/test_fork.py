"""Processes that fork and pools of processes: every call arrives exactly once, whatever way its process ends."""

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.otlp_sink import SentSpan, listening
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE, SseServer, json_reply
from tokentrail.instrumentation.deferred import Deferred

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

_APP = """
import json, multiprocessing, os, signal, sys, time, warnings
from concurrent.futures import ProcessPoolExecutor
import httpx2
from opentelemetry import trace
from tokentrail.instrumentation import session

warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is what this is about
URL, BODY = os.environ["CHAT_URL"], json.loads(os.environ["CHAT_BODY"])

def call(session_id):
    with session(str(session_id)):
        httpx2.post(URL, json=BODY).raise_for_status()
    return os.getpid()

def main():
"""


def calls_after(main: str, server: SseServer, directory: Path) -> list[SentSpan]:
    """The calls that arrive when an application whose `main` is this has run and ended."""
    server.script(json_reply(CHAT_RESPONSE))
    script = directory / "app.py"
    script.write_text(
        _APP + textwrap.indent(textwrap.dedent(main), "    ") + '\n\nif __name__ == "__main__":\n    main()\n'
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TOKENTRAIL_"))}
    with listening() as sink:
        done = subprocess.run(
            [Path(sys.executable).parent / "opentelemetry-instrument", sys.executable, script],
            env={
                **clean,
                "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
                "OTEL_BSP_SCHEDULE_DELAY": "60000",
                "CHAT_URL": server.chat_url,
                "CHAT_BODY": json.dumps(CHAT_REQUEST),
            },
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        calls = [span for span in sink.spans() if span.scope == "tokentrail.instrumentation"]
        assert {span.service for span in calls} == {"app"}
        return calls


def sessions_after(main: str, server: SseServer, directory: Path) -> Counter[str]:
    """How many of these calls there are of each session."""
    return Counter(str(span.attributes["session.id"]) for span in calls_after(main, server, directory))


def once(*groups: Sequence[object]) -> Counter[str]:
    """Each of these sessions has one call."""
    return Counter(str(each) for group in groups for each in group)


def test_children_of_a_process_that_has_exported_send_side_by_side(server: SseServer, tmp_path: Path) -> None:
    main = """
        call("parent")
        trace.get_tracer_provider().force_flush()
        children = []
        for number in range(4):
            if not (child := os.fork()):
                for turn in range(5):
                    call(f"{number}.{turn}")
                    trace.get_tracer_provider().force_flush()
                sys.exit(0)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        call("parent")
    """

    calls = calls_after(main, server, tmp_path)

    sent = Counter(str(span.attributes["session.id"]) for span in calls)
    users = {(span.connection, str(span.attributes["session.id"]).partition(".")[0]) for span in calls}
    assert sent == Counter(["parent"] * 2 + [f"{child}.{turn}" for child in range(4) for turn in range(5)])
    assert max(Counter(connection for connection, _ in users).values()) == 1, "a connection with two users"


def test_a_fork_right_after_the_first_call_hangs_nobody(server: SseServer, tmp_path: Path) -> None:
    main = """
        call("parent")  # the price list is being imported now, in the background
        if not (child := os.fork()):
            signal.alarm(20)
            call("child")
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """

    assert sessions_after(main, server, tmp_path) == once(["parent", "child"])


def test_a_stream_that_is_open_at_a_fork_is_the_parents(server: SseServer, tmp_path: Path) -> None:
    main = """
        with session("parent"), httpx2.stream("POST", URL, json=BODY) as response:
            if not (child := os.fork()):
                call("child")
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            response.read()
    """

    assert sessions_after(main, server, tmp_path) == once(["parent", "child"])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_and_pools_of_multiprocessing(server: SseServer, tmp_path: Path, method: str) -> None:
    main = f"""
        context = multiprocessing.get_context({method!r})
        call("parent")
        process = context.Process(target=call, args=("process",))
        process.start()
        process.join()
        assert process.exitcode == 0
        with context.Pool(1) as pool:  # its end is the death of its workers
            pool.map(call, range(6))
        pool = context.Pool(1)
        pool.map(call, ["closed"])
        pool.close()
        pool.join()
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            list(executor.map(call, ["executor 1", "executor 2"]))
    """

    arrived = sessions_after(main, server, tmp_path)

    assert arrived == once(range(6), ["parent", "process", "closed", "executor 1", "executor 2"])


def test_a_process_that_is_terminated_ends_by_that_signal(server: SseServer, tmp_path: Path) -> None:
    main = """
        def work(ready):
            call("child")
            ready.set()
            time.sleep(30)

        context = multiprocessing.get_context("fork")
        ready = context.Event()
        process = context.Process(target=work, args=(ready,))
        process.start()
        assert ready.wait(20)
        process.terminate()
        process.join(20)
        assert process.exitcode == -signal.SIGTERM, process.exitcode
    """

    assert sessions_after(main, server, tmp_path) == once(["child"])


def test_a_handler_of_the_application_for_sigterm_stays(server: SseServer, tmp_path: Path) -> None:
    main = """
        def quit(number, frame):
            sys.exit(7)

        def work(ready):
            assert signal.getsignal(signal.SIGTERM) is quit
            call("child")
            ready.set()
            time.sleep(30)

        signal.signal(signal.SIGTERM, quit)
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        process = context.Process(target=work, args=(ready,))
        process.start()
        assert ready.wait(20)
        process.terminate()
        process.join(20)
        assert process.exitcode == 7, process.exitcode
    """

    assert sessions_after(main, server, tmp_path) == once(["child"])


# The background worker ----------------------------------------------------------------------------------------


def test_a_parked_worker_has_done_what_it_was_given_and_does_no_more_until_released() -> None:
    worker = Deferred()
    done: list[int] = []
    worker.submit(lambda: done.append(1), 0)

    release = worker.park(5)
    worker.submit(lambda: done.append(2), 0)
    time.sleep(0.05)
    at_rest = list(done)
    release()

    assert worker.flush(5)
    assert at_rest == [1]
    assert done == [1, 2]


def test_parking_a_worker_that_never_ran_starts_no_thread() -> None:
    worker = Deferred()

    worker.park(0)()

    assert worker._thread is None


def test_parking_gives_up_on_a_job_that_takes_too_long() -> None:
    worker = Deferred()
    done: list[int] = []
    goes_on = threading.Event()

    def wait() -> None:
        goes_on.wait(30)

    worker.submit(wait, 0)

    release = worker.park(0.05)  # comes back although the job does not end
    release()
    worker.submit(lambda: done.append(1), 0)
    goes_on.set()

    assert worker.flush(5)
    assert done == [1]
