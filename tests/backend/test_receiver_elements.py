"""Requests in too many pieces: what could be millions of objects in memory is refused before any is made."""

import json
import random
from collections.abc import Callable

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support import otlp, otlp_records
from tokentrail.backend.receiver.decoded import DecodeError, TooManyElementsError
from tokentrail.backend.receiver.elements import require_few_elements, require_few_json_elements
from tokentrail.backend.signals import Signal

MOST = 1000


def pieces(message: Message) -> int:
    """How many things a message holds that may come any number of times, or are messages, at any depth."""
    found = 0
    for field, value in message.ListFields():
        children = list(value) if field.is_repeated else [value]
        if field.message_type is None:
            found += len(children) if field.is_repeated else 0
        else:
            found += len(children) + sum(map(pieces, children))
    return found


def spans_with(events: int, links: int, attributes: int) -> ExportTraceServiceRequest:
    span = otlp.span({f"key{number}": number for number in range(attributes)})
    for _ in range(events):
        span.events.add()
    for _ in range(links):
        span.links.add()
    return otlp.request([span])


def of_values(value: AnyValue) -> ExportTraceServiceRequest:
    return otlp.request([otlp.span({"key": value})])


def logs(count: int) -> ExportLogsServiceRequest:
    body = AnyValue(kvlist_value=KeyValueList(values=[KeyValue()] * count))
    return otlp_records.logs_request([otlp_records.log_record(body=body)])


def metrics(exemplars: int, quantiles: int, buckets: int) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    found = request.resource_metrics.add().scope_metrics.add().metrics
    found.add().gauge.data_points.add(exemplars=[{} for _ in range(exemplars)])
    found.add().summary.data_points.add(quantile_values=[{} for _ in range(quantiles)])
    found.add().exponential_histogram.data_points.add(positive={"bucket_counts": [1] * buckets})
    return request


@pytest.mark.parametrize(
    ("signal", "build"),
    [
        (Signal.TRACES, lambda: spans_with(2 * MOST, 0, 0)),
        (Signal.TRACES, lambda: spans_with(0, 2 * MOST, 0)),
        (Signal.TRACES, lambda: spans_with(0, 0, MOST)),
        (Signal.TRACES, lambda: spans_with(400, 400, 400)),
        (Signal.TRACES, lambda: otlp.request(otlp.span({"a": 1, "b": "c"}) for _ in range(MOST // 3))),
        (Signal.TRACES, lambda: of_values(AnyValue(array_value=ArrayValue(values=[AnyValue()] * 2 * MOST)))),
        (Signal.TRACES, lambda: of_values(AnyValue(kvlist_value=KeyValueList(values=[KeyValue()] * 2 * MOST)))),
        (Signal.LOGS, lambda: logs(2 * MOST)),
        (Signal.METRICS, lambda: metrics(2 * MOST, 0, 0)),
        (Signal.METRICS, lambda: metrics(0, 2 * MOST, 0)),
        (Signal.METRICS, lambda: metrics(0, 0, 3 * MOST)),
    ],
)
def test_pieces_of_every_kind_are_counted(signal: Signal, build: Callable[[], Message]) -> None:
    request = build()
    assert pieces(request) > MOST

    with pytest.raises(TooManyElementsError, match=f"more than {MOST} attributes"):
        require_few_elements(request.SerializeToString(), signal, MOST)


def test_texts_are_no_pieces_however_long() -> None:
    text = "x" * 50 * MOST
    few = otlp.request(otlp.span({"key": text, text: 1}) for _ in range(3))
    log = otlp_records.logs_request([otlp_records.log_record(body=AnyValue(string_value=text))])

    require_few_elements(few.SerializeToString(), Signal.TRACES, MOST)
    require_few_elements(log.SerializeToString(), Signal.LOGS, MOST)


@pytest.mark.parametrize("seed", range(20))
def test_as_many_as_may_be_are_taken_and_one_more_is_not(seed: int) -> None:
    """Of requests whose pieces are of any size; `pieces` counts what protobuf has parsed."""
    dice = random.Random(seed)
    request = otlp.request(
        otlp.span({f"k{number}": "v" * dice.choice((0, 1, 30, 300)) for number in range(dice.randrange(40))})
        for _ in range(dice.randrange(5, 20))
    )
    for span in request.resource_spans[0].scope_spans[0].spans:
        span.events.extend([Span.Event()] * dice.randrange(100))
        span.attributes.add(key="list", value=otlp.any_value([1, "two", [3.0] * dice.randrange(50)]))
    body, count = request.SerializeToString(), pieces(request)

    require_few_elements(body, Signal.TRACES, count)
    with pytest.raises(TooManyElementsError):
        require_few_elements(body, Signal.TRACES, count - 1)


def test_a_body_that_is_cut_off_is_malformed() -> None:
    body = spans_with(10 * MOST, 0, 0).SerializeToString()

    with pytest.raises(DecodeError, match="truncated"):
        require_few_elements(body[:-1], Signal.TRACES, MOST)


def test_items_of_a_refused_request_are_told() -> None:
    request = spans_with(2 * MOST, 0, 0)
    request.MergeFrom(otlp.request([otlp.span(), otlp.span()]))

    with pytest.raises(TooManyElementsError) as refused:
        require_few_elements(request.SerializeToString(), Signal.TRACES, MOST)

    assert refused.value.count == 3


def test_pieces_of_json_are_its_objects_and_arrays() -> None:
    events: object = {"resourceSpans": [{"scopeSpans": [{"spans": [{"events": [{}] * MOST}]}]}]}

    with pytest.raises(TooManyElementsError):
        require_few_json_elements(json.dumps(events).encode(), Signal.TRACES, MOST)


def test_numbers_in_json_are_pieces_too() -> None:
    point = {"bucketCounts": [1] * 4 * MOST}
    histogram = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"histogram": {"dataPoints": [point]}}]}]}]}

    with pytest.raises(TooManyElementsError):
        require_few_json_elements(json.dumps(histogram).encode(), Signal.METRICS, MOST)


def test_brackets_in_texts_of_json_are_no_pieces() -> None:
    texts = {"resourceSpans": [{"text": '[{"a": "\\\\"}]' * MOST, "\\": '"{'}]}

    # Three objects and arrays, and a comma, which is a third of one.
    require_few_json_elements(json.dumps(texts).encode(), Signal.TRACES, 4)
    with pytest.raises(TooManyElementsError):
        require_few_json_elements(json.dumps(texts).encode(), Signal.TRACES, 3)
