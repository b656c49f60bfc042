"""Instrumentations that are in use beside the ones of `rivals`: an SDK around them, and the last of old vocabularies.

They are installed as `sdk_versions` installs SDKs: pinned, without looking for dependencies, each in a directory of its
own. Needed to record fixtures of dialects (`tests/fixtures/dialects/record`), and by no test.

    python tests/support/recorded_instrumentations.py        installs what is missing
"""

import sys
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # run as a script: the folder of `support` is not on the path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.sdk_versions import Sdk, python_path

TRACELOOP_SDK: Final = Sdk(
    "traceloop-sdk",
    "0.62.4",
    "",
    companions=(
        "opentelemetry-instrumentation-openai==0.62.4",
        "opentelemetry-semantic-conventions-ai==0.5.1",
        "opentelemetry-instrumentation-logging==0.66b2",
        "opentelemetry-instrumentation-requests==0.66b2",
        "opentelemetry-instrumentation-threading==0.66b1",
        "opentelemetry-instrumentation-urllib3==0.66b1",
        "colorama==0.4.6",
        "cuid==0.4",
        "deprecated==1.2.18",
        "jinja2==3.1.6",
        "markupsafe==3.0.3",
        "tenacity==9.1.4",
    ),
)
"""Decorators and association properties; of the instrumentations it comes with, the one of openai."""

OPENLLMETRY_OLD: Final = Sdk(
    "opentelemetry-instrumentation-openai",
    "0.52.6",
    "",
    companions=("opentelemetry-instrumentation-anthropic==0.52.6", "opentelemetry-semantic-conventions-ai==0.4.13"),
)
"""Messages as `gen_ai.prompt.N.*`: last in 0.53, and in use for long after."""

OPENAI_V2_OLD: Final = Sdk("opentelemetry-instrumentation-openai-v2", "2.3b0", "", companions=("wrapt==1.17.3",))
"""`gen_ai.system`, and messages as log records: conventions v1.30, its last before util-genai. Not for wrapt 2."""

ALL: Final = (TRACELOOP_SDK, OPENLLMETRY_OLD, OPENAI_V2_OLD)


if __name__ == "__main__":
    for each in ALL:
        python_path(each)
