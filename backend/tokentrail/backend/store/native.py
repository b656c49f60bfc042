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
from decimal import Decimal
from itertools import accumulate, chain
from typing import Final, Generic, TypeVar

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
    return Column(name, kind.name, lambda records: kind.encode([value(record) for record in records]))


@dataclass(frozen=True, slots=True)
class Encoded:
    """A block whose columns are written, and not put together yet."""

    rows: int
    heads: tuple[bytes, ...]
    """Name and type of each column."""
    values: tuple[bytes, ...]
    """Of each column, in the same order."""

    def join(self, mark: bytes = b"") -> bytes:
        """The block. Between head and values of each column stands `mark`, which the server's protocol has there."""
        parts = [varint(len(self.heads)), varint(self.rows)]
        for head, values in zip(self.heads, self.values, strict=True):
            parts += (head, mark, values)
        return b"".join(parts)


def encode_block(columns: Sequence[Column[_Record]], records: Sequence[_Record]) -> Encoded:
    """One block with a row for each record."""
    heads = tuple(_string(each.name) + _string(each.type_name) for each in columns)
    return Encoded(len(records), heads, tuple(each.encode(records) for each in columns))


def varint(number: int) -> bytes:
    """`number` in 7-bit groups, least significant first."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def nullable(kind: Type[_Value], zero: _Value) -> Type[_Value | None]:
    """`kind` or NULL; `zero` stands in for the value of a null."""

    def encode(values: Sequence[_Value | None]) -> bytes:
        nulls = bytes(value is None for value in values)
        return nulls + kind.encode([zero if value is None else value for value in values])

    return Type(f"Nullable({kind.name})", encode)


def array(kind: Type[_Value]) -> Type[Sequence[_Value]]:
    """A sequence of `kind` in each row."""

    def encode(values: Sequence[Sequence[_Value]]) -> bytes:
        return _ends(values) + kind.encode(list(chain.from_iterable(values)))

    return Type(f"Array({kind.name})", encode)


def mapping(keys: Type[_Key], values: Type[_Value]) -> Type[Mapping[_Key, _Value]]:
    """A mapping in each row, in its own order."""

    def encode(rows: Sequence[Mapping[_Key, _Value]]) -> bytes:
        all_keys = list(chain.from_iterable(rows))
        all_values = list(chain.from_iterable(row.values() for row in rows))
        return _ends(rows) + keys.encode(all_keys) + values.encode(all_values)

    return Type(f"Map({keys.name}, {values.name})", encode)


def decimal(scale: int) -> Type[Decimal]:
    """Decimal(18, scale): the value must have no more digits after the point, and fit."""

    def encode(values: Sequence[Decimal]) -> bytes:
        return _int64([int(value.scaleb(scale)) for value in values])

    return Type(f"Decimal(18, {scale})", encode)


def _fixed(code: str) -> Callable[[Sequence[int]], bytes]:
    return lambda values: struct.pack(f"<{len(values)}{code}", *values)


def _strings(values: Sequence[str]) -> bytes:
    return b"".join(map(_string, values))


def _string(text: str) -> bytes:
    # JSON can smuggle in half a surrogate pair, which has no UTF-8: it becomes a question mark.
    raw = text.encode("utf-8", "replace")
    size = len(raw)
    return _SHORT[size] + raw if size < len(_SHORT) else varint(size) + raw


def _ends(rows: Sequence[Sequence[object]] | Sequence[Mapping[_Key, _Value]]) -> bytes:
    return _uint64(list(accumulate(map(len, rows))))


_SHORT: Final = tuple(bytes((size,)) for size in range(128))


def fixed_string(size: int) -> Type[bytes]:
    """FixedString(size): each value must have that size."""
    return Type(f"FixedString({size})", b"".join)


def _floats(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


_int64: Final = _fixed("q")
_uint64: Final = _fixed("Q")

STRING: Final[Type[str]] = Type("String", _strings)
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
