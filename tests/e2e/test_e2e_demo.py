"""`tokentrail demo` as a user runs it: real processes, a temporary store, free ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

Record = dict[str, object]


def _command(store: Path, *options: str) -> list[str]:
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    return [
        *(sys.executable, "-m", "tokentrail.backend", "demo", "--speed", "50", "--store", f"chdb://{store}"),
        *("--http", f"127.0.0.1:{ports[0]}", "--grpc", f"127.0.0.1:{ports[1]}", *options),
    ]


def _environment() -> Mapping[str, str]:
    left_out = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TOKENTRAIL_STORE")
    return {name: value for name, value in os.environ.items() if name not in left_out}


def _run(store: Path, *options: str) -> dict[str, list[Record]]:
    """Run the demo; its objects by what they are."""
    result = subprocess.run(
        _command(store, "--json", *options),
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
    objects: dict[str, list[Record]] = {}
    for line in result.stdout.splitlines():
        record = json.loads(line, parse_float=Decimal)
        objects.setdefault(record.pop("record"), []).append(record)
    return objects


def _sum(records: list[Record], field: str) -> Decimal:
    return sum((Decimal(str(record[field] or 0)) for record in records), Decimal(0))


def _check_agreement(objects: dict[str, list[Record]]) -> None:
    """Calls, totals and ledger agree, added up here once more."""
    calls, grand = objects["request"], objects["totals"][0]
    verdict = objects["check"][0]
    assert verdict["ok"] is True
    assert verdict["differences"] == []
    provider = verdict["provider"]
    assert isinstance(provider, dict)
    assert len(calls) == grand["requests"] == provider["calls"]
    for field in ("input_tokens", "output_tokens", "cache_read_tokens", "cost_usd"):
        assert _sum(calls, field) == grand[field]
        for by in ("model", "user", "session_path"):
            assert _sum(objects[f"totals_by_{by}"], field) == grand[field]
    for field in ("input_tokens", "output_tokens", "cache_read_tokens"):
        assert grand[field] == provider[field]
    assert sum(bool(call["error_type"]) for call in calls) == grand["errors"] == provider["errors"]


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Record]], dict[str, list[Record]]]:
    """Two runs into one store, with a provider that does not fail."""
    store = tmp_path_factory.mktemp("demo") / "data"
    return _run(store, "--faults", "0"), _run(store, "--faults", "0")


def test_the_calls_the_totals_and_the_ledger_agree_and_a_second_run_adds(
    two_runs: tuple[dict[str, list[Record]], dict[str, list[Record]]],
) -> None:
    first, second = two_runs

    for objects in (first, second):
        _check_agreement(objects)
    assert first["all_time_totals"][0]["requests"] == first["totals"][0]["requests"]
    assert second["all_time_totals"][0]["requests"] == 2 * Decimal(str(first["totals"][0]["requests"]))
    assert second["all_time_totals"][0]["cost_usd"] == 2 * Decimal(str(first["totals"][0]["cost_usd"]))


def test_the_calls_show_all_that_a_person_wants_to_see(
    two_runs: tuple[dict[str, list[Record]], dict[str, list[Record]]],
) -> None:
    calls = two_runs[0]["request"]

    assert 25 <= len(calls) <= 40
    assert Counter(call["operation"] for call in calls) == {"chat": len(calls) - 2, "embeddings": 2}
    assert {call["user_id"] for call in calls} == {"ada", "grace", "linus"}
    assert {call["service"] for call in calls} == {"tokentrail-demo"}
    assert {call["environment"] for call in calls} == {"demo"}
    paths = {call["session_path"] for call in calls}
    assert {"/summarize", "/summarize/extract", "/research/plan/search", "/chat", "/misfortune/abandoned"} <= paths
    streams = [call for call in calls if call["stream"]]
    assert len(streams) >= 10
    assert all(call["ttft_ms"] is not None for call in streams)
    assert [call["stream_exit"] for call in streams if call["session_path"] == "/misfortune/abandoned"] == ["abandoned"]
    assert any(call["reasoning_tokens"] for call in calls)
    assert any(call["cache_read_tokens"] for call in calls)
    assert any(call["cache_write_tokens"] for call in calls)
    assert {str(call["prompt_name"]) for call in calls} >= {"ticket-summary", "desk-chat", "research-plan"}
    # Only the model that does not exist and the abandoned stream have no price.
    unpriced = {str(call["session_path"]): call["pricing_status"] for call in calls if call["cost_usd"] is None}
    assert unpriced == {"/misfortune": "failed", "/misfortune/abandoned": "no_usage"}


def test_retries_and_broken_streams_are_counted_request_by_request(tmp_path: Path) -> None:
    objects = _run(tmp_path / "data")

    _check_agreement(objects)
    failed = Counter(str(call["provider"]) for call in objects["request"] if call["error_type"])
    assert failed["openai"] >= 2
    assert failed["anthropic"] >= 2
    assert any(call["retry_count"] for call in objects["request"])


def test_people_get_tables_the_check_and_the_addresses(tmp_path: Path) -> None:
    command = _command(tmp_path / "data", "--faults", "0")

    result = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=120, check=False)

    assert result.returncode == 0, result.stderr
    address = command[command.index("--http") + 1]
    for words in ("Totals by model", "Totals by user", "Totals by session path", "Check: OK", "All runs so far"):
        assert words in result.stdout
    assert f"http://{address}/metrics" in result.stdout
    assert command[command.index("--grpc") + 1] in result.stdout
    assert str(tmp_path / "data") in result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    command = _command(tmp_path / "data", "--keep", "--faults", "0")
    running = subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert running.stdout is not None
    deadline = time.monotonic() + 60
    for line in running.stdout:
        # In the middle of the application, with every child alive.
        if "/summarize" in line or time.monotonic() > deadline:
            break

    running.send_signal(number)
    running.stdout.read()
    code = running.wait(60)
    running.stdout.close()

    assert code == 128 + number
    address = command[command.index("--http") + 1]
    host, _, port = address.rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=1).close()
    assert str(tmp_path) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
