"""Gemini CLI: spans in the conventions' names with contents in Gemini's, and events of the same calls as log records.

    gen_ai.operation.name        llm_call, tool_call, agent_call, and others of its own
    gen_ai.input.messages, ...   Gemini's contents; the system prompt is a JSON text, tools are functionDeclarations
    gen_ai.usage.output_tokens   without the thoughts, which spans do not tell; the event does
    gen_ai.prompt.name           the id of the session, and no name of a prompt
    gemini_cli.api_response      model, input_token_count, output_token_count, cached_content_token_count,
                                 thoughts_token_count, total_token_count, session.id: a log record

Source: @google/gemini-cli 0.61.0 (November 2026).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.figures import counts
from tokentrail.backend.dialects.frame import Frame, frame
from tokentrail.backend.dialects.messages import messages_json, parts_json
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

_SCOPE: Final = "gemini-cli"
_EVENT: Final = "event.name"
_EVENTS: Final = {
    "gemini_cli.api_response": kinds.LLM,
    "gemini_cli.api_error": kinds.LLM,
    "gemini_cli.tool_call": kinds.TOOL,
}


class GeminiCli:
    """The dialect."""

    name = "gemini_cli"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scope."""
        return scope == _SCOPE

    def read(self, span: Span) -> Row | None:
        """The row of the span, or of the event as a span, of whatever kind."""
        attributes = span.attributes
        event = coerce.text(attributes, _EVENT)
        operation = "" if event else identity.operation(span)
        kind = _EVENTS.get(event, kinds.OTHER) if event else kinds.kind_of(operation)
        model = coerce.text(attributes, genai.REQUEST_MODEL, "model")
        return Row(
            **_frame(span, event),
            kind=kind,
            operation=operation or kinds.OPERATION_OF.get(kind, ""),
            provider=identity.provider(span, model),
            request_model=model,
            response_model="",
            **counts(read_usage(attributes)),
            finish_reasons=tuple(map(finish.canonical, coerce.texts(coerce.first(attributes, "finish_reasons")))),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
            input_messages=messages_json(coerce.opened(coerce.first(attributes, genai.INPUT_MESSAGES)), "user"),
            output_messages=messages_json(coerce.opened(coerce.first(attributes, genai.OUTPUT_MESSAGES)), "assistant"),
            system=parts_json(coerce.opened(coerce.first(attributes, genai.SYSTEM_INSTRUCTIONS))),
            tools=tools_json(coerce.opened(coerce.first(attributes, genai.TOOL_DEFINITIONS))),
        )


def read_usage(attributes: Attributes) -> Usage:
    """The counts of an event as inclusive totals; empty for a span, whose counts are the conventions'."""
    told = Usage(
        input_tokens=coerce.count(attributes, "input_token_count"),
        output_tokens=coerce.count(attributes, "output_token_count"),
        cache_read_tokens=coerce.count(attributes, "cached_content_token_count"),
        reasoning_tokens=coerce.count(attributes, "thoughts_token_count"),
    )
    thoughts = told.reasoning_tokens
    if thoughts and told.output_tokens is not None and NOT_A_COUNT not in (thoughts, told.output_tokens):
        told = replace(told, output_tokens=told.output_tokens + thoughts)
    return as_totals(told, cache_apart=False)


def _frame(span: Span, event: str) -> Frame:
    attributes = span.attributes
    message = coerce.text(attributes, "error", "error.message")
    failed = event == "gemini_cli.api_error"
    told = coerce.text(attributes, genai.ERROR_TYPE, "error_type", "status_code") or "_OTHER"
    return frame(span, told if failed else "", message if failed else "")
