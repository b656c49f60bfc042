"""Switching the instrumentation on and off, and everything that lives as long as it is on."""

import atexit
import os
from collections.abc import Collection
from importlib.metadata import version
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from tokentrail.instrumentation import config as settings
from tokentrail.instrumentation import patch
from tokentrail.instrumentation.deferred import Deferred
from tokentrail.instrumentation.exchange import Observer
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.record import Recorder

_EXIT_TIMEOUT_S: Final = 5.0

_deferred: Final = Deferred()


def flush(timeout_s: float = 10.0) -> bool:
    """Wait until every call that is over has its span ended; false when that took longer than `timeout_s`.

    A tracer provider's `force_flush` does this too, before it flushes its exporters.
    """
    return _deferred.flush(timeout_s)


class TokentrailInstrumentor(BaseInstrumentor):
    """Turns calls of language models into spans.

    `instrument()` takes `tracer_provider` and `logger_provider`, the global ones by default, and `config`, a
    `config.Config` in place of the environment's.
    """

    _observer: Observer | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: a client library that is not installed is not hooked."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        config = kwargs.get("config") or settings.read()
        provider: trace.TracerProvider | None = kwargs.get("tracer_provider")
        recorder = Recorder(config, version("tokentrail"), provider, kwargs.get("logger_provider"))
        observer = Observer(config, recorder, _deferred, _Companion(config, provider).prepare)
        self._observer = observer
        patch.install(observer)
        observer.prepare()

    def _uninstrument(self, **kwargs: Any) -> None:
        patch.uninstall()
        if self._observer is not None:
            self._observer.close_open()
            self._observer = None
        flush()


class _Companion:
    """Attaches to the tracer provider what must be there for spans to be complete, as soon as there is one."""

    def __init__(self, config: settings.Config, provider: trace.TracerProvider | None) -> None:
        self._config = config
        self._provider = provider

    def prepare(self, observer: Observer) -> bool:
        """Attach; false while the application has no tracer provider of the SDK, to be asked again at the next call."""
        # Imported here: the SDK is not needed until there is a provider of it.
        from tokentrail.instrumentation.processor import ContextSpanProcessor, attach

        provider = self._provider or trace.get_tracer_provider()
        if not attach(provider, ContextSpanProcessor(self._config.baggage, flush)):
            return False
        # Registered after the provider registered its own, so run before it: what is open still reaches the exporter.
        atexit.register(_at_exit, observer)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=observer.forget_all)
        return True


def _at_exit(observer: Observer) -> None:
    with protect("ending the process"):
        observer.close_open()
        _deferred.flush(_EXIT_TIMEOUT_S)
