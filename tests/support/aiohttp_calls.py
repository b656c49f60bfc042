"""All ways of reading the body of a response of aiohttp."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest

Read = Callable[[Any], Awaitable[bytes]]
"""Reads a response to its end in some way; what it read."""


async def _text(response: Any) -> bytes:
    text: str = await response.text()
    return text.encode()


async def _read_twice(response: Any) -> bytes:
    first, second = await response.read(), await response.read()
    assert first == second
    return bytes(first)


async def until_empty(step: Callable[[], Awaitable[bytes]]) -> bytes:
    """What `step` gives until that is nothing."""
    read = b""
    while piece := await step():
        read += piece
    return read


async def _pieces(iterator: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in iterator])


async def _chunks(response: Any) -> bytes:
    return b"".join([piece async for piece, _ in response.content.iter_chunks()])


async def _exactly(response: Any) -> bytes:
    read = b""
    try:
        while True:
            read += await response.content.readexactly(13)
    except asyncio.IncompleteReadError as error:
        return read + error.partial


async def _nowait(response: Any) -> bytes:
    read = b""
    while not response.content.at_eof():
        piece = response.content.read_nowait(5)
        await asyncio.sleep(0 if piece else 0.005)
        read += piece
    return read


async def _put_back(response: Any) -> bytes:
    first = await response.content.read(9)
    with pytest.warns(DeprecationWarning, match="unread_data"):
        response.content.unread_data(first[4:])
    return bytes(first[:4] + await response.content.read(2) + await response.read())


async def _mixed(response: Any) -> bytes:
    read = await response.content.read(3) + await response.content.readline()
    return bytes(read + await response.content.readany() + await response.read())


WAYS: Final[dict[str, Read]] = {
    "read": lambda response: response.read(),
    "read_twice": _read_twice,
    "text": _text,
    "content_read": lambda response: response.content.read(),
    "content_read_some": lambda response: until_empty(lambda: response.content.read(7)),
    "readany": lambda response: until_empty(response.content.readany),
    "readline": lambda response: until_empty(response.content.readline),
    "readuntil": lambda response: until_empty(lambda: response.content.readuntil(b"}")),
    "readexactly": _exactly,
    "read_nowait": _nowait,
    "lines": lambda response: _pieces(response.content),
    "iter_any": lambda response: _pieces(response.content.iter_any()),
    "iter_chunked": lambda response: _pieces(response.content.iter_chunked(11)),
    "iter_chunks": _chunks,
    "put_back": _put_back,
    "mixed": _mixed,
}
"""By name."""
