"""Fields of OTLP JSON: protobuf's JSON mapping with hex ids and enums as numbers.

    {"key": "k", "value": {"stringValue": "v"}}          an attribute
    "timeUnixNano": "1700000000000000000"                64-bit numbers are strings
    "traceId": "<32 hex>"

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding (read 2026-11). Unknown keys are ignored; field names
are taken in camelCase and in snake_case; 64-bit numbers as strings, as numbers, and as the `{low, high}` objects that
some JavaScript senders write. A value of the wrong type is kept as text: it costs neither the record nor the batch.
Only a wrong structure (an object where a list belongs) makes the body malformed.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final, TypeAlias

from tokentrail.backend.receiver.decoded import (
    MAX_VALUE_DEPTH,
    DecodeError,
    bounded_int,
    bounded_time,
    is_hex_id,
    too_deep,
)
from tokentrail.backend.span import Attributes, Value

Object: TypeAlias = Mapping[str, object]

_MAX_DIGITS: Final = 25
"""A longer integer literal is read as a double: no 64-bit number has as many digits."""
_WORD_START: Final = re.compile(r"[A-Z]")
_NUMBER: Final = re.compile(r"[+-]?\d{1,25}")


def parse(body: bytes, what: str) -> Object:
    """The object that a body is; `what` is the list it should hold. Raises `DecodeError`."""
    try:
        document = json.loads(body, parse_int=_parse_int)
    except RecursionError as error:
        raise DecodeError("the JSON body is nested too deeply") from error
    except ValueError as error:
        raise DecodeError(f"the body ({len(body)} bytes) is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise DecodeError(f"the JSON body must be an object with {what}, not {_kind(document)}")
    return document


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def get(parent: Object, name: str) -> object:
    """The value of `name`, a camelCase name, in either spelling."""
    if name in parent:
        return parent[name]
    return parent.get(_WORD_START.sub(lambda match: f"_{match[0].lower()}", name))


def objects(parent: Object, name: str, place: str) -> Iterator[tuple[Object, str]]:
    """Each object of the list `name`, with its place in words for an error."""
    items = get(parent, name)
    place = f"{place}.{name}" if place else name
    if items is None:
        return
    if not isinstance(items, list):
        raise DecodeError(f"{place} must be an array, not {_kind(items)}")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise DecodeError(f"{place}[{index}] must be an object, not {_kind(item)}")
        yield item, f"{place}[{index}]"


def child(parent: Object, name: str, place: str) -> Object:
    """The object `name`, empty where it is missing. Raises `DecodeError` where it is no object."""
    item = get(parent, name)
    if item is None:
        return {}
    if not isinstance(item, dict):
        raise DecodeError(f"{place}.{name} must be an object, not {_kind(item)}")
    return item


def attributes(parent: Object, place: str, name: str = "attributes") -> Attributes:
    """The attributes in the list `name`."""
    return {text(pair.get("key")): value_of(pair.get("value"), 0) for pair, _ in objects(parent, name, place)}


def value_of(value: object, depth: int) -> Value:
    """An AnyValue; whatever is not one is kept as text."""
    if value is None:
        return None
    if not isinstance(value, dict):
        return text(value)
    for name, read in _SCALARS.items():
        if (raw := get(value, name)) is not None:
            return read(raw)
    for name in ("arrayValue", "kvlistValue"):
        if (raw := get(value, name)) is not None:
            return _nested(raw, name, depth)
    return None if not value else text(value)


def _nested(raw: object, name: str, depth: int) -> Value:
    if depth >= MAX_VALUE_DEPTH:
        return too_deep()
    items = raw.get("values", []) if isinstance(raw, dict) else None
    if not isinstance(items, list):
        return text(raw)
    if name == "arrayValue":
        return tuple(value_of(item, depth + 1) for item in items)
    pairs = (item for item in items if isinstance(item, dict))
    return {text(pair.get("key")): value_of(pair.get("value"), depth + 1) for pair in pairs}


def _boolean(raw: object) -> Value:
    if isinstance(raw, bool):
        return raw
    return {"true": True, "false": False}.get(text(raw).lower(), text(raw))


def _integer(raw: object) -> Value:
    number = whole(raw)
    return text(raw) if number is None else bounded_int(number)


def _double(raw: object) -> Value:
    if isinstance(raw, bool):
        return text(raw)
    if isinstance(raw, int | float | str):
        try:
            # Protobuf's JSON mapping writes NaN, Infinity and -Infinity as strings; Python reads the same words.
            return float(raw)
        except (ValueError, OverflowError):
            pass
    return text(raw)


def _bytes(raw: object) -> Value:
    try:
        return base64.b64decode(text(raw), validate=True)
    except (binascii.Error, ValueError):
        return text(raw)


_SCALARS: Final = {
    "stringValue": lambda raw: text(raw),
    "boolValue": _boolean,
    "intValue": _integer,
    "doubleValue": _double,
    "bytesValue": _bytes,
}


def whole(raw: object) -> int | None:
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


def time(raw: object) -> int:
    """Nanoseconds since the epoch, 0 for what is none."""
    return bounded_time(whole(raw) or 0)


def enumerated(raw: object, kind: type[IntEnum], prefix: str) -> int:
    """The number of an enum that is written as its number or its name, 0 for what is neither."""
    if isinstance(raw, str) and (member := kind.__members__.get(raw.removeprefix(prefix).upper())) is not None:
        return int(member)
    number = whole(raw)
    return number if number is not None and number in kind.__members__.values() else 0


def hex_id(raw: object, digits: int) -> str:
    """An id in lower case, empty for what is none."""
    found = text(raw).lower()
    return found if is_hex_id(found, digits) else ""


def number(raw: object) -> float:
    """A double in any of the ways senders write one, 0 for what is none."""
    found = _double(raw)
    return found if isinstance(found, float) else 0.0


def numbers(parent: Object, name: str, place: str) -> tuple[float, ...]:
    """The list of doubles `name`. Raises `DecodeError` where it is no list."""
    return tuple(map(number, _items(parent, name, place)))


def counts(parent: Object, name: str, place: str) -> tuple[int, ...]:
    """The list of unsigned 64-bit numbers `name`. Raises `DecodeError` where it is no list."""
    return tuple(map(count, _items(parent, name, place)))


def count(raw: object) -> int:
    """An unsigned 64-bit number, 0 for what is none."""
    return bounded(whole(raw) or 0, 0, 2**64 - 1)


def bounded(value: int, least: int, most: int) -> int:
    """`value` within what its field can hold."""
    return min(max(value, least), most)


def _items(parent: Object, name: str, place: str) -> Sequence[object]:
    items = get(parent, name)
    if items is None:
        return ()
    if not isinstance(items, list):
        raise DecodeError(f"{place}.{name} must be an array, not {_kind(items)}")
    return items


def text(raw: object) -> str:
    """`raw` as text that can be stored: a lone surrogate, which JSON can spell, becomes `?`."""
    if raw is None:
        return ""
    text = raw if isinstance(raw, str) else json.dumps(raw)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
