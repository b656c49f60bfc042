"""Runs a script of the tests as an application of its own, with or without `opentelemetry-instrument` around it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

_TESTS: Final = Path(__file__).parents[1]
_TIMEOUT_S: Final = 120
_VENDORS: Final = ("OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "AWS_", "OLLAMA_", "MISTRAL_", "CO_API_")
"""Prefixes of what the vendors' SDKs read from the environment."""


def run(
    script: Path,
    *arguments: object,
    outcomes: Path,
    otlp_endpoint: str | None,
    python_path: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Run `script` with `arguments` and the path of `outcomes`, and return the JSON objects it wrote there.

    With an `otlp_endpoint` it runs under `opentelemetry-instrument` and exports its spans there; without one it runs
    as it is. Fails when the script does, or when it or a library under it writes anything to stderr.
    """
    command = [sys.executable, "-W", "ignore", str(script), *map(str, arguments), str(outcomes)]
    if otlp_endpoint is not None:
        command = [str(Path(sys.executable).parent / "opentelemetry-instrument"), *command]
    done = subprocess.run(
        command,
        env=_environment(otlp_endpoint, python_path) | dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    name = f"{script.stem} {' '.join(map(str, arguments))}"
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    assert not done.stderr.strip(), f"{name} wrote to stderr:\n{done.stderr[-4000:]}"
    return [json.loads(line) for line in outcomes.read_text(encoding="utf-8").splitlines()]


def _environment(otlp_endpoint: str | None, python_path: Iterable[str]) -> dict[str, str]:
    """The caller's environment without its telemetry settings and keys, and with those of a worker."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "TOKENTRAIL_", *_VENDORS)) or name == "TOKENTRAIL_WIRE"
    }
    kept["PYTHONPATH"] = os.pathsep.join([*python_path, str(_TESTS)])
    if otlp_endpoint is not None:
        kept |= {
            "OTEL_SERVICE_NAME": "conformance",
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp_endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
            # A worker makes more spans in a second than the queue holds by default.
            "OTEL_BSP_MAX_QUEUE_SIZE": "20000",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
        }
    return kept
