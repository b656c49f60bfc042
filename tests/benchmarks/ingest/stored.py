"""What a backend left on disk, counted by the engine itself once the backend is gone.

`python stored.py DIRECTORY` prints a line of JSON: one process can have one database open, hence a process of its own.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import chdb

_SQL: Final = """
SELECT
    (SELECT count() FROM otel_traces) AS spans,
    (SELECT uniqExact(TraceId, SpanId) FROM otel_traces) AS distinct_spans,
    (SELECT count() FROM llm_requests) AS calls,
    (SELECT uniqExact(TraceId, SpanId) FROM llm_requests) AS distinct_calls,
    (SELECT countIf(PricingStatus = 'priced' AND CostUsd > 0) FROM llm_requests) AS priced,
    (SELECT uniqExact(TraceId, SpanId) FROM llm_contents) AS contents
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """What there is."""

    spans: int
    distinct_spans: int
    calls: int
    distinct_calls: int
    priced: int
    """Calls with a cost."""
    contents: int
    """Calls whose messages are there."""


def read_stored(directory: Path) -> Stored:
    """What is in the database in `directory`, which no process has open."""
    done = subprocess.run([sys.executable, __file__, str(directory)], capture_output=True, check=True, text=True)
    return Stored(**json.loads(done.stdout))


def _main(directory: str) -> None:
    connection = chdb.connect(directory)
    found = json.loads(str(connection.query(_SQL, "JSONEachRow")))
    connection.close()
    print(json.dumps(asdict(Stored(**{name: int(count) for name, count in found.items()}))))


if __name__ == "__main__":
    _main(sys.argv[1])
