"""The benchmark of the ingest: that it sends what it says, and finds what a backend did wrong."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.ingest import load, payloads, steady
from benchmarks.ingest.payloads import Request, requests


def operations(request: Request) -> list[str]:
    message = ExportTraceServiceRequest.FromString(request.body)
    spans = [span for each in message.resource_spans for scope in each.scope_spans for span in scope.spans]
    return [
        next(pair.value.string_value for pair in span.attributes if pair.key == "gen_ai.operation.name")
        for span in spans
    ]


def test_requests_have_the_spans_and_calls_that_they_say() -> None:
    made = list(islice(requests(2048, 512), 4))

    found = [operation for each in made for operation in operations(each)]

    assert len(found) == sum(each.spans for each in made) == 4 * 512
    assert found.count("chat") + found.count("embeddings") == sum(each.calls for each in made)
    assert 0.5 < found.count("chat") / len(found) < 0.56
    assert 0.2 < found.count("execute_tool") / len(found) < 0.26


def test_a_request_is_about_as_large_as_its_content() -> None:
    small, large = (next(requests(size, 512)).body for size in (0, 8192))

    assert 500 < len(small) / 512 < 1200
    assert 0.4 * 8192 < (len(large) - len(small)) / 512 < 0.6 * 8192


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_a_load_is_measured_and_what_it_stored_is_checked(transport: str) -> None:
    measured = load.measure(load.Load(transport, 100, 16, 2, 64))

    assert measured.spans == 64
    assert measured.cpu_s > 0
    assert measured.ack_ms[0] > 0
    assert measured.memory_mb > 50


def test_a_call_without_a_price_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "_MODELS", [("nobody", "no-model", "no-model-1", "api.nobody.example")])

    with pytest.raises(load.WrongResultError, match="unpriced"):
        load.measure(load.Load("http", 0, 16, 1, 16))


def test_a_span_too_many_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_less(*arguments: int) -> Iterator[Request]:
        return (replace(each, spans=each.spans - 1) for each in requests(*arguments))

    monkeypatch.setattr(load, "requests", one_less)

    with pytest.raises(load.WrongResultError, match="spans_stored"):
        load.measure(load.Load("http", 0, 16, 1, 16))


def test_a_steady_load_is_told_period_by_period() -> None:
    lines: list[str] = []

    periods = steady.steady(2048, 0.05, None, lines.append, period_s=1.5)

    assert len(periods) == len(lines) - 1 == 2
    assert sum(each.spans for each in periods) == pytest.approx(2048 * 3, abs=512)
    assert all(each.cpu_s > 0 and each.memory_mb > 50 for each in periods)
