"""OTLP JSON bodies with spans.

    {"resourceSpans": [{"resource": {"attributes": [{"key": "k", "value": {"stringValue": "v"}}]},
      "scopeSpans": [{"scope": {"name": "n"}, "spans": [{"traceId": "<32 hex>", "spanId": "<16 hex>",
        "startTimeUnixNano": "1700000000000000000", "attributes": [...]}]}]}]}

`json_fields` says how their fields are read.
"""

from tokentrail.backend.receiver.counts import require_few_objects
from tokentrail.backend.receiver.decoded import INVALID_SPAN_ID, INVALID_TRACE_ID, Decoded, is_hex_id
from tokentrail.backend.receiver.json_fields import (
    Object,
    attributes,
    child,
    enumerated,
    get,
    objects,
    parse,
    text,
    time,
)
from tokentrail.backend.signals import Signal
from tokentrail.backend.span import Attributes, Event, Kind, Link, Span, StatusCode


def decode_json(body: bytes, most: int | None = None) -> Decoded:
    """The spans of a JSON body. Raises `DecodeError`, naming the place, when it is not an export request.

    Raises `TooManyItemsError` for more than `most`.
    """
    spans: list[Span] = []
    rejected: dict[str, int] = {}
    document = parse(body, "resourceSpans")
    require_few_objects(document, Signal.TRACES, most)
    for resource_spans, place in objects(document, "resourceSpans", ""):
        resource = attributes(child(resource_spans, "resource", place), f"{place}.resource")
        for scope_spans, scope_place in objects(resource_spans, "scopeSpans", place):
            scope = child(scope_spans, "scope", scope_place)
            for span, span_place in objects(scope_spans, "spans", scope_place):
                if reason := _invalid_id(span):
                    rejected[reason] = rejected.get(reason, 0) + 1
                else:
                    spans.append(_span(span, resource, scope, span_place))
    return Decoded(spans, rejected)


def _invalid_id(span: Object) -> str | None:
    if not is_hex_id(text(get(span, "traceId")).lower(), 32):
        return INVALID_TRACE_ID
    if not is_hex_id(text(get(span, "spanId")).lower(), 16):
        return INVALID_SPAN_ID
    return None


def _span(span: Object, resource: Attributes, scope: Object, place: str) -> Span:
    parent = text(get(span, "parentSpanId")).lower()
    status = child(span, "status", place)
    return Span(
        trace_id=text(get(span, "traceId")).lower(),
        span_id=text(get(span, "spanId")).lower(),
        parent_span_id=parent if is_hex_id(parent, 16) else "",
        trace_state=text(get(span, "traceState")),
        name=text(get(span, "name")),
        kind=enumerated(get(span, "kind"), Kind, "SPAN_KIND_"),
        start_ns=time(get(span, "startTimeUnixNano")),
        end_ns=time(get(span, "endTimeUnixNano")),
        status_code=enumerated(get(status, "code"), StatusCode, "STATUS_CODE_"),
        status_message=text(get(status, "message")),
        attributes=attributes(span, place),
        events=tuple(_event(event, at) for event, at in objects(span, "events", place)),
        links=tuple(_link(link, at) for link, at in objects(span, "links", place)),
        resource_attributes=resource,
        scope_name=text(get(scope, "name")),
        scope_version=text(get(scope, "version")),
    )


def _event(event: Object, place: str) -> Event:
    return Event(time(get(event, "timeUnixNano")), text(get(event, "name")), attributes(event, place))


def _link(link: Object, place: str) -> Link:
    return Link(
        text(get(link, "traceId")).lower(),
        text(get(link, "spanId")).lower(),
        text(get(link, "traceState")),
        attributes(link, place),
    )
