"""How long the dashboards' own statements take on a filled store: `python -m benchmarks.dashboards DIRECTORY`.

The directory is one that `python -m benchmarks.store` has filled. Every statement of the committed dashboards is asked
with all filters open, over the ranges given back from the newest call, with two threads; the best of two counts.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from support import grafana
from support.grafana import Window
from tokentrail.backend.store.chdb import ChdbStore

ROOT: Final = Path(__file__).parents[2]
FILES: Final = sorted((ROOT / "dashboards" / "grafana" / "dashboards").glob("*.json"))
HOURS: Final = {"6h": 6, "24h": 24, "7d": 168, "30d": 720}
POINTS: Final = 200
"""Of a panel over time."""
TRIES: Final = 2


def statements(only: str) -> Iterator[tuple[str, str]]:
    """Name and SQL of every statement of a panel."""
    for path in FILES:
        dashboard: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for panel in grafana.panels(dashboard):
            for target in panel.get("targets") or ():
                name = f"{path.stem}: {panel['title']}"
                if "rawSql" in target and only in name:
                    yield name, target["rawSql"]


def asked(store: ChdbStore, sql: str) -> tuple[float, float, int]:
    """Milliseconds, those of CPU, and rows."""
    with store._reader() as reader:
        began, began_cpu = time.perf_counter(), time.process_time()
        answer: bytes = reader.query(f"{sql} SETTINGS max_threads = 2, use_query_condition_cache = 0", "TSV").bytes()
        return (time.perf_counter() - began) * 1e3, (time.process_time() - began_cpu) * 1e3, answer.count(b"\n")


def main() -> int:
    """A line for each statement, the dearest last; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboards", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("directory", type=Path, help="a store that benchmarks.store has filled")
    parser.add_argument("--range", choices=list(HOURS), default="24h")
    parser.add_argument("--only", default="", help="statements whose name has this")
    arguments = parser.parse_args()
    store = ChdbStore(arguments.directory)
    (last,) = store.query(
        "SELECT toUnixTimestamp64Milli(max(Timestamp)) AS ms, argMax(SessionId, Timestamp) AS session, "
        "argMax(TraceId, Timestamp) AS trace FROM llm_requests"
    )
    end_ms, hours = int(str(last["ms"])), HOURS[arguments.range]
    window = Window(end_ms - hours * 3_600_000, end_ms, max(hours * 3600 // POINTS, 1))
    choice = {
        "property": ["Feature"],
        "offset": ["7"],
        "session": [str(last["session"])],
        "trace": [str(last["trace"])],
    }
    choice |= {"prometheus": ["p"], "clickhouse": ["c"]}
    found: list[tuple[float, float, int, str]] = []
    failed = 0
    for name, raw in statements(arguments.only):
        try:
            times = [asked(store, grafana.sql(raw, window, choice)) for _ in range(TRIES)]
        except Exception as error:  # a statement that fails is a finding
            failed += 1
            print(f"{name}: {str(error)[:300]}", file=sys.stderr)
            continue
        found.append((min(each[1] for each in times), min(each[0] for each in times), times[0][2], name))
    for cpu_ms, wall_ms, rows, name in sorted(found):
        print(f"{cpu_ms:8.0f} ms CPU {wall_ms:8.0f} ms {rows:6} rows  {name}")
    slow = sum(cpu_ms > 2000 for cpu_ms, *_ in found)
    print(
        f"{len(found)} statements over {arguments.range}, {slow} above 2 s of CPU (1 s on two cores), {failed} failed"
    )
    store.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
