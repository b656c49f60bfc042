"""The GenAI span: started as the request leaves, finished with what its response said.

This is the only module that opens spans. It uses the plain OpenTelemetry API rather than `opentelemetry-util-genai`:
the util ends a span at the moment it is told the outcome, and the outcome is read here after the application has its
response, so the span must end at a time of its own. Measured on one machine, the util also costs twice a bare span.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, cast

from opentelemetry import trace
from opentelemetry._logs import LoggerProvider, SeverityNumber, get_logger
from opentelemetry.context import Context
from opentelemetry.trace import ProxyTracer, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider

from tokentrail.instrumentation import content
from tokentrail.instrumentation.call_spans import attributes_of
from tokentrail.instrumentation.config import Config
from tokentrail.instrumentation.secrets import redact
from tokentrail.instrumentation.unstarted import Judge, UnstartedSpan
from tokentrail.instrumentation.wire._base import AttributeValue, Request, RequestContent, Response
from tokentrail.semconv import cost, genai
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

SCOPE: Final = "tokentrail.instrumentation"
MAX_ERROR_CHARS: Final = 2_000
"""Longest error message recorded, characters."""

_USAGE: Final[tuple[tuple[str, str], ...]] = (
    ("cache_read_tokens", genai.USAGE_CACHE_READ_INPUT_TOKENS),
    ("cache_write_tokens", genai.USAGE_CACHE_WRITE_INPUT_TOKENS),
    ("cache_write_tokens", genai.USAGE_CACHE_CREATION_INPUT_TOKENS_OLD),
    ("cache_write_1h_tokens", genai.USAGE_CACHE_WRITE_1H_INPUT_TOKENS),
    ("reasoning_tokens", genai.USAGE_REASONING_OUTPUT_TOKENS),
    ("audio_input_tokens", genai.USAGE_AUDIO_INPUT_TOKENS),
    ("audio_output_tokens", genai.USAGE_AUDIO_OUTPUT_TOKENS),
    ("audio_cache_read_tokens", genai.USAGE_AUDIO_CACHE_READ_INPUT_TOKENS),
    ("image_input_tokens", genai.USAGE_IMAGE_INPUT_TOKENS),
    ("image_output_tokens", genai.USAGE_IMAGE_OUTPUT_TOKENS),
    ("web_searches", genai.USAGE_WEB_SEARCHES),
)
"""Breakdowns, which the conventions leave out when they are 0, and what is billed beside tokens."""


_OTHER_UNITS: Final = frozenset(
    {
        *(genai.USAGE_SEARCH_UNITS, genai.USAGE_BILLED_IMAGES, genai.USAGE_IMAGE_COUNT, genai.USAGE_AUDIO_SECONDS),
        genai.USAGE_MODERATED_INPUTS,
    }
)
"""What a response may tell in place of tokens."""
_NO_CONTENT: Final = RequestContent()
_NO_ATTRIBUTES: Final[Mapping[str, AttributeValue]] = {}
NO_REQUEST: Final = Request()
NO_RESPONSE: Final = Response()


@dataclass(slots=True)
class Outcome:
    """All that is known of a call when it is over."""

    provider: str
    server_address: str
    start_ns: int
    duration_ns: int
    request_model: str = ""
    request: Request = NO_REQUEST
    request_content: RequestContent | None = None
    response: Response = NO_RESPONSE
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    """From headers, context and the exchange itself; over those of the bodies."""
    status_code: int | None = None
    streamed: bool = False
    first_chunk_ns: int | None = None
    """After the start, as the next."""
    first_token_ns: int | None = None
    stream_exit: str = ""
    failure: tuple[str, str] | None = None
    """What `describe` says of the exception the call ended with."""

    @property
    def used_nothing(self) -> bool:
        """True for a call that failed before the provider counted a token."""
        return self.response.usage.is_empty and bool(_error(self)[0])


class Recorder:
    """Opens and ends spans, at one tracer and logger. Thread-safe."""

    def __init__(
        self,
        config: Config,
        version: str,
        tracer_provider: TracerProvider | None = None,
        logger_provider: LoggerProvider | None = None,
    ) -> None:
        self._config = config
        self._version, self._tracer_provider = version, tracer_provider
        self._tracer: Tracer = trace.get_tracer(SCOPE, version, tracer_provider)
        self._judge = Judge()
        self._logger = get_logger(SCOPE, version, logger_provider)

    def start(
        self,
        operation: str,
        attributes: Mapping[str, AttributeValue],
        model: str,
        start_ns: int,
        context: Context,
        cleaned: Mapping[str, AttributeValue] = _NO_ATTRIBUTES,
    ) -> Span:
        """A span for a call, with what a sampler should see, below what is current in `context`.

        `cleaned` are more attributes, over the others, which are clean already.
        """
        known = clean(attributes)
        known.update(cleaned)
        return self._tracer.start_span(_name(operation, model), context, SpanKind.CLIENT, known, start_time=start_ns)

    def may_start_late(self, context: Context) -> bool:
        """True when nobody can tell that a span below what is current in `context` is started later than it says."""
        if isinstance(self._tracer, ProxyTracer):  # there was no provider yet
            self._tracer = trace.get_tracer(SCOPE, self._version, self._tracer_provider)
        return self._judge.is_start_unseen(self._tracer, context)

    def rename(self, span: Span, operation: str, model: str) -> None:
        """`span` is of a call to another model than was thought as it started, if it has."""
        if not isinstance(span, UnstartedSpan) or span.is_started:
            span.update_name(_name(operation, model))

    def finish(self, span: Span, outcome: Outcome) -> None:
        """Put the outcome on our own span and end it, at the time the call ended."""
        try:
            if span.is_recording():
                attributes = _attributes(outcome)
                attributes.update(outcome.attributes)
                error_type, message = _error(outcome)
                if error_type:
                    attributes[genai.ERROR_TYPE] = error_type
                attributes, captured = clean(attributes), self._content(outcome)
                if self._config.capture.on_span:
                    attributes.update(captured)
                # All at once where that can be: each time costs.
                if not (isinstance(span, UnstartedSpan) and span.start_with(attributes)):
                    span.set_attributes(attributes)
                if error_type:
                    span.set_status(Status(StatusCode.ERROR, _clean_text(message)))
                if self._config.capture.on_event:
                    self._emit(span, outcome, {**attributes, **captured})
        finally:
            span.end(end_time=outcome.start_ns + outcome.duration_ns)

    def enrich(self, span: Span, outcome: Outcome) -> None:
        """Add what another instrumentation's span lacks; ending it, and judging its success, stays with its owner."""
        if not span.is_recording():
            return
        attributes = _attributes(outcome)
        attributes.update(outcome.attributes)
        attributes = clean(attributes)
        if self._config.capture.on_span:
            attributes.update(self._content(outcome))
        present = attributes_of(span)
        lacking = {
            name: value
            for name, value in attributes.items()
            if name not in present or name.startswith("tokentrail.") or name == genai.USAGE_COST
        }
        span.set_attributes(lacking)

    def _content(self, outcome: Outcome) -> dict[str, AttributeValue]:
        """The content attributes: together no larger than a span may have. The request's messages get what is left.

        They are clean, as they come from UTF-8: to look through them again is what would cost most of all.
        """
        asked = outcome.request_content or _NO_CONTENT
        room = self._config.max_content_bytes
        captured: dict[str, AttributeValue] = {}
        for name, items in (
            (genai.OUTPUT_MESSAGES, outcome.response.output),
            (genai.SYSTEM_INSTRUCTIONS, asked.system),
            (genai.TOOL_DEFINITIONS, asked.tools),
            (genai.INPUT_MESSAGES, asked.messages),
        ):
            if items and room >= content.MIN_BYTES:
                encoded = content.encode(items, self._config.max_part_bytes, room)
                captured[name] = str(encoded, "utf-8")
                room -= len(encoded)
        return captured

    def _emit(self, span: Span, outcome: Outcome, attributes: Mapping[str, AttributeValue]) -> None:
        self._logger.emit(
            timestamp=outcome.start_ns + outcome.duration_ns,
            context=trace.set_span_in_context(span),
            severity_number=SeverityNumber.DEBUG,
            event_name=genai.INFERENCE_DETAILS_EVENT,
            attributes=attributes,
        )


def _attributes(outcome: Outcome) -> dict[str, AttributeValue]:
    request, response = outcome.request, outcome.response
    attributes: dict[str, AttributeValue] = {**request.attributes, **response.attributes}
    if request.user:
        attributes[genai.USER_ID] = request.user
    if response.id:
        attributes[genai.RESPONSE_ID] = response.id
    if response.model:
        attributes[genai.RESPONSE_MODEL] = response.model
    if response.finish_reasons:
        attributes[genai.RESPONSE_FINISH_REASONS] = list(response.finish_reasons)
    if outcome.status_code is not None:
        attributes[genai.HTTP_RESPONSE_STATUS_CODE] = outcome.status_code
    attributes.update(_usage_attributes(response.usage))
    attributes.update(_stream_attributes(outcome))
    attributes.update(_cost_attributes(outcome))
    return attributes


def _usage_attributes(usage: Usage) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    if usage.input_tokens is not None and usage.input_tokens != NOT_A_COUNT:
        attributes[genai.USAGE_INPUT_TOKENS] = usage.input_tokens
    if usage.output_tokens is not None and usage.output_tokens != NOT_A_COUNT:
        attributes[genai.USAGE_OUTPUT_TOKENS] = usage.output_tokens
    for field_name, name in _USAGE:
        if (value := getattr(usage, field_name)) and value != NOT_A_COUNT:
            attributes[name] = value
    # These say something where they are 0, too: without them, the price of what they are a part of is an assumption.
    if usage.cache_write_1h_tokens == 0 and usage.cache_write_tokens:
        attributes[genai.USAGE_CACHE_WRITE_1H_INPUT_TOKENS] = 0
    if usage.audio_cache_read_tokens == 0 and usage.cache_read_tokens and usage.audio_input_tokens:
        attributes[genai.USAGE_AUDIO_CACHE_READ_INPUT_TOKENS] = 0
    return attributes


def _stream_attributes(outcome: Outcome) -> dict[str, AttributeValue]:
    if not outcome.streamed:
        return {}
    attributes: dict[str, AttributeValue] = {genai.REQUEST_STREAM: True}
    if outcome.stream_exit:
        attributes[genai.STREAM_EXIT] = outcome.stream_exit
    if outcome.first_chunk_ns is not None:
        attributes[genai.RESPONSE_TIME_TO_FIRST_CHUNK] = outcome.first_chunk_ns / 1e9
    if outcome.first_token_ns is not None:
        attributes[genai.TIME_TO_FIRST_TOKEN] = outcome.first_token_ns / 1e9
    return attributes


def _cost_attributes(outcome: Outcome) -> dict[str, AttributeValue]:
    response = outcome.response
    attributes: dict[str, AttributeValue] = {}
    result: cost.Cost | cost.Unpriced
    if outcome.attributes.get(genai.CACHE_HIT) is True:
        result = cost.Cost(Decimal(0), source=cost.Source.PROVIDER, assumptions=("gateway_cache_hit",))
    elif response.usage.is_empty and response.reported_usd is None:
        failed = bool(_error(outcome)[0])
        result = cost.Unpriced(cost.Reason.FAILED if failed else cost.Reason.NO_USAGE)
        if not failed and not _OTHER_UNITS & response.attributes.keys():
            attributes[genai.USAGE_STATUS] = genai.USAGE_MISSING
    else:
        override = outcome.attributes.get(genai.PRICING_MODEL)
        result = cost.price(
            cost.Call(
                provider=outcome.provider,
                models=(override if isinstance(override, str) else "", response.model, outcome.request_model),
                usage=response.usage,
                at_ns=outcome.start_ns,
                server_address=outcome.server_address,
                service_tier=response.service_tier,
                reported_usd=response.reported_usd,
            )
        )
    if isinstance(result, cost.Unpriced) and result.reason is cost.Reason.INVALID_USAGE:
        attributes[genai.USAGE_STATUS] = genai.USAGE_INVALID
    attributes.update(cost.attributes(result))
    return attributes


def _error(outcome: Outcome) -> tuple[str, str]:
    """`error.type` and the message of a failed call, or two empty strings.

    The type is the provider's own code or type, else the HTTP status, else the exception's qualified name.
    """
    status, error = outcome.status_code, outcome.response.error
    if error is not None:
        kind = error.kind or (str(status) if status is not None and status >= 400 else "_OTHER")
        return kind, redact(error.message)[:MAX_ERROR_CHARS]
    if status is not None and status >= 400:
        return str(status), ""
    return outcome.failure or ("", "")


def _name(operation: str, model: str) -> str:
    return f"{operation} {_clean_text(model)}" if model else operation


_SEQUENCES: Final = frozenset({list, tuple})


def clean(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """`attributes` that every exporter can encode: half of a surrogate pair, which JSON allows, is no UTF-8.

    The exporter would fail on it, and take the whole batch with it.
    """
    cleaned = dict(attributes)
    for name, value in attributes.items():
        if type(value) is str:
            if not value.isascii():
                cleaned[name] = _clean_text(value)
        elif type(value) in _SEQUENCES:
            cleaned[name] = [_clean_text(item) for item in cast("Sequence[str]", value)]
    return cleaned


def _clean_text(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def describe(exception: BaseException) -> tuple[str, str]:
    """`error.type` and message of `exception`: its qualified name, and its text without secrets.

    The exception itself is not kept: it holds the application's frames, and all that is in them.
    """
    kind = type(exception)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}", redact(str(exception))[:MAX_ERROR_CHARS]
