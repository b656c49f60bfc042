"""`tokentrail cost`: what was spent, what has no price, and the way to `reprice`."""

import argparse
import io
import json
import subprocess
import sys
import time
import tomllib
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from support.calls import NOON_NS, call
from tokentrail.backend.__main__ import main
from tokentrail.backend.cli import cost as command
from tokentrail.backend.cli.cost_output import print_cost, print_unpriced
from tokentrail.backend.query import sql
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.semconv.cost import COMPONENTS
from tokentrail.semconv.pricing import Source
from tokentrail.semconv.pricing.tables.price_file import read_price_file

ROWS = (
    call(span_id="1" * 16, pricing_assumptions=(), time_ns=NOON_NS),
    call(
        span_id="2" * 16,
        user_id="user-2",
        request_model="gpt-y",
        cost_usd=Decimal("0.75"),
        cost_components={
            "input": Decimal("0.25"),
            "cache_read": Decimal("0.05"),
            "cache_write": Decimal("0.1"),
            "output": Decimal("0.2"),
            "reasoning": Decimal("0.1"),
            "requests": Decimal("0.05"),
        },
        pricing_assumptions=("ttl_5m_assumed",),
    ),
    call(
        span_id="3" * 16,
        user_id="user-2",
        request_model="gpt-z",
        cost_usd=Decimal("0.25"),
        cost_components={},
        cost_source="client",
        pricing_assumptions=(),
    ),
    call(
        span_id="4" * 16,
        request_model="own [bold]",
        response_model="",
        server_address="llm.internal",
        cost_usd=None,
        cost_components={},
        pricing_status="self_hosted",
        cache_read_tokens=None,
        cache_write_tokens=None,
    ),
    call(span_id="5" * 16, cost_usd=None, cost_components={}, pricing_status="failed", error_type="timeout"),
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOKENTRAIL_ENDPOINT", "TOKENTRAIL_STORE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("cli-cost") / "store"
    store = ChdbStore(path)
    store.migrate()
    store.insert([], ROWS)
    store.close()
    return str(path)


def _cells(out: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line[:1] == "│"]


def _json(out: str) -> list[dict[str, object]]:
    return [json.loads(line, parse_float=Decimal) for line in out.splitlines()]


def test_what_was_spent_is_shown_by_model_with_its_parts(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--store", data]) == 0

    assert ["|".join(row) for row in _cells(capsys.readouterr().out)] == [
        # model, calls, unpriced, tokens in, out, input, cache, output, reasoning, other, cost, share, per call
        "gpt-y|1|0|1,000|50|$0.250000|$0.150000|$0.200000|$0.100000|$0.050000|$0.750000|75.0 %|$0.750000",
        "gpt-z|1|0|1,000|50|-|-|-|-|$0.250000|$0.250000|25.0 %|$0.250000",
        "gpt-x|2|0|2,000|100|$0.0000750|-|$0.000180|-|-|$0.000255|0.0 %|$0.000255",
        "own [bold]|1|1|1,000|50|-|-|-|-|-|-|-|-",
        "total|5|1|5,000|250|$0.250075|$0.150000|$0.200180|$0.100000|$0.300000|$1.0003|100.0 %|$0.333418",
    ]


def test_it_is_said_how_much_was_reported_assumed_or_left_out(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--store", data]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[-4:] == [
        "Exactly $1.000255000001: input $0.250075000001, cache reads $0.05, cache writes $0.1, output $0.20018, "
        "reasoning $0.1, requests $0.05, not divided $0.25.",
        "Known from: $0.250000 by the senders' own figures, computed nobody knows how, $0.750255 by list prices.",
        "With something assumed: $0.750000 (ttl_5m_assumed $0.750000).",
        "1 call has no price and no part in this: tokentrail cost --unpriced",
    ]


def test_where_everything_is_by_the_lists_nothing_is_said_of_it(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--store", data, "--model", "gpt-x"]) == 0

    assert (
        capsys.readouterr().out.splitlines()[-1] == "Exactly $0.000255000001: input $0.000075000001, output $0.00018."
    )


def test_the_total_is_that_of_all_groups_where_there_are_too_many_to_show(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sql, "MAX_GROUPS", 2)
    monkeypatch.setattr(command, "MAX_GROUPS", 2)

    assert main(["cost", "--store", data]) == 0

    out = capsys.readouterr().out
    assert [row[0] for row in _cells(out)] == ["gpt-y", "gpt-z", "total"]
    assert "Only the 2 dearest are shown, the total is that of all." in out
    assert "Exactly $1.000255000001: " in out


@pytest.mark.parametrize("by", ["user", "property.feature"])
def test_any_group_of_totals_can_be_asked_for(data: str, by: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--store", data, "--by", by]) == 0

    out = capsys.readouterr().out
    assert by in out
    assert _cells(out)[0][0] == {"user": "user-2", "property.feature": "summary"}[by]


def test_json_is_the_answer_of_the_api_with_every_digit(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--store", data, "--json", "--by", "user"]) == 0

    rows = _json(capsys.readouterr().out)
    assert [(row["user"], row["cost_usd"]) for row in rows] == [
        ("user-2", Decimal(1)),
        ("user-1", Decimal("0.000255000001")),
    ]


def test_the_filters_of_requests_hold(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--user", "user-2", "--since", "2025-12-31", "--property", "Feature=summary", "--status", "ok"]
    assert main(["cost", "--store", data, "--json", *options, "--model", "gpt-z"]) == 0

    (row,) = _json(capsys.readouterr().out)
    assert (row["model"], row["requests"]) == ("gpt-z", 1)


def test_no_calls_are_told_as_such(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--store", data, "--user", "nobody"]) == 0
    assert capsys.readouterr().out == "No calls found.\n"

    assert main(["cost", "--store", data, "--user", "user-2", "--unpriced"]) == 0
    assert capsys.readouterr().out == "Every call has a price.\n"


def test_what_has_no_price_is_listed_with_a_price_file_to_fill_in(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", "--store", data, "--unpriced"]) == 0

    out = capsys.readouterr().out
    assert _cells(out) == [
        ["self_hosted", "openai", "own [bold]", "llm.internal", "1", "1,000", "50", *["2026-01-01 12:00:00"] * 2]
    ]
    assert "self_hosted: only you know what your own servers cost" in out
    pasted = out[out.index("schema = 1") :].replace('""', '"0.5"')
    (entry,) = read_price_file(pasted.encode(), "pasted", Source.USER).entries
    assert (entry.server, entry.model) == ("llm.internal", "own [[]bold]")


def test_failed_calls_are_listed_on_request(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--store", data, "--unpriced", "--failed", "--json"]) == 0

    assert [row["reason"] for row in _json(capsys.readouterr().out)] == ["failed", "self_hosted"]


@pytest.mark.parametrize("width", [80, 100, 149])
def test_narrow_terminals_cut_no_number_and_no_line_to_paste(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    total: dict[str, object] = {
        "model": "a-model-with-a-rather-long-name-2026-01-01",
        "requests": 1_234_567,
        "priced": 1_234_000,
        "unpriced": 567,
        "input_tokens": 12_345_678_901,
        "output_tokens": 345_678_901,
        "cost_usd": Decimal("12345.678901"),
        "cost_components": {"input": Decimal("12345.678901")},
        "cost_sources": {"genai-prices": Decimal("12345.678901")},
        "assumed_cost_usd": None,
        "cost_assumptions": {},
    }
    gap = {
        "reason": "unknown_provider",
        "provider": "a-provider-nobody-knows",
        "model": "a-model-with-a-rather-long-name-2026-01-01",
        "server_address": "a-server.with-a-rather-long-name.internal",
        "requests": 1_234_567,
        "input_tokens": 12_345_678_901,
        "output_tokens": None,
        "first": "2026-01-01T12:00:00.1Z",
        "last": "2026-01-02T12:00:00.1Z",
        "price_file_line": '{ provider = "p", model = "' + "m" * 100 + '", input = "", output = "" },  # USD',
        "advice": "do this",
    }

    print_cost("model", [total], console)
    print_unpriced([gap], console)

    text = out.getvalue()
    assert "…" not in text
    for value in ("1,234,567", "12,345,678,901", "345,678,901", "$12,345.6789", "100.0 %", "2026-01-02 12:00:00"):
        assert value in text, value
    assert f"  {gap['price_file_line']}\n" in text
    shown = "".join(text.split())
    assert "a-model-with-a-rather-long-name-2026-01-01"[:8] in shown


def test_a_line_for_a_whole_server_stands_behind_all_others_and_none_stands_twice() -> None:
    out = io.StringIO()
    row: dict[str, object] = {
        "reason": "self_hosted",
        "requests": 1,
        "first": "2026-01-01T12:00:00Z",
        "last": "2026-01-01T12:00:00Z",
        "advice": "do this",
    }
    wide = row | {"model": "", "price_file_line": '{ server = "s", input = "" },'}
    one = row | {"model": "m", "price_file_line": '{ server = "s", model = "m", input = "" },'}

    print_unpriced([wide, one, one, row | {"price_file_line": None}], Console(file=out, width=200))

    text = out.getvalue()
    lines = tomllib.loads(text[text.index("schema") :])["price"]
    assert [line.get("model") for line in lines] == ["m", None]
    assert text.count("self_hosted: do this.") == 1


def test_what_a_client_sent_moves_no_cursor() -> None:
    out = io.StringIO()
    row: dict[str, object] = {
        "model": "\x1b[2Jx",
        "requests": 1,
        "cost_usd": Decimal(1),
        "cost_sources": {"\x1b[2J": Decimal(1)},
        "assumed_cost_usd": Decimal(1),
        "cost_assumptions": {"\x1b[2J": Decimal(1)},
    }

    print_cost("model", [row], Console(file=out, width=200))

    assert "\x1b" not in out.getvalue()


def test_every_component_has_words() -> None:
    out = io.StringIO()
    parts = {component: Decimal(1) for component in COMPONENTS}
    row: dict[str, object] = {"model": "m", "requests": 1, "cost_usd": Decimal(6), "cost_components": parts}

    print_cost("model", [row], Console(file=out, width=200))

    assert "not divided" not in out.getvalue()
    assert out.getvalue().splitlines()[-1].count(" $1") == len(COMPONENTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "colour"], "totals cannot be made by 'colour': expected one of user, session"),
        (["--failed"], "--failed goes with --unpriced"),
        (["--unpriced", "--by", "user"], "--by does not go with --unpriced"),
        (["--property", "x"], "expected KEY=VALUE"),
        (["--since", "yesterday"], "since is 'yesterday': expected a time in ISO 8601"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_says_what_would_be_right(
    data: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", "--store", data, *options]) == 1

    captured = capsys.readouterr()
    assert captured.err.startswith("tokentrail cost: ")
    assert message in captured.err
    assert captured.out == ""


class _Reprice(ModuleType):
    """Stands in for the subcommand."""

    def __init__(self) -> None:
        super().__init__("reprice")
        self.given: argparse.Namespace | None = None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--since", required=True)
        parser.add_argument("--yes", action="store_true")

    def run(self, args: argparse.Namespace) -> int:
        self.given = args
        return 7


@pytest.fixture
def reprice(monkeypatch: pytest.MonkeyPatch) -> _Reprice:
    module = _Reprice()
    monkeypatch.setitem(sys.modules, command._REPRICE_MODULE, module)
    return module


def test_reprice_is_a_command_of_its_own(reprice: _Reprice) -> None:
    assert main(["cost", "reprice", "--since", "2026-10-01", "--yes"]) == 7

    assert reprice.given is not None
    assert (reprice.given.since, reprice.given.yes) == ("2026-10-01", True)


def test_reprice_tells_its_own_options(reprice: _Reprice, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["cost", "reprice", "--help"])

    assert caught.value.code == 0
    assert "--yes" in capsys.readouterr().out


def test_a_filter_before_reprice_is_refused_and_not_silently_dropped(
    reprice: _Reprice, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["cost", "--session-path", "/x", "reprice", "--since", "2026-10-01"])

    assert caught.value.code == 2
    assert "options of reprice go behind it: tokentrail cost reprice --session-path" in capsys.readouterr().err
    assert reprice.given is None


def test_an_unknown_subcommand_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["cost", "gpt-4o"])

    assert caught.value.code == 2
    assert "reprice" in capsys.readouterr().err


def test_help_loads_neither_the_engine_nor_reprice() -> None:
    code = f"""
import sys
from tokentrail.backend.__main__ import main
try:
    main(["cost", "--help"])
except SystemExit:
    pass
print(sorted({{"chdb", "rich", "genai_prices", {command._REPRICE_MODULE!r}}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stderr == "[]\n"
    assert "reprice" in done.stdout
