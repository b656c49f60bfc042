"""User, session and tags that are told above a call, or of its trace, are the call's."""

import json
from pathlib import Path

import pytest

from support import otlp
from support.backend_process import BackendProcess
from support.recorded_spans import FOLDER, spans_of
from support.spans import a_span
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.ingest.normalise import Read, describe
from tokentrail.backend.ingest.trace_wide import TraceWide
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes

TRACE = "a" * 32
CHAT: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 7}
AGENT: Attributes = {"gen_ai.operation.name": "invoke_agent"}


def span_id(name: str) -> str:
    return name.encode().hex().ljust(16, "0") if name else ""


def read(name: str, parent: str = "", project: str = "", trace: str = TRACE, **attributes: str) -> Read:
    """A chat where `name` begins with c, else what is around it; `user` and `session` say whose it is."""
    told: Attributes = {key.replace("__", "."): value for key, value in attributes.items()}
    whole: Attributes = {**(CHAT if name.startswith("c") else AGENT), **told}
    span = a_span(whole, trace_id=trace, span_id=span_id(name), parent_span_id=span_id(parent), project=project)
    ((_, row),) = describe([span])
    if row is not None:
        object.__setattr__(row, "project", project)
    return span, row


def complete(wide: TraceWide, *batch: Read) -> dict[str, tuple[str, str]]:
    """User and session of the calls of a batch, by the name of their span."""
    calls = [row for _, row in batch if row is not None and row.kind in BILLABLE]
    return {
        bytes.fromhex(row.span_id).strip(b"\0").decode(): (row.user_id, row.session_id)
        for row in wide.complete(batch, calls)
    }


OF_LANGFUSE = {"langfuse__observation__type": "span"}
U1 = {"user__id": "u1", "session__id": "s1"}
U2 = {"user__id": "u2", "session__id": "s2"}


def test_the_nearest_span_above_tells_whose_a_call_is() -> None:
    batch = [
        read("c1", "inner"),
        read("c2", "outer"),
        read("c3", "inner", user__id="own"),
        read("inner", "between", **U2),
        read("between", "outer"),
        read("outer", "", **U1),
    ]

    assert complete(TraceWide(), *batch) == {"c1": ("u2", "s2"), "c2": ("u1", "s1"), "c3": ("own", "s2")}


def test_each_value_comes_from_the_nearest_span_that_has_it() -> None:
    batch = [read("c1", "inner"), read("inner", "outer", user__id="u"), read("outer", "", session__id="s")]

    assert complete(TraceWide(), *batch) == {"c1": ("u", "s")}


def test_spans_that_are_no_genai_spans_are_on_the_way() -> None:
    http = a_span(
        {"http.request.method": "POST"}, trace_id=TRACE, span_id=span_id("http"), parent_span_id=span_id("root")
    )

    assert complete(TraceWide(), read("c1", "http"), (http, None), read("root", "", **U1)) == {"c1": ("u1", "s1")}


def test_spans_that_tell_nothing_are_on_the_way_to_one_that_is_no_root() -> None:
    batch = [read("c1", "inner"), read("inner", "middle"), read("middle", "outer", **U2), read("outer", "unknown")]

    assert complete(TraceWide(), *batch) == {"c1": ("u2", "s2")}


def test_what_a_span_beside_tells_is_not_handed_on() -> None:
    batch = [read("c1", "one"), read("c2", "two"), read("one", "root", **U1), read("two", "root"), read("root")]

    assert complete(TraceWide(), *batch) == {"c1": ("u1", "s1"), "c2": ("", "")}
    assert complete(TraceWide(), read("c1", "root", **U1), read("c2", "root"))["c2"] == ("", "")


def test_the_root_tells_it_for_spans_whose_parents_are_not_known() -> None:
    assert complete(TraceWide(), read("c1", "unknown"), read("root", "", **U1)) == {"c1": ("u1", "s1")}


def test_what_came_before_its_calls_holds_for_them() -> None:
    wide = TraceWide()
    complete(wide, read("root", "", **U1))

    assert complete(wide, read("c1", "unknown")) == {"c1": ("u1", "s1")}
    assert complete(wide, read("c1", "unknown", trace="b" * 32)) == {"c1": ("", "")}


def test_what_a_producer_says_of_traces_holds_for_all_of_one_while_it_is_one_thing() -> None:
    wide = TraceWide()

    assert complete(wide, read("c1", "two"), read("one", "root", **U1, **OF_LANGFUSE)) == {"c1": ("u1", "s1")}
    assert complete(wide, read("c2", "two")) == {"c2": ("u1", "s1")}
    other = read("two", "root", user__id="u2", session__id="s1", **OF_LANGFUSE)
    assert complete(wide, read("c3", "three"), other) == {"c3": ("", "s1")}
    assert complete(wide, read("c4", "three")) == {"c4": ("", "s1")}
    assert complete(wide, read("c5", "two"), other) == {"c5": ("u2", "s1")}, "what is above it is certain"


def test_the_root_goes_before_what_others_say_of_the_trace() -> None:
    batch = [read("c1", "x"), read("one", "y", **U2, **OF_LANGFUSE), read("root", "", **U1)]

    assert complete(TraceWide(), *batch) == {"c1": ("u1", "s1")}


def test_the_same_trace_in_another_project_is_another_trace() -> None:
    wide = TraceWide()
    theirs = [read("root", "", "them", **U1), read("one", "root", "them", **U2, **OF_LANGFUSE)]

    assert complete(wide, read("c1", "root"), read("c2", "one"), *theirs) == {"c1": ("", ""), "c2": ("", "")}
    assert complete(wide, read("c3", "root")) == {"c3": ("", "")}


def test_a_call_that_is_a_root_tells_nothing_of_other_calls() -> None:
    wide = TraceWide()

    assert complete(wide, read("c1", "", **U1), read("c2", "x")) == {"c1": ("u1", "s1"), "c2": ("", "")}
    assert len(wide) == 0, "calls of traces that are one span each take no memory"


def test_a_gateway_tells_whose_the_call_below_it_is() -> None:
    assert complete(TraceWide(), read("c1", "c2"), read("c2", "", **U1))["c1"] == ("u1", "s1")


def test_traces_are_forgotten_oldest_first() -> None:
    wide = TraceWide(max_traces=2)
    for number in (1, 2, 3):
        complete(wide, read("root", "", trace=f"{number}" * 32, **U1))

    found = {number: complete(wide, read("c", "x", trace=f"{number}" * 32))["c"][0] for number in (1, 2, 3)}

    assert len(wide) == 2
    assert found == {1: "", 2: "u1", 3: "u1"}


@pytest.mark.parametrize("batch", [[read("c1", "c1")], [read("c1", "x"), read("x", "y", **U1), read("y", "x")]])
def test_spans_that_name_one_another_as_parents_end(batch: list[Read]) -> None:
    complete(TraceWide(), *batch)


TELLERS = [
    *(f"langfuse/langfuse-3.3.0_openai-2.54.0_{case}" for case in ("chat", "chat_stream", "chat_error", "responses")),
    *(f"langwatch/langwatch-1.4.0_{case}" for case in ("chat", "chat_stream", "chat_tools", "manual")),
    "vercel/vercel-ai-7.0.173_stream-everything",
    *(f"spring_ai/spring-ai-2.1-source_{case}" for case in ("chat", "stream", "tools")),
]
"""Recordings whose calls do not say whose they are, in traces that do."""


@pytest.mark.parametrize("name", TELLERS)
def test_recorded_calls_get_what_their_trace_tells(name: str) -> None:
    batch = describe(spans_of(FOLDER / f"{name}.json", Encoding.PROTOBUF))
    calls = [row for _, row in batch if row is not None and row.kind in BILLABLE]

    completed: list[Row] = TraceWide().complete(batch, calls)

    assert {row.session_id for row in calls} == {""}
    assert {row.session_id for row in completed} == {"s-1"}
    if not name.startswith("spring_ai"):  # which knows no users
        assert {row.user_id for row in completed} == {"u-1"}
    if name.startswith("langfuse"):
        assert all(row.tags for row in completed)


@pytest.mark.parametrize("tags", [[], ["a", "b"]], ids=["by the conventions", "by langfuse, too"])
def test_a_row_that_is_stored_has_it(tmp_path: Path, tags: list[str]) -> None:
    trace_id, root_id = b"\1" * 16, b"\2" * 8
    told = {"gen_ai.operation.name": "invoke_agent", "user.id": "u1", "session.id": "s1"}
    of_langfuse = {"langfuse.trace.tags": tags} if tags else {}
    root = otlp.span({**told, **of_langfuse}, trace_id=trace_id, span_id=root_id)
    chat = otlp.span(trace_id=trace_id, parent_span_id=root_id)
    with BackendProcess(tmp_path / "data") as backend:
        assert backend.post_traces(otlp.body(chat, root)).status == 200
        (row,) = backend.requests()
        assert (row["user_id"], row["session_id"], row["tags"]) == ("u1", "s1", tags)
        found = backend.get("/api/totals?user=u1&session=s1").body
        assert json.loads(found)["requests"] == 1
        assert backend.terminate() == 0
