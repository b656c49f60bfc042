"""LiveKit's agents for voice: spans in the conventions' names, around them the steps of a session.

    llm_request                      gen_ai.*, lk.llm_metrics (JSON: prompt_tokens, prompt_cached_tokens, ttft, ...)
    llm_request_run                  lk.retry_count, the model and no operation: an attempt at the request around it
    tts_node                         lk.tts.*, the model and no operation: speech
    llm_node, agent_turn, user_turn, function_tool, start_agent_activity, ...

A request counts once, by `llm_request`: its attempts name the same model and no tokens. Before 1.8 spans had the
conventions' names for little more than the model, and hosts for providers.
Source: livekit-agents and livekit-plugins-openai 1.8.9 (November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.figures import counts
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.reported_usage import count
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.semconv import genai, providers
from tokentrail.semconv.usage import Usage

_SCOPE: Final = "livekit-agents"
_PREFIX: Final = "lk."
_METRICS: Final = "lk.llm_metrics"
_KINDS: Final = {
    "agent_turn": kinds.AGENT,
    "start_agent_activity": kinds.AGENT,
    "function_tool": kinds.TOOL,
}


class LiveKit:
    """The dialect."""

    name = "livekit"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scope, and for any attribute of its own."""
        return scope == _SCOPE or any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes, kind = span.attributes, _kind(span)
        metrics = coerce.fields(attributes, _METRICS)
        metadata = metrics.get("metadata")
        of_model = metadata if isinstance(metadata, Mapping) else {}
        model = coerce.text(attributes, genai.REQUEST_MODEL) or _text(of_model, "model_name")
        seconds = metrics.get("ttft")
        told = {"ttft": seconds} if isinstance(seconds, int | float) else {}
        first_token = timing.first_token_ns(span) or timing.seconds(told, "ttft")
        return Row(
            **frame(span),
            kind=kind,
            operation=identity.operation_of_kind(span, kind),
            provider=_provider(span, model, _text(of_model, "model_provider")) if kind in kinds.BILLABLE else "",
            request_model=model,
            response_model="",
            **counts(_usage(span, metrics)),
            stream=first_token is not None,
            ttft_ns=first_token,
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
        )


def _kind(span: Span) -> str:
    """What the conventions' operation says; a span without one is what its name says, and never a second call."""
    if told := identity.operation(span) if genai.OPERATION_NAME in span.attributes else "":
        return kinds.kind_of(told)
    if _METRICS in span.attributes:
        return kinds.LLM
    return _KINDS.get(span.name, kinds.OTHER)


def _usage(span: Span, metrics: Mapping[str, object]) -> Usage:
    """The counts of the metrics, where the conventions' are not there to tell more."""
    if genai.USAGE_INPUT_TOKENS in span.attributes:
        return Usage()
    told = Usage(
        input_tokens=count(metrics, "prompt_tokens"),
        output_tokens=count(metrics, "completion_tokens"),
        cache_read_tokens=count(metrics, "prompt_cached_tokens"),
        cache_write_tokens=count(metrics, "cache_creation_tokens"),
        reasoning_tokens=count(metrics, "reasoning_tokens"),
    )
    return as_totals(told, count(metrics, "total_tokens"))


def _provider(span: Span, model: str, of_metrics: str) -> str:
    named = coerce.text(span.attributes, genai.PROVIDER_NAME, genai.SYSTEM_OLD) or of_metrics
    of_host = providers.of_host(named, None) if "." in named or ":" in named else None
    return of_host or identity.provider(span, model) or providers.canonical(named)


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""
