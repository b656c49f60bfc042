"""OTLP bodies with log records, in protobuf and in JSON.

    ExportLogsServiceRequest
      resource_logs[]    resource.attributes[], schema_url
        scope_logs[]     scope.name, .version, .attributes[], schema_url
          log_records[]  times, severity, body, attributes[], ids, flags, event_name

https://github.com/open-telemetry/opentelemetry-proto (1.10). A record outside of a trace has no ids; one with an id
that cannot be is kept without it.
"""

from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1 import logs_pb2

from tokentrail.backend.log import LogRecord
from tokentrail.backend.receiver import json_fields as fields
from tokentrail.backend.receiver.counts import require_few_objects
from tokentrail.backend.receiver.decoded import DecodedLogs, bounded_time
from tokentrail.backend.receiver.origins import json_origin, protobuf_origin
from tokentrail.backend.receiver.protobuf_fields import attributes, id_of, parse, value_of
from tokentrail.backend.signals import Origin, Signal

_W3C_FLAGS: Final = 0xFF
"""The bits of `flags` that W3C's trace context has; the others are reserved."""
_MAX_SEVERITY: Final = 24


def decode_logs_protobuf(body: bytes) -> DecodedLogs:
    """The records of a protobuf body. Raises `DecodeError` when it is not an export request."""
    records: list[LogRecord] = []
    for resource_logs in parse(body, ExportLogsServiceRequest).resource_logs:
        resource = attributes(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            origin = protobuf_origin(resource, resource_logs.schema_url, scope_logs.scope, scope_logs.schema_url)
            records.extend(_record(record, origin) for record in scope_logs.log_records)
    return DecodedLogs(records)


def decode_logs_json(body: bytes, most: int | None = None) -> DecodedLogs:
    """The records of a JSON body. Raises `DecodeError`, naming the place, when it is not an export request.

    Raises `TooManyItemsError` for more than `most`.
    """
    records: list[LogRecord] = []
    document = fields.parse(body, "resourceLogs")
    require_few_objects(document, Signal.LOGS, most)
    for resource_logs, place in fields.objects(document, "resourceLogs", ""):
        resource = fields.attributes(fields.child(resource_logs, "resource", place), f"{place}.resource")
        for scope_logs, scope_place in fields.objects(resource_logs, "scopeLogs", place):
            origin = json_origin(resource, resource_logs, scope_logs, scope_place)
            found = fields.objects(scope_logs, "logRecords", scope_place)
            records.extend(_json_record(record, origin, at) for record, at in found)
    return DecodedLogs(records)


def _record(record: logs_pb2.LogRecord, origin: Origin) -> LogRecord:
    return LogRecord(
        origin=origin,
        time_ns=bounded_time(record.time_unix_nano or record.observed_time_unix_nano),
        trace_id=id_of(record.trace_id, 16),
        span_id=id_of(record.span_id, 8),
        flags=record.flags & _W3C_FLAGS,
        severity_number=_severity(record.severity_number),
        severity_text=record.severity_text,
        body=value_of(record.body),
        attributes=attributes(record.attributes),
        event_name=record.event_name,
    )


def _json_record(record: fields.Object, origin: Origin, place: str) -> LogRecord:
    time_ns, severity = fields.time(fields.get(record, "timeUnixNano")), fields.get(record, "severityNumber")
    return LogRecord(
        origin=origin,
        time_ns=time_ns or fields.time(fields.get(record, "observedTimeUnixNano")),
        trace_id=fields.hex_id(fields.get(record, "traceId"), 32),
        span_id=fields.hex_id(fields.get(record, "spanId"), 16),
        flags=fields.count(fields.get(record, "flags")) & _W3C_FLAGS,
        severity_number=_severity(_named_severity(severity) if isinstance(severity, str) else fields.count(severity)),
        severity_text=fields.text(fields.get(record, "severityText")),
        body=fields.value_of(fields.get(record, "body"), 0),
        attributes=fields.attributes(record, place),
        event_name=fields.text(fields.get(record, "eventName")),
    )


def _named_severity(name: str) -> int:
    known = logs_pb2.SeverityNumber.items()
    return next((number for each, number in known if each == name.upper()), 0) or fields.count(name)


def _severity(number: int) -> int:
    return number if 0 <= number <= _MAX_SEVERITY else 0
