"""A real backend in a process of its own, for tests."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import grpc

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
_KEPT = {f"TOKENTRAIL_RETENTION_{kept}_DAYS": "0" for kept in ("CONTENT", "TRACES", "ROWS", "ROLLUPS")}
"""Calls of tests may be of any year."""
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)(?: \S+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def http_request(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, method: str | None = None
) -> Answer:
    """One HTTP request on a connection of its own, whatever the status of its answer."""
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def grpc_request(target: str, body: bytes, method: str = EXPORT, compression: grpc.Compression | None = None) -> bytes:
    """One call on a channel of its own, raw bytes both ways. Raises `grpc.RpcError`."""
    with grpc.insecure_channel(target, options=[("grpc.max_send_message_length", -1)]) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        return call(body, timeout=20, compression=compression)


@dataclass
class BackendProcess:
    """`tokentrail serve` on free ports of 127.0.0.1. A context manager; on exit the process is gone.

    `start` returns when it is ready; the data directory stays, so that another can be started on it.
    """

    data: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    http: str = ""
    """Base URL, such as `http://127.0.0.1:43210`."""
    grpc: str = ""
    """`127.0.0.1:port`."""
    process: subprocess.Popen[str] | None = None
    program: tuple[str, ...] = ("-m", "tokentrail.backend")
    """What Python runs: the backend, or something that runs it with faults."""
    store: str = ""
    """The URL of a store in place of the embedded one in `data`."""
    _errors: IO[str] | None = None

    def __enter__(self) -> "BackendProcess":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        assert self.process is None, "already started"
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed when the process is gone
        self.process = subprocess.Popen(
            [
                *(sys.executable, *self.program, "serve", "--json"),
                *("--store", self.store or f"chdb://{self.data.absolute()}"),
                *("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"),
            ],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **_KEPT, **self.environment},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()  # an exit ends it, so that this does not wait for ever
        if not line:
            self.process.wait(START_TIMEOUT_S)
            raise AssertionError(f"the backend did not start: {self.errors()}")
        ready = json.loads(line)
        self.http, self.grpc = ready["http"], ready["grpc"]

    def terminate(self) -> int:
        """SIGTERM; returns the exit code once the process is gone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self._gone()

    def kill(self) -> None:
        """SIGKILL, unless it is gone already."""
        if self.process is not None:
            self.process.kill()
            self._gone()

    def errors(self) -> str:
        """What it wrote to stderr so far."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        return self._errors.read()

    def get(self, path: str) -> Answer:
        return http_request(self.http + path)

    def post_traces(self, body: bytes, content_type: str = "application/x-protobuf", **headers: str) -> Answer:
        """POST to /v1/traces; header names with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return http_request(f"{self.http}/v1/traces", body, {"content-type": content_type, **named})

    def requests(self, limit: int = 10_000) -> list[dict[str, Any]]:
        """The rows of `/api/requests`."""
        answer = self.get(f"/api/requests?limit={limit}&content=1")
        assert answer.status == 200, answer
        return [json.loads(line) for line in answer.body.splitlines()]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have `labels`; 0 when there is none."""
        return sum(
            value
            for sample, own, value in samples(self.get("/metrics").body.decode())
            if sample == name and labels.items() <= own.items()
        )

    def wait_for_metric(self, name: str, at_least: float, **labels: str) -> float:
        """As `metric`, but waits for the value: metrics follow the acknowledgement."""
        deadline = time.monotonic() + 10
        while (value := self.metric(name, **labels)) < at_least and time.monotonic() < deadline:
            time.sleep(0.02)
        return value

    def _gone(self) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        code = process.wait(STOP_TIMEOUT_S)
        assert process.stdout is not None
        process.stdout.close()
        if self._errors is not None:
            if code > 0:
                sys.stderr.write(self.errors())
            self._errors.close()
            self._errors = None
        return code


def samples(text: str) -> list[tuple[str, dict[str, str], float]]:
    """Every sample of a Prometheus text: name, labels, value."""
    parsed = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            parsed.append((match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])))
    return parsed
