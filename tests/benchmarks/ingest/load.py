"""One load on one backend: real sockets, a real `tokentrail serve`, and its CPU time until all of it is stored."""

import contextlib
import http.client
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Final
from urllib.parse import urlsplit

import grpc

from benchmarks.ingest.payloads import Request, requests
from benchmarks.ingest.stored import Stored, read_stored
from support.backend_process import EXPORT, BackendProcess

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_TIMEOUT_S: Final = 60.0
_MAX_MESSAGE: Final = ("grpc.max_send_message_length", -1)
_WARM_UP_REQUESTS: Final = 12
_BACK_OFF_S: Final = 0.2
_QUIET: Final = 0.05
"""Share of a core below which a backend has nothing left to do."""


_COUNTERS: Final = ("tokentrail_spans_stored_total", "tokentrail_requests_total", "tokentrail_unpriced_requests_total")


class WrongResultError(Exception):
    """What is in the store is not what was sent."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent, and how."""

    transport: str
    """`http` or `grpc`."""
    content_bytes: int
    spans_a_request: int
    clients: int
    spans: int
    """In all, about."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load took."""

    load: Load
    spans: int
    wall_s: float
    """From the first request to the last span in the store."""
    cpu_s: float
    """Of the backend in that time, all threads."""
    after_s: float
    """CPU time of the backend from then on until it was quiet: merges."""
    ack_ms: tuple[float, float]
    """Median and 99th percentile of the time to an acknowledgement."""
    memory_mb: float
    """The most that was resident."""
    returned: int
    """Requests that were sent back to be sent again."""

    @property
    def us_a_span(self) -> float:
        """CPU time of the backend for a span, merges included."""
        return (self.cpu_s + self.after_s) / self.spans * 1e6

    @property
    def spans_a_core(self) -> float:
        """Spans in a second of one core, merges included."""
        return 1e6 / self.us_a_span


def measure(load: Load, python_path: str | None = None, seed: int = 1) -> Measured:
    """Put `load` on a new backend and check what it stored. Raises `WrongResultError`.

    `python_path` is for the code of another version than the one that runs this.
    """
    environment = {} if python_path is None else {"PYTHONPATH": python_path}
    per_client = max(load.spans // load.spans_a_request // load.clients, 1)
    bodies = list(itertools.islice(requests(load.content_bytes, load.spans_a_request, seed), per_client * load.clients))
    warm_up = list(itertools.islice(requests(load.content_bytes, load.spans_a_request, seed + 1), _WARM_UP_REQUESTS))
    with tempfile.TemporaryDirectory() as directory, BackendProcess(Path(directory) / "data", environment) as backend:
        _send_all(backend, load, [warm_up])
        wait_stored(backend, sum(each.spans for each in warm_up))
        _wait_quiet(backend)
        before_s, begun_s = cpu_s(backend), time.monotonic()
        taken, returned = _send_all(backend, load, [bodies[at :: load.clients] for at in range(load.clients)])
        wait_stored(backend, sum(each.spans for each in (*warm_up, *bodies)))
        stored_s, used_s = time.monotonic(), cpu_s(backend)
        _wait_quiet(backend)
        measured = Measured(
            load=load,
            spans=sum(each.spans for each in bodies),
            wall_s=stored_s - begun_s,
            cpu_s=used_s - before_s,
            after_s=cpu_s(backend) - used_s,
            ack_ms=percentiles(taken),
            memory_mb=memory_mb(backend, "VmHWM"),
            returned=returned,
        )
        verify(backend, [*warm_up, *bodies])
    return measured


def idle(seconds: float) -> float:
    """The share of a core that a backend takes which nobody sends anything."""
    with tempfile.TemporaryDirectory() as directory, BackendProcess(Path(directory) / "data") as backend:
        _send_all(backend, Load("http", 0, 16, 1, 16), [list(itertools.islice(requests(0, 16), 1))])
        wait_stored(backend, 16)
        time.sleep(5)
        before = cpu_s(backend)
        time.sleep(seconds)
        return (cpu_s(backend) - before) / seconds


def _send_all(backend: BackendProcess, load: Load, shares: Sequence[Sequence[Request]]) -> tuple[list[float], int]:
    """Send each of `shares` by a client of its own; the times to the acknowledgements, and how often to try again."""
    taken: list[float] = []
    returned = itertools.count()
    failures: list[Exception] = []

    def run(share: Sequence[Request]) -> None:
        try:
            with client(backend, load.transport) as send:
                for request in share:
                    begun = time.perf_counter()
                    while not send(request.body):
                        next(returned)
                        time.sleep(_BACK_OFF_S)
                    taken.append(time.perf_counter() - begun)
        except Exception as error:  # told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return taken, next(returned)


@contextlib.contextmanager
def client(backend: BackendProcess, transport: str) -> Iterator[Callable[[bytes], bool]]:
    """What sends a body over one connection; false for one to be sent again."""
    if transport == "grpc":
        with grpc.insecure_channel(backend.grpc, options=[_MAX_MESSAGE, ("grpc.use_local_subchannel_pool", 1)]) as made:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = made.unary_unary(EXPORT)
            yield lambda body: _export(call, body)
        return
    address = urlsplit(backend.http)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=_TIMEOUT_S)
    try:
        yield lambda body: _post(connection, body)
    finally:
        connection.close()


def _export(call: "grpc.UnaryUnaryMultiCallable[bytes, bytes]", body: bytes) -> bool:
    try:
        call(body, timeout=_TIMEOUT_S)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return False
        raise
    return True


def _post(connection: http.client.HTTPConnection, body: bytes) -> bool:
    connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
    response = connection.getresponse()
    answer = response.read()
    if response.status not in (200, 429):
        raise WrongResultError(f"status {response.status}: {answer[:200]!r}")
    return response.status == 200


def wait_stored(backend: BackendProcess, spans: int) -> None:
    """Until so many are in the store. Raises `WrongResultError` when that takes too long."""
    deadline = time.monotonic() + _TIMEOUT_S
    while (stored := backend.metric("tokentrail_spans_stored_total")) < spans:
        if time.monotonic() > deadline:
            raise WrongResultError(f"{stored:.0f} of {spans} spans are stored after {_TIMEOUT_S:g} s")
        time.sleep(0.1)


def _wait_quiet(backend: BackendProcess) -> None:
    used = cpu_s(backend)
    for _ in range(int(_TIMEOUT_S)):
        time.sleep(1)
        before, used = used, cpu_s(backend)
        if used - before < _QUIET:
            return


def verify(backend: BackendProcess, sent: Sequence[Request]) -> None:
    """Every span stored once, every call a row with a cost, and counted. Ends the backend.

    Raises `WrongResultError`.
    """
    spans, calls = sum(each.spans for each in sent), sum(each.calls for each in sent)
    counted = [int(backend.metric(name)) for name in _COUNTERS]
    if counted != [spans, calls, 0]:
        raise WrongResultError(
            f"sent {spans} spans with {calls} calls; counted {dict(zip(_COUNTERS, counted, strict=True))}"
        )
    if code := backend.terminate():
        raise WrongResultError(f"the backend ended with {code}")
    stored = read_stored(backend.data)
    if stored != Stored(spans, spans, calls, calls, calls, sum(each.contents for each in sent)):
        raise WrongResultError(f"sent {spans} spans with {calls} calls; there is {stored}")


def cpu_s(backend: BackendProcess) -> float:
    """CPU time of all threads of the process; its second field, the name, has no blank."""
    assert backend.process is not None
    fields = Path(f"/proc/{backend.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(backend: BackendProcess, which: str = "VmRSS") -> float:
    """What is resident of the process, or with `VmHWM` the most that ever was."""
    assert backend.process is not None
    status = Path(f"/proc/{backend.process.pid}/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(which)) / 1024


def percentiles(taken_s: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile of seconds, in milliseconds."""
    if len(taken_s) < 2:
        return (taken_s[0] * 1e3, taken_s[0] * 1e3)
    cut = quantiles(taken_s, n=100, method="inclusive")
    return cut[49] * 1e3, cut[98] * 1e3
