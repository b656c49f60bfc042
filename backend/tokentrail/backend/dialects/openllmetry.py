"""OpenLLMetry: the Traceloop SDK's decorators, and the instrumentations of providers that it comes with.

    llm.request.type                             chat, completion, embedding, rerank; later gen_ai.operation.name
    gen_ai.prompt.N.{role,content}               messages until 0.53, flattened (`openllmetry_content.py`)
    llm.usage.total_tokens, llm.is_streaming     later gen_ai.usage.total_tokens, gen_ai.is_streaming
    traceloop.span.kind                          workflow, task, agent, tool: decorated functions
    traceloop.workflow.name, .entity.path        where a call is in the application
    traceloop.association.properties.*           whose it is

What it says in the conventions' own words is read as such (`otel_genai`). Its input counts include the cache, also for
Anthropic, but those of its instrumentation of Anthropic for Node: there the total leaves it out, too. Headers of
requests (`llm.headers`, `gen_ai.headers`) may hold secrets and are never read.

Source: spans of opentelemetry-instrumentation-openai and -anthropic 0.52.6 and 0.62.4, of traceloop-sdk 0.62.4, and of
@traceloop/instrumentation-anthropic 0.27.0 (November 2026). The instrumentations share scope names with others', so the
attributes tell the dialect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.openllmetry_content import finish_reasons, read_content
from tokentrail.backend.dialects.tokens import as_totals, read_usage
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_PREFIXES: Final = ("traceloop.", "gen_ai.prompt.0.", "gen_ai.completion.0.", "llm.request.functions.", "llm.usage.")
_MARKS: Final = frozenset(
    {"llm.request.type", "llm.is_streaming", "gen_ai.is_streaming", "gen_ai.openai.api_base", "gen_ai.user", "llm.user"}
)
_CACHE_APART: Final = "@traceloop/instrumentation-anthropic"
"""The scope of the instrumentation whose input leaves the cache out."""
_KIND: Final = "traceloop.span.kind"
_KINDS: Final = {
    "workflow": kinds.WORKFLOW,
    "task": kinds.CHAIN,
    "agent": kinds.AGENT,
    "tool": kinds.TOOL,
}
_TYPE: Final = "llm.request.type"
_COMPLETION: Final = "completion"
_PLAIN_PROMPT: Final = "gen_ai.prompt.0.user"
"""How OpenAI's completions tell their prompt; Anthropic's messages are of the type `completion`, too."""

_ASSOCIATED: Final = "traceloop.association.properties."
_USER: Final = (genai.USER_ID, genai.ENDUSER_ID, _ASSOCIATED + "user_id", "gen_ai.user", "llm.user")
_SESSION: Final = (
    genai.SESSION_ID,
    genai.CONVERSATION_ID,
    *(_ASSOCIATED + name for name in ("session_id", "thread_id", "conversation_id")),
)
_TOLD_ELSEWHERE: Final = frozenset({"user_id", "session_id"})
_STREAM: Final = ("llm.is_streaming", "gen_ai.is_streaming")
_CHUNK_EVENTS: Final = ("gen_ai.content.completion.chunk", "llm.content.completion.chunk")
_PROMPT_VERSION: Final = (genai.PROMPT_VERSION, "traceloop.prompt.version_name", "traceloop.prompt.version")


class OpenLLMetry:
    """The dialect."""

    name = "openllmetry"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for attributes that only OpenLLMetry writes, and those that write as it does."""
        return scope == _CACHE_APART or not _MARKS.isdisjoint(keys) or any(key.startswith(_PREFIXES) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes = span.attributes
        kind, operation = _identity(span)
        request_model = coerce.text(attributes, genai.REQUEST_MODEL)
        response_model = coerce.text(attributes, genai.RESPONSE_MODEL)
        host, port = _host(attributes)
        usage, content = _usage(attributes, span.scope_name), read_content(attributes)
        chunk = next((found for name in _CHUNK_EVENTS if (found := timing.event_ns(span, name)) is not None), None)
        framed = frame(span)
        framed["server_address"] = framed["server_address"] or host
        return Row(
            **framed,
            kind=kind,
            operation=operation,
            provider=identity.provider(span, response_model or request_model, host=host, port=port),
            request_model=request_model,
            response_model=response_model,
            conversation_id=coerce.text(attributes, genai.CONVERSATION_ID),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            stream=coerce.flag(attributes, *_STREAM) or chunk is not None,
            ttft_ns=chunk,
            time_to_first_chunk_ns=chunk,
            finish_reasons=finish_reasons(attributes),
            user_id=coerce.text(attributes, *_USER),
            session_id=coerce.text(attributes, *_SESSION),
            session_name=coerce.text(attributes, "traceloop.workflow.name"),
            session_path=_path(attributes),
            properties=_properties(attributes),
            prompt_name=coerce.text(attributes, genai.PROMPT_NAME, "traceloop.prompt.key"),
            prompt_version=coerce.text(attributes, *_PROMPT_VERSION),
            input_messages=content.input_messages,
            output_messages=content.output_messages,
            tools=content.tools,
        )


def _identity(span: Span) -> tuple[str, str]:
    """Kind and operation: as the conventions' attribute says, else the request's type, else the decorator."""
    attributes = span.attributes
    if not coerce.text(attributes, genai.OPERATION_NAME):
        decorated = coerce.text(attributes, _KIND).lower()
        if decorated in _KINDS:
            return _KINDS[decorated], ""
        if coerce.text(attributes, _TYPE).lower() == _COMPLETION and _PLAIN_PROMPT in attributes:
            return kinds.LLM, genai.Operation.TEXT_COMPLETION
    operation = identity.operation(span)
    return kinds.kind_of(operation), operation


def _host(attributes: Attributes) -> tuple[str, int | None]:
    """Host and port of the base URL that the client was made with; empty where the span does not tell it."""
    try:
        url = urlsplit(coerce.text(attributes, "gen_ai.openai.api_base"))
        host, port = url.hostname or "", url.port
    except ValueError:
        return "", None
    return host, port


def _usage(attributes: Attributes, scope: str) -> Usage:
    usage = read_usage(attributes, cache_apart=True if scope == _CACHE_APART else None)
    if usage.input_tokens is None and usage.output_tokens is None:
        usage = replace(
            usage,
            input_tokens=coerce.count(attributes, "llm.usage.prompt_tokens"),
            output_tokens=coerce.count(attributes, "llm.usage.completion_tokens"),
        )
    if usage.reasoning_tokens is None:
        usage = replace(usage, reasoning_tokens=coerce.count(attributes, "llm.usage.reasoning_tokens"))
    return as_totals(usage, cache_apart=False)


def _path(attributes: Attributes) -> str:
    path = coerce.text(attributes, "traceloop.entity.path")
    return "/" + path.replace(".", "/") if path else ""


def _properties(attributes: Attributes) -> Mapping[str, str]:
    return {
        name: coerce.as_text(value)
        for key, value in attributes.items()
        if key.startswith(_ASSOCIATED) and (name := key.removeprefix(_ASSOCIATED)) not in _TOLD_ELSEWHERE
    }
