"""From the body of an export request to values: bytes in, values out."""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import TypeAlias, TypeVar

from tokentrail.backend.receiver import limits
from tokentrail.backend.receiver.counts import require_few
from tokentrail.backend.receiver.decode_json import decode_json
from tokentrail.backend.receiver.decode_logs import decode_logs_json, decode_logs_protobuf
from tokentrail.backend.receiver.decode_metrics import decode_metrics_protobuf
from tokentrail.backend.receiver.decode_metrics_json import decode_metrics_json
from tokentrail.backend.receiver.decode_packed import decode_packed
from tokentrail.backend.receiver.decoded import Decoded, DecodedLogs, DecodedMetrics, values_too_deep
from tokentrail.backend.receiver.elements import require_few_elements, require_few_json_elements
from tokentrail.backend.signals import Signal


class Encoding(StrEnum):
    """The encodings of OTLP, by their content types."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


def decode(body: bytes, encoding: Encoding, most: int | None = None) -> Decoded:
    """The spans of `body`.

    Raises `decoded.DecodeError` and, for more than `most`, `TooManyItemsError`, with words for the sender.
    """
    return _read(body, encoding, most, Signal.TRACES, (decode_json, decode_packed, limits.bound_spans))


def decode_logs(body: bytes, encoding: Encoding, most: int | None = None) -> DecodedLogs:
    """The log records of `body`. Raises as `decode` does."""
    return _read(body, encoding, most, Signal.LOGS, (decode_logs_json, decode_logs_protobuf, limits.bound_logs))


def decode_metrics(body: bytes, encoding: Encoding, most: int | None = None) -> DecodedMetrics:
    """The points of metrics in `body`. Raises as `decode` does."""
    steps = decode_metrics_json, decode_metrics_protobuf, limits.bound_metrics
    return _read(body, encoding, most, Signal.METRICS, steps)


_Items = TypeVar("_Items", Decoded, DecodedLogs, DecodedMetrics)
_Steps: TypeAlias = tuple[
    Callable[[bytes, int | None], _Items], Callable[[bytes], _Items], Callable[[_Items, int], _Items]
]
"""Reads JSON, reads protobuf, and bounds what was read to the limits."""


def _read(body: bytes, encoding: Encoding, most: int | None, signal: Signal, steps: _Steps[_Items]) -> _Items:
    from_json, from_protobuf, bound = steps
    before = values_too_deep()
    if encoding is Encoding.JSON:
        if most is not None:
            require_few_json_elements(body, signal)
        read = from_json(body, most)
    else:
        if most is not None:
            require_few(body, signal, most)
            require_few_elements(body, signal)
        read = from_protobuf(body)
    read = bound(read, len(body))
    deep = values_too_deep() - before
    return replace(read, cut={**read.cut, limits.DEPTH: deep}) if deep else read
