"""TLS on both ports, with and without certificates of clients, and certificates that are renewed while it runs."""

import json
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from support import otlp
from support.backend_process import BackendProcess
from support.certificates import NO_OPENSSL, Authority, Pair, has_openssl
from tokentrail.backend.__main__ import main
from tokentrail.backend.access.caller import Role
from tokentrail.backend.access.errors import TlsError
from tokentrail.backend.access.key import new_key
from tokentrail.backend.access.key_file import add_key
from tokentrail.backend.access.tls import TlsFiles, load
from tokentrail.backend.config import ConfigError, read_config

pytestmark = pytest.mark.skipif(not has_openssl(), reason=NO_OPENSSL)

TRANSPORTS = ("http", "grpc")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "theirs")


@dataclass(frozen=True)
class Served:
    """A backend with TLS, its files, and a key for everything."""

    process: BackendProcess
    pair: Pair
    client_ca: Path | None
    key: str

    @property
    def port(self) -> int:
        return int(self.process.http.rpartition(":")[2])


def serve(directory: Path, authority: Authority, *, with_clients: bool) -> Iterator[Served]:
    pair = Pair(directory / "server.pem", directory / "server.key")
    first = authority.sign("server")
    pair.certificate.touch()
    pair.key.touch()
    pair.replace_with(first)
    client_ca = directory / "clients.pem" if with_clients else None
    environment = {
        "TOKENTRAIL_TLS_CERT": str(pair.certificate),
        "TOKENTRAIL_TLS_KEY": str(pair.key),
        "TOKENTRAIL_KEYS": str(directory / "keys.toml"),
    }
    if client_ca is not None:
        client_ca.write_bytes(authority.certificate.read_bytes())
        environment["TOKENTRAIL_TLS_CLIENT_CA"] = str(client_ca)
    key, text = new_key("all", Role.ADMIN, "*", datetime.now(UTC))
    add_key(directory / "keys.toml", key)
    with BackendProcess(directory / "data", environment) as process:
        assert process.http.startswith("https://127.0.0.1:")
        yield Served(process, pair, client_ca, text)
        assert process.terminate() == 0


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("tls"), authority, with_clients=False)


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("mtls"), authority, with_clients=True)


def get(served: Served, path: str, authority: Authority, client: Pair | None = None) -> bytes:
    """The body of a page. Raises `OSError` where there is no connection."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    opener = build_opener(HTTPSHandler(context=context), ProxyHandler({}))
    request = Request(served.process.http + path, headers={"authorization": f"Bearer {served.key}"})
    with opener.open(request, timeout=20) as answer:
        body: bytes = answer.read()
        return body


def exporter(
    served: Served,
    transport: str,
    monkeypatch: pytest.MonkeyPatch,
    authority: Authority,
    client: Pair | None = None,
) -> SpanExporter:
    """OpenTelemetry's own, configured as an application is: by the environment."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=" + quote(f"Bearer {served.key}"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(authority.certificate))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # of this machine; they would go before ours
        monkeypatch.delenv(name, raising=False)
    for name, value in (("CERTIFICATE", client and client.certificate), ("KEY", client and client.key)):
        if value is None:
            monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_CLIENT_{name}", raising=False)
        else:
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_CLIENT_{name}", str(value))
    if transport == "http":
        return HttpExporter(endpoint=f"{served.process.http}/v1/traces")
    return GrpcExporter(endpoint=f"https://{served.process.grpc}")


def export(exporter: SpanExporter, service: str) -> SpanExportResult:
    results: list[SpanExportResult] = []
    real = exporter.export

    class Watched(SimpleSpanProcessor):
        def on_end(self, span: object) -> None:
            results.append(real([span]))  # type: ignore[list-item]  # what the SDK gives

    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(Watched(exporter))
    attributes = {key: value for key, value in otlp.CHAT.items() if isinstance(value, str | int)}
    with provider.get_tracer("tests").start_as_current_span("chat", attributes=attributes):
        pass
    provider.shutdown()
    (result,) = results
    return result


def services(served: Served, authority: Authority, client: Pair | None = None) -> set[str]:
    lines = get(served, "/api/requests", authority, client).splitlines()
    return {json.loads(line)["service"] for line in lines}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_application_sends_over_tls_with_a_key(
    plain: Served, authority: Authority, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    result = export(exporter(plain, transport, monkeypatch, authority), f"tls {transport}")

    assert result is SpanExportResult.SUCCESS
    assert f"tls {transport}" in services(plain, authority)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_application_that_trusts_another_authority_sends_nothing(
    plain: Served, authority: Authority, stranger: Authority, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    result = export(exporter(plain, transport, monkeypatch, stranger), f"fooled {transport}")

    assert result is SpanExportResult.FAILURE
    assert f"fooled {transport}" not in services(plain, authority)


def test_a_connection_in_clear_gets_nothing(plain: Served) -> None:
    for address in (plain.port, int(plain.process.grpc.rpartition(":")[2])):
        with socket.create_connection(("127.0.0.1", address), timeout=10) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            try:
                answer = connection.recv(1000)
            except ConnectionResetError:
                answer = b""
        assert not answer.startswith(b"HTTP/")


def test_old_versions_of_tls_are_refused(plain: Served, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # Python finds them old, too
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    with (
        socket.create_connection(("127.0.0.1", plain.port), timeout=10) as connection,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(connection, server_hostname="127.0.0.1")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_needs_a_certificate_where_they_are_asked_for(
    mutual: Served, authority: Authority, stranger: Authority, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    ours, theirs = authority.sign("client"), stranger.sign("client")

    results = {
        name: export(exporter(mutual, transport, monkeypatch, authority, client), f"{name} {transport}")
        for name, client in {"ours": ours, "theirs": theirs, "none": None}.items()
    }

    assert results["ours"] is SpanExportResult.SUCCESS
    assert results["theirs"] is results["none"] is SpanExportResult.FAILURE
    assert {f"ours {transport}"} == {each for each in services(mutual, authority, ours) if transport in each}


def client_context(authority: Authority) -> ssl.SSLContext:
    client = authority.sign("client")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(client.certificate, client.key)
    return context


def test_no_session_is_taken_up_again_where_clients_are_verified(mutual: Served, authority: Authority) -> None:
    context = client_context(authority)

    session, reused = None, []
    for _ in range(3):
        with (
            socket.create_connection(("127.0.0.1", mutual.port), timeout=10) as connection,
            context.wrap_socket(connection, server_hostname="127.0.0.1", session=session) as tls,
        ):
            tls.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert tls.recv(1000).startswith(b"HTTP/1.1 200")
            session = tls.session
            reused.append(tls.session_reused)

    assert reused == [False, False, False]


def test_a_version_of_tls_that_takes_sessions_up_again_is_refused_there(mutual: Served, authority: Authority) -> None:
    context = client_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with (
        socket.create_connection(("127.0.0.1", mutual.port), timeout=10) as connection,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(connection, server_hostname="127.0.0.1")


# Renewal ---------------------------------------------------------------------------------------------------------


def shown(port: int) -> str:
    """The certificate that a port shows to a client without trust in anybody."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)


def test_a_renewed_certificate_is_served_on_both_ports_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    for served in serve(tmp_path, authority, with_clients=False):
        ports = (served.port, int(served.process.grpc.rpartition(":")[2]))
        first, second = served.pair.certificate.read_text(), authority.sign("server")
        assert [shown(port) == first for port in ports] == [True, True]

        served.pair.certificate.write_bytes(second.certificate.read_bytes())
        time.sleep(1.5)  # the key is not there yet
        assert [shown(port) == first for port in ports] == [True, True]
        served.pair.replace_with(second)

        deadline = time.monotonic() + 10
        while [shown(port) for port in ports] != [second.certificate.read_text()] * 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "those of before stay in force" in served.process.errors()
        assert b"tokentrail_tls_files_last_reload_successful 1.0" in get(served, "/metrics", authority)


def test_an_authority_of_clients_is_exchanged_without_a_restart(
    tmp_path: Path, authority: Authority, stranger: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = authority.sign("client"), stranger.sign("client")
    for served in serve(tmp_path, authority, with_clients=True):
        assert served.client_ca is not None
        assert get(served, "/healthz", authority, ours) == b"ok\n"

        served.client_ca.write_bytes(stranger.certificate.read_bytes())
        time.sleep(1.5)

        assert get(served, "/healthz", authority, theirs) == b"ok\n"
        with pytest.raises(OSError, match=r".*"):
            get(served, "/healthz", authority, ours)
        for client, expected in ((theirs, SpanExportResult.SUCCESS), (ours, SpanExportResult.FAILURE)):
            assert export(exporter(served, "grpc", monkeypatch, authority, client), "x") is expected


# The command line ------------------------------------------------------------------------------------------------


def test_commands_speak_tls_and_know_the_file_of_authorities(
    mutual: Served, authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = authority.sign("client")
    where = ["cost", "--json", "--endpoint", mutual.process.http]
    monkeypatch.setenv("TOKENTRAIL_API_KEY", mutual.key)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert main(where) == 1
    assert "SSL_CERT_FILE" in capsys.readouterr().err

    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    monkeypatch.setenv("TOKENTRAIL_CLIENT_CERT", str(client.certificate))
    monkeypatch.setenv("TOKENTRAIL_CLIENT_KEY", str(client.key))
    assert main(where) == 0

    monkeypatch.setenv("TOKENTRAIL_CLIENT_KEY", str(authority.certificate))
    assert main(where) == 1
    assert "TOKENTRAIL_CLIENT_KEY cannot be used" in capsys.readouterr().err


# What cannot be used ---------------------------------------------------------------------------------------------


def test_files_that_cannot_be_used_are_named(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    good, other = authority.sign("server"), authority.sign("server")
    none, rubbish = tmp_path / "none.pem", tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")

    for files, words in (
        (TlsFiles(none, good.key), "none.pem cannot be read"),
        (TlsFiles(good.certificate, none), "none.pem cannot be read"),
        (TlsFiles(good.certificate, other.key), "cannot be used together"),
        (TlsFiles(rubbish, good.key), "cannot be used together"),
        (TlsFiles(good.certificate, rubbish), "cannot be used together"),
        (TlsFiles(good.certificate, good.key, rubbish), "rubbish.pem has no certificate"),
        (TlsFiles(good.certificate, good.key, none), "none.pem cannot be read"),
    ):
        with pytest.raises(TlsError, match=words):
            load(files)
    material = load(TlsFiles(good.certificate, good.key, stranger.certificate))
    assert "PRIVATE" not in repr(material)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(tmp_path: Path, authority: Authority) -> None:

    pair, locked = authority.sign("server"), tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", pair.key, "-aes256", "-passout", "pass:secret", "-out", locked], check=True
    )

    with pytest.raises(TlsError, match="has a password"):
        load(TlsFiles(pair.certificate, locked))


def test_it_does_not_start_with_files_that_cannot_be_used(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENTRAIL_TLS_CERT", str(authority.sign("server").certificate))
    monkeypatch.setenv("TOKENTRAIL_TLS_KEY", str(authority.sign("server").key))

    assert main(["serve", "--store", f"chdb://{tmp_path}/data", "--http", "127.0.0.1:0"]) == 1

    assert "TLS cannot be used" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"TOKENTRAIL_TLS_CERT": "c.pem"},
        {"TOKENTRAIL_TLS_KEY": "k.pem"},
        {"TOKENTRAIL_TLS_CLIENT_CA": "a.pem"},
        {"TOKENTRAIL_TLS_CLIENT_CA": "a.pem", "TOKENTRAIL_TLS_KEY": "k.pem"},
    ],
    ids=str,
)
def test_half_of_tls_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="TOKENTRAIL_TLS_CERT and TOKENTRAIL_TLS_KEY"):
        read_config(settings, {})


def test_with_keys_any_address_can_be_used_without_them_this_machine_alone() -> None:
    everywhere = {"TOKENTRAIL_HTTP_ADDRESS": "0.0.0.0:4318", "TOKENTRAIL_GRPC_ADDRESS": "[::]:4317"}
    tls = {"TOKENTRAIL_TLS_CERT": "c.pem", "TOKENTRAIL_TLS_KEY": "k.pem", "TOKENTRAIL_TLS_CLIENT_CA": "a.pem"}

    config = read_config({**everywhere, "TOKENTRAIL_KEYS": "keys.toml"}, {})

    assert (str(config.http), str(config.grpc)) == ("0.0.0.0:4318", "[::]:4317")
    with pytest.raises(ConfigError, match="without keys"):
        read_config({**everywhere, **tls}, {})
