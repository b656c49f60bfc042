"""One way to turn the body of an export request into spans, whatever its encoding. Pure: bytes in, values out."""

from enum import StrEnum

from tokentrail.backend.receiver.decode_json import decode_json
from tokentrail.backend.receiver.decode_protobuf import decode_protobuf
from tokentrail.backend.receiver.decoded import Decoded


class Encoding(StrEnum):
    """The encodings of OTLP, by their content types."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


def decode(body: bytes, encoding: Encoding) -> Decoded:
    """The spans of `body`. Raises `decoded.DecodeError` with words for the sender."""
    return decode_json(body) if encoding is Encoding.JSON else decode_protobuf(body)
