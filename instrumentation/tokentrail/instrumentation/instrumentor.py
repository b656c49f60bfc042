"""Switching the instrumentation on and off, and everything that lives as long as it is on.

What reads requests and responses is imported when it is switched on: code that only names users and sessions, as a
library may, does not load it.
"""

import atexit
import logging
import time
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import _logs, trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from tokentrail.instrumentation import config as settings
from tokentrail.instrumentation import context, fork, threads
from tokentrail.instrumentation.deferred import Deferred
from tokentrail.instrumentation.guard import protect

if TYPE_CHECKING:
    from tokentrail.instrumentation.observer import Observer

logger = logging.getLogger(__name__)

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

    _observer: "Observer | None" = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: a client library that is not installed is not hooked."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        from tokentrail.instrumentation import patch
        from tokentrail.instrumentation.observer import Observer
        from tokentrail.instrumentation.record import Recorder

        config = kwargs.get("config") or settings.read()
        provider: trace.TracerProvider | None = kwargs.get("tracer_provider")
        logger_provider: _logs.LoggerProvider | None = kwargs.get("logger_provider")
        recorder = Recorder(config, version("tokentrail"), provider, logger_provider)
        companion = _Companion(config, provider, logger_provider)
        observer = Observer(config, recorder, _deferred, companion.prepare)
        self._observer = observer
        context.use_baggage(config.baggage)
        if config.prices is not None:
            _use_prices(config.prices)
        threads.install()
        fork.watch(fork.Watched(_deferred, observer.forget_all, companion.flush, companion.exporters))
        patch.install(observer)
        observer.prepare()

    def _uninstrument(self, **kwargs: Any) -> None:
        from tokentrail.instrumentation import patch

        patch.uninstall()
        fork.watch(None)
        threads.uninstall()
        context.use_baggage(False)
        atexit.unregister(_at_exit)
        if self._observer is not None:
            self._observer.close_open()
            self._observer = None
        flush()


def _use_prices(path: Path) -> None:
    """Have the price file at `path` in force, now or as soon as its errors are mended."""
    from tokentrail.semconv.pricing import PriceFileError, use_price_file

    try:
        use_price_file(path)
    except PriceFileError as error:
        logger.warning(
            "%s=%s is not in force, calls have list prices until it is mended: %s", settings.PRICES, path, error
        )


class _Companion:
    """Knows the application's providers, and attaches to the tracer's what must be there for spans to be complete."""

    def __init__(
        self,
        config: settings.Config,
        tracer_provider: trace.TracerProvider | None,
        logger_provider: _logs.LoggerProvider | None,
    ) -> None:
        self._config = config
        self._tracer_provider = tracer_provider
        self._logger_provider = logger_provider

    def prepare(self, observer: "Observer") -> bool:
        """Attach; false while the application has no tracer provider of the SDK, to be asked again at the next call."""
        # Imported here: the SDK is not needed until there is a provider of it.
        from tokentrail.instrumentation.processor import ContextSpanProcessor, attach

        provider = self._tracer_provider or trace.get_tracer_provider()
        if not attach(provider, ContextSpanProcessor(self._config.baggage, flush)):
            return False
        # Registered after the provider registered its own, so run before it: what is open still reaches the exporter.
        atexit.unregister(_at_exit)
        atexit.register(_at_exit, observer)
        return True

    def flush(self, timeout_s: float) -> None:
        """Have everything that is over exported, within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        _deferred.flush(timeout_s)  # the logger provider has no processor of ours
        for provider in self._providers():
            if (force_flush := getattr(provider, "force_flush", None)) is not None:
                force_flush(max(1, int((deadline - time.monotonic()) * 1000)))

    def exporters(self) -> Iterator[object]:
        """The exporters of the providers, where they are of the SDK."""
        for provider in self._providers():
            for owner, processors, exporter in _EXPORTERS:
                for processor in getattr(getattr(provider, owner, None), processors, ()):
                    if (found := getattr(processor, exporter, None)) is not None:
                        yield found

    def _providers(self) -> tuple[object, ...]:
        return (
            self._tracer_provider or trace.get_tracer_provider(),
            self._logger_provider or _logs.get_logger_provider(),
        )


_EXPORTERS: Final = (
    ("_active_span_processor", "_span_processors", "span_exporter"),
    ("_multi_log_record_processor", "_log_record_processors", "_exporter"),
)
"""Where the SDK's providers keep their processors, and those their exporters (1.39 to 1.45)."""


def _at_exit(observer: "Observer") -> None:
    with protect("ending the process"):
        observer.close_open()
        _deferred.flush(_EXIT_TIMEOUT_S)
