"""Servers as child processes: started with a log file, waited for, ended in order."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.request import ProxyHandler, build_opener

from tokentrail.backend.demo.process import stop

HOST: Final = "127.0.0.1"
READY_TIMEOUT_S: Final = 60.0
"""Opening the embedded ClickHouse takes seconds, much longer on a machine that is busy."""
_LAST_LINES: Final = 12


class ChildError(Exception):
    """A server that cannot be started, or that ended; the message says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """What to start, and how to know that it is there."""

    name: str
    command: Sequence[str]
    log: Path
    ready: str = ""
    """A URL that answers 200 once it is there; empty for what serves nothing."""
    environment: Mapping[str, str] | None = None
    """Beside that of this process."""
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """A server that was started."""

    server: Server
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raise `ChildError` when it has ended."""
        code = self.process.poll()
        if code is not None:
            raise ChildError(f"{self.server.name} ended with exit code {code}.\n{_last_lines(self.server.log)}")


@contextmanager
def running(server: Server) -> Iterator[Child]:
    """The server, from when it is ready to the end of the block. Raises `ChildError`."""
    with server.log.open("wb") as output:
        # A session of its own: Ctrl-C reaches the stack first, which then ends its children in order.
        process = subprocess.Popen(  # noqa: S603  our own programs
            list(server.command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=server.directory,
            env={**os.environ, **(server.environment or {})} if server.environment is not None else None,
            start_new_session=True,
        )
    child = Child(server, process)
    try:
        _wait(child)
        yield child
    finally:
        stop(process)


def choose_port(name: str, wanted: int, option: str) -> int:
    """`wanted`, or a free one for 0. Raises `ChildError` when somebody else has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise ChildError(
                f"{name} cannot listen on {HOST}:{wanted}: {error.strerror}. Stop what does, or choose another port "
                f"with {option} (0 for any that is free)"
            ) from error
        port: int = probe.getsockname()[1]
        return port


def get(url: str, timeout_s: float = 5.0) -> bytes | None:
    """The body of a 200, `None` for anything else; never through a proxy."""
    opener = build_opener(ProxyHandler({}))
    with suppress(OSError, HTTPException), opener.open(url, timeout=timeout_s) as answer:
        body: bytes = answer.read()
        return body if answer.status == 200 else None
    return None


def _wait(child: Child) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while child.server.ready and get(child.server.ready) is None:
        child.check()
        if time.monotonic() > deadline:
            raise ChildError(
                f"{child.server.name} was not ready after {READY_TIMEOUT_S:.0f} s.\n{_last_lines(child.server.log)}"
            )
        time.sleep(0.1)
    child.check()


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    return "\n".join(f"  {line}" for line in [*lines, f"(all of it: {log})"])
