"""Sends what an SDK addresses to its vendor to the local provider instead.

In your application you would not need this: it only lets the example run without keys. An SDK's `base_url` could
point at the local provider as well, but then the calls would go to an unknown host, and what an unknown host charges
nobody knows. Here the client still believes that it talks to `api.openai.com`, and the bytes take another way below
it, as they would through a proxy.
"""

import httpx2  # noqa: TID251  the example brings a transport of its own, as an application may


class LocalTransport(httpx2.HTTPTransport):
    """For clients that block. `url` is the local provider's address."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._target = httpx2.URL(url)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a copy of the request to the local provider; the request itself keeps its address."""
        return super().handle_request(_readdressed(request, self._target))


class AsyncLocalTransport(httpx2.AsyncHTTPTransport):
    """For asynchronous clients. `url` is the local provider's address."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._target = httpx2.URL(url)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a copy of the request to the local provider; the request itself keeps its address."""
        return await super().handle_async_request(_readdressed(request, self._target))


def _readdressed(request: httpx2.Request, target: httpx2.URL) -> httpx2.Request:
    url = request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port)
    return httpx2.Request(
        request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
    )
