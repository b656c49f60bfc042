"""The spans of the last minutes as the store has them, for what decides by the trace (`aggregates`).

Which calls are recent, the time says at which they were stored: it is this backend's own and never goes back
(`committer`), where the clock may have been set meanwhile and those of senders may be wrong. Spans that tell no call
have no such time: those are taken that began when the calls did.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tokentrail.backend.ingest.aggregates import MAX_SPANS
from tokentrail.backend.ingest.normalise import Read
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.backend.store._base import Key, Store, key_of

RECENT_S: Final = 900
"""Parents that end later than this after their children are rare."""
_WRONG: Final = 20
"""One in so many calls may have a time that is far from that of the others, without others being looked for there."""

# Names in this package only; values come as parameters.
_ROWS: Final = f"""
SELECT Project AS project, TraceId AS trace_id, SpanId AS span_id, ParentSpanId AS parent_span_id, Kind AS kind,
    ResponseId AS response_id, InputTokens AS input_tokens, OutputTokens AS output_tokens, CostUsd AS cost_usd,
    toUnixTimestamp64Nano(Timestamp) AS time_ns
FROM llm_requests
WHERE ReceivedAt > fromUnixTimestamp64Micro({{since:Int64}}) ORDER BY ReceivedAt DESC LIMIT {MAX_SPANS}
"""  # noqa: S608
_SPANS: Final = f"""
SELECT Project AS project, TraceId AS trace_id, SpanId AS span_id, ParentSpanId AS parent_span_id FROM otel_traces
WHERE Timestamp >= fromUnixTimestamp64Nano({{first:Int64}}) AND Timestamp <= fromUnixTimestamp64Nano({{last:Int64}})
ORDER BY Timestamp DESC LIMIT {MAX_SPANS}
"""  # noqa: S608
_NEWEST: Final = """
SELECT toUnixTimestamp64Nano(
    greatest((SELECT max(Timestamp) FROM otel_traces), (SELECT max(Timestamp) FROM llm_requests))
)
    AS newest_ns
"""


def newest_start_ns(store: Store) -> int | None:
    """When the newest of all stored spans began, 0 for none; `None` when the store does not say.

    Raises `StoreError`.
    """
    found = store.query(_NEWEST)
    return int(str(found[0]["newest_ns"])) if found else None


def read_recent(store: Store, last_ns: int) -> list[Read]:
    """Calls stored within `RECENT_S` before `last_ns`, when the last was, and spans that began about when they did.

    Each with its row if it has one. Raises `StoreError`.
    """
    found = store.query(_ROWS, {"since": max(last_ns // 1000 - RECENT_S * 1_000_000, 0)})
    rows = dict(_rows(found))
    if not rows:
        return []
    spans = {key_of(span): span for span in map(_span, store.query(_SPANS, _around(list(rows.values()))))}
    alone = (_span(each) for each in found)  # a span of a wrong time, or of an event
    spans |= {key_of(span): span for span in alone if key_of(span) not in spans}
    return [(span, rows.get(key)) for key, span in spans.items()]


def _around(rows: Sequence[Row]) -> Mapping[str, int]:
    """From when on and until when the spans of the traces of `rows` began; without those whose time is wrong."""
    times = sorted(row.time_ns for row in rows)
    few = len(times) // _WRONG
    span_ns = RECENT_S * 1_000_000_000
    return {"first": max(times[few] - span_ns, 0), "last": min(times[-1 - few] + span_ns, 2**63 - 1)}


def _rows(found: list[dict[str, object]]) -> Iterator[tuple[Key, Row]]:
    for each in found:
        row = Row(
            service="",
            environment="",
            operation="",
            provider="",
            request_model="",
            response_model="",
            server_address="",
            duration_ns=0,
            **each,  # type: ignore[arg-type]  # as the columns are typed
        )
        yield key_of(row), row


def _span(found: Mapping[str, object]) -> Span:
    return Span(
        trace_state="",
        name="",
        kind=0,
        start_ns=0,
        end_ns=0,
        status_code=0,
        status_message="",
        attributes={},
        events=(),
        links=(),
        resource_attributes={},
        scope_name="",
        scope_version="",
        project=str(found["project"]),
        trace_id=str(found["trace_id"]),
        span_id=str(found["span_id"]),
        parent_span_id=str(found["parent_span_id"]),
    )
