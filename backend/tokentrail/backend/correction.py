"""A correction of what a stored call cost: the call as it was stored, and as it is priced now."""

from dataclasses import dataclass

from tokentrail.backend.row import Row

COST_FIELDS = (
    "cost_usd",
    "cost_components",
    "cost_source",
    "pricing_status",
    "price_version",
    "price_entry",
    "pricing_tier",
    "pricing_assumptions",
)
"""The fields of a `Row` that a correction changes; all others are the same in `old` and `new`."""


@dataclass(frozen=True, slots=True)
class Correction:
    """One stored call that is to cost something else. Both rows may lack what no price depends on."""

    old: Row
    new: Row
    """Priced, always: a correction never takes a cost away."""
