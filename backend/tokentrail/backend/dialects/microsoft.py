"""Semantic Kernel, Microsoft's Agent Framework, Microsoft.Extensions.AI and Azure AI: the conventions with own habits.

    server.address                  a URL ("https://api.openai.com/v1/"), where the conventions have a host
    gen_ai.operation.name           chat.completions, text.completions (Semantic Kernel for .NET)
    gen_ai.response.finish_reason   "FinishReason.STOP", as Python writes an enumeration (Semantic Kernel); "[Stop]" and
                                    "[ToolCalls]", as .NET writes a list
    error.type                      "<class 'a.b.ServiceException'>" (Semantic Kernel)
    gen_ai.choice                   span event whose gen_ai.event.content holds the finish reason; in streams only there
    gen_ai.thread.id                the conversation of an Azure AI agent

Everything else is read as the conventions' (`otel_genai`).

Source: spans of semantic-kernel 1.45.0, agent-framework-core 1.23.0 and azure-ai-inference 1.0.0b9, and the code of
azure-ai-agents 1.2.0b6 (November 2026). Scopes of .NET: `Microsoft.SemanticKernel*`,
`Experimental.Microsoft.Extensions.AI`, `Experimental.Microsoft.Agents.AI`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import finish, genai

_SCOPES: Final = (
    "semantic_kernel",
    "agent_framework",
    "Microsoft.SemanticKernel",
    "Microsoft.Extensions.AI",
    "Microsoft.Agents.AI",
    "Experimental.Microsoft.",
    "azure.",
    "Azure.",
)
_AZURE: Final = "az.namespace"
_THREAD: Final = "gen_ai.thread.id"
_CLASS: Final = re.compile(r"<class '([\w.]{1,200})'>")
_ENUMERATION: Final = "FinishReason."
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Between the words of .NET's names."""
_CHOICE: Final = "gen_ai.choice"
_EVENT_CONTENT: Final = "gen_ai.event.content"


class Microsoft:
    """The dialect."""

    name = "microsoft"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for Microsoft's tracers, and for what only Azure's clients write."""
        return scope.startswith(_SCOPES) or _AZURE in keys or _THREAD in keys

    def read(self, span: Span) -> Row | None:
        """What the span says otherwise than the conventions; `None` for a span that says nothing of models."""
        attributes = span.attributes
        operation = identity.operation(span)
        if not operation:
            return None
        request_model = coerce.text(attributes, genai.REQUEST_MODEL)
        response_model = coerce.text(attributes, genai.RESPONSE_MODEL)
        return Row(
            **frame(span, _error_type(attributes)),
            kind=kinds.kind_of(operation),
            operation=operation,
            provider=identity.provider(span, response_model or request_model),
            request_model=request_model,
            response_model=response_model,
            finish_reasons=_finish_reasons(span),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID, _THREAD),
        )


def _error_type(attributes: Attributes) -> str:
    """The name of the class that Python wrote; empty to have it read as everybody's."""
    found = _CLASS.fullmatch(coerce.text(attributes, genai.ERROR_TYPE))
    return found[1] if found else ""


def _finish_reasons(span: Span) -> tuple[str, ...]:
    told = coerce.texts(coerce.first(span.attributes, genai.RESPONSE_FINISH_REASONS, "gen_ai.response.finish_reason"))
    if len(told) == 1 and told[0].startswith("[") and told[0].endswith("]"):
        told = tuple(_WORDS.sub("_", each.strip()) for each in told[0][1:-1].split(","))
    reasons = told or tuple(_choices(span))
    return tuple(finish.canonical(reason.removeprefix(_ENUMERATION)) for reason in reasons if reason)


def _choices(span: Span) -> list[str]:
    """The finish reasons of the choices that are told as events."""
    reasons = []
    for event in span.events:
        if event.name != _CHOICE:
            continue
        body = coerce.parse_json(coerce.text(event.attributes, _EVENT_CONTENT))
        reason = body.get("finish_reason") if isinstance(body, Mapping) else event.attributes.get("finish_reason")
        if isinstance(reason, str):
            reasons.append(reason)
    return reasons
