"""A store of an earlier version: everything in it is kept, and its calls can be priced again."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.calls import NOON_NS, call, span
from tokentrail.backend.access.caller import ANYONE
from tokentrail.backend.query.api import Api
from tokentrail.backend.store import chdb, rows
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.migrate import load

# gpt-4o-mini: 0.15 USD per million input tokens, 0.60 per million output tokens.
MINI: dict[str, Any] = {
    "request_model": "gpt-4o-mini",
    "response_model": "gpt-4o-mini-2024-07-18",
    "cache_read_tokens": None,
    "cache_write_tokens": None,
    "reasoning_tokens": None,
    "output_tokens": 100,
    "cost_usd": Decimal("0.0003"),
    "cost_components": {"input": Decimal("0.0002"), "output": Decimal("0.0001")},
    "price_version": "genai-prices 0.0.1",
    "price_entry": "openai/gpt-4o-mini",
    "pricing_tier": "standard",
    "pricing_assumptions": (),
}
ROWS = (
    call(**MINI, span_id="1" * 16),
    call(**{**MINI, "pricing_assumptions": ("tier_not_priced",)}, span_id="2" * 16, time_ns=NOON_NS + 1),
    call(span_id="3" * 16, time_ns=NOON_NS + 2, cost_source="client"),
)


@pytest.fixture
def of_version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChdbStore]:
    """A store with `ROWS` as version 2 of the schema wrote it, an hour ago."""
    store = ChdbStore(tmp_path / "store")
    with monkeypatch.context() as patched:
        patched.setattr(chdb, "load", lambda: load()[:2])
        store.migrate()
    write(
        store, "ALTER TABLE schema_migrations UPDATE AppliedAt = AppliedAt - 3600 WHERE 1 SETTINGS mutations_sync = 1"
    )
    names = {str(row["name"]) for row in store.query("DESCRIBE TABLE llm_requests")}
    columns = [column for column in rows.ROW_COLUMNS if column.name in names]
    old = span()
    of_spans = [column for column in rows.SPAN_COLUMNS if column.name != "Project"]
    store._send(store._open_writer(), rows._block("otel_traces", of_spans, [old]))
    store._send(store._open_writer(), rows._block("llm_requests", columns, ROWS))
    yield store
    store.close()


def write(store: ChdbStore, sql: str) -> None:
    store._open_writer().query(sql)


def test_an_upgrade_keeps_every_row_as_it_is(of_version_2: ChdbStore) -> None:
    store = of_version_2
    sql = "SELECT * FROM llm_requests ORDER BY Timestamp"
    before, spans = store.query(sql), store.query("SELECT * FROM otel_traces")
    assert "ServiceTier" not in before[0]

    store.migrate()

    after = store.query(sql)
    contents = {"InputMessages", "OutputMessages", "System", "Tools"}  # in a table of their own: test_store_contents
    kept = [name for name in before[0] if name not in contents]
    for old, new in zip(before, after, strict=True):
        assert {name: new[name] for name in kept} == {name: old[name] for name in kept}
    assert {(row["ServiceTier"], row["PricingModel"], row["CacheWrite1hTokens"]) for row in after} == {("", "", None)}
    assert store.query("SELECT * FROM otel_traces") == [{**each, "Project": ""} for each in spans]
    assert {row["Project"] for row in after} == {""}
    store.insert([], [call(span_id="4" * 16, service_tier="flex", cache_write_1h_tokens=5)])
    assert store.query("SELECT count() AS n FROM llm_requests") == [{"n": 4}]


def test_upgraded_calls_are_priced_again_where_their_rows_tell_enough(of_version_2: ChdbStore) -> None:
    store = of_version_2
    store.migrate()
    api = Api(store)
    shown = json.loads(api.handle("/api/reprice", {"since": "2026-01-01", "until": "2026-01-02"}, ANYONE).body)

    window = {"since": shown["since"], "until": shown["until"], "expect": shown["digest"]}
    response = api.handle("/api/reprice", window, ANYONE, change=True)

    assert response.status == 200, response.body
    assert shown["kept"] == {"reported": 1, "uncertain": 1}
    assert [row["CostUsd"] for row in store.query("SELECT CostUsd FROM llm_requests ORDER BY Timestamp")] == [
        Decimal("0.00021"),
        Decimal("0.0003"),
        ROWS[2].cost_usd,
    ]
