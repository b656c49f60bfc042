"""Pricing stored calls again: `GET /api/reprice` shows what would change, `POST /api/reprice` does what was shown.

Both work on a window: the earliest calls of the time asked for, as many as one request may take. The answer says where
the window ends (`until`), so that the next request goes on from there, and has a `digest` of all its changes: the POST
of the same window carries it as `expect`, and is refused when it would do anything else. `ingest/reprice.py` decides
about each call, `Store.correct` puts the changes on record and into the rows.
"""

import hashlib
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Final, TypeAlias

from tokentrail.backend.access.caller import Caller
from tokentrail.backend.correction import COST_FIELDS, Correction
from tokentrail.backend.ingest.reprice import Outcome, Verdict, reprice
from tokentrail.backend.query import filter as filters
from tokentrail.backend.query import moment
from tokentrail.backend.query.errors import QueryError, RefusedError
from tokentrail.backend.row import Row
from tokentrail.backend.store import Store
from tokentrail.backend.store.rows import column_name
from tokentrail.semconv import pricing

WINDOW_CALLS: Final = 50_000
"""Calls in a window: some seconds of work, and some 100 MB when all of them change."""
PAGE_CALLS: Final = 10_000
"""Calls read at a time."""
PARAMETERS: Final = ("since", "until", "all", "expect")
"""Beside the filters of the other endpoints."""
DIGEST_BYTES: Final = 16

COMPLETE_SINCE: Final = 3
"""The version of the schema from which on a row holds all that its price depends on, web searches excepted."""
SEARCHES_SINCE: Final = 8
"""The one from which on it holds those, too."""
_CLOCKS_APART_NS: Final = 86_400 * 10**9
"""How far the clock of a sender may be ahead: a call of after the upgrade by its own time may be one of before."""

Corrected: TypeAlias = Callable[[Sequence[Correction]], None]
"""Told what was corrected, once it is stored."""

_TIME: Final = "toUnixTimestamp64Nano(Timestamp)"
_FIELDS: Final = (
    *(
        "project",
        "trace_id",
        "span_id",
        "service",
        "environment",
        "operation",
        "provider",
        "request_model",
        "response_model",
    ),
    *("server_address", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("cache_write_1h_tokens", "audio_input_tokens", "audio_output_tokens", "audio_cache_read_tokens"),
    *("image_input_tokens", "image_output_tokens", "web_searches", "service_tier", "pricing_model"),
    *(*COST_FIELDS, "error_type"),
)
"""What a price, or a group of calls, depends on; never content."""
_RANGE: Final = (
    "Timestamp >= fromUnixTimestamp64Nano({since:Int64}) AND Timestamp < fromUnixTimestamp64Nano({until:Int64})"
)
_ORDER: Final = "toStartOfHour(Timestamp, 'UTC'), Timestamp, TraceId, SpanId, Project"
"""By time; the hour first because the table is sorted by it, so that the first rows are found without the others."""
_AFTER: Final = (
    "(Timestamp, TraceId, SpanId, Project) > "
    "(fromUnixTimestamp64Nano({since:Int64}), {trace:String}, {span:String}, {of_project:String})"
)


@dataclass(slots=True)
class _Group:
    """Changes that are alike."""

    calls: int = 0
    old_usd: Decimal | None = None
    """`None` while none of them had a price."""
    new_usd: Decimal = Decimal(0)

    def add(self, old: Row, new: Row) -> None:
        self.calls += 1
        if old.cost_usd is not None:
            self.old_usd = (self.old_usd or Decimal(0)) + old.cost_usd
        self.new_usd += new.cost_usd or 0


@dataclass(slots=True)
class _Findings:
    """What is to be done in a window."""

    calls: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    corrections: list[Correction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Question:
    """What a request asks for."""

    since_ns: int
    until_ns: int
    every_list: bool
    condition: filters.Condition


class Repricer:
    """Prices the calls of a store again. Thread-safe; one request at a time, others are refused."""

    def __init__(
        self,
        store: Store,
        now_ns: Callable[[], int],
        on_corrected: Corrected,
        window_calls: int = WINDOW_CALLS,
        page_calls: int = PAGE_CALLS,
    ) -> None:
        self._store, self._now_ns, self._on_corrected = store, now_ns, on_corrected
        self._window_calls, self._page_calls = window_calls, page_calls
        self._busy = threading.Lock()

    def preview(self, params: Mapping[str, str], caller: Caller) -> dict[str, object]:
        """What would change in the first window of `params`, of what `caller` sees.

        Raises `QueryError`, `RefusedError` and `StoreError`.
        """
        return self._exclusively(self._preview, params, caller)

    def apply(self, params: Mapping[str, str], caller: Caller) -> dict[str, object]:
        """Change what `preview` showed for the same `params`. Raises as `preview` does."""
        return self._exclusively(self._apply, params, caller)

    def _exclusively(
        self,
        work: Callable[[Mapping[str, str], Caller], dict[str, object]],
        params: Mapping[str, str],
        caller: Caller,
    ) -> dict[str, object]:
        if not self._busy.acquire(blocking=False):
            raise RefusedError("another reprice is running; try again when it has ended")
        try:
            return work(params, caller)
        finally:
            self._busy.release()

    def _preview(self, params: Mapping[str, str], caller: Caller) -> dict[str, object]:
        if "expect" in params:
            raise QueryError("expect", "expect is for POST, which applies what was shown")
        question = self._question(params, caller)
        end_ns = self._end_of_window(question)
        left = self._count(question, end_ns, question.until_ns) if end_ns < question.until_ns else 0
        findings = self._examine(question, end_ns)
        return _summary(question, end_ns, findings) | {
            "calls_left": left,
            # Then older prices are in force than the one who asks may think.
            "price_file_error": pricing.price_file_status().error,
        }

    def _apply(self, params: Mapping[str, str], caller: Caller) -> dict[str, object]:
        expected = params.get("expect", "")
        if not expected or "until" not in params:
            name = "until" if expected else "expect"
            raise QueryError(name, f"{name} is missing: POST takes since, until and (as expect) digest that GET showed")
        question = self._question(params, caller)
        calls = self._count(question, question.since_ns, question.until_ns)
        # Calls of one moment are a window, however many they are.
        if calls > 2 * self._window_calls and question.until_ns - question.since_ns > 1:
            raise RefusedError("the window has many more calls than when it was shown; look at it again")
        findings = self._examine(question, question.until_ns)
        if _digest(question, findings.corrections) != expected:
            raise RefusedError("other calls would change now than when this was shown; look at it again")
        run = ""
        if findings.corrections:
            run = uuid.uuid4().hex
            self._store.correct(findings.corrections, run, self._now_ns())
            self._on_corrected(findings.corrections)
        return _summary(question, question.until_ns, findings) | {"run": run}

    def _question(self, params: Mapping[str, str], caller: Caller) -> _Question:
        now_ns = self._now_ns()
        if "since" not in params:
            raise QueryError("since", "since is missing: from when on calls are priced again", moment.EXAMPLES)
        every_list = params.get("all", "0")
        if every_list not in ("0", "1"):
            raise QueryError("all", f"all is {every_list!r}: expected 0 or 1", ("0", "1"))
        rest = {name: value for name, value in params.items() if name not in PARAMETERS}
        try:
            condition = filters.read(rest, now_ns, caller)
        except QueryError as error:
            allowed = ("all", *error.allowed) if error.allowed == filters.FILTERS else error.allowed
            raise QueryError(error.parameter, error.message, allowed) from None
        until_ns = filters.time("until", params["until"], now_ns) if "until" in params else now_ns
        return _Question(filters.time("since", params["since"], now_ns), until_ns, every_list == "1", condition)

    def _end_of_window(self, question: _Question) -> int:
        """The end of the window that begins where `question` does: it has about so many calls as a window may."""
        tail = f"ORDER BY {_ORDER} LIMIT 1 OFFSET {self._window_calls:d}"
        found = self._select(f"{_TIME} AS at", question, question.since_ns, question.until_ns, tail)
        # Calls of one moment stay together.
        return max(int(str(found[0]["at"])), question.since_ns + 1) if found else question.until_ns

    def _count(self, question: _Question, since_ns: int, until_ns: int) -> int:
        (row,) = self._select("count() AS calls", question, since_ns, until_ns)
        return int(str(row["calls"]))

    def _examine(self, question: _Question, until_ns: int) -> _Findings:
        complete_from_ns, searches_from_ns = self._complete_from_ns()
        findings = _Findings()
        for _, same in groupby(self._rows(question, until_ns), _key):
            rows = list(same)
            outcomes = [
                reprice(row, complete_from_ns, searches_from_ns, every_list=question.every_list) for row in rows
            ]
            if len(rows) > 1 and any(_change(outcome) != _change(outcomes[0]) for outcome in outcomes):
                # A span that was sent twice, with two contents: its rows cannot be told apart.
                outcomes = [_undone(outcome) for outcome in outcomes]
            for row, (verdict, new) in zip(rows, outcomes, strict=True):
                if new is not None:
                    findings.corrections.append(Correction(row, new))
                elif verdict is not Verdict.SAME:
                    findings.kept[verdict] += 1
            findings.calls += len(rows)
        return findings

    def _rows(self, question: _Question, until_ns: int) -> Iterator[Row]:
        """The calls of a window in their order, read page by page."""
        columns = ", ".join((f"{_TIME} AS time_ns", *(f"{column_name(name)} AS {name}" for name in _FIELDS)))
        # Rows of one span are never on two pages.
        tail = f"ORDER BY {_ORDER} LIMIT {self._page_calls:d} WITH TIES"
        page = self._select(columns, question, question.since_ns, until_ns, tail)
        while page:
            rows = [_row(values) for values in page]
            yield from rows
            if len(rows) < self._page_calls:
                return
            last = rows[-1]
            del page, rows
            after = {"trace": last.trace_id, "span": last.span_id, "of_project": last.project}
            page = self._select(columns, question, last.time_ns, until_ns, tail, after)

    def _complete_from_ns(self) -> tuple[int, int]:
        """The times from which on rows hold all that their price depends on but searches, and these; 0 where all do."""
        sql = "SELECT Version, toUnixTimestamp64Milli(min(AppliedAt)) AS ms FROM schema_migrations GROUP BY Version"
        applied = {int(str(row["Version"])): int(str(row["ms"])) for row in self._store.query(sql)}
        return _from_ns(applied, COMPLETE_SINCE), _from_ns(applied, SEARCHES_SINCE)

    def _select(
        self,
        columns: str,
        question: _Question,
        since_ns: int,
        until_ns: int,
        tail: str = "",
        after: Mapping[str, str] | None = None,
    ) -> list[dict[str, object]]:
        # Every part is made of names in this package; what a client sends comes as parameters.
        where = " AND ".join((_RANGE, question.condition.sql, *([_AFTER] if after else [])))
        sql = f"SELECT {columns} FROM llm_requests WHERE {where} {tail}".rstrip()  # noqa: S608
        bounds = {"since": since_ns, "until": until_ns}
        return self._store.query(sql, {**question.condition.parameters, **bounds, **(after or {})})


_ONE_GO_MS: Final = 5_000
"""Migrations applied that close together made a new store, in which no row was written between them."""


def _from_ns(applied: Mapping[int, int], version: int) -> int:
    """The time from which on rows are of that version of the schema; 0 where all are.

    `applied` is when each version was applied, milliseconds.
    """
    before, since = applied.get(version - 1), applied.get(version)
    if before is None or since is None or since - before < _ONE_GO_MS:
        return 0
    return since * 10**6 + _CLOCKS_APART_NS


def _row(values: Mapping[str, object]) -> Row:
    """A row with what was read; what was not is empty."""
    known = {**values, "pricing_assumptions": tuple(values["pricing_assumptions"])}  # type: ignore[arg-type]  # a list
    return Row(parent_span_id="", kind="", duration_ns=0, **known)  # type: ignore[arg-type]  # columns have its types


def _key(row: Row) -> tuple[int, str, str, str]:
    return row.time_ns, row.trace_id, row.span_id, row.project


def _change(outcome: Outcome) -> object:
    """What an outcome does, to be compared."""
    return None if outcome.new is None else [getattr(outcome.new, name) for name in COST_FIELDS]


def _undone(outcome: Outcome) -> Outcome:
    return Outcome(Verdict.UNCERTAIN) if outcome.verdict is Verdict.CHANGED else outcome


def _summary(question: _Question, end_ns: int, findings: _Findings) -> dict[str, object]:
    """The answer: one object with the window, its totals, the changes in groups, and what was kept and why."""
    groups = _groups(findings.corrections)
    before = sum((each.old.cost_usd or Decimal(0) for each in findings.corrections), Decimal(0))
    after = sum((each.new.cost_usd or Decimal(0) for each in findings.corrections), Decimal(0))
    return {
        "since": moment.iso(question.since_ns),
        "until": moment.iso(end_ns),
        "end": moment.iso(question.until_ns),
        "calls": findings.calls,
        "changes": len(findings.corrections),
        "old_usd": before,
        "new_usd": after,
        "difference_usd": after - before,
        "kept": dict(sorted(findings.kept.items())),
        "groups": groups,
        "digest": _digest(question, findings.corrections),
    }


def _groups(corrections: Iterable[Correction]) -> list[dict[str, object]]:
    """The changes by provider, model and price, the largest difference first."""
    groups: dict[tuple[str, ...], _Group] = {}
    key: tuple[str, ...]
    for each in corrections:
        old, new = each.old, each.new
        key = (
            *(old.provider, old.request_model or old.response_model),
            *(old.pricing_status, old.cost_source, old.price_entry, old.price_version),
            *(new.pricing_status, new.cost_source, new.price_entry, new.price_version),
        )
        groups.setdefault(key, _Group()).add(old, new)
    shown: list[dict[str, object]] = []
    by_size = sorted(groups.items(), key=lambda item: (-abs(item[1].new_usd - (item[1].old_usd or 0)), item[0]))
    for key, group in by_size:
        difference = group.new_usd - (group.old_usd or 0)
        amounts = {"old_usd": group.old_usd, "new_usd": group.new_usd, "difference_usd": difference}
        shown.append({**dict(zip(GROUP_KEYS, key, strict=True)), "calls": group.calls, **amounts})
    return shown


GROUP_KEYS: Final = (
    *("provider", "model"),
    *("old_status", "old_source", "old_entry", "old_version"),
    *("new_status", "new_source", "new_entry", "new_version"),
)
"""What the calls of a group have in common."""


def _digest(question: _Question, corrections: Iterable[Correction]) -> str:
    """A digest of all that would be written, in its order."""
    digest = hashlib.blake2b(f"{question.since_ns}\n".encode(), digest_size=DIGEST_BYTES)
    for each in corrections:
        old, new = each.old, each.new
        components = sorted((name, f"{usd:f}") for name, usd in new.cost_components.items())
        parts = (
            *_key(old),
            *(old.cost_usd if old.cost_usd is None else f"{old.cost_usd:f}", old.price_version, old.price_entry),
            *(f"{new.cost_usd:f}", components, new.cost_source, new.price_version, new.price_entry),
            *(new.pricing_tier, new.pricing_assumptions),
        )
        digest.update(f"{parts!r}\n".encode("utf-8", "backslashreplace"))
    return digest.hexdigest()
