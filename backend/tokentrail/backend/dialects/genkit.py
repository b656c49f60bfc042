"""Genkit, whose attributes have colons.

    genkit:metadata:subtype   model, embedder, tool, flow ...; none on helpers, such as `generate` around model calls
    genkit:name               "openai/gpt-4o-mini": the plugin and the model
    genkit:input              JSON {"messages": [{"role", "content": [{"text"}]}], "tools", "config"}
    genkit:output             JSON {"message", "finishReason", "usage": {"inputTokens", "outputTokens", "totalTokens",
                              "thoughtsTokens", "cachedContentTokens"}, "raw": what the provider answered}
    genkit:state, :path, :isRoot

Input counts include the cache. Gemini's output leaves the thoughts out. What `usage` has no field for is taken from
OpenAI's usage in `raw`.

Source: spans of genkit 1.42.0 with @genkit-ai/compat-oai 1.42.0, and its `GenerationUsageSchema` (November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, kinds
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import messages_json
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span, Value
from tokentrail.semconv import finish, genai, providers
from tokentrail.semconv.usage import Usage

_PREFIX: Final = "genkit:"
_SUBTYPE: Final = "genkit:metadata:subtype"
_TYPE: Final = "genkit:type"
_KINDS: Final = {
    **dict.fromkeys(("model", "background-model"), kinds.LLM),
    "embedder": kinds.EMBEDDING,
    "reranker": kinds.RERANK,
    "retriever": kinds.RETRIEVAL,
    **dict.fromkeys(("tool", "tool.v2"), kinds.TOOL),
    "evaluator": kinds.EVALUATOR,
    "flow": kinds.WORKFLOW,
    **dict.fromkeys(("prompt", "executable-prompt"), kinds.PROMPT),
    "util": kinds.CHAIN,
}
"""By subtype, else by type."""
_PLUGINS: Final = {"googleai": providers.GEMINI, "vertexai": providers.VERTEX, "googlegenai": providers.GEMINI}
"""Plugins that are not called as their provider is."""


class Genkit:
    """The dialect."""

    name = "genkit"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any `genkit:*` attribute."""
        return any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes = span.attributes
        kind = _kind(attributes)
        name = coerce.text(attributes, "genkit:name") if kind in kinds.BILLABLE else ""
        asked, answered = coerce.fields(attributes, "genkit:input"), coerce.fields(attributes, "genkit:output")
        raw = _inside(answered, "raw")
        usage = _usage(_inside(answered, "usage"), _inside(raw, "usage"))
        response_model, reason = _text(raw.get("model")), _text(answered.get("finishReason"))
        return Row(
            **frame(span),
            kind=kind,
            operation=kinds.OPERATION_OF.get(kind, ""),
            provider=_provider(name),
            request_model=name,
            response_model=response_model,
            response_id=_text(raw.get("id")),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            service_tier=_text(raw.get("service_tier")),
            finish_reasons=(finish.canonical(reason),) if reason and kind == kinds.LLM else (),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
            input_messages=_input(asked) if kind in kinds.BILLABLE else "",
            output_messages=messages_json(answered.get("message"), "assistant") if kind == kinds.LLM else "",
            tools=tools_json(asked.get("tools")) if kind == kinds.LLM and asked.get("tools") else "",
        )


def _kind(attributes: Attributes) -> str:
    for name in (_SUBTYPE, _TYPE):
        told = coerce.text(attributes, name)
        if told in _KINDS:
            return _KINDS[told]
    return kinds.OTHER


def _provider(name: str) -> str:
    """The provider by the plugin, else by the model's family."""
    plugin, separator, model = name.partition("/")
    if not separator:
        return providers.of_model(name) if name else ""
    return _PLUGINS.get(plugin) or providers.canonical(plugin) or providers.of_model(model)


def _usage(told: Mapping[str, object], raw: Mapping[str, object]) -> Usage:
    counts = {name: _scalar(value) for name, value in told.items()}
    prompt = {name: _scalar(value) for name, value in _inside(raw, "prompt_tokens_details").items()}
    completion = {name: _scalar(value) for name, value in _inside(raw, "completion_tokens_details").items()}
    cached = coerce.count(counts, "cachedContentTokens")
    thoughts = coerce.count(counts, "thoughtsTokens")
    return as_totals(
        Usage(
            input_tokens=coerce.count(counts, "inputTokens"),
            output_tokens=coerce.count(counts, "outputTokens"),
            cache_read_tokens=coerce.count(prompt, "cached_tokens") if cached is None else cached,
            reasoning_tokens=coerce.count(completion, "reasoning_tokens") if thoughts is None else thoughts,
        ),
        coerce.whole(counts, "totalTokens"),
        cache_apart=False,
    )


def _input(asked: Mapping[str, object]) -> str:
    """Messages, or the documents that are to be embedded."""
    return messages_json(asked.get("messages") or asked.get("input"), "user")


def _inside(outer: Mapping[str, object], name: str) -> Mapping[str, object]:
    inner = outer.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _scalar(value: object) -> Value:
    return value if isinstance(value, str | bool | int | float) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
