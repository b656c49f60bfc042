"""`tokentrail serve` on a ClickHouse server: real processes, the real driver, one server that several of them share."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.backend_process import BackendProcess
from support.clickhouse_front import Front
from support.clickhouse_packets import ServerError
from support.otlp import body, span
from support.stores import front
from tokentrail.backend.config import ConfigError, read_config

SPANS = 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Front]:
    with front(tmp_path) as running:
        running.users = {"app": "hidden-secret"}
        yield running


@pytest.fixture
def sent() -> bytes:
    """Calls of now: those of ten minutes ago would be late."""
    return body(*(span() for _ in range(SPANS)))


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("hidden-secret\n")
    return file


def backend(server: Front, password: Path, name: str) -> BackendProcess:
    environment = {"TOKENTRAIL_STORE_PASSWORD_FILE": str(password), "TOKENTRAIL_INSTANCE": name}
    return BackendProcess(password.parent / name, environment, store=server.url(login="app@", options="?timeout=5"))


def test_what_two_backends_of_one_server_get_is_stored_once_and_counted_once(
    server: Front, password: Path, sent: bytes
) -> None:
    with backend(server, password, "one") as one, backend(server, password, "two") as two:
        assert one.post_traces(sent).status == 200
        assert two.post_traces(sent).status == 200

        assert len(one.requests()) == len(two.requests()) == SPANS
        counts = [each.metric("tokentrail_requests_total") for each in (one, two)]
        assert counts == [SPANS, 0]
        assert not (password.parent / "one").exists(), "no journal, no directory"


def test_counters_go_on_after_a_kill(server: Front, password: Path, sent: bytes) -> None:
    with backend(server, password, "one") as one:
        assert one.post_traces(sent).status == 200
        one.kill()
        one.start()

        assert one.metric("tokentrail_requests_total") == SPANS
        assert one.post_traces(sent).status == 200, "a sender that did not see the answer"
        assert one.metric("tokentrail_requests_total") == SPANS
        assert len(one.requests()) == SPANS


def test_a_server_that_goes_away_is_a_503_and_nothing_is_lost_or_doubled(
    server: Front, password: Path, sent: bytes
) -> None:
    with backend(server, password, "one") as one:
        server.stop()
        refused = one.post_traces(sent)
        ready = one.get("/readyz").status
        server.start()
        accepted = one.post_traces(sent)

        assert (refused.status, ready) == (503, 503)
        assert int(refused.headers["retry-after"]) >= 1
        assert accepted.status == 200
        assert len(one.requests()) == SPANS
        assert one.metric("tokentrail_requests_total") == SPANS


def test_an_insert_that_breaks_after_it_was_stored_is_not_made_again(
    server: Front, password: Path, sent: bytes
) -> None:
    def lost(sql: str) -> None:
        if sql.startswith("INSERT INTO llm_requests"):
            server.break_connections()

    with backend(server, password, "one") as one:
        with server.hook("stored", lost):
            assert one.post_traces(sent).status == 503
        assert one.post_traces(sent).status == 200

        assert len(one.requests()) == SPANS
        assert one.metric("tokentrail_requests_total") == SPANS


def test_with_a_journal_requests_are_taken_while_the_server_is_down(server: Front, password: Path, sent: bytes) -> None:
    one = backend(server, password, "one")
    one.environment = {**one.environment, "TOKENTRAIL_JOURNAL": str(password.parent / "journal")}
    with one:
        server.stop()
        assert one.post_traces(sent).status == 200
        server.start()

        deadline = time.monotonic() + 30
        while len(one.requests()) < SPANS and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(one.requests()) == SPANS


def test_a_start_that_fails_says_why_and_never_the_password(server: Front, password: Path) -> None:
    server.users = {"app": "another"}

    one = backend(server, password, "one")
    with pytest.raises(AssertionError, match="AUTHENTICATION_FAILED") as failure:
        one.start()
    one.kill()  # it is gone; what was read from it is closed

    assert "app@127.0.0.1" in str(failure.value)
    assert "hidden-secret" not in str(failure.value)
    assert "Traceback" not in str(failure.value)


def test_requests_are_read_from_the_server_directly(server: Front, password: Path, sent: bytes) -> None:
    with backend(server, password, "one") as one:
        assert one.post_traces(sent).status == 200
    command = [sys.executable, "-m", "tokentrail.backend", "requests", "--json"]
    environment = {**os.environ, "TOKENTRAIL_STORE_PASSWORD_FILE": str(password)}

    done = subprocess.run(
        [*command, "--store", server.url(login="app@"), "--since", "2000-01-01"],
        capture_output=True, text=True, timeout=60, env=environment, check=False,
    )  # fmt: skip
    refused = subprocess.run(
        [*command, "--store", server.url(login="app:hidden-wrong@")],
        capture_output=True, text=True, timeout=60, env=os.environ, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == SPANS
    assert refused.returncode != 0
    assert "AUTHENTICATION_FAILED" in refused.stderr
    assert "hidden" not in refused.stderr


def test_a_server_that_refuses_the_set_up_for_a_while_loses_nothing(server: Front, password: Path, sent: bytes) -> None:
    def denied(sql: str) -> None:
        raise ServerError(497, "app: Not enough privileges")

    with backend(server, password, "one") as one:
        with server.hook("data", denied):
            assert one.post_traces(sent).status == 503
        assert one.post_traces(sent).status == 200


def test_settings_of_a_server() -> None:
    config = read_config({"TOKENTRAIL_STORE": "clickhouse://app:secret@db/obs", "TOKENTRAIL_HTTP_ADDRESS": ""}, {})

    assert config.server is not None
    assert config.server.password == "secret"
    assert config.journal is None
    assert config.instance.endswith(":4318")


def test_settings_of_a_server_may_name_the_backend_and_its_journal(tmp_path: Path) -> None:
    environment = {
        "TOKENTRAIL_STORE": "clickhouse://db",
        "TOKENTRAIL_INSTANCE": "eu-1",
        "TOKENTRAIL_JOURNAL": str(tmp_path),
    }

    config = read_config(environment, {})

    assert (config.instance, config.journal) == ("eu-1", tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TOKENTRAIL_STORE", "clickhouse://app:hidden@db/x?clutser=a", "unknown option"),
        ("TOKENTRAIL_STORE_PASSWORD_FILE", "/nowhere/at-all", "cannot be read"),
        ("TOKENTRAIL_INSTANCE", "a b", "expected up to 100 letters"),
    ],
)
def test_a_setting_of_a_server_that_cannot_be_is_named(variable: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError) as failure:
        read_config({"TOKENTRAIL_STORE": "clickhouse://db", variable: value}, {})

    assert variable in str(failure.value)
    assert words in str(failure.value)
    assert "hidden" not in str(failure.value)
