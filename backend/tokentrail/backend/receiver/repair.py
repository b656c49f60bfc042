"""A second reading of protobuf bodies that the strict parser refuses for what an attribute holds.

The parser fails the whole message for one string with bad UTF-8 and for values nested deeper than its own recursion
limit. Both are faults of one attribute and must not cost the batch. So the body is read again with a schema that is the
same on the wire but lenient: strings are bytes, and nested values are opaque bytes that are opened level by level.
Whatever is still malformed then is malformed.
"""

from functools import cache
from typing import Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from tokentrail.backend.receiver.decoded import MAX_VALUE_DEPTH, too_deep

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_NESTED: Final = {"array_value": "ArrayValue", "kvlist_value": "KeyValueList"}
_COMMON: Final = "opentelemetry.proto.common.v1"
_NESTED_FIELDS: Final = frozenset(f"{_COMMON}.AnyValue.{name}" for name in _NESTED)
_FILES: Final = (
    *(common_pb2, resource_pb2, trace_pb2, trace_service_pb2),
    *(logs_pb2, logs_service_pb2, metrics_pb2, metrics_service_pb2),
)
"""Each after those that it imports."""


def repair(body: bytes, request_name: str) -> bytes:
    """`body`, a message `request_name`, with bad UTF-8 replaced by U+FFFD and values nested too deeply by a mark.

    Raises `google.protobuf.message.DecodeError` when the framing itself is broken.
    """
    request = _lenient_class(request_name).FromString(body)
    _repair_message(request, 0)
    return request.SerializeToString()


def _repair_message(message: Message, depth: int) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in value if field.is_repeated else (value,):
                _repair_message(child, depth)
        elif field.full_name in _lenient_schema()[1]:
            if field.is_repeated:
                value[:] = [_readable(item) for item in value]
            else:
                setattr(message, field.name, _readable(value))
        elif field.full_name in _NESTED_FIELDS:
            _repair_nested(message, field.name, value, depth)


def _repair_nested(any_value: Message, name: str, body: bytes, depth: int) -> None:
    if depth >= MAX_VALUE_DEPTH:
        any_value.ClearField(name)
        any_value.string_value = too_deep().encode()  # type: ignore[attr-defined]  # lenient class, built at run time
        return
    nested = _lenient_class(f"{_COMMON}.{_NESTED[name]}").FromString(body)
    _repair_message(nested, depth + 1)
    setattr(any_value, name, nested.SerializeToString())


def _readable(text: bytes) -> bytes:
    return text.decode("utf-8", "replace").encode()


@cache
def _lenient_class(name: str) -> type[Message]:
    return message_factory.GetMessageClass(_lenient_schema()[0].FindMessageTypeByName(name))


@cache
def _lenient_schema() -> tuple[descriptor_pool.DescriptorPool, frozenset[str]]:
    """The lenient schema and the full names of the fields that are text in the strict one."""
    pool = descriptor_pool.DescriptorPool()
    texts: set[str] = set()
    for module in _FILES:
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            _loosen(message, file.package, texts)
        pool.Add(file)
    return pool, frozenset(texts)


def _loosen(message: descriptor_pb2.DescriptorProto, scope: str, texts: set[str]) -> None:
    name = f"{scope}.{message.name}"
    for field in message.field:
        if field.type == _FIELD.TYPE_STRING:
            field.type = _FIELD.TYPE_BYTES
            texts.add(f"{name}.{field.name}")
        elif message.name == "AnyValue" and field.name in _NESTED:
            field.type = _FIELD.TYPE_BYTES
            field.ClearField("type_name")
    for nested in message.nested_type:
        _loosen(nested, name, texts)
