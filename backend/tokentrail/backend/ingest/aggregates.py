"""Which spans of a trace count: usage that several of its spans tell is counted once.

An agent's span adds up its model calls, a gateway's span stands around the call of the SDK below it, and two
instrumentations may see one call. Spans arrive in several requests, mostly children before their parents, so a verdict
is final when it is made: rows are stored and counted at once.

* A model call that has model calls below it, telling at least as much as itself, is an aggregate and makes no row. A
  call without usage (it failed, or nobody asked for the usage) does not outweigh one with usage above it.
* An agent, workflow, chain or tool makes a row where it tells usage and nothing below it makes one; of several above
  one another in one batch the topmost does.
* A call that arrives after a span above it was counted is part of that span's usage and makes no row.
* Calls of one trace with the same response id and the same tokens are one call: the first, or the one that tells most.

What is remembered is bounded (`MAX_SPANS`), in this process only: a parent that arrives after its children are
forgotten, after a restart or at another backend is counted besides them. `recall` takes what the store holds.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from types import TracebackType
from typing import Final, Self

from tokentrail.backend.dialects import kinds
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span

MAX_SPANS: Final = 200_000
"""Spans that are remembered, about 60 MB. Whole traces are forgotten, those that were silent for longest first."""
AGGREGATE: Final = "aggregate"
"""Reason: what the span tells is told by spans below it."""
COVERED: Final = "covered"
"""Reason: what the span tells is told by a span above it, which was counted before."""
DUPLICATE: Final = "duplicate"
"""Reason: another span tells the same call."""

_MAX_DEPTH: Final = 1000
"""Ancestors that are told of a call below them. Spans that name one another as parents end here."""

_SUM, _CALL, _USAGE = 1, 2, 3
"""What a span tells: the usage of what is below it; a model call without usage; a model call with usage."""
_SUMMING: Final = frozenset({kinds.AGENT, kinds.WORKFLOW, kinds.CHAIN, kinds.TOOL})

_Node = tuple[str | None, int, int]
"""Of a span: its parent (`None` before it arrived, empty for a root), the most that a span below it tells, and what it
told itself when it was counted, else 0."""
_Call = tuple[str, int | None, int | None]
"""Response id, input tokens, output tokens."""
_UNKNOWN: Final[_Node] = (None, 0, 0)
_FIELDS: Final = tuple(field.name for field in fields(Row))


class _Trace:
    """What is known of one trace; in a batch, what the batch changes."""

    __slots__ = ("_beneath", "calls", "goes_on", "nodes")

    def __init__(self, beneath: "Sequence[_Trace]" = ()):
        self.nodes: dict[str, _Node] = {}
        self.calls: dict[_Call, str] = {}
        self._beneath = beneath
        self.goes_on = bool(beneath)
        """Whether something is known of the trace from before, which most traces are too short for."""

    def node(self, span_id: str) -> _Node:
        """The node of a span, by this and by what is beneath."""
        node = self.nodes.get(span_id, _UNKNOWN)
        for each in self._beneath:
            if (known := each.nodes.get(span_id)) is not None:
                node = _both(node, known)
        return node

    def counted_as(self, call: _Call) -> str | None:
        """The span that a call was counted as."""
        found = self.calls.get(call)
        if found or not self.goes_on:
            return found
        return next((known for each in self._beneath if (known := each.calls.get(call))), None)

    def take(self, other: "_Trace") -> int:
        """Take over what `other` knows; the answer is by how much this has grown."""
        before = len(self.nodes) + len(self.calls)
        for span_id, node in other.nodes.items():
            known = self.nodes.get(span_id)
            self.nodes[span_id] = node if known is None else _both(known, node)
        self.calls.update(other.calls)
        return len(self.nodes) + len(self.calls) - before

    def settled(self) -> int:
        """This is all that is known of the trace; the answer is its size."""
        self._beneath = ()
        return len(self.nodes) + len(self.calls)

    def drop(self, count: int) -> None:
        """Forget the `count` oldest spans and calls."""
        for span_id in list(islice(self.nodes, count)):
            del self.nodes[span_id]
        for call in list(islice(self.calls, count)):
            del self.calls[call]


def _both(one: _Node, other: _Node) -> _Node:
    return (other[0] if one[0] is None else one[0], max(one[1], other[1]), max(one[2], other[2]))


class _Candidate:
    """A span that tells a call or a sum, while its batch is looked at."""

    __slots__ = ("index", "level", "row", "span_id", "trace")

    def __init__(self, index: int, trace: _Trace, span_id: str, row: Row, level: int):
        self.index, self.trace, self.span_id, self.row, self.level = index, trace, span_id, row, level


class Kept:
    """What counts of one batch. Until `confirm` it is provisional: later batches see it, `discard` takes it back.

    As a context manager it discards what was not confirmed inside.
    """

    def __init__(self, owner: "Aggregates", traces: Mapping[str, _Trace], rows: list[Row], left_out: Mapping[str, int]):
        self.rows = rows
        """In the order in which they were given."""
        self.left_out = left_out
        """Rows that do not count, by reason."""
        self._owner, self.traces = owner, traces

    def confirm(self) -> None:
        """The rows are durable: remember them."""
        self._owner.settle(self, remember=True)

    def discard(self) -> None:
        """The rows were not stored, and whoever sends them again is to be looked at as if this had not been."""
        self._owner.settle(self, remember=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.discard()


class Aggregates:
    """Decides, batch by batch, which rows count. Thread-safe; exact when batches are settled in the order of `keep`.

    One batch is what is stored together. A span that comes again (its batch was discarded, or the sender did not see
    the answer) gets the same verdict as before: memory goes by span id, and no span is its own duplicate.
    """

    def __init__(self, max_spans: int = MAX_SPANS):
        self._max = max_spans
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        self._size = 0
        self._open: list[Kept] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Spans and response ids that are remembered."""
        return self._size

    def holds(self, project: str, trace_id: str, span_id: str) -> bool:
        """Whether the span is one of those that were stored and are remembered."""
        with self._lock:
            known = self._traces.get(_trace_key(project, trace_id))
            return known is not None and known.nodes.get(span_id, _UNKNOWN)[0] is not None

    def keep(self, read: Sequence[tuple[Span, Row | None]]) -> Kept:
        """What counts of `read`: every span of a batch, with its row of whatever kind (`dialects.describe`).

        Spans without a row are needed, too: they carry the news from child to parent. Settle the answer: `confirm` it
        when it is durable, else `discard` it.
        """
        with self._lock:
            traces, candidates = self._register(read)
            left_out = _judge(candidates)
            rows = [each.row for each in candidates if each.index not in left_out]
            kept = Kept(self, traces, rows, Counter(left_out.values()))
            self._open.append(kept)
            return kept

    def recall(self, read: Sequence[tuple[Span, Row | None]]) -> None:
        """Remember spans that were stored and counted before, as they are after a restart."""
        self.keep(read).confirm()

    def settle(self, kept: Kept, *, remember: bool) -> None:
        """Close `kept`; only the first time counts."""
        with self._lock:
            if not any(each is kept for each in self._open):
                return
            self._open = [each for each in self._open if each is not kept]
            for trace_id, trace in kept.traces.items() if remember else ():
                known = self._traces.get(trace_id)
                if known is None:
                    self._traces[trace_id] = trace
                    self._size += trace.settled()
                else:
                    self._traces.move_to_end(trace_id)
                    self._size += known.take(trace)
            self._forget()

    def _forget(self) -> None:
        while self._size > self._max:
            trace_id, oldest = next(iter(self._traces.items()))
            excess, size = self._size - self._max, len(oldest.nodes) + len(oldest.calls)
            if size <= excess or len(self._traces) > 1:
                del self._traces[trace_id]
                self._size -= size
                continue
            oldest.drop(excess)  # one trace that never ends
            self._size = len(oldest.nodes) + len(oldest.calls)

    def _register(self, read: Iterable[tuple[Span, Row | None]]) -> tuple[dict[str, _Trace], list[_Candidate]]:
        traces: dict[str, _Trace] = {}
        candidates: list[_Candidate] = []
        marked: list[tuple[_Trace, str, int]] = []
        for index, (span, row) in enumerate(read):
            trace_id, span_id = _trace_of(span), span.span_id
            trace = traces.get(trace_id)
            if trace is None:
                trace = traces[trace_id] = _Trace(self._known(trace_id))
            # Nothing that a batch on its way knows goes into this one's nodes: it may be discarded.
            _, below, counted = trace.nodes.get(span_id, _UNKNOWN)
            trace.nodes[span_id] = (span.parent_span_id, below, counted)
            if trace.goes_on and (below := trace.node(span_id)[1]):
                marked.append((trace, span_id, below))
            if row is not None and (level := _level(row)):
                candidates.append(_Candidate(index, trace, span_id, row, level))
        for trace, span_id, below in marked:
            _mark(trace, _ancestors(trace, span_id, below), below)
        return traces, candidates

    def _known(self, trace_id: str) -> tuple[_Trace, ...]:
        known = self._traces.get(trace_id)
        if not self._open:
            return () if known is None else (known,)
        each = (known, *(kept.traces.get(trace_id) for kept in self._open))
        return tuple(trace for trace in each if trace is not None)


def _trace_of(span: Span) -> str:
    """What a trace is told from others by: in another project the same id is another trace."""
    return _trace_key(span.project, span.trace_id)


def _trace_key(project: str, trace_id: str) -> str:
    return f"{project} {trace_id}" if project else trace_id


def _level(row: Row) -> int:
    told = row.input_tokens or row.output_tokens or row.cost_usd
    if row.kind in kinds.BILLABLE:
        return _USAGE if told else _CALL
    return _SUM if told and row.kind in _SUMMING else 0


def _judge(candidates: Sequence[_Candidate]) -> dict[int, str]:
    """The candidates that do not count, by index, with the reason. Marks the traces, and what is counted in them."""
    left_out: dict[int, str] = {}
    calls = [each for each in candidates if each.level > _SUM]
    for each in calls:
        ancestors = _ancestors(each.trace, each.span_id, each.level)
        if _is_covered(each, ancestors):
            left_out[each.index] = COVERED
        else:
            _mark(each.trace, ancestors, each.level)
    for each in calls:
        _, below, counted = each.trace.node(each.span_id)
        if below >= each.level and not counted:
            left_out.setdefault(each.index, AGGREGATE)
    if len(calls) < len(candidates):
        _judge_sums([each for each in candidates if each.level == _SUM], left_out)
    kept = [each for each in candidates if each.index not in left_out]
    _judge_duplicates([each for each in kept if each.level > _SUM and each.row.response_id], left_out)
    for each in kept:
        if each.index not in left_out:
            parent, below, _ = each.trace.nodes[each.span_id]
            each.trace.nodes[each.span_id] = (parent, below, each.level)
    return left_out


def _judge_sums(sums: Sequence[_Candidate], left_out: dict[int, str]) -> None:
    """Sums over nothing that counts; of several above one another the topmost."""
    alone: list[_Candidate] = []
    for each in sums:
        _, below, counted = each.trace.node(each.span_id)
        if counted or not below:
            alone.append(each)
        else:
            left_out[each.index] = AGGREGATE
    known = {(id(each.trace), each.span_id) for each in alone}
    for each in alone:
        ancestors = _ancestors(each.trace, each.span_id, _SUM)
        if any((id(each.trace), ancestor) in known for ancestor in ancestors) or _is_covered(each, ancestors):
            left_out[each.index] = COVERED
        else:
            _mark(each.trace, ancestors, _SUM)


def _judge_duplicates(candidates: Sequence[_Candidate], left_out: dict[int, str]) -> None:
    best: dict[tuple[int, _Call], _Candidate] = {}
    for each in candidates:
        row = each.row
        call = (row.response_id, row.input_tokens, row.output_tokens)
        counted_as = each.trace.counted_as(call)
        if counted_as is not None and counted_as != each.span_id:
            left_out[each.index] = DUPLICATE
            continue
        key = id(each.trace), call
        other = best.get(key)
        if other is not None and other.span_id != each.span_id:
            worse = each if _completeness(other.row) >= _completeness(row) else other
            left_out[worse.index] = DUPLICATE
            each = other if worse is each else each
        best[key] = each
    for (_, call), each in best.items():
        each.trace.calls[call] = each.span_id


def _completeness(row: Row) -> int:
    """How many fields the row tells."""
    return sum(1 for name in _FIELDS if getattr(row, name) not in (None, "", (), {}, False))


def _ancestors(trace: _Trace, span_id: str, level: int) -> list[str]:
    """Ids of the ancestors as far as they are known, nearest first, up to one that knows of such a level below it."""
    found: list[str] = []
    parent = trace.nodes[span_id][0]
    while parent and len(found) < _MAX_DEPTH:
        if parent == span_id:
            return []  # spans that name one another as parents are no ancestors
        found.append(parent)
        parent, below, _ = trace.node(parent)
        if below >= level:
            break
    return found


def _is_covered(candidate: _Candidate, ancestors: Iterable[str]) -> bool:
    """True when a span above was counted, earlier, for what the candidate tells."""
    level = candidate.level
    for ancestor in ancestors:
        counted = candidate.trace.node(ancestor)[2]
        if counted == level or (counted == _SUM and level == _USAGE):
            return True
    return False


def _mark(trace: _Trace, ancestors: Iterable[str], level: int) -> None:
    for ancestor in ancestors:
        parent, below, counted = trace.nodes.get(ancestor, _UNKNOWN)
        if below < level:
            trace.nodes[ancestor] = (parent, level, counted)
