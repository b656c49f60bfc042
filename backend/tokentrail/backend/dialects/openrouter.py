"""OpenRouter's Broadcast: one span of every request that went through the gateway, sent by the gateway itself.

    LLM Generation                             gen_ai.*, the call
    provider attempt N: <host>, generation     its children: no usage, and no calls of their own
    gen_ai.prompt, gen_ai.completion           JSON {"messages"} and {"completion", "reasoning", "rawRequest"}
    gen_ai.usage.input_tokens.cached           inside the input, for every vendor; output_tokens.reasoning likewise
    gen_ai.usage.total_cost                    USD, what OpenRouter charged
    gen_ai.response.finish_reason              one text
    gen_ai.provider.name                       the author of the model, and not who served it
    trace.metadata.openrouter.first_token_ms   of its own clock; trace.metadata.<key> of the request's `trace` object

No package produces it. Sources: https://openrouter.ai/docs/guides/features/broadcast/otel-collector, and public
readers of it with samples (November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.figures import told_usd
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import read_messages
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import cost, finish, genai, providers

_SCOPE: Final = "openrouter"
_METADATA: Final = "trace.metadata."
_OWN: Final = "trace.metadata.openrouter."
_PREFIXES: Final = (_OWN, "openrouter.")
_USAGE: Final = "gen_ai.usage."
_GENERATION: Final = "LLM Generation"
_COST: Final = ("gen_ai.usage.total_cost", genai.USAGE_COST)


class OpenRouter:
    """The dialect."""

    name = "openrouter"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scope, and for any attribute of its own."""
        return scope == _SCOPE or any(key.startswith(_PREFIXES) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The row of the call; of a child only that it is none."""
        attributes = span.attributes
        kind = _kind(span)
        answer = coerce.fields(attributes, "gen_ai.completion")
        raw = answer.get("rawRequest")
        request: Mapping[str, object] = raw if isinstance(raw, Mapping) else {}
        asked = read_messages(coerce.opened(coerce.first(attributes, "gen_ai.prompt")), "user")
        answered = read_messages(_answer(answer), "assistant")
        first_token = timing.milliseconds(attributes, _OWN + "first_token_ms")
        stream = request.get("stream") is True or coerce.flag(attributes, genai.REQUEST_STREAM) is True
        reasons = coerce.texts(coerce.first(attributes, genai.RESPONSE_FINISH_REASONS, "gen_ai.response.finish_reason"))
        return Row(
            **frame(span),
            kind=kind,
            operation=identity.operation_of_kind(span, kind),
            provider=providers.OPENROUTER if kind in kinds.BILLABLE else "",
            request_model=coerce.text(attributes, genai.REQUEST_MODEL),
            response_model=coerce.text(attributes, genai.RESPONSE_MODEL),
            **told_usd(coerce.number(attributes, *_COST), cost.Source.PROVIDER),
            stream=stream,
            ttft_ns=first_token if stream else None,
            finish_reasons=tuple(map(finish.canonical, reasons)),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
            properties=_properties(attributes),
            input_messages=coerce.written(asked) if asked else "",
            output_messages=coerce.written(answered) if answered else "",
            tools=tools_json(request.get("tools")),
        )


def _kind(span: Span) -> str:
    used = any(key.startswith(_USAGE) for key in span.attributes)
    if not used and span.name != _GENERATION:
        return kinds.OTHER
    told = kinds.kind_of(identity.operation(span))
    return told if told in kinds.BILLABLE else kinds.LLM


def _answer(answer: Mapping[str, object]) -> object:
    """The answer as a message; the request that lies beside it is no part of it."""
    said = {"content": answer.get("completion"), "reasoning": answer.get("reasoning")}
    told: dict[str, object] = {name: text for name, text in said.items() if isinstance(text, str) and text}
    calls = answer.get("tool_calls")
    if isinstance(calls, list) and calls:
        told = {**told, "tool_calls": calls}
    return {"role": "assistant", **told} if told else None


def _properties(attributes: Attributes) -> dict[str, str]:
    """What the application put beside its request; OpenRouter's own details, such as names of keys, are left out."""
    return {
        key.removeprefix(_METADATA): coerce.as_text(value)
        for key, value in attributes.items()
        if key.startswith(_METADATA) and not key.startswith(_OWN) and isinstance(value, str | int | float)
    }
