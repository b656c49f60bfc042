"""Recognises model calls, and keeps the exchanges that are under way: what the hooks on client libraries talk to.

exchange = observer.begin(...)          before the request leaves; None when it is no model call
observer.must_strip(exchange, ...)      whether metadata headers are to be taken off the request
observer.ask_usage(exchange)            the body to send instead, where a stream is to be asked for its usage
"""

import functools
from collections.abc import Callable
from threading import Lock
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from tokentrail.instrumentation import headers as header_rules
from tokentrail.instrumentation.config import Config
from tokentrail.instrumentation.deferred import Deferred
from tokentrail.instrumentation.exchange import UNDER_WAY, Exchange
from tokentrail.instrumentation.framing.multipart import read_form
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.headers import RequestHeaders
from tokentrail.instrumentation.record import Outcome, Recorder
from tokentrail.instrumentation.wire import endpoints
from tokentrail.semconv import providers
from tokentrail.semconv.genai import StreamExit

_READING: Final = protect("reading a response")
_MAX_REFUSING: Final = 1_000
"""Hosts remembered that do not know how to be asked for the usage of a stream."""


class Observer:
    """Recognises model calls and keeps the exchanges that are under way."""

    def __init__(
        self, config: Config, recorder: Recorder, deferred: Deferred, prepare: "Callable[[Observer], bool]"
    ) -> None:
        self.config = config
        self.recorder = recorder
        self._deferred = deferred
        self._prepare = prepare
        self._prepared = False
        self._preparing = Lock()
        self._open: set[Exchange] = set()
        self._refusing: set[str] = set()

    def prepare(self) -> None:
        """Get ready to record, once that is possible; called again with each exchange until it was."""
        if self._prepared:
            return
        with self._preparing:
            if not self._prepared:
                self._prepared = self._prepare(self)

    def begin(self, host: str, port: int | None, path: str, body: bytes, headers: RequestHeaders) -> Exchange | None:
        """An exchange for a POST about to leave, or `None` when it is not for us. `body` is empty when unknown."""
        body = read_form(body)
        if len(body) > self.config.max_body_bytes:
            body = b""
        endpoint = endpoints.recognise(host, port, path, body)
        if endpoint is None:
            return None
        context = otel_context.get_current()
        if context and (context.get(UNDER_WAY) or not is_instrumentation_enabled()):
            return None
        if not self._prepared:
            self.prepare()
        tags = header_rules.read_request(headers.raw)
        if tags.target_host and providers.is_helicone_host(host):
            host, port = tags.target_host, 443
            endpoint = endpoint._replace(provider=providers.of_host(host) or providers.SELF_HOSTED)
        exchange = Exchange(self, endpoint, (host, port), body, tags, context)
        self._open.add(exchange)
        return exchange

    def must_strip(self, exchange: Exchange | None, host: str, headers: RequestHeaders) -> bool:
        """True when metadata headers are to be taken off a request to `host`.

        A client's default headers go with everything it sends, so a provider would be told of users and sessions by
        requests that are no model calls, too.
        """
        if exchange is not None and not exchange.tags.honoured:
            return False
        if not self.config.strip_headers or providers.is_helicone_host(host):
            return False
        return exchange is not None or self._may_strip(host, headers)

    def _may_strip(self, host: str, headers: RequestHeaders) -> bool:
        """True when a request that is no model call has metadata that its host, a provider, must not be told."""
        return providers.of_host(host) is not None and any(header_rules.is_honoured(name) for name, _ in headers.raw)

    def ask_usage(self, exchange: Exchange) -> bytes | None:
        """The body to send in place of the application's, where a stream says its usage only when asked for it."""
        asks = self.config.stream_usage or exchange.tags.stream_usage
        if not asks or exchange.host in self._refusing:
            return None
        body = exchange.asking_for_usage()
        return body if body is not None and exchange.wants_body else None

    def never_ask(self, host: str) -> None:
        """`host` does not know how to be asked for the usage of a stream."""
        if len(self._refusing) < _MAX_REFUSING:
            self._refusing.add(host)

    def hand_over(self, exchange: Exchange, held_bytes: int) -> None:
        """Have what has gathered of `exchange` read: soon, or now when its span will not wait."""
        if exchange.owned or not self.config.defer:
            with _READING:
                exchange.work()
        else:
            self._deferred.submit(exchange.work, held_bytes)

    def defer(self, job: Callable[[Outcome], None], outcome: Outcome) -> None:
        """Have `job` done with `outcome`, in the background: it is asked for in destructors."""
        self._deferred.submit(functools.partial(job, outcome), 0)

    def forget(self, exchange: Exchange) -> bool:
        """The exchange is over; false when it was, or is another process's. Of callers at once one is told true."""
        try:
            self._open.remove(exchange)
        except KeyError:
            return False
        return True

    def close_open(self) -> None:
        """Finish exchanges whose response is still open: the process ends."""
        for exchange in tuple(self._open):
            exchange.finish(StreamExit.PROCESS_EXIT)

    def forget_all(self) -> None:
        """Drop what is open without recording it: after a fork it is the parent's."""
        open_exchanges, self._open = self._open, set()
        for exchange in open_exchanges:
            exchange.disown()
        self._preparing = Lock()
