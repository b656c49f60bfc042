"""How many pieces an export request is in, before anything is made of them.

A piece is whatever may come any number of times: an attribute, an event, a link, a value of an array or a map, an
exemplar. The smallest take two bytes of a body and a hundred of memory, so that 64 MiB of them, which gzip packs into
64 KiB, would be 5 GB. Bodies too small for `MAX_ELEMENTS` are not looked at. Of others only as much is read as it takes
to know: what the texts take cannot be pieces, and mostly that is enough.

https://protobuf.dev/programming-guides/encoding/ describes the framing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tokentrail.backend.receiver.counts import count_items, read_varint
from tokentrail.backend.receiver.decoded import DecodeError, TooManyElementsError
from tokentrail.backend.signals import Signal

MAX_ELEMENTS: Final = 4_000_000
"""About 0.6 GB. 64 MiB of spans with 25 attributes of 16 bytes have as many."""
_LEAST_BYTES: Final = 2
"""Of a piece in protobuf; in JSON with what is between two."""
_WORTHWHILE_BYTES: Final = 64
"""Smaller messages are not opened in the first place: it takes longer than it tells."""

_REQUESTS: Final = {
    Signal.TRACES: ExportTraceServiceRequest.DESCRIPTOR,
    Signal.LOGS: ExportLogsServiceRequest.DESCRIPTOR,
    Signal.METRICS: ExportMetricsServiceRequest.DESCRIPTOR,
}
_TEXT: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TEXTS: Final = re.compile(_TEXT, re.DOTALL)
_SOME_TEXTS: Final = re.compile(rb'(?:[^"]*+' + _TEXT + rb"){1,10000}+", re.DOTALL)
"""With what is between them. Not all at once: what is left of a body of millions would be as many objects."""
_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)
_PACKED_NUMBERS: Final = frozenset(
    {
        *(FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT32),
        *(FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_SINT64, FieldDescriptor.TYPE_SINT32),
        *(FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_ENUM),
    }
)
"""Numbers of which several may be in as many bytes."""


@dataclass(slots=True)
class _Kind:
    """A message: which of its fields are messages, and which may come any number of times."""

    messages: dict[int, "_Kind"] = field(default_factory=dict)
    repeated: frozenset[int] = frozenset()
    packed: frozenset[int] = frozenset()


def require_few_elements(body: bytes, signal: Signal, most: int = MAX_ELEMENTS) -> None:
    """Raise `TooManyElementsError` when the protobuf `body` is in more than `most` pieces.

    Raises `DecodeError` for one that is too large not to be looked at, and malformed.
    """
    if len(body) // _LEAST_BYTES <= most:
        return
    try:
        few = _are_few(body, signal, most, _WORTHWHILE_BYTES)
        if few is None:  # then what many small messages hold matters
            few = _are_few(body, signal, most, 0)
    except IndexError:
        raise DecodeError(
            f"the body ({len(body)} bytes) is not a protobuf {_REQUESTS[signal].name}: it is truncated or corrupted"
        ) from None
    if not few:
        raise TooManyElementsError(signal, count_items(body, signal), most)


def require_few_json_elements(body: bytes, signal: Signal, most: int = MAX_ELEMENTS) -> None:
    """The same for a JSON body, whose pieces are its objects and arrays, and what they hold; it is not parsed."""
    if len(body) // _LEAST_BYTES <= most or _thirds(body) <= most * 3:
        return
    counted, at = 0, 0
    while counted <= most * 3 and (some := _SOME_TEXTS.match(body, at)):
        counted += _thirds(_TEXTS.sub(b"", some[0]))
        at = some.end()
    if counted + _thirds(body[at:]) > most * 3:
        raise TooManyElementsError(signal, 0, most)


def _thirds(body: bytes) -> int:
    """Objects and arrays, of which each is as large as three numbers or members of an object."""
    return 3 * (body.count(b"{") + body.count(b"[")) + body.count(b",")


def _are_few(body: bytes, signal: Signal, most: int, worthwhile: int) -> bool | None:
    """Whether there are at most `most`; `None` where messages that are not `worthwhile` might be in more.

    Raises `IndexError` for what is malformed.
    """
    counted, unknown = 0, len(body)
    """Pieces seen, and bytes of which it is not known what they hold."""
    opened: list[tuple[int, int, _Kind]] = [(0, len(body), _kind(signal))]
    while opened:
        at, end, kind = opened.pop()
        messages, repeated, packed = kind.messages, kind.repeated, kind.packed
        while at < end:
            if counted > most:
                return False
            if counted + unknown // _LEAST_BYTES <= most:
                return True
            start = at
            key = body[at]
            key, at = (key, at + 1) if key < 128 else read_varint(body, at)
            number = key >> 3
            if key & 7 != _LENGTH:
                at = _after(body, at, key & 7)
                unknown -= at - start
                counted += number in repeated
                continue
            size = body[at]
            size, at = (size, at + 1) if size < 128 else read_varint(body, at)
            if at + size > end:
                raise IndexError
            if number in messages:
                counted += 1
                if size >= worthwhile:
                    unknown -= at - start
                    opened.append((at + size, end, kind))
                    opened.append((at, at + size, messages[number]))
                    break
            elif number not in packed:
                counted += number in repeated
                unknown -= at + size - start
            at += size
    return None if worthwhile else counted + unknown // _LEAST_BYTES <= most


def _after(body: bytes, at: int, wire: int) -> int:
    """Where a field ends that is no bytes."""
    if wire == _VARINT:
        return read_varint(body, at)[1]
    if wire == _FIXED64:
        return at + 8
    if wire == _FIXED32:
        return at + 4
    if wire in (_GROUP, _END_GROUP):
        return at
    raise IndexError


@cache
def _kind(signal: Signal) -> _Kind:
    return _read_kind(_REQUESTS[signal], {})


def _read_kind(message: Descriptor, known: dict[str, _Kind]) -> _Kind:
    """What is to be known of `message`; values hold values, so that it may be within itself."""
    if (found := known.get(message.full_name)) is not None:
        return found
    kind = known[message.full_name] = _Kind()
    fields: Mapping[int, FieldDescriptor] = message.fields_by_number
    kind.repeated = frozenset(number for number, each in fields.items() if each.is_repeated)
    kind.packed = frozenset(number for number in kind.repeated if fields[number].type in _PACKED_NUMBERS)
    for number, each in fields.items():
        if each.message_type is not None:
            kind.messages[number] = _read_kind(each.message_type, known)
    return kind
