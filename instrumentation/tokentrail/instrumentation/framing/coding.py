"""Content codings of response bodies (RFC 9110, section 8.4.1), undone incrementally.

The bytes are seen below the client, before it decodes them, so they are decoded here a second time, off the
application's path. Brotli and Zstandard are read when a library for them is installed, as the HTTP clients do.
"""

import zlib
from importlib import import_module
from typing import Protocol


class Decoder(Protocol):
    """Undoes one content coding."""

    def feed(self, piece: bytes) -> bytes:
        """What `piece` decodes to, so far. Raises whatever its library raises on bytes that are not of its coding."""


class _Inflate:
    """`gzip` and `deflate`; the latter is zlib by the specification and raw by the habit of some servers."""

    def __init__(self, coding: str) -> None:
        self._raw_allowed = coding == "deflate"
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS if self._raw_allowed else zlib.MAX_WBITS | 32)
        self._head = b""

    def feed(self, piece: bytes) -> bytes:
        if not self._raw_allowed:
            return self._inflate.decompress(piece)
        # The two bytes of a zlib header tell which of the two it is, and they may come one by one.
        self._head += piece
        if len(self._head) < 2:
            return b""
        self._raw_allowed = False
        try:
            return self._inflate.decompress(self._head)
        except zlib.error:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._inflate.decompress(self._head)
        finally:
            self._head = b""


class _Library:
    """A decompressor object of a library, behind its own method name."""

    def __init__(self, decompressor: object, method: str) -> None:
        self._feed = getattr(decompressor, method)

    def feed(self, piece: bytes) -> bytes:
        decoded = self._feed(piece)
        return decoded if isinstance(decoded, bytes) else b""


class _Chain:
    """Several codings, undone in the order opposite to the one they were applied in."""

    def __init__(self, decoders: list[Decoder]) -> None:
        self._decoders = decoders

    def feed(self, piece: bytes) -> bytes:
        for decoder in self._decoders:
            piece = decoder.feed(piece)
        return piece


def decoder(content_encoding: str) -> Decoder | None:
    """A decoder for the header value `content_encoding`, or `None` when it needs no decoding.

    Raises `LookupError` for a coding that cannot be undone here.
    """
    codings = [
        coding for part in content_encoding.lower().split(",") if (coding := part.strip()) not in ("", "identity")
    ]
    if not codings:
        return None
    return _Chain([_one(coding) for coding in reversed(codings)])


def _one(coding: str) -> Decoder:
    if coding in ("gzip", "x-gzip", "deflate"):
        return _Inflate(coding)
    if coding == "br":
        return _brotli()
    if coding == "zstd":
        return _zstd()
    raise LookupError(f"content coding {coding!r} is not known")


def _brotli() -> Decoder:
    for name in ("brotli", "brotlicffi"):
        try:
            library = import_module(name)
        except ImportError:
            continue
        decompressor = library.Decompressor()
        return _Library(decompressor, "decompress" if hasattr(decompressor, "decompress") else "process")
    raise LookupError("content coding 'br' needs the brotli package")


def _zstd() -> Decoder:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return _Library(import_module(name).ZstdDecompressor(), "decompress")
        except ImportError:
            continue
    try:
        return _Library(import_module("zstandard").ZstdDecompressor().decompressobj(), "decompress")
    except ImportError as error:
        raise LookupError("content coding 'zstd' needs Python 3.14 or the zstandard package") from error
