"""Other instrumentations of model calls, as their users install them, for the tests and measurements beside them.

Each is installed, pinned and without the packages that the project's environment has already, into
`<environment>/sdks/<name>-<version>`, once, and put on `PYTHONPATH` of a process of its own: they patch globally, and
some of them exclude one another. Their entry points (`opentelemetry_instrumentor`) are found there too.

    python tests/support/rivals.py        installs what is missing

Versions and the SDK versions that they accept were read from the packages' metadata and code in November 2026.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # run as a script: the folder of `support` is not on the path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support import sdk_versions
from support.sdk_versions import InstallError, Sdk

_TIMEOUT_S: Final = 600

OPENAI_2: Final = next(sdk for sdk in sdk_versions.SDKS if sdk.name == "openai" and sdk.http_library == "httpx")
OPENAI_3: Final = next(sdk for sdk in sdk_versions.SDKS if sdk.name == "openai" and not sdk.version)
ANTHROPIC_0: Final = next(sdk for sdk in sdk_versions.SDKS if sdk.name == "anthropic" and sdk.http_library == "httpx")
ANTHROPIC_2: Final = next(sdk for sdk in sdk_versions.SDKS if sdk.name == "anthropic" and not sdk.version)

_GENAI_1_3: Final = "opentelemetry-util-genai==1.3b0"
_OPENLLMETRY_AI: Final = "opentelemetry-semantic-conventions-ai==0.5.1"
_OPENINFERENCE: Final = ("openinference-instrumentation==0.1.72", "openinference-semantic-conventions==0.1.42")


@dataclass(frozen=True, slots=True)
class Rival:
    """One instrumentation with everything it needs."""

    name: str
    """How the tests call it."""
    requirements: tuple[str, ...]
    """Pinned; the first is the instrumentation itself, the others are what the environment lacks of its needs."""
    instrumentor: tuple[str, str]
    """Module and class of the instrumentor, or module and function of what switches it on."""
    sdks: tuple[Sdk, ...]
    """SDK versions it works with, the preferred one first."""

    @property
    def label(self) -> str:
        """`<distribution> <version>`."""
        return self.requirements[0].replace("==", " ")

    @property
    def directory(self) -> Path:
        """Where it is installed."""
        return Path(sys.prefix) / "sdks" / f"{self.name}-{self.requirements[0].partition('==')[2]}"


RIVALS: Final = (
    # The official ones. The old and the new register the same instrumentor name: only one can be installed.
    Rival(
        "genai-openai",
        ("opentelemetry-instrumentation-genai-openai==1.3b0", _GENAI_1_3),
        ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
        (OPENAI_3, OPENAI_2),
    ),
    Rival(
        "genai-anthropic",
        ("opentelemetry-instrumentation-genai-anthropic==1.3b0", _GENAI_1_3),
        ("opentelemetry.instrumentation.genai.anthropic", "AnthropicInstrumentor"),
        (ANTHROPIC_2, ANTHROPIC_0),
    ),
    Rival(
        "openai-v2",
        # It imports a module that util-genai lost in 1.2b0.
        ("opentelemetry-instrumentation-openai-v2==2.4b0", "opentelemetry-util-genai==1.1b0"),
        ("opentelemetry.instrumentation.openai_v2", "OpenAIInstrumentor"),
        (OPENAI_3, OPENAI_2),
    ),
    # OpenLLMetry.
    Rival(
        "openllmetry-openai",
        ("opentelemetry-instrumentation-openai==0.62.4", _OPENLLMETRY_AI),
        ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
        (OPENAI_3, OPENAI_2),
    ),
    Rival(
        "openllmetry-anthropic",
        ("opentelemetry-instrumentation-anthropic==0.62.4", _OPENLLMETRY_AI),
        ("opentelemetry.instrumentation.anthropic", "AnthropicInstrumentor"),
        (ANTHROPIC_2, ANTHROPIC_0),
    ),
    # OpenInference.
    Rival(
        "openinference-openai",
        ("openinference-instrumentation-openai==0.1.66", *_OPENINFERENCE),
        ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
        (OPENAI_3, OPENAI_2),
    ),
    Rival(
        "openinference-anthropic",
        ("openinference-instrumentation-anthropic==3.1.0", *_OPENINFERENCE),
        ("openinference.instrumentation.anthropic", "AnthropicInstrumentor"),
        (ANTHROPIC_2,),
    ),
    Rival(
        "openlit",
        # Its instrumentations of web frameworks and its boto3 are imported only when it is told to use them.
        ("openlit==1.45.0", "schedule==1.2.2", "xmltodict==1.0.4"),
        ("openlit", "init"),
        # The distribution says openai < 3 and anthropic < 1; its instrumentors say only openai >= 1.92.
        (OPENAI_2, OPENAI_3),
    ),
    Rival(
        "langfuse",
        ("langfuse==5.0.4", "backoff==2.2.1"),
        ("langfuse.openai", "register_tracing"),
        (OPENAI_2, OPENAI_3),
    ),
)


def rival(name: str) -> Rival:
    """The rival called `name`. Raises `KeyError` when there is none."""
    return {each.name: each for each in RIVALS}[name]


def python_path(name: str, *sdks: Sdk) -> list[str]:
    """What has to be on `PYTHONPATH` for the rival `name` to be importable; installs it when it is missing.

    With `sdks`, those versions of the SDKs come with it; without, the one that the rival prefers. Raises `InstallError`
    when pip fails, as it does without a network.
    """
    chosen = rival(name)
    paths = [path for sdk in (sdks or chosen.sdks[:1]) for path in sdk_versions.python_path(sdk)]
    return [_installed(chosen), *paths]


def _installed(chosen: Rival) -> str:
    directory = chosen.directory
    mark = directory / ".complete"
    wanted = "\n".join(chosen.requirements)
    if not mark.exists() or mark.read_text(encoding="utf-8") != wanted:
        directory.parent.mkdir(parents=True, exist_ok=True)
        # Made aside and moved: two processes may do this at once, and one may be interrupted.
        aside = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
        try:
            _install(aside, chosen.requirements)
            (aside / mark.name).write_text(wanted, encoding="utf-8")
            _replace(aside, directory, wanted)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return str(directory)


def _replace(aside: Path, directory: Path, wanted: str) -> None:
    """Move `aside` to `directory`, unless another process has made the same one meanwhile."""
    mark = directory / ".complete"
    if directory.exists() and not (mark.exists() and mark.read_text(encoding="utf-8") == wanted):
        shutil.rmtree(directory)
    try:
        os.rename(aside, directory)  # noqa: PTH104  Path.rename would say the same; the error below is this call's
    except OSError:
        if not mark.exists():
            raise


def _install(directory: Path, requirements: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    command += ["--upgrade", "--target", str(directory), *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise InstallError(f"cannot install {' '.join(requirements)}: {last}")


if __name__ == "__main__":
    for each in RIVALS:
        for sdk in each.sdks:
            python_path(each.name, sdk)
