"""Runs the provider and the workers, and has them take turns.

In each round every worker runs one block of each case, in an order that changes from round to round; what a contender
adds is the difference to the uninstrumented worker's block of the same case in the same round.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.cases import Case
from benchmarks.contenders import Contender, Kind, contender
from support import rivals, sdk_versions
from support.sdk_versions import InstallError, Sdk

_TESTS: Final = Path(__file__).parents[1]
_STOP_S: Final = 10.0
_WARM_UP: Final = 3
"""Blocks of each case before the first one that counts."""
_FOREIGN: Final = ("OTEL_", "TOKENTRAIL_", "OPENAI_", "LANGFUSE_", "TRACELOOP_", "OPENINFERENCE_")


class WorkerError(Exception):
    """A worker says that its contender cannot be measured, or has died."""


Report = Callable[[str], None]
"""Takes lines about how it goes."""


@dataclass(frozen=True, slots=True, order=True)
class Mode:
    """A contender with content captured or without."""

    name: str
    content: bool

    @property
    def contender(self) -> Contender:
        """What it is a mode of."""
        return contender(self.name)

    @property
    def label(self) -> str:
        """As lines about its progress say it."""
        return f"{self.name}{' + content' if self.content else ''}"


@dataclass(frozen=True, slots=True)
class Setup:
    """What all workers of a run have alike."""

    sdk: Sdk
    signals: str = "traces"
    """`traces`, or `all` for metrics and logs too."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one block cost, nanoseconds of CPU time a call."""

    total_ns: float
    """Of all threads, work that was put off included."""
    foreground_ns: float
    """Of the calling thread until it had its response."""


@dataclass(slots=True)
class Run:
    """What was measured."""

    sdk: str = ""
    signals: str = "traces"
    samples: dict[tuple[Mode, str], list[Sample]] = field(default_factory=dict)
    """By mode and case, in the order of the rounds; of the uninstrumented application several a round."""
    failed: dict[Mode, str] = field(default_factory=dict)
    """Why a mode is not measured."""
    spans: dict[Mode, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """By mode and case, what the check saw of the span."""
    load: list[float] = field(default_factory=list)
    """Of the machine, one minute's average after each round."""


class WorkerProcess:
    """A worker; not thread-safe."""

    def __init__(self, mode: Mode, setup: Setup, ports: dict[str, int]) -> None:
        self.mode = mode
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "benchmarks.worker",
            mode.name,
            "on" if mode.content else "off",
        ]
        self._process = subprocess.Popen(
            [*command, setup.sdk.http_library, setup.signals, json.dumps(ports)],
            env=_environment(mode, setup.sdk),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            self.startup = self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        """Have it do something and wait for the answer. Raises `WorkerError`."""
        assert self._process.stdin is not None
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError as error:
            raise WorkerError("its process has ended") from error
        return self._answer()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"its process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer


def _environment(mode: Mode, sdk: Sdk) -> dict[str, str]:
    name = mode.contender.rival
    paths = rivals.python_path(name, sdk) if name else sdk_versions.python_path(sdk)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    kept = {key: value for key, value in kept.items() if not key.lower().endswith("_proxy")}
    kept |= {"PYTHONPATH": os.pathsep.join([*paths, str(_TESTS)]), "PYTHONHASHSEED": "0"}
    return kept | mode.contender.environment(content=mode.content)


@contextmanager
def provider() -> Iterator[dict[str, int]]:
    """The provider's process for the length of the block; gives its ports by case."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.provider"],
        env=os.environ | {"PYTHONPATH": str(_TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(_STOP_S)
        process.stdout.close()


@contextmanager
def workers(modes: Sequence[Mode], setup: Setup, run: Run, report: Report) -> Iterator[dict[Mode, WorkerProcess]]:
    """A provider and a worker for each mode that can be switched on; the others are noted as failed."""
    with ExitStack() as stack:
        ports = stack.enter_context(provider())
        started: dict[Mode, WorkerProcess] = {}
        for mode in modes:
            try:
                worker = WorkerProcess(mode, setup, ports)
            except (WorkerError, InstallError) as error:
                run.failed[mode] = str(error)
                report(f"{mode.label}: {error}")
                continue
            stack.callback(worker.close)
            started[mode] = worker
            run.sdk = f"openai {worker.startup['sdk']}"
        yield started


def measure(modes: Sequence[Mode], cases: Sequence[Case], rounds: int, setup: Setup, report: Report) -> Run:
    """Check every mode in every case, then measure them in turns."""
    run = Run(signals=setup.signals)
    with workers(modes, setup, run, report) as started:
        for mode, worker in list(started.items()):
            _check(mode, worker, cases, run, report)
            if mode in run.failed:
                del started[mode]
        order = random.Random(20_261_121)  # the same order in every run
        begun = time.monotonic()
        for number in range(rounds):
            for case in cases:
                turn = [mode for mode in started if mode not in run.failed]
                order.shuffle(turn)
                turn = _with_base(turn)
                for mode in turn:
                    _block(mode, started[mode], case, run, report)
            run.load.append(os.getloadavg()[0])
            report(f"round {number + 1} of {rounds}, {time.monotonic() - begun:.0f} s")
    return run


def _with_base(turn: list[Mode]) -> list[Mode]:
    """The turn with the uninstrumented blocks, which everything is compared with, at its start, middle and end."""
    base = [mode for mode in turn if mode.contender.kind is Kind.NONE]
    others = [mode for mode in turn if mode not in base]
    middle = len(others) // 2
    return [*base, *others[:middle], *base, *others[middle:], *base]


def _check(mode: Mode, worker: WorkerProcess, cases: Sequence[Case], run: Run, report: Report) -> None:
    """Have the worker show that its contender does what it should, and warm up."""
    try:
        for case in cases:
            worker.ask("block", case=case.name, calls=_WARM_UP * case.calls)
            run.spans.setdefault(mode, {})[case.name] = worker.ask("check", case=case.name)
        worker.ask("settle")
    except WorkerError as error:
        run.failed[mode] = f"{case.title}: {error}"
        report(f"{mode.label}: {run.failed[mode]}")


def _block(mode: Mode, worker: WorkerProcess, case: Case, run: Run, report: Report) -> None:
    try:
        took = worker.ask("block", case=case.name, calls=case.calls)
    except WorkerError as error:
        run.failed[mode] = f"{case.title}: {error}"
        report(f"{mode.label}: {run.failed[mode]}")
        return
    sample = Sample(took["total_ns"] / case.calls, took["foreground_ns"] / case.calls)
    run.samples.setdefault((mode, case.name), []).append(sample)
