"""The OpenTelemetry context follows work into threads: `Thread`, `Timer` and `ThreadPoolExecutor`.

A thread starts with an empty context, so calls made in it would have neither the session nor the parent span of the
code that started it. `asyncio.to_thread` and tasks copy the context themselves; `loop.run_in_executor` submits.

`opentelemetry-instrumentation-threading` is there for this and was not taken (0.66b1): it wraps `Thread.run`, which
subclasses override, so it does not see them; it has a pool's worker threads keep the context of the first request for
life; and it requires one exact version of `opentelemetry-instrumentation`, which would be forced on everybody. The two
may be active at once. Either is left out by `threading` in `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from tokentrail.instrumentation.context import detach
from tokentrail.instrumentation.guard import protect

DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
"""Names of instrumentations, separated by commas; `*` for all."""

_INHERITS: Final = bool(getattr(sys.flags, "thread_inherit_context", False))
"""Python 3.14: threads may copy the context they are started in, by default where there is no global lock."""

_MACHINERY: Final = ("concurrent.futures.", "opentelemetry.", "tokentrail.")

_carries = False
"""Whether anything is carried; the hooks stay in place once set, somebody may have wrapped them since."""
_hooked = False


def install(environ: Mapping[str, str] = os.environ) -> None:
    """Carry the context into threads from now on, unless `environ` says otherwise."""
    global _carries, _hooked
    disabled = {name.strip() for name in environ.get(DISABLED, "").split(",")}
    if disabled & {"threading", "*"}:
        return
    _carries = True
    if not _hooked:
        _hooked = True
        with protect("hooking threads"):
            for owner, name, hook in _HOOKS:
                setattr(owner, name, hook(getattr(owner, name)))


def uninstall() -> None:
    """Carry nothing any more."""
    global _carries
    _carries = False


def _start_hook(original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        restore: Callable[[], None] | None = None
        if _carries and not _INHERITS:
            with protect("carrying a context into a thread"):
                restore = _prepare(self)
        try:
            original(self)
        except BaseException:
            if restore is not None:
                restore()
            raise

    return start


def _prepare(thread: threading.Thread) -> Callable[[], None] | None:
    """Have `thread` run in the current context, and return what undoes that; `None` when there is nothing to carry.

    An attribute of the object hides `run` until it is called: a method of the class would not be seen where a subclass
    has its own, and what calls it is private and differs between versions of Python.
    """
    context = otel_context.get_current()
    if not context or thread.ident is not None or _is_machinery(thread):
        return None
    run, own = thread.run, thread.__dict__.get("run")  # others do the same

    def restore() -> None:
        if own is None:
            thread.__dict__.pop("run", None)
        else:
            thread.__dict__["run"] = own

    def run_in_context() -> None:
        restore()
        token = otel_context.attach(context)
        try:
            run()
        finally:
            detach(token)

    thread.__dict__["run"] = run_in_context
    return restore


def _is_machinery(thread: threading.Thread) -> bool:
    """True for threads that serve whoever comes: they must not keep the context of the one they were started for.

    An executor's threads take the context of each job; exporters and queues work for all.
    """
    target = getattr(thread, "_target", None) or type(thread).run
    module = getattr(target, "__module__", None) or ""
    if module.startswith("multiprocessing."):
        return type(thread).__module__ != "multiprocessing.dummy"  # the workers of a `multiprocessing.pool.ThreadPool`
    return module.startswith(_MACHINERY)


class _Carried:
    """A job that runs in the context it was submitted in."""

    __slots__ = ("_context", "_function")

    def __init__(self, context: Context, function: Callable[..., Any]) -> None:
        self._context = context
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = otel_context.attach(self._context)
        try:
            return self._function(*args, **kwargs)
        finally:
            detach(token)

    def __repr__(self) -> str:
        return repr(self._function)  # what loggers and debuggers show of a job is the application's function


def _submit_hook(original: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    @functools.wraps(original)
    def submit(self: ThreadPoolExecutor, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if _carries and args:
            context = otel_context.get_current()
            if context or _INHERITS:
                return original(self, _Carried(context, args[0]), *args[1:], **kwargs)
        return original(self, *args, **kwargs)

    return submit


_HOOKS: Final[tuple[tuple[type, str, Callable[..., Any]], ...]] = (
    (threading.Thread, "start", _start_hook),
    (ThreadPoolExecutor, "submit", _submit_hook),
)
