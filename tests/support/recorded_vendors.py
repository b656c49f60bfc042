"""SDKs and coding agents that trace themselves, as their users install them, for recording what they export.

What a vendor's SDK in Python needs and the project's environment lacks is listed with exact versions in
`tests/fixtures/dialects/record/vendors/<name>.txt`, and installed without looking for dependencies; one in Node
is one exact version for npm. Each goes into a directory of its own, `<environment>/sdks/vendor-<name>`, once, and
again when what is listed changes. Needed to record fixtures (`tests/fixtures/dialects/record`), and by no test.

    python tests/support/recorded_vendors.py [<name> ...]        installs what is missing
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # run as a script: the folder of `support` is not on the path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.sdk_versions import InstallError

_REQUIREMENTS: Final = Path(__file__).parents[1] / "fixtures" / "dialects" / "record" / "vendors"
_TIMEOUT_S: Final = 900


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor's product with what it needs."""

    name: str
    """Of its package on PyPI, or what we call it."""
    npm: tuple[str, ...] = ()
    """Requirements for npm, exact versions, the product itself first; empty for a package of PyPI."""

    @property
    def directory(self) -> Path:
        """Where it is installed."""
        return Path(sys.prefix) / "sdks" / f"vendor-{self.name}"

    @property
    def requirements(self) -> tuple[str, ...]:
        """Exact versions, the product itself first."""
        if self.npm:
            return self.npm
        return tuple((_REQUIREMENTS / f"{self.name}.txt").read_text(encoding="utf-8").split())

    @property
    def label(self) -> str:
        """`<package>-<version>`, as it stands in the names of files."""
        first = self.requirements[0]
        package, _, version = first.rpartition("@") if self.npm else first.partition("==")
        return f"{package.removeprefix('@').replace('/', '-')}-{version}"


LMNR: Final = Vendor("lmnr")
LANGWATCH: Final = Vendor("langwatch")
BRAINTRUST: Final = Vendor("braintrust")
LIVEKIT: Final = Vendor("livekit-agents")
AGENTOPS: Final = Vendor("agentops")
LANGTRACE: Final = Vendor("langtrace-python-sdk")
CLAUDE_CODE: Final = Vendor("claude-code", ("@anthropic-ai/claude-code@2.1.329",))
CODEX: Final = Vendor("codex", ("@openai/codex@0.169.0",))
GEMINI_CLI: Final = Vendor("gemini-cli", ("@google/gemini-cli@0.61.0",))
VOLTAGENT: Final = Vendor("voltagent", ("@voltagent/core@2.10.0", "@ai-sdk/openai@3.0.141", "ai@6.0.326", "zod@4.6.7"))
SENTRY: Final = Vendor(
    "sentry", ("@sentry/node@10.78.0", "openai@6.49.0", "@opentelemetry/exporter-trace-otlp-http@0.223.1")
)
TRACELOOP_JS: Final = Vendor(
    "traceloop-js",
    (
        "@traceloop/instrumentation-anthropic@0.27.0",
        "@anthropic-ai/sdk@0.137.0",
        "@opentelemetry/exporter-trace-otlp-http@0.223.1",
        "@opentelemetry/resources@2.12.1",
        "@opentelemetry/sdk-trace-base@2.12.1",
    ),
)

ALL: Final = (
    LMNR,
    LANGWATCH,
    BRAINTRUST,
    LIVEKIT,
    AGENTOPS,
    LANGTRACE,
    CLAUDE_CODE,
    CODEX,
    GEMINI_CLI,
    VOLTAGENT,
    SENTRY,
    TRACELOOP_JS,
)


def install(vendor: Vendor) -> Path:
    """The directory of `vendor`; installs it when it is missing.

    Raises `InstallError` when pip or npm fails, as they do without a network.
    """
    directory = vendor.directory
    # The mark is written last: an interrupted installation is made again, as is one of another list.
    mark = directory / ".complete"
    wanted = "\n".join(vendor.requirements)
    if not mark.exists() or mark.read_text(encoding="utf-8") != wanted:
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
        _run(_npm(vendor) if vendor.npm else _pip(vendor), directory, vendor)
        mark.write_text(wanted, encoding="utf-8")
    return directory


def _pip(vendor: Vendor) -> list[str]:
    options = ["--quiet", "--no-deps", "--no-compile", "--target", str(vendor.directory)]
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *options, *vendor.requirements]


def _npm(vendor: Vendor) -> list[str]:
    (vendor.directory / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    return ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *vendor.npm]


def _run(command: list[str], directory: Path, vendor: Vendor) -> None:
    done = subprocess.run(
        command, cwd=directory, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"{command[0]} said nothing"])[-1]
        raise InstallError(f"cannot install {vendor.name}: {last}")


if __name__ == "__main__":
    for each in ALL:
        if not sys.argv[1:] or each.name in sys.argv[1:]:
            install(each)
