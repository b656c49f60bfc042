"""Whose a call is, where a span around it tells that and the call's own does not.

Langfuse 3, LangWatch, Spring AI and version 7 of Vercel's AI SDK name the user and the session on spans above the
calls. A call without a user or without a session gets what it lacks, tags too, as it is told, in this order,

* by the nearest span above it, among the spans that are stored together with it;
* by the root of its trace;
* by a span of its trace whose producer says such things of traces (`_OF_TRACES`), where all of these tell the same.

The latter two also when they came before the call, as far as traces are remembered (`MAX_TRACES`, in this process
only). Spans come when they end, children first: what comes after its call changes nothing any more. No call is taken
for another's: what a span beside it tells, such as an agent's of another user, is not handed on.
"""

from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span

MAX_TRACES: Final = 20_000
"""Of which anything was told; about 10 MB."""
_FIELDS: Final = ("user_id", "session_id", "session_name", "tags")
_OF_TRACES: Final = ("langfuse.", "langwatch.", "mlflow.", "ai.settings.context.")
"""Attributes of producers for whom user and session are those of a trace, on whatever span of it they are."""
_MAX_DEPTH: Final = 1000
"""Spans that name one another as parents end here."""

_Key = tuple[str, str]
"""Project and trace id."""
_Told = Mapping[str, object]
"""Values by field."""
_NOTHING: Final[_Told] = {}


class _Trace:
    """What is told of one trace as a whole."""

    __slots__ = ("by_others", "by_root")

    def __init__(self) -> None:
        self.by_root: _Told = _NOTHING
        self.by_others: dict[str, object | None] = {}
        """`None` where they do not agree."""

    def hear(self, span: Span, row: Row) -> None:
        """Take note of what a span tells."""
        if not span.parent_span_id:
            self.by_root = {**self.by_root, **_told(row)}
        else:
            for name, value in _told(row).items():
                known = self.by_others.setdefault(name, value)
                self.by_others[name] = known if known == value else None

    def value(self, name: str) -> object | None:
        """What holds for all calls of the trace."""
        return self.by_root.get(name) or self.by_others.get(name)


class TraceWide:
    """Completes rows. For one committer."""

    def __init__(self, max_traces: int = MAX_TRACES) -> None:
        self._max = max_traces
        self._traces: OrderedDict[_Key, _Trace] = OrderedDict()

    def __len__(self) -> int:
        """Traces that are remembered."""
        return len(self._traces)

    def complete(self, read: Sequence[tuple[Span, Row | None]], rows: Sequence[Row]) -> list[Row]:
        """`rows`, which are some of `read`, in their order. `read` is all that is stored together."""
        wanting = {_key(row) for row in rows if not (row.user_id and row.session_id)}
        tellers = self._listen(read, wanting)
        if not (tellers or (wanting and self._traces)):
            return list(rows)
        parents = _parents(read, tellers)
        return [row if row.user_id and row.session_id else self._completed(row, tellers, parents) for row in rows]

    def _listen(self, read: Iterable[tuple[Span, Row | None]], wanting: Container[_Key]) -> dict[_Key, dict[str, Row]]:
        """Rows of traces `wanting` it that tell anything, by span; what holds for whole traces is remembered."""
        tellers: dict[_Key, dict[str, Row]] = {}
        for span, row in read:
            if row is None or not (row.user_id or row.session_id or row.tags):
                continue
            if row.kind not in BILLABLE and (not row.parent_span_id or _is_of_traces(span)):
                self._trace(_key(row)).hear(span, row)
            if (key := _key(row)) in wanting:
                tellers.setdefault(key, {})[row.span_id] = row
        return tellers

    def _trace(self, key: _Key) -> _Trace:
        trace = self._traces.setdefault(key, _Trace())
        self._traces.move_to_end(key)
        if len(self._traces) > self._max:
            self._traces.popitem(last=False)
        return trace

    def _completed(
        self, row: Row, tellers: Mapping[_Key, Mapping[str, Row]], parents: Mapping[tuple[_Key, str], str]
    ) -> Row:
        key = _key(row)
        trace = self._traces.get(key)
        above = _above(key, row.parent_span_id, tellers[key], parents) if key in tellers else ()
        if not above and trace is None:
            return row
        changes: dict[str, object] = {}
        for name in _FIELDS:
            if getattr(row, name):
                continue
            found: object = next((value for each in above if (value := getattr(each, name))), None)
            if found := found or (trace.value(name) if trace else None):
                changes[name] = found
        return replace(row, **changes) if changes else row  # type: ignore[arg-type]  # values of the same fields


def _parents(read: Iterable[tuple[Span, Row | None]], traces: Mapping[_Key, object]) -> dict[tuple[_Key, str], str]:
    """The parent of every span of `traces`."""
    keyed = (((span.project, span.trace_id), span) for span, _ in read)
    return {(key, span.span_id): span.parent_span_id for key, span in keyed if key in traces}


def _above(
    key: _Key, parent: str, tellers: Mapping[str, Row], parents: Mapping[tuple[_Key, str], str]
) -> Sequence[Row]:
    """Those of `tellers` that are above a span with this parent, the nearest first."""
    found: list[Row] = []
    for _ in range(_MAX_DEPTH):
        if not parent:
            break
        if (row := tellers.get(parent)) is not None:
            found.append(row)
        parent = parents.get((key, parent), "")
    return found


def _told(row: Row) -> _Told:
    return {name: value for name in _FIELDS if (value := getattr(row, name))}


def _is_of_traces(span: Span) -> bool:
    return any(key.startswith(_OF_TRACES) for key in span.attributes)


def _key(row: Row) -> _Key:
    return row.project, row.trace_id
