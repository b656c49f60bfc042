"""What a hook on a client library does, and what all of them share: who watches, and an exchange's way through a send.

    exchange = begin(...)                        before the request leaves; None when nobody is to see it
    token = enter(exchange)
    try: response = original(...)
    except BaseException as error: leave(exchange, token); fail(exchange, error); raise
    leave(exchange, token)
    exchange.respond(...), chunk(...), finish(...)    as `exchange.py` says, each inside `WATCHING`

None of these raises.
"""

from types import ModuleType
from typing import Final, Protocol

from tokentrail.instrumentation.exchange import Exchange
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.headers import RequestHeaders
from tokentrail.instrumentation.observer import Observer

WATCHING: Final = protect("watching a response")
"""One for all: it keeps no state, and a stream has many chunks."""
_ENTERING: Final = protect("making a span current")


class Patch(Protocol):
    """A hook on a client library, set when the application imports it; the library is not loaded for it."""

    modules: tuple[str, ...]
    """Top-level names of the modules it hooks, each as soon as it is imported."""

    def hook(self, module: ModuleType) -> None:
        """Hook `module`, for the life of the process: the hook passes everything through while nobody watches."""


_observer: Observer | None = None


def watch(observer: Observer | None) -> None:
    """Have `observer` see the requests of every client, existing and new; `None` lets them pass unseen."""
    global _observer
    _observer = observer


def watcher() -> Observer | None:
    """Who watches, or `None`: then a hook has nothing to do."""
    return _observer


def begin(host: str, port: int | None, path: str, body: bytes, headers: RequestHeaders) -> Exchange | None:
    """An exchange for a POST about to leave; `None` when it is no model call or nobody watches."""
    with protect("looking at a request"):
        if _observer is not None:
            return _observer.begin(host, port, path, body, headers)
    return None


def enter(exchange: Exchange | None) -> object:
    """Make the span of `exchange` current until `leave` is given what this returns."""
    try:
        return None if exchange is None else exchange.enter()
    except Exception as error:  # noqa: BLE001  ours alone: the guard, without its cost
        _ENTERING.absorb(error)
    return None


def leave(exchange: Exchange | None, token: object) -> None:
    """Make current again what was before `enter`."""
    try:
        if exchange is not None and token is not None:
            exchange.leave(token)
    except Exception as error:  # noqa: BLE001  as above
        _ENTERING.absorb(error)


def fail(exchange: Exchange | None, error: BaseException) -> None:
    """The request ended with `error`, which the application gets."""
    with protect("looking at a failure"):
        if exchange is not None:
            exchange.fail(error)
