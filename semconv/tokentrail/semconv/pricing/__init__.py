"""What a model costs: rate cards, found through layers of price lists.

The rest of the product asks `tokentrail.semconv.cost`; this room is behind it. No name here loads the price list:
that happens at the first lookup, or ahead of it through `load_price_list`.
"""

from tokentrail.semconv.pricing._base import Layer, Lookup
from tokentrail.semconv.pricing.card import RateCard, Rates, Reason, Source, Unpriced
from tokentrail.semconv.pricing.charge import Charge, charge
from tokentrail.semconv.pricing.resolve import forget, load_price_list, rate_card

__all__ = [
    "Charge",
    "Layer",
    "Lookup",
    "RateCard",
    "Rates",
    "Reason",
    "Source",
    "Unpriced",
    "charge",
    "forget",
    "load_price_list",
    "rate_card",
]
