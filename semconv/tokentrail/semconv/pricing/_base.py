"""The contract of a price list: asked for a call, it answers with a rate card or with the reason why it has none."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tokentrail.semconv.pricing.card import RateCard, Unpriced


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a price depends on, besides the usage."""

    provider: str
    """Canonical provider name, decided from the host first (`names.provider_of`)."""
    models: tuple[str, ...]
    """Model ids as they were given, in the order to try them; none is empty, there may be none."""
    server_address: str
    service_tier: str
    """Lower case, empty when the call named none."""
    at: datetime
    """UTC, cut to the quarter of an hour."""


class Layer(Protocol):
    """A price list. Thread-safe; it may read its data at the first lookup, and does no other I/O."""

    def find(self, lookup: Lookup) -> RateCard | Unpriced | None:
        """The card for `lookup`; `None` when this list has nothing to say about it, so that the next is asked.

        An `Unpriced` also lets the next list answer; the last list's one becomes the reason. It may raise anything:
        a list that fails is skipped.
        """
