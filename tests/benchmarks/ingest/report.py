"""The benchmark of the ingest as a whole: what a span costs the backend, by load.

CPU us/span     of the whole process until all spans are in the store, merges and the time until it is quiet included
spans/s/core    its reciprocal: received over a socket, journalled, normalised, priced, deduplicated, stored, counted
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.ingest.load import Load, Measured, idle, measure

LOADS: Final = (
    Load("http", 2048, 512, 4, 60_000),
    Load("http", 2048, 512, 1, 60_000),
    Load("grpc", 2048, 512, 4, 60_000),
    Load("http", 8192, 512, 4, 24_000),
    Load("grpc", 8192, 512, 4, 24_000),
    Load("http", 0, 512, 4, 60_000),
    Load("http", 2048, 512, 32, 60_000),
    Load("http", 2048, 16, 4, 16_000),
    Load("http", 2048, 16, 1, 16_000),
)
_PORTIONS: Final = ("semconv", "instrumentation", "backend")


def report(
    rounds: int, against: Path | None, loads: Sequence[Load], target: Path | None, say: Callable[[str], None]
) -> int:
    """Measure every load `rounds` times, beside the code in `against` in turns; 1 when a result was wrong."""
    other = None if against is None else os.pathsep.join(str(against / portion) for portion in _PORTIONS)
    found: list[Measured] = []
    say(_HEAD)
    for load in loads:
        pairs = [(measure(load, seed=3 * at + 1), other and measure(load, other, 3 * at + 1)) for at in range(rounds)]
        ours = sorted((each for each, _ in pairs), key=lambda each: each.us_a_span)[(rounds - 1) // 2]
        found += [each for each, _ in pairs]
        ratios = [theirs.us_a_span / each.us_a_span for each, theirs in pairs if theirs]
        say(_line(ours) + (f" {median(ratios):6.2f}" if ratios else ""))
    say(f"idle: {idle(60):.2%} of a core; load of the machine {os.getloadavg()[0]:.1f}")
    if target is not None:
        target.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n", encoding="utf-8")
    return 0


_HEAD: Final = (
    "transport content spans/req clients | CPU us/span  (merges after)  spans/s/core  spans/s  ack ms p50   p99"
    "  MB peak  returned  xfaster"
)


def _line(each: Measured) -> str:
    load = each.load
    return (
        f"{load.transport:9} {load.content_bytes:7} {load.spans_a_request:9} {load.clients:7} |"
        f" {each.us_a_span:11.1f} {each.after_s / each.spans * 1e6:15.1f} {each.spans_a_core:13,.0f}"
        f" {each.spans / each.wall_s:8,.0f} {each.ack_ms[0]:11.1f} {each.ack_ms[1]:5.0f} {each.memory_mb:8.0f}"
        f" {each.returned:9}"
    )
