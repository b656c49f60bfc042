"""ClickHouse's Native format, read as clickhouse-go reads it: block by block, by the types that the blocks name.

Written from lib/proto/block.go and lib/column/*.go of clickhouse-go 2.47, and from ClickHouse's description of the
format (https://clickhouse.com/docs/interfaces/formats/Native, November 2026); nothing of it is the backend's. What
clickhouse-go refuses is refused here: a custom serialization, or bytes that end too early.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

CUSTOM_SERIALIZATION = 54454

_NUMBERS = {
    **{f"{sign}Int{bits}": (bits // 8, sign == "") for sign in ("", "U") for bits in (8, 16, 32, 64, 128, 256)},
}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # all times are UTC
_FLOATS = {"Float32": "<f", "Float64": "<d"}


@dataclass
class Result:
    """All blocks of an answer, put together."""

    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    blocks: int = 0


class Bytes:
    """A cursor."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise EOFError(f"unexpected end: {count} bytes at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        number = shift = 0
        while True:
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def string(self) -> str:
        return self.take(self.varint()).decode()

    def integer(self, size: int, signed: bool) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)


def read(data: bytes, revision: int) -> Result:
    """The result in `data`, which must end with a block."""
    source, result = Bytes(data), Result()
    while source.at < len(data):
        _read_block(source, revision, result)
    return result


def _read_block(source: Bytes, revision: int, result: Result) -> None:
    if revision > 0:
        assert source.varint() == 1
        assert source.take(1) == b"\0"
        assert source.varint() == 2
        assert source.integer(4, True) == -1
        assert source.varint() == 0
    columns, rows = source.varint(), source.varint()
    names, types, values = [], [], []
    for _ in range(columns):
        names.append(source.string())
        types.append(source.string())
        if revision >= CUSTOM_SERIALIZATION:
            assert source.take(1) == b"\0", "clickhouse-go reads no custom serialization"
        if rows:
            read_prefix, read_data = _column(types[-1])
            read_prefix(source)
            values.append(read_data(source, rows))
    if result.blocks:
        assert (names, types) == (result.names, result.types)
    result.names, result.types = names, types
    result.blocks += 1
    result.rows += list(zip(*values, strict=True))


_Prefix = Callable[[Bytes], None]
_Data = Callable[[Bytes, int], list[Any]]


def _column(kind: str) -> tuple[_Prefix, _Data]:
    name, _, rest = kind.partition("(")
    arguments = _split(rest.removesuffix(")")) if rest else []
    match name:
        case "LowCardinality":
            return _low_cardinality(arguments[0])
        case "Nullable":
            return _nullable(arguments[0])
        case "Array":
            return _array(arguments[0])
        case "Map":
            prefix, data = _array(f"Tuple({', '.join(arguments)})")
            return prefix, lambda source, rows: [dict(pairs) for pairs in data(source, rows)]
        case "Tuple":
            return _tuple([argument.partition(" ")[2] if _is_named(argument) else argument for argument in arguments])
        case "SimpleAggregateFunction":
            return _column(arguments[1])
    read_one = _scalar(name, arguments)
    return (lambda source: None), (lambda source, rows: [read_one(source) for _ in range(rows)])


def _scalar(name: str, arguments: list[str]) -> Callable[[Bytes], Any]:
    if name in _NUMBERS:
        size, signed = _NUMBERS[name]
        return lambda source: source.integer(size, signed)
    if name in _FLOATS:
        layout = _FLOATS[name]
        return lambda source: struct.unpack(layout, source.take(struct.calcsize(layout)))[0]
    match name:
        case "String":
            return lambda source: source.string()
        case "FixedString":
            return lambda source: source.take(int(arguments[0]))
        case "Bool":
            return lambda source: source.take(1) == b"\1"
        case "DateTime":
            return lambda source: str(_EPOCH + timedelta(seconds=source.integer(4, False)))
        case "Date":
            return lambda source: str((_EPOCH + timedelta(days=source.integer(2, False))).date())
        case "DateTime64":
            scale = int(arguments[0])
            return lambda source: _moment(source.integer(8, True), scale)
        case "Decimal":
            precision, scale = map(int, arguments)
            size = next(bits // 8 for bits, most in ((32, 9), (64, 18), (128, 38), (256, 76)) if precision <= most)
            return lambda source: Decimal(f"{source.integer(size, True)}e-{scale}")
        case "Nothing":
            return lambda source: source.take(1)
    raise AssertionError(f"no column of the product has the type {name}")


def _moment(ticks: int, scale: int) -> str:
    """As ClickHouse writes it, in UTC."""
    seconds, fraction = divmod(ticks, 10**scale)
    return f"{_EPOCH + timedelta(seconds=seconds)}" + (f".{fraction:0{scale}}" if scale else "")


def _low_cardinality(inner: str) -> tuple[_Prefix, _Data]:
    is_nullable = inner.startswith("Nullable(")
    _, read_keys = _column(inner.removeprefix("Nullable(").removesuffix(")") if is_nullable else inner)

    def prefix(source: Bytes) -> None:
        assert source.integer(8, False) == 1, "the version of the keys"

    def data(source: Bytes, rows: int) -> list[Any]:
        flags = source.integer(8, False)
        assert flags & 0x100 == 0, "no global dictionary"
        assert flags & 0x200, "keys of its own"
        keys = read_keys(source, source.integer(8, False))
        if is_nullable:
            keys[0] = None
        assert source.integer(8, False) == rows
        return [keys[source.integer(1 << (flags & 0xFF), False)] for _ in range(rows)]

    return prefix, data


def _nullable(inner: str) -> tuple[_Prefix, _Data]:
    prefix, read_values = _column(inner)

    def data(source: Bytes, rows: int) -> list[Any]:
        nulls = source.take(rows)
        return [None if null else value for null, value in zip(nulls, read_values(source, rows), strict=True)]

    return prefix, data


def _array(inner: str) -> tuple[_Prefix, _Data]:
    prefix, read_values = _column(inner)

    def data(source: Bytes, rows: int) -> list[Any]:
        ends = [source.integer(8, False) for _ in range(rows)]
        values = read_values(source, ends[-1]) if ends and ends[-1] else []
        return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    return prefix, data


def _tuple(inner: list[str]) -> tuple[_Prefix, _Data]:
    columns = [_column(kind) for kind in inner]

    def prefix(source: Bytes) -> None:
        for read_prefix, _ in columns:
            read_prefix(source)

    def data(source: Bytes, rows: int) -> list[Any]:
        return list(zip(*(read_values(source, rows) for _, read_values in columns), strict=True))

    return prefix, data


def _split(text: str) -> list[str]:
    """The arguments of a type."""
    parts, depth, start = [], 0, 0
    for at, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def _is_named(argument: str) -> bool:
    """`name Type` in a tuple."""
    before = argument.partition("(")[0]
    return " " in before
