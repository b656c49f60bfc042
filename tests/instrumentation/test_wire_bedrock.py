"""What is Bedrock's own beside its bodies: the paths and models, headers, metrics, and chunks that need no parsing."""

import base64
import json
import random
from typing import Any, Final
from urllib.parse import quote

import pytest

from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire import (
    BEDROCK_CONVERSE,
    BEDROCK_EMBEDDINGS,
    BEDROCK_INVOKE,
    BEDROCK_RERANK,
    BEDROCK_TEXT,
    WIRE_FORMATS,
    endpoints,
)
from tokentrail.instrumentation.wire._base import HeaderReader, ProviderError, Reader, Response, WireFormat
from tokentrail.semconv import cost, providers
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

HOST: Final = "bedrock-runtime.eu-west-1.amazonaws.com"
MESSAGES: Final = {"messages": [{"role": "user", "content": [{"text": 'the "prompt": is escaped'}]}]}
PROMPT: Final = {"prompt": 'say "messages": and go', "max_tokens": 5}
COUNTS: Final = {"x-amzn-bedrock-input-token-count": "6", "x-amzn-bedrock-output-token-count": "10"}
FORMATS: Final = [wire for wire in WIRE_FORMATS if wire.name.startswith("bedrock")]


def chunk(payload: object) -> Event:
    encoded = base64.b64encode(json.dumps(payload, separators=(",", ":")).encode()).decode()
    return Event("chunk", json.dumps({"bytes": encoded, "p": "abc"}, separators=(",", ":")).encode())


def reader_of(wire: WireFormat, headers: dict[str, str], keep_content: bool = True) -> Reader:
    reader = wire.reader(keep_content)
    assert isinstance(reader, HeaderReader)
    reader.feed_headers(headers.get)
    return reader


def read(wire: WireFormat, headers: dict[str, str], body: dict[str, Any] | None) -> Response:
    reader = reader_of(wire, headers)
    if body is not None:
        reader.feed_body(body)
    return reader.result()


@pytest.mark.parametrize(
    ("model", "path", "body", "wire", "stream"),
    [
        ("amazon.nova-micro-v1:0", "converse", MESSAGES, BEDROCK_CONVERSE, False),
        ("amazon.nova-micro-v1:0", "converse-stream", MESSAGES, BEDROCK_CONVERSE, True),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "invoke", MESSAGES, BEDROCK_INVOKE, False),
        ("anthropic.claude-v2", "invoke-with-response-stream", MESSAGES, BEDROCK_INVOKE, True),
        ("anthropic.claude-v2", "invoke", PROMPT, BEDROCK_TEXT, False),
        ("cohere.command-r-v1:0", "invoke", {"message": "Hi", "temperature": 1}, BEDROCK_INVOKE, False),
        ("meta.llama3-8b-instruct-v1:0", "invoke-with-response-stream", PROMPT, BEDROCK_TEXT, True),
        ("amazon.titan-text-lite-v1", "invoke", {"inputText": "Hi"}, BEDROCK_TEXT, False),
        ("amazon.titan-embed-text-v2:0", "invoke", {"inputText": "Hi"}, BEDROCK_EMBEDDINGS, False),
        ("cohere.embed-v4:0", "invoke", {"texts": ["Hi"]}, BEDROCK_EMBEDDINGS, False),
        ("cohere.rerank-v3-5:0", "invoke", {"query": "q", "documents": []}, BEDROCK_RERANK, False),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/ab", "invoke", PROMPT, BEDROCK_TEXT, False),
    ],
)
def test_path_model_and_body_tell_what_is_called(
    model: str, path: str, body: dict[str, Any], wire: WireFormat, stream: bool
) -> None:
    data = json.dumps(body).encode()

    # botocore quotes the model; some clients show the path decoded
    for spelt in (quote(model, safe=""), model):
        found = endpoints.match(HOST, 443, f"/model/{spelt}/{path}", data)

        assert found is not None
        assert (found.wire, found.provider, found.model, found.stream) == (wire, "aws.bedrock", model, stream)


@pytest.mark.parametrize(
    "path",
    [
        *("/guardrail/g/version/1/apply", "/guardrail-checks/invoke", "/async-invoke", "/model/m/count-tokens"),
        *("/model/m/invoke-with-bidirectional-stream", "/invoke", "/agents/a/agentAliases/b/sessions/c/text"),
    ],
)
def test_what_else_bedrock_does_is_no_model_call(path: str) -> None:
    assert endpoints.match(HOST, 443, path, json.dumps(MESSAGES).encode()) is None


@pytest.mark.parametrize("path", ["converse", "invoke", "invoke-with-response-stream"])
@pytest.mark.parametrize(
    "body",
    [
        *({"message": "hello"}, {"prompt": "hello"}, {"inputText": "hello"}, {"messages": []}, {"messages": ["x"]}),
        *({"texts": ["a"]}, {"query": "q"}, {"input": "x"}, {"query": "q", "documents": "all"}),
    ],
)
def test_somebody_elses_api_at_such_a_path_is_not_ours(path: str, body: dict[str, Any]) -> None:
    assert endpoints.match("ml.example.com", 443, f"/model/churn/{path}", json.dumps(body).encode()) is None


@pytest.mark.parametrize(
    "host",
    [
        *(HOST, "bedrock-runtime.cn-north-1.amazonaws.com.cn", "bedrock-runtime-fips.us-gov-west-1.amazonaws.com"),
        *("vpce-0a1b-2c3d.bedrock-runtime.us-east-1.vpce.amazonaws.com", "bedrock-runtime.us-east-1.api.aws"),
        "vpce-0a1b-2c3d-us-east-1a.bedrock-runtime-fips.us-east-1.vpce.amazonaws.com",
    ],
)
def test_the_hosts_of_bedrock(host: str) -> None:
    assert providers.of_host(host) == "aws.bedrock"
    assert providers.of_host(host.upper()) == "aws.bedrock"


def test_hosts_that_are_not_bedrocks() -> None:
    for host in ("bedrock.us-east-1.amazonaws.com", "my-bedrock-runtime.example.com", "bedrock-agent-runtime.x.aws"):
        assert providers.of_host(host) is None


def test_counts_of_headers_fill_in_for_a_body_without_any() -> None:
    cache = {"x-amzn-bedrock-cache-read-input-token-count": "3", "x-amzn-bedrock-cache-write-input-token-count": "1"}

    response = read(BEDROCK_TEXT, {**COUNTS, **cache}, {"outputs": [{"text": "x", "stop_reason": "stop"}]})

    assert response.usage == Usage(input_tokens=10, output_tokens=10, cache_read_tokens=3, cache_write_tokens=1)


def test_counts_of_a_body_go_before_those_of_headers() -> None:
    body = {"generation": "x", "prompt_token_count": 5, "generation_token_count": 9, "stop_reason": "stop"}

    assert read(BEDROCK_TEXT, COUNTS, body).usage == Usage(input_tokens=5, output_tokens=9)


def test_counts_of_headers_are_those_of_embeddings_too() -> None:
    headers = {"x-amzn-bedrock-input-token-count": "6"}

    assert read(BEDROCK_EMBEDDINGS, headers, {"id": "e", "embeddings": [[1.0]]}).usage == Usage(input_tokens=6)


def test_an_empty_count_is_not_reported() -> None:
    headers = {"x-amzn-bedrock-input-token-count": ""}

    assert read(BEDROCK_TEXT, headers, {"outputs": []}).usage == Usage()


@pytest.mark.parametrize("value", ["-1", "1.5", "many", "9" * 30, "²"])
def test_a_count_that_is_none_makes_the_usage_invalid(value: str) -> None:
    headers = {"x-amzn-bedrock-input-token-count": value}

    assert read(BEDROCK_TEXT, headers, {"outputs": []}).usage == Usage(input_tokens=NOT_A_COUNT)


@pytest.mark.parametrize("wire", FORMATS, ids=lambda wire: str(wire.name))
def test_the_type_of_an_error_is_in_a_header(wire: WireFormat) -> None:
    headers = {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/"}

    assert read(wire, headers, {"message": "slow"}).error == ProviderError("ThrottlingException", "slow")
    assert read(wire, headers, None).error == ProviderError("ThrottlingException", "")


@pytest.mark.parametrize("value", ["a sentence, no type", "x" * 65, "é", ":"])
def test_what_is_no_type_does_not_become_one(value: str) -> None:
    assert read(BEDROCK_CONVERSE, {"x-amzn-errortype": value}, {"message": "m"}).error == ProviderError("", "m")


@pytest.mark.parametrize(
    ("headers", "tier"),
    [
        ({"x-amzn-bedrock-service-tier": "flex"}, "flex"),
        ({"x-amzn-bedrock-performanceconfig-latency": "optimized"}, "optimized"),
        ({"x-amzn-bedrock-performanceconfig-latency": "standard"}, ""),
    ],
)
def test_the_tier_of_an_invoked_model_is_in_a_header(headers: dict[str, str], tier: str) -> None:
    response = read(BEDROCK_INVOKE, headers, {"type": "message", "id": "m", "content": []})

    assert response.service_tier == tier
    assert dict(response.attributes) == ({"tokentrail.response.service_tier": tier} if tier else {})


def test_an_error_of_the_stream_itself() -> None:
    reader = reader_of(BEDROCK_CONVERSE, {})

    reader.feed_event(Event("error:internalError", b'{"message": "gone"}'))

    assert reader.result().error == ProviderError("InternalError", "gone")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"message": 5}'])
def test_an_exception_whose_body_is_none_is_still_one(data: bytes) -> None:
    for wire in FORMATS:
        reader = reader_of(wire, {})

        assert reader.feed_event(Event("exception:internalServerException", data)) is False
        assert reader.result().error == ProviderError("InternalServerException", "")


DELTAS: Final[list[tuple[WireFormat, list[Event], Event]]] = [
    (
        BEDROCK_CONVERSE,
        [Event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"a"}}')],
        Event("contentBlockDelta", b"not parsed"),
    ),
    (
        BEDROCK_INVOKE,
        [chunk({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}})],
        Event("chunk", b'{"bytes":"' + base64.b64encode(b'{"type":"content_block_delta","index":0') + b"not parsed"),
    ),
    (
        BEDROCK_INVOKE,
        [chunk({"contentBlockDelta": {"delta": {"text": "a"}, "contentBlockIndex": 0}})],
        Event("chunk", b'{"bytes":"' + base64.b64encode(b'{"contentBlockDelta":{"delta":{') + b"not parsed"),
    ),
]


@pytest.mark.parametrize(("wire", "before", "delta"), DELTAS, ids=["converse", "claude", "nova"])
def test_once_output_was_seen_deltas_are_not_parsed_for_nobody(
    wire: WireFormat, before: list[Event], delta: Event
) -> None:
    unread, read_all = wire.reader(False), wire.reader(True)

    for event in before:
        assert unread.feed_event(event)
        assert read_all.feed_event(event)

    assert unread.feed_event(delta)
    with pytest.raises(ValueError):  # noqa: PT011  whatever the parser calls it
        read_all.feed_event(delta)


def test_the_pieces_of_a_long_answer_of_nova_stay_in_order() -> None:
    reader = BEDROCK_INVOKE.reader(True)
    reader.feed_event(chunk({"messageStart": {"role": "assistant"}}))

    for number in range(3_000):
        delta = {"delta": {"text": f"{number} "}, "contentBlockIndex": number}
        reader.feed_event(chunk({"contentBlockDelta": delta}))
    (message,) = reader.result().output

    text = "".join(f"{number} " for number in range(3_000))
    assert message["parts"] == [{"type": "text", "content": text}]


def test_no_chunk_makes_a_reader_raise_but_for_what_is_no_json() -> None:
    chance = random.Random(5)
    words = ["type", "message", "content_block", "choices", "delta", "index", "messageStart", "contentBlockDelta"]
    words += ["metadata", "usage", "output", "text", "completion", "generations", "results", "outputs", "tool_calls"]
    words += ["event_type", "amazon-bedrock-invocationMetrics", "toolUse", "start", "content", "cacheDetails"]

    def value(depth: int = 0) -> Any:
        kind = chance.randrange(9 if depth < 4 else 6)
        if kind < 6:
            return chance.choice([None, True, 5, -1, 1.5, "", "message_start", "content_block_delta", "text", 2**70])
        if kind == 6:
            return [value(depth + 1) for _ in range(chance.randrange(3))]
        return {chance.choice(words): value(depth + 1) for _ in range(chance.randrange(4))}

    for wire in FORMATS:
        for keep_content in (True, False):
            for _ in range(200):
                reader = wire.reader(keep_content)
                for _ in range(4):
                    for event in (chunk(value()), Event(chance.choice(words), json.dumps(value()).encode())):
                        try:
                            reader.feed_event(event)
                        except ValueError:
                            continue
                    assert isinstance(reader.result(), Response)


def test_what_cannot_be_decoded_is_passed_over_as_bad_json_is() -> None:
    for data in (b'{"bytes": "a"}', b'{"bytes": 5}', '{"bytes": "é"}'.encode(), b"{}"):
        with pytest.raises(ValueError):  # noqa: PT011  as above
            BEDROCK_INVOKE.reader(True).feed_event(Event("chunk", data))


PRICED_AT_NS: Final = 1_790_000_000_000_000_000


def test_the_price_of_a_global_profile_is_that_of_the_profile_called() -> None:
    asked, answered = "global.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5-20251001"

    for models in ((answered, asked), ("", answered, asked)):
        price = cost.price(cost.Call(providers.BEDROCK, models, Usage(1_000, 1_000), PRICED_AT_NS, HOST))

        assert isinstance(price, cost.Cost)
        assert price.entry == "aws/global.anthropic.claude-haiku-4-5-20251001-v1:0"


def test_the_price_of_a_profile_without_a_name_is_that_of_the_model_that_answered() -> None:
    profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"

    price = cost.price(
        cost.Call(providers.BEDROCK, ("claude-3-5-sonnet-20240620", profile), Usage(1_000, 1_000), PRICED_AT_NS, HOST)
    )

    assert isinstance(price, cost.Cost)
    assert price.entry == "aws/regional.anthropic.claude-3-5-sonnet-20240620-v1:0"
