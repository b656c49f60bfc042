"""Run the store suites against real ClickHouse servers: `make test-clickhouse`.

Starts the servers of `compose.yaml`, runs the suites over one server and over the cluster, and removes everything.
Where Docker is missing it says so and exits with 77, which by convention stands for "skipped". With
`TOKENTRAIL_TEST_CLICKHOUSE` or `TOKENTRAIL_TEST_CLICKHOUSE_CLUSTER` set it uses those and starts nothing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
COMPOSE: Final = ("docker", "compose", "--file", str(HERE / "compose.yaml"))
SUITES: Final = ("test_store_suite.py", "test_store_corrections.py", "test_store_several_backends.py")
SKIPPED: Final = 77
_SINGLE, _CLUSTER = "TOKENTRAIL_TEST_CLICKHOUSE", "TOKENTRAIL_TEST_CLICKHOUSE_CLUSTER"


def main(arguments: list[str]) -> int:
    """The exit code of pytest, or `SKIPPED`."""
    if os.environ.get(_SINGLE) or os.environ.get(_CLUSTER):
        return _run({}, arguments)
    if reason := _why_not():
        print(f"skipped: {reason}; name a server in {_SINGLE} or {_CLUSTER} instead")
        return SKIPPED
    try:
        subprocess.run((*COMPOSE, "up", "--detach", "--wait", "--wait-timeout", "180"), check=True)
        urls = {
            _SINGLE: f"clickhouse://{_address('clickhouse')}",
            _CLUSTER: f"clickhouse://{_address('clickhouse-1')},{_address('clickhouse-2')}/?cluster=tokentrail",
        }
        return _run(urls, arguments)
    finally:
        subprocess.run((*COMPOSE, "down", "--volumes", "--timeout", "5"), check=False)


def _why_not() -> str:
    """Why there is no Docker to start servers in, empty when there is."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    for command, reason in (
        (("docker", "info"), "no Docker daemon answers"),
        (("docker", "compose", "version"), "Docker has no compose"),
    ):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return reason
    return ""


def _address(service: str) -> str:
    """Where the native protocol of a service is on this machine."""
    done = subprocess.run((*COMPOSE, "port", service, "9000"), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _run(urls: dict[str, str], arguments: list[str]) -> int:
    suites = [str(HERE.parent / "backend" / name) for name in SUITES]
    command = (sys.executable, "-m", "pytest", "-k", "not kill_ and not these_are_all_steps", *suites, *arguments)
    return subprocess.run(command, env={**os.environ, **urls}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
