"""The comparison at the end of the demo, its child processes and its messages."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tokentrail.backend.__main__ import main
from tokentrail.backend.cli import demo
from tokentrail.backend.demo import check, process
from tokentrail.backend.demo.backend import Found, probe

ROWS: list[check.Record] = [
    {"input_tokens": 10, "output_tokens": 3, "cost_usd": Decimal("0.1"), "request_id": "a", "error_type": ""},
    {"input_tokens": None, "output_tokens": None, "cost_usd": None, "request_id": "x", "error_type": "429"},
    {"input_tokens": 5, "output_tokens": 2, "cost_usd": Decimal("0.2"), "request_id": "b", "reasoning_tokens": 1},
]


def test_figures_of_calls_are_their_exact_sums() -> None:
    figures = check.of_rows(ROWS)

    assert figures == check.Figures(3, 1, 15, 5, 0, 1, Decimal("0.3"))


def test_equal_figures_have_no_differences_even_where_one_side_knows_less() -> None:
    ledger = check.of_ledger(
        [
            {"outcome": "sent", "input_tokens": 15, "output_tokens": 5, "reasoning_tokens": 1, "cached_tokens": 0},
            {"outcome": "error"},
            {"outcome": "cut"},
        ]
    )

    assert check.differences("rows", check.of_rows(ROWS), "ledger", ledger) == []


def test_what_was_sent_after_the_application_had_left_is_not_compared() -> None:
    sent = {"outcome": "sent", "input_tokens": 7, "output_tokens": 44, "cached_tokens": 0, "error": ""}
    entries: list[check.Record] = [
        {"request_id": "a", **sent},
        {"request_id": "b", **sent},
        {"request_id": "c", **sent},
    ]
    rows: list[check.Record] = [
        {"request_id": "a", "stream_exit": "abandoned", "input_tokens": None},
        {"request_id": "b", "stream_exit": "abandoned", "input_tokens": 6},
        {"request_id": "c", "stream_exit": "complete", "input_tokens": None},
    ]

    known = check.heard(entries, rows)

    assert known == [{"request_id": "a", "outcome": "sent", "error": ""}, *entries[1:]]
    assert len(check.suspects(rows, known)) == 4


def test_a_difference_names_the_figure_and_both_witnesses() -> None:
    totals = check.of_totals([{"requests": 3, "errors": 1, "input_tokens": 16, "output_tokens": 5, "cost_usd": "0.3"}])

    found = check.differences("the calls", check.of_rows(ROWS), "the total", totals)

    assert found == ["input tokens: 15 by the calls, 16 by the total"]


def test_requests_that_differ_are_named_by_their_id() -> None:
    entries: list[check.Record] = [
        {"request_id": "a", "model": "m", "error": "", "input_tokens": 10, "output_tokens": 4},
        {"request_id": "b", "model": "m", "error": "", "input_tokens": 5, "output_tokens": 2, "reasoning_tokens": 1},
        {"request_id": "c", "model": "m", "error": "overloaded_error"},
        {"request_id": "x", "model": "m", "error": "requests"},
    ]

    assert check.suspects(ROWS, entries) == [
        "request a (m, no error): output tokens 3 in the call, 4 sent",
        "request c (m, overloaded_error) reached the provider, no call has it",
    ]


def test_headers_that_reach_the_provider_are_told() -> None:
    assert check.leaks([{"tagged_headers": []}]) == []
    assert "helicone-user-id" in check.leaks([{"tagged_headers": ["helicone-user-id"]}])[0]


def test_the_application_inherits_no_other_telemetry_destination() -> None:
    outer = {
        "PATH": "/bin",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://elsewhere",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
        "NO_PROXY": "internal",
    }

    environ = process.environment(outer, endpoint="http://127.0.0.1:1", provider="http://127.0.0.1:2", run="r")

    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" not in environ
    assert "OTEL_TRACES_EXPORTER" not in environ
    assert environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] == "SPAN_ONLY"
    assert environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:1"
    assert environ["OTEL_SERVICE_NAME"] == "tokentrail-demo"
    assert environ["NO_PROXY"] == "internal,127.0.0.1,localhost"
    assert environ["PATH"] == "/bin"


def test_a_child_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_TIMEOUT_S", 0.2)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    child.stdout.readline()

    process.stop(child)

    child.stdout.close()
    assert child.returncode == -9


@contextmanager
def _listening(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "found"), [(200, Found.STRANGER), (404, Found.STRANGER), (503, Found.BUSY)])
def test_what_listens_is_told_apart_from_a_backend(status: int, found: Found) -> None:
    with _listening(status) as address:
        assert probe(f"http://{address}") is found


def test_nothing_listens_once_the_server_is_gone() -> None:
    with _listening(200) as address:
        pass

    assert probe(f"http://{address}") is Found.NOTHING


def test_a_port_in_use_by_something_else_is_said_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    with _listening(404) as address:
        code = main(["demo", "--http", address])

    captured = capsys.readouterr()
    assert code == 1
    assert address in captured.err
    assert "--http" in captured.err
    assert "--grpc" in captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--speed", "0"], "speed is 0"),
        (["--faults", "2"], "fault_rate is 2"),
        (["--http", "0.0.0.0:4318"], "TOKENTRAIL_HTTP_ADDRESS"),
        (["--store", "mysql://x"], "TOKENTRAIL_STORE"),
    ],
)
def test_wrong_settings_are_named(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["demo", *arguments])

    assert code == 1
    assert words in capsys.readouterr().err


def test_missing_sdks_are_said_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)

    code = main(["demo"])

    assert code == 1
    assert 'pip install "tokentrail[backend,demo]"' in capsys.readouterr().err


def test_the_application_says_what_it_needs_when_it_is_run_alone() -> None:
    result = subprocess.run(
        [sys.executable, str(process.APPLICATION)],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "OPENAI_API_KEY" in result.stderr
    assert "TOKENTRAIL_DEMO_PROVIDER" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_application_is_where_the_examples_point() -> None:
    readme = Path(__file__).parents[2] / "examples" / "README.md"

    assert process.APPLICATION.is_file()
    assert "backend/tokentrail/backend/demo/app.py" in readme.read_text()
