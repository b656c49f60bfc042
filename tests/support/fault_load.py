"""Senders that go on whatever happens, and what is to hold afterwards: nothing missing or twice, all accounted."""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from support import otlp
from support.backend_process import EXPORT, BackendProcess, samples

SPANS_PER_REQUEST = 5
PROTOBUF = {"content-type": "application/x-protobuf"}


class Load:
    """Senders that go on until the backend is gone, or `end`.

    Half of them use HTTP, half gRPC. What is not acknowledged is sent again, unchanged, if `retry`; otherwise the next
    batch follows, after a moment.
    """

    def __init__(
        self, backend: BackendProcess, senders: int, prefix: str, *, retry: bool = False, content_bytes: int = 0
    ) -> None:
        self.acknowledged: list[str] = []
        """Response ids of the spans that the backend said to have."""
        self.answers: Counter[str] = Counter()
        self.unanswered: list[bytes] = []
        """Bodies whose answer did not come: they may be stored or not."""
        self._backend, self._prefix, self._retry = backend, prefix, retry
        self._content = "x" * content_bytes
        self._halt = threading.Event()
        targets = itertools.cycle((self._send_http, self._send_grpc))
        self._threads = [threading.Thread(target=next(targets), args=(number,)) for number in range(senders)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, acknowledged: int, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while len(self.acknowledged) < acknowledged:
            assert time.monotonic() < deadline, f"only {len(self.acknowledged)} spans in {timeout_s:g} s"
            time.sleep(0.005)

    def wait_for_answer(self, *statuses: str, timeout_s: float = 30) -> None:
        """Until one of them came, from now on."""
        before = dict(self.answers)
        deadline = time.monotonic() + timeout_s
        while all(self.answers[status] <= before.get(status, 0) for status in statuses):
            assert time.monotonic() < deadline, f"answers were {self.answers}, none of {statuses}"
            time.sleep(0.005)

    def end(self) -> None:
        self._halt.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _bodies(self, sender: int) -> Iterable[tuple[list[str], bytes]]:
        for number in itertools.count():
            ids = [f"{self._prefix}-{sender}-{number}-{i}" for i in range(SPANS_PER_REQUEST)]
            extra = {"gen_ai.input.messages": self._content} if self._content else {}
            spans = (otlp.span({**otlp.CHAT, **extra, "gen_ai.response.id": each}) for each in ids)
            yield ids, otlp.body(*spans)

    def _send_http(self, sender: int) -> None:
        address = urlsplit(self._backend.http)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=50)

        def export(body: bytes) -> str:
            connection.request("POST", "/v1/traces", body, PROTOBUF)
            response = connection.getresponse()
            response.read()
            return str(response.status)

        try:
            self._go_on(sender, export, "200")
        finally:
            connection.close()

    def _send_grpc(self, sender: int) -> None:
        with grpc.insecure_channel(self._backend.grpc) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)

            def export(body: bytes) -> str:
                try:
                    call(body, timeout=50)
                except grpc.RpcError as error:
                    trailers = error.trailing_metadata()
                    if not trailers or not any(each.key == "grpc-status-details-bin" for each in trailers):
                        raise ConnectionError from error  # of no backend
                    return error.code().name
                return "OK"

            self._go_on(sender, export, "OK")

    def _go_on(self, sender: int, export: Callable[[bytes], str], fine: str) -> None:
        """Send batch after batch; `export` sends one and tells the answer's status."""
        for ids, body in self._bodies(sender):
            while not self._halt.is_set():
                try:
                    answer = export(body)
                except (OSError, http.client.HTTPException):
                    self.unanswered.append(body)
                    return
                self.answers[answer] += 1
                if answer == fine:
                    self.acknowledged.extend(ids)
                    break
                time.sleep(0.02)
                if not self._retry:
                    break
            if self._halt.is_set():
                return


@dataclass(frozen=True)
class Balance:
    """What a process says to have become of all spans it received."""

    received: int
    stored: int
    repeated: int
    rejected: int
    returned: int

    @property
    def is_even(self) -> bool:
        return self.received == self.stored + self.repeated + self.rejected + self.returned


def balance(backend: BackendProcess) -> tuple[Balance, int]:
    """What it says now, and the spans that wait."""
    found: Counter[str] = Counter()
    for name, _, value in samples(backend.get("/metrics").body.decode()):
        found[name] += int(value)
    whole = {name: found[f"tokentrail_spans_{name}_total"] for name in Balance.__dataclass_fields__}
    return Balance(**whole), found["tokentrail_queue_spans"]


def settled(backend: BackendProcess, timeout_s: float = 60) -> Balance:
    """The balance when nothing waits any more. Fails unless it is even."""
    deadline = time.monotonic() + timeout_s
    while True:
        told, waiting = balance(backend)
        if (told.is_even and not waiting) or time.monotonic() > deadline:
            assert told.is_even, f"{told} is not even, {waiting} spans wait"
            assert not waiting
            return told
        time.sleep(0.1)


def stored_ids(backend: BackendProcess, prefix: str) -> Counter[str]:
    """The response ids of all rows that begin with `prefix`, with how often they are stored, page by page."""
    found: Counter[str] = Counter()
    seen: set[str] = set()
    until = ""
    while True:
        answer = backend.get(f"/api/requests?limit=10000{until}")
        assert answer.status == 200, answer
        rows = [json.loads(line) for line in answer.body.splitlines()]
        new = [row for row in rows if row["span_id"] not in seen]
        # A page ends where the next one begins: what is on both is one row, what is twice on one are two.
        found.update(row["response_id"] for row in new if row["response_id"].startswith(prefix))
        if not new:
            return found
        seen |= {row["span_id"] for row in new}
        until = f"&until={rows[-1]['time']}"


def assert_all_there_once(backend: BackendProcess, load: Load, prefix: str) -> None:
    """Nothing that was acknowledged is missing, nothing at all is there twice."""
    found = stored_ids(backend, prefix)
    lost = set(load.acknowledged) - found.keys()
    assert not lost, f"{len(lost)} of {len(load.acknowledged)} acknowledged spans are lost, such as {min(lost)}"
    doubled = [each for each, times in found.items() if times > 1]
    assert not doubled, f"{len(doubled)} spans are stored more than once, such as {min(doubled)}"


def calls(backend: BackendProcess) -> int:
    """The number of rows, as the API tells it."""
    return int(json.loads(backend.get("/api/totals").body)["requests"])


@dataclass(frozen=True)
class Footprint:
    """What a process holds."""

    rss_mb: int
    peak_mb: int
    sockets: int
    """Connections and what listens; not the files of the engine, which come and go with its parts."""


def footprint(backend: BackendProcess) -> Footprint:
    """What it holds now; `peak_mb` since its start."""
    assert backend.process is not None
    proc = Path(f"/proc/{backend.process.pid}")
    fields: Mapping[str, str] = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    kb = {name: int(fields[name].split()[0]) for name in ("VmRSS", "VmHWM")}
    return Footprint(kb["VmRSS"] // 1024, kb["VmHWM"] // 1024, sum(map(_is_socket, (proc / "fd").iterdir())))


def _is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except FileNotFoundError:  # closed meanwhile
        return False


def wait_for_sockets(backend: BackendProcess, at_most: int, timeout_s: float = 20) -> int:
    """Wait until the process has no more than these open; how many it has."""
    deadline = time.monotonic() + timeout_s
    while (now := footprint(backend).sockets) > at_most and time.monotonic() < deadline:
        time.sleep(0.1)
    return now
