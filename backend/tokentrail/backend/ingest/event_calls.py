"""Model calls that log records tell: events of coding agents, and the conventions' event with a call's details. Pure.

    claude_code.api_request, api_error      the context is that of the span above the call, where there is one at all
    codex.sse_event                         response.completed; no context
    gemini_cli.api_response, api_error      mostly no context
    gen_ai.client.inference.operation.details    the context is the call's own span

Most often a span tells the same call: `waiting_calls` decides which of them counts.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

from tokentrail.backend.attribute_text import text_map
from tokentrail.backend.dialects import coerce
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.ingest.normalise import describe
from tokentrail.backend.log import LogRecord
from tokentrail.backend.row import EVENT, Row
from tokentrail.backend.signals import Origin
from tokentrail.backend.span import Span, StatusCode, Value
from tokentrail.semconv import genai

AGENT_SCOPES: Final = ("com.anthropic.claude_code", "codex_", "codex-", "gemini-cli")
"""What the instrumentation scopes of coding agents begin with, of their spans as of their events."""
EVENT_NAME: Final = "event.name"
"""Where the name of an event was before log records had a field for it, and where coding agents still write it."""

_CONTENT: Final = ("input_messages", "output_messages", "system", "tools")
_SPAN_ID_BYTES: Final = 8
_DURATIONS: Final = ("duration_ms",)


@dataclass(frozen=True, slots=True)
class EventCall:
    """A call that an event tells."""

    row: Row
    """Without a span of its own it has an id made from what the event says: the same each time it is read."""
    is_agent: bool
    """A coding agent told it: its events and spans have sessions in common, and no ids."""


def read_event_calls(records: Iterable[LogRecord]) -> list[EventCall]:
    """The calls that `records` tell, in their order."""
    return [call for record in records if (call := _read(record)) is not None]


def _read(record: LogRecord) -> EventCall | None:
    is_agent = record.origin.scope_name.startswith(AGENT_SCOPES)
    if not is_agent and event_name(record) != genai.INFERENCE_DETAILS_EVENT:
        return None
    ((_, row),) = describe([_as_span(record, is_agent)])
    if row is None or row.kind not in BILLABLE:
        return None
    if record.trace_id and record.span_id:
        # Content is joined to the row by its ids when it is asked for: it is stored once.
        row = replace(row, **dict.fromkeys(_CONTENT, ""))  # type: ignore[arg-type]  # names of texts
    return EventCall(replace(row, source=EVENT, project=record.project), is_agent)


def event_name(record: LogRecord) -> str:
    """The name of the event that `record` is, empty for one that is none."""
    return coerce.text(record.attributes, EVENT_NAME) or record.event_name


def _as_span(record: LogRecord, is_agent: bool) -> Span:
    """The record as a span, for the dialects to read."""
    duration_ms = coerce.number(record.attributes, *_DURATIONS) or 0.0
    start_ns = max(record.time_ns - int(max(duration_ms, 0.0) * 1e6), 0)
    has_own_span = bool(record.trace_id and record.span_id) and not is_agent
    name = event_name(record)
    return Span(
        trace_id=record.trace_id,
        span_id=record.span_id if has_own_span else identity(record),
        parent_span_id="" if has_own_span else record.span_id,
        trace_state="",
        name=name,
        kind=0,
        start_ns=start_ns,
        end_ns=record.time_ns,
        status_code=StatusCode.UNSET,
        status_message="",
        attributes={**record.attributes, EVENT_NAME: name} if is_agent else record.attributes,
        events=(),
        links=(),
        resource_attributes=record.origin.resource_attributes,
        scope_name=record.origin.scope_name,
        scope_version=record.origin.scope_version,
    )


def identity(record: LogRecord) -> str:
    """An id in the form of a span's for an event that has none; of its values as they are stored."""
    told = [record.time_ns, record.event_name, sorted(text_map(record.attributes).items())]
    return blake2b(json.dumps(told).encode(), digest_size=_SPAN_ID_BYTES).hexdigest()


def stored_record(found: Mapping[str, object]) -> LogRecord:
    """A log record as `otel_logs` has it: its values are texts.

    `found` has the columns project, time_ns, trace_id, span_id, scope_name, event_name, attributes and resource.
    """
    origin = Origin(_texts(found["resource"]), "", str(found["scope_name"]), "", {}, 0, "")
    return LogRecord(
        origin=origin,
        time_ns=int(str(found["time_ns"])),
        trace_id=str(found["trace_id"]),
        span_id=str(found["span_id"]),
        flags=0,
        severity_number=0,
        severity_text="",
        body="",
        attributes=_texts(found["attributes"]),
        event_name=str(found["event_name"]),
        project=str(found["project"]),
    )


def _texts(found: object) -> Mapping[str, Value]:
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, Mapping) else {}
