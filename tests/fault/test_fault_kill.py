"""kill -9 in the middle of load: every span that was acknowledged is there after a restart.

One kill in the normal run; `pytest -m slow tests/fault` repeats it with more senders and both transports.
"""

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest

from support import otlp
from support.backend_process import EXPORT, BackendProcess

SPANS_PER_REQUEST = 5


class Load:
    """Senders that go on until the backend is gone; `acknowledged` holds the response ids it said it stored."""

    def __init__(self, backend: BackendProcess, senders: int, prefix: str):
        self.acknowledged: list[str] = []
        self._backend, self._prefix = backend, prefix
        self._halt = threading.Event()
        targets = itertools.cycle((self._send_http, self._send_grpc))
        self._threads = [threading.Thread(target=next(targets), args=(number,)) for number in range(senders)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, acknowledged: int) -> None:
        deadline = time.monotonic() + 30
        while len(self.acknowledged) < acknowledged:
            assert time.monotonic() < deadline, f"only {len(self.acknowledged)} spans in 30 s"
            time.sleep(0.005)

    def end(self) -> None:
        self._halt.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _batch(self, sender: int, number: int) -> tuple[list[str], bytes]:
        ids = [f"{self._prefix}-{sender}-{number}-{i}" for i in range(SPANS_PER_REQUEST)]
        return ids, otlp.body(*(otlp.span({**otlp.CHAT, "gen_ai.response.id": each}) for each in ids))

    def _send_http(self, sender: int) -> None:
        address = urlsplit(self._backend.http)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
        try:
            for number in itertools.count():
                if self._halt.is_set():
                    return
                ids, body = self._batch(sender, number)
                connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
                response = connection.getresponse()
                response.read()
                if response.status == 200:
                    self.acknowledged.extend(ids)
        except (OSError, http.client.HTTPException):
            return  # the backend is gone
        finally:
            connection.close()

    def _send_grpc(self, sender: int) -> None:
        with grpc.insecure_channel(self._backend.grpc) as channel:
            export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
            for number in itertools.count():
                if self._halt.is_set():
                    return
                ids, body = self._batch(sender, number)
                try:
                    export(body, timeout=20)
                except grpc.RpcError:
                    return  # the backend is gone
                self.acknowledged.extend(ids)


def kill_and_compare(data: Path, senders: int, seed: int) -> int:
    """One round: load, kill -9 at a random moment, restart, compare. The number of acknowledged spans."""
    prefix = f"round{seed}"
    with BackendProcess(data) as backend:
        load = Load(backend, senders, prefix)
        load.wait_for(100)
        time.sleep(random.Random(seed).uniform(0, 0.6))
        backend.kill()
        load.end()
    with BackendProcess(data) as again:
        found = stored_ids(again, prefix)
        assert again.post_traces(otlp.body()).status == 200, "it goes on after the restart"
        all_rows, counted = count(again, "/api/totals"), again.metric("tokentrail_requests_total")
    lost = set(load.acknowledged) - found.keys()
    assert not lost, f"{len(lost)} of {len(load.acknowledged)} acknowledged spans are lost, such as {min(lost)}"
    doubled = [each for each, times in found.items() if times > 1]
    assert not doubled, f"{len(doubled)} spans are stored more than once, such as {min(doubled)}"
    assert counted == all_rows, "the counters go on to the call"
    return len(load.acknowledged)


def count(backend: BackendProcess, path: str) -> int:
    """The number of calls that the API tells."""
    return int(json.loads(backend.get(path).body)["requests"])


def stored_ids(backend: BackendProcess, prefix: str) -> Counter[str]:
    """The ids of all rows of the round with how often they are stored, through the query API, page by page."""
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


def test_every_acknowledged_span_survives_kill_9_under_load(tmp_path: Path) -> None:
    assert kill_and_compare(tmp_path / "data", senders=4, seed=1) >= 100


@pytest.mark.slow
def test_every_acknowledged_span_survives_many_kills_on_the_same_data(tmp_path: Path) -> None:
    total = sum(kill_and_compare(tmp_path / "data", senders=8, seed=seed) for seed in range(2, 8))

    assert total >= 600
