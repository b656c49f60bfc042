"""Tracing platforms' own SDKs, and agent frameworks in older versions, for recording what they export.

They are installed as `sdk_versions` installs SDKs: pinned, without looking for dependencies, each in a directory of its
own. Needed to record fixtures of dialects (`tests/fixtures/dialects/record/platforms.py`), and by no test.

    python tests/support/platform_versions.py        installs what is missing

Versions are the newest of November 2026, and the last ones with an older vocabulary that is still in use.
"""

import sys
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # run as a script: the folder of `support` is not on the path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.sdk_versions import Sdk, python_path

LANGSMITH: Final = Sdk(
    "langsmith",
    "0.14.17",
    "",
    companions=(
        "distro==1.9.0",
        "orjson==3.13.0",
        "requests-toolbelt==1.0.0",
        "uuid_utils==0.19.0",
        "websockets==17.4",
        "xxhash==4.1.0",
    ),
)
MLFLOW: Final = Sdk(
    "mlflow-tracing",
    "3.17.2",
    "",
    companions=(
        "cachetools==7.3.2",
        "databricks-sdk==0.156.0",
        "google-auth==2.62.2",
        "pyasn1==0.6.5",
        "pyasn1_modules==0.4.2",
        # Imported where a span is started, and not declared:
        "sqlparse==0.6.1",
        "PyYAML==6.0.3",
    ),
)
LOGFIRE: Final = Sdk("logfire", "5.2.0", "", companions=("executing==2.3.0",))
OLD_LANGFUSE: Final = Sdk("langfuse", "3.3.0", "", companions=("backoff==2.2.1",))
"""Writes the type `span` on generations of its `openai` wrapper."""
OLD_PYDANTIC_AI: Final = Sdk(
    "pydantic-ai-slim",
    "1.107.10",
    "",
    companions=(
        "pydantic-graph==1.107.10",
        "griffelib==2.4.1",
        "logfire-api==5.6.0",
        "genai-prices==0.0.71",
        "tiktoken==0.14.0",
        "regex==2026.11.15",
    ),
)
"""Knows the versions 1 to 5 of its span format; 2.x knows 2 to 6, and calls 2 to 4 deprecated."""

ALL: Final = (LANGSMITH, MLFLOW, LOGFIRE, OLD_LANGFUSE, OLD_PYDANTIC_AI)


if __name__ == "__main__":
    for each in ALL:
        python_path(each)
