"""Messages of every provider and framework become the conventions'; expectations are written from their references."""

import hashlib
import json
import random
from typing import Any

import pytest

from tokentrail.backend.dialects.media import MAX_INLINE_CHARS
from tokentrail.backend.dialects.messages import messages_json, parts_json, read_messages, text_of, without_system

PIXEL = "iVBORw0KGgo="
PHOTO = "QUJD" * 1000
PHOTO_BLOB = {
    "type": "blob",
    "modality": "image",
    "content": "",
    "bytes": 3000,
    "sha256": hashlib.sha256(PHOTO.encode()).hexdigest(),
    "mime_type": "image/png",
}


def say(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}


def think(text: str) -> dict[str, str]:
    return {"type": "reasoning", "content": text}


def call(identity: str | None, name: str, arguments: object) -> dict[str, object]:
    return {"type": "tool_call", "id": identity, "name": name, "arguments": arguments}


def answer(identity: str | None, response: object) -> dict[str, object]:
    return {"type": "tool_call_response", "id": identity, "response": response}


BLOCKS: dict[str, tuple[object, object]] = {
    "a text": ("hi", say("hi")),
    "openai text": ({"type": "text", "text": "hi"}, say("hi")),
    "openai text of assistants": ({"type": "text", "text": {"value": "hi", "annotations": []}}, say("hi")),
    "openai input_text": ({"type": "input_text", "text": "hi"}, say("hi")),
    "openai output_text": ({"type": "output_text", "text": "hi", "annotations": []}, say("hi")),
    "openai refusal": ({"type": "refusal", "refusal": "no"}, {"type": "refusal", "content": "no"}),
    "openai image_url": (
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "uri", "modality": "image", "uri": "https://x/y.png"},
    ),
    "openai image_url with a small data: URL": (
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "blob", "modality": "image", "content": PIXEL, "mime_type": "image/png"},
    ),
    "openai input_image with a large data: URL": (
        {"type": "input_image", "image_url": f"data:image/png;base64,{PHOTO}"},
        PHOTO_BLOB,
    ),
    "openai input_image by file": (
        {"type": "input_image", "file_id": "file-1"},
        {"type": "file", "modality": "image", "file_id": "file-1"},
    ),
    "openai input_audio": (
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
        {"type": "blob", "modality": "audio", "content": "QUJD", "mime_type": "audio/mp3"},
    ),
    "openai file": (
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "modality": "document", "file_id": "file-1"},
    ),
    "openai input_file": (
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"},
        {
            "type": "blob",
            "modality": "document",
            "content": "QUJD",
            "mime_type": "application/pdf",
            "name": "a.pdf",
        },
    ),
    "openai reasoning item": (
        {
            "type": "reasoning",
            "id": "rs",
            "summary": [{"type": "summary_text", "text": "so"}],
            "encrypted_content": "x",
        },
        think("so"),
    ),
    "openai function among content": (
        {"type": "function", "id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}},
        call("c", "f", {"a": 1}),
    ),
    "openai function without an id": (
        {"type": "function", "function": {"name": "f", "arguments": "{}"}},
        call(None, "f", {}),
    ),
    "openai function that is defined, not called": (
        {"type": "function", "function": {"name": "f", "parameters": {}}},
        {"type": "function", "function": {"name": "f", "parameters": {}}},
    ),
    "anthropic tool_use": ({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}, call("t", "f", {"a": 1})),
    "anthropic tool_result": ({"type": "tool_result", "tool_use_id": "t", "content": "14"}, answer("t", "14")),
    "anthropic tool_result with a photograph": (
        {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PHOTO}}],
        },
        answer(
            "t",
            [
                {
                    "type": "image",
                    "source": {
                        "type": "base64",
                        "media_type": "image/png",
                        "data": {
                            "type": "blob",
                            "modality": "document",
                            "content": "",
                            "bytes": 3000,
                            "sha256": PHOTO_BLOB["sha256"],
                        },
                    },
                }
            ],
        ),
    ),
    "anthropic thinking": ({"type": "thinking", "thinking": "hm", "signature": "s"}, think("hm")),
    "anthropic redacted_thinking": ({"type": "redacted_thinking", "data": "secret"}, think("")),
    "anthropic image": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PHOTO}},
        PHOTO_BLOB,
    ),
    "anthropic image by url": (
        {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
        {"type": "uri", "modality": "image", "uri": "https://x/y"},
    ),
    "anthropic document": (
        {"type": "document", "source": {"type": "file", "file_id": "f1"}},
        {"type": "file", "modality": "document", "file_id": "f1"},
    ),
    "anthropic document of text": (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "long"}},
        say("long"),
    ),
    "bedrock text": ({"text": "hi"}, say("hi")),
    "bedrock toolUse": ({"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}, call("t", "f", {"a": 1})),
    "bedrock toolResult": (
        {"toolResult": {"toolUseId": "t", "content": [{"json": {"t": 14}}], "status": "success"}},
        answer("t", [{"json": {"t": 14}}]),
    ),
    "bedrock reasoningContent": (
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        think("hm"),
    ),
    "bedrock image": (
        {"image": {"format": "png", "source": {"bytes": PIXEL}}},
        {"type": "blob", "modality": "image", "content": PIXEL, "mime_type": "image/png"},
    ),
    "bedrock document in S3": (
        {"document": {"format": "pdf", "name": "d", "source": {"s3Location": {"uri": "s3://b/k"}}}},
        {"type": "uri", "modality": "document", "uri": "s3://b/k", "mime_type": "application/pdf"},
    ),
    "bedrock cachePoint": ({"cachePoint": {"type": "default"}}, None),
    "gemini text": ({"text": "hi"}, say("hi")),
    "gemini thought": ({"text": "hm", "thought": True}, think("hm")),
    "gemini functionCall": ({"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}}, call("c", "f", {"a": 1})),
    "gemini function_call among nulls": (
        {"text": None, "thought": None, "function_call": {"name": "f", "args": {"a": 1}}, "inline_data": None},
        call(None, "f", {"a": 1}),
    ),
    "gemini functionResponse": (
        {"functionResponse": {"name": "f", "response": {"result": 14}}},
        answer(None, {"result": 14}),
    ),
    "gemini inlineData": (
        {"inlineData": {"mimeType": "image/png", "data": PHOTO}},
        PHOTO_BLOB,
    ),
    "gemini file_data": (
        {"file_data": {"file_uri": "gs://b/v.mp4", "mime_type": "video/mp4"}},
        {"type": "uri", "modality": "video", "uri": "gs://b/v.mp4", "mime_type": "video/mp4"},
    ),
    "gemini executableCode": (
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"type": "executableCode", "language": "PYTHON", "code": "1"},
    ),
    "genkit toolRequest": ({"toolRequest": {"ref": "c", "name": "f", "input": {"a": 1}}}, call("c", "f", {"a": 1})),
    "genkit toolResponse": ({"toolResponse": {"ref": "c", "name": "f", "output": "14"}}, answer("c", "14")),
    "genkit media": (
        {"media": {"url": "https://x/y.png", "contentType": "image/png"}},
        {"type": "uri", "modality": "image", "uri": "https://x/y.png", "mime_type": "image/png"},
    ),
    "vercel tool-call": (
        {"type": "tool-call", "toolCallId": "c", "toolName": "f", "input": {"a": 1}},
        call("c", "f", {"a": 1}),
    ),
    "vercel 4 tool-call": (
        {"type": "tool-call", "toolCallId": "c", "toolName": "f", "args": {"a": 1}},
        call("c", "f", {"a": 1}),
    ),
    "vercel tool-result": (
        {"type": "tool-result", "toolCallId": "c", "toolName": "f", "output": {"type": "json", "value": {"t": 14}}},
        answer("c", {"t": 14}),
    ),
    "vercel 4 tool-result": (
        {"type": "tool-result", "toolCallId": "c", "toolName": "f", "result": {"t": 14}},
        answer("c", {"t": 14}),
    ),
    "vercel reasoning": ({"type": "reasoning", "text": "hm"}, think("hm")),
    "vercel image as bytes": (
        {"type": "image", "image": {"0": 137, "1": 80}, "mediaType": "image/png"},
        {"type": "blob", "modality": "image", "content": "", "bytes": 2, "mime_type": "image/png"},
    ),
    "vercel file": (
        {"type": "file", "data": "QUJD", "mediaType": "application/pdf", "filename": "a.pdf"},
        {
            "type": "blob",
            "modality": "document",
            "content": "QUJD",
            "mime_type": "application/pdf",
            "name": "a.pdf",
        },
    ),
    "langchain tool_call": (
        {"type": "tool_call", "id": "c", "name": "f", "args": {"a": 1}},
        call("c", "f", {"a": 1}),
    ),
    "langchain image": (
        {"type": "image", "source_type": "base64", "data": PHOTO, "mime_type": "image/png"},
        PHOTO_BLOB,
    ),
    "langchain media": (
        {"type": "media", "mime_type": "audio/wav", "data": "QUJD"},
        {"type": "blob", "modality": "audio", "content": "QUJD", "mime_type": "audio/wav"},
    ),
    "openinference image": (
        {"type": "image", "image": {"image": {"url": "https://x/y"}}},
        {"type": "uri", "modality": "image", "uri": "https://x/y"},
    ),
    "conventions tool_call": (
        {"type": "tool_call", "id": "c", "name": "f", "arguments": '{"a": 1}'},
        call("c", "f", {"a": 1}),
    ),
    "conventions tool_call_response of old": ({"type": "tool_call_response", "id": "c", "result": 1}, answer("c", 1)),
    "conventions uri": (
        {"type": "uri", "modality": "image", "uri": "https://x", "mime_type": "image/png"},
        {"type": "uri", "modality": "image", "uri": "https://x", "mime_type": "image/png"},
    ),
    "conventions file": (
        {"type": "file", "modality": "audio", "file_id": "f1"},
        {"type": "file", "modality": "audio", "file_id": "f1"},
    ),
    "conventions blob, large": (
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": PHOTO},
        PHOTO_BLOB,
    ),
    "our own reference to a blob": (PHOTO_BLOB, PHOTO_BLOB),
    "openai image_file of assistants": (
        {"type": "image_file", "image_file": {"file_id": "file-1"}},
        {"type": "file", "modality": "image", "file_id": "file-1"},
    ),
    "vercel image as a buffer": (
        {"type": "image", "image": {"type": "Buffer", "data": [137, 80, 78]}},
        {"type": "blob", "modality": "image", "content": "", "bytes": 3},
    ),
    "a data: URL that is no base64": (
        {"type": "file", "url": "data:text/plain,a%20b", "mediaType": "text/x"},
        {
            "type": "blob",
            "modality": "document",
            "content": "",
            "bytes": 3,
            "sha256": hashlib.sha256(b"a b").hexdigest(),
            "mime_type": "text/plain",
        },
    ),
    "base64 with padding": (
        {"inlineData": {"data": f"{PHOTO}QQ=="}},
        {
            "type": "blob",
            "modality": "document",
            "content": "",
            "bytes": 3001,
            "sha256": hashlib.sha256(f"{PHOTO}QQ==".encode()).hexdigest(),
        },
    ),
    "conventions uri without a scheme": (
        {"type": "uri", "modality": "image", "uri": "files/1"},
        {"type": "uri", "modality": "image", "uri": "files/1"},
    ),
    "conventions uri that holds the medium": (
        {"type": "uri", "modality": "image", "uri": f"data:image/png;base64,{PHOTO}"},
        PHOTO_BLOB,
    ),
    "a few numbers that a tool gets": (
        {"type": "tool_use", "id": "t", "name": "f", "input": {"vector": [1, 2]}},
        call("t", "f", {"vector": [1, 2]}),
    ),
    "unknown type": ({"type": "holo", "text": "x", "n": [1]}, {"type": "holo", "text": "x", "n": [1]}),
    "no type": ({"a": 1, "b": 2}, say('{"a":1,"b":2}')),
    "an embedding": ({"embedding": [0.1] * 100, "index": 0}, None),
    "nothing": (None, None),
}


@pytest.mark.parametrize(("block", "part"), BLOCKS.values(), ids=BLOCKS)
def test_a_block_of_any_provider_is_one_part(block: object, part: object) -> None:
    [message] = read_messages([{"role": "user", "content": ["before", block]}], "user")

    assert message == {"role": "user", "parts": [say("before"), *([] if part is None else [part])]}


MESSAGES: dict[str, tuple[object, list[object]]] = {
    "a text": ("hi", [{"role": "user", "parts": [say("hi")]}]),
    "one message": ({"role": "user", "content": "hi"}, [{"role": "user", "parts": [say("hi")]}]),
    "roles": (
        [{"role": role, "content": "x"} for role in ("human", "ai", "model", "developer", "critic")],
        [{"role": role, "parts": [say("x")]} for role in ("user", "assistant", "assistant", "system", "critic")],
    ),
    "openai tool calls": (
        [
            {
                "role": "assistant",
                "content": "wait",
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                    {"id": "d", "type": "function", "function": {"name": "g", "arguments": '{"cut'}},
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "14"},
        ],
        [
            {"role": "assistant", "parts": [say("wait"), call("c", "f", {"a": 1}), call("d", "g", '{"cut')]},
            {"role": "tool", "parts": [answer("c", "14")]},
        ],
    ),
    "openai legacy function": (
        [
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "14"},
        ],
        [
            {"role": "assistant", "parts": [call(None, "f", {})]},
            {"role": "tool", "parts": [answer(None, "14")], "name": "f"},
        ],
    ),
    "openai refusal and reasoning beside the content": (
        {"role": "assistant", "content": None, "refusal": "no", "reasoning_content": "hm"},
        [{"role": "assistant", "parts": [think("hm"), {"type": "refusal", "content": "no"}]}],
    ),
    "openai audio answer": (
        {"role": "assistant", "content": None, "audio": {"id": "a", "data": PHOTO, "transcript": "hello"}},
        [
            {
                "role": "assistant",
                "parts": [
                    say("hello"),
                    {
                        "type": "blob",
                        "modality": "audio",
                        "content": "",
                        "bytes": 3000,
                        "sha256": PHOTO_BLOB["sha256"],
                    },
                ],
            }
        ],
    ),
    "openai chat response": (
        {
            "id": "r",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"},
                {"index": 1, "message": {"role": "assistant", "content": "b"}, "finish_reason": "length"},
            ],
            "usage": {},
        },
        [
            {"role": "assistant", "parts": [say("a")], "finish_reason": "stop"},
            {"role": "assistant", "parts": [say("b")], "finish_reason": "length"},
        ],
    ),
    "openai completion response": (
        {"choices": [{"text": "a", "index": 0, "finish_reason": "stop"}]},
        [{"role": "user", "parts": [say("a")], "finish_reason": "stop"}],
    ),
    "openai responses request": (
        {
            "model": "m",
            "instructions": "be brief",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1}'},
                {"type": "function_call_output", "call_id": "c", "output": "14"},
            ],
        },
        [
            {"role": "system", "parts": [say("be brief")]},
            {"role": "user", "parts": [say("hi")]},
            {"role": "assistant", "parts": [call("c", "f", {"a": 1})]},
            {"role": "tool", "parts": [answer("c", "14")]},
        ],
    ),
    "openai responses response": (
        {
            "object": "response",
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "web_search_call", "id": "w", "status": "completed"},
            ],
        },
        [
            {
                "role": "assistant",
                "parts": [
                    think(""),
                    say("hi"),
                    call("c", "f", {}),
                    {"type": "web_search_call", "id": "w", "status": "completed"},
                ],
            }
        ],
    ),
    "anthropic request": (
        {
            "system": [{"type": "text", "text": "be brief", "cache_control": {}}],
            "messages": [{"role": "user", "content": "hi"}],
        },
        [{"role": "system", "parts": [say("be brief")]}, {"role": "user", "parts": [say("hi")]}],
    ),
    "anthropic response": (
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "t", "name": "f", "input": {}}],
            "stop_reason": "tool_use",
        },
        [{"role": "assistant", "parts": [say("a"), call("t", "f", {})], "finish_reason": "tool_use"}],
    ),
    "bedrock response": (
        {"output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}}, "stopReason": "end_turn"},
        [{"role": "assistant", "parts": [say("hi")], "finish_reason": "end_turn"}],
    ),
    "gemini request": (
        {
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "hey"}]}],
            "config": {"system_instruction": {"role": "user", "parts": [{"text": "be brief"}]}},
        },
        [
            {"role": "system", "parts": [say("be brief")]},
            {"role": "user", "parts": [say("hi")]},
            {"role": "assistant", "parts": [say("hey")]},
        ],
    ),
    "gemini response": (
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "hey"}]}, "finishReason": "STOP"}]},
        [{"role": "assistant", "parts": [say("hey")], "finish_reason": "STOP"}],
    ),
    "google adk response": (
        {"content": {"role": "model", "parts": [{"text": "hey"}]}, "usage_metadata": {}, "finish_reason": "STOP"},
        [{"role": "assistant", "parts": [say("hey")], "finish_reason": "STOP"}],
    ),
    "genkit response": (
        {"message": {"role": "model", "content": [{"text": "yo"}]}, "finishReason": "stop", "usage": {}},
        [{"role": "assistant", "parts": [say("yo")], "finish_reason": "stop"}],
    ),
    "ollama response": (
        {"model": "m", "message": {"role": "assistant", "content": "hi", "thinking": "hm"}, "done_reason": "stop"},
        [{"role": "assistant", "parts": [think("hm"), say("hi")], "finish_reason": "stop"}],
    ),
    "vercel prompt": (
        {"system": "be brief", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
        [{"role": "system", "parts": [say("be brief")]}, {"role": "user", "parts": [say("hi")]}],
    ),
    "vercel prompt of text": ({"prompt": "hi"}, [{"role": "user", "parts": [say("hi")]}]),
    "vercel tool message": (
        {
            "role": "tool",
            "content": [{"type": "tool-result", "toolCallId": "c", "output": {"type": "text", "value": "x"}}],
        },
        [{"role": "tool", "parts": [answer("c", "x")]}],
    ),
    "langchain constructors": (
        {
            "messages": [
                [
                    {
                        "lc": 1,
                        "type": "constructor",
                        "id": ["langchain", "schema", "messages", "HumanMessage"],
                        "kwargs": {"content": "hi", "type": "human"},
                    },
                    {
                        "lc": 1,
                        "type": "constructor",
                        "id": ["langchain", "schema", "messages", "AIMessage"],
                        "kwargs": {
                            "content": "",
                            "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "c", "type": "tool_call"}],
                            "additional_kwargs": {
                                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}]
                            },
                        },
                    },
                    {
                        "lc": 1,
                        "type": "constructor",
                        "id": ["langchain", "schema", "messages", "ToolMessage"],
                        "kwargs": {"content": "14", "tool_call_id": "c", "status": "success"},
                    },
                ]
            ]
        },
        [
            {"role": "user", "parts": [say("hi")]},
            {"role": "assistant", "parts": [call("c", "f", {"a": 1})]},
            {"role": "tool", "parts": [answer("c", "14")]},
        ],
    ),
    "langchain generations": (
        {
            "generations": [
                [
                    {
                        "text": "hey",
                        "generation_info": {"finish_reason": "stop"},
                        "type": "ChatGeneration",
                        "message": {
                            "lc": 1,
                            "type": "constructor",
                            "id": ["langchain", "schema", "messages", "AIMessage"],
                            "kwargs": {"content": "hey", "response_metadata": {}},
                        },
                    }
                ]
            ],
            "llm_output": {},
        },
        [{"role": "assistant", "parts": [say("hey")], "finish_reason": "stop"}],
    ),
    "langchain generations of a plain model": (
        {"generations": [[{"text": "hey", "generation_info": {"finish_reason": "stop"}, "type": "Generation"}]]},
        [{"role": "user", "parts": [say("hey")], "finish_reason": "stop"}],
    ),
    "langchain dumps": (
        [
            {"type": "system", "content": "be brief", "name": None, "id": None},
            {"type": "human", "data": {"content": "hi"}},
            {
                "type": "ai",
                "content": [{"type": "text", "text": "hey"}],
                "response_metadata": {"stop_reason": "end_turn"},
            },
        ],
        [
            {"role": "system", "parts": [say("be brief")]},
            {"role": "user", "parts": [say("hi")]},
            {"role": "assistant", "parts": [say("hey")], "finish_reason": "end_turn"},
        ],
    ),
    "langchain pairs": (
        {"messages": [["system", "be brief"], ["human", "hi"]]},
        [{"role": "system", "parts": [say("be brief")]}, {"role": "user", "parts": [say("hi")]}],
    ),
    "langchain content and tool calls of anthropic name a call once": (
        {
            "type": "ai",
            "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}],
            "tool_calls": [{"name": "f", "args": {}, "id": "t", "type": "tool_call"}],
        },
        [{"role": "assistant", "parts": [call("t", "f", {})]}],
    ),
    "openllmetry: blocks as JSON in the content": (
        {"role": "user", "content": '[{"type": "text", "text": "hi"}]'},
        [{"role": "user", "parts": [say("hi")]}],
    ),
    "JSON that a user sent stays a text": (
        {"role": "user", "content": '[{"type": "dog"}]'},
        [{"role": "user", "parts": [say('[{"type": "dog"}]')]}],
    ),
    "litellm: parts with tool calls beside": (
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "wait"}],
            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
        },
        [{"role": "assistant", "parts": [say("wait"), call("c", "f", {})]}],
    ),
    "the conventions' own": (
        [{"role": "assistant", "parts": [say("a"), {"type": "holo", "x": 1}], "finish_reason": "stop", "name": None}],
        [{"role": "assistant", "parts": [say("a"), {"type": "holo", "x": 1}], "finish_reason": "stop"}],
    ),
    "blocks without a message": (
        [{"type": "text", "text": "a"}, {"text": "b"}],
        [{"role": "user", "parts": [say("a"), say("b")]}],
    ),
    "one block without a message": ({"type": "text", "text": "a"}, [{"role": "user", "parts": [say("a")]}]),
    "an object that nobody knows": ({"question": "why"}, [{"role": "user", "parts": [say('{"question":"why"}')]}]),
    "an embeddings request": ({"model": "m", "input": ["a", "b"]}, [{"role": "user", "parts": [say(x)]} for x in "ab"]),
    "an embeddings response": ({"data": [{"object": "embedding", "embedding": [0.1, 0.2], "index": 0}]}, []),
    "vectors": ([[0.1, 0.2], [0.3, 0.4]], []),
    "one vector": ([0.1, 0.2], []),
    "a vector as content": ({"role": "assistant", "content": [0.1, 0.2]}, [{"role": "assistant", "parts": []}]),
    "a tool that names no call": ({"role": "tool", "content": "14"}, [{"role": "tool", "parts": [answer(None, "14")]}]),
    "vercel tool of old": (
        {"role": "tool", "toolCallId": "c", "result": {"t": 14}},
        [{"role": "tool", "parts": [answer("c", {"t": 14})]}],
    ),
    "two texts, of which one is a role": (
        ["human", "hi"],
        [{"role": "user", "parts": [say(x)]} for x in ("human", "hi")],
    ),
    "two calls in the input": (
        [
            {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
        ],
        [{"role": "assistant", "parts": [call(x, "f", {})]} for x in "cd"],
    ),
    "an output of the provider's own tool": (
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "x"}},
        [{"role": "tool", "parts": [{"type": "computer_call_output", "call_id": "c", "output": {"type": "x"}}]}],
    ),
    "arguments of a function": (
        {"args": [], "kwargs": {"text": "x"}},
        [{"role": "user", "parts": [say('{"args":[],"kwargs":{"text":"x"}}')]}],
    ),
    "reasoning that is in the content and beside it": (
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}], "reasoning_content": "hm"},
        [{"role": "assistant", "parts": [think("hm")]}],
    ),
    "langchain of old": (
        {
            "type": "ai",
            "content": "",
            "additional_kwargs": {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
        },
        [{"role": "assistant", "parts": [call("c", "f", {})]}],
    ),
    "langchain calls with wrong arguments": (
        {
            "type": "ai",
            "content": "",
            "tool_calls": [{"id": "c", "name": "f", "args": {}}],
            "invalid_tool_calls": [{"id": "d", "name": "f", "args": '{"a', "error": "cut"}],
        },
        [{"role": "assistant", "parts": [call("c", "f", {}), call("d", "f", '{"a')]}],
    ),
    "nothing": (None, []),
    "an empty list": ([], []),
    "an empty object": ({}, []),
    "a number": (3, []),
}


@pytest.mark.parametrize(("raw", "messages"), MESSAGES.values(), ids=MESSAGES)
def test_messages_of_any_shape_are_the_conventions(raw: object, messages: list[object]) -> None:
    assert read_messages(raw, "user") == messages
    assert messages_json(raw, "user") == (
        json.dumps(messages, ensure_ascii=False, separators=(",", ":")) if messages else ""
    )


def test_items_of_a_response_without_the_response_are_one_answer() -> None:
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
    ]

    assert read_messages(items, "assistant") == [{"role": "assistant", "parts": [think("so"), say("hi")]}]


@pytest.mark.parametrize("characters", [MAX_INLINE_CHARS, MAX_INLINE_CHARS + 4])
def test_a_blob_is_kept_up_to_the_cap_and_referred_to_above_it(characters: int) -> None:
    data = "QUJD" * (characters // 4)

    [message] = read_messages([{"role": "user", "content": [{"inlineData": {"data": data}}]}], "user")

    parts: Any = message["parts"]
    [part] = parts
    assert part["content"] == (data if characters <= MAX_INLINE_CHARS else "")
    assert part.get("bytes") == (None if characters <= MAX_INLINE_CHARS else characters // 4 * 3)


def test_no_large_binary_and_no_vector_is_left_anywhere() -> None:
    raw = {
        "role": "assistant",
        "content": [{"type": "holo", "deep": {"b64": PHOTO, "url": f"data:image/png;base64,{PHOTO}"}}],
        "tool_calls": [
            {"id": "c", "name": "f", "args": {"image": PHOTO, "embedding": [0.25] * 100, "vectors": [[0.25] * 100] * 3}}
        ],
    }

    written = messages_json(raw, "user")

    assert len(written) < 1500
    assert PHOTO[:200] not in written
    assert "0.25" not in written
    assert '"[100 numbers]"' in written
    assert '"[3 vectors]"' in written


def test_prose_in_arguments_is_no_binary() -> None:
    prose = "a long letter " * 200

    [message] = read_messages(
        [{"role": "assistant", "tool_calls": [{"id": "c", "name": "f", "args": [prose]}]}], "user"
    )

    assert message["parts"] == [call("c", "f", [prose])]


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"messages": [value]}
    return value


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def within(name: str, depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {name: value}
    return value


HOSTILE: dict[str, object] = {
    "NaN": {"role": "tool", "content": [float("nan"), float("inf"), {"embedding": [float("nan")]}]},
    "envelopes without end": nested(5000),
    "a list without end": {"role": "user", "content": deep(5000)},
    "arguments without end": {"role": "assistant", "tool_calls": [{"name": "f", "args": deep(5000)}]},
    "images without end": {"role": "user", "content": [{"type": "image", **within("image", 5000)}]},
    "messages without end": within("message", 5000),
    "half a surrogate pair": {"role": "user", "content": "\ud83d!"},
    "wrong types": [
        {"role": 3, "content": 4, "tool_calls": 5, "parts": 6, "name": 7, "finish_reason": 8},
        {"type": 1, "content": {"type": []}},
        {"role": "tool", "tool_call_id": {}, "content": {}},
        {"type": "image", "source": 1, "image": [1]},
        {"type": "reasoning", "summary": [1, None]},
        {"role": "assistant", "tool_calls": [{"id": {}, "name": []}, {"function": {"name": {}}}]},
        [{"type": "tool_use", "id": []}, {"functionCall": {"id": {}}}],
        {"type": "function_call", "arguments": 1.5},
        {"type": "uri", "uri": "x:y", "size": float("nan")},
        {"role": "assistant", "tool_calls": [None, 1, "f", []]},
        {"lc": 1, "id": [], "kwargs": 1},
        {"generations": [None, [None]]},
        {"message": {"message": {"data": []}}},
        [[], [[]], ["human"], ["human", 1]],
    ],
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_whatever_comes_is_written_as_json(raw: object) -> None:
    written = messages_json(raw, "user")

    written.encode("utf-8")
    parsed = json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert all(isinstance(message["role"], str) and isinstance(message["parts"], list) for message in parsed)


@pytest.mark.parametrize(
    "raw", ["be brief", [{"type": "text", "text": "be brief"}], [{"role": "system", "content": "be brief"}]]
)
def test_a_system_prompt_is_a_list_of_parts(raw: object) -> None:
    assert parts_json(raw) == '[{"type":"text","content":"be brief"}]'


def test_no_system_prompt_is_empty() -> None:
    assert parts_json("") == parts_json(None) == parts_json([]) == ""


@pytest.mark.parametrize("system", ["be brief", '[{"type":"text","content":"be brief"}]'])
def test_a_system_message_that_repeats_the_system_prompt_goes(system: str) -> None:
    messages = read_messages(
        [
            {"role": "system", "content": "be brief"},
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "hi"},
            {"role": "system", "content": "be brief"},
        ],
        "user",
    )

    assert [text_of([each]) for each in without_system(messages, system)] == ["be kind", "hi", "be brief"]
    assert without_system(messages, "") == messages


def test_the_text_of_a_conversation_is_that_of_its_first_message() -> None:
    messages = read_messages([{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}], "user")

    assert text_of(messages) == "s"
    assert text_of(messages, but_role="system") == "hi"
    assert text_of([]) is None
    assert text_of(read_messages([{"role": "assistant", "tool_calls": [{"name": "f"}]}], "user")) is None


KEYS = (
    *(
        "role",
        "content",
        "type",
        "text",
        "parts",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "id",
        "image",
        "source",
    ),
    *(
        "data",
        "url",
        "file",
        "messages",
        "choices",
        "message",
        "generations",
        "kwargs",
        "lc",
        "output",
        "input",
        "args",
    ),
    *("toolUse", "toolResult", "functionCall", "inlineData", "embedding", "reasoning", "thinking", "summary", "audio"),
    *("refusal", "images", "function_call", "candidates", "system", "config", "document", "media", "response", "0"),
)
SCALARS = (
    *("user", "assistant", "tool", "human", "text", "image", "file", "tool_use", "tool-result", "reasoning", "blob"),
    *(
        "function_call",
        "uri",
        "input_audio",
        "document",
        "audio",
        "tool_call",
        "tool_call_response",
        '{"a":1}',
        "x",
        "",
    ),
    *('[{"type":"text","text":"a"}]', "data:image/png;base64,AAAA", "https://x", None, 1, 1.5, True, float("nan")),
)


def anything(rng: random.Random, depth: int) -> object:
    """JSON of any shape, out of the words that mean something in messages."""
    choice = rng.random()
    if depth == 0 or choice < 0.35:
        return rng.choice(SCALARS)
    if choice < 0.55:
        return [anything(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(KEYS): anything(rng, depth - 1) for _ in range(rng.randint(0, 5))}


@pytest.mark.parametrize("seed", range(20))
def test_any_json_becomes_messages_of_parts(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        raw = anything(rng, 5)
        before = repr(raw)

        written = messages_json(raw, rng.choice(("user", "assistant")))

        found = json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) if written else []
        assert all(isinstance(message["role"], str) for message in found), raw
        assert all(isinstance(part["type"], str) for message in found for part in message["parts"]), raw
        assert repr(raw) == before
