"""Vercel's AI SDK until version 6, and the details that version 7 adds to the conventions.

    ai.operationId                                ai.generateText, around one ai.generateText.doGenerate a request
    ai.model.id, ai.model.provider                "openai.responses"
    ai.prompt, ai.prompt.messages, .tools         JSON; what the user gave, and what the provider got
    ai.response.{text,reasoning,toolCalls,object,finishReason,id,model,msToFirstChunk,providerMetadata}
    ai.usage.{promptTokens,completionTokens}      until 4, and in 5 where nothing is streamed
    ai.usage.{inputTokens,outputTokens,cachedInputTokens,reasoningTokens,totalTokens}       5 and 6
    ai.usage.{inputTokenDetails,outputTokenDetails}.*                                       6; in 7 when switched on
    ai.telemetry.metadata.*                       what the user says of the call; in 7 ai.settings.context.*
    gen_ai.client.operation.time_to_first_chunk   7: seconds, on the span

Until 5 Anthropic's and Bedrock's input leaves the cache out, also of the total, and the cache is only told in the
provider's metadata; where the details are told, the input is what was not cached and what was. Version 7 speaks the
conventions (`otel_genai`). Request headers (`ai.request.headers.*`) may hold secrets and are never read.

Source: spans of ai 4.3.19, 5.0.277, 6.0.326 and 7.0.173 with @ai-sdk/otel 1.0.173 (November 2026). The cost that
Vercel's gateway charges is `gateway.cost` of its metadata: https://vercel.com/docs/ai-gateway.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import messages_json
from tokentrail.backend.dialects.reported_cost import ReportedCost, usd
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span, Value
from tokentrail.semconv import cost, finish, genai
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

_OPERATION: Final = ("ai.operationId", "operation.name")
_PREFIXES: Final = (
    "ai.operationId",
    "ai.usage.",
    "ai.telemetry.",
    "ai.settings.",
    "ai.model.",
    "ai.response.",
    "ai.toolCall.",
)
"""Sentry's old `ai.model_id` and its like are none of them."""
_KINDS: Final = {
    ".doGenerate": kinds.LLM,
    ".doStream": kinds.LLM,
    ".doEmbed": kinds.EMBEDDING,
    ".doRerank": kinds.RERANK,
    "ai.toolCall": kinds.TOOL,
    "ai.embed": kinds.CHAIN,
    "ai.embedMany": kinds.CHAIN,
    "ai.rerank": kinds.CHAIN,
}
"""By the end of an operation's name, or the whole of it; others are around several requests."""

_METADATA: Final = ("ai.telemetry.metadata.", "ai.settings.context.")
_TOLD_ELSEWHERE: Final = frozenset({"userId", "sessionId", "tags", "langfusePrompt"})
_USER: Final = (genai.USER_ID, genai.ENDUSER_ID, *(prefix + "userId" for prefix in _METADATA))
_SESSION: Final = (genai.SESSION_ID, genai.CONVERSATION_ID, *(prefix + "sessionId" for prefix in _METADATA))
_PROVIDER: Final = (genai.PROVIDER_NAME, genai.SYSTEM_OLD, "ai.model.provider")
_FIRST_CHUNK: Final = ("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk")
_FIRST_CHUNK_S: Final = "gen_ai.client.operation.time_to_first_chunk"
"""Of version 7, by the name of a metric."""
_PROVIDER_METADATA: Final = "ai.response.providerMetadata"
_EMBEDDED: Final = ("ai.value", "ai.values", "ai.documents")

_INPUT: Final = ("ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens", genai.USAGE_INPUT_TOKENS)
_OUTPUT: Final = ("ai.usage.outputTokens", "ai.usage.completionTokens", genai.USAGE_OUTPUT_TOKENS)
_NO_CACHE: Final = "ai.usage.inputTokenDetails.noCacheTokens"
_CACHE_READ: Final = (
    "ai.usage.inputTokenDetails.cacheReadTokens",
    "ai.usage.cachedInputTokens",
    genai.USAGE_CACHE_READ_INPUT_TOKENS,
)
_CACHE_WRITE: Final = ("ai.usage.inputTokenDetails.cacheWriteTokens", genai.USAGE_CACHE_CREATION_INPUT_TOKENS_OLD)
_REASONING: Final = ("ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens")


class Vercel:
    """The dialect."""

    name = "vercel"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for the attributes of the SDK, whatever tracer it was given."""
        return _FIRST_CHUNK_S in keys or any(key.startswith(_PREFIXES) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind; without a kind where only version 7's details are its own."""
        attributes = span.attributes
        operation_id = coerce.text(attributes, *_OPERATION).partition(" ")[0]
        kind = _kind(operation_id)
        request_model = coerce.text(attributes, "ai.model.id", genai.REQUEST_MODEL)
        response_model = coerce.text(attributes, "ai.response.model", genai.RESPONSE_MODEL)
        metadata = coerce.fields(attributes, _PROVIDER_METADATA)
        usage, reported = _usage(attributes, metadata), _cost(metadata)
        first_chunk = timing.milliseconds(attributes, *_FIRST_CHUNK)
        first_chunk = timing.seconds(attributes, _FIRST_CHUNK_S) if first_chunk is None else first_chunk
        prompt = coerce.fields(attributes, _METADATA[0] + "langfusePrompt")
        return Row(
            **frame(span),
            kind=kind,
            operation=kinds.OPERATION_OF.get(kind, ""),
            provider=identity.provider(span, response_model or request_model, *_PROVIDER),
            request_model=request_model,
            response_model=response_model,
            response_id=coerce.text(attributes, "ai.response.id"),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            service_tier=coerce.as_text(_scalar(_inside(metadata, "openai").get("serviceTier"))),
            cost_usd=reported.cost_usd,
            cost_source=reported.cost_source,
            pricing_status=reported.pricing_status,
            stream=_is_stream(operation_id) or first_chunk is not None,
            ttft_ns=first_chunk,
            time_to_first_chunk_ns=first_chunk,
            finish_reasons=_finish_reasons(attributes),
            user_id=coerce.text(attributes, *_USER),
            session_id=coerce.text(attributes, *_SESSION),
            properties=_properties(attributes),
            tags=next((tags for prefix in _METADATA if (tags := coerce.texts(attributes.get(prefix + "tags")))), ()),
            prompt_name=coerce.as_text(_scalar(prompt.get("name"))),
            prompt_version=coerce.as_text(_scalar(prompt.get("version"))),
            input_messages=_input(attributes),
            output_messages=_output(attributes),
            tools=tools_json(coerce.plain(coerce.first(attributes, "ai.prompt.tools"))),
        )


def _kind(operation_id: str) -> str:
    if not operation_id.startswith("ai."):
        return ""
    whole = _KINDS.get(operation_id)
    return whole or _KINDS.get("." + operation_id.rpartition(".")[2], kinds.AGENT)


def _is_stream(operation_id: str) -> bool:
    return operation_id.startswith("ai.stream")


def _usage(attributes: Attributes, metadata: Mapping[str, object]) -> Usage:
    """The counts as totals; see the module's docstring for what includes what."""
    raw, apart = _raw_cache(metadata)
    told = Usage(
        input_tokens=coerce.count(attributes, *_INPUT),
        output_tokens=coerce.count(attributes, *_OUTPUT),
        cache_read_tokens=_either(coerce.count(attributes, *_CACHE_READ), raw, "read"),
        cache_write_tokens=_either(coerce.count(attributes, *_CACHE_WRITE), raw, "write"),
        cache_write_1h_tokens=coerce.count(raw, "write_1h"),
        reasoning_tokens=_either(coerce.count(attributes, *_REASONING), raw, "reasoning"),
    )
    no_cache = coerce.count(attributes, _NO_CACHE)
    if no_cache is None:
        return as_totals(told, coerce.whole(attributes, "ai.usage.totalTokens"), cache_apart=apart or None)
    parts = (no_cache, told.cache_read_tokens or 0, told.cache_write_tokens or 0)
    whole = NOT_A_COUNT if NOT_A_COUNT in parts else sum(parts)
    return as_totals(replace(told, input_tokens=whole), cache_apart=False)


def _either(told: int | None, raw: Attributes, name: str) -> int | None:
    return coerce.count(raw, name) if told is None else told


def _raw_cache(metadata: Mapping[str, object]) -> tuple[dict[str, Value], bool]:
    """What the provider's metadata tells of the cache, and whether that provider leaves it out of the input."""
    anthropic, bedrock, openai = (_inside(metadata, name) for name in ("anthropic", "bedrock", "openai"))
    usage = _inside(anthropic, "usage")
    written = _inside(usage, "cache_creation")
    of_bedrock = _inside(bedrock, "usage")
    values = {
        "read": (
            usage.get("cache_read_input_tokens"),
            anthropic.get("cacheReadInputTokens"),
            of_bedrock.get("cacheReadInputTokens"),
            openai.get("cachedPromptTokens"),
        ),
        "write": (
            usage.get("cache_creation_input_tokens"),
            anthropic.get("cacheCreationInputTokens"),
            of_bedrock.get("cacheWriteInputTokens"),
        ),
        "write_1h": (written.get("ephemeral_1h_input_tokens"),),
        "reasoning": (openai.get("reasoningTokens"),),
    }
    found = {name: next((_scalar(each) for each in told if each is not None), None) for name, told in values.items()}
    return found, bool(anthropic or bedrock)


def _cost(metadata: Mapping[str, object]) -> ReportedCost:
    """What Vercel's gateway charges for the call, in USD; 0 where the user pays the provider himself."""
    charged = usd(coerce.number({"cost": _scalar(_inside(metadata, "gateway").get("cost"))}, "cost"))
    if not charged:
        return ReportedCost()
    return ReportedCost(cost_usd=charged, cost_source="provider", pricing_status=cost.PRICED)


def _finish_reasons(attributes: Attributes) -> tuple[str, ...]:
    reason = coerce.text(attributes, "ai.response.finishReason", "ai.finishReason", "gen_ai.finishReason")
    return (finish.canonical(reason),) if reason else ()


def _input(attributes: Attributes) -> str:
    prompt = coerce.first(attributes, "ai.prompt.messages", "ai.prompt")
    if prompt is not None:
        return messages_json(coerce.opened(prompt), "user")
    embedded = coerce.first(attributes, *_EMBEDDED)
    values = embedded if isinstance(embedded, tuple) else (embedded,)
    return messages_json([coerce.opened(value) for value in values if value is not None], "user")


def _output(attributes: Attributes) -> str:
    """What the model answered, put together from the attributes it is taken apart into."""
    blocks: list[object] = []
    if reasoning := coerce.text(attributes, "ai.response.reasoning"):
        blocks.append({"type": "reasoning", "text": reasoning})
    if text := coerce.text(attributes, "ai.response.text", "ai.result.text"):
        blocks.append({"type": "text", "text": text})
    if written := coerce.text(attributes, "ai.response.object", "ai.result.object"):
        blocks.append({"type": "text", "text": written})
    for name in ("ai.response.files", "ai.response.toolCalls", "ai.result.toolCalls"):
        kind = "file" if name.endswith("files") else "tool-call"
        listed = coerce.opened(coerce.first(attributes, name))
        blocks += [{"type": kind, **each} for each in (listed if isinstance(listed, list) else []) if _is_named(each)]
    if not blocks:
        return ""
    message = {"role": "assistant", "content": blocks}
    reasons = _finish_reasons(attributes)
    return messages_json([{**message, "finish_reason": reasons[0]} if reasons else message], "assistant")


def _is_named(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _properties(attributes: Attributes) -> dict[str, str]:
    return {
        name: coerce.as_text(value)
        for prefix in reversed(_METADATA)
        for key, value in attributes.items()
        if key.startswith(prefix) and (name := key.removeprefix(prefix)) not in _TOLD_ELSEWHERE
    }


def _inside(outer: Mapping[str, object], name: str) -> Mapping[str, object]:
    inner = outer.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _scalar(value: object) -> Value:
    return value if isinstance(value, str | bool | int | float) else None
