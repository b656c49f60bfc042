"""What else is measured: profiles, an event loop's lateness, start-up and memory."""

import random
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from benchmarks.cases import Case
from benchmarks.driver import Mode, Report, Run, Setup, WorkerError, WorkerProcess, provider, workers
from support.sdk_versions import InstallError

_BARE: Final = """
import time
wall, cpu = time.perf_counter(), time.process_time()
{code}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
_MODULES: Final = 15
_STARTS: Final = {
    "import opentelemetry.sdk.trace": "import opentelemetry.sdk.trace",
    "import tokentrail.instrumentation": "import tokentrail.instrumentation",
    "... and instrument()": (
        "import tokentrail.instrumentation\ntokentrail.instrumentation.TokentrailInstrumentor().instrument()"
    ),
    "... after the SDK of OpenTelemetry, httpx2 and openai": (
        "import opentelemetry.sdk.trace, openai\nwall, cpu = time.perf_counter(), time.process_time()\n"
        "import tokentrail.instrumentation\ntokentrail.instrumentation.TokentrailInstrumentor().instrument()"
    ),
}


def profile(modes: Sequence[Mode], cases: Sequence[Case], calls: int, setup: Setup, report: Report) -> int:
    """Print profiles of every mode but the uninstrumented one, each in a fresh process."""
    with provider() as ports:
        for mode in modes:
            if mode.name == "none":
                continue
            for case in cases:
                worker = WorkerProcess(mode, setup, ports)
                try:
                    tables = worker.ask("profile", case=case.name, calls=max(calls // max(case.chunks // 10, 1), 20))
                except WorkerError as error:
                    report(f"{mode.label}: {error}")
                    return 1
                finally:
                    worker.close()
                for thread, table in tables.items():
                    print(f"== {mode.label}, {case.title}, thread {thread}\n{table}")
    return 0


def lag(modes: Sequence[Mode], rounds: int, streams: int, setup: Setup, report: Report) -> int:
    """Print how late a ticker of one millisecond is beside `streams` streams; medians over the rounds, in turns."""
    found: dict[Mode, list[dict[str, Any]]] = {}
    run = Run()
    with workers(modes, setup, run, report) as started:
        for number in range(rounds):
            for mode, worker in random.Random(number).sample(sorted(started.items(), key=_by_mode), len(started)):
                try:
                    found.setdefault(mode, []).append(worker.ask("lag", streams=streams))
                except WorkerError as error:
                    run.failed[mode] = str(error)
                    report(f"{mode.label}: {error}")
            report(f"round {number + 1} of {rounds}")
    print(f"lateness of a 1 ms ticker beside {streams} streams of 100 chunks in half a second, ms; CPU time of all, ms")
    for mode, results in found.items():
        late = [
            f"{name[:-3]} {median(each[name] for each in results):.2f}" for name in ("median_ms", "p99_ms", "max_ms")
        ]
        print(f"  {mode.label:30} {'  '.join(late)}  cpu {median(each['total_ns'] for each in results) / 1e6:.0f}")
    return 1 if run.failed else 0


def _by_mode(item: tuple[Mode, WorkerProcess]) -> Mode:
    return item[0]


def startup(modes: Sequence[Mode], rounds: int, setup: Setup, report: Report) -> int:
    """Print what importing takes in a bare interpreter, and what switching on adds to an application's start."""
    print("in an interpreter of its own, ms (wall, CPU):")
    for name, code in _STARTS.items():
        times = [_start(code) for _ in range(rounds)]
        print(
            f"  {name:60} {median(wall for wall, _ in times) * 1e3:7.1f} {median(cpu for _, cpu in times) * 1e3:7.1f}"
        )
    print("dearest modules of it, ms each by itself (-X importtime):")
    for line in _dearest_modules():
        print(f"  {line}")
    print("switched on after openai and the SDK of OpenTelemetry, ms (wall, CPU, modules):")
    failed = False
    with provider() as ports:
        for mode in modes:
            if mode.content:
                continue
            try:
                found = [_switched_on(mode, setup, ports) for _ in range(rounds)]
            except (WorkerError, InstallError) as error:
                report(f"{mode.label}: {error}")
                failed = True
                continue
            wall, cpu = (median(each[key] for each in found) / 1e6 for key in ("wall_ns", "cpu_ns"))
            print(f"  {mode.contender.title:60} {wall:7.1f} {cpu:7.1f} {found[0]['modules']:5}")
    return 1 if failed else 0


def _switched_on(mode: Mode, setup: Setup, ports: dict[str, int]) -> dict[str, Any]:
    worker = WorkerProcess(mode, setup, ports)
    worker.close()
    return worker.startup


def _start(code: str) -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", _BARE.format(code=code)], capture_output=True, text=True, check=True)
    wall, cpu = done.stdout.split()
    return float(wall), float(cpu)


def _dearest_modules() -> list[str]:
    """What importing and switching on takes by module, as the interpreter's own measurement says."""
    command = [sys.executable, "-X", "importtime", "-c", _STARTS["... and instrument()"]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()]
    times = sorted(((int(own), name.strip()) for own, _, name in found if own.strip().isdecimal()), reverse=True)
    return [f"{own / 1e3:6.1f}  {name}" for own, name in times[:_MODULES]]


def soak(modes: Sequence[Mode], calls: int, setup: Setup, report: Report) -> int:
    """Print the memory of each mode over `calls` calls: resident, and objects; once more with traced allocations."""
    run = Run()
    for traced in (False, True):
        wanted = calls // 10 if traced else calls
        with workers(modes, setup, run, report) as started:
            for mode, worker in started.items():
                try:
                    found = worker.ask("soak", calls=wanted, traced=traced)
                except WorkerError as error:
                    run.failed[mode] = str(error)
                    report(f"{mode.label}: {error}")
                    continue
                print(f"{mode.label}, {wanted} calls in {found['seconds']:.0f} s{', traced' if traced else ''}")
                for each in found["samples"]:
                    print(_memory(each))
    return 1 if run.failed else 0


def _memory(sample: dict[str, int]) -> str:
    line = f"  {sample['calls']:>9} calls  {sample['rss_bytes'] / 2**20:8.1f} MiB  {sample['objects']:>8} objects"
    return line + (f"  {sample['traced_bytes'] / 2**10:9.1f} KiB traced" if sample["traced_bytes"] else "")
