"""What the benchmarks make of their samples; the measuring itself is `make bench`."""

import random

import pytest

from benchmarks.cases import CASES, Case, case
from benchmarks.driver import Mode, Run, Sample
from benchmarks.render import BEGIN, END, markdown, placed, text
from benchmarks.result import EmptyRunError, compare, rows

_NONE = Mode("none", content=False)
_OURS = Mode("tokentrail", content=False)
_CHEAP = Mode("openai-v2", content=False)
_DEAR = Mode("openllmetry", content=False)


def _run(costs: dict[Mode, dict[str, float]], rounds: int = 20) -> Run:
    """A run whose blocks take what is given, microseconds a call, half of it before the response."""
    run = Run(sdk="openai 3")
    for mode, by_case in costs.items():
        for name, cost in by_case.items():
            run.samples[mode, name] = [Sample(cost * 1e3, cost * 500)] * rounds
    return run


def test_added_time_is_found_below_noise_that_only_adds() -> None:
    chance = random.Random(3)

    def noisy(cost: float) -> list[Sample]:
        # Two blocks in three are disturbed, by up to as much as the call itself takes.
        return [Sample(cost * (1 + max(chance.uniform(-0.5, 1), 0)), cost) for _ in range(40)]

    added = compare(noisy(1_100_000.0), noisy(1_000_000.0))

    assert added.total_us == pytest.approx(100, abs=15)
    assert added.low_us <= added.total_us <= added.high_us
    assert added.foreground_us == pytest.approx(100)


def test_ratio_is_to_the_cheapest_other_instrumentation() -> None:
    costs = {_NONE: 1000.0, _OURS: 1060.0, _DEAR: 1400.0, _CHEAP: 1120.0, Mode("span", content=False): 1020.0}
    run = _run({mode: {"plain": cost} for mode, cost in costs.items()})

    found = {row.mode: row.added["plain"] for row in rows(run)}

    assert found[_OURS].ratio == pytest.approx(60 / 120)
    assert found[_DEAR].ratio == pytest.approx(400 / 120)
    assert found[_OURS].foreground_us == pytest.approx(30)
    assert found[_NONE].ratio is None


def test_a_chunk_costs_what_longer_streams_cost_more() -> None:
    run = _run({_NONE: {"stream_50": 100.0, "stream_500": 1000.0}, _OURS: {"stream_50": 200.0, "stream_500": 2000.0}})

    found = {row.mode: row.chunk_us for row in rows(run)}

    assert found[_OURS] == pytest.approx((1000 - 100) / 450)


def test_a_contender_that_failed_is_named_and_not_compared_with() -> None:
    run = _run({_NONE: {"plain": 1000.0}, _OURS: {"plain": 1060.0}, _CHEAP: {"plain": 1001.0}})
    run.failed[_CHEAP] = "0 spans for 3 calls"

    found = rows(run)

    assert [row.mode for row in found] == [_NONE, _OURS]
    assert found[1].added["plain"].ratio is None
    assert "openai-v2: 0 spans for 3 calls" in text(run, found)
    assert "openai-v2 (0 spans for 3 calls)" in markdown(run, found)


def test_nothing_is_said_without_the_uninstrumented_application() -> None:
    run = _run({_OURS: {"plain": 1060.0}})
    run.failed[_NONE] = "its process ended with 1"

    with pytest.raises(EmptyRunError, match="its process ended with 1"):
        rows(run)


def test_the_table_replaces_the_one_between_the_marks() -> None:
    document = f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n"

    assert placed(document, "new") == f"# Title\n\n{BEGIN}\nnew\n{END}\n\nThe end.\n"
    assert placed("", "new") == "new\n"


@pytest.mark.parametrize("called", CASES, ids=lambda called: called.name)
def test_prompts_have_the_size_they_are_named_after(called: Case) -> None:
    arguments = called.arguments()
    texts = [arguments["input"]] if called.embedding else [each["content"] for each in arguments["messages"]]

    assert sum(len(each.encode()) for each in texts) == pytest.approx(called.prompt_bytes, rel=0.01)


def test_streams_have_the_chunks_they_are_named_after() -> None:
    pieces = case("stream_500").response()

    events = [piece for piece in pieces if b"data: {" in piece]

    assert len(events) == 500
    assert pieces[-2].endswith(b"data: [DONE]\n\n\r\n")
