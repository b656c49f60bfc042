"""The one place where our own exceptions end: telemetry never hurts the application.

Code that runs on the application's path does its work inside `protect`. What goes wrong there is logged once per place
and kind, and forgotten; under test (`strict`) it is raised, so that it cannot hide.
"""

import logging
from contextlib import suppress
from types import TracebackType

logger = logging.getLogger("tokentrail.instrumentation")

_seen: set[tuple[str, str]] = set()
_MAX_SEEN = 1_000
"""Kinds of failures remembered; past it nothing more is logged, a process that gets there is told enough."""

strict = False
"""Raise instead of swallowing. For tests."""


class protect:  # noqa: N801  reads as a verb: `with protect("reading a response"):`
    """Context manager that swallows any `Exception`, logging it once for each place and type.

    `BaseException`s that are no `Exception` (cancellation, interrupts) pass, they are the application's.
    """

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def absorb(self, error: Exception) -> None:
        """Swallow `error`, for a place that runs too often for a `with` statement; under test it is raised again."""
        if not self.__exit__(type(error), error, error.__traceback__):
            raise error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if kind is None or not issubclass(kind, Exception) or strict:
            return False
        key = (self._place, kind.__qualname__)
        if key not in _seen and len(_seen) < _MAX_SEEN:
            _seen.add(key)
            with suppress(Exception):  # the application's own filters and handlers run here
                logger.warning(
                    "Tokentrail failed while %s; the application is not affected, telemetry may be incomplete. "
                    "Further failures of this kind are not logged.",
                    self._place,
                    exc_info=(kind, error, traceback) if error is not None else None,
                )
        return True
