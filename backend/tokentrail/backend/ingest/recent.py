"""The spans of the last minutes as the store has them, for what decides by the trace (`aggregates`)."""

from collections.abc import Iterator, Mapping
from typing import Final

from tokentrail.backend.ingest.aggregates import MAX_SPANS
from tokentrail.backend.ingest.normalise import Read
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.backend.store._base import Key, Store, key_of

RECENT_S: Final = 900
"""Parents that end later than this after their children are rare."""

# Names in this package only; values come as parameters.
_SPANS: Final = f"""
SELECT Project AS project, TraceId AS trace_id, SpanId AS span_id, ParentSpanId AS parent_span_id FROM otel_traces
WHERE Timestamp > fromUnixTimestamp64Nano({{since:Int64}}) ORDER BY Timestamp DESC LIMIT {MAX_SPANS}
"""  # noqa: S608
_ROWS: Final = f"""
SELECT Project AS project, TraceId AS trace_id, SpanId AS span_id, Kind AS kind, ResponseId AS response_id,
    InputTokens AS input_tokens, OutputTokens AS output_tokens, CostUsd AS cost_usd
FROM llm_requests WHERE Timestamp > fromUnixTimestamp64Nano({{since:Int64}}) ORDER BY Timestamp DESC LIMIT {MAX_SPANS}
"""  # noqa: S608


def read_recent(store: Store, now_ns: int) -> list[Read]:
    """Spans that began within `RECENT_S` before `now_ns`, each with its row if it has one. Raises `StoreError`."""
    since = {"since": now_ns - RECENT_S * 1_000_000_000}
    rows = dict(_rows(store.query(_ROWS, since)))
    return [(span, rows.get(key_of(span))) for span in map(_span, store.query(_SPANS, since))]


def _rows(found: list[dict[str, object]]) -> Iterator[tuple[Key, Row]]:
    for each in found:
        row = Row(
            time_ns=0,
            parent_span_id="",
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
        **found,  # type: ignore[arg-type]  # as the columns are typed
    )
