"""Group commit: what is acknowledged is stored, what is not is said, and no request takes another with it."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from support import otlp
from support.backend_process import samples
from support.memory_store import MemoryStore
from tokentrail.backend.ingest.errors import QueueFull, Stopping
from tokentrail.backend.ingest.pipeline import Limits, Pipeline, Stored
from tokentrail.backend.metrics.registry import Metrics
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.receiver.decoded import DecodeError
from tokentrail.backend.span import Span
from tokentrail.backend.store.errors import StoreError, StoreUnavailable


def body(name: str, spans: int = 1) -> bytes:
    return otlp.body(*(otlp.span(name=name) for _ in range(spans)))


def poison(error: Exception) -> Callable[[Sequence[Span]], Exception | None]:
    """Refuses every insert that has a span named `poison`."""
    return lambda spans: error if any(span.name == "poison" for span in spans) else None


class Bench:
    """A pipeline over a store in memory, with its metrics."""

    def __init__(self, store: MemoryStore, max_spans: int = 1000, max_bytes: int = 1_000_000):
        self.store, self.metrics = store, Metrics("test")
        self.pipeline = Pipeline(store, self.metrics.calls, self.metrics.own, Limits(max_spans, max_bytes))

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        """Run `scenario` with the pipeline started; afterwards it is drained, and the metrics are final."""

        async def whole() -> None:
            self.pipeline.start()
            try:
                await scenario
            finally:
                self.store.gate.set()
                await asyncio.to_thread(self.pipeline.close)

        asyncio.run(whole())

    async def submit(self, *bodies: bytes) -> list[Stored | BaseException]:
        tasks = [self.pipeline.submit(each, Encoding.PROTOBUF) for each in bodies]
        return await asyncio.gather(*tasks, return_exceptions=True)

    async def submit_as_one_group(self, *bodies: bytes) -> list[Stored | BaseException]:
        """A first request holds the committer until all of `bodies` wait, so that they become one group."""
        self.store.gate.clear()
        first = asyncio.create_task(self.submit(body("first")))
        await asyncio.to_thread(self.store.entered.acquire)
        group = asyncio.create_task(self.submit(*bodies))
        await self.wait_for("tokentrail_queue_spans", len(bodies))
        self.store.gate.set()
        await first
        return await group

    async def wait_for(self, metric: str, at_least: float) -> None:
        def reached() -> None:
            deadline = time.monotonic() + 10
            while self.metric(metric) < at_least:
                assert time.monotonic() < deadline, f"{metric} stays below {at_least}"
                time.sleep(0.005)

        await asyncio.to_thread(reached)

    def metric(self, name: str, **labels: str) -> float:
        text = self.metrics.expose()[0].decode()
        return sum(value for sample, own, value in samples(text) if sample == name and labels.items() <= own.items())


def test_a_request_is_acknowledged_only_after_its_insert_returned() -> None:
    bench = Bench(MemoryStore())

    async def scenario() -> None:
        bench.store.gate.clear()
        submitted = asyncio.create_task(bench.submit(body("a")))
        await asyncio.to_thread(bench.store.entered.acquire)
        await asyncio.sleep(0.05)
        assert not submitted.done(), "acknowledged while the insert was still running"
        assert bench.metric("tokentrail_spans_stored_total") == 0
        bench.store.gate.set()
        assert await submitted == [Stored({})]
        assert bench.store.span_names == ["a"]

    bench.run(scenario())
    assert bench.metric("tokentrail_spans_stored_total") == 1
    assert bench.metric("tokentrail_requests_total") == 1


def test_everything_that_waits_becomes_one_insert() -> None:
    bench = Bench(MemoryStore())

    async def scenario() -> None:
        answers = await bench.submit_as_one_group(*(body(f"n{i}") for i in range(20)))
        assert answers == [Stored({})] * 20

    bench.run(scenario())
    assert [len(spans) for spans, _ in bench.store.inserts] == [1, 20]
    assert [len(rows) for _, rows in bench.store.inserts] == [1, 20]


def test_a_refused_request_does_not_take_its_group_with_it() -> None:
    bench = Bench(MemoryStore(poison(StoreError("bad row"))))

    async def scenario() -> None:
        first, bad, last = await bench.submit_as_one_group(body("a"), body("poison"), body("b"))
        assert first == last == Stored({})
        assert isinstance(bad, StoreError)
        assert not isinstance(bad, StoreUnavailable)

    bench.run(scenario())
    assert sorted(bench.store.span_names) == ["a", "b", "first"]
    assert bench.metric("tokentrail_spans_rejected_total", reason="store_refused") == 1
    assert bench.metric("tokentrail_spans_stored_total") == 3
    assert bench.metric("tokentrail_requests_total") == 3, "refused calls must not be in the metrics"


def test_an_unavailable_store_sends_the_whole_group_back_in_one_attempt() -> None:
    bench = Bench(MemoryStore(lambda spans: StoreUnavailable("disk full") if len(spans) > 1 else None))

    async def scenario() -> None:
        answers = await bench.submit_as_one_group(body("a"), body("b"), body("c"))
        assert [type(answer) for answer in answers] == [StoreUnavailable] * 3

    bench.run(scenario())
    assert bench.store.attempts == 2, "the first request and one attempt for the group"
    assert bench.metric("tokentrail_store_write_errors_total", reason="unavailable") == 1
    assert bench.metric("tokentrail_spans_returned_total", reason="store_unavailable") == 3
    assert bench.metric("tokentrail_spans_stored_total") == 1


def test_a_store_that_breaks_its_contract_does_not_end_the_committer() -> None:
    bench = Bench(MemoryStore(poison(ZeroDivisionError("a bug"))))

    async def scenario() -> None:
        (bad,) = await bench.submit(body("poison"))
        (good,) = await bench.submit(body("good"))
        assert isinstance(bad, StoreError)
        assert good == Stored({})

    bench.run(scenario())
    assert bench.store.span_names == ["good"]


def test_a_full_queue_is_said_at_once_and_counted() -> None:
    bench = Bench(MemoryStore(), max_spans=10)

    async def scenario() -> None:
        bench.store.gate.clear()
        held = asyncio.create_task(bench.submit(body("held")))
        await asyncio.to_thread(bench.store.entered.acquire)
        waiting = asyncio.create_task(bench.submit(body("waiting", spans=10)))
        await bench.wait_for("tokentrail_queue_spans", 10)
        (refused,) = await bench.submit(body("one too many"))
        assert isinstance(refused, QueueFull)
        assert "at most 10" in str(refused)
        bench.store.gate.set()
        await asyncio.gather(held, waiting)

    bench.run(scenario())
    assert bench.store.span_names == ["held"] + ["waiting"] * 10
    assert bench.metric("tokentrail_spans_returned_total", reason="queue_full") == 1


def test_a_request_larger_than_the_queue_is_taken_when_the_queue_is_empty() -> None:
    bench = Bench(MemoryStore(), max_spans=3, max_bytes=10)

    async def scenario() -> None:
        assert await bench.submit(body("big", spans=50)) == [Stored({})]

    bench.run(scenario())
    assert len(bench.store.span_names) == 50


def test_the_same_bytes_sent_again_are_acknowledged_and_stored_once() -> None:
    bench = Bench(MemoryStore())
    twice = body("twice")

    async def scenario() -> None:
        assert await bench.submit_as_one_group(twice, body("other")) == [Stored({})] * 2
        assert await bench.submit(twice, twice) == [Stored({})] * 2

    bench.run(scenario())
    assert sorted(bench.store.span_names) == ["first", "other", "twice"]
    assert bench.metric("tokentrail_spans_repeated_total") == 2
    assert bench.metric("tokentrail_requests_total") == 3


def test_the_same_bytes_are_tried_anew_after_a_failure() -> None:
    failures = [StoreUnavailable("once")]
    bench = Bench(MemoryStore(lambda spans: failures.pop() if failures else None))
    again = body("again")

    async def scenario() -> None:
        (failed,) = await bench.submit(again)
        (stored,) = await bench.submit(again)
        assert isinstance(failed, StoreUnavailable)
        assert stored == Stored({})

    bench.run(scenario())
    assert bench.store.span_names == ["again"]


def test_a_sender_that_gives_up_does_not_take_back_what_is_on_its_way() -> None:
    bench = Bench(MemoryStore())

    async def scenario() -> None:
        bench.store.gate.clear()
        submitted = asyncio.create_task(bench.submit(body("kept")))
        await asyncio.to_thread(bench.store.entered.acquire)
        submitted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitted
        bench.store.gate.set()

    bench.run(scenario())
    assert bench.store.span_names == ["kept"]


def test_closing_drains_what_waits_and_refuses_what_comes_after() -> None:
    bench = Bench(MemoryStore())

    async def scenario() -> None:
        bench.store.gate.clear()
        waiting = asyncio.create_task(bench.submit(*(body(f"n{i}") for i in range(5))))
        await asyncio.to_thread(bench.store.entered.acquire)
        await bench.wait_for("tokentrail_spans_received_total", 5)
        closing = asyncio.create_task(asyncio.to_thread(bench.pipeline.close))
        await asyncio.sleep(0.05)
        (late,) = await bench.submit(body("late"))
        assert isinstance(late, Stopping)
        bench.store.gate.set()
        await closing
        assert await waiting == [Stored({})] * 5

    bench.run(scenario())
    assert sorted(bench.store.span_names) == [f"n{i}" for i in range(5)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tokentrail-")]


def test_a_malformed_body_reaches_nobody_else() -> None:
    bench = Bench(MemoryStore())

    async def scenario() -> None:
        bad, good = await bench.submit(body("x")[:-1], body("good"))
        assert isinstance(bad, DecodeError)
        assert good == Stored({})

    bench.run(scenario())
    assert bench.store.span_names == ["good"]
    assert bench.metric("tokentrail_spans_received_total") == 1


def balance_of(bench: Bench) -> tuple[float, float]:
    """Spans received, and the sum of all that can have become of them."""
    ends = ("stored", "repeated", "rejected", "returned")
    return (
        bench.metric("tokentrail_spans_received_total"),
        sum(bench.metric(f"tokentrail_spans_{end}_total") for end in ends),
    )


@pytest.mark.parametrize(
    ("error", "counted"),
    [(StoreUnavailable("away"), "returned"), (StoreError("no"), "rejected"), (None, "repeated")],
    ids=["unavailable", "refused", "stored"],
)
def test_a_request_that_shares_the_fate_of_another_is_counted_once(error: Exception | None, counted: str) -> None:
    bench = Bench(MemoryStore(lambda spans: error))

    async def scenario() -> None:
        bench.store.gate.clear()
        one = body("same")
        both = asyncio.gather(bench.submit(one), bench.submit(one), return_exceptions=True)
        await asyncio.to_thread(bench.store.entered.acquire)
        await bench.wait_for("tokentrail_spans_received_total", 2)
        bench.store.gate.set()
        await both

    bench.run(scenario())
    assert balance_of(bench) == (2, 2)
    assert bench.metric(f"tokentrail_spans_{counted}_total") == (1 if error is None else 2)


def test_a_request_whose_sender_hung_up_is_counted_when_it_cannot_be_stored() -> None:
    bench = Bench(MemoryStore(lambda spans: StoreUnavailable("away")))

    async def scenario() -> None:
        bench.store.gate.clear()
        sent = asyncio.create_task(bench.submit(body("a")))
        await asyncio.to_thread(bench.store.entered.acquire)
        sent.cancel()
        await asyncio.sleep(0)
        bench.store.gate.set()
        await bench.wait_for("tokentrail_spans_returned_total", 1)

    bench.run(scenario())
    assert balance_of(bench) == (1, 1)
