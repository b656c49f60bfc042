"""OTLP protobuf bodies with spans.

    ExportTraceServiceRequest
      resource_spans[]   resource.attributes[]
        scope_spans[]    scope.name, scope.version
          spans[]        ids as bytes, times as fixed64, attributes[], events[], links[], status

https://github.com/open-telemetry/opentelemetry-proto (1.x); `protobuf_fields` says how their fields are read.
"""

from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1 import trace_pb2

from tokentrail.backend.receiver.decoded import INVALID_SPAN_ID, INVALID_TRACE_ID, Decoded, bounded_time
from tokentrail.backend.receiver.protobuf_fields import attributes, parse
from tokentrail.backend.span import Attributes, Event, Link, Span

_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8


def decode_protobuf(body: bytes) -> Decoded:
    """The spans of a protobuf body. Raises `DecodeError` when it is not an export request."""
    request = parse(body, ExportTraceServiceRequest)
    spans: list[Span] = []
    rejected: dict[str, int] = {}
    for resource_spans in request.resource_spans:
        resource = attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope
            for span in scope_spans.spans:
                if reason := _invalid_id(span):
                    rejected[reason] = rejected.get(reason, 0) + 1
                else:
                    spans.append(_span(span, resource, scope))
    return Decoded(spans, rejected)


def _invalid_id(span: trace_pb2.Span) -> str | None:
    if len(span.trace_id) != _TRACE_ID_BYTES or not any(span.trace_id):
        return INVALID_TRACE_ID
    if len(span.span_id) != _SPAN_ID_BYTES or not any(span.span_id):
        return INVALID_SPAN_ID
    return None


def _span(span: trace_pb2.Span, resource: Attributes, scope: InstrumentationScope) -> Span:
    parent = span.parent_span_id
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        # A parent that cannot exist makes a root, it does not cost the span.
        parent_span_id=parent.hex() if len(parent) == _SPAN_ID_BYTES and any(parent) else "",
        trace_state=span.trace_state,
        name=span.name,
        kind=span.kind,
        start_ns=bounded_time(span.start_time_unix_nano),
        end_ns=bounded_time(span.end_time_unix_nano),
        status_code=span.status.code,
        status_message=span.status.message,
        attributes=attributes(span.attributes),
        events=tuple(_event(event) for event in span.events),
        links=tuple(_link(link) for link in span.links),
        resource_attributes=resource,
        scope_name=scope.name,
        scope_version=scope.version,
    )


def _event(event: trace_pb2.Span.Event) -> Event:
    return Event(bounded_time(event.time_unix_nano), event.name, attributes(event.attributes))


def _link(link: trace_pb2.Span.Link) -> Link:
    return Link(link.trace_id.hex(), link.span_id.hex(), link.trace_state, attributes(link.attributes))
