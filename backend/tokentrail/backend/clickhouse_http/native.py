"""Blocks in ClickHouse's Native format of a protocol revision, made of what the embedded engine can write.

    Native, one block                             Buffers, one block
    revision > 0: block info                      columns       UInt64
    columns          varint                       rows          UInt64
    rows             varint                       each column:
    each column:                                    size        UInt64
      name           varint length, bytes           data        the very bytes that Native has
      type           varint length, bytes
      revision >= 54454: a byte, 0: no custom serialization
      data

The embedded engine writes Native for revision 0 alone, which clients that have asked for another cannot read. Its
format Buffers has sizes, so that columns can be copied without any knowledge of their types; names and types come from
DESCRIBE. Sources: ClickHouse, src/Formats/NativeWriter.cpp and src/Core/BlockInfo.cpp; clickhouse-go 2.47,
lib/proto/block.go.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

CUSTOM_SERIALIZATION: Final = 54454
"""From this revision on a column says whether its serialization is a custom one."""

_BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"
"""Field 1, is_overflows: no; field 2, bucket_num: -1; field 0: the end."""
_COUNTS: Final = struct.Struct("<QQ")
_SIZE: Final = struct.Struct("<Q")


def encode(columns: Sequence[tuple[str, str]], buffers: bytes, revision: int) -> bytes:
    """A result as Native of `revision`: `columns` are names and types, `buffers` the data in the format Buffers.

    There is always a block, for its names and types, also without rows. Raises `ValueError` where the two do not fit
    together.
    """
    return b"".join(_pieces(columns, memoryview(buffers), revision))


def _pieces(columns: Sequence[tuple[str, str]], buffers: memoryview, revision: int) -> Iterator[bytes | memoryview]:
    heads = [_head(name, kind, revision) for name, kind in columns]
    info = _BLOCK_INFO if revision > 0 else b""
    if not buffers:
        yield info + _varint(len(heads)) + _varint(0) + b"".join(heads)
    at = 0
    while at < len(buffers):
        count, rows = _COUNTS.unpack_from(buffers, at)
        at += _COUNTS.size
        if count != len(heads):
            raise ValueError(f"a block has {count} columns, the result {len(heads)}")
        yield info + _varint(count) + _varint(rows)
        for head in heads:
            (size,) = _SIZE.unpack_from(buffers, at)
            at += _SIZE.size
            yield head
            yield buffers[at : at + size]
            at += size
    if at > len(buffers):
        raise ValueError("the last block is cut off")


def _head(name: str, kind: str, revision: int) -> bytes:
    return _string(name) + _string(kind) + (b"\0" if revision >= CUSTOM_SERIALIZATION else b"")


def _string(text: str) -> bytes:
    # The names of a result may be any bytes; they are read with surrogate escapes.
    encoded = text.encode("utf-8", "surrogateescape")
    return _varint(len(encoded)) + encoded


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
