"""Content encodings: what is decompressed, what is refused, and how much memory a small body can cost."""

import tracemalloc
import zlib

import pytest
import zstandard

from tokentrail.backend.receiver.answer import BodyTooLargeError
from tokentrail.backend.receiver.coding import CODINGS, decompress
from tokentrail.backend.receiver.decoded import DecodeError

MIB = 1024 * 1024
TEXT = b"telemetry " * 10_000
SKIPPABLE = b"\x53\x2a\x4d\x18\x03\x00\x00\x00abc"


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def streamed_zstd(data: bytes) -> bytes:
    """As senders write it that do not know the size beforehand, with a checksum at the end."""
    stream = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compressobj()
    pieces = [stream.compress(data[start : start + 1000]) for start in range(0, len(data), 1000)]
    return b"".join(pieces) + stream.flush()


GZIPPED = zlib.compressobj(wbits=31)
BODIES = {
    "deflate": [zlib.compress(TEXT), raw_deflate(TEXT), zlib.compress(TEXT, 0)],
    "gzip": [GZIPPED.compress(TEXT) + GZIPPED.flush()],
    "zstd": [
        zstandard.compress(TEXT),
        streamed_zstd(TEXT),
        zstandard.compress(TEXT[:777]) + SKIPPABLE + zstandard.compress(TEXT[777:]),
        zstandard.ZstdCompressor(level=-5, write_checksum=True).compress(TEXT),
    ],
}
EVERY = [(coding, index) for coding, bodies in BODIES.items() for index in range(len(bodies))]


def test_every_coding_has_a_body_here() -> None:
    assert {*BODIES, "identity"} == set(CODINGS)


@pytest.mark.parametrize(("coding", "index"), EVERY)
def test_a_body_is_decompressed_up_to_the_limit_and_refused_beyond(coding: str, index: int) -> None:
    body = BODIES[coding][index]

    assert decompress(body, coding, len(TEXT)) == TEXT
    with pytest.raises(BodyTooLargeError):
        decompress(body, coding, len(TEXT) - 1)


@pytest.mark.parametrize(("coding", "index"), EVERY)
def test_a_body_that_is_cut_off_anywhere_is_refused(coding: str, index: int) -> None:
    body = BODIES[coding][index]
    # Where one frame ends and another could begin, what is left is whole.
    whole = (
        {len(zstandard.compress(TEXT[:777])), len(zstandard.compress(TEXT[:777]) + SKIPPABLE)} if index == 2 else set()
    )

    for end in range(1, len(body), max(1, len(body) // 60)):
        if end not in whole:
            with pytest.raises(DecodeError):
                decompress(body[:end], coding, MIB)


@pytest.mark.parametrize("coding", ["deflate", "gzip", "zstd"])
@pytest.mark.parametrize(
    "body", [b"not compressed at all", b"\x28\xb5\x2f\xfd", b"\x78\x9c\xff\xff", b"\x28\xb5\x2f\xfd\xff"]
)
def test_a_body_in_another_encoding_is_refused(coding: str, body: bytes) -> None:
    with pytest.raises(DecodeError):
        decompress(body, coding, MIB)


@pytest.mark.parametrize("coding", ["deflate", "gzip", "zstd"])
def test_an_empty_body_and_an_uncompressed_one_are_told_apart(coding: str) -> None:
    if coding == "deflate":
        with pytest.raises(DecodeError):
            decompress(b"", coding, MIB)
    else:
        assert decompress(b"", coding, MIB) == b""
    assert decompress(TEXT, "identity", 10) == TEXT


def deflated_zeros(window_bits: int) -> bytes:
    stream = zlib.compressobj(9, wbits=window_bits)
    return b"".join(stream.compress(bytes(MIB)) for _ in range(64)) + stream.flush()


BOMBS = {
    "gzip": lambda: deflated_zeros(31),
    "deflate": lambda: deflated_zeros(15),
    "zstd": lambda: zstandard.compress(bytes(16 * MIB)) * 8,
    # One frame, all of it blocks of one byte repeated: 4 bytes each make 128 KiB.
    "zstd of repeated bytes": lambda: b"\x28\xb5\x2f\xfd\x00\x58" + b"\x02\x00\x10\x00" * 4096 + b"\x03\x00\x10\x00",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_and_costs_little_more_memory_than_the_limit(kind: str) -> None:
    body = BOMBS[kind]()
    assert len(body) < MIB

    tracemalloc.start()
    with pytest.raises(BodyTooLargeError):
        decompress(body, kind.partition(" ")[0], 4 * MIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 * (4 * MIB)


def test_a_window_that_would_take_gigabytes_is_refused() -> None:
    # A frame that says its window is 2 GiB, and then a last block of one byte.
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + b"\x09\x00\x00" + b"x"

    with pytest.raises(DecodeError, match="zstd"):
        decompress(frame, "zstd", 4 * MIB)
