"""Content encodings of HTTP bodies, decompressed within bounds. The only door to `zstandard`.

gzip      RFC 1952, any number of members
deflate   RFC 1950 (zlib); RFC 1951 without that frame, as some senders write it, is taken, too
zstd      RFC 8878, any number of frames; windows of at most 128 MiB
"""

import io
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import zstandard

from tokentrail.backend.receiver.answer import BodyTooLargeError
from tokentrail.backend.receiver.body import gunzip
from tokentrail.backend.receiver.decoded import DecodeError

IDENTITY: Final = "identity"
_ZLIB: Final = 15
_RAW: Final = -15
"""zlib's window bits for either form of deflate."""
_MAX_WINDOW_BYTES: Final = 2**27
"""What a decoder should at least take is 8 MiB (RFC 8878, 3.1.1.1.2); `zstd --ultra` goes to 128 MiB."""
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SKIPPABLE: Final = b"\x2a\x4d\x18"
"""The last three bytes of the magic numbers of frames without data; the first is 0x50 to 0x5F."""
_BLOCK_HEADER: Final = 3
_CHECKSUM: Final = 4
_SKIPPABLE_HEADER: Final = 8
_RLE: Final = 1
"""Type of a block that is one byte, repeated."""


def decompress(body: bytes, coding: str, max_bytes: int) -> bytes:
    """`body` decompressed; never much more than `max_bytes` are produced.

    `coding` is one of `CODINGS`. Raises `BodyTooLargeError` past the limit and `DecodeError` for what is not in that
    encoding or is cut off.
    """
    return _READERS[coding](body, max_bytes)


def _inflate(body: bytes, max_bytes: int) -> bytes:
    try:
        return _inflated(body, max_bytes, _ZLIB)
    except zlib.error as error:
        try:
            return _inflated(body, max_bytes, _RAW)
        except zlib.error:
            raise DecodeError(f"the body says content-encoding deflate but is not that: {error}") from error


def _inflated(body: bytes, max_bytes: int, window_bits: int) -> bytes:
    stream = zlib.decompressobj(window_bits)
    found = stream.decompress(body, max_bytes + 1)
    if len(found) > max_bytes:
        raise BodyTooLargeError("decompressed body", max_bytes)
    if not stream.eof:
        raise DecodeError("the deflate body is cut off before its end")
    if stream.unused_data:
        raise DecodeError("the deflate body has something after its end")
    return found


def _read_zstd(body: bytes, max_bytes: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    try:
        _require_whole(body)
        found = decompressor.stream_reader(io.BytesIO(body), read_across_frames=True).read(max_bytes + 1)
    except zstandard.ZstdError as error:
        raise DecodeError(f"the body says content-encoding zstd but is not valid zstd: {error}") from error
    if len(found) > max_bytes:
        raise BodyTooLargeError("decompressed body", max_bytes)
    return found


def _require_whole(body: bytes) -> None:
    """Raises `DecodeError` unless `body` is whole frames: the decompressor takes the end of the input for its end."""
    position = 0
    while position < len(body):
        position += _frame_bytes(memoryview(body)[position:])
    if position != len(body):
        raise DecodeError("the zstd body is cut off before its end")


def _frame_bytes(data: memoryview) -> int:
    """How long the frame is that `data` begins with, whether or not all of it is there."""
    if bytes(data[1:4]) == _SKIPPABLE and data[0] >> 4 == 5:
        return _SKIPPABLE_HEADER + int.from_bytes(data[4:_SKIPPABLE_HEADER], "little")
    if bytes(data[:4]) != _MAGIC:
        raise DecodeError("the body says content-encoding zstd but is not valid zstd: a frame begins with other bytes")
    position = zstandard.frame_header_size(data)
    is_last = False
    while not is_last:
        if position + _BLOCK_HEADER > len(data):
            return len(data) + 1
        header = int.from_bytes(data[position : position + _BLOCK_HEADER], "little")
        is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        position += _BLOCK_HEADER + (1 if kind == _RLE else size)
    return position + (_CHECKSUM if zstandard.get_frame_parameters(data).has_checksum else 0)


_READERS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    "gzip": gunzip,
    "deflate": _inflate,
    "zstd": _read_zstd,
    IDENTITY: lambda body, _: body,
}
CODINGS: Final = tuple(_READERS)
"""The values of content-encoding that are understood."""
