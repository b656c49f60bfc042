"""Processes that fork: each has its own calls, sends each span once, and loses none when it ends.

A web server that loads the application and then forks its workers (`gunicorn --preload`), pools of `multiprocessing`,
`os.fork`. The SDK (1.45) starts its exporting thread again in a child and empties its queue there. Left to do here:

- before a fork, the background worker comes to rest: what it held at that moment would stay held in the child; the
  exporters' idle connections are closed: kept, one and the same would be used by all children, over one another; and
  a span of ours that is current but not started yet is started, for both processes to have the same one,
- in the child, exchanges under way are forgotten: they are the parent's,
- a process of `multiprocessing` ends without running what was registered with `atexit`, and one of a pool that is
  left by its `with` statement is killed by SIGTERM: either way, spans are sent first.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Final

from tokentrail.instrumentation.deferred import Deferred
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.unstarted import start_current

_PARK_TIMEOUT_S: Final = 2.0
_FLUSH_TIMEOUT_S: Final = 5.0
_LAST: Final = -1_000
"""Priority among the finalizers of `multiprocessing`: the application's own, which may call models, come first."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What forks concern, as long as the instrumentation is on."""

    deferred: Deferred
    forget: Callable[[], None]
    """Drops what is under way without recording it."""
    flush: Callable[[float], None]
    """Records what is over and has it exported, within as many seconds."""
    exporters: Callable[[], Iterable[object]]
    """Exporters of the application's tracer and logger providers."""


_watched: Watched | None = None
_registered = False
_resume: Callable[[], None] | None = None
_is_ending = False
_interrupted_by: int | None = None
"""A signal that came while the process was ending."""


def watch(watched: Watched | None) -> None:
    """Take care of `watched` at every fork from now on; of nothing when it is `None`."""
    global _watched, _registered
    _watched = watched
    if watched is None:
        return
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
    if _is_spawned():
        _end_with_a_flush()


def _before() -> None:
    global _resume
    with protect("preparing a fork"):
        if _watched is not None:
            start_current()
            _resume = _watched.deferred.park(_PARK_TIMEOUT_S)
            for exporter in _watched.exporters():
                _close_idle(exporter)


def _in_parent() -> None:
    global _resume
    with protect("going on after a fork"):
        if _resume is not None:
            _resume()
        _resume = None


def _in_child() -> None:
    global _resume
    _resume = None
    with protect("starting anew after a fork"):
        if _watched is None:
            return
        _watched.forget()
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            # Run in a process of `multiprocessing` only, once it has dropped the finalizers of its parent.
            util.register_after_fork(_watched.deferred, _in_worker)


def _in_worker(_: object) -> None:
    """At the start of a process of `multiprocessing` that was forked off."""
    from multiprocessing import util

    with protect("preparing the end of a process"):
        util.Finalize(None, _flush_at_end, exitpriority=_LAST)
        _end_with_a_flush()


def _is_spawned() -> bool:
    """True in a process that `multiprocessing` has started by running Python anew."""
    return "--multiprocessing-fork" in sys.orig_argv


def _end_with_a_flush() -> None:
    """Have SIGTERM, where it is not handled, end this process a moment later, as it would have."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    global _interrupted_by
    if _is_ending:
        # This has interrupted the flush itself, which holds what another would wait for: it goes on, and dies then.
        _interrupted_by = number
        return
    with protect("ending a process"):
        # In a thread: the one that was interrupted may hold what exporting needs.
        flushing = threading.Thread(target=_flush, name="tokentrail-flush", daemon=True)
        flushing.start()
        flushing.join(_FLUSH_TIMEOUT_S)
    _die_of(number)


def _die_of(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _flush_at_end() -> None:
    """In the main thread of a process that ends by itself; a pool may kill it meanwhile."""
    global _is_ending
    _is_ending = True
    try:
        _flush()
    finally:
        _is_ending = False
        if _interrupted_by is not None:
            _die_of(_interrupted_by)


def _flush() -> None:
    with protect("ending a process"):
        if _watched is not None:
            _watched.flush(_FLUSH_TIMEOUT_S)


def _close_idle(exporter: object) -> None:
    """Close the connections that an OTLP/HTTP `exporter` keeps; it opens new ones when it needs them.

    In the parent, where no lock of theirs is held by a thread that is gone. By private names, there are no others: the
    transport's of 1.45, the session's of earlier versions.
    """
    client = getattr(exporter, "_client", None)
    for holder in (getattr(client, "_transport", None), getattr(exporter, "_session", None)):
        if (close := getattr(holder, "close", None)) is not None:
            close()
