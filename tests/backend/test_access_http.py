"""Who gets in, over both transports: every path with every role, in real processes, and nothing of a key in any log."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest
from google.rpc import status_pb2  # type: ignore[import-untyped]  # it has no py.typed
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from support import otlp
from support.backend_process import EXPORT, Answer, BackendProcess, http_request, samples
from tokentrail.backend.__main__ import main
from tokentrail.backend.access.caller import Role
from tokentrail.backend.access.key import new_key
from tokentrail.backend.access.key_file import add_key, remove_key

PROTOBUF = {"content-type": "application/x-protobuf"}
LOGS = EXPORT.replace("trace", "logs").replace("TraceService", "LogsService")
KEYS = {
    "ingest a": (Role.INGEST, "a"),
    "ingest b": (Role.INGEST, "b"),
    "read a": (Role.READ, "a"),
    "read b": (Role.READ, "b"),
    "read *": (Role.READ, "*"),
    "admin a": (Role.ADMIN, "a"),
    "admin *": (Role.ADMIN, "*"),
}


def make_key(path: Path, name: str, role: Role, project: str) -> str:
    key, text = new_key(name.replace(" ", "-").replace("*", "all"), role, project, datetime.now(UTC))
    add_key(path, key)
    return text


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.toml"


@pytest.fixture(scope="module")
def keys(key_file: Path) -> dict[str, str]:
    return {name: make_key(key_file, name, *what) for name, what in KEYS.items()}


@pytest.fixture(scope="module")
def backend(
    tmp_path_factory: pytest.TempPathFactory, key_file: Path, keys: Mapping[str, str]
) -> Iterator[BackendProcess]:
    environment = {"TOKENTRAIL_KEYS": str(key_file), "TOKENTRAIL_JOURNAL": ""}
    with BackendProcess(tmp_path_factory.mktemp("access") / "data", environment) as process:
        yield process
        errors = process.errors()
        assert process.terminate() == 0
        assert not [key for key in keys.values() if key.split("_")[2] in errors]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def basic(key: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"grafana:{key}".encode()).decode()}


def ask(backend: BackendProcess, method: str, path: str, headers: Mapping[str, str]) -> Answer:
    if method == "POST" and path.startswith("/v1/"):
        return http_request(backend.http + path, otlp.body(), {**PROTOBUF, **headers})
    return http_request(backend.http + path, None, {"tokentrail-confirm": "reprice", **headers}, method)


def send_over_grpc(backend: BackendProcess, key: str | None, body: bytes, method: str = EXPORT) -> grpc.StatusCode:
    metadata = () if key is None else (("authorization", f"Bearer {key}"),)
    with grpc.insecure_channel(backend.grpc) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        try:
            call(body, timeout=20, metadata=metadata)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


# Every path, every role ------------------------------------------------------------------------------------------

READS = ["/api/requests", "/api/totals", "/api/unpriced", "/api/reprice?since=1h", "/api/alerts", "/api/nothing"]
READERS = {"read a", "read b", "read *", "admin a", "admin *"}
MATRIX = [
    *(("GET", path, READERS) for path in READS),
    ("POST", "/api/reprice", {"admin a", "admin *"}),
    ("POST", "/v1/traces", {"ingest a", "ingest b", "admin a", "admin *"}),
    ("GET", "/metrics", {"read *", "admin *"}),
    ("GET", "/nothing", READERS),
    ("DELETE", "/api/totals", {"admin a", "admin *"}),
]


@pytest.mark.parametrize(("method", "path", "allowed"), MATRIX, ids=[f"{method} {path}" for method, path, _ in MATRIX])
def test_a_path_answers_to_the_roles_that_may(
    backend: BackendProcess, keys: Mapping[str, str], method: str, path: str, allowed: set[str]
) -> None:
    for name, key in keys.items():
        answers = {ask(backend, method, path, header(key)).status for header in (bearer, basic)}
        assert (answers == {403}) is (name not in allowed), (name, answers)
        assert 401 not in answers

    wrong = keys["admin *"][:-1] + ("0" if keys["admin *"][-1] != "0" else "1")
    for headers in ({}, bearer("x"), bearer(wrong), basic(wrong), {"authorization": "Digest x"}):
        answer = ask(backend, method, path, headers)
        assert answer.status == 401
        assert "Bearer" in answer.headers["www-authenticate"] or "Basic" in answer.headers["www-authenticate"]
        assert wrong.encode() not in answer.body


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
def test_probes_need_no_key(backend: BackendProcess, path: str) -> None:
    assert backend.get(path).status == 200
    assert http_request(backend.http + path, headers={"authorization": "Bearer nonsense"}).status == 200


def test_grpc_answers_to_the_roles_that_may(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    told = {name: send_over_grpc(backend, key, otlp.body()) for name, key in keys.items()}

    assert {name for name, code in told.items() if code is grpc.StatusCode.OK} == {
        "ingest a",
        "ingest b",
        "admin a",
        "admin *",
    }
    assert set(told.values()) == {grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED}
    for method in (EXPORT, LOGS):
        assert send_over_grpc(backend, None, otlp.body(), method) is grpc.StatusCode.UNAUTHENTICATED
        assert send_over_grpc(backend, "x", otlp.body(), method) is grpc.StatusCode.UNAUTHENTICATED
        assert send_over_grpc(backend, keys["read *"], b"", method) is grpc.StatusCode.PERMISSION_DENIED


def test_refusals_are_in_the_encoding_of_the_request_and_never_retryable(backend: BackendProcess) -> None:
    protobuf = http_request(f"{backend.http}/v1/traces", otlp.body(), PROTOBUF)
    as_json = http_request(f"{backend.http}/v1/logs", b"{}", {"content-type": "application/json"})

    assert (protobuf.status, status_pb2.Status.FromString(protobuf.body).code) == (401, 16)
    assert (as_json.status, as_json.json()["code"]) == (401, 16)
    assert "retry-after" not in protobuf.headers


def test_no_body_is_read_before_the_key(backend: BackendProcess) -> None:
    answer = http_request(f"{backend.http}/v1/traces", b"not protobuf at all", PROTOBUF)

    assert answer.status == 401


def test_the_host_does_not_matter_where_keys_do(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    headers = {"host": "tokentrail.example.com", **bearer(keys["read a"])}

    assert http_request(f"{backend.http}/api/totals", headers=headers).status == 200


def test_refusals_are_counted(backend: BackendProcess, keys: Mapping[str, str]) -> None:
    def counts() -> dict[str, float]:
        text = http_request(f"{backend.http}/metrics", headers=basic(keys["read *"])).body.decode()
        name = "tokentrail_auth_failures_total"
        return {labels["reason"]: value for sample, labels, value in samples(text) if sample == name}

    before = counts()
    unknown = keys["read a"][:-1] + ("0" if keys["read a"][-1] != "0" else "1")
    for headers in ({}, bearer("x"), bearer(unknown), bearer(keys["ingest a"])):
        ask(backend, "GET", "/api/totals", headers)

    assert counts() == {reason: value + 1 for reason, value in before.items()}
    assert set(before) == {"missing", "malformed", "unknown", "forbidden"}


# Projects, end to end --------------------------------------------------------------------------------------------


def exporter(backend: BackendProcess, transport: str, monkeypatch: pytest.MonkeyPatch, key: str) -> SpanExporter:
    """OpenTelemetry's own, with the key where an application has it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=" + quote(f"Bearer {key}"))
    if transport == "http":
        return HttpExporter(endpoint=f"{backend.http}/v1/traces")
    return GrpcExporter(endpoint=backend.grpc, insecure=True)


def export(exporter: SpanExporter, service: str) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    attributes = {key: value for key, value in otlp.CHAT.items() if isinstance(value, str | int)}
    with provider.get_tracer("tests").start_as_current_span("chat", attributes=attributes):
        pass
    provider.shutdown()


def services(backend: BackendProcess, key: str) -> set[tuple[str, str]]:
    answer = http_request(f"{backend.http}/api/requests?limit=10000", headers=bearer(key))
    assert answer.status == 200
    return {(row["service"], row["project"]) for row in map(json.loads, answer.body.splitlines())}


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_an_application_with_a_key_sends_into_its_project(
    backend: BackendProcess, keys: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    mine, theirs = f"mine over {transport}", f"theirs over {transport}"

    export(exporter(backend, transport, monkeypatch, keys["ingest a"]), mine)
    export(exporter(backend, transport, monkeypatch, keys["ingest b"]), theirs)

    assert (mine, "a") in services(backend, keys["read a"])
    assert (theirs, "b") in services(backend, keys["read b"])
    assert {project for _, project in services(backend, keys["read a"])} == {"a"}
    assert {project for _, project in services(backend, keys["read b"])} == {"b"}
    assert {(mine, "a"), (theirs, "b")} <= services(backend, keys["read *"])


def test_the_same_request_from_two_projects_is_stored_for_both_over_both_transports(
    backend: BackendProcess, keys: Mapping[str, str]
) -> None:
    body = otlp.request([otlp.span()], {"service.name": "twice"}).SerializeToString()

    for name in ("ingest b", "ingest a", "ingest a"):
        answer = http_request(f"{backend.http}/v1/traces", body, {**PROTOBUF, **bearer(keys[name])})
        assert answer.status == 200
        assert send_over_grpc(backend, keys[name], body) is grpc.StatusCode.OK

    rows = http_request(f"{backend.http}/api/requests?service=twice", headers=bearer(keys["read *"])).body
    assert sorted(json.loads(line)["project"] for line in rows.splitlines()) == ["a", "b"]


def test_an_exporter_with_a_wrong_key_gives_up_at_once(
    backend: BackendProcess, keys: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> dict[str, float]:
        text = http_request(f"{backend.http}/metrics", headers=bearer(keys["read *"])).body.decode()
        answered = [(labels, value) for name, labels, value in samples(text) if name.endswith("_export_requests_total")]
        codes = ("401", grpc.StatusCode.UNAUTHENTICATED.name)
        return {code: sum(value for labels, value in answered if labels["code"] == code) for code in codes}

    before = refused()
    for transport in ("http", "grpc"):
        export(exporter(backend, transport, monkeypatch, f"tt_{'0' * 12}_{'0' * 64}"), "nobody")

    assert refused() == {code: count + 1 for code, count in before.items()}, "each was sent once"


# The command line ------------------------------------------------------------------------------------------------


def test_commands_take_a_key_from_the_environment(
    backend: BackendProcess,
    keys: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ["--json", "--endpoint", backend.http]
    monkeypatch.delenv("TOKENTRAIL_API_KEY", raising=False)
    assert main(["requests", *where]) == 1
    assert "TOKENTRAIL_API_KEY" in capsys.readouterr().err

    monkeypatch.setenv("TOKENTRAIL_API_KEY", f" {keys['read a']}\n")
    assert main(["requests", *where]) == 0
    assert {json.loads(line)["project"] for line in capsys.readouterr().out.splitlines()} == {"a"}
    assert main(["cost", "--by", "project", *where]) == 0
    assert [json.loads(line)["project"] for line in capsys.readouterr().out.splitlines()] == ["a"]
    assert main(["cost", "reprice", "--since", "1h", "--yes", "--endpoint", backend.http]) in (0, 1)
    capsys.readouterr()

    monkeypatch.setenv("TOKENTRAIL_API_KEY", keys["ingest a"])
    assert main(["requests", *where]) == 1
    assert "role ingest" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["two words", "a\nb", "ä" * 10])
def test_what_cannot_be_a_key_is_not_sent_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv("TOKENTRAIL_API_KEY", value)

    assert main(["requests", "--endpoint", "http://127.0.0.1:1"]) == 1

    told = capsys.readouterr().err
    assert "TOKENTRAIL_API_KEY is no key" in told
    assert value not in told


# Changes of the file, and starts ---------------------------------------------------------------------------------


def wait_for(status: int, backend: BackendProcess, key: str) -> None:
    deadline = time.monotonic() + 10
    while (found := ask(backend, "GET", "/api/totals", bearer(key)).status) != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_keys_are_rotated_while_it_runs(backend: BackendProcess, key_file: Path, keys: Mapping[str, str]) -> None:
    new = make_key(key_file, "new", Role.READ, "a")
    wait_for(200, backend, new)

    remove_key(key_file, "new")
    wait_for(401, backend, new)

    assert ask(backend, "GET", "/api/totals", bearer(keys["read a"])).status == 200


def test_a_file_that_breaks_while_it_runs_changes_nothing_and_is_told(
    backend: BackendProcess, key_file: Path, keys: Mapping[str, str]
) -> None:
    def loaded() -> float:
        text = http_request(f"{backend.http}/metrics", headers=bearer(keys["read *"])).body.decode()
        return next(value for name, _, value in samples(text) if name == "tokentrail_keys_file_last_reload_successful")

    assert loaded() == 1
    content = key_file.read_bytes()
    key_file.write_text("schema = 1\n[[key\n")
    try:
        deadline = time.monotonic() + 10
        while loaded() == 1:
            assert time.monotonic() < deadline
        assert ask(backend, "GET", "/api/totals", bearer(keys["read a"])).status == 200
        assert "the keys of before stay in force" in backend.errors()
    finally:
        key_file.write_bytes(content)
    while loaded() == 0:
        assert time.monotonic() < deadline + 10


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), ("nonsense", "not valid TOML")])
def test_it_does_not_start_with_a_file_that_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, words: str
) -> None:
    path = tmp_path / "keys.toml"
    if content is not None:
        path.write_text(content)

    code = main(["serve", "--store", f"chdb://{tmp_path}/data", "--http", "127.0.0.1:0", "--keys", str(path)])

    told = capsys.readouterr().err
    assert code == 1
    assert "keys.toml" in told
    assert words in told
    assert not (tmp_path / "data").exists(), "found out before anything is made"


def test_without_keys_nothing_of_this_holds(tmp_path: Path) -> None:
    with BackendProcess(tmp_path / "data") as backend:
        assert backend.post_traces(otlp.body(), authorization="Bearer whatever").status == 200
        assert [row["project"] for row in backend.requests()] == ["default"]
        assert "tokentrail_keys_file" not in backend.get("/metrics").body.decode()


# Logs ------------------------------------------------------------------------------------------------------------

DEBUGGED = """
import asyncio, logging, sys
logging.basicConfig(level=1, stream=sys.stderr)
from tokentrail.backend import __main__
sys.exit(__main__.main(["serve", "--json", *sys.argv[1:]]))
"""


def test_no_log_has_anything_of_a_key_at_the_finest_level(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key = make_key(path, "one", Role.ADMIN, "*")
    other = f"tt_{key.split('_')[1]}_{'ab' * 32}"
    malformed = "my-pasted-password-0123456789"
    backend = Debugged(tmp_path / "data", {"TOKENTRAIL_KEYS": str(path), "PYTHONASYNCIODEBUG": "1"})
    with backend:
        for text in (key, other, malformed):
            for headers in (bearer(text), basic(text)):
                for method, where in (("GET", "/api/totals"), ("POST", "/v1/traces"), ("GET", "/metrics")):
                    ask(backend, method, where, headers)
            send_over_grpc(backend, text, otlp.body())
            send_over_grpc(backend, text, b"\xff")
        http_request(f"{backend.http}/v1/traces", b"\xff", {**PROTOBUF, **bearer(key)})
        path.write_text(path.read_text() + f'\n[[key]]\nname = "{key}"\n')  # pasted by mistake
        time.sleep(1.2)
        ask(backend, "GET", "/api/totals", bearer(key))
        log = backend.errors()

    assert "DEBUG" in log
    assert "requests were refused" in log
    secrets = [key, key.split("_")[2], "ab" * 32, malformed]
    encoded = [value["authorization"].split()[1] for value in map(basic, (key, other, malformed))]
    assert [secret for secret in secrets + encoded if secret in log] == []
    stored = [each.read_bytes() for each in (tmp_path / "data").rglob("*") if each.is_file()]
    assert not [1 for content in stored for secret in secrets if secret.encode() in content]


class Debugged(BackendProcess):
    """A backend that logs everything there is to log."""

    def start(self) -> None:

        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed when the process is gone
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", DEBUGGED, "--store", f"chdb://{self.data.absolute()}"),
                *("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"),
            ],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **self.environment},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors()
        ready = json.loads(line)
        self.http, self.grpc = ready["http"], ready["grpc"]
