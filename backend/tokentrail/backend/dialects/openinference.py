"""OpenInference (Arize Phoenix): spans of `openinference.instrumentation.*` and of its JavaScript packages.

    openinference.span.kind                     LLM, EMBEDDING, RERANKER, DECISION, and what is around such calls
    llm.model_name, llm.request.model_name      the model that answered where it is known, and the one asked
    llm.token_count.{prompt,completion,...}     inclusive: the details are parts of them
    llm.cost.total                              USD
    llm.input_messages.N.message.*              messages, flattened (`openinference_content.py`)
    llm.invocation_parameters                   JSON of the request without the messages
    input.value, output.value                   the whole request and response, mostly JSON
    metadata, tag.tags, session.id, user.id     of `using_attributes`

Source: `openinference-semantic-conventions` 0.1.42, and spans of openinference-instrumentation-openai 0.1.66 and
-anthropic 3.1.0 (November 2026). Some of what the conventions have no name for stands in the whole response: its id
and service tier. The moment of the first token is a span event of streams.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.openinference_content import read_content
from tokentrail.backend.dialects.reported_cost import CLIENT, usd
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span, StatusCode
from tokentrail.semconv import cost, finish, genai
from tokentrail.semconv.usage import Usage

_KIND: Final = "openinference.span.kind"
_TAGS: Final = "tag.tags"
_MARKS: Final = ("llm.input_messages.", "llm.token_count.")
_OF_CALLS: Final = (*_MARKS, "llm.output_messages.", "llm.model_name")
"""What a call has and what is around one has not: a prompt template is put on every span within its context."""
_KINDS: Final = {
    "LLM": kinds.LLM,
    "DECISION": kinds.LLM,
    "EMBEDDING": kinds.EMBEDDING,
    "RERANKER": kinds.RERANK,
    "RETRIEVER": kinds.RETRIEVAL,
    "TOOL": kinds.TOOL,
    "AGENT": kinds.AGENT,
    "CHAIN": kinds.CHAIN,
    "PROMPT": kinds.PROMPT,
    "GUARDRAIL": kinds.GUARDRAIL,
    "EVALUATOR": kinds.EVALUATOR,
}
_OF_COMPLETIONS: Final = ("llm.prompts.0.prompt.text", "llm.choices.0.completion.text")

_LLM_PROVIDER: Final = ("llm.provider", "decision.provider")
_LLM_SYSTEM: Final = ("llm.system", "decision.system")
_GENERIC_PROVIDER: Final = (genai.PROVIDER_NAME, genai.SYSTEM_OLD)
_REQUEST_MODEL: Final = ("llm.request.model_name", "decision.request.model_name")
_RESPONSE_MODEL: Final = ("llm.response.model_name", "decision.response.model_name", genai.RESPONSE_MODEL)
_MODEL: Final = ("llm.model_name", "embedding.model_name", "reranker.model_name", "decision.model_name")
"""The model that answered, or the one asked before there is an answer."""
_PARAMETERS: Final = ("llm.invocation_parameters", "embedding.invocation_parameters")
_COUNT: Final = "llm.token_count."
_CACHE_APART: Final = "@arizeai/openinference-instrumentation-bedrock"
"""The scope of the instrumentation that passes on what the models on Bedrock count, without the cache (0.5.1)."""
_USER: Final = (genai.USER_ID, genai.ENDUSER_ID)
_SESSION: Final = (genai.SESSION_ID, genai.CONVERSATION_ID)

_FIRST_TOKEN_EVENT: Final = "First Token Stream Event"  # noqa: S105  # no secret
_RESPONSE_ID: Final = re.compile(r'"id":\s?"((?:chatcmpl|cmpl|resp|msg|gen)[-_][\w-]{1,200})"')
"""The ids that OpenAI's and Anthropic's APIs give. In a JSON text, a quote within a string has a backslash."""
_SERVICE_TIER: Final = re.compile(r'"service_tier":\s?"(\w{1,40})"')


class OpenInference:
    """The dialect."""

    name = "openinference"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for a kind of span of its own, for messages or token counts in its words, and for tags, on any span."""
        return _KIND in keys or _TAGS in keys or any(key.startswith(_MARKS) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes = span.attributes
        kind = _kind(attributes)
        parameters = _parameters(attributes)
        request_model, response_model = _models(span, parameters)
        usage, total_usd = _usage(attributes, span.scope_name), _total_usd(attributes)
        first_token = timing.event_ns(span, _FIRST_TOKEN_EVENT)
        content = read_content(span, kind)
        return Row(
            **frame(span),
            kind=kind,
            operation=_operation(span, kind),
            provider=_provider(span, response_model or request_model),
            request_model=request_model,
            response_model=response_model,
            response_id=_told(attributes, _RESPONSE_ID) if kind in kinds.BILLABLE else "",
            service_tier=_told(attributes, _SERVICE_TIER) if kind in kinds.BILLABLE else "",
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            audio_input_tokens=usage.audio_input_tokens,
            audio_output_tokens=usage.audio_output_tokens,
            cost_usd=total_usd,
            cost_source=CLIENT if total_usd is not None else "",
            pricing_status=cost.PRICED if total_usd is not None else "",
            stream=parameters.get("stream") is True or first_token is not None,
            ttft_ns=first_token,
            finish_reasons=_finish_reasons(attributes),
            user_id=coerce.text(attributes, *_USER),
            session_id=coerce.text(attributes, *_SESSION),
            properties=_properties(attributes),
            tags=coerce.texts(coerce.first(attributes, _TAGS)),
            prompt_name=coerce.text(attributes, genai.PROMPT_NAME, "prompt.id"),
            prompt_version=coerce.text(attributes, genai.PROMPT_VERSION, "llm.prompt_template.version"),
            input_messages=content.input_messages,
            output_messages=content.output_messages,
            system=content.system,
            tools=content.tools,
        )


def _kind(attributes: Attributes) -> str:
    """The kind that the span says; where it says none, the one that its model or its words tell."""
    named = coerce.text(attributes, _KIND).strip().upper()
    if named and named != "UNKNOWN":
        return _KINDS.get(named, kinds.OTHER)
    if "embedding.model_name" in attributes:
        return kinds.EMBEDDING
    if "reranker.model_name" in attributes:
        return kinds.RERANK
    return kinds.LLM if any(key.startswith(_OF_CALLS) for key in attributes) else ""


def _operation(span: Span, kind: str) -> str:
    """The operation that the conventions' attribute names, where it is one of this kind; else the kind's own."""
    if coerce.text(span.attributes, genai.OPERATION_NAME):
        operation = identity.operation(span)
        if kinds.kind_of(operation) == kind:
            return operation
    if kind == kinds.LLM and any(key in span.attributes for key in _OF_COMPLETIONS):
        return genai.Operation.TEXT_COMPLETION
    return kinds.OPERATION_OF.get(kind, "")


def _provider(span: Span, model: str) -> str:
    system = coerce.text(span.attributes, *_LLM_SYSTEM).lower()
    # Vertex AI is a system of Google, which alone would say less.
    first, second = (_LLM_SYSTEM, _LLM_PROVIDER) if system == "vertexai" else (_LLM_PROVIDER, _LLM_SYSTEM)
    return identity.provider(span, model, *first, *second, *_GENERIC_PROVIDER)


def _models(span: Span, parameters: Mapping[str, object]) -> tuple[str, str]:
    """The model asked, and the one that answered."""
    attributes = span.attributes
    model, asked = coerce.text(attributes, *_MODEL), parameters.get("model")
    answered = coerce.text(attributes, *_RESPONSE_MODEL)
    if not answered and span.status_code != StatusCode.ERROR:
        answered = model
    request = coerce.text(attributes, *_REQUEST_MODEL) or (asked if isinstance(asked, str) else "")
    return request or coerce.text(attributes, genai.REQUEST_MODEL) or model, answered


def _parameters(attributes: Attributes) -> Mapping[str, object]:
    text = coerce.text(attributes, *_PARAMETERS)
    parsed = coerce.parse_json(text) if text else None
    return parsed if isinstance(parsed, dict) else {}


def _usage(attributes: Attributes, scope: str) -> Usage:
    total = coerce.whole(attributes, _COUNT + "total")
    return as_totals(
        Usage(
            input_tokens=coerce.count(attributes, _COUNT + "prompt", "decision.token_count.input"),
            output_tokens=coerce.count(attributes, _COUNT + "completion", "decision.token_count.output"),
            cache_read_tokens=coerce.count(
                attributes, _COUNT + "prompt_details.cache_read", _COUNT + "prompt_details.cache_input"
            ),
            cache_write_tokens=coerce.count(attributes, _COUNT + "prompt_details.cache_write"),
            reasoning_tokens=coerce.count(attributes, _COUNT + "completion_details.reasoning"),
            audio_input_tokens=coerce.count(attributes, _COUNT + "prompt_details.audio"),
            audio_output_tokens=coerce.count(attributes, _COUNT + "completion_details.audio"),
        ),
        total,
        cache_apart=True if scope == _CACHE_APART and total is None else None,
    )


def _total_usd(attributes: Attributes) -> Decimal | None:
    total = usd(coerce.number(attributes, "llm.cost.total"))
    if total is None:
        parts = [usd(coerce.number(attributes, f"llm.cost.{side}")) for side in ("prompt", "completion")]
        total = sum((part for part in parts if part is not None), Decimal(0))
    return total or None  # 0 is written for a model without a known price


def _told(attributes: Attributes, pattern: re.Pattern[str]) -> str:
    """What `pattern` finds in the response, without parsing it: it may be long, and holds the whole content."""
    response = attributes.get("output.value")
    found = pattern.search(response) if isinstance(response, str) and response.startswith("{") else None
    return found.group(1) if found else ""


def _finish_reasons(attributes: Attributes) -> tuple[str, ...]:
    return tuple(finish.canonical(reason) for reason in coerce.texts(coerce.first(attributes, "llm.finish_reason")))


def _properties(attributes: Attributes) -> Mapping[str, str]:
    metadata = coerce.first(attributes, "metadata")
    found = coerce.parse_json(metadata) if isinstance(metadata, str) else metadata
    return {str(key): coerce.as_text(value) for key, value in found.items()} if isinstance(found, Mapping) else {}
