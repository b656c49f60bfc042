"""Child processes of the demo: the application under `opentelemetry-instrument`, and how any child is ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

STOP_TIMEOUT_S: Final = 25.0
"""A little more than the backend takes at most to store what it has acknowledged."""
APPLICATION: Final = Path(__file__).with_name("app.py")
"""The example application."""
_KEPT: Final = ("OTEL_INSTRUMENTATION_",)
"""Prefixes of the OTEL_ variables that an application of the demo inherits; the others would send it elsewhere."""


def environment(outer: Mapping[str, str], *, endpoint: str, provider: str, run: str) -> dict[str, str]:
    """The environment of the application: that of this process, with OpenTelemetry pointed at `endpoint`."""
    kept = {name: value for name, value in outer.items() if not name.startswith("OTEL_") or name.startswith(_KEPT)}
    return kept | {
        "OTEL_SERVICE_NAME": "tokentrail-demo",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=demo",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "NO_PROXY": ",".join(filter(None, (outer.get("NO_PROXY"), "127.0.0.1,localhost"))),
        "PYTHONUNBUFFERED": "1",
        "TOKENTRAIL_DEMO_PROVIDER": provider,
        "TOKENTRAIL_DEMO_RUN": run,
    }


def command() -> list[str]:
    """The command line of the application, from the virtual environment of this process."""
    return [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable, str(APPLICATION)]


def run_application(environ: Mapping[str, str], output: IO[str]) -> int:
    """Run the application to its end; its exit code. Its output goes to `output`, a file with a descriptor."""
    child = subprocess.Popen(  # noqa: S603  this program
        command(), env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, start_new_session=True
    )
    try:
        return child.wait()
    finally:
        stop(child)


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a child that still runs: asked first, killed when it does not listen. The whole session goes with it."""
    if child.poll() is not None:
        return
    _signal(child, signal.SIGTERM)
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        _signal(child, signal.SIGKILL)
        child.wait()


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return
