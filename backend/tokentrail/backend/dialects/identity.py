"""Which call it is: operation, kind, provider. Framework names are not providers; then the host and the model tell."""

from functools import lru_cache
from typing import Final

from tokentrail.backend.dialects import coerce, kinds
from tokentrail.backend.dialects.address import host_and_port
from tokentrail.backend.span import Span
from tokentrail.semconv import genai, providers

_PROVIDER: Final = (genai.PROVIDER_NAME, genai.SYSTEM_OLD)
_MODELS: Final = (genai.REQUEST_MODEL, genai.RESPONSE_MODEL)
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
_MAX_REMEMBERED_CHARS: Final = 500
"""Of the names of a call whose provider is remembered."""


def operation(span: Span) -> str:
    """The operation that the span is, empty when it does not say.

    Conventions before v1.28 had no operation attribute: then a model that is not a tool's tells a model call,
    and the first word of the span's name which one.
    """
    if name := coerce.text(span.attributes, genai.OPERATION_NAME, "llm.request.type"):
        return kinds.operation_of(name)
    if any(mark in span.attributes for mark in _OLD_TOOL_MARKS) or not any(
        model in span.attributes for model in _MODELS
    ):
        return ""
    word = kinds.operation_of(span.name.partition(" ")[0])
    return word if kinds.kind_of(word) in kinds.BILLABLE else genai.Operation.CHAT


def operation_of_kind(span: Span, kind: str) -> str:
    """The operation of a span whose kind is known: the one it names, where it is of that kind, else the kind's own."""
    if coerce.text(span.attributes, genai.OPERATION_NAME) and kinds.kind_of(named := operation(span)) == kind:
        return named
    return kinds.OPERATION_OF.get(kind, "")


def provider(span: Span, model: str, *names: str, host: str = "", port: int | None = None) -> str:
    """The canonical provider: by the host where a table knows it, then by name, then by the model's family.

    An SDK pointed at another vendor's host still reports its own vendor, so the host is asked first. `names` are
    attributes that name the provider, in the order to ask; those of the conventions unless told otherwise. `host` and
    `port` are those that a dialect tells in its own words, for spans without the conventions' address.
    """
    told_host, told_port = host_and_port(span.attributes)
    if told_host:
        host, port = told_host, told_port
    names = names or _PROVIDER
    named = coerce.text(span.attributes, *names)
    if named.lower() in _NOT_PROVIDERS:  # an old name beside it may tell the provider
        told = (coerce.text(span.attributes, name) for name in names)
        named = next((each for each in told if each and each.lower() not in _NOT_PROVIDERS), named)
    look_up = _remembered if len(host) + len(named) + len(model) <= _MAX_REMEMBERED_CHARS else _provider
    return look_up(host, port, named, model)


def _provider(host: str, port: int | None, named: str, model: str) -> str:
    of_host = providers.of_host(host, port) if host else None
    if named.strip().lower() in _NOT_PROVIDERS:
        named = ""
    if of_host and not (named and of_host in _GATEWAYS) and (of_host, named) != _AZURE_AT_ONE_HOST:
        return of_host
    return providers.canonical(named) if named else of_host or providers.of_model(model)


_remembered: Final = lru_cache(maxsize=4096)(_provider)
