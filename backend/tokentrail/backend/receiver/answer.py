"""Every way an export request can fail, with its answer in both transports. The one place where that is decided.

Retryable are, by the OTLP specification (https://opentelemetry.io/docs/specs/otlp/, 1.x): HTTP 429, 502, 503, 504 and
gRPC UNAVAILABLE, and RESOURCE_EXHAUSTED with a RetryInfo. An overload is RESOURCE_EXHAUSTED, never UNAVAILABLE: on that
exporters tear their channel down.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from tokentrail.backend.access.errors import AccessError, ForbiddenError
from tokentrail.backend.ingest.errors import UNAVAILABLE_DELAY_S, NotNow, QueueFull
from tokentrail.backend.receiver.decoded import DecodeError, TooManyItemsError
from tokentrail.backend.store.errors import StoreError, StoreUnavailable

_MAX_MESSAGE_CHARS: Final = 1000
"""gRPC carries the message in a header, and headers are bounded (8 KiB by default)."""


class RpcCode(IntEnum):
    """The numbers of `google.rpc.Code` that are in use here; gRPC's status codes are the same."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class BodyTooLargeError(Exception):
    """The body is larger than the limit, on the wire or decompressed."""

    def __init__(self, what: str, max_bytes: int):
        super().__init__(
            f"the {what} is larger than {max_bytes} bytes, the limit; send smaller batches "
            "(OTEL_BSP_MAX_EXPORT_BATCH_SIZE) or raise TOKENTRAIL_MAX_BODY_BYTES"
        )


class RequestTimeoutError(Exception):
    """The request was not complete in time."""

    def __init__(self, timeout_s: float):
        super().__init__(
            f"the request was not complete after {timeout_s:g} s, the limit; "
            "send smaller batches or raise TOKENTRAIL_REQUEST_TIMEOUT_S"
        )


class UnsupportedMediaError(Exception):
    """A content type or encoding that is not one of those the message names."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A failure in the terms of both transports."""

    http_status: int
    rpc_code: RpcCode
    message: str
    retry_after_s: float | None = None
    """After what delay to send again; `None` when that would not help."""


def answer_to(error: Exception) -> Answer:
    """The answer to a request that failed with `error`."""
    message = str(error)[:_MAX_MESSAGE_CHARS]
    match error:
        case ForbiddenError():
            return Answer(403, RpcCode.PERMISSION_DENIED, message)
        case AccessError():
            return Answer(401, RpcCode.UNAUTHENTICATED, message)
        case DecodeError():
            return Answer(400, RpcCode.INVALID_ARGUMENT, message)
        case UnsupportedMediaError():
            return Answer(415, RpcCode.INVALID_ARGUMENT, message)
        case RequestTimeoutError():
            return Answer(408, RpcCode.DEADLINE_EXCEEDED, message)
        case BodyTooLargeError():
            return Answer(413, RpcCode.RESOURCE_EXHAUSTED, message)
        case TooManyItemsError():
            # Python's exporter repeats RESOURCE_EXHAUSTED without a RetryInfo as well (1.45): not this, several times.
            return Answer(413, RpcCode.INVALID_ARGUMENT, message)
        case QueueFull():
            return Answer(429, RpcCode.RESOURCE_EXHAUSTED, message, error.retry_after_s)
        case NotNow():
            return Answer(503, RpcCode.UNAVAILABLE, message, error.retry_after_s)
        case StoreUnavailable():
            return Answer(503, RpcCode.UNAVAILABLE, f"the store is unavailable: {message}", UNAVAILABLE_DELAY_S)
        case StoreError():
            return Answer(500, RpcCode.INTERNAL, f"the store refused the spans: {message}")
        case _:
            return Answer(500, RpcCode.INTERNAL, "an unexpected failure; the backend's log has the details")
