"""Strands Agents.

    invoke_agent <name>              usage added up
      execute_event_loop_cycle       one turn
        chat                         one request; gen_ai.system or gen_ai.provider.name is strands-agents
        execute_tool <name>

    gen_ai.usage.prompt_tokens and .input_tokens   the same twice; the input includes the cache (before, Bedrock's
                                                   did not, and its total tells)
    gen_ai.server.time_to_first_token              milliseconds
    gen_ai.system.message, .user.message, ...      span events, `content` in Bedrock's blocks
    gen_ai.choice                                  span event, `message` in Bedrock's blocks, `finish_reason`

With `OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental` content is in several events of the conventions'
`gen_ai.client.inference.operation.details`, one for each attribute. What an application says of itself
(`trace_attributes`) arrives in plain attributes, such as `session.id`. Until 1.0 spans were called `Model invoke`,
`Cycle <id>` and `Tool: <name>`.

Source: spans and code of strands-agents 1.62.0 (November 2026).
"""

from collections.abc import Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import messages_json
from tokentrail.backend.dialects.tokens import read_usage
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.semconv import finish, genai

_SCOPE: Final = "strands"
_KEYS: Final = frozenset({"event_loop.cycle_id", "gen_ai.event.start_time"})
_CYCLE: Final = "execute_event_loop_cycle"
_OLD_NAMES: Final = {"Model": kinds.LLM, "Tool:": kinds.TOOL, "Cycle": kinds.CHAIN}
_INPUT_EVENTS: Final = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
_CHOICE: Final = "gen_ai.choice"
_TTFT: Final = "gen_ai.server.time_to_first_token"


class Strands:
    """The dialect."""

    name = "strands"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for the tracer of Strands, and for what only it writes."""
        return scope.startswith(_SCOPE) or not _KEYS.isdisjoint(keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes = span.attributes
        kind, operation = _identity(span)
        request_model = coerce.text(attributes, genai.REQUEST_MODEL)
        usage = read_usage(attributes)
        # One that generates content always streams, also from a model that does not.
        first_token = timing.milliseconds(attributes, _TTFT)
        inputs, outputs, reasons = _content(span)
        return Row(
            **frame(span),
            kind=kind,
            operation=operation,
            provider=identity.provider(span, request_model),
            request_model=request_model,
            response_model=coerce.text(attributes, genai.RESPONSE_MODEL),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            stream=first_token is not None,
            ttft_ns=first_token,
            finish_reasons=reasons,
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
            input_messages=inputs,
            output_messages=outputs,
            system=_detail(span, genai.SYSTEM_INSTRUCTIONS),
        )


def _identity(span: Span) -> tuple[str, str]:
    told = coerce.text(span.attributes, genai.OPERATION_NAME)
    if told == _CYCLE:
        return kinds.CHAIN, ""
    if not told and span.scope_name.startswith(_SCOPE):
        kind = _OLD_NAMES.get(span.name.partition(" ")[0])
        if kind is not None:
            return kind, kinds.OPERATION_OF.get(kind, "")
    operation = identity.operation(span)
    return kinds.kind_of(operation), operation


def _content(span: Span) -> tuple[str, str, tuple[str, ...]]:
    """Input and output messages, and why the model stopped."""
    inputs = [
        {"role": _INPUT_EVENTS[event.name], "content": coerce.opened(event.attributes.get("content"))}
        for event in span.events
        if event.name in _INPUT_EVENTS
    ]
    choices = [event.attributes for event in span.events if event.name == _CHOICE]
    outputs = [
        {"role": "assistant", "content": coerce.opened(each.get("message")), "finish_reason": each.get("finish_reason")}
        for each in choices
    ]
    reasons = tuple(finish.canonical(reason) for each in choices if (reason := coerce.text(each, "finish_reason")))
    told = _detail(span, genai.OUTPUT_MESSAGES)
    return (
        messages_json(inputs, "user") if inputs else _detail(span, genai.INPUT_MESSAGES),
        messages_json(outputs, "assistant") if outputs else told,
        reasons or _reasons(told),
    )


def _reasons(written: str) -> tuple[str, ...]:
    messages = coerce.parse_json(written)
    told = (
        [each.get("finish_reason") for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []
    )
    return tuple(finish.canonical(reason) for reason in told if isinstance(reason, str) and reason)


def _detail(span: Span, name: str) -> str:
    """What the first details event that has the attribute says; content is the conventions' already."""
    events = (event for event in span.events if event.name == genai.INFERENCE_DETAILS_EVENT)
    return next((text for event in events if (text := coerce.text(event.attributes, name))), "")
