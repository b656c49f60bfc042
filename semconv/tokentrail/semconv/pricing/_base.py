"""The contract of a price list: asked for a call, it answers with a rate card or with the reason why it has none."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

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
    region: str = ""
    """Where the provider says that it served the call, as far as that has a price; lower case, mostly empty."""


Others: TypeAlias = Callable[[Lookup], RateCard | Unpriced]
"""What the lists after a list say, for the call as it is or under other names."""


class Layer(Protocol):
    """A price list. Thread-safe; it may read its data at the first lookup, and does no other I/O."""

    def find(self, lookup: Lookup, others: Others) -> RateCard | Unpriced | None:
        """The card for `lookup`; `None` when this list has nothing to say about it, so that the next is asked.

        A list may ask `others` and change what they answer. An `Unpriced` also lets the next list answer; the last
        list's one becomes the reason. It may raise anything: a list that fails is skipped.
        """
