"""How many web searches a response tells that are billed. Counts are those of the vendors' documentation."""

import json
from typing import Any

import pytest

from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import Reader
from tokentrail.instrumentation.wire.anthropic_messages import AnthropicMessages
from tokentrail.instrumentation.wire.gemini_generate_content import GeminiGenerateContent
from tokentrail.instrumentation.wire.gemini_interactions import GeminiInteractions
from tokentrail.instrumentation.wire.mistral_conversations import MistralConversations
from tokentrail.instrumentation.wire.openai_chat import OpenAIChat
from tokentrail.instrumentation.wire.openai_responses import OpenAIResponses
from tokentrail.semconv.usage import NOT_A_COUNT


def plain(reader: Reader, body: dict[str, Any]) -> int | None:
    reader.feed_body(body)
    return reader.result().usage.web_searches


def streamed(reader: Reader, *events: tuple[str, dict[str, Any]]) -> int | None:
    for name, data in events:
        reader.feed_event(Event(name, json.dumps(data).encode()))
    return reader.result().usage.web_searches


# Anthropic: usage.server_tool_use.web_search_requests


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 5}}, 2),
        ({"server_tool_use": {"web_search_requests": 0}}, 0),
        ({"server_tool_use": None}, None),
        ({}, None),
        ({"server_tool_use": {"web_search_requests": -3}}, NOT_A_COUNT),
        ({"server_tool_use": {"web_search_requests": "many"}}, NOT_A_COUNT),
    ],
)
def test_anthropic_tells_searches_in_the_usage(told: dict[str, Any], expected: int | None) -> None:
    body = {"id": "msg_1", "model": "m", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1, **told}}

    assert plain(AnthropicMessages().reader(False), body) == expected


@pytest.mark.parametrize("keep_content", [False, True])
def test_anthropic_tells_searches_at_the_end_of_a_stream(keep_content: bool) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1}
    searched = {"output_tokens": 9, "server_tool_use": {"web_search_requests": 3}}

    found = streamed(
        AnthropicMessages().reader(keep_content),
        ("message_start", {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": usage}}),
        ("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": searched}),
    )

    assert found == 3


# OpenAI Responses: tool_usage, else the searches in the output


def search_call(action: str | None, status: str = "completed") -> dict[str, Any]:
    item = {"type": "web_search_call", "id": "ws_1", "status": status}
    return item if action is None else {**item, "action": {"type": action}}


def response(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    return {"id": "resp_1", "status": "completed", "model": "m", "output": list(output), "usage": usage, **more}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (response(search_call("search"), search_call("open_page"), search_call("find_in_page")), 1),
        (response(search_call(None), search_call("search")), 2),
        (response(search_call("search", "failed")), None),
        (response({"type": "file_search_call", "id": "fs_1"}), None),
        (response(search_call("search"), tool_usage={"web_search": {"num_requests": 0}}), 0),
        (response(tool_usage={"web_search": {"num_requests": 4}}), 4),
        (response(search_call("search"), tool_usage=None), 1),
        (response(tool_usage={"web_search": {"num_requests": -1}}), NOT_A_COUNT),
    ],
)
def test_openai_bills_searches_and_not_opened_pages(body: dict[str, Any], expected: int | None) -> None:
    assert plain(OpenAIResponses().reader(False), body) == expected


def test_openai_repeats_the_output_at_the_end_of_a_stream() -> None:
    begun = {"id": "resp_1", "status": "in_progress", "model": "m", "output": []}

    found = streamed(
        OpenAIResponses().reader(False),
        ("response.created", {"type": "response.created", "response": begun}),
        ("response.output_item.added", {"type": "response.output_item.added", "item": search_call("search")}),
        ("response.completed", {"type": "response.completed", "response": response(search_call("search"))}),
    )

    assert found == 1


@pytest.mark.parametrize(
    "told",
    [
        {"server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 7}},  # xAI
        {"server_tool_use": {"web_search_requests": 2}},  # OpenRouter
        {"num_search_queries": 2},  # Perplexity
    ],
)
def test_others_tell_searches_in_the_usage(told: dict[str, Any]) -> None:
    chat = {"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, **told}}
    body = response(search_call("search"), usage={"input_tokens": 1, "output_tokens": 1, **told})

    assert plain(OpenAIChat().reader(False), chat) == 2
    assert plain(OpenAIResponses().reader(False), body) == 2


# Google: queries since Gemini 3, the prompt before


def gemini(model: str, *queries: str, chunks: bool = True, finished: bool = True, **more: Any) -> dict[str, Any]:
    grounding = {"webSearchQueries": list(queries), "groundingChunks": [{"web": {}}] if chunks else [], **more}
    candidate = {"content": {"parts": [{"text": "a"}]}, "index": 0, "groundingMetadata": grounding}
    if finished:
        candidate["finishReason"] = "STOP"
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (gemini("gemini-3-flash-preview", "a", "b", "", "a"), 2),
        (gemini("gemini-3-flash-preview", "a", chunks=False), 1),
        (gemini("gemini-3.1-flash-image-preview", "a", imageSearchQueries=["b"]), 2),
        (gemini("gemini-3.8-flash", retrievalQueries=["mine"]), None),
        (gemini("gemini-4-argon", "a", "b"), 2),
        (gemini("gemini-2.5-flash", "a", "b"), 1),
        (gemini("gemini-live-2.5-flash", "a", "b"), 1),
        (gemini("gemini-2.0-flash-001", "a", "b"), 1),
        (gemini("gemini-2.5-flash", "a", chunks=False), 0),
        (gemini("gemini-2.5-flash", ""), None),
        (gemini("gemini-flash-latest", "a", "b"), 2),
    ],
)
def test_google_bills_queries_or_prompts_by_the_generation(body: dict[str, Any], expected: int | None) -> None:
    assert plain(GeminiGenerateContent().reader(False), body) == expected


@pytest.mark.parametrize("keep_content", [False, True])
def test_google_tells_queries_in_any_event_of_a_stream(keep_content: bool) -> None:
    model = "gemini-3-flash-preview"

    found = streamed(
        GeminiGenerateContent().reader(keep_content),
        ("", gemini(model, finished=False)),
        ("", gemini(model, "a", finished=False)),
        ("", gemini(model, "b")),
    )

    assert found == 2


@pytest.mark.parametrize(("model", "expected"), [("gemini-3.5-flash", 5), ("gemini-2.5-flash", 1)])
def test_interactions_count_their_searches(model: str, expected: int) -> None:
    counts = [
        {"type": "google_search", "count": 2},
        {"type": "google_maps", "count": 9},
        {"type": "google_search", "count": 3},
    ]
    usage = {"total_input_tokens": 1, "total_output_tokens": 1, "grounding_tool_count": counts}

    found = plain(
        GeminiInteractions().reader(False), {"id": "v1", "model": model, "status": "completed", "usage": usage}
    )

    assert found == expected


def test_mistral_counts_the_uses_of_its_connectors() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "connectors": {"web_search": 2, "code_interpreter": 1}}

    assert plain(MistralConversations().reader(False), {"outputs": [], "usage": usage}) == 2
