"""Owners that do not make their span current while the request is sent: found where they opened it, nowhere else."""

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from opentelemetry import trace

from support.span_log import Spans, attributes
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE, SseServer, json_reply
from tokentrail.instrumentation.call_spans import attributes_of
from tokentrail.instrumentation.processor import ContextSpanProcessor

pytestmark = pytest.mark.usefixtures("quiet")

MODEL = CHAT_REQUEST["model"]
MARKS: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": MODEL}


def open_span(spans: Spans, **changes: Any) -> Any:
    marks = MARKS | {name.replace("__", "."): value for name, value in changes.items()}
    return spans.provider.get_tracer("another").start_span("call", attributes=marks)


def post(server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    with httpx2.Client() as client:
        client.post(server.chat_url, json=CHAT_REQUEST)


@pytest.mark.parametrize("below", [False, True], ids=["root", "below"])
def test_a_span_opened_for_the_same_model_owns_the_call(spans: Spans, server: SseServer, below: bool) -> None:
    parent = spans.provider.get_tracer("app").start_span("request")
    with trace.use_span(parent if below else trace.INVALID_SPAN):
        owner = open_span(spans)
        post(server)
        owner.end()
    parent.end()

    (span,) = spans.billable()
    assert span.name == "call"
    assert attributes(span)["gen_ai.usage.output_tokens"] == 4
    assert attributes(span)["tokentrail.pricing.status"] == "self_hosted"


def test_a_span_that_names_its_model_in_the_request_only_owns_the_call(spans: Spans, server: SseServer) -> None:
    marks = {"openinference.span.kind": "LLM", "input.value": '{"model": "gpt-4o-mini", "messages": []}'}
    owner = spans.provider.get_tracer("another").start_span("call", attributes=marks)
    post(server)
    owner.end()

    assert spans.calls() == []
    assert attributes(spans.all()[0])["gen_ai.usage.output_tokens"] == 4


def test_a_span_of_openlit_that_names_its_model_in_its_name_owns_the_call(spans: Spans, server: SseServer) -> None:
    other = spans.provider.get_tracer("openlit.instrumentation.openai").start_span("chat gpt-4o")
    owner = spans.provider.get_tracer("openlit.instrumentation.openai").start_span(f"chat {MODEL}")
    post(server)
    owner.end()
    other.end()

    assert spans.calls() == []
    (span,) = (span for span in spans.all() if attributes(span))
    assert span.name == f"chat {MODEL}"
    assert attributes(span)["gen_ai.operation.name"] == "chat"


@pytest.mark.parametrize(
    "changes",
    [{"gen_ai__request__model": "gpt-4o"}, {"gen_ai__operation__name": "embeddings"}, {"gen_ai__operation__name": "x"}],
)
def test_a_span_for_something_else_does_not(spans: Spans, server: SseServer, changes: dict[str, str]) -> None:
    other = open_span(spans, **changes)
    post(server)
    other.end()

    assert attributes(spans.one())["gen_ai.usage.output_tokens"] == 4
    (left,) = (span for span in spans.all() if span.name == "call")
    assert dict(attributes(left)) == MARKS | {name.replace("__", "."): value for name, value in changes.items()}


def test_a_span_that_has_ended_does_not(spans: Spans, server: SseServer) -> None:
    open_span(spans).end()
    post(server)

    assert spans.one().parent is None


def test_a_span_in_another_trace_does_not(spans: Spans, server: SseServer) -> None:
    other = open_span(spans)
    with spans.provider.get_tracer("app").start_as_current_span("request"):
        post(server)
    other.end()

    assert attributes(spans.one())["gen_ai.usage.output_tokens"] == 4


def test_the_span_of_a_task_is_not_taken_by_another(spans: Spans, server: SseServer) -> None:
    server.script(*[json_reply({**CHAT_RESPONSE, "id": f"chatcmpl-{n}"}) for n in range(6)])

    async def call(*, owned: bool, client: Any) -> tuple[bool, str, str]:
        owner = open_span(spans) if owned else None
        await asyncio.sleep(0.01)  # all are open before the first request leaves
        response = await client.post(server.chat_url, json=CHAT_REQUEST)
        await asyncio.sleep(0.01)
        found = ""
        if owner is not None:
            found = owner.attributes["gen_ai.response.id"]
            owner.end()
        return owned, response.json()["id"], found

    async def scenario() -> list[tuple[bool, str, str]]:
        async with httpx2.AsyncClient() as client:
            return await asyncio.gather(*(call(owned=number % 2 == 0, client=client) for number in range(6)))

    made = asyncio.run(scenario())

    assert [found for owned, _, found in made if owned] == [own for owned, own, _ in made if owned]
    ours = {attributes(span)["gen_ai.response.id"] for span in spans.calls()}
    assert ours == {own for owned, own, _ in made if not owned}


def test_the_span_of_a_thread_is_not_taken_by_another(spans: Spans, server: SseServer) -> None:
    owner = open_span(spans)
    with ThreadPoolExecutor(1) as pool:
        # In a context of its own: whoever hands this one on to a thread says that it works on the same call.
        contextvars.Context().run(pool.submit, post, server).result()
    owner.end()

    assert spans.one().parent is None
    assert "tokentrail.duplicate_of" not in owner.attributes


def test_a_second_request_while_it_is_open_is_one_more_call(spans: Spans, server: SseServer) -> None:
    owner = open_span(spans)
    post(server)
    post(server)
    owner.end()

    assert len(spans.calls()) == 1
    assert len(spans.billable()) == 2


def identity(span: Any) -> str:
    context = span.get_span_context()
    return f"{context.trace_id:032x}-{context.span_id:016x}"


def test_of_two_spans_for_a_call_the_inner_one_owns_it_and_the_outer_one_is_marked(
    spans: Spans, server: SseServer
) -> None:
    tracer = spans.provider.get_tracer("another")
    with tracer.start_as_current_span("outer", attributes=MARKS) as outer:  # noqa: SIM117  an order that matters
        with tracer.start_as_current_span("inner", attributes=MARKS) as inner:
            post(server)

    assert attributes_of(outer)["tokentrail.duplicate_of"] == identity(inner)
    assert "gen_ai.usage.output_tokens" not in attributes_of(outer)
    assert attributes_of(inner)["gen_ai.usage.output_tokens"] == 4
    assert "tokentrail.duplicate_of" not in attributes_of(inner)
    assert spans.calls() == []


def test_a_span_beside_the_owner_is_marked(spans: Spans, server: SseServer) -> None:
    beside = open_span(spans)
    with spans.provider.get_tracer("sdk").start_as_current_span("inner", attributes=MARKS) as inner:
        post(server)
    beside.end()

    assert beside.attributes["tokentrail.duplicate_of"] == identity(inner)


def test_a_span_in_a_trace_of_its_own_beside_all_that_is_around_the_owner_is_marked(
    spans: Spans, server: SseServer
) -> None:
    tracer, beside = spans.provider.get_tracer("another"), open_span(spans)
    with tracer.start_as_current_span("outer", attributes=MARKS) as outer:  # noqa: SIM117  an order that matters
        with tracer.start_as_current_span("inner", attributes=MARKS) as inner:
            post(server)
    beside.end()

    assert {attributes_of(span)["tokentrail.duplicate_of"] for span in (beside, outer)} == {identity(inner)}
    assert "tokentrail.duplicate_of" not in attributes_of(inner)


def test_a_span_in_a_trace_of_its_own_is_not_marked_where_the_call_is_made_for_a_request(
    spans: Spans, server: SseServer
) -> None:
    beside = open_span(spans)
    with spans.provider.get_tracer("app").start_as_current_span("request"):  # noqa: SIM117  as above
        with spans.provider.get_tracer("sdk").start_as_current_span("inner", attributes=MARKS):
            post(server)
    beside.end()

    assert "tokentrail.duplicate_of" not in attributes_of(beside)


def test_a_span_with_a_call_of_its_own_is_not_marked(spans: Spans, server: SseServer) -> None:
    tracer = spans.provider.get_tracer("another")
    with tracer.start_as_current_span("outer", attributes=MARKS) as outer:
        post(server)
        with tracer.start_as_current_span("inner", attributes=MARKS):
            post(server)

    assert "tokentrail.duplicate_of" not in attributes_of(outer)
    assert spans.calls() == []
    assert [attributes(span)["gen_ai.usage.output_tokens"] for span in spans.billable()] == [4, 4]


def test_a_span_that_is_marked_owns_no_later_call(spans: Spans, server: SseServer) -> None:
    tracer = spans.provider.get_tracer("another")
    with tracer.start_as_current_span("outer", attributes=MARKS) as outer:
        with tracer.start_as_current_span("inner", attributes=MARKS):
            post(server)
        post(server)

    assert spans.one().parent is not None
    assert "gen_ai.usage.output_tokens" not in attributes_of(outer)


def test_a_call_whose_owner_is_dropped_without_an_end_has_a_span_of_its_own(spans: Spans, server: SseServer) -> None:
    with spans.provider.get_tracer("app").start_as_current_span("request") as around:
        owner = open_span(spans)
        with trace.use_span(owner):
            post(server)
        assert spans.calls() == []
        del owner

    call = spans.one()
    assert call.parent is not None
    assert call.parent.span_id == around.get_span_context().span_id
    assert attributes(call)["gen_ai.usage.output_tokens"] == 4


def test_a_call_whose_owner_is_not_ended_at_shutdown_has_a_span_of_its_own(spans: Spans, server: SseServer) -> None:
    owner = open_span(spans)
    with trace.use_span(owner):
        post(server)
    assert spans.calls() == []

    for processor in spans.provider._active_span_processor._span_processors:
        if isinstance(processor, ContextSpanProcessor):
            processor.shutdown()

    assert attributes(spans.one())["gen_ai.usage.output_tokens"] == 4
    owner.end()
