"""The few pieces of ASGI that the provider needs: https://asgi.readthedocs.io/en/latest/specs/www.html."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]


def read_headers(scope: Scope) -> dict[str, str]:
    """Request headers by lower-case name; the last of several wins."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(receive: Receive, max_bytes: int) -> bytes | None:
    """The request body, or `None` when it is larger than `max_bytes` (it is read to its end, and not kept)."""
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return b"".join(parts)
        size += len(event.get("body", b""))
        if size <= max_bytes:
            parts.append(event.get("body", b""))
        if not event.get("more_body", False):
            return b"".join(parts) if size <= max_bytes else None


async def wait_until_gone(receive: Receive) -> None:
    """Return when the client has closed the connection. Call it once the body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """Send the status line and the headers."""
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def write(send: Send, data: bytes, *, more: bool) -> None:
    """Send a piece of the body, the last one with `more` false."""
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Send a whole answer."""
    await start(send, status, {**headers, "content-length": str(len(body))})
    await write(send, body, more=False)
