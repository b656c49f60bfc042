"""Versions of the vendors' SDKs that the project's own environment cannot hold beside the ones it has.

openai 3 and anthropic 1 moved from httpx to httpx2; the newest versions before that still have many users. They are
installed, without their dependencies, into `<environment>/sdks/<name>-<version>`, once, and put on `PYTHONPATH`.

    python tests/support/sdk_versions.py        installs what is missing
"""

import shutil
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
    """Of the package, and in most cases of the module."""
    version: str
    """Empty for the one that the environment has."""
    http_library: str
    """`httpx`, `httpx2` or `urllib3`: what its clients are made of."""
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

_DATES: Final = ("python-dateutil==2.9.0.post0", "six==1.17.0")

BOTO3: Final = Sdk(
    "boto3",
    "1.44.5",
    "urllib3",
    companions=("botocore==1.44.5", "jmespath==1.1.0", "s3transfer==0.19.3", *_DATES),
)
GOOGLE_GENAI: Final = Sdk(
    "google-genai",
    "3.4.0",
    "httpx2",
    companions=(
        "distro==1.9.0",
        "tenacity==9.1.4",
        "websockets==17.4",
        # google-auth, and what its keys take
        "google-auth==2.62.2",
        "cryptography==50.0.2",
        "cffi==2.1.1",
        "pyasn1==0.6.5",
        "pyasn1_modules==0.4.2",
        "pycparser==3.12",
    ),
)
"""Asynchronously it speaks aiohttp where that is installed and nobody gives it an httpx2 client."""

OLLAMA: Final = Sdk("ollama", "0.6.3", "httpx")
MISTRALAI: Final = Sdk(
    "mistralai",
    "3.7.0",
    "httpx2",
    companions=("eval_type_backport==0.4.0", "jsonpath-python==1.1.6", *_DATES),
)
COHERE: Final = Sdk(
    "cohere",
    "7.3.1",
    "httpx",
    companions=("fastavro==1.13.1", "tokenizers==0.23.3", "types-requests==2.33.0.20261030"),
)

OTHERS: Final = (BOTO3, GOOGLE_GENAI, OLLAMA, MISTRALAI, COHERE)
"""SDKs that the environment does not have in any version."""


def python_path(sdk: Sdk) -> list[str]:
    """What has to be on `PYTHONPATH` for `import <name>` to give this version; installs it when it is missing.

    Raises `InstallError` when pip fails, as it does without a network.
    """
    directory = sdk.directory
    if directory is None:
        return []
    # The mark is written last: an interrupted installation is made again, as is one of other companions.
    mark = directory / ".complete"
    wanted = "\n".join(requirements := [f"{sdk.name}=={sdk.version}", *sdk.companions])
    if not mark.exists() or mark.read_text(encoding="utf-8") not in ("", wanted):
        if directory.exists():
            shutil.rmtree(directory)
        _install(directory, requirements)
        mark.write_text(wanted, encoding="utf-8")
    return [str(directory)]


def _install(directory: Path, requirements: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    command += ["--upgrade", "--target", str(directory), *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise InstallError(f"cannot install {' '.join(requirements)}: {last}")


if __name__ == "__main__":
    for each in (*SDKS, *OTHERS):
        python_path(each)
