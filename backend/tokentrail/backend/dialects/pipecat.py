"""Pipecat: voice agents, whose model calls are in the conventions' names but for content and times.

    gen_ai.*              operation, provider, models, counts with all their parts
    input, output         JSON of messages in the vendor's shape, and the text of the answer
    tools                 JSON of definitions in the vendor's shape
    stream, metrics.ttfb  seconds to the first byte
    conversation.id       of the span around all turns

Anthropic's and Bedrock's input leave the cache out, as these vendors count. Speech (`tts`, `stt`) names a model and is
no call of one. Source: the code of pipecat-ai 1.14.0 (November 2026).
"""

from collections.abc import Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.figures import counts
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import messages_json
from tokentrail.backend.dialects.tokens import read_usage
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.semconv import genai, providers

_SCOPE: Final = "pipecat"
_CACHE_APART: Final = frozenset({providers.ANTHROPIC, providers.BEDROCK})


class Pipecat:
    """The dialect."""

    name = "pipecat"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scopes."""
        return scope == _SCOPE or scope.startswith(_SCOPE + ".")

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind; the content of model calls only."""
        attributes = span.attributes
        operation = identity.operation(span)
        kind = kinds.kind_of(operation) or kinds.OTHER
        billable = kind in kinds.BILLABLE
        request_model = coerce.text(attributes, genai.REQUEST_MODEL)
        provider = identity.provider(span, request_model)
        stream = bool(coerce.flag(attributes, genai.REQUEST_STREAM, "stream"))
        asked, answered = (coerce.opened(coerce.first(attributes, name)) for name in ("input", "output"))
        return Row(
            **frame(span),
            kind=kind,
            operation=operation if billable else "",
            provider=provider,
            request_model=request_model,
            response_model=coerce.text(attributes, genai.RESPONSE_MODEL),
            **counts(read_usage(attributes, cache_apart=True if provider in _CACHE_APART else None)),
            stream=stream,
            ttft_ns=timing.seconds(attributes, "metrics.ttfb") if stream and billable else None,
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID, "conversation.id"),
            input_messages=messages_json(asked, "user") if billable and asked is not None else "",
            output_messages=messages_json(answered, "assistant") if billable and answered is not None else "",
            tools=tools_json(coerce.opened(coerce.first(attributes, "tools"))) if billable else "",
        )
