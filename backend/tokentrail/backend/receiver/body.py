"""Request bodies within bounds, on the wire and decompressed."""

import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from tokentrail.backend.receiver.answer import BodyTooLargeError
from tokentrail.backend.receiver.decoded import DecodeError

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's `receive`."""

_GZIP: Final = 31
"""zlib's window bits for a gzip header and the largest window."""


class Disconnected(Exception):  # noqa: N818  # nobody is left to be told of an error
    """The client went away before its body was complete."""


async def read_body(
    receive: Receive, declared_bytes: int | None, max_bytes: int, count: Callable[[int], None] = lambda _: None
) -> bytes:
    """The whole body. Raises `BodyTooLargeError` as soon as that is known: by its declared length, or while reading.

    `count` is told the size of each piece; what it raises passes through.

    What is not read is discarded by the server, so that the client can finish sending and read the answer.
    """
    if declared_bytes is not None and declared_bytes > max_bytes:
        raise BodyTooLargeError(f"body of {declared_bytes} bytes", max_bytes)
    chunks: list[bytes] = []
    size = 0
    more = True
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > max_bytes:
                raise BodyTooLargeError("body", max_bytes)
            count(len(chunk))
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)
    finally:
        chunks.clear()  # what is raised holds this frame for a while, and would hold the body with it


def gunzip(body: bytes, max_bytes: int) -> bytes:
    """`body` decompressed, all members of it; never more than `max_bytes` and one are produced.

    Raises `BodyTooLargeError` past the limit and `DecodeError` for what is not gzip or is cut off.
    """
    pieces: list[bytes] = []
    left = max_bytes
    while body:
        member = zlib.decompressobj(_GZIP)
        try:
            piece = member.decompress(body, left + 1)
        except zlib.error as error:
            raise DecodeError(f"the body says content-encoding gzip but is not valid gzip: {error}") from error
        if len(piece) > left:
            raise BodyTooLargeError("decompressed body", max_bytes)
        if not member.eof:
            raise DecodeError("the gzip body is cut off before its end")
        left -= len(piece)
        pieces.append(piece)
        body = member.unused_data
    return b"".join(pieces)
