"""Bodies of answers, in the request's encoding."""

import json
import math
from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it has no py.typed
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tokentrail.backend.receiver.answer import Answer
from tokentrail.backend.receiver.decode import Encoding


def export_response(rejected: Mapping[str, int], encoding: Encoding) -> bytes:
    """An ExportTraceServiceResponse: success, or partial success when `rejected` (by reason) is not empty."""
    count = sum(rejected.values())
    message = ", ".join(f"{count} spans with {reason}" for reason, count in sorted(rejected.items()))
    if encoding is Encoding.JSON:
        partial = {"partialSuccess": {"rejectedSpans": str(count), "errorMessage": message}} if count else {}
        return json.dumps(partial).encode()
    response = ExportTraceServiceResponse()
    if count:
        response.partial_success.rejected_spans = count
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
