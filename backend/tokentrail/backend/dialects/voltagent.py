"""VoltAgent: agents, their model calls, tools and memory.

    span.type                        llm, tool, memory, retriever, guardrail, ...; agents have none, and
    entity.type                      agent, workflow, on every span of theirs
    llm.model, llm.provider, llm.operation, llm.stream, llm.attempt, llm.finish_reason, llm.messages (JSON)
    llm.usage.*                      prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens: of the last step
    usage.*                          the same of an agent: of all steps; usage.cost what OpenRouter charged
    user.id, conversation.id, voltagent.conversation_id

Inputs include the cache. A model span that went on over several steps with tools tells the tokens of its last step.
So it is given those of its agent, which are of all steps and of no other agent (`whole_usages`).
Source: @voltagent/core 2.10.0 (November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.figures import Counts, counts, told_usd
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import messages_json
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import cost, finish, genai
from tokentrail.semconv.usage import Usage

_SCOPE: Final = "@voltagent/core"
_PREFIX: Final = "voltagent."
_TYPE: Final = "span.type"
_ENTITY: Final = "entity.type"
_KINDS: Final = {
    "llm": kinds.LLM,
    "embedding": kinds.EMBEDDING,
    "tool": kinds.TOOL,
    "agent": kinds.AGENT,
    "workflow": kinds.WORKFLOW,
    "memory": kinds.MEMORY,
    "retriever": kinds.RETRIEVAL,
    "guardrail": kinds.GUARDRAIL,
    "summary": kinds.CHAIN,
}
_USAGES: Final = ("llm.usage.", "usage.")
_SESSION: Final = (genai.SESSION_ID, genai.CONVERSATION_ID, "conversation.id", "voltagent.conversation_id")


class VoltAgent:
    """The dialect."""

    name = "voltagent"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scope, and for attributes of its own."""
        return scope == _SCOPE or (_ENTITY in keys and _TYPE in keys) or any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes = span.attributes
        told = coerce.text(attributes, _TYPE, _ENTITY).lower()
        kind = _KINDS.get(told, kinds.OTHER)
        is_call = kind in kinds.BILLABLE
        model = coerce.text(attributes, "llm.model", "llm.model_id", "ai.model.name", genai.REQUEST_MODEL)
        attempt = coerce.whole(attributes, "llm.attempt")
        asked = coerce.first(attributes, "llm.messages", "input") if is_call else None
        answered = coerce.first(attributes, "output") if kind == kinds.LLM else None
        return Row(
            **frame(span),
            kind=kind,
            operation=identity.operation_of_kind(span, kind),
            provider=identity.provider(span, model, "llm.provider", "ai.model.provider") if is_call else "",
            request_model=model,
            response_model="",
            **counts(_usage(attributes)),
            **told_usd(coerce.number(attributes, "usage.cost"), cost.Source.PROVIDER),
            stream=coerce.flag(attributes, "llm.stream") or False,
            retry_count=attempt - 1 if attempt else None,
            finish_reasons=_finish_reasons(attributes),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID),
            session_id=coerce.text(attributes, *_SESSION),
            input_messages=messages_json(coerce.opened(asked), "user"),
            output_messages=messages_json(coerce.opened(answered), "assistant"),
        )


def whole_usages(spans: Sequence[Span]) -> Mapping[tuple[str, str], Counts]:
    """The counts of model spans, by trace and span id, where the agent above tells more: of all steps.

    Only where both are among `spans`, and the agent has this one model span that tells any: else it is not known how
    much is whose, and the span keeps what it tells itself.
    """
    ours = [span for span in spans if span.scope_name == _SCOPE]
    calls: dict[tuple[str, str], list[tuple[Span, Usage]]] = {}
    for span in ours:
        if coerce.text(span.attributes, _TYPE).lower() == "llm" and _total(usage := _usage(span.attributes)):
            calls.setdefault((span.trace_id, span.parent_span_id), []).append((span, usage))
    found: dict[tuple[str, str], Counts] = {}
    for agent in ours if calls else ():
        below = calls.get((agent.trace_id, agent.span_id), ())
        if len(below) == 1 and coerce.text(agent.attributes, _TYPE, _ENTITY).lower() == "agent":
            ((call, last),) = below
            if _total(whole := _usage(agent.attributes)) > _total(last):
                found[call.trace_id, call.span_id] = counts(whole)
    return found


def _total(usage: Usage) -> int:
    return 0 if usage.problem() else (usage.input_tokens or 0) + (usage.output_tokens or 0)


def _usage(attributes: Attributes) -> Usage:
    def count(name: str) -> int | None:
        return coerce.count(attributes, *(before + name for before in _USAGES))

    told = Usage(
        input_tokens=count("prompt_tokens"),
        output_tokens=count("completion_tokens"),
        cache_read_tokens=count("cached_tokens"),
        reasoning_tokens=count("reasoning_tokens"),
    )
    return as_totals(told, cache_apart=False)


def _finish_reasons(attributes: Attributes) -> tuple[str, ...]:
    told = coerce.text(attributes, "llm.finish_reason", "ai.response.finish_reason")
    return (finish.canonical(told),) if told else ()
