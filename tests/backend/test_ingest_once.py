"""Every span once: in a group, across requests, across a restart, with and without a journal; and counted once."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support import otlp
from support.backend_process import samples
from support.memory_store import MemoryStore
from support.spans import a_span
from support.stores import fresh
from tokentrail.backend.ingest import committer, duplicates
from tokentrail.backend.ingest.duplicates import Duplicates, Memory
from tokentrail.backend.ingest.journal import Journal
from tokentrail.backend.ingest.pipeline import Limits, Pipeline
from tokentrail.backend.ingest.refused import Refused
from tokentrail.backend.metrics.registry import Metrics
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.span import Span
from tokentrail.backend.store._base import Key
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.errors import StoreError, StoreUnavailable

SECOND = 1_000_000_000


class Backend:
    """A pipeline over a store, as one process has it."""

    def __init__(self, store: Any, journal: Path | None = None) -> None:
        self.store, self.metrics = store, Metrics("test")
        kept = Refused(journal / "refused") if journal else None
        log = Journal(journal, 10_000_000) if journal else None
        self.pipeline = Pipeline(store, self.metrics.calls, self.metrics.own, Limits(1000, 10_000_000), log, kept)

    def run(self, *bodies: bytes, until: Callable[[], bool] = lambda: True) -> list[Any]:
        """Start, send `bodies` one after another, wait for `until`, stop; the answers."""

        async def whole() -> list[Any]:
            self.pipeline.start()
            answers: list[Any] = []
            try:
                for body in bodies:
                    try:
                        answers.append(await self.pipeline.submit(body, Encoding.PROTOBUF))
                    except Exception as error:
                        answers.append(error)
                deadline = time.monotonic() + 20
                while not until():
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.01)
            finally:
                await asyncio.to_thread(self.pipeline.close)
            return answers

        return asyncio.run(whole())

    def metric(self, name: str, **labels: str) -> float:
        text = self.metrics.expose()[0].decode()
        return sum(value for sample, own, value in samples(text) if sample == name and labels.items() <= own.items())

    def crash(self) -> None:
        """What a killed process leaves open is let go of, as the kernel does."""
        journal = self.pipeline._journal
        if journal is not None:
            journal.close()


@pytest.fixture
def chdb(tmp_path: Path) -> Iterator[ChdbStore]:
    store = fresh(tmp_path / "data")
    yield store
    store.close()


def ids(spans: Sequence[Span]) -> list[str]:
    return [span.span_id for span in spans]


# What is a duplicate ---------------------------------------------------------------------------------------------


def test_a_span_that_is_twice_in_a_group_is_stored_once() -> None:
    one, two = a_span({}, span_id="a" * 16), a_span({}, span_id="b" * 16)

    assert ids(Duplicates(MemoryStore()).fresh_spans([one, two, one])) == ["a" * 16, "b" * 16]


def test_the_same_span_id_in_another_trace_is_another_span() -> None:
    one, two = a_span({}), a_span({}, trace_id="9" * 32)

    assert len(Duplicates(MemoryStore()).fresh_spans([one, two])) == 2


class Watched(MemoryStore):
    """Counts the look-ups."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_for: list[int] = []

    def find_spans(self, spans: Sequence[Span]) -> set[Key]:
        self.looked_for.append(len(spans))
        return super().find_spans(spans)


def memory(store: Watched, now_s: float, generation_spans: int = 100) -> tuple[Duplicates, list[float]]:
    clock = [now_s]
    return Duplicates(store, memory=Memory(lambda: int(clock[0] * SECOND), generation_spans)), clock


def at(second: float, number: int) -> Span:
    end = int(second * SECOND)
    return a_span({}, span_id=f"{number:016x}", start_ns=end - 10, end_ns=end)


def test_new_spans_are_not_looked_up_once_the_memory_is_old_enough() -> None:
    store = Watched()
    found, clock = memory(store, now_s=1000)
    clock[0] = 1000 + duplicates.SLACK_S + 1

    spans = [at(clock[0], number) for number in range(50)]
    assert found.fresh_spans(spans) == spans
    found.remember(spans)

    assert store.looked_for == []


def test_spans_from_before_the_process_are_looked_up() -> None:
    store = Watched()
    found, _ = memory(store, now_s=1000)
    old = at(999, 1)
    store.insert([old], [])

    assert found.fresh_spans([old, at(998, 2)]) == [at(998, 2)]
    assert store.looked_for == [2]


def test_what_was_remembered_is_looked_up_and_found() -> None:
    store = Watched()
    found, _ = memory(store, now_s=1000)
    span = at(2000, 1)
    found.remember([span])
    store.insert([span], [])

    assert found.fresh_spans([span]) == []
    assert store.looked_for == [1]


def test_what_the_memory_has_forgotten_is_looked_up() -> None:
    store = Watched()
    found, clock = memory(store, now_s=1000, generation_spans=10)
    first = at(2000, 1)
    found.remember([first])
    store.insert([first], [])
    for number in range(2, 40):
        clock[0] = 2000 + number
        found.remember([at(2000 + number, number)])

    assert found.fresh_spans([first]) == []


def test_a_span_that_began_after_all_that_is_stored_is_not_looked_up() -> None:
    store = Watched()
    found, _ = memory(store, now_s=1000)
    found.begin_after(int(990 * SECOND))
    stored, new = at(990, 1), at(999, 2)
    store.insert([stored], [])

    assert found.fresh_spans([stored, new]) == [new]
    assert store.looked_for == [1]


def test_a_span_from_a_clock_that_is_ahead_is_looked_up_after_a_restart() -> None:
    store = Watched()
    found, _ = memory(store, now_s=1000)
    found.begin_after(int(1300 * SECOND))
    ahead = at(1300, 1)
    store.insert([ahead], [])

    assert found.fresh_spans([ahead, at(1310, 2)]) == [at(1310, 2)]


def test_a_span_from_a_clock_that_is_days_ahead_is_looked_up_after_a_restart() -> None:
    store = Watched()
    found, _ = memory(store, now_s=1000)
    days = at(1000 + 2 * 86_400, 1)
    found.begin_after(days.start_ns)
    store.insert([days], [])

    assert found.fresh_spans([days]) == []


def test_a_newest_span_of_far_ahead_tells_nothing_of_others() -> None:
    store = Watched()
    found, _ = memory(store, now_s=1000)
    found.begin_after(int(1000 * SECOND) + 2 * 86_400 * 10**9)

    found.fresh_spans([at(999, 1)])

    assert store.looked_for == [1]


@pytest.mark.parametrize("tick_s", [1, 0, -1])
def test_spans_of_this_process_that_it_has_forgotten_are_looked_up(tick_s: int) -> None:
    store = Watched()
    found, clock = memory(store, now_s=1000, generation_spans=10)
    found.begin_after(int(900 * SECOND))
    first = at(1000, 1)
    found.remember([first])
    store.insert([first], [])
    for number in range(2, 40):
        clock[0] = 1000 + tick_s * number
        found.remember([at(2000 + number, number)])

    assert found.fresh_spans([first]) == []


def test_with_other_backends_at_the_same_store_everything_is_looked_up() -> None:
    store = Watched()
    found = Duplicates(store, shared=True, memory=Memory(lambda: 0))
    span = at(5000, 1)
    store.insert([span], [])

    assert found.fresh_spans([span]) == []


def test_the_memory_never_forgets_what_it_was_told() -> None:
    now = 10**18
    remembered = Memory(lambda: now, 50_000)
    keys = [("", f"{number:032x}", f"{number:016x}") for number in range(50_000)]

    remembered.add(keys)

    late = now + int(duplicates.SLACK_S * SECOND)
    assert all(remembered.may_have(key, late) for key in keys)
    strangers = [("", f"{number:032x}", f"{number:016x}") for number in range(10**9, 10**9 + 10_000)]
    assert sum(remembered.may_have(key, late) for key in strangers) < 100


# Through the pipeline --------------------------------------------------------------------------------------------


def test_spans_that_come_again_in_other_batches_are_stored_and_counted_once(chdb: ChdbStore) -> None:
    spans = [otlp.span() for _ in range(6)]
    backend = Backend(chdb)

    backend.run(otlp.body(*spans[:4]), otlp.body(*spans[2:]), otlp.body(*reversed(spans)))

    assert chdb.query("SELECT count() AS n, uniqExact(SpanId) AS u FROM otel_traces") == [{"n": 6, "u": 6}]
    assert chdb.query("SELECT count() AS n FROM llm_requests") == [{"n": 6}]
    assert backend.metric("tokentrail_requests_total") == 6
    assert backend.metric("tokentrail_spans_stored_total") == 6
    assert backend.metric("tokentrail_spans_repeated_total") == 8
    assert backend.metric("tokentrail_spans_received_total") == 14


@pytest.mark.parametrize("journaled", [False, True])
def test_a_request_that_comes_again_after_a_restart_is_stored_and_counted_once(
    chdb: ChdbStore, tmp_path: Path, journaled: bool
) -> None:
    journal = tmp_path / "journal" if journaled else None
    spans = [otlp.span() for _ in range(3)]
    Backend(chdb, journal).run(otlp.body(*spans))
    again = Backend(chdb, journal)

    again.run(otlp.body(*spans), otlp.body(otlp.span()))

    assert chdb.query("SELECT count() AS n FROM llm_requests") == [{"n": 4}]
    assert again.metric("tokentrail_requests_total") == 4, "it goes on where the process before was"
    assert again.metric("tokentrail_spans_repeated_total") == 3


def test_rows_are_stored_where_an_attempt_got_no_further_than_the_spans() -> None:
    class HalfStored(MemoryStore):
        """The first insert stores the spans, fails for the rows."""

        def insert(self, spans: Sequence[Span], rows: Any, received_ns: int = 0) -> None:
            if not self.inserts:
                self.inserts.append((list(spans), []))
                raise StoreUnavailable("between the tables")
            super().insert(spans, rows, received_ns)

    store = HalfStored()
    backend = Backend(store)
    body = otlp.body(otlp.span(), otlp.span())

    failed, stored = backend.run(body, body)

    assert isinstance(failed, StoreUnavailable)
    assert not isinstance(stored, Exception)
    assert [len(spans) for spans, _ in store.inserts] == [2, 0]
    assert [len(rows) for _, rows in store.inserts] == [0, 2]
    assert backend.metric("tokentrail_requests_total") == 2


def test_calls_that_a_failed_attempt_stored_are_counted_when_they_are_found() -> None:
    class StoredAllTheSame(MemoryStore):
        def insert(self, spans: Sequence[Span], rows: Any, received_ns: int = 0) -> None:
            first = not self.inserts
            super().insert(spans, rows, received_ns)
            if first:
                raise StoreUnavailable("the answer was lost")

    store = StoredAllTheSame()
    backend = Backend(store)
    body = otlp.body(otlp.span(), otlp.span())

    backend.run(body, body, body)

    assert len(store.inserts) == 1
    assert backend.metric("tokentrail_requests_total") == 2


# The journal -----------------------------------------------------------------------------------------------------


def test_with_a_journal_a_request_is_acknowledged_before_the_store_has_it(tmp_path: Path) -> None:
    store = MemoryStore()
    store.gate.clear()
    backend = Backend(store, tmp_path / "journal")

    async def scenario() -> None:
        backend.pipeline.start()
        await asyncio.wait_for(backend.pipeline.submit(otlp.body(), Encoding.PROTOBUF), 5)
        assert store.inserts == []
        store.gate.set()
        await asyncio.to_thread(backend.pipeline.close)

    asyncio.run(scenario())

    assert len(store.inserts) == 1
    assert list((tmp_path / "journal").glob("*.journal")) == []


def test_a_store_that_is_down_is_tried_until_it_is_not_and_nobody_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "_FIRST_PAUSE_S", 0.01)
    failures = [StoreUnavailable("down")] * 3
    store = MemoryStore(lambda spans: failures.pop() if failures else None)
    backend = Backend(store, tmp_path / "journal")

    answers = backend.run(otlp.body(), until=lambda: bool(store.inserts))

    assert not isinstance(answers[0], Exception)
    assert backend.metric("tokentrail_spans_stored_total") == 1
    assert backend.metric("tokentrail_store_write_errors_total", reason="unavailable") == 3


def test_what_the_store_never_took_is_stored_by_the_next_process(tmp_path: Path) -> None:
    down = MemoryStore(lambda spans: StoreUnavailable("down"))
    Backend(down, tmp_path / "journal").run(otlp.body(otlp.span(name="a")), otlp.body(otlp.span(name="b")))
    assert down.inserts == []
    store = MemoryStore()

    Backend(store, tmp_path / "journal").run(until=lambda: len(store.span_names) == 2)

    assert sorted(store.span_names) == ["a", "b"]
    assert list((tmp_path / "journal").glob("*.journal")) == []


def test_what_the_store_refuses_for_good_is_put_aside_and_takes_nothing_with_it(tmp_path: Path) -> None:
    store = MemoryStore(lambda spans: StoreError("bad row") if any(span.name == "poison" for span in spans) else None)
    backend = Backend(store, tmp_path / "journal")
    poison = otlp.body(otlp.span(name="poison"))

    backend.run(otlp.body(otlp.span(name="a")), poison, otlp.body(otlp.span(name="b")))

    assert sorted(store.span_names) == ["a", "b"]
    (kept,) = (tmp_path / "journal" / "refused").glob("*.request")
    assert kept.read_bytes() == poison
    assert backend.metric("tokentrail_spans_rejected_total", reason="store_refused") == 1
    assert list((tmp_path / "journal").glob("*.journal")) == [], "it is not tried for ever"


def test_a_reader_sees_what_was_acknowledged_before_it_asked(chdb: ChdbStore, tmp_path: Path) -> None:
    backend = Backend(chdb, tmp_path / "journal")
    seen: list[int] = []

    async def scenario() -> None:
        backend.pipeline.start()
        for _ in range(5):
            await backend.pipeline.submit(otlp.body(), Encoding.PROTOBUF)
            await asyncio.to_thread(backend.pipeline.settle)
            seen.append(int(str(chdb.query("SELECT count() AS n FROM llm_requests")[0]["n"])))
        await asyncio.to_thread(backend.pipeline.close)

    asyncio.run(scenario())

    assert seen == [1, 2, 3, 4, 5]


# Counters across a restart ---------------------------------------------------------------------------------------


def calls(backend: Backend) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of the call metrics."""
    found = samples(backend.metrics.expose()[0].decode())
    own = ("tokentrail_requests", "tokentrail_tokens", "tokentrail_cost", "tokentrail_unpriced", "tokentrail_time")
    return {
        (name, tuple(sorted(labels.items()))): value
        for name, labels, value in found
        if name.startswith((*own, "tokentrail_request_", "tokentrail_late"))
    }


def varied(number: int) -> Any:
    attributes = {
        **otlp.CHAT,
        "gen_ai.request.model": f"gpt-4o{'-mini' if number % 2 else ''}",
        "gen_ai.usage.input_tokens": 100 + number,
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 0.1 * number,
        **({"error.type": "429"} if number % 5 == 0 else {}),
    }
    return otlp.span(attributes)


@pytest.mark.parametrize("journaled", [False, True])
def test_counters_go_on_to_the_call_after_a_stop(chdb: ChdbStore, tmp_path: Path, journaled: bool) -> None:
    journal = tmp_path / "journal" if journaled else None
    before = Backend(chdb, journal)
    before.run(*(otlp.body(varied(number)) for number in range(10)))

    after = Backend(chdb, journal)
    after.run()

    assert calls(after) == calls(before)
    assert calls(after)["tokentrail_requests_total", _labels("gpt-4o", "ok")] == 4


def _labels(model: str, outcome: str) -> tuple[tuple[str, str], ...]:
    labels = {
        "service_name": "shop",
        "deployment_environment_name": "test",
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": model,
        "outcome": outcome,
    }
    return tuple(sorted(labels.items()))


def test_counters_go_on_to_the_call_without_a_last_snapshot(chdb: ChdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Backend(chdb)
    first.run(*(otlp.body(varied(number)) for number in range(4)))
    second = Backend(chdb)
    monkeypatch.setattr(type(chdb), "save_snapshot", lambda *_: None)
    second.run(*(otlp.body(varied(number)) for number in range(4, 9)))

    third = Backend(chdb)
    third.run()

    assert calls(third) == calls(second)


def test_an_import_of_old_calls_is_late_after_a_restart_too(chdb: ChdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(chdb), "save_snapshot", lambda *_: None)
    hour_ago = time.time_ns() - 3600 * SECOND
    old = otlp.span(start_time_unix_nano=hour_ago - SECOND, end_time_unix_nano=hour_ago)
    before = Backend(chdb)
    before.run(otlp.body(old, otlp.span()))

    after = Backend(chdb)
    after.run()

    assert calls(after) == calls(before)
    assert after.metric("tokentrail_late_spans_total") == 1


def test_a_correction_of_cost_does_not_move_the_counters_at_a_restart(chdb: ChdbStore) -> None:
    before = Backend(chdb)
    before.run(otlp.body(varied(1)))
    with chdb._writing:
        chdb._open_writer().query("ALTER TABLE llm_requests UPDATE CostUsd = 7 WHERE 1 SETTINGS mutations_sync = 2")

    after = Backend(chdb)
    after.run()

    assert Decimal(str(chdb.query("SELECT sum(CostUsd) AS usd FROM llm_requests")[0]["usd"])) == 7
    assert calls(after) == calls(before)


# One call told by several spans ----------------------------------------------------------------------------------


def in_trace(trace: int, span: int, parent: int, operation: str, tokens: int, **fields: object) -> Any:
    attributes = {**otlp.CHAT, "gen_ai.operation.name": operation, "gen_ai.usage.input_tokens": tokens}
    return otlp.span(
        attributes,
        trace_id=trace.to_bytes(16, "big"),
        span_id=span.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        **fields,
    )


def stored(store: ChdbStore) -> list[tuple[str, int]]:
    found = store.query("SELECT Operation AS o, InputTokens AS t FROM llm_requests ORDER BY InputTokens")
    return [(str(row["o"]), int(str(row["t"]))) for row in found]


@pytest.mark.parametrize("together", [True, False])
def test_the_sum_that_an_agent_tells_is_not_counted_beside_its_calls(chdb: ChdbStore, together: bool) -> None:
    spans = [
        in_trace(7, 2, 1, "chat", 100),
        in_trace(7, 3, 1, "chat", 200),
        in_trace(7, 1, 0, "invoke_agent", 300),
    ]
    backend = Backend(chdb)

    backend.run(*([otlp.body(*spans)] if together else map(otlp.body, spans)))

    assert stored(chdb) == [("chat", 100), ("chat", 200)]
    assert backend.metric("tokentrail_requests_total") == 2
    assert backend.metric("tokentrail_calls_left_out_total", reason="aggregate") == 1
    assert chdb.query("SELECT count() AS n FROM otel_traces") == [{"n": 3}]


def test_an_agent_without_calls_of_its_own_spans_is_counted(chdb: ChdbStore) -> None:
    Backend(chdb).run(otlp.body(in_trace(7, 1, 0, "invoke_agent", 300)))

    assert stored(chdb) == [("invoke_agent", 300)]


def test_a_parent_that_comes_after_a_restart_is_not_counted_either(chdb: ChdbStore) -> None:
    Backend(chdb).run(otlp.body(in_trace(7, 3, 2, "chat", 100)), otlp.body(in_trace(7, 2, 1, "execute_tool", 0)))

    Backend(chdb).run(otlp.body(in_trace(7, 1, 0, "chat", 100)))

    assert stored(chdb) == [("chat", 100)]


DAY_S = 86_400


@pytest.mark.parametrize("senders_s", [0, -DAY_S, DAY_S], ids=lambda each: f"senders {each:+} s")
@pytest.mark.parametrize(
    ("before_s", "after_s"), [(0, DAY_S), (0, -DAY_S), (DAY_S, 0), (-DAY_S, 0), (-DAY_S, DAY_S), (DAY_S, -DAY_S)]
)
def test_a_parent_is_known_after_a_restart_whatever_the_clocks_say(
    chdb: ChdbStore, monkeypatch: pytest.MonkeyPatch, before_s: int, after_s: int, senders_s: int
) -> None:
    real = time.time_ns
    senders = {"end_time_unix_nano": real() + senders_s * SECOND, "start_time_unix_nano": real() + senders_s * SECOND}
    below = [in_trace(7, 3, 2, "chat", 100, **senders), in_trace(7, 2, 1, "execute_tool", 0, **senders)]
    astray = [in_trace(8, number, 0, "chat", 9, start_time_unix_nano=at) for number, at in ((8, 1), (9, 2**63 - 1))]

    monkeypatch.setattr(time, "time_ns", lambda: real() + before_s * SECOND)
    Backend(chdb).run(otlp.body(*below), otlp.body(*astray))
    monkeypatch.setattr(time, "time_ns", lambda: real() + after_s * SECOND)
    Backend(chdb).run(otlp.body(in_trace(7, 1, 0, "chat", 100, **senders)))

    assert stored(chdb) == [("chat", 9), ("chat", 9), ("chat", 100)]


def test_a_parent_is_known_after_a_restart_where_its_call_alone_has_a_wrong_time(chdb: ChdbStore) -> None:
    calls = [in_trace(9, number, 0, "chat", 9) for number in range(1, 31)]
    wrong = {"start_time_unix_nano": 2**63 - 2, "end_time_unix_nano": 2**63 - 1}
    Backend(chdb).run(otlp.body(*calls, in_trace(7, 2, 1, "chat", 100, **wrong)))

    Backend(chdb).run(otlp.body(in_trace(7, 1, 0, "chat", 100)))

    assert stored(chdb) == [("chat", 9)] * 30 + [("chat", 100)]


def test_a_failed_commit_does_not_make_its_retry_a_duplicate() -> None:
    failures = [StoreUnavailable("once")]
    store = MemoryStore(lambda spans: failures.pop() if failures else None)
    body = otlp.body(in_trace(7, 2, 1, "chat", 100), in_trace(7, 1, 0, "invoke_agent", 100))

    Backend(store).run(body, body)

    assert [row.operation for _, rows in store.inserts for row in rows] == ["chat"]
