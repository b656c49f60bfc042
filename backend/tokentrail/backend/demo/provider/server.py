"""Serves the provider on loopback, in a thread of its own."""

import socket
import threading
import time
from types import TracebackType
from typing import Self

import uvicorn

from tokentrail.backend.demo.provider.application import LocalProvider, Settings

HOST = "127.0.0.1"
"""The only address it is served at: it asks for no valid key."""
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0


class ServedProvider:
    """A provider that listens while the `with` block lasts. Raises `OSError` when the port is taken."""

    def __init__(self, settings: Settings | None = None, port: int = 0) -> None:
        self.provider = LocalProvider(settings)
        self._port = port
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Address without a trailing slash, such as `http://127.0.0.1:8123`."""
        return f"http://{HOST}:{self._port}"

    def __enter__(self) -> Self:
        self._socket = socket.create_server((HOST, self._port))
        self._port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self.provider,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="local-provider")
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self._stop()
                raise RuntimeError("the local provider did not start")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_S)
        if self._socket is not None:
            self._socket.close()
