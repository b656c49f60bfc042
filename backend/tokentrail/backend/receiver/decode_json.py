"""OTLP JSON bodies: protobuf's JSON mapping with hex ids and enums as numbers.

    {"resourceSpans": [{"resource": {"attributes": [{"key": "k", "value": {"stringValue": "v"}}]},
      "scopeSpans": [{"scope": {"name": "n"}, "spans": [{"traceId": "<32 hex>", "spanId": "<16 hex>",
        "startTimeUnixNano": "1700000000000000000", "attributes": [...]}]}]}]}

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding (read 2026-11). Unknown keys are ignored; field names
are taken in camelCase and in snake_case; 64-bit numbers as strings, as numbers, and as the `{low, high}` objects that
some JavaScript senders write. A value of the wrong type is kept as text: it costs neither the span nor the batch. Only
a wrong structure (an object where a list belongs) makes the body malformed.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from tokentrail.backend.receiver.decoded import (
    INVALID_SPAN_ID,
    INVALID_TRACE_ID,
    MAX_VALUE_DEPTH,
    TOO_DEEP,
    Decoded,
    DecodeError,
    bounded_int,
    bounded_time,
    is_hex_id,
)
from tokentrail.backend.span import Attributes, Event, Kind, Link, Span, StatusCode, Value

_Object: TypeAlias = Mapping[str, object]

_MAX_DIGITS: Final = 25
"""A longer integer literal is read as a double: no 64-bit number has as many digits."""
_WORD_START: Final = re.compile(r"[A-Z]")
_NUMBER: Final = re.compile(r"[+-]?\d{1,25}")


def decode_json(body: bytes) -> Decoded:
    """The spans of a JSON body. Raises `DecodeError`, naming the place, when it is not an export request."""
    spans: list[Span] = []
    rejected: dict[str, int] = {}
    for resource_spans, place in _objects(_parse(body), "resourceSpans", ""):
        resource = _attributes(_object(resource_spans, "resource", place), f"{place}.resource")
        for scope_spans, scope_place in _objects(resource_spans, "scopeSpans", place):
            scope = _object(scope_spans, "scope", scope_place)
            for span, span_place in _objects(scope_spans, "spans", scope_place):
                if reason := _invalid_id(span):
                    rejected[reason] = rejected.get(reason, 0) + 1
                else:
                    spans.append(_span(span, resource, scope, span_place))
    return Decoded(spans, rejected)


def _parse(body: bytes) -> _Object:
    try:
        document = json.loads(body, parse_int=_parse_int)
    except RecursionError as error:
        raise DecodeError("the JSON body is nested too deeply") from error
    except ValueError as error:
        raise DecodeError(f"the body ({len(body)} bytes) is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise DecodeError(f"the JSON body must be an object with resourceSpans, not {_kind(document)}")
    return document


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _get(parent: _Object, name: str) -> object:
    if name in parent:
        return parent[name]
    return parent.get(_WORD_START.sub(lambda match: f"_{match[0].lower()}", name))


def _objects(parent: _Object, name: str, place: str) -> Iterator[tuple[_Object, str]]:
    """Each object of the list `name`, with its place in words for an error."""
    items = _get(parent, name)
    place = f"{place}.{name}" if place else name
    if items is None:
        return
    if not isinstance(items, list):
        raise DecodeError(f"{place} must be an array, not {_kind(items)}")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise DecodeError(f"{place}[{index}] must be an object, not {_kind(item)}")
        yield item, f"{place}[{index}]"


def _object(parent: _Object, name: str, place: str) -> _Object:
    item = _get(parent, name)
    if item is None:
        return {}
    if not isinstance(item, dict):
        raise DecodeError(f"{place}.{name} must be an object, not {_kind(item)}")
    return item


def _invalid_id(span: _Object) -> str | None:
    if not is_hex_id(_text(_get(span, "traceId")).lower(), 32):
        return INVALID_TRACE_ID
    if not is_hex_id(_text(_get(span, "spanId")).lower(), 16):
        return INVALID_SPAN_ID
    return None


def _span(span: _Object, resource: Attributes, scope: _Object, place: str) -> Span:
    parent = _text(_get(span, "parentSpanId")).lower()
    status = _object(span, "status", place)
    return Span(
        trace_id=_text(_get(span, "traceId")).lower(),
        span_id=_text(_get(span, "spanId")).lower(),
        parent_span_id=parent if is_hex_id(parent, 16) else "",
        trace_state=_text(_get(span, "traceState")),
        name=_text(_get(span, "name")),
        kind=_enum(_get(span, "kind"), Kind, "SPAN_KIND_"),
        start_ns=_time(_get(span, "startTimeUnixNano")),
        end_ns=_time(_get(span, "endTimeUnixNano")),
        status_code=_enum(_get(status, "code"), StatusCode, "STATUS_CODE_"),
        status_message=_text(_get(status, "message")),
        attributes=_attributes(span, place),
        events=tuple(_event(event, at) for event, at in _objects(span, "events", place)),
        links=tuple(_link(link, at) for link, at in _objects(span, "links", place)),
        resource_attributes=resource,
        scope_name=_text(_get(scope, "name")),
        scope_version=_text(_get(scope, "version")),
    )


def _event(event: _Object, place: str) -> Event:
    return Event(_time(_get(event, "timeUnixNano")), _text(_get(event, "name")), _attributes(event, place))


def _link(link: _Object, place: str) -> Link:
    return Link(
        _text(_get(link, "traceId")).lower(),
        _text(_get(link, "spanId")).lower(),
        _text(_get(link, "traceState")),
        _attributes(link, place),
    )


def _attributes(parent: _Object, place: str) -> Attributes:
    return {_text(pair.get("key")): _value(pair.get("value"), 0) for pair, _ in _objects(parent, "attributes", place)}


def _value(value: object, depth: int) -> Value:
    """An AnyValue; whatever is not one is kept as text."""
    if value is None:
        return None
    if not isinstance(value, dict):
        return _text(value)
    for name, read in _SCALARS.items():
        if (raw := _get(value, name)) is not None:
            return read(raw)
    for name in ("arrayValue", "kvlistValue"):
        if (raw := _get(value, name)) is not None:
            return _nested(raw, name, depth)
    return None if not value else _text(value)


def _nested(raw: object, name: str, depth: int) -> Value:
    if depth >= MAX_VALUE_DEPTH:
        return TOO_DEEP
    items = raw.get("values", []) if isinstance(raw, dict) else None
    if not isinstance(items, list):
        return _text(raw)
    if name == "arrayValue":
        return tuple(_value(item, depth + 1) for item in items)
    pairs = (item for item in items if isinstance(item, dict))
    return {_text(pair.get("key")): _value(pair.get("value"), depth + 1) for pair in pairs}


def _boolean(raw: object) -> Value:
    if isinstance(raw, bool):
        return raw
    return {"true": True, "false": False}.get(_text(raw).lower(), _text(raw))


def _integer(raw: object) -> Value:
    number = _whole(raw)
    return _text(raw) if number is None else bounded_int(number)


def _double(raw: object) -> Value:
    if isinstance(raw, bool):
        return _text(raw)
    if isinstance(raw, int | float | str):
        try:
            # Protobuf's JSON mapping writes NaN, Infinity and -Infinity as strings; Python reads the same words.
            return float(raw)
        except (ValueError, OverflowError):
            pass
    return _text(raw)


def _bytes(raw: object) -> Value:
    try:
        return base64.b64decode(_text(raw), validate=True)
    except (binascii.Error, ValueError):
        return _text(raw)


_SCALARS: Final = {
    "stringValue": lambda raw: _text(raw),
    "boolValue": _boolean,
    "intValue": _integer,
    "doubleValue": _double,
    "bytesValue": _bytes,
}


def _whole(raw: object) -> int | None:
    """A whole number in any of the ways senders write one, or `None`."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int):
        return raw
    if isinstance(raw, float):
        return int(raw) if raw.is_integer() else None
    if isinstance(raw, str):
        return int(raw) if _NUMBER.fullmatch(raw.strip()) else None
    if isinstance(raw, dict) and isinstance(raw.get("low"), int) and isinstance(raw.get("high"), int):
        return int((raw["high"] << 32) | (raw["low"] & 0xFFFFFFFF))
    return None


def _time(raw: object) -> int:
    return bounded_time(_whole(raw) or 0)


def _enum(raw: object, kind: type[Kind] | type[StatusCode], prefix: str) -> int:
    if isinstance(raw, str) and (member := kind.__members__.get(raw.removeprefix(prefix).upper())) is not None:
        return int(member)
    number = _whole(raw)
    return number if number is not None and number in kind.__members__.values() else 0


def _text(raw: object) -> str:
    """`raw` as text that can be stored: a lone surrogate, which JSON can spell, becomes `?`."""
    if raw is None:
        return ""
    text = raw if isinstance(raw, str) else json.dumps(raw)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
