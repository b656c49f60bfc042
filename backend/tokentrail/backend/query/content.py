"""Content that came as events of its own, beside the span: looked up when it is asked for, and nothing is rewritten.

    gen_ai.client.inference.operation.details    gen_ai.input.messages, ... as attributes
    gen_ai.<role>.message, gen_ai.choice         one message each, as body (conventions before v1.37)

Events carry the ids of the call's span. They may come before it, after it, or without it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects.content import MESSAGE_EVENTS, Content, read_content
from tokentrail.backend.query.filter import PROJECT
from tokentrail.backend.query.record import CONTENT
from tokentrail.backend.span import Event, Span, Value
from tokentrail.semconv import genai

Query = Callable[[str, Mapping[str, object]], Sequence[Mapping[str, object]]]
"""`Store.query`."""

MAX_EVENTS: Final = 200
"""Of one call: messages of a conversation that was sent whole each time."""
_CALLS: Final = 500
"""Calls that are looked up at once."""
_AROUND_NS: Final = 3600 * 10**9
"""How long before its call, or after it, an event may say that it was."""

_NAMES: Final = (genai.INFERENCE_DETAILS_EVENT, *MESSAGE_EVENTS)
_IDS: Final = ("project", "trace_id", "span_id")
# Names in this package only; values come as parameters.
_EVENTS: Final = f"""
SELECT {PROJECT} AS project, TraceId AS trace_id, SpanId AS span_id, toUnixTimestamp64Nano(Timestamp) AS at_ns,
    if(LogAttributes['event.name'] != '', LogAttributes['event.name'], EventName) AS name,
    Body AS body, LogAttributes AS attributes
FROM otel_logs
WHERE Timestamp >= fromUnixTimestamp64Nano({{first:Int64}}) AND Timestamp <= fromUnixTimestamp64Nano({{last:Int64}})
    AND has({{traces:Array(String)}}, TraceId) AND has({{spans:Array(String)}}, SpanId)
    AND has({{names:Array(String)}}, name)
ORDER BY at_ns
LIMIT {MAX_EVENTS} BY project, trace_id, span_id
"""  # noqa: S608

_Key = tuple[object, ...]


def with_content(rows: Sequence[Mapping[str, object]], query: Query) -> list[Mapping[str, object]]:
    """`rows` of `sql.requests` with content, in their order; those without any have that of their events.

    Raises what `query` raises.
    """
    bare = [row for row in rows if not any(row[name] for name in CONTENT) and row["trace_id"] and row["span_id"]]
    found: dict[_Key, Content] = {}
    for start in range(0, len(bare), _CALLS):
        found |= _look_up(bare[start : start + _CALLS], query)
    return [{**row, **_fields(found[key])} if (key := _key(row)) in found else row for row in rows]


def _look_up(rows: Sequence[Mapping[str, object]], query: Query) -> dict[_Key, Content]:
    starts = [int(str(row["time_ns"])) for row in rows]
    ends = [int(str(row["time_ns"])) + int(str(row["duration_ns"])) for row in rows]
    answer = query(
        _EVENTS,
        {
            "first": max(min(starts) - _AROUND_NS, 0),
            "last": min(max(ends) + _AROUND_NS, 2**63 - 1),
            "traces": sorted({str(row["trace_id"]) for row in rows}),
            "spans": sorted({str(row["span_id"]) for row in rows}),
            "names": _NAMES,
        },
    )
    events: dict[_Key, list[Event]] = {}
    for each in answer:
        events.setdefault(_key(each), []).append(_event(each))
    return {key: read_content(_span(events[key])) for key in map(_key, rows) if key in events}


def _event(found: Mapping[str, object]) -> Event:
    attributes = found["attributes"]
    told: dict[str, Value] = dict(attributes) if isinstance(attributes, Mapping) else {}
    if found["name"] != genai.INFERENCE_DETAILS_EVENT:
        told |= _message(str(found["body"]))
    return Event(int(str(found["at_ns"])), str(found["name"]), told)


def _message(body: str) -> dict[str, Value]:
    try:
        message = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        message = body
    return message if isinstance(message, dict) else {"content": body}


def _span(events: Iterable[Event]) -> Span:
    """The events as those of one span; what several of the details say is one."""
    ordered = sorted(events, key=lambda event: event.time_ns)
    details = [event for event in ordered if event.name == genai.INFERENCE_DETAILS_EVENT]
    said = {name: value for event in details for name, value in event.attributes.items() if value not in ("", "[]")}
    return Span(
        trace_id="",
        span_id="",
        parent_span_id="",
        trace_state="",
        name="",
        kind=0,
        start_ns=0,
        end_ns=0,
        status_code=0,
        status_message="",
        attributes={},
        events=(
            *([Event(0, genai.INFERENCE_DETAILS_EVENT, said)] if said else ()),
            *(event for event in ordered if event.name != genai.INFERENCE_DETAILS_EVENT),
        ),
        links=(),
        resource_attributes={},
        scope_name="",
        scope_version="",
    )


def _fields(content: Content) -> dict[str, str]:
    return {name: getattr(content, name) for name in CONTENT}


def _key(found: Mapping[str, object]) -> _Key:
    return tuple(found[name] for name in _IDS)
