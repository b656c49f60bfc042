"""What goes into the tables: spans into `otel_traces`, calls into `llm_requests`.

Values that a column cannot hold never fail a batch: they are brought into its range, or left out where a changed
number would be a lie.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from operator import attrgetter
from typing import Final, TypeVar

from tokentrail.backend.access.caller import InProject
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Event, Kind, Link, Span, StatusCode, Value
from tokentrail.backend.store import native
from tokentrail.backend.store.native import Column, column
from tokentrail.semconv import cost, genai
from tokentrail.semconv.pricing.money import MAX_USD

_USD: Final = native.decimal(12)
_SMALLEST_USD: Final = Decimal("1e-12")
_MAX_TIME_NS: Final = (2**32 - 1) * 10**9
"""End of ClickHouse's DateTime (2106), which keys and `otel_traces_trace_id_ts` are made of."""
_MAX_UINT64: Final = 2**64 - 1

_Record = TypeVar("_Record")
_Element = TypeVar("_Element")
_Sent = TypeVar("_Sent", bound=InProject)

_TEXTS: Final = native.array(native.STRING)
_TEXT_MAP: Final = native.mapping(native.STRING, native.STRING)
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
    resources = {id(span.resource_attributes): span.resource_attributes for span in spans}
    texts = {key: text_map(attributes) for key, attributes in resources.items()}
    return _block("otel_traces", _span_columns(texts), spans)


def encode_rows(rows: Sequence[Row], received_ns: int = 0, instance: str = "") -> Block:
    """`rows` for `llm_requests`, stored at `received_ns` by the backend `instance`."""
    received: Column[Row] = column("ReceivedAt", native.MICROSECONDS, lambda _: received_ns // 1000)
    by: Column[Row] = column("Instance", native.STRING, lambda _: instance)
    return _block("llm_requests", (*ROW_COLUMNS, received, by), rows)


def encode_contents(rows: Sequence[Row]) -> Block | None:
    """What people wrote in `rows`, for `llm_contents`; `None` where they wrote nothing."""
    written = [row for row in rows if row.input_messages or row.output_messages or row.system or row.tools]
    return _block("llm_contents", CONTENT_COLUMNS, written) if written else None


def encode_keys(items: Sequence[Span] | Sequence[Row]) -> Block:
    """The ids of spans or calls, to be looked for; no table has it."""
    keys: tuple[Column[Span | Row], ...] = (
        project_column(),
        column("TraceId", native.STRING, lambda item: item.trace_id),
        column("SpanId", native.STRING, lambda item: item.span_id),
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
    return column("Project", native.STRING, lambda item: item.project)


def _block(table: str, columns: Sequence[Column[_Record]], records: Sequence[_Record]) -> Block:
    names, types = tuple(each.name for each in columns), tuple(each.type_name for each in columns)
    return Block(table, names, types, native.encode_block(columns, records))


def text_map(attributes: Attributes) -> dict[str, str]:
    """Attributes as the exporter stores them: every value as text."""
    return {key: text(value) for key, value in attributes.items()}


def text(value: Value) -> str:
    """One attribute value as text, in the manner of the collector's `pcommon.Value.AsString`.

    Strings stay as they are, booleans are `true` and `false`, bytes base64, arrays and maps compact JSON with sorted
    keys, nothing is empty. Unlike Go's encoder, JSON keeps `<`, `>` and `&` readable.
    """
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _number(value)
        case bytes():
            return base64.b64encode(value).decode()
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _plain(value: Value) -> object:
    match value:
        case bytes():
            return text(value)
        case float() if not math.isfinite(value):
            return _number(value)  # JSON has no NaN
        case float() if value.is_integer() and abs(value) < 1e21:
            return int(value)
        case tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
    return value


def _number(value: float) -> str:
    """Shortest digits that read back as `value`; an exponent only below 1e-6 and from 1e21, as in JavaScript."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(repr(value)):f}".removesuffix(".0")
    digits, _, exponent = repr(value).partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent):+d}"


def _span_columns(resources: Mapping[int, Mapping[str, str]]) -> tuple[Column[Span], ...]:
    """Columns of `otel_traces` in the order of the table; `resources` holds stringified resources by identity."""
    return (
        column("Timestamp", native.NANOSECONDS, lambda span: _time(span.start_ns)),
        column("TraceId", native.STRING, lambda span: span.trace_id),
        column("SpanId", native.STRING, lambda span: span.span_id),
        column("ParentSpanId", native.STRING, lambda span: span.parent_span_id),
        column("TraceState", native.STRING, lambda span: span.trace_state),
        column("SpanName", native.STRING, lambda span: span.name),
        column("SpanKind", native.STRING, lambda span: _KINDS.get(span.kind, "")),
        column("ServiceName", native.STRING, _service_name),
        column("ResourceAttributes", _TEXT_MAP, lambda span: resources[id(span.resource_attributes)]),
        column("ScopeName", native.STRING, lambda span: span.scope_name),
        column("ScopeVersion", native.STRING, lambda span: span.scope_version),
        column("SpanAttributes", _TEXT_MAP, lambda span: text_map(span.attributes)),
        column("Duration", native.UINT64, lambda span: min(span.duration_ns, _MAX_UINT64)),
        column("StatusCode", native.STRING, lambda span: _STATUSES.get(span.status_code, "")),
        column("StatusMessage", native.STRING, lambda span: span.status_message),
        column("Events.Timestamp", native.array(native.NANOSECONDS), _of_events(lambda event: _time(event.time_ns))),
        column("Events.Name", _TEXTS, _of_events(lambda event: event.name)),
        column("Events.Attributes", native.array(_TEXT_MAP), _of_events(lambda event: text_map(event.attributes))),
        column("Links.TraceId", _TEXTS, _of_links(lambda link: link.trace_id)),
        column("Links.SpanId", _TEXTS, _of_links(lambda link: link.span_id)),
        column("Links.TraceState", _TEXTS, _of_links(lambda link: link.trace_state)),
        column("Links.Attributes", native.array(_TEXT_MAP), _of_links(lambda link: text_map(link.attributes))),
        project_column(),
    )


def _of_events(value: Callable[[Event], _Element]) -> Callable[[Span], list[_Element]]:
    return lambda span: [value(event) for event in span.events]


def _of_links(value: Callable[[Link], _Element]) -> Callable[[Span], list[_Element]]:
    return lambda span: [value(link) for link in span.links]


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


def _money(amount: Decimal) -> Decimal:
    return amount.quantize(_SMALLEST_USD, ROUND_HALF_EVEN)


def _cost_usd(row: Row) -> Decimal | None:
    return _money(row.cost_usd) if row.cost_usd is not None and _is_storable(row) else None


def _components(row: Row) -> dict[str, Decimal]:
    if row.cost_usd is None or not _is_storable(row):
        return {}
    return {name: _money(amount) for name, amount in row.cost_components.items()}


def _pricing_status(row: Row) -> str:
    return row.pricing_status if _is_storable(row) else cost.Reason.INVALID_USAGE


def column_name(field: str) -> str:
    """The column that holds a field of `Row`."""
    return "Timestamp" if field == "time_ns" else "".join(word.capitalize() for word in field.split("_"))


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
    column("CostUsd", native.nullable(_USD, Decimal()), _cost_usd),
    column("CostComponents", native.mapping(native.STRING, _USD), _components),
    _text("cost_source"),
    column("PricingStatus", native.STRING, _pricing_status),
    *map(_text, ("price_version", "price_entry", "pricing_tier")),
    column("PricingAssumptions", _TEXTS, lambda row: row.pricing_assumptions),
    column("Stream", native.BOOL, lambda row: row.stream),
    *map(_count, ("ttft_ns", "time_to_first_chunk_ns")),
    _text("stream_exit"),
    column("StatusCode", native.nullable(native.UINT16, 0), lambda row: _within(2**16 - 1, row.status_code)),
    *map(_text, ("error_type", "error_message")),
    column("RetryCount", native.nullable(native.UINT32, 0), lambda row: _within(2**32 - 1, row.retry_count)),
    column("FinishReasons", _TEXTS, lambda row: row.finish_reasons),
    *map(_text, ("user_id", "session_id", "session_name", "session_path")),
    column("Properties", _TEXT_MAP, lambda row: row.properties),
    column("Tags", _TEXTS, lambda row: row.tags),
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
