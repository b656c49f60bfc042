"""One observed request and its response, whatever client made it.

    exchange = observer.begin(...)          before the request leaves; None when it is no model call
    token = exchange.enter(); send; exchange.leave(token)      so that spans of the transport become children
    exchange.respond(status, headers)       headers are here
    exchange.chunk(data) ...                the application is given these bytes
    exchange.finish(StreamExit.COMPLETE)    or fail(exception): exactly once counts, the rest is ignored

What runs on the application's path is small: find the model, open a span, remember the bytes. Everything else is read
afterwards by `deferred`. The exception are calls that another instrumentation's span owns: it will be ended by its
owner as soon as the response is read, so they are read before the application sees the end of it.
"""

import sys
import time
from collections import deque
from collections.abc import Callable
from threading import Lock, RLock
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import Span

from tokentrail.instrumentation import headers as header_rules
from tokentrail.instrumentation.body import BodyReader
from tokentrail.instrumentation.config import Config
from tokentrail.instrumentation.context import baggage_tags, current_tags, detach
from tokentrail.instrumentation.deferred import Deferred
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.headers import RequestHeaders, RequestTags
from tokentrail.instrumentation.owner import before_end, claim_owner
from tokentrail.instrumentation.record import Outcome, Recorder, describe
from tokentrail.instrumentation.wire import endpoints
from tokentrail.instrumentation.wire._base import AttributeValue
from tokentrail.instrumentation.wire.endpoints import Endpoint
from tokentrail.semconv import genai, providers
from tokentrail.semconv.genai import StreamExit
from tokentrail.semconv.pricing import load_price_list

_HAND_OVER_BYTES: Final = 256 * 1024
"""A stream's bytes are handed to the background reader whenever this many have gathered."""

_UNDER_WAY: Final = otel_context.create_key("tokentrail-exchange")
"""Set while a request is sent: what a client sends beneath it, as an SDK's aiohttp transport does, is the same call."""

HeaderLookup = Callable[[str], str | None]


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
        self._has_prices = False
        self._open: set[Exchange] = set()

    def prepare(self) -> None:
        """Get ready to record, once that is possible; called again with each exchange until it was."""
        if self._prepared:
            return
        with self._preparing:
            if not self._prepared:
                self._prepared = self._prepare(self)

    def begin(self, host: str, port: int | None, path: str, body: bytes, headers: RequestHeaders) -> "Exchange | None":
        """An exchange for a POST about to leave, or `None` when it is not for us. `body` is empty when unknown."""
        if len(body) > self.config.max_body_bytes:
            body = b""
        endpoint = endpoints.match(host, port, path, body)
        if endpoint is None or not is_instrumentation_enabled() or otel_context.get_value(_UNDER_WAY):
            return None
        self.prepare()
        self._fetch_prices()
        tags = header_rules.read_request(headers.raw)
        if tags.target_host and providers.is_helicone_host(host):
            host, port = tags.target_host, 443
            endpoint = endpoint._replace(provider=providers.of_host(host) or providers.SELF_HOSTED)
        exchange = Exchange(self, endpoint, host, port, body, tags, header_rules.retry_count(headers.get))
        self._open.add(exchange)
        return exchange

    def _fetch_prices(self) -> None:
        """Have the price list read while the first request is under way: it takes too long to be read on its path."""
        if not self._has_prices and self.config.defer:
            self._has_prices = True
            self._deferred.submit(load_price_list, 0)

    def must_strip(self, exchange: "Exchange | None", host: str, headers: RequestHeaders) -> bool:
        """True when metadata headers are to be taken off a request to `host`.

        A client's default headers go with everything it sends, so a provider would be told of users and sessions by
        requests that are no model calls, too.
        """
        if not self.config.strip_headers or providers.is_helicone_host(host):
            return False
        if exchange is not None:
            return exchange.tags.honoured
        return providers.of_host(host) is not None and any(header_rules.is_honoured(name) for name, _ in headers.raw)

    def hand_over(self, exchange: "Exchange", held_bytes: int) -> None:
        """Have what has gathered of `exchange` read: soon, or now when its span will not wait."""
        if exchange.owned or not self.config.defer:
            with protect("reading a response"):
                exchange.work()
        else:
            self._deferred.submit(exchange.work, held_bytes)

    def forget(self, exchange: "Exchange") -> None:
        """The exchange is over."""
        self._open.discard(exchange)

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
        self._has_prices = False


class Exchange:
    """One request and its response. Methods may be called from any thread; none of them raises."""

    def __init__(
        self,
        observer: Observer,
        endpoint: Endpoint,
        host: str,
        port: int | None,
        body: bytes,
        tags: RequestTags,
        retry_count: int | None,
    ) -> None:
        self.tags = tags
        self._observer = observer
        self._endpoint = endpoint
        self._host = host
        self._body = body
        # The wall clock dates the call, the monotonic one measures it.
        self._start_ns, self._start_ticks = time.time_ns(), time.perf_counter_ns()
        self._retry_count = retry_count
        self._attributes: dict[str, AttributeValue] = dict(tags.attributes)
        ambient = current_tags()
        if observer.config.baggage:
            ambient = ambient.over(baggage_tags())
        self._attributes.update(tags.tags.over(ambient).attributes())
        self._start_attributes = self._describe_start(port)
        self._lock = RLock()
        """Held to end the exchange: for a moment, so that the application never waits for a body to be read."""
        self._work_lock = RLock()
        self._finished = False
        self._recorded = False
        self._status_code: int | None = None
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._gathered_bytes = 0
        self._body_reader: BodyReader | None = None
        self._end_ticks = 0
        self._exit = ""
        self._failure: tuple[str, str] | None = None
        self._failed_attempt: Outcome | None = None
        owner = claim_owner(self)
        self.owned = owner is not None
        self._span = owner or self._start_span()
        if owner is not None:
            before_end(owner, self.settle)

    @property
    def wants_body(self) -> bool:
        """False when nobody will see the span, so that reading the response would be for nothing."""
        return self._span.is_recording()

    def enter(self) -> object:
        """Make the span current, until `leave` is given what this returns."""
        return otel_context.attach(otel_context.set_value(_UNDER_WAY, True, trace.set_span_in_context(self._span)))

    def leave(self, token: object) -> None:
        """Make current again what was before `enter`."""
        detach(token)

    def respond(self, status_code: int, lookup: HeaderLookup, *, decoded: bool = False) -> None:
        """The headers of the response are here; `decoded` when its body will come without its content coding."""
        with protect("reading response headers"):
            self._status_code = status_code
            self._attributes.update(header_rules.read_response(lookup))
            encoding = "" if decoded else lookup("content-encoding") or ""
            self._body_reader = BodyReader(
                self._endpoint.wire.reader(self._keeps_content(self.tags.omit_response)),
                lookup("content-type") or "",
                encoding,
                self._observer.config.max_body_bytes,
            )

    def chunk(self, data: bytes) -> None:
        """A piece of the body, as it came over the wire, on its way to the application."""
        self._chunks.append((time.perf_counter_ns(), data))
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= _HAND_OVER_BYTES:
            gathered, self._gathered_bytes = self._gathered_bytes, 0
            with protect("handing over a part of a response"):
                self._observer.hand_over(self, gathered)

    def fail(self, exception: BaseException) -> None:
        """The request, or reading its response, ended with `exception`, which the application gets."""
        failure = (type(exception).__qualname__, "")
        with protect("describing a failure"):
            failure = describe(exception)
        self.finish(StreamExit.CANCELLED if _is_cancellation(exception) else StreamExit.BROKEN, failure)

    def close(self) -> None:
        """The response is being closed, in whatever course of events the caller is in."""
        exception = sys.exception()
        if exception is not None and _is_cancellation(exception):
            self.fail(exception)
        elif isinstance(exception, GeneratorExit):
            # The generator that read it is being dropped: SDKs close the response then, the application did not.
            self.finish(StreamExit.ABANDONED)
        else:
            self.finish(StreamExit.CLOSED)

    @property
    def gives_way(self) -> bool:
        """True for an attempt that failed and used nothing: the next one may have the owner's span."""
        return self._failed_attempt is not None

    def give_way(self) -> None:
        """Another attempt follows under the same owner: record this one apart, in a span of its own below it."""
        with protect("recording a failed attempt"), self._work_lock:
            if outcome := self._take_failed_attempt():
                self._observer.recorder.finish(self._start_span(below=self._span), outcome)

    def settle(self) -> None:
        """The owner is about to end its span: it gets what has come, or the failed attempt that was its last."""
        self.close()
        with protect("recording a failed attempt"), self._work_lock:
            if outcome := self._take_failed_attempt():
                self._observer.recorder.enrich(self._span, outcome)

    def disown(self) -> None:
        """Record nothing: this is a copy in a process that was forked off, the original is recorded in the parent."""
        self._finished = self._recorded = True
        self._chunks.clear()

    def finish(self, stream_exit: str, failure: tuple[str, str] | None = None) -> None:
        """The exchange is over; only the first call counts."""
        with protect("finishing a call"):
            with self._lock:
                if self._finished:
                    return
                self._end_ticks = time.perf_counter_ns()
                self._exit = stream_exit
                self._failure = failure
                self._finished = True  # last: `work`, which does not wait for this lock, looks at it first
            self._observer.forget(self)
            self._observer.hand_over(self, self._gathered_bytes + len(self._body))

    def work(self) -> None:
        """Read what has gathered, and record the outcome when the exchange is over."""
        with self._work_lock:
            reader = self._body_reader
            while self._chunks:
                ticks, data = self._chunks.popleft()
                if reader is not None:
                    with protect("reading a response"):
                        reader.feed(ticks, data)
            if not self._finished or self._recorded:
                return
            self._recorded = True
            outcome = self._base_outcome()
            try:
                with protect("reading a response"):
                    self._read_response(outcome)
                if self._span.is_recording():
                    with protect("reading a request"):
                        self._read_request(outcome)
            finally:
                self._record(outcome)
                self._body, self._body_reader = b"", None

    def _record(self, outcome: Outcome) -> None:
        if not self.owned:
            self._observer.recorder.finish(self._span, outcome)
        elif outcome.used_nothing:
            # Whether it was the last attempt is not known yet: `give_way` or `settle` will tell.
            self._failed_attempt = outcome
        else:
            self._observer.recorder.enrich(self._span, outcome)

    def _take_failed_attempt(self) -> Outcome | None:
        outcome, self._failed_attempt = self._failed_attempt, None
        return outcome

    def _start_span(self, below: Span | None = None) -> Span:
        """A span of our own for this request, below `below` or else below what is current."""
        operation, model = self._endpoint.wire.operation, self._endpoint.model
        return self._observer.recorder.start(operation, self._start_attributes, model, self._start_ns, below)

    def _describe_start(self, port: int | None) -> dict[str, AttributeValue]:
        endpoint = self._endpoint
        attributes: dict[str, AttributeValue] = {
            **self._attributes,
            genai.OPERATION_NAME: endpoint.wire.operation,
            genai.PROVIDER_NAME: endpoint.provider,
            genai.SYSTEM_OLD: endpoint.provider,
            genai.SERVER_ADDRESS: self._host,
        }
        if endpoint.model:
            attributes[genai.REQUEST_MODEL] = endpoint.model
        if port is not None:
            attributes[genai.SERVER_PORT] = port
        return attributes

    def _keeps_content(self, omitted: bool) -> bool:
        capture = self._observer.config.capture
        return (capture.on_span or capture.on_event) and not omitted

    def _base_outcome(self) -> Outcome:
        if self._retry_count is not None:
            self._attributes[genai.RETRY_COUNT] = self._retry_count
        return Outcome(
            provider=self._endpoint.provider,
            server_address=self._host,
            start_ns=self._start_ns,
            duration_ns=self._end_ticks - self._start_ticks,
            request_model=self._endpoint.model,
            attributes=self._attributes,
            status_code=self._status_code,
            failure=self._failure,
        )

    def _read_response(self, outcome: Outcome) -> None:
        reader = self._body_reader
        if reader is None:
            return
        outcome.response = reader.finish(self._end_ticks)
        outcome.streamed = reader.is_stream
        if reader.problem and (self._status_code or 0) < 400:
            outcome.attributes[genai.BODY_STATUS] = reader.problem
        if reader.is_stream:
            outcome.first_chunk_ns = _since(self._start_ticks, reader.first_chunk_ticks)
            outcome.first_token_ns = _since(self._start_ticks, reader.first_token_ticks)
            outcome.stream_exit = self._stream_exit(outcome)
            if outcome.stream_exit == StreamExit.COMPLETE:
                outcome.failure = None

    def _stream_exit(self, outcome: Outcome) -> str:
        if outcome.response.error is not None:
            return StreamExit.BROKEN
        if outcome.response.complete and self._exit != StreamExit.BROKEN:
            # SDKs stop reading at the provider's closing event: nothing was missed, whatever happened after it.
            return StreamExit.COMPLETE
        return self._exit

    def _read_request(self, outcome: Outcome) -> None:
        body = self._endpoint.body if self._endpoint.body is not None else endpoints.parse(self._body)
        if not body:
            return
        outcome.request = self._endpoint.wire.read_request(body)
        outcome.streamed = outcome.streamed or outcome.request.stream
        if self._keeps_content(self.tags.omit_request):
            outcome.request_content = self._endpoint.wire.read_content(body)


def _is_cancellation(exception: BaseException) -> bool:
    # By name: asyncio's and anyio's cancellations are the same class, trio's is its own.
    return type(exception).__name__ in ("CancelledError", "Cancelled")


def _since(start_ticks: int, ticks: int | None) -> int | None:
    return None if ticks is None else ticks - start_ticks
