"""Sentry's AI monitoring, in the conventions' names and its own, from its SDKs or passed on by its platform.

    gen_ai.operation.type                         ai_client, agent, tool, handoff: what kind of span it is
    gen_ai.cost.total_tokens                      USD, in spite of its name, by a price list of its own
    gen_ai.usage.input_tokens.cached, ...         read as the conventions' counts
    gen_ai.request.messages, .available_tools     JSON, as the provider has them; later gen_ai.input.messages
    gen_ai.response.text, .tool_calls             JSON lists, or one text
    ai.model_id, ai.prompt_tokens.used, ...       of old SDKs
    sentry.op, sentry.origin                      of every span, whatever it is

Sources: @sentry/node 10.78.0, and the attribute definitions of getsentry/sentry-conventions (November 2026).
"""

from collections.abc import Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.figures import counts, told_usd
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import Message, read_messages
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_PREFIX: Final = "sentry."
_TYPE: Final = "gen_ai.operation.type"
_OLD_MODEL: Final = "ai.model_id"
_MARKS: Final = frozenset(
    {
        *(_TYPE, _OLD_MODEL, "gen_ai.cost.total_tokens", "gen_ai.request.messages", "gen_ai.request.available_tools"),
        *("gen_ai.response.text", "gen_ai.response.tool_calls"),
    }
)
_KINDS: Final = {
    "ai_client": kinds.LLM,
    "agent": kinds.AGENT,
    "tool": kinds.TOOL,
    "handoff": kinds.CHAIN,
}
_INPUT: Final = (genai.INPUT_MESSAGES, "gen_ai.request.messages", "ai.input_messages")
_COST: Final = ("gen_ai.cost.total_tokens", "gen_ai.usage.total_cost", "ai.total_cost", "ai.total_cost.used")


class Sentry:
    """The dialect."""

    name = "sentry"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for attributes that only Sentry writes on model calls, and for all that it writes on any span of AI."""
        if not _MARKS.isdisjoint(keys):
            return True
        return any(key.startswith(_PREFIX) for key in keys) and any(key.startswith("gen_ai.") for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind; the content of model calls only."""
        attributes, kind = span.attributes, _kind(span)
        model = coerce.text(attributes, genai.REQUEST_MODEL, _OLD_MODEL)
        is_call = kind in kinds.BILLABLE
        asked = read_messages(coerce.opened(coerce.first(attributes, *_INPUT)), "user") if is_call else []
        answered = _answer(attributes) if kind == kinds.LLM else []
        return Row(
            **frame(span),
            kind=kind,
            operation=identity.operation_of_kind(span, kind),
            provider=identity.provider(span, coerce.text(attributes, genai.RESPONSE_MODEL) or model),
            request_model=model,
            response_model="",
            **counts(_old_usage(attributes)),
            **told_usd(coerce.number(attributes, *_COST)),
            stream=coerce.flag(attributes, genai.REQUEST_STREAM, "gen_ai.response.streaming", "ai.streaming") or False,
            input_messages=coerce.written(asked) if asked else "",
            output_messages=coerce.written(answered) if answered else "",
            tools=tools_json(coerce.opened(coerce.first(attributes, "gen_ai.request.available_tools"))),
        )


def _kind(span: Span) -> str:
    """The operation tells more than its type, which is the same for chats and embeddings."""
    if genai.OPERATION_NAME in span.attributes:
        told = kinds.kind_of(identity.operation(span))
        if told != kinds.OTHER:
            return told
    if named := coerce.text(span.attributes, _TYPE).lower():
        return _KINDS.get(named, kinds.OTHER)
    if _OLD_MODEL in span.attributes:
        return kinds.LLM
    return kinds.kind_of(identity.operation(span))


def _old_usage(attributes: Attributes) -> Usage:
    """The counts of old SDKs, where there are none of the conventions'."""
    if genai.USAGE_INPUT_TOKENS in attributes:
        return Usage()
    told = Usage(
        input_tokens=coerce.count(attributes, "ai.prompt_tokens.used"),
        output_tokens=coerce.count(attributes, "ai.completion_tokens.used"),
    )
    return as_totals(told, cache_apart=False)


def _answer(attributes: Attributes) -> list[Message]:
    """Texts and tool calls, which stand apart, as messages: one each, and the calls on the last."""
    if coerce.first(attributes, genai.OUTPUT_MESSAGES) is not None:
        return read_messages(coerce.opened(coerce.first(attributes, genai.OUTPUT_MESSAGES)), "assistant")
    told = coerce.opened(coerce.first(attributes, "gen_ai.response.text", "ai.responses"))
    texts = told if isinstance(told, list) else [told]
    answers: list[dict[str, object]] = [{"role": "assistant", "content": each} for each in texts if each]
    calls = coerce.opened(coerce.first(attributes, "gen_ai.response.tool_calls"))
    if isinstance(calls, list) and calls:
        answers = answers or [{"role": "assistant"}]
        answers[-1] = {**answers[-1], "tool_calls": calls}
    return read_messages(answers, "assistant")
