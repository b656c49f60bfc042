"""LangWatch: spans of its SDK, and of its tracking of OpenAI's clients and others.

    langwatch.span.type                    llm, rag, tool, agent, chain, guardrail, workflow, span, ...
    langwatch.input, .output               JSON {"type": "chat_messages" | "text" | "json" | ..., "value": ...}
    langwatch.params                       JSON of the request: stream, user, tools, temperature, ...
    langwatch.metrics                      JSON: prompt_tokens, completion_tokens, reasoning_tokens, cost (USD)
    langwatch.timestamps                   JSON of milliseconds since the epoch: started_at, first_token_at, finished_at
    gen_ai.request.model                   `<vendor>/<model>` whatever the application asked for
    metadata, langwatch.{user,thread}.id   whose it is; `metadata` on the root span of a trace only

The SDK for Node has values in types everywhere ({"type": "json", "value": ...}), and promptTokens, completionTokens.
Inputs include the cache, which nobody tells. Source: langwatch 1.4.0, and the code of 0.16.1 for Node (November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.figures import counts, told_usd
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import read_messages
from tokentrail.backend.dialects.reported_usage import count
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span, Value
from tokentrail.semconv import finish, genai, providers
from tokentrail.semconv.usage import Usage

_PREFIX: Final = "langwatch."
_TYPE: Final = "langwatch.span.type"
_KINDS: Final = {
    "llm": kinds.LLM,
    "embedding": kinds.EMBEDDING,
    "rag": kinds.RETRIEVAL,
    "tool": kinds.TOOL,
    "agent": kinds.AGENT,
    "chain": kinds.CHAIN,
    "task": kinds.CHAIN,
    "workflow": kinds.WORKFLOW,
    "guardrail": kinds.GUARDRAIL,
    "evaluation": kinds.EVALUATOR,
    "prompt": kinds.PROMPT,
}
_WEAK: Final = ("", "span")
"""Types of spans that nobody gave one, those of other instrumentations among them."""
_VENDORS: Final = frozenset(
    {providers.OPENAI, providers.AZURE_OPENAI, providers.ANTHROPIC, providers.BEDROCK, providers.GEMINI}
    | {providers.VERTEX, providers.GCP, providers.GROQ, providers.MISTRAL, providers.COHERE, providers.DEEPSEEK}
)
_MAX_DEPTH: Final = 4
"""Of typed values in typed values."""
_MILLISECOND_NS: Final = 10**6
_MAX_FIRST_TOKEN_MS: Final = 10**9


class LangWatch:
    """The dialect."""

    name = "langwatch"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any attribute of its own."""
        return any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind; the content of model calls only."""
        attributes, kind = span.attributes, _kind(span.attributes)
        vendor, model = _model(attributes)
        params, metrics = (_fields(attributes, _PREFIX + name) for name in ("params", "metrics"))
        metadata = coerce.fields(attributes, "metadata")
        first_token = _first_token_ns(_fields(attributes, "langwatch.timestamps"), span.start_ns)
        billable = kind in kinds.BILLABLE
        asked = read_messages(_untyped(attributes.get("langwatch.input")), "user") if billable else []
        answered = read_messages(_untyped(attributes.get("langwatch.output")), "assistant") if billable else []
        reasons = (message.get("finish_reason") for message in answered)
        return Row(
            **frame(span),
            kind=kind,
            operation=identity.operation_of_kind(span, kind),
            provider=vendor or (identity.provider(span, model) if billable else ""),
            request_model=model,
            response_model="",
            **counts(_usage(attributes, metrics)),
            **told_usd(_number(metrics, "cost")),
            stream=params.get("stream") is True or first_token is not None,
            ttft_ns=first_token,
            finish_reasons=tuple(finish.canonical(each) for each in reasons if isinstance(each, str)),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID, "langwatch.user.id")
            or _text(metadata, "user_id", "langwatch.user.id")
            or _text(params, "user"),
            session_id=coerce.text(
                attributes, genai.SESSION_ID, genai.CONVERSATION_ID, "langwatch.thread.id", "langwatch.session.id"
            )
            or _text(metadata, "thread_id", "session_id"),
            prompt_name=coerce.text(attributes, genai.PROMPT_NAME, "langwatch.prompt.handle", "langwatch.prompt.id"),
            prompt_version=coerce.text(attributes, genai.PROMPT_VERSION, "langwatch.prompt.version.number"),
            input_messages=coerce.written(asked) if asked else "",
            output_messages=coerce.written(answered) if answered else "",
            tools=tools_json(params.get("tools")),
        )


def _kind(attributes: Attributes) -> str:
    told = coerce.text(attributes, _TYPE).strip().lower()
    if told in _WEAK:
        return ""
    return _KINDS.get(told, kinds.OTHER)


def _model(attributes: Attributes) -> tuple[str, str]:
    """The vendor that LangWatch put before the model, empty for none, and the model without it."""
    told = coerce.text(attributes, genai.REQUEST_MODEL, "langwatch.model")
    head, _, tail = told.partition("/")
    vendor = providers.canonical(head) if tail else ""
    return (vendor, tail) if vendor in _VENDORS else ("", told)


def _usage(attributes: Attributes, metrics: Mapping[str, object]) -> Usage:
    told = Usage(
        input_tokens=_first(
            coerce.count(attributes, genai.USAGE_INPUT_TOKENS, genai.USAGE_PROMPT_TOKENS_OLD),
            count(metrics, "prompt_tokens", "promptTokens"),
            coerce.count(attributes, "langwatch.input_tokens"),
        ),
        output_tokens=_first(
            coerce.count(attributes, genai.USAGE_OUTPUT_TOKENS, genai.USAGE_COMPLETION_TOKENS_OLD),
            count(metrics, "completion_tokens", "completionTokens"),
            coerce.count(attributes, "langwatch.output_tokens"),
        ),
        reasoning_tokens=count(metrics, "reasoning_tokens"),
    )
    return as_totals(told, cache_apart=False)


def _fields(attributes: Attributes, name: str) -> Mapping[str, object]:
    """The object that `name` holds, in a type or not; empty when it holds none."""
    found = _untyped(attributes.get(name))
    return found if isinstance(found, Mapping) else {}


def _untyped(value: Value, depth: int = 0) -> object:
    """What a typed value holds; of one inside of another what is innermost."""
    found = coerce.opened(value)
    while depth < _MAX_DEPTH and isinstance(found, Mapping) and set(found) == {"type", "value"}:
        found, depth = found["value"], depth + 1
    return found


def _first_token_ns(timestamps: Mapping[str, object], start_ns: int) -> int | None:
    """By LangWatch's own clock at both ends, or from the start of the span where it tells only the one."""
    started, first = (_number(timestamps, name) for name in ("started_at", "first_token_at"))
    started = start_ns / _MILLISECOND_NS if started is None else started
    if first is None or not 0 <= first - started < _MAX_FIRST_TOKEN_MS:
        return None
    return round((first - started) * _MILLISECOND_NS)


def _number(values: Mapping[str, object], name: str) -> float | None:
    value = values.get(name)
    return coerce.as_number(value) if isinstance(value, str | int | float) else None


def _text(values: Mapping[str, object], *names: str) -> str:
    return next((value for name in names if isinstance(value := values.get(name), str) and value), "")


def _first(*found: int | None) -> int | None:
    return next((each for each in found if each is not None), None)
