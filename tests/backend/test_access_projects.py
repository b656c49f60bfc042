"""A project's rows are invisible to another's key.

On every path of the API, in what is corrected, and in what counts as stored already.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support import otlp
from support.calls import NOON_NS, call
from support.stores import fresh
from tokentrail.backend.access.caller import ANYONE, Caller, Role
from tokentrail.backend.ingest.journal import Journal
from tokentrail.backend.ingest.pipeline import Limits, Pipeline
from tokentrail.backend.ingest.refused import Refused
from tokentrail.backend.log import LogRecord
from tokentrail.backend.metrics.registry import Metrics
from tokentrail.backend.query.api import Api
from tokentrail.backend.query.filter import COLUMNS
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.row import Row
from tokentrail.backend.signals import Origin
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.errors import StoreUnavailable
from tokentrail.backend.store.records import DIGEST_BYTES, split

NOW_NS = NOON_NS + 60 * 10**9
PROJECTS = ("a", "b", "")
CALLERS = {project: Caller("", Role.ADMIN, project) for project in PROJECTS}


def rows_of(project: str) -> list[Row]:
    """A priced call and one without a price; every text has the mark of the project but for ids, which all share."""
    mark = f"only-{project or 'default'}"
    priced = call(
        span_id="1" * 16,
        project=project,
        service=mark,
        environment=mark,
        user_id=mark,
        session_id=mark,
        session_path=f"/{mark}",
        properties={"Feature": mark},
        server_address=mark,
        response_id=mark,
        input_messages=mark,
        cost_source="client",
    )
    unpriced = replace(
        priced,
        span_id="2" * 16,
        provider="openai",
        request_model="gpt-4o-mini",
        response_model="gpt-4o-mini",
        server_address="api.openai.com",
        cost_usd=None,
        cost_components={},
        cost_source="",
        pricing_status="unknown_model",
        pricing_tier="",
        cache_read_tokens=None,
        cache_write_tokens=None,
        reasoning_tokens=None,
        input_tokens=1000,
        output_tokens=0,
        error_type="",
        error_message=mark,
    )
    return [priced, unpriced]


class Watched:
    """A store that notes the statements of an API."""

    def __init__(self, store: ChdbStore) -> None:
        self._store = store
        self.statements: list[str] = []

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        self.statements.append(sql)
        return self._store.query(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChdbStore]:
    store = fresh(tmp_path / "store")
    for project in PROJECTS:
        store.insert([], rows_of(project))
    yield store
    store.close()


def get(api: Api, path: str, caller: Caller, **params: str) -> list[dict[str, Any]]:
    response = api.handle(path, {name.replace("__", "."): value for name, value in params.items()}, caller)
    assert response.status == 200, response.body
    return [json.loads(line, parse_float=Decimal) for line in response.body.decode().splitlines()]


def everything(stranger: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Every path with every way to ask, also for what is the stranger's."""
    mark = f"only-{stranger or 'default'}"
    named = {
        "user": mark,
        "session": mark,
        "session_path": f"/{mark}",
        "service": mark,
        "environment": mark,
        "model": "gpt-4o-mini",
        "provider": "openai",
        "operation": "chat",
        "project": stranger or "default",
        "trace_id": rows_of("")[0].trace_id,
        "status": "ok",
        "property.Feature": mark,
        "since": "2000-01-01",
        "until": "2100-01-01",
    }
    yield "/api/alerts", {}
    filters: list[dict[str, str]] = [{}, *({name: value} for name, value in named.items())]
    for each in filters:
        yield "/api/requests", {**each, "content": "1"}
        yield "/api/totals", each
        yield "/api/unpriced", {**each, "failed": "1"}
        yield "/api/reprice", {**each, "since": "2000-01-01", "until": "2100-01-01", "all": "1"}
        for by in (*COLUMNS, "property.Feature"):
            yield "/api/totals", {**each, "by": by}


def test_nothing_of_another_project_appears_on_any_path(store: ChdbStore) -> None:
    assert set(COLUMNS) < set(named_filters())
    asked = 0
    for me, stranger in (("a", "b"), ("b", ""), ("", "a")):
        for path, params in everything(stranger):
            response = Api(store, lambda: NOW_NS).handle(path, params, CALLERS[me])
            assert response.status == 200, response.body
            assert f"only-{stranger or 'default'}".encode() not in response.body, (me, path, params)
            asked += 1
    assert asked > 500


def named_filters() -> set[str]:
    return {name for _, params in everything("a") for name in params}


@pytest.mark.parametrize("project", PROJECTS)
def test_a_key_sees_all_of_its_own_project(store: ChdbStore, project: str) -> None:
    api, caller = Api(store, lambda: NOW_NS), CALLERS[project]
    (own,) = {project or "default"}

    assert [row["project"] for row in get(api, "/api/requests", caller)] == [own, own]
    assert get(api, "/api/totals", caller)[0]["requests"] == 2
    assert [(row["project"], row["requests"]) for row in get(api, "/api/totals", caller, by="project")] == [(own, 2)]
    assert [row["requests"] for row in get(api, "/api/unpriced", caller)] == [1]
    assert get(api, "/api/reprice", caller, since="2000-01-01")[0]["calls"] == 2
    assert len(get(api, "/api/requests", caller, project=own)) == 2


def test_a_key_for_all_projects_sees_them_and_can_choose(store: ChdbStore) -> None:
    api = Api(store, lambda: NOW_NS)
    reader = Caller("", Role.READ, None)

    assert get(api, "/api/totals", reader)[0]["requests"] == 6
    assert {row["project"] for row in get(api, "/api/requests", reader)} == {"a", "b", "default"}
    assert [row["user_id"] for row in get(api, "/api/requests", reader, project="b")] == ["only-b"] * 2
    assert [row["user_id"] for row in get(api, "/api/requests", reader, project="default")] == ["only-default"] * 2


def test_every_statement_is_bounded_by_the_project(store: ChdbStore) -> None:
    watched = Watched(store)
    api = Api(watched, lambda: NOW_NS)

    for path, params in everything("b"):
        api.handle(path, params, CALLERS["a"])

    of_rows = [sql for sql in watched.statements if "llm_requests" in sql]
    assert len(of_rows) > 100
    bounded = re.compile(r"(WHERE|AND) \(?Project = \{project:String\} ?(AND|\)|GROUP|ORDER|LIMIT|$)")
    # An alert has the project among its filters, as its definition could have had it.
    filtered = f":Array(String)}}, toString({COLUMNS['project']}))"
    assert [sql for sql in of_rows if not bounded.search(sql) and filtered not in sql] == []
    # Content is found by project, trace id and span id of calls that were found before.
    by_ids = [sql for sql in watched.statements if "FROM llm_contents" in sql or "FROM otel_logs" in sql]
    assert [sql for sql in by_ids if "AS project, TraceId AS trace_id, SpanId AS span_id" not in sql] == []
    others = {sql for sql in watched.statements if sql not in of_rows and sql not in by_ids}
    assert [sql for sql in others if "FROM schema_migrations" not in sql] == []


DETAILS = "gen_ai.client.inference.operation.details"
ORIGIN = Origin({}, "", "tests", "", {}, 0, "")


def bare(project: str) -> Row:
    """A call without content of its own; in every project with the same ids."""
    row = rows_of(project)[0]
    return replace(row, span_id="3" * 16, input_messages="", output_messages="", system="", tools="")


def detail(project: str, text: str) -> LogRecord:
    """The event with the content of that call."""
    row = bare(project)
    said = {
        "event.name": DETAILS,
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": text}]}]),
    }
    return LogRecord(ORIGIN, row.time_ns, row.trace_id, row.span_id, 1, 0, "", "", said, DETAILS, project)


@pytest.mark.parametrize(
    "caller", [*CALLERS.values(), Caller("", Role.READ, None)], ids=lambda each: repr(each.project)
)
def test_content_that_came_as_an_event_is_shown_with_the_call_of_its_own_project_only(
    store: ChdbStore, caller: Caller
) -> None:
    for project in PROJECTS:
        store.insert([], [bare(project)])
    events = [detail(project, f"said in {project or 'default'}") for project in PROJECTS]
    store.insert_parts(split(b"1" * DIGEST_BYTES, logs=events))

    rows = get(Api(store, lambda: NOW_NS), "/api/requests", caller, content="1")

    told = {row["project"]: row["input_messages"] for row in rows if row["span_id"] == "3" * 16}
    visible = PROJECTS if caller.project is None else (caller.project,)
    assert told.keys() == {project or "default" for project in visible}
    for project, text in told.items():
        assert re.findall(r"said in (\w+)", text) == [project]


def test_content_of_another_project_is_not_shown_where_there_is_none_of_ones_own(store: ChdbStore) -> None:
    for project in PROJECTS:
        store.insert([], [bare(project)])
    store.insert_parts(split(b"1" * DIGEST_BYTES, logs=[detail("a", "said in a")]))
    api = Api(store, lambda: NOW_NS)

    for caller in (CALLERS["b"], CALLERS[""]):
        assert "said" not in api.handle("/api/requests", {"content": "1"}, caller).body.decode()
    assert "said in a" in api.handle("/api/requests", {"content": "1"}, CALLERS["a"]).body.decode()


@pytest.mark.parametrize("attack", ["' OR 1=1 --", "*", "a') OR (1=1", "default", "\\' OR Project != \\'"])
def test_no_value_reaches_over_the_project(store: ChdbStore, attack: str) -> None:
    api = Api(store, lambda: NOW_NS)

    for name in (*COLUMNS, "trace_id", "property.Feature", f"property.{attack}"):
        response = api.handle("/api/totals", {name: attack}, CALLERS["b"])
        assert json.loads(response.body)["requests"] <= 2
        assert b"only-a" not in response.body


def test_errors_tell_nothing_of_other_projects(store: ChdbStore) -> None:
    api = Api(store, lambda: NOW_NS)
    asked: list[tuple[str, dict[str, str]]] = [
        ("/api/nothing", {}),
        ("/api/requests", {"limit": "x"}),
        ("/api/totals", {"by": "x"}),
        ("/api/reprice", {}),
    ]

    for path, params in asked:
        told = [api.handle(path, params, caller).body for caller in (*CALLERS.values(), ANYONE)]
        assert len(set(told)) == 1, path


# Corrections -----------------------------------------------------------------------------------------------------


def costs(store: ChdbStore) -> dict[tuple[str, str], object]:
    rows = store.query("SELECT Project, SpanId, CostUsd FROM llm_requests")
    return {(str(row["Project"]), str(row["SpanId"])[0]): row["CostUsd"] for row in rows}


def apply(api: Api, caller: Caller) -> dict[str, Any]:
    (shown,) = get(api, "/api/reprice", caller, since="2000-01-01")
    window = {"since": shown["since"], "until": shown["until"], "expect": shown["digest"]}
    response = api.handle("/api/reprice", window, caller, change=True)
    assert response.status == 200, response.body
    done: dict[str, Any] = json.loads(response.body)
    return done


def test_pricing_again_changes_one_project_though_the_ids_are_the_same(store: ChdbStore) -> None:
    before = costs(store)

    done = apply(Api(store, lambda: NOW_NS), CALLERS["a"])

    # gpt-4o-mini: 0.15 USD per million input tokens.
    assert done["changes"] == 1
    assert costs(store) == {**before, ("a", "2"): Decimal("0.00015")}
    assert store.query("SELECT Project, SpanId FROM cost_corrections") == [{"Project": "a", "SpanId": "2" * 16}]


def test_pricing_again_for_all_projects_changes_each_row_once(store: ChdbStore) -> None:
    before = costs(store)

    done = apply(Api(store, lambda: NOW_NS), ANYONE)

    assert done["changes"] == 3
    assert costs(store) == {**before, **{(project, "2"): Decimal("0.00015") for project in PROJECTS}}


def test_what_another_project_was_shown_cannot_be_applied(store: ChdbStore) -> None:
    api = Api(store, lambda: NOW_NS)
    (shown,) = get(api, "/api/reprice", CALLERS["a"], since="2000-01-01")
    window = {"since": shown["since"], "until": shown["until"], "expect": shown["digest"]}
    before = costs(store)

    assert api.handle("/api/reprice", window, CALLERS["b"], change=True).status == 409
    assert costs(store) == before


# What comes in ---------------------------------------------------------------------------------------------------


def send(store: Any, journal: Path | None, *sent: tuple[bytes, str]) -> Metrics:
    """One process: start, send, stop."""
    metrics = Metrics("test")
    log = Journal(journal, 10_000_000) if journal else None
    kept = Refused(journal / "refused") if journal else None
    pipeline = Pipeline(store, metrics.calls, metrics.own, Limits(1000, 10_000_000), log, kept)

    async def run() -> None:
        await asyncio.to_thread(pipeline.start)
        for body, project in sent:
            await pipeline.submit(body, Encoding.PROTOBUF, project)
        await asyncio.to_thread(pipeline.settle)
        await asyncio.to_thread(pipeline.close)

    asyncio.run(run())
    return metrics


def stored(store: ChdbStore, table: str) -> dict[str, int]:
    first = f"('{'1' * 16}', '{'2' * 16}')"
    sql = f"SELECT Project, count() AS calls FROM {table} WHERE SpanId NOT IN {first} GROUP BY Project"
    return {str(row["Project"]): int(str(row["calls"])) for row in store.query(sql)}


@pytest.mark.parametrize("journaled", [False, True])
def test_the_same_spans_from_another_project_are_other_spans(store: ChdbStore, tmp_path: Path, journaled: bool) -> None:
    journal = tmp_path / "journal" if journaled else None
    spans = [otlp.span() for _ in range(3)]
    body, other = otlp.body(*spans), otlp.body(*reversed(spans))

    # First by who has overheard the ids, then by whose they are, then again and in other batches, then after a restart.
    send(store, journal, (body, "b"), (body, "a"), (body, "a"), (other, "a"), (other, ""), (other, "b"))
    send(store, journal, (body, "a"), (other, "b"), (body, ""))

    assert stored(store, "otel_traces") == {"a": 3, "b": 3, "": 3}
    assert stored(store, "llm_requests") == {"a": 3, "b": 3, "": 3}


def test_what_waits_in_the_journal_keeps_its_project(store: ChdbStore, tmp_path: Path) -> None:
    class Down:
        """A store that takes nothing."""

        def insert(self, *_: object) -> None:
            raise StoreUnavailable("down")

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    send(Down(), tmp_path / "journal", (otlp.body(otlp.span()), "a"), (otlp.body(otlp.span()), ""))
    assert stored(store, "llm_requests") == {}

    send(store, tmp_path / "journal")

    assert stored(store, "llm_requests") == {"a": 1, "": 1}


def test_no_sender_can_say_which_project_it_is(store: ChdbStore) -> None:
    claims: dict[str, object] = dict.fromkeys(("project", "Project", "tokentrail.project"), "a")
    request = otlp.request([otlp.span({**otlp.CHAT, **claims})], {"service.name": "x", **claims})

    send(store, None, (request.SerializeToString(), "b"))

    assert stored(store, "llm_requests") == {"b": 1}
    assert stored(store, "otel_traces") == {"b": 1}
