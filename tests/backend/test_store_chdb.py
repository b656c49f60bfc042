"""What only the embedded store does, on the real engine."""

import random
import resource
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from unittest import mock

import pytest

from support.calls import call, span
from tokentrail.backend.correction import Correction
from tokentrail.backend.store import StoreError, StoreUnavailable
from tokentrail.backend.store.chdb import ChdbStore, path_of
from tokentrail.backend.store.codes import _OTHER_NAMES, MENDABLE, RETRYABLE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChdbStore]:
    store = ChdbStore(tmp_path / "store")
    store.migrate()
    yield store
    store.close()


def test_a_full_disk_is_unavailable_and_passes(store: ChdbStore) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # no file may grow beyond, which looks the same
    try:
        with pytest.raises(StoreUnavailable, match="could not write"):
            store.insert([], [call(input_messages=random.Random(1).randbytes(200_000).hex())])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    store.insert([], [call()])

    assert store.query("SELECT count() AS n FROM llm_requests") == [{"n": 1}]


def test_no_block_stays_beside_the_tables(store: ChdbStore) -> None:
    store.insert([span()], [call()])

    assert [path.name for path in store._path.glob("insert*")] == []


def test_whatever_may_have_changed_calls_is_another_generation(store: ChdbStore) -> None:
    before = call()
    seen = [store.generation]

    store.insert([], [before])
    seen.append(store.generation)
    store.correct([Correction(before, replace(before, cost_usd=Decimal(7)))], "run-1", 1)
    seen.append(store.generation)
    with pytest.raises(StoreError), mock.patch.object(ChdbStore, "_send", side_effect=RuntimeError):
        store.insert([], [call(span_id="2" * 16)])  # nobody knows whether it is stored
    seen.append(store.generation)

    assert len(set(seen)) == 4


def test_what_changes_no_call_is_no_other_generation(store: ChdbStore) -> None:
    before = store.generation

    store.insert([span()], [])
    store.query("SELECT 1")
    store.save_snapshot("{}", 1)

    assert store.generation == before


def test_every_code_has_the_name_that_the_engine_has_for_it(store: ChdbStore) -> None:
    codes = {**RETRYABLE, **MENDABLE, **_OTHER_NAMES}
    sql = "SELECT errorCodeToName(arrayJoin({codes:Array(String)})::Int32) AS name"

    names = [str(row["name"]) for row in store.query(sql, {"codes": [str(code) for code in sorted(codes)]})]

    assert names == [codes[code] for code in sorted(codes)]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("chdb:///./tokentrail-data", "tokentrail-data"),
        ("chdb:///../up/x", "../up/x"),
        ("chdb:///srv/data", "/srv/data"),
        ("chdb:////srv/data", "/srv/data"),
    ],
)
def test_a_store_url_names_a_directory(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


@pytest.mark.parametrize("url", ["chdb://data", "chdb:///", "clickhouse://h/x", "data", "chdb:///x?y=1", ""])
def test_other_urls_are_refused_with_what_is_expected(url: str) -> None:
    with pytest.raises(ValueError, match="expected chdb:///"):
        path_of(url)
