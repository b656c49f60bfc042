"""Which spans stand for model calls, and which of those were opened in the current context.

Instrumentations mark their spans in three vocabularies (the GenAI conventions, OpenInference, OpenLLMetry), some only
after the response. Most make their span current for the time of the request. Some do not: OpenLLMetry for Anthropic and
OpenInference for the stream helper of Anthropic (versions of November 2026). Such a span is found because the span
processor notes it where it is opened: in the context of the task or thread that opened it, where no other task or
thread sees it, unless it was started from there.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from enum import StrEnum
from typing import Final
from weakref import ref

from opentelemetry.trace import Span, SpanContext

from tokentrail.semconv import genai

MAX_NOTED: Final = 32
"""Open model calls remembered in one context; the oldest are forgotten first."""


class Kind(StrEnum):
    """What sort of model call a span stands for: an embedding under a chat's span is a call of its own."""

    GENERATION = "generation"
    EMBEDDING = "embedding"
    RERANK = "rerank"


_OPERATIONS: Final[Mapping[str, Kind]] = {
    genai.Operation.CHAT: Kind.GENERATION,
    genai.Operation.TEXT_COMPLETION: Kind.GENERATION,
    genai.Operation.GENERATE_CONTENT: Kind.GENERATION,
    genai.Operation.EMBEDDINGS: Kind.EMBEDDING,
    "completion": Kind.GENERATION,
    "responses": Kind.GENERATION,
    "embedding": Kind.EMBEDDING,
    "rerank": Kind.RERANK,
    # OpenLIT's, for the endpoints beside chat.
    **dict.fromkeys(("image", "audio", "text_to_speech", "speech_to_text", "translate", "moderation"), Kind.GENERATION),
}
_KINDS: Final[tuple[tuple[str, Mapping[str, Kind]], ...]] = (
    (genai.OPERATION_NAME, _OPERATIONS),
    (
        "openinference.span.kind",
        {"LLM": Kind.GENERATION, "EMBEDDING": Kind.EMBEDDING, "RERANKER": Kind.RERANK},
    ),
    (
        "llm.request.type",
        {
            "chat": Kind.GENERATION,
            "completion": Kind.GENERATION,
            "embedding": Kind.EMBEDDING,
            "rerank": Kind.RERANK,
        },
    ),
)
_MARKS: Final = frozenset(name for name, _ in _KINDS)
_NAMED_BY_OPERATION: Final = "openlit."
"""Scopes whose spans are called `<operation> <model>` from the start and have attributes only after the response."""
_MODELS: Final = (genai.REQUEST_MODEL, "llm.request.model_name", "llm.model_name", genai.RESPONSE_MODEL)
_ANSWERS: Final = frozenset(
    {
        *(genai.RESPONSE_FINISH_REASONS, genai.USAGE_INPUT_TOKENS, genai.USAGE_OUTPUT_TOKENS),
        *(genai.USAGE_COMPLETION_TOKENS_OLD, "llm.token_count.completion"),
    }
)
_WHOLE_REQUEST: Final = "input.value"
"""OpenInference's JSON of the request: it names the model where its own attribute comes only after the response."""

_noted: ContextVar[tuple["ref[Span]", ...]] = ContextVar("tokentrail-open-calls", default=())


def unwrap(span: Span) -> Span:
    """The span itself, where `span` is a proxy that another instrumentation put around it (OpenInference)."""
    for _ in range(8):
        inner = getattr(span, "__wrapped__", None)
        if not isinstance(inner, Span):
            break
        span = inner
    return span


def attributes_of(span: Span) -> Mapping[str, object]:
    """The attributes `span` has so far; empty for spans that do not let them be read."""
    attributes = getattr(span, "attributes", None)
    return attributes if isinstance(attributes, Mapping) else {}


def parent_of(span: Span) -> SpanContext | None:
    """The context of the parent of `span`; `None` for a root, and for spans that do not tell."""
    parent = getattr(span, "parent", None)
    return parent if isinstance(parent, SpanContext) else None


def kind_of_operation(operation: str) -> Kind:
    """The kind of a `gen_ai.operation.name`; what is not known otherwise generates something."""
    return _OPERATIONS.get(operation, Kind.GENERATION)


def kind_of(span: Span) -> Kind | None:
    """The kind of model call that `span` stands for, `None` when it stands for none (or does not say so yet)."""
    attributes = attributes_of(span)
    # Asked first as most spans have none of them, and looking up what is not there is slow in the SDK (1.45).
    if not _MARKS.isdisjoint(attributes):
        for name, kinds in _KINDS:
            value = attributes.get(name)
            if isinstance(value, str) and value in kinds:
                return kinds[value]
    if scope_name(span).startswith(_NAMED_BY_OPERATION):
        return _OPERATIONS.get(str(getattr(span, "name", "")).partition(" ")[0])
    return None


def is_answered(span: Span) -> bool:
    """True when `span` has the response of its call already: another request that leaves under it is another call.

    LiteLLM's callback writes each call onto the application's own span, after the call.
    """
    return not _ANSWERS.isdisjoint(attributes_of(span))


def scope_name(span: Span) -> str:
    """The name of the instrumentation scope of `span`; empty when it has none."""
    return str(getattr(getattr(span, "instrumentation_scope", None), "name", ""))


def names_model(span: Span, model: str) -> bool:
    """True when `span` says that its request is for `model`; false when it says another, or none."""
    attributes = attributes_of(span)
    said = [attributes[name] for name in _MODELS if name in attributes]
    if said:
        return model in said
    if scope_name(span).startswith(_NAMED_BY_OPERATION):
        return bool(model) and str(getattr(span, "name", "")).partition(" ")[2] == model
    request = attributes.get(_WHOLE_REQUEST)
    return bool(model) and isinstance(request, str) and f'"{model}"' in request


def note(span: Span) -> None:
    """Remember that `span`, which is being started, was opened in the current context, if it is a model call."""
    if kind_of(span) is None:
        return
    live = [each for each in _noted.get() if (known := each()) is not None and known.is_recording()]
    _noted.set((*live[1 - MAX_NOTED :], ref(span)))


def are_noted() -> bool:
    """False where no model call was ever opened in this context, so that `open_calls` finds none."""
    return bool(_noted.get())


def open_calls() -> list[Span]:
    """The open model calls that were opened in this context, or in the one it was copied from: newest first."""
    found = (each() for each in reversed(_noted.get()))
    return [span for span in found if span is not None and span.is_recording()]
