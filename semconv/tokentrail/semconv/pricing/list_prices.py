"""The published list prices, and the only door to genai-prices.

genai-prices (https://github.com/pydantic/genai-prices, MIT; read at 0.2.3) ships list prices as Python objects. It is
used to look prices up; the arithmetic is ours, because its own takes some forty times as long. What is taken over from
it: dated prices (by UTC date) and prices by time of day, variants by request context, tiers by total input tokens.
It is imported at the first lookup, not with this module: that takes a third of a second. Only the data in the package
are used, never its updater, so that the same version always gives the same price.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tokentrail.semconv.pricing import names
from tokentrail.semconv.pricing._base import Lookup, Others
from tokentrail.semconv.pricing.card import BASE, Rate, RateCard, Reason, Source, Steps, Unpriced, bands_of
from tokentrail.semconv.pricing.money import per_thousand, per_token
from tokentrail.semconv.pricing.peak_hours import listed_at
from tokentrail.semconv.pricing.region import REGION_ASSUMED, is_assumed
from tokentrail.semconv.pricing.tier import STANDARD_TIER, TIER_NOT_PRICED, is_standard

if TYPE_CHECKING:
    from decimal import Decimal

    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

_RATES: Final[Mapping[str, Rate]] = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "cache_audio_read_mtok": "audio_cache_read",
    "input_image_mtok": "image_input",
    "cache_image_read_mtok": "image_cache_read",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
    "output_image_mtok": "image_output",
    "requests_kcount": "request",
    "web_searches_kcount": "web_search",
}
"""Our rates by genai-prices' keys. Its other units (file searches, seconds, pages, video) are in no usage we read."""


class ListPrices:
    """The layer of published list prices. Thread-safe."""

    def __init__(self) -> None:
        # May be entered again: reading the list imports httpx2, and that may have it read (a hook on imports).
        self._lock = threading.RLock()
        self._providers: dict[str, Provider] = {}
        self._all: list[Provider] = []
        self._version = ""

    def load(self) -> "Mapping[str, Provider]":
        """The price list by provider id, read once; about 0.3 s and 25 MB the first time. Raises `ImportError`."""
        if not self._providers:
            with self._lock:
                if not self._providers:
                    from importlib.metadata import version

                    from genai_prices.data import providers

                    self._version = f"genai-prices {version('genai-prices')}"
                    self._all = providers
                    # Last, because other threads take it as the sign that all is there.
                    self._providers = {provider.id: provider for provider in providers}
        return self._providers

    def find(self, lookup: Lookup, others: Others) -> RateCard | Unpriced | None:  # it is the last
        """The list price; see `Layer.find`. Never `None`: this is the layer that knows every reason."""
        if names.is_self_hosted(lookup.provider, lookup.server_address):
            where = lookup.server_address or lookup.provider
            return Unpriced(Reason.SELF_HOSTED, f"{where} is no provider's host, its prices are published nowhere")
        unlisted = ""
        known = False
        for model in lookup.models:
            for price_list in names.price_lists(lookup.provider, lookup.server_address):
                for candidate in names.candidates(lookup.provider, price_list, model):
                    provider = self.load().get(candidate.price_list)
                    if provider is None:
                        continue
                    known = True
                    found = self._match(provider, candidate.model)
                    if found is None:
                        continue
                    if card := self._card(provider, found, candidate, lookup):
                        return card
                    unlisted = unlisted or f"{provider.id}/{found.id}"
        return self._why_not(lookup, known=known, unlisted=unlisted)

    def _match(self, provider: "Provider", model: str) -> "ModelInfo | None":
        return provider.find_model(model, all_providers=self._all)

    def _card(
        self, provider: "Provider", model: "ModelInfo", candidate: names.Candidate, lookup: Lookup
    ) -> RateCard | None:
        """The card of `model`, or `None` when the list has the model without a price for its tokens."""
        # A provider that resells another's model does not sell the other's tiers with it: the list's own rule.
        owner = self._owner(model, provider)
        own = owner is provider
        context = _context(lookup.service_tier) if own else {}
        at = listed_at(lookup.provider, lookup.at)
        priced_tier = any(
            all(context.get(key) == value for key, value in variant.when.items())
            and (variant.constraint is None or variant.constraint.active(at))
            for variant in model.price_variants or ()
        )
        listed = _listed(model.get_prices(at, context))
        if "input" not in listed:
            return None
        standard = is_standard(lookup.service_tier)
        assumptions = [candidate.assumption] if candidate.assumption else []
        if not standard and not priced_tier:
            assumptions.append(TIER_NOT_PRICED)
        if is_assumed(lookup, candidate.model):
            assumptions.append(REGION_ASSUMED)
        return RateCard(
            bands=bands_of(listed),
            source=Source.GENAI_PRICES,
            version=self._version,
            entry=f"{owner.id}/{model.id}",
            tier=lookup.service_tier if priced_tier and not standard else STANDARD_TIER,
            assumptions=tuple(assumptions),
            prices_output="output" in listed,
        )

    def _owner(self, model: "ModelInfo", provider: "Provider") -> "Provider":
        """Whose list `model` stands in: that of `provider`, or of one whose models it sells (Azure those of OpenAI)."""
        lists = (provider, *(self.load()[name] for name in provider.fallback_model_providers or ()))
        return next(owner for owner in lists if any(model is listed for listed in owner.models))

    def _why_not(self, lookup: Lookup, *, known: bool, unlisted: str) -> Unpriced:
        if unlisted:
            return Unpriced(Reason.UNKNOWN_MODEL, f"{self._version} lists {unlisted} without a price for tokens")
        models = " or ".join(repr(model) for model in lookup.models)
        if known or any(name in self.load() for name in names.price_lists(lookup.provider, lookup.server_address)):
            wanted = f"{models} of {lookup.provider}" if models else "a call that names no model"
            return Unpriced(Reason.UNKNOWN_MODEL, f"{self._version} has no price of {wanted}")
        who = f"provider {lookup.provider!r}" if lookup.provider else "a call that names no provider"
        return Unpriced(Reason.UNKNOWN_PROVIDER, f"{self._version or 'the price list'} has no prices of {who}")


def _context(service_tier: str) -> dict[str, str]:
    """The list's request context for a tier: it keeps the tiers under three keys, whose values do not meet."""
    if not service_tier:
        return {}
    return {"service_tier": service_tier, "processing": service_tier, "speed": service_tier}


def _listed(prices: "ModelPrice") -> dict[Rate, Steps]:
    """The prices that concern us, per token, request or search. Raises `ValueError` on a price that is none."""
    listed: dict[Rate, Steps] = {}
    for key, rate in _RATES.items():
        price: Decimal | TieredPrices | None = getattr(prices, key)
        if price is None:
            continue
        unit = per_thousand if rate in ("request", "web_search") else per_token
        steps = [
            (BASE, getattr(price, "base", price)),
            *((tier.start, tier.price) for tier in getattr(price, "tiers", ())),
        ]
        listed[rate] = tuple((start, unit(usd)) for start, usd in steps)
    return listed
