"""Floods of what is no request, and requests that are huge: clear answers, bounded memory, others go on."""

import gzip
import http.client
import json
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support import otlp
from support.backend_process import BackendProcess, http_request
from support.fault_load import PROTOBUF, Load, assert_all_there_once, balance, footprint, settled

FLOOD = 400
MB = 1024 * 1024


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    with BackendProcess(Path(tmp_path_factory.mktemp("floods")) / "data") as process:
        yield process
        settled(process, timeout_s=120)
        assert process.get("/readyz").status == 200
        assert len(process.errors()) < 10_000, "a flood does not fill the log"


def test_random_bytes_on_both_ports_disturb_nobody(backend: BackendProcess) -> None:
    generator = random.Random(7)
    address = urlsplit(backend.http)
    grpc_host, _, grpc_port = backend.grpc.partition(":")
    before = footprint(backend)
    load = Load(backend, 4, "random")

    for number in range(FLOOD):
        target = (str(address.hostname), address.port or 0) if number % 2 else (grpc_host, int(grpc_port))
        with socket.create_connection(target, timeout=20) as connection:
            try:
                connection.sendall(generator.randbytes(generator.randrange(1, 20_000)))
            except OSError:
                continue  # refused before it was all sent
    load.wait_for(len(load.acknowledged) + 50)
    load.end()

    settled(backend)
    assert_all_there_once(backend, load, "random")
    assert set(load.answers) == {"200", "OK"}
    assert footprint(backend).rss_mb < before.rss_mb + 150


def broken_bodies() -> Iterator[tuple[bytes, dict[str, str], set[int]]]:
    """Bodies of the right kind with a fault each, how they say they are, and the answers they may get."""
    generator = random.Random(8)
    whole = otlp.body(*(otlp.span() for _ in range(20)))
    packed = gzip.compress(whole)
    deep = b'{"resourceSpans":' + b"[" * 5000 + b"]" * 5000 + b"}"
    for _ in range(FLOOD // 5):
        yield generator.randbytes(2000), {}, {200, 400}  # some bytes are a request with unknown fields
        yield whole[: generator.randrange(50, len(whole) - 1)], {}, {400}
        yield packed[: generator.randrange(20, len(packed) - 1)], {"content_encoding": "gzip"}, {400}
        yield deep, {"content_type": "application/json"}, {400}
        flipped = bytearray(whole)
        flipped[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        yield bytes(flipped), {}, {200, 400}


def test_broken_bodies_are_answered_one_by_one_and_the_books_stay_even(backend: BackendProcess) -> None:
    before = footprint(backend)

    for body, said, allowed in broken_bodies():
        assert backend.post_traces(body, **said).status in allowed

    settled(backend)
    assert footprint(backend).rss_mb < before.rss_mb + 150


def test_a_declared_length_costs_nothing_until_it_comes(backend: BackendProcess) -> None:
    address = urlsplit(backend.http)
    before = footprint(backend)
    head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: %d\r\n\r\n"

    ends: Counter[bytes] = Counter()
    opened = []
    for declared in [64 * MB] * 200 + [10**15] * 200:
        connection = socket.create_connection((str(address.hostname), address.port or 0), timeout=20)
        connection.sendall((head % declared).encode())
        opened.append(connection)
    for connection in opened[200:]:
        ends[connection.recv(65536).partition(b"\r\n")[0]] += 1
    held = footprint(backend)
    for connection in opened:
        connection.close()

    assert ends == {b"HTTP/1.1 413 Request Entity Too Large": 200}
    assert held.rss_mb < before.rss_mb + 50


def nested(levels: int) -> object:
    value: object = {"stringValue": "x"}
    for _ in range(levels):
        value = {"arrayValue": {"values": [value]}}
    return value


def test_a_value_nested_deeply_costs_itself(backend: BackendProcess) -> None:
    told, _ = balance(backend)
    span = {
        "traceId": os.urandom(16).hex(),
        "spanId": os.urandom(8).hex(),
        "name": "deep",
        "attributes": [{"key": "deep", "value": nested(100)}],
    }
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()

    assert backend.post_traces(body, "application/json").status == 200
    assert settled(backend).stored == told.stored + 1


def served_meanwhile(backend: BackendProcess, prefix: str, body: bytes) -> int:
    """The status of the answer to `body`, while others go on and are to lose nothing."""
    load = Load(backend, 2, prefix, retry=True)
    load.wait_for(20)
    answers: list[int] = []
    address = urlsplit(backend.http)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=500)

    def send() -> None:
        connection.request("POST", "/v1/traces", body, PROTOBUF)
        answers.append(connection.getresponse().status)

    sending = threading.Thread(target=send)
    sending.start()
    sending.join()
    connection.close()
    load.wait_for(len(load.acknowledged) + 20, timeout_s=120)
    load.end()
    settled(backend, timeout_s=500)
    assert_all_there_once(backend, load, prefix)
    return answers[0]


@pytest.mark.slow
def test_a_span_with_a_hundred_thousand_attributes_is_a_span(backend: BackendProcess) -> None:
    before = footprint(backend)
    span = otlp.span({**otlp.CHAT, **{f"key.{number}": number for number in range(100_000)}})

    assert served_meanwhile(backend, "wide", otlp.body(span)) == 200
    assert footprint(backend).peak_mb < before.peak_mb + 700


@pytest.mark.slow
def test_a_span_with_a_million_attributes_is_a_span_or_refused(backend: BackendProcess) -> None:
    before = footprint(backend)
    span = otlp.span({**otlp.CHAT, **{f"key.{number}": number for number in range(1_000_000)}})

    status = served_meanwhile(backend, "widest", otlp.body(span))

    print(status, before, footprint(backend))
    assert status in (200, 413)
    assert footprint(backend).peak_mb < 2048


def many_spans(count: int) -> bytes:
    """A request of so many spans as small as a span can be."""
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    trace_id = os.urandom(16)
    for number in range(count):
        spans.add(trace_id=trace_id, span_id=(number + 1).to_bytes(8, "big"), end_time_unix_nano=1)
    return message.SerializeToString()


@pytest.mark.slow
def test_a_request_of_a_hundred_thousand_spans_is_stored(backend: BackendProcess) -> None:
    before, (told, _) = footprint(backend), balance(backend)

    status = served_meanwhile(backend, "most", many_spans(100_000))

    after = footprint(backend)
    print(status, before, after)
    assert status == 200
    assert after.peak_mb < before.peak_mb + 400
    assert balance(backend)[0].stored >= told.stored + 100_000


def test_a_request_of_a_million_spans_is_refused_before_anything_is_made_of_them(backend: BackendProcess) -> None:
    before, (told, _) = footprint(backend), balance(backend)
    body = many_spans(1_000_000)
    begun_s = time.monotonic()

    answer = backend.post_traces(body)

    took_s, after = time.monotonic() - begun_s, footprint(backend)
    print(len(body), answer, f"{took_s:.2f} s", before, after)
    assert answer.status == 413
    assert b"1000000 spans" in answer.body
    assert took_s < 10
    assert after.peak_mb < before.peak_mb + 200, "a few copies of the body"
    now = balance(backend)[0]
    assert (now.received, now.rejected) == (told.received + 1_000_000, told.rejected + 1_000_000)


def framed(number: int, content: bytes) -> bytes:
    """A field of bytes, as protobuf writes it; `number` is below 16."""
    size, left = b"", len(content)
    while left > 127:
        size, left = size + bytes([left & 127 | 128]), left >> 7
    return bytes([number << 3 | 2]) + size + bytes([left]) + content


def test_short_texts_without_end_are_refused_before_they_are_read(backend: BackendProcess) -> None:
    before = footprint(backend)
    point = b'{"bucketCounts":["12"' + b',"12"' * 13_000_000 + b"]}"
    body = b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"histogram":{"dataPoints":[' + point + b"]}}]}]}]}"
    headers = {"content-type": "application/json", "content-encoding": "gzip"}

    answer = http_request(f"{backend.http}/v1/metrics", gzip.compress(body, 1), headers)

    assert answer.status == 413
    assert footprint(backend).peak_mb < before.peak_mb + 250, "a few copies of the body"


@pytest.mark.parametrize("content_type", ["application/x-protobuf", "application/json"])
def test_events_without_anything_are_refused_before_they_are_made(backend: BackendProcess, content_type: str) -> None:
    """30,000,000 of them in 60 KB of gzip were 4 GB, and a minute and a half."""
    before = footprint(backend)
    if content_type == "application/json":
        body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"events":[{}' + b",{}" * 20_000_000 + b"]}]}]}]}"
    else:
        body = framed(1, framed(2, framed(2, b"\x5a\x00" * 30_000_000)))
    packed = gzip.compress(body, 1)
    begun_s = time.monotonic()

    answer = backend.post_traces(packed, content_type, content_encoding="gzip")

    took_s, after = time.monotonic() - begun_s, footprint(backend)
    print(len(packed), answer, f"{took_s:.2f} s", before, after)
    assert answer.status == 413
    assert b"more than 4000000" in answer.body
    assert took_s < 20
    assert after.peak_mb < before.peak_mb + 250, "a few copies of the body"
