"""Who owns a call: another GenAI instrumentation may have opened a span for it already.

A call is counted once. When a request leaves for which the official instrumentations, OpenLLMetry, OpenInference,
OpenLIT, a framework, or an SDK with spans of its own (anthropic since 1.14) have a span, what that span lacks is added
to it and no second one is opened. The owner is, in this order:

- the newest span below the current one that was opened in this context for the same model, without being made current;
- the current span, when it stands for a model call;
- the span that OpenLLMetry will open when the response is there (`late_owner`).

Where several of them have spans for one call, the innermost is the owner, as backends count leaves; the others are
marked with `tokentrail.duplicate_of`, so that each call can be counted once by looking at single spans.
"""

import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, Span, SpanContext

from tokentrail.instrumentation import call_spans, late_owner
from tokentrail.instrumentation.call_spans import Kind, attributes_of, kind_of, parent_of, unwrap
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.late_owner import Claimant, LateSpan
from tokentrail.semconv import genai

_CLAIM: Final = "_tokentrail_claim"
"""Where an owner's span keeps the request that has it: with the span, so that both are forgotten together."""
_DROPPED: Final = "_tokentrail_dropped"
"""Where it keeps what is done when it is dropped without having been ended."""
_COST: Final = "_tokentrail_cost"
"""Where it keeps our cost of the call, once that is known."""
_claiming = Lock()
_watches: Final[set["weakref.finalize[[], Span]"]] = set()
"""Of the owners' spans that have not been ended, though their calls are over."""


def note_start(span: Span) -> None:
    """`span`, of whatever instrumentation but ours, is being started in the current context."""
    call_spans.note(span)
    if late := late_owner.arrive(span):
        span.__dict__[_CLAIM] = late.claimant
        late.become(span)
        _keep_cost(span)
        before_end(span, late.end)


def find_owner(kind: Kind | None = None, model: str = "") -> Span | None:
    """The span that stands for a call of `kind` (any by default) to `model` about to be made, if there is one."""
    current = unwrap(trace.get_current_span())
    own = current if current.is_recording() and _stands_for(current, kind) and not _was_answered(current) else None
    around = current.get_span_context() if current.get_span_context().is_valid else None
    for span in call_spans.open_calls():
        if span is own:
            break  # what was opened before it is around it
        parent = parent_of(span)
        below = parent is None if around is None else parent is not None and parent.span_id == around.span_id
        if below and _stands_for(span, kind) and call_spans.names_model(span, model) and not _is_taken(span):
            return span
    return own


def claim_owner(claimant: Claimant, operation: str = "", model: str = "") -> Span | None:
    """The span that already stands for the call about to be made by `claimant`, or `None`.

    `operation` is the call's `gen_ai.operation.name`, `model` its request model, empty when not known. An owner stands
    for one call: a second one below it, at the same time or later, is one more, with a span of its own. But an SDK
    retries under one span; then the attempt that failed gives way to the next.
    """
    if trace.get_current_span() is trace.INVALID_SPAN and not call_spans.are_noted():
        return late_owner.expect(claimant, None)  # nothing is around the call
    kind = call_spans.kind_of_operation(operation) if operation else None
    owner = find_owner(kind, model)
    late = late_owner.expect(claimant, owner)
    if owner is None:
        return late
    with _claiming:
        holder: Claimant | None = owner.__dict__.get(_CLAIM)
        if holder is not None and not holder.gives_way:
            return None
        owner.__dict__[_CLAIM] = claimant
    for duplicate in _duplicates(owner, kind, model):
        duplicate.set_attribute(genai.DUPLICATE_OF, late_owner.identity(owner.get_span_context()))
    if holder is not None:
        holder.give_way()
    return owner


def before_end(owner: Span, act: Callable[[], None]) -> None:
    """Have `act` called when `owner`, which is somebody else's span, is about to end, and takes nothing any more.

    Its owner may end it before it closes the response: the `anthropic` SDK does where a stream is not read to its end.
    A span processor cannot do this, the SDK freezes the span before it asks them (1.45).
    """
    # Neither holds the span: it would be kept alive by itself, and not be known to have been dropped.
    myself, before = weakref.ref(owner), owner.__dict__.get("end")

    def act_and_end(end_time: int | None = None) -> None:
        with protect("completing another instrumentation's span"):
            act()
        if (span := myself()) is not None:
            if watch := span.__dict__.pop(_DROPPED, None):
                watch.detach()
                _watches.discard(watch)
            if (cost := span.__dict__.get(_COST)) is not None:
                # OpenLIT has put its own over it meanwhile, which is 0 for a model that it does not know.
                span.set_attribute(genai.USAGE_COST, cost)
            if before is not None:
                before(end_time)
            else:
                type(span).end(span, end_time)

    owner.__dict__["end"] = act_and_end


def let_go(owner: Span, dropped: Callable[[], None]) -> Span:
    """What the request needs of `owner`, whose call is over, without keeping it alive: the context around it.

    Should nobody else keep it either before it is ended, nobody will see it (OpenLIT does not end its span of a stream
    that is not read to the end). Then `dropped` is called, from a destructor. It must not hold `owner`.
    """
    if isinstance(owner, LateSpan):
        owner.lost = dropped
        if owner.span is None:
            return owner
        owner = owner.span
    _keep_cost(owner)
    around = NonRecordingSpan(parent_of(owner) or INVALID_SPAN_CONTEXT)
    if owner.is_recording():
        _watch(owner, dropped)
    return around


def give_up_unended() -> None:
    """Record the calls that are over and whose owners have not ended their spans: nobody will see these any more."""
    for watch in tuple(_watches):
        watch()


def _watch(owner: Span, dropped: Callable[[], None]) -> None:
    def drop() -> None:
        _watches.discard(watch)
        dropped()

    watch = owner.__dict__[_DROPPED] = weakref.finalize(owner, drop)
    watch.atexit = False
    _watches.add(watch)


def _keep_cost(span: Span) -> None:
    if (cost := attributes_of(span).get(genai.USAGE_COST)) is not None and span.is_recording():
        span.__dict__[_COST] = cost


def _stands_for(span: Span, kind: Kind | None) -> bool:
    """True for a span of a model call of `kind` that no other call below it has made a duplicate."""
    found = kind_of(span)
    return found is not None and kind in (found, None) and genai.DUPLICATE_OF not in attributes_of(span)


def _was_answered(span: Span) -> bool:
    """True for a span that has a response which is not one that we put there."""
    return _CLAIM not in span.__dict__ and call_spans.is_answered(span)


def _is_taken(span: Span) -> bool:
    holder: Claimant | None = span.__dict__.get(_CLAIM)
    return holder is not None and not holder.gives_way


def _duplicates(owner: Span, kind: Kind | None, model: str) -> Iterator[Span]:
    """The other spans of the call that `owner` stands for: around it, and beside it where they name its model.

    Beside it is in its trace; or, where nothing is around the call, in a trace that was begun for the call as well.
    """
    trace_id, above = owner.get_span_context().trace_id, parent_of(owner)
    opened = call_spans.open_calls()
    around = {span.get_span_context().span_id: parent_of(span) for span in opened}
    begins_trace = _outermost(owner, around) is None
    parents = {above.span_id} if above else set()
    for span in opened:
        if span is owner or _CLAIM in span.__dict__ or not _stands_for(span, kind):
            continue
        context, parent = span.get_span_context(), parent_of(span)
        is_near = context.trace_id == trace_id or (begins_trace and _outermost(span, around) is None)
        if context.span_id in parents or (is_near and call_spans.names_model(span, model)):
            if parent is not None:
                parents.add(parent.span_id)
            yield span


def _outermost(span: Span, around: Mapping[int, SpanContext | None]) -> SpanContext | None:
    """What is around `span` and the open calls around that, `None` where they begin a trace."""
    parent = parent_of(span)
    while parent is not None and parent.span_id in around:
        parent = around[parent.span_id]
    return parent


def _after_fork() -> None:
    global _claiming
    _claiming = Lock()  # another thread of the parent may have held it
    _watches.clear()  # the parent will record them


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
