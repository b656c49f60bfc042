"""AgentOps: its instrumentations of providers, and decorated functions.

    gen_ai.request.type                        chat, completion, embedding, ...
    gen_ai.prompt.N.*, gen_ai.completion.N.*   messages, flattened as OpenLLMetry had them
    gen_ai.request.functions.N.*               tools
    gen_ai.request.streaming, gen_ai.streaming.time_to_first_token (s), gen_ai.user
    agentops.span.kind                         session, agent, tool, task, operation, workflow, llm, ...; or the name of
                                               an enumeration's member, `AgentOpsSpanKindValues.TOOL`
    agentops.<kind>.input, .output, agentops.entity.*

Counts are in the conventions' names of old, and leave the parts out; `gen_ai.system` is capitalised.
Source: agentops 0.4.21 (November 2026).
"""

from collections.abc import Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, indexed, kinds, timing
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import messages_json
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import finish, genai

_PREFIX: Final = "agentops."
_TYPE: Final = "gen_ai.request.type"
_MARKS: Final = frozenset({_TYPE, "gen_ai.request.streaming", "gen_ai.streaming.time_to_first_token"})
_SPAN_KIND: Final = "agentops.span.kind"
_ENUMERATION: Final = "agentopsspankindvalues."
_KINDS: Final = {
    "session": kinds.WORKFLOW,
    "workflow": kinds.WORKFLOW,
    "agent": kinds.AGENT,
    "tool": kinds.TOOL,
    "task": kinds.CHAIN,
    "operation": kinds.CHAIN,
    "chain": kinds.CHAIN,
    "guardrail": kinds.GUARDRAIL,
    "llm": kinds.LLM,
}
_TYPES: Final = {
    "chat": genai.Operation.CHAT,
    "completion": genai.Operation.TEXT_COMPLETION,
    "embedding": genai.Operation.EMBEDDINGS,
    "rerank": kinds.RERANK_OPERATION,
}


class AgentOps:
    """The dialect."""

    name = "agentops"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any attribute of its own."""
        return not _MARKS.isdisjoint(keys) or any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """What the span says in AgentOps' words."""
        attributes = span.attributes
        kind, operation = _identity(span)
        model = coerce.text(attributes, genai.RESPONSE_MODEL, genai.REQUEST_MODEL)
        first_token = timing.seconds(attributes, "gen_ai.streaming.time_to_first_token")
        asked = _messages(attributes, "gen_ai.prompt.") if kind in kinds.BILLABLE else []
        answered = _messages(attributes, "gen_ai.completion.") if kind == kinds.LLM else []
        reasons = (item.get("finish_reason") for item in answered)
        return Row(
            **frame(span),
            kind=kind,
            operation=operation,
            provider=identity.provider(span, model) if kind in kinds.BILLABLE else "",
            request_model="",
            response_model="",
            stream=coerce.flag(attributes, "gen_ai.request.streaming") or first_token is not None,
            ttft_ns=first_token,
            finish_reasons=tuple(finish.canonical(each) for each in reasons if isinstance(each, str) and each),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID, "gen_ai.user"),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
            tags=coerce.texts(coerce.first(attributes, "agentops.tags")),
            input_messages=messages_json(asked, "user"),
            output_messages=messages_json(answered, "assistant"),
            tools=tools_json(indexed.items(attributes, "gen_ai.request.functions.")),
        )


def _identity(span: Span) -> tuple[str, str]:
    named = coerce.text(span.attributes, _SPAN_KIND).lower().removeprefix(_ENUMERATION)
    if named and named != "llm":
        return _KINDS.get(named, kinds.OTHER), ""
    told = coerce.text(span.attributes, genai.OPERATION_NAME)
    operation = "" if told else _TYPES.get(coerce.text(span.attributes, _TYPE).lower(), "")
    operation = operation or identity.operation(span)
    return kinds.kind_of(operation), operation


def _messages(attributes: Attributes, prefix: str) -> list[dict[str, object]]:
    """The messages below `prefix`; what a provider says about an embedding is none."""
    return [
        item
        for item in indexed.items(attributes, prefix)
        if "content" in item or "tool_calls" in item or "role" in item
    ]
