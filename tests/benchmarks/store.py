"""Size and query time of the embedded store with millions of calls: `python -m benchmarks.store --help`.

Fills a directory once and times every question of `store_queries` on it, cold (the files dropped from the page cache,
the engine's own caches emptied) and warm (the best of several), with two threads. With `--variants` it compares other
orders, indexes, partitions and codecs of the calls' table on three days of calls instead.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import store_fill
from benchmarks.store_queries import QUESTIONS, ROLLUP_QUESTIONS, Question
from benchmarks.store_variants import VARIANTS, Variant
from tokentrail.backend.store.chdb import ChdbStore

RANGES_H: Final = {"1h": 1, "24h": 24, "7d": 7 * 24, "30d": 30 * 24}
BATCH: Final = 500_000
"""Calls a part."""
_POINTS: Final = 100
_WARM: Final = 2
_CACHES: Final = (
    "MARK",
    "UNCOMPRESSED",
    "INDEX MARK",
    "INDEX UNCOMPRESSED",
    "PRIMARY INDEX",
    "QUERY CONDITION",
    "QUERY",
)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one question took."""

    question: str
    range: str
    cold_ms: float
    warm_ms: float
    cpu_ms: float
    """Of all threads, warm: half of it is what two cores with nothing else to do take at least."""
    rows: int
    """In the answer."""


class Bench:
    """A store to ask. Calls are there from `first_ns` on, without a gap, `count` of them in table `calls`."""

    def __init__(self, store: ChdbStore, path: Path, calls: str, first_ns: int, count: int) -> None:
        self._store, self._path, self._calls = store, path, calls
        self._end_ns = first_ns + count * store_fill.STEP_NS
        self._count = count

    def ask(self, question: Question, hours: int) -> tuple[float, float, int]:
        """Milliseconds, those of CPU, and rows of one question over the last `hours`."""
        sql = f"{self._sql(question, hours)} SETTINGS max_threads = 2, use_query_condition_cache = 0"
        with self._store._reader() as reader:  # as text: reading the answer is not what is measured
            began, began_cpu = time.perf_counter(), time.process_time()
            answer: bytes = reader.query(sql, "TSV").bytes()
            cpu_ms = (time.process_time() - began_cpu) * 1000
            return (time.perf_counter() - began) * 1000, cpu_ms, answer.count(b"\n")

    def time(self, question: Question, hours: int, label: str) -> Timing:
        """Cold once, then warm."""
        self.cool()
        cold_ms, _, rows = self.ask(question, hours)
        warm_ms, cpu_ms = map(min, zip(*(self.ask(question, hours)[:2] for _ in range(_WARM)), strict=True))
        if rows == 0:
            raise RuntimeError(f"{question.name} over {label} found nothing: it measured nothing")
        return Timing(question.name, label, cold_ms, warm_ms, cpu_ms, rows)

    def cool(self) -> None:
        """Out of the caches of the engine and of the system, as far as this store's files go."""
        for cache in _CACHES:
            execute(self._store, f"SYSTEM DROP {cache} CACHE")
        for directory, _, names in os.walk(self._path):
            for name in names:
                _forget(Path(directory, name))

    def _sql(self, question: Question, hours: int) -> str:
        since_ns = self._end_ns - hours * 3600 * 10**9
        middle, last = (f"(SELECT {{}} FROM (SELECT toUInt64({n}) AS n))" for n in (self._count // 2, self._count - 1))
        columns = store_fill.COLUMNS
        return question.sql.format(
            calls=self._calls,
            rollup="llm_requests_hourly",
            since=f"fromUnixTimestamp64Nano({since_ns})",
            until=f"fromUnixTimestamp64Nano({self._end_ns})",
            step=max(hours * 3600 // _POINTS, 1),
            trace=middle.format(columns["TraceId"]),
            session=middle.format(columns["SessionId"]),
            user=last.format(columns["UserId"]),  # who is in every range
        )


def execute(store: ChdbStore, sql: str) -> None:
    """Run a statement that changes the store."""
    store._open_writer().query(sql)


def _forget(path: Path) -> None:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return  # merged away meanwhile
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


def fill(store: ChdbStore, table: str, first_ns: int, count: int) -> float:
    """Insert calls up to `count`, going on where an interrupted run stopped. CPU seconds, merges included."""
    (known,) = store.query(f"SELECT count() AS n FROM {table}")
    began = time.process_time()
    for begin in range(int(str(known["n"])), count, BATCH):
        execute(store, store_fill.insert(table, first_ns, begin, min(begin + BATCH, count)))
        if begin // BATCH % 10 == 0:
            _say(f"{table}: {begin:,} calls, {time.process_time() - began:.0f} s of CPU")
    return time.process_time() - began


def size(store: ChdbStore, table: str) -> tuple[int, int, int]:
    """Rows, bytes on disk and parts of a table."""
    sql = "SELECT sum(rows) AS r, sum(bytes_on_disk) AS b, count() AS p FROM system.parts"
    (found,) = store.query(f"{sql} WHERE active AND table = {{t:String}}", {"t": table})
    return int(str(found["r"])), int(str(found["b"])), int(str(found["p"]))


def roll_up(store: ChdbStore) -> None:
    """Sum the calls up by the hour, and tell what that takes."""
    began, began_cpu = time.perf_counter(), time.process_time()
    hours = store.roll_up(0, time.time_ns())
    cpu_s = time.process_time() - began_cpu
    rows, on_disk, _ = size(store, "llm_requests_hourly")
    _say(
        f"{hours} hours summed up in {time.perf_counter() - began:.1f} s, {cpu_s:.1f} s of CPU: "
        f"{rows:,} rows, {on_disk / 2**20:.0f} MiB"
    )


def timings(bench: Bench, questions: Sequence[Question], ranges: Sequence[str]) -> Iterator[Timing]:
    """All questions over all ranges."""
    for question in questions:
        for label in ranges if question.ranged else ranges[-1:]:
            timing = bench.time(question, RANGES_H[label], label if question.ranged else "all")
            _say(
                f"{timing.question:38} {timing.range:4} cold {timing.cold_ms:8.1f} ms  "
                f"warm {timing.warm_ms:8.1f} ms  CPU {timing.cpu_ms:8.1f} ms"
            )
            yield timing


def compare(store: ChdbStore, path: Path, variants: Sequence[Variant], count: int, first_ns: int) -> None:
    """Size, cost of filling and query times of each variant of the calls' table."""
    (made,) = store.query("SHOW CREATE TABLE llm_requests")
    for variant in variants:
        table = f"v_{variant.name}"
        execute(store, variant.create(str(made["statement"]), table))
        cpu_s = fill(store, table, first_ns, count)
        began = time.process_time()
        execute(store, f"OPTIMIZE TABLE {table} FINAL")
        merge_s = time.process_time() - began
        rows, on_disk, _ = size(store, table)
        _say(
            f"== {variant.name}: {on_disk / rows:.0f} bytes a call, "
            f"insert {cpu_s / rows * 1e6:.2f} us, last merge {merge_s / rows * 1e6:.2f} us a call"
        )
        list(timings(Bench(store, path, table, first_ns, count), QUESTIONS, ("1h", "24h")))
        execute(store, f"DROP TABLE {table} SYNC")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Fill and measure as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the store is, or is to be")
    parser.add_argument("--calls", type=int, default=50_000_000, help="calls in it, 70,000 an hour (50,000,000)")
    parser.add_argument("--only", default="", help="ask only questions whose name has this")
    parser.add_argument("--ranges", default=",".join(RANGES_H), help="of time, back from the newest call")
    parser.add_argument("--variants", default="", help="compare these instead: " + ", ".join(v.name for v in VARIANTS))
    parser.add_argument("--json", type=Path, help="file for the timings")
    arguments = parser.parse_args()
    store = ChdbStore(arguments.directory)
    store.migrate()
    hour_s = 3600
    first_ns = (int(time.time()) // hour_s * hour_s - arguments.calls * store_fill.STEP_NS // 10**9) * 10**9
    if arguments.variants:
        wanted = arguments.variants.split(",")
        compare(store, arguments.directory, [v for v in VARIANTS if v.name in wanted], arguments.calls, first_ns)
    else:
        (known,) = store.query("SELECT toUnixTimestamp64Nano(min(Timestamp)) AS t, count() AS n FROM llm_requests")
        first_ns = int(str(known["t"])) // store_fill.STEP_NS * store_fill.STEP_NS if int(str(known["n"])) else first_ns
        cpu_s = fill(store, "llm_requests", first_ns, arguments.calls)
        rows, on_disk, parts = size(store, "llm_requests")
        _say(
            f"{rows:,} calls, {on_disk / 2**30:.2f} GiB, {on_disk / rows:.0f} bytes a call, "
            f"{parts} parts; {cpu_s:.0f} s CPU"
        )
        roll_up(store)
        bench = Bench(store, arguments.directory, "llm_requests", first_ns, arguments.calls)
        asked = [each for each in (*QUESTIONS, *ROLLUP_QUESTIONS) if arguments.only in each.name]
        found = list(timings(bench, asked, arguments.ranges.split(",")))
        if arguments.json:
            shown = [{name: getattr(each, name) for name in Timing.__slots__} for each in found]
            arguments.json.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
