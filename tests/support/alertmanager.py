"""The real Alertmanager with the shipped configuration, its receivers on this machine and without its patience."""

import json
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.prometheus import MissingError, program, running

SHIPPED = Path(__file__).parents[2] / "deploy" / "alertmanager" / "alertmanager.yml"
PAGER_TOKEN = "pager-token"
MAIL_PASSWORD = "mail-password"


@dataclass
class Hook:
    """Receives what Alertmanager sends: path, Authorization header, body."""

    address: str = ""
    received: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)

    def alerts(self, status: str, name: str) -> list[Mapping[str, Any]]:
        """The alerts of that status that the pager was told of."""
        return [
            alert
            for path, _, body in self.received
            for alert in body.get("alerts", [])
            if path == "/pager" and alert["status"] == status and alert["labels"]["alertname"] == name
        ]

    def chats(self) -> list[Mapping[str, Any]]:
        """The messages to the chat."""
        return [body for path, _, body in self.received if path == "/slack"]

    def chat(self) -> str:
        """All that was told in the chat, as text."""
        return "\n".join(json.dumps(body) for body in self.chats())


@contextmanager
def alert_hook() -> Iterator[Hook]:
    """A server on this machine that is pager and chat."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            hook.received.append((self.path, self.headers.get("authorization", ""), json.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()


def free_address() -> str:
    """An address of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def local_config(directory: Path, hook: Hook, smarthost: str = "127.0.0.1:1", ca: Path | None = None) -> Path:
    """The shipped configuration with pager and chat at `hook` and mail at `smarthost`, whose authority is `ca`.

    Nothing is changed but addresses, the place of the secrets, and how long groups wait.
    """
    text = SHIPPED.read_text()
    text = re.sub(r"group_wait: \w+", "group_wait: 0s", text)
    text = re.sub(r"group_interval: \w+", "group_interval: 1s", text)
    text = text.replace("http://127.0.0.1:9095/tokentrail", f"http://{hook.address}/pager")
    text = text.replace("/etc/alertmanager/secrets/", f"{directory}/")
    text = text.replace("MAIL.EXAMPLE.COM:587", smarthost)
    if ca is not None:
        text = text.replace("  email_configs:\n  - ", f"  email_configs:\n  - tls_config: {{ca_file: {ca}}}\n    ")
    for name, secret in (
        ("slack_url", f"http://{hook.address}/slack"),
        ("smtp_password", MAIL_PASSWORD),
        ("webhook_token", PAGER_TOKEN),
    ):
        (directory / name).write_text(secret)
    path = directory / "alertmanager.yml"
    path.write_text(text)
    return path


@contextmanager
def running_alertmanager(directory: Path, config: Path) -> Iterator[str]:
    """Alertmanager at the address that is yielded."""
    address = free_address()
    command = [
        str(program("prometheus-alertmanager")),
        f"--config.file={config}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with running(command, address, directory / "alertmanager.log"):
        yield address


def skip_without_alertmanager() -> None:
    """Skip the test where neither Alertmanager nor its package is to be had."""
    try:
        program("prometheus-alertmanager")
    except MissingError as error:
        pytest.skip(f"no Alertmanager: {error}")


def post_alerts(address: str, *alerts: Mapping[str, object]) -> None:
    """Tell Alertmanager of alerts, as Prometheus does (API v2)."""
    request = urllib.request.Request(
        f"http://{address}/api/v2/alerts", json.dumps(alerts).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def alert_states(address: str) -> dict[str, str]:
    """`active` or `suppressed` of each alert, by its name and, after `/`, its environment and user."""
    with urllib.request.urlopen(f"http://{address}/api/v2/alerts", timeout=10) as answer:
        alerts = json.load(answer)
    return {_key(alert["labels"]): alert["status"]["state"] for alert in alerts}


def wait_until(what: str, condition: Callable[[], object], timeout_s: float = 40) -> None:
    """Raise `AssertionError` when `condition` does not come to hold."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s:g} s: {what}"
        time.sleep(0.1)


def _key(labels: Mapping[str, str]) -> str:
    parts = (labels["alertname"], labels.get("deployment_environment_name"), labels.get("user"))
    return "/".join(filter(None, parts))
