"""The local provider's OpenAI formats, read by the vendor's own client and byte by byte."""

import asyncio
import json
from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionToolParam
from pydantic import BaseModel

from support.local_provider import Served, events, serve

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]
LONG = "Write in short sentences and plain words, and name the next step first, then the reason for it. " * 6
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "find_order",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}, "how": {"type": "string", "enum": ["fast", "well"]}},
        },
    },
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as provider:
        yield provider


def test_a_plain_chat_answer_parses_and_its_usage_adds_up(served: Served) -> None:
    answer = served.gpt.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello you"}]
    )

    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "gpt-4o-mini-2024-07-18"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    # "Hello" and " you" are two tokens, a message costs four more.
    assert answer.usage.prompt_tokens == 6
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_chat_answer_is_the_plain_one_in_pieces(served: Served) -> None:
    body = {"model": "gpt-4o", "messages": QUESTION, "stream": True, "stream_options": {"include_usage": True}}

    response = served.post("/v1/chat/completions", body)

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    received = events(response.text)
    assert received[-1] == ("", "[DONE]")
    chunks = [data for _, data in received[:-1]]
    assert all(isinstance(chunk, dict) and chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    first, last = json.loads(json.dumps([chunks[0], chunks[-1]]))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert first["usage"] is None
    assert last["choices"] == []
    # One token per chunk, less the role, the finish reason and the usage.
    assert last["usage"]["completion_tokens"] == len(chunks) - 3


def test_usage_is_streamed_only_when_asked_for(served: Served) -> None:
    before = served.totals()
    body = {"model": "gpt-4o", "messages": QUESTION, "stream": True}

    response = served.post("/v1/chat/completions", body)

    assert '"usage"' not in response.text
    after = served.totals()
    assert after["requests"] == before["requests"] + 1
    assert after["output_tokens"] == before["output_tokens"]


def test_the_stream_helper_ends_with_the_same_text_and_usage(served: Served) -> None:
    with served.gpt.chat.completions.stream(
        model="gpt-5.5",
        messages=[{"role": "user", "content": "Go on"}],
        stream_options={"include_usage": True},
        reasoning_effort="low",
    ) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()

    assert final.choices[0].message.content == text
    assert final.usage is not None
    assert final.usage.completion_tokens_details is not None
    assert (final.usage.completion_tokens_details.reasoning_tokens or 0) >= 16
    assert final.usage.completion_tokens > (final.usage.completion_tokens_details.reasoning_tokens or 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_when_the_question_asks_for_it(served: Served, stream: bool) -> None:
    ask = served.gpt.chat.completions
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Find order 7, please"}]

    if stream:
        with ask.stream(model="gpt-5.4-mini", messages=messages, tools=[TOOL]) as opened:
            completion: openai.types.chat.ChatCompletion = opened.get_final_completion()
    else:
        completion = ask.create(model="gpt-5.4-mini", messages=messages, tools=[TOOL])

    assert completion.choices[0].finish_reason == "tool_calls"
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "find_order"
    arguments = json.loads(calls[0].function.arguments)
    assert isinstance(arguments["number"], int)
    assert arguments["how"] in ("fast", "well")


def test_no_tool_is_called_when_the_question_is_about_something_else(served: Served) -> None:
    answer = served.gpt.chat.completions.create(
        model="gpt-5.4-mini", messages=[{"role": "user", "content": "Hello"}], tools=[TOOL]
    )

    assert answer.choices[0].finish_reason == "stop"


def test_several_choices_are_numbered_and_counted_together(served: Served) -> None:
    with served.gpt.chat.completions.stream(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Two ideas"}],
        n=2,
        stream_options={"include_usage": True},
    ) as stream:
        final = stream.get_final_completion()

    assert [choice.index for choice in final.choices] == [0, 1]
    assert final.choices[0].message.content != final.choices[1].message.content


def test_the_limit_of_tokens_cuts_the_answer_and_says_so(served: Served) -> None:
    answer = served.gpt.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Go"}], max_completion_tokens=5
    )

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


def test_an_answer_follows_the_schema_it_was_given(served: Served) -> None:
    class Facts(BaseModel):
        topic: str
        urgent: bool
        parts: list[int]

    answer = served.gpt.chat.completions.parse(
        model="gpt-4o", messages=[{"role": "user", "content": "Facts"}], response_format=Facts
    )

    assert isinstance(answer.choices[0].message.parsed, Facts)


def test_long_instructions_are_cached_from_their_second_use_on() -> None:
    with serve() as served:
        counts = []
        for question in ("one", "two"):
            answer = served.gpt.chat.completions.create(
                model="gpt-4o",
                messages=[{"role": "system", "content": LONG}, {"role": "user", "content": question}],
            )
            assert answer.usage is not None
            assert answer.usage.prompt_tokens_details is not None
            counts.append(answer.usage.prompt_tokens_details.cached_tokens)

        assert counts[0] == 0
        assert counts[1] is not None
        assert counts[1] >= 64
        assert counts[1] % 16 == 0
        assert served.totals()["cached_tokens"] == counts[1]


def test_a_plain_response_has_its_parts_and_usage(served: Served) -> None:
    answer = served.gpt.responses.create(model="gpt-5.5", input="Think", reasoning={"effort": "medium"})

    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.status == "completed"
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens_details.reasoning_tokens >= 40


def test_a_streamed_response_sends_the_events_of_the_vendor_in_order(served: Served) -> None:
    body = {"model": "gpt-4.1", "input": "Hello", "stream": True}

    received = events(served.post("/v1/responses", body).text)

    names = [name for name, _ in received]
    assert names[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert names[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert set(names[4:-4]) == {"response.output_text.delta"}
    data = json.loads(json.dumps([event for _, event in received]))
    assert [event["sequence_number"] for event in data] == list(range(len(data)))
    assert [event["type"] for event in data] == names
    assert data[0]["response"]["usage"] is None
    assert data[-1]["response"]["usage"]["output_tokens"] == len(names) - 8


def test_the_responses_helper_reads_reasoning_and_a_tool_call(served: Served) -> None:
    with served.gpt.responses.stream(
        model="gpt-5.5",
        input="Please find my order",
        reasoning={"effort": "low", "summary": "auto"},
        tools=[{"type": "function", "name": "find_order", "parameters": {"type": "object"}, "strict": False}],
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()

    assert "response.reasoning_summary_text.delta" in kinds
    assert "response.function_call_arguments.delta" in kinds
    assert [item.type for item in final.output] == ["reasoning", "function_call"]


def test_a_response_that_hits_its_limit_is_incomplete(served: Served) -> None:
    with served.gpt.responses.stream(model="gpt-4.1", input="Go", max_output_tokens=4) as stream:
        last = list(stream)[-1]

    assert last.type == "response.incomplete"
    assert last.response.status == "incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_have_the_length_of_the_model_and_unit_size(served: Served, encoding: str) -> None:
    body = {"model": "text-embedding-3-small", "input": ["late parcel", "lost key"], "encoding_format": encoding}

    answer = served.post("/v1/embeddings", body).json()

    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert isinstance(answer["data"][0]["embedding"], str if encoding == "base64" else list)
    read = served.gpt.embeddings.create(model="text-embedding-3-small", input=["late parcel", "lost key"])
    assert [len(item.embedding) for item in read.data] == [1536, 1536]
    assert sum(value * value for value in read.data[0].embedding) == pytest.approx(1, rel=1e-5)


def test_asynchronous_clients_are_served_side_by_side(served: Served) -> None:
    async def ask() -> list[str | None]:
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{served.url}/v1") as client:
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model="gpt-5.4-nano", messages=[{"role": "user", "content": f"Number {number}"}]
                    )
                    for number in range(8)
                )
            )
        return [answer.choices[0].message.content for answer in answers]

    texts = asyncio.run(ask())

    assert len(set(texts)) == 8


@pytest.mark.parametrize(
    ("path", "body", "status", "words", "code"),
    [
        ("/v1/chat/completions", {"messages": QUESTION}, 400, "'model'", "missing_required_parameter"),
        ("/v1/chat/completions", {"model": "gpt-4o"}, 400, "'messages'", "missing_required_parameter"),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": []}, 400, "'messages'", "invalid_type"),
        ("/v1/chat/completions", {"model": "x", "messages": QUESTION}, 404, "`x`", "model_not_found"),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": QUESTION, "n": 0}, 400, "'n'", "invalid_value"),
        (
            "/v1/chat/completions",
            {"model": "gpt-4o", "messages": QUESTION, "temperature": 9},
            400,
            "'temperature'",
            "invalid_value",
        ),
        (
            "/v1/chat/completions",
            {"model": "gpt-4o", "messages": QUESTION, "stream_options": {}},
            400,
            "'stream_options'",
            None,
        ),
        ("/v1/chat/completions", b"{", 400, "parse the JSON", None),
        ("/v1/chat/completions", b"[" * 100_000, 400, "parse the JSON", None),
        ("/v1/responses", {"model": "gpt-4o"}, 400, "'input'", "missing_required_parameter"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": []}, 400, "'input'", None),
        ("/v1/embeddings", {"model": "gpt-4o", "input": "a"}, 404, "`gpt-4o`", "model_not_found"),
        ("/v1/nothing", {}, 404, "Invalid URL", None),
    ],
)
def test_bad_input_gets_the_error_of_the_vendor(
    served: Served, path: str, body: object, status: int, words: str, code: str | None
) -> None:
    response = served.post(path, body)

    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["code"] == code


def test_a_request_without_a_key_is_refused(served: Served) -> None:
    response = served.post("/v1/responses", {"model": "gpt-4o", "input": "a"}, authorization="")

    assert response.status_code == 401


def test_the_headers_of_the_vendor_are_there(served: Served) -> None:
    raw = served.gpt.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Hello"}]
    )

    assert raw.headers["x-request-id"].startswith("req_")
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert int(raw.headers["x-ratelimit-remaining-requests"]) < int(raw.headers["x-ratelimit-limit-requests"])
    assert int(raw.headers["x-ratelimit-remaining-tokens"]) < int(raw.headers["x-ratelimit-limit-tokens"])
