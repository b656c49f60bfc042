"""Langfuse: spans of its SDKs, and what its context puts on spans of others.

    langfuse.observation.type                     generation, embedding, and what is around such calls
    langfuse.observation.model.{name,parameters}  the model that answered where it is known; JSON of the request
    langfuse.observation.usage_details            JSON, either of disjoint buckets (`input`, `cache_read_input_tokens`,
                                                  `output_reasoning_tokens`) or OpenAI's usage object as it came
    langfuse.observation.cost_details             JSON of USD by bucket, and `total`
    langfuse.observation.completion_start_time    ISO 8601 in quotes: the first token of a stream
    langfuse.observation.{input,output}           JSON or text; {level,status_message} of a failure
    langfuse.{trace,observation}.metadata.<key>   JSON of each value since v5, text before
    langfuse.trace.{name,tags}, user.id, session.id, langfuse.environment

Source: langfuse 5.0.4 and 3.3.0 (November 2026). Version 3 puts user and session on the topmost span only.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.frame import Frame, frame
from tokentrail.backend.dialects.messages import messages_json
from tokentrail.backend.dialects.reported_cost import CLIENT, usd
from tokentrail.backend.dialects.reported_usage import add, count, read_reported
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import cost, finish, genai
from tokentrail.semconv.usage import Usage

_SCOPE: Final = "langfuse-sdk"
_PREFIX: Final = "langfuse."
_OBSERVATION: Final = "langfuse.observation."
_TYPE: Final = _OBSERVATION + "type"
_MODEL: Final = _OBSERVATION + "model.name"
_USAGE: Final = _OBSERVATION + "usage_details"
_COST: Final = _OBSERVATION + "cost_details"
_OF_CALLS: Final = (_MODEL, _USAGE, _COST, _OBSERVATION + "prompt.name")
"""What generations have and other spans have not: version 3.3.0 and older call a generation of some ways a span."""
_KINDS: Final = {
    "generation": kinds.LLM,
    "embedding": kinds.EMBEDDING,
    "agent": kinds.AGENT,
    "tool": kinds.TOOL,
    "chain": kinds.CHAIN,
    "retriever": kinds.RETRIEVAL,
    "guardrail": kinds.GUARDRAIL,
    "evaluator": kinds.EVALUATOR,
}
_WEAK: Final = "span"
"""The type of an observation that nobody gave one."""
_METADATA: Final = (_OBSERVATION + "metadata", "langfuse.trace.metadata")
"""The observation's own goes first."""
_NOT_PROPERTIES: Final = frozenset({"langfuse_user_id", "langfuse_session_id", "langfuse_tags", "finish_reason"})
"""Told elsewhere in the row."""
_REPORTED: Final = frozenset({"prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"})
_NOT_EXCLUSIVE: Final = ("_priority", "_priority_")
"""Of OpenAI's tiers, by way of LangChain: these count tokens once more that other buckets have."""


class Langfuse:
    """The dialect."""

    name = "langfuse"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scope, and for any attribute of its own."""
        return scope == _SCOPE or any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes = span.attributes
        kind, model = _kind(attributes), coerce.text(attributes, _MODEL)
        reported, metadata = _object(attributes, _USAGE), _metadata(attributes)
        usage, parameters = _usage(reported), _object(attributes, _OBSERVATION + "model.parameters")
        total_usd = _total_usd(_object(attributes, _COST))
        first_token = timing.since_start_ns(span, _OBSERVATION + "completion_start_time")
        billable = kind in kinds.BILLABLE
        request = _content(attributes, "input") if billable else None
        response = _content(attributes, "output") if kind == kinds.LLM else None
        return Row(
            **_frame(span),
            kind=kind,
            operation=identity.operation_of_kind(span, kind),
            provider=identity.provider(span, coerce.text(attributes, genai.RESPONSE_MODEL) or model),
            request_model=model,
            response_model="",
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
            service_tier=_service_tier(parameters),
            cost_usd=total_usd,
            cost_source=_cost_source(total_usd, reported),
            pricing_status=cost.PRICED if total_usd is not None else "",
            stream=first_token is not None,
            ttft_ns=first_token,
            finish_reasons=_finish_reasons(metadata),
            user_id=coerce.text(attributes, "langfuse.user.id", genai.USER_ID, genai.ENDUSER_ID)
            or metadata.get("langfuse_user_id", ""),
            session_id=coerce.text(attributes, "langfuse.session.id", genai.SESSION_ID)
            or metadata.get("langfuse_session_id", ""),
            session_name=coerce.text(attributes, "langfuse.trace.name"),
            properties={key: text for key, text in metadata.items() if key not in _NOT_PROPERTIES},
            tags=coerce.texts(coerce.first(attributes, "langfuse.trace.tags") or metadata.get("langfuse_tags")),
            prompt_name=coerce.text(attributes, _OBSERVATION + "prompt.name"),
            prompt_version=coerce.text(attributes, _OBSERVATION + "prompt.version"),
            input_messages=messages_json(request, "user") if request is not None else "",
            output_messages=messages_json(response, "assistant") if response is not None else "",
            tools=tools_json(request.get("tools")) if isinstance(request, Mapping) else "",
        )


def _frame(span: Span) -> Frame:
    attributes = span.attributes
    message = coerce.text(attributes, _OBSERVATION + "status_message")
    framed = frame(span, error_message=message)
    if not framed["error_type"] and coerce.text(attributes, _OBSERVATION + "level") == "ERROR":
        framed = frame(span, "_OTHER", message)
    told = coerce.text(attributes, "langfuse.environment")
    framed["environment"] = framed["environment"] or (told if told != "default" else "")
    return framed


def _kind(attributes: Attributes) -> str:
    """The kind that the span says; empty where it says none, as on the spans of others."""
    named = coerce.text(attributes, _TYPE).strip().lower()
    if named in ("", _WEAK):
        if any(mark in attributes for mark in _OF_CALLS):
            return kinds.LLM
        return kinds.CHAIN if named and genai.OPERATION_NAME not in attributes else ""
    return _KINDS.get(named, kinds.OTHER)


def _usage(reported: Mapping[str, object]) -> Usage:
    """Disjoint buckets added up, or the totals of a provider's own object."""
    if not _REPORTED.isdisjoint(reported):
        return read_reported(reported)
    names = [name for name in reported if not name.endswith(_NOT_EXCLUSIVE[0]) and _NOT_EXCLUSIVE[1] not in name]
    inputs = [name for name in names if name.startswith(("input", "cache"))]
    outputs = [name for name in names if name.startswith("output")]
    written = [name for name in inputs if any(word in name for word in ("creation", "write", "ephemeral"))]
    cached = [name for name in inputs if "cache" in name and name not in written]

    def of(buckets: Sequence[str], *words: str) -> int | None:
        return add(*(count(reported, name) for name in buckets if not words or any(word in name for word in words)))

    return Usage(
        input_tokens=of(inputs),
        output_tokens=of(outputs),
        cache_read_tokens=of(cached),
        cache_write_tokens=of(written),
        cache_write_1h_tokens=of(written, "1h"),
        reasoning_tokens=of(outputs, "reasoning", "thinking", "thoughts"),
        audio_input_tokens=of([name for name in inputs if name not in cached], "audio"),
        audio_output_tokens=of(outputs, "audio"),
        image_input_tokens=of([name for name in inputs if name not in cached], "image"),
        image_output_tokens=of(outputs, "image"),
    )


def _total_usd(details: Mapping[str, object]) -> Decimal | None:
    """The total that is told, or else of its parts; the SDK writes 0 for a call that failed."""

    def amount(value: object) -> Decimal | None:
        return usd(coerce.as_number(value)) if isinstance(value, str | int | float) else None

    if total := amount(details.get("total")):
        return total
    parts = [part for name, value in details.items() if name != "total" and (part := amount(value)) is not None]
    return sum(parts, Decimal(0)) or None


def _cost_source(total_usd: Decimal | None, reported: Mapping[str, object]) -> str:
    """`provider` where the total stands in the provider's own usage, as OpenRouter's does."""
    if total_usd is None:
        return ""
    own = reported.get("cost")
    passed_on = isinstance(own, int | float) and not isinstance(own, bool) and usd(own) == total_usd
    return cost.Source.PROVIDER if passed_on else CLIENT


def _service_tier(parameters: Mapping[str, object]) -> str:
    """The tier, which the SDK's wrapper of openai overwrites with the one that served; `auto` is only asked for."""
    tier = parameters.get("service_tier")
    return tier if isinstance(tier, str) and tier != "auto" else ""


def _finish_reasons(metadata: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(finish.canonical(reason) for reason in coerce.texts(metadata.get("finish_reason")))


def _metadata(attributes: Attributes) -> dict[str, str]:
    """Every key of the metadata, as text; the trace's where the observation has none of the name."""
    found: dict[str, str] = {}
    for prefix in _METADATA:
        whole = attributes.get(prefix)
        opened = coerce.parse_json(whole) if isinstance(whole, str) else whole
        told = dict(opened) if isinstance(opened, Mapping) else {}
        named = {
            key.removeprefix(prefix + "."): value for key, value in attributes.items() if key.startswith(prefix + ".")
        }
        for key, value in {**told, **named}.items():
            found.setdefault(key, _metadata_text(value))
    return found


def _metadata_text(value: object) -> str:
    if isinstance(value, str):
        opened = coerce.parse_json(value) if value.startswith('"') else None
        return opened if isinstance(opened, str) else value
    return coerce.as_text(value) if isinstance(value, bool | int | float | bytes | tuple) else coerce.written(value)


def _object(attributes: Attributes, name: str) -> Mapping[str, object]:
    value = coerce.first(attributes, name)
    opened: object = coerce.parse_json(value) if isinstance(value, str) else value
    return opened if isinstance(opened, Mapping) else {}


def _content(attributes: Attributes, side: str) -> object:
    value = coerce.first(attributes, _OBSERVATION + side)
    opened = coerce.parse_json(value) if isinstance(value, str) else None
    return opened if opened is not None else value if isinstance(value, str) or value is None else coerce.plain(value)
