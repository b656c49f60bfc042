"""Versions of the vendors' SDKs that the project's own environment cannot hold beside the ones it has.

openai 3 and anthropic 1 moved from httpx to httpx2; the newest versions before that still have many users. They are
installed, without their dependencies, into `<environment>/sdks/<name>-<version>`, once, and put on `PYTHONPATH`.

    python tests/support/sdk_versions.py        installs what is missing
"""

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final


class InstallError(Exception):
    """A version could not be installed; says what pip said last."""


@dataclass(frozen=True, slots=True)
class Sdk:
    """One version of an SDK."""

    name: str
    """Of the package and of the module."""
    version: str
    """Empty for the one that the environment has."""
    http_library: str
    """`httpx` or `httpx2`: what its clients are made of."""
    companions: tuple[str, ...] = ()
    """Requirements that the environment does not have."""

    @property
    def label(self) -> str:
        """`<name>-<version>`."""
        return f"{self.name}-{self.version or version(self.name)}"

    @property
    def directory(self) -> Path | None:
        """Where it is installed, `None` for the one that the environment has."""
        return Path(sys.prefix) / "sdks" / f"{self.name}-{self.version}" if self.version else None


SDKS: Final = (
    Sdk("openai", "", "httpx2"),
    Sdk("openai", "2.54.0", "httpx", companions=("distro>=1.7,<2", "tqdm>4,<5")),
    Sdk("anthropic", "", "httpx2"),
    Sdk("anthropic", "0.125.0", "httpx", companions=("distro>=1.7,<2",)),
)
"""What conformance is shown for: the current major version, and the newest one on httpx (read November 2026)."""


def python_path(sdk: Sdk) -> list[str]:
    """What has to be on `PYTHONPATH` for `import <name>` to give this version; installs it when it is missing.

    Raises `InstallError` when pip fails, as it does without a network.
    """
    directory = sdk.directory
    if directory is None:
        return []
    # The mark is written last: an interrupted installation is made again.
    mark = directory / ".complete"
    if not mark.exists():
        _install(directory, [f"{sdk.name}=={sdk.version}", *sdk.companions])
        mark.touch()
    return [str(directory)]


def _install(directory: Path, requirements: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    command += ["--upgrade", "--target", str(directory), *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise InstallError(f"cannot install {' '.join(requirements)}: {last}")


if __name__ == "__main__":
    for each in SDKS:
        python_path(each)
