"""LangSmith, and LangChain by way of it: runs that its SDK exports as spans.

    langsmith.span.kind             llm, embedding, and what is around such calls; decides against the operation, which
                                    is "chat" for a prompt and "embeddings" for a retriever
    langsmith.metadata.<key>        of the application (thread_id, user_id, ...) and of the SDK (ls_provider, ...)
    langsmith.span.tags             texts with ", " between them
    langsmith.trace.session_name    the project, no session
    gen_ai.prompt, gen_ai.completion              JSON of the run's inputs and outputs, whole
    gen_ai.usage.{input,output}_token_details     Python's spelling of a dict; JSON before
    langsmith.request.streaming

The content is read as that of the conventions before their messages, which has the same names (`otel_genai`).
A run that fails has an exception event, in which the type is always "Exception" and the message the real one with its
traceback; its status is OK all the same where the run was announced before it ended (0.14.17).

Source: langsmith 0.14.17, langchain-core 1.7.2 (November 2026).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.frame import Frame, frame
from tokentrail.backend.dialects.reported_usage import read_reported
from tokentrail.backend.dialects.tokens import read_usage
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import Usage

_SCOPE: Final = "langsmith"
_PREFIX: Final = "langsmith."
_KIND: Final = "langsmith.span.kind"
_KINDS: Final = {
    "llm": kinds.LLM,
    "embedding": kinds.EMBEDDING,
    "chain": kinds.CHAIN,
    "tool": kinds.TOOL,
    "retriever": kinds.RETRIEVAL,
    "prompt": kinds.PROMPT,
    "parser": kinds.PROMPT,
}
_METADATA: Final = "langsmith.metadata."
_SESSION: Final = tuple(_METADATA + name for name in ("thread_id", "session_id", "conversation_id"))
_USER: Final = (genai.USER_ID, genai.ENDUSER_ID, _METADATA + "user_id")
_OF_THE_SDK: Final = re.compile(
    r"ls_.+|lc_versions|LANGSMITH_.+|LANGCHAIN_.+|_type|usage_metadata|revision_id|thread_id|session_id|"
    r"conversation_id|user_id|langgraph_.+|checkpoint_ns|"
    r"model|model_name|model_kwargs|stream|streaming|stream_usage|temperature|max_tokens|max_retries|stop"
)
"""Metadata that the SDK and LangChain's models write, or that the row has elsewhere: not the application's own."""
_PROVIDER: Final = (_METADATA + "ls_provider", genai.SYSTEM_OLD)
"""The system is guessed from the model's name."""

_ERROR: Final = re.compile(r"([A-Za-z_][\w.]*)\((['\"]?)(.*?)\2\)(?=\s*(?:Traceback|$))", re.DOTALL)
"""`repr` of an exception, before its traceback."""
_TRACEBACK: Final = "Traceback (most recent call last):"
_PAIR: Final = re.compile(r"'(\w{1,60})': (\d{1,18})(?=[,}])")
_TOLD_APART: Final = frozenset({_METADATA + "usage_metadata", genai.RESPONSE_ID, genai.RESPONSE_MODEL})
_CHUNKS: Final = frozenset({"ChatGenerationChunk", "GenerationChunk", "chat.completion.chunk"})

Json = Mapping[str, object]


class LangSmith:
    """The dialect."""

    name = "langsmith"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for its scope, and for any attribute of its own."""
        return scope == _SCOPE or any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes = span.attributes
        named = coerce.text(attributes, _KIND).strip().lower()
        kind = _KINDS.get(named, kinds.OTHER) if named else ""
        billable = kind in kinds.BILLABLE
        answer = _answer(attributes) if billable else {}
        request_model = coerce.text(attributes, genai.REQUEST_MODEL, _METADATA + "ls_model_name")
        response_model = coerce.text(attributes, genai.RESPONSE_MODEL) or _text(answer, "model_name", "model")
        usage = _usage(attributes, answer) if billable else Usage()
        return Row(
            **_frame(span),
            kind=kind,
            operation=_operation(span, kind),
            provider=identity.provider(span, response_model or request_model, *_PROVIDER),
            request_model=request_model,
            response_model=response_model,
            response_id=coerce.text(attributes, genai.RESPONSE_ID) or _text(answer, "id"),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            audio_input_tokens=usage.audio_input_tokens,
            audio_output_tokens=usage.audio_output_tokens,
            service_tier=coerce.text(attributes, "gen_ai.response.service_tier") or _text(answer, "service_tier"),
            stream=_is_stream(attributes, answer),
            finish_reasons=_finish_reasons(attributes, answer),
            user_id=coerce.text(attributes, *_USER),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID, *_SESSION),
            properties=_properties(attributes),
            tags=_tags(attributes),
            tools=_tools(attributes) if billable else "",
        )


def _answer(attributes: Attributes) -> Json:
    """What the run's answer says of itself; empty where attributes say all of it already."""
    if _TOLD_APART.issubset(attributes):
        return {}
    outputs = _object(attributes, "gen_ai.completion")
    generation = _generation(outputs)
    if not generation:
        return outputs
    message = _mapping(_mapping(generation.get("message")).get("kwargs")) or _mapping(generation.get("message"))
    kept = {name: message[name] for name in ("usage_metadata",) if name in message}
    told = {**_mapping(generation.get("generation_info")), **_mapping(message.get("response_metadata"))}
    return {**told, **kept, "type": generation.get("type")}


def _generation(outputs: Json) -> Json:
    """The first of LangChain's generations, which are lists in a list."""
    found = outputs.get("generations")
    while isinstance(found, list) and found:
        found = found[0]
    return _mapping(found)


def _frame(span: Span) -> Frame:
    """The frame of the span; the exception that ended the run is in an event, and the status may say OK."""
    told = next((event.attributes for event in reversed(span.events) if event.name == "exception"), None)
    if told is None:
        return frame(span)
    kind, message = coerce.text(told, "exception.type"), coerce.text(told, "exception.message")
    real = _ERROR.match(message) if kind in ("", "Exception") else None
    if real is not None:
        kind, message = real[1], real[3]
    return frame(
        span, coerce.text(span.attributes, genai.ERROR_TYPE) or kind, message.partition(_TRACEBACK)[0].rstrip()
    )


def _operation(span: Span, kind: str) -> str:
    if kind == kinds.LLM and coerce.text(span.attributes, _METADATA + "ls_model_type") == "llm":
        return genai.Operation.TEXT_COMPLETION
    return identity.operation_of_kind(span, kind)


def _usage(attributes: Attributes, answer: Json) -> Usage:
    """The counts with their parts: as the SDK put them together, as the answer has them, or as attributes."""
    for reported in (
        _object(attributes, _METADATA + "usage_metadata"),
        answer.get("usage_metadata"),
        answer.get("usage") or answer.get("token_usage"),
    ):
        usage = read_reported(reported)
        if not usage.is_empty:
            return usage
    told = read_usage(attributes)
    details = read_reported(
        {
            f"{side}_token_details": _spelled(attributes, f"gen_ai.usage.{side}_token_details")
            for side in ("input", "output")
        }
    )
    return replace(
        told,
        cache_read_tokens=_or(told.cache_read_tokens, details.cache_read_tokens),
        cache_write_tokens=_or(told.cache_write_tokens, details.cache_write_tokens),
        cache_write_1h_tokens=_or(told.cache_write_1h_tokens, details.cache_write_1h_tokens),
        reasoning_tokens=_or(told.reasoning_tokens, details.reasoning_tokens),
        audio_input_tokens=_or(told.audio_input_tokens, details.audio_input_tokens),
        audio_output_tokens=_or(told.audio_output_tokens, details.audio_output_tokens),
    )


def _or(first: int | None, second: int | None) -> int | None:
    return second if first is None else first


def _spelled(attributes: Attributes, name: str) -> Json:
    """An object of counts, in JSON or as Python spells a dict. Nothing is evaluated: pairs are looked for."""
    text = coerce.text(attributes, name)
    parsed = coerce.parse_json(text)
    return parsed if isinstance(parsed, dict) else {key: int(value) for key, value in _PAIR.findall(text)}


def _is_stream(attributes: Attributes, answer: Json) -> bool:
    told = coerce.flag(attributes, "langsmith.request.streaming")
    return _text(answer, "type", "object") in _CHUNKS if told is None else told


def _finish_reasons(attributes: Attributes, answer: Json) -> tuple[str, ...]:
    told = coerce.texts(coerce.first(attributes, genai.RESPONSE_FINISH_REASONS))
    told = told or coerce.texts(_text(answer, "finish_reason", "stop_reason"))
    return tuple(finish.canonical(reason) for reason in told)


def _tools(attributes: Attributes) -> str:
    """The tools that the run was given; the conventions' attribute has them where LangChain tells them."""
    inputs = coerce.text(attributes, "gen_ai.prompt")
    return tools_json(_object(attributes, "gen_ai.prompt").get("tools")) if '"tools"' in inputs else ""


def _properties(attributes: Attributes) -> Mapping[str, str]:
    return {
        key.removeprefix(_METADATA): coerce.as_text(value)
        for key, value in attributes.items()
        if key.startswith(_METADATA) and _OF_THE_SDK.fullmatch(key.removeprefix(_METADATA)) is None
    }


def _tags(attributes: Attributes) -> tuple[str, ...]:
    """Each tag once; those of LangChain that number the steps of a chain are no tags of the application."""
    value = coerce.first(attributes, "langsmith.span.tags")
    told = value.split(",") if isinstance(value, str) and not value.startswith("[") else coerce.texts(value)
    tags = dict.fromkeys(tag.strip() for tag in told)
    return tuple(tag for tag in tags if tag and not tag.startswith("seq:step:"))


def _text(told: Json, *names: str) -> str:
    """The first of `names` that is told as text."""
    return next((value for name in names if isinstance(value := told.get(name), str)), "")


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _object(attributes: Attributes, name: str) -> Json:
    value = coerce.first(attributes, name)
    opened: object = coerce.parse_json(value) if isinstance(value, str) else value
    return _mapping(opened)
