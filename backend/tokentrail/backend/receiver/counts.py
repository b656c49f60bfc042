"""How many spans, log records or points an export request holds, before anything is made of them.

    ExportTraceServiceRequest    1 resource_spans[]   2 scope_spans[]    2 spans[]
    ExportLogsServiceRequest     1 resource_logs[]    2 scope_logs[]     2 log_records[]
    ExportMetricsServiceRequest  1 resource_metrics[] 2 scope_metrics[]  2 metrics[]  5|7|9|10|11  1 data_points[]

A body of 64 MiB has room for millions of spans that hold nothing but ids; each would take half a kilobyte and tens of
microseconds. So they are counted first: in protobuf by the framing of the messages around them (0.2 us each), in JSON
in the parsed document. A message around nothing counts as one: it costs as much.

https://protobuf.dev/programming-guides/encoding/ describes the framing.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from tokentrail.backend.receiver.decoded import TooManyItemsError
from tokentrail.backend.receiver.json_fields import Object
from tokentrail.backend.signals import Signal

_MAX_COUNTED: Final = 4_000_000
"""More are not told apart: no 64 MiB have room for more that could be stored, with an id of 16 and one of 8 bytes."""
_LEAST_BYTES: Final = 2
"""Of an item, in either encoding."""

_FIELDS: Final[Mapping[Signal, tuple[frozenset[int], ...]]] = {
    Signal.TRACES: (frozenset({1}), frozenset({2}), frozenset({2})),
    Signal.LOGS: (frozenset({1}), frozenset({2}), frozenset({2})),
    Signal.METRICS: (frozenset({1}), frozenset({2}), frozenset({2}), frozenset({5, 7, 9, 10, 11}), frozenset({1})),
}
"""The way to the items by field numbers (opentelemetry-proto 1.10), of which each step may take several."""
_NAMES: Final[Mapping[Signal, tuple[tuple[str, ...], ...]]] = {
    Signal.TRACES: (("resourceSpans", "resource_spans"), ("scopeSpans", "scope_spans"), ("spans",)),
    Signal.LOGS: (("resourceLogs", "resource_logs"), ("scopeLogs", "scope_logs"), ("logRecords", "log_records")),
    Signal.METRICS: (
        ("resourceMetrics", "resource_metrics"),
        ("scopeMetrics", "scope_metrics"),
        ("metrics",),
        ("gauge", "sum", "histogram", "exponentialHistogram", "exponential_histogram", "summary"),
        ("dataPoints", "data_points"),
    ),
}
"""The same in JSON, in either spelling."""

_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)
_MAX_VARINT_BITS: Final = 70


class _MalformedError(IndexError):
    """The parser will say what is wrong."""


def require_few(body: bytes, signal: Signal, most: int | None) -> None:
    """Raise `TooManyItemsError` when the protobuf `body` holds more than `most` items; `None` is any number.

    A body that is malformed passes as far as it is not: its parser refuses it.
    """
    if most is None or len(body) < most * _LEAST_BYTES:
        return
    counted = _count(body, 0, len(body), _FIELDS[signal], max(_MAX_COUNTED, most + 1))
    if counted > most:
        raise TooManyItemsError(signal, counted, most)


def count_items(body: bytes, signal: Signal) -> int:
    """How many items the protobuf `body` holds, as far as it is not malformed; at most `_MAX_COUNTED`."""
    return _count(body, 0, len(body), _FIELDS[signal], _MAX_COUNTED)


def require_few_objects(document: Object, signal: Signal, most: int | None) -> None:
    """The same for the `document` that a JSON body is."""
    if most is not None and (counted := _count_objects(document, _NAMES[signal])) > most:
        raise TooManyItemsError(signal, counted, most)


def _count(body: bytes, start: int, end: int, way: tuple[frozenset[int], ...], enough: int) -> int:
    counted = 0
    try:
        for message_start, message_end in _messages(body, start, end, way[0]):
            counted += (_count(body, message_start, message_end, way[1:], enough) or 1) if way[1:] else 1
            if counted >= enough:
                break
    except IndexError:
        pass
    return counted


def _messages(body: bytes, start: int, end: int, numbers: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Where the messages in fields of these numbers begin and end. Raises `IndexError`."""
    at, groups = start, 0
    while at < end:
        key, at = read_varint(body, at)
        kind = key & 7
        if kind == _LENGTH:
            size, at = read_varint(body, at)
            if at + size > end:
                raise _MalformedError
            if not groups and key >> 3 in numbers:
                yield at, at + size
            at += size
        elif kind == _VARINT:
            _, at = read_varint(body, at)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        elif kind == _GROUP or (kind == _END_GROUP and groups):
            groups += 1 if kind == _GROUP else -1
        else:
            raise _MalformedError


def read_varint(body: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it has ended. Raises `IndexError` past the end of `body`."""
    byte = body[at]
    if byte < 128:  # the bit that says that more follow
        return byte, at + 1
    number, bits = 0, 0
    while byte >= 128:
        number |= (byte & 127) << bits
        bits += 7
        at += 1
        byte = body[at]
        if bits >= _MAX_VARINT_BITS:
            raise _MalformedError
    return number | byte << bits, at + 1


def _count_objects(parent: Object, way: tuple[tuple[str, ...], ...]) -> int:
    counted = 0
    for name in way[0]:
        found = parent.get(name)
        children = found if isinstance(found, list) else [found] if isinstance(found, dict) else []
        if not way[1:]:
            counted += len(children)
        else:
            counted += sum(_count_objects(child, way[1:]) or 1 for child in children if isinstance(child, dict))
    return counted
