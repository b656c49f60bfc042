"""The real Prometheus and Alertmanager, as Debian has them, beside the environment and not in the system.

    python tests/support/prometheus.py        downloads what is missing

The packages are unpacked into `<environment>/sdks/prometheus`; nothing is installed, nothing is started by itself.
"""

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PACKAGES: Final = ("prometheus=2.42.0+ds-5+deb12u1", "prometheus-alertmanager=0.25.0-1+b4")
"""Of Debian 12 (read November 2026)."""
DIRECTORY: Final = Path(sys.prefix) / "sdks" / "prometheus"
_READY_TIMEOUT_S: Final = 20.0
_TEMPLATES: Final = (b"/usr/share/prometheus/alertmanager", b"usr//share/prometheus/alertmanager")
"""Where Debian's Alertmanager has its templates, compiled in; as it is to be here, relative and as long. That is the
one thing about the programs that is changed, and what spares an installation into the system."""


class MissingError(Exception):
    """The programs are not to be had here; says why."""


def program(name: str) -> Path:
    """The path of `prometheus`, `promtool`, `prometheus-alertmanager` or `amtool`. Raises `MissingError`.

    Downloaded when it is missing; where there is no apt, one that the system has is taken.
    """
    path = DIRECTORY / "usr" / "bin" / name
    if not path.exists():
        if shutil.which("apt-get") and shutil.which("dpkg-deb"):
            _unpack()
        elif found := shutil.which(name):
            return Path(found)
        else:
            raise MissingError(f"{name} is not installed, and there is no apt to get it with")
    return path


@contextmanager
def running(command: list[str], address: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process of its own, from when `/-/ready` answers until the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=_home(command[0]))
        try:
            _wait_until_ready(process, address, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _home(executable: str) -> Path | None:
    return DIRECTORY if Path(executable).is_relative_to(DIRECTORY) else None


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://{address}/-/ready", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not ready: {log.read_text()}")


def _unpack() -> None:
    """Both packages, whole or not at all."""
    DIRECTORY.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DIRECTORY.parent) as temporary:
        downloads, root = Path(temporary) / "downloads", Path(temporary) / "root"
        downloads.mkdir()
        _run("apt-get", "download", *PACKAGES, directory=downloads)
        for package in sorted(downloads.glob("*.deb")):
            _run("dpkg-deb", "-x", str(package), str(root), directory=downloads)
        alertmanager = root / "usr" / "bin" / "prometheus-alertmanager"
        alertmanager.write_bytes(alertmanager.read_bytes().replace(*_TEMPLATES))
        if DIRECTORY.exists():
            shutil.rmtree(DIRECTORY)
        root.rename(DIRECTORY)


def _run(*command: str, directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MissingError(f"{command[0]} cannot get {', '.join(PACKAGES)}: {last}")


if __name__ == "__main__":
    program("promtool")
