"""The seeded calls in an embedded store of their own, and what panels of the committed dashboards say of them.

The clock is fixed: every run has the same calls and asks for the same time. Spans and events go through what makes rows
of them in the product; what a panel should say is worked out from the calls alone, in plain Python.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support import grafana
from support.dashboard_seed import HOUR_NS, UNPRICED, Call, Seed, events, seed, spans
from support.grafana import Window
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.ingest.prepare import prepare
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.signals import Signal
from tokentrail.backend.store.chdb import ChdbStore

Key = TypeVar("Key")
Choice: TypeAlias = Mapping[str, str | Sequence[str]]
"""Values of variables: one, or several."""

COMMITTED: Final = Path(__file__).parents[2] / "dashboards" / "grafana" / "dashboards"
NOW_NS: Final = int(datetime(2026, 11, 18, 14, 36, 39, tzinfo=UTC).timestamp()) * 10**9 + 123_456_789
"""A Wednesday, after the day's incident of the seed has begun."""
DAYS: Final = 9
"""Of calls: more than a week, so that there is a week before."""
DAY_MS: Final = 24 * 3_600_000
DAY: Final = Window(NOW_NS // 10**6 - DAY_MS, NOW_NS // 10**6, 900)
"""The last 24 hours."""
PROJECT: Final = "research"
"""Where every fourth trace is; the others are in no project, which is shown as `default`."""
AWKWARD: Final = "CORP\\o'hara, (1)%41 $__fromTime"
"""A user with a name that has what SQL, URLs and Grafana could take for theirs."""
AWKWARD_CHOICE: Final = "CORP\\o'hara, (1)%41&env=b {c}\\"
"""The same for an environment, a service, a prompt: what is chosen from a list, and may be one of several."""
_AT_ONCE: Final = 500
_LONG_NS: Final = 25 * 60 * 10**9
"""What calls on the border took: they began before others that ended before them."""
_ROLLED_UP_NS: Final = NOW_NS - 5 * HOUR_NS
"""Hours that ended by then are summed up; later ones are not, so that panels about days have to add both."""


@dataclass(frozen=True)
class Seeded:
    """A store with the calls in it."""

    store: ChdbStore
    seed: Seed
    scores: Mapping[bytes, float]
    """Of the evaluations that were sent, by the span of the call."""

    def rows(
        self,
        name: str,
        title: str,
        window: Window = DAY,
        *,
        kind: str = "",
        choice: Choice | None = None,
        **more: str | Sequence[str],
    ) -> list[dict[str, Any]]:
        """What the panel of that title (and type, where two have the title) says: rows by column.

        `choice` and `more` are values of variables: one, or several; all others are All or empty.
        """
        return self.ask(statement(name, title, kind), window, {**(choice or {}), **more})

    def row(
        self,
        name: str,
        title: str,
        window: Window = DAY,
        *,
        kind: str = "",
        choice: Choice | None = None,
        **more: str | Sequence[str],
    ) -> dict[str, Any]:
        """As `rows`, of a panel that has one."""
        (row,) = self.rows(name, title, window, kind=kind, choice=choice, **more)
        return row

    def ask(self, text: str, window: Window = DAY, choice: Choice | None = None) -> list[dict[str, Any]]:
        """The rows of a statement of a dashboard. Fails on numbers that are none, such as 0 / 0."""
        values = {key: [value] if isinstance(value, str) else value for key, value in (choice or {}).items()}
        shown = {"property": ["Feature"], "offset": ["7"], "session": [""], "trace": [""]}
        sql = grafana.sql(text, window, {**shown, **values})
        # Otherwise such numbers would come as NULL.
        rows = self.store.query(f"{sql}\nSETTINGS output_format_json_quote_denormals = 1")
        for row in rows:
            for name, value in row.items():
                assert not isinstance(value, float) or math.isfinite(value), f"{name} is {value}\n{sql}"
        return rows

    def told(self, keep: Callable[[Call], bool] = lambda call: True, window: Window = DAY) -> list[Call]:
        """The calls that ended in a time, both of its ends included."""
        return [call for call in self.seed.within(window.start_ms * 10**6, window.end_ms * 10**6) if keep(call)]

    def before(self, keep: Callable[[Call], bool] = lambda call: True, window: Window = DAY) -> list[Call]:
        """Those of as long a time just before, which does not include its end."""
        end_ns = window.start_ms * 10**6
        start_ns = end_ns - (window.end_ms - window.start_ms) * 10**6
        return [call for call in self.seed.calls if start_ns <= call.end_ns < end_ns and keep(call)]


@contextmanager
def seeded(directory: Path) -> Iterator[Seeded]:
    """A store beside `directory` with the calls of `seed` and four on the borders of `DAY`, closed at the end.

    The first in a process fills it; it is for reading only.
    """
    plain = seed(NOW_NS, days=DAYS, per_hour=8)
    told = Seed(NOW_NS, sorted([*plain.calls, *_borderers(plain)], key=lambda call: (call.start_ns, call.span)))
    filled, scores_file = directory.parent / "seeded-store", directory.parent / "seeded-scores.json"
    if not scores_file.exists():
        scores_file.write_text(json.dumps(_fill(filled, told)), "utf-8")
    scores = {bytes.fromhex(span): score for span, score in json.loads(scores_file.read_text("utf-8")).items()}
    store = ChdbStore(filled)
    try:
        yield Seeded(store, told, scores)
    finally:
        store.close()


def _fill(directory: Path, told: Seed) -> dict[str, float]:
    """Store what was told; the scores of its evaluations, by the span of the call."""
    store = ChdbStore(directory)
    try:
        store.migrate()
        scores: dict[bytes, float] = {}
        for number, (project, piece) in enumerate(_pieces(told.calls)):
            scores |= _send(store, project, piece, NOW_NS + number)
        store.roll_up(0, _ROLLED_UP_NS)
        return {span.hex(): score for span, score in scores.items()}
    finally:
        store.close()


def project_of(call: Call) -> str:
    """Where a call is stored; empty for no project."""
    return PROJECT if call.trace[0] % 4 == 0 else ""


def feature_key(trace: bytes) -> str:
    """How the calls of a trace write the property Feature: some in another case, which makes no difference."""
    return "Feature" if trace[1] % 8 else "feature"


def _write_in_another_case(span: Span) -> None:
    for attribute in span.attributes:
        if attribute.key == "tokentrail.property.Feature":
            attribute.key = f"tokentrail.property.{feature_key(span.trace_id)}"


def _borderers(plain: Seed) -> Iterator[Call]:
    """Calls that end exactly at the ends of `DAY`, and a nanosecond outside of them."""
    like = next(call for call in plain.calls if call.cost and call.ttft_ns)
    ends = [(DAY.start_ms, -1), (DAY.start_ms, 0), (DAY.end_ms, 0), (DAY.end_ms, 1)]
    for number, (at_ms, further_ns) in enumerate(ends):
        trace = hashlib.sha256(bytes([number])).digest()
        start_ns = at_ms * 10**6 + further_ns - _LONG_NS
        user = AWKWARD if number == 1 else f"borderer-{number}"
        call = replace(like, start_ns=start_ns, duration_ns=_LONG_NS, user=user, session=f"border-{number}")
        if number == 1:
            call = replace(call, environment=AWKWARD_CHOICE, service=AWKWARD_CHOICE, prompt=AWKWARD_CHOICE)
        yield replace(call, trace=trace[:16], span=trace[16:24], parent=trace[24:])


def _pieces(calls: Iterable[Call]) -> Iterator[tuple[str, list[Call]]]:
    """Calls by their project, as many as are sent at once.

    A trace is never cut in two: its calls would have two roots.
    """
    for project in ("", PROJECT):
        traces = groups((call for call in calls if project_of(call) == project), lambda call: call.trace)
        piece: list[Call] = []
        for of_trace in traces.values():
            piece += of_trace
            if len(piece) >= _AT_ONCE:
                yield project, piece
                piece = []
        yield project, piece


def _send(store: ChdbStore, project: str, calls: Sequence[Call], received_ns: int) -> dict[bytes, float]:
    """Store the spans and events of `calls`; the answer is what the evaluations among them say."""
    request = spans(calls)
    for resource in request.resource_spans:
        for span in resource.scope_spans[0].spans:
            _write_in_another_case(span)
    traces = prepare(request.SerializeToString(), Encoding.PROTOBUF, project, Signal.TRACES)
    billable = [row for _, row in traces.read if row is not None and row.kind in BILLABLE]
    store.insert([span for span, _ in traces.read], billable, received_ns)
    message = events(calls)
    store.insert_parts(prepare(message.SerializeToString(), Encoding.PROTOBUF, project, Signal.LOGS).parts)
    return {
        record.span_id: attribute.value.double_value
        for record in message.resource_logs[0].scope_logs[0].log_records
        for attribute in record.attributes
        if attribute.key == "gen_ai.evaluation.score.value"
    }


@cache
def dashboard(name: str) -> Mapping[str, Any]:
    """A committed dashboard."""
    found: dict[str, Any] = json.loads((COMMITTED / f"{name}.json").read_text("utf-8"))
    return found


def statement(name: str, title: str, kind: str = "") -> str:
    """The SQL of the one panel of that title, and of that type where one is given."""
    found = [
        panel
        for panel in grafana.panels(dashboard(name))
        if panel["title"] == title and panel["type"] == (kind or panel["type"])
    ]
    assert len(found) == 1, f"{title} in {name}"
    (target,) = found[0]["targets"]
    text: str = target["rawSql"]
    return text


# What is worked out from calls -----------------------------------------------------------------------------------


def spend(calls: Iterable[Call]) -> float:
    """US dollars of those that have a price, summed up exactly."""
    return float(sum((call.cost or Fraction(0) for call in calls), Fraction(0)))


def priced(calls: Iterable[Call]) -> list[Call]:
    """Those that have a cost."""
    return [call for call in calls if call.cost is not None]


def unpriced(calls: Iterable[Call]) -> list[Call]:
    """Those that used something that no list has a price for."""
    return [call for call in calls if call.model == UNPRICED and not call.error_type]


def failed(calls: Iterable[Call]) -> list[Call]:
    """Those that ended with an error."""
    return [call for call in calls if call.error_type]


def error_rate(calls: Sequence[Call]) -> float:
    """Failed calls by all of them."""
    return len(failed(calls)) / len(calls)


def tokens(calls: Iterable[Call]) -> int:
    """Input and output of all of them."""
    return sum(call.input_tokens + call.output_tokens for call in calls)


def seconds(calls: Iterable[Call]) -> list[float]:
    """How long each took."""
    return [call.duration_ns / 1e9 for call in calls]


def first_tokens(calls: Iterable[Call]) -> list[float]:
    """Seconds to the first token of each that was a stream."""
    return [call.ttft_ns / 1e9 for call in calls if call.ttft_ns is not None]


def quantile(values: Iterable[float], share: float) -> float:
    """As ClickHouse defines the exact one: the value at position floor(n * share)."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def groups(calls: Iterable[Call], key: Callable[[Call], Key]) -> dict[Key, list[Call]]:
    """Calls by `key`, in their order."""
    found: dict[Key, list[Call]] = {}
    for call in calls:
        found.setdefault(key(call), []).append(call)
    return found


def interval(call: Call, window: Window = DAY) -> str:
    """The beginning of the interval, of those that a panel has in `window`, in which a call ended, as the store writes
    it.
    """
    width_ns = window.interval_s * 10**9
    return instant(call.end_ns // width_ns * width_ns)[:19]


def instant(ns: int) -> str:
    """A time as the store writes it, with nanoseconds."""
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}.{ns % 10**9:09d}"
