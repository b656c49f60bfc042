"""The independent reader is itself checked: by hand for one exchange of each kind, by the vendors' parsers for all.

Parsed here are the formats of OpenAI and Anthropic; the SDKs of the other vendors, which the environment does not have,
read theirs in `test_conformance_vendors`.
"""

import struct
import zlib
from typing import Final

import anthropic
import anthropic.types
import httpx2
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from conformance.by_hand import BY_HAND
from support import expected, expected_framings, replay_server, wire
from support.expected import Expected
from support.wire import Exchange, Format, Framing

PARSED: Final = frozenset(
    {Format.CHAT, Format.PROMPT, Format.RESPONSES, Format.EMBEDDINGS, Format.COMPLETIONS, Format.MESSAGES}
)
"""Formats that the installed SDKs of OpenAI and Anthropic read."""


@pytest.fixture(scope="module")
def exchanges() -> tuple[Exchange, ...]:
    return wire.require()


def test_no_recorded_exchange_of_a_supported_format_is_lost(exchanges: tuple[Exchange, ...]) -> None:
    assert len(exchanges) >= wire.SUPPORTED
    assert len({exchange.key for exchange in exchanges}) == len(exchanges)
    assert {exchange.format for exchange in exchanges} == set(Format) - {Format.NONE}
    assert len(wire.load_all()) - len(exchanges) == wire.OTHERS


@pytest.mark.parametrize("key", BY_HAND)
def test_reader_agrees_with_a_person(exchanges: tuple[Exchange, ...], key: str) -> None:
    found = next((exchange for exchange in exchanges if exchange.key == key), None)
    assert found is not None, f"the recordings changed: {key} is not there"

    reading = expected.read(found)

    assert {name: getattr(reading, name) for name in BY_HAND[key]} == BY_HAND[key]


def test_reader_agrees_with_the_vendors_parsers(exchanges: tuple[Exchange, ...]) -> None:
    compared = 0
    for exchange in exchanges:
        if exchange.format in PARSED and exchange.status == 200 and exchange.response_body:
            compared += 1
            assert _vendor_view(exchange) == _own_view(expected.read(exchange)), exchange.label

    assert compared >= 237  # of 249; nine are errors, and three lost their bodies


def test_pieces_join_to_the_body_and_cut_lines_and_characters(exchanges: tuple[Exchange, ...]) -> None:
    streams = [exchange for exchange in exchanges if exchange.is_stream]
    cuts = [(piece, exchange) for exchange in streams for piece in replay_server.pieces(exchange, compressed=False)]

    for exchange in streams:
        plain = replay_server.pieces(exchange, compressed=False)
        packed = replay_server.pieces(exchange, compressed=True)
        assert b"".join(plain) == exchange.response_body
        assert zlib.decompress(b"".join(packed), 16 + zlib.MAX_WBITS) == exchange.response_body
        assert len(plain) > 4, exchange.label
    assert sum(not piece.endswith(b"\n") for piece, _ in cuts) > len(cuts) * 0.8
    assert any(_ends_inside_a_character(piece) for piece, _ in cuts)


def test_damaged_frame_is_noticed(exchanges: tuple[Exchange, ...]) -> None:
    body = next(exchange.response_body for exchange in exchanges if exchange.framing is Framing.AWS)

    for at in (3, 20, len(body) // 2, len(body) - 1):
        damaged = bytearray(body)
        damaged[at] ^= 1

        with pytest.raises((AssertionError, struct.error)):
            list(expected_framings.frames(bytes(damaged)))


def _ends_inside_a_character(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


View = tuple[str, str, int | None, int | None, int, int, tuple[str, ...], tuple[str, ...]]
"""Model, id, input, output, cached and reasoning tokens, texts, names of the tools called."""


def _own_view(reading: Expected) -> View:
    return (
        reading.response_model,
        reading.response_id,
        reading.input_tokens,
        reading.output_tokens,
        reading.cache_read_tokens or 0,
        reading.reasoning_tokens or 0,
        tuple(choice.text for choice in reading.choices),
        tuple(call.name for choice in reading.choices for call in choice.tool_calls),
    )


def _vendor_view(exchange: Exchange) -> View:
    """What the vendor's own client makes of the recorded bytes, served to it without a network."""
    answer = httpx2.Response(
        200, content=exchange.response_body, headers={"content-type": exchange.response_headers["content-type"]}
    )
    with httpx2.Client(transport=httpx2.MockTransport(lambda request: answer)) as http_client:
        if exchange.format is Format.MESSAGES:
            return _message_view(_message(anthropic.Anthropic(api_key="none", http_client=http_client), exchange))
        client = openai.OpenAI(api_key="none", http_client=http_client)
        if exchange.format in (Format.CHAT, Format.PROMPT):
            return _chat_view(_chat(client, exchange))
        if exchange.format is Format.COMPLETIONS:
            whole = client.completions.create(prompt="", model="any")
            assert whole.usage is not None
            texts = tuple(choice.text for choice in whole.choices)
            counts = whole.usage.prompt_tokens, whole.usage.completion_tokens
            return (whole.model, whole.id, *counts, 0, 0, texts, ())
        if exchange.format is Format.RESPONSES:
            return _response_view(_response(client, exchange))
        embedded = client.embeddings.create(input="", model="any", encoding_format="float")
        return (embedded.model, "", embedded.usage.prompt_tokens, None, 0, 0, (), ())


def _message(client: anthropic.Anthropic, exchange: Exchange) -> anthropic.types.Message:
    if not exchange.is_sse:
        return client.messages.create(max_tokens=1, messages=[], model="any")
    with client.messages.stream(max_tokens=1, messages=[], model="any") as stream:
        message: anthropic.types.Message = stream.get_final_message()
        return message


def _response(client: openai.OpenAI, exchange: Exchange) -> Response:
    if not exchange.is_sse:
        return client.responses.create(input="", model="any")
    last = list(client.responses.create(input="", model="any", stream=True))[-1]
    assert last.type == "response.completed"
    return last.response


def _chat(client: openai.OpenAI, exchange: Exchange) -> ChatCompletion:
    if not exchange.is_sse:
        return client.chat.completions.create(messages=[], model="any")
    state = ChatCompletionStreamState[object]()
    usage = None
    for chunk in client.chat.completions.create(messages=[], model="any", stream=True):
        for choice in chunk.choices:
            # The vendor's accumulator wants the index and the type that Mistral leaves out.
            for position, call in enumerate(choice.delta.tool_calls or ()):
                call.type = call.type or "function"
                call.index = position if getattr(call, "index", None) is None else call.index
        usage = ((chunk.model_extra or {}).get("x_groq") or {}).get("usage") or usage
        state.handle_chunk(chunk)
    whole = state.current_completion_snapshot
    if usage:
        whole.usage = CompletionUsage.model_construct(**usage)
    return whole


def _chat_view(body: ChatCompletion) -> View:
    usage = body.usage
    inputs = getattr(usage, "prompt_tokens_details", None)
    outputs = getattr(usage, "completion_tokens_details", None)
    return (
        body.model,
        body.id,
        getattr(usage, "prompt_tokens", None),
        getattr(usage, "completion_tokens", None),
        (inputs and inputs.cached_tokens) or 0,
        (outputs and outputs.reasoning_tokens) or 0,
        tuple(choice.message.content or "" for choice in body.choices),
        tuple(
            call.function.name
            for choice in body.choices
            for call in choice.message.tool_calls or ()
            if call.type == "function"
        ),
    )


def _response_view(body: Response) -> View:
    assert body.usage is not None
    return (
        body.model,
        body.id,
        body.usage.input_tokens,
        body.usage.output_tokens,
        body.usage.input_tokens_details.cached_tokens,
        body.usage.output_tokens_details.reasoning_tokens,
        (body.output_text,),
        tuple(item.name for item in body.output if item.type == "function_call"),
    )


def _message_view(body: anthropic.types.Message) -> View:
    usage = body.usage
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return (
        body.model,
        body.id,
        usage.input_tokens + cached + written,
        usage.output_tokens,
        cached,
        usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else 0,
        ("".join(block.text for block in body.content if block.type == "text"),),
        tuple(block.name for block in body.content if block.type == "tool_use"),
    )
