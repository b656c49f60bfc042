"""Transports that send every request to a local port, whatever host its URL names.

The provider of a call is told by its host, so that a replay must keep the recorded URL above the transport. The rewrite
happens below everything that an application or an instrumentation sees: the request it holds is left as it is.
"""

from types import ModuleType
from typing import Any


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


def _redirected(library: ModuleType, request: Any, port: int) -> Any:
    """A copy of the request for the local port; its headers, the host among them, stay the recorded ones."""
    return library.Request(
        request.method,
        request.url.copy_with(scheme="http", host="127.0.0.1", port=port),
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions,
    )
