"""Fields that all OTLP protobuf bodies share: attributes and their values, and the body itself.

https://github.com/open-telemetry/opentelemetry-proto (1.x). Unknown fields are skipped, as protobuf does.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tokentrail.backend.receiver.decoded import MAX_VALUE_DEPTH, DecodeError, too_deep
from tokentrail.backend.receiver.repair import repair
from tokentrail.backend.span import Attributes, Value

_NO_ATTRIBUTES: Final[Attributes] = {}
_Request = TypeVar("_Request", bound=Message)


def parse(body: bytes, request: type[_Request]) -> _Request:
    """The request that a body is. Raises `DecodeError` when it is none, with words for the sender."""
    try:
        return request.FromString(body)
    except ProtobufError:
        pass
    try:
        return request.FromString(repair(body, request.DESCRIPTOR.full_name))
    except ProtobufError as error:
        hint = "; it looks like JSON, which needs content-type application/json" if body[:1] == b"{" else ""
        raise DecodeError(
            f"the body ({len(body)} bytes) is not a protobuf {request.DESCRIPTOR.name}: "
            f"it is truncated, corrupted or something else{hint}"
        ) from error


def id_of(raw: bytes, size: int) -> str:
    """An id of `size` bytes as hex, empty for what is none."""
    return raw.hex() if len(raw) == size and any(raw) else ""


def attributes(pairs: Iterable[KeyValue], depth: int = 0) -> Attributes:
    """Attributes, of which the last of several with the same key counts."""
    found = {pair.key: value_of(pair.value, depth) for pair in pairs}
    return found or _NO_ATTRIBUTES


def value_of(value: AnyValue, depth: int = 0) -> Value:
    """An AnyValue as Python has it; what lies too deep in it is replaced by a mark."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind is None:
        return None
    if kind == "array_value" or kind == "kvlist_value":
        return _nested(value, kind, depth)
    scalar: str | bool | int | float | bytes = getattr(value, kind)
    return scalar


def _nested(value: AnyValue, kind: str, depth: int) -> tuple[Value, ...] | Mapping[str, Value] | str:
    if depth >= MAX_VALUE_DEPTH:
        return too_deep()
    if kind == "array_value":
        return tuple(value_of(item, depth + 1) for item in value.array_value.values)
    return attributes(value.kvlist_value.values, depth + 1)
