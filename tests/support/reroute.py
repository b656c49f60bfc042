"""Transports that send every request to a local port, whatever host its URL names.

The provider of a call is told by its host, so that a replay must keep the recorded URL above the transport. The rewrite
happens below everything that an application or an instrumentation sees: the request it holds is left as it is. No TLS
is spoken, whatever the scheme.
"""

import asyncio
import socket
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # a worker imports the client it uses and no other
    from aiohttp import BaseConnector
    from requests.adapters import BaseAdapter
    from urllib3 import PoolManager

_TIMEOUT_S: Final = 30.0

EXTRA_HEADERS: Final[ContextVar[dict[str, str]]] = ContextVar("extra_headers", default={})  # noqa: B039  never changed
"""Sent with the requests of the current context through httpx and httpx2: for an SDK whose methods take no headers."""


def sync_transport(library: ModuleType, port: int) -> Any:
    """An `HTTPTransport` of `library`, which is httpx or httpx2, that connects to `127.0.0.1:port`."""

    class Rerouted(library.HTTPTransport):  # type: ignore[misc, name-defined]  # the base is known at run time only
        def handle_request(self, request: Any) -> Any:
            return super().handle_request(_redirected(library, request, port))

    return Rerouted()


def async_transport(library: ModuleType, port: int) -> Any:
    """The same as an `AsyncHTTPTransport`."""

    class Rerouted(library.AsyncHTTPTransport):  # type: ignore[misc, name-defined]  # as above
        async def handle_async_request(self, request: Any) -> Any:
            return await super().handle_async_request(_redirected(library, request, port))

    return Rerouted()


def aiohttp_connector(port: int) -> "BaseConnector":
    """An aiohttp connector whose every connection is to `127.0.0.1:port`; to be made where a loop runs."""
    from aiohttp import BaseConnector

    class Rerouted(BaseConnector):
        """Overrides what aiohttp's own connectors for sockets and pipes override."""

        async def _create_connection(self, *_: object, **__: object) -> Any:
            loop = asyncio.get_running_loop()
            return (await loop.create_connection(self._factory, "127.0.0.1", port))[1]

    return Rerouted()


def urllib3_pools(port: int) -> "PoolManager":
    """A pool manager of urllib3 whose connections are all to `127.0.0.1:port`."""
    from urllib3 import PoolManager

    manager = PoolManager()
    reroute_pools(manager, port)
    return manager


def requests_adapter(port: int) -> "BaseAdapter":
    """What requests is given for `http://` and `https://` so that it connects to `127.0.0.1:port`."""
    from requests.adapters import HTTPAdapter

    adapter = HTTPAdapter()
    reroute_pools(adapter.poolmanager, port)
    return adapter


def reroute_pools(manager: "PoolManager", port: int) -> None:
    """Let every pool that `manager` is going to make connect to `127.0.0.1:port`."""
    pools: dict[str, Any] = dict(manager.pool_classes_by_scheme)
    manager.pool_classes_by_scheme = {
        scheme: type("Rerouted", (pool,), {"ConnectionCls": connection_class(pool.ConnectionCls, port)})
        for scheme, pool in pools.items()
    }


def connection_class(base: Any, port: int) -> Any:
    """A connection class of urllib3, or of botocore's on top of it, that connects to `127.0.0.1:port`."""

    class Rerouted(base):  # type: ignore[misc]  # the base is known at run time only
        def connect(self) -> None:
            self.sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.is_verified = True

    return Rerouted


def _redirected(library: ModuleType, request: Any, port: int) -> Any:
    """A copy of the request for the local port; its headers, the host among them, stay the recorded ones."""
    return library.Request(
        request.method,
        request.url.copy_with(scheme="http", host="127.0.0.1", port=port),
        headers=[*request.headers.multi_items(), *EXTRA_HEADERS.get().items()],
        stream=request.stream,
        extensions=request.extensions,
    )
