"""Codex CLI: spans of its turns, and events of the same calls as log records.

    session_task.turn        model, thread.id, codex.turn.token_usage.*: a turn, which may be several requests
    handle_responses         gen_ai.usage.*, codex.usage.*, codex.request.*: one event of a stream, without a model
    codex.sse_event          event.kind, model, conversation.id, input_token_count, ...: a log record, without a span
    run_sampling_request, get_model_info, built_tools, ...      name a model and are no calls

The turn is the row: of all spans it alone says model, tokens and session together. Inputs include the cache.
Source: @openai/codex 0.169.0 (November 2026), of whose four hundred spans a turn a dozen name a model.
"""

from collections.abc import Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, kinds, timing
from tokentrail.backend.dialects.figures import counts
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import genai, providers
from tokentrail.semconv.usage import Usage

_SCOPES: Final = ("codex_", "codex-")
_EVENT: Final = "event.name"
_TURN: Final = "codex.turn.token_usage."
_TURN_TOTAL: Final = _TURN + "total_tokens"
_INPUT: Final = (_TURN + "input_tokens", "input_token_count")


class Codex:
    """The dialect."""

    name = "codex"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scopes, which are its programs' names, and for attributes of its own."""
        return scope.startswith(_SCOPES) or any(key.startswith("codex.") for key in keys)

    def read(self, span: Span) -> Row | None:
        """The row of the turn or event, and the kind of others."""
        attributes = span.attributes
        kind = _kind(attributes)
        model = coerce.text(attributes, "model", genai.REQUEST_MODEL) if kind == kinds.LLM else ""
        first_token = timing.milliseconds(attributes, "ttft_ms")
        return Row(
            **frame(span, error_message=coerce.text(attributes, "error.message")),
            kind=kind,
            operation=kinds.OPERATION_OF.get(kind, ""),
            provider=providers.of_model(model) or (providers.OPENAI if kind == kinds.LLM else ""),
            request_model=model,
            response_model="",
            **counts(read_usage(attributes) if kind == kinds.LLM else Usage()),
            stream=kind == kinds.LLM,
            ttft_ns=first_token,
            user_id=coerce.text(attributes, genai.USER_ID, "user.account_id"),
            session_id=_session(attributes),
        )


def read_usage(attributes: Attributes) -> Usage:
    """The counts of a turn or an event as inclusive totals."""
    told = Usage(
        input_tokens=coerce.count(attributes, *_INPUT),
        output_tokens=coerce.count(attributes, _TURN + "output_tokens", "output_token_count"),
        cache_read_tokens=coerce.count(attributes, _TURN + "cached_input_tokens", "cached_token_count"),
        cache_write_tokens=coerce.count(attributes, _TURN + "cache_write_input_tokens", "cache_write_token_count"),
        reasoning_tokens=coerce.count(attributes, _TURN + "reasoning_output_tokens", "reasoning_token_count"),
    )
    return as_totals(told, cache_apart=False)


def _kind(attributes: Attributes) -> str:
    event = coerce.text(attributes, _EVENT)
    if event.startswith("codex.tool_"):
        return kinds.TOOL
    if event:  # of every stream two records say that it is complete, and one of them what was used
        completed = event == "codex.sse_event" and coerce.text(attributes, "event.kind") == "response.completed"
        return kinds.LLM if completed and "input_token_count" in attributes else kinds.OTHER
    return kinds.LLM if _TURN_TOTAL in attributes else kinds.OTHER


def _session(attributes: Attributes) -> str:
    """The conversation; `thread.id` on most spans is a thread of the operating system, by a number."""
    thread = attributes.get("thread.id")
    return coerce.text(attributes, "conversation.id") or (thread if isinstance(thread, str) else "")
