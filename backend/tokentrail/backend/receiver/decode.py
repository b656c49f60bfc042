"""From the body of an export request to values: bytes in, values out."""

from enum import StrEnum

from tokentrail.backend.receiver import limits
from tokentrail.backend.receiver.counts import require_few
from tokentrail.backend.receiver.decode_json import decode_json
from tokentrail.backend.receiver.decode_logs import decode_logs_json, decode_logs_protobuf
from tokentrail.backend.receiver.decode_metrics import decode_metrics_protobuf
from tokentrail.backend.receiver.decode_metrics_json import decode_metrics_json
from tokentrail.backend.receiver.decode_packed import decode_packed
from tokentrail.backend.receiver.decoded import Decoded, DecodedLogs, DecodedMetrics, values_too_deep
from tokentrail.backend.signals import Signal


class Encoding(StrEnum):
    """The encodings of OTLP, by their content types."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


def decode(body: bytes, encoding: Encoding, most: int | None = None) -> Decoded:
    """The spans of `body`.

    Raises `decoded.DecodeError` and, for more than `most`, `TooManyItemsError`, with words for the sender.
    """
    before = values_too_deep()
    if encoding is Encoding.JSON:
        decoded = decode_json(body, most)
    else:
        require_few(body, Signal.TRACES, most)
        decoded = decode_packed(body)
    decoded = limits.bound_spans(decoded, len(body))
    deep = values_too_deep() - before
    return Decoded(decoded.spans, decoded.rejected, {**decoded.cut, limits.DEPTH: deep}) if deep else decoded


def decode_logs(body: bytes, encoding: Encoding, most: int | None = None) -> DecodedLogs:
    """The log records of `body`.

    Raises `decoded.DecodeError` and, for more than `most`, `TooManyItemsError`, with words for the sender.
    """
    before = values_too_deep()
    if encoding is Encoding.JSON:
        decoded = decode_logs_json(body, most)
    else:
        require_few(body, Signal.LOGS, most)
        decoded = decode_logs_protobuf(body)
    decoded = limits.bound_logs(decoded, len(body))
    deep = values_too_deep() - before
    return DecodedLogs(decoded.records, {**decoded.cut, limits.DEPTH: deep}) if deep else decoded


def decode_metrics(body: bytes, encoding: Encoding, most: int | None = None) -> DecodedMetrics:
    """The points of metrics in `body`.

    Raises `decoded.DecodeError` and, for more than `most`, `TooManyItemsError`, with words for the sender.
    """
    before = values_too_deep()
    if encoding is Encoding.JSON:
        decoded = decode_metrics_json(body, most)
    else:
        require_few(body, Signal.METRICS, most)
        decoded = decode_metrics_protobuf(body)
    decoded = limits.bound_metrics(decoded, len(body))
    deep = values_too_deep() - before
    return DecodedMetrics(decoded.points, decoded.rejected, {**decoded.cut, limits.DEPTH: deep}) if deep else decoded
