"""Claude Code and its Agent SDK: spans of sessions, and events of the same calls as log records.

    span.type                                    interaction, llm_request, tool, tool.execution, hook, ...
    model, gen_ai.request.model                  the model asked; events tell the one that answered
    input_tokens                                 without the cache: cache_read_tokens, cache_creation_tokens beside it
    ttft_ms, attempt, stop_reason                and a span event `gen_ai.request.attempt` for every attempt
    success, status_code, error                  of a failure; the status of the span is ERROR then
    session.id, user.id, user.account_uuid       `user.id` is a device
    cost_usd, cache_creation_1h_tokens           of the event `api_request` only; the cost is by a price list of its own
    prompt, response                             of events, and `<REDACTED>` unless switched on

Source: @anthropic-ai/claude-code 2.1.329, and https://code.claude.com/docs/en/monitoring-usage (November 2026).
`attempt` starts anew when it asks again in another way, so the span events count better.
"""

from collections.abc import Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.figures import counts, told_usd
from tokentrail.backend.dialects.frame import Frame, frame
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import finish, genai, providers
from tokentrail.semconv.usage import Usage

_SCOPE: Final = "com.anthropic.claude_code"
_PREFIX: Final = "claude_code."
_TYPE: Final = "span.type"
_EVENT: Final = "event.name"
_KINDS: Final = {
    "interaction": kinds.AGENT,
    "llm_request": kinds.LLM,
    "tool": kinds.TOOL,
    # Events
    "api_request": kinds.LLM,
    "api_error": kinds.LLM,
    "tool_result": kinds.TOOL,
}
_ATTEMPT_EVENT: Final = "gen_ai.request.attempt"
_OWN_COUNTS: Final = frozenset({_TYPE, "cache_creation_tokens"})
_PROVIDER: Final = "anthropic.provider"
_PROVIDERS: Final = {
    "bedrock": providers.BEDROCK,
    "mantle": providers.BEDROCK,
    "vertex": providers.VERTEX,
    "foundry": providers.AZURE_INFERENCE,
}
"""Who serves the models, where that is not Anthropic itself."""
_FAST: Final = "fast"
"""A speed that has a price of its own."""
_PROPERTIES: Final = ("user.account_uuid", "organization.id")


class ClaudeCode:
    """The dialect."""

    name = "claude_code"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scopes, and for its counts where a collector lost the scope."""
        return scope.startswith(_SCOPE) or _OWN_COUNTS.issubset(keys)

    def read(self, span: Span) -> Row | None:
        """The row of the span, or of the event as a span, of whatever kind."""
        attributes = span.attributes
        kind = _kind(span)
        model = coerce.text(attributes, genai.REQUEST_MODEL, "model")
        usage = read_usage(attributes)
        first_token = timing.milliseconds(attributes, "ttft_ms") if kind == kinds.LLM else None
        of_event = _EVENT in attributes
        return Row(
            **_frame(span),
            kind=kind,
            operation=identity.operation_of_kind(span, kind),
            provider=_PROVIDERS.get(coerce.text(attributes, _PROVIDER)) or identity.provider(span, model),
            request_model="" if of_event else model,
            response_model=model if of_event else "",
            request_id=coerce.text(attributes, "request_id"),
            **counts(usage),
            service_tier=_FAST if coerce.text(attributes, "speed") == _FAST else "",
            **told_usd(coerce.number(attributes, "cost_usd")),
            stream=first_token is not None,
            ttft_ns=first_token,
            retry_count=_retries(span) if kind == kinds.LLM else None,
            finish_reasons=tuple(map(finish.canonical, coerce.texts(coerce.first(attributes, "stop_reason")))),
            user_id=coerce.text(attributes, genai.USER_ID, "user.account_uuid"),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
            properties={name: told for name in _PROPERTIES if (told := coerce.text(attributes, name))},
        )


def read_usage(attributes: Attributes) -> Usage:
    """The counts of a span or an event as inclusive totals."""
    told = Usage(
        input_tokens=coerce.count(attributes, "input_tokens"),
        output_tokens=coerce.count(attributes, "output_tokens"),
        cache_read_tokens=coerce.count(attributes, "cache_read_tokens"),
        cache_write_tokens=coerce.count(attributes, "cache_creation_tokens"),
        cache_write_1h_tokens=coerce.count(attributes, "cache_creation_1h_tokens"),
    )
    return as_totals(told, cache_apart=True)


def _kind(span: Span) -> str:
    told = coerce.text(span.attributes, _TYPE, _EVENT) or span.name
    return _KINDS.get(told.removeprefix(_PREFIX), kinds.OTHER)


def _frame(span: Span) -> Frame:
    attributes = span.attributes
    status = coerce.whole(attributes, genai.HTTP_RESPONSE_STATUS_CODE, "status_code")
    failed = coerce.flag(attributes, "success") is False or coerce.text(attributes, _EVENT).endswith("api_error")
    told = coerce.text(attributes, genai.ERROR_TYPE) or (str(status) if status else "")
    told = told or coerce.text(attributes, "error_class") or "_OTHER"
    framed = frame(span, told if failed else "", coerce.text(attributes, "error"))
    framed["status_code"] = status
    return framed


def _retries(span: Span) -> int | None:
    events = sum(event.name == _ATTEMPT_EVENT for event in span.events)
    attempts = max(coerce.whole(span.attributes, "attempt") or 0, events)
    return attempts - 1 if attempts else None
