"""Takes what Alertmanager sends in place of a pager, a chat and a mailbox, and shows it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""Alertmanager's messages have some kilobytes."""
MAX_KEPT: Final = 1000
"""Alerts that are remembered; a stack may run for days."""


@dataclass(frozen=True, slots=True)
class Told:
    """One alert in one message."""

    receiver: str
    """`pager`, `chat` or `mail`, as Alertmanager's configuration names them."""
    status: str
    """`firing` or `resolved`."""
    name: str
    summary: str


@dataclass(slots=True)
class Inbox:
    """What was received. Safe to read while it is written to."""

    url: str = ""
    told: list[Told] = field(default_factory=list)

    def names(self, status: str = "firing") -> set[str]:
        """The alerts that somebody was told of."""
        return {one.name for one in list(self.told) if one.status == status}


@contextmanager
def listening(show: Callable[[Told], None]) -> Iterator[Inbox]:
    """A server on a free port of 127.0.0.1 for the length of the block; `show` is called with each alert."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            if length > MAX_BODY_BYTES:
                self.send_error(413)
                return
            try:
                alerts = read(self.path.strip("/"), self.rfile.read(length))
            except ValueError:
                self.send_error(400)
                return
            inbox.told = (inbox.told + alerts)[-MAX_KEPT:]
            for one in alerts:
                show(one)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name of the base class
            """Alertmanager's log says what could not be sent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        inbox.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield inbox
        finally:
            server.shutdown()
            thread.join()


def read(receiver: str, body: bytes) -> list[Told]:
    """The alerts of a message of Alertmanager's webhook (version 4). Raises `ValueError`."""
    document = json.loads(body)
    alerts = document.get("alerts") if isinstance(document, dict) else None
    if not isinstance(alerts, list) or not all(isinstance(alert, dict) for alert in alerts):
        raise ValueError("no message of Alertmanager")
    return [
        Told(
            receiver=receiver,
            status=_text(alert.get("status")),
            name=_text(_part(alert, "labels").get("alertname")),
            summary=_text(_part(alert, "annotations").get("summary")),
        )
        for alert in alerts
    ]


def _part(alert: dict[str, object], name: str) -> dict[str, object]:
    part = alert.get(name)
    return part if isinstance(part, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
