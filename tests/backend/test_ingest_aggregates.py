"""Usage that several spans of a trace tell is counted once, in whatever order and requests the spans arrive."""

import random
import threading
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import permutations
from types import MappingProxyType

import pytest

from support.spans import START, a_span
from tokentrail.backend import dialects
from tokentrail.backend.ingest.aggregates import AGGREGATE, COVERED, DUPLICATE, Aggregates
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span

Read = tuple[Span, Row | None]

TRACE = "a" * 32


def span_id(name: str) -> str:
    return name.encode().hex().ljust(16, "0") if name else ""


def read(
    operation: str,
    name: str,
    parent: str = "",
    tokens: tuple[int, int] | None = None,
    trace: str = TRACE,
    more: Attributes = MappingProxyType({}),
) -> Read:
    """A span as the dialects read it. `tokens` are input and output; ids are made of the names."""
    attributes = {"gen_ai.operation.name": operation, "gen_ai.request.model": "m", **more}
    if tokens is not None:
        attributes |= {"gen_ai.usage.input_tokens": tokens[0], "gen_ai.usage.output_tokens": tokens[1]}
    span = a_span(attributes, trace_id=trace, span_id=span_id(name), parent_span_id=span_id(parent))
    return span, dialects.describe(span)


def http(name: str, parent: str = "", trace: str = TRACE) -> Read:
    """A span that is no GenAI span."""
    span = a_span(
        {"http.request.method": "POST"}, trace_id=trace, span_id=span_id(name), parent_span_id=span_id(parent)
    )
    return span, dialects.describe(span)


def chat(
    name: str,
    parent: str = "",
    tokens: tuple[int, int] | None = (7, 2),
    trace: str = TRACE,
    more: Attributes = MappingProxyType({}),
) -> Read:
    return read("chat", name, parent, tokens, trace, more)


def agent(
    name: str,
    parent: str = "",
    tokens: tuple[int, int] | None = (300, 40),
    trace: str = TRACE,
    more: Attributes = MappingProxyType({}),
) -> Read:
    return read("invoke_agent", name, parent, tokens, trace, more)


def names(rows: Iterable[Row]) -> list[str]:
    return [bytes.fromhex(row.span_id).rstrip(b"\0").decode() for row in rows]


def counted(aggregates: Aggregates, *spans: Read) -> list[str]:
    """Names of the spans of one request that count; the request is stored."""
    kept = aggregates.keep(spans)
    kept.confirm()
    return names(kept.rows)


def one_by_one(spans: Iterable[Read]) -> list[str]:
    """What counts when every span comes in a request of its own."""
    aggregates = Aggregates()
    return [name for span in spans for name in counted(aggregates, span)]


RESPONSE = "gen_ai.response.id"
VECTORS: dict[str, tuple[Sequence[Read], list[str], tuple[int, int]]] = {
    "agent > 2 chats": (
        [chat("c1", "a", (100, 10)), chat("c2", "a", (200, 30)), agent("a", "", (300, 40))],
        ["c1", "c2"],
        (300, 40),
    ),
    "call_llm > generate_content": (
        [read("generate_content", "in", "out", (107, 6)), read("call_llm", "out", "", (107, 6))],
        ["in"],
        (107, 6),
    ),
    "gateway > SDK": ([chat("in", "out"), chat("out")], ["in"], (7, 2)),
    "a failed attempt and its retry": (
        [chat("c1", "root", None, more={"error.type": "429"}), chat("c2", "root"), http("root")],
        ["c1", "c2"],
        (7, 2),
    ),
    "two instrumentations, side by side": (
        [chat("c1", "root", (10, 3), more={RESPONSE: "r1"}), chat("c2", "root", (10, 3), more={RESPONSE: "r1"})],
        ["c1"],
        (10, 3),
    ),
    "embedMany > 2 doEmbed": (
        [
            read("embeddings", "e1", "em", (10, 0)),
            read("embeddings", "e2", "em", (20, 0)),
            read("agent_step", "em", "", (30, 0)),
        ],
        ["e1", "e2"],
        (30, 0),
    ),
    "an agent with no model call": ([http("h", "a"), agent("a")], ["a"], (300, 40)),
}
"""The trace-level vectors of the reference of dialects: spans in the order in which they end."""


@pytest.mark.parametrize(("spans", "expected", "tokens"), VECTORS.values(), ids=VECTORS)
def test_usage_of_a_trace_is_counted_once(spans: Sequence[Read], expected: list[str], tokens: tuple[int, int]) -> None:
    kept = Aggregates().keep(spans)

    assert names(kept.rows) == expected
    assert (sum(row.input_tokens or 0 for row in kept.rows), sum(row.output_tokens or 0 for row in kept.rows)) == tokens


@pytest.mark.parametrize(("spans", "expected", "tokens"), VECTORS.values(), ids=VECTORS)
def test_one_request_may_hold_the_spans_in_any_order(
    spans: Sequence[Read], expected: list[str], tokens: tuple[int, int]
) -> None:
    for order in permutations(spans):
        rows = Aggregates().keep(order).rows

        assert (sum(row.input_tokens or 0 for row in rows), sum(row.output_tokens or 0 for row in rows)) == tokens
        assert len(rows) == len(expected)


@pytest.mark.parametrize(("spans", "expected", "tokens"), VECTORS.values(), ids=VECTORS)
def test_children_may_come_in_requests_before_their_parents(
    spans: Sequence[Read], expected: list[str], tokens: tuple[int, int]
) -> None:
    assert one_by_one(spans) == expected


def test_the_news_goes_through_spans_that_are_no_model_calls() -> None:
    spans = [chat("in", "h1"), http("h1", "h2"), http("h2", "out"), chat("out", "a"), agent("a")]

    assert names(Aggregates().keep(spans).rows) == ["in"]
    assert one_by_one(spans) == ["in"]


def test_a_parent_that_comes_before_its_child_is_counted_in_its_place() -> None:
    aggregates = Aggregates()

    assert counted(aggregates, chat("out"), http("h", "out")) == ["out"]
    kept = aggregates.keep([chat("in", "h")])

    assert (kept.rows, kept.left_out) == ([], {COVERED: 1})


def test_an_agent_that_comes_before_its_calls_is_counted_in_their_place() -> None:
    aggregates = Aggregates()

    assert counted(aggregates, agent("a")) == ["a"]
    assert counted(aggregates, chat("c1", "a", (100, 10)), chat("c2", "a", (200, 30))) == []


def test_a_call_without_usage_does_not_outweigh_one_with_usage_above_it() -> None:
    spans = [chat("failed", "out", None, more={"error.type": "429"}), chat("out")]

    assert names(Aggregates().keep(spans).rows) == ["failed", "out"]
    assert one_by_one(spans) == ["failed", "out"]
    assert one_by_one(reversed(spans)) == ["out", "failed"]


def test_of_calls_without_usage_the_inner_counts() -> None:
    assert one_by_one([chat("in", "out", None), chat("out", "", None)]) == ["in"]


def test_an_outer_call_without_usage_gives_way_to_the_inner_with_usage() -> None:
    assert one_by_one([chat("in", "out"), chat("out", "", None)]) == ["in"]


@pytest.mark.parametrize("tokens", [None, (0, 0)])
def test_an_agent_that_tells_no_usage_makes_no_row(tokens: tuple[int, int] | None) -> None:
    assert Aggregates().keep([agent("a", tokens=tokens)]).rows == []


def test_a_cost_alone_is_usage() -> None:
    span, row = agent("a", tokens=None, more={"gen_ai.usage.cost": 0.5})
    assert row is not None
    assert row.cost_usd == Decimal("0.5")

    assert Aggregates().keep([(span, row)]).rows == [row]


def test_an_agent_gives_way_to_calls_without_usage() -> None:
    assert one_by_one([chat("c", "a", None), agent("a")]) == ["c"]


def test_of_agents_above_one_another_the_topmost_of_a_request_counts() -> None:
    spans = [agent("inner", "mid", (100, 10)), http("mid", "outer"), agent("outer", "", (300, 40))]

    for order in permutations(spans):
        assert names(Aggregates().keep(order).rows) == ["outer"]


def test_an_agent_gives_way_to_one_below_it_that_was_counted_before() -> None:
    assert one_by_one([agent("inner", "mid"), http("mid", "outer"), agent("outer")]) == ["inner"]


def test_agents_without_a_model_call_below_count_beside_others_with_one() -> None:
    spans = [chat("c", "a1"), agent("a1", "root"), agent("a2", "root", (5, 1)), agent("root", "", (305, 41))]

    assert names(Aggregates().keep(spans).rows) == ["c", "a2"]
    assert one_by_one(spans) == ["c", "a2"]


@pytest.mark.parametrize("operation", ["execute_tool", "invoke_workflow", "agent_step"])
def test_tools_workflows_and_chains_count_as_agents_do(operation: str) -> None:
    assert one_by_one([read(operation, "x", "", (5, 1))]) == ["x"]
    assert one_by_one([chat("c", "x"), read(operation, "x", "", (5, 1))]) == ["c"]


@pytest.mark.parametrize("operation", ["retrieval", "something_new"])
def test_other_spans_never_count(operation: str) -> None:
    assert one_by_one([read(operation, "x", "", (5, 1))]) == []


def test_the_more_complete_of_two_spans_of_one_call_counts() -> None:
    poor = chat("poor", "root", more={RESPONSE: "r"})
    rich = chat("rich", "root", more={RESPONSE: "r", "gen_ai.response.model": "m-1", "user.id": "u"})

    for order in permutations([poor, rich]):
        kept = Aggregates().keep(order)

        assert (names(kept.rows), kept.left_out) == (["rich"], {DUPLICATE: 1})


def test_the_second_of_two_spans_of_one_call_is_known_in_a_later_request() -> None:
    assert one_by_one([chat("c1", more={RESPONSE: "r"}), chat("c2", more={RESPONSE: "r", "user.id": "u"})]) == ["c1"]


@pytest.mark.parametrize(
    "other",
    [
        chat("c2", more={RESPONSE: "r2"}),
        chat("c2", tokens=(7, 3), more={RESPONSE: "r1"}),
        chat("c2", trace="b" * 32, more={RESPONSE: "r1"}),
    ],
    ids=["another response", "other tokens", "another trace"],
)
def test_calls_that_differ_are_two(other: Read) -> None:
    assert one_by_one([chat("c1", more={RESPONSE: "r1"}), other]) == ["c1", "c2"]


def test_calls_without_a_response_id_are_two() -> None:
    assert one_by_one([chat("c1"), chat("c2")]) == ["c1", "c2"]


def test_span_ids_are_of_their_trace() -> None:
    assert one_by_one([chat("in", "x", trace="b" * 32), chat("x")]) == ["in", "x"]


REPEATED = [
    chat("in", "h", more={RESPONSE: "r"}),
    chat("twin", "h", more={RESPONSE: "r"}),
    http("h", "out"),
    chat("out", "a"),
    agent("a"),
    agent("lone", trace="b" * 32),
]


def test_a_request_whose_commit_failed_is_no_duplicate_of_itself() -> None:
    aggregates = Aggregates()
    first = aggregates.keep(REPEATED)
    first.discard()

    again = aggregates.keep(REPEATED)

    assert names(first.rows) == names(again.rows) == ["in", "lone"]


def test_a_request_that_was_stored_gets_the_same_verdict_again() -> None:
    aggregates = Aggregates()
    first = counted(aggregates, *REPEATED)

    assert counted(aggregates, *REPEATED) == first == ["in", "lone"]
    assert [name for span in REPEATED for name in counted(aggregates, span)] == first


def test_what_was_not_stored_outweighs_nothing() -> None:
    aggregates = Aggregates()
    with aggregates.keep([chat("in", "out", more={RESPONSE: "r"})]) as lost:
        assert names(lost.rows) == ["in"]

    assert counted(aggregates, chat("out", more={RESPONSE: "r"})) == ["out"]


def test_a_parent_that_was_not_stored_covers_nothing_and_may_come_again() -> None:
    aggregates = Aggregates()
    aggregates.keep([chat("out")]).discard()

    assert counted(aggregates, chat("in", "out")) == ["in"]
    assert counted(aggregates, chat("out")) == []


def test_a_batch_on_its_way_is_seen_by_the_next() -> None:
    aggregates = Aggregates()
    first = aggregates.keep([chat("in", "h", more={RESPONSE: "r"}), http("h", "out")])
    second = aggregates.keep([chat("out"), chat("twin", "out", more={RESPONSE: "r"})])

    assert (names(first.rows), second.rows) == (["in"], [])
    assert second.left_out == {AGGREGATE: 1, DUPLICATE: 1}


def test_a_parent_on_its_way_covers_a_child_and_comes_again_when_it_fails() -> None:
    aggregates = Aggregates()
    parent = aggregates.keep([chat("out")])
    assert counted(aggregates, chat("in", "out")) == []
    parent.discard()

    assert counted(aggregates, chat("out")) == ["out"]


def test_what_a_batch_saw_of_one_that_failed_is_not_remembered() -> None:
    aggregates = Aggregates()
    failed = aggregates.keep([chat("out", "", None)])
    assert counted(aggregates, chat("in", "out")) == ["in"]
    failed.discard()

    assert counted(aggregates, chat("out", "", None)) == []


def test_news_that_come_too_late_change_no_verdict() -> None:
    aggregates = Aggregates()
    late = [chat("in", "h", more={RESPONSE: "r"}), chat("out"), agent("a", trace="b" * 32)]
    assert [name for span in late for name in counted(aggregates, span)] == ["in", "out", "a"]

    assert counted(aggregates, http("h", "out")) == []
    assert counted(aggregates, chat("c", "h", None, "b" * 32)) == ["c"]
    assert counted(aggregates, http("h", "a", trace="b" * 32)) == []
    assert [name for span in late for name in counted(aggregates, span)] == ["in", "out", "a"]


def test_a_span_that_is_twice_in_a_request_is_no_duplicate_of_itself() -> None:
    twice = chat("c", more={RESPONSE: "r"})

    assert names(Aggregates().keep([twice, twice]).rows) == ["c", "c"]


def test_a_span_that_knows_of_a_failed_call_below_is_told_of_one_with_usage() -> None:
    spans = [chat("failed", "h", None), chat("in", "h"), http("h", "out"), chat("out")]

    for order in permutations(spans):
        assert sorted(names(Aggregates().keep(order).rows)) == ["failed", "in"]
    assert one_by_one(spans) == ["failed", "in"]


def test_a_batch_is_settled_once() -> None:
    aggregates = Aggregates()
    kept = aggregates.keep([chat("c")])
    kept.confirm()
    kept.discard()
    kept.confirm()

    assert len(aggregates) == 1
    assert counted(aggregates, chat("in", "c")) == []


def test_leaving_the_context_keeps_what_was_confirmed() -> None:
    aggregates = Aggregates()
    with aggregates.keep([chat("in", "out")]) as kept:
        kept.confirm()

    assert counted(aggregates, chat("out")) == []


def test_what_the_store_holds_is_recalled_after_a_restart() -> None:
    aggregates = Aggregates()
    aggregates.recall([chat("in", "out")])

    assert counted(aggregates, chat("out")) == []


def test_spans_that_name_one_another_as_parents_count() -> None:
    assert one_by_one([chat("c", "c")]) == ["c"]
    assert names(Aggregates().keep([chat("c1", "c2"), chat("c2", "c1")]).rows) == ["c1", "c2"]
    assert names(Aggregates().keep([chat("c", "h1"), http("h1", "h2"), http("h2", "h1")]).rows) == ["c"]


def test_a_chain_of_calls_counts_at_its_end() -> None:
    chain = [chat(str(depth), str(depth - 1) if depth else "") for depth in range(500)]

    assert names(Aggregates().keep(chain).rows) == ["499"]
    assert one_by_one(reversed(chain)) == ["499"]


def test_memory_is_bounded_and_forgets_the_oldest_traces() -> None:
    aggregates = Aggregates(max_spans=10)
    old, new = "c" * 32, "d" * 32
    counted(aggregates, chat("in", "out", trace=old))
    for number in range(4):
        counted(aggregates, chat("in", "out", trace=f"{number:032x}"))
        assert len(aggregates) <= 10
    counted(aggregates, chat("in", "out", trace=new))

    assert len(aggregates) <= 10
    assert counted(aggregates, chat("out", trace=new)) == []
    assert counted(aggregates, chat("out", trace=old)) == ["out"]  # counted besides its child: that is the limit


def test_a_trace_that_goes_on_is_not_forgotten() -> None:
    aggregates = Aggregates(max_spans=10)
    counted(aggregates, chat("in", "out"))
    for number in range(10):
        counted(aggregates, chat("in", "out", trace=f"{number:032x}"))
        counted(aggregates, http("h"))

    assert counted(aggregates, chat("out")) == []


def test_a_trace_that_never_ends_forgets_its_oldest_spans() -> None:
    aggregates = Aggregates(max_spans=100)
    for number in range(300):
        counted(aggregates, chat(str(number), f"p{number}", more={RESPONSE: f"r{number}"}))
        assert len(aggregates) <= 100

    assert counted(aggregates, chat("p299")) == []
    assert counted(aggregates, chat("p0")) == ["p0"]


def forest(seed: int) -> tuple[list[Read], set[str]]:
    """Random spans that all tell usage or are no GenAI spans, children first, and what is to count by definition."""
    rng = random.Random(seed)
    parents = {str(number): str(rng.randrange(number)) if number and rng.random() < 0.9 else "" for number in range(30)}
    calls = {name for name in parents if rng.random() < 0.5}
    above: set[str] = set()
    for name in calls:
        parent = parents[name]
        while parent:
            above.add(parent)
            parent = parents[parent]
    spans = [chat(name, parents[name]) if name in calls else http(name, parents[name]) for name in parents]
    return spans[::-1], calls - above


@pytest.mark.parametrize("seed", range(30))
def test_the_same_spans_count_however_they_are_cut_into_requests(seed: int) -> None:
    spans, expected = forest(seed)
    rng = random.Random(seed)
    aggregates, found = Aggregates(), []
    rest = spans
    while rest:
        size = rng.randint(1, 10)
        request, rest = rest[:size], rest[size:]
        rng.shuffle(request)
        if rng.random() < 0.3:
            aggregates.keep(request).discard()
        found += counted(aggregates, *request)

    assert sorted(found) == sorted(expected)
    shuffled = rng.sample(spans, len(spans))
    assert sorted(names(Aggregates().keep(shuffled).rows)) == sorted(expected)


def test_threads_share_it() -> None:
    aggregates, rows, lock = Aggregates(), [], threading.Lock()
    spans = [
        request
        for number in range(200)
        for request in ([chat("in", "out", trace=f"{number:032x}")], [chat("out", trace=f"{number:032x}")])
    ]
    work = iter(spans)

    def run() -> None:
        while True:
            with lock:
                request = next(work, None)
            if request is None:
                return
            with aggregates.keep(request) as kept:
                kept.confirm()
            with lock:
                rows.extend(kept.rows)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(rows) == 200, "in whatever order, one of each pair counts"
    assert {row.time_ns for row in rows} == {START}
