"""LiteLLM's OpenTelemetry callback, of its proxy and of the library.

    litellm_request       one call: gen_ai.*, llm.request.type (the function), llm.is_streaming ("True"), llm.user
      raw_gen_ai_request  the same call in the provider's words (llm.<provider>.*), of which nothing is read
    gen_ai.cost.*         USD; total_cost is what LiteLLM charges for the call
    metadata.*            whose it is; "" for unknown, and anything nested as Python writes it
    hidden_params         JSON: api_base, cache_hit
    gen_ai.completion.N.function_call.*    calls of tools, N counts calls and not choices

Without `OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental` the cache is told only in `metadata.usage_object`,
which is a Python literal; its numbers are found by name. The input includes the cache, also for Anthropic. Other spans
of the proxy (its own request, its database, guardrails) are no model calls; and where LiteLLM is told to write for
Arize, Langfuse or Weave, its spans speak the dialects of these.

Its second callback (`LITELLM_OTEL_V2`) makes one span of a call, in the conventions' names and a few of its own, with
messages in OpenAI's shape: litellm.cost.*, litellm.call_type, litellm.request.streaming, litellm.cache_hit,
litellm.end_user.id, litellm.metadata.*. What LiteLLM answers out of its own cache costs nothing.

Source: spans of litellm 1.106.2 and 1.109.1 (November 2026).
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from tokentrail.backend.dialects import coerce, identity, indexed, kinds
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import messages_json, read_messages
from tokentrail.backend.dialects.reported_cost import ReportedCost, usd
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import cost, genai
from tokentrail.semconv.usage import Usage

_SCOPE: Final = "litellm"
_PREFIXES: Final = ("gen_ai.cost.", "metadata.user_api_key_", "litellm.")
_HIDDEN: Final = "hidden_params"
_TYPE: Final = "llm.request.type"
_TYPES: Final = (_TYPE, "litellm.call_type", genai.OPERATION_NAME)
_RAW: Final = ("llm.", "metadata.user_api_key_team")
"""All that a span in the provider's words has."""
_CALL_TYPES: Final = {
    **dict.fromkeys(("completion", "responses", "anthropic_messages"), genai.Operation.CHAT),
    "text_completion": genai.Operation.TEXT_COMPLETION,
    **dict.fromkeys(
        (
            *("generate_content", "generate_content_stream", "image_generation", "image_edit", "image_variation"),
            *("speech", "transcription", "ocr", "video_generation", "create_video"),
        ),
        genai.Operation.GENERATE_CONTENT,
    ),
    "embedding": genai.Operation.EMBEDDINGS,
    "rerank": genai.Operation.RERANK,
    "moderation": genai.Operation.MODERATION,
}
"""LiteLLM's functions; of each there is an asynchronous one whose name begins with `a`."""

_METADATA: Final = ("metadata.", "litellm.metadata.")
_USER: Final = (
    *(genai.USER_ID, genai.ENDUSER_ID, "llm.user"),
    *("metadata.user_api_key_end_user_id", "litellm.end_user.id"),
)
_STREAM: Final = (genai.REQUEST_STREAM, "llm.is_streaming", "litellm.request.streaming")
_COST: Final = ("gen_ai.cost.total_cost", "litellm.cost.total")
_SESSION: Final = (genai.SESSION_ID, genai.CONVERSATION_ID)
_NOT_PROPERTIES: Final = frozenset(
    {
        *("usage_object", "user_api_key_end_user_id", "user_api_key_hash", "user_api_key_auth_metadata"),
        *("requester_ip_address", "requester_custom_headers", "cold_storage_object_key", "error_information"),
    }
)
"""Told elsewhere, or not to be spread: addresses, headers and what a key is recognised by."""
_MAX_USAGE_TEXT: Final = 8192


class LiteLLM:
    """The dialect."""

    name = "litellm"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for LiteLLM's tracer, and for spans of others that its callback writes to."""
        return scope == _SCOPE or _HIDDEN in keys or any(key.startswith(_PREFIXES) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row; without a kind for one that another vocabulary, or none, tells of."""
        attributes = span.attributes
        operation = _operation(attributes)
        kind = kinds.kind_of(operation)
        if not kind and all(key.startswith(_RAW) for key in attributes):
            kind = kinds.OTHER  # the call is the span around it
        request_model = coerce.text(attributes, genai.REQUEST_MODEL)
        response_model = coerce.text(attributes, genai.RESPONSE_MODEL)
        host, port = _host(attributes)
        usage, reported = _usage(attributes), _cost(attributes)
        framed = frame(span)
        framed["server_address"] = framed["server_address"] or host
        return Row(
            **framed,
            kind=kind,
            operation=operation,
            provider=identity.provider(span, response_model or request_model, host=host, port=port),
            request_model=request_model,
            response_model=response_model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost_usd=reported.cost_usd,
            cost_source=reported.cost_source,
            pricing_status=reported.pricing_status,
            stream=bool(coerce.flag(attributes, *_STREAM)),
            user_id=coerce.text(attributes, *_USER),
            session_id=coerce.text(attributes, *_SESSION),
            properties=_properties(attributes),
            output_messages=_output(attributes),
            tools=tools_json(
                indexed.items(attributes, "llm.request.functions.") or indexed.items(attributes, "gen_ai.tool.")
            ),
        )


def _operation(attributes: Attributes) -> str:
    """The operation of a call; empty for a span that names none. One that nobody bills so keeps LiteLLM's name."""
    for told in (coerce.text(attributes, name).lower() for name in _TYPES):
        for name in (told, told.removeprefix("a")):
            if name in _CALL_TYPES:
                return _CALL_TYPES[name]
    return kinds.operation_of(coerce.text(attributes, _TYPE, genai.OPERATION_NAME))


def _usage(attributes: Attributes) -> Usage:
    """The counts; `usage_object` is a Python literal, which is searched and never evaluated."""
    literal = coerce.text(attributes, "metadata.usage_object")[:_MAX_USAGE_TEXT]
    told = Usage(
        input_tokens=coerce.count(attributes, genai.USAGE_INPUT_TOKENS),
        output_tokens=coerce.count(attributes, genai.USAGE_OUTPUT_TOKENS),
        cache_read_tokens=coerce.count(
            attributes, genai.USAGE_CACHE_READ_INPUT_TOKENS, "gen_ai.usage.cache_read_input_tokens"
        ),
        cache_write_tokens=coerce.count(
            attributes, genai.USAGE_CACHE_CREATION_INPUT_TOKENS_OLD, "gen_ai.usage.cache_creation_input_tokens"
        ),
        reasoning_tokens=coerce.count(attributes, genai.USAGE_REASONING_OUTPUT_TOKENS),
    )
    read, write, reasoning = told.cache_read_tokens, told.cache_write_tokens, told.reasoning_tokens
    return as_totals(
        Usage(
            input_tokens=told.input_tokens,
            output_tokens=told.output_tokens,
            cache_read_tokens=_named(literal, "cached_tokens", "cache_read_input_tokens") if read is None else read,
            cache_write_tokens=_named(literal, "cache_creation_input_tokens") if write is None else write,
            reasoning_tokens=_named(literal, "reasoning_tokens") if reasoning is None else reasoning,
        ),
        cache_apart=False,
    )


def _named(literal: str, *names: str) -> int | None:
    """The number that a Python literal has under the first of `names`."""
    for name in names:
        if found := re.search(rf"'{name}': (\d{{1,18}})[,}}]", literal):
            return int(found[1])
    return None


def _cost(attributes: Attributes) -> ReportedCost:
    total = usd(coerce.number(attributes, *_COST))
    if not total and not _is_cached(attributes):
        return ReportedCost()
    return ReportedCost(cost_usd=total or Decimal(0), cost_source="client", pricing_status=cost.PRICED)


def _is_cached(attributes: Attributes) -> bool:
    """True for an answer out of LiteLLM's own cache, which no provider was asked for."""
    return coerce.flag(attributes, "litellm.cache_hit") or coerce.fields(attributes, _HIDDEN).get("cache_hit") is True


def _host(attributes: Attributes) -> tuple[str, int | None]:
    """Host and port that the call went to; empty where LiteLLM took the provider's own."""
    base = coerce.fields(attributes, _HIDDEN).get("api_base")
    try:
        url = urlsplit(base if isinstance(base, str) else "")
        host, port = url.hostname or "", url.port
    except ValueError:
        return "", None
    return host, port


def _output(attributes: Attributes) -> str:
    """The answer with its calls of tools; empty where it calls none, which the conventions' reading has as well."""
    calls = [call for item in indexed.items(attributes, "gen_ai.completion.") if (call := item.get("function_call"))]
    if not calls:
        return ""
    told = coerce.text(attributes, genai.OUTPUT_MESSAGES)
    messages = read_messages(coerce.parse_json(told), "assistant")
    message = dict(messages[0]) if messages else {"role": "assistant"}
    parts = message.pop("parts", None)
    known = isinstance(parts, list) and any(
        isinstance(part, Mapping) and part.get("type") == "tool_call" for part in parts
    )
    if known:
        return ""
    return messages_json(
        [{**message, "content": parts, "tool_calls": [{"function": call} for call in calls]}], "assistant"
    )


def _properties(attributes: Attributes) -> dict[str, str]:
    return {
        name: coerce.text(attributes, key)
        for prefix in _METADATA
        for key in attributes
        if key.startswith(prefix)
        and (name := key.removeprefix(prefix)) not in _NOT_PROPERTIES
        and coerce.first(attributes, key) is not None
    }
