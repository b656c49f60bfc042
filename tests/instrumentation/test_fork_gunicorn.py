"""gunicorn loads the application, forks four workers, and every call of every worker arrives exactly once."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.otlp_sink import OtlpSink, listening
from support.sse_server import CHAT_RESPONSE, SseServer, json_reply

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gunicorn") is None or not hasattr(os, "fork"), reason="needs gunicorn, and fork"
)

WORKERS = 4


class Gunicorn:
    """A running gunicorn."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log
        self._url = ""

    def wait_until_ready(self) -> None:
        """Wait for the address and for all workers."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            log = self.log()
            address = re.search(r"Listening at: (http://[\d.:]+)", log)
            if address and log.count("Booting worker") >= WORKERS:
                self._url = address[1]
                return
            time.sleep(0.05)
        raise AssertionError(self.log())

    def ask(self, session_id: str) -> int:
        """Have a worker call a model, and return its process id."""
        with urllib.request.urlopen(f"{self._url}/{session_id}", timeout=20) as response:
            return int(response.read())

    def stop(self) -> None:
        """End it, gracefully."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text()


@contextmanager
def gunicorn(
    sink: OtlpSink,
    provider: SseServer,
    directory: Path,
    *flags: str,
    environment: Mapping[str, str],
    automatic: bool = True,
) -> Iterator[Gunicorn]:
    """gunicorn with the application of these tests, for the length of the block."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TOKENTRAIL_", "OPENAI_"))}
    path = [str(Path(__file__).parent), str(Path(__file__).parents[1]), clean.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", str(WORKERS), *flags]
    if automatic:
        command.insert(0, str(Path(sys.executable).parent / "opentelemetry-instrument"))
    log = directory / "gunicorn.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--worker-tmp-dir", str(directory), "fork_app:app"],
            env={
                **clean,
                "PYTHONPATH": os.pathsep.join(part for part in path if part),
                "PROVIDER_URL": provider.url,
                "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
                # Longer than any test takes: what arrives was sent because the process ended.
                "OTEL_BSP_SCHEDULE_DELAY": "60000",
                **environment,
            },
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        running = Gunicorn(process, log)
        try:
            running.wait_until_ready()
            yield running
        finally:
            try:
                running.stop()
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def sessions_of(sink: OtlpSink) -> Counter[str]:
    """How many calls arrived of each session."""
    calls = [span for span in sink.spans() if span.scope == "tokentrail.instrumentation"]
    assert all(span.attributes["gen_ai.usage.input_tokens"] == 9 for span in calls)
    return Counter(str(span.attributes["session.id"]) for span in calls)


def ask_all(server: Gunicorn, sessions: list[str]) -> set[int]:
    """Ask for every session, many at a time, and return the processes that answered."""
    with ThreadPoolExecutor(8) as pool:
        return set(pool.map(server.ask, sessions))


SESSIONS = [f"s{number}" for number in range(60)]


@pytest.mark.parametrize(
    ("automatic", "on_load", "flags"),
    [
        pytest.param(True, "", [], id="opentelemetry-instrument"),
        pytest.param(True, "waiting", ["--worker-class", "gthread", "--threads", "4"], id="threads, call on load"),
        pytest.param(False, "exported", [], id="by the application, call on load, exported"),
    ],
)
def test_every_call_of_every_worker_arrives_once(
    server: SseServer, tmp_path: Path, automatic: bool, on_load: str, flags: list[str]
) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    settings = {"CALL_ON_LOAD": on_load, "INSTRUMENT": "" if automatic else "1"}

    with (
        listening() as sink,
        gunicorn(sink, server, tmp_path, "--preload", *flags, environment=settings, automatic=automatic) as running,
    ):
        processes = ask_all(running, SESSIONS)
        running.stop()

        assert sessions_of(sink) == Counter([*SESSIONS, *(["on-load"] if on_load else [])]), running.log()
        assert len(processes) == WORKERS
        assert "Traceback" not in running.log()
        assert len(server.requests) == len(SESSIONS) + bool(on_load)


def test_workers_that_are_replaced_lose_nothing(server: SseServer, tmp_path: Path) -> None:
    server.script(json_reply(CHAT_RESPONSE))

    with (
        listening() as sink,
        gunicorn(sink, server, tmp_path, "--preload", "--max-requests", "8", environment={}) as running,
    ):
        processes = ask_all(running, SESSIONS)
        running.stop()

        assert sessions_of(sink) == Counter(SESSIONS), running.log()
        assert len(processes) > WORKERS
        assert "Traceback" not in running.log()


def test_workers_send_at_the_same_time_and_while_they_run(server: SseServer, tmp_path: Path) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    settings = {"CALL_ON_LOAD": "exported", "OTEL_BSP_SCHEDULE_DELAY": "20"}

    with listening() as sink, gunicorn(sink, server, tmp_path, "--preload", environment=settings) as running:
        for _ in range(3):
            ask_all(running, SESSIONS)
        running.stop()

        assert sessions_of(sink) == Counter([*SESSIONS * 3, "on-load"]), running.log()
        assert "Traceback" not in running.log()
