"""Laminar: its instrumentations of providers, functions under `observe`, and spans of others that pass through it.

    lmnr.span.type                              LLM, CACHED, TOOL, EXECUTOR, EVALUATOR, DEFAULT, ...
    lmnr.span.path                              names from the root to the span itself
    lmnr.span.input, .output                    JSON of any function; of a model call made by hand its messages
    gen_ai.input.messages, .output.messages     of its instrumentations: requests and answers as providers have them
    gen_ai.usage.*, llm.is_streaming, llm.user  as OpenLLMetry, from which these instrumentations come
    lmnr.association.properties.*               user_id, session_id, tags, metadata.<key>

Embeddings are of the type LLM as well, and told by the span's name. Inputs include the cache, also for Anthropic.
Source: lmnr 0.8.1 (November 2026).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.figures import counts
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import Message, read_messages
from tokentrail.backend.dialects.tokens import as_totals, read_usage
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import Usage

_PREFIX: Final = "lmnr."
_TYPE: Final = "lmnr.span.type"
_KINDS: Final = {
    "LLM": kinds.LLM,
    "CACHED": kinds.LLM,
    "TOOL": kinds.TOOL,
    "EXECUTOR": kinds.AGENT,
    "EVALUATOR": kinds.EVALUATOR,
    "EVALUATION": kinds.EVALUATOR,
    "HUMAN_EVALUATOR": kinds.EVALUATOR,
    "DEFAULT": kinds.CHAIN,
    "PIPELINE": kinds.CHAIN,
}
_WEAK: Final = "DEFAULT"
"""The type of every span that nobody gave one, those of other instrumentations among them."""
_INPUT: Final = "lmnr.span.input"
_OF_EMBEDDINGS: Final = ".embeddings"
_ASSOCIATED: Final = "lmnr.association.properties."
_METADATA: Final = _ASSOCIATED + "metadata."
_USER: Final = (genai.USER_ID, genai.ENDUSER_ID, _ASSOCIATED + "user_id", "llm.user")
_SESSION: Final = (genai.SESSION_ID, genai.CONVERSATION_ID, _ASSOCIATED + "session_id")
_CHUNK_EVENT: Final = "llm.content.completion.chunk"


class Laminar:
    """The dialect."""

    name = "laminar"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any attribute of its own."""
        return any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind; the content of model calls only."""
        attributes, kind = span.attributes, _kind(span)
        model = coerce.text(attributes, genai.RESPONSE_MODEL, genai.REQUEST_MODEL)
        host, port = _host(attributes)
        chunk = timing.event_ns(span, _CHUNK_EVENT)
        asked, answered = _content(attributes, kind)
        framed = frame(span)
        framed["server_address"] = framed["server_address"] or host
        return Row(
            **framed,
            kind=kind,
            operation=identity.operation_of_kind(span, kind),
            provider=identity.provider(span, model, host=host, port=port) if kind in kinds.BILLABLE else "",
            request_model=coerce.text(attributes, genai.REQUEST_MODEL),
            response_model=coerce.text(attributes, genai.RESPONSE_MODEL),
            **counts(_usage(attributes, kind)),
            stream=coerce.flag(attributes, "llm.is_streaming") or chunk is not None,
            ttft_ns=chunk,
            time_to_first_chunk_ns=chunk,
            finish_reasons=_finish_reasons(answered),
            user_id=coerce.text(attributes, *_USER),
            session_id=coerce.text(attributes, *_SESSION),
            session_path=_path(attributes),
            properties=_properties(attributes),
            tags=coerce.texts(coerce.first(attributes, _ASSOCIATED + "tags")),
            input_messages=coerce.written(asked) if asked else "",
            output_messages=coerce.written(answered) if answered else "",
            tools=tools_json(coerce.opened(coerce.first(attributes, genai.TOOL_DEFINITIONS))),
        )


def _kind(span: Span) -> str:
    """The kind that the span says; empty where Laminar only passed on the span of somebody else."""
    told = coerce.text(span.attributes, _TYPE).strip().upper()
    if told in ("", _WEAK) and (genai.OPERATION_NAME in span.attributes or _INPUT not in span.attributes):
        return ""
    kind = _KINDS.get(told, kinds.OTHER)
    return kinds.EMBEDDING if kind == kinds.LLM and span.name.endswith(_OF_EMBEDDINGS) else kind


def _usage(attributes: Attributes, kind: str) -> Usage:
    usage = as_totals(read_usage(attributes), cache_apart=False)
    if kind == kinds.EMBEDDING:  # its zeros are the instrumentation's, and not the provider's
        return replace(usage, output_tokens=usage.output_tokens or None, cache_read_tokens=None)
    return usage


def _host(attributes: Attributes) -> tuple[str, int | None]:
    try:
        url = urlsplit(coerce.text(attributes, "gen_ai.request.base_url"))
        host, port = url.hostname or "", url.port
    except ValueError:
        return "", None
    return host, port


def _content(attributes: Attributes, kind: str) -> tuple[list[Message], list[Message]]:
    if kind not in ("", *kinds.BILLABLE):
        return [], []
    asked = coerce.opened(coerce.first(attributes, genai.INPUT_MESSAGES, _INPUT))
    answered = coerce.opened(coerce.first(attributes, genai.OUTPUT_MESSAGES, "lmnr.span.output"))
    return read_messages(asked, "user"), read_messages(answered, "assistant")


def _finish_reasons(answered: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    reasons = (message.get("finish_reason") for message in answered)
    return tuple(finish.canonical(each) for each in reasons if isinstance(each, str) and each)


def _path(attributes: Attributes) -> str:
    path = attributes.get("lmnr.span.path")
    return "/" + "/".join(coerce.texts(path)) if path else ""


def _properties(attributes: Attributes) -> dict[str, str]:
    start = len(_METADATA)
    return {key[start:]: coerce.as_text(value) for key, value in attributes.items() if key.startswith(_METADATA)}
