import gzip
import random
import zlib
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from tokentrail.instrumentation.framing import coding

TEXT = 'data: {"text": "Grüße 🙂"}\n\n'.encode() * 50


def _raw_deflate(data: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compress.compress(data) + compress.flush()


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "gzip with a name": ("gzip", lambda data: gzip.compress(data, mtime=0)),
    "deflate as zlib": ("deflate", zlib.compress),
    "deflate raw": ("deflate", _raw_deflate),
    "deflate raw, stored": ("deflate", lambda data: zlib.compressobj(0, wbits=-15).compress(data[:0]) + _stored(data)),
    "upper case and spaces": (" GZIP ,", gzip.compress),
    "identity beside": ("identity, gzip", gzip.compress),
    "gzip then deflate": ("gzip, deflate", lambda data: zlib.compress(gzip.compress(data))),
    "raw deflate then gzip": ("deflate,gzip", lambda data: gzip.compress(_raw_deflate(data))),
    "gzip twice": ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
}
each_coding = pytest.mark.parametrize(("header", "encode"), CODINGS.values(), ids=CODINGS.keys())


def _stored(data: bytes) -> bytes:
    compress = zlib.compressobj(0, wbits=-zlib.MAX_WBITS)
    return compress.compress(data) + compress.flush()


def _decode(header: str, *pieces: bytes) -> bytes:
    decoder = coding.decoder(header)
    assert decoder is not None
    return b"".join(decoder.feed(piece) for piece in pieces)


@each_coding
def test_a_coding_is_undone_however_its_bytes_come(header: str, encode: Callable[[bytes], bytes]) -> None:
    encoded = encode(TEXT)

    assert _decode(header, encoded) == TEXT
    assert _decode(header, *(encoded[i : i + 1] for i in range(len(encoded)))) == TEXT
    for position in range(len(encoded) + 1):
        assert _decode(header, encoded[:position], b"", encoded[position:]) == TEXT


@each_coding
def test_what_arrived_of_a_body_that_was_cut_off_is_given(header: str, encode: Callable[[bytes], bytes]) -> None:
    encoded = encode(TEXT)

    assert TEXT.startswith(_decode(header, encoded[: len(encoded) // 2]))


def test_a_flushed_part_of_a_stream_is_given_at_once() -> None:
    compress = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    decoder = coding.decoder("gzip")
    assert decoder is not None

    for event in (b"data: 1\n\n", b"data: 2\n\n"):
        assert decoder.feed(compress.compress(event) + compress.flush(zlib.Z_SYNC_FLUSH)) == event


def test_what_follows_the_end_of_the_coding_is_ignored() -> None:
    assert _decode("gzip", gzip.compress(TEXT) + b"trailing", b"more") == TEXT


@pytest.mark.parametrize("header", ["", "identity", " Identity , identity", ",,"])
def test_a_body_without_a_coding_needs_no_decoder(header: str) -> None:
    assert coding.decoder(header) is None


@pytest.mark.parametrize("header", ["gzip", "deflate"])
@pytest.mark.parametrize("garbage", [b'{"plain": "json"}', b"\xff" * 20, b"<html>no</html>"])
@pytest.mark.parametrize("size", [1, 100])
def test_bytes_of_no_coding_raise_the_library_s_error(header: str, garbage: bytes, size: int) -> None:
    with pytest.raises(zlib.error):
        _decode(header, *(garbage[i : i + size] for i in range(0, len(garbage), size)))


@pytest.mark.parametrize("header", ["compress", "gzip, rot13", "aes128gcm", "br2"])
def test_a_coding_that_is_not_known_is_named(header: str) -> None:
    with pytest.raises(LookupError, match=header.rpartition(" ")[2]):
        coding.decoder(header)


def test_random_bytes_raise_nothing_but_the_library_s_error() -> None:
    source = random.Random("codings")

    for _ in range(1_000):
        decoder = coding.decoder(source.choice(["gzip", "deflate", "gzip, deflate"]))
        assert decoder is not None
        try:
            for _ in range(3):
                decoder.feed(source.randbytes(source.randrange(8)))
        except zlib.error:
            continue


def test_brotli_is_undone_where_its_library_is() -> None:
    brotli = pytest.importorskip("brotli", reason="the brotli package is not installed, and none of ours needs it")
    encoded = brotli.compress(TEXT)

    assert _decode("br", encoded) == TEXT
    assert _decode("br", *(encoded[i : i + 1] for i in range(len(encoded)))) == TEXT


def test_zstandard_is_undone_where_a_library_is() -> None:
    zstd: Any = None
    for name in ("compression.zstd", "backports.zstd", "zstandard"):
        try:
            zstd = import_module(name)
            break
        except ImportError:
            continue
    if zstd is None:
        pytest.skip("no Zstandard here: Python 3.14 has it, older ones need the zstandard package")
    encoded = zstd.compress(TEXT)

    assert _decode("zstd", encoded) == TEXT
    assert _decode("zstd", *(encoded[i : i + 1] for i in range(len(encoded)))) == TEXT


class _Reversing:
    """Stands for a decompressor of a library: what it decodes is reversed."""

    def process(self, piece: bytes) -> bytes:
        return piece[::-1]


@pytest.mark.parametrize("installed", ["brotli", "brotlicffi"])
def test_either_brotli_library_is_used(installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> object:
        if name != installed:
            raise ImportError(name)
        return SimpleNamespace(Decompressor=_Reversing)

    monkeypatch.setattr(coding, "import_module", load)

    assert _decode("br", b"abc") == b"cba"


def test_zstandard_falls_back_from_the_standard_library_to_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> object:
        if name != "zstandard":
            raise ImportError(name)
        decompressor = SimpleNamespace(decompressobj=lambda: SimpleNamespace(decompress=lambda piece: piece[::-1]))
        return SimpleNamespace(ZstdDecompressor=lambda: decompressor)

    monkeypatch.setattr(coding, "import_module", load)

    assert _decode("zstd", b"abc") == b"cba"


@pytest.mark.parametrize("header", ["br", "zstd"])
def test_a_coding_whose_library_is_missing_says_what_would_help(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(coding, "import_module", load)

    with pytest.raises(LookupError, match="package"):
        coding.decoder(header)
