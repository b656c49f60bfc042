"""Spans that repeat a call after it is over, as LiteLLM's `otel` callback makes them.

The real one is in `tests/frameworks`; here spans get the attributes that it writes.
"""

import sys
import time
from types import ModuleType
from typing import Any

import httpx2
import pytest
from opentelemetry.trace import Span

from support.span_log import Spans, attributes
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE, SseServer, json_reply
from tokentrail.instrumentation import repeats

pytestmark = pytest.mark.usefixtures("quiet")

ID = str(CHAT_RESPONSE["id"])


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM is loaded."""
    monkeypatch.setitem(sys.modules, "litellm", ModuleType("litellm"))
    monkeypatch.setattr(repeats, "_known", {})


def _call(server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    with httpx2.Client() as client:
        client.post(server.chat_url, json=CHAT_REQUEST)


def _describe(span: Span, response_id: Any = ID) -> None:
    """What the callback writes."""
    said: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.usage.output_tokens": 4, "litellm.call_id": "c"}
    span.set_attributes(said)
    if response_id is not None:
        span.set_attribute("gen_ai.response.id", response_id)


def _duplicate_of(spans: Spans, name: str) -> object:
    (span,) = (each for each in spans.all() if each.name == name)
    return attributes(span).get("tokentrail.duplicate_of")


def _identity_of_ours(spans: Spans) -> str:
    (ours,) = (span for span in spans.calls() if attributes(span)["gen_ai.response.id"] == ID)
    assert "tokentrail.duplicate_of" not in attributes(ours)
    assert ours.context is not None
    return f"{ours.context.trace_id:032x}-{ours.context.span_id:016x}"


@pytest.mark.usefixtures("litellm")
def test_a_span_that_is_dated_back_and_has_the_response_of_a_call_is_marked(spans: Spans, server: SseServer) -> None:
    start = time.time_ns()
    _call(server)
    repeated = spans.provider.get_tracer("litellm").start_span("litellm_request", start_time=start)
    _describe(repeated)

    repeated.end()

    assert _duplicate_of(spans, "litellm_request") == _identity_of_ours(spans)


@pytest.mark.usefixtures("litellm")
def test_an_applications_span_that_was_made_to_look_like_its_last_call_is_marked(
    spans: Spans, server: SseServer
) -> None:
    with spans.provider.get_tracer("application").start_as_current_span("work") as work:
        _call(server)
        _describe(work)

    assert _duplicate_of(spans, "work") == _identity_of_ours(spans)


@pytest.mark.usefixtures("litellm")
@pytest.mark.parametrize("response_id", ["another", None, 5])
def test_a_span_of_a_call_that_was_not_seen_is_not_marked(spans: Spans, server: SseServer, response_id: object) -> None:
    _call(server)
    alone = spans.provider.get_tracer("litellm").start_span("litellm_request")
    _describe(alone, response_id)

    alone.end()

    assert _duplicate_of(spans, "litellm_request") is None


@pytest.mark.usefixtures("litellm")
def test_a_span_that_names_a_response_but_is_not_of_the_callback_is_not_marked(spans: Spans, server: SseServer) -> None:
    _call(server)
    with spans.provider.get_tracer("application").start_as_current_span("work") as work:
        work.set_attribute("gen_ai.response.id", ID)

    assert _duplicate_of(spans, "work") is None


@pytest.mark.usefixtures("litellm")
def test_a_span_that_names_a_call_which_tokentrail_did_not_record_is_no_reason_to_mark_another(spans: Spans) -> None:
    for name in ("other", "litellm_request"):
        span = spans.provider.get_tracer("someone").start_span(name)
        span.set_attribute("gen_ai.response.id", ID)
        if name == "litellm_request":
            _describe(span)
        span.end()

    assert _duplicate_of(spans, "litellm_request") is None


@pytest.mark.usefixtures("litellm")
def test_responses_that_are_remembered_are_bounded(
    spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "MAX_KNOWN", 2)

    for number in range(4):
        server.script(json_reply({**CHAT_RESPONSE, "id": f"chatcmpl-{number}"}))
        with httpx2.Client() as client:
            client.post(server.chat_url, json=CHAT_REQUEST)
    spans.all()

    assert list(repeats._known) == ["chatcmpl-2", "chatcmpl-3"]


def test_nothing_is_remembered_where_nothing_repeats_calls(
    spans: Spans, server: SseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "_known", {})
    _call(server)
    spans.all()

    assert not repeats._known
