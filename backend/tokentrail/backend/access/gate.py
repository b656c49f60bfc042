"""The one place where a request is let in or refused. Both receivers ask here, before they read a body.

Refusing costs a look-up and a hash; refusals are counted, and logged with their number once in a while.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from tokentrail.backend.access.caller import ANYONE, Caller, Right
from tokentrail.backend.access.credentials import read_authorization
from tokentrail.backend.access.errors import AccessError, ForbiddenError
from tokentrail.backend.access.keyring import Keyring

LOG_EVERY_S: Final = 60.0

_log = logging.getLogger(__name__)


class Gate:
    """Lets callers in by the keys of `keyring`; without one, everybody. `on_refused` is told each reason.

    Thread-safe.
    """

    def __init__(self, keyring: Keyring | None, on_refused: Callable[[str], None] = lambda reason: None) -> None:
        self._keyring, self._on_refused = keyring, on_refused
        self._lock = threading.Lock()
        self._refused: Counter[str] = Counter()
        self._log_from_s = 0.0

    @property
    def is_open(self) -> bool:
        """True without keys: then only who is on this machine may come here at all."""
        return self._keyring is None

    def admit(self, authorization: list[bytes], right: Right) -> Caller:
        """Who asks, by the values of their Authorization header, if they may do that. Raises `AccessError`."""
        if self._keyring is None:
            return ANYONE
        try:
            caller = self._keyring.caller(read_authorization(authorization))
            if not caller.may(right):
                raise ForbiddenError(_refusal(caller, right))
        except AccessError as error:
            self._on_refused(error.reason)
            self._log(error.reason)
            raise
        return caller

    def _log(self, reason: str) -> None:
        with self._lock:
            self._refused[reason] += 1
            now_s = time.monotonic()
            if now_s < self._log_from_s:
                return
            self._log_from_s = now_s + LOG_EVERY_S
            counts, self._refused = self._refused, Counter()
        said = ", ".join(f"{count} with a key that is {each}" for each, count in sorted(counts.items()))
        _log.warning("requests were refused: %s", said)


def _refusal(caller: Caller, right: Right) -> str:
    if right is Right.METRICS and caller.may(Right.READ):
        return "the metrics are of all projects: they need a key with the project *"
    return f"the key {caller.name!r} has the role {caller.role}, which may not {right}"
