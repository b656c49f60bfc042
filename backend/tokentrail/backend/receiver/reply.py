"""Bodies of answers, in the request's encoding."""

import json
import math
from collections.abc import Mapping
from typing import Final, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it has no py.typed
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tokentrail.backend.receiver.answer import Answer
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.signals import Signal

_Response: TypeAlias = ExportTraceServiceResponse | ExportLogsServiceResponse | ExportMetricsServiceResponse
_RESPONSES: Final[Mapping[Signal, tuple[str, str, str, type[_Response]]]] = {
    Signal.TRACES: ("spans", "rejectedSpans", "rejected_spans", ExportTraceServiceResponse),
    Signal.LOGS: ("log records", "rejectedLogRecords", "rejected_log_records", ExportLogsServiceResponse),
    Signal.METRICS: ("points", "rejectedDataPoints", "rejected_data_points", ExportMetricsServiceResponse),
}
"""Of each signal: its items in words, the field that counts those left out in JSON and in protobuf, the message."""


def export_response(rejected: Mapping[str, int], encoding: Encoding, signal: Signal = Signal.TRACES) -> bytes:
    """An Export*ServiceResponse: success, or partial success when `rejected` (by reason) is not empty."""
    what, in_json, in_protobuf, kind = _RESPONSES[signal]
    count = sum(rejected.values())
    message = ", ".join(f"{count} {what} with {reason}" for reason, count in sorted(rejected.items()))
    if encoding is Encoding.JSON:
        partial = {"partialSuccess": {in_json: str(count), "errorMessage": message}} if count else {}
        return json.dumps(partial).encode()
    response = kind()
    if count:
        setattr(response.partial_success, in_protobuf, count)
        response.partial_success.error_message = message
    return response.SerializeToString()


def status_body(answer: Answer, encoding: Encoding) -> bytes:
    """A `google.rpc.Status`."""
    if encoding is Encoding.JSON:
        return json.dumps({"code": answer.rpc_code, "message": answer.message}).encode()
    body: bytes = rpc_status(answer).SerializeToString()
    return body


def rpc_status(answer: Answer) -> status_pb2.Status:
    """The answer as `google.rpc.Status`, with a RetryInfo when it is retryable."""
    status = status_pb2.Status(code=answer.rpc_code, message=answer.message)
    if answer.retry_after_s is not None:
        status.details.add().Pack(retry_info(answer.retry_after_s))
    return status


def retry_info(delay_s: float) -> error_details_pb2.RetryInfo:
    """When to send again."""
    fraction, seconds = math.modf(delay_s)
    return error_details_pb2.RetryInfo(retry_delay=Duration(seconds=int(seconds), nanos=int(fraction * 1e9)))
