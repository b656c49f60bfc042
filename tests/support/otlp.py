"""Export requests for tests, built with OTLP's own messages rather than with the product."""

import os
import time
from collections.abc import Iterable, Mapping

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

CHAT: Mapping[str, object] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 5,
}


def any_value(value: object) -> AnyValue:
    if isinstance(value, AnyValue):
        return value
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, list | tuple):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    assert isinstance(value, str), value
    return AnyValue(string_value=value)


def key_values(attributes: Mapping[str, object]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def span(attributes: Mapping[str, object] | None = None, **fields: object) -> Span:
    """A span that ended now, after a second, with random ids; `fields` override."""
    end_ns = time.time_ns()
    values: dict[str, object] = {
        "trace_id": os.urandom(16),
        "span_id": os.urandom(8),
        "name": "chat gpt-4o",
        "start_time_unix_nano": end_ns - 1_000_000_000,
        "end_time_unix_nano": end_ns,
        "attributes": key_values(CHAT if attributes is None else attributes),
        **fields,
    }
    return Span(**values)  # type: ignore[arg-type]  # names and values of the message's own fields


def request(spans: Iterable[Span], resource: Mapping[str, object] | None = None) -> ExportTraceServiceRequest:
    """An export request of one resource (service `shop`, environment `test` unless given) and one scope."""
    message = ExportTraceServiceRequest()
    resource_spans = message.resource_spans.add()
    named = {"service.name": "shop", "deployment.environment.name": "test"} if resource is None else resource
    resource_spans.resource.attributes.extend(key_values(named))
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name, scope_spans.scope.version = "tests", "1"
    scope_spans.spans.extend(spans)
    return message


def body(*spans: Span) -> bytes:
    """The protobuf body of a request with these spans, or with one chat call."""
    return request(spans or (span(),)).SerializeToString()
