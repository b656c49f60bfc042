"""`tokentrail cost reprice`, on a store without a backend and against a running one."""

import json
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.backend_process import BackendProcess
from support.calls import NOON_NS, call
from support.stores import fresh
from tokentrail.backend.__main__ import main
from tokentrail.backend.cli import cost_reprice
from tokentrail.backend.query import api, reprice
from tokentrail.backend.row import Row
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.semconv import pricing

PRICES = 'schema = 1\nprice = [ { provider = "acme", model = "one", input = "1", output = "1" } ]\n'
SINCE = ("--since", "2026-01-01", "--until", "2026-02-01")


def one(number: int, **changes: Any) -> Row:
    """A call of 1,000 tokens for 0.002 USD, which cost 0.001 by the file above."""
    fields: dict[str, Any] = {
        "span_id": f"{number:016x}",
        "time_ns": NOON_NS + number * 10**9,
        "provider": "acme",
        "request_model": "one",
        "response_model": "",
        "server_address": "",
        "input_tokens": 1000,
        "output_tokens": None,
        "cache_read_tokens": None,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
        "cost_usd": Decimal("0.002"),
        "cost_components": {"input": Decimal("0.002")},
        "cost_source": "user",
        "price_version": "prices.toml 1",
        "price_entry": "acme/one",
    }
    return call(**{**fields, **changes})


ROWS = (*(one(number) for number in range(1, 6)), one(6, cost_source="client"), one(7, request_model="gone"))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("TOKENTRAIL_ENDPOINT", "TOKENTRAIL_STORE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "prices.toml").write_text(PRICES)
    monkeypatch.setenv("TOKENTRAIL_PRICES", str(tmp_path / "prices.toml"))
    monkeypatch.chdir(tmp_path)
    yield
    pricing.use_price_file(None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    store = fresh(tmp_path / "store")
    store.insert([], ROWS)
    store.close()
    return tmp_path / "store"


def costs(data: Path) -> list[str]:
    store = ChdbStore(data)
    store.migrate()
    found = [str(row["CostUsd"]) for row in store.query("SELECT CostUsd FROM llm_requests ORDER BY Timestamp")]
    store.close()
    return found


BEFORE = ["0.002"] * 7
AFTER = [*["0.001"] * 5, "0.002", "0.002"]


def test_without_a_yes_it_only_shows(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "reprice", "--store", str(data), *SINCE]) == 0

    out, err = capsys.readouterr()
    assert "5 of 7 calls would cost something else: $0.010000 becomes $0.005000 (-$0.005000)" in out
    assert "kept: 1 call whose cost the provider or the sender stated" in out
    assert "kept: 1 call priced by a price file that is not in force here (--all" in out
    assert "prices.toml 1" in out
    assert "acme/one" in out
    assert "Nothing was changed: add --yes to change it." in err
    assert costs(data) == BEFORE


def test_with_a_yes_it_does_what_it_showed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "reprice", "--store", str(data), *SINCE, "--yes"]) == 0

    assert "Changed the cost of 5 calls" in capsys.readouterr().err
    assert costs(data) == AFTER

    assert main(["cost", "reprice", "--store", str(data), *SINCE, "--yes"]) == 0
    out, err = capsys.readouterr()
    assert "0 of 7 calls would cost something else" in out
    assert "Changed" not in err


@pytest.mark.parametrize(("typed", "expected"), [("y\n", AFTER), ("YES\n", AFTER), ("n\n", BEFORE), ("", BEFORE)])
def test_a_person_is_asked(
    data: Path, typed: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdin, "readline", lambda: typed)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    assert main(["cost", "reprice", "--store", str(data), *SINCE]) == 0

    assert "Change the cost of 5 calls? [y/N]" in capsys.readouterr().err
    assert costs(data) == expected


def test_json_has_the_changes_and_then_their_total(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "reprice", "--store", str(data), *SINCE, "--json"]) == 0

    lines = [json.loads(line, parse_float=Decimal) for line in capsys.readouterr().out.splitlines()]
    group, total = lines
    assert group == {
        "provider": "acme",
        "model": "one",
        "old_status": "priced",
        "old_source": "user",
        "old_entry": "acme/one",
        "old_version": "prices.toml 1",
        "new_status": "priced",
        "new_source": "user",
        "new_entry": "acme/one",
        "new_version": pricing.price_file_status().version,
        "calls": 5,
        "old_usd": Decimal("0.01"),
        "new_usd": Decimal("0.005"),
        "difference_usd": Decimal("-0.005"),
    }
    assert total == {
        "calls": 7,
        "changes": 5,
        "old_usd": Decimal("0.01"),
        "new_usd": Decimal("0.005"),
        "difference_usd": Decimal("-0.005"),
        "kept": {"price_file": 1, "reported": 1},
    }
    assert costs(data) == BEFORE


def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(reprice.Repricer):
        def __init__(self, store: Any, now_ns: Any, on_corrected: Any) -> None:
            super().__init__(store, now_ns, on_corrected, window_calls=2)

    monkeypatch.setattr(api, "Repricer", Small)


def test_many_windows_add_up_to_one_difference(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_windows(monkeypatch)

    assert main(["cost", "reprice", "--store", str(data), *SINCE, "--json", "--yes"]) == 0

    out, err = capsys.readouterr()
    group, total = (json.loads(line, parse_float=Decimal) for line in out.splitlines())
    assert (group["calls"], group["difference_usd"]) == (5, Decimal("-0.005"))
    assert (total["calls"], total["changes"]) == (7, 5)
    assert "Changed the cost of 5 calls" in err
    assert costs(data) == AFTER


def test_a_window_that_changed_meanwhile_is_left_and_told(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_windows(monkeypatch)
    show = cost_reprice._print_table

    def and_then_one_comes_late(difference: cost_reprice._Difference) -> None:
        show(difference)
        store = ChdbStore(data)
        store.migrate()
        store.insert([], [one(1, trace_id="f" * 32)])
        store.close()

    monkeypatch.setattr(cost_reprice, "_print_table", and_then_one_comes_late)

    assert main(["cost", "reprice", "--store", str(data), *SINCE, "--yes"]) == 1

    err = capsys.readouterr().err
    assert "Changed the cost of 3 calls" in err
    assert "Left as they were: 2 calls. Other calls would change now than when this was shown" in err
    assert "Run the command again" in err
    assert costs(data) == [*["0.002"] * 3, *AFTER[2:]]


def test_a_running_backend_does_it_by_its_own_price_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with BackendProcess(data, {"TOKENTRAIL_PRICES": str(tmp_path / "prices.toml")}) as backend:
        monkeypatch.setenv("TOKENTRAIL_PRICES", "/not/needed/here")

        assert main(["cost", "reprice", "--endpoint", backend.http, *SINCE, "--yes"]) == 0

        assert "Changed the cost of 5 calls" in capsys.readouterr().err
        assert sorted(str(row["cost_usd"]) for row in backend.requests()) == sorted(AFTER)
        assert backend.metric("tokentrail_corrected_requests_total") == 5
        assert backend.terminate() == 0


def test_a_backend_whose_price_file_has_errors_by_now_says_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "prices.toml"
    with BackendProcess(data, {"TOKENTRAIL_PRICES": str(prices)}) as backend:
        prices.write_text(PRICES.replace("input", "inputs"))
        for _ in range(100):  # it looks every two seconds
            time.sleep(0.05)
            assert main(["cost", "reprice", "--endpoint", backend.http, *SINCE]) == 0
            if err := capsys.readouterr().err.partition("Nothing was changed")[0]:
                break

    assert "the prices of before are in force: prices.toml, line 2: 'inputs' is not known here" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--since is missing"),
        (("--since", "soon"), "since is 'soon': expected a time"),
        (("--since", "1h", "--property", "x"), "expected KEY=VALUE"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    data: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", "reprice", "--store", str(data), *arguments]) == 1

    assert words in capsys.readouterr().err


def test_a_price_file_with_errors_is_not_used_for_repricing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prices.toml").write_text(PRICES.replace('"1"', '"x"', 1))

    assert main(["cost", "reprice", "--store", str(data), *SINCE, "--yes"]) == 1

    err = capsys.readouterr().err
    assert "prices.toml" in err
    assert "line 2" in err
    assert costs(data) == BEFORE


def test_a_backend_under_a_name_that_it_does_not_answer_to_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokentrail.backend.cli import ask

    assert ask._refusal("http://backend.internal", 403, b"The Host header of this request is no name") == (
        "http://backend.internal refused: The Host header of this request is no name"
    )
