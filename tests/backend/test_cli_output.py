"""Tables and numbers for people."""

import io
import time
from decimal import Decimal

import pytest
from rich.console import Console

from tokentrail.backend.cli.output import (
    format_cost,
    format_count,
    format_duration,
    format_time,
    print_requests,
    print_totals,
)

ROW: dict[str, object] = {
    "time": "2026-01-01T12:00:00.123456789Z",
    "operation": "chat",
    "provider": "openai",
    "request_model": "gpt-x",
    "response_model": "gpt-x-2026-01-01",
    "input_tokens": 1234,
    "output_tokens": 50,
    "cost_usd": Decimal("0.000255"),
    "duration_ms": Decimal("1234.5"),
    "ttft_ms": 340,
    "user_id": "user-1",
    "session_path": "/summarize/extract",
    "status_code": 200,
    "error_type": "",
    "pricing_status": "priced",
}
TOTAL: dict[str, object] = {
    "model": "gpt-x",
    "requests": 1234,
    "errors": 2,
    "unpriced": 1,
    "input_tokens": 12_345_678,
    "output_tokens": None,
    "cache_read_tokens": 0,
    "cost_usd": Decimal("12.345678901"),
    "avg_duration_ms": 1234.5,
    "p95_duration_ms": 99_994.0,
    "avg_ttft_ms": None,
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def _console(width: int = 200) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width, highlight=False), out


def _printed(*rows: dict[str, object], width: int = 200) -> str:
    console, out = _console(width)
    print_requests(rows, console)
    return out.getvalue()


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (None, "-"),
        (Decimal(0), "$0.0000"),
        (Decimal("1E-12"), "$0.00000000000100"),
        (Decimal("0.000255"), "$0.000255"),
        (Decimal("0.00000123456"), "$0.00000123"),
        (0.5, "$0.500000"),
        (Decimal("12.345678901"), "$12.3457"),
        (1234567, "$1,234,567.0000"),
        (Decimal("-0.001"), "-$0.001000"),
    ],
)
def test_costs_never_look_like_nothing_when_they_are_something(usd: object, shown: str) -> None:
    assert format_cost(usd) == shown


@pytest.mark.parametrize(("count", "shown"), [(None, "-"), (0, "0"), (1234567, "1,234,567"), (Decimal(5), "5")])
def test_counts_have_their_thousands_set_off(count: object, shown: str) -> None:
    assert format_count(count) == shown


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (None, "-"),
        (0, "0.0 ms"),
        (Decimal("9.94"), "9.9 ms"),
        (412.4, "412 ms"),
        (999.6, "1.00 s"),
        (1234, "1.23 s"),
        (125_000, "2 min 5 s"),
    ],
)
def test_durations_come_in_a_fitting_unit(milliseconds: object, shown: str) -> None:
    assert format_duration(milliseconds) == shown


def test_times_are_shown_in_the_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    shown = format_time(ROW["time"])
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    assert shown == "2026-01-01 21:00:00"
    assert format_time(ROW["time"]) == "2026-01-01 12:00:00"


def test_a_call_is_one_line_with_everything_a_person_asks_for() -> None:
    lines = _printed(ROW).splitlines()

    titles = [cell.strip() for cell in lines[1].strip("┃").split("┃")]
    cells = [cell.strip() for cell in lines[3].strip("│").split("│")]
    assert dict(zip(titles, cells, strict=True)) == {
        "time": "2026-01-01 12:00:00",
        "operation": "chat",
        "provider": "openai",
        "model": "gpt-x",
        "input": "1,234",
        "output": "50",
        "cost": "$0.000255",
        "latency": "1.23 s",
        "TTFT": "340 ms",
        "user": "user-1",
        "session path": "/summarize/extract",
        "status": "ok",
    }


@pytest.mark.parametrize("width", [80, 100, 149, 150, 300])
def test_no_width_of_a_terminal_hides_a_field_or_cuts_a_number(width: int) -> None:
    text = _printed(ROW, width=width)

    shown = "".join(text.split())
    assert all(len(line) <= width for line in text.splitlines())
    for value in (
        "2026-01-01",
        "12:00:00",
        "chat",
        "openai",
        "gpt-x",
        "1,234",
        "$0.000255",
        "1.23s",
        "340ms",
        "user-1",
    ):
        assert value in shown, value
    assert "…" not in text


def test_a_call_without_a_price_says_so_and_why() -> None:
    unpriced = ROW | {"cost_usd": None, "pricing_status": "unknown_model"}
    failed = ROW | {"cost_usd": None, "pricing_status": "failed", "error_type": "timeout", "status_code": None}

    text = _printed(unpriced, ROW, unpriced, failed)

    assert text.splitlines()[-1] == "4 calls, 1 error, $0.000255, 3 without a price (2 unknown_model, 1 failed)"
    assert "│         - │" in text


def test_when_nothing_has_a_price_there_is_no_sum() -> None:
    text = _printed(ROW | {"cost_usd": None, "pricing_status": "self_hosted"})

    assert text.splitlines()[-1] == "1 call, 0 errors, -, 1 without a price (1 self_hosted)"


@pytest.mark.parametrize(
    ("code", "error", "shown"),
    [(429, "rate_limit", "429 rate_limit"), (500, "500", "500"), (None, "TimeoutError", "TimeoutError")],
)
def test_the_status_of_a_failed_call_names_its_error(code: int | None, error: str, shown: str) -> None:
    assert f"│ {shown}" in _printed(ROW | {"status_code": code, "error_type": error})


def test_what_a_client_sent_is_neither_markup_nor_terminal_code() -> None:
    text = _printed(ROW | {"user_id": "[bold]x[/bold]\x1b[2J\n\r", "request_model": "[/]", "error_type": "[red]"})

    assert "[bold]x[/bold]\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}" in text
    assert "\x1b" not in text
    assert "[/]" in text


def test_no_calls_are_told_as_such() -> None:
    assert _printed() == "No calls found.\n"


def test_totals_are_a_table_under_a_title() -> None:
    console, out = _console()

    print_totals("By [model]", "model", [TOTAL, TOTAL | {"model": "", "cost_usd": None}], console)

    lines = out.getvalue().splitlines()
    assert lines[0].strip() == "By [model]"
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert cells == [
        ["gpt-x", "1,234", "2", "1", "12,345,678", "-", "0", "$12.3457", "1.23 s", "99.99 s", "-"],
        ["-", "1,234", "2", "1", "12,345,678", "-", "0", "-", "1.23 s", "99.99 s", "-"],
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_totals_fit_narrow_terminals_without_cutting_a_number(width: int) -> None:
    console, out = _console(width)

    print_totals("By model", "model", [TOTAL], console)

    text = out.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    assert all(value in text for value in ("gpt-x", "1,234", "12,345,678", "$12.3457", "99.99 s"))
    assert "…" not in text
