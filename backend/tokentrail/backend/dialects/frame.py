"""What every span says, in whatever dialect: when and where it was, and how it ended."""

from typing import Final, TypedDict

from tokentrail.backend.dialects import coerce
from tokentrail.backend.dialects.address import host_of
from tokentrail.backend.span import Span, StatusCode
from tokentrail.semconv import genai

_HTTP_STATUS: Final = (genai.HTTP_RESPONSE_STATUS_CODE, "http.status_code")
_FALLBACK_ERROR: Final = "_OTHER"
_CLASS: Final = "<class '"
_CLASS_END: Final = "'>"
"""Around the name of an exception's class that was made a text, as `opentelemetry-util-genai` until 1.1b0 did."""


class Frame(TypedDict):
    """Fields of `Row`, to be unpacked into its constructor."""

    time_ns: int
    trace_id: str
    span_id: str
    parent_span_id: str
    service: str
    environment: str
    server_address: str
    duration_ns: int
    status_code: int | None
    error_type: str
    error_message: str


def frame(span: Span, error_type: str = "", error_message: str = "") -> Frame:
    """The frame of `span`; `error_type` and `error_message` are a dialect's own words for a failure, if it has any."""
    resource, status = span.resource_attributes, coerce.whole(span.attributes, *_HTTP_STATUS)
    failure = error_type or _error_type(span, status)
    return Frame(
        time_ns=span.start_ns,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        service=coerce.text(resource, genai.SERVICE_NAME),
        environment=coerce.text(resource, genai.DEPLOYMENT_ENVIRONMENT_NAME, genai.DEPLOYMENT_ENVIRONMENT_OLD),
        server_address=host_of(span.attributes),
        duration_ns=span.duration_ns,
        status_code=status,
        error_type=failure,
        error_message=(error_message or _error_message(span)) if failure else "",
    )


def _error_type(span: Span, status: int | None) -> str:
    """Why the call failed, empty when it did not. `OK` and `UNSET` alike are success."""
    told = coerce.text(span.attributes, genai.ERROR_TYPE)
    if not told and status is None and span.status_code != StatusCode.ERROR:
        return ""
    if told.startswith(_CLASS):
        told = told.removeprefix(_CLASS).removesuffix(_CLASS_END)
    failed_status = str(status) if status is not None and status >= 400 else ""  # HTTP's 4xx and 5xx
    if span.status_code != StatusCode.ERROR:
        return told or failed_status
    return told or _exception(span, "exception.type") or failed_status or _FALLBACK_ERROR


def _error_message(span: Span) -> str:
    return (
        span.status_message
        or _exception(span, "exception.message")
        or coerce.text(span.attributes, "error.message", "error")
    )


def _exception(span: Span, name: str) -> str:
    events = (event for event in reversed(span.events) if event.name == "exception")
    return next((found for event in events if (found := coerce.text(event.attributes, name))), "")
