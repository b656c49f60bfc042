"""`tokentrail requests`, from a running backend and from the store."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from support.calls import NOON_NS, call
from tokentrail.backend.__main__ import main
from tokentrail.backend.access.caller import ANYONE
from tokentrail.backend.cli.ask import DEFAULT_ENDPOINT, DEFAULT_STORE, Place, place
from tokentrail.backend.query.api import Api
from tokentrail.backend.store.chdb import ChdbStore

ROWS = (
    call(span_id="1" * 16, session_path="/plan", properties={"Feature": "x=y"}),
    call(
        span_id="2" * 16,
        time_ns=NOON_NS + 10**9,
        user_id="user-2",
        cost_usd=None,
        cost_components={},
        pricing_status="unknown_model",
    ),
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOKENTRAIL_ENDPOINT", "TOKENTRAIL_STORE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "store"
    store = ChdbStore(path)
    store.migrate()
    store.insert([], ROWS)
    store.close()
    return path


@pytest.fixture
def served(data: Path) -> Iterator[str]:
    """A backend that serves the store's API and nothing else."""
    store = ChdbStore(data)
    store.migrate()
    api = Api(store)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            response = api.handle(url.path, dict(parse_qsl(url.query, keep_blank_values=True)), ANYONE)
            self.send_response(response.status)
            self.send_header("content-type", response.content_type)
            self.send_header("content-length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
    store.close()


def _json(text: str) -> list[dict[str, object]]:
    return [json.loads(line, parse_float=Decimal) for line in text.splitlines()]


def test_a_running_backend_is_asked_over_http(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["requests", "--endpoint", served, "--json"]) == 0

    rows = _json(capsys.readouterr().out)
    assert [row["span_id"] for row in rows] == ["2" * 16, "1" * 16]
    assert rows[1]["cost_usd"] == Decimal("0.000255000001")


def test_the_endpoint_may_come_from_the_environment(
    served: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENTRAIL_ENDPOINT", f"{served}/")

    assert main(["requests", "--json", "--limit", "1"]) == 0
    assert len(_json(capsys.readouterr().out)) == 1


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    served: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert main(["requests", "--endpoint", served, "--json"]) == 0
    assert len(_json(capsys.readouterr().out)) == 2


def test_people_get_a_table(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["requests", "--endpoint", served]) == 0

    out = capsys.readouterr().out
    assert "2026-01-01 12:00:00 │ chat" in out
    assert "$0.000255000001"[:9] in out
    assert "/plan" in out
    assert "2 calls, 0 errors" in out
    assert "1 without a price (1 unknown_model)" in out


@pytest.mark.parametrize(
    ("options", "spans"),
    [
        (["--user", "user-2"], "2"),
        (["--user", "nobody"], ""),
        (["--session", "session-1"], "21"),
        (["--session-path", "/plan"], "1"),
        (["--model", "gpt-x"], "21"),
        (["--provider", "anthropic"], ""),
        (["--operation", "chat"], "21"),
        (["--service", "shop"], "21"),
        (["--environment", "dev"], ""),
        (["--status", "error"], ""),
        (["--trace-id", ROWS[0].trace_id], "21"),
        (["--since", "2026-01-01T12:00:01Z"], "2"),
        (["--until", "2026-01-01T12:00:01Z"], "1"),
        (["--limit", "1"], "2"),
        (["--property", "Feature=x=y"], "1"),
        (["--property", "Feature=x=y", "--property", "Feature2="], "1"),
        (["--user", "user-2", "--session-path", "/plan"], ""),
        (["--user", "' OR 1=1 --"], ""),
    ],
    ids=str,
)
def test_every_filter_reaches_the_backend(
    served: str, options: list[str], spans: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["requests", "--endpoint", served, "--json", *options]) == 0

    assert "".join(str(row["span_id"])[0] for row in _json(capsys.readouterr().out)) == spans


def test_content_is_printed_on_request(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["requests", "--endpoint", served, "--json", "--limit", "1", "--content"]) == 0

    assert _json(capsys.readouterr().out)[0]["input_messages"] == '[{"role":"user"}]'


@pytest.mark.parametrize("form", ["{}", "chdb://{}"])
def test_a_store_is_read_without_a_backend(data: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["requests", "--store", form.format(data), "--json"]) == 0

    captured = capsys.readouterr()
    assert len(_json(captured.out)) == 2
    assert captured.err == ""


def test_both_ways_give_the_same_answer(served: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["requests", "--endpoint", served, "--json"])
    over_http = capsys.readouterr().out

    main(["requests", "--store", str(data), "--json"])

    assert capsys.readouterr().out == over_http


def test_the_store_is_read_when_no_backend_runs(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tokentrail.backend.cli.ask.DEFAULT_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("TOKENTRAIL_STORE", f"chdb://{data}")

    assert main(["requests", "--json"]) == 0

    captured = capsys.readouterr()
    assert len(_json(captured.out)) == 2
    assert captured.err == f"No backend runs at http://127.0.0.1:9: read chdb://{data} directly.\n"


@pytest.mark.parametrize(
    ("endpoint", "store", "environment", "expected"),
    [
        (None, None, {}, Place(DEFAULT_ENDPOINT, DEFAULT_STORE)),
        (None, None, {"TOKENTRAIL_STORE": "chdb:///x"}, Place(DEFAULT_ENDPOINT, "chdb:///x")),
        (None, None, {"TOKENTRAIL_ENDPOINT": "http://e", "TOKENTRAIL_STORE": "chdb:///x"}, Place("http://e", None)),
        ("http://o", None, {"TOKENTRAIL_ENDPOINT": "http://e"}, Place("http://o", None)),
        (None, "./data", {"TOKENTRAIL_ENDPOINT": "http://e"}, Place(None, "./data")),
        ("http://o", "./data", {}, Place("http://o", "./data")),
    ],
)
def test_who_names_a_place_gets_its_answer_or_none(
    endpoint: str | None, store: str | None, environment: dict[str, str], expected: Place
) -> None:
    assert place(endpoint, store, environment) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--endpoint", "http://127.0.0.1:9"], r"No backend answers at http://127.0.0.1:9"),
        (["--endpoint", "localhost:4318"], "is no address: expected something like http://127.0.0.1:4318"),
        (["--endpoint", "file:///etc/passwd"], "is no address"),
        (["--store", "./nowhere"], "There is no store at nowhere"),
        (["--store", "clickhouse://127.0.0.1:9/db"], "cannot be read"),
        (["--store", "redis://host"], "expected chdb:///"),
        (["--store", "{data}", "--limit", "0"], "limit is '0': expected a number from 1 to 10000"),
        (["--store", "{data}", "--since", "yesterday"], "since is 'yesterday': expected a time in ISO 8601"),
        (["--store", "{data}", "--property", "Feature"], "expected KEY=VALUE"),
        (["--store", "{data}", "--property", "=x"], "expected KEY=VALUE"),
    ],
    ids=str,
)
def test_without_an_answer_the_message_says_what_to_do(
    data: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["requests", *(option.format(data=data) for option in options)]) == 1

    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("tokentrail requests: ")
    assert captured.out == ""


def test_a_bad_value_is_refused_by_the_backend_in_the_same_words(
    served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["requests", "--endpoint", served, "--limit", "0"]) == 1
    assert "limit is '0': expected a number from 1 to 10000" in capsys.readouterr().err


def test_something_else_at_the_endpoint_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        code = main(["requests", "--endpoint", f"http://127.0.0.1:{server.server_address[1]}"])
        server.shutdown()
        thread.join()

    assert code == 1
    assert "answered 404: is that a Tokentrail backend?" in capsys.readouterr().err


def test_a_store_in_use_by_another_process_is_told(served: str, data: Path) -> None:
    command = [sys.executable, "-m", "tokentrail.backend", "requests", "--store", str(data)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert f"Another Tokentrail (process {os.getpid()}) is using {data}" in done.stderr
    assert "Traceback" not in done.stderr
