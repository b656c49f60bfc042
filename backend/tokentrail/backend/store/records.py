"""What goes into `otel_logs` and `otel_metrics_*`, as the collector's exporter writes it, and how it is told apart.

Neither a log record nor a point has an id: what came already is told by the request it came in. A *part* is what one
request has for one table and one day. It is the unit that ClickHouse commits whole (tables are partitioned by day), and
each of its rows carries the digest of the request: a part is stored, or it is not, whenever the process was killed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from tokentrail.backend.attribute_text import text, text_map
from tokentrail.backend.log import LogRecord
from tokentrail.backend.point import Exemplar, MetricKind, Point
from tokentrail.backend.signals import Origin
from tokentrail.backend.store import native
from tokentrail.backend.store.native import Column, Type, column
from tokentrail.backend.store.rows import Block, project_column
from tokentrail.semconv import genai

DIGEST_BYTES: Final = 16
LOGS: Final = "otel_logs"
METRICS: Final = {kind: f"otel_metrics_{kind}" for kind in MetricKind}
"""The table of each kind of metric."""
TIMES: Final = {LOGS: "Timestamp", **dict.fromkeys(METRICS.values(), "TimeUnix")}
"""The column by whose day each table is partitioned."""
DIGEST: Final = "RequestDigest"

_SECOND: Final = 10**9
_DAY: Final = 86_400
_MAX_SECOND: Final = 2**32 - 1
"""End of ClickHouse's DateTime (2106)."""
_MAX_TIME_NS: Final = _MAX_SECOND * _SECOND

_TEXTS: Final = native.array(native.STRING)
_TEXT_MAP: Final = native.mapping(native.STRING, native.STRING)
_FLOATS: Final = native.array(native.FLOAT64)
_COUNTS: Final = native.array(native.UINT64)

_Element = TypeVar("_Element")
_Record = TypeVar("_Record", LogRecord, Point)

PartKey: TypeAlias = tuple[str, bytes, int]
"""Table, digest of the request, day since the epoch."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one request has for one table and one day."""

    table: str
    digest: bytes
    """Of the request, `DIGEST_BYTES` long."""
    day: int
    """Days since the epoch, UTC."""
    logs: Sequence[LogRecord] = ()
    points: Sequence[Point] = ()
    """One of the two is empty."""

    @property
    def key(self) -> PartKey:
        """What tells the part from all others."""
        return self.table, self.digest, self.day

    def __len__(self) -> int:
        return len(self.logs) + len(self.points)

    @property
    def times_s(self) -> tuple[int, int]:
        """The first and the last second of its rows."""
        times = [record.time_ns for record in self.logs] + [point.time_ns for point in self.points]
        return _seconds(min(times)), _seconds(max(times))


def split(digest: bytes, logs: Iterable[LogRecord] = (), points: Iterable[Point] = ()) -> list[Part]:
    """The parts of a request."""
    by_key: dict[tuple[str, int], tuple[list[LogRecord], list[Point]]] = {}
    for record in logs:
        by_key.setdefault((LOGS, _day(record.time_ns)), ([], []))[0].append(record)
    for point in points:
        by_key.setdefault((METRICS[point.metric.kind], _day(point.time_ns)), ([], []))[1].append(point)
    return [Part(table, digest, day, *records) for (table, day), records in by_key.items()]


def by_table(parts: Iterable[Part]) -> dict[str, list[Part]]:
    """`parts` by the table they are for."""
    tables: dict[str, list[Part]] = {}
    for part in parts:
        tables.setdefault(part.table, []).append(part)
    return tables


def encode_parts(parts: Iterable[Part]) -> list[Block]:
    """A block for each table that `parts` are for."""
    return [_encode(table, of_table) for table, of_table in by_table(parts).items()]


def encode_digests(parts: Iterable[Part]) -> Block:
    """The digests of `parts`, to be looked for; no table has it."""
    digests: Column[bytes] = column(DIGEST, native.fixed_string(DIGEST_BYTES), lambda digest: digest)
    found = sorted({part.digest for part in parts})
    return Block("", (digests.name,), (digests.type_name,), native.encode_block([digests], found))


def find_parts(table: str, digests: str = "file({path:String}, 'Native', {structure:String})") -> str:
    """The SELECT of keys that are in `table` between `first` and `last`, of those that are in the table `digests`."""
    column_of_time = TIMES[table]
    # Each in the type of its column: chDB 26.9 leaves out rows of the last second where a DateTime64 that is in the
    # primary key is less than a DateTime.
    from_ns = "fromUnixTimestamp64Nano" if table == LOGS else "fromUnixTimestamp"
    # Names in this package only; values come as parameters.
    return f"""
SELECT DISTINCT hex({DIGEST}) AS digest, toInt32(toDate({column_of_time})) AS day FROM {table}
WHERE {column_of_time} >= {from_ns}({{first:Int64}}) AND {column_of_time} <= {from_ns}({{last:Int64}})
    AND {DIGEST} GLOBAL IN (SELECT {DIGEST} FROM {digests})
"""  # noqa: S608


def times(table: str, parts: Iterable[Part]) -> dict[str, str]:
    """The parameters `first` and `last` of `find_parts` for what `parts` have in `table`."""
    first, last = zip(*(part.times_s for part in parts), strict=True)
    if table == LOGS:
        return {"first": str(min(first) * _SECOND), "last": str((max(last) + 1) * _SECOND)}
    return {"first": str(min(first)), "last": str(max(last))}


def part_key(table: str, row: Mapping[str, object]) -> PartKey:
    """The key in a row of `find_parts`."""
    return table, bytes.fromhex(str(row["digest"])), int(str(row["day"]))


def _encode(table: str, parts: Sequence[Part]) -> Block:
    digests = [part.digest for part in parts for _ in range(len(part))]
    if table == LOGS:
        records = [record for part in parts for record in part.logs]
        return _block(table, _log_columns(_Texts(record.origin for record in records)), records, digests)
    points = [point for part in parts for point in part.points]
    texts = _Texts(point.metric.origin for point in points)
    return _block(table, (*_point_columns(texts), *_COLUMNS_OF[table]), points, digests)


def _block(
    table: str, columns: Sequence[Column[_Record]], records: Sequence[_Record], digests: Sequence[bytes]
) -> Block:
    kind = native.fixed_string(DIGEST_BYTES)
    digest: Column[_Record] = Column(DIGEST, kind.name, lambda _: kind.encode(digests))
    every: list[Column[_Record]] = list(columns)
    every += [digest, project_column()]
    names, types = tuple(each.name for each in every), tuple(each.type_name for each in every)
    return Block(table, names, types, native.encode_block(every, records))


class _Texts:
    """Attributes of origins as text, each made once."""

    def __init__(self, origins: Iterable[Origin]) -> None:
        distinct = {id(origin): origin for origin in origins}
        self.resources = {key: text_map(origin.resource_attributes) for key, origin in distinct.items()}
        self.scopes = {key: text_map(origin.scope_attributes) for key, origin in distinct.items()}
        self.services = {key: each.get(genai.SERVICE_NAME, "") for key, each in self.resources.items()}


def _log_columns(texts: _Texts) -> tuple[Column[LogRecord], ...]:
    """Columns of `otel_logs`, in the order of the table."""
    return (
        column("Timestamp", native.NANOSECONDS, lambda record: min(record.time_ns, _MAX_TIME_NS)),
        column("TraceId", native.STRING, lambda record: record.trace_id),
        column("SpanId", native.STRING, lambda record: record.span_id),
        column("TraceFlags", native.UINT8, lambda record: record.flags),
        column("SeverityText", native.STRING, lambda record: record.severity_text),
        column("SeverityNumber", native.UINT8, lambda record: record.severity_number),
        column("ServiceName", native.STRING, lambda record: texts.services[id(record.origin)]),
        column("Body", native.STRING, lambda record: text(record.body)),
        column("ResourceSchemaUrl", native.STRING, lambda record: record.origin.resource_schema_url),
        column("ResourceAttributes", _TEXT_MAP, lambda record: texts.resources[id(record.origin)]),
        column("ScopeSchemaUrl", native.STRING, lambda record: record.origin.scope_schema_url),
        column("ScopeName", native.STRING, lambda record: record.origin.scope_name),
        column("ScopeVersion", native.STRING, lambda record: record.origin.scope_version),
        column("ScopeAttributes", _TEXT_MAP, lambda record: texts.scopes[id(record.origin)]),
        column("LogAttributes", _TEXT_MAP, lambda record: text_map(record.attributes)),
        column("EventName", native.STRING, lambda record: record.event_name),
    )


def _point_columns(texts: _Texts) -> tuple[Column[Point], ...]:
    """Columns that all tables of metrics begin with."""
    return (
        column("ResourceAttributes", _TEXT_MAP, lambda point: texts.resources[id(point.metric.origin)]),
        column("ResourceSchemaUrl", native.STRING, lambda point: point.metric.origin.resource_schema_url),
        column("ScopeName", native.STRING, lambda point: point.metric.origin.scope_name),
        column("ScopeVersion", native.STRING, lambda point: point.metric.origin.scope_version),
        column("ScopeAttributes", _TEXT_MAP, lambda point: texts.scopes[id(point.metric.origin)]),
        column("ScopeDroppedAttrCount", native.UINT32, lambda point: point.metric.origin.scope_dropped_attributes),
        column("ScopeSchemaUrl", native.STRING, lambda point: point.metric.origin.scope_schema_url),
        column("ServiceName", native.STRING, lambda point: texts.services[id(point.metric.origin)]),
        column("MetricName", native.STRING, lambda point: point.metric.name),
        column("MetricDescription", native.STRING, lambda point: point.metric.description),
        column("MetricUnit", native.STRING, lambda point: point.metric.unit),
        column("Attributes", _TEXT_MAP, lambda point: text_map(point.attributes)),
        column("StartTimeUnix", native.SECONDS, lambda point: _seconds(point.start_ns)),
        column("TimeUnix", native.SECONDS, lambda point: _seconds(point.time_ns)),
    )


def _of_exemplars(name: str, kind: Type[_Element], value: Callable[[Exemplar], _Element]) -> Column[Point]:
    return column(f"Exemplars.{name}", native.array(kind), lambda point: [value(each) for each in point.exemplars])


_FLAGS: Final[Column[Point]] = column("Flags", native.UINT32, lambda point: point.flags)
_VALUE: Final[Column[Point]] = column("Value", native.FLOAT64, lambda point: point.value)
_COUNT: Final[Column[Point]] = column("Count", native.UINT64, lambda point: point.count)
_SUM: Final[Column[Point]] = column("Sum", native.FLOAT64, lambda point: point.sum)
_EXEMPLARS: Final[tuple[Column[Point], ...]] = (
    _of_exemplars("FilteredAttributes", _TEXT_MAP, lambda each: text_map(each.attributes)),
    _of_exemplars("TimeUnix", native.SECONDS, lambda each: _seconds(each.time_ns)),
    _of_exemplars("Value", native.FLOAT64, lambda each: each.value),
    _of_exemplars("SpanId", native.STRING, lambda each: each.span_id),
    _of_exemplars("TraceId", native.STRING, lambda each: each.trace_id),
)
_RANGE: Final[tuple[Column[Point], ...]] = (
    column("Min", native.FLOAT64, lambda point: point.min),
    column("Max", native.FLOAT64, lambda point: point.max),
)
_TEMPORALITY: Final[Column[Point]] = column(
    "AggregationTemporality", native.INT32, lambda point: point.metric.temporality
)
_COLUMNS_OF: Final[dict[str, tuple[Column[Point], ...]]] = {
    METRICS[MetricKind.GAUGE]: (_VALUE, _FLAGS, *_EXEMPLARS),
    METRICS[MetricKind.SUM]: (
        *(_VALUE, _FLAGS, *_EXEMPLARS, _TEMPORALITY),
        column("IsMonotonic", native.BOOL, lambda point: point.metric.is_monotonic),
    ),
    METRICS[MetricKind.HISTOGRAM]: (
        *(_COUNT, _SUM),
        column("BucketCounts", _COUNTS, lambda point: point.bucket_counts),
        column("ExplicitBounds", _FLOATS, lambda point: point.explicit_bounds),
        *(*_EXEMPLARS, _FLAGS, *_RANGE, _TEMPORALITY),
    ),
    METRICS[MetricKind.EXPONENTIAL_HISTOGRAM]: (
        *(_COUNT, _SUM),
        column("Scale", native.INT32, lambda point: point.scale),
        column("ZeroCount", native.UINT64, lambda point: point.zero_count),
        column("PositiveOffset", native.INT32, lambda point: point.positive.offset),
        column("PositiveBucketCounts", _COUNTS, lambda point: point.positive.counts),
        column("NegativeOffset", native.INT32, lambda point: point.negative.offset),
        column("NegativeBucketCounts", _COUNTS, lambda point: point.negative.counts),
        *(*_EXEMPLARS, _FLAGS, *_RANGE, _TEMPORALITY),
    ),
    METRICS[MetricKind.SUMMARY]: (
        *(_COUNT, _SUM),
        column("ValueAtQuantiles.Quantile", _FLOATS, lambda point: [quantile for quantile, _ in point.quantiles]),
        column("ValueAtQuantiles.Value", _FLOATS, lambda point: [value for _, value in point.quantiles]),
        _FLAGS,
    ),
}
"""Columns of each table of metrics after those that all of them begin with."""


def _seconds(nanoseconds: int) -> int:
    return min(nanoseconds // _SECOND, _MAX_SECOND)


def _day(nanoseconds: int) -> int:
    return _seconds(nanoseconds) // _DAY
