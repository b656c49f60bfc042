"""Limits on what a span, a log record or a point may hold: beyond them it is cut, and the cut is counted.

The body bounds it all (`TOKENTRAIL_MAX_BODY_BYTES`); these keep one of its items from being all of it. They are far
above what SDKs send, whose own limits are 128 attributes, events and links (OTEL_*_COUNT_LIMIT).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, TypeVar

from tokentrail.backend.log import LogRecord
from tokentrail.backend.point import Point
from tokentrail.backend.receiver.decoded import Decoded, DecodedLogs, DecodedMetrics
from tokentrail.backend.signals import Origin
from tokentrail.backend.span import Attributes, Span, Value

MAX_ATTRIBUTES: Final = 4096
"""Of one item; vocabularies that number each part of a message in names of its own have up to thousands."""
MAX_KEY_CHARS: Final = 1024
MAX_VALUE_CHARS: Final = 4 * 1024 * 1024
"""Of one value, and of the body of a log record; nested ones as JSON."""
MAX_EVENTS: Final = 4096
MAX_LINKS: Final = 4096
MAX_EXEMPLARS: Final = 1024
MAX_BUCKETS: Final = 16_384
"""Of one point. A histogram without some of its buckets would be another one: the point is left out."""

ATTRIBUTES: Final = "attributes"
KEY: Final = "attribute_key"
VALUE: Final = "attribute_value"
DEPTH: Final = "attribute_depth"
EVENTS: Final = "events"
LINKS: Final = "links"
EXEMPLARS: Final = "exemplars"
REASONS: Final = (ATTRIBUTES, KEY, VALUE, DEPTH, EVENTS, LINKS, EXEMPLARS)
"""Of a cut: how many attributes, keys, values, events, links and exemplars were left out or shortened."""
TOO_MANY_BUCKETS: Final = "too_many_buckets"
"""Reason of rejection."""

_Item = TypeVar("_Item")


def bound_spans(decoded: Decoded, body_bytes: int) -> Decoded:
    """`decoded`, each span of it within the limits."""
    bounds = _Bounds(body_bytes)
    spans = [bounds.span(span) for span in decoded.spans]
    return Decoded(spans, decoded.rejected, bounds.cut) if bounds.cut else decoded


def bound_logs(decoded: DecodedLogs, body_bytes: int) -> DecodedLogs:
    """`decoded`, each record of it within the limits."""
    bounds = _Bounds(body_bytes)
    records = [bounds.record(record) for record in decoded.records]
    return DecodedLogs(records, bounds.cut) if bounds.cut else decoded


def bound_metrics(decoded: DecodedMetrics, body_bytes: int) -> DecodedMetrics:
    """`decoded`, each point of it within the limits."""
    bounds = _Bounds(body_bytes)
    points = [bounds.point(point) for point in decoded.points if _has_few_buckets(point)]
    left_out = len(decoded.points) - len(points)
    return DecodedMetrics(points, {TOO_MANY_BUCKETS: left_out} if left_out else {}, bounds.cut)


def _has_few_buckets(point: Point) -> bool:
    parts = (point.bucket_counts, point.explicit_bounds, point.positive.counts, point.negative.counts, point.quantiles)
    return max(map(len, parts)) <= MAX_BUCKETS


class _Bounds:
    """Cuts, and counts what it cuts. For one request."""

    def __init__(self, body_bytes: int) -> None:
        self.cut: Counter[str] = Counter()
        self._may_have_long_values = body_bytes > MAX_VALUE_CHARS
        self._shared: dict[int, tuple[Attributes, Attributes]] = {}
        """Attributes that many items share: as they came (so that their identity stays theirs) and bounded."""
        self._origins: dict[int, tuple[Origin, Origin]] = {}

    def span(self, span: Span) -> Span:
        """`span` within the limits; the same object where it is."""
        attributes, resource = self._attributes(span.attributes), self._once(span.resource_attributes)
        if span.events or span.links:
            events, links = self._first(span.events, MAX_EVENTS, EVENTS), self._first(span.links, MAX_LINKS, LINKS)
            events = tuple(self._with_attributes(event) for event in events)
            links = tuple(self._with_attributes(link) for link in links)
            if events != span.events or links != span.links:
                span = replace(span, events=events, links=links)
        if attributes is span.attributes and resource is span.resource_attributes:
            return span
        return replace(span, attributes=attributes, resource_attributes=resource)

    def record(self, record: LogRecord) -> LogRecord:
        """`record` within the limits; the same object where it is."""
        attributes, origin = self._attributes(record.attributes), self._origin(record.origin)
        body = self._value(record.body) if self._may_have_long_values else record.body
        if attributes is record.attributes and origin is record.origin and body is record.body:
            return record
        return replace(record, attributes=attributes, origin=origin, body=body)

    def point(self, point: Point) -> Point:
        """`point` within the limits; the same object where it is."""
        attributes, origin = self._attributes(point.attributes), self._origin(point.metric.origin)
        exemplars = self._first(point.exemplars, MAX_EXEMPLARS, EXEMPLARS)
        exemplars = tuple(self._with_attributes(each) for each in exemplars)
        if attributes is point.attributes and origin is point.metric.origin and exemplars == point.exemplars:
            return point
        metric = point.metric if origin is point.metric.origin else replace(point.metric, origin=origin)
        return replace(point, attributes=attributes, exemplars=exemplars, metric=metric)

    def _origin(self, origin: Origin) -> Origin:
        known = self._origins.get(id(origin))
        if known is None:
            resource, scope = self._once(origin.resource_attributes), self._attributes(origin.scope_attributes)
            same = resource is origin.resource_attributes and scope is origin.scope_attributes
            bounded = origin if same else replace(origin, resource_attributes=resource, scope_attributes=scope)
            known = self._origins[id(origin)] = (origin, bounded)
        return known[1]

    def _once(self, attributes: Attributes) -> Attributes:
        known = self._shared.get(id(attributes))
        if known is None:
            known = self._shared[id(attributes)] = (attributes, self._attributes(attributes))
        return known[1]

    def _with_attributes(self, item: _Item) -> _Item:
        """An event, a link or an exemplar with its attributes within the limits."""
        own: Attributes = item.attributes  # type: ignore[attr-defined]  # each of the three has them
        bounded = self._attributes(own)
        return item if bounded is own else replace(item, attributes=bounded)  # type: ignore[type-var]  # dataclasses

    def _first(self, items: tuple[_Item, ...], most: int, reason: str) -> tuple[_Item, ...]:
        if len(items) <= most:
            return items
        self.cut[reason] += len(items) - most
        return items[:most]

    def _attributes(self, attributes: Attributes) -> Attributes:
        if not attributes:
            return attributes
        few = len(attributes) <= MAX_ATTRIBUTES
        # Almost always that is all there is to look at.
        if few and not self._may_have_long_values and max(map(len, attributes)) <= MAX_KEY_CHARS:
            return attributes
        if not few:
            self.cut[ATTRIBUTES] += len(attributes) - MAX_ATTRIBUTES
        found = {self._key(key): self._value(value) for key, value in islice(attributes.items(), MAX_ATTRIBUTES)}
        same = found.keys() == attributes.keys() and all(found[key] is attributes[key] for key in found)
        return attributes if same else found

    def _key(self, key: str) -> str:
        if len(key) <= MAX_KEY_CHARS:
            return key
        self.cut[KEY] += 1
        return key[:MAX_KEY_CHARS]

    def _value(self, value: Value) -> Value:
        if isinstance(value, str | bytes):
            if len(value) <= MAX_VALUE_CHARS:
                return value
            self.cut[VALUE] += 1
            return value[:MAX_VALUE_CHARS]
        if isinstance(value, tuple | Mapping) and _size(value) > MAX_VALUE_CHARS:
            self.cut[VALUE] += 1
            return _beginning(value)
        return value


def _size(value: Value) -> int:
    """About the characters of `value` as JSON."""
    if isinstance(value, str | bytes):
        return len(value) + 2
    if isinstance(value, Mapping):
        return sum(len(key) + 4 + _size(item) for key, item in value.items())
    if isinstance(value, Sequence):
        return sum(1 + _size(item) for item in value)
    return 8


def _beginning(value: Value) -> str:
    """The beginning of a nested value that is too long: of what it is made of, as much as fits, as text."""
    return str(value)[:MAX_VALUE_CHARS]
