"""What the workers share: a stage on which a framework is used as its documentation shows, and its vendors near by.

    python <framework>_worker.py <address of the local provider> <file of the outcomes>

A scene runs in a span, a session and for a user of its own, so that what reached the calls can be told by its name.
What the application saw is written as one JSON object a line: `name`, `trace_id`, `result`, `sent_by_httpx` (requests
to the provider that went through httpx's own transports) and, where it raised, `error` with the exception's name.
"""

import asyncio
import importlib
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any, Final

from opentelemetry import trace

from tokentrail.instrumentation import properties, session, user

VENDOR_HOSTS: Final = ("api.openai.com", "api.anthropic.com")
QUESTION: Final = "What is the weather in Lisbon?"
"""The local provider calls a tool whose name shares a word with the question."""
MODEL: Final = "gpt-5.4-mini"
CLAUDE: Final = "claude-haiku-4-5"
UNKNOWN_MODEL: Final = "gpt-0"
WEATHER: Final = "22 degrees and sunny"


_sent: Final = count()
"""Counts what the transports of httpx and httpx2 themselves send to the local provider."""


def get_weather(city: str) -> str:
    """Get the weather of a city.

    Args:
        city: The name of the city.
    """
    return f"{WEATHER} in {city}"


class Stage:
    """Where scenes are played."""

    def __init__(self, framework: str, provider_url: str, outcomes: IO[str]) -> None:
        self.url = provider_url
        """Address of the local provider, without a trailing slash."""
        self._framework = framework
        self._outcomes = outcomes

    @contextmanager
    def scene(self, name: str) -> Iterator[dict[str, object]]:
        """One use of the framework; the block may set `result` in what it is given. Exceptions end here."""
        outcome: dict[str, object] = {"name": name, "result": None}
        before = next(_sent)
        with (
            trace.get_tracer("application").start_as_current_span(name) as span,
            session(name, name=self._framework, path=f"/{self._framework}"),
            user(f"user-of-{name}"),
            properties(Framework=self._framework),
        ):
            try:
                yield outcome
            except Exception as error:
                outcome["error"] = type(error).__name__
                outcome["message"] = str(error)
        outcome["sent_by_httpx"] = next(_sent) - before - 1
        outcome["trace_id"] = f"{span.get_span_context().trace_id:032x}"
        self._outcomes.write(json.dumps(outcome, default=str) + "\n")


def play(framework: str, sync: Callable[[Stage], None], asynchronous: Callable[[Stage], Awaitable[None]]) -> None:
    """Run the scenes of `framework`: the blocking ones, then the others in one event loop."""
    url, path = sys.argv[1:]
    for library in ("httpx", "httpx2"):
        _reroute(importlib.import_module(library), url)
    with Path(path).open("w", encoding="utf-8") as outcomes:
        stage = Stage(framework, url, outcomes)
        sync(stage)

        async def run() -> None:
            await asynchronous(stage)

        asyncio.run(run())


def _reroute(library: Any, url: str) -> None:
    """Send what goes to the vendors' hosts to the local provider instead, as a proxy would.

    Frameworks make their clients themselves, so this is done to the transports of the library: below everything that
    a framework or an instrumentation sees. The request that they hold keeps its address.
    """
    target = library.URL(url)

    def elsewhere(request: Any) -> Any:
        if request.url.host not in VENDOR_HOSTS:
            if request.url.host == target.host:
                next(_sent)
            return request
        next(_sent)
        address = request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port)
        return library.Request(
            request.method, address, headers=request.headers, stream=request.stream, extensions=request.extensions
        )

    send, send_async = library.HTTPTransport.handle_request, library.AsyncHTTPTransport.handle_async_request

    def handle_request(self: Any, request: Any) -> Any:
        return send(self, elsewhere(request))

    async def handle_async_request(self: Any, request: Any) -> Any:
        return await send_async(self, elsewhere(request))

    library.HTTPTransport.handle_request = handle_request
    library.AsyncHTTPTransport.handle_async_request = handle_async_request
