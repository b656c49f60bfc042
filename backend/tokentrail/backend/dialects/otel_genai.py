"""OpenTelemetry GenAI spans of every era, Tokentrail's own among them.

    v1.26   gen_ai.system, gen_ai.usage.prompt_tokens / completion_tokens, content in events
    v1.27+  gen_ai.usage.input_tokens / output_tokens
    v1.37+  gen_ai.provider.name, message attributes
    v1.40+  cache_creation, reasoning, request.stream, time_to_first_chunk
    later   cache_write; and `tokentrail.*` for what the conventions do not define

The era is never asked for: of each field the newest name wins. Conventions: see `semconv/genai.py`.
"""

from collections.abc import Mapping
from typing import Final

from tokentrail.backend.dialects import coerce, identity
from tokentrail.backend.dialects._base import Reading
from tokentrail.backend.dialects.content import read_content
from tokentrail.backend.dialects.reported_cost import ReportedCost, read_cost
from tokentrail.backend.dialects.tokens import read_usage
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span, StatusCode
from tokentrail.semconv import cost, finish, genai
from tokentrail.semconv.usage import Usage

_PREFIX: Final = "gen_ai."
_HTTP_STATUS: Final = (genai.HTTP_RESPONSE_STATUS_CODE, "http.status_code")
_USER: Final = (genai.USER_ID, genai.ENDUSER_ID, "gen_ai.user", "gen_ai.request.user", "gen_ai.user.id")
_SESSION: Final = (genai.SESSION_ID, genai.CONVERSATION_ID, "gen_ai.session.id")
_STREAM: Final = (genai.REQUEST_STREAM, "gen_ai.is_streaming", "gen_ai.response.streaming")
_FIRST_TOKEN: Final = (
    genai.TIME_TO_FIRST_TOKEN,
    genai.RESPONSE_TIME_TO_FIRST_CHUNK,
    "gen_ai.response.time_to_first_token",
)
_SERVER_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105  # a latency, not a secret
_TIER: Final = (
    genai.OPENAI_RESPONSE_SERVICE_TIER,
    genai.OPENAI_RESPONSE_SERVICE_TIER_OLD,
    genai.RESPONSE_SERVICE_TIER,
)
_MAX_SECONDS: Final = 1e6
_FALLBACK_ERROR: Final = "_OTHER"


class OtelGenAI:
    """The dialect."""

    name = "otel_genai"

    def matches(self, span: Span) -> bool:
        """True for any `gen_ai.*` attribute."""
        return any(key.startswith(_PREFIX) for key in span.attributes)

    def read(self, span: Span) -> Reading | None:
        """The span's row; `None` for agents, tools, workflows and everything else that nobody bills."""
        attributes = span.attributes
        operation = identity.operation(span)
        status = coerce.whole(attributes, *_HTTP_STATUS)
        # A redirect is answered by another exchange, which has its own span.
        if not operation or (status is not None and 300 <= status < 400):  # HTTP's class 3xx
            return None
        if genai.DUPLICATE_OF in attributes:
            return None  # another span, which is counted, stands for the same call
        reported, usage = read_cost(attributes), read_usage(attributes)
        row = _row(span, operation, status, usage, reported or ReportedCost())
        return Reading(row, None if reported else _call(row, usage, attributes))


def _row(span: Span, operation: str, status: int | None, usage: Usage, reported: ReportedCost) -> Row:
    attributes, resource, content = span.attributes, span.resource_attributes, read_content(span)
    request_model = coerce.text(attributes, genai.REQUEST_MODEL)
    response_model = coerce.text(attributes, genai.RESPONSE_MODEL)
    first_token, first_chunk = _first_token_ns(span), _nanoseconds(attributes, genai.RESPONSE_TIME_TO_FIRST_CHUNK)
    error_type = _error_type(span, status)
    return Row(
        time_ns=span.start_ns,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        service=coerce.text(resource, genai.SERVICE_NAME),
        environment=coerce.text(resource, genai.DEPLOYMENT_ENVIRONMENT_NAME, genai.DEPLOYMENT_ENVIRONMENT_OLD),
        kind=identity.kind(operation),
        operation=operation,
        provider=identity.provider(span, response_model or request_model),
        request_model=request_model,
        response_model=response_model,
        server_address=coerce.text(attributes, genai.SERVER_ADDRESS),
        duration_ns=span.duration_ns,
        response_id=coerce.text(attributes, genai.RESPONSE_ID),
        request_id=coerce.text(attributes, genai.PROVIDER_REQUEST_ID),
        conversation_id=coerce.text(attributes, genai.CONVERSATION_ID),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost_usd=reported.cost_usd,
        cost_components=reported.cost_components,
        cost_source=reported.cost_source,
        pricing_status=reported.pricing_status,
        price_version=reported.price_version,
        price_entry=reported.price_entry,
        pricing_tier=reported.pricing_tier,
        pricing_assumptions=reported.pricing_assumptions,
        stream=_is_stream(attributes, first_token),
        ttft_ns=first_token,
        time_to_first_chunk_ns=first_chunk,
        stream_exit=coerce.text(attributes, genai.STREAM_EXIT),
        status_code=status,
        error_type=error_type,
        error_message=_error_message(span) if error_type else "",
        retry_count=coerce.whole(attributes, genai.RETRY_COUNT),
        finish_reasons=tuple(
            finish.canonical(reason) for reason in coerce.texts(attributes.get(genai.RESPONSE_FINISH_REASONS))
        ),
        user_id=coerce.text(attributes, *_USER),
        session_id=coerce.text(attributes, *_SESSION),
        session_name=coerce.text(attributes, genai.SESSION_NAME, "gen_ai.workflow.name"),
        session_path=coerce.text(attributes, genai.SESSION_PATH),
        properties=_properties(attributes),
        prompt_name=coerce.text(attributes, genai.PROMPT_NAME),
        prompt_version=coerce.text(attributes, genai.PROMPT_VERSION),
        ratelimit_limit_requests=coerce.whole(attributes, genai.RATELIMIT_LIMIT_REQUESTS),
        ratelimit_remaining_requests=coerce.whole(attributes, genai.RATELIMIT_REMAINING_REQUESTS),
        ratelimit_limit_tokens=coerce.whole(attributes, genai.RATELIMIT_LIMIT_TOKENS),
        ratelimit_remaining_tokens=coerce.whole(attributes, genai.RATELIMIT_REMAINING_TOKENS),
        input_messages=content.input_messages,
        output_messages=content.output_messages,
        system=content.system,
        tools=content.tools,
    )


def _call(row: Row, usage: Usage, attributes: Attributes) -> cost.Call:
    return cost.Call(
        provider=row.provider,
        models=(coerce.text(attributes, genai.PRICING_MODEL), row.response_model, row.request_model),
        usage=usage,
        at_ns=row.time_ns,
        server_address=row.server_address,
        service_tier=coerce.text(attributes, *_TIER),
    )


def _nanoseconds(attributes: Attributes, *names: str) -> int | None:
    """The first of `names` that is a sensible number of seconds, in nanoseconds."""
    for name in names:
        seconds = coerce.number(attributes, name)
        if seconds is not None and 0 <= seconds < _MAX_SECONDS:
            return round(seconds * 1e9)
    return None


def _first_token_ns(span: Span) -> int | None:
    known = _nanoseconds(span.attributes, *_FIRST_TOKEN)
    if known is not None:
        return known
    value = coerce.number(span.attributes, _SERVER_FIRST_TOKEN)
    if value is None or not 0 <= value < _MAX_SECONDS * 1000:
        return None
    # Seconds by its definition as a metric, but some write milliseconds: longer than the call, or whole and large.
    is_milliseconds = value * 1e9 > span.duration_ns or (value.is_integer() and value >= 10)
    return round(value * (1e6 if is_milliseconds else 1e9))


def _is_stream(attributes: Attributes, first_token_ns: int | None) -> bool:
    told = coerce.flag(attributes, *_STREAM)
    return first_token_ns is not None if told is None else told


def _error_type(span: Span, status: int | None) -> str:
    """Why the call failed, empty when it did not. `OK` and `UNSET` alike are success."""
    told = coerce.text(span.attributes, genai.ERROR_TYPE)
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


def _properties(attributes: Attributes) -> Mapping[str, str]:
    prefix = genai.PROPERTY_PREFIX
    return {
        key.removeprefix(prefix): coerce.as_text(value) for key, value in attributes.items() if key.startswith(prefix)
    }
