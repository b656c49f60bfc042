"""Requests that come twice: a sender that did not see the answer sends the same bytes again.

Identical bytes carry identical span ids, so the second request is the first one. It waits for the first one's fate and
shares it. Kept in memory, of this process only: what is sent again after a restart is stored again.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MAX_REQUESTS: Final = 10_000
REMEMBER_S: Final = 600.0
"""Longer than any exporter goes on retrying one request."""


@dataclass(frozen=True, slots=True)
class _Seen:
    fate: asyncio.Future[None]
    at_s: float


class RecentRequests:
    """Fates of recent requests by digest of their body. For one event loop; not thread-safe."""

    def __init__(self, max_requests: int = MAX_REQUESTS, remember_s: float = REMEMBER_S):
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()
        self._max, self._remember_s = max_requests, remember_s

    def fate_of(self, digest: bytes) -> asyncio.Future[None] | None:
        """The fate of the same request when it is stored or on its way, `None` when it is to be stored."""
        seen = self._seen.get(digest)
        if seen is None or time.monotonic() - seen.at_s > self._remember_s:
            return None
        failed = seen.fate.done() and (seen.fate.cancelled() or seen.fate.exception() is not None)
        return None if failed else seen.fate

    def remember(self, digest: bytes, fate: asyncio.Future[None]) -> None:
        """Remember the request until it is too old or too many others came."""
        self._seen.pop(digest, None)
        self._seen[digest] = _Seen(fate, time.monotonic())
        while len(self._seen) > self._max:
            self._seen.popitem(last=False)
