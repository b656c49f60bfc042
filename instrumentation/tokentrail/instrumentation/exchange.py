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

import functools
import sys
import time
from collections import deque
from threading import RLock
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span

from tokentrail.instrumentation import headers as header_rules
from tokentrail.instrumentation import stream_usage
from tokentrail.instrumentation.body import BodyReader
from tokentrail.instrumentation.context import baggage_tags, current_tags, detach, without_baggage
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.headers import RawHeaders, RequestTags
from tokentrail.instrumentation.owner import before_end, claim_owner, let_go
from tokentrail.instrumentation.record import Outcome, describe
from tokentrail.instrumentation.wire import endpoints
from tokentrail.instrumentation.wire._base import AttributeValue
from tokentrail.instrumentation.wire.endpoints import Endpoint
from tokentrail.semconv import genai
from tokentrail.semconv.genai import StreamExit

if TYPE_CHECKING:
    from tokentrail.instrumentation.observer import Observer

_FINISHING: Final = protect("finishing a call")
_READING: Final = protect("reading a response")
_HAND_OVER_BYTES: Final = 256 * 1024
"""A stream's bytes are handed to the background reader whenever this many have gathered."""

UNDER_WAY: Final = otel_context.create_key("tokentrail-exchange")
"""Set while a request is sent: what a client sends beneath it, as an SDK's aiohttp transport does, is the same call."""


class Exchange:
    """One request and its response. Methods may be called from any thread; none of them raises."""

    def __init__(
        self,
        observer: "Observer",
        endpoint: Endpoint,
        host: str,
        port: int | None,
        body: bytes,
        tags: RequestTags,
    ) -> None:
        self.tags = tags
        self._observer = observer
        self._endpoint = endpoint
        self._host = host
        self._body = body
        # The wall clock dates the call, the monotonic one measures it.
        self._start_ns, self._start_ticks = time.time_ns(), time.perf_counter_ns()
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
        self._response_headers: RawHeaders | None = None
        self._is_decoded = False
        self._body_reader: BodyReader | None = None
        self._end_ticks = self._last_chunk_ticks = 0
        self._exit = ""
        self._failure: tuple[str, str] | None = None
        self._failed_attempt: Outcome | None = None
        owner = claim_owner(self, endpoint.wire.operation, endpoint.model)
        self.owned = owner is not None
        self._span = owner or self._start_span()
        if owner is not None:
            before_end(owner, self.settle)

    @property
    def host(self) -> str:
        """The host that is called."""
        return self._host

    def asking_for_usage(self) -> bytes | None:
        """The request's body with the question for the usage of a stream, where it lacks it."""
        return stream_usage.ask(self._endpoint, self._body)

    @property
    def wants_body(self) -> bool:
        """False when nobody will see the span, so that reading the response would be for nothing."""
        return self._span.is_recording()

    def enter(self) -> object:
        """Make the span current, until `leave` is given what this returns."""
        under_way = otel_context.set_value(UNDER_WAY, True, trace.set_span_in_context(self._span))
        return otel_context.attach(without_baggage(under_way))

    def leave(self, token: object) -> None:
        """Make current again what was before `enter`."""
        detach(token)

    def respond(self, status_code: int, headers: RawHeaders, *, decoded: bool = False) -> None:
        """The headers of the response are here; `decoded` when its body will come without its content coding.

        `headers` is read later, and must not change.
        """
        self._status_code = status_code
        self._response_headers = headers
        self._is_decoded = decoded

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
        with _FINISHING:
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
            # Looked at before the chunks: what comes after the end is not waited for.
            finished = self._finished
            with _READING:
                self._read_chunks()
            if not finished or self._recorded:
                return
            self._recorded = True
            outcome = self._base_outcome()
            try:
                with _READING:
                    self._read_response(outcome)
                if self._span.is_recording():
                    with protect("reading a request"):
                        self._read_request(outcome)
            finally:
                self._record(outcome)
                self._chunks.clear()
                self._body, self._body_reader, self._response_headers = b"", None, None

    def _read_chunks(self) -> None:
        """Have what has gathered read: one by one until the first output, whose time counts, then at once."""
        # Taken out at once: more may come while these are read, and what cannot be read must not gather.
        chunks = [self._chunks.popleft() for _ in range(len(self._chunks))]
        if self._body_reader is None and self._response_headers is not None:
            self._body_reader = self._start_reading(self._response_headers)
        reader = self._body_reader
        if reader is None or not chunks:
            return
        self._last_chunk_ticks = chunks[-1][0]
        position = 0
        while position < len(chunks) and not reader.has_times:
            reader.feed(*chunks[position])
            position += 1
        if rest := chunks[position:]:
            reader.feed(rest[0][0], b"".join([data for _, data in rest]))

    def _start_reading(self, raw: RawHeaders) -> BodyReader:
        headers = header_rules.known(raw)
        self._attributes.update(header_rules.read_response(headers))
        reader = self._endpoint.wire.reader(self._keeps_content(self.tags.omit_response))
        if (feed_headers := getattr(reader, "feed_headers", None)) is not None:
            feed_headers(header_rules.by_name(raw).get)
        return BodyReader(
            reader,
            headers.get("content-type", ""),
            "" if self._is_decoded else headers.get("content-encoding", ""),
            self._observer.config.max_body_bytes,
            # An error comes as one document, in an array as well.
            streams=self._endpoint.stream and (self._status_code or 0) < 400,
        )

    def _record(self, outcome: Outcome) -> None:
        if not self.owned:
            self._observer.recorder.finish(self._span, outcome)
        elif outcome.used_nothing:
            # Whether it was the last attempt is not known yet: `give_way` or `settle` will tell.
            self._failed_attempt = outcome
        else:
            self._observer.recorder.enrich(self._span, outcome)
            self._span = let_go(self._span, functools.partial(self._observer.defer, self._record_apart, outcome))

    def _record_apart(self, outcome: Outcome) -> None:
        """The owner's span will not be seen by anybody: the call has one of its own, in its place."""
        self._observer.recorder.finish(self._start_span(below=self._span), outcome)

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
        if self.tags.retry_count is not None:
            self._attributes[genai.RETRY_COUNT] = self.tags.retry_count
        return Outcome(
            provider=self._endpoint.provider,
            server_address=self._host,
            start_ns=self._start_ns,
            duration_ns=self._end_ticks - self._start_ticks,
            request_model=self._endpoint.model,
            # An owner may say nothing of the request where that fails (OpenLIT for Anthropic).
            attributes=self._start_attributes | self._attributes if self.owned else self._attributes,
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
                if self._exit != StreamExit.COMPLETE:
                    # It may be a long time until a response that was read to its last event is closed, or collected.
                    outcome.duration_ns = self._last_chunk_ticks - self._start_ticks

    def _stream_exit(self, outcome: Outcome) -> str:
        if outcome.response.error is not None:
            return StreamExit.BROKEN
        if outcome.response.complete and self._exit != StreamExit.BROKEN:
            # SDKs stop reading at the provider's closing event: nothing was missed, whatever happened after it.
            return StreamExit.COMPLETE
        return self._exit

    def _read_request(self, outcome: Outcome) -> None:
        # A path that says so is enough: there may be no body to read.
        outcome.streamed = outcome.streamed or self._endpoint.stream
        body = self._endpoint.body if self._endpoint.body is not None else endpoints.parse(self._body)
        if not body:
            return
        outcome.request = self._endpoint.wire.read_request(body)
        outcome.streamed = outcome.streamed or outcome.request.stream
        if self._endpoint.is_guess and (model := outcome.request.model) not in ("", self._endpoint.model):
            outcome.request_model = outcome.attributes[genai.REQUEST_MODEL] = model
            if not self.owned:
                self._span.update_name(f"{self._endpoint.wire.operation} {model}")
        if self._keeps_content(self.tags.omit_request):
            outcome.request_content = self._endpoint.wire.read_content(body)


def _is_cancellation(exception: BaseException) -> bool:
    # By name: asyncio's and anyio's cancellations are the same class, trio's is its own.
    return type(exception).__name__ in ("CancelledError", "Cancelled")


def _since(start_ticks: int, ticks: int | None) -> int | None:
    return None if ticks is None else ticks - start_ticks
