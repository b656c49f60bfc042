"""Packets of ClickHouse's native protocol, the server's side: bytes in and out of a socket, no engine.

block      1 byte, -1 as int32, 0 (block info), varint columns, varint rows, then per column: name, type, a byte for
           custom serialization, values
frame      checksum (16), method (1), size with this header (4), size of the content (4), content; of a compressed
           block, which may go over several
"""

import socket
import struct
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Final

from clickhouse_cityhash.cityhash import CityHash128
from lz4 import block as lz4

FRAME: Final = 1 << 20
_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_WIDTHS: Final = {
    **dict.fromkeys(("UInt8", "Int8", "Bool", "Boolean"), 1),
    **dict.fromkeys(("UInt16", "Int16"), 2),
    **dict.fromkeys(("UInt32", "Int32", "Float32", "DateTime"), 4),
    **dict.fromkeys(("UInt64", "Int64", "Float64", "Decimal", "DateTime64"), 8),
}
"""Bytes of a value. Of decimals only those of up to 18 digits are sent."""
_LZ4: Final = 0x82


class Cut(Exception):  # noqa: N818 - no error: what a test wants
    """The connection is to break here."""


class ServerError(Exception):
    """An exception packet."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Bytes:
    """Something to read from exactly."""

    def read(self, size: int) -> bytes:
        raise NotImplementedError

    def varint(self) -> int:
        number = shift = 0
        while True:
            (byte,) = self.read(1)
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def raw_varint(self) -> bytes:
        read = bytearray()
        while not read or read[-1] > 0x7F:
            read += self.read(1)
        return bytes(read)

    def text(self) -> str:
        return self.read(self.varint()).decode()


class _Socket(_Bytes):
    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def close(self) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise EOFError
        return data


class _Frames(_Bytes):
    """The content of frames, one after another."""

    def __init__(self, source: _Bytes) -> None:
        self._source = source
        self._content, self._at = b"", 0

    def read(self, size: int) -> bytes:
        parts = []
        while size:
            if self._at == len(self._content):
                self._content, self._at = self._frame(), 0
            part = self._content[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _frame(self) -> bytes:
        checksum, header = self._source.read(16), self._source.read(9)
        method, size, content_size = struct.unpack("<BII", header)
        compressed = self._source.read(size - 9)
        assert method == _LZ4, f"method {method:x}"
        assert checksum == _checksum(header + compressed), "a frame whose checksum is wrong"
        content: bytes = lz4.decompress(compressed, uncompressed_size=content_size)
        return content


class Packets:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._in = _Socket(connection)

    def close(self) -> None:
        self._in.close()

    def kind(self) -> int | None:
        """The kind of the next packet, `None` when the client is gone."""
        try:
            return self._in.varint()
        except (EOFError, ConnectionError):
            return None

    def hello(self) -> tuple[str, int, str, str, str]:
        """Client name, revision, database, user, password."""
        read = self._in
        assert read.varint() == 0, "a connection begins with hello"
        name, _, _, revision = read.text(), read.varint(), read.varint(), read.varint()
        return name, revision, read.text(), read.text(), read.text()

    def welcome(self, used: int, revision: int) -> None:
        packet = varint(0) + text("ClickHouse") + varint(25) + varint(8) + varint(revision)
        packet += text("UTC") + text("front") + varint(3)
        if used >= 54_461:
            packet += varint(1) + text(".{12}") + text("be at least 12 characters long")
        if used >= 54_462:
            packet += struct.pack("<Q", 7)
        self._connection.sendall(packet)
        if used >= 54_458:
            self._in.text()  # the addendum: a quota key

    def query(self) -> tuple[str, str, dict[str, str], dict[str, str], bool]:
        """Query id, SQL, settings, parameters, whether blocks are compressed."""
        read = self._in
        query_id = read.text()
        assert read.read(1) == b"\x01", "an initial query"
        read.text(), read.text(), read.text(), read.read(8), read.read(1)
        read.text(), read.text(), read.text(), read.varint(), read.varint(), read.varint()
        read.text(), read.varint(), read.varint()
        assert read.read(1) == b"\0", "no trace context"
        read.varint(), read.varint(), read.varint()
        settings = self._settings()
        assert read.text() == "", "no secret of servers"
        read.varint()
        compressed = bool(read.varint())
        sql = read.text()
        return query_id, sql, settings, self._settings(), compressed

    def external_tables(self, directory: Path, *, compressed: bool) -> dict[str, tuple[Path, str]]:
        """Tables that come with a query, as files in Native format and their structures."""
        tables: dict[str, tuple[Path, str]] = {}
        while True:
            name, columns, block = self._data(compressed=compressed)
            if not columns:
                return tables
            path = directory / f"{uuid.uuid4()}.native"
            path.write_bytes(block)
            tables[name] = (path, ", ".join(f"`{column}` {kind}" for column, kind in columns))

    def insert_data(self, path: Path, *, compressed: bool) -> list[tuple[str, str]] | None:
        """Write the blocks of an INSERT to `path`; their columns, `None` when there was none."""
        found: list[tuple[str, str]] | None = None
        with path.open("wb") as file:
            while True:
                name, columns, block = self._data(compressed=compressed)
                assert name == "", "data of an INSERT has no table"
                if not columns:
                    return found
                found = columns
                file.write(block)
                self._send(varint(14) + text("") + _INFO + varint(0) + varint(0))  # profile events, never compressed

    def pong(self) -> None:
        self._send(varint(4))

    def end(self) -> None:
        self._send(varint(17) + text("UTC") + varint(5))

    def exception(self, error: ServerError) -> None:
        self._send(
            varint(2)
            + struct.pack("<i", error.code)
            + text("DB::Exception")
            + text(f"DB::Exception: {error}")
            + text("0. somewhere in the server")
            + b"\0"
        )

    def sample(self, columns: list[tuple[str, str]], *, compressed: bool) -> None:
        """What comes before the data of an INSERT."""
        self._send(varint(17) + text("UTC") + varint(11) + text("") + text("columns format version: 1\n"))
        self._send(_data_packet(_block(columns, 0, []), compressed=compressed))

    def answer(self, header: list[tuple[str, str]], buffers: bytes, *, compressed: bool) -> None:
        """An answer in the engine's format `Buffers`: header, blocks, progress, profile, end."""
        self._send(varint(17) + text("UTC") + varint(3) + b"".join(map(varint, (1, 2, 3, 4, 5, 6, 7))))
        if header:
            self._send(_data_packet(_block(header, 0, []), compressed=compressed))
        at = 0
        while at < len(buffers):
            columns, rows = struct.unpack_from("<QQ", buffers, at)
            at += 16
            values = []
            for _ in range(columns):
                (size,) = struct.unpack_from("<Q", buffers, at)
                values.append(buffers[at + 8 : at + 8 + size])
                at += 8 + size
            self._send(_data_packet(_block(header, rows, values), compressed=compressed))
        profile = varint(6) + varint(1) + varint(1) + varint(1) + b"\0" + varint(0) + b"\0"
        self._send(profile + varint(5))

    def _send(self, packet: bytes) -> None:
        self._connection.sendall(packet)

    def _settings(self) -> dict[str, str]:
        settings = {}
        while name := self._in.text():
            self._in.read(1)
            settings[name] = self._in.text()
        return settings

    def _data(self, *, compressed: bool) -> tuple[str, list[tuple[str, str]], bytes]:
        """A data packet: table, columns, and the block as the format Native has it in files."""
        kind = self._in.varint()
        assert kind == 2, f"packet {kind} where data was to come"
        name = self._in.text()
        source: _Bytes = _Frames(self._in) if compressed else self._in
        while (number := source.varint()) != 0:
            source.read({1: 1, 2: 4}[number])
        count, rows = source.varint(), source.varint()
        columns, block = [], [varint(count), varint(rows)]
        for _ in range(count):
            column, kind_name = source.text(), source.text()
            assert source.read(1) == b"\0", "no custom serialization"
            columns.append((column, kind_name))
            block += [text(column), text(kind_name), _values(kind_name, rows, source)]
        return name, columns, b"".join(block)


def _values(kind: str, rows: int, source: _Bytes) -> bytes:
    """The values of a column, whose end only its type tells."""
    name, _, rest = kind.partition("(")
    inner = rest.removesuffix(")")
    if name == "String":
        return b"".join(_string(source) for _ in range(rows))
    if name == "Nullable":
        return source.read(rows) + _values(inner, rows, source)
    if name in ("Array", "Map"):
        ends = source.read(8 * rows)
        offsets = [0, *struct.unpack(f"<{rows}Q", ends)]
        assert all(one <= other for one, other in pairwise(offsets)), "ends of arrays go up"
        kinds = [inner] if name == "Array" else inner.split(", ", 1)
        return ends + b"".join(_values(each, offsets[-1], source) for each in kinds)
    if name == "FixedString":
        return source.read(int(inner) * rows)
    return source.read(_WIDTHS[name] * rows)


def _string(source: _Bytes) -> bytes:
    size = source.raw_varint()
    number = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(size))
    return size + source.read(number)


def _block(columns: list[tuple[str, str]], rows: int, values: list[bytes]) -> bytes:
    parts = [_INFO, varint(len(columns)), varint(rows)]
    for index, (name, kind) in enumerate(columns):
        parts += [text(name), text(kind), b"\0", values[index] if values else b""]
    return b"".join(parts)


def _data_packet(block: bytes, *, compressed: bool) -> bytes:
    content = b"".join(_frame(block[at : at + FRAME]) for at in range(0, len(block), FRAME)) if compressed else block
    return varint(1) + text("") + content


def _frame(content: bytes) -> bytes:
    compressed: bytes = lz4.compress(content, store_size=False)
    header = struct.pack("<BII", _LZ4, len(compressed) + 9, len(content))
    return _checksum(header + compressed) + header + compressed


def _checksum(data: bytes) -> bytes:
    number = CityHash128(data)
    return struct.pack("<QQ", number >> 64, number & 0xFFFFFFFFFFFFFFFF)


def varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def text(value: str) -> bytes:
    raw = value.encode()
    return varint(len(raw)) + raw
