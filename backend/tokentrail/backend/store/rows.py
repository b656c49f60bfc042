"""What goes into the tables: spans into `otel_traces`, calls into `llm_requests`.

Values that a column cannot hold never fail a batch: they are brought into its range, or left out where a changed
number would be a lie.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import attrgetter
from typing import Final, TypeVar

from tokentrail.backend.access.caller import InProject
from tokentrail.backend.row import Row
from tokentrail.backend.span import Event, Kind, Link, Span, StatusCode
from tokentrail.backend.store import native
from tokentrail.backend.store.native import Column, Type, column
from tokentrail.semconv import cost, genai
from tokentrail.semconv.pricing.money import MAX_USD

_USD: Final = native.decimal(12)
_MAX_TIME_NS: Final = (2**32 - 1) * 10**9
"""End of ClickHouse's DateTime (2106), which keys and `otel_traces_trace_id_ts` are made of."""
_MAX_UINT64: Final = 2**64 - 1

_Record = TypeVar("_Record")
_Element = TypeVar("_Element")
_Sent = TypeVar("_Sent", bound=InProject)

_TEXTS: Final = native.array(native.STRING)
_TEXT_MAP: Final = native.mapping(native.STRING, native.STRING)
_TIMES: Final = native.array(native.NANOSECONDS)
_MAPS: Final = native.array(native.ATTRIBUTES)
_COUNT: Final = native.nullable(native.UINT64, 0)

_KINDS: Final[Mapping[int, str]] = {
    Kind.UNSPECIFIED: "Unspecified",
    Kind.INTERNAL: "Internal",
    Kind.SERVER: "Server",
    Kind.CLIENT: "Client",
    Kind.PRODUCER: "Producer",
    Kind.CONSUMER: "Consumer",
}
_STATUSES: Final[Mapping[int, str]] = {StatusCode.UNSET: "Unset", StatusCode.OK: "Ok", StatusCode.ERROR: "Error"}
"""Both spelled as the exporter spells them: Grafana's trace view compares the words."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one table, ready to be inserted."""

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    """Of the columns in `data`; the table may have others that hold the same."""
    data: native.Encoded
    """In ClickHouse's Native format."""


def encode_spans(spans: Sequence[Span]) -> Block:
    """`spans` for `otel_traces`."""
    return _block("otel_traces", SPAN_COLUMNS, spans)


def encode_rows(rows: Sequence[Row], received_ns: int = 0, instance: str = "") -> Block:
    """`rows` for `llm_requests`, stored at `received_ns` by the backend `instance`."""
    received: Column[Row] = native.constant("ReceivedAt", native.MICROSECONDS, received_ns // 1000)
    by: Column[Row] = native.constant("Instance", native.STRING, instance)
    return _block("llm_requests", (*ROW_COLUMNS, received, by), list(map(_storable, rows)))


def encode_contents(rows: Sequence[Row]) -> Block | None:
    """What people wrote in `rows`, for `llm_contents`; `None` where they wrote nothing."""
    written = [row for row in rows if row.input_messages or row.output_messages or row.system or row.tools]
    return _block("llm_contents", CONTENT_COLUMNS, written) if written else None


def encode_keys(items: Sequence[Span] | Sequence[Row]) -> Block:
    """The ids of spans or calls, to be looked for; no table has it."""
    keys: tuple[Column[Span | Row], ...] = (
        project_column(),
        column("TraceId", native.STRING, attrgetter("trace_id")),
        column("SpanId", native.STRING, attrgetter("span_id")),
    )
    return _block("", keys, items)


def encode_snapshot(instance: str, taken_ns: int, state: str) -> Block:
    """A row for `metric_snapshots`."""
    columns: tuple[Column[str], ...] = (
        column("Instance", native.STRING, lambda _: instance),
        column("TakenAt", native.MICROSECONDS, lambda _: taken_ns // 1000),
        column("State", native.STRING, lambda text: text),
    )
    return _block("metric_snapshots", columns, [state])


def project_column() -> Column[_Sent]:
    """For every table of what senders send: the project of anything that `put_into_project` was called for."""
    return column("Project", native.STRING, attrgetter("project"))


def _block(table: str, columns: Sequence[Column[_Record]], records: Sequence[_Record]) -> Block:
    names, types = tuple(each.name for each in columns), tuple(each.type_name for each in columns)
    return Block(table, names, types, native.encode_block(columns, records))


def _of_events(kind: Type[Sequence[_Element]], value: Callable[[Event], _Element]) -> Callable[[Sequence[Span]], bytes]:
    return lambda spans: kind.encode([[value(event) for event in span.events] if span.events else () for span in spans])


def _of_links(kind: Type[Sequence[_Element]], value: Callable[[Link], _Element]) -> Callable[[Sequence[Span]], bytes]:
    return lambda spans: kind.encode([[value(link) for link in span.links] if span.links else () for span in spans])


def _service_name(span: Span) -> str:
    name = span.resource_attributes.get(genai.SERVICE_NAME)
    return name if isinstance(name, str) else ""


def _time(nanoseconds: int) -> int:
    return min(max(nanoseconds, 0), _MAX_TIME_NS)


def _within(maximum: int, number: int | None) -> int | None:
    """`number`, or nothing where it is negative or too large: half a number would be a wrong one."""
    return number if number is not None and 0 <= number <= maximum else None


def _count(field: str) -> Column[Row]:
    return column(column_name(field), _COUNT, lambda row: _within(_MAX_UINT64, getattr(row, field)))


def _text(field: str) -> Column[Row]:
    return column(column_name(field), native.STRING, attrgetter(field))


def _fits(amount: Decimal) -> bool:
    return amount.is_finite() and abs(amount) < MAX_USD


def _is_storable(row: Row) -> bool:
    """False for a cost beyond the column, which is a fault of its sender."""
    return row.cost_usd is None or (_fits(row.cost_usd) and all(map(_fits, row.cost_components.values())))


def _storable(row: Row) -> Row:
    """`row`, or without its cost when no column holds that."""
    if _is_storable(row):
        return row
    return replace(row, cost_usd=None, cost_components={}, pricing_status=cost.Reason.INVALID_USAGE)


def _components(row: Row) -> Mapping[str, Decimal]:
    return {} if row.cost_usd is None else row.cost_components


def column_name(field: str) -> str:
    """The column that holds a field of `Row`."""
    return "Timestamp" if field == "time_ns" else "".join(word.capitalize() for word in field.split("_"))


SPAN_COLUMNS: Final[tuple[Column[Span], ...]] = (
    column("Timestamp", native.NANOSECONDS, lambda span: _time(span.start_ns)),
    column("TraceId", native.STRING, attrgetter("trace_id")),
    column("SpanId", native.STRING, attrgetter("span_id")),
    column("ParentSpanId", native.STRING, attrgetter("parent_span_id")),
    column("TraceState", native.STRING, attrgetter("trace_state")),
    column("SpanName", native.SHARED, attrgetter("name")),
    column("SpanKind", native.SHARED, lambda span: _KINDS.get(span.kind, "")),
    column("ServiceName", native.SHARED, _service_name),
    column("ResourceAttributes", native.ATTRIBUTES, attrgetter("resource_attributes")),
    column("ScopeName", native.SHARED, attrgetter("scope_name")),
    column("ScopeVersion", native.SHARED, attrgetter("scope_version")),
    column("SpanAttributes", native.ATTRIBUTES, attrgetter("attributes")),
    column("Duration", native.UINT64, lambda span: min(span.duration_ns, _MAX_UINT64)),
    column("StatusCode", native.SHARED, lambda span: _STATUSES.get(span.status_code, "")),
    column("StatusMessage", native.STRING, attrgetter("status_message")),
    Column("Events.Timestamp", "Array(DateTime64(9))", _of_events(_TIMES, lambda event: _time(event.time_ns))),
    Column("Events.Name", "Array(String)", _of_events(_TEXTS, lambda event: event.name)),
    Column("Events.Attributes", _MAPS.name, _of_events(_MAPS, lambda event: event.attributes)),
    Column("Links.TraceId", "Array(String)", _of_links(_TEXTS, lambda link: link.trace_id)),
    Column("Links.SpanId", "Array(String)", _of_links(_TEXTS, lambda link: link.span_id)),
    Column("Links.TraceState", "Array(String)", _of_links(_TEXTS, lambda link: link.trace_state)),
    Column("Links.Attributes", _MAPS.name, _of_links(_MAPS, lambda link: link.attributes)),
    project_column(),
)
"""Columns of `otel_traces` in the order of the table."""


ROW_COLUMNS: Final[tuple[Column[Row], ...]] = (
    column("Timestamp", native.NANOSECONDS, lambda row: _time(row.time_ns)),
    *map(_text, ("trace_id", "span_id", "parent_span_id", "service", "environment", "kind", "operation", "provider")),
    *map(_text, ("request_model", "response_model", "server_address")),
    column("DurationNs", native.UINT64, lambda row: min(max(row.duration_ns, 0), _MAX_UINT64)),
    *map(_text, ("response_id", "request_id", "conversation_id")),
    *map(_count, ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")),
    *map(_count, ("cache_write_1h_tokens", "audio_input_tokens", "audio_output_tokens", "audio_cache_read_tokens")),
    *map(_count, ("image_input_tokens", "image_output_tokens")),
    column("WebSearches", native.nullable(native.UINT32, 0), lambda row: _within(2**32 - 1, row.web_searches)),
    *map(_text, ("service_tier", "pricing_model")),
    column("CostUsd", native.nullable(_USD, Decimal()), attrgetter("cost_usd")),
    column("CostComponents", native.mapping(native.STRING, _USD), _components),
    _text("cost_source"),
    _text("pricing_status"),
    *map(_text, ("price_version", "price_entry", "pricing_tier")),
    column("PricingAssumptions", _TEXTS, attrgetter("pricing_assumptions")),
    column("Stream", native.BOOL, attrgetter("stream")),
    *map(_count, ("ttft_ns", "time_to_first_chunk_ns")),
    _text("stream_exit"),
    column("StatusCode", native.nullable(native.UINT16, 0), lambda row: _within(2**16 - 1, row.status_code)),
    *map(_text, ("error_type", "error_message")),
    column("RetryCount", native.nullable(native.UINT32, 0), lambda row: _within(2**32 - 1, row.retry_count)),
    column("FinishReasons", _TEXTS, attrgetter("finish_reasons")),
    *map(_text, ("user_id", "session_id", "session_name", "session_path")),
    column("Properties", _TEXT_MAP, attrgetter("properties")),
    column("Tags", _TEXTS, attrgetter("tags")),
    *map(_text, ("prompt_name", "prompt_version")),
    *map(_count, ("ratelimit_limit_requests", "ratelimit_remaining_requests")),
    *map(_count, ("ratelimit_limit_tokens", "ratelimit_remaining_tokens")),
    _text("source"),
    project_column(),
)
"""Columns of `llm_requests`, as they are filled from a row."""
CONTENT_COLUMNS: Final[tuple[Column[Row], ...]] = (
    column("Timestamp", native.NANOSECONDS, lambda row: _time(row.time_ns)),
    *map(_text, ("trace_id", "span_id", "input_messages", "output_messages", "system", "tools")),
    project_column(),
)
"""Columns of `llm_contents`."""
