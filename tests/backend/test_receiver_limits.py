"""Limits of what one item may hold: at the limit all is kept, one past it is cut and counted."""

from dataclasses import replace

import pytest

from support.spans import a_span
from tokentrail.backend.log import LogRecord
from tokentrail.backend.point import Buckets, Exemplar, Metric, MetricKind, Point
from tokentrail.backend.receiver import limits
from tokentrail.backend.receiver.decoded import Decoded, DecodedLogs, DecodedMetrics
from tokentrail.backend.signals import Origin
from tokentrail.backend.span import Attributes, Event, Link

LARGE = limits.MAX_VALUE_CHARS + 1
"""Bytes of a body that may hold a value which is too long."""
ORIGIN = Origin({"service.name": "shop"}, "", "tests", "1", {}, 0, "")
RECORD = LogRecord(ORIGIN, 1, "", "", 0, 0, "", "body", {}, "")
POINT = Point(Metric(ORIGIN, MetricKind.GAUGE, "m", "", ""), {}, 0, 1)


def many(count: int) -> Attributes:
    return {f"k{number}": number for number in range(count)}


@pytest.mark.parametrize(
    ("attributes", "cut"),
    [
        (many(limits.MAX_ATTRIBUTES), {}),
        (many(limits.MAX_ATTRIBUTES + 3), {limits.ATTRIBUTES: 3}),
        ({"k" * limits.MAX_KEY_CHARS: 1}, {}),
        ({"k" * (limits.MAX_KEY_CHARS + 1): 1, "l": 2}, {limits.KEY: 1}),
        ({"v": "x" * limits.MAX_VALUE_CHARS}, {}),
        ({"v": "x" * LARGE, "w": b"x" * LARGE, "u": "x"}, {limits.VALUE: 2}),
        ({"v": ("x" * (LARGE // 2), {"k": "y" * (LARGE // 2)})}, {limits.VALUE: 1}),
        ({}, {}),
    ],
)
def test_attributes_of_every_item_are_cut_alike(attributes: Attributes, cut: dict[str, int]) -> None:
    event, link = Event(1, "e", attributes), Link("", "", "", attributes)
    exemplar = Exemplar(1, 1.0, "", "", attributes)
    span = replace(a_span({}), attributes=attributes)

    spans = limits.bound_spans(Decoded([span], {}), LARGE)
    nested = limits.bound_spans(Decoded([replace(a_span({}), events=(event,), links=(link,))], {}), LARGE)
    records = limits.bound_logs(DecodedLogs([replace(RECORD, attributes=attributes)]), LARGE)
    points = limits.bound_metrics(DecodedMetrics([replace(POINT, attributes=attributes, exemplars=(exemplar,))]), LARGE)

    twice = {reason: 2 * count for reason, count in cut.items()}
    assert (spans.cut, nested.cut, records.cut, points.cut) == (cut, twice, cut, twice)
    found = spans.spans[0].attributes
    assert nested.spans[0].events[0].attributes == nested.spans[0].links[0].attributes == found
    assert records.records[0].attributes == points.points[0].attributes == found
    assert len(found) == min(len(attributes), limits.MAX_ATTRIBUTES)
    assert list(found)[:100] == [key[: limits.MAX_KEY_CHARS] for key in list(attributes)[:100]]
    assert all(len(value) <= limits.MAX_VALUE_CHARS for value in found.values() if isinstance(value, str | bytes))
    if not cut:
        assert found is attributes, "nothing is copied for nothing"


def test_what_many_items_share_is_cut_and_counted_once() -> None:
    resource = many(limits.MAX_ATTRIBUTES + 1)
    spans = [replace(a_span({}), resource_attributes=resource) for _ in range(5)]
    origin = replace(ORIGIN, resource_attributes=resource)

    bounded = limits.bound_spans(Decoded(spans, {}), 10)
    records = limits.bound_logs(DecodedLogs([replace(RECORD, origin=origin) for _ in range(5)]), 10)

    assert bounded.cut == records.cut == {limits.ATTRIBUTES: 1}
    assert len({id(span.resource_attributes) for span in bounded.spans}) == 1
    assert len({id(record.origin) for record in records.records}) == 1


def test_events_links_and_exemplars_past_the_limit_are_left_out() -> None:
    events = tuple(Event(number, "e", {}) for number in range(limits.MAX_EVENTS + 2))
    links = tuple(Link("", str(number), "", {}) for number in range(limits.MAX_LINKS + 1))
    exemplars = tuple(Exemplar(number, 1.0, "", "", {}) for number in range(limits.MAX_EXEMPLARS + 4))

    spans = limits.bound_spans(Decoded([replace(a_span({}), events=events, links=links)], {}), 10)
    points = limits.bound_metrics(DecodedMetrics([replace(POINT, exemplars=exemplars)]), 10)

    assert (spans.cut, points.cut) == ({limits.EVENTS: 2, limits.LINKS: 1}, {limits.EXEMPLARS: 4})
    assert spans.spans[0].events == events[: limits.MAX_EVENTS]
    assert spans.spans[0].links == links[: limits.MAX_LINKS]
    assert points.points[0].exemplars == exemplars[: limits.MAX_EXEMPLARS]


def test_a_point_with_too_many_buckets_is_left_out_and_not_cut() -> None:
    wide = tuple([1] * (limits.MAX_BUCKETS + 1))
    points = [replace(POINT, positive=Buckets(0, wide)), replace(POINT, bucket_counts=wide[1:]), POINT]

    bounded = limits.bound_metrics(DecodedMetrics(points), 10)

    assert bounded.points == points[1:]
    assert bounded.rejected == {limits.TOO_MANY_BUCKETS: 1}


def test_a_body_that_is_too_long_is_cut() -> None:
    bounded = limits.bound_logs(DecodedLogs([replace(RECORD, body="x" * LARGE)]), LARGE)

    assert (bounded.cut, bounded.records[0].body) == ({limits.VALUE: 1}, "x" * limits.MAX_VALUE_CHARS)
