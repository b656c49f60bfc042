"""Agent frameworks and gateways as their users install them, each in a directory of its own beside the environment.

What a framework needs and the project's environment lacks, or has in another version, is listed with exact versions in
`tests/frameworks/requirements/<name>.txt` and installed without looking for further dependencies into
`<environment>/sdks/framework-<name>`, once, and again when the list changes. On `PYTHONPATH` it comes before the
environment: a framework that is limited to openai 2 finds that one.

    python tests/support/frameworks.py            installs what the ordinary tests need and is missing
    python tests/support/frameworks.py --all      the large ones, too

A list is made by asking pip what it would add to the environment (November 2026):

    pip install --dry-run --report - <the framework's packages>
"""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # run as a script: the folder of `support` is not on the path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.sdk_versions import InstallError

_REQUIREMENTS: Final = Path(__file__).parents[1] / "frameworks" / "requirements"
_TIMEOUT_S: Final = 600


@dataclass(frozen=True, slots=True)
class Framework:
    """One set of packages that are installed together."""

    name: str
    """Of the list of requirements and of the worker script."""
    distribution: str
    """The package whose version stands for the set."""
    large: bool = False
    """Takes so long to install that only the `slow` tests do it."""

    @property
    def requirements(self) -> Path:
        """The list, one exact version a line."""
        return _REQUIREMENTS / f"{self.name}.txt"

    @property
    def directory(self) -> Path:
        """Where it is installed."""
        return Path(sys.prefix) / "sdks" / f"framework-{self.name}"

    def version_of(self, distribution: str) -> str:
        """The listed version of `distribution`; empty when it is the environment's."""
        for line in self.requirements.read_text(encoding="utf-8").splitlines():
            name, _, version = line.partition("==")
            if name == distribution:
                return version
        return ""


FRAMEWORKS: Final = (
    Framework("litellm", "litellm"),
    Framework("langchain", "langchain"),
    Framework("pydantic_ai", "pydantic-ai-slim"),
    Framework("openai_agents", "openai-agents"),
    Framework("instructor", "instructor"),
    Framework("llama_index", "llama-index-core", large=True),
    Framework("crewai", "crewai", large=True),
)
"""The largest of the ordinary ones first, as two are installed at a time."""


def python_path(framework: Framework) -> list[str]:
    """What has to be on `PYTHONPATH` for the framework to be importable; installs it when it is missing.

    Raises `InstallError` when pip fails, as it does without a network.
    """
    directory = framework.directory
    # The mark is written last: an interrupted installation is made again, as is one of another list.
    mark = directory / ".complete"
    listed = framework.requirements.read_text(encoding="utf-8")
    if not mark.exists() or mark.read_text(encoding="utf-8") != listed:
        if directory.exists():
            shutil.rmtree(directory)
        _install(directory, framework.requirements)
        mark.write_text(listed, encoding="utf-8")
    return [str(directory)]


def _install(directory: Path, requirements: Path) -> None:
    # Not compiled: a worker imports a small part of the modules, and keeps what it compiled.
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    command += ["--no-compile", "--target", str(directory), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise InstallError(f"cannot install {requirements.name}: {last}")


if __name__ == "__main__":
    wanted = [each for each in FRAMEWORKS if not each.large or "--all" in sys.argv[1:]]
    with ThreadPoolExecutor(max_workers=2) as pool:  # half of the time pip waits for the network or the disk
        list(pool.map(python_path, wanted))
