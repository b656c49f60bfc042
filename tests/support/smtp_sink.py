"""A mail server that keeps what it is sent: ESMTP with STARTTLS and AUTH PLAIN (RFC 5321, 3207, 4954)."""

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import IO, cast

from support.certificates import Pair


@dataclass(frozen=True)
class Mail:
    """One mail, and how it came."""

    sender: str
    recipients: tuple[str, ...]
    user: str
    password: str
    encrypted: bool
    data: bytes

    @property
    def message(self) -> Message:
        return message_from_bytes(self.data, policy=default)

    def part(self, subtype: str) -> str:
        """The text of the first part of that kind, such as `html`."""
        for part in self.message.walk():
            if part.get_content_type() == f"text/{subtype}":
                return cast(bytes, part.get_payload(decode=True)).decode()
        raise AssertionError(f"no text/{subtype} in the mail")


@dataclass
class MailSink:
    """Where it listens, and what came."""

    address: str = ""
    mails: list[Mail] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Commands that were not taken, such as a password before TLS."""


@contextmanager
def mail_sink(pair: Pair) -> Iterator[MailSink]:
    """Listen on 127.0.0.1 with the certificate of `pair`. Mail and passwords are taken after STARTTLS only."""
    sink = MailSink()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            _Conversation(self.request, context, sink).run()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        sink.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()


class _Conversation:
    def __init__(self, connection: ssl.SSLSocket, context: ssl.SSLContext, sink: MailSink) -> None:
        self._connection, self._context, self._sink = connection, context, sink
        self._file: IO[bytes] = connection.makefile("rb")
        self._encrypted = False
        self._user = self._password = self._sender = ""
        self._recipients: list[str] = []

    def run(self) -> None:
        self._say("220 sink ESMTP")
        try:
            while line := self._file.readline():
                command, _, rest = line.decode().strip().partition(" ")
                if not self._answer(command.upper(), rest):
                    break
        finally:
            self._file.close()
            self._connection.close()

    def _answer(self, command: str, rest: str) -> bool:
        """Whether the conversation goes on."""
        if command in ("EHLO", "HELO"):
            self._say("250-sink", "250-AUTH PLAIN" if self._encrypted else "250-STARTTLS", "250 8BITMIME")
        elif command == "STARTTLS":
            self._say("220 go ahead")
            self._file.close()
            self._connection = self._context.wrap_socket(self._connection, server_side=True)
            self._file, self._encrypted = self._connection.makefile("rb"), True
        elif not self._encrypted and command in ("AUTH", "MAIL"):
            self._sink.refused.append(command)
            self._say("530 STARTTLS first")
        elif command == "AUTH":
            _, self._user, self._password = base64.b64decode(rest.split()[1]).decode().split("\0")
            self._say("235 welcome")
        elif command == "MAIL":
            self._sender, self._recipients = _address(rest), []
            self._say("250 ok")
        elif command == "RCPT":
            self._recipients.append(_address(rest))
            self._say("250 ok")
        elif command == "DATA":
            self._say("354 end with .")
            self._sink.mails.append(self._mail(b"".join(self._read_data())))
            self._say("250 kept")
        else:
            self._say("221 bye" if command == "QUIT" else "250 ok")
        return command != "QUIT"

    def _mail(self, data: bytes) -> Mail:
        return Mail(self._sender, tuple(self._recipients), self._user, self._password, self._encrypted, data)

    def _read_data(self) -> Iterator[bytes]:
        while (line := self._file.readline()) and line != b".\r\n":
            yield line[1:] if line.startswith(b"..") else line

    def _say(self, *lines: str) -> None:
        self._connection.sendall("".join(f"{line}\r\n" for line in lines).encode())


def _address(text: str) -> str:
    return text.partition("<")[2].partition(">")[0]
