"""OpenTelemetry GenAI spans of every era, Tokentrail's own among them.

    v1.26   gen_ai.system, gen_ai.usage.prompt_tokens / completion_tokens, content in events
    v1.27+  gen_ai.usage.input_tokens / output_tokens
    v1.37+  gen_ai.provider.name, message attributes
    v1.40+  cache_creation, reasoning, request.stream, time_to_first_chunk
    later   cache_write; and `tokentrail.*` for what the conventions do not define

The era is never asked for: of each field the newest name wins. Conventions: see `semconv/genai.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.content import read_content
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.reported_cost import ReportedCost, read_cost
from tokentrail.backend.dialects.tokens import read_usage
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import Usage

_PREFIX: Final = "gen_ai."
_OWN_PREFIX: Final = "tokentrail."
_USER: Final = (genai.USER_ID, genai.ENDUSER_ID, "gen_ai.user", "gen_ai.request.user", "gen_ai.user.id")
_SESSION: Final = (genai.SESSION_ID, genai.CONVERSATION_ID, "gen_ai.session.id")
_FINISH_REASONS: Final = (genai.RESPONSE_FINISH_REASONS, "anthropic.message.stop_reason")
"""The second is in the spans of Anthropic's own SDK (anthropic 2)."""
_STREAM: Final = (genai.REQUEST_STREAM, "gen_ai.is_streaming", "gen_ai.response.streaming")
_TIER: Final = (
    genai.OPENAI_RESPONSE_SERVICE_TIER,
    genai.OPENAI_RESPONSE_SERVICE_TIER_OLD,
    genai.RESPONSE_SERVICE_TIER,
)


class OtelGenAI:
    """The dialect."""

    name = "otel_genai"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any `gen_ai.*` attribute, but on spans of `Tokentrail`."""
        return _has(keys, _PREFIX) and not _has(keys, _OWN_PREFIX)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes = span.attributes
        reported, usage = read_cost(attributes), read_usage(attributes)
        return _row(span, identity.operation(span), usage, reported or ReportedCost())


class Tokentrail(OtelGenAI):
    """The dialect on spans that Tokentrail made, completed or only put a session on: it goes before others' words."""

    name = "tokentrail"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any `tokentrail.*` attribute."""
        return _has(keys, _OWN_PREFIX)


def _has(keys: Sequence[str], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in keys)


def _row(span: Span, operation: str, usage: Usage, reported: ReportedCost) -> Row:
    attributes, content = span.attributes, read_content(span)
    request_model = coerce.model(attributes, genai.REQUEST_MODEL)
    response_model = coerce.model(attributes, genai.RESPONSE_MODEL)
    first_token = timing.first_token_ns(span)
    stream = _is_stream(attributes, first_token)
    return Row(
        **frame(span),
        kind=kinds.kind_of(operation),
        operation=operation,
        provider=identity.provider(span, response_model or request_model),
        request_model=request_model,
        response_model=response_model,
        response_id=coerce.text(attributes, genai.RESPONSE_ID),
        request_id=coerce.text(attributes, genai.PROVIDER_REQUEST_ID),
        conversation_id=coerce.text(attributes, genai.CONVERSATION_ID),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        audio_input_tokens=usage.audio_input_tokens,
        audio_output_tokens=usage.audio_output_tokens,
        audio_cache_read_tokens=usage.audio_cache_read_tokens,
        image_input_tokens=usage.image_input_tokens,
        image_output_tokens=usage.image_output_tokens,
        web_searches=usage.web_searches,
        service_tier=coerce.text(attributes, *_TIER),
        pricing_model=coerce.text(attributes, genai.PRICING_MODEL),
        cost_usd=reported.cost_usd,
        cost_components=reported.cost_components,
        cost_source=reported.cost_source,
        pricing_status=reported.pricing_status,
        price_version=reported.price_version,
        price_entry=reported.price_entry,
        pricing_tier=reported.pricing_tier,
        pricing_assumptions=reported.pricing_assumptions,
        stream=stream,
        # Some (OpenLIT) write the whole duration of a call that is no stream.
        ttft_ns=first_token if stream else None,
        time_to_first_chunk_ns=timing.seconds(attributes, genai.RESPONSE_TIME_TO_FIRST_CHUNK) if stream else None,
        stream_exit=coerce.text(attributes, genai.STREAM_EXIT),
        retry_count=coerce.whole(attributes, genai.RETRY_COUNT),
        finish_reasons=tuple(
            finish.canonical(reason) for reason in coerce.texts(coerce.first(attributes, *_FINISH_REASONS))
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


def _is_stream(attributes: Attributes, first_token_ns: int | None) -> bool:
    told = coerce.flag(attributes, *_STREAM)
    return first_token_ns is not None if told is None else told


def _properties(attributes: Attributes) -> Mapping[str, str]:
    prefix = genai.PROPERTY_PREFIX
    return {
        key.removeprefix(prefix): coerce.as_text(value) for key, value in attributes.items() if key.startswith(prefix)
    }
