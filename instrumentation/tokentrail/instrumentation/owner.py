"""Who owns a call: another GenAI instrumentation may have opened a span for it already.

A call is counted once. When the span that is current as a request leaves is itself a model call, made by the official
instrumentations, OpenLLMetry, OpenInference, OpenLIT or an SDK with spans of its own (anthropic since 1.14), what it
lacks is added to it and no second one is opened.
"""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Final, Protocol

from opentelemetry import trace
from opentelemetry.trace import Span

from tokentrail.instrumentation.guard import protect
from tokentrail.semconv import genai

_OPERATIONS: Final = frozenset(
    {
        genai.Operation.CHAT,
        genai.Operation.TEXT_COMPLETION,
        genai.Operation.GENERATE_CONTENT,
        genai.Operation.EMBEDDINGS,
        *("completion", "embedding", "responses"),
    }
)
_MARKERS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    (genai.OPERATION_NAME, _OPERATIONS),
    ("openinference.span.kind", frozenset({"LLM", "EMBEDDING", "RERANKER"})),
    ("llm.request.type", frozenset({"chat", "completion", "embedding", "rerank"})),
)


_CLAIM: Final = "_tokentrail_claim"
"""Where an owner's span keeps the request that has it: with the span, so that both are forgotten together."""
_claiming: Final = Lock()


def attributes_of(span: Span) -> Mapping[str, object]:
    """The attributes `span` has so far; empty for spans that do not let them be read."""
    attributes = getattr(span, "attributes", None)
    return attributes if isinstance(attributes, Mapping) else {}


def find_owner() -> Span | None:
    """The current span, when it stands for a model call."""
    span = trace.get_current_span()
    if not span.is_recording():
        return None
    attributes = attributes_of(span)
    for name, values in _MARKERS:
        value = attributes.get(name)
        if isinstance(value, str) and value in values:
            return span
    return None


class Claimant(Protocol):
    """A request that may have the span of an owner."""

    @property
    def gives_way(self) -> bool:
        """True when it failed, so that the span is free for another attempt."""

    def give_way(self) -> None:
        """Leave the span to another attempt."""


def claim_owner(claimant: Claimant) -> Span | None:
    """The span that already stands for the call about to be made by `claimant`, or `None`.

    An owner stands for one call: a second one below it, at the same time or later, is one more, with a span of its own.
    But an SDK retries under one span; then the attempt that failed gives way to the next.
    """
    owner = find_owner()
    if owner is None:
        return None
    with _claiming:
        holder: Claimant | None = owner.__dict__.get(_CLAIM)
        if holder is not None and not holder.gives_way:
            return None
        owner.__dict__[_CLAIM] = claimant
    if holder is not None:
        holder.give_way()
    return owner


def before_end(owner: Span, act: Callable[[], None]) -> None:
    """Have `act` called when `owner`, which is somebody else's span, is about to end, and takes nothing any more.

    Its owner may end it before it closes the response: the `anthropic` SDK does where a stream is not read to its end.
    A span processor cannot do this, the SDK freezes the span before it asks them (1.45).
    """
    end = owner.end

    def act_and_end(end_time: int | None = None) -> None:
        with protect("completing another instrumentation's span"):
            act()
        end(end_time)

    owner.__dict__["end"] = act_and_end
