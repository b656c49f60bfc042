"""OTLP protobuf bodies, the quick way: attributes are taken as bytes, most of which have been seen before.

    KeyValue    0A length key  12 length AnyValue
    AnyValue    0A length text | 10 bool | 18 varint | 21 eight bytes | arrays and maps

The schema is OTLP's, but that attributes are opaque (`repeated bytes`). Whole attributes come again and again (an
operation, a model, a host): they are looked up by their bytes. What is unusual in any way, malformed above all, is left
to `decode_protobuf`, which reads the same and is the measure of this module: they must agree on every body.
"""

import struct
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError as ProtobufError
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from tokentrail.backend.attribute_text import PackedAttributes, packed, text
from tokentrail.backend.receiver.decode_protobuf import decode_protobuf
from tokentrail.backend.receiver.decoded import (
    MAX_TIME_NS,
    Decoded,
    bounded_time,
    forget_values_too_deep,
    values_too_deep,
)
from tokentrail.backend.receiver.protobuf_fields import value_of
from tokentrail.backend.span import Attributes, Event, Link, Span, Value

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_REQUEST: Final = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_NO_TRACE: Final = bytes(_TRACE_ID_BYTES)
_NO_SPAN: Final = bytes(_SPAN_ID_BYTES)
_NO_ATTRIBUTES: Final[Attributes] = {}

_READ: Final = ("Resource", "Span", "Event", "Link")
"""Messages whose attributes are read, so that what is malformed in them is found without the parser."""

_MAX_KNOWN_BYTES: Final = 64
"""Longer attributes are content, or ids: hardly any comes twice. What fits is too short to be nested too
deeply, so that none that is remembered goes uncounted."""
_MAX_KNOWN: Final = 16_384
"""Attributes that are remembered, about 8 MB; then all are forgotten, and what is frequent is soon back."""

_Pair = tuple[str, Value, bytes, bytes]
"""Key and value of an attribute, and both packed (`attribute_text.pack`)."""

_double: Final = struct.Struct("<d")


class _Unusual(Exception):  # noqa: N818  # no error
    """What is not written as everybody writes it, or to be rejected."""


class _Known(dict[bytes, _Pair]):
    """Attributes by their bytes. Safe from any thread."""

    def __missing__(self, raw: bytes) -> _Pair:
        pair = _pair(raw)
        if len(raw) <= _MAX_KNOWN_BYTES:
            if len(self) >= _MAX_KNOWN:
                self.clear()
            self[raw] = pair
        return pair


_pair_of: Final = _Known().__getitem__


def decode_packed(body: bytes) -> Decoded:
    """As `decode_protobuf`: the spans of a protobuf body. Raises `DecodeError` when it is not an export request.

    Attributes of spans and resources are `PackedAttributes`.
    """
    before = values_too_deep()
    try:
        return Decoded(_decoded(_request_class().FromString(body)), {})
    except (ProtobufError, _Unusual, UnicodeDecodeError, IndexError):
        forget_values_too_deep(before)  # they come again
        return decode_protobuf(body)


def _decoded(request: Any) -> list[Span]:
    spans: list[Span] = []
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope
            name, version = scope.name, scope.version
            for span in scope_spans.spans:
                trace_id, span_id = span.trace_id, span.span_id
                if len(trace_id) != _TRACE_ID_BYTES or trace_id == _NO_TRACE:
                    raise _Unusual
                if len(span_id) != _SPAN_ID_BYTES or span_id == _NO_SPAN:
                    raise _Unusual
                spans.append(_span(span, trace_id.hex(), span_id.hex(), resource, name, version))
    return spans


def _span(span: Any, trace_id: str, span_id: str, resource: Attributes, scope: str, version: str) -> Span:
    parent, start_ns, end_ns = span.parent_span_id, span.start_time_unix_nano, span.end_time_unix_nano
    code, message = 0, ""
    if span.HasField("status"):
        code, message = span.status.code, span.status.message
    events, links = span.events, span.links
    return Span(
        trace_id,
        span_id,
        parent.hex() if len(parent) == _SPAN_ID_BYTES and parent != _NO_SPAN else "",
        span.trace_state,
        span.name,
        span.kind,
        min(start_ns, MAX_TIME_NS),
        min(end_ns, MAX_TIME_NS),
        code,
        message,
        _attributes(span.attributes),
        tuple(map(_event, events)) if events else (),
        tuple(map(_link, links)) if links else (),
        resource,
        scope,
        version,
    )


def _event(event: Any) -> Event:
    return Event(bounded_time(event.time_unix_nano), event.name, _attributes(event.attributes))


def _link(link: Any) -> Link:
    return Link(link.trace_id.hex(), link.span_id.hex(), link.trace_state, _attributes(link.attributes))


def _attributes(raws: Iterable[bytes]) -> Attributes:
    pairs = list(map(_pair_of, raws))
    if not pairs:
        return _NO_ATTRIBUTES
    keys, values, keys_packed, values_packed = zip(*pairs, strict=True)
    attributes = PackedAttributes(zip(keys, values, strict=True))
    if len(attributes) != len(keys):
        return dict(attributes)  # a key that comes twice: the last counts
    attributes.keys_packed, attributes.values_packed = b"".join(keys_packed), b"".join(values_packed)
    return attributes


def _pair(raw: bytes) -> _Pair:
    """An attribute. Raises `_Unusual`, `IndexError`, `UnicodeDecodeError` or `ProtobufError` for one to look at."""
    if raw[0] != 0x0A or raw[1] > 0x7F:
        raise _Unusual
    end = raw[1] + 2
    if raw[end] != 0x12:
        raise _Unusual
    length, start = _varint(raw, end + 1)
    if start + length != len(raw):
        raise _Unusual
    key = raw[2:end].decode()
    if length and raw[start] == 0x0A:
        size, begin = _varint(raw, start + 1)
        if begin + size != len(raw):
            raise _Unusual
        return key, raw[begin:].decode(), raw[1:end], raw[start + 1 :]
    value = _value(raw, start, length)
    return key, value, raw[1:end], packed(text(value))


def _value(raw: bytes, start: int, length: int) -> Value:
    """The value at `start`, which is no text."""
    tag = raw[start] if length else 0
    if tag == 0x10 and length == 2 and raw[start + 1] < 2:
        return raw[start + 1] == 1
    if tag == 0x18:
        number, end = _varint(raw, start + 1)
        if end == len(raw):
            return number
    if tag == 0x21 and length == 9:
        double: float = _double.unpack_from(raw, start + 1)[0]
        return double
    return value_of(common_pb2.AnyValue.FromString(raw[start:]))


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """The varint of at most 63 bits at `at`, and where it ends."""
    byte = raw[at]
    if byte < 0x80:
        return byte, at + 1
    number, shift = byte & 0x7F, 7
    while shift < 63:
        at += 1
        byte = raw[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at + 1
        shift += 7
    raise _Unusual


@cache
def _request_class() -> Any:
    """OTLP's request with opaque attributes. Fields that are not read are unknown to it, and skipped."""
    pool = descriptor_pool.DescriptorPool()
    for module in (common_pb2, resource_pb2, trace_pb2, trace_service_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            _make_opaque(message)
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(_REQUEST))


def _make_opaque(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        if field.name == "attributes" and message.name in _READ:
            field.type = _FIELD.TYPE_BYTES
            field.ClearField("type_name")
    for nested in message.nested_type:
        _make_opaque(nested)
