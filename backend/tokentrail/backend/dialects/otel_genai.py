"""OpenTelemetry GenAI spans of every era, Tokentrail's own among them.

    v1.26   gen_ai.system, gen_ai.usage.prompt_tokens / completion_tokens, content in events
    v1.27+  gen_ai.usage.input_tokens / output_tokens
    v1.37+  gen_ai.provider.name, message attributes
    v1.40+  cache_creation, reasoning, request.stream, time_to_first_chunk
    later   cache_write; and `tokentrail.*` for what the conventions do not define

The era is never asked for: of each field the newest name wins. Conventions: see `semconv/genai.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.content import CONTENT, Content, choice_reasons, read_content
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.reported_cost import COST, ReportedCost, read_cost
from tokentrail.backend.dialects.tokens import Counters, counters, read_usage
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import Usage

_PREFIX: Final = "gen_ai."
_OWN_PREFIX: Final = "tokentrail."
_USER: Final = (genai.USER_ID, genai.ENDUSER_ID, "gen_ai.user", "gen_ai.request.user", "gen_ai.user.id")
_SESSION: Final = (
    *(genai.SESSION_ID, genai.CONVERSATION_ID, "gen_ai.session.id"),
    *("conversation.id", "wandb.thread_id", "thread_id"),
)
_FINISH_REASONS: Final = (genai.RESPONSE_FINISH_REASONS, "anthropic.message.stop_reason")
"""The second is in the spans of Anthropic's own SDK (anthropic 2)."""
_STREAM: Final = (genai.REQUEST_STREAM, "gen_ai.is_streaming", "gen_ai.response.streaming")
_TIER: Final = (
    genai.OPENAI_RESPONSE_SERVICE_TIER,
    genai.OPENAI_RESPONSE_SERVICE_TIER_OLD,
    genai.RESPONSE_SERVICE_TIER,
)
_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "response_id": (genai.RESPONSE_ID,),
    "request_id": (genai.PROVIDER_REQUEST_ID,),
    "conversation_id": (genai.CONVERSATION_ID,),
    "service_tier": _TIER,
    "pricing_model": (genai.PRICING_MODEL,),
    "stream_exit": (genai.STREAM_EXIT,),
    "user_id": _USER,
    "session_id": _SESSION,
    "session_name": (genai.SESSION_NAME, "gen_ai.workflow.name"),
    "session_path": (genai.SESSION_PATH,),
    "prompt_name": (genai.PROMPT_NAME,),
    "prompt_version": (genai.PROMPT_VERSION,),
}
_WHOLES: Final[Mapping[str, tuple[str, ...]]] = {
    "retry_count": (genai.RETRY_COUNT,),
    "ratelimit_limit_requests": (genai.RATELIMIT_LIMIT_REQUESTS,),
    "ratelimit_remaining_requests": (genai.RATELIMIT_REMAINING_REQUESTS,),
    "ratelimit_limit_tokens": (genai.RATELIMIT_LIMIT_TOKENS,),
    "ratelimit_remaining_tokens": (genai.RATELIMIT_REMAINING_TOKENS,),
}
_COST_FIELDS: Final = tuple(field.name for field in fields(ReportedCost))
_USAGE_FIELDS: Final = tuple(field.name for field in fields(Usage))
_usage_values: Final = attrgetter(*_USAGE_FIELDS)
_CONTENT_FIELDS: Final = tuple(field.name for field in fields(Content))

_SHAPES: Final = 4096
"""Shapes of spans (their keys) that are remembered."""
_MAX_KEYS: Final = 200
"""A span with more is looked at each time: its shape is likely its own, and would fill the memory."""


class OtelGenAI:
    """The dialect."""

    name = "otel_genai"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any `gen_ai.*` attribute, but on spans of `Tokentrail`."""
        return _has(keys, _PREFIX) and not _has(keys, _OWN_PREFIX)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        return _row(span, _shape_for(span))

    def counts_for_nothing(self, span: Span) -> bool:
        """True for a span that, in this dialect, is no billable call and tells neither usage, cost nor whose it is."""
        shape = _shape_for(span)
        if shape.has_usage or shape.has_cost or shape.tells_whose:
            return False
        return kinds.kind_of(identity.operation(span)) not in kinds.BILLABLE


class Tokentrail(OtelGenAI):
    """The dialect on spans that Tokentrail made, completed or only put a session on: it goes before others' words."""

    name = "tokentrail"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any `tokentrail.*` attribute."""
        return _has(keys, _OWN_PREFIX)


def _has(keys: Sequence[str], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in keys)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What there is to read on spans with the same attributes."""

    texts: tuple[tuple[str, tuple[str, ...]], ...]
    """Fields of `Row`, with the names to look for."""
    wholes: tuple[tuple[str, tuple[str, ...]], ...]
    counters: Counters
    has_usage: bool
    has_cost: bool
    tells_whose: bool
    """Whether there is a user or a session, which calls below the span may lack (`ingest/trace_wide.py`)."""
    has_content: bool
    has_finish: bool
    may_stream: bool
    properties: tuple[tuple[str, str], ...]
    """Attributes that are properties, with their names."""


def _shape_of(keys: tuple[str, ...]) -> _Shape:
    known = frozenset(keys)
    prefix = genai.PROPERTY_PREFIX
    counted = counters(known)
    return _Shape(
        texts=_present(_TEXTS, known),
        wholes=_present(_WHOLES, known),
        counters=counted,
        has_usage=bool(counted) or genai.USAGE_STATUS in known,
        has_cost=not known.isdisjoint(COST),
        tells_whose=not known.isdisjoint((*_USER, *_SESSION, *_TEXTS["session_name"])),
        has_content=not known.isdisjoint(CONTENT),
        has_finish=not known.isdisjoint(_FINISH_REASONS),
        may_stream=not known.isdisjoint((*_STREAM, *timing.FIRST_TOKEN)),
        properties=tuple((key, key.removeprefix(prefix)) for key in keys if key.startswith(prefix)),
    )


def _shape_for(span: Span) -> _Shape:
    keys = tuple(span.attributes)
    return _shape(keys) if len(keys) <= _MAX_KEYS else _shape_of(keys)


def _present(names_of: Mapping[str, tuple[str, ...]], keys: frozenset[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = ((field, tuple(name for name in names if name in keys)) for field, names in names_of.items())
    return tuple((field, names) for field, names in found if names)


_shape: Final = lru_cache(maxsize=_SHAPES)(_shape_of)


def _row(span: Span, shape: _Shape) -> Row:
    attributes = span.attributes
    operation = identity.operation(span)
    told: dict[str, Any] = {**frame(span), "operation": operation, "kind": kinds.kind_of(operation)}
    for field, names in shape.texts:
        told[field] = coerce.text(attributes, *names)
    for field, names in shape.wholes:
        told[field] = coerce.whole(attributes, *names)
    told["request_model"] = request_model = coerce.model(attributes, genai.REQUEST_MODEL)
    told["response_model"] = response_model = coerce.model(attributes, genai.RESPONSE_MODEL)
    told["provider"] = identity.provider(span, response_model or request_model)
    if shape.has_usage:
        usage = read_usage(attributes, told_by=shape.counters)
        told.update(zip(_USAGE_FIELDS, _usage_values(usage), strict=True))
    if shape.has_cost and (reported := read_cost(attributes)) is not None:
        _take(told, _COST_FIELDS, reported)
    if shape.may_stream:
        _take_timing(told, span)
    if shape.has_finish:
        told["finish_reasons"] = tuple(map(finish.canonical, _reasons(attributes)))
    elif span.events:
        told["finish_reasons"] = tuple(map(finish.canonical, choice_reasons(span)))
    if shape.properties:
        told["properties"] = {name: coerce.as_text(attributes[key]) for key, name in shape.properties}
    if shape.has_content or span.events:
        _take(told, _CONTENT_FIELDS, read_content(span))
    return Row(**told)


def _take(told: dict[str, Any], names: tuple[str, ...], source: object) -> None:
    for name in names:
        told[name] = getattr(source, name)


def _take_timing(told: dict[str, Any], span: Span) -> None:
    first_token = timing.first_token_ns(span)
    if _is_stream(span.attributes, first_token):
        # Some (OpenLIT) write the whole duration of a call that is no stream.
        told["stream"], told["ttft_ns"] = True, first_token
        told["time_to_first_chunk_ns"] = timing.seconds(span.attributes, genai.RESPONSE_TIME_TO_FIRST_CHUNK)


def _reasons(attributes: Attributes) -> tuple[str, ...]:
    return coerce.texts(coerce.first(attributes, *_FINISH_REASONS))


def _is_stream(attributes: Attributes, first_token_ns: int | None) -> bool:
    told = coerce.flag(attributes, *_STREAM)
    return first_token_ns is not None if told is None else told
