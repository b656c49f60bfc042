"""OpenLIT: its Python SDK, which writes the conventions' names and means something else by some of them.

    gen_ai.usage.input_tokens     without the cache where the provider's own count is without it (Anthropic, Bedrock)
    gen_ai.usage.cost             USD by its own price list; 0 for a model that the list does not have
    gen_ai.client.token.usage     a metric's name, as an attribute: input and output, no source
    gen_ai.input.messages         the system prompt once more, which gen_ai.system_instructions has
    gen_ai.operation.name         values of its own for images, speech, vector stores and memories
    openlit.*, gen_ai.sdk.version, gen_ai.application_name, gen_ai.environment

All else is read as the conventions (`otel_genai`). A call to Anthropic that failed has no attributes at all (1.45.0):
the span's name and scope tell which it was.

Source: spans and the code of openlit 1.45.0 (November 2026).
"""

import re
from collections.abc import Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.tokens import read_usage
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import genai, providers

_SCOPE: Final = "openlit."
_OF_ONE_SDK: Final = "openlit.instrumentation."
_MARKS: Final = frozenset({"gen_ai.sdk.version", "gen_ai.application_name", "gen_ai.client.token.usage"})

_CACHE_APART: Final = frozenset({providers.ANTHROPIC, providers.BEDROCK})
"""Providers whose counts leave the cache out, and OpenLIT's with them; its instrumentations of frameworks count all."""

_USER: Final = (genai.USER_ID, genai.ENDUSER_ID, "gen_ai.request.user", "gen_ai.user.id")
_SESSION: Final = (genai.SESSION_ID, genai.CONVERSATION_ID, "gen_ai.session.id")
_SYSTEM_ROLE: Final = re.compile(r'\[\s*\{\s*"role":\s*"system"')

_GENERATED: Final = (
    *("image", "audio", "video", "text_to_speech", "speech_to_text", "speech_to_text_translate"),
    *("translate", "transliterate", "language_identification"),
)
_MEMORY: Final = "memory"
_KINDS: Final = {
    "mcp_tool_call": kinds.TOOL,
    **dict.fromkeys(("task", "execution", "user_prompt_processing", "tool_coordination"), kinds.CHAIN),
}


class OpenLIT:
    """The dialect."""

    name = "openlit"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scopes, and for attributes that only it writes."""
        return scope.startswith(_SCOPE) or not _MARKS.isdisjoint(keys) or any(key.startswith(_SCOPE) for key in keys)

    def read(self, span: Span) -> Row | None:
        """What the span says that its `gen_ai.*` attributes do not, or say wrongly."""
        attributes = span.attributes
        kind, operation, model = _identity(span)
        response_model = coerce.text(attributes, genai.RESPONSE_MODEL)
        provider = _provider(span, response_model or model)
        usage = read_usage(attributes, cache_apart=_cache_is_apart(span.scope_name, provider))
        framed = frame(span)
        framed["service"] = framed["service"] or coerce.text(attributes, "gen_ai.application_name")
        framed["environment"] = framed["environment"] or coerce.text(attributes, "gen_ai.environment")
        return Row(
            **framed,
            kind=kind,
            operation=operation,
            provider=provider,
            request_model=model,
            response_model=response_model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            audio_input_tokens=usage.audio_input_tokens,
            audio_output_tokens=usage.audio_output_tokens,
            user_id=coerce.text(attributes, *_USER),
            session_id=coerce.text(attributes, *_SESSION),
            input_messages=_input_messages(attributes),
        )


def _identity(span: Span) -> tuple[str, str, str]:
    """Kind, operation and request model."""
    named = coerce.text(span.attributes, genai.OPERATION_NAME).strip().lower()
    model = coerce.text(span.attributes, genai.REQUEST_MODEL)
    if not named and span.scope_name.startswith(_OF_ONE_SDK):
        word, _, rest = span.name.partition(" ")
        if kinds.kind_of(kinds.operation_of(word)) in kinds.BILLABLE:
            named, model = word, model or rest
    if named in _GENERATED:
        return kinds.LLM, genai.Operation.GENERATE_CONTENT, model
    if named == _MEMORY or named.startswith(_MEMORY + "_"):
        return kinds.MEMORY, "", model
    operation = kinds.operation_of(named) if named else identity.operation(span)
    return _KINDS.get(named) or kinds.kind_of(operation), operation, model


def _input_messages(attributes: Attributes) -> str:
    """The messages without the system prompt, where it is told apart; empty where they are as they should be."""
    system, told = coerce.text(attributes, genai.SYSTEM_INSTRUCTIONS), coerce.text(attributes, genai.INPUT_MESSAGES)
    if not system or _SYSTEM_ROLE.match(told) is None:
        return ""
    messages = coerce.parse_json(told)
    if not isinstance(messages, list) or len(messages) < 2 or not isinstance(messages[0], dict):
        return ""
    if messages[0].get("parts") != coerce.parse_json(system):
        return ""
    return coerce.written(messages[1:])


def _provider(span: Span, model: str) -> str:
    """As the conventions have it; a span without attributes has a scope that is named after the provider's SDK."""
    if provider := identity.provider(span, model):
        return provider
    sdk = span.scope_name.removeprefix(_OF_ONE_SDK)
    found = providers.canonical(sdk) if sdk != span.scope_name else ""
    return found if found in providers.known() else ""


def _cache_is_apart(scope: str, provider: str) -> bool | None:
    """True where the input is without the cache; `None` where the numbers have to tell.

    Each instrumentation has a scope of its own. Older versions had one for all, so that the provider tells.
    """
    if scope.startswith(_OF_ONE_SDK):
        return True if providers.canonical(scope.removeprefix(_OF_ONE_SDK)) in _CACHE_APART else None
    return True if provider in _CACHE_APART else None
