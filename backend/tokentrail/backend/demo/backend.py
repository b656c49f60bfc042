"""The backend that the demo uses: one that runs already, or one of its own for as long as it takes."""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from http.client import HTTPException
from types import TracebackType
from typing import IO, Final, Self
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from tokentrail.backend.config import Config
from tokentrail.backend.demo.process import stop

START_TIMEOUT_S: Final = 60.0
"""Opening the embedded ClickHouse takes seconds, much longer on a machine that is busy."""
_PROBE_TIMEOUT_S: Final = 5.0


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


class Found(Enum):
    """What answers at an address."""

    READY = "ready"
    BUSY = "busy"
    """A backend that is starting or stopping."""
    STRANGER = "stranger"
    """Something else."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the backend listens and keeps its data."""

    http: str
    """With `http://`, without a trailing slash."""
    grpc: str
    store: str
    """The directory, or empty when only the running backend knows."""


def probe(endpoint: str) -> Found:
    """What answers at `endpoint`, an address with `http://`."""
    status = _status(f"{endpoint}/readyz")
    if status is None:
        return Found.NOTHING
    # Other software has a /readyz too; none has this one.
    known = _status(f"{endpoint}/api/totals") if status == 200 else None
    if known == 200:
        return Found.READY
    return Found.BUSY if status == 503 else Found.STRANGER


def _status(url: str) -> int | None:
    """HTTP status of a GET, 0 for an answer that is no HTTP, `None` when nobody listens."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=_PROBE_TIMEOUT_S) as answer:
            status: int = answer.status
            return status
    except HTTPError as error:
        with error:
            return error.code
    except HTTPException:
        return 0
    except OSError as error:
        refused = isinstance(getattr(error, "reason", error), ConnectionRefusedError)
        return None if refused else 0


class OwnBackend:
    """`tokentrail serve` as a child, while the `with` block lasts. Raises `DemoError` when it does not start.

    `store` is the store's URL where it is not left to the environment and the default.
    """

    def __init__(self, config: Config, store: str | None = None) -> None:
        self._config = config
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._stack = ExitStack()
        self.addresses = Addresses("", "", "")

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._stop)
            self._start()
            self.addresses = self._wait()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def wait(self) -> int:
        """Wait until the child ends by itself; its exit code."""
        return self._process.wait() if self._process else 0

    def _start(self) -> None:
        # Files, not pipes: nobody has to read along.
        self._log = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  closed by _stop
        self._ready = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  closed by _stop
        command = [sys.executable, "-m", "tokentrail.backend", "serve", "--json"]
        command += ["--store", self._store] if self._store else []
        command += ["--http", str(self._config.http), "--grpc", str(self._config.grpc)]
        # A session of its own: Ctrl-C reaches this process first, which then ends its children in order.
        self._process = subprocess.Popen(  # noqa: S603  this program
            command, stdin=subprocess.DEVNULL, stdout=self._ready, stderr=self._log, start_new_session=True
        )

    def _wait(self) -> Addresses:
        assert self._process is not None  # noqa: S101  _start has run
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            self._ready.seek(0)
            line = self._ready.readline()
            if line.endswith(b"\n"):
                told = json.loads(line)
                return Addresses(told["http"], told["grpc"], told["store"])
            if self._process.poll() is not None:
                raise DemoError(f"The backend did not start.\n{self._last_words()}")
            time.sleep(0.05)
        raise DemoError(f"The backend was not ready after {START_TIMEOUT_S:.0f} s.\n{self._last_words()}")

    def _last_words(self) -> str:
        assert self._log is not None  # noqa: S101  _start has run
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-15:])

    def _stop(self) -> None:
        if self._process is not None:
            stop(self._process)
        self._stack.close()
