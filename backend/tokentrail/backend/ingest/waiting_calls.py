"""Calls that events tell wait until it is known whether spans tell them, too: each call counts once.

Spans and log records of one call come in different requests, in any order. So a call of an event is not counted when it
comes but `wait_s` later, and only if no span has told it by then:

* The conventions' details event carries the context of the call's span: a span with these ids, or a call with the same
  response id, tells it.
* Events of coding agents have no ids in common with their spans, but the session: it belongs to its spans if any of
  them has told a call, or else to its events. Once that is decided it stays, and the others tell nothing: spans of a
  session whose events are counted make no rows (`without_counted`).

What waits is in `otel_logs` already, and from there it is read again after a restart.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.ingest.aggregates import Aggregates
from tokentrail.backend.ingest.event_calls import AGENT_SCOPES, EVENT_NAME, EventCall, read_event_calls, stored_record
from tokentrail.backend.ingest.normalise import Read
from tokentrail.backend.ingest.queue import CommitQueue, Pending
from tokentrail.backend.metrics.own import OwnMetrics
from tokentrail.backend.row import EVENT, Row
from tokentrail.backend.store._base import Key, Store, key_of
from tokentrail.backend.store.errors import StoreError, StoreUnavailable
from tokentrail.semconv import genai

WAIT_S: Final = 60.0
"""SDKs export spans every five seconds and log records every second or five; Claude Code's turns may take minutes, but
each of its calls is a span of its own."""
MAX_WAITING: Final = 50_000
"""Beyond, the oldest are decided early: about 100 MB."""
MAX_SESSIONS: Final = 10_000
LOOK_BACK_S: Final = 3600
"""Of what is read again after a restart."""
TOLD_BY_SPAN: Final = "event"
"""Reason: a span tells the call of an event, or an event that of a span."""

_BATCH: Final = 200
"""Calls that are decided at once."""
_MAX_RECALLED: Final = 100_000
_RETRY_S: Final = 2.0
_SETTLE_S: Final = 5.0
_HOUR_NS: Final = 3600 * 10**9
_DAY_NS: Final = 24 * _HOUR_NS

# Names in this package only; values come as parameters.
_CALLS: Final = """
SELECT DISTINCT Source AS source, Project AS project, TraceId AS trace_id, SpanId AS span_id, RequestId AS request_id,
    ResponseId AS response_id, Service AS service, SessionId AS session_id,
    toUnixTimestamp64Nano(Timestamp) AS time_ns
FROM llm_requests
WHERE Timestamp >= fromUnixTimestamp64Nano({first:Int64}) AND Timestamp <= fromUnixTimestamp64Nano({last:Int64})
    AND (has({sessions:Array(String)}, SessionId) OR has({requests:Array(String)}, RequestId)
        OR has({responses:Array(String)}, ResponseId) OR has({traces:Array(String)}, TraceId))
"""
_SPANS: Final = """
SELECT DISTINCT Project AS project, TraceId AS trace_id, SpanId AS span_id FROM otel_traces
WHERE Timestamp >= fromUnixTimestamp64Nano({first:Int64}) AND Timestamp <= fromUnixTimestamp64Nano({last:Int64})
    AND TraceId IN {traces:Array(String)} AND SpanId IN {spans:Array(String)}
"""
_RECORDS: Final = f"""
SELECT Project AS project, toUnixTimestamp64Nano(Timestamp) AS time_ns, TraceId AS trace_id, SpanId AS span_id,
    ScopeName AS scope_name, EventName AS event_name, LogAttributes AS attributes, ResourceAttributes AS resource
FROM otel_logs
WHERE Timestamp >= fromUnixTimestamp64Nano({{first:Int64}})
    AND (EventName = '{genai.INFERENCE_DETAILS_EVENT}' OR (EventName != '' OR LogAttributes['{EVENT_NAME}'] != '')
        AND ({" OR ".join(f"startsWith(ScopeName, '{scope}')" for scope in AGENT_SCOPES)}
            OR LogAttributes['{EVENT_NAME}'] = '{genai.INFERENCE_DETAILS_EVENT}'))
ORDER BY Timestamp DESC LIMIT {_MAX_RECALLED}
"""  # noqa: S608

_NEWEST: Final = "SELECT toUnixTimestamp64Nano(max(Timestamp)) AS newest_ns FROM otel_logs"

_IDS: Final = ("request_id", "response_id")
"""Columns of `_CALLS` that tell a call from all others."""

_log = logging.getLogger(__name__)

_Session = tuple[str, str, str]
"""Project, service and session id."""


class WaitingCalls:
    """Takes calls of events, and hands those that count to the queue. `start` it, `close` it; any thread may add."""

    def __init__(
        self, store: Store, queue: CommitQueue, own: OwnMetrics, aggregates: Aggregates, wait_s: float = WAIT_S
    ) -> None:
        self._store, self._queue, self._own, self._aggregates = store, queue, own, aggregates
        self._wait_s = wait_s
        self._waiting: deque[tuple[float, EventCall]] = deque()
        self._owners: OrderedDict[_Session, str] = OrderedDict()
        """`Row.source` of the calls that count of a session."""
        self._deciding = threading.Lock()
        """Held while it is decided to whom sessions belong: spans and events of one may come at the same time."""
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="tokentrail-events")

    def start(self) -> None:
        """Begin to decide, first of all what the process before had not decided. Raises `StoreError`."""
        # Not after the newest, where the clock is ahead of the senders' by now.
        newest = next((int(str(each["newest_ns"])) for each in self._store.query(_NEWEST)), 0)
        first = max(min(time.time_ns(), newest) - int((LOOK_BACK_S + self._wait_s) * 1e9), 0)
        found = self._store.query(_RECORDS, {"first": first})
        self.add(read_event_calls(map(stored_record, reversed(found))))
        self._thread.start()

    def close(self) -> None:
        """Decide nothing more. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def add(self, calls: Sequence[EventCall]) -> None:
        """Take calls whose events are stored."""
        if not calls:
            return
        at_s = time.monotonic() + self._wait_s
        with self._changed:
            self._waiting.extend((at_s, call) for call in calls)
            self._changed.notify_all()

    def without_counted(self, read: Sequence[Read]) -> Sequence[Read]:
        """`read` without the rows of sessions of coding agents whose events are counted. Raises `StoreError`."""
        sessions = {
            _session(row)
            for span, row in read
            if span.scope_name.startswith(AGENT_SCOPES) and row is not None and row.session_id and row.kind in BILLABLE
        }
        if not sessions:
            return read
        first_ns = min(row.time_ns for _, row in read if row is not None)
        counted = {each for each, owner in self._owners_of(sessions, first_ns).items() if owner == EVENT}
        if not counted:
            return read
        return [
            (span, None if row and span.scope_name.startswith(AGENT_SCOPES) and _session(row) in counted else row)
            for span, row in read
        ]

    def _owners_of(self, sessions: Iterable[_Session], around_ns: int) -> dict[_Session, str]:
        """To which source the calls of sessions belong: to spans, which are about to tell some, where to no events."""
        with self._deciding:
            unknown = {each for each in sessions if each not in self._owners}
            if unknown:
                told = self._calls(around_ns, around_ns, sessions=[session for _, _, session in unknown])
                by_event = {_session_of(each) for each in told if each["source"] == EVENT}
                for each in unknown:
                    self._own_session(each, EVENT if each in by_event else "")
            return {each: self._owners.get(each, "") for each in sessions}

    def _own_session(self, session: _Session, source: str) -> None:
        self._owners[session] = source
        self._owners.move_to_end(session)
        while len(self._owners) > MAX_SESSIONS:
            self._owners.popitem(last=False)

    def _run(self) -> None:
        while (due := self._take()) is not None:
            try:
                self._settle()
                rows = self._counting([call for _, call in due])
            except StoreError as error:
                _log.warning("calls of %d events wait for the store: %s", len(due), error)
                with self._changed:
                    self._waiting.extendleft(reversed(due))
                    if self._changed.wait_for(lambda: self._closed, _RETRY_S):
                        return
                continue
            self._own.left_out({TOLD_BY_SPAN: len(due) - len(rows)} if len(rows) < len(due) else {})
            if rows and self._queue.reserve_when_there_is_room(pending := Pending((), 0, rows=rows)):
                self._queue.put(pending)

    def _take(self) -> list[tuple[float, EventCall]] | None:
        """What is to be decided now, waiting for it; `None` after `close`."""
        with self._changed:
            while not self._closed:
                excess = len(self._waiting) - MAX_WAITING
                if self._waiting and (excess > 0 or self._waiting[0][0] <= time.monotonic()):
                    break
                self._changed.wait(self._waiting[0][0] - time.monotonic() if self._waiting else None)
            if self._closed:
                return None
            now_s = time.monotonic()
            due: list[tuple[float, EventCall]] = []
            while self._waiting and len(due) < _BATCH and (excess > len(due) or self._waiting[0][0] <= now_s):
                due.append(self._waiting.popleft())
            return due

    def _settle(self) -> None:
        """Wait for spans that were acknowledged and are not stored yet. Raises `StoreUnavailable`."""
        self._queue.settle(_SETTLE_S, hurry=False)
        if self._queue.is_stalled:
            raise StoreUnavailable("it takes nothing at the moment")

    def _counting(self, calls: Sequence[EventCall]) -> list[Row]:
        """The rows of those that no span has told. Raises `StoreError`."""
        times = [call.row.time_ns for call in calls]
        told = self._calls(
            min(times),
            max(times),
            sessions=[call.row.session_id for call in calls if call.is_agent],
            requests=[call.row.request_id for call in calls],
            responses=[call.row.response_id for call in calls],
            traces=[call.row.trace_id for call in calls],
        )
        by_spans = [each for each in told if each["source"] != EVENT]
        sessions = {_session_of(each) for each in by_spans}
        ids = {(each["project"], each[name]) for each in by_spans for name in _IDS if each[name]}
        traces = {(each["project"], each["trace_id"]) for each in by_spans if each["trace_id"]}
        spans = self._stored_spans([call for call in calls if not call.is_agent])
        by_events = [each for each in told if each["source"] == EVENT]
        taken = {_key_of(each): _which(each["response_id"], each["time_ns"]) for each in by_events}
        rows = []
        with self._deciding:
            for call in calls:
                row = call.row
                if {(row.project, row.request_id), (row.project, row.response_id)} & ids or key_of(row) in spans:
                    continue
                if call.is_agent:
                    if self._is_told(row, sessions, traces):
                        continue
                    if row.session_id:
                        self._own_session(_session(row), EVENT)
                rows.append(_with_key_of_its_own(row, taken))
        return rows

    def _is_told(self, row: Row, sessions: set[_Session], traces: set[tuple[object, object]]) -> bool:
        """Whether spans tell the calls of the session of a coding agent, or of its trace."""
        if row.session_id and (owner := self._owners.get(_session(row))) is not None:
            return owner != EVENT
        return (bool(row.session_id) and _session(row) in sessions) or (row.project, row.trace_id) in traces

    def _stored_spans(self, calls: Sequence[EventCall]) -> set[Key]:
        """Those of the calls' own ids that are those of a span that has arrived."""
        keys = {key_of(call.row) for call in calls if call.row.trace_id}
        found = {key for key in keys if self._aggregates.holds(*key)}
        if rest := keys - found:
            times = [call.row.time_ns for call in calls]
            rows = self._store.query(
                _SPANS,
                {
                    "first": max(min(times) - _HOUR_NS, 0),
                    "last": max(times) + _HOUR_NS,
                    "traces": sorted({trace_id for _, trace_id, _ in rest}),
                    "spans": sorted({span_id for _, _, span_id in rest}),
                },
            )
            found |= {_key_of(row) for row in rows}
        return found

    def _calls(self, first_ns: int, last_ns: int, **ids: Iterable[str]) -> list[dict[str, object]]:
        """Calls in the store with any of these ids, from a day before to an hour after."""
        names = ("sessions", "requests", "responses", "traces")
        arrays: Mapping[str, object] = {name: sorted({*ids.get(name, ())} - {""}) for name in names}
        if not any(arrays.values()):
            return []
        window = {"first": max(first_ns - _DAY_NS, 0), "last": last_ns + _HOUR_NS}
        return self._store.query(_CALLS, {**window, **arrays})


def _with_key_of_its_own(row: Row, taken: dict[Key, str]) -> Row:
    """`row`, under another id where another call has its own: several events may be in one span of something else."""
    which = _which(row.response_id, row.time_ns)
    if taken.setdefault(key_of(row), which) == which:
        return row
    return replace(row, parent_span_id=row.span_id, span_id=_other_id(row))


def _other_id(row: Row) -> str:
    which = _which(row.response_id, row.time_ns)
    return blake2b(f"{row.span_id} {which}".encode(), digest_size=8).hexdigest()


def _which(response_id: object, time_ns: object) -> str:
    """What tells calls in one span from one another."""
    return str(response_id or time_ns)


def _key_of(found: Mapping[str, object]) -> Key:
    return str(found["project"]), str(found["trace_id"]), str(found["span_id"])


def _session(row: Row) -> _Session:
    return row.project, row.service, row.session_id


def _session_of(found: Mapping[str, object]) -> _Session:
    return str(found["project"]), str(found["service"]), str(found["session_id"])
