"""What a span must say about a recorded exchange: the values, and what the readers of all vendors share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from support.wire import Exchange

Json = dict[str, Any]

PROVIDERS: Final = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.together.ai": "together_ai",
    "api.portkey.ai": "portkey",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "us-central1-aiplatform.googleapis.com": "gcp.vertex_ai",
    "test-location-aiplatform.googleapis.com": "gcp.vertex_ai",
    "bedrock-runtime.us-east-1.amazonaws.com": "aws.bedrock",
    "127.0.0.1:11434": "ollama",
}
"""Provider by recorded host, in the well-known values of `gen_ai.provider.name` where there is one."""

_FINISH: Final = {
    # OpenAI
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "completed": "stop",
    "max_output_tokens": "length",
    "failed": "error",
    # Anthropic, and Bedrock's converse
    "tool_use": "tool_call",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "refusal": "content_filter",
    # Gemini and Cohere write in capitals
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "STOP_SEQUENCE": "stop",
    "COMPLETE": "stop",
    # Titan
    "FINISH": "stop",
    "LENGTH": "length",
}
"""Provider words that have another canonical word; every other word stays as it is."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model asked for; `arguments` is parsed JSON, `id` empty where the vendor gives none."""

    id: str
    name: str
    arguments: object


@dataclass(frozen=True, slots=True)
class Choice:
    """One generated message: its text, its reasoning, its tool calls in order."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """What the exchange says. Counts are inclusive; a breakdown of 0 is `None`, as a span leaves it out."""

    operation: str
    provider: str
    host: str
    request_model: str
    stream: bool
    status: int
    response_model: str = ""
    response_id: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    modalities: Mapping[str, int] | None = None
    """Audio and image tokens that are not 0, by `<modality>.<input|output>`: on a span only, a row has no field."""
    finish_reasons: tuple[str, ...] = ()
    error_type: str = ""
    error_message: str = ""
    choices: tuple[Choice, ...] = ()
    user_text: str = ""
    """Text of the user's messages in the request, in order."""
    system_text: str = ""
    """Text of the instructions, whether they are a field of the request or messages of it."""
    request_id: str = ""
    retry_count: int | None = None
    ratelimit: Mapping[str, int] | None = None
    """Row field by value, of the `x-ratelimit-*` response headers."""


def base(exchange: Exchange, operation: str, model: object, *, stream: bool) -> Expected:
    """What the URL, the status and the headers say, before any body is read."""
    return Expected(
        operation=operation,
        provider=PROVIDERS[exchange.authority],
        host=exchange.host,
        request_model=string(model),
        stream=stream,
        status=exchange.status,
        request_id=exchange.response_headers.get("x-request-id", ""),
        retry_count=_count(exchange.request_headers.get("x-stainless-retry-count")),
        ratelimit=_ratelimit(exchange.response_headers),
    )


def finish_reason(word: str) -> str:
    """The canonical word for a provider's finish reason."""
    return _FINISH.get(word, word)


def string(value: object) -> str:
    """A string, empty for `None`; anything else is a mistake of the reader."""
    if value is None:
        return ""
    assert isinstance(value, str), f"expected a string, not {value!r}"
    return value


def text_by(roles: tuple[str, ...], messages: Iterable[Json]) -> str:
    """The text of the messages of these roles."""
    return "".join(text_of(message.get("content")) for message in messages if message.get("role") in roles)


def text_of(content: object) -> str:
    """The text of a message: a string, or parts, with a `type` or, at Bedrock and Gemini, without one."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(part.get("text", "") for part in parts if part.get("type", "text") in ("text", "input_text"))


def positive(counts: Mapping[str, int | None]) -> dict[str, int] | None:
    """Those counts that are more than nothing; `None` when none is."""
    return {name: count for name, count in counts.items() if count} or None


def _ratelimit(headers: Mapping[str, str]) -> dict[str, int]:
    names = [f"{what}_{unit}" for what in ("limit", "remaining") for unit in ("requests", "tokens")]
    counts = {name: _count(headers.get("x-ratelimit-" + name.replace("_", "-"))) for name in names}
    return {f"ratelimit_{name}": count for name, count in counts.items() if count is not None}


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
