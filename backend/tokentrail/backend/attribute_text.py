"""Attribute values as text, in the manner of the collector's `pcommon.Value.AsString`, and packed for ClickHouse."""

import base64
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from tokentrail.backend.span import Attributes, Value


class PackedAttributes(dict[str, Value]):
    """Attributes with the bytes that ClickHouse's Native format has for them, made where they were decoded.

    Nobody changes them: `keys_packed` and `values_packed` would not follow.
    """

    __slots__ = ("keys_packed", "values_packed")
    keys_packed: bytes
    """The keys in their order: each its length in UTF-8 as a varint, then itself."""
    values_packed: bytes
    """The same of the values as text."""


def pack(attributes: Attributes) -> tuple[bytes, bytes]:
    """Keys and values as `PackedAttributes` has them."""
    if type(attributes) is PackedAttributes:
        return attributes.keys_packed, attributes.values_packed
    return (
        b"".join(map(packed, attributes)),
        b"".join([packed(value if type(value) is str else text(value)) for value in attributes.values()]),
    )


def packed(value: str) -> bytes:
    """`value` in UTF-8 behind its length as a varint."""
    # JSON can smuggle in half a surrogate pair, which has no UTF-8: it becomes a question mark.
    raw = value.encode("utf-8", "replace")
    size = len(raw)
    return _SHORT[size] + raw if size < len(_SHORT) else varint(size) + raw


def varint(number: int) -> bytes:
    """`number` in 7-bit groups, least significant first."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_SHORT: Final = tuple(bytes((size,)) for size in range(128))


def text_map(attributes: Attributes) -> dict[str, str]:
    """Attributes as the exporter stores them: every value as text."""
    return {key: text(value) for key, value in attributes.items()}


def text(value: Value) -> str:
    """One attribute value as text, in the manner of the collector's `pcommon.Value.AsString`.

    Strings stay as they are, booleans are `true` and `false`, bytes base64, arrays and maps compact JSON with sorted
    keys, nothing is empty. Unlike Go's encoder, JSON keeps `<`, `>` and `&` readable.
    """
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _number(value)
        case bytes():
            return base64.b64encode(value).decode()
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _plain(value: Value) -> object:
    match value:
        case bytes():
            return text(value)
        case float() if not math.isfinite(value):
            return _number(value)  # JSON has no NaN
        case float() if value.is_integer() and abs(value) < 1e21:
            return int(value)
        case tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
    return value


def _number(value: float) -> str:
    """Shortest digits that read back as `value`; an exponent only below 1e-6 and from 1e21, as in JavaScript."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(repr(value)):f}".removesuffix(".0")
    digits, _, exponent = repr(value).partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent):+d}"
