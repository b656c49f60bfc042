"""MLflow: spans of its SDK, whose attributes are all JSON, texts and numbers among them.

    mlflow.spanType                 "LLM", "CHAT_MODEL", "EMBEDDING", "RERANKER", and what is around such calls
    mlflow.spanInputs, spanOutputs  the provider's request and response, whole
    mlflow.chat.tokenUsage          {input_tokens, output_tokens, total_tokens, cache_read_input_tokens, ...}
    mlflow.llm.{model,provider}     the model that answered where it is known
    mlflow.llm.cost                 {input_cost, output_cost, total_cost}, USD
    mlflow.message.format           openai, anthropic, gemini, bedrock: the shape of inputs and outputs
    mlflow.linkedPrompts            [{name, version}]
    mlflow.traceTag.<key>           text, on the topmost span
    session.id, user.id             on the topmost span
    events mlflow.chunk.item.N      the chunks of a stream as they came

The total of a usage is always the sum of input and output, and tells nothing. The input includes the cache since
MLflow 3 counts it (3.17.2); before, Anthropic's was passed on as it was. Told to speak the conventions
(`MLFLOW_ENABLE_OTEL_GENAI_SEMCONV`), it keeps of its own words the tags only.

Source: mlflow-tracing 3.17.2 (November 2026).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import messages_json, read_messages
from tokentrail.backend.dialects.reported_cost import CLIENT, usd
from tokentrail.backend.dialects.reported_usage import count, read_reported
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span, Value
from tokentrail.semconv import cost, finish, genai, providers
from tokentrail.semconv.usage import Usage

_PREFIX: Final = "mlflow."
_TYPE: Final = "mlflow.spanType"
_KINDS: Final = {
    **dict.fromkeys(("LLM", "CHAT_MODEL"), kinds.LLM),
    "EMBEDDING": kinds.EMBEDDING,
    "RERANKER": kinds.RERANK,
    "RETRIEVER": kinds.RETRIEVAL,
    "TOOL": kinds.TOOL,
    "AGENT": kinds.AGENT,
    "WORKFLOW": kinds.WORKFLOW,
    **dict.fromkeys(("CHAIN", "TASK", "PARSER"), kinds.CHAIN),
    "GUARDRAIL": kinds.GUARDRAIL,
    "EVALUATOR": kinds.EVALUATOR,
    "MEMORY": kinds.MEMORY,
}
_NO_TYPE: Final = "UNKNOWN"
_USAGE: Final = "mlflow.chat.tokenUsage"
_MODEL: Final = "mlflow.llm.model"
_PROVIDER: Final = "mlflow.llm.provider"
_TAG: Final = "mlflow.traceTag."
_CHUNK: Final = "mlflow.chunk.item."
_FORMATS: Final = frozenset({"openai", "anthropic", "gemini", "bedrock", "mistral", "groq"})
"""Formats that are named after the provider who has it; others are frameworks'."""
_REPR: Final = re.compile(r"<[\w.]+ object at 0x[0-9a-f]+>|<(async_)?generator object .+>")
"""What is written of an answer that is no value, such as Anthropic's streams (3.17.2)."""
_HOUR: Final = "cache_creation_input_tokens_above_1hr"
_ROUNDS: Final = 2
"""JSON in JSON: how often a text is opened."""

Json = Mapping[str, object]


class MLflow:
    """The dialect."""

    name = "mlflow"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scopes, and for any attribute of its own."""
        return scope.startswith(_PREFIX) or any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind; the content of model calls only."""
        attributes = span.attributes
        kind = _kind(span)
        billable = kind in kinds.BILLABLE
        raw_inputs, raw_outputs = (
            (_content(attributes, side) if billable else None) for side in ("mlflow.spanInputs", "mlflow.spanOutputs")
        )
        inputs, outputs = _mapping(raw_inputs), _mapping(raw_outputs)
        request_model, response_model = _models(attributes, inputs, outputs)
        usage, total_usd = _usage(attributes, outputs), _total_usd(attributes)
        first_chunk = _first_chunk_ns(span)
        prompt = _prompt(attributes)
        answers = read_messages(raw_outputs, "assistant") if kind == kinds.LLM and raw_outputs is not None else []
        return Row(
            **frame(span),
            kind=kind,
            operation=_operation(span, kind, inputs),
            provider=_provider(span, response_model or request_model),
            request_model=request_model,
            response_model=response_model,
            response_id=_text_in(outputs, "id"),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            audio_input_tokens=usage.audio_input_tokens,
            audio_output_tokens=usage.audio_output_tokens,
            image_input_tokens=usage.image_input_tokens,
            image_output_tokens=usage.image_output_tokens,
            web_searches=usage.web_searches,
            service_tier=_text_in(outputs, "service_tier"),
            cost_usd=total_usd,
            cost_source=CLIENT if total_usd is not None else "",
            pricing_status=cost.PRICED if total_usd is not None else "",
            stream=inputs.get("stream") is True or first_chunk is not None,
            ttft_ns=first_chunk,
            time_to_first_chunk_ns=first_chunk,
            finish_reasons=_finish_reasons(answers),
            user_id=_text(attributes, genai.USER_ID, genai.ENDUSER_ID, "mlflow.trace.user", "user"),
            session_id=_text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID, "mlflow.trace.session"),
            properties=_properties(attributes),
            prompt_name=_text_in(prompt, "name"),
            prompt_version=_text_in(prompt, "version"),
            input_messages=messages_json(raw_inputs, "user") if raw_inputs is not None else "",
            output_messages=coerce.written(answers) if answers else "",
            tools=tools_json(inputs.get("tools")) or tools_json(_opened(attributes.get("mlflow.chat.tools"))),
        )


def _kind(span: Span) -> str:
    """The kind that the span says; of the conventions' names, MLflow keeps its own for what they have none for."""
    named = _text(span.attributes, _TYPE)
    if not named:
        told = coerce.text(span.attributes, genai.OPERATION_NAME)
        return _KINDS.get(told, "") if span.scope_name.startswith(_PREFIX) and told.isupper() else ""
    if named == _NO_TYPE:
        return kinds.LLM if _USAGE in span.attributes and _MODEL in span.attributes else ""
    return _KINDS.get(named.upper(), kinds.OTHER)


def _operation(span: Span, kind: str, inputs: Json) -> str:
    if kind == kinds.LLM and isinstance(inputs.get("prompt"), str) and "messages" not in inputs:
        return genai.Operation.TEXT_COMPLETION
    return identity.operation_of_kind(span, kind)


def _models(attributes: Attributes, inputs: Json, outputs: Json) -> tuple[str, str]:
    """The model asked, and the one that answered."""
    told = _text(attributes, _MODEL)
    asked, answered = _text_in(inputs, "model"), _text_in(outputs, "model")
    return asked or told, answered or (told if told != asked and asked else "")


def _provider(span: Span, model: str) -> str:
    decoded = {name: _text(span.attributes, name) for name in (_PROVIDER, genai.SERVER_ADDRESS)}
    if found := identity.provider(replace(span, attributes=decoded), model, _PROVIDER):
        return found
    shape = _text(span.attributes, "mlflow.message.format")
    return providers.canonical(shape) if shape in _FORMATS else ""


def _usage(attributes: Attributes, outputs: Json) -> Usage:
    """The provider's own usage where the response has one, since it has all its parts; else MLflow's excerpt."""
    own = next((found for name in ("usage", "usage_metadata", "usageMetadata") if (found := outputs.get(name))), None)
    usage = read_reported(own)
    if not usage.is_empty:
        return usage
    told = _mapping(_opened(attributes.get(_USAGE)))
    hour = count(told, _HOUR)
    cached = sum(count(told, f"cache_{side}_input_tokens") or 0 for side in ("read", "creation"))
    apart = cached > (count(told, "input_tokens") or 0)
    return replace(read_reported(told, cache_apart=apart), cache_write_1h_tokens=hour)


def _total_usd(attributes: Attributes) -> Decimal | None:
    told = _mapping(_opened(attributes.get("mlflow.llm.cost")))

    def amount(name: str) -> Decimal | None:
        value = told.get(name)
        return usd(coerce.as_number(value)) if isinstance(value, str | int | float) else None

    parts = [part for name in ("input_cost", "output_cost") if (part := amount(name)) is not None]
    return amount("total_cost") or sum(parts, Decimal(0)) or None


def _first_chunk_ns(span: Span) -> int | None:
    times = [event.time_ns - span.start_ns for event in span.events if event.name.startswith(_CHUNK)]
    return min((each for each in times if each >= 0), default=None)


def _finish_reasons(answers: Sequence[Json]) -> tuple[str, ...]:
    return tuple(finish.canonical(each) for answer in answers if isinstance(each := answer.get("finish_reason"), str))


def _prompt(attributes: Attributes) -> Json:
    linked = _opened(attributes.get("mlflow.linkedPrompts"))
    return _mapping(linked[0]) if isinstance(linked, list | tuple) and linked else {}


def _properties(attributes: Attributes) -> Mapping[str, str]:
    return {key.removeprefix(_TAG): coerce.as_text(value) for key, value in attributes.items() if key.startswith(_TAG)}


def _content(attributes: Attributes, name: str) -> object:
    """Opened once: a text that is JSON itself is what the model said."""
    value = coerce.first(attributes, name)
    opened = coerce.parse_json(value) if isinstance(value, str) else coerce.plain(value)
    opened = value if opened is None else opened
    return None if isinstance(opened, str) and (not opened or _REPR.fullmatch(opened)) else opened


def _text(attributes: Attributes, *names: str) -> str:
    """The first of `names` that says something once it is opened; a number as text."""
    for name in names:
        opened = _opened(attributes.get(name))
        if isinstance(opened, str | int | float) and not isinstance(opened, bool):
            told = coerce.text({name: opened}, name)
            if told:
                return told
    return ""


def _opened(value: Value) -> object:
    """A value, or what the JSON in it says, until it is no JSON any more."""
    opened: object = value
    for _ in range(_ROUNDS):
        parsed = coerce.parse_json(opened) if isinstance(opened, str) else None
        if parsed is None:
            break
        opened = parsed
    return opened


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _text_in(told: Json, name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) else str(value) if isinstance(value, int) and value is not True else ""
