"""Braintrust: spans of its SDKs for Go, Ruby and Java, which are OpenTelemetry's, and of applications by hand.

    braintrust.span_attributes        JSON: type (llm, tool, task, function, score, eval, ...), name
    braintrust.metadata               JSON of the request and what it led to: provider, model, endpoint, stream, ...
    braintrust.metrics                JSON: prompt_tokens, prompt_cached_tokens, prompt_cache_creation_tokens,
                                      completion_tokens, completion_reasoning_tokens, tokens, time_to_first_token (s)
    braintrust.input_json, .output_json, .tags
    braintrust.parent, .context_json  on every span that its processor passed on, whoever made it

Inputs include the cache: the SDKs add it for Anthropic. Go's spans of OpenAI and Anthropic have no type, so a model
with tokens is a call. `time_to_first_token` of a call that is no stream is its duration.
Sources: braintrust 0.47.0 for Python, and braintrustdata/braintrust-sdk-go `trace/contrib` (November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.figures import counts
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import read_messages
from tokentrail.backend.dialects.reported_usage import count
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import finish, genai, providers
from tokentrail.semconv.usage import Usage

_PREFIX: Final = "braintrust."
_SPAN_ATTRIBUTES: Final = "braintrust.span_attributes"
_METADATA: Final = "braintrust.metadata"
_METRICS: Final = "braintrust.metrics"
_KINDS: Final = {
    "llm": kinds.LLM,
    "tool": kinds.TOOL,
    "task": kinds.CHAIN,
    "function": kinds.CHAIN,
    "score": kinds.EVALUATOR,
    "eval": kinds.EVALUATOR,
}
_EMBEDDINGS: Final = "/embeddings"
_MAX_SECONDS: Final = 1e6


class Braintrust:
    """The dialect."""

    name = "braintrust"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any attribute of its own."""
        return any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind; `None` for a span of somebody else that it only passed on."""
        attributes = span.attributes
        metadata, metrics = coerce.fields(attributes, _METADATA), _metrics(attributes)
        kind = _kind(attributes, metadata, metrics)
        if kind is None:
            return None
        model, billable = _text(metadata, "model"), kind in kinds.BILLABLE
        asked = read_messages(_content(attributes, "input"), "user") if billable else []
        answered = read_messages(_content(attributes, "output"), "assistant") if kind == kinds.LLM else []
        stream = metadata.get("stream") is True
        return Row(
            **frame(span),
            kind=kind,
            operation=identity.operation_of_kind(span, kind),
            provider=_provider(span, metadata, model) if billable else "",
            request_model=model,
            response_model="",
            response_id=_text(metadata, "id"),
            **counts(_usage(metrics)),
            service_tier=_text(metadata, "service_tier"),
            stream=stream,
            ttft_ns=_seconds(metrics, "time_to_first_token") if stream else None,
            finish_reasons=_finish_reasons(answered, metadata),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID) or _text(metadata, "user_id", "user"),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID)
            or _text(metadata, "session_id", "thread_id"),
            tags=coerce.texts(coerce.first(attributes, "braintrust.tags")),
            input_messages=coerce.written(asked) if asked else "",
            output_messages=coerce.written(answered) if answered else "",
            tools=tools_json(metadata.get("tools")),
        )


def _kind(attributes: Attributes, metadata: Mapping[str, object], metrics: Mapping[str, object]) -> str | None:
    told = _text(coerce.fields(attributes, _SPAN_ATTRIBUTES), "type").lower()
    used = bool(_text(metadata, "model")) and not _usage(metrics).is_empty
    if not told and not used:
        return None if not metadata and _SPAN_ATTRIBUTES not in attributes else ""
    kind = _KINDS.get(told, kinds.OTHER) if told else kinds.LLM
    return kinds.EMBEDDING if kind == kinds.LLM and _text(metadata, "endpoint").endswith(_EMBEDDINGS) else kind


def _metrics(attributes: Attributes) -> Mapping[str, object]:
    """JSON in one attribute, or one attribute each."""
    prefix = _METRICS + "."
    flat = {key.removeprefix(prefix): value for key, value in attributes.items() if key.startswith(prefix)}
    return {**flat, **coerce.fields(attributes, _METRICS)}


def _usage(metrics: Mapping[str, object]) -> Usage:
    told = Usage(
        input_tokens=count(metrics, "prompt_tokens"),
        output_tokens=count(metrics, "completion_tokens"),
        cache_read_tokens=count(metrics, "prompt_cached_tokens"),
        cache_write_tokens=count(metrics, "prompt_cache_creation_tokens"),
        reasoning_tokens=count(metrics, "completion_reasoning_tokens"),
        audio_input_tokens=count(metrics, "prompt_audio_tokens"),
        audio_output_tokens=count(metrics, "completion_audio_tokens"),
    )
    return as_totals(told, count(metrics, "tokens"))


def _provider(span: Span, metadata: Mapping[str, object], model: str) -> str:
    named = _text(metadata, "provider")
    return providers.canonical(named) if named else identity.provider(span, model)


def _content(attributes: Attributes, side: str) -> object:
    return coerce.opened(coerce.first(attributes, f"{_PREFIX}{side}_json", _PREFIX + side))


def _finish_reasons(answered: Sequence[Mapping[str, object]], metadata: Mapping[str, object]) -> tuple[str, ...]:
    told = [each for message in answered if isinstance(each := message.get("finish_reason"), str) and each]
    told = told or [each for each in (_text(metadata, "stop_reason"),) if each]
    return tuple(finish.canonical(each) for each in told)


def _seconds(metrics: Mapping[str, object], name: str) -> int | None:
    value = metrics.get(name)
    number = coerce.as_number(value) if isinstance(value, str | int | float) else None
    return round(number * 1e9) if number is not None and 0 < number < _MAX_SECONDS else None


def _text(values: Mapping[str, object], *names: str) -> str:
    return next((value for name in names if isinstance(value := values.get(name), str) and value), "")
