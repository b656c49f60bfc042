"""One observed request and its response, whatever client made it.

    exchange = observer.begin(...)          before the request leaves; None when it is no model call
    token = exchange.enter(); send; exchange.leave(token)      so that spans of the transport become children
    exchange.respond(status, headers)       headers are here
    exchange.chunk(data) ...                the application is given these bytes
    exchange.finish(StreamExit.COMPLETE)    or fail(exception): exactly once counts, the rest is ignored

What runs on the application's path is small: know the endpoint, have a span current, remember the bytes. Everything
else is read afterwards by `deferred`. The exception are calls that another instrumentation's span owns: it will be
ended by its owner as soon as the response is read, so they are read before the application sees the end of it.
"""

import functools
import sys
import time
from collections.abc import Mapping
from threading import RLock
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span

from tokentrail.instrumentation import call_spans, stream_usage
from tokentrail.instrumentation import headers as header_rules
from tokentrail.instrumentation.body import BodyReader
from tokentrail.instrumentation.context import detach, without_baggage
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.headers import RawHeaders, RequestTags
from tokentrail.instrumentation.owner import before_end, claim_owner, let_go
from tokentrail.instrumentation.record import Outcome, describe
from tokentrail.instrumentation.unstarted import UnstartedSpan
from tokentrail.instrumentation.wire import endpoints
from tokentrail.instrumentation.wire._base import AttributeValue
from tokentrail.instrumentation.wire._json import Json
from tokentrail.instrumentation.wire.endpoints import Endpoint
from tokentrail.semconv import genai
from tokentrail.semconv.genai import StreamExit

if TYPE_CHECKING:
    from tokentrail.instrumentation.observer import Observer

_FINISHING: Final = protect("finishing a call")
_READING: Final = protect("reading a response")
_READING_REQUEST: Final = protect("reading a request")
_HAND_OVER_BYTES: Final = 256 * 1024
"""A stream's bytes are handed to the background reader whenever this many have gathered."""

_NOWHERE: Final = Context()

UNDER_WAY: Final = otel_context.create_key("tokentrail-exchange")
"""Set while a request is sent: what a client sends beneath it, as an SDK's aiohttp transport does, is the same call."""


class Exchange:
    """One request and its response. Methods may be called from any thread; none of them raises."""

    __slots__ = (
        *("__weakref__", "_attributes", "_body", "_body_reader", "_chunks", "_context", "_end_ticks", "_endpoint"),
        *("_exit", "_failed_attempt", "_failure", "_gathered_bytes", "_host", "_is_decoded", "_last_chunk_ticks"),
        *("_observer", "_port", "_recorded", "_response_headers", "_span", "_start_ns", "_start_ticks", "_status_code"),
        *("_work_lock", "is_over", "owned", "tags"),
    )

    def __init__(
        self,
        observer: "Observer",
        endpoint: Endpoint,
        address: tuple[str, int | None],
        body: bytes,
        tags: RequestTags,
        context: Context,
    ) -> None:
        """`address` is host and port, `context` what is current as the request leaves."""
        self.tags = tags
        self.is_over = False
        """True once the first end has come, which is the one that counts."""
        self._observer = observer
        self._endpoint = endpoint
        self._host, self._port = address
        self._body = body
        self._context = context
        # The wall clock dates the call, the monotonic one measures it.
        self._start_ns, self._start_ticks = time.time_ns(), time.perf_counter_ns()
        self._attributes: dict[str, AttributeValue] | None = None
        self._work_lock = RLock()
        self._recorded = False
        self._status_code: int | None = None
        self._chunks: list[tuple[int, bytes]] = []
        self._gathered_bytes = 0
        self._response_headers: RawHeaders | None = None
        self._is_decoded = False
        self._body_reader: BodyReader | None = None
        self._end_ticks = self._last_chunk_ticks = 0
        self._exit = ""
        self._failure: tuple[str, str] | None = None
        self._failed_attempt: Outcome | None = None
        owner = claim_owner(self, endpoint.wire.operation, self._model if call_spans.are_noted() else "")
        self.owned = owner is not None
        self._span = owner or self._begin_span()
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
        under_way = otel_context.set_value(UNDER_WAY, True, trace.set_span_in_context(self._span, self._context))
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
        self.is_over = self._recorded = True
        self._chunks.clear()

    def finish(self, stream_exit: str, failure: tuple[str, str] | None = None) -> None:
        """The exchange is over; only the first call counts."""
        with _FINISHING:
            if self.is_over or not self._observer.forget(self):
                return  # of several at once, one is told that it has been open
            self._end_ticks = time.perf_counter_ns()
            self._exit = stream_exit
            self._failure = failure
            self.is_over = True  # last: `work` looks at it first
            self._observer.hand_over(self, self._gathered_bytes + len(self._body))

    def work(self) -> None:
        """Read what has gathered, and record the outcome when the exchange is over."""
        with self._work_lock:
            # Looked at before the chunks: what comes after the end is not waited for.
            finished = self.is_over
            with _READING:
                self._read_chunks()
            if not finished or self._recorded:
                return
            self._recorded = True
            request: Json = {}
            if self._span.is_recording():
                with _READING_REQUEST:
                    request = self._parse_request()
            outcome = self._base_outcome()
            try:
                with _READING:
                    self._read_response(outcome)
                if self._span.is_recording():
                    with _READING_REQUEST:
                        self._read_request(request, outcome)
            finally:
                self._record(outcome)
                self._chunks.clear()
                self._body, self._body_reader, self._response_headers = b"", None, None
                if not self.owned:
                    self._context = _NOWHERE  # the application may keep its response, but not by that its own spans

    def _read_chunks(self) -> None:
        """Have what has gathered read: one by one until the first output, whose time counts, then at once."""
        # Taken out at once: more may come while these are read, and what cannot be read must not gather.
        chunks = self._chunks[:]
        del self._chunks[: len(chunks)]
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
        self._known_attributes().update(header_rules.read_response(headers))
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
            self._context = trace.set_span_in_context(self._span, self._context)

    def _record_apart(self, outcome: Outcome) -> None:
        """The owner's span will not be seen by anybody: the call has one of its own, in its place."""
        self._observer.recorder.finish(self._start_span(below=self._span), outcome)

    def _take_failed_attempt(self) -> Outcome | None:
        outcome, self._failed_attempt = self._failed_attempt, None
        return outcome

    def _begin_span(self) -> Span:
        """The span of our own that is current while the request is sent."""
        if self._observer.recorder.may_start_late(self._context):
            return UnstartedSpan(self._start_span_with)
        return self._start_span_with({})

    def _start_span_with(self, attributes: Mapping[str, AttributeValue]) -> Span:
        """A span below what was current as the request left, with `attributes` over those known at its start."""
        operation, known = self._endpoint.wire.operation, self._start_attributes()
        return self._observer.recorder.start(operation, known, self._model, self._start_ns, self._context, attributes)

    def _start_span(self, below: Span) -> Span:
        """A span of our own below `below`."""
        context = trace.set_span_in_context(below, self._context)
        return self._observer.recorder.start(
            self._endpoint.wire.operation, self._start_attributes(), self._model, self._start_ns, context
        )

    @property
    def _model(self) -> str:
        """The model that is asked for."""
        self._endpoint = endpoints.named(self._endpoint, self._body)
        return self._endpoint.model

    def _start_attributes(self) -> dict[str, AttributeValue]:
        endpoint, model = self._endpoint, self._model
        attributes: dict[str, AttributeValue] = {
            **(self._request_attributes() if self._attributes is None else self._attributes),
            genai.OPERATION_NAME: endpoint.wire.operation,
            genai.PROVIDER_NAME: endpoint.provider,
            genai.SYSTEM_OLD: endpoint.provider,
            genai.SERVER_ADDRESS: self._host,
        }
        if model:
            attributes[genai.REQUEST_MODEL] = model
        if self._port is not None:
            attributes[genai.SERVER_PORT] = self._port
        return attributes

    def _known_attributes(self) -> dict[str, AttributeValue]:
        """What is known beside the bodies, for `work` only: the application may start the span at the same time."""
        if self._attributes is None:
            self._attributes = self._request_attributes()
        return self._attributes

    def _request_attributes(self) -> dict[str, AttributeValue]:
        return header_rules.attributes(self.tags, self._context, self._observer.config.baggage)

    def _keeps_content(self, omitted: bool) -> bool:
        capture = self._observer.config.capture
        return (capture.on_span or capture.on_event) and not omitted

    def _base_outcome(self) -> Outcome:
        attributes = self._known_attributes()
        return Outcome(
            provider=self._endpoint.provider,
            server_address=self._host,
            start_ns=self._start_ns,
            duration_ns=self._end_ticks - self._start_ticks,
            request_model=self._model,
            # An owner may say nothing of the request where that fails (OpenLIT for Anthropic).
            attributes=self._start_attributes() | attributes if self.owned else attributes,
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

    def _parse_request(self) -> Json:
        body = self._endpoint.body if self._endpoint.body is not None else endpoints.parse(self._body)
        self._endpoint = endpoints.named(self._endpoint, self._body, body)
        return body

    def _read_request(self, body: Json, outcome: Outcome) -> None:
        # A path that says so is enough: there may be no body to read.
        outcome.streamed = outcome.streamed or self._endpoint.stream
        if not body:
            return
        outcome.request = self._endpoint.wire.read_request(body)
        outcome.streamed = outcome.streamed or outcome.request.stream
        if self._endpoint.is_guess and (model := outcome.request.model) not in ("", self._endpoint.model):
            outcome.request_model = outcome.attributes[genai.REQUEST_MODEL] = model
            # A span that is not started yet will be called so.
            self._endpoint = self._endpoint._replace(model=model)
            if not self.owned:
                self._observer.recorder.rename(self._span, self._endpoint.wire.operation, model)
        if self._keeps_content(self.tags.omit_request):
            outcome.request_content = self._endpoint.wire.read_content(body)


def _is_cancellation(exception: BaseException) -> bool:
    # By name: asyncio's and anyio's cancellations are the same class, trio's is its own.
    return type(exception).__name__ in ("CancelledError", "Cancelled")


def _since(start_ticks: int, ticks: int | None) -> int | None:
    return None if ticks is None else ticks - start_ticks
