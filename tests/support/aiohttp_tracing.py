"""OpenTelemetry's own instrumentation of aiohttp, which the environment does not have.

python tests/support/aiohttp_tracing.py        installs it when it is missing
"""

import sys
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # run as a script: the folder of `support` is not on the path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.sdk_versions import Sdk, python_path

AIOHTTP_TRACING: Final = Sdk("opentelemetry-instrumentation-aiohttp-client", "0.66b1", "aiohttp")
"""Its package is `opentelemetry.instrumentation.aiohttp_client`; what it needs comes with the one for httpx."""

if __name__ == "__main__":
    python_path(AIOHTTP_TRACING)
