"""Spans that repeat a call after it is over: LiteLLM's `otel` callback (1.106.2, November 2026) makes them.

It works in the background once a call is logged: where no span is current it starts one that is dated back
(`litellm_request`), else it writes the call's attributes to the span that is current, which is the application's.
Either then looks like a call. It has the id of the response, and so has the span that the call was given in time. Where
both are known, the repetition is marked with `tokentrail.duplicate_of` before it ends.

Not found: failed calls and embeddings, whose responses have no id; a stream whose response is closed later than that.
"""

import os
import sys
from collections.abc import Callable, Mapping
from threading import RLock
from typing import Final
from weakref import ref

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span

from tokentrail.instrumentation.call_spans import attributes_of
from tokentrail.instrumentation.late_owner import identity
from tokentrail.semconv import genai

MAX_KNOWN: Final = 1_000
"""Responses remembered; the oldest are forgotten first."""
_MODULE: Final = "litellm"
_MARK: Final = "litellm.call_id"
"""What the callback writes to every span that it describes a call on."""
_FLUSH_S: Final = 0.5
"""How long the end of such a span may wait for what is known of the call; a few milliseconds are usual."""

_known: Final[dict[str, str]] = {}
"""Ids of responses, and the identity of the span that is counted."""
_lock = RLock()  # may be entered again by a destructor that ends a span


def are_possible() -> bool:
    """False where nothing is loaded that repeats calls: then neither `remember` nor `mark` has anything to do."""
    return _MODULE in sys.modules


def remember(span: ReadableSpan) -> None:
    """`span` has ended: keep which response it stands for, if it is a call that Tokentrail has recorded."""
    attributes = span.attributes or {}
    response_id = _response_id(attributes)
    if not response_id or genai.PRICING_STATUS not in attributes or _MARK in attributes or span.context is None:
        return
    if genai.DUPLICATE_OF in attributes:
        return
    with _lock:
        _known[response_id] = identity(span.context)
        while len(_known) > MAX_KNOWN:
            del _known[next(iter(_known))]


def mark(repeating: "ref[Span]", flush: Callable[[float], bool]) -> None:
    """Mark the span, which is about to end, if it repeats a call. `flush` has finished calls recorded."""
    if (span := repeating()) is None:
        return
    attributes = attributes_of(span)
    response_id = _response_id(attributes)
    if not response_id or _MARK not in attributes or genai.DUPLICATE_OF in attributes:
        return
    if response_id not in _known:
        flush(_FLUSH_S)
    if (counted := _known.get(response_id)) is not None:
        span.set_attribute(genai.DUPLICATE_OF, counted)


def _response_id(attributes: Mapping[str, object]) -> str:
    found = attributes.get(genai.RESPONSE_ID)
    return found if isinstance(found, str) else ""


def _after_fork() -> None:
    global _lock
    _lock = RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
