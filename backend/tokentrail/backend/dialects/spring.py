"""Spring AI, through Micrometer: every value is a text.

    gen_ai.operation.name   chat, embedding, image ...; "framework" around them
    gen_ai.system           openai, anthropic, bedrock_converse ...; spring_ai around them
    gen_ai.request.model    "none" where nobody named a model, as is the response's of a failed call
    spring.ai.kind          chat_client, advisor, tool_call, vector_store: no model calls
    spring.ai.chat.client.conversation.id, .stream
    gen_ai.usage.total_tokens      input and output as they are told, whatever they include

Anthropic's input leaves the cache out, as does the total, so that neither shows it. Content is in span events
`gen_ai.content.prompt` and `.completion` of 1.0, which are read as the conventions' of v1.27 (`otel_genai`).

Source: code of spring-ai 2.1 (`DefaultChatModelObservationConvention`, `SpringAiKind`, `AnthropicChatModel`; read
November 2026). The tracer is Spring Boot's, `org.springframework.boot`, which traces everything else as well.
"""

from collections.abc import Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import genai, providers
from tokentrail.semconv.usage import Usage

_SCOPE: Final = "org.springframework."
_PREFIXES: Final = ("spring.ai.", "gen_ai.")
_OWN: Final = "spring.ai."
_KIND: Final = "spring.ai.kind"
_KINDS: Final = {
    "chat_client": kinds.CHAIN,
    "advisor": kinds.CHAIN,
    "tool_call": kinds.TOOL,
    "vector_store": kinds.RETRIEVAL,
}
_FRAMEWORK: Final = "framework"
_CONVERSATION: Final = "spring.ai.chat.client.conversation.id"


class SpringAI:
    """The dialect."""

    name = "spring_ai"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for Spring AI's own attributes, and for model calls of Spring Boot's tracer."""
        prefixes = _PREFIXES if scope.startswith(_SCOPE) else _OWN
        return any(key.startswith(prefixes) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes = span.attributes
        operation = identity.operation(span)
        kind = _KINDS.get(coerce.text(attributes, _KIND)) or kinds.kind_of(operation)
        if operation == _FRAMEWORK:
            kind = kind if kind != kinds.OTHER else kinds.CHAIN
        request_model, response_model = (
            coerce.model(attributes, genai.REQUEST_MODEL),
            coerce.model(attributes, genai.RESPONSE_MODEL),
        )
        provider = identity.provider(span, response_model or request_model)
        usage = _usage(attributes, provider)
        stream = coerce.flag(attributes, genai.REQUEST_STREAM, "spring.ai.chat.client.stream")
        conversation = coerce.text(attributes, _CONVERSATION)
        return Row(
            **frame(span),
            kind=kind,
            operation=operation if kind in kinds.BILLABLE else "",
            provider=provider,
            request_model=request_model,
            response_model=response_model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            stream=bool(stream),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID) or conversation,
            conversation_id=conversation,
        )


def _usage(attributes: Attributes, provider: str) -> Usage:
    """The counts as totals; the sender's own total is of no use, as it adds what is told with or without the cache."""
    return as_totals(
        Usage(
            input_tokens=coerce.count(attributes, genai.USAGE_INPUT_TOKENS),
            output_tokens=coerce.count(attributes, genai.USAGE_OUTPUT_TOKENS),
            cache_read_tokens=coerce.count(attributes, genai.USAGE_CACHE_READ_INPUT_TOKENS),
            cache_write_tokens=coerce.count(attributes, genai.USAGE_CACHE_CREATION_INPUT_TOKENS_OLD),
        ),
        cache_apart=True if provider == providers.ANTHROPIC else None,
    )
