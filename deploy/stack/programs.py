"""Where Prometheus, Alertmanager and Grafana are: on the path, or as packages beside the environment.

Debian's packages of the first two are unpacked beside the environment where neither is on the path; nothing is
installed into the system. Grafana is in no distribution: it is used when it is there.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
"""The checkout."""
UNPACKED: Final = Path(sys.prefix) / "sdks" / "prometheus"
_FETCH: Final = ROOT / "tests" / "support" / "prometheus.py"
"""Downloads and unpacks the packages into `UNPACKED`."""
_NAMES: Final = {"prometheus": ("prometheus",), "alertmanager": ("alertmanager", "prometheus-alertmanager")}
"""Upstream's name, and Debian's."""
_GRAFANA: Final = (("grafana", "server"), ("grafana-server",))
"""From 9.4 on, and before."""

ADVICE: Final = (
    "Get them from https://prometheus.io/download/ and put both on the PATH, or on Debian or Ubuntu:\n"
    "  sudo apt-get install --no-install-recommends prometheus prometheus-alertmanager\n"
    "With Docker, `docker compose -f deploy/compose.yaml up` needs none of that."
)


class MissingProgramError(Exception):
    """A program that the stack needs is not here; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Program:
    """An executable, and the directory that it must be started in, if there is one."""

    command: tuple[str, ...]
    directory: Path | None = None


def find(name: str) -> Program:
    """`prometheus` or `alertmanager`. Raises `MissingProgramError`."""
    found = _on_path(name) or _unpacked(name)
    if found is None and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        subprocess.run([sys.executable, str(_FETCH)], check=False, capture_output=True)  # noqa: S603  our own script
        found = _unpacked(name)
    if found is None:
        raise MissingProgramError(f"{name} is not on the PATH, and its package could not be had.\n{ADVICE}")
    return found


def find_grafana() -> Program | None:
    """Grafana's server, `None` where there is none."""
    for first, *rest in _GRAFANA:
        if path := shutil.which(first):
            return Program((path, *rest))
    return None


def _on_path(name: str) -> Program | None:
    paths = (shutil.which(candidate) for candidate in _NAMES[name])
    return next((Program((path,)) for path in paths if path), None)


def _unpacked(name: str) -> Program | None:
    paths = (UNPACKED / "usr" / "bin" / candidate for candidate in _NAMES[name])
    # Debian's Alertmanager looks for its templates where the package would have put them: relative to this directory.
    return next((Program((str(path),), UNPACKED) for path in paths if path.exists()), None)
