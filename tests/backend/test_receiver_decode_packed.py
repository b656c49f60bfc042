"""The quick decoder reads every body as the plain one does, and packs what their values pack to."""

import base64
import json
import random
import struct
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Final

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from benchmarks.ingest.payloads import requests
from support import otlp
from tokentrail.backend.attribute_text import PackedAttributes, pack
from tokentrail.backend.ingest.normalise import normalise
from tokentrail.backend.receiver.decode import Encoding, decode
from tokentrail.backend.receiver.decode_packed import decode_packed
from tokentrail.backend.receiver.decode_protobuf import decode_protobuf
from tokentrail.backend.receiver.decoded import TOO_DEEP, Decoded, DecodeError
from tokentrail.backend.receiver.limits import DEPTH
from tokentrail.backend.store.rows import encode_rows, encode_spans

RECORDED: Final = sorted(
    path
    for path in (Path(__file__).parents[1] / "fixtures" / "dialects").rglob("*.json")
    if not path.name.endswith(".want.json") and '"resourceSpans"' in path.read_text(encoding="utf-8")
)
IDS: Final = ("traceId", "spanId", "parentSpanId")
REQUESTS = 300
KEYS = ("gen_ai.operation.name", "é", "", "k" * 127, "k" * 128, "k" * 300, "a", "b")
TEXTS = ("", "chat", "é\U0001f600", "x" * 127, "x" * 128, "x" * 20_000, "\x00")
INTS = (0, 1, -1, 127, 128, 300, 2**31, 2**62, 2**63 - 1, -(2**63))
DOUBLES = (0.0, -0.0, 0.1, 1.0, 1e21, 1e-7, float("nan"), float("inf"), float("-inf"))


def any_value(chance: random.Random, depth: int = 0) -> AnyValue:
    makers: list[Callable[[], AnyValue]] = [
        lambda: AnyValue(string_value=chance.choice(TEXTS)),
        lambda: AnyValue(bool_value=chance.random() < 0.5),
        lambda: AnyValue(int_value=chance.choice(INTS)),
        lambda: AnyValue(double_value=chance.choice(DOUBLES)),
        lambda: AnyValue(bytes_value=chance.randbytes(chance.randrange(5))),
        AnyValue,
    ]
    if depth < 20:
        makers += [
            lambda: AnyValue(array_value=ArrayValue(values=[any_value(chance, depth + 1) for _ in range(2)])),
            lambda: AnyValue(kvlist_value=KeyValueList(values=pairs(chance, depth + 1))),
        ]
    # Deep ones are rare by chance, and wanted: half the time what can be nested is.
    return chance.choice(makers[6:] if depth and len(makers) > 6 and chance.random() < 0.3 else makers)()


def pairs(chance: random.Random, depth: int = 0) -> list[KeyValue]:
    made = [KeyValue(key=chance.choice(KEYS), value=any_value(chance, depth)) for _ in range(chance.randrange(3))]
    return [*made, KeyValue(key="no value")] if chance.random() < 0.1 else made


def span_message(chance: random.Random) -> SpanMessage:
    return SpanMessage(
        trace_id=chance.choice([chance.randbytes(16), bytes(16), b"short", b""])
        if chance.random() < 0.2
        else b"t" * 16,
        span_id=chance.choice([bytes(8), b"s"]) if chance.random() < 0.1 else chance.randbytes(8),
        parent_span_id=chance.choice([b"", bytes(8), b"p" * 8, b"p"]),
        trace_state=chance.choice(["", "a=b"]),
        name=chance.choice(TEXTS),
        kind=chance.choice([0, 3, 99]),  # type: ignore[arg-type]  # kinds that are none, too
        start_time_unix_nano=chance.choice([0, 1, 2**63, 2**64 - 1]),
        end_time_unix_nano=chance.choice([0, 1_700_000_000_000_000_000, 2**64 - 1]),
        attributes=pairs(chance) + pairs(chance),
        events=[SpanMessage.Event(time_unix_nano=5, name="e", attributes=pairs(chance))] * chance.randrange(2),
        links=[SpanMessage.Link(trace_id=b"x", trace_state="c=d", attributes=pairs(chance))] * chance.randrange(2),
        status=chance.choice([None, Status(), Status(code=Status.STATUS_CODE_ERROR, message="é")]),
    )


def request(chance: random.Random) -> bytes:
    message = otlp.request([span_message(chance) for _ in range(chance.randrange(6))])
    resource = message.resource_spans.add()
    resource.resource.attributes.extend(pairs(chance))
    resource.scope_spans.add(spans=[span_message(chance)])
    return message.SerializeToString()


def outcome(decoder: Callable[[bytes], Decoded], body: bytes) -> str:
    """The spans, or the error; as text, in which no NaN differs from another."""
    try:
        return repr(decoder(body)).replace("PackedAttributes(", "(")
    except DecodeError as error:
        return f"refused: {error}"


@pytest.mark.parametrize("seed", range(4))
def test_any_request_is_read_alike(seed: int) -> None:
    chance = random.Random(seed)

    for _ in range(REQUESTS):
        body = request(chance)
        assert outcome(decode_packed, body) == outcome(decode_protobuf, body)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_request_is_read_or_refused_alike(seed: int) -> None:
    chance = random.Random(seed)
    refused = 0

    for _ in range(REQUESTS):
        body = bytearray(request(chance))
        for _ in range(chance.randrange(1, 4)):
            body[chance.randrange(len(body))] = chance.choice([0, 0x0A, 0x12, 0x80, 0xFF, chance.randrange(256)])
        damaged = bytes(body[: chance.randrange(len(body))] if chance.random() < 0.1 else body)
        expected = outcome(decode_protobuf, damaged)
        refused += expected.startswith("refused")
        assert outcome(decode_packed, damaged) == expected
    assert 0 < refused < REQUESTS


def recorded(path: Path) -> bytes:
    """A recorded request of OTLP's JSON as protobuf, by protobuf's own reader; ids are hex in the former."""

    def with_bytes(value: object) -> object:
        if isinstance(value, list):
            return [with_bytes(item) for item in value]
        if isinstance(value, dict):
            return {
                key: base64.b64encode(bytes.fromhex(item)).decode() if key in IDS else with_bytes(item)
                for key, item in value.items()
            }
        return value

    message = ExportTraceServiceRequest()
    ParseDict(with_bytes(json.loads(path.read_bytes())), message, ignore_unknown_fields=True)  # type: ignore[arg-type]  # a document
    return message.SerializeToString()


def test_every_recorded_request_gives_the_same_spans_rows_and_blocks() -> None:
    assert len(RECORDED) > 300

    for path in RECORDED:
        body = recorded(path)
        plain, quick = decode_protobuf(body), decode_packed(body)
        rows = normalise(plain.spans)
        assert quick == plain, path
        assert normalise(quick.spans) == rows, path
        assert encode_spans(quick.spans).data.pieces() == encode_spans(plain.spans).data.pieces(), path
        assert encode_rows(normalise(quick.spans), 5).data.pieces() == encode_rows(rows, 5).data.pieces(), path


def test_values_nested_too_deeply_are_counted_once_whoever_reads_them() -> None:
    deep = AnyValue(string_value="x")
    for _ in range(20):
        deep = AnyValue(array_value=ArrayValue(values=[deep]))
    usual = otlp.span({"deep": deep})
    unusual = otlp.span({"deep": deep}, span_id=b"short")

    quick = decode(otlp.body(usual, usual), Encoding.PROTOBUF)
    plain = decode(otlp.body(usual, unusual, usual), Encoding.PROTOBUF)

    assert TOO_DEEP in repr(quick.spans[0].attributes["deep"])
    assert (dict(quick.cut), dict(plain.cut), len(plain.spans)) == ({DEPTH: 2}, {DEPTH: 2}, 2)


UNUSUAL = {
    "value before key": b"\x12\x03\x0a\x01v\x0a\x01k",
    "two values": b"\x0a\x01k\x12\x03\x0a\x01v\x12\x02\x18\x05",
    "two members": b"\x0a\x01k\x12\x05\x0a\x01v\x18\x05",
    "an unknown field": b"\x0a\x01k\x12\x03\x0a\x01v\x18\x05",
    "a long length": b"\x0a\x81\x00k\x12\x83\x00\x0a\x01v",
    "a long text length": b"\x0a\x01k\x12\x04\x0a\x81\x00v",
    "a bool of two": b"\x0a\x01k\x12\x02\x10\x02",
    "a long bool": b"\x0a\x01k\x12\x03\x10\x81\x00",
    "a long int": b"\x0a\x01k\x12\x0b\x18" + b"\xff" * 9 + b"\x01",
    "bad UTF-8 in a value": b"\x0a\x01k\x12\x03\x0a\x01\xff",
    "bad UTF-8 in a key": b"\x0a\x01\xff\x12\x03\x0a\x01v",
    "half a double": b"\x0a\x01k\x12\x05\x21" + struct.pack("<f", 1),
    "no key": b"\x12\x03\x0a\x01v",
    "nothing": b"",
    "cut": b"\x0a",
}


@pytest.mark.parametrize("raw", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_an_attribute_that_is_written_in_another_way_is_read_alike(raw: bytes) -> None:
    message = SpanMessage(trace_id=b"t" * 16, span_id=b"s" * 8, name="n").SerializeToString()
    message += b"\x4a" + bytes((len(raw),)) + raw
    scope_spans = b"\x12" + bytes((len(message),)) + message
    resource_spans = b"\x12" + bytes((len(scope_spans),)) + scope_spans
    body = b"\x0a" + bytes((len(resource_spans),)) + resource_spans

    assert outcome(decode_packed, body) == outcome(decode_protobuf, body)


def test_what_is_packed_is_what_the_values_pack_to() -> None:
    chance = random.Random(5)
    packed = 0

    for body in (*(request(chance) for _ in range(REQUESTS)), *(each.body for each in islice(requests(2048, 64), 4))):
        for span in decode_packed(body).spans:
            for attributes in (span.attributes, span.resource_attributes):
                packed += isinstance(attributes, PackedAttributes)
                assert pack(attributes) == pack(dict(attributes))
    assert packed > REQUESTS


def test_a_key_that_comes_twice_is_stored_once() -> None:
    twice = [KeyValue(key="k", value=AnyValue(int_value=number)) for number in (1, 2)]

    message = otlp.span({})
    message.attributes.extend(twice)

    (doubled,) = decode_packed(otlp.body(message)).spans

    assert doubled.attributes == {"k": 2}
    assert pack(doubled.attributes) == (b"\x01k", b"\x012")
