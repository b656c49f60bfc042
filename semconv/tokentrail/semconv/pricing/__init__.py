"""What a model costs: rate cards, found through layers of price lists.

The rest of the product asks `tokentrail.semconv.cost`; this room is behind it. No name here loads the price list:
that happens at the first lookup, or ahead of it through `load_price_list`.
"""

from tokentrail.semconv.pricing._base import Layer, Lookup
from tokentrail.semconv.pricing.card import RateCard, Rates, Reason, Source, Unpriced
from tokentrail.semconv.pricing.charge import Charge, charge
from tokentrail.semconv.pricing.resolve import (
    forget,
    load_price_list,
    look_up,
    price_file_status,
    rate_card,
    refresh_price_file,
    use_price_file,
)
from tokentrail.semconv.pricing.tables.price_file import PriceFileError
from tokentrail.semconv.pricing.tables.user_file import UserFileStatus

__all__ = [
    "Charge",
    "Layer",
    "Lookup",
    "PriceFileError",
    "RateCard",
    "Rates",
    "Reason",
    "Source",
    "Unpriced",
    "UserFileStatus",
    "charge",
    "forget",
    "load_price_list",
    "look_up",
    "price_file_status",
    "rate_card",
    "refresh_price_file",
    "use_price_file",
]
