"""What a framing does: it cuts a body, fed in pieces of any size, into events."""

from typing import NamedTuple, Protocol

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""An event longer than this is dropped: no provider's is, and the memory is the application's."""


class Event(NamedTuple):
    """One event: `name` is empty when it has none, `data` is undecoded and may be empty."""

    name: str
    data: bytes


class Framing(Protocol):
    """Cuts one body into events. Raises nothing on bad bytes: what cannot be read is left out. Not thread-safe."""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes, in order."""

    def flush(self) -> list[Event]:
        """The events left when the body has ended, or will not be read further: one cut off may count, if readable."""
