"""Decoding: both encodings give the same spans, and only a broken structure is an error."""

import base64
import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from support import otlp
from tokentrail.backend.receiver.decode import Encoding, decode
from tokentrail.backend.receiver.decoded import MAX_VALUE_DEPTH, TOO_DEEP, DecodeError
from tokentrail.backend.span import Event, Link, Span

TRACE_ID, SPAN_ID, PARENT_ID = bytes(range(16)), bytes(range(1, 9)), bytes(range(2, 10))


def full_span() -> SpanMessage:
    return SpanMessage(
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        parent_span_id=PARENT_ID,
        trace_state="a=b",
        name="chat \U0001f600",
        kind=SpanMessage.SPAN_KIND_CLIENT,
        start_time_unix_nano=1_700_000_000_123_456_789,
        end_time_unix_nano=1_700_000_001_123_456_789,
        attributes=otlp.key_values(
            {
                "text": "é",
                "empty": "",
                "yes": True,
                "no": False,
                "int": -(2**63),
                "zero": 0,
                "double": 0.1,
                "bytes": b"\x00\xff",
                "list": ["a", 1, [True]],
                "map": AnyValue(kvlist_value=KeyValueList(values=otlp.key_values({"k": 1, "l": []}))),
                "unset": AnyValue(),
            }
        ),
        events=[SpanMessage.Event(time_unix_nano=5, name="e", attributes=otlp.key_values({"a": 1}))],
        links=[SpanMessage.Link(trace_id=TRACE_ID, span_id=PARENT_ID, trace_state="c=d")],
        status=Status(code=Status.STATUS_CODE_ERROR, message="broken"),
    )


def expected_span() -> Span:
    return Span(
        trace_id="000102030405060708090a0b0c0d0e0f",
        span_id="0102030405060708",
        parent_span_id="0203040506070809",
        trace_state="a=b",
        name="chat \U0001f600",
        kind=3,
        start_ns=1_700_000_000_123_456_789,
        end_ns=1_700_000_001_123_456_789,
        status_code=2,
        status_message="broken",
        attributes={
            "text": "é",
            "empty": "",
            "yes": True,
            "no": False,
            "int": -(2**63),
            "zero": 0,
            "double": 0.1,
            "bytes": b"\x00\xff",
            "list": ("a", 1, (True,)),
            "map": {"k": 1, "l": ()},
            "unset": None,
        },
        events=(Event(5, "e", {"a": 1}),),
        links=(Link("000102030405060708090a0b0c0d0e0f", "0203040506070809", "c=d", {}),),
        resource_attributes={"service.name": "shop", "deployment.environment.name": "test"},
        scope_name="tests",
        scope_version="1",
    )


def as_otlp_json(body: bytes) -> dict[str, Any]:
    """The body by protobuf's own JSON mapping, with ids as hex and enums as numbers, which is OTLP's."""
    message = otlp.request([])
    message.ParseFromString(body)
    document: dict[str, Any] = json_format.MessageToDict(message, use_integers_for_enums=True)

    def hex_ids(value: object) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key in ("traceId", "spanId", "parentSpanId") and isinstance(item, str):
                    value[key] = base64.b64decode(item).hex().upper()
                else:
                    hex_ids(item)
        elif isinstance(value, list):
            for item in value:
                hex_ids(item)

    hex_ids(document)
    return document


def decode_attributes(attributes: object) -> Any:
    span = {"traceId": "1" * 32, "spanId": "2" * 16, "attributes": attributes}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    return decode(body, Encoding.JSON).spans[0].attributes


def test_a_protobuf_span_keeps_every_field_and_type() -> None:
    decoded = decode(otlp.body(full_span()), Encoding.PROTOBUF)

    assert decoded.spans == [expected_span()]
    assert [type(value) for value in decoded.spans[0].attributes.values()] == [
        type(value) for value in expected_span().attributes.values()
    ]
    assert decoded.rejected == {}


def test_a_json_span_is_the_same_span() -> None:
    body = json.dumps(as_otlp_json(otlp.body(full_span()))).encode()

    assert decode(body, Encoding.JSON).spans == [expected_span()]


def test_snake_case_names_and_unknown_keys_are_read_in_json() -> None:
    span = {"trace_id": "1" * 32, "span_id": "2" * 16, "start_time_unix_nano": 7, "new_thing": {"a": [1]}}
    body = json.dumps({"resource_spans": [{"scope_spans": [{"spans": [span], "more": 1}]}], "else": None}).encode()

    decoded = decode(body, Encoding.JSON).spans

    assert [(each.trace_id, each.start_ns) for each in decoded] == [("1" * 32, 7)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"intValue": "12"}, 12),
        ({"intValue": 12}, 12),
        ({"intValue": 12.0}, 12),
        ({"intValue": {"low": -1, "high": 1}}, 2**33 - 1),
        ({"intValue": "9" * 30}, "9" * 30),
        ({"intValue": "1" * 20}, "1" * 20),
        ({"intValue": "twelve"}, "twelve"),
        ({"intValue": True}, "true"),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": "-Infinity"}, -math.inf),
        ({"doubleValue": "much"}, "much"),
        ({"boolValue": "true"}, True),
        ({"boolValue": 3}, "3"),
        ({"stringValue": 5}, "5"),
        ({"stringValue": {"a": 1}}, '{"a": 1}'),
        ({"bytesValue": "AP8="}, b"\x00\xff"),
        ({"bytesValue": "???"}, "???"),
        ({"arrayValue": {}}, ()),
        ({"arrayValue": 7}, "7"),
        ({"kvlistValue": {"values": [3, {"key": "k", "value": {"intValue": 1}}]}}, {"k": 1}),
        ({"unheardOf": 1}, '{"unheardOf": 1}'),
        ("bare", "bare"),
        (None, None),
        ({}, None),
    ],
)
def test_json_values_of_the_wrong_type_are_kept_as_text(value: object, expected: object) -> None:
    assert decode_attributes([{"key": "k", "value": value}]) == {"k": expected}


def test_nan_is_read_in_json() -> None:
    read = decode_attributes([{"key": "k", "value": {"doubleValue": "NaN"}}])["k"]

    assert isinstance(read, float)
    assert math.isnan(read)


def test_a_lone_surrogate_in_json_becomes_storable_text() -> None:
    text = decode_attributes([{"key": "k", "value": {"stringValue": "a\ud800b"}}])["k"]

    assert text == "a?b"
    assert text.encode()


@pytest.mark.parametrize("digits", [5000, 400])
def test_numbers_of_any_length_are_read_in_json(digits: int) -> None:
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%b","spanId":"%b","startTimeUnixNano":%b}]}]}]}'

    spans = decode(body % (b"1" * 32, b"2" * 16, b"9" * digits), Encoding.JSON).spans

    assert len(spans) == 1


@pytest.mark.parametrize("depth", [MAX_VALUE_DEPTH, MAX_VALUE_DEPTH + 1, 30, 40, 3000])
def test_nested_values_are_read_to_the_limit_and_marked_beyond(depth: int) -> None:
    value = AnyValue(string_value="deep").SerializeToString()
    for _ in range(depth):
        value = _array_of(value)
    span = otlp.span({"before": 1}).SerializeToString() + _field(9, _field(1, b"k") + _field(2, value))
    body = _field(1, _field(2, _field(2, span)))

    attributes = decode(body, Encoding.PROTOBUF).spans[0].attributes

    levels, innermost = 0, attributes["k"]
    while isinstance(innermost, tuple):
        levels, innermost = levels + 1, innermost[0]
    assert attributes["before"] == 1
    assert (levels, innermost) == (min(depth, MAX_VALUE_DEPTH), "deep" if depth <= MAX_VALUE_DEPTH else TOO_DEEP)


def _array_of(value: bytes) -> bytes:
    return _field(5, _field(1, value))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field, written by hand: the library cannot build what it refuses to parse."""
    length, head = len(content), bytearray([number << 3 | 2])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*head, length]) + content


def test_every_cut_of_a_body_is_an_error_or_a_shorter_request_and_never_anything_else() -> None:
    body = otlp.body(full_span(), full_span())

    outcomes = set()
    for end in range(len(body)):
        try:
            outcomes.add(len(decode(body[:end], Encoding.PROTOBUF).spans))
        except DecodeError:
            outcomes.add(-1)

    assert outcomes == {-1, 0}


def test_ids_that_cannot_be_are_rejected_one_by_one() -> None:
    good = otlp.span(parent_span_id=b"bad")
    body = otlp.body(otlp.span(trace_id=bytes(16)), good, otlp.span(span_id=b""))

    protobuf = decode(body, Encoding.PROTOBUF)
    from_json = decode(json.dumps(as_otlp_json(body)).encode(), Encoding.JSON)

    for decoded in (protobuf, from_json):
        assert [each.span_id for each in decoded.spans] == [good.span_id.hex()]
        assert decoded.spans[0].parent_span_id == "", "a parent that cannot be makes a root"
        assert decoded.rejected == {"invalid_trace_id": 1, "invalid_span_id": 1}
        assert decoded.received == 3


def test_base64_ids_are_rejected_in_json() -> None:
    span = {"traceId": base64.b64encode(TRACE_ID).decode(), "spanId": SPAN_ID.hex()}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()

    assert decode(body, Encoding.JSON).rejected == {"invalid_trace_id": 1}
