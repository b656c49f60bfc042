"""ClickHouse's Native format, the writing side: a block of columns, the cheapest form ClickHouse can take in.

    block     varint columns, varint rows, then per column: string name, string type, values
    string    varint length, bytes
    integers  little endian, fixed width; Decimal(18, s) and DateTime64 are Int64
    Nullable  one byte a value (1 = null), then the values, null ones as zeros
    Array     where each row ends as UInt64, then the elements of all rows;  Map: the ends, all keys, all values

LowCardinality columns are written as what they hold: ClickHouse converts on reading.
Source: https://clickhouse.com/docs/interfaces/formats/Native, read with engine 26.9.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import accumulate, chain
from typing import Final, Generic, TypeVar

from tokentrail.backend.attribute_text import pack, packed, varint
from tokentrail.backend.span import Attributes

_Value = TypeVar("_Value")
_Key = TypeVar("_Key")
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Type(Generic[_Value]):
    """A ClickHouse type: its name and how its values are written one after another."""

    name: str
    encode: Callable[[Sequence[_Value]], bytes]


@dataclass(frozen=True, slots=True)
class Column(Generic[_Record]):
    """A column of a table, filled from records."""

    name: str
    type_name: str
    encode: Callable[[Sequence[_Record]], bytes]


def column(name: str, kind: Type[_Value], value: Callable[[_Record], _Value]) -> Column[_Record]:
    """The column `name`, holding `value(record)` for each record."""
    return Column(name, kind.name, lambda records: kind.encode(list(map(value, records))))


def constant(name: str, kind: Type[_Value], value: _Value) -> Column[_Record]:
    """The column `name`, holding `value` for every record."""
    return Column(name, kind.name, lambda records: kind.encode([value]) * len(records))


@dataclass(frozen=True, slots=True)
class Encoded:
    """A block whose columns are written, and not put together yet."""

    rows: int
    heads: tuple[bytes, ...]
    """Name and type of each column."""
    values: tuple[bytes, ...]
    """Of each column, in the same order."""

    def pieces(self, mark: bytes = b"") -> list[bytes]:
        """The block. Between head and values of each column stands `mark`, which the server's protocol has there."""
        pieces = [varint(len(self.heads)), varint(self.rows)]
        for head, values in zip(self.heads, self.values, strict=True):
            pieces += (head, mark, values)
        return pieces


def encode_block(columns: Sequence[Column[_Record]], records: Sequence[_Record]) -> Encoded:
    """One block with a row for each record."""
    heads = tuple(packed(each.name) + packed(each.type_name) for each in columns)
    return Encoded(len(records), heads, tuple(each.encode(records) for each in columns))


def nullable(kind: Type[_Value], zero: _Value) -> Type[_Value | None]:
    """`kind` or NULL; `zero` stands in for the value of a null."""

    def encode(values: Sequence[_Value | None]) -> bytes:
        count = len(values)
        missing = values.count(None)
        if missing == count:
            return b"\1" * count + kind.encode([zero]) * count
        if not missing:
            return bytes(count) + kind.encode(values)  # type: ignore[arg-type]  # none of them is None
        nulls = bytes([value is None for value in values])
        return nulls + kind.encode([zero if value is None else value for value in values])

    return Type(f"Nullable({kind.name})", encode)


def array(kind: Type[_Value]) -> Type[Sequence[_Value]]:
    """A sequence of `kind` in each row."""

    def encode(values: Sequence[Sequence[_Value]]) -> bytes:
        if not any(values):
            return bytes(8 * len(values))
        return _ends(values) + kind.encode(list(chain.from_iterable(values)))

    return Type(f"Array({kind.name})", encode)


def mapping(keys: Type[_Key], values: Type[_Value]) -> Type[Mapping[_Key, _Value]]:
    """A mapping in each row, in its own order."""

    def encode(rows: Sequence[Mapping[_Key, _Value]]) -> bytes:
        if not any(rows):
            return bytes(8 * len(rows))
        all_keys = list(chain.from_iterable(rows))
        all_values = list(chain.from_iterable(row.values() for row in rows))
        return _ends(rows) + keys.encode(all_keys) + values.encode(all_values)

    return Type(f"Map({keys.name}, {values.name})", encode)


def decimal(scale: int) -> Type[Decimal]:
    """Decimal(18, scale): the value must fit; it is rounded to so many digits after the point."""
    smallest = Decimal(1).scaleb(-scale)

    def encode(values: Sequence[Decimal]) -> bytes:
        return _int64([int(value.quantize(smallest, ROUND_HALF_EVEN).scaleb(scale)) for value in values])

    return Type(f"Decimal(18, {scale})", encode)


def _attributes(rows: Sequence[Attributes]) -> bytes:
    packs = list(map(pack, rows))
    return b"".join((_ends(rows), *[keys for keys, _ in packs], *[values for _, values in packs]))


def _fixed(code: str) -> Callable[[Sequence[int]], bytes]:
    return lambda values: struct.pack(f"<{len(values)}{code}", *values)


def _strings(values: Sequence[str]) -> bytes:
    if not values:
        return b""
    if (first := values[0]) == values[-1] and values.count(first) == len(values):
        return packed(first) * len(values)
    if len(first) < _SHORT_CHARS and (quickly := _short_ascii(values)) is not None:
        return quickly
    return b"".join(map(packed, values))


def _short_ascii(values: Sequence[str]) -> bytes | None:
    """`values` encoded all at once, which works for short texts in ASCII: their lengths are characters as well."""
    lengths = list(map(len, values))
    if max(lengths) >= _SHORT_CHARS:
        return None
    joined = "".join(chain.from_iterable(zip(map(chr, lengths), values, strict=True)))
    return joined.encode("ascii") if joined.isascii() else None


def _shared(values: Sequence[str]) -> bytes:
    distinct = {value: packed(value) for value in set(values)}
    if len(distinct) == 1:
        return next(iter(distinct.values())) * len(values)
    return b"".join(map(distinct.__getitem__, values))


def _ends(rows: Sequence[Sequence[object]] | Sequence[Mapping[_Key, _Value]]) -> bytes:
    return _uint64(list(accumulate(map(len, rows))))


_SHORT_CHARS: Final = 128
"""Below it a length is one byte, and one character of ASCII."""


def fixed_string(size: int) -> Type[bytes]:
    """FixedString(size): each value must have that size."""
    return Type(f"FixedString({size})", b"".join)


def _floats(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


_int64: Final = _fixed("q")
_uint64: Final = _fixed("Q")

STRING: Final[Type[str]] = Type("String", _strings)
SHARED: Final[Type[str]] = Type("String", _shared)
"""Texts of which there are few, each in many rows."""
ATTRIBUTES: Final[Type[Attributes]] = Type("Map(String, String)", _attributes)
"""Attributes of any values, which are stored as text."""
BOOL: Final[Type[bool]] = Type("Bool", bytes)
UINT8: Final[Type[int]] = Type("UInt8", _fixed("B"))
UINT16: Final[Type[int]] = Type("UInt16", _fixed("H"))
UINT32: Final[Type[int]] = Type("UInt32", _fixed("I"))
UINT64: Final[Type[int]] = Type("UInt64", _uint64)
INT32: Final[Type[int]] = Type("Int32", _fixed("i"))
FLOAT64: Final[Type[float]] = Type("Float64", _floats)
SECONDS: Final[Type[int]] = Type("DateTime", _fixed("I"))
"""Seconds since the epoch."""
NANOSECONDS: Final[Type[int]] = Type("DateTime64(9)", _int64)
"""Nanoseconds since the epoch."""
MILLISECONDS: Final[Type[int]] = Type("DateTime64(3)", _int64)
"""Milliseconds since the epoch."""
MICROSECONDS: Final[Type[int]] = Type("DateTime64(6, 'UTC')", _int64)
"""Microseconds since the epoch."""
