"""Which call it is: operation, kind, provider. Framework names are not providers; then the host and the model tell."""

import re
from typing import Final

from tokentrail.backend.dialects import coerce
from tokentrail.backend.span import Span
from tokentrail.semconv import genai, providers

LLM: Final = "llm"
EMBEDDING: Final = "embedding"
RERANK: Final = "rerank"
MODERATION: Final = "moderation"
RERANK_OPERATION: Final = "rerank"
"""In use by several producers; the conventions have no such operation."""

_KIND_OF: Final = {
    genai.Operation.CHAT: LLM,
    genai.Operation.TEXT_COMPLETION: LLM,
    genai.Operation.GENERATE_CONTENT: LLM,
    genai.Operation.EMBEDDINGS: EMBEDDING,
    RERANK_OPERATION: RERANK,
    genai.Operation.MODERATION: MODERATION,
}
"""The billable operations; everything else (agents, tools, workflows, retrieval) makes no row."""

_SYNONYMS: Final = {
    **dict.fromkeys(
        (
            *("completion", "acompletion", "generate", "responses", "aresponses", "anthropic_messages"),
            *("llm_call", "call_llm"),
        ),
        genai.Operation.CHAT,
    ),
    **dict.fromkeys(("embedding", "aembedding"), genai.Operation.EMBEDDINGS),
    "atext_completion": genai.Operation.TEXT_COMPLETION,
    "arerank": RERANK_OPERATION,
}
_OLD_TOOL_MARKS: Final = ("gen_ai.tool.name", "gen_ai.tool.call.id")

_NOT_PROVIDERS: Final = frozenset(
    {
        *("langchain", "langgraph", "crewai", "litellm", "llama_index", "haystack", "strands-agents", "strands_agents"),
        *("gcp.vertex.agent", "google_adk", "pydantic_ai", "agno", "ag2", "openai_agents", "claude_agent_sdk"),
        *("agent_framework", "smolagents", "mem0", "gateway", "unknown"),
    }
)
_GATEWAYS: Final = frozenset({providers.HELICONE, providers.PORTKEY, providers.VERCEL_GATEWAY})
"""Hosts that stand for many providers: the name the sender gave is better."""

_AZURE_AT_ONE_HOST: Final = (providers.AZURE_INFERENCE, providers.AZURE_OPENAI)
"""Azure AI Foundry serves Azure OpenAI under a path of its own: then the sender knows better than the host tells."""

_BEDROCK_MODEL: Final = re.compile(
    r"arn:aws[a-z-]*:bedrock:.*|((us|eu|apac|global)\.)?(anthropic|amazon|meta|mistral|cohere|ai21|deepseek)\..+"
)
_FAMILIES: Final = (
    (re.compile(r"gpt-|o\d|chatgpt-|text-embedding-(3|ada)"), providers.OPENAI),
    (re.compile(r"claude"), providers.ANTHROPIC),
    (re.compile(r"gemini"), providers.GCP),
    (re.compile(r"mistral|mixtral|codestral"), providers.MISTRAL),
    (re.compile(r"grok"), providers.X_AI),
    (re.compile(r"deepseek"), providers.DEEPSEEK),
    (re.compile(r"command"), providers.COHERE),
)


def operation(span: Span) -> str:
    """The billable operation that the span is, or empty when it is none.

    Conventions before v1.28 had no operation attribute: then a request model that is not a tool's tells a model call,
    and the first word of the span's name which one.
    """
    name = coerce.text(span.attributes, genai.OPERATION_NAME, "llm.request.type").strip().lower()
    if name:
        name = _SYNONYMS.get(name, name)
        return name if name in _KIND_OF else ""
    if any(mark in span.attributes for mark in _OLD_TOOL_MARKS) or genai.REQUEST_MODEL not in span.attributes:
        return ""
    word = span.name.partition(" ")[0].lower()
    word = _SYNONYMS.get(word, word)
    return word if word in _KIND_OF else genai.Operation.CHAT


def kind(operation_name: str) -> str:
    """`llm`, `embedding`, `rerank` or `moderation` for a billable operation."""
    return _KIND_OF[operation_name]


def provider(span: Span, model: str) -> str:
    """The canonical provider: by the host where a table knows it, then by name, then by the model's family.

    An SDK pointed at another vendor's host still reports its own vendor, so the host is asked first.
    """
    host = coerce.text(span.attributes, genai.SERVER_ADDRESS)
    of_host = providers.of_host(host, coerce.whole(span.attributes, genai.SERVER_PORT)) if host else None
    named = coerce.text(span.attributes, genai.PROVIDER_NAME, genai.SYSTEM_OLD)
    if named.strip().lower() in _NOT_PROVIDERS:
        named = ""
    if of_host and not (named and of_host in _GATEWAYS) and (of_host, named) != _AZURE_AT_ONE_HOST:
        return of_host
    return providers.canonical(named) if named else of_host or _of_model(model.lower())


def _of_model(model: str) -> str:
    if _BEDROCK_MODEL.fullmatch(model):
        return providers.BEDROCK
    vendor, slash, rest = model.partition("/")
    if slash and rest:
        return providers.canonical(vendor)
    return next((name for pattern, name in _FAMILIES if pattern.match(model)), "")
