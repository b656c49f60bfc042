"""From a call to its rate card: the layers of price lists, asked in their order, and the answers in memory."""

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from tokentrail.semconv.pricing import names
from tokentrail.semconv.pricing._base import Layer, Lookup
from tokentrail.semconv.pricing.card import RateCard, Reason, Unpriced
from tokentrail.semconv.pricing.list_prices import ListPrices
from tokentrail.semconv.pricing.tables.overlay import Overlay
from tokentrail.semconv.pricing.tables.user_file import UserFile, UserFileStatus

_SLOT_NS: Final = 15 * 60 * 1_000_000_000
"""Prices change at midnight UTC, or at the half hours of a day: within a quarter of an hour they stand."""

_MAX_SLOT: Final = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000 // _SLOT_NS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

CACHED_CARDS: Final = 4096
"""Rate cards (and misses) kept, least recently used first out; a key has at most `MAX_NAME_CHARS`."""

MAX_NAME_CHARS: Final = 1024
"""Provider, host, models and tier together: longer ones are nobody's, and are not kept in memory as a key."""

_log = logging.getLogger(__name__)
_logged: set[str] = set()

_USER_FILE: Final = UserFile()
_OVERLAY: Final = Overlay()
_LIST_PRICES: Final = ListPrices()

LAYERS: Final[tuple[Layer, ...]] = (_USER_FILE, _OVERLAY, _LIST_PRICES)
"""The price lists in the order to ask them; the first card wins."""


def rate_card(
    provider: str, server_address: str, models: tuple[str, ...], service_tier: str, at_ns: int
) -> RateCard | Unpriced:
    """The rate card of a call, from memory when a like call was priced in the same quarter of an hour.

    `provider`, `server_address` and `service_tier` may be in any case and empty; `models` are tried in their order,
    empty ones skipped; `at_ns` is nanoseconds since the epoch. Raises only on values of the wrong type. Thread-safe.
    """
    if len(provider) + len(server_address) + len("".join(models)) + len(service_tier) > MAX_NAME_CHARS:
        return Unpriced(Reason.UNKNOWN_MODEL, f"the names of the call are longer than {MAX_NAME_CHARS} characters")
    refresh_price_file()
    # What an older table answered, even at this moment in another thread, is under another generation.
    return _rate_card(provider, server_address, models, service_tier, at_ns // _SLOT_NS, _USER_FILE.generation)


def use_price_file(path: Path | None) -> None:
    """Have the price file at `path` go before all lists, now and whenever it changes; `None` for no such file.

    Raises `PriceFileError` when it cannot be read or has errors. It is looked at again all the same, so that a
    corrected one comes into force.
    """
    _USER_FILE.use(path)


def refresh_price_file() -> None:
    """Take the price file over where it has changed, if it is time to look. Costs nothing without a price file."""
    if time.monotonic() >= _USER_FILE.next_check:
        _USER_FILE.refresh()


def price_file_status() -> UserFileStatus:
    """Which price file is in force, and what is wrong with the one on disk."""
    return _USER_FILE.status


def load_price_list() -> None:
    """Read the price list now (about 0.3 s), for instance on a thread at start, so that no call waits for it later."""
    _LIST_PRICES.load()
    _OVERLAY.load()


def forget() -> None:
    """Drop the cards in memory, as after a change of a price list."""
    _rate_card.cache_clear()


def look_up(
    provider: str, server_address: str, models: tuple[str, ...], service_tier: str, at_ns: int
) -> tuple[Lookup, RateCard | Unpriced]:
    """How a call is looked up, and the answer, past the memory; for explanations."""
    lookup = _lookup(provider, server_address, models, service_tier, at_ns // _SLOT_NS)
    return lookup, ask(LAYERS, lookup)


@lru_cache(maxsize=CACHED_CARDS)
def _rate_card(
    provider: str,
    server_address: str,
    models: tuple[str, ...],
    service_tier: str,
    slot: int,
    generation: int,  # a part of the key
) -> RateCard | Unpriced:
    return ask(LAYERS, _lookup(provider, server_address, models, service_tier, slot))


def ask(layers: Sequence[Layer], lookup: Lookup) -> RateCard | Unpriced:
    """The first card of `layers`, or the last reason one of them gave. Raises nothing."""
    reason: Unpriced | None = None
    for position, layer in enumerate(layers, start=1):
        try:
            answer = layer.find(lookup, partial(ask, layers[position:]))
        except Exception as error:  # noqa: BLE001 - the next list may have the price, and a call is never hurt by ours
            answer = _failure(type(layer).__name__, error)
        if isinstance(answer, RateCard):
            return answer
        reason = answer or reason
    return reason or Unpriced(Reason.UNKNOWN_MODEL, "no price list knows the call")


def _failure(layer: str, error: Exception) -> Unpriced:
    kind = f"{layer}: {type(error).__name__}"
    if kind not in _logged:
        _logged.add(kind)
        _log.warning("a price list failed, calls stay unpriced; further failures of this kind are not logged: %s", kind)
    return Unpriced(Reason.INTERNAL, f"{kind}: {error}"[:MAX_NAME_CHARS])


def _lookup(provider: str, server_address: str, models: tuple[str, ...], service_tier: str, slot: int) -> Lookup:
    at = _EPOCH + timedelta(microseconds=min(max(slot, 0), _MAX_SLOT) * _SLOT_NS // 1000)
    provider = names.provider_of(provider, server_address)
    tier, _, region = service_tier.strip().lower().partition("@")
    return Lookup(
        provider=provider,
        models=names.exact_first(provider, tuple(model for model in models if model and not model.isspace())),
        server_address=server_address,
        service_tier=tier,
        at=at,
        region=region,
    )
