"""The HTTP clients under test behind one face, so that one body of tests serves all of them.

A test is a coroutine; a synchronous client is called in it as it is, blocking the loop, which nobody else uses.
"""

import asyncio
import inspect
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import httpx2


@dataclass(frozen=True, slots=True)
class Shell:
    """One kind of client: a library, synchronous or not, and for aiohttp the SDK whose transport it is."""

    name: str
    library: Any
    asynchronous: bool
    sdk: str = ""

    @asynccontextmanager
    async def client(self, **settings: Any) -> AsyncIterator[Any]:
        """A client, closed at the end."""
        client = self.make(**settings)
        try:
            yield client
        finally:
            await self.close(client)

    def make(self, **settings: Any) -> Any:
        """A client, to be closed with `close`."""
        settings = {"verify": _trust(), **settings}
        if self.sdk == "openai":
            from openai import DefaultAioHttpClient

            return DefaultAioHttpClient(**settings)
        if self.sdk == "anthropic":
            from anthropic import DefaultAioHttpClient as AnthropicAioHttpClient

            return AnthropicAioHttpClient(**settings)
        return self.library.AsyncClient(**settings) if self.asynchronous else self.library.Client(**settings)

    async def get(self, value: Any) -> Any:
        """`value`, awaited where it has to be."""
        return await value if inspect.isawaitable(value) else value

    async def post(self, client: Any, url: str, **arguments: Any) -> Any:
        """A response that has been read."""
        return await self.get(client.post(url, **arguments))

    async def open(self, client: Any, url: str, **arguments: Any) -> Any:
        """A response that has not been read."""
        return await self.get(client.send(client.build_request("POST", url, **arguments), stream=True))

    async def close(self, thing: Any) -> None:
        """Close a client or a response."""
        await self.get(thing.aclose() if self.asynchronous else thing.close())

    async def read(self, response: Any) -> bytes:
        """The whole body."""
        data: bytes = await self.get(response.aread() if self.asynchronous else response.read())
        return data

    async def pieces(self, response: Any, method: str = "iter_bytes", **arguments: Any) -> AsyncIterator[Any]:
        """What `iter_...` or `aiter_...` gives; close it when leaving it early."""
        if not self.asynchronous:
            for piece in getattr(response, method)(**arguments):
                yield piece
            return
        iterator = getattr(response, f"a{method}")(**arguments)
        try:
            async for piece in iterator:
                yield piece
        finally:
            await iterator.aclose()

    async def first(self, response: Any, needle: bytes = b"Hi") -> bytes:
        """Reads until `needle` has come, then stops without closing anything but the iterator's own frame."""
        seen = b""
        iterator = response.aiter_raw() if self.asynchronous else response.iter_raw()
        while needle not in seen:
            seen += await anext(iterator) if self.asynchronous else next(iterator)
        _KEPT.append(iterator)
        return seen


@cache
def _trust() -> ssl.SSLContext:
    """What clients make for themselves, each from all of the system's certificates."""
    return ssl.create_default_context()


_KEPT: list[Any] = []
"""Iterators that were stopped: kept, for a forgotten one closes its response."""


def forget_iterators() -> None:
    """Let go of all of them."""
    _KEPT.clear()


def run(scenario: Coroutine[Any, Any, Any]) -> Any:
    """Run a test's coroutine in a loop of its own."""
    return asyncio.run(scenario)


SHELLS = (
    Shell("httpx-sync", httpx, asynchronous=False),
    Shell("httpx-async", httpx, asynchronous=True),
    Shell("httpx2-sync", httpx2, asynchronous=False),
    Shell("httpx2-async", httpx2, asynchronous=True),
)
AIOHTTP_SHELLS = (
    Shell("openai-aiohttp", httpx2, asynchronous=True, sdk="openai"),
    Shell("anthropic-aiohttp", httpx2, asynchronous=True, sdk="anthropic"),
)
