"""Frameworks with a tracing of their own, in Python and JavaScript, whose spans are recorded as fixtures of dialects.

Installed as `sdk_versions` installs SDKs: pinned, without looking for dependencies, each in a directory of its own;
the ones in JavaScript by npm, which looks for dependencies itself. Needed to record fixtures
(`tests/fixtures/dialects/record/producers.py`), and by no test.

    python tests/support/recorded_producers.py        installs what is missing

Versions read in November 2026. A list of Python packages is what pip would add to the environment (`pip install
--dry-run --report -`).
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # run as a script: the folder of `support` is not on the path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.sdk_versions import InstallError, Sdk, python_path

_TIMEOUT_S: Final = 900

LITELLM: Final = Sdk("litellm", "1.109.1", "httpx")
"""Newer than the one of `support.frameworks`, whose other packages it needs."""
GOOGLE_ADK: Final = Sdk(
    "google-adk",
    "2.13.0",
    "httpx",
    companions=(
        *("Authlib==1.9.8", "PyYAML==6.0.3", "aiosqlite==0.22.1", "annotated-doc==0.0.7", "cffi==2.1.1"),
        *("cryptography==50.0.2", "distro==1.9.0", "fastapi==0.165.0", "google-auth==2.62.2", "google-genai==2.34.0"),
        *("graphviz==0.21", "joserfc==1.8.0", "jsonschema-specifications==2025.9.1", "jsonschema==4.26.0"),
        *("opentelemetry-api==1.44.0", "opentelemetry-sdk==1.44.0", "opentelemetry-semantic-conventions==0.65b0"),
        *("pyasn1==0.6.5", "pyasn1_modules==0.4.2", "pycparser==3.12", "python-dotenv==1.2.4"),
        *("python-multipart==0.0.34", "referencing==0.37.0", "rpds-py==2026.9.1", "starlette==1.10.0"),
        *("tenacity==9.1.4", "watchdog==6.0.0", "websockets==15.0.1"),
    ),
)
GOOGLE_ADK_OLD: Final = Sdk(
    "google-adk",
    "1.14.0",
    "httpx",
    companions=(
        *GOOGLE_ADK.companions,
        *("certifi==2026.10.18", "charset_normalizer==3.5.2", "google-api-core==2.44.0", "google-cloud-core==2.8.0"),
        *("google-cloud-storage==3.17.1", "google-crc32c==1.9.0", "google-resumable-media==2.11.0"),
        *("googleapis-common-protos==1.76.0", "httpx-sse==0.4.3", "mcp==1.30.0", "proto-plus==1.29.0"),
        *("pydantic-settings==2.16.3", "requests==2.34.2", "sqlalchemy==2.1.9", "sse-starlette==3.7.0"),
    ),
)
"""Before it wrote `generate_content` spans: `call_llm` is all there is of a call."""
STRANDS: Final = Sdk(
    "strands-agents",
    "1.62.0",
    "httpx2",
    companions=(
        *("PyJWT==2.15.1", "PyYAML==6.0.3", "boto3==1.44.5", "botocore==1.44.5", "cffi==2.1.1", "cryptography==50.0.2"),
        *("jmespath==1.1.0", "jsonschema-specifications==2025.9.1", "jsonschema==4.26.0", "mcp-types==2.1.1"),
        *("mcp==2.1.1", "opentelemetry-instrumentation-threading==0.66b1", "opentelemetry-instrumentation==0.66b1"),
        *("opentelemetry-api==1.45.1", "opentelemetry-sdk==1.45.1", "opentelemetry-semantic-conventions==0.66b1"),
        *("pycparser==3.12", "python-dateutil==2.9.0.post0", "python-multipart==0.0.34", "referencing==0.37.0"),
        *("rpds-py==2026.9.1", "s3transfer==0.19.3", "six==1.17.0", "sse-starlette==3.7.0", "starlette==1.10.0"),
        "watchdog==6.0.0",
    ),
)
AGENT_FRAMEWORK: Final = Sdk(
    "agent-framework-core",
    "1.23.0",
    "httpx2",
    companions=(
        "agent-framework-openai==1.17.0",
        *("PyYAML==6.0.3", "msgspec==0.22.0", "python-dotenv==1.2.4", "regex==2026.11.15"),
    ),
)
AZURE_AI_INFERENCE: Final = Sdk(
    "azure-ai-inference",
    "1.0.0b9",
    "",
    companions=("azure-core==1.41.0", "azure-core-tracing-opentelemetry==1.0.0b13", "isodate==0.7.2"),
)
SEMANTIC_KERNEL: Final = Sdk(
    "semantic-kernel",
    "1.45.0",
    "httpx2",
    companions=(
        *("Jinja2==3.1.6", "MarkupSafe==3.0.4", "PyMeta3==0.5.1", "PyYAML==6.0.3", "Werkzeug==3.1.1"),
        *("azure-core==1.41.0", "azure-identity==1.27.0", "azure-ai-inference==1.0.0b9", "azure-ai-projects==2.4.0"),
        *("azure-core-tracing-opentelemetry==1.0.0b13", "azure-ai-agents==1.2.0b6", "azure-storage-blob==12.31.1"),
        *("chardet==7.7.0", "cloudevents==2.2.0", "defusedxml==0.7.1", "deprecation==2.1.0", "isodate==0.7.2"),
        *("jsonschema-path==0.3.4", "jsonschema-specifications==2025.9.1", "jsonschema==4.26.0"),
        *("lazy-object-proxy==1.13.0", "more-itertools==11.2.1", "nest-asyncio==1.6.0", "openapi-core==0.19.5"),
        *("openapi-schema-validator==0.6.3", "openapi-spec-validator==0.7.2", "parse==1.22.4", "pathable==0.4.4"),
        *("prance==26.7.19.0", "pybars4==0.9.13", "pydantic-settings==2.16.3", "pydantic==2.13.5"),
        *("pydantic_core==2.46.5", "python-dotenv==1.2.4", "referencing==0.36.2", "rfc3339-validator==0.1.4"),
        *("rpds-py==2026.9.1", "ruamel.yaml==0.19.1", "six==1.17.0", "websockets==16.1.1", "httpx-sse==0.4.3"),
        *("scipy==1.17.1", "cffi==2.1.1", "cryptography==50.0.2", "msal==1.39.0", "msal-extensions==1.3.1"),
        *("PyJWT==2.15.1", "pycparser==3.12"),
        # imported for its realtime clients, whoever uses them
        *("aiortc==1.16.0", "av==18.1.0", "aioice==0.13.0", "dnspython==2.9.2", "google-crc32c==1.9.0"),
        *("ifaddr==0.2.0", "pyee==13.0.1", "pylibsrtp==1.0.0", "pyOpenSSL==26.4.0"),
    ),
)
PYTHON: Final = (LITELLM, GOOGLE_ADK, GOOGLE_ADK_OLD, STRANDS, AGENT_FRAMEWORK, AZURE_AI_INFERENCE, SEMANTIC_KERNEL)


@dataclass(frozen=True, slots=True)
class NodePackages:
    """Packages of npm that are installed together."""

    name: str
    """How the directory and the fixtures are called."""
    requirements: tuple[str, ...]
    """`<package>@<exact version>`; the first is the one that the version stands for."""

    @property
    def label(self) -> str:
        """`<name>-<version>`."""
        return f"{self.name}-{self.requirements[0].rpartition('@')[2]}"

    @property
    def directory(self) -> Path:
        """Where they are installed."""
        return Path(sys.prefix) / "sdks" / self.label


_TRACING: Final = (
    "@opentelemetry/api@1.9.1",
    "@opentelemetry/sdk-trace-base@2.12.1",
    "@opentelemetry/context-async-hooks@2.12.0",
    "@opentelemetry/resources@2.12.1",
)
VERCEL: Final = (
    NodePackages(
        "vercel-ai",
        ("ai@4.3.19", "@ai-sdk/openai@1.3.24", "@ai-sdk/anthropic@1.2.12", "zod@3.25.76", *_TRACING),
    ),
    NodePackages(
        "vercel-ai",
        ("ai@5.0.277", "@ai-sdk/openai@2.0.131", "@ai-sdk/anthropic@2.0.112", "zod@4.6.7", *_TRACING),
    ),
    NodePackages(
        "vercel-ai",
        ("ai@6.0.326", "@ai-sdk/openai@3.0.141", "@ai-sdk/anthropic@3.0.138", "zod@4.6.7", *_TRACING),
    ),
    NodePackages(
        "vercel-ai",
        (
            *("ai@7.0.173", "@ai-sdk/otel@1.0.173", "@ai-sdk/openai@4.0.118", "@ai-sdk/anthropic@4.0.105", "zod@4.6.7"),
            *_TRACING,
        ),
    ),
)
GENKIT: Final = NodePackages("genkit", ("genkit@1.42.0", "@genkit-ai/compat-oai@1.42.0", "@opentelemetry/api@1.9.1"))
NODE: Final = (*VERCEL, GENKIT)


def node_path(packages: NodePackages) -> Path:
    """The directory that holds `node_modules`; installs what is missing.

    Raises `InstallError` when there is no npm or it fails, as it does without a network.
    """
    directory = packages.directory
    mark = directory / ".complete"
    wanted = "\n".join(packages.requirements)
    if not mark.exists() or mark.read_text(encoding="utf-8") != wanted:
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
        (directory / "package.json").write_text(json.dumps({"private": True}), encoding="utf-8")
        npm = shutil.which("npm")
        if npm is None:
            raise InstallError(f"cannot install {packages.label}: there is no npm")
        command = [
            npm,
            "install",
            "--no-audit",
            "--no-fund",
            "--save-exact",
            "--ignore-scripts",
            *packages.requirements,
        ]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["npm said nothing"])[-1]
            raise InstallError(f"cannot install {packages.label}: {last}")
        mark.write_text(wanted, encoding="utf-8")
    return directory


if __name__ == "__main__":
    for sdk in PYTHON:
        python_path(sdk)
    for each in NODE:
        node_path(each)
