"""Pydantic AI and Logfire: spans of agents, and of Logfire's instrumentations of the vendors' SDKs.

    gen_ai.*                             the conventions (`otel_genai`), but for what follows
    gen_ai.usage.details.<name>          counts by the provider's names; {input,output}_audio_tokens, cache_audio_...
    gen_ai.usage.raw                     the provider's usage object, of Logfire's instrumentations
    gen_ai.usage.partial.*               of one message of Claude's agents: unreliable, and not read
    gen_ai.aggregated_usage.*            of an agent, once more than its model calls; gen_ai.usage.* in older formats
    gen_ai.client.operation.time_to_first_chunk   seconds
    operation.cost                       USD, by genai-prices
    events                               JSON of per-message events, in format 1
    request_data, response_data          JSON of the request and of an excerpt of the response, in Logfire's format 1
    gen_ai.{input,output}.messages       with parts "thinking", "binary", "image-url", and results under "result"
    logfire.span_type                    span, log, pending_span

Of a streamed call, Logfire's instrumentations make a span that ends when the answer begins, and a log with the usage
when it ended: the log is the call, and the span is left out unless it failed.

Source: pydantic-ai 2.68.0 and 1.107.10 (formats 1 to 6 of its spans), logfire 5.2.0 (November 2026).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.frame import Frame, frame
from tokentrail.backend.dialects.logfire_content import read_messages_of, read_output, read_system, read_tools
from tokentrail.backend.dialects.reported_cost import CLIENT, usd
from tokentrail.backend.dialects.reported_usage import read_reported
from tokentrail.backend.dialects.tokens import read_usage
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span, StatusCode
from tokentrail.semconv import cost, finish, genai
from tokentrail.semconv.usage import Usage

_AGENTS: Final = "pydantic-ai"
_SCOPE: Final = "logfire"
_OF_SDKS: Final = "logfire."
"""Scopes of Logfire's instrumentations: logfire.openai, logfire.anthropic."""
_MARKS: Final = frozenset({"model_request_parameters", "pydantic_ai.all_messages", "operation.cost"})
_PREFIXES: Final = ("logfire.", "pydantic_ai.")
_GEN_AI: Final = "gen_ai."
_REQUEST: Final = "request_data"
_RESPONSE: Final = "response_data"
_RAW_USAGE: Final = "gen_ai.usage.raw"
_EVENTS: Final = "events"
_DETAILS: Final = "gen_ai.usage.details."
_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
_SPAN_TYPE: Final = "logfire.span_type"
_TEMPLATE: Final = "logfire.msg_template"
_STREAMED: Final = "streaming response from "
"""How the template of the log begins that tells of a stream."""
_ANSWERED: Final = (_RESPONSE, _RAW_USAGE, _EVENTS, genai.OUTPUT_MESSAGES, genai.RESPONSE_ID, genai.USAGE_INPUT_TOKENS)
"""What a span has whose response was read; a stream's span has none of them. Its response model is the request's."""
_OF_TEMPLATES: Final = (
    ("Embedding Creation", genai.Operation.EMBEDDINGS),
    ("Completion", genai.Operation.TEXT_COMPLETION),
)
_ALWAYS: Final = "LLM"
"""A tag that every span of these instrumentations has."""

Json = Mapping[str, object]


class Logfire:
    """The dialect."""

    name = "logfire"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scopes and for attributes of its own, on spans that have to do with models at all."""
        if scope != _AGENTS and not scope.startswith(_SCOPE) and not any(
            key in _MARKS or key.startswith(_PREFIXES) for key in keys
        ):  # fmt: skip
            return False
        return any(key.startswith(_GEN_AI) for key in keys) or "agent_name" in keys or _REQUEST in keys

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind; the content of model calls only."""
        attributes = span.attributes
        operation = _operation(span)
        kind = _kind(span, operation)
        billable = kind in kinds.BILLABLE
        request, response = _object(attributes, _REQUEST), _object(attributes, _RESPONSE)
        usage = _usage(attributes, response) if billable else Usage()
        total_usd = usd(coerce.number(attributes, "operation.cost")) or None
        first_chunk = timing.seconds(attributes, _FIRST_CHUNK)
        request_model = coerce.text(attributes, genai.REQUEST_MODEL) or _text(request, "model")
        response_model = coerce.text(attributes, genai.RESPONSE_MODEL)
        inputs, outputs = read_messages_of(attributes, request, response) if billable else ([], [])
        return Row(
            **_frame(span),
            kind=kind,
            operation=operation if billable else "",
            provider=identity.provider(span, response_model or request_model),
            request_model=request_model,
            response_model=response_model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            audio_input_tokens=usage.audio_input_tokens,
            audio_output_tokens=usage.audio_output_tokens,
            audio_cache_read_tokens=usage.audio_cache_read_tokens,
            image_input_tokens=usage.image_input_tokens,
            image_output_tokens=usage.image_output_tokens,
            web_searches=usage.web_searches,
            service_tier=_text(_mapping(response.get("usage")), "service_tier"),
            cost_usd=total_usd,
            cost_source=CLIENT if total_usd is not None else "",
            pricing_status=cost.PRICED if total_usd is not None else "",
            stream=first_chunk is not None or request.get("stream") is True or _is_end_of_stream(attributes),
            ttft_ns=first_chunk,
            time_to_first_chunk_ns=first_chunk,
            finish_reasons=_finish_reasons(attributes, outputs),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
            tags=tuple(tag for tag in coerce.texts(coerce.first(attributes, "logfire.tags")) if tag != _ALWAYS),
            input_messages=coerce.written(inputs) if inputs else "",
            output_messages=coerce.written(outputs) if outputs else "",
            system=read_system(attributes, request),
            tools=read_tools(attributes, request),
        )


def _operation(span: Span) -> str:
    """The operation; older versions of Logfire named none, and their message tells."""
    if not coerce.text(span.attributes, genai.OPERATION_NAME) and _REQUEST in span.attributes:
        template = coerce.text(span.attributes, _TEMPLATE)
        for beginning, operation in _OF_TEMPLATES:
            if template.startswith(beginning):
                return operation
    return identity.operation(span)


def _kind(span: Span, operation: str) -> str:
    attributes = span.attributes
    if attributes.get(_SPAN_TYPE) == "pending_span" or _is_begin_of_stream(span):
        return kinds.OTHER  # another span tells the call
    if operation:
        return kinds.kind_of(operation)
    if "gen_ai.tool.name" in attributes:
        return kinds.TOOL
    return kinds.AGENT if "agent_name" in attributes else ""


def _is_begin_of_stream(span: Span) -> bool:
    """True for the span that ends where the answer begins."""
    if not span.scope_name.startswith(_OF_SDKS) or _REQUEST not in span.attributes:
        return False
    return span.status_code != StatusCode.ERROR and not any(key in span.attributes for key in _ANSWERED)


def _is_end_of_stream(attributes: Attributes) -> bool:
    return coerce.text(attributes, _TEMPLATE).startswith(_STREAMED)


def _frame(span: Span) -> Frame:
    """The frame of the span; a log of a stream is written when it ended, and tells how long it took."""
    framed = frame(span)
    took = timing.seconds(span.attributes, "duration") if _is_end_of_stream(span.attributes) else None
    if took is not None:
        framed["time_ns"], framed["duration_ns"] = max(framed["time_ns"] - took, 0), took
    return framed


def _usage(attributes: Attributes, response: Json) -> Usage:
    """The provider's own usage, since it has all its parts; else the conventions' counts with details beside them."""
    for reported in (_object(attributes, _RAW_USAGE), response.get("usage")):
        usage = read_reported(reported)
        if not usage.is_empty:
            return usage
    if not any(key.startswith(_DETAILS) and "audio" in key for key in attributes):
        return Usage()  # all that there is has the conventions' names
    return replace(
        read_usage(attributes),
        audio_input_tokens=coerce.count(attributes, genai.USAGE_AUDIO_INPUT_TOKENS, _DETAILS + "input_audio_tokens"),
        audio_output_tokens=coerce.count(attributes, genai.USAGE_AUDIO_OUTPUT_TOKENS, _DETAILS + "output_audio_tokens"),
        audio_cache_read_tokens=coerce.count(
            attributes, genai.USAGE_AUDIO_CACHE_READ_INPUT_TOKENS, _DETAILS + "cache_audio_read_tokens"
        ),
    )


def _finish_reasons(attributes: Attributes, outputs: Sequence[Json]) -> tuple[str, ...]:
    told = coerce.texts(coerce.first(attributes, genai.RESPONSE_FINISH_REASONS))
    if not told:
        answers: Sequence[object] = outputs or read_output(attributes)
        reasons = (each.get("finish_reason") for each in answers if isinstance(each, Mapping))
        told = tuple(reason for reason in reasons if isinstance(reason, str))
    return tuple(finish.canonical(reason) for reason in told)


def _text(told: Json, name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _object(attributes: Attributes, name: str) -> Json:
    value = coerce.first(attributes, name)
    opened: object = coerce.parse_json(value) if isinstance(value, str) else value
    return _mapping(opened)
